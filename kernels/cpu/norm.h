/* kernels/cpu/norm.h - the four passes of batch normalisation, as any op can do them on the rows
 * it has in cache. Private to kernels/cpu.
 *
 * A source makes the rows an op reads: as they lie, through f(BN), or through BN's gradient. A sink
 * sums the rows an op has just written: for the statistics of the batch norm behind it, or for the
 * reductions of the batch norms whose gradient they are. An op without a batch norm has a plain
 * source and an empty sink, so every op has one path.
 *
 * Sums are taken in parts: a part is a run of rows that one thread sees in order; parts meet in the
 * order of their numbers. How rows are cut into parts follows from shapes alone. Within a part,
 * sums are float over at most 128 rows (an op that writes line by line: a few rows of an image) and
 * double above that. Statistics are taken about the part's
 * first row, so that a large mean does not cancel the variance, and parts are joined by their means
 * (Chan, Golub, LeVeque 1983): n mean = sum n_p mean_p,   n var = sum M2_p + n_p (mean_p - mean)^2
 */
#ifndef CASK_KERNELS_CPU_NORM_H
#define CASK_KERNELS_CPU_NORM_H

#include "kernels/cpu/cpu.h"

/* Parameters as the vector kernels want them. `shared` is room for all norms of one op. */
enum { CASK_NORMS = 6 }; /* of one op, at most */
enum cask_status cask_norms_begin(struct cask_cpu *cpu, int most_channels, struct cask_error *err);
/* From saved statistics; `slot` is below CASK_NORMS. */
struct cask_bn_block cask_norm_block(const struct cask_cpu *cpu, int slot, int most_channels,
                                     const struct cask_batchnorm *bn, int c);

struct cask_source {
    const struct cask_cpu_kernels *kernels;
    enum cask_dtype dtype;
    int c;
    const void *data;
    const void *gradient;       /* not NULL: rows are BN's gradient from x = data, dy = gradient */
    bool through;               /* false: rows as they lie */
    struct cask_bn_block block; /* of the norm */
};
struct cask_source cask_source_plain(const struct cask_cpu *cpu, const struct cask_tensor *x);

/* Where rows [first, first + rows) lie: in the tensor, or in `room` once they are made there. */
const void *cask_source_rows(const struct cask_source *source, int64_t first, int64_t rows,
                             void *room);

/* Rows through a norm as outer products take them (kernel_table.h); a gradient in `room` as well,
 * row by row. */
void cask_source_cells(const struct cask_source *source, int64_t first, int64_t rows, void *room,
                       void *cells);

enum { CASK_REDUCTIONS = 2 };

struct cask_sink {
    struct cask_cpu *cpu;
    const struct cask_cpu_kernels *kernels;
    enum cask_dtype dtype;
    int c;
    int64_t rows;                            /* in all parts */
    const struct cask_batchnorm *statistics; /* NULL: none */
    const struct cask_reduction *reductions;
    int reduction_count;
    struct cask_bn_block blocks[CASK_REDUCTIONS];
    int64_t parts, part_doubles;
    double *partials; /* [part]: rows, S1 and S2 > mean and M2; three sums for each reduction */
};
/* Channels from `first` on. */
struct cask_bn_block cask_bn_block_from(const struct cask_bn_block *all, int first);

static inline bool cask_sink_is_empty(const struct cask_sink *sink)
{
    return sink->statistics == NULL && sink->reduction_count == 0;
}

/* Names the reductions; their norms take slots from `slot` on. CASK_ERR_UNSUPPORTED: too many. */
enum cask_status cask_sink_reduce(struct cask_sink *sink, const struct cask_reduction *reductions,
                                  int count, int slot, int most_channels, struct cask_error *err);
/* A sink knows what to sum; the op that fills it says how many parts there are. */
enum cask_status cask_sink_open(struct cask_sink *sink, int64_t parts, struct cask_error *err);
/* first_row: what statistics are taken about; NULL: cask_sink_origin() will say. */
void cask_sink_begin(const struct cask_sink *sink, int64_t part, int thread, const void *first_row);
void cask_sink_origin(const struct cask_sink *sink, int thread, int channel, int count,
                      const void *first_pixel);
/* `written`: rows [first, first + rows) of the op's result. */
void cask_sink_rows(const struct cask_sink *sink, int64_t part, int thread, const void *written,
                    int64_t first, int64_t rows);
/* For an op that makes a few channels of a row of pixels at a time: channels from `channel` on of
 * the pixels of a line, the first of which is number `first` and lies at `written`; after some
 * rows, of all channels, `pixels` of them are folded. Statistics or reductions, not both. */
void cask_sink_line(const struct cask_sink *sink, int thread, int channel, const void *written,
                    int64_t first, const struct cask_line *line);
void cask_sink_fold(const struct cask_sink *sink, int64_t part, int thread, int64_t pixels);
void cask_sink_end(const struct cask_sink *sink, int64_t part, int thread);
void cask_sink_finish(const struct cask_sink *sink);

/* All of the above in a pass of its own, for results that are not made row by row. */
enum cask_status cask_sink_whole(struct cask_sink *sink, const void *written,
                                 struct cask_error *err);

#endif
