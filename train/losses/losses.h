/* train/losses/losses.h - what a loss sees, and where it may attach.
 *
 * A step computes the student's raw embedding f [B,D], its unit rows e, cosines c = e W^T [B,C] to
 * the class rows, and, if a loss asks, the Gram matrix S = e e^T [B,B]. The head turns cosines
 * into logits z = s * c with a margin at the label. A loss attaches at exactly one place, returns
 * its value and ADDS weight * gradient there; the trainer alone goes on to f and W:
 *
 *   CASK_AT_LOGITS     d_cosine [B,C]  class logits: cross-entropy, KD, GKD, DKD
 *   CASK_AT_PAIRS      d_gram [B,B]    pair similarities, entries independent: EKD, PWR, RKD, ...
 *   CASK_AT_EMBEDDING  d_unit / d_raw  embedding rows: cosine, angular, FitNet
 *
 * Teacher quantities are constants. Losses see only kernels/ and common/: no file, no cache.
 */
#ifndef CASK_TRAIN_LOSSES_LOSSES_H
#define CASK_TRAIN_LOSSES_LOSSES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/status.h"
#include "kernels/kernels.h"

#endif
