/* train/losses/registry.c - every loss there is, in the order of their terms. */
#include "train/losses/losses.h"

const struct loss *NAME(cask_loss_at)(int index)
{
    static const struct loss *const losses[] = {
        &NAME(cask_loss_kd),        &NAME(cask_loss_dkd),    &NAME(cask_loss_gkd),
        &NAME(cask_loss_ekd),       &NAME(cask_loss_pwr),    &NAME(cask_loss_rkd_d),
        &NAME(cask_loss_rkd_a),     &NAME(cask_loss_rkd_da), &NAME(cask_loss_darkrank),
        &NAME(cask_loss_sp),        &NAME(cask_loss_cckd),   &NAME(cask_loss_triplet),
        &NAME(cask_loss_embedding),
    };
    return index >= 0 && index < (int)(sizeof losses / sizeof *losses) ? losses[index] : NULL;
}
