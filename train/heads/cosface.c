/* train/heads/cosface.c - CosFace (Wang et al. 2018, eq. 4): phi = c - m. */
#include "train/heads/heads.h"

static void label(const struct cask_head_options *options, double margin, double cosine,
                  double *phi, double *slope)
{
    (void)options;
    *phi = cosine - margin;
    *slope = 1;
}

/* 0.40 in TFace, insightface and GKD's code; the paper and PWR have 0.35. */
const struct cask_head cask_head_cosface = {
    .name = "cosface", .default_margin = 0.4, .label = label};
