/* train/heads/arcface.c - ArcFace (Deng et al. 2019, eq. 3): phi = cos(theta + m).
 *
 * Where theta + m would pass pi, the exact form falls back to c - m sin m (TFace, CurricularFace).
 * Easy margin: the margin only where c > 0. The straight-through form is insightface's since
 * December 2022: no fallback, and the backward pass takes slope 1, as if there were no margin; its
 * gradient is a rule, not the derivative of its loss.
 */
#include "train/heads/arc.h"
#include "train/heads/heads.h"

static void label(const struct cask_head_options *options, double margin, double cosine,
                  double *phi, double *slope)
{
    if (options->slope == CASK_SLOPE_STRAIGHT_THROUGH) {
        cask_arc_margin(margin, cosine, phi, slope);
        *slope = 1;
    } else if (options->easy && cosine <= 0) {
        *phi = cosine;
        *slope = 1;
    } else if (!options->easy && cosine <= cos(3.14159265358979323846 - margin)) {
        *phi = cosine - margin * sin(margin);
        *slope = 1;
    } else {
        cask_arc_margin(margin, cosine, phi, slope);
    }
}

const struct cask_head cask_head_arcface = {
    .name = "arcface", .default_margin = 0.5, .label = label};
