/* kernels/cpu/elementwise.c - add, subsample, convert. */
#include <assert.h>
#include <string.h>

#include "kernels/cpu/norm.h"

enum { BLOCK_ELEMENTS = 16 * 1024, SUM_BLOCKS = 256, ANY_NUMBER = 1 << 30 };

struct element_run {
    const struct cask_cpu_kernels *kernels;
    struct cask_blocks blocks;
    const struct cask_tensor *a, *b, *y;
};

static void add_block(void *user, int64_t index, int thread)
{
    const struct element_run *run = user;
    int64_t at = cask_block_begin(&run->blocks, index);
    enum cask_dtype dtype = run->y->dtype;
    (void)thread;
    run->kernels->elementwise->add(
        cask_at(run->a->data, dtype, at), cask_at(run->b->data, dtype, at),
        cask_at(run->y->data, dtype, at), cask_block_rows(&run->blocks, index));
}

CASK_OP(add)
(struct cask_device *device, const struct cask_tensor *a, const struct cask_tensor *b,
 const struct cask_tensor *y, struct cask_error *err)
{
    struct cask_cpu *cpu = cask_cpu_of(device);
    struct element_run run = {
        cask_cpu_kernels_of(cpu, y->dtype),
        cask_blocks_of((int64_t)cask_tensor_count(y), 1, BLOCK_ELEMENTS, ANY_NUMBER), a, b, y};
    (void)err;
    cask_cpu_for(cpu, run.blocks.count, add_block, &run);
    return CASK_OK;
}

struct chain_run {
    const struct cask_cpu *cpu;
    struct cask_source a, b;
    struct cask_blocks blocks;
    const struct cask_tensor *y;
    const struct cask_sink *sink;
};

static void add_rows(void *user, int64_t index, int thread)
{
    const struct chain_run *run = user;
    int64_t first = cask_block_begin(&run->blocks, index),
            rows = cask_block_rows(&run->blocks, index);
    const void *a = cask_source_rows(&run->a, first, rows, run->cpu->read_scratch[thread].data);
    const void *b = cask_source_rows(&run->b, first, rows, run->cpu->gradient_scratch[thread].data);
    void *y = cask_at(run->y->data, run->y->dtype, first * run->y->c);
    run->a.kernels->elementwise->add(a, b, y, rows * run->y->c);
    cask_sink_begin(run->sink, index, thread, y);
    cask_sink_rows(run->sink, index, thread, y, first, rows);
    cask_sink_end(run->sink, index, thread);
}

static struct cask_source source_of(const struct cask_cpu *cpu, const struct cask_operand *operand,
                                    int slot)
{
    struct cask_source source = cask_source_plain(cpu, operand->x);
    if (operand->norm != NULL) {
        source.through = true;
        source.block = cask_norm_block(cpu, slot, operand->x->c, operand->norm, operand->x->c);
    }
    return source;
}

CASK_OP(add_chained)
(struct cask_device *device, const struct cask_operand *a, const struct cask_operand *b,
 const struct cask_tensor *y, const struct cask_batchnorm *statistics, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cpu *cpu = cask_cpu_of(device);
    struct cask_sink sink = {.cpu = cpu,
                             .kernels = cask_cpu_kernels_of(cpu, y->dtype),
                             .dtype = y->dtype,
                             .c = y->c,
                             .rows = cask_tensor_rows(y),
                             .statistics = statistics};
    struct chain_run run = {
        .cpu = cpu,
        .blocks = cask_blocks_of(cask_tensor_rows(y), y->c, BLOCK_ELEMENTS, SUM_BLOCKS),
        .y = y,
        .sink = &sink};
    size_t bytes = (size_t)run.blocks.per_block * (size_t)y->c * cask_dtype_size(y->dtype);
    CASK_TRY(cask_norms_begin(cpu, y->c, err));
    CASK_TRY(cask_cpu_reserve(cpu, cpu->read_scratch, bytes, err));
    CASK_TRY(cask_cpu_reserve(cpu, cpu->gradient_scratch, bytes, err));
    CASK_TRY(cask_sink_open(&sink, run.blocks.count, err));
    run.a = source_of(cpu, a, 0);
    run.b = source_of(cpu, b, 1);
    cask_cpu_for(cpu, run.blocks.count, add_rows, &run);
    cask_sink_finish(&sink);
done:
    return st;
}

/* ---------------------------------------------------------------- convert */

static void convert_block(void *user, int64_t index, int thread)
{
    const struct element_run *run = user;
    int64_t at = cask_block_begin(&run->blocks, index),
            count = cask_block_rows(&run->blocks, index);
    const void *from = cask_at(run->a->data, run->a->dtype, at);
    void *to = cask_at(run->y->data, run->y->dtype, at);
    (void)thread;
    if (run->a->dtype == run->y->dtype) {
        memcpy(to, from, (size_t)count * cask_dtype_size(run->y->dtype));
    } else if (run->a->dtype == CASK_BF16) {
        run->kernels->elementwise->to_float(from, to, count);
    } else {
        run->kernels->elementwise->from_float(from, to, count);
    }
}

CASK_OP(convert)
(struct cask_device *device, const struct cask_tensor *x, const struct cask_tensor *y,
 struct cask_error *err)
{
    struct cask_cpu *cpu = cask_cpu_of(device);
    struct element_run run = {
        cask_cpu_kernels_of(cpu, CASK_BF16),
        cask_blocks_of((int64_t)cask_tensor_count(x), 1, BLOCK_ELEMENTS, ANY_NUMBER), x, NULL, y};
    if (x->dtype == CASK_F64 || y->dtype == CASK_F64) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "cpu: convert: expected fp32 or bf16, found %s to %s",
                              cask_dtype_name(x->dtype), cask_dtype_name(y->dtype));
    }
    cask_cpu_for(cpu, run.blocks.count, convert_block, &run);
    return CASK_OK;
}

/* -------------------------------------------------------------- subsample */

struct subsample_run {
    const struct cask_cpu_kernels *kernels;
    int stride;
    const struct cask_tensor *large, *small;
    bool accumulate;
};

/* One row of the small image. */
static void take_row(void *user, int64_t index, int thread)
{
    const struct subsample_run *run = user;
    const struct cask_tensor *large = run->large, *small = run->small;
    int64_t image = index / small->h, h = index % small->h * run->stride;
    size_t bytes = (size_t)small->c * cask_dtype_size(small->dtype);
    (void)thread;
    for (int w = 0; w < small->w; w++) {
        int64_t from = ((image * large->h + h) * large->w + (int64_t)w * run->stride) * large->c;
        memcpy(cask_at(small->data, small->dtype, (index * small->w + w) * small->c),
               cask_at(large->data, large->dtype, from), bytes);
    }
}

CASK_OP(subsample_forward)
(struct cask_device *device, int stride, const struct cask_tensor *x, const struct cask_tensor *y,
 struct cask_error *err)
{
    struct subsample_run run = {.stride = stride, .large = x, .small = y};
    (void)err;
    cask_cpu_for(cask_cpu_of(device), (int64_t)y->n * y->h, take_row, &run);
    return CASK_OK;
}

/* One row of the large image: zeros where no pixel was taken. */
static void give_row(void *user, int64_t index, int thread)
{
    const struct subsample_run *run = user;
    const struct cask_tensor *large = run->large, *small = run->small;
    int64_t image = index / large->h, h = index % large->h;
    bool taken = h % run->stride == 0 && h / run->stride < small->h;
    size_t bytes = (size_t)large->c * cask_dtype_size(large->dtype);
    (void)thread;
    for (int w = 0; w < large->w; w++) {
        void *to = cask_at(large->data, large->dtype, (index * large->w + w) * large->c);
        bool has = taken && w % run->stride == 0 && w / run->stride < small->w;
        const void *from = cask_at(
            small->data, small->dtype,
            has ? ((image * small->h + h / run->stride) * small->w + w / run->stride) * small->c
                : 0);
        if (has && run->accumulate) {
            run->kernels->elementwise->add(to, from, to, large->c);
        } else if (has) {
            memcpy(to, from, bytes);
        } else if (!run->accumulate) {
            memset(to, 0, bytes);
        }
    }
}

CASK_OP(subsample_backward)
(struct cask_device *device, int stride, const struct cask_tensor *dy, const struct cask_tensor *dx,
 bool accumulate, struct cask_error *err)
{
    struct cask_cpu *cpu = cask_cpu_of(device);
    struct subsample_run run = {cask_cpu_kernels_of(cpu, dx->dtype), stride, dx, dy, accumulate};
    (void)err;
    cask_cpu_for(cpu, (int64_t)dx->n * dx->h, give_row, &run);
    return CASK_OK;
}
