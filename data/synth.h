/* data/synth.h - draws parametric cartoon faces, for demonstrations without real data.
 *
 * Who a face is (proportions, skin, eyes, hair, moles ...) depends on (seed, identity) alone; how
 * it is seen (pose, light, expression, glasses, blur, noise, background) on (seed, identity,
 * image). The nuisance is strong enough that comparing pixels does not tell people apart well.
 */
#ifndef CASK_DATA_SYNTH_H
#define CASK_DATA_SYNTH_H

#include <stdint.h>

#include "common/status.h"

/* Fills rgb[size][size][3]. 16 <= size <= 1024. Thread-safe. */
enum cask_status cask_synth_face(uint64_t seed, uint32_t identity, uint32_t image, int size,
                                 uint8_t *rgb, struct cask_error *err);

#endif
