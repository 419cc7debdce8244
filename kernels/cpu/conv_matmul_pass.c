/* kernels/cpu/conv_matmul_pass.c - one chunked product: gather, multiply, place. */
#include "common/mem.h"
#include "kernels/cpu/conv_finish.h"
#include "kernels/cpu/conv_matmul.h"

/* A chunk of the lowered matrix should leave room in a 1 MB L2 for weights and output; fewer rows
 * than this would read the weights too often. */
enum { CHUNK_BYTES = 384 * 1024, CHUNK_LEAST_ROWS = 96, FEW_ROWS = 512 };
/* With the own kernel and a next chunk to fetch: both fit. */
enum { OWN_BYTES = 96 * 1024, TASKS = 16, ROWS_OF_A_TILE = 6 };

static int64_t divide_up(int64_t count, int64_t by)
{
    return (count + by - 1) / by;
}

static void choose_chunks(struct cask_matmul_pass *pass, bool whole, bool own)
{
    int64_t row_bytes = (pass->k + pass->n) * (int64_t)cask_dtype_size(pass->lowering.dtype);
    int64_t target = (own ? OWN_BYTES : CHUNK_BYTES) / row_bytes;
    target = target < CHUNK_LEAST_ROWS ? CHUNK_LEAST_ROWS : target;
    pass->blocks = 1;
    pass->each = 1;
    if (whole) {
        target = (pass->rows + 1) / 2; /* one for each of two threads */
    } else if (pass->rows <= FEW_ROWS && pass->input_as_is && pass->dense) {
        target = pass->rows;
        while (pass->blocks < 16 && pass->n % (pass->blocks * 2) == 0 &&
               pass->n / (pass->blocks * 2) >= 64) {
            pass->blocks *= 2;
        }
    } else if (pass->rows < 4 * target) {
        target = (pass->rows + 3) / 4;
        target = target < 16 ? 16 : target;
    }
    int64_t chunks = divide_up(pass->rows, target);
    chunks += chunks > 1 ? chunks & 1 : 0; /* even: two threads get the same work */
    if (own && pass->blocks == 1) {
        pass->each = divide_up(chunks, TASKS);
        pass->each = pass->each > 1 ? pass->each : 1;
        chunks = divide_up(chunks, pass->each) * pass->each;
    }
    pass->chunk = divide_up(pass->rows, chunks);
    if (own && chunks > 1) {
        pass->chunk = divide_up(pass->chunk, ROWS_OF_A_TILE) * ROWS_OF_A_TILE;
    }
    pass->chunks = divide_up(pass->rows, pass->chunk);
    pass->tasks = divide_up(pass->chunks, pass->each);
    pass->block_n = pass->n / pass->blocks;
}

enum cask_status cask_matmul_pass_open(struct cask_cpu *cpu, struct cask_matmul_pass *pass,
                                       bool bias, bool add, bool whole, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    enum cask_dtype dtype = pass->lowering.dtype;
    size_t element = cask_dtype_size(dtype);
    pass->input_as_is = cask_lowering_is_input(&pass->lowering);
    pass->dense = pass->placing.step == 1;
    if (pass->rows == 0 || pass->k == 0) {
        goto done;
    }
    struct cask_product_desc desc = {
        .k = pass->k,
        .src_strides = {pass->k, 1},
        .weight_strides = {pass->weight_strides[0], pass->weight_strides[1]},
        .pack = pass->plain == NULL,
        .bias = bias,
        .alpha = 1,
        .beta = 1,
        .in_dtype = dtype,
        .out_dtype = dtype};
    const bool own = !whole && cask_inner_suits(cpu, &desc);
    choose_chunks(pass, whole, own);
    desc.m = pass->chunk;
    desc.n = pass->block_n;
    desc.dst_strides[0] = pass->dense ? pass->n : pass->block_n;
    desc.dst_strides[1] = 1;
    CASK_TRY(cask_inner_open(cpu, &desc, pass->rows - (pass->chunks - 1) * pass->chunk, own,
                             add && pass->dense, NULL, &pass->product, err));
    CASK_TRY(cask_cpu_reserve(cpu, cpu->block_scratch,
                              (size_t)pass->chunk * (size_t)(pass->k + pass->n) * element + 128,
                              err));
    CASK_TRY(
        cask_cpu_reserve(cpu, cpu->read_scratch,
                         (size_t)cask_lowering_widest(&pass->lowering, pass->rows, pass->chunk) *
                             (size_t)pass->lowering.src_c * element,
                         err));
    if (pass->plain != NULL) {
        goto done;
    }
    pass->block_bytes = (cask_inner_weight_bytes(&pass->product) + 63) / 64 * 64;
    pass->weights = cask_alloc((size_t)pass->blocks, pass->block_bytes);
    if (pass->weights == NULL) {
        CASK_TRY(
            cask_error_memory(err, (size_t)pass->blocks * pass->block_bytes, "packed weights"));
    }
done:
    return st;
}

void cask_matmul_pass_close(struct cask_matmul_pass *pass)
{
    cask_inner_close(&pass->product);
    cask_free(pass->weights);
}

bool cask_matmul_pass_pack(const struct cask_matmul_pass *pass, int thread, int64_t block,
                           const void *plain)
{
    const void *from =
        cask_at(plain, pass->lowering.dtype, block * pass->block_n * pass->weight_strides[1]);
    return cask_inner_pack(&pass->product, thread, from,
                           (char *)pass->weights + (size_t)block * pass->block_bytes);
}

bool cask_matmul_pass_fills(const struct cask_matmul_pass *pass)
{
    return pass->dense && pass->blocks == 1 && pass->rows > 0 && pass->k > 0;
}

const void *cask_lowered_rows(struct cask_cpu *cpu, int thread, const struct cask_lowering *l,
                              const struct cask_source *src, int64_t row, int64_t rows,
                              int first_tap, int taps, void *room)
{
    bool as_is = cask_lowering_is_input(l) && taps == l->kernel_h * l->kernel_w;
    struct cask_span span = {0, 0};
    const void *pixels = src->data;
    if (as_is || src->through) {
        span = cask_lowering_span(l, row, rows);
        pixels = cask_source_rows(src, span.first, span.pixels, cpu->read_scratch[thread].data);
    }
    if (!as_is) {
        cask_lowering_gather(l, pixels, span.first, row, rows, first_tap, taps, room);
        pixels = room;
    }
    return pixels;
}

void cask_comes(struct cask_coming *coming, const void *data, enum cask_dtype dtype, int64_t first,
                int64_t elements)
{
    if (data != NULL) {
        struct cask_ahead *region = &coming->regions[coming->count];
        *region = (struct cask_ahead){cask_at(data, dtype, first),
                                      cask_at(data, dtype, first + elements), NULL};
        if (coming->count > 0) {
            region[-1].next = region;
        }
        coming->count++;
    }
}

struct pass_run {
    struct cask_cpu *cpu;
    const struct cask_matmul_pass *pass;
    const struct cask_cpu_kernels *kernels;
    const struct cask_source *src;
    const struct cask_sink *sink;
    const struct cask_finish *finish; /* NULL: nothing; only where the product is dense */
    const float *bias;
    void *dst;
    bool accumulate, failed;
};

static int64_t rows_of(const struct cask_matmul_pass *pass, int64_t chunk)
{
    const int64_t left = pass->rows - chunk * pass->chunk;
    return left < pass->chunk ? left : pass->chunk;
}

/* What a chunk reads and writes. */
static struct cask_ahead *look_ahead(const struct pass_run *run, int64_t chunk,
                                     struct cask_coming *coming)
{
    const struct cask_matmul_pass *pass = run->pass;
    const enum cask_dtype dtype = pass->lowering.dtype;
    const int64_t row = chunk * pass->chunk, rows = rows_of(pass, chunk), c = run->src->c;
    const struct cask_span span = cask_lowering_span(&pass->lowering, row, rows);
    coming->count = 0;
    cask_comes(coming, run->src->data, dtype, span.first * c, span.pixels * c);
    cask_comes(coming, run->src->gradient, dtype, span.first * c, span.pixels * c);
    cask_comes(coming, pass->dense ? run->dst : NULL, dtype, row * pass->n, rows * pass->n);
    return coming->regions;
}

/* Returns where the rows of the product are. */
static const void *run_chunk(struct pass_run *run, int64_t chunk, int64_t block, int thread,
                             struct cask_ahead *ahead)
{
    const struct cask_matmul_pass *pass = run->pass;
    enum cask_dtype dtype = pass->lowering.dtype;
    int64_t row = chunk * pass->chunk, rows = rows_of(pass, chunk), column = block * pass->block_n;
    char *scratch = run->cpu->block_scratch[thread].data;
    const void *src = cask_lowered_rows(run->cpu, thread, &pass->lowering, run->src, row, rows, 0,
                                        pass->lowering.kernel_h * pass->lowering.kernel_w, scratch);
    int64_t used = (pass->chunk * pass->k * (int64_t)cask_dtype_size(dtype) + 63) / 64 * 64;
    void *dst = pass->dense ? cask_at(run->dst, dtype, row * pass->n + column) : scratch + used;
    const struct cask_inner_block product = {
        .a = src,
        .rows = rows,
        .weights = pass->plain != NULL
                       ? cask_at(pass->plain, dtype, column * pass->weight_strides[1])
                       : (char *)pass->weights + (size_t)block * pass->block_bytes,
        .bias = run->bias != NULL ? run->bias + column : NULL,
        .y = dst,
        .accumulate = pass->dense && run->accumulate,
        .ahead = ahead};
    if (!cask_inner_run(&pass->product, thread, product)) {
        __atomic_store_n(&run->failed, true, __ATOMIC_RELAXED);
    }
    if (!pass->dense) {
        cask_placing_put(&pass->placing, &pass->lowering, run->kernels, dst, row, rows, run->dst,
                         run->accumulate);
    }
    if (run->finish != NULL) {
        cask_finish_rows(run->finish, run->dst, row, rows, (int)column, (int)pass->block_n);
    }
    return dst;
}

static void run_task(void *user, int64_t index, int thread)
{
    struct pass_run *run = user;
    const struct cask_matmul_pass *pass = run->pass;
    const int64_t task = index / pass->blocks, first = task * pass->each;
    const int64_t end = first + pass->each < pass->chunks ? first + pass->each : pass->chunks;
    struct cask_coming coming;
    for (int64_t chunk = first; chunk < end; chunk++) {
        const void *dst = run_chunk(run, chunk, index % pass->blocks, thread,
                                    chunk + 1 < end ? look_ahead(run, chunk + 1, &coming) : NULL);
        if (run->sink != NULL && chunk == first) {
            cask_sink_begin(run->sink, task, thread, dst);
        }
        if (run->sink != NULL) {
            cask_sink_rows(run->sink, task, thread, dst, chunk * pass->chunk, rows_of(pass, chunk));
        }
    }
    if (run->sink != NULL) {
        cask_sink_end(run->sink, task, thread);
    }
}

enum cask_status cask_matmul_pass_run(struct cask_cpu *cpu, const struct cask_matmul_pass *pass,
                                      const struct cask_source *src, const float *bias, void *dst,
                                      bool accumulate, const struct cask_sink *sink,
                                      const struct cask_finish *finish, struct cask_error *err)
{
    struct pass_run run = {.cpu = cpu,
                           .pass = pass,
                           .kernels = cask_cpu_kernels_of(cpu, pass->lowering.dtype),
                           .src = src,
                           .sink = sink,
                           .finish = finish,
                           .bias = bias,
                           .dst = dst,
                           .accumulate = accumulate};
    if (pass->rows > 0 && pass->k == 0) { /* pixels that no tap reaches */
        cask_placing_put(&pass->placing, &pass->lowering, run.kernels, NULL, 0, pass->rows, dst,
                         accumulate);
        return CASK_OK;
    }
    cask_cpu_for(cpu, pass->tasks * pass->blocks, run_task, &run);
    if (run.failed) {
        return cask_error_set(err, CASK_ERR_DEVICE, "oneDNN: a matrix product failed (%s)",
                              cask_inner_name(&pass->product));
    }
    return CASK_OK;
}
