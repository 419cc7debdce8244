/* kernels/cpu/depthwise.c - the border logic of depthwise convolution around the vector kernels. */
#include "kernels/cpu/depthwise.h"

enum { VECTOR = 16, QUAD = 4, TAPS = 64 };

static bool is_fast(const struct cask_depthwise *s)
{
    return s->kernel_h == 3 && s->kernel_w == 3 && s->stride <= 2 && s->c % VECTOR == 0;
}

int64_t cask_depthwise_zeros(const struct cask_depthwise *s)
{
    return (int64_t)((s->w > QUAD * 2 ? s->w : QUAD * 2) + 3) * s->c;
}

struct cask_depthwise cask_depthwise_transposed(const struct cask_depthwise *s)
{
    struct cask_depthwise t = *s;
    t.h = s->out_h;
    t.w = s->out_w;
    t.out_h = s->h;
    t.out_w = s->w;
    t.top = s->kernel_h - 1 - s->top;
    t.left = s->kernel_w - 1 - s->left;
    return t;
}

void cask_depthwise_pack(const struct cask_depthwise *s, const float *weight, bool flip,
                         float *packed)
{
    int taps = s->kernel_h * s->kernel_w;
    for (int t = 0; t < taps; t++) {
        int from = flip ? taps - 1 - t : t;
        for (int c = 0; c < s->c; c++) {
            packed[(int64_t)t * s->c + c] = weight[(int64_t)c * taps + from];
        }
    }
}

/* Pixel (h, w) of an image that has `width` of them in a row. */
static const void *pixel_at(const struct cask_depthwise *s, struct cask_lines lines, int width,
                            int h, int w)
{
    return cask_at(lines.data, s->dtype, ((int64_t)(h - lines.first) * width + w) * s->c);
}

/* ---------------------------------------------------------------- forward */

/* One output pixel from the taps that fall inside the image. */
static void one_pixel(const struct cask_depthwise *s, const float *weight, const float *bias,
                      struct cask_lines x, int oh, int ow, void *to, bool accumulate)
{
    struct cask_depthwise_tap taps[TAPS];
    int count = 0;
    for (int kh = 0; kh < s->kernel_h; kh++) {
        int h = oh * s->stride - s->top + kh;
        for (int kw = 0; h >= 0 && h < s->h && kw < s->kernel_w; kw++) {
            int w = ow * s->stride - s->left + kw;
            if (w < 0 || w >= s->w) {
                continue;
            }
            if (count == TAPS) {
                s->kernels->depthwise->pixel(taps, count, s->c, bias, to, accumulate);
                bias = NULL;
                accumulate = true;
                count = 0;
            }
            taps[count++] = (struct cask_depthwise_tap){
                pixel_at(s, x, s->w, h, w), weight + (int64_t)(kh * s->kernel_w + kw) * s->c};
        }
    }
    s->kernels->depthwise->pixel(taps, count, s->c, bias, to, accumulate);
}

static void four_pixels(const struct cask_depthwise *s, const float *weight, const float *bias,
                        struct cask_lines x, int oh, int ow, void *to, bool accumulate)
{
    const void *rows[3];
    for (int kh = 0; kh < 3; kh++) {
        int h = oh * s->stride - s->top + kh, w = ow * s->stride - s->left;
        rows[kh] = h >= 0 && h < s->h ? pixel_at(s, x, s->w, h, w) : s->zeros;
    }
    s->kernels->depthwise->quad(s->stride, rows, s->c, weight, bias, to, accumulate);
}

/* Outputs [begin, end) of a row have all their columns inside the image. */
static void inner_columns(const struct cask_depthwise *s, int *begin, int *end)
{
    int first = s->left > 0 ? (s->left + s->stride - 1) / s->stride : 0;
    int room = s->w - s->kernel_w + s->left;
    int last = room >= 0 ? room / s->stride + 1 : 0;
    *end = last < s->out_w ? last : s->out_w;
    *begin = first < *end ? first : *end;
}

void cask_depthwise_forward(const struct cask_depthwise *s, const float *weight, const float *bias,
                            struct cask_lines x, int first, int rows, void *y, bool accumulate)
{
    int begin, end;
    inner_columns(s, &begin, &end);
    if (!is_fast(s) || end - begin < QUAD) {
        begin = end = s->out_w;
    }
    for (int oh = first; oh < first + rows; oh++) {
        char *row = cask_at(y, s->dtype, (int64_t)oh * s->out_w * s->c);
        for (int ow = 0; ow < s->out_w;) {
            if (ow >= begin && ow + QUAD <= end) {
                four_pixels(s, weight, bias, x, oh, ow, cask_at(row, s->dtype, (int64_t)ow * s->c),
                            accumulate);
                ow += QUAD;
            } else if (ow >= begin && ow < end && !accumulate) {
                /* The last three or less: four again, some of them a second time. */
                four_pixels(s, weight, bias, x, oh, end - QUAD,
                            cask_at(row, s->dtype, (int64_t)(end - QUAD) * s->c), false);
                ow = end;
            } else {
                one_pixel(s, weight, bias, x, oh, ow, cask_at(row, s->dtype, (int64_t)ow * s->c),
                          accumulate);
                ow++;
            }
        }
    }
}

/* ---------------------------------------------------------- backward data */

/* dx[h][w] = sum over taps with (h + top - kh), (w + left - kw) multiples of stride, inside dy */
static void one_input_pixel(const struct cask_depthwise *s, const float *weight,
                            struct cask_lines dy, int h, int w, void *to, bool accumulate)
{
    struct cask_depthwise_tap taps[TAPS];
    int count = 0;
    for (int kh = (h + s->top) % s->stride; kh < s->kernel_h; kh += s->stride) {
        int oh = (h + s->top - kh) / s->stride;
        if (h + s->top - kh < 0 || oh >= s->out_h) {
            continue;
        }
        for (int kw = (w + s->left) % s->stride; kw < s->kernel_w; kw += s->stride) {
            int ow = (w + s->left - kw) / s->stride;
            if (w + s->left - kw < 0 || ow >= s->out_w) {
                continue;
            }
            if (count == TAPS) {
                s->kernels->depthwise->pixel(taps, count, s->c, NULL, to, accumulate);
                accumulate = true;
                count = 0;
            }
            taps[count++] =
                (struct cask_depthwise_tap){pixel_at(s, dy, s->out_w, oh, ow),
                                            weight + (int64_t)(kh * s->kernel_w + kw) * s->c};
        }
    }
    s->kernels->depthwise->pixel(taps, count, s->c, NULL, to, accumulate);
}

void cask_depthwise_data(const struct cask_depthwise *s, const float *weight, struct cask_lines dy,
                         int first, int rows, void *dx, bool accumulate)
{
    for (int h = first; h < first + rows; h++) {
        for (int w = 0; w < s->w; w++) {
            one_input_pixel(s, weight, dy, h, w,
                            cask_at(dx, s->dtype, ((int64_t)h * s->w + w) * s->c), accumulate);
        }
    }
}

/* ------------------------------------------------------- backward weights */

/* One tap over outputs [begin, end) of one row, channels from `channel` on. */
static void one_tap(const struct cask_depthwise *s, struct cask_lines x, struct cask_lines dy,
                    int oh, int tap, int begin, int end, int channel, float *dw)
{
    int h = oh * s->stride - s->top + tap / s->kernel_w, shift = tap % s->kernel_w - s->left;
    while (begin < end && begin * s->stride + shift < 0) {
        begin++;
    }
    while (end > begin && (end - 1) * s->stride + shift >= s->w) {
        end--;
    }
    if (h < 0 || h >= s->h || begin >= end) {
        return;
    }
    s->kernels->depthwise->weight_one(pixel_at(s, x, s->w, h, begin * s->stride + shift),
                                      (int64_t)s->stride * s->c,
                                      pixel_at(s, dy, s->out_w, oh, begin), s->c, end - begin,
                                      channel, s->c, dw + (int64_t)tap * s->c);
}

static void nine_taps(const struct cask_depthwise *s, struct cask_lines x, struct cask_lines dy,
                      int oh, int begin, int end, float *dw)
{
    const void *rows[3];
    for (int kh = 0; kh < 3; kh++) {
        int h = oh * s->stride - s->top + kh, w = begin * s->stride - s->left;
        rows[kh] = h >= 0 && h < s->h ? pixel_at(s, x, s->w, h, w) : NULL;
    }
    bool inside = rows[0] != NULL && rows[1] != NULL && rows[2] != NULL;
    if (inside) {
        s->kernels->depthwise->weight_nine(rows, (int64_t)s->stride * s->c,
                                           pixel_at(s, dy, s->out_w, oh, begin), s->c, end - begin,
                                           s->c, dw);
    }
    for (int tap = 0; tap < 9 && !inside; tap++) {
        one_tap(s, x, dy, oh, tap, begin, end, 0, dw);
    }
}

void cask_depthwise_weights(const struct cask_depthwise *s, struct cask_lines x,
                            struct cask_lines dy, int first, int rows, float *dw)
{
    int taps = s->kernel_h * s->kernel_w, begin, end;
    inner_columns(s, &begin, &end);
    if (!is_fast(s)) {
        begin = end = 0;
    }
    for (int oh = first; oh < first + rows; oh++) {
        if (begin < end) {
            nine_taps(s, x, dy, oh, begin, end, dw);
        }
        for (int tap = 0; tap < taps; tap++) {
            one_tap(s, x, dy, oh, tap, 0, begin, 0, dw);
            one_tap(s, x, dy, oh, tap, end, s->out_w, 0, dw);
        }
    }
}
