#include "eval/roc.h"

#include <math.h>
#include <stdlib.h>

#include "common/mem.h"

struct scored {
    double score;
    int64_t index;
};

/* Falling score; equal scores by place, so that the order does not depend on qsort. */
static int compare(const void *left, const void *right)
{
    const struct scored *a = left, *b = right;
    if (a->score != b->score) {
        return a->score < b->score ? 1 : -1;
    }
    return a->index < b->index ? -1 : 1;
}

enum cask_status roc_order_create(const double *scores, int64_t count, struct roc_order *order,
                                  struct cask_error *err)
{
    struct scored *sorted = cask_alloc((size_t)count, sizeof *sorted);
    *order = (struct roc_order){cask_alloc((size_t)count, sizeof *order->index), count};
    if (sorted == NULL || order->index == NULL) {
        cask_free(sorted);
        return cask_error_memory(err, (size_t)count * sizeof *sorted, "the order of scores");
    }
    for (int64_t i = 0; i < count; i++) {
        sorted[i] = (struct scored){scores[i], i};
    }
    qsort(sorted, (size_t)count, sizeof *sorted, compare);
    for (int64_t i = 0; i < count; i++) {
        order->index[i] = sorted[i].index;
    }
    cask_free(sorted);
    return CASK_OK;
}

void roc_order_release(struct roc_order *order)
{
    cask_free(order->index);
    *order = (struct roc_order){0};
}

void roc_fill(const struct roc_order *order, const double *scores, const bool *same,
              const int32_t *weights, struct roc *roc)
{
    struct roc_point at = {INFINITY, 0, 0};
    roc->count = 0;
    roc->points[roc->count++] = at;
    for (int64_t i = 0; i < order->count; i++) {
        int64_t pair = order->index[i];
        if (weights[pair] == 0) {
            continue;
        }
        if (scores[pair] != at.score) {
            at.score = scores[pair];
            roc->count++;
        }
        *(same[pair] ? &at.genuine : &at.impostor) += weights[pair];
        roc->points[roc->count - 1] = at;
    }
}

void roc_drop_intermediate(struct roc *roc)
{
    struct roc_point *p = roc->points;
    /* scikit-learn decides before it puts the point (0, 0) in front, so its own first is kept. */
    int64_t kept = roc->count < 2 ? roc->count : 2;
    struct roc_point before = p[kept - 1];
    for (int64_t i = 2; i < roc->count; i++) {
        struct roc_point here = p[i];
        bool last = i + 1 == roc->count;
        if (last || p[i + 1].genuine - here.genuine != here.genuine - before.genuine ||
            p[i + 1].impostor - here.impostor != here.impostor - before.impostor) {
            p[kept++] = here;
        }
        before = here;
    }
    roc->count = kept;
}

static double rate(int64_t part, int64_t whole)
{
    return (double)part / (double)whole;
}

double roc_auc(const struct roc *roc)
{
    const struct roc_point *p = roc->points, *all = &p[roc->count - 1];
    double area = 0;
    for (int64_t i = 1; i < roc->count; i++) {
        area += 0.5 * (double)(p[i].impostor - p[i - 1].impostor) *
                (double)(p[i].genuine + p[i - 1].genuine);
    }
    return area / ((double)all->genuine * (double)all->impostor);
}

double roc_eer(const struct roc *roc)
{
    const struct roc_point *p = roc->points, *all = &p[roc->count - 1];
    if (all->genuine == 0 || all->impostor == 0) {
        return NAN;
    }
    const struct roc_point *nearest = p;
    int64_t smallest = INT64_MAX;
    for (int64_t i = 0; i < roc->count; i++) {
        int64_t gap = p[i].impostor * all->genuine -
                      (all->genuine - p[i].genuine) * all->impostor; /* FPR - FNR, exactly */
        gap = gap < 0 ? -gap : gap;
        if (gap < smallest) {
            smallest = gap;
            nearest = &p[i];
        }
    }
    return (rate(nearest->impostor, all->impostor) + 1 - rate(nearest->genuine, all->genuine)) / 2;
}

double roc_tpr_at(const struct roc *roc, double target)
{
    const struct roc_point *p = roc->points, *all = &p[roc->count - 1];
    double best = all->genuine > 0 && all->impostor > 0 ? 0 : (double)NAN;
    for (int64_t i = 0; i < roc->count && rate(p[i].impostor, all->impostor) <= target; i++) {
        best = rate(p[i].genuine, all->genuine);
    }
    return best;
}

int roc_thin(const struct roc *roc, int most, double *fpr, double *tpr)
{
    const struct roc_point *p = roc->points, *all = &p[roc->count - 1];
    int taken = 0, half = most / 2 - 1;
    double next_log = 0, next_genuine = 0; /* steps, in units of 1 / half of the whole range */
    double logs = log(1 + (double)all->impostor);
    for (int64_t i = 0; i < roc->count; i++) {
        double a = logs > 0 ? log(1 + (double)p[i].impostor) / logs * half : 0;
        double b = all->genuine > 0 ? rate(p[i].genuine, all->genuine) * half : 0;
        bool take = roc->count <= most || i == 0 || i + 1 == roc->count || a >= next_log ||
                    b >= next_genuine;
        if (take && taken < most) {
            fpr[taken] = rate(p[i].impostor, all->impostor);
            tpr[taken++] = rate(p[i].genuine, all->genuine);
            next_log = floor(a) + 1;
            next_genuine = floor(b) + 1;
        }
    }
    return taken;
}
