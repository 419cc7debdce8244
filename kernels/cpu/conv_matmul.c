/* kernels/cpu/conv_matmul.c - dense convolution and linear layers: passes, weights, the kind's
 * table. */
#include "kernels/cpu/conv_matmul.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"

static struct cask_lowering lowering_of(const struct cask_conv *conv)
{
    const struct cask_conv_desc *d = &conv->desc;
    return (struct cask_lowering){conv->cpu->dtype, d->h,        d->w,       d->in_c,
                                  d->kernel_h,      d->kernel_w, d->stride,  d->pad_top,
                                  d->pad_left,      conv->out_h, conv->out_w};
}

static bool is_linear(const struct cask_conv *conv)
{
    struct cask_lowering lowering = lowering_of(conv);
    return cask_lowering_is_input(&lowering) && conv->out_h * conv->out_w == 1;
}

static enum cask_status open_forward(struct cask_conv *conv, struct cask_matmul_conv *m,
                                     struct cask_error *err)
{
    struct cask_matmul_pass *pass = &m->forward;
    const struct cask_conv_desc *d = &conv->desc;
    pass->lowering = lowering_of(conv);
    pass->placing = (struct cask_placing){1, 0, 0, conv->out_h, conv->out_w, d->out_c};
    pass->rows = (int64_t)d->n * conv->out_h * conv->out_w;
    pass->k = (int64_t)d->kernel_h * d->kernel_w * d->in_c;
    pass->n = d->out_c;
    pass->weight_strides[0] = 1;
    pass->weight_strides[1] = pass->k;
    pass->plain = is_linear(conv) ? m->ohwi : NULL;
    return cask_matmul_pass_open(conv->cpu, pass, d->bias, false, d->whole, err);
}

/* One axis of a phase: input positions p = phase + stride*a use kernel positions k with
 * (p + pad - k) mod stride = 0, at output (p + pad - k) / stride. Taps run against k, so that the
 * output position grows with the tap. Returns their number; *origin: output position of tap 0 at
 * a=0. */
static int phase_taps(int phase, int pad, int kernel, int stride, int *taps, int *origin)
{
    int first = (phase + pad) % stride, count = 0;
    if (first >= kernel) {
        *origin = 0;
        return 0;
    }
    int last = first + (kernel - 1 - first) / stride * stride;
    for (int k = last; k >= first; k -= stride) {
        taps[count++] = k;
    }
    *origin = (phase + pad - last) / stride;
    return count;
}

static enum cask_status open_phase(struct cask_conv *conv, struct cask_matmul_pass *pass,
                                   int phase_h, int phase_w, struct cask_error *err)
{
    const struct cask_conv_desc *d = &conv->desc;
    int origin_h, origin_w, s = d->stride;
    int taps_h = phase_taps(phase_h, d->pad_top, d->kernel_h, s, pass->taps[0], &origin_h);
    int taps_w = phase_taps(phase_w, d->pad_left, d->kernel_w, s, pass->taps[1], &origin_w);
    int size_h = phase_h < d->h ? (d->h - phase_h + s - 1) / s : 0;
    int size_w = phase_w < d->w ? (d->w - phase_w + s - 1) / s : 0;
    pass->lowering = (struct cask_lowering){conv->cpu->dtype, conv->out_h, conv->out_w, d->out_c,
                                            taps_h,           taps_w,      1,           -origin_h,
                                            -origin_w,        size_h,      size_w};
    pass->placing = (struct cask_placing){s, phase_h, phase_w, d->h, d->w, d->in_c};
    pass->rows = (int64_t)d->n * size_h * size_w;
    pass->k = (int64_t)taps_h * taps_w * d->out_c;
    pass->n = d->in_c;
    pass->weight_strides[0] = pass->n;
    pass->weight_strides[1] = 1;
    return cask_matmul_pass_open(conv->cpu, pass, false, true, d->whole, err);
}

/* dx[n][taps * in] = dy[n][out] * W: no phases. */
static enum cask_status open_linear_data(struct cask_conv *conv, struct cask_matmul_conv *m,
                                         struct cask_error *err)
{
    struct cask_matmul_pass *pass = &m->data[0];
    const struct cask_conv_desc *d = &conv->desc;
    pass->lowering = (struct cask_lowering){conv->cpu->dtype, 1, 1, d->out_c, 1, 1, 1, 0, 0, 1, 1};
    pass->placing = (struct cask_placing){1, 0, 0, 1, 1, d->h * d->w * d->in_c};
    pass->rows = d->n;
    pass->k = d->out_c;
    pass->n = (int64_t)d->h * d->w * d->in_c;
    pass->weight_strides[0] = pass->n;
    pass->weight_strides[1] = 1;
    pass->plain = m->ohwi;
    return cask_matmul_pass_open(conv->cpu, pass, false, true, d->whole, err);
}

static enum cask_status open_data(struct cask_conv *conv, struct cask_matmul_conv *m,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int s = conv->desc.stride;
    int passes = is_linear(conv) ? 1 : s * s;
    m->data = cask_alloc((size_t)passes, sizeof *m->data);
    if (m->data == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)passes * sizeof *m->data, "convolution passes"));
    }
    m->data_passes = passes;
    m->data_is_ohwi = conv->desc.kernel_h == 1 && conv->desc.kernel_w == 1 && passes == 1;
    if (is_linear(conv)) {
        CASK_TRY(open_linear_data(conv, m, err));
        goto done;
    }
    for (int i = 0; i < passes; i++) {
        CASK_TRY(open_phase(conv, &m->data[i], i / s, i % s, err));
    }
done:
    return st;
}

static enum cask_status matmul_open(struct cask_conv *conv, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_conv_desc *d = &conv->desc;
    size_t count = (size_t)d->out_c * (size_t)d->in_c * (size_t)d->kernel_h * (size_t)d->kernel_w;
    struct cask_matmul_conv *m = cask_alloc(1, sizeof *m);
    conv->state = m;
    if (m == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *m, "convolution"));
    }
    if (!d->inference && !is_linear(conv) && (d->kernel_h > 32 || d->kernel_w > 32)) {
        CASK_TRY(
            cask_error_set(err, CASK_ERR_UNSUPPORTED,
                           "convolution: kernel is %d x %d, expected at most 32 x 32 for training",
                           d->kernel_h, d->kernel_w));
    }
    m->ohwi = cask_alloc(count, cask_dtype_size(conv->cpu->dtype));
    m->bias = d->bias ? cask_alloc((size_t)d->out_c, sizeof *m->bias) : NULL;
    if (m->ohwi == NULL || (d->bias && m->bias == NULL)) {
        CASK_TRY(cask_error_memory(err, count * sizeof(float), "convolution weights"));
    }
    CASK_TRY(open_forward(conv, m, err));
    if (!d->inference) {
        CASK_TRY(open_data(conv, m, err));
        bool pointwise = d->kernel_h * d->kernel_w == 1 && m->data_passes == 1;
        CASK_TRY(cask_matmul_gradient_open(
            conv, &m->gradient, pointwise && m->data[0].plain == NULL ? m->data : NULL, err));
    }
    (void)snprintf(conv->description, sizeof conv->description, "matmul %s, %lld x %lld rows",
                   cask_inner_name(&m->forward.product), (long long)m->forward.chunks,
                   (long long)m->forward.chunk);
done:
    return st;
}

static void matmul_close(struct cask_conv *conv)
{
    struct cask_matmul_conv *m = conv->state;
    if (m == NULL) {
        return;
    }
    cask_matmul_pass_close(&m->forward);
    for (int i = 0; i < m->data_passes; i++) {
        cask_matmul_pass_close(&m->data[i]);
    }
    cask_matmul_gradient_close(&m->gradient);
    cask_free(m->data);
    cask_free(m->ohwi);
    cask_free(m->bias);
    cask_free(m);
}

/* ---------------------------------------------------------------- weights */

struct weight_run {
    struct cask_conv *conv;
    struct cask_matmul_conv *m;
    const struct cask_cpu_kernels *kernels;
    const float *weight;
    char *plain; /* backward data: [tap][out][in] of all phases */
    bool failed;
};

enum { STRETCH = 16 }; /* inputs whose taps stay in L1 while they are spread */

/* OIHW to [out][tap][in], one output channel. */
static void permute_out(void *user, int64_t out, int thread)
{
    struct weight_run *run = user;
    const struct cask_conv_desc *d = &run->conv->desc;
    int64_t taps = (int64_t)d->kernel_h * d->kernel_w, count = taps * d->in_c;
    const float *from = run->weight + out * count;
    float *row = run->conv->cpu->block_scratch[thread].data;
    for (int64_t begin = 0; taps > 1 && begin < d->in_c; begin += STRETCH) {
        int64_t end = begin + STRETCH < d->in_c ? begin + STRETCH : d->in_c;
        for (int64_t t = 0; t < taps; t++) {
            for (int64_t i = begin; i < end; i++) {
                row[t * d->in_c + i] = from[i * taps + t];
            }
        }
    }
    from = taps > 1 ? row : from;
    run->kernels->elementwise->from_float(
        from, cask_at(run->m->ohwi, run->conv->cpu->dtype, out * count), count);
}

static void pack_block(struct weight_run *run, const struct cask_matmul_pass *pass, int thread,
                       int64_t block, const void *plain)
{
    if (!cask_matmul_pass_pack(pass, thread, block, plain)) {
        __atomic_store_n(&run->failed, true, __ATOMIC_RELAXED);
    }
}

static void pack_forward(void *user, int64_t block, int thread)
{
    struct weight_run *run = user;
    pack_block(run, &run->m->forward, thread, block, run->m->ohwi);
}

/* The weight of a phase, [tap][out][in], taps in the pass's order. */
static void fill_phase(const struct weight_run *run, const struct cask_matmul_pass *pass, char *to)
{
    const struct cask_conv_desc *d = &run->conv->desc;
    size_t element = cask_dtype_size(run->conv->cpu->dtype), bytes = (size_t)d->in_c * element;
    size_t row = bytes * (size_t)d->kernel_h * (size_t)d->kernel_w;
    int taps_w = pass->lowering.kernel_w;
    for (int t = 0; t < pass->lowering.kernel_h * taps_w; t++) {
        size_t tap = (size_t)pass->taps[0][t / taps_w] * (size_t)d->kernel_w +
                     (size_t)pass->taps[1][t % taps_w];
        const char *from = (const char *)run->m->ohwi + tap * bytes;
        for (int o = 0; o < d->out_c; o++, to += bytes, from += row) {
            memcpy(to, from, bytes);
        }
    }
}

static void pack_phase(void *user, int64_t index, int thread)
{
    struct weight_run *run = user;
    const struct cask_matmul_pass *pass = &run->m->data[index];
    if (pass->k == 0 || pass->rows == 0) {
        return;
    }
    char *plain = run->plain;
    for (int64_t i = 0; i < index; i++) {
        plain += (size_t)(run->m->data[i].k * run->m->data[i].n) *
                 cask_dtype_size(run->conv->cpu->dtype);
    }
    fill_phase(run, pass, plain);
    for (int64_t block = 0; block < pass->blocks; block++) {
        pack_block(run, pass, thread, block, plain);
    }
}

/* 1x1 kernels: the rows of ohwi are the rows of the product's weight. */
static void pack_rows(void *user, int64_t block, int thread)
{
    struct weight_run *run = user;
    pack_block(run, &run->m->data[0], thread, block, run->m->ohwi);
}

static enum cask_status pack_data(struct weight_run *run, struct cask_error *err)
{
    struct cask_cpu *cpu = run->conv->cpu;
    size_t bytes = 0;
    if (run->m->data_is_ohwi) {
        cask_cpu_for(cpu, run->m->data[0].blocks, pack_rows, run);
        return CASK_OK;
    }
    for (int i = 0; i < run->m->data_passes; i++) {
        bytes += (size_t)(run->m->data[i].k * run->m->data[i].n) * cask_dtype_size(cpu->dtype);
    }
    run->plain = cask_scratch_take(&cpu->shared, bytes);
    if (run->plain == NULL) {
        return cask_error_memory(err, bytes, "packing weights");
    }
    cask_cpu_for(cpu, run->m->data_passes, pack_phase, run);
    return CASK_OK;
}

static enum cask_status matmul_set_weights(struct cask_conv *conv, const float *weight,
                                           const float *bias, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_conv_desc *d = &conv->desc;
    struct cask_matmul_conv *m = conv->state;
    struct weight_run run = {conv,   m,    cask_cpu_kernels_of(conv->cpu, conv->cpu->dtype),
                             weight, NULL, false};
    size_t row_bytes = (size_t)d->in_c * (size_t)d->kernel_h * (size_t)d->kernel_w * sizeof(float);
    CASK_TRY(cask_cpu_reserve(conv->cpu, conv->cpu->block_scratch, row_bytes, err));
    if (m->bias != NULL) {
        memcpy(m->bias, bias, (size_t)d->out_c * sizeof *m->bias);
    }
    cask_cpu_for(conv->cpu, d->out_c, permute_out, &run);
    if (is_linear(conv)) {
        goto done; /* its products read ohwi as it is */
    }
    cask_cpu_for(conv->cpu, m->forward.blocks, pack_forward, &run);
    if (m->data_passes > 0) {
        CASK_TRY(pack_data(&run, err));
    }
    if (run.failed) {
        CASK_TRY(cask_error_set(err, CASK_ERR_DEVICE, "oneDNN: packing weights failed"));
    }
done:
    return st;
}

/* -------------------------------------------------------------------- run */

static enum cask_status matmul_forward(struct cask_conv *conv, const struct cask_source *x, void *y,
                                       struct cask_sink *sink, const struct cask_finish *finish,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_matmul_conv *m = conv->state;
    bool fills = cask_matmul_pass_fills(&m->forward);
    if (fills) {
        CASK_TRY(cask_sink_open(sink, m->forward.tasks, err));
    }
    CASK_TRY(cask_matmul_pass_run(conv->cpu, &m->forward, x, m->bias, y, false, fills ? sink : NULL,
                                  finish, err));
    if (fills) {
        cask_sink_finish(sink);
    } else {
        CASK_TRY(cask_sink_whole(sink, y, err));
    }
done:
    return st;
}

static enum cask_status backward_data(struct cask_conv *conv, const struct cask_conv_gradient *g,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_matmul_conv *m = conv->state;
    bool fills = m->data_passes == 1 && !is_linear(conv) && cask_matmul_pass_fills(&m->data[0]);
    if (fills) {
        CASK_TRY(cask_sink_open(g->sink, m->data[0].tasks, err));
    }
    for (int i = 0; i < m->data_passes; i++) {
        CASK_TRY(cask_matmul_pass_run(conv->cpu, &m->data[i], g->dy, NULL, g->dx, g->accumulate,
                                      fills ? g->sink : NULL, NULL, err));
    }
    if (fills) {
        cask_sink_finish(g->sink);
    } else {
        CASK_TRY(cask_sink_whole(g->sink, g->dx, err));
    }
done:
    return st;
}

static enum cask_status matmul_backward(struct cask_conv *conv, const struct cask_conv_gradient *g,
                                        struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_matmul_conv *m = conv->state;
    bool together = g->dx != NULL && g->dweight != NULL && m->gradient.data != NULL;
    if (g->dweight != NULL) {
        CASK_TRY(cask_matmul_gradient_run(conv, &m->gradient, g, together, err));
    }
    if (g->dx != NULL && !together) {
        CASK_TRY(backward_data(conv, g, err));
    }
done:
    return st;
}

const struct cask_conv_kind cask_conv_matmul = {
    .name = "matmul",
    .open = matmul_open,
    .close = matmul_close,
    .set_weights = matmul_set_weights,
    .forward = matmul_forward,
    .backward = matmul_backward,
};
