/* train/losses/engine.h - the criterion's machine, one per number type, behind one table.
 *
 * Data is `void *` of the variant's type: double for "f64", float for all others. The device that
 * is passed in must compute in the same type: ref64 for f64, ref for f32, cpu for cpu.
 */
#ifndef CASK_TRAIN_LOSSES_ENGINE_H
#define CASK_TRAIN_LOSSES_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/status.h"
#include "kernels/kernels.h"
#include "train/criterion.h"
#include "train/heads/heads.h"

enum cask_place { CASK_AT_LOGITS, CASK_AT_PAIRS, CASK_AT_EMBEDDING };

/* Beside the bits of enum cask_teacher_need. */
enum cask_engine_need {
    CASK_NEED_LABELS = 256,
    CASK_NEED_RAW_GRAM = 512,    /* Gram matrices of raw embeddings, both nets */
    CASK_NEED_TEACHER_RAW = 1024 /* unit and norm, multiplied out */
};

/* What a loss may know before the first batch. */
struct cask_engine_facts {
    uint64_t seed; /* init of what a loss trains */
    int64_t classes;
    int64_t chunk; /* classes worked on at once; chosen by the engine */
    int batch, dim, teacher_dim, topk, threads;
    bool centers; /* exact mode */
    double teacher_scale;
    const double *temperatures;
    int temperature_count;
};

struct cask_engine_term {
    int loss; /* index in the registry */
    const void *options;
};

struct cask_engine_options {
    struct cask_device *device; /* borrowed */
    struct cask_engine_facts facts;
    const struct cask_head_options *head; /* NULL: no head and no W, only terms */
    const struct cask_engine_term *terms;
    int term_count;
    int64_t chunk; /* classes worked on at once; 0: chosen */
    /* Class rows are updated inside the step, as soon as a chunk's gradient is known: there is no
     * tensor of it. The bits are those of a step and an update after it. */
    bool fused;
    uint64_t seed;
    struct cask_teacher_store *store; /* borrowed: of engines that take turns; NULL: none */
};

struct cask_engine_input {
    int batch;
    uint64_t step; /* number of this step: losses that draw at random draw by it */
    int head_rows; /* the head's cross-entropy counts the first so many rows; 0: all */
    const uint32_t *labels;
    const void *embedding;               /* [B][D] */
    const void *logits, *teacher_logits; /* [B][C] instead of embeddings: scaled, margins applied */
    const void *teacher_unit, *teacher_norm; /* [B][D_T], [B] */
    const void *teacher_centers;             /* [C][D_T] unit rows */
    uint64_t teacher_serial;                 /* which rows these are; 0: not known */
    const uint32_t *topk_index;              /* [B][k] */
    const void *topk_cosine;                 /* [B][k] */
    const void *label_cosine;                /* [B]; NULL: unknown unless in the top-k */
    const double *lse;                       /* [B][temperature_count] */
    const int32_t (*triplets)[3];
    int triplet_count;
    const double *weights; /* [term_count], with ramps */
    bool measure;
    const struct cask_sgd *update; /* fused: of the class rows; NULL: they stay */
    void *d_embedding;             /* [B][D] */
    void *d_logits;                /* [B][C], with `logits` */
};

/* Of the last step; index 0 is the head, then the terms. */
struct cask_engine_result {
    double *value, *gradient_norm, *gradient_cosine; /* [1 + term_count] */
    double total, accuracy;
    double captured; /* mean teacher mass inside what was known, at the last class term's T; NaN: no
                        such term */
};

struct cask_engine_array {
    const char *name;
    void *values; /* of the variant's type; state kept as float32 says so */
    bool f32;
    int64_t rows, columns;
};

/* What a step leaves a gradient for: the class rows, a loss's linear map. */
struct cask_engine_parameter {
    const char *name, *momentum_name;
    void *value, *momentum;
    void *gradient; /* NULL: used up in the step */
    int64_t rows, columns;
};

struct cask_engine;
struct cask_engine_api {
    const char *name;
    size_t real_bytes;
    /* The registry: name, place and option rows of loss `index`; false behind the last. */
    bool (*describe)(int index, const char **name, enum cask_place *place,
                     const struct cask_config_row **rows, size_t *row_count, size_t *option_bytes);
    enum cask_status (*create)(const struct cask_engine_options *options,
                               struct cask_engine **engine, struct cask_error *err);
    void (*free)(struct cask_engine *engine); /* accepts NULL */
    unsigned (*needs)(const struct cask_engine *engine);
    /* Exact mode, before the first step: these rows [C][D_T], the same in every step, are kept as
     * the product takes them. A step with others is CASK_ERR_MISMATCH then. */
    enum cask_status (*pack_centers)(struct cask_engine *engine, const void *centers,
                                     struct cask_error *err);
    enum cask_status (*step)(struct cask_engine *engine, const struct cask_engine_input *input,
                             struct cask_error *err);
    const struct cask_engine_result *(*result)(const struct cask_engine *engine);
    void *(*weight)(struct cask_engine *engine);   /* W [C][D] */
    void *(*gradient)(struct cask_engine *engine); /* dW [C][D] of the last step; NULL if fused */
    enum cask_status (*update)(struct cask_engine *engine, const struct cask_sgd *sgd,
                               struct cask_error *err);
    int (*parameters)(struct cask_engine *engine, struct cask_engine_parameter *parameters,
                      int limit);
    int (*arrays)(struct cask_engine *engine, struct cask_engine_array *arrays, int limit);
    size_t (*bytes)(const struct cask_engine *engine,
                    size_t *step_bytes); /* all; of them per step: [B,C] and chunks */
};

extern const struct cask_engine_api cask_engine_f64, cask_engine_f32, cask_engine_cpu,
    cask_engine_cpu_avx2, cask_engine_cpu_avx512;

/* By the device: ref64, ref, or cpu at the level of cask_cpu_isa(). */
const struct cask_engine_api *cask_engine_for(const struct cask_device *device);

#endif
