/* train/losses/engine_inside.h - the engine's memory, shared by engine_create.c, engine_step.c
 * (order of a step), engine_rows.c (pairs and embeddings), and for everything B x C: engine_class.c
 * (order of the passes), class_chunks.c (one chunk of classes), class_cosines.c (its cosines),
 * class_memory.c and class_products.c (what both need), packed_centers.c (the teacher's class
 * centres). engine_table.c is its face. One copy per number type.
 */
#ifndef CASK_TRAIN_LOSSES_ENGINE_INSIDE_H
#define CASK_TRAIN_LOSSES_ENGINE_INSIDE_H

#include "train/losses/losses.h"
#include "train/losses/rows.h"
#include "train/losses/select.h"
#include "train/losses/teacher_store.h"

enum { MAX_TERMS = 32 };

struct term {
    const struct loss *loss;
    const void *options;
    void *state;
    unsigned needs;
};

/* Chunks are dealt to a fixed number of lanes, a lane is worked by one thread at a time, and lanes
 * are added up in their order: so sums have the same bits for any number of threads. */
struct lane {
    real *d_unit;            /* [B][D] */
    struct ce_sums *ce;      /* [B] */
    struct group_sums *sums; /* [rules][B] */
};

/* What a thread needs for one chunk. The bf16 copies are there on devices that compute in it. */
struct workspace {
    real *x, *y, *gradient;                /* [B][width] */
    real *d_rows;                          /* [width][D]: gradient of the chunk's class rows */
    void *rows16, *teacher16, *gradient16; /* [width][D], [width][D_T], [B][width] */
    void *packed;                          /* class centres of a chunk, where no copy is kept */
};

/* The products of a chunk, planned for one batch size: of a full chunk and of the last. */
enum product { COSINES, TEACHER, TO_UNIT, TO_ROWS, PRODUCTS };
struct products {
    int batch;
    struct cask_planned_gemm *full[PRODUCTS], *last[PRODUCTS];
};

/* The teacher's class centres, rounded and packed for product TEACHER: packed_centers.c. */
struct packed_centers {
    bool wanted, borrowed; /* a copy may be kept; the memory is the store's */
    const void *of;        /* these rows; NULL: a chunk is packed whenever it is multiplied */
    char *memory;          /* chunks, `stride` bytes apart */
    size_t stride;
};

struct cask_engine {
    struct cask_device *device;
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
    double *gram, *raw_gram, *teacher_gram, *teacher_raw_gram, *d_gram, *d_raw_gram; /* [B][B] */
    double *length; /* [B] of the student's raw rows */

    /* classes */
    real *weight, *momentum; /* [C][D]; NULL if frozen */
    real *d_weight;          /* [C][D]; NULL if frozen or fused */
    real *column_scale;      /* [C] 1/|w_c| */
    bool fused;              /* a chunk's rows are updated as soon as their gradient is known */
    struct cosines x, y;     /* of the student, of the teacher */
    /* NULL: y's memory is the engine's own. Else other students read there what this one wrote:
     * nothing but the cosines may stand in it. */
    struct cask_teacher_store *store;
    struct cask_store_batch store_batch;
    struct packed_centers packed;
    struct products products;
    struct workspace *workspaces; /* [threads] */
    struct lane *lanes;
    int lane_count;
    bool half; /* products take bf16 */
    void *unit16, *teacher_unit16;
    struct label *labels;
    struct ce_row *ce;
    double *margins, *teacher_cosine; /* [B]: MarginDistillation */
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
#define engine_measure NAME(cask_engine_measure)
#define engine_create NAME(cask_engine_create)
#define engine_free NAME(cask_engine_free)
#define engine_step NAME(cask_engine_step)
#define class_chunk NAME(cask_class_chunk)
#define class_create NAME(cask_class_create)
#define class_release NAME(cask_class_release)
#define class_plan NAME(cask_class_plan)
#define class_unplan NAME(cask_class_unplan)
#define centers_create NAME(cask_centers_create)
#define centers_keep NAME(cask_centers_keep)
#define centers_chunk NAME(cask_centers_chunk)
#define centers_release NAME(cask_centers_release)
#define class_pass NAME(cask_class_pass)
#define class_in_sample NAME(cask_class_in_sample)
#define class_known NAME(cask_class_known)
#define class_rows NAME(cask_class_rows)
#define class_operand NAME(cask_class_operand)
#define class_product NAME(cask_class_product)
#define class_student NAME(cask_class_student)
#define class_teacher NAME(cask_class_teacher)
#define class_forward NAME(cask_class_forward)
#define class_backward NAME(cask_class_backward)
#define rows_step NAME(cask_rows_step)

/* Counted allocation: `step` for what is there for the B x C work only. */
enum cask_status engine_alloc(struct cask_engine *engine, size_t count, size_t size, bool step,
                              const char *what, void *slot, struct cask_error *err);
/* Fills gradient norm and cosine of result entry `at` from its part of d_unit. */
void engine_measure(struct cask_engine *engine, int at, const real *d_unit, int batch);

/* See engine.h. */
enum cask_status engine_create(const struct cask_engine_options *options, struct cask_engine **out,
                               struct cask_error *err);
void engine_free(struct cask_engine *engine);
enum cask_status engine_step(struct cask_engine *engine, const struct cask_engine_input *input,
                             struct cask_error *err);

/* class_memory.c */
/* Classes of a chunk: as wanted, or 0: what a core's cache holds. */
int64_t class_chunk(const struct cask_engine_facts *facts, int64_t wanted);
enum cask_status class_create(struct cask_engine *engine, const struct cask_engine_options *options,
                              struct cask_error *err);
void class_release(struct cask_engine *engine);

/* class_products.c */
/* Products for this batch size; nothing to do if they are there. */
enum cask_status class_plan(struct cask_engine *engine, int batch, struct cask_error *err);
void class_unplan(struct cask_engine *engine);

/* packed_centers.c. create: behind all else of class_create. keep: the copy, once, if anything
 * would read it. chunk: as the product takes it, of the copy or made in the thread's workspace;
 * NULL: the library failed. */
enum cask_status centers_create(struct cask_engine *engine,
                                const struct cask_engine_options *options, struct cask_error *err);
enum cask_status centers_keep(struct cask_engine *engine, const void *centers,
                              struct cask_error *err);
const void *centers_chunk(const struct cask_engine *engine, const real *centers, int64_t chunk,
                          int thread);
void centers_release(struct cask_engine *engine);

/* class_chunks.c: one pass over the classes, chunk by chunk.
 *   SAMPLE    a quarter of the chunks, for rules that wish it
 *   SUM       all of them: cross-entropy; rules are summed up or watch, as they wish
 *   AGAIN     the same without cross-entropy
 *   GRADIENT  gradient of the terms whose bit is set in `mask` (bit 0: cross-entropy) to the lanes'
 *             d_unit and, if `rows`, to the class rows
 */
struct pass {
    struct cask_engine *engine;
    const struct cask_engine_input *input;
    enum stage { SAMPLE, SUM, AGAIN, GRADIENT } stage;
    uint64_t mask;
    bool rows, failed;
};
enum cask_status class_pass(struct pass *pass, struct cask_error *err);

/* class_cosines.c. The sample: one in four of each lane's chunks, spread evenly over all classes.
 */
bool class_in_sample(const struct cask_engine *engine, int64_t chunk);
/* Of a chunk that is kept: it was computed in this step. */
bool class_known(const struct cask_engine *engine, const struct cosines *cosines, int64_t chunk);
const real *class_rows(const struct pass *pass, int64_t first);
/* `from` as the products take it: itself, or rounded to bf16 in `copy`. */
const void *class_operand(const struct cask_engine *engine, const real *from, int64_t count,
                          void *copy);
/* full: of a chunk that is; soon: see kernels.h. False: the library failed. */
bool class_product(const struct pass *pass, enum product which, bool full, int thread,
                   const void *a, const void *b, void *c, struct cask_soon *soon);
/* chunk->x, chunk->y: kept, or made in the thread's workspace. False: a product failed. */
bool class_student(const struct pass *pass, struct chunk *chunk, int thread);
bool class_teacher(const struct pass *pass, struct chunk *chunk, int thread,
                   struct cask_soon *soon);

/* engine_class.c. forward: labels, head, values of the cross-entropy and of class terms.
 * backward: their gradient: d_unit += G W, class rows, or d_logits. */
enum cask_status class_forward(struct cask_engine *engine, const struct cask_engine_input *input,
                               struct cask_error *err);
enum cask_status class_backward(struct cask_engine *engine, const struct cask_engine_input *input,
                                struct cask_error *err);
/* engine_rows.c: every pair and embedding loss; adds to d_unit and d_raw. */
void rows_step(struct cask_engine *engine, const struct cask_engine_input *input);

#endif
