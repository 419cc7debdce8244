/* eval/ijb_report.h - the numbers of an IJB evaluation, and how they are told. Private to eval/. */
#ifndef CASK_EVAL_IJB_REPORT_H
#define CASK_EVAL_IJB_REPORT_H

#include "eval/eval.h"
#include "eval/findings.h"
#include "eval/ijb.h"
#include "eval/ijb_draws.h"

enum { IJB_TARGETS = 6, IJB_VARIANTS = 8, IJB_GALLERIES = 4 };
extern const double ijb_targets[IJB_TARGETS]; /* 1e-6 .. 1e-1 */

/* One choice of switches. */
struct ijb_variant {
    struct cask_ijb_switches switches;
    char name[8];     /* "N1D1F1" */
    char line[500];   /* protocol of 1:1 */
    char search[500]; /* protocol of 1:N */
    struct cask_ijb_pairs pairs;
    int64_t genuine, impostor;
    struct cask_rate parity[IJB_TARGETS]; /* nearest FPR on the thinned curve */
    struct cask_rate full[IJB_TARGETS];   /* nearest FPR on the full one */
    struct cask_rate strict[IJB_TARGETS];
    struct cask_interval tpr_interval[IJB_RULES][IJB_TARGETS]; /* percent */
    /* of rank-k for each of cask_ijb_ranks, then of TPIR for each of cask_ijb_fpirs */
    struct cask_interval search_interval[CASK_IJB_RANKS + CASK_IJB_FPIRS];
    int galleries;
    struct cask_ijb_identification found[IJB_GALLERIES];
};

struct ijb_result {
    const char *model, *set; /* borrowed */
    int64_t images, templates;
    int count;
    struct ijb_variant variants[IJB_VARIANTS];
    struct findings findings;
};

void ijb_print(const struct ijb_result *result, FILE *stream);
/* {"model", "set", "images", "templates", "findings", "variants": [{"switches", "protocol",
 *  "pairs", "genuine", "impostor", "tpr_at_fpr": [{"fpr", "parity", "parity_fpr", "full",
 * "full_fpr", "strict", "strict_fpr", "impostors_allowed", "parity_interval": [low, high],
 * "full_interval", "strict_interval"}], "search_protocol", "galleries":
 * [{"templates", "probes", "mated", "nonmated", "hits": [1, 5, 10], "accepted": [at 0.01, 0.1],
 * "tpir"}], "rank1", "rank5", "rank10", "tpir_0.01", "tpir_0.1", and each of these five with
 * "_interval"}]}; TPR and TPIR in percent */
struct cask_json *ijb_json(const struct ijb_result *result);
void ijb_csv(const struct ijb_result *result, struct cask_text *text);

/* What pictures need of one variant's sorted scores: thinned ROC, histogram. */
void ijb_picture(const struct cask_scores *scores, struct cask_set_result *set);
/* sets[result->count]; "" writes nothing. */
enum cask_status ijb_write_pictures(const struct ijb_result *result,
                                    const struct cask_set_result *sets, const char *roc,
                                    const char *histogram, struct cask_error *err);

/* Means over galleries, as published: TPIR is the mean, rank-k all hits over all probes. Percent;
 * NaN where there are none. */
double ijb_tpir(const struct ijb_variant *variant, int fpir);
double ijb_rank(const struct ijb_variant *variant, int rank);

#endif
