/* kernels/cpu/conv_depthwise.c - depthwise convolution over a batch; any kernel, also as large as
 * the input. */
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "kernels/cpu/depthwise.h"

enum { BAND_ROWS = 8, GROUPS = 16 };

struct depthwise_conv {
    struct cask_depthwise shape, transposed;
    float *weight, *flipped; /* [tap][c] */
    float *bias;             /* NULL: none */
    void *zeros;
    int groups; /* of images, for the weight gradient */
};

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

/* ------------------------------------------------------------ over a batch */

struct batch_run {
    const struct cask_conv *conv;
    const struct cask_depthwise *shape;
    const float *weight, *bias;
    const void *from;
    void *to;
    int bands, rows; /* of one image's result */
    bool accumulate;
};

static struct batch_run batch_run_of(const struct cask_conv *conv, const void *from, void *to,
                                     int rows, bool accumulate)
{
    int bands = (rows + BAND_ROWS - 1) / BAND_ROWS;
    return (struct batch_run){.conv = conv,
                              .from = from,
                              .to = to,
                              .bands = bands,
                              .rows = rows,
                              .accumulate = accumulate};
}

/* Image and first row of a band; returns its number of rows. */
static int band_of(const struct batch_run *run, int64_t index, int64_t *image, int *first)
{
    *image = index / run->bands;
    *first = (int)(index % run->bands) * BAND_ROWS;
    return run->rows - *first < BAND_ROWS ? run->rows - *first : BAND_ROWS;
}

static void forward_band(void *user, int64_t index, int thread)
{
    const struct batch_run *run = user;
    const struct cask_depthwise *s = run->shape;
    int64_t image;
    int first, rows = band_of(run, index, &image, &first);
    (void)thread;
    cask_depthwise_forward(
        s, run->weight, run->bias, cask_at(run->from, s->dtype, image * s->h * s->w * s->c), first,
        rows, cask_at(run->to, s->dtype, image * s->out_h * s->out_w * s->c), run->accumulate);
}

static void data_band(void *user, int64_t index, int thread)
{
    const struct batch_run *run = user;
    const struct cask_depthwise *s = run->shape;
    int64_t image;
    int first, rows = band_of(run, index, &image, &first);
    (void)thread;
    cask_depthwise_data(
        s, run->weight, cask_at(run->from, s->dtype, image * s->out_h * s->out_w * s->c), first,
        rows, cask_at(run->to, s->dtype, image * s->h * s->w * s->c), run->accumulate);
}

static enum cask_status depthwise_forward(struct cask_conv *conv, const void *x, void *y,
                                          struct cask_error *err)
{
    const struct depthwise_conv *dw = conv->state;
    struct batch_run run = batch_run_of(conv, x, y, conv->out_h, false);
    (void)err;
    run.shape = &dw->shape;
    run.weight = dw->weight;
    run.bias = conv->desc.bias ? dw->bias : NULL;
    cask_cpu_for(conv->cpu, (int64_t)conv->desc.n * run.bands, forward_band, &run);
    return CASK_OK;
}

static enum cask_status depthwise_backward_data(struct cask_conv *conv, const void *dy, void *dx,
                                                bool accumulate, struct cask_error *err)
{
    const struct depthwise_conv *dw = conv->state;
    struct batch_run run = batch_run_of(conv, dy, dx, conv->desc.h, accumulate);
    bool transposed = conv->desc.stride == 1;
    (void)err;
    run.shape = transposed ? &dw->transposed : &dw->shape;
    run.weight = transposed ? dw->flipped : dw->weight;
    cask_cpu_for(conv->cpu, (int64_t)conv->desc.n * run.bands,
                 transposed ? forward_band : data_band, &run);
    return CASK_OK;
}

/* -------------------------------------------------------- weight gradient */

struct gradient_run {
    const struct depthwise_conv *dw;
    int n;
    const void *x, *dy;
    float *partials, *dweight;
};

static void sum_group(void *user, int64_t group, int thread)
{
    const struct gradient_run *run = user;
    const struct cask_depthwise *s = &run->dw->shape;
    int64_t count = (int64_t)s->kernel_h * s->kernel_w * s->c;
    float *partial = run->partials + group * count;
    (void)thread;
    memset(partial, 0, (size_t)count * sizeof *partial);
    for (int64_t image = group * run->n / run->dw->groups;
         image < (group + 1) * run->n / run->dw->groups; image++) {
        cask_depthwise_weights(s, cask_at(run->x, s->dtype, image * s->h * s->w * s->c),
                               cask_at(run->dy, s->dtype, image * s->out_h * s->out_w * s->c),
                               partial);
    }
}

static void add_groups(void *user, int64_t tap, int thread)
{
    const struct gradient_run *run = user;
    const struct cask_depthwise *s = &run->dw->shape;
    int64_t taps = (int64_t)s->kernel_h * s->kernel_w;
    (void)thread;
    for (int c = 0; c < s->c; c++) {
        double sum = 0;
        for (int group = 0; group < run->dw->groups; group++) {
            sum += (double)run->partials[(group * taps + tap) * s->c + c];
        }
        run->dweight[c * taps + tap] += (float)sum;
    }
}

static enum cask_status depthwise_backward_weights(struct cask_conv *conv, const void *x,
                                                   const void *dy, float *dweight,
                                                   struct cask_error *err)
{
    const struct depthwise_conv *dw = conv->state;
    struct gradient_run run = {dw, conv->desc.n, x, dy, conv->cpu->shared.data, dweight};
    (void)err;
    cask_cpu_for(conv->cpu, dw->groups, sum_group, &run);
    cask_cpu_for(conv->cpu, (int64_t)conv->desc.kernel_h * conv->desc.kernel_w, add_groups, &run);
    return CASK_OK;
}

const struct cask_conv_kind cask_conv_depthwise = {
    .name = "depthwise",
    .open = depthwise_open,
    .close = depthwise_close,
    .set_weights = depthwise_set_weights,
    .forward = depthwise_forward,
    .backward_data = depthwise_backward_data,
    .backward_weights = depthwise_backward_weights,
};
