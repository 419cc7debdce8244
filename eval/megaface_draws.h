/* eval/megaface_draws.h - the bootstrap of MegaFace: identities are drawn with replacement; a pair,
 * and a probe with all its negatives, counts as often as its identity. Distractors stay. Private to
 * eval/.
 */
#ifndef CASK_EVAL_MEGAFACE_DRAWS_H
#define CASK_EVAL_MEGAFACE_DRAWS_H

#include "eval/largest.h"
#include "eval/megaface.h"

enum { MEGAFACE_DEPTH = 4 }; /* negatives kept, as a multiple of those allowed */

/* The most negatives that may be accepted: the largest k with k / n <= far. */
int64_t megaface_allowed(double far, int64_t negatives);

struct megaface_detail {
    const struct cask_probes *probes; /* borrowed */
    int64_t distractors;
    int64_t *begin, *next;                  /* [probes + 1], [probes]: place in scores */
    float *scores;                          /* of every pair, by probe: 4 bytes a pair */
    int64_t (*hits)[CASK_MEGAFACE_RANKS];   /* [probes] */
    struct cask_megaface_outcome *outcomes; /* like scores, if they are kept; else NULL */
    struct cask_kept *negatives;            /* the largest, falling; tag: probe */
    int64_t negative_count;
    bool all_negatives; /* there are no others but noise */
};
/* largest: [slices], of disjoint probes. outcomes: keep them. */
enum cask_status megaface_detail_open(struct megaface_detail *detail,
                                      const struct cask_probes *probes, int64_t distractors,
                                      const struct cask_largest *largest, int slices, bool outcomes,
                                      struct cask_error *err);
void megaface_detail_close(struct megaface_detail *detail); /* accepts a zeroed one */
/* A pair of the probe; best: [RANKS] largest negatives of it. One thread a probe. */
void megaface_detail_add(struct megaface_detail *detail, int64_t probe, float score,
                         const float *best, bool accepted);
/* Hands the outcomes over to `draws`. */
enum cask_status megaface_draw(struct megaface_detail *detail, double far,
                               struct cask_megaface_draws *draws, struct cask_error *err);

#endif
