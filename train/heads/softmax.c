/* train/heads/softmax.c - normalised softmax: z = s c, no margin. */
#include "train/heads/heads.h"

static void label(const struct cask_head_options *options, double margin, double cosine,
                  double *phi, double *slope)
{
    (void)options;
    (void)margin;
    *phi = cosine;
    *slope = 1;
}

const struct cask_head cask_head_softmax = {.name = "softmax", .label = label};
