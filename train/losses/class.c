/* train/losses/class.c - one step at the class attachment: cross-entropy and two-group terms over a
 * B x C matrix of cosines that turns into its own gradient.
 *
 * Rows are independent, so rows are what threads share; all sums over the batch run in row order.
 */
#include "train/losses/losses.h"
#include "train/losses/rows.h"

struct job {
    const struct classes *classes;
    struct two_group **terms;
    int count;
    uint64_t mask;
    int64_t first, width, stride;
    real *out;
};

/* ----------------------------------------------------------- cross-entropy */

/* CurricularFace's hard negatives: x' = x (t + x), dx'/dx = t + 2x, above the row's threshold. */
static void modulate(const real *x, int64_t count, real hard, real t, real *value, real *slope)
{
    SIMD()
    for (int64_t j = 0; j < count; j++) {
        value[j] = x[j] > hard ? x[j] * (t + x[j]) : x[j];
        slope[j] = x[j] > hard ? t + 2 * x[j] : 1;
    }
}

/* Where the label leads, its logarithm is log(1 + others): no digit of a small loss is lost. */
static void finish_row(const struct classes *k, const struct label *label, double others,
                       struct ce_row *ce)
{
    double own = exp((label->margin - ce->max) * k->scale);
    ce->log_sum = own == 1 ? log1p(others) : log(others + own);
    ce->rest = others / (others + own);
}

static void modulated_row_sum(const struct classes *k, const struct label *label, const real *x,
                              struct ce_row *ce)
{
    real value[TILE], slope[TILE];
    double sum = 0;
    for (int64_t first = 0; first < k->count; first += TILE) {
        int64_t width = k->count - first < TILE ? k->count - first : TILE;
        int64_t at = (int64_t)label->at - first;
        modulate(x + first, width, (real)label->hard, (real)k->curricular_t, value, slope);
        if (at >= 0 && at < width) {
            value[at] = REAL_NONE;
        }
        real low = 0, high = REAL_NONE;
        rows_range(value, width, &low, &high);
        if ((double)high > ce->max) {
            sum *= exp((ce->max - (double)high) * k->scale);
            ce->max = (double)high;
        }
        sum += rows_sum_exp(value, width, -1, ce->max, k->scale);
    }
    finish_row(k, label, sum, ce);
}

static void cross_entropy_row(void *user, int64_t row, int worker)
{
    const struct classes *k = ((struct job *)user)->classes;
    const struct label *label = &k->labels[row];
    const real *x = k->x + row * k->count;
    struct ce_row *ce = &k->ce[row];
    (void)worker;
    if (!label->head) {
        return;
    }
    real low = 0, others = REAL_NONE;
    if (label->hard < INFINITY) {
        ce->max = label->margin;
        modulated_row_sum(k, label, x, ce);
        return;
    }
    rows_range(x, label->at, &low, &others);
    rows_range(x + label->at + 1, k->count - label->at - 1, &low, &others);
    /* in double: a float maximum would round the label's own logit */
    ce->max = fmax(label->margin, others > REAL_NONE ? (double)others : label->margin);
    finish_row(k, label, rows_sum_exp(x, k->count, label->at, ce->max, k->scale), ce);
}

static double cross_entropy_value(const struct classes *k)
{
    double sum = 0;
    for (int i = 0; i < k->batch; i++) {
        if (k->labels[i].head) {
            sum += (k->ce[i].max - k->labels[i].margin) * k->scale + k->ce[i].log_sum;
        }
    }
    return k->labelled > 0 ? sum / k->labelled : 0;
}

/* g += dCE/dx on a tile; the label's entry is finished in double. */
static void cross_entropy_tile(const struct classes *k, int64_t row, int64_t first, int64_t width,
                               real *g)
{
    const struct label *label = &k->labels[row];
    if (!label->head) {
        return;
    }
    const real *x = k->x + row * k->count + first;
    real value[TILE], slope[TILE], p[TILE];
    double weight = k->head_options->weight * k->scale / k->labelled;
    int64_t at = (int64_t)label->at - first;
    memset(p, 0, (size_t)width * sizeof *p);
    if (label->hard < INFINITY) {
        modulate(x, width, (real)label->hard, (real)k->curricular_t, value, slope);
        rows_add_exp(value, width, k->scale, k->ce[row].max, k->ce[row].log_sum, p);
        SIMD()
        for (int64_t j = 0; j < width; j++) {
            p[j] *= slope[j];
        }
    } else {
        rows_add_exp(x, width, k->scale, k->ce[row].max, k->ce[row].log_sum, p);
    }
    if (at >= 0 && at < width) {
        p[at] = (real)(-k->ce[row].rest * label->slope);
    }
    const real by = (real)weight;
    SIMD()
    for (int64_t j = 0; j < width; j++) {
        g[j] += by * p[j];
    }
}

/* ------------------------------------------------------------------- steps */

enum cask_status class_begin(struct classes *classes, struct two_group **terms, int count,
                             struct cask_error *err)
{
    struct job job = {.classes = classes, .terms = terms, .count = count};
    enum cask_status st = CASK_OK;
    if (classes->cross_entropy) {
        loss_parallel(classes->pool, classes->batch, cross_entropy_row, &job);
    }
    for (int t = 0; t < count; t++) {
        if (terms[t]->set == SET_CUT) {
            CASK_TRY(terms[t]->select(terms[t], classes, err));
        }
        for (int i = 0; i < classes->batch; i++) {
            two_group_begin(terms[t], classes, i);
        }
    }
done:
    return st;
}

static void stats_row(void *user, int64_t row, int worker)
{
    const struct job *job = user;
    const struct teacher_rows *teacher = job->classes->teacher;
    (void)worker;
    for (int64_t at = 0; at < teacher->count; at += TILE) {
        int width = (int)(teacher->count - at < TILE ? teacher->count - at : TILE);
        for (int t = 0; t < job->count; t++) {
            two_group_add_tile(job->terms[t], job->classes, (int)row, teacher->first + at, width,
                               teacher->chunk + row * teacher->count + at);
        }
    }
}

void class_chunk_stats(const struct classes *classes, struct two_group **terms, int count)
{
    struct job job = {.classes = classes, .terms = terms, .count = count};
    loss_parallel(classes->pool, classes->batch, stats_row, &job);
}

void class_finish(struct classes *classes, struct two_group **terms, int count, double *values)
{
    values[0] = classes->cross_entropy ? cross_entropy_value(classes) : 0;
    for (int t = 0; t < count; t++) {
        double sum = 0;
        for (int i = 0; i < classes->batch; i++) {
            sum += two_group_finish(terms[t], classes, i);
        }
        values[1 + t] = sum / classes->batch;
    }
}

static void gradient_row(void *user, int64_t row, int worker)
{
    const struct job *job = user;
    const struct classes *k = job->classes;
    real g[TILE];
    (void)worker;
    for (int64_t at = 0; at < job->width; at += TILE) {
        int64_t width = job->width - at < TILE ? job->width - at : TILE;
        int64_t first = job->first + at;
        real *out = job->out + row * job->stride + at;
        memset(g, 0, (size_t)width * sizeof *g);
        if (k->cross_entropy && (job->mask & 1)) {
            cross_entropy_tile(k, row, first, width, g);
        }
        for (int t = 0; t < job->count; t++) {
            if (job->mask >> (1 + t) & 1) {
                const real *y =
                    k->teacher->chunk + row * k->teacher->count + (first - k->teacher->first);
                two_group_gradient(job->terms[t], k, (int)row, first, (int)width, y, g);
            }
        }
        const real *scale = k->column_scale;
        if (scale == NULL) {
            memcpy(out, g, (size_t)width * sizeof *g);
            continue;
        }
        SIMD()
        for (int64_t j = 0; j < width; j++) {
            out[j] = g[j] * scale[first + j];
        }
    }
}

void class_gradient(const struct classes *classes, struct two_group **terms, int count,
                    uint64_t mask, int64_t first, int64_t width, real *out, int64_t stride)
{
    struct job job = {.classes = classes,
                      .terms = terms,
                      .count = count,
                      .mask = mask,
                      .first = first,
                      .width = width,
                      .out = out,
                      .stride = stride};
    loss_parallel(classes->pool, classes->batch, gradient_row, &job);
}
