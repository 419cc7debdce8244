/* kernels/cpu/lines.c - a ring of lines, filled row by row. */
#include "kernels/cpu/lines.h"

#include <string.h>

static int64_t line_floats(const struct cask_line_shape *s)
{
    return s->filled / s->lanes * cask_line_vector(s);
}

/* One line more, for the order that others are made from. */
static int64_t line_count(const struct cask_line_shape *s)
{
    return (int64_t)s->rounds * s->depth + (s->order != NULL ? 1 : 0);
}

int64_t cask_line_ring_floats(const struct cask_line_shape *s)
{
    return line_count(s) * line_floats(s);
}

static float *line_of(const struct cask_line_ring *lines, int round, int row)
{
    const struct cask_line_shape *s = lines->shape;
    return lines->room + ((int64_t)round * s->depth + row % s->depth) * line_floats(s);
}

void cask_line_ring_begin(struct cask_line_ring *lines, int64_t image, int row)
{
    const struct cask_line_shape *s = lines->shape;
    const int64_t inside = (int64_t)(s->left + s->w) * s->lanes;
    const int64_t vectors = line_count(s) * s->filled / s->lanes;
    lines->image = image;
    lines->made = row;
    for (int64_t i = 0; i < vectors; i++) {
        float *vector = lines->room + i * cask_line_vector(s);
        for (int p = 0; p < s->left; p++) {
            memset(vector + p * s->lanes, 0, (size_t)s->lanes * sizeof *vector);
        }
        for (int p = 0; p < s->right; p++) {
            memset(vector + inside + p * s->lanes, 0, (size_t)s->lanes * sizeof *vector);
        }
    }
}

static float *own_order(const struct cask_line_ring *lines, int row)
{
    const struct cask_line_shape *s = lines->shape;
    return line_of(lines, s->order != NULL ? s->rounds : 0, s->order != NULL ? 0 : row) +
           (int64_t)s->left * s->lanes;
}

static void make(const struct cask_line_ring *lines, int row)
{
    const struct cask_line_shape *s = lines->shape;
    const struct cask_source *source = lines->source;
    const struct cask_line_kernels *kernels = source->kernels->lines;
    const int64_t count = (int64_t)s->w * s->c;
    const int64_t first = (lines->image * s->h + row) * count + lines->first;
    struct cask_line line = {.to = own_order(lines, row),
                             .vector = cask_line_vector(s),
                             .step = s->c,
                             .ahead = count * (int64_t)cask_dtype_size(source->dtype),
                             .pixels = s->w,
                             .c = lines->c};
    const struct cask_bn_block block = cask_bn_block_from(&source->block, lines->first);
    const void *data = cask_at(source->data, source->dtype, first);
    if (!source->through) {
        kernels->widen(data, &line);
    } else if (source->gradient == NULL) {
        kernels->apply(&block, data, &line);
    } else {
        kernels->gradient(&block, data, cask_at(source->gradient, source->dtype, first), &line);
    }
    const float *from = line.to;
    line.c = lines->ordered_c;
    for (int round = 0; s->order != NULL && round < s->rounds; round++) {
        line.to = line_of(lines, round, row) + (int64_t)s->left * s->lanes;
        kernels->reorder(from, s->order + (int64_t)round * s->filled, &line);
    }
}

const float *cask_line_ring_at(struct cask_line_ring *lines, int round, int row)
{
    for (; lines->made <= row; lines->made++) {
        make(lines, lines->made);
    }
    return line_of(lines, round, row);
}

const float *cask_line_ring_last(const struct cask_line_ring *lines)
{
    return own_order(lines, lines->made - 1);
}
