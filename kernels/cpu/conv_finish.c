/* kernels/cpu/conv_finish.c - border bias, residual and activation of rows that were just made. */
#include "kernels/cpu/conv_finish.h"

#include "common/mem.h"
#include "kernels/shapes.h"

static void number_axis(const struct cask_axis *axis, int factor, int *region, int *pixels)
{
    for (int i = 0; i < axis->out; i++) {
        int number = cask_axis_region(axis, i);
        region[i] = number * factor;
        pixels[number]++;
    }
}

static int most(const int *pixels, int count)
{
    int best = 0;
    for (int i = 1; i < count; i++) {
        best = pixels[i] > pixels[best] ? i : best;
    }
    return best;
}

enum cask_status cask_border_open(struct cask_conv *conv, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_axis h = cask_conv_axis_h(&conv->desc), w = cask_conv_axis_w(&conv->desc);
    const int regions_h = cask_axis_regions(&h), regions_w = cask_axis_regions(&w);
    const size_t bias = cask_conv_bias_count(&conv->desc);
    struct cask_border *border = cask_alloc(1, sizeof *border);
    int *pixels = cask_alloc((size_t)regions_h + (size_t)regions_w, sizeof *pixels);
    conv->border = border;
    if (border == NULL || pixels == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *border, "border bias"));
    }
    border->regions = (int64_t)regions_h * regions_w;
    border->region_h = cask_alloc((size_t)h.out, sizeof *border->region_h);
    border->region_w = cask_alloc((size_t)w.out, sizeof *border->region_w);
    border->difference = cask_alloc(bias, cask_dtype_size(conv->cpu->dtype));
    if (border->region_h == NULL || border->region_w == NULL || border->difference == NULL) {
        CASK_TRY(cask_error_memory(err, bias * sizeof(float), "border bias"));
    }
    number_axis(&h, regions_w, border->region_h, pixels);
    number_axis(&w, 1, border->region_w, pixels + regions_h);
    border->largest = most(pixels, regions_h) * regions_w + most(pixels + regions_h, regions_w);
done:
    cask_free(pixels);
    return st;
}

void cask_border_close(struct cask_border *border)
{
    if (border != NULL) {
        cask_free(border->region_h);
        cask_free(border->region_w);
        cask_free(border->difference);
        cask_free(border);
    }
}

const float *cask_border_set(struct cask_conv *conv, const float *bias)
{
    const struct cask_border *border = conv->border;
    const struct cask_cpu_kernels *kernels = cask_cpu_kernels_of(conv->cpu, conv->cpu->dtype);
    const int c = conv->desc.out_c;
    const float *base = bias + (int64_t)border->largest * c;
    for (int64_t region = 0; region < border->regions; region++) {
        for (int j = 0; j < c; j++) {
            float difference = bias[region * c + j] - base[j];
            kernels->elementwise->from_float(
                &difference, cask_at(border->difference, conv->cpu->dtype, region * c + j), 1);
        }
    }
    return base;
}

static void add_border(const struct cask_finish *finish, void *y, int64_t row, int64_t rows,
                       int first, int channels)
{
    const struct cask_conv *conv = finish->conv;
    const struct cask_border *border = conv->border;
    const enum cask_dtype dtype = conv->cpu->dtype;
    const int64_t c = conv->desc.out_c;
    int w = (int)(row % conv->out_w), h = (int)(row / conv->out_w % conv->out_h);
    for (int64_t i = row; i < row + rows; i++) {
        int region = border->region_h[h] + border->region_w[w];
        if (region != border->largest) {
            void *pixel = cask_at(y, dtype, i * c + first);
            finish->kernels->elementwise->add(
                pixel, cask_at(border->difference, dtype, region * c + first), pixel, channels);
        }
        if (++w == conv->out_w) {
            w = 0;
            h = h + 1 == conv->out_h ? 0 : h + 1;
        }
    }
}

/* Residual and activation of `rows` whole rows, or of the channels of one. */
static void finish_dense(const struct cask_finish *finish, void *y, int64_t at, int64_t rows,
                         int first, int channels)
{
    const enum cask_dtype dtype = finish->conv->cpu->dtype;
    void *to = cask_at(y, dtype, at);
    if (finish->residual != NULL) {
        finish->kernels->elementwise->add(to, cask_at(finish->residual, dtype, at), to,
                                          rows * channels);
    }
    if (finish->activation != CASK_ACT_NONE) {
        const float *slope = finish->slope != NULL ? finish->slope + first : NULL;
        finish->kernels->activation->forward(finish->activation, slope, to, to, rows, channels);
    }
}

void cask_finish_rows(const struct cask_finish *finish, void *y, int64_t row, int64_t rows,
                      int first, int channels)
{
    const int64_t c = finish->conv->desc.out_c;
    if (finish->conv->border != NULL) {
        add_border(finish, y, row, rows, first, channels);
    }
    if (channels == c) {
        finish_dense(finish, y, row * c, rows, 0, channels);
        return;
    }
    for (int64_t i = row; i < row + rows; i++) {
        finish_dense(finish, y, i * c + first, 1, first, channels);
    }
}
