/* kernels/cpu/conv_depthwise.c - depthwise convolution over a batch; any kernel, also as large as
 * the input. */
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "kernels/cpu/conv_finish.h"
#include "kernels/cpu/depthwise.h"
#include "kernels/cpu/norm.h"

/* An image is worked on in bands of output rows, small enough that what is read and written stays
 * in the L2 cache. */
enum { BAND_BYTES = 160 * 1024, LEAST_ROWS = 4, GROUPS = 16 };

struct depthwise_conv {
    struct cask_depthwise shape, transposed;
    float *weight, *flipped; /* [tap][c] */
    float *bias;             /* NULL: none */
    void *zeros;
    int groups;      /* of images, for backward */
    int bands, rows; /* of an image, output rows in a band */
};

/* Rows [begin, end) of an image. */
struct stretch {
    int begin, end;
};

static struct stretch within(int begin, int end, int size)
{
    return (struct stretch){begin < 0 ? 0 : begin, end > size ? size : end};
}

/* The band's output rows, and the input rows whose gradient it makes: all of them, over all bands.
 */
static struct stretch output_rows(const struct depthwise_conv *dw, int band)
{
    return within(band * dw->rows, (band + 1) * dw->rows, dw->shape.out_h);
}

static struct stretch input_rows(const struct depthwise_conv *dw, int band)
{
    int step = dw->rows * dw->shape.stride;
    int end = band == dw->bands - 1 ? dw->shape.h : (band + 1) * step;
    return within(band * step, end, dw->shape.h);
}

/* Input rows that output rows see. */
static struct stretch rows_seen(const struct depthwise_conv *dw, struct stretch out)
{
    const struct cask_depthwise *s = &dw->shape;
    return within(out.begin * s->stride - s->top, (out.end - 1) * s->stride - s->top + s->kernel_h,
                  s->h);
}

/* Output rows that the gradient of input rows is made of, and `out`, those of the band. */
static struct stretch rows_behind(const struct depthwise_conv *dw, struct stretch in,
                                  struct stretch out)
{
    const struct cask_depthwise *s = &dw->shape;
    int low = in.begin + s->top - s->kernel_h + 1, high = in.end - 1 + s->top;
    int begin = low <= 0 ? 0 : (low + s->stride - 1) / s->stride, end = high / s->stride + 1;
    return within(begin < out.begin ? begin : out.begin, end > out.end ? end : out.end, s->out_h);
}

static void choose_bands(struct depthwise_conv *dw)
{
    const struct cask_depthwise *s = &dw->shape;
    int64_t line = (int64_t)s->stride * s->w * s->c * (int64_t)cask_dtype_size(s->dtype);
    int64_t rows = BAND_BYTES / (line > 0 ? line : 1);
    rows = rows < LEAST_ROWS ? LEAST_ROWS : rows;
    dw->bands = (int)((s->out_h + rows - 1) / rows);
    dw->rows = (s->out_h + dw->bands - 1) / dw->bands;
    dw->bands = (s->out_h + dw->rows - 1) / dw->rows;
}

/* The longest stretches that any band makes for itself. */
static enum cask_status reserve(struct cask_conv *conv, const struct depthwise_conv *dw,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_depthwise *s = &dw->shape;
    struct cask_cpu *cpu = conv->cpu;
    size_t pixel = (size_t)s->c * cask_dtype_size(s->dtype);
    int seen = 0, behind = 0;
    for (int band = 0; band < dw->bands; band++) {
        struct stretch out = output_rows(dw, band), x = rows_seen(dw, out);
        struct stretch dy = rows_behind(dw, input_rows(dw, band), out);
        seen = x.end - x.begin > seen ? x.end - x.begin : seen;
        behind = dy.end - dy.begin > behind ? dy.end - dy.begin : behind;
    }
    CASK_TRY(cask_cpu_reserve(cpu, cpu->read_scratch, (size_t)seen * (size_t)s->w * pixel, err));
    CASK_TRY(cask_cpu_reserve(cpu, cpu->gradient_scratch, (size_t)behind * (size_t)s->out_w * pixel,
                              err));
done:
    return st;
}

static enum cask_status depthwise_open(struct cask_conv *conv, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_conv_desc *d = &conv->desc;
    struct cask_cpu *cpu = conv->cpu;
    size_t count = (size_t)d->kernel_h * (size_t)d->kernel_w * (size_t)d->in_c;
    struct depthwise_conv *dw = cask_alloc(1, sizeof *dw);
    conv->state = dw;
    if (dw == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *dw, "depthwise convolution"));
    }
    dw->shape = (struct cask_depthwise){cask_cpu_kernels_of(cpu, cpu->dtype),
                                        cpu->dtype,
                                        d->h,
                                        d->w,
                                        d->in_c,
                                        d->kernel_h,
                                        d->kernel_w,
                                        d->stride,
                                        d->pad_top,
                                        d->pad_left,
                                        conv->out_h,
                                        conv->out_w,
                                        NULL};
    dw->groups = d->n < GROUPS ? d->n : GROUPS;
    choose_bands(dw);
    dw->weight = cask_alloc(count, sizeof(float));
    dw->flipped = cask_alloc(count, sizeof(float));
    dw->bias = cask_alloc((size_t)d->in_c, sizeof(float));
    dw->transposed = cask_depthwise_transposed(&dw->shape);
    int64_t zeros = cask_depthwise_zeros(&dw->shape),
            zeros_back = cask_depthwise_zeros(&dw->transposed);
    dw->zeros =
        cask_alloc((size_t)(zeros > zeros_back ? zeros : zeros_back), cask_dtype_size(cpu->dtype));
    dw->shape.zeros = dw->transposed.zeros = dw->zeros;
    size_t partials = d->inference ? 64 : (size_t)dw->groups * count * sizeof(float);
    if (dw->weight == NULL || dw->flipped == NULL || dw->bias == NULL || dw->zeros == NULL ||
        cask_scratch_take(&cpu->shared, partials) == NULL) {
        CASK_TRY(cask_error_memory(err, partials, "depthwise weights"));
    }
    CASK_TRY(reserve(conv, dw, err));
    (void)snprintf(conv->description, sizeof conv->description, "depthwise %s", cask_cpu_isa());
done:
    return st;
}

static void depthwise_close(struct cask_conv *conv)
{
    struct depthwise_conv *dw = conv->state;
    if (dw != NULL) {
        cask_free(dw->weight);
        cask_free(dw->flipped);
        cask_free(dw->bias);
        cask_free(dw->zeros);
        cask_free(dw);
    }
}

static enum cask_status depthwise_set_weights(struct cask_conv *conv, const float *weight,
                                              const float *bias, struct cask_error *err)
{
    struct depthwise_conv *dw = conv->state;
    (void)err;
    cask_depthwise_pack(&dw->shape, weight, false, dw->weight);
    cask_depthwise_pack(&dw->shape, weight, true, dw->flipped);
    if (bias != NULL) {
        memcpy(dw->bias, bias, (size_t)conv->desc.out_c * sizeof *bias);
    }
    return CASK_OK;
}

/* ---------------------------------------------------------------- forward */

/* Rows of one image of a source: as they lie, or made in `room`. */
static struct cask_lines lines_of(const struct cask_source *source, int64_t image, int h, int w,
                                  struct stretch rows, void *room)
{
    return (struct cask_lines){cask_source_rows(source, (image * h + rows.begin) * w,
                                                (int64_t)(rows.end - rows.begin) * w, room),
                               rows.begin};
}

struct forward_run {
    const struct cask_conv *conv;
    const struct cask_source *x;
    const float *bias;
    void *y;
    const struct cask_sink *sink;
    const struct cask_finish *finish; /* NULL: nothing */
};

static void forward_band(void *user, int64_t index, int thread)
{
    const struct forward_run *run = user;
    const struct depthwise_conv *dw = run->conv->state;
    const struct cask_depthwise *s = &dw->shape;
    int64_t image = index / dw->bands;
    struct stretch out = output_rows(dw, (int)(index % dw->bands));
    struct cask_lines x = lines_of(run->x, image, s->h, s->w, rows_seen(dw, out),
                                   run->conv->cpu->read_scratch[thread].data);
    void *y = cask_at(run->y, s->dtype, image * s->out_h * s->out_w * s->c);
    int64_t first = (image * s->out_h + out.begin) * s->out_w;
    const void *rows = cask_at(run->y, s->dtype, first * s->c);
    cask_depthwise_forward(s, dw->weight, run->bias, x, out.begin, out.end - out.begin, y, false);
    if (run->finish != NULL) {
        cask_finish_rows(run->finish, run->y, first, (int64_t)(out.end - out.begin) * s->out_w, 0,
                         s->c);
    }
    cask_sink_begin(run->sink, index, thread, rows);
    cask_sink_rows(run->sink, index, thread, rows, first,
                   (int64_t)(out.end - out.begin) * s->out_w);
    cask_sink_end(run->sink, index, thread);
}

static enum cask_status depthwise_forward(struct cask_conv *conv, const struct cask_source *x,
                                          void *y, struct cask_sink *sink,
                                          const struct cask_finish *finish, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct depthwise_conv *dw = conv->state;
    int64_t bands = (int64_t)conv->desc.n * dw->bands;
    struct forward_run run = {conv, x, conv->desc.bias ? dw->bias : NULL, y, sink, finish};
    CASK_TRY(cask_sink_open(sink, bands, err));
    cask_cpu_for(conv->cpu, bands, forward_band, &run);
    cask_sink_finish(sink);
done:
    return st;
}

/* --------------------------------------------------------------- backward */

struct backward_run {
    const struct cask_conv *conv;
    const struct cask_conv_gradient *what;
    float *partials;
};

static void give_band(const struct backward_run *run, int64_t group, int thread, int64_t image,
                      struct stretch in, struct cask_lines dy)
{
    const struct depthwise_conv *dw = run->conv->state;
    const struct cask_depthwise *s = &dw->shape;
    const struct cask_conv_gradient *what = run->what;
    void *dx = cask_at(what->dx, s->dtype, image * s->h * s->w * s->c);
    int64_t first = (image * s->h + in.begin) * s->w;
    if (s->stride == 1) {
        cask_depthwise_forward(&dw->transposed, dw->flipped, NULL, dy, in.begin, in.end - in.begin,
                               dx, what->accumulate);
    } else {
        cask_depthwise_data(s, dw->weight, dy, in.begin, in.end - in.begin, dx, what->accumulate);
    }
    cask_sink_rows(what->sink, group, thread, cask_at(what->dx, s->dtype, first * s->c), first,
                   (int64_t)(in.end - in.begin) * s->w);
}

static void backward_band(const struct backward_run *run, int64_t group, int thread, int64_t image,
                          int band)
{
    const struct depthwise_conv *dw = run->conv->state;
    const struct cask_depthwise *s = &dw->shape;
    const struct cask_conv_gradient *what = run->what;
    const struct cask_cpu *cpu = run->conv->cpu;
    struct stretch out = output_rows(dw, band), in = input_rows(dw, band);
    struct cask_lines dy = lines_of(what->dy, image, s->out_h, s->out_w,
                                    what->dx != NULL ? rows_behind(dw, in, out) : out,
                                    cpu->gradient_scratch[thread].data);
    if (what->dweight != NULL) {
        struct cask_lines x = lines_of(what->x, image, s->h, s->w, rows_seen(dw, out),
                                       cpu->read_scratch[thread].data);
        cask_depthwise_weights(s, x, dy, out.begin, out.end - out.begin,
                               run->partials + group * s->kernel_h * s->kernel_w * s->c);
    }
    if (what->dx != NULL) {
        give_band(run, group, thread, image, in, dy);
    }
}

static void backward_group(void *user, int64_t group, int thread)
{
    const struct backward_run *run = user;
    const struct depthwise_conv *dw = run->conv->state;
    const struct cask_depthwise *s = &dw->shape;
    int64_t count = (int64_t)s->kernel_h * s->kernel_w * s->c, n = run->conv->desc.n;
    memset(run->partials + group * count, 0, (size_t)count * sizeof(float));
    if (run->what->dx != NULL) {
        cask_sink_begin(run->what->sink, group, thread, NULL);
    }
    for (int64_t image = group * n / dw->groups; image < (group + 1) * n / dw->groups; image++) {
        for (int band = 0; band < dw->bands; band++) {
            backward_band(run, group, thread, image, band);
        }
    }
}

static void add_groups(void *user, int64_t tap, int thread)
{
    const struct backward_run *run = user;
    const struct depthwise_conv *dw = run->conv->state;
    const struct cask_depthwise *s = &dw->shape;
    int64_t taps = (int64_t)s->kernel_h * s->kernel_w;
    (void)thread;
    for (int c = 0; c < s->c; c++) {
        double sum = 0;
        for (int group = 0; group < dw->groups; group++) {
            sum += (double)run->partials[(group * taps + tap) * s->c + c];
        }
        run->what->dweight[c * taps + tap] += (float)sum;
    }
}

static enum cask_status depthwise_backward(struct cask_conv *conv,
                                           const struct cask_conv_gradient *what,
                                           struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct depthwise_conv *dw = conv->state;
    struct backward_run run = {conv, what, conv->cpu->shared.data};
    if (what->dx != NULL) {
        CASK_TRY(cask_sink_open(what->sink, dw->groups, err));
    }
    cask_cpu_for(conv->cpu, dw->groups, backward_group, &run);
    if (what->dweight != NULL) {
        cask_cpu_for(conv->cpu, (int64_t)conv->desc.kernel_h * conv->desc.kernel_w, add_groups,
                     &run);
    }
    if (what->dx != NULL) {
        cask_sink_finish(what->sink);
    }
done:
    return st;
}

const struct cask_conv_kind cask_conv_depthwise = {
    .name = "depthwise",
    .open = depthwise_open,
    .close = depthwise_close,
    .set_weights = depthwise_set_weights,
    .forward = depthwise_forward,
    .backward = depthwise_backward,
};
