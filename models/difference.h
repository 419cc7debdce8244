/* models/difference.h - how a checkpoint's keys differ from a network's. Private to models/. */
#ifndef CASK_MODELS_DIFFERENCE_H
#define CASK_MODELS_DIFFERENCE_H

#include "models/models.h"

/* Writes "; 3 missing: a, b, c; 1 unknown: d; 1 of another shape: e (expected 2x3, found 3x2)" with
 * the first few keys of each kind. False, and no text: everything fits. */
bool cask_key_difference(const struct cask_graph *graph, const struct cask_checkpoint *checkpoint,
                         char *text, size_t bytes);

/* The registry's network with the most keys in common, and how they differ:
 * ". The nearest network is "ir50" (410 of its 475 keys are here); 65 missing: ...". Nothing is
 * written if no network shares a tenth of its keys. */
void cask_describe_nearest(const struct cask_checkpoint *checkpoint, char *text, size_t bytes);

#endif
