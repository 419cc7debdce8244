/* kernels/cpu/conv_depthwise_pass.c - grouped convolution over a batch, row by row.
 *
 * Each row of an image is made a line once (lines.h) and used while the next one comes from memory.
 */
#include <string.h>

#include "kernels/cpu/conv_depthwise.h"
#include "kernels/cpu/conv_finish.h"

/* A thread's lines of all blocks, and room for a list of kernel rows. */
struct workplace {
    struct cask_line_ring *x, *dy; /* [blocks] */
    struct cask_depthwise_row *rows;
    int thread, begin; /* begin: forward, the first output row that is made here */
};

static struct workplace workplace_of(const struct cask_conv *conv, int thread)
{
    const struct cask_depthwise *dw = conv->state;
    struct cask_line_ring *lines = conv->cpu->block_scratch[thread].data;
    return (struct workplace){lines, lines + dw->blocks,
                              (struct cask_depthwise_row *)(lines + 2 * dw->blocks), thread, 0};
}

/* Channels of block `b` where a group has `each` of them. */
static int first_of(const struct cask_depthwise *dw, int b, int each)
{
    return b * dw->block_groups * each;
}

static int count_of(const struct cask_conv *conv, int b, int each)
{
    const struct cask_depthwise *dw = conv->state;
    int left = conv->desc.groups - b * dw->block_groups;
    return (left < dw->block_groups ? left : dw->block_groups) * each;
}

/* A single line is used as soon as it is made, so one does for all blocks. */
static void open_lines(const struct cask_conv *conv, const struct cask_line_shape *shape,
                       const struct cask_source *source, int each, int ordered_each, void *room,
                       struct cask_line_ring *lines)
{
    const struct cask_depthwise *dw = conv->state;
    const int64_t floats = shape->depth > 1 ? cask_line_ring_floats(shape) : 0;
    for (int b = 0; b < dw->blocks; b++) {
        lines[b] = (struct cask_line_ring){.shape = shape,
                                           .source = source,
                                           .first = first_of(dw, b, each),
                                           .c = count_of(conv, b, each),
                                           .ordered_c = count_of(conv, b, ordered_each),
                                           .room = (float *)room + b * floats};
    }
}

/* ------------------------------------------------------------------ forward */

/* Kernel rows of all rounds on the lines that output row `oh` sees. */
static struct cask_depthwise_block rows_seen(const struct cask_conv *conv, int b,
                                             const struct workplace *at, int oh)
{
    const struct cask_conv_desc *d = &conv->desc;
    const struct cask_depthwise *dw = conv->state;
    const int64_t filled = cask_depthwise_filled(conv, d->out_c);
    const int first = first_of(dw, b, dw->outputs), top = oh * d->stride - d->pad_top;
    struct cask_depthwise_block block = {.rows = at->rows,
                                         .columns = d->kernel_w,
                                         .step = d->stride,
                                         .vector = cask_line_vector(&dw->x),
                                         .weight_step = filled,
                                         .count = conv->out_w,
                                         .c = count_of(conv, b, dw->outputs)};
    int begin = top < 0 ? -top : 0;
    int end = top + d->kernel_h > d->h ? d->h - top : d->kernel_h;
    for (int round = 0; round < dw->inputs; round++) {
        for (int kh = begin; kh < end; kh++) {
            int64_t row = ((int64_t)round * d->kernel_h + kh) * d->kernel_w * filled + first;
            at->rows[block.row_count++] = (struct cask_depthwise_row){
                cask_line_ring_at(&at->x[b], round, top + kh), dw->weight + row, NULL};
        }
    }
    return block;
}

struct forward_run {
    const struct cask_conv *conv;
    const struct cask_source *x;
    const float *bias;
    void *y;
    const struct cask_sink *sink;
    const struct cask_finish *finish; /* NULL: nothing */
};

/* Output rows [begin, end) of one block; `first` is the first one's first pixel. */
static void forward_block(const struct forward_run *run, const struct workplace *at, int b,
                          int begin, int end, int64_t first)
{
    const struct cask_conv *conv = run->conv;
    const struct cask_depthwise *dw = conv->state;
    const int64_t c = conv->desc.out_c;
    const int channel = first_of(dw, b, dw->outputs);
    const int64_t ahead = conv->out_w * c * (int64_t)cask_dtype_size(conv->cpu->dtype);
    const struct cask_line line = {
        .step = c, .pixels = conv->out_w, .c = count_of(conv, b, dw->outputs)};
    for (int oh = begin; oh < end; oh++, first += conv->out_w) {
        const struct cask_depthwise_block block = rows_seen(conv, b, at, oh);
        void *y = cask_at(run->y, conv->cpu->dtype, first * c + channel);
        run->x->kernels->depthwise->correlate(
            &block, run->bias != NULL ? run->bias + channel : NULL, y, c, ahead, false);
        if (oh == at->begin) {
            cask_sink_origin(run->sink, at->thread, channel, line.c, y);
        }
        cask_sink_line(run->sink, at->thread, channel, y, first, &line);
    }
}

static void forward_band(void *user, int64_t index, int thread)
{
    const struct forward_run *run = user;
    const struct cask_conv *conv = run->conv;
    const struct cask_conv_desc *d = &conv->desc;
    const struct cask_depthwise *dw = conv->state;
    struct workplace at = workplace_of(conv, thread);
    const int64_t image = index / dw->bands;
    const int begin = (int)(index % dw->bands) * dw->rows;
    const int end = begin + dw->rows < conv->out_h ? begin + dw->rows : conv->out_h;
    const int seen = begin * d->stride - d->pad_top;
    open_lines(conv, &dw->x, run->x, dw->inputs, dw->outputs, conv->cpu->read_scratch[thread].data,
               at.x);
    for (int b = 0; b < dw->blocks; b++) {
        cask_line_ring_begin(&at.x[b], image, seen > 0 ? seen : 0);
    }
    at.begin = begin;
    cask_sink_begin(run->sink, index, thread, NULL);
    for (int oh = begin; oh < end; oh += dw->turn) {
        const int stop = oh + dw->turn < end ? oh + dw->turn : end;
        const int64_t first = (image * conv->out_h + oh) * conv->out_w;
        const int64_t pixels = (int64_t)(stop - oh) * conv->out_w;
        for (int b = 0; b < dw->blocks; b++) {
            forward_block(run, &at, b, oh, stop, first);
        }
        if (run->finish != NULL) {
            cask_finish_rows(run->finish, run->y, first, pixels, 0, d->out_c);
        }
        cask_sink_fold(run->sink, index, thread, pixels);
    }
    cask_sink_end(run->sink, index, thread);
}

enum cask_status cask_depthwise_forward(struct cask_conv *conv, const struct cask_source *x,
                                        void *y, struct cask_sink *sink,
                                        const struct cask_finish *finish, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_depthwise *dw = conv->state;
    int64_t bands = (int64_t)conv->desc.n * dw->bands;
    struct forward_run run = {conv, x, conv->desc.bias ? dw->bias : NULL, y, sink, finish};
    CASK_TRY(cask_sink_open(sink, bands, err));
    cask_cpu_for(conv->cpu, bands, forward_band, &run);
    cask_sink_finish(sink);
done:
    return st;
}

/* ----------------------------------------------------------------- backward */

struct backward_run {
    const struct cask_conv *conv;
    const struct cask_conv_gradient *what;
    float *partials;
};

/* Kernel rows whose outputs see row `h` of x, on the lines of dy, for columns of one phase.
 * partial: of dW. */
static struct cask_depthwise_block rows_behind(const struct cask_conv *conv, int b,
                                               const struct workplace *at, int h,
                                               const struct cask_phase *phase, float *partial)
{
    const struct cask_conv_desc *d = &conv->desc;
    const struct cask_depthwise *dw = conv->state;
    const int64_t filled = cask_depthwise_filled(conv, d->in_c);
    struct cask_depthwise_block block = {.rows = at->rows,
                                         .columns = phase->taps,
                                         .step = 1,
                                         .vector = cask_line_vector(&dw->dy),
                                         .weight_step = filled,
                                         .count = phase->count,
                                         .c = count_of(conv, b, dw->inputs)};
    for (int round = 0; round < dw->outputs; round++) {
        for (int kh = (h + d->pad_top) % d->stride; kh < d->kernel_h; kh += d->stride) {
            int oh = (h + d->pad_top - kh) / d->stride;
            if (h + d->pad_top >= kh && oh < conv->out_h) {
                int64_t tap = ((int64_t)round * d->kernel_h + kh) * d->kernel_w + phase->before;
                tap = tap * filled + first_of(dw, b, dw->inputs);
                at->rows[block.row_count++] = (struct cask_depthwise_row){
                    cask_line_ring_at(&at->dy[b], round, oh) +
                        (int64_t)(dw->dy.left + phase->column) * dw->dy.lanes,
                    dw->transposed + tap, partial + tap};
            }
        }
    }
    return block;
}

/* Row `h` of dx, whose first pixel is `pixel`, and what it adds to dW. x: NULL, or its line. */
static void give_row(const struct backward_run *run, const struct workplace *at, int b, int h,
                     int64_t pixel, const float *x, float *partial)
{
    const struct cask_conv *conv = run->conv;
    const struct cask_conv_desc *d = &conv->desc;
    const struct cask_depthwise *dw = conv->state;
    const struct cask_depthwise_kernels *kernels = run->what->dy->kernels->depthwise;
    const int64_t first = pixel * d->in_c + first_of(dw, b, dw->inputs);
    const int64_t ahead = (int64_t)d->w * d->in_c * (int64_t)cask_dtype_size(conv->cpu->dtype);
    for (int i = 0; i < dw->across; i++) {
        const struct cask_phase *phase = &dw->phases[i];
        const struct cask_depthwise_block block = rows_behind(conv, b, at, h, phase, partial);
        void *dx = run->what->dx == NULL ? NULL
                                         : cask_at(run->what->dx, conv->cpu->dtype,
                                                   first + (int64_t)phase->first * d->in_c);
        const struct cask_depthwise_pairs pairs = {
            .x = x != NULL ? x + (int64_t)phase->first * dw->x_back.lanes : NULL,
            .x_vector = cask_line_vector(&dw->x_back),
            .x_pixel = (int64_t)dw->across * dw->x_back.lanes,
            .dx = dx,
            .dx_step = (int64_t)dw->across * d->in_c,
            .ahead = ahead,
            .accumulate = run->what->accumulate};
        if (run->what->dweight != NULL) {
            kernels->pairs(&block, &pairs);
        } else {
            kernels->correlate(&block, NULL, dx, pairs.dx_step, ahead, pairs.accumulate);
        }
    }
}

/* Rows of dx below wait for no more rows of dy once output row `oh` is there. */
static int rows_ready(const struct cask_conv *conv, int oh)
{
    const struct cask_conv_desc *d = &conv->desc;
    int ready = oh + 1 < conv->out_h ? (oh + 1) * d->stride - d->pad_top : d->h;
    return ready < 0 ? 0 : ready < d->h ? ready : d->h;
}

/* Output rows [begin, end) of one block, and the rows of x that wait for no others. */
static void backward_block(const struct backward_run *run, const struct workplace *at, int b,
                           int begin, int end, float *partial)
{
    const struct cask_conv *conv = run->conv;
    const struct cask_conv_desc *d = &conv->desc;
    const struct cask_depthwise *dw = conv->state;
    const int channel = first_of(dw, b, dw->inputs);
    const struct cask_line line = {
        .step = d->in_c, .pixels = d->w, .c = count_of(conv, b, dw->inputs)};
    int64_t pixel = (at->dy[b].image * d->h + (begin > 0 ? rows_ready(conv, begin - 1) : 0)) * d->w;
    for (int oh = begin; oh < end; oh++) {
        (void)cask_line_ring_at(&at->dy[b], 0, oh);
        for (int h = oh > 0 ? rows_ready(conv, oh - 1) : 0; h < rows_ready(conv, oh); h++) {
            const float *x = run->what->dweight != NULL ? cask_line_ring_at(&at->x[b], 0, h) : NULL;
            give_row(run, at, b, h, pixel, x, partial);
            if (run->what->dx != NULL) {
                cask_sink_line(run->what->sink, at->thread, channel,
                               cask_at(run->what->dx, conv->cpu->dtype, pixel * d->in_c + channel),
                               pixel, &line);
            }
            pixel += d->w;
        }
    }
}

static void backward_image(const struct backward_run *run, const struct workplace *at,
                           int64_t image, int64_t group)
{
    const struct cask_conv *conv = run->conv;
    const struct cask_depthwise *dw = conv->state;
    for (int b = 0; b < dw->blocks; b++) {
        cask_line_ring_begin(&at->x[b], image, 0);
        cask_line_ring_begin(&at->dy[b], image, 0);
    }
    for (int oh = 0, given = 0; oh < conv->out_h; oh += dw->turn) {
        const int stop = oh + dw->turn < conv->out_h ? oh + dw->turn : conv->out_h;
        const int ready = rows_ready(conv, stop - 1);
        for (int b = 0; b < dw->blocks; b++) {
            backward_block(run, at, b, oh, stop,
                           run->partials + group * cask_depthwise_transposed(conv));
        }
        if (run->what->dx != NULL) {
            cask_sink_fold(run->what->sink, group, at->thread,
                           (int64_t)(ready - given) * conv->desc.w);
            given = ready;
        }
    }
}

static void backward_group(void *user, int64_t group, int thread)
{
    const struct backward_run *run = user;
    const struct cask_conv *conv = run->conv;
    const struct cask_depthwise *dw = conv->state;
    const int64_t count = cask_depthwise_transposed(conv), n = conv->desc.n;
    const struct workplace at = workplace_of(conv, thread);
    open_lines(conv, &dw->x_back, run->what->x, dw->inputs, dw->inputs,
               conv->cpu->read_scratch[thread].data, at.x);
    open_lines(conv, &dw->dy, run->what->dy, dw->outputs, dw->inputs,
               conv->cpu->gradient_scratch[thread].data, at.dy);
    memset(run->partials + group * count, 0, (size_t)count * sizeof(float));
    if (run->what->dx != NULL) {
        cask_sink_begin(run->what->sink, group, thread, NULL);
    }
    for (int64_t image = group * n / dw->images; image < (group + 1) * n / dw->images; image++) {
        backward_image(run, &at, image, group);
    }
}

enum cask_status cask_depthwise_backward(struct cask_conv *conv,
                                         const struct cask_conv_gradient *what,
                                         struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_depthwise *dw = conv->state;
    struct backward_run run = {conv, what, conv->cpu->shared.data};
    if (what->dx != NULL) {
        CASK_TRY(cask_sink_open(what->sink, dw->images, err));
    }
    cask_cpu_for(conv->cpu, dw->images, backward_group, &run);
    if (what->dweight != NULL) {
        cask_depthwise_add_weights(conv, run.partials, what->dweight);
    }
    if (what->dx != NULL) {
        cask_sink_finish(what->sink);
    }
done:
    return st;
}
