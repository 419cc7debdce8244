/* train/losses/rkd_distance.c - RKD-D: smooth L1 between distances, each net's divided by its mean.
 *
 * x_ij = d_ij / mu, mu = mean of the off-diagonal d (differentiated, as in lenscloth/RKD):
 *     dL/dd_ij = (1/mu) [ H_ij - (1/(B(B-1))) sum_kl H_kl x_kl ],  H = h'(x - t) / denominator
 */
#include "train/losses/distances.h"
#include "train/losses/rkd.h"

static double mean_distance(const double *gram, int batch)
{
    double sum = 0;
    bool constant;
    for (int64_t i = 0; i < batch; i++) {
        for (int64_t j = 0; j < batch; j++) {
            sum += pair_distance(gram, batch, i, j, &constant);
        }
    }
    return sum > 0 ? sum / ((double)batch * (batch - 1)) : 1;
}

double rkd_distance(const struct rkd_step *step, bool mean_scale, bool ordered_pairs)
{
    const int batch = step->batch;
    if (batch < 2) {
        return 0;
    }
    const double pairs = (double)batch * (batch - 1),
                 denominator = ordered_pairs ? pairs : (double)batch * batch;
    const double mu = mean_scale ? mean_distance(step->student, batch) : 1;
    const double teacher_mu = mean_scale ? mean_distance(step->teacher, batch) : 1;
    double sum = 0, through_mean = 0, slope;
    bool constant, ignored;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < batch; i++) {
            for (int64_t j = 0; j < batch; j++) {
                if (i == j) {
                    continue;
                }
                double d = pair_distance(step->student, batch, i, j, &constant);
                double t = pair_distance(step->teacher, batch, i, j, &ignored) / teacher_mu;
                double h = smooth_l1(d / mu - t, &slope);
                if (pass == 0) {
                    sum += h;
                    through_mean += mean_scale ? slope * d / mu / pairs : 0;
                } else if (!constant) {
                    double back = step->weight * (slope - through_mean) / (mu * denominator);
                    pair_distance_backward(step->d_student, batch, i, j, d, back);
                }
            }
        }
    }
    return sum / denominator;
}
