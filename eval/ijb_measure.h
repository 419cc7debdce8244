/* eval/ijb_measure.h - one model under one choice of switches: its numbers, and what a second model
 * is compared by. Private to eval/. */
#ifndef CASK_EVAL_IJB_MEASURE_H
#define CASK_EVAL_IJB_MEASURE_H

#include "eval/ijb_report.h"

/* What is measured, the same for every model and switch. All borrowed. */
struct ijb_task {
    const struct cask_ijb *set;
    const char *name;       /* "ijbc" */
    const char *pairs_path; /* NULL: no 1:1 */
    const struct cask_ijb_people *galleries, *probes;
    int gallery_count; /* 0: no 1:N */
    int threads, draws;
    uint64_t seed;
};

/* Rows of what is not measured are empty. */
struct ijb_measured {
    struct ijb_draws pairs, search;
    struct cask_ijb_outcome *outcomes[IJB_GALLERIES]; /* [probes] */
};
void ijb_measured_release(struct ijb_measured *measured); /* accepts a zeroed one */

/* The embeddings of a model. */
struct ijb_embeddings {
    struct cask_rows rows;
    int views;
    const char *pixels; /* end of the protocol line */
};

/* v: its name and switches are set; all else is filled but the intervals. findings: NULL, or where
 * what is odd goes. `measured` is released by the caller also on failure. */
enum cask_status ijb_measure(const struct ijb_task *task, const struct ijb_embeddings *embeddings,
                             struct ijb_variant *v, struct cask_set_result *picture,
                             struct findings *findings, struct ijb_measured *measured,
                             struct cask_error *err);

/* Every number of two models, a list of at most IJB_NUMBERS; *count is set. Before the intervals.
 */
enum cask_status ijb_paired(const struct ijb_task *task, const struct ijb_variant *const v[2],
                            const struct ijb_measured measured[2],
                            struct cask_paired out[IJB_NUMBERS], int *count,
                            struct cask_error *err);

/* Fills the intervals; the draws are sorted, so they are no longer those of another model. */
void ijb_intervals(struct ijb_variant *v, struct ijb_measured *measured);

#endif
