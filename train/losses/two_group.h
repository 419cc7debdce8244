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
#include "kernels/kernels.h"
#include "train/heads/heads.h"
#include "train/losses/cosines.h"
#include "train/losses/real.h"
#include "train/losses/select.h"
#include "train/losses/undecided.h"

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

/* Streaming sums of one group of one row; maxima are in units of x (cosines). */
struct group {
    real max_a, max_b;   /* REAL_NONE: nothing yet */
    double sum_a, sum_b; /* sum exp(a - max_a), sum exp(b - max_b) */
    double cross;        /* sum exp(b - max_b) (b - a) */
};
struct group_sums {
    struct group in, out; /* Phi, Psi; without the label, which is added last */
    int64_t above;        /* entries above the row's window */
};
struct row_state {
    struct cut cut;
    struct group_sums sums;
    bool summed;      /* the sums are complete: no pass adds to them any more */
    real tail;        /* teacher value of unknown classes, or REAL_NONE */
    double log_total; /* teacher's LSE where it is not the sum of what is seen; NAN: it is */
    double captured;  /* teacher mass that was known */
    /* gradient: inner (q - p) +- between q, with q and p inside the group */
    double inner_in, inner_out, between;
    double label_gradient;   /* dL/dx of the label's entry, before the margin's slope */
    double label_a, label_b; /* label's values in units of x; label_b NAN: unknown */
};

/* Classes [first, first + width) of all rows; y: the teacher's, NULL where nobody asked. */
struct chunk {
    int64_t number, first;
    int width;
    const real *x, *y; /* rows `stride` apart */
    int64_t stride;
};

/* What a rule wants of the next pass over the classes: to look at the sample's chunks, at all of
 * them, or that it is summed up. */
enum wish { NOTHING, A_SAMPLE, A_LOOK, SUMS };

struct classes;
struct two_group {
    double temperature;
    bool t_squared, margin;
    struct lambda primary, binary, secondary;
    enum index_set set;
    enum tail_rule tail;
    bool by_teacher; /* SET_CUT: the cut is on the teacher's values, not on the student's */
    enum wish wish;
    /* SET_CUT: how the cuts are found. `start` says what is wished first (NULL: sums); `watch` is
     * shown the chunks of a look; `next`, called behind each pass with a wish, says what the next
     * one is (NULL: none). It fills rows[i].cut. */
    void (*start)(struct two_group *rule, const struct classes *classes);
    void (*watch)(struct two_group *rule, const struct classes *classes, const struct chunk *chunk,
                  int thread);
    enum wish (*next)(struct two_group *rule, const struct classes *classes);
    struct undecided *undecided; /* SET_CUT */
    struct row_state *rows;      /* [batch], owned by the loss */
    double weight;               /* of this step */
    real fa, fb, ga, gb;         /* scale / T of student and teacher; for powers of two */
    real max_a, max_b; /* what maxima of groups begin with: REAL_NONE, or a bound known to do */
    size_t bytes;      /* of what it holds for the B x C work */
};

struct label {
    bool known;
    bool head; /* known, and the head's cross-entropy counts this row */
    uint32_t at;
    double sample_margin;        /* m, the same for all but in MarginDistillation */
    double plain, margin, slope; /* student: c_y, phi(c_y), dphi/dc */
    double hard;    /* CurricularFace: negatives above this are modulated; +INFINITY: none */
    double teacher; /* the teacher's cosine of it; NAN: not known */
};

enum teacher_kind { TEACHER_NONE, TEACHER_DENSE, TEACHER_CENTERS, TEACHER_TOPK };
struct teacher_rows {
    enum teacher_kind kind;
    double scale;
    const real *dense;          /* DENSE: [B][C] */
    const real *unit, *centers; /* CENTERS: [B][D_T], [C][D_T] */
    int dim;
    int k; /* TOPK: [B][k] */
    const uint32_t *index;
    const real *cosine;
    const double *lse;
    const double *temperatures;
    int temperature_count;
};

/* Cross-entropy of a row: what a pass sums up, without the label, and what follows from it. */
struct ce_sums {
    double max, sum; /* sum exp((x - max) scale) */
    real largest;    /* without a head's modulation */
};
struct ce_row {
    struct ce_sums sums;
    double max, log_sum;
    double rest; /* probability of everything but the label; 1 - p_y without its rounding */
};

/* One step at the class attachment. */
struct classes {
    struct cask_device *device;
    int batch;
    int64_t count;            /* C */
    double scale;             /* z = scale * x */
    bool bounded;             /* x are cosines, inside [-1, 1] */
    const real *column_scale; /* [C] 1/|w_c|, goes onto the gradient; NULL: ones */
    struct label *labels;     /* [B] */
    int labelled;             /* rows that the cross-entropy counts */
    struct teacher_rows *teacher;
    const struct cask_head *head;
    const struct cask_head_options *head_options;
    double curricular_t;
    bool cross_entropy;
    struct ce_row *ce;  /* [B] */
    const real *logits; /* [B][C] of the student, where they were given; NULL */
};

/* Student's entry of the label in units of x, and its slope. */
static inline double two_group_label(const struct two_group *rule, const struct label *label,
                                     double *slope)
{
    *slope = rule->margin ? label->slope : 1;
    return rule->margin ? label->margin : label->plain;
}

#define ce_clear NAME(cask_ce_clear)
#define ce_add NAME(cask_ce_add)
#define ce_merge NAME(cask_ce_merge)
#define ce_finish NAME(cask_ce_finish)
#define ce_gradient NAME(cask_ce_gradient)
#define two_group_teacher_label NAME(cask_two_group_teacher_label)
#define two_group_begin NAME(cask_two_group_begin)
#define two_group_clear NAME(cask_two_group_clear)
#define two_group_add NAME(cask_two_group_add)
#define two_group_put_aside NAME(cask_two_group_put_aside)
#define two_group_merge NAME(cask_two_group_merge)
#define two_group_decide NAME(cask_two_group_decide)
#define two_group_finish NAME(cask_two_group_finish)
#define two_group_gradient NAME(cask_two_group_gradient)

/* The teacher's entry of the label, with its margin if the rule wants it; NAN: not known. */
double two_group_teacher_label(const struct two_group *rule, const struct classes *classes,
                               int row);
/* Row-wise part before streaming: in top-k mode the tail and the true LSE. */
void two_group_begin(struct two_group *rule, const struct classes *classes, int row);
void two_group_clear(const struct two_group *rule, struct group_sums *sums);
/* Adds one row of a chunk; rows come in their order. Behind the last: what is undecided is put
 * aside. */
void two_group_add(const struct two_group *rule, const struct classes *classes, int64_t row,
                   const struct chunk *chunk, int thread, struct group_sums *sums);
void two_group_put_aside(const struct two_group *rule, const struct chunk *chunk, int thread);
/* Adds `from` to the row's own sums. */
void two_group_merge(struct two_group *rule, const struct classes *classes, int64_t row,
                     const struct group_sums *from);
/* Adds what was put aside for a row, by its cut: `count` entries in the order of their classes. */
void two_group_decide(struct two_group *rule, const struct classes *classes, int64_t row,
                      const real *x, const real *y, const uint32_t *index, int64_t count);
/* Sums to value and gradient coefficients; returns the row's L (with T^2, without weight or 1/B).
 */
double two_group_finish(struct two_group *rule, const struct classes *classes, int row);
/* g += dL/dx of one row of a chunk. */
void two_group_gradient(const struct two_group *rule, const struct classes *classes, int64_t row,
                        const struct chunk *chunk, real *g);

/* The same for the head's cross-entropy (cross_entropy.c); finish returns the row's value. */
void ce_clear(struct ce_sums *sums);
void ce_add(const struct classes *classes, int64_t row, const struct chunk *chunk,
            struct ce_sums *sums);
void ce_merge(const struct classes *classes, struct ce_sums *into, const struct ce_sums *from);
double ce_finish(const struct classes *classes, int64_t row);
void ce_gradient(const struct classes *classes, int64_t row, const struct chunk *chunk, real *g);

#endif
