/* kernels/cpu/lines.h - the last few rows of an image as lines of floats, in the cache. Private to
 * this folder.
 *
 * A convolution over rows reads each row several times. A line is such a row made ready once:
 * behind its norm, as floats, with zeros where padding is, channels filled up to whole vectors.
 * What reads lines meets no type, no border and no odd number of channels. It lies vector by vector
 * of channels and in each of them pixel after pixel, so that a kernel walks in order.
 *
 * Grouped convolution wants its channels in several orders (conv_depthwise.h); a line is then kept
 * once in each.
 */
#ifndef CASK_KERNELS_CPU_LINES_H
#define CASK_KERNELS_CPU_LINES_H

#include "kernels/cpu/norm.h"

struct cask_line_shape {
    int h, w, c;      /* of the images */
    int left, right;  /* pixels of zeros at both ends */
    int depth;        /* how many rows are kept */
    int filled;       /* at most so many channels at a time, filled up */
    int lanes;        /* of a vector: the floats from one pixel to the next */
    int rounds;       /* orders of channels */
    const int *order; /* [rounds][filled], as reorder() wants it; NULL: one round, as they are */
};
int64_t cask_line_ring_floats(const struct cask_line_shape *shape);
/* Floats from one vector of channels to the next. */
static inline int64_t cask_line_vector(const struct cask_line_shape *shape)
{
    return (int64_t)(shape->left + shape->w + shape->right) * shape->lanes;
}

struct cask_line_ring {
    const struct cask_line_shape *shape;
    const struct cask_source *source;
    int first, c, ordered_c; /* channels of the image, and how many there are in an order */
    float *room;             /* cask_line_ring_floats() */
    int64_t image;
    int made; /* rows below are made */
};
/* Rows of `image` will be asked for, from `row` on. */
void cask_line_ring_begin(struct cask_line_ring *lines, int64_t image, int row);
/* The line of a row that is at most `depth` - 1 above the highest ever asked for, from its padding
 * on. */
const float *cask_line_ring_at(struct cask_line_ring *lines, int round, int row);
/* The row made last, in its own order, without padding. */
const float *cask_line_ring_last(const struct cask_line_ring *lines);

#endif
