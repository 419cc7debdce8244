/* kernels/cpu/conv_matmul_pass.c - one chunked product: gather, multiply, place. */
#include "common/mem.h"
#include "kernels/cpu/conv_finish.h"
#include "kernels/cpu/conv_matmul.h"

/* A chunk of the lowered matrix should leave room in a 1 MB L2 for weights and output; fewer rows
 * than this would read the weights too often. */
enum { CHUNK_BYTES = 384 * 1024, CHUNK_LEAST_ROWS = 96, FEW_ROWS = 512 };

static void choose_chunks(struct cask_matmul_pass *pass, bool whole)
{
    int64_t row_bytes = (pass->k + pass->n) * (int64_t)cask_dtype_size(pass->lowering.dtype);
    int64_t target = CHUNK_BYTES / row_bytes;
    target = target < CHUNK_LEAST_ROWS ? CHUNK_LEAST_ROWS : target;
    pass->blocks = 1;
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
    int64_t chunks = (pass->rows + target - 1) / target;
    chunks += chunks > 1 ? chunks & 1 : 0; /* even: two threads get the same work */
    pass->chunk = (pass->rows + chunks - 1) / chunks;
    pass->chunks = (pass->rows + pass->chunk - 1) / pass->chunk;
    pass->block_n = pass->n / pass->blocks;
}

static enum cask_status open_products(struct cask_cpu *cpu, struct cask_matmul_pass *pass,
                                      struct cask_product_desc *desc, struct cask_product **pair,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t last = pass->rows - (pass->chunks - 1) * pass->chunk;
    desc->m = pass->chunk;
    CASK_TRY(cask_product_open(cpu, desc, pass->write[0], &pair[0], err));
    if (last != pass->chunk) {
        desc->m = last;
        CASK_TRY(cask_product_open(cpu, desc, pass->write[0], &pair[1], err));
    }
done:
    return st;
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
    choose_chunks(pass, whole);
    struct cask_product_desc desc = {
        .n = pass->block_n,
        .k = pass->k,
        .src_strides = {pass->k, 1},
        .dst_strides = {pass->dense ? pass->n : pass->block_n, 1},
        .weight_strides = {pass->weight_strides[0], pass->weight_strides[1]},
        .pack = pass->plain == NULL,
        .bias = bias,
        .alpha = 1,
        .beta = 1,
        .in_dtype = dtype,
        .out_dtype = dtype};
    CASK_TRY(open_products(cpu, pass, &desc, pass->write, err));
    if (add && pass->dense) {
        desc.accumulate = true;
        CASK_TRY(open_products(cpu, pass, &desc, pass->add, err));
    }
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
    pass->block_bytes = (cask_product_weight_bytes(pass->write[0]) + 63) / 64 * 64;
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
    for (int i = 0; i < 2; i++) {
        cask_product_close(pass->write[i]);
        cask_product_close(pass->add[i]);
    }
    cask_free(pass->weights);
}

bool cask_matmul_pass_pack(const struct cask_matmul_pass *pass, int thread, int64_t block,
                           const void *plain)
{
    const void *from =
        cask_at(plain, pass->lowering.dtype, block * pass->block_n * pass->weight_strides[1]);
    return cask_product_pack(pass->write[0], thread, from,
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

static void run_chunk(void *user, int64_t index, int thread)
{
    struct pass_run *run = user;
    const struct cask_matmul_pass *pass = run->pass;
    enum cask_dtype dtype = pass->lowering.dtype;
    int64_t chunk = index / pass->blocks, block = index % pass->blocks, row = chunk * pass->chunk;
    int64_t rows = pass->rows - row < pass->chunk ? pass->rows - row : pass->chunk;
    int which = rows == pass->chunk ? 0 : 1;
    char *scratch = run->cpu->block_scratch[thread].data;
    const void *src = cask_lowered_rows(run->cpu, thread, &pass->lowering, run->src, row, rows, 0,
                                        pass->lowering.kernel_h * pass->lowering.kernel_w, scratch);
    int64_t used = (pass->chunk * pass->k * (int64_t)cask_dtype_size(dtype) + 63) / 64 * 64;
    void *dst = pass->dense ? cask_at(run->dst, dtype, row * pass->n + block * pass->block_n)
                            : scratch + used;
    struct cask_product *product =
        pass->dense && run->accumulate ? pass->add[which] : pass->write[which];
    const void *weights =
        pass->plain != NULL
            ? cask_at(pass->plain, dtype, block * pass->block_n * pass->weight_strides[1])
            : (char *)pass->weights + (size_t)block * pass->block_bytes;
    const float *bias = run->bias != NULL ? run->bias + block * pass->block_n : NULL;
    if (!cask_product_run(product, thread, src, weights, bias, dst)) {
        __atomic_store_n(&run->failed, true, __ATOMIC_RELAXED);
    }
    if (!pass->dense) {
        cask_placing_put(&pass->placing, &pass->lowering, run->kernels, dst, row, rows, run->dst,
                         run->accumulate);
    }
    if (run->finish != NULL) {
        cask_finish_rows(run->finish, run->dst, row, rows, (int)(block * pass->block_n),
                         (int)pass->block_n);
    }
    if (run->sink != NULL) {
        cask_sink_begin(run->sink, chunk, thread, dst);
        cask_sink_rows(run->sink, chunk, thread, dst, row, rows);
        cask_sink_end(run->sink, chunk, thread);
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
    cask_cpu_for(cpu, pass->chunks * pass->blocks, run_chunk, &run);
    if (run.failed) {
        return cask_error_set(err, CASK_ERR_DEVICE, "oneDNN: a matrix product failed (%s)",
                              cask_product_name(pass->write[0]));
    }
    return CASK_OK;
}
