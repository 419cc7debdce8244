/* kernels/cpu/lowering.c - rows of the lowered matrix, and the way back. */
#include "kernels/cpu/lowering.h"

#include <string.h>

bool cask_lowering_is_input(const struct cask_lowering *l)
{
    bool pixels = l->kernel_h == 1 && l->kernel_w == 1 && l->stride == 1 && l->out_h == l->src_h &&
                  l->out_w == l->src_w;
    bool images =
        l->kernel_h == l->src_h && l->kernel_w == l->src_w && l->out_h == 1 && l->out_w == 1;
    return (pixels || images) && l->top == 0 && l->left == 0;
}

/* Position of a product row in its image. */
struct place {
    int64_t image;
    int h, w;
};

static struct place place_of(const struct cask_lowering *l, int64_t row)
{
    int64_t area = (int64_t)l->out_h * l->out_w;
    int within = (int)(row % area);
    return (struct place){row / area, within / l->out_w, within % l->out_w};
}

static void step_on(const struct cask_lowering *l, struct place *place)
{
    if (++place->w == l->out_w) {
        place->w = 0;
        if (++place->h == l->out_h) {
            place->h = 0;
            place->image++;
        }
    }
}

/* A call of memcpy costs more than it copies where a pixel has three channels. */
static void copy(char *to, const char *from, size_t bytes)
{
    enum { PIECE = 16, MANY = 8 };
    if (bytes < PIECE || bytes > PIECE * MANY) {
        memcpy(to, from, bytes);
        return;
    }
    for (size_t at = 0; at + PIECE <= bytes; at += PIECE) {
        memcpy(to + at, from + at, PIECE);
    }
    memcpy(to + bytes - PIECE, from + bytes - PIECE, PIECE);
}

/* Taps [first, first + count) of one kernel row: neighbours in the kernel are neighbours in the
 * input, so what lies inside the image is one copy. image: pixels from src to the image's first,
 * which may lie before src. */
static char *gather_run(const struct cask_lowering *l, const char *src, int64_t image, int h, int w,
                        int count, char *to)
{
    const size_t pixel = (size_t)l->src_c * cask_dtype_size(l->dtype),
                 bytes = (size_t)count * pixel;
    const char *from = src + (image + (int64_t)h * l->src_w + w) * (int64_t)pixel;
    const bool inside = h >= 0 && h < l->src_h;
    if (inside && w >= 0 && w + count <= l->src_w) {
        copy(to, from, bytes);
        return to + bytes;
    }
    const int begin = w < 0 ? -w : 0, end = w + count > l->src_w ? l->src_w - w : count;
    memset(to, 0, bytes);
    if (inside && begin < end) {
        memcpy(to + (size_t)begin * pixel, from + (size_t)begin * pixel,
               (size_t)(end - begin) * pixel);
    }
    return to + bytes;
}

static int clamp(int value, int size)
{
    return value < 0 ? 0 : value >= size ? size - 1 : value;
}

struct cask_span cask_lowering_span(const struct cask_lowering *l, int64_t row, int64_t rows)
{
    if (cask_lowering_is_input(l)) {
        int64_t pixels = (int64_t)l->kernel_h * l->kernel_w;
        return (struct cask_span){row * pixels, rows * pixels};
    }
    struct place from = place_of(l, row), to = place_of(l, row + rows - 1);
    int64_t first = from.image * l->src_h + clamp(from.h * l->stride - l->top, l->src_h);
    int64_t last =
        to.image * l->src_h + clamp(to.h * l->stride - l->top + l->kernel_h - 1, l->src_h);
    return (struct cask_span){first * l->src_w, (last - first + 1) * l->src_w};
}

int64_t cask_lowering_widest(const struct cask_lowering *l, int64_t rows, int64_t chunk)
{
    int64_t widest = 0;
    for (int64_t row = 0; row < rows; row += chunk) {
        struct cask_span span = cask_lowering_span(l, row, rows - row < chunk ? rows - row : chunk);
        widest = span.pixels > widest ? span.pixels : widest;
    }
    return widest;
}

void cask_lowering_gather(const struct cask_lowering *l, const void *src, int64_t src_first,
                          int64_t row, int64_t rows, int first_tap, int taps, void *to)
{
    struct place place = place_of(l, row);
    char *next = to;
    const int first_h = first_tap / l->kernel_w, first_w = first_tap % l->kernel_w;
    for (int64_t i = 0; i < rows; i++, step_on(l, &place)) {
        int64_t image = place.image * l->src_h * l->src_w - src_first;
        int h = place.h * l->stride - l->top + first_h, w = place.w * l->stride - l->left;
        for (int left = taps, kw = first_w; left > 0; kw = 0, h++) {
            const int count = l->kernel_w - kw < left ? l->kernel_w - kw : left;
            next = gather_run(l, src, image, h, w + kw, count, next);
            left -= count;
        }
    }
}

void cask_placing_put(const struct cask_placing *p, const struct cask_lowering *l,
                      const struct cask_cpu_kernels *kernels, const void *from, int64_t row,
                      int64_t rows, void *dst, bool accumulate)
{
    struct place place = place_of(l, row);
    size_t pixel = (size_t)p->channels * cask_dtype_size(l->dtype);
    const char *next = from;
    for (int64_t i = 0; i < rows; i++, step_on(l, &place)) {
        int64_t at = (place.image * p->dst_h + p->phase_h + (int64_t)place.h * p->step) * p->dst_w +
                     p->phase_w + (int64_t)place.w * p->step;
        char *to = (char *)dst + (size_t)at * pixel;
        if (from == NULL) {
            if (!accumulate) {
                memset(to, 0, pixel);
            }
            continue;
        }
        if (accumulate) {
            kernels->elementwise->add(to, next, to, p->channels);
        } else {
            memcpy(to, next, pixel);
        }
        next += pixel;
    }
}
