/* train/heads/heads.c - the heads by name. */
#include "train/heads/heads.h"

#include <math.h>

const char *const cask_head_names[CASK_HEAD_KINDS + 1] = {
    "softmax", "arcface", "cosface", "sphereface", "curricularface", "margin_distillation", NULL,
};

const struct cask_head *cask_head_of(const struct cask_head_options *options)
{
    static const struct cask_head *const heads[CASK_HEAD_KINDS] = {
        &cask_head_softmax,    &cask_head_arcface,        &cask_head_cosface,
        &cask_head_sphereface, &cask_head_curricularface, &cask_head_margin_distillation,
    };
    return heads[options->kind];
}

double cask_head_margin(const struct cask_head_options *options)
{
    return options->margin < 0 ? cask_head_of(options)->default_margin : options->margin;
}
