/* eval/megaface.h - MegaFace: a few thousand probes among a million distractors.
 *
 *   lists + feature files or embeddings --> probes (in memory), distractors (rows, streamed)
 *   noise lists + rule                  --> cleaned probes, marked distractors
 *   both                                --> cask_megaface_run: rank-1..10, TPR at FAR 1e-6
 *
 * Similarity is the cosine in float32, one matrix product a block of distractors; of a probe's
 * similarities only the ten largest are kept, and of all the largest FAR x n.
 */
#ifndef CASK_EVAL_MEGAFACE_H
#define CASK_EVAL_MEGAFACE_H

#include <stdbool.h>
#include <stdint.h>

#include "eval/rows.h"
#include "kernels/kernels.h"

/* ------------------------------------------------------------------- lists */

/* Names of images. A text list has one path a line; a devkit list is JSON {"path": [...], "id":
 * [...]}. Without ids the identity is the first folder of the path. */
struct cask_name_list {
    int64_t count, identities;
    const char **path;  /* [count]; in `text` */
    uint32_t *identity; /* [count], dense, in the order of first appearance */
    char *text;         /* owned */
};
/* limit: only the first so many; 0: all. CASK_ERR_FORMAT with file:line. */
enum cask_status cask_name_list_open(const char *path, int64_t limit, struct cask_name_list *list,
                                     struct cask_error *err);
void cask_name_list_close(struct cask_name_list *list); /* accepts a zeroed list */

/* Marks the images a noise file names: one entry a line, '#' comments, of two TAB-divided columns
 * the second. An entry names every path that is it or ends with '/' and it. */
struct cask_noise {
    bool *noisy;             /* [list->count], owned */
    int64_t entries, images; /* lines of the file; images of the list they name */
};
enum cask_status cask_noise_read(const char *path, const struct cask_name_list *list,
                                 struct cask_noise *noise, struct cask_error *err);

/* A devkit feature file: four int32 (rows = numbers, columns = 1, bytes a row = 4, OpenCV type 5)
 * and the float32 numbers. Fills values[columns]; another size is CASK_ERR_MISMATCH. columns = 0:
 * only *found is set, to the file's. All little-endian. */
enum cask_status cask_feature_read(const char *path, int columns, float *values, int *found,
                                   struct cask_error *err);
/* Rows of FOLDER/<path><suffix>, such as suffix "_arcface_112x112.bin". */
struct cask_feature_files {
    const struct cask_name_list *list; /* borrowed */
    const char *folder, *suffix;       /* borrowed */
    int columns;
};
enum cask_status cask_feature_files_open(const struct cask_name_list *list, const char *folder,
                                         const char *suffix, struct cask_feature_files *files,
                                         struct cask_rows *rows, struct cask_error *err);

/* ---------------------------------------------------------------- protocol */

/* What is done with images the noise lists name. "MegaFace (R)" in papers means either rule. */
enum cask_noise_rule {
    CASK_NOISE_KEEP,
    /* A noisy probe becomes unit(mean of its identity's clean probes + u), u uniform in +-0.001 by
     * seed; a noisy distractor can be nobody's neighbour (their scripts move it away by a
     * coordinate of its own). */
    CASK_NOISE_INSIGHTFACE,
    /* A noisy probe becomes unit(mean of its identity's clean probes); a noisy distractor a zero
     * vector, which is similar by 0. */
    CASK_NOISE_FACEXZOO,
};
extern const char *const cask_noise_rule_names[]; /* NULL-terminated */

struct cask_probes {
    float *rows; /* [count][dim]; made unit rows by cask_probes_clean */
    int64_t count;
    int dim;
    const uint32_t *identity; /* [count], borrowed */
    const bool *noisy;        /* [count] or NULL, borrowed */
    int64_t noisy_count, zero_count;
    int64_t first_zero;
};
/* Unit rows, then the rule. CASK_ERR_RANGE: a row that is not finite, or an identity of noisy
 * probes alone. A zero row stays zero and is counted. */
enum cask_status cask_probes_clean(struct cask_probes *probes, enum cask_noise_rule rule,
                                   uint64_t seed, struct cask_error *err);

enum { CASK_MEGAFACE_RANKS = 10 };

/* What became of a pair. */
struct cask_megaface_outcome {
    uint8_t rank; /* the least n at which it is a hit; RANKS + 1: at none */
    bool accepted;
};

struct cask_megaface_options {
    struct cask_device *device; /* a CPU device, fp32; its gemm is used */
    int threads;                /* for reading and for keeping the largest; 0: all */
    double far;                 /* 1e-6 */
    enum cask_noise_rule rule;
    const bool *noisy; /* [distractors] or NULL, borrowed */
    /* for intervals and paired tests, or NULL: identities are drawn with replacement */
    struct cask_megaface_draws {
        int draws; /* 0: none */
        uint64_t seed;
        bool keep_outcomes;
        int64_t identities; /* found */
        /* found: draws that give less weight to the 4 k largest negatives than they may accept: the
         * smallest of these is their threshold */
        int64_t shallow;
        double *values; /* found: [RANKS + 1][draws], percent: rank-1..10, TPR; caller frees */
        /* found with keep_outcomes: [pairs], by probe, then by gallery image; caller frees */
        struct cask_megaface_outcome *outcomes;
    } * draws;
};

struct cask_megaface {
    int64_t probes, distractors, noisy_distractors, zero_distractors, first_zero;
    int64_t pairs; /* ordered pairs (gallery image, probe) of one identity */
    /* hits[n - 1]: pairs whose similarity fewer than n distractors of the probe exceed */
    int64_t hits[CASK_MEGAFACE_RANKS];
    int64_t negatives;            /* probes x distractors, noisy ones included */
    int64_t allowed;              /* k = floor(far x negatives) */
    double threshold;             /* the k-th largest negative; with k = 0 the largest */
    int64_t accepted;             /* pairs at or above it; with k = 0 above it */
    double gemm_seconds, seconds; /* in the products of distractors; of all */
};
enum cask_status cask_megaface_run(const struct cask_probes *probes,
                                   const struct cask_rows *distractors,
                                   const struct cask_megaface_options *options,
                                   struct cask_megaface *out, struct cask_error *err);

#endif
