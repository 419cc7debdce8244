/* train/losses/two_group.h - KD, DKD and GKD as one kernel.
 *
 * Per sample: student logits a = z/T, teacher logits b = z^T/T, an index set Phi and its rest Psi.
 * q, p are the softmaxes, Q, P their masses on Phi; qh, ph (qc, pc) the softmaxes inside Phi (Psi).
 *     L = T^2/B sum_i [ l1 KL(ph|qh) + l2 KL([P,1-P] | [Q,1-Q]) + l3 KL(pc|qc) ]
 *     j in Phi: dL/dz_j = T/B [ (l1 + l2 (Q-P)) qh_j - l1 ph_j ]
 *     j in Psi: dL/dz_j = T/B [ (l3 - l2 (Q-P)) qc_j - l3 pc_j ]
 * With l1 = P, l2 = 1, l3 = 1-P, or with Phi = everything and l1 = 1, this is classical KD.
 *
 * Everything is computed from log-sum-exps per group, never as 1-Q, so it is safe in float at T = 1
 * and scale 64. Phi is not a mask but a cut on the student's value: 16 bytes a row.
 */
#ifndef CASK_TRAIN_LOSSES_TWO_GROUP_H
#define CASK_TRAIN_LOSSES_TWO_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"
#include "common/thread.h"
#include "kernels/kernels.h"
#include "train/heads/heads.h"
#include "train/losses/real.h"

enum {
    TILE = 1024
}; /* classes a row works on at once: tiles of student, teacher and gradient stay in L1 */

enum index_set { SET_ALL, SET_LABEL, SET_CUT };
enum lambda_kind { LAMBDA_VALUE, LAMBDA_P, LAMBDA_ONE_MINUS_P };
struct lambda {
    enum lambda_kind kind;
    double value;
};
/* Where the teacher is known only at its top-k: what stands for the other classes.
 *   ONE_BIN       they are one class for both nets: what Phi holds of them moves to Psi, and Psi
 * has no inside UNIFORM       p_j = (rest of the mass) / (their number) ZERO          p_j = 0, the
 * known ones keep their true mass RENORMALISED  p_j = 0, the known ones are scaled up to mass 1
 * (needs no LSE) */
enum tail_rule { TAIL_ONE_BIN, TAIL_UNIFORM, TAIL_ZERO, TAIL_RENORMALISED };

/* A class with x > value (or the teacher's, see by_teacher), or x = value and a number up to index,
 * is in Phi. The label is decided apart. */
struct cut {
    real value;
    int64_t index;
    bool label;
};

/* Streaming sums of one group of one row; maxima are in units of x (cosines). */
struct group {
    real max_a, max_b; /* REAL_NONE: nothing yet */
    double sum_a, sum_b;
    double cross; /* sum exp(b - max_b) ((b - max_b) - (a - max_a)) */
};
struct row_state {
    struct cut cut;
    struct group in, out; /* Phi, Psi */
    real tail;            /* teacher value of unknown classes, or REAL_NONE */
    double log_total;     /* teacher's LSE where it is not the sum of what is seen; NAN: it is */
    double captured;      /* teacher mass that was known */
    /* gradient: inner (q - p) +- between q, with q and p inside the group */
    double inner_in, inner_out, between;
    double label_gradient;   /* dL/dx of the label's entry, before the margin's slope */
    double label_a, label_b; /* label's values in units of x; label_b NAN: unknown */
};

struct classes;
struct two_group {
    double temperature;
    bool t_squared, margin;
    struct lambda primary, binary, secondary;
    enum index_set set;
    enum tail_rule tail;
    bool by_teacher; /* SET_CUT: the cut is on the teacher's values, not on the student's */
    /* Fills rows[i].cut for SET_CUT from whole rows. */
    enum cask_status (*select)(struct two_group *rule, const struct classes *classes,
                               struct cask_error *err);
    void *owner;            /* of the loss, for select() */
    struct row_state *rows; /* [batch], owned by the loss */
    double weight;          /* of this step */
};

struct label {
    bool known;
    bool head; /* known, and the head's cross-entropy counts this row */
    uint32_t at;
    double sample_margin;        /* m, the same for all but in MarginDistillation */
    double plain, margin, slope; /* student: c_y, phi(c_y), dphi/dc */
    double hard;    /* CurricularFace: negatives above this are modulated; +INFINITY: none */
    double teacher; /* cosine of the label, set while streaming; NAN: not known */
};

enum teacher_kind { TEACHER_NONE, TEACHER_DENSE, TEACHER_CENTERS, TEACHER_TOPK };
struct teacher_rows {
    enum teacher_kind kind;
    double scale;
    struct cask_device *device;
    const real *dense;          /* DENSE: [B][C] */
    const real *unit, *centers; /* CENTERS: [B][D_T], [C][D_T] */
    int dim;
    int k; /* TOPK: [B][k] */
    const uint32_t *index;
    const real *cosine, *label_cosine;
    const double *lse;
    const double *temperatures;
    int temperature_count;
    /* the chunk that is loaded */
    real *chunk; /* [B][capacity], rows `count` apart */
    int64_t capacity, first, count;
    bool loaded;
};

/* One step at the class attachment. */
struct classes {
    int batch;
    int64_t count; /* C */
    real *x;       /* [B][C]: cosines, or logits with scale 1; the gradient replaces them */
    double scale;  /* z = scale * x */
    const real *column_scale; /* [C] 1/|w_c|, goes onto the gradient; NULL: ones */
    struct label *labels;     /* [B] */
    int labelled;             /* rows that the cross-entropy counts */
    struct teacher_rows *teacher;
    const struct cask_head *head;
    const struct cask_head_options *head_options;
    double curricular_t;
    bool cross_entropy;
    struct ce_row {
        double max, log_sum;
        double rest; /* probability of everything but the label; 1 - p_y without its rounding */
    } * ce;          /* [B] */
    struct cask_pool *pool;
    struct candidate *scratch; /* [threads][rank_scratch(C)]; NULL if no term selects */
};

#define class_begin NAME(cask_class_begin)
#define class_chunk_stats NAME(cask_class_chunk_stats)
#define class_finish NAME(cask_class_finish)
#define class_gradient NAME(cask_class_gradient)
#define teacher_load NAME(cask_teacher_load)
#define two_group_teacher_label NAME(cask_two_group_teacher_label)
#define two_group_begin NAME(cask_two_group_begin)
#define two_group_add_tile NAME(cask_two_group_add_tile)
#define two_group_finish NAME(cask_two_group_finish)
#define two_group_gradient NAME(cask_two_group_gradient)

/* teacher.c: cosines of classes [first, first + count) into teacher->chunk. */
enum cask_status teacher_load(struct teacher_rows *teacher, int batch, int64_t classes,
                              int64_t first, int64_t count, struct cask_error *err);
/* The teacher's entry of the label, with its margin if the rule wants it; NAN: not known (yet). */
double two_group_teacher_label(const struct two_group *rule, const struct classes *classes,
                               int row);
/* Row-wise part before streaming: in top-k mode the tail and the true LSE. */
void two_group_begin(struct two_group *rule, const struct classes *classes, int row);
/* One tile of one row, [first, first + count); y: teacher's values there. */
void two_group_add_tile(struct two_group *rule, const struct classes *classes, int row,
                        int64_t first, int count, const real *y);
/* Sums to value and gradient coefficients; returns the row's L (with T^2, without weight or 1/B).
 */
double two_group_finish(struct two_group *rule, const struct classes *classes, int row);
/* Adds dL/dx to g, except at the label, whose part comes from row_state.label_gradient. */
void two_group_gradient(const struct two_group *rule, const struct classes *classes, int row,
                        int64_t first, int count, const real *y, real *g);

/* class.c: the order of a step. begin: LSE of the head, selections. Then for every chunk of the
 * teacher: load, stats. finish: values (term 0 is the head's cross-entropy). Then for every chunk:
 * load, gradient of the terms whose bit is set in `mask`, written to out (rows `stride` apart); out
 * may be x + first with stride C. */
enum cask_status class_begin(struct classes *classes, struct two_group **terms, int count,
                             struct cask_error *err);
void class_chunk_stats(const struct classes *classes, struct two_group **terms, int count);
void class_finish(struct classes *classes, struct two_group **terms, int count, double *values);
void class_gradient(const struct classes *classes, struct two_group **terms, int count,
                    uint64_t mask, int64_t first, int64_t width, real *out, int64_t stride);

#endif
