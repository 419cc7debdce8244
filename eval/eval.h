/* eval/eval.h - embeddings of a verification set, and the numbers made of them.
 *
 *   pairs + model --> cask_embed_pairs --> unit rows --> cask_verify_kfold --> accuracy per fold
 *
 * Thread rule: plain functions; the model belongs to the calling thread.
 */
#ifndef CASK_EVAL_EVAL_H
#define CASK_EVAL_EVAL_H

#include <stdio.h>

#include "common/json.h"
#include "common/preprocess.h"
#include "common/status.h"
#include "data/data.h"
#include "models/models.h"

enum cask_flip {
    CASK_FLIP_SUM,  /* e = f(x) + f(mirrored x), then unit length: insightface's "Accuracy-Flip" */
    CASK_FLIP_NONE, /* e = f(x), then unit length */
};

struct cask_embed_options {
    struct cask_net *net; /* borrowed */
    struct cask_preprocess preprocess;
    enum cask_flip flip;
    int batch, threads;
};

/* Fills *embeddings [images][D] double, rows of unit length (a zero row stays zero); caller frees
 * with cask_free. An image that cannot be read or decoded, or whose embedding is not finite, is an
 * error that names it: a number from fewer pairs would not be the protocol's. */
enum cask_status cask_embed_pairs(const struct cask_pairs *pairs,
                                  const struct cask_embed_options *options, double **embeddings,
                                  struct cask_error *err);

enum { CASK_FOLDS_MAX = 100 };

struct cask_kfold {
    int folds;
    double accuracy, std;                  /* mean and population standard deviation, in percent */
    double fold_accuracy[CASK_FOLDS_MAX];  /* percent */
    double fold_threshold[CASK_FOLDS_MAX]; /* squared distance */
};

/* insightface's protocol. d = |e1 - e2|^2; contiguous folds, the first n mod folds one pair longer;
 * thresholds 0.01 k, k = 0..399; a pair is called "same" iff d < t; each fold is scored at the
 * first of the thresholds that are best on all other folds. With one fold there are no others:
 * CASK_ERR_RANGE. distances, same: [count]. */
enum cask_status cask_verify_kfold(const double *distances, const bool *same, int64_t count,
                                   int folds, struct cask_kfold *out, struct cask_error *err);

/* "insightface 3-fold, d^2 < t, t in 0.01 steps, flip-sum, bgr:127.5:127.5" */
void cask_protocol_line(int folds, enum cask_flip flip, const struct cask_preprocess *preprocess,
                        char *buffer, size_t bytes);

/* One evaluated set, for tables and JSON. */
struct cask_set_result {
    char name[64], protocol[160];
    int64_t pairs, images;
    struct cask_kfold kfold;
};
enum cask_status cask_evaluate_set(const struct cask_pairs *pairs,
                                   const struct cask_embed_options *options,
                                   struct cask_set_result *out, struct cask_error *err);
void cask_report_table(const struct cask_set_result *sets, int count, FILE *stream);
/* {"model": ..., "sets": [{"name", "protocol", "pairs", "accuracy", "std", "folds"}]}; NULL: no
 * memory */
struct cask_json *cask_report_json(const char *model, const struct cask_set_result *sets,
                                   int count);

#endif
