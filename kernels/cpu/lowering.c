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

enum { PIECE = 16, MANY = 8 };

/* A call of memcpy costs more than it copies where a pixel has three channels. */
static void copy(char *to, const char *from, size_t bytes)
{
    if (bytes < PIECE || bytes > PIECE * MANY) {
        memcpy(to, from, bytes);
        return;
    }
    for (size_t at = 0; at + PIECE <= bytes; at += PIECE) {
        memcpy(to + at, from + at, PIECE);
    }
    memcpy(to + bytes - PIECE, from + bytes - PIECE, PIECE);
}

/* Taps of one kernel row: neighbours in the kernel are neighbours in the input, so what lies inside
 * the image is one copy. */
struct run {
    int h, w;  /* of the first tap's pixel; may lie outside */
    int count; /* taps */
    size_t pixel;
    const char *image; /* its first pixel would be here */
};

static void gather_run(const struct cask_lowering *l, const struct run *run, int w, char *to)
{
    const size_t pixel = run->pixel, bytes = (size_t)run->count * pixel;
    const char *from = run->image + ((int64_t)run->h * l->src_w + w) * (int64_t)pixel;
    const bool inside = run->h >= 0 && run->h < l->src_h;
    const int begin = w < 0 ? -w : 0, end = w + run->count > l->src_w ? l->src_w - w : run->count;
    memset(to, 0, bytes);
    if (inside && begin < end) {
        memcpy(to + (size_t)begin * pixel, from + (size_t)begin * pixel,
               (size_t)(end - begin) * pixel);
    }
}

/* The same taps of `many` rows of the matrix, `step` bytes from one to the next. */
static void gather_line(const struct cask_lowering *l, const struct run *run, int many, char *to,
                        size_t step)
{
    const size_t bytes = (size_t)run->count * run->pixel, stride = (size_t)l->stride * run->pixel;
    const char *from = run->image + ((int64_t)run->h * l->src_w + run->w) * (int64_t)run->pixel;
    int w = run->w, i = 0;
    for (; i < many && (w < 0 || run->h < 0 || run->h >= l->src_h); i++, w += l->stride) {
        gather_run(l, run, w, to + (size_t)i * step);
    }
    from += (size_t)i * stride;
    /* as in copy(), but without its questions: the rows of a first convolution */
    if (bytes >= PIECE && bytes <= 2 * PIECE) {
        for (; i < many && w + run->count <= l->src_w; i++, w += l->stride, from += stride) {
            char *row = to + (size_t)i * step;
            memcpy(row, from, PIECE);
            memcpy(row + bytes - PIECE, from + bytes - PIECE, PIECE);
        }
    }
    for (; i < many && w + run->count <= l->src_w; i++, w += l->stride, from += stride) {
        copy(to + (size_t)i * step, from, bytes);
    }
    for (; i < many; i++, w += l->stride) {
        gather_run(l, run, w, to + (size_t)i * step);
    }
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
    struct run run = {.pixel = (size_t)l->src_c * cask_dtype_size(l->dtype)};
    const size_t step = (size_t)taps * run.pixel;
    const int first_h = first_tap / l->kernel_w, first_w = first_tap % l->kernel_w;
    for (char *next = to; rows > 0;) {
        const int across = l->out_w - place.w, many = rows < across ? (int)rows : across;
        const int64_t image = place.image * l->src_h * l->src_w - src_first;
        char *at = next;
        run.image = (const char *)src + image * (int64_t)run.pixel;
        run.h = place.h * l->stride - l->top + first_h;
        for (int left = taps, kw = first_w; left > 0; kw = 0, run.h++) {
            run.count = l->kernel_w - kw < left ? l->kernel_w - kw : left;
            run.w = place.w * l->stride - l->left + kw;
            gather_line(l, &run, many, at, step);
            at += (size_t)run.count * run.pixel;
            left -= run.count;
        }
        next += (size_t)many * step;
        rows -= many;
        place.w += many - 1;
        step_on(l, &place);
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
