/* eval/ijb_report.h - the numbers of an IJB evaluation, and how they are told. Private to eval/. */
#ifndef CASK_EVAL_IJB_REPORT_H
#define CASK_EVAL_IJB_REPORT_H

#include "eval/eval.h"
#include "eval/findings.h"
#include "eval/ijb.h"
#include "eval/ijb_draws.h"

enum { IJB_TARGETS = 6, IJB_VARIANTS = 8, IJB_GALLERIES = 4 };
extern const double ijb_targets[IJB_TARGETS]; /* 1e-6 .. 1e-1 */

/* The numbers of a variant, in the order of the draws: number rule * IJB_TARGETS + t is a TPR, then
 * come rank-k for each of cask_ijb_ranks and TPIR for each of cask_ijb_fpirs. */
enum {
    IJB_RATES = IJB_RULES * IJB_TARGETS,
    IJB_NUMBERS = IJB_RATES + CASK_IJB_RANKS + CASK_IJB_FPIRS
};

/* One choice of switches. */
struct ijb_variant {
    struct cask_ijb_switches switches;
    char name[8];     /* "N1D1F1" */
    char line[500];   /* protocol of 1:1 */
    char search[500]; /* protocol of 1:N */
    struct cask_ijb_pairs pairs;
    int64_t genuine, impostor;
    struct cask_rate rates[IJB_RULES][IJB_TARGETS];
    struct cask_interval intervals[IJB_NUMBERS]; /* percent */
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
/* The lines; the head line is the caller's. */
void ijb_csv(const struct ijb_result *result, struct cask_text *text);

/* What pictures need of one variant's sorted scores: thinned ROC, histogram. */
void ijb_picture(const struct cask_scores *scores, struct cask_set_result *set);
/* Of one model or two. sets[s]: [results[s].count]. "" writes nothing. */
enum cask_status ijb_write_pictures(const struct ijb_result *results,
                                    struct cask_set_result *const *sets, int count, const char *roc,
                                    const char *histogram, struct cask_error *err);

bool ijb_has_number(const struct ijb_variant *variant, int number);
/* Percent; NaN where it is not defined. Of galleries as published: TPIR is their mean, rank-k all
 * hits over all probes. */
double ijb_number(const struct ijb_variant *variant, int number);
/* "strict tpr at fpr 0.0001", "rank 1". Returns buffer. */
const char *ijb_number_name(int number, char buffer[40]);

#endif
