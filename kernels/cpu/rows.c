/* kernels/cpu/rows.c - ops on matrix rows and flat arrays: normalise, softmax, SGD, sum of squares.
 */
#include <math.h>

#include "kernels/cpu/cpu.h"

struct row_run {
    const struct cask_row_kernels *kernels;
    const struct cask_tensor *a, *b, *y;
    const uint32_t *labels;
    const float *norm_in;
    float *norm_out;
    bool accumulate;
    double scale, *partials;
};

static const float *row_of(const struct cask_tensor *tensor, int64_t row)
{
    return (const float *)tensor->data + row * tensor->c;
}

static struct row_run run_of(const struct cask_device *device)
{
    return (struct row_run){.kernels = cask_cpu_kernels_of(cask_cpu_of(device), CASK_F32)->rows};
}

/* ------------------------------------------------------------------ l2 norm */

static void normalise_row(void *user, int64_t row, int thread)
{
    const struct row_run *run = user;
    const float *x = row_of(run->a, row);
    double norm = sqrt(run->kernels->dot(x, x, run->a->c));
    double divisor = norm < 1e-12 ? 1e-12 : norm;
    (void)thread;
    run->kernels->combine((float)(1 / divisor), x, 0, x, (float *)run->y->data + row * run->y->c,
                          run->a->c, false);
    if (run->norm_out != NULL) {
        run->norm_out[row] = (float)norm;
    }
}

CASK_OP(l2norm_forward)
(struct cask_device *device, const struct cask_tensor *x, const struct cask_tensor *unit,
 void *norm, struct cask_error *err)
{
    struct row_run run = run_of(device);
    (void)err;
    run.a = x;
    run.y = unit;
    run.norm_out = norm;
    cask_cpu_for(cask_cpu_of(device), x->n, normalise_row, &run);
    return CASK_OK;
}

static void normalise_row_back(void *user, int64_t row, int thread)
{
    const struct row_run *run = user;
    const float *unit = row_of(run->a, row), *gradient = row_of(run->b, row);
    double norm = (double)run->norm_in[row], inverse = 1 / (norm < 1e-12 ? 1e-12 : norm);
    double along = run->kernels->dot(unit, gradient, run->a->c);
    (void)thread;
    run->kernels->combine((float)inverse, gradient, (float)-along, unit,
                          (float *)run->y->data + row * run->y->c, run->a->c, run->accumulate);
}

CASK_OP(l2norm_backward)
(struct cask_device *device, const struct cask_tensor *unit, const void *norm,
 const struct cask_tensor *dunit, const struct cask_tensor *dx, bool accumulate,
 struct cask_error *err)
{
    struct row_run run = run_of(device);
    (void)err;
    run.a = unit;
    run.b = dunit;
    run.norm_in = norm;
    run.y = dx;
    run.accumulate = accumulate;
    cask_cpu_for(cask_cpu_of(device), unit->n, normalise_row_back, &run);
    return CASK_OK;
}

/* ------------------------------------------------- softmax and cross-entropy */

/* dz = (softmax(z) - onehot) / labelled rows; the row's loss goes to partials. z may be dz. */
static void cross_entropy_row(void *user, int64_t row, int thread)
{
    const struct row_run *run = user;
    int c = run->a->c;
    uint32_t label = run->labels[row];
    const float *z = row_of(run->a, row);
    float *dz = (float *)run->y->data + row * c;
    (void)thread;
    if (label == UINT32_MAX) {
        for (int j = 0; j < c; j++) {
            dz[j] = 0;
        }
        run->partials[row] = 0;
        return;
    }
    float top = run->kernels->largest(z, c), own = z[label];
    double sum = run->kernels->exponentials(z, top, dz, c);
    run->partials[row] = log(sum) + (double)top - (double)own;
    double own_share = (double)dz[label] / sum;
    run->kernels->combine((float)(run->scale / sum), dz, 0, dz, dz, c, false);
    dz[label] = (float)((own_share - 1) * run->scale);
}

CASK_OP(softmax_cross_entropy)
(struct cask_device *device, const struct cask_tensor *z, const uint32_t *labels,
 const struct cask_tensor *dz, double *loss, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cpu *cpu = cask_cpu_of(device);
    struct row_run run = run_of(device);
    int64_t labelled = 0;
    for (int row = 0; row < z->n; row++) {
        labelled += labels[row] != UINT32_MAX;
    }
    run.a = z;
    run.y = dz;
    run.labels = labels;
    run.scale = labelled > 0 ? 1.0 / (double)labelled : 0;
    run.partials = cask_scratch_take(&cpu->shared, (size_t)z->n * sizeof(double));
    if (run.partials == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)z->n * sizeof(double), "cross-entropy"));
    }
    cask_cpu_for(cpu, z->n, cross_entropy_row, &run);
    *loss = 0;
    for (int row = 0; row < z->n; row++) {
        *loss += run.partials[row];
    }
    *loss *= run.scale;
done:
    return st;
}

/* -------------------------------------------------------------- flat arrays */

enum { BLOCK_ELEMENTS = 16 * 1024, SUM_BLOCKS = 4096, ANY_NUMBER = 1 << 30 };

struct flat_run {
    const struct cask_row_kernels *kernels;
    struct cask_blocks blocks;
    const struct cask_sgd *sgd;
    float *w, *v;
    const float *g;
    double *partials;
};

static void sgd_block(void *user, int64_t index, int thread)
{
    const struct flat_run *run = user;
    int64_t at = cask_block_begin(&run->blocks, index);
    (void)thread;
    run->kernels->sgd(run->sgd, cask_block_rows(&run->blocks, index), run->w + at, run->g + at,
                      run->v != NULL ? run->v + at : NULL);
}

CASK_OP(sgd_step)
(struct cask_device *device, const struct cask_sgd *sgd, size_t count, void *w, const void *g,
 void *v, struct cask_error *err)
{
    struct flat_run run = {.kernels = cask_cpu_kernels_of(cask_cpu_of(device), CASK_F32)->rows,
                           .blocks = cask_blocks_of((int64_t)count, 1, BLOCK_ELEMENTS, ANY_NUMBER),
                           .sgd = sgd,
                           .w = w,
                           .v = v,
                           .g = g};
    (void)err;
    cask_cpu_for(cask_cpu_of(device), run.blocks.count, sgd_block, &run);
    return CASK_OK;
}

static void square_block(void *user, int64_t index, int thread)
{
    const struct flat_run *run = user;
    const float *x = run->g + cask_block_begin(&run->blocks, index);
    (void)thread;
    run->partials[index] = run->kernels->dot(x, x, cask_block_rows(&run->blocks, index));
}

CASK_OP(sum_squares)
(struct cask_device *device, size_t count, const void *x, double *sum, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cpu *cpu = cask_cpu_of(device);
    struct flat_run run = {.kernels = cask_cpu_kernels_of(cpu, CASK_F32)->rows,
                           .blocks = cask_blocks_of((int64_t)count, 1, BLOCK_ELEMENTS, SUM_BLOCKS),
                           .g = x};
    size_t bytes = (size_t)run.blocks.count * sizeof(double);
    run.partials = cask_scratch_take(&cpu->shared, bytes);
    if (run.partials == NULL && run.blocks.count > 0) {
        CASK_TRY(cask_error_memory(err, bytes, "a sum of squares"));
    }
    cask_cpu_for(cpu, run.blocks.count, square_block, &run);
    *sum = 0;
    for (int64_t block = 0; block < run.blocks.count; block++) {
        *sum += run.partials[block];
    }
done:
    return st;
}

/* ---------------------------------------------------------- inside a task */

void cask_cpu_serial_sgd(struct cask_device *device, const struct cask_sgd *sgd, size_t count,
                         void *w, const void *g, void *v)
{
    cask_cpu_kernels_of(cask_cpu_of(device), CASK_F32)->rows->sgd(sgd, (int64_t)count, w, g, v);
}

void cask_cpu_serial_round(struct cask_device *device, size_t count, const void *from, void *to)
{
    const struct cask_cpu *cpu = cask_cpu_of(device);
    cask_cpu_kernels_of(cpu, cpu->dtype)->elementwise->from_float(from, to, (int64_t)count);
}
