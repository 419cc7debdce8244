/* kernels/cpu/conv_matmul_gradient.c - weight gradient of a dense convolution, and of 1x1
 * convolutions the whole backward.
 *
 * dW[out][tap, in] = sum over rows of dy[row][out] * lowered[row][tap, in]: a product whose first
 * operand is transposed, which costs; the narrower of the two is taken for it. A tile of whole taps
 * is kept in cache while rows stream by; where there are few tiles the rows are cut into groups,
 * each with its own sum, added in order at the end.
 *
 * A 1x1 kernel's dx = dy W needs the same rows of dy, so it is made chunk by chunk in between.
 */
#include <string.h>

#include "common/mem.h"
#include "kernels/cpu/conv_matmul.h"

enum { TILE_BYTES = 384 * 1024, CHUNK_BYTES = 256 * 1024, CHUNK_LEAST_ROWS = 64, TASKS = 16 };

static void choose_tiles(const struct cask_conv_desc *d, struct cask_matmul_gradient *g)
{
    int taps = d->kernel_h * d->kernel_w;
    int64_t tap_bytes = (int64_t)d->out_c * d->in_c * (int64_t)sizeof(float);
    g->tile_taps = taps * tap_bytes <= TILE_BYTES          ? taps
                   : d->kernel_w * tap_bytes <= TILE_BYTES ? d->kernel_w
                                                           : 1;
    g->tiles = taps / g->tile_taps;
    int64_t columns = (int64_t)g->tile_taps * d->in_c + d->out_c + (g->data != NULL ? d->in_c : 0);
    int64_t target = CHUNK_BYTES / (columns * (int64_t)cask_dtype_size(g->lowering.dtype));
    target = target < CHUNK_LEAST_ROWS ? CHUNK_LEAST_ROWS : target;
    target = d->whole ? (g->rows + 1) / 2 : target;
    int64_t chunks = (g->rows + target - 1) / target;
    g->groups = g->tiles >= TASKS / 2 ? 1 : TASKS / g->tiles;
    if (g->groups > chunks) {
        g->groups = (int)chunks;
    }
    chunks = (chunks + g->groups - 1) / g->groups * g->groups;
    g->chunk = (g->rows + chunks - 1) / chunks;
    g->chunks = (g->rows + g->chunk - 1) / g->chunk;
    g->partial_bytes = (size_t)(g->tile_taps * tap_bytes);
}

/* Products of a full chunk and, where it differs, of the last one. */
static enum cask_status open_pair(struct cask_cpu *cpu, const struct cask_matmul_gradient *g,
                                  struct cask_product_desc *desc, int64_t *size,
                                  struct cask_product *like, struct cask_product **pair,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t last = g->rows - (g->chunks - 1) * g->chunk;
    *size = g->chunk;
    CASK_TRY(cask_product_open(cpu, desc, like, &pair[0], err));
    if (last != g->chunk) {
        *size = last;
        CASK_TRY(cask_product_open(cpu, desc, like, &pair[1], err));
    }
done:
    return st;
}

/* dx[rows][in] = dy[rows][out] * W, with the weights that the data pass has packed. */
static enum cask_status open_data(struct cask_conv *conv, struct cask_matmul_gradient *g,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_conv_desc *d = &conv->desc;
    struct cask_product_desc desc = {.n = d->in_c,
                                     .k = d->out_c,
                                     .src_strides = {d->out_c, 1},
                                     .weight_strides = {d->in_c, 1},
                                     .dst_strides = {d->in_c, 1},
                                     .pack = true,
                                     .alpha = 1,
                                     .beta = 1,
                                     .in_dtype = g->lowering.dtype,
                                     .out_dtype = g->lowering.dtype};
    CASK_TRY(open_pair(conv->cpu, g, &desc, &desc.m, g->data->write[0], g->write, err));
    desc.accumulate = true;
    CASK_TRY(open_pair(conv->cpu, g, &desc, &desc.m, g->data->write[0], g->add, err));
done:
    return st;
}

enum cask_status cask_matmul_gradient_open(struct cask_conv *conv, struct cask_matmul_gradient *g,
                                           const struct cask_matmul_pass *data,
                                           struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_conv_desc *d = &conv->desc;
    struct cask_cpu *cpu = conv->cpu;
    g->lowering = (struct cask_lowering){cpu->dtype,  d->h,        d->w,       d->in_c,
                                         d->kernel_h, d->kernel_w, d->stride,  d->pad_top,
                                         d->pad_left, conv->out_h, conv->out_w};
    g->input_as_is = cask_lowering_is_input(&g->lowering) && d->kernel_h * d->kernel_w == 1;
    g->data = g->input_as_is && data != NULL && data->blocks == 1 ? data : NULL;
    g->rows = (int64_t)d->n * conv->out_h * conv->out_w;
    choose_tiles(d, g);
    int64_t tile = (int64_t)g->tile_taps * d->in_c;
    g->swapped = d->out_c > tile;
    struct cask_product_desc desc = {.m = g->swapped ? tile : d->out_c,
                                     .n = g->swapped ? d->out_c : tile,
                                     .src_strides = {1, g->swapped ? tile : d->out_c},
                                     .weight_strides = {g->swapped ? d->out_c : tile, 1},
                                     .dst_strides = {g->swapped ? d->out_c : tile, 1},
                                     .accumulate = true,
                                     .alpha = 1,
                                     .beta = 1,
                                     .in_dtype = cpu->dtype,
                                     .out_dtype = CASK_F32};
    CASK_TRY(open_pair(cpu, g, &desc, &desc.k, NULL, g->sum, err));
    if (g->data != NULL) {
        CASK_TRY(open_data(conv, g, err));
    }
    size_t element = cask_dtype_size(cpu->dtype);
    CASK_TRY(cask_cpu_reserve(cpu, cpu->block_scratch, (size_t)(g->chunk * tile) * element, err));
    CASK_TRY(cask_cpu_reserve(cpu, cpu->read_scratch,
                              (size_t)cask_lowering_widest(&g->lowering, g->rows, g->chunk) *
                                  (size_t)d->in_c * element,
                              err));
    CASK_TRY(cask_cpu_reserve(cpu, cpu->gradient_scratch,
                              (size_t)g->chunk * (size_t)d->out_c * element, err));
    size_t partials = g->partial_bytes * (size_t)g->tiles * (size_t)g->groups;
    if (cask_scratch_take(&cpu->shared, partials) == NULL) {
        CASK_TRY(cask_error_memory(err, partials, "partial weight gradients"));
    }
done:
    return st;
}

void cask_matmul_gradient_close(struct cask_matmul_gradient *g)
{
    for (int i = 0; i < 2; i++) {
        cask_product_close(g->sum[i]);
        cask_product_close(g->write[i]);
        cask_product_close(g->add[i]);
    }
}

struct gradient_run {
    struct cask_conv *conv;
    const struct cask_matmul_gradient *g;
    const struct cask_conv_gradient *what;
    bool with_data;
    char *partials;
    bool failed;
};

/* The product walks its first operand by columns, which the hardware does not foresee. */
static void fetch(const void *data, int64_t bytes)
{
    const char *line = data;
    for (int64_t at = 0; at < bytes; at += 64) {
        __builtin_prefetch(line + at, 0, 2);
    }
}

/* dx of one chunk, and its part in the sink. */
static bool give_rows(const struct gradient_run *run, int64_t part, int thread, const void *dy,
                      int64_t row, int64_t rows)
{
    const struct cask_matmul_gradient *g = run->g;
    const struct cask_conv_gradient *what = run->what;
    int which = rows == g->chunk ? 0 : 1;
    void *dx = cask_at(what->dx, g->lowering.dtype, row * g->lowering.src_c);
    bool ok = cask_product_run(what->accumulate ? g->add[which] : g->write[which], thread, dy,
                               g->data->weights, NULL, dx);
    cask_sink_rows(what->sink, part, thread, dx, row, rows);
    return ok;
}

static bool sum_chunk(const struct gradient_run *run, int tile, int thread, int64_t row,
                      int64_t rows, const void *dy, void *partial)
{
    const struct cask_matmul_gradient *g = run->g;
    struct cask_cpu *cpu = run->conv->cpu;
    const void *lowered =
        cask_lowered_rows(cpu, thread, &g->lowering, run->what->x, row, rows, tile * g->tile_taps,
                          g->tile_taps, cpu->block_scratch[thread].data);
    const void *first = g->swapped ? lowered : dy, *second = g->swapped ? dy : lowered;
    const struct cask_source *source = g->swapped ? run->what->x : run->what->dy;
    if (!source->through && (!g->swapped || g->input_as_is)) {
        fetch(first, rows * (g->swapped ? g->lowering.src_c : run->conv->desc.out_c) *
                         (int64_t)cask_dtype_size(g->lowering.dtype));
    }
    return cask_product_run(g->sum[rows == g->chunk ? 0 : 1], thread, first, second, NULL, partial);
}

static void sum_tile(void *user, int64_t index, int thread)
{
    struct gradient_run *run = user;
    const struct cask_matmul_gradient *g = run->g;
    int tile = (int)(index / g->groups), group = (int)(index % g->groups);
    int64_t chunks_each = (g->chunks + g->groups - 1) / g->groups;
    int64_t end = (group + 1) * chunks_each < g->chunks ? (group + 1) * chunks_each : g->chunks;
    void *partial = run->partials + (size_t)index * g->partial_bytes;
    memset(partial, 0, g->partial_bytes);
    if (run->with_data) {
        cask_sink_begin(run->what->sink, index, thread, NULL);
    }
    for (int64_t chunk = group * chunks_each; chunk < end; chunk++) {
        int64_t row = chunk * g->chunk;
        int64_t rows = g->rows - row < g->chunk ? g->rows - row : g->chunk;
        const void *dy = cask_source_rows(run->what->dy, row, rows,
                                          run->conv->cpu->gradient_scratch[thread].data);
        bool ok = sum_chunk(run, tile, thread, row, rows, dy, partial);
        if (run->with_data) {
            ok &= give_rows(run, index, thread, dy, row, rows);
        }
        if (!ok) {
            __atomic_store_n(&run->failed, true, __ATOMIC_RELAXED);
        }
    }
}

enum { STRETCH = 16 };

/* dW[out][in][tap] += the partial sums of its tile, groups in order. A stretch of inputs at a time,
 * so that its taps, far apart in the tiles, are neighbours in cache when they meet in dW. */
static void add_out(void *user, int64_t out, int thread)
{
    struct gradient_run *run = user;
    const struct cask_matmul_gradient *g = run->g;
    const struct cask_conv_desc *d = &run->conv->desc;
    int64_t taps = (int64_t)d->kernel_h * d->kernel_w, in_c = d->in_c, width = g->tile_taps * in_c;
    int64_t step = g->swapped ? d->out_c : 1;
    float *dweight = run->what->dweight + out * taps * in_c;
    (void)thread;
    for (int64_t i = 0; i < in_c; i += STRETCH) {
        int64_t end = i + STRETCH < in_c ? i + STRETCH : in_c;
        for (int64_t tap = 0; tap < taps; tap++) {
            int64_t column = tap % g->tile_taps * in_c;
            int64_t at = g->swapped ? column * d->out_c + out : out * width + column;
            for (int group = 0; group < g->groups; group++) {
                const char *tile =
                    run->partials +
                    (size_t)(tap / g->tile_taps * g->groups + group) * g->partial_bytes;
                const float *partial = (const float *)(const void *)tile + at;
                for (int64_t j = i; j < end; j++) {
                    dweight[j * taps + tap] += partial[j * step];
                }
            }
        }
    }
}

enum cask_status cask_matmul_gradient_run(struct cask_conv *conv,
                                          const struct cask_matmul_gradient *g,
                                          const struct cask_conv_gradient *what, bool with_data,
                                          struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct gradient_run run = {conv, g, what, with_data, conv->cpu->shared.data, false};
    if (with_data) {
        CASK_TRY(cask_sink_open(what->sink, (int64_t)g->tiles * g->groups, err));
    }
    cask_cpu_for(conv->cpu, (int64_t)g->tiles * g->groups, sum_tile, &run);
    if (run.failed) {
        CASK_TRY(cask_error_set(err, CASK_ERR_DEVICE, "oneDNN: a matrix product failed (%s)",
                                cask_product_name(g->sum[0])));
    }
    cask_cpu_for(conv->cpu, conv->desc.out_c, add_out, &run);
    if (with_data) {
        cask_sink_finish(what->sink);
    }
done:
    return st;
}
