/* kernels/cpu/norm.c - sources and sinks. */
#include "kernels/cpu/norm.h"

#include <math.h>
#include <string.h>

enum { RUN_ROWS = 128, BLOCK_ELEMENTS = 32 * 1024, BLOCKS = 64 };

/* ------------------------------------------------------------------ source */

enum { SCALE, SHIFT, LOW_FROM, LOW_COUNT, ARRAYS }; /* all of four bytes an element */

enum cask_status cask_norms_begin(struct cask_cpu *cpu, int most_channels, struct cask_error *err)
{
    size_t bytes = (size_t)CASK_NORMS * ARRAYS * (size_t)most_channels * sizeof(float);
    return cask_scratch_take(&cpu->norms, bytes) == NULL
               ? cask_error_memory(err, bytes, "batch normalisation")
               : CASK_OK;
}

struct cask_bn_block cask_norm_block(const struct cask_cpu *cpu, int slot, int most_channels,
                                     const struct cask_batchnorm *bn, int c)
{
    float *arrays = (float *)cpu->norms.data + (int64_t)slot * ARRAYS * most_channels;
    float *scale = arrays + SCALE * (int64_t)most_channels;
    float *shift = arrays + SHIFT * (int64_t)most_channels;
    const float *gamma = bn->gamma, *beta = bn->beta, *inv_std = bn->saved_inv_std;
    for (int j = 0; j < c; j++) {
        scale[j] = (gamma != NULL ? gamma[j] : 1) * inv_std[j];
        shift[j] = beta != NULL ? beta[j] : 0;
    }
    return (struct cask_bn_block){.activation = bn->activation,
                                  .mean = bn->saved_mean,
                                  .scale = scale,
                                  .shift = shift,
                                  .slope = bn->slope,
                                  .mean_dz = bn->saved_mean_dz,
                                  .pull = bn->saved_pull};
}

static const float *moved(const float *values, int first)
{
    return values != NULL ? values + first : NULL;
}

static const uint32_t *moved_bits(const uint32_t *values, int first)
{
    return values != NULL ? values + first : NULL;
}

struct cask_bn_block cask_bn_block_from(const struct cask_bn_block *all, int first)
{
    return (struct cask_bn_block){.activation = all->activation,
                                  .mean = moved(all->mean, first),
                                  .scale = moved(all->scale, first),
                                  .shift = moved(all->shift, first),
                                  .slope = moved(all->slope, first),
                                  .mean_dz = moved(all->mean_dz, first),
                                  .pull = moved(all->pull, first),
                                  .low_from = moved_bits(all->low_from, first),
                                  .low_count = moved_bits(all->low_count, first)};
}

struct cask_source cask_source_plain(const struct cask_cpu *cpu, const struct cask_tensor *x)
{
    return (struct cask_source){.kernels = cask_cpu_kernels_of(cpu, x->dtype),
                                .dtype = x->dtype,
                                .c = x->c,
                                .data = x->data};
}

const void *cask_source_rows(const struct cask_source *s, int64_t first, int64_t rows, void *room)
{
    const void *x = cask_at(s->data, s->dtype, first * s->c);
    if (!s->through) {
        return x;
    }
    if (s->gradient == NULL) {
        s->kernels->batchnorm->apply(&s->block, x, room, rows, s->c);
    } else {
        s->kernels->batchnorm->gradient(&s->block, x, cask_at(s->gradient, s->dtype, first * s->c),
                                        room, false, rows, s->c);
    }
    return room;
}

void cask_source_cells(const struct cask_source *s, int64_t first, int64_t rows, void *room,
                       void *cells)
{
    const struct cask_cell_kernels *kernels = s->kernels->cells;
    const void *x = cask_at(s->data, s->dtype, first * s->c);
    if (s->gradient == NULL) {
        kernels->apply(&s->block, x, rows, s->c, cells);
    } else {
        kernels->gradient(&s->block, x, cask_at(s->gradient, s->dtype, first * s->c), rows, s->c,
                          room, cells);
    }
}

/* -------------------------------------------------------------------- sink */

/* In a part: [0] rows, then S1 and S2 (after the end: mean and M2), then the reductions. */
enum { STATISTICS = 2, SUMS = 3 };

/* In a thread's scratch: the sums of one run of rows, for lines those of each reduction, and the
 * origin of the part. */
enum { RUN_SUMS = CASK_REDUCTIONS * SUMS };
static float *run_sums(const struct cask_sink *sink, int thread)
{
    return sink->cpu->sum_scratch[thread].data;
}

static float *origin_of(const struct cask_sink *sink, int thread)
{
    return run_sums(sink, thread) + RUN_SUMS * (int64_t)sink->c;
}

static double *part_of(const struct cask_sink *sink, int64_t part)
{
    return sink->partials + part * sink->part_doubles;
}

static double *reduction_of(const struct cask_sink *sink, int64_t part, int i)
{
    return part_of(sink, part) + 1 + (STATISTICS + (int64_t)i * SUMS) * sink->c;
}

/* The bf16 x up to `limit` (`above`: from it on), as a stretch of 16 bits: the numbers from 0 to
 * infinity rise from 0, those from -0 to -infinity from 0x8000. */
static void stretch_of(float limit, bool above, uint32_t *from, uint32_t *count)
{
    enum { SIGN = 0x8000, MOST = 0x7fff };
    uint32_t bits;
    memcpy(&bits, &limit, sizeof bits);
    const bool negative = limit < 0;
    bits &= 0x7fffffffU;
    /* The nearest bf16 that is still in the stretch. */
    const uint32_t place = negative == above ? bits >> 16 : (bits + 0xffffU) >> 16;
    if (above == negative) {
        *from = above ? 0 : SIGN;
        *count = SIGN + place;
    } else {
        *from = negative ? SIGN + place : place;
        *count = MOST - place;
    }
    *count += above && !negative && place == 0 ? 1 : 0; /* -0 is 0 */
    *from |= *from << 16;
    *count |= *count << 16;
}

/* z = (x - mean) * scale + shift is not positive on one side of its zero. */
static void find_low(struct cask_bn_block *block, int64_t most_channels, int c)
{
    uint32_t *from =
        (uint32_t *)(void *)(uintptr_t)(block->scale + (LOW_FROM - SCALE) * most_channels);
    uint32_t *count = from + (LOW_COUNT - LOW_FROM) * most_channels;
    for (int j = 0; j < c; j++) {
        const double scale = (double)block->scale[j], shift = (double)block->shift[j];
        const double zero = scale != 0  ? (double)block->mean[j] - shift / scale
                            : shift > 0 ? -INFINITY
                                        : INFINITY;
        stretch_of((float)zero, scale < 0, &from[j], &count[j]);
    }
    block->low_from = from;
    block->low_count = count;
}

enum cask_status cask_sink_reduce(struct cask_sink *sink, const struct cask_reduction *reductions,
                                  int count, int slot, int most_channels, struct cask_error *err)
{
    if (count > CASK_REDUCTIONS) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "%d reductions of one gradient; at most %d", count, CASK_REDUCTIONS);
    }
    sink->reductions = reductions;
    sink->reduction_count = count;
    for (int i = 0; i < count; i++) {
        sink->blocks[i] =
            cask_norm_block(sink->cpu, slot + i, most_channels, reductions[i].norm, sink->c);
        if (sink->dtype == CASK_BF16 && sink->blocks[i].activation != CASK_ACT_NONE) {
            find_low(&sink->blocks[i], most_channels, sink->c);
        }
    }
    return CASK_OK;
}

enum cask_status cask_sink_open(struct cask_sink *sink, int64_t parts, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t c = (size_t)sink->c;
    sink->parts = parts;
    sink->part_doubles = 1 + (STATISTICS + (int64_t)sink->reduction_count * SUMS) * sink->c;
    if (cask_sink_is_empty(sink)) {
        goto done;
    }
    /* One part more: the totals. */
    size_t bytes = (size_t)(parts + 1) * (size_t)sink->part_doubles * sizeof(double);
    sink->partials = cask_scratch_take(&sink->cpu->norm_sums, bytes);
    if (sink->partials == NULL) {
        CASK_TRY(cask_error_memory(err, bytes, "sums of batch normalisation"));
    }
    CASK_TRY(cask_cpu_reserve(sink->cpu, sink->cpu->sum_scratch, (RUN_SUMS + 1) * c * sizeof(float),
                              err));
done:
    return st;
}

void cask_sink_begin(const struct cask_sink *sink, int64_t part, int thread, const void *first_row)
{
    if (cask_sink_is_empty(sink)) {
        return;
    }
    memset(part_of(sink, part), 0, (size_t)sink->part_doubles * sizeof(double));
    memset(run_sums(sink, thread), 0, RUN_SUMS * (size_t)sink->c * sizeof(float));
    if (first_row != NULL) {
        cask_sink_origin(sink, thread, 0, sink->c, first_row);
    }
}

void cask_sink_origin(const struct cask_sink *sink, int thread, int channel, int count,
                      const void *first_pixel)
{
    if (sink->statistics != NULL) {
        sink->kernels->elementwise->to_float(first_pixel, origin_of(sink, thread) + channel, count);
    }
}

/* Adds the float sums of one run of rows to double ones. */
static void fold(float *run, double *sums, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        sums[i] += (double)run[i];
        run[i] = 0;
    }
}

/* Rows from memory are summed in their order, which the hardware foresees; those in cache channel
 * after channel (lines.c), which takes fewer instructions. */
static void sum_run(const struct cask_sink *sink, int64_t part, int thread, const void *written,
                    int64_t first, int64_t rows, bool in_cache)
{
    const struct cask_batchnorm_kernels *by_rows = sink->kernels->batchnorm;
    const struct cask_line_kernels *by_channels = sink->kernels->lines;
    const struct cask_line line = {.step = sink->c, .pixels = (int)rows, .c = sink->c};
    const int64_t c = sink->c;
    float *sums = run_sums(sink, thread);
    if (sink->statistics != NULL) {
        const float *origin = origin_of(sink, thread);
        if (in_cache) {
            by_channels->sums(written, &line, origin, sums, sums + c);
        } else {
            by_rows->sums(written, rows, sink->c, origin, sums, sums + c);
        }
        fold(sums, part_of(sink, part) + 1, STATISTICS * c);
    }
    for (int i = 0; i < sink->reduction_count; i++) {
        const struct cask_bn_block *bn = &sink->blocks[i];
        const void *x = cask_at(sink->reductions[i].x->data, sink->dtype, first * c);
        if (in_cache) {
            by_channels->gradient_sums(bn, x, written, &line, sums, sums + c, sums + 2 * c);
        } else {
            by_rows->gradient_sums(bn, x, written, rows, sink->c, sums, sums + c, sums + 2 * c);
        }
        fold(sums, reduction_of(sink, part, i), SUMS * c);
    }
}

static void sum_rows(const struct cask_sink *sink, int64_t part, int thread, const void *written,
                     int64_t first, int64_t rows, bool in_cache)
{
    if (cask_sink_is_empty(sink)) {
        return;
    }
    part_of(sink, part)[0] += (double)rows;
    for (int64_t row = 0; row < rows; row += RUN_ROWS) {
        sum_run(sink, part, thread, cask_at(written, sink->dtype, row * sink->c), first + row,
                rows - row < RUN_ROWS ? rows - row : RUN_ROWS, in_cache);
    }
}

void cask_sink_rows(const struct cask_sink *sink, int64_t part, int thread, const void *written,
                    int64_t first, int64_t rows)
{
    sum_rows(sink, part, thread, written, first, rows, true);
}

void cask_sink_line(const struct cask_sink *sink, int thread, int channel, const void *written,
                    int64_t first, const struct cask_line *line)
{
    const struct cask_line_kernels *kernels = sink->kernels->lines;
    const int64_t c = sink->c;
    float *sums = run_sums(sink, thread) + channel;
    if (sink->statistics != NULL) {
        kernels->sums(written, line, origin_of(sink, thread) + channel, sums, sums + c);
    }
    for (int i = 0; i < sink->reduction_count; i++, sums += SUMS * c) {
        const struct cask_bn_block block = cask_bn_block_from(&sink->blocks[i], channel);
        const void *x = cask_at(sink->reductions[i].x->data, sink->dtype, first * c + channel);
        kernels->gradient_sums(&block, x, written, line, sums, sums + c, sums + 2 * c);
    }
}

void cask_sink_fold(const struct cask_sink *sink, int64_t part, int thread, int64_t pixels)
{
    float *sums = run_sums(sink, thread);
    if (cask_sink_is_empty(sink)) {
        return;
    }
    part_of(sink, part)[0] += (double)pixels;
    if (sink->statistics != NULL) {
        fold(sums, part_of(sink, part) + 1, STATISTICS * (int64_t)sink->c);
    }
    for (int i = 0; i < sink->reduction_count; i++) {
        fold(sums + (int64_t)i * SUMS * sink->c, reduction_of(sink, part, i),
             SUMS * (int64_t)sink->c);
    }
}

/* Sums about the origin become mean and M2 = sum (x - mean)^2. */
void cask_sink_end(const struct cask_sink *sink, int64_t part, int thread)
{
    if (sink->statistics == NULL) {
        return;
    }
    double *sums = part_of(sink, part), n = *sums++, *squares = sums + sink->c;
    const float *origin = origin_of(sink, thread);
    for (int j = 0; j < sink->c; j++) {
        double offset = sums[j] / n;
        squares[j] -= offset * sums[j];
        sums[j] = (double)origin[j] + offset;
    }
}

/* totals += the part's values, weighted by its rows if asked */
static void join(const double *values, double weight, int64_t count, double *totals)
{
    for (int64_t j = 0; j < count; j++) {
        totals[j] += weight * values[j];
    }
}

static void finish_statistics(const struct cask_sink *sink)
{
    const struct cask_batchnorm *bn = sink->statistics;
    float *mean = bn->saved_mean, *inv_std = bn->saved_inv_std, *running_mean = bn->running_mean,
          *running_var = bn->running_var;
    double m = (double)sink->rows, *total = part_of(sink, sink->parts) + 1,
           *squares = total + sink->c;
    for (int64_t part = 0; part < sink->parts; part++) {
        const double *values = part_of(sink, part);
        join(values + 1, values[0] / m, sink->c, total);
    }
    for (int64_t part = 0; part < sink->parts; part++) {
        const double *values = part_of(sink, part), n = values[0], *means = values + 1;
        for (int j = 0; j < sink->c; j++) {
            double away = means[j] - total[j];
            squares[j] += means[sink->c + j] + n * away * away;
        }
    }
    for (int j = 0; j < sink->c; j++) {
        double var = squares[j] / m;
        var = var < 0 ? 0 : var;
        mean[j] = (float)total[j];
        inv_std[j] = (float)(1 / sqrt(var + bn->eps));
        double unbiased = m > 1 ? var * m / (m - 1) : 0;
        running_mean[j] =
            (float)((1 - bn->momentum) * (double)running_mean[j] + bn->momentum * total[j]);
        running_var[j] =
            (float)((1 - bn->momentum) * (double)running_var[j] + bn->momentum * unbiased);
    }
}

/* With d = x - mean: dbeta = sum dz, dgamma = inv_std * sum(dz d),
 *     dx = gamma inv_std (dz - dbeta/m - d inv_std^2 sum(dz d)/m)     (Ioffe and Szegedy, 2015) */
static void finish_reduction(const struct cask_sink *sink, int i)
{
    const struct cask_reduction *reduction = &sink->reductions[i];
    const struct cask_batchnorm *bn = reduction->norm;
    const float *inv_std = bn->saved_inv_std;
    float *dgamma = reduction->grads.gamma, *dbeta = reduction->grads.beta,
          *dslope = reduction->grads.slope;
    float *mean_dz = bn->saved_mean_dz, *pull = bn->saved_pull;
    int64_t c = sink->c;
    double m = (double)sink->rows, *total = reduction_of(sink, sink->parts, i);
    for (int64_t part = 0; part < sink->parts; part++) {
        join(reduction_of(sink, part, i), 1, SUMS * c, total);
    }
    for (int j = 0; j < c; j++) {
        double sum_dz = total[j], sum_dz_d = total[c + j], inv = (double)inv_std[j];
        mean_dz[j] = (float)(sum_dz / m);
        pull[j] = (float)(inv * inv * sum_dz_d / m);
        if (dbeta != NULL) {
            dbeta[j] += (float)sum_dz;
        }
        if (dgamma != NULL) {
            dgamma[j] += (float)(inv * sum_dz_d);
        }
        if (dslope != NULL) {
            dslope[j] += (float)total[2 * c + j];
        }
    }
}

void cask_sink_finish(const struct cask_sink *sink)
{
    if (cask_sink_is_empty(sink)) {
        return;
    }
    memset(part_of(sink, sink->parts), 0, (size_t)sink->part_doubles * sizeof(double));
    if (sink->statistics != NULL) {
        finish_statistics(sink);
    }
    for (int i = 0; i < sink->reduction_count; i++) {
        finish_reduction(sink, i);
    }
}

struct whole_run {
    struct cask_sink *sink;
    struct cask_blocks blocks;
    const void *written;
};

static void sum_block(void *user, int64_t index, int thread)
{
    const struct whole_run *run = user;
    const struct cask_sink *sink = run->sink;
    int64_t first = cask_block_begin(&run->blocks, index);
    const void *rows = cask_at(run->written, sink->dtype, first * sink->c);
    cask_sink_begin(sink, index, thread, rows);
    sum_rows(sink, index, thread, rows, first, cask_block_rows(&run->blocks, index), false);
    cask_sink_end(sink, index, thread);
}

enum cask_status cask_sink_whole(struct cask_sink *sink, const void *written,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct whole_run run = {sink, cask_blocks_of(sink->rows, sink->c, BLOCK_ELEMENTS, BLOCKS),
                            written};
    if (cask_sink_is_empty(sink)) {
        goto done;
    }
    CASK_TRY(cask_sink_open(sink, run.blocks.count, err));
    cask_cpu_for(sink->cpu, run.blocks.count, sum_block, &run);
    cask_sink_finish(sink);
done:
    return st;
}
