/* train/heads/curricularface.c - CurricularFace (Huang et al. 2020): ArcFace's label logit, and
 * negatives with c_j > cos(theta_y + m) become c_j (t + c_j). t follows the mean label cosine.
 *
 * The test for hardness uses the plain cos(theta_y + m), also where the fallback is active.
 */
#include "train/heads/arc.h"
#include "train/heads/heads.h"

static void label(const struct cask_head_options *options, double margin, double cosine,
                  double *phi, double *slope)
{
    cask_head_arcface.label(options, margin, cosine, phi, slope);
}

static double hard(double margin, double cosine)
{
    double phi, slope;
    cask_arc_margin(margin, cosine, &phi, &slope);
    return phi;
}

const struct cask_head cask_head_curricularface = {
    .name = "curricularface", .default_margin = 0.5, .label = label, .hard = hard};
