/* kernels/cpu/conv_grouped.c - grouped convolution as a few depthwise ones.
 *
 * With I input channels per group, output channel o sees inputs I*group(o) + i, i < I. Let
 * source_r(o) = I*group(o) + (o + r) mod I: as r runs over 0..I-1 every output meets each of
 * its inputs once. So
 *     y = sum over r of depthwise(x[source_r], W_r),   W_r[o] = W[o][(o + r) mod I]
 * and both gradients follow: dx[source_r(o)] += depthwise_data(dy, W_r)[o], dW_r =
 * depthwise_weights. Made for few channels per group (insightface's mbf has 2). Sums are float,
 * also with bf16 activations.
 */
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "kernels/cpu/conv_finish.h"
#include "kernels/cpu/depthwise.h"
#include "kernels/cpu/norm.h"

enum { GROUPS = 16 };

struct grouped_conv {
    struct cask_depthwise shape; /* c = out_c, f32 */
    int rounds;                  /* I */
    int *source;                 /* [rounds][out_c] */
    float *weight;               /* [rounds][tap][out_c] */
    float *bias, *zeros;
    int image_groups;
    int64_t x_count, y_count; /* of one image, with out_c channels */
};

static enum cask_status grouped_open(struct cask_conv *conv, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_conv_desc *d = &conv->desc;
    struct cask_cpu *cpu = conv->cpu;
    struct grouped_conv *g = cask_alloc(1, sizeof *g);
    conv->state = g;
    if (g == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *g, "grouped convolution"));
    }
    g->shape = (struct cask_depthwise){cask_cpu_kernels_of(cpu, CASK_F32),
                                       CASK_F32,
                                       d->h,
                                       d->w,
                                       d->out_c,
                                       d->kernel_h,
                                       d->kernel_w,
                                       d->stride,
                                       d->pad_top,
                                       d->pad_left,
                                       conv->out_h,
                                       conv->out_w,
                                       NULL};
    g->rounds = d->in_c / d->groups;
    g->image_groups = d->n < GROUPS ? d->n : GROUPS;
    g->x_count = (int64_t)d->h * d->w * (d->out_c > d->in_c ? d->out_c : d->in_c);
    g->y_count = (int64_t)conv->out_h * conv->out_w * d->out_c;
    size_t count = (size_t)g->rounds * (size_t)d->kernel_h * (size_t)d->kernel_w * (size_t)d->out_c;
    g->source = cask_alloc((size_t)g->rounds * (size_t)d->out_c, sizeof *g->source);
    g->weight = cask_alloc(count, sizeof *g->weight);
    g->bias = cask_alloc((size_t)d->out_c, sizeof *g->bias);
    g->zeros = cask_alloc((size_t)cask_depthwise_zeros(&g->shape), sizeof *g->zeros);
    size_t partials = d->inference ? 64 : (size_t)g->image_groups * count * sizeof(float);
    if (g->source == NULL || g->weight == NULL || g->bias == NULL || g->zeros == NULL ||
        cask_scratch_take(&cpu->shared, partials) == NULL) {
        CASK_TRY(cask_error_memory(err, partials, "grouped weights"));
    }
    g->shape.zeros = g->zeros;
    for (int i = 0; i < g->rounds * d->out_c; i++) {
        int o = i % d->out_c, round = i / d->out_c;
        g->source[i] = o / (d->out_c / d->groups) * g->rounds + (o + round) % g->rounds;
    }
    CASK_TRY(cask_cpu_reserve(cpu, cpu->block_scratch,
                              (size_t)(2 * g->x_count + g->y_count) * sizeof(float), err));
    size_t element = cask_dtype_size(cpu->dtype);
    CASK_TRY(cask_cpu_reserve(cpu, cpu->read_scratch,
                              (size_t)d->h * (size_t)d->w * (size_t)d->in_c * element, err));
    CASK_TRY(cask_cpu_reserve(cpu, cpu->gradient_scratch, (size_t)g->y_count * element, err));
    (void)snprintf(conv->description, sizeof conv->description, "grouped as %d depthwise %s",
                   g->rounds, cask_cpu_isa());
done:
    return st;
}

static void grouped_close(struct cask_conv *conv)
{
    struct grouped_conv *g = conv->state;
    if (g != NULL) {
        cask_free(g->source);
        cask_free(g->weight);
        cask_free(g->bias);
        cask_free(g->zeros);
        cask_free(g);
    }
}

static int64_t round_weights(const struct grouped_conv *g)
{
    return (int64_t)g->shape.kernel_h * g->shape.kernel_w * g->shape.c;
}

/* Index in PyTorch's weight of element (round, tap, out). */
static int64_t weight_at(const struct grouped_conv *g, int round, int64_t tap, int64_t out)
{
    int64_t taps = (int64_t)g->shape.kernel_h * g->shape.kernel_w;
    return (out * g->rounds + (out + round) % g->rounds) * taps + tap;
}

static enum cask_status grouped_set_weights(struct cask_conv *conv, const float *weight,
                                            const float *bias, struct cask_error *err)
{
    struct grouped_conv *g = conv->state;
    int64_t taps = (int64_t)g->shape.kernel_h * g->shape.kernel_w;
    float *to = g->weight;
    (void)err;
    for (int round = 0; round < g->rounds; round++) {
        for (int64_t tap = 0; tap < taps; tap++) {
            for (int64_t out = 0; out < g->shape.c; out++) {
                *to++ = weight[weight_at(g, round, tap, out)];
            }
        }
    }
    if (bias != NULL) {
        memcpy(g->bias, bias, (size_t)g->shape.c * sizeof *bias);
    }
    return CASK_OK;
}

struct grouped_run {
    const struct cask_conv *conv;
    const struct cask_cpu_kernels *kernels;
    const struct cask_source *x, *dy;
    const struct cask_sink *sink;
    void *to;
    bool accumulate;
    float *partials, *dweight;
    const struct cask_finish *finish; /* forward; NULL: nothing */
};

static const void *x_image(const struct grouped_run *run, int64_t image, int thread)
{
    int64_t pixels = (int64_t)run->conv->desc.h * run->conv->desc.w;
    return cask_source_rows(run->x, image * pixels, pixels,
                            run->conv->cpu->read_scratch[thread].data);
}

static void dy_image(const struct grouped_run *run, int64_t image, int thread, float *dy)
{
    const struct grouped_conv *g = run->conv->state;
    int64_t pixels = (int64_t)run->conv->out_h * run->conv->out_w;
    const void *from = cask_source_rows(run->dy, image * pixels, pixels,
                                        run->conv->cpu->gradient_scratch[thread].data);
    run->kernels->elementwise->to_float(from, dy, g->y_count);
}

static void sink_image(const struct grouped_run *run, int64_t image, int thread, const void *rows,
                       int64_t pixels)
{
    cask_sink_begin(run->sink, image, thread, rows);
    cask_sink_rows(run->sink, image, thread, rows, image * pixels, pixels);
    cask_sink_end(run->sink, image, thread);
}

static void forward_image(void *user, int64_t image, int thread)
{
    const struct grouped_run *run = user;
    const struct grouped_conv *g = run->conv->state;
    const struct cask_conv_desc *d = &run->conv->desc;
    float *gathered = run->conv->cpu->block_scratch[thread].data, *y = gathered + g->x_count;
    const void *x = x_image(run, image, thread);
    for (int round = 0; round < g->rounds; round++) {
        run->kernels->depthwise->gather(x, d->in_c, g->source + round * d->out_c, gathered,
                                        d->out_c, (int64_t)d->h * d->w);
        cask_depthwise_forward(&g->shape, g->weight + round * round_weights(g),
                               round == 0 && d->bias ? g->bias : NULL,
                               (struct cask_lines){gathered, 0}, 0, run->conv->out_h, y, round > 0);
    }
    void *to = cask_at(run->to, run->conv->cpu->dtype, image * g->y_count);
    run->kernels->elementwise->from_float(y, to, g->y_count);
    if (run->finish != NULL) {
        int64_t pixels = (int64_t)run->conv->out_h * run->conv->out_w;
        cask_finish_rows(run->finish, run->to, image * pixels, pixels, 0, d->out_c);
    }
    sink_image(run, image, thread, to, (int64_t)run->conv->out_h * run->conv->out_w);
}

static void data_image(void *user, int64_t image, int thread)
{
    const struct grouped_run *run = user;
    const struct grouped_conv *g = run->conv->state;
    const struct cask_conv_desc *d = &run->conv->desc;
    float *part = run->conv->cpu->block_scratch[thread].data, *dx = part + g->x_count,
          *dy = dx + g->x_count;
    int64_t count = (int64_t)d->h * d->w * d->in_c;
    void *to = cask_at(run->to, run->conv->cpu->dtype, image * count);
    dy_image(run, image, thread, dy);
    if (run->accumulate) {
        run->kernels->elementwise->to_float(to, dx, count);
    } else {
        memset(dx, 0, (size_t)count * sizeof *dx);
    }
    for (int round = 0; round < g->rounds; round++) {
        cask_depthwise_data(&g->shape, g->weight + round * round_weights(g),
                            (struct cask_lines){dy, 0}, 0, d->h, part, false);
        g->shape.kernels->depthwise->scatter(part, d->out_c, g->source + round * d->out_c, dx,
                                             d->in_c, (int64_t)d->h * d->w);
    }
    run->kernels->elementwise->from_float(dx, to, count);
    sink_image(run, image, thread, to, (int64_t)d->h * d->w);
}

static void gradient_group(void *user, int64_t group, int thread)
{
    const struct grouped_run *run = user;
    const struct grouped_conv *g = run->conv->state;
    const struct cask_conv_desc *d = &run->conv->desc;
    float *gathered = run->conv->cpu->block_scratch[thread].data, *dy = gathered + g->x_count;
    int64_t count = g->rounds * round_weights(g);
    float *partial = run->partials + group * count;
    memset(partial, 0, (size_t)count * sizeof *partial);
    for (int64_t image = group * d->n / g->image_groups;
         image < (group + 1) * d->n / g->image_groups; image++) {
        const void *x = x_image(run, image, thread);
        dy_image(run, image, thread, dy);
        for (int round = 0; round < g->rounds; round++) {
            run->kernels->depthwise->gather(x, d->in_c, g->source + round * d->out_c, gathered,
                                            d->out_c, (int64_t)d->h * d->w);
            cask_depthwise_weights(&g->shape, (struct cask_lines){gathered, 0},
                                   (struct cask_lines){dy, 0}, 0, g->shape.out_h,
                                   partial + round * round_weights(g));
        }
    }
}

static void add_gradient(const struct grouped_run *run)
{
    const struct grouped_conv *g = run->conv->state;
    int64_t taps = (int64_t)g->shape.kernel_h * g->shape.kernel_w,
            count = g->rounds * round_weights(g);
    for (int64_t i = 0; i < count; i++) {
        int64_t out = i % g->shape.c, tap = i / g->shape.c % taps;
        double sum = 0;
        for (int group = 0; group < g->image_groups; group++) {
            sum += (double)run->partials[group * count + i];
        }
        run->dweight[weight_at(g, (int)(i / round_weights(g)), tap, out)] += (float)sum;
    }
}

static enum cask_status grouped_forward(struct cask_conv *conv, const struct cask_source *x,
                                        void *y, struct cask_sink *sink,
                                        const struct cask_finish *finish, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct grouped_run run = {.conv = conv,
                              .kernels = cask_cpu_kernels_of(conv->cpu, conv->cpu->dtype),
                              .x = x,
                              .sink = sink,
                              .to = y,
                              .finish = finish};
    CASK_TRY(cask_sink_open(sink, conv->desc.n, err));
    cask_cpu_for(conv->cpu, conv->desc.n, forward_image, &run);
    cask_sink_finish(sink);
done:
    return st;
}

static enum cask_status grouped_backward(struct cask_conv *conv,
                                         const struct cask_conv_gradient *what,
                                         struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct grouped_conv *g = conv->state;
    struct grouped_run run = {.conv = conv,
                              .kernels = cask_cpu_kernels_of(conv->cpu, conv->cpu->dtype),
                              .x = what->x,
                              .dy = what->dy,
                              .sink = what->sink,
                              .to = what->dx,
                              .accumulate = what->accumulate,
                              .partials = conv->cpu->shared.data,
                              .dweight = what->dweight};
    if (what->dweight != NULL) {
        cask_cpu_for(conv->cpu, g->image_groups, gradient_group, &run);
        add_gradient(&run);
    }
    if (what->dx != NULL) {
        CASK_TRY(cask_sink_open(what->sink, conv->desc.n, err));
        cask_cpu_for(conv->cpu, conv->desc.n, data_image, &run);
        cask_sink_finish(what->sink);
    }
done:
    return st;
}

const struct cask_conv_kind cask_conv_grouped = {
    .name = "grouped",
    .open = grouped_open,
    .close = grouped_close,
    .set_weights = grouped_set_weights,
    .forward = grouped_forward,
    .backward = grouped_backward,
};
