/* train/heads/sphereface.c - SphereFace / A-Softmax with annealing (Liu et al. 2017), on unit
 * features: phi = (lambda c + psi) / (1 + lambda), psi = (-1)^k cos(m theta) - 2k with
 * k = floor(m theta / pi). The original multiplies by |f| where this has the scale s.
 */
#include <math.h>

#include "train/heads/heads.h"

static void label(const struct cask_head_options *options, double margin, double cosine,
                  double *phi, double *slope)
{
    const double pi = 3.14159265358979323846;
    double theta = acos(cosine), sine = sqrt(fmax(1 - cosine * cosine, 1e-12));
    double k =
        fmin(floor(margin * theta / pi), margin - 1); /* theta = pi belongs to the last branch */
    k = fmax(k, 0);
    double sign = fmod(k, 2) == 0 ? 1 : -1;
    double psi = sign * cos(margin * theta) - 2 * k;
    *phi = (options->lambda * cosine + psi) / (1 + options->lambda);
    *slope = (options->lambda + sign * margin * sin(margin * theta) / sine) / (1 + options->lambda);
}

const struct cask_head cask_head_sphereface = {
    .name = "sphereface", .default_margin = 4, .label = label};
