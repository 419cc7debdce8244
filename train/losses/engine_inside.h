/* train/losses/engine_inside.h - the engine's memory, shared by engine.c (creation, order of a
 * step), engine_rows.c (pairs and embeddings), engine_class.c and class_memory.c (everything B x
 * C). One copy per number type.
 */
#ifndef CASK_TRAIN_LOSSES_ENGINE_INSIDE_H
#define CASK_TRAIN_LOSSES_ENGINE_INSIDE_H

#include "train/losses/losses.h"
#include "train/losses/rows.h"
#include "train/losses/select.h"

enum { MAX_TERMS = 32 };

struct term {
    const struct loss *loss;
    const void *options;
    void *state;
    unsigned needs;
};

struct cask_engine {
    struct cask_device *device;
    struct cask_pool *pool;
    struct cask_engine_facts facts;
    struct cask_head_options head_options;
    bool has_head;
    const struct cask_head *head;
    struct term terms[MAX_TERMS];
    int term_count;
    unsigned needs;
    uint64_t seed;
    size_t bytes, step_bytes;

    /* embeddings and pairs */
    real *unit, *norm, *d_unit, *d_raw, *teacher_raw;
    real *term_unit, *term_raw, *head_unit; /* measuring: one term's gradient, the head's */
    real *gram, *raw_gram, *teacher_gram, *teacher_raw_gram, *d_gram, *d_raw_gram;

    /* classes */
    real *weight, *momentum, *d_weight; /* [C][D]; NULL if frozen */
    real *column_scale;                 /* [C] 1/|w_c| */
    real *x;                            /* [B][C] */
    struct label *labels;
    struct ce_row *ce;
    struct candidate *scratch;
    double *margins, *teacher_cosine; /* [B]: MarginDistillation */
    real *gradient_chunk;             /* [B][measure_width]: measuring one class term */
    int64_t measure_width;
    struct teacher_rows teacher;
    struct classes classes;
    struct two_group *rules[MAX_TERMS];
    int rule_term[MAX_TERMS], rule_count; /* rule r belongs to term rule_term[r] */
    double curricular_t;
    float curricular_state;

    double value[1 + MAX_TERMS], gradient_norm[1 + MAX_TERMS], gradient_cosine[1 + MAX_TERMS];
    struct cask_engine_result result;
};

#define engine_alloc NAME(cask_engine_alloc)
#define engine_gemm NAME(cask_engine_gemm)
#define engine_measure NAME(cask_engine_measure)
#define class_create NAME(cask_class_create)
#define class_release NAME(cask_class_release)
#define class_step NAME(cask_class_step)
#define rows_step NAME(cask_rows_step)

/* Counted allocation: `step` for what is there for the B x C work only. */
enum cask_status engine_alloc(struct cask_engine *engine, size_t count, size_t size, bool step,
                              const char *what, void *slot, struct cask_error *err);
enum cask_status engine_gemm(struct cask_engine *engine, struct cask_gemm gemm, const real *a,
                             const real *b, real *c, struct cask_error *err);
/* Fills gradient norm and cosine of result entry `at` from its part of d_unit. */
void engine_measure(struct cask_engine *engine, int at, const real *d_unit, int batch);

enum cask_status class_create(struct cask_engine *engine, const struct cask_engine_options *options,
                              struct cask_error *err);
void class_release(struct cask_engine *engine);
/* Cosines, head, class terms; d_unit += G W, d_weight = its gradient, or d_logits. */
enum cask_status class_step(struct cask_engine *engine, const struct cask_engine_input *input,
                            struct cask_error *err);
/* engine_rows.c: every pair and embedding loss; adds to d_unit and d_raw. */
enum cask_status rows_step(struct cask_engine *engine, const struct cask_engine_input *input,
                           struct cask_error *err);

#endif
