/* kernels/cpu/vector/depthwise.c - one channel in, one channel out, on lines of floats.
 *
 * A vector of channels meets a vector of weights. Lines hold zeros where padding is and whole
 * vectors of channels, so nothing here knows of borders; rows outside the image are not listed.
 */
#include <string.h>

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/vector/some.h"

/* ---------------------------------------------------------------- correlate */

struct result {
    const float *bias;
    element *y;
    int64_t y_step, ahead;
    bool accumulate;
};

/* Out of line: rare, and it would cost the common way its registers. */
static __attribute__((noinline)) void put(element *y, vec value, int left, bool accumulate)
{
    store_some(y, accumulate ? load_some(y, left) + value : value, left);
}

/* What was loaded stays in a register: the compiler thinks that memory may change here. Else it
 * loads again for each use, and loads are what there is least of. */
#define LOADED() __asm__ volatile("" ::: "memory")

/* sum[q] += columns of one kernel row on a line, for `many` outputs whose windows are `step` pixels
 * apart. A pixel is loaded once for all windows it is in. */
INLINE void add_columns(int many, int columns, int step, const float *line, const vec *w, vec *sum)
{
#pragma GCC unroll 20
    for (int i = 0; i < (many - 1) * step + columns; i++) {
        const vec x = vec_load_f32(line + (int64_t)i * LANES);
        LOADED();
#pragma GCC unroll 8
        for (int q = 0; q < many; q++) {
            const int k = i - q * step;
            if (k >= 0 && k < columns) {
                sum[q] += x * w[k];
            }
        }
    }
}

/* The compiler would keep a register, or a place on the stack, for each of many addresses that are
 * a constant apart. */
#define HIDE(pointer) __asm__("" : "+r"(pointer))

INLINE void store(int many, const struct cask_depthwise_block *b, const struct result *to,
                  int first, int j, const vec *sum)
{
    element *y = to->y + first * to->y_step + j;
    const bool simple = !to->accumulate && b->c - j >= LANES;
#pragma GCC unroll 8
    for (int q = 0; q < many; q++, y += to->y_step) {
        HIDE(y);
        if (simple) {
            vec_store(y, sum[q]);
        } else {
            put(y, sum[q], b->c - j, to->accumulate);
        }
        __builtin_prefetch((const char *)y + to->ahead, 1, 2);
    }
}

/* So many chains of additions keep the multipliers busy; rows are multiples of 7 pixels long where
 * images are 112 pixels wide. */
enum { MANY = 7 };

/* `many` outputs from `first` on; all weights in registers. */
INLINE void few_taps(int many, int rows, int columns, int step,
                     const struct cask_depthwise_block *b, const struct result *to, int first,
                     int j, const vec *w)
{
    const vec start = to->bias != NULL ? vec_load_f32(to->bias + j) : (vec){0};
    const int64_t offset = j / LANES * b->vector + (int64_t)first * step * LANES;
    vec sum[MANY];
#pragma GCC unroll 8
    for (int q = 0; q < many; q++) {
        sum[q] = start;
    }
#pragma GCC unroll 3
    for (int r = 0; r < rows; r++) {
        const float *line = b->rows[r].line + offset;
        HIDE(line);
        add_columns(many, columns, step, line, w + r * columns, sum);
    }
    store(many, b, to, first, j, sum);
}

INLINE void correlate_few(int rows, int columns, int step, const struct cask_depthwise_block *b,
                          const struct result *to)
{
    enum { MOST = 9 };
    for (int j = 0; j < b->c; j += LANES) {
        vec w[MOST];
        int first = 0;
#pragma GCC unroll 9
        for (int t = 0; t < rows * columns; t++) {
            w[t] = vec_load_f32(b->rows[t / columns].weight + t % columns * b->weight_step + j);
        }
        for (; first + MANY <= b->count; first += MANY) {
            few_taps(MANY, rows, columns, step, b, to, first, j, w);
        }
        for (; first < b->count; first++) {
            few_taps(1, rows, columns, step, b, to, first, j, w);
        }
    }
}

/* The same for any kernel: a weight is loaded for each few outputs. */
INLINE void any_taps(int many, const struct cask_depthwise_block *b, const struct result *to,
                     int first, int j)
{
    const vec start = to->bias != NULL ? vec_load_f32(to->bias + j) : (vec){0};
    const int64_t window = (int64_t)b->step * LANES;
    const int64_t offset = j / LANES * b->vector + first * window;
    vec sum[MANY];
#pragma GCC unroll 8
    for (int q = 0; q < many; q++) {
        sum[q] = start;
    }
    for (int r = 0; r < b->row_count; r++) {
        const float *line = b->rows[r].line + offset, *weight = b->rows[r].weight + j;
        vec part[MANY]; /* so that a row need not wait for the one before */
#pragma GCC unroll 8
        for (int q = 0; q < many; q++) {
            part[q] = (vec){0};
        }
        for (int k = 0; k < b->columns; k++, line += LANES, weight += b->weight_step) {
            const vec w = vec_load_f32(weight);
#pragma GCC unroll 8
            for (int q = 0; q < many; q++) {
                part[q] += vec_load_f32(line + q * window) * w;
            }
        }
#pragma GCC unroll 8
        for (int q = 0; q < many; q++) {
            sum[q] += part[q];
        }
    }
    store(many, b, to, first, j, sum);
}

static void correlate_any(const struct cask_depthwise_block *b, const struct result *to)
{
    for (int j = 0; j < b->c; j += LANES) {
        int first = 0;
        for (; first + MANY <= b->count; first += MANY) {
            any_taps(MANY, b, to, first, j);
        }
        for (; first < b->count; first++) {
            any_taps(1, b, to, first, j);
        }
    }
}

static void correlate(const struct cask_depthwise_block *b, const float *bias, void *y,
                      int64_t y_step, int64_t ahead, bool accumulate)
{
    const struct result to = {bias, y, y_step, ahead, accumulate};
    const int kind = 100 * b->row_count + 10 * b->columns + b->step;
    switch (kind) { /* rows, columns, step */
    case 331:
        correlate_few(3, 3, 1, b, &to);
        return;
    case 231:
        correlate_few(2, 3, 1, b, &to);
        return;
    case 332:
        correlate_few(3, 3, 2, b, &to);
        return;
    case 232:
        correlate_few(2, 3, 2, b, &to);
        return;
    case 221: /* from here on: dx for stride 2 */
        correlate_few(2, 2, 1, b, &to);
        return;
    case 211:
        correlate_few(2, 1, 1, b, &to);
        return;
    case 121:
        correlate_few(1, 2, 1, b, &to);
        return;
    case 111:
        correlate_few(1, 1, 1, b, &to);
        return;
    default:
        correlate_any(b, &to);
    }
}

/* -------------------------------------------------------------------- pairs */

/* What becomes of a sum of weights times dy: it is dx, or a part of it, or not wanted. */
enum give { TO_DX, TO_STRIP, NOWHERE };

/* Outputs [first, first + count) of the channels from `j` on; dx of a kernel done row by row is put
 * together in `strip`. */
enum { STRIP = 64 };
struct span {
    int j, first, count;
    float *strip;
};

/* `rows` rows from `row` on and `columns` columns from `column` on: their weights and all of their
 * sums in registers. */
INLINE void pairs_of(int rows, int columns, enum give give, const struct cask_depthwise_block *b,
                     const struct cask_depthwise_pairs *to, const struct span *at, int row,
                     int column)
{
    enum { MOST = 9 };
    const struct result dx = {NULL, to->dx, to->dx_step, to->ahead, to->accumulate};
    const int64_t vector = at->j / LANES, x_pixel = to->x_pixel;
    const float *x = to->x + vector * to->x_vector + at->first * x_pixel, *line[MOST];
    vec w[MOST], sum[MOST];
#pragma GCC unroll 9
    for (int t = 0; t < rows * columns; t++) {
        const struct cask_depthwise_row *from = &b->rows[row + t / columns];
        const int64_t tap = (column + t % columns) * b->weight_step + at->j;
        w[t] = vec_load_f32(from->weight + tap);
        sum[t] = vec_load_f32(from->dweight + tap);
    }
#pragma GCC unroll 9
    for (int r = 0; r < rows; r++) {
        line[r] =
            b->rows[row + r].line + vector * b->vector + (int64_t)(at->first + column) * LANES;
    }
    for (int i = 0; i < at->count; i++, x += x_pixel) {
        const vec in = vec_load_f32(x);
        vec all = {0};
#pragma GCC unroll 9
        for (int r = 0; r < rows; r++) {
            vec part = {0};
#pragma GCC unroll 9
            for (int k = 0; k < columns; k++) {
                const vec g = vec_load_f32(line[r] + (int64_t)k * LANES);
                LOADED();
                sum[r * columns + k] += g * in;
                part += g * w[r * columns + k];
            }
            all += part;
            line[r] += LANES;
        }
        if (give == TO_DX) {
            store(1, b, &dx, at->first + i, at->j, &all);
        } else if (give == TO_STRIP) {
            float *strip = at->strip + (int64_t)i * LANES;
            vec_store_f32(strip, vec_load_f32(strip) + all);
        }
    }
#pragma GCC unroll 9
    for (int t = 0; t < rows * columns; t++) {
        vec_store_f32(b->rows[row + t / columns].dweight + (column + t % columns) * b->weight_step +
                          at->j,
                      sum[t]);
    }
}

INLINE void pairs_few(int rows, int columns, const struct cask_depthwise_block *b,
                      const struct cask_depthwise_pairs *to)
{
    struct span at = {.count = b->count};
    for (; at.j < b->c; at.j += LANES) {
        if (to->dx != NULL) {
            pairs_of(rows, columns, TO_DX, b, to, &at, 0, 0);
        } else {
            pairs_of(rows, columns, NOWHERE, b, to, &at, 0, 0);
        }
    }
}

/* All columns of one row of any kernel. */
INLINE void pairs_row(enum give give, const struct cask_depthwise_block *b,
                      const struct cask_depthwise_pairs *to, const struct span *at, int row)
{
    int column = 0;
    for (; column + 5 <= b->columns; column += 5) {
        pairs_of(1, 5, give, b, to, at, row, column);
    }
    for (; column + 3 <= b->columns; column += 3) {
        pairs_of(1, 3, give, b, to, at, row, column);
    }
    for (; column < b->columns; column++) {
        pairs_of(1, 1, give, b, to, at, row, column);
    }
}

static void pairs_any(const struct cask_depthwise_block *b, const struct cask_depthwise_pairs *to)
{
    const struct result dx = {NULL, to->dx, to->dx_step, to->ahead, to->accumulate};
    vec strip[STRIP];
    struct span at = {.strip = (float *)strip};
    for (; at.j < b->c; at.j += LANES) {
        for (at.first = 0; at.first < b->count; at.first += STRIP) {
            at.count = b->count - at.first < STRIP ? b->count - at.first : STRIP;
            for (int row = 0; to->dx == NULL && row < b->row_count; row++) {
                pairs_row(NOWHERE, b, to, &at, row);
            }
            if (to->dx == NULL) {
                continue;
            }
            memset(strip, 0, (size_t)at.count * sizeof *strip);
            for (int row = 0; row < b->row_count; row++) {
                pairs_row(TO_STRIP, b, to, &at, row);
            }
            for (int i = 0; i < at.count; i++) {
                store(1, b, &dx, at.first + i, at.j, &strip[i]);
            }
        }
    }
}

static void pairs(const struct cask_depthwise_block *b, const struct cask_depthwise_pairs *to)
{
    switch (10 * b->row_count + b->columns) { /* rows, columns */
    case 33:
        pairs_few(3, 3, b, to);
        return;
    case 23:
        pairs_few(2, 3, b, to);
        return;
    case 13: /* images of one row */
        pairs_few(1, 3, b, to);
        return;
    case 32: /* from here on: stride 2 */
        pairs_few(3, 2, b, to);
        return;
    case 22:
        pairs_few(2, 2, b, to);
        return;
    case 21:
        pairs_few(2, 1, b, to);
        return;
    case 12:
        pairs_few(1, 2, b, to);
        return;
    case 11:
        pairs_few(1, 1, b, to);
        return;
    default:
        pairs_any(b, to);
    }
}

/* dbias[c] += sum over rows of dy */
static void bias(const void *gradient, int64_t rows, int c, float *restrict dbias)
{
    const element *dy = gradient;
    for (int64_t row = 0; row < rows; row++, dy += c) {
#pragma omp simd
        for (int j = 0; j < c; j++) {
            dbias[j] += element_get(dy[j]);
        }
    }
}

const struct cask_depthwise_kernels KERNEL(depthwise) = {
    .correlate = correlate, .pairs = pairs, .bias = bias};
