/* train/heads/heads.h - margin heads: what happens to the label's cosine before the softmax.
 *
 * z_j = s c_j for all classes, but z_y = s phi(c_y). A head is phi and its slope dphi/dc, per
 * sample and in double: B evaluations a step, whatever C is. CurricularFace also modulates hard
 * negatives; it says from which cosine on.
 *
 * Accuracy and selection use margin-free cosines unless a loss says otherwise.
 */
#ifndef CASK_TRAIN_HEADS_HEADS_H
#define CASK_TRAIN_HEADS_HEADS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cask_head_kind {
    CASK_HEAD_SOFTMAX,
    CASK_HEAD_ARCFACE,
    CASK_HEAD_COSFACE,
    CASK_HEAD_SPHEREFACE,
    CASK_HEAD_CURRICULARFACE,
    CASK_HEAD_MARGIN_DISTILLATION,
    CASK_HEAD_KINDS
};
enum cask_slope { CASK_SLOPE_EXACT, CASK_SLOPE_STRAIGHT_THROUGH };

struct cask_head_options {
    double weight; /* of the cross-entropy in the sum of all terms */
    int kind;      /* enum cask_head_kind */
    double scale;
    double margin; /* below 0: the head's own default */
    bool easy;
    int slope;                     /* enum cask_slope */
    double lambda;                 /* SphereFace */
    double t;                      /* CurricularFace: start */
    double t_momentum;             /* CurricularFace; 1: t stays as it is */
    double margin_min, margin_max; /* MarginDistillation */
    bool frozen;                   /* W is the teacher's class centres and does not learn */
    double keep_mb;    /* of cosines, between the passes of a step; no say in the result */
    bool pack_centers; /* a copy of the teacher's, packed once; no say in the result */
};

struct cask_head {
    const char *name;
    double default_margin;
    /* phi and dphi/dc at cosine c, already inside [-1, 1]; `margin` is the sample's own. */
    void (*label)(const struct cask_head_options *options, double margin, double cosine,
                  double *phi, double *slope);
    /* Cosine above which a negative is hard; NULL: there is no such thing. */
    double (*hard)(double margin, double cosine);
};

extern const struct cask_head cask_head_softmax, cask_head_arcface, cask_head_cosface,
    cask_head_sphereface, cask_head_curricularface, cask_head_margin_distillation;

extern const char
    *const cask_head_names[CASK_HEAD_KINDS + 1]; /* NULL-terminated, in the order of the enum */
const struct cask_head *cask_head_of(const struct cask_head_options *options);
double cask_head_margin(const struct cask_head_options *options); /* resolves the default */

/* MarginDistillation: m_i = m_min + (m_max - m_min) u_i / max(u), u = label cosines of the teacher,
 * clamped to [0, 1]; all m_min where no u is above 0. NaN entries (no label) are passed over. */
void cask_head_sample_margins(const struct cask_head_options *options, const double *teacher_cosine,
                              int count, double *margin);

#endif
