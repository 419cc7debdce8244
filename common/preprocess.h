/* common/preprocess.h - how a network wants its pixels. Part of every model file's metadata and of
 * every cache manifest; teacher and student may differ.
 *
 * A decoded 8-bit pixel p of the channel at its place becomes (p - mean) / scale.
 */
#ifndef CASK_COMMON_PREPROCESS_H
#define CASK_COMMON_PREPROCESS_H

#include <stdbool.h>

#include "common/status.h"

enum cask_channel_order { CASK_RGB, CASK_BGR };

struct cask_preprocess {
    enum cask_channel_order order;
    double mean, scale;
    int width, height; /* pixels the network takes; images of another size are an error */
};

/* insightface's: RGB, (p - 127.5) / 127.5, 112 x 112 */
struct cask_preprocess cask_preprocess_default(void);

/* Reads "rgb:127.5:127.5" or "bgr:MEAN:SCALE" into order, mean and scale (size is left alone). */
enum cask_status cask_preprocess_parse(const char *text, struct cask_preprocess *out,
                                       struct cask_error *err);
/* "rgb:127.5:127.5"; buffer of at least 64 bytes. */
void cask_preprocess_format(const struct cask_preprocess *preprocess, char buffer[64]);
bool cask_preprocess_equal(const struct cask_preprocess *a, const struct cask_preprocess *b);

#endif
