/* eval/megaface_report.h - the numbers of a MegaFace evaluation, and how they are told. Private to
 * eval/. */
#ifndef CASK_EVAL_MEGAFACE_REPORT_H
#define CASK_EVAL_MEGAFACE_REPORT_H

#include "eval/eval.h"
#include "eval/findings.h"
#include "eval/megaface.h"

/* The numbers: rank-1 to rank-10, then TPR at FAR, in the order of the draws. */
enum { MEGAFACE_TPR = CASK_MEGAFACE_RANKS, MEGAFACE_NUMBERS };

struct megaface_result {
    const char *model, *rule; /* borrowed; the rule of noise */
    double far;
    int64_t identities; /* of probes */
    struct cask_megaface found;
    struct cask_megaface_draws draws;
    struct cask_interval intervals[MEGAFACE_NUMBERS]; /* percent */
    struct findings findings;
    char line[600]; /* the protocol */
};

/* Percent; NaN without pairs. */
double megaface_number(const struct megaface_result *result, int number);
/* "rank 1", "tpr at far 1e-06". Returns buffer. */
const char *megaface_number_name(const struct megaface_result *result, int number, char buffer[40]);

/* Of two models of the same probes and distractors: rank-1, rank-10 and TPR. Before the intervals.
 */
enum { MEGAFACE_PAIRED = 3 };
enum cask_status megaface_paired(const struct megaface_result *const results[2],
                                 struct cask_paired out[MEGAFACE_PAIRED], struct cask_error *err);
/* Fills the intervals and tells of them in the protocol; the draws are sorted, so they are no
 * longer those of another model. */
void megaface_intervals(struct megaface_result *result);

void megaface_print(const struct megaface_result *result, FILE *stream);
/* {"model", "set", "protocol", "probes", "identities", "distractors", "pairs", "hits": [ten],
 * "rank1", "rank10", "tpr", each of them with "_interval", "far", "accepted", "negatives",
 * "negatives_allowed", "threshold", "findings"}; percent but for "far" */
struct cask_json *megaface_json(const struct megaface_result *result);
/* The lines; the head line is the caller's. */
void megaface_csv(const struct megaface_result *result, struct cask_text *text);

#endif
