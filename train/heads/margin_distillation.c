/* train/heads/margin_distillation.c - MarginDistillation (Svitov and Alyamkin 2020): ArcFace over
 * the teacher's frozen class centres, with a margin per sample that grows with the teacher's own
 * certainty u_i = cos(teacher embedding, teacher centre y_i). No fallback.
 */
#include "train/heads/arc.h"
#include "train/heads/heads.h"

static void label(const struct cask_head_options *options, double margin, double cosine,
                  double *phi, double *slope)
{
    (void)options;
    cask_arc_margin(margin, cosine, phi, slope);
}

const struct cask_head cask_head_margin_distillation = {.name = "margin_distillation",
                                                        .label = label};

void cask_head_sample_margins(const struct cask_head_options *options, const double *teacher_cosine,
                              int count, double *margin)
{
    double largest = 0;
    for (int i = 0; i < count; i++) {
        largest = teacher_cosine[i] > largest ? teacher_cosine[i] : largest;
    }
    for (int i = 0; i < count; i++) {
        double u = teacher_cosine[i] > 0 && largest > 0 ? teacher_cosine[i] / largest : 0;
        margin[i] = options->margin_min + (options->margin_max - options->margin_min) * u;
    }
}
