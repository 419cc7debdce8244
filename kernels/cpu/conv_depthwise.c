/* kernels/cpu/conv_depthwise.c - grouped convolution planned: lines, orders of channels, weights.
 */
#include "kernels/cpu/conv_depthwise.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"

/* Groups of images have their own dW; bands are for batches too small to keep threads busy. */
enum { IMAGES = 16, LEAST_TASKS = 16, LEAST_ROWS = 4 };
/* Of a block's lines, and of its rows of a type of two bytes. */
enum { BLOCK_BYTES = 32 * 1024, LEAST_CHANNELS = 32, TURN_PIXELS = 128 };

static int at_least_0(int value)
{
    return value > 0 ? value : 0;
}

/* ------------------------------------------------------------------- shapes */

static int larger(int a, int b)
{
    return a > b ? a : b;
}

/* Whole vectors of inputs and of outputs, as far as there are so many groups. */
static void choose_blocks(const struct cask_conv *conv, struct cask_depthwise *dw)
{
    const struct cask_conv_desc *d = &conv->desc;
    const int most = larger(dw->inputs, dw->outputs);
    const int64_t line = (int64_t)d->kernel_h * (d->w + d->kernel_w) * (int64_t)sizeof(float);
    int channels = LEAST_CHANNELS;
    /* One output wide: little is done for each row, and much would be done for each block. */
    const int64_t most_bytes = conv->out_w == 1 ? 2 * BLOCK_BYTES : BLOCK_BYTES;
    while (2 * channels * line <= most_bytes) {
        channels *= 2;
    }
    dw->block_groups = larger(channels / most / 16 * 16, 16);
    dw->block_groups = dw->block_groups < d->groups ? dw->block_groups : d->groups;
    dw->blocks = (d->groups + dw->block_groups - 1) / dw->block_groups;
    dw->turn = larger((TURN_PIXELS + conv->out_w - 1) / conv->out_w, LEAST_ROWS);
}

static void set_phases(const struct cask_conv *conv, struct cask_depthwise *dw)
{
    const struct cask_conv_desc *d = &conv->desc;
    const int s = dw->across;
    int before = 0;
    for (int i = 0; i < s; i++) {
        struct cask_phase *phase = &dw->phases[i];
        phase->first = ((i - d->pad_left) % s + s) % s;
        phase->count = phase->first < d->w ? (d->w - phase->first + s - 1) / s : 0;
        phase->taps = i < d->kernel_w ? (d->kernel_w - 1 - i) / s + 1 : 0;
        phase->before = before;
        phase->column = (phase->first + d->pad_left - i) / s - (phase->taps - 1);
        before += phase->taps;
    }
}

/* order[round][j] for channel from * (j / to) + (j mod to + round) mod from; a block begins with a
 * whole group */
static int *make_order(const struct cask_line_shape *shape, int from, int to)
{
    int *order = cask_alloc((size_t)from * (size_t)shape->filled, sizeof *order);
    for (int i = 0; order != NULL && i < from * shape->filled; i++) {
        int j = i % shape->filled, round = i / shape->filled;
        int channel = j / to * from + (j % to + round) % from;
        order[i] = channel / shape->lanes * (int)cask_line_vector(shape) + channel % shape->lanes;
    }
    return order;
}

/* false: no memory */
static bool set_lines(const struct cask_conv *conv, struct cask_depthwise *dw)
{
    const struct cask_conv_desc *d = &conv->desc;
    int left = 0, right = 0;
    set_phases(conv, dw);
    choose_blocks(conv, dw);
    const int lanes = cask_cpu_kernels_of(conv->cpu, conv->cpu->dtype)->lanes;
    const int filled =
        cask_depthwise_filled(conv, dw->block_groups * larger(dw->inputs, dw->outputs));
    dw->x = (struct cask_line_shape){
        .h = d->h,
        .w = d->w,
        .c = d->in_c,
        .left = d->pad_left,
        .right = at_least_0((conv->out_w - 1) * d->stride - d->pad_left + d->kernel_w - d->w),
        .depth = d->kernel_h,
        .filled = filled,
        .lanes = lanes,
        .rounds = dw->inputs};
    dw->x_back = (struct cask_line_shape){.h = d->h,
                                          .w = d->w,
                                          .c = d->in_c,
                                          .depth = 1,
                                          .filled = filled,
                                          .lanes = lanes,
                                          .rounds = 1};
    for (int i = 0; i < dw->across; i++) {
        const struct cask_phase *phase = &dw->phases[i];
        int end = phase->column + phase->count + phase->taps - 1;
        left = phase->column < -left ? -phase->column : left;
        right = end - conv->out_w > right ? end - conv->out_w : right;
    }
    dw->dy = (struct cask_line_shape){.h = conv->out_h,
                                      .w = conv->out_w,
                                      .c = d->out_c,
                                      .left = left,
                                      .right = right,
                                      .depth = d->kernel_h,
                                      .filled = filled,
                                      .lanes = lanes,
                                      .rounds = dw->outputs};
    if (dw->inputs == 1 && dw->outputs == 1) {
        return true;
    }
    dw->x.order = dw->x_order = make_order(&dw->x, dw->inputs, dw->outputs);
    dw->dy.order = dw->dy_order = make_order(&dw->dy, dw->outputs, dw->inputs);
    return dw->x_order != NULL && dw->dy_order != NULL;
}

static void choose_bands(const struct cask_conv *conv, struct cask_depthwise *dw)
{
    const int n = conv->desc.n, most = conv->out_h / LEAST_ROWS;
    int bands = (LEAST_TASKS + n - 1) / n;
    bands = bands < most ? bands : most;
    bands = bands > 1 ? bands : 1;
    dw->rows = (conv->out_h + bands - 1) / bands;
    dw->bands = (conv->out_h + dw->rows - 1) / dw->rows;
    dw->images = n < IMAGES ? n : IMAGES;
}

/* --------------------------------------------------------------------- open */

static enum cask_status reserve(struct cask_conv *conv, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_conv_desc *d = &conv->desc;
    const struct cask_depthwise *dw = conv->state;
    struct cask_cpu *cpu = conv->cpu;
    const size_t blocks = (size_t)dw->blocks;
    const size_t rows = (size_t)larger(dw->inputs, dw->outputs) * (size_t)d->kernel_h;
    CASK_TRY(cask_cpu_reserve(cpu, cpu->block_scratch,
                              rows * sizeof(struct cask_depthwise_row) +
                                  2 * blocks * sizeof(struct cask_line_ring),
                              err));
    CASK_TRY(cask_cpu_reserve(cpu, cpu->read_scratch,
                              blocks * (size_t)cask_line_ring_floats(&dw->x) * sizeof(float), err));
    if (!d->inference) {
        size_t partials =
            (size_t)dw->images * (size_t)cask_depthwise_transposed(conv) * sizeof(float);
        CASK_TRY(cask_cpu_reserve(cpu, cpu->gradient_scratch,
                                  blocks * (size_t)cask_line_ring_floats(&dw->dy) * sizeof(float),
                                  err));
        if (cask_scratch_take(&cpu->shared, partials) == NULL) {
            CASK_TRY(cask_error_memory(err, partials, "gradients of weights"));
        }
    }
done:
    return st;
}

static enum cask_status depthwise_open(struct cask_conv *conv, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_conv_desc *d = &conv->desc;
    struct cask_depthwise *dw = cask_alloc(1, sizeof *dw);
    conv->state = dw;
    if (dw == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *dw, "grouped convolution"));
    }
    const size_t taps = (size_t)d->kernel_h * (size_t)d->kernel_w;
    dw->inputs = d->in_c / d->groups;
    dw->outputs = d->out_c / d->groups;
    dw->weight = cask_alloc(
        (size_t)dw->inputs * taps * (size_t)cask_depthwise_filled(conv, d->out_c), sizeof(float));
    dw->transposed = cask_alloc((size_t)cask_depthwise_transposed(conv), sizeof(float));
    dw->bias = cask_alloc((size_t)cask_depthwise_filled(conv, d->out_c), sizeof(float));
    dw->across = conv->out_w == 1 ? d->kernel_w : d->stride;
    dw->phases = cask_alloc((size_t)dw->across, sizeof *dw->phases);
    if (dw->weight == NULL || dw->transposed == NULL || dw->bias == NULL || dw->phases == NULL ||
        !set_lines(conv, dw)) {
        CASK_TRY(cask_error_memory(err, taps * (size_t)d->out_c, "grouped weights"));
    }
    choose_bands(conv, dw);
    CASK_TRY(reserve(conv, err));
    (void)snprintf(conv->description, sizeof conv->description, "%s %s",
                   dw->x_order == NULL ? "depthwise" : "grouped as depthwise", cask_cpu_isa());
done:
    return st;
}

static void depthwise_close(struct cask_conv *conv)
{
    struct cask_depthwise *dw = conv->state;
    if (dw != NULL) {
        cask_free(dw->x_order);
        cask_free(dw->dy_order);
        cask_free(dw->weight);
        cask_free(dw->transposed);
        cask_free(dw->bias);
        cask_free(dw->phases);
        cask_free(dw);
    }
}

/* ------------------------------------------------------------------ weights */

/* Where PyTorch's weight [out][I][tap] keeps what output `out` does to its input of `round`. */
static int64_t weight_at(const struct cask_conv *conv, int round, int64_t tap, int out)
{
    const struct cask_depthwise *dw = conv->state;
    const int64_t taps = (int64_t)conv->desc.kernel_h * conv->desc.kernel_w;
    return ((int64_t)out * dw->inputs + (out % dw->outputs + round) % dw->inputs) * taps + tap;
}

static void pack_forward(const struct cask_conv *conv, const float *weight)
{
    const struct cask_depthwise *dw = conv->state;
    const int taps = conv->desc.kernel_h * conv->desc.kernel_w;
    float *to = dw->weight;
    for (int i = 0; i < dw->inputs * taps;
         i++, to += cask_depthwise_filled(conv, conv->desc.out_c)) {
        for (int out = 0; out < conv->desc.out_c; out++) {
            to[out] = weight[weight_at(conv, i / taps, i % taps, out)];
        }
    }
}

/* Columns of a kernel as `transposed` has them: phase by phase, taps from right to left. */
static int column_behind(const struct cask_conv *conv, int place)
{
    const struct cask_depthwise *dw = conv->state;
    int phase = 0;
    while (place >= dw->phases[phase].before + dw->phases[phase].taps) {
        phase++;
    }
    place -= dw->phases[phase].before;
    return phase + (dw->phases[phase].taps - 1 - place) * dw->across;
}

/* Where PyTorch's weight keeps what input `in` gets from its output of `round`; tap: of the kernel
 * as it is. */
static int64_t weight_behind(const struct cask_conv *conv, int round, int64_t tap, int in)
{
    const struct cask_depthwise *dw = conv->state;
    const int64_t taps = (int64_t)conv->desc.kernel_h * conv->desc.kernel_w;
    const int64_t out = in / dw->inputs * dw->outputs + (in % dw->inputs + round) % dw->outputs;
    return (out * dw->inputs + in % dw->inputs) * taps + tap;
}

/* Vector `index` of `transposed`: its round, and its tap of the kernel as it is. */
static int64_t tap_behind(const struct cask_conv *conv, int64_t index, int *round)
{
    const int64_t columns = conv->desc.kernel_w, taps = conv->desc.kernel_h * columns;
    *round = (int)(index / taps);
    return index % taps / columns * columns + column_behind(conv, (int)(index % columns));
}

static void pack_behind(const struct cask_conv *conv, const float *weight)
{
    const struct cask_depthwise *dw = conv->state;
    const int64_t count = (int64_t)dw->outputs * conv->desc.kernel_h * conv->desc.kernel_w;
    float *to = dw->transposed;
    for (int64_t i = 0; i < count; i++, to += cask_depthwise_filled(conv, conv->desc.in_c)) {
        int round;
        const int64_t tap = tap_behind(conv, i, &round);
        for (int in = 0; in < conv->desc.in_c; in++) {
            to[in] = weight[weight_behind(conv, round, tap, in)];
        }
    }
}

static enum cask_status depthwise_set_weights(struct cask_conv *conv, const float *weight,
                                              const float *bias, struct cask_error *err)
{
    struct cask_depthwise *dw = conv->state;
    (void)err;
    pack_forward(conv, weight);
    pack_behind(conv, weight);
    if (bias != NULL) {
        memcpy(dw->bias, bias, (size_t)conv->desc.out_c * sizeof *bias);
    }
    return CASK_OK;
}

struct weight_sum {
    const struct cask_conv *conv;
    const float *partials;
    float *dweight;
};

/* One vector of `transposed`. */
static void sum_tap(void *user, int64_t index, int thread)
{
    enum { SOME = 64 };
    const struct weight_sum *run = user;
    const struct cask_depthwise *dw = run->conv->state;
    const struct cask_conv_desc *d = &run->conv->desc;
    const int64_t all = cask_depthwise_transposed(run->conv);
    int round;
    const int64_t tap = tap_behind(run->conv, index, &round);
    (void)thread;
    for (int first = 0; first < d->in_c; first += SOME) {
        double sum[SOME] = {0};
        const int count = d->in_c - first < SOME ? d->in_c - first : SOME;
        for (int group = 0; group < dw->images; group++) {
            const float *partial = run->partials + group * all +
                                   index * cask_depthwise_filled(run->conv, d->in_c) + first;
            for (int i = 0; i < count; i++) {
                sum[i] += (double)partial[i];
            }
        }
        for (int i = 0; i < count; i++) {
            run->dweight[weight_behind(run->conv, round, tap, first + i)] += (float)sum[i];
        }
    }
}

void cask_depthwise_add_weights(const struct cask_conv *conv, const float *partials, float *dweight)
{
    const struct cask_depthwise *dw = conv->state;
    struct weight_sum run = {conv, partials, dweight};
    cask_cpu_for(conv->cpu, (int64_t)dw->outputs * conv->desc.kernel_h * conv->desc.kernel_w,
                 sum_tap, &run);
}

const struct cask_conv_kind cask_conv_depthwise = {
    .name = "depthwise",
    .open = depthwise_open,
    .close = depthwise_close,
    .set_weights = depthwise_set_weights,
    .forward = cask_depthwise_forward,
    .backward = cask_depthwise_backward,
};
