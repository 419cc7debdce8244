/* train/losses/gkd_cut.h - rules that cut their rows at a rank: of the student (gkd.c) or of the
 * teacher (gkd_teacher.c).
 *
 *   GKD_FIXED    the k largest
 *   GKD_SAMPLE   k_i = argmin |mass of the k_i largest - tau|, of each row's softmax
 *   GKD_BATCH    one k: the smallest in 1, 1 + step, ... whose classes hold tau of the batch's mass
 * Cuts are found while rows stream by (window.h). FIXED looks at the sample's chunks only, before
 * the sums; the others at all of them, and BATCH once more, for sums over rows.
 */
#ifndef CASK_TRAIN_LOSSES_GKD_CUT_H
#define CASK_TRAIN_LOSSES_GKD_CUT_H

#include "train/losses/losses.h"

enum gkd_selection { GKD_BY_VARIANT, GKD_FIXED, GKD_SAMPLE, GKD_BATCH };

/* Of a thread, to settle a row with. */
struct settling {
    struct gathered inside;
    real *x, *y; /* [room + 1]; inside.value is one of them */
};

struct gkd {
    struct two_group rule;
    enum gkd_selection selection;
    bool force_label;      /* the label is always one of the k */
    bool selection_margin; /* and is ranked by its margin logit */
    int64_t k, step;
    double tau, selection_temperature;

    int threads;
    int64_t batch;
    int looks; /* of this step, at all of the rows; the second one of BATCH is for `mass` */
    struct undecided undecided;
    struct settling *settling; /* [threads] */
    struct goal *goals;        /* [batch] */
    int32_t *counts;           /* [threads][batch][TALLY] */
    real *ranges;              /* [threads][batch][2] */
    int64_t *masses;           /* as counts; NULL for FIXED */
    /* BATCH: probabilities summed over the batch, of the selection softmax */
    real *mass;      /* [classes] */
    double *log_sum; /* [batch] */
};

#define gkd_cut_create NAME(cask_gkd_cut_create)
#define gkd_cut_release NAME(cask_gkd_cut_release)

/* Makes gkd->rule, whose selection is set, one that is cut. Release accepts a part of it. */
enum cask_status gkd_cut_create(struct gkd *gkd, const struct cask_engine_facts *facts,
                                struct cask_error *err);
void gkd_cut_release(struct gkd *gkd);

#endif
