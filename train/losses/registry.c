/* train/losses/registry.c - every loss there is, in the order of their terms. A row NAME stands for
 * the table cask_loss_NAME of one source file.
 */
#include "train/losses/losses.h"

#define LOSSES(ROW)                                                                                \
    ROW(kd)                                                                                        \
    ROW(dkd)                                                                                       \
    ROW(gkd)                                                                                       \
    ROW(gkd_teacher)                                                                               \
    ROW(ekd)                                                                                       \
    ROW(pwr)                                                                                       \
    ROW(rkd_d)                                                                                     \
    ROW(rkd_a)                                                                                     \
    ROW(rkd_da)                                                                                    \
    ROW(darkrank)                                                                                  \
    ROW(sp)                                                                                        \
    ROW(cckd)                                                                                      \
    ROW(triplet)                                                                                   \
    ROW(embedding)

#define DECLARE(name) extern const struct loss NAME(cask_loss_##name);
#define ADDRESS(name) &NAME(cask_loss_##name),

LOSSES(DECLARE)

const struct loss *NAME(cask_loss_at)(int index)
{
    static const struct loss *const losses[] = {LOSSES(ADDRESS)};
    return index >= 0 && index < (int)(sizeof losses / sizeof *losses) ? losses[index] : NULL;
}
