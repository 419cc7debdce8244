/* kernels/cpu/conv_matmul_gradient.c - weight gradient of a dense convolution, and of 1x1
 * convolutions the whole backward.
 *
 * dW[out][tap, in] = sum over rows of dy[row][out] * lowered[row][tap, in]: outer products
 * (outer.h), the narrower of the two on the left. A tile of whole taps is kept in cache while rows
 * stream by; where there are few tiles the rows are cut into groups, each with its own sum, added
 * in order at the end.
 *
 * A 1x1 kernel's dx = dy W needs the same rows of dy, so it is made chunk by chunk in between.
 */
#include <string.h>

#include "common/mem.h"
#include "kernels/cpu/conv_matmul.h"

/* A 1x1 chunk is written and read several times over, so it should stay near the L1 cache. Gathered
 * rows share input rows with the chunks beside them, so these are larger. A group's sum is
 * written and read once more: that should be little beside its products. */
enum { TILE_BYTES = 384 * 1024, CHUNK_BYTES = 64 * 1024, GATHERED_BYTES = 384 * 1024 };
enum { CHUNK_LEAST_ROWS = 72, TASKS = 16, FEW_TASKS = 4, GROUP_LEAST_ROWS = 384 };
enum { TILE_ROWS = 6, JOINED = 16 /* rows of the partial sums, at a time */ };

static void choose_tiles(const struct cask_conv_desc *d, struct cask_matmul_gradient *g)
{
    int taps = d->kernel_h * d->kernel_w;
    int64_t tap_bytes = (int64_t)d->out_c * d->in_c * (int64_t)sizeof(float);
    g->tile_taps = taps * tap_bytes <= TILE_BYTES          ? taps
                   : d->kernel_w * tap_bytes <= TILE_BYTES ? d->kernel_w
                                                           : 1;
    g->tiles = taps / g->tile_taps;
    int64_t columns = (int64_t)g->tile_taps * d->in_c + d->out_c + (g->data != NULL ? d->in_c : 0);
    int64_t target = (g->input_as_is ? CHUNK_BYTES : GATHERED_BYTES) /
                     (columns * (int64_t)cask_dtype_size(g->lowering.dtype));
    target = target < CHUNK_LEAST_ROWS ? CHUNK_LEAST_ROWS : target;
    target = d->whole ? (g->rows + 1) / 2 : target;
    int64_t chunks = (g->rows + target - 1) / target;
    int64_t most = g->rows / GROUP_LEAST_ROWS > FEW_TASKS ? g->rows / GROUP_LEAST_ROWS : FEW_TASKS;
    most = most < chunks ? most : chunks;
    g->groups = g->tiles >= TASKS / 2 ? 1 : TASKS / g->tiles;
    g->groups = g->groups < most ? g->groups : (int)most;
    chunks = (chunks + g->groups - 1) / g->groups * g->groups;
    g->chunk = (g->rows + chunks - 1) / chunks;
    /* dW takes two rows of bf16 at once, dx six of either type. */
    g->chunk = (g->chunk + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    g->chunks = (g->rows + g->chunk - 1) / g->chunk;
}

static int64_t last_chunk(const struct cask_matmul_gradient *g)
{
    return g->rows - (g->chunks - 1) * g->chunk;
}

/* dx[rows][in] = dy[rows][out] * W, with the weights that the data pass has packed. */
static enum cask_status open_data(struct cask_conv *conv, struct cask_matmul_gradient *g,
                                  struct cask_error *err)
{
    const struct cask_conv_desc *d = &conv->desc;
    struct cask_product_desc desc = {.m = g->chunk,
                                     .n = d->in_c,
                                     .k = d->out_c,
                                     .src_strides = {d->out_c, 1},
                                     .weight_strides = {d->in_c, 1},
                                     .dst_strides = {d->in_c, 1},
                                     .pack = true,
                                     .alpha = 1,
                                     .beta = 1,
                                     .in_dtype = g->lowering.dtype,
                                     .out_dtype = g->lowering.dtype};
    return cask_inner_open(conv->cpu, &desc, last_chunk(g), false, true, &g->data->product,
                           &g->product, err);
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
    int tile = g->tile_taps * d->in_c;
    g->swapped = d->out_c > tile;
    CASK_TRY(cask_outer_open(cpu, g->swapped ? tile : d->out_c, g->swapped ? d->out_c : tile,
                             g->chunk, last_chunk(g), &g->sum, err));
    g->partial_bytes = (size_t)g->sum.m * (size_t)g->sum.width * sizeof(float);
    if (g->data != NULL) {
        CASK_TRY(open_data(conv, g, err));
    }
    size_t element = cask_dtype_size(cpu->dtype);
    CASK_TRY(cask_cpu_reserve(cpu, cpu->block_scratch, (size_t)(g->chunk * tile) * element, err));
    CASK_TRY(cask_cpu_reserve(cpu, cpu->block_scratch,
                              JOINED * (size_t)g->sum.width * sizeof(float), err));
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
    cask_inner_close(&g->product);
    cask_outer_close(&g->sum);
}

struct gradient_run {
    struct cask_conv *conv;
    const struct cask_matmul_gradient *g;
    const struct cask_conv_gradient *what;
    bool with_data;
    char *partials;
    bool failed;
};

static float *partial_of(const struct gradient_run *run, int tile, int group)
{
    const struct cask_matmul_gradient *g = run->g;
    char *at = run->partials + (size_t)(tile * g->groups + group) * g->partial_bytes;
    return (float *)(void *)at;
}

static int64_t rows_of(const struct cask_matmul_gradient *g, int64_t chunk)
{
    const int64_t left = g->rows - chunk * g->chunk;
    return left < g->chunk ? left : g->chunk;
}

/* What a chunk reads and writes. */
static struct cask_ahead *look_ahead(const struct gradient_run *run, int64_t chunk,
                                     struct cask_coming *coming)
{
    const struct cask_matmul_gradient *g = run->g;
    const struct cask_conv_gradient *what = run->what;
    const enum cask_dtype dtype = g->lowering.dtype;
    const int64_t row = chunk * g->chunk, rows = rows_of(g, chunk);
    const int out = run->conv->desc.out_c, in = g->lowering.src_c;
    const struct cask_span span = cask_lowering_span(&g->lowering, row, rows);
    coming->count = 0;
    cask_comes(coming, what->dy->data, dtype, row * out, rows * out);
    cask_comes(coming, what->dy->gradient, dtype, row * out, rows * out);
    cask_comes(coming, what->x->data, dtype, span.first * in, span.pixels * in);
    if (run->with_data) {
        cask_comes(coming, what->dx, dtype, row * in, rows * in);
        for (int i = 0; i < what->sink->reduction_count; i++) {
            const void *x = what->sink->reductions[i].x->data;
            cask_comes(coming, x != what->x->data ? x : NULL, dtype, row * in, rows * in);
        }
    }
    return coming->regions;
}

/* dx of one chunk, and its part in the sink. */
static bool give_rows(const struct gradient_run *run, int64_t part, int thread, const void *dy,
                      int64_t row, int64_t rows, struct cask_ahead *ahead)
{
    const struct cask_matmul_gradient *g = run->g;
    const struct cask_conv_gradient *what = run->what;
    const struct cask_inner_block product = {
        .a = dy,
        .rows = rows,
        .weights = g->data->weights,
        .y = cask_at(what->dx, g->lowering.dtype, row * g->lowering.src_c),
        .accumulate = what->accumulate,
        .ahead = ahead};
    const bool ok = cask_inner_run(&g->product, thread, product);
    cask_sink_rows(what->sink, part, thread, product.y, row, rows);
    return ok;
}

/* Rows of dy: `rows` as dx reads them, and returned as dW takes them. */
static const void *dy_of(const struct gradient_run *run, int thread, int64_t row, int64_t rows,
                         const void **as_rows)
{
    const struct cask_matmul_gradient *g = run->g;
    const struct cask_source *dy = run->what->dy;
    const enum cask_operand_side side = g->swapped ? CASK_RIGHT : CASK_LEFT;
    void *room = run->conv->cpu->gradient_scratch[thread].data;
    void *cells = cask_outer_room(&g->sum, thread, side);
    if (dy->through && cells != NULL) {
        cask_source_cells(dy, row, rows, room, cells);
        *as_rows = room;
        return cells;
    }
    *as_rows = cask_source_rows(dy, row, rows, room);
    return cask_outer_pack(&g->sum, thread, side, *as_rows, rows);
}

/* Rows of the lowered input, as dW takes them. */
static const void *lowered_of(const struct gradient_run *run, int tile, int thread, int64_t row,
                              int64_t rows)
{
    const struct cask_matmul_gradient *g = run->g;
    const struct cask_source *x = run->what->x;
    struct cask_cpu *cpu = run->conv->cpu;
    const enum cask_operand_side side = g->swapped ? CASK_LEFT : CASK_RIGHT;
    void *cells = cask_outer_room(&g->sum, thread, side);
    if (g->input_as_is && x->through && cells != NULL) {
        cask_source_cells(x, row, rows, NULL, cells);
        return cells;
    }
    const void *lowered =
        cask_lowered_rows(cpu, thread, &g->lowering, x, row, rows, tile * g->tile_taps,
                          g->tile_taps, cpu->block_scratch[thread].data);
    return cask_outer_pack(&g->sum, thread, side, lowered, rows);
}

static void sum_tile(void *user, int64_t index, int thread)
{
    struct gradient_run *run = user;
    const struct cask_matmul_gradient *g = run->g;
    int tile = (int)(index / g->groups), group = (int)(index % g->groups);
    int64_t chunks_each = (g->chunks + g->groups - 1) / g->groups;
    const int64_t first = group * chunks_each;
    int64_t end = first + chunks_each < g->chunks ? first + chunks_each : g->chunks;
    float *partial = partial_of(run, tile, group);
    if (first >= end) {
        memset(partial, 0, g->partial_bytes);
    }
    if (run->with_data) {
        cask_sink_begin(run->what->sink, index, thread, NULL);
    }
    for (int64_t chunk = first; chunk < end; chunk++) {
        struct cask_coming coming;
        struct cask_ahead *ahead = chunk + 1 < end ? look_ahead(run, chunk + 1, &coming) : NULL;
        int64_t row = chunk * g->chunk, rows = rows_of(g, chunk);
        const void *dy_rows;
        const void *dy = dy_of(run, thread, row, rows, &dy_rows);
        const void *lowered = lowered_of(run, tile, thread, row, rows);
        bool ok = cask_outer_add(&g->sum, thread, g->swapped ? lowered : dy,
                                 g->swapped ? dy : lowered, rows, chunk == first, partial, ahead);
        if (run->with_data) {
            ok &= give_rows(run, index, thread, dy_rows, row, rows, ahead);
        }
        if (!ok) {
            __atomic_store_n(&run->failed, true, __ATOMIC_RELAXED);
        }
    }
}

static int64_t joined_rows(const struct gradient_run *run)
{
    const struct cask_conv_desc *d = &run->conv->desc;
    return run->g->swapped ? d->in_c : d->out_c;
}

/* `count` rows of a tile's partial sums from `row` on, all groups in order. */
static const float *join_groups(const struct gradient_run *run, int thread, int tile, int64_t row,
                                int64_t count)
{
    const struct cask_matmul_gradient *g = run->g;
    const struct cask_cpu *cpu = run->conv->cpu;
    float *total = cpu->block_scratch[thread].data;
    cask_cpu_kernels_of(cpu, cpu->dtype)
        ->outer->join(partial_of(run, tile, 0) + row * g->sum.width,
                      (int64_t)(g->partial_bytes / sizeof(float)), g->groups, count * g->sum.width,
                      total);
    return total;
}

/* dW[out][in][tap] += partial sums [out][tap, in] of all tiles, for a few outs. */
static void add_outs(const struct gradient_run *run, int thread, int64_t first, int64_t count)
{
    const struct cask_matmul_gradient *g = run->g;
    const struct cask_conv_desc *d = &run->conv->desc;
    const int64_t taps = (int64_t)d->kernel_h * d->kernel_w, in_c = d->in_c;
    for (int tile = 0; tile < g->tiles; tile++) {
        const float *sums = join_groups(run, thread, tile, first, count);
        for (int64_t o = 0; o < count; o++, sums += g->sum.width) {
            float *to = run->what->dweight + (first + o) * in_c * taps + tile * g->tile_taps;
            for (int64_t t = 0; t < g->tile_taps; t++) {
                for (int64_t i = 0; i < in_c; i++) {
                    to[i * taps + t] += sums[t * in_c + i];
                }
            }
        }
    }
}

/* The same of partial sums [tap, in][out], for a few ins. */
static void add_ins(const struct gradient_run *run, int thread, int64_t first, int64_t count)
{
    const struct cask_matmul_gradient *g = run->g;
    const struct cask_conv_desc *d = &run->conv->desc;
    const int64_t taps = (int64_t)d->kernel_h * d->kernel_w, in_c = d->in_c;
    for (int64_t tap = 0; tap < taps; tap++) {
        const float *sums = join_groups(run, thread, (int)(tap / g->tile_taps),
                                        tap % g->tile_taps * in_c + first, count);
        float *to = run->what->dweight + first * taps + tap;
        for (int64_t o = 0; o < d->out_c; o++, to += in_c * taps) {
            for (int64_t i = 0; i < count; i++) {
                to[i * taps] += sums[i * g->sum.width + o];
            }
        }
    }
}

static void add_rows(void *user, int64_t index, int thread)
{
    const struct gradient_run *run = user;
    const int64_t first = index * JOINED, left = joined_rows(run) - first;
    (run->g->swapped ? add_ins : add_outs)(run, thread, first, left < JOINED ? left : JOINED);
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
                                cask_outer_name(&g->sum)));
    }
    cask_cpu_for(conv->cpu, (joined_rows(&run) + JOINED - 1) / JOINED, add_rows, &run);
    if (with_data) {
        cask_sink_finish(what->sink);
    }
done:
    return st;
}
