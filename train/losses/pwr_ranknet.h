/* train/losses/pwr_ranknet.h - PWR-RankNet: sum of log(1 + exp(beta x)) over all ordered pairs.
 *
 * It has no O(M log M) form: every one of the M^2 / 2 ordered pairs (a,b) is evaluated, each once,
 * for value and both derivatives. Scores are sorted by the teacher's, so that the b of an a are a
 * prefix. exp(beta x) = exp(beta psi_b) exp(-beta psi_a) needs no exponential of its own, and the
 * logarithms are taken of products; what is left is a division an ordered pair.
 */
#ifndef CASK_TRAIN_LOSSES_PWR_RANKNET_H
#define CASK_TRAIN_LOSSES_PWR_RANKNET_H

#include <stdint.h>

#include "kernels/kernels.h"
#include "train/losses/real.h"

enum { RANKNET_LANES = 16 }; /* derivatives by b are summed in so many arrays, whoever runs them */

struct pwr_ranknet {
    double *teacher;            /* [M]: as given */
    const uint32_t *order;      /* [M]: ascending by the teacher's score */
    real *up, *down;            /* [M]: exp(beta psi), exp(-beta psi), in that order; see run() */
    int64_t *before;            /* [M]: how many have a smaller teacher score */
    real *slope[RANKNET_LANES]; /* [M] each */
    double value[RANKNET_LANES];
};

#define pwr_ranknet_run NAME(cask_pwr_ranknet_run)

/* psi[M] by the caller's numbering; adds dl/dpsi to d_student. Returns the sum; *ordered is the
 * number of ordered pairs. */
double pwr_ranknet_run(struct pwr_ranknet *ranknet, struct cask_device *device, const double *psi,
                       int64_t count, double beta, double *d_student, double *ordered);

#endif
