/* eval/val_far.c - insightface's val@FAR: how many genuine pairs pass at a threshold that the other
 * folds' impostors set. */
#include <math.h>

#include "common/mem.h"
#include "eval/trial.h"

enum { THRESHOLDS = 4000 };
static const double step = 0.001;

struct val_scratch {
    const double *distances; /* borrowed */
    const struct trial_pairs *set;
    uint16_t *above;                 /* [count]: first threshold above the distance */
    int64_t (*accepted)[THRESHOLDS]; /* [folds]: impostors of the fold under threshold k */
    int64_t *impostors;              /* [folds] */
};

enum cask_status val_scratch_create(const double *distances, const struct trial_pairs *set,
                                    struct val_scratch **scratch, struct cask_error *err)
{
    size_t count = (size_t)set->count, folds = (size_t)set->folds;
    struct val_scratch *s = cask_alloc(1, sizeof *s);
    *scratch = s;
    if (s == NULL) {
        return cask_error_memory(err, sizeof *s, "val@FAR");
    }
    *s = (struct val_scratch){.distances = distances, .set = set};
    s->above = cask_alloc(count, sizeof *s->above);
    s->accepted = cask_alloc(folds, sizeof *s->accepted);
    s->impostors = cask_alloc(folds, sizeof *s->impostors);
    if (s->above == NULL || s->accepted == NULL || s->impostors == NULL) {
        return cask_error_memory(err, folds * sizeof *s->accepted, "val@FAR");
    }
    for (size_t i = 0; i < count; i++) {
        s->above[i] = (uint16_t)first_threshold_above(distances[i], step, THRESHOLDS);
    }
    return CASK_OK;
}

void val_scratch_free(struct val_scratch *s)
{
    if (s != NULL) {
        cask_free(s->above);
        cask_free(s->accepted);
        cask_free(s->impostors);
        cask_free(s);
    }
}

static void count_impostors(struct val_scratch *s, const int32_t *weights,
                            int64_t total[THRESHOLDS])
{
    const struct trial_pairs *set = s->set;
    for (int f = 0; f < set->folds; f++) {
        int64_t starts[THRESHOLDS + 1] = {0}, sum = 0;
        int64_t end = fold_begin(set->count, set->folds, f + 1);
        s->impostors[f] = 0;
        for (int64_t i = fold_begin(set->count, set->folds, f); i < end; i++) {
            if (!set->pairs[i].same) {
                starts[s->above[i]] += weights[i];
                s->impostors[f] += weights[i];
            }
        }
        for (int k = 0; k < THRESHOLDS; k++) {
            sum += starts[k];
            s->accepted[f][k] = sum;
            total[k] += sum;
        }
    }
}

/* t* of one fold. FAR grows with k, so its maximum is the last, and the last k with FAR <= target
 * is found by going down. */
static double threshold_at_far(const struct val_scratch *s, const int64_t total[THRESHOLDS],
                               int fold, int64_t others, double target)
{
    int k = THRESHOLDS - 1;
#define FAR(k) ((double)(total[k] - s->accepted[fold][k]) / (double)others)
    if (!(FAR(k) >= target)) {
        return 0;
    }
    while (k > 0 && FAR(k) > target) {
        k--;
    }
    if (k == THRESHOLDS - 1) {
        return step * k;
    }
    double low = FAR(k), high = FAR(k + 1);
#undef FAR
    return step * k + (target - low) / (high - low) * (step * (k + 1) - step * k);
}

struct val_far val_at_far(struct val_scratch *s, const int32_t *weights, double target)
{
    const struct trial_pairs *set = s->set;
    int64_t total[THRESHOLDS] = {0}, all = 0;
    double val[CASK_FOLDS_MAX], sum = 0, far = 0, squares = 0;
    count_impostors(s, weights, total);
    for (int f = 0; f < set->folds; f++) {
        all += s->impostors[f];
    }
    for (int f = 0; f < set->folds; f++) {
        int64_t end = fold_begin(set->count, set->folds, f + 1);
        int64_t genuine = 0, impostor = 0, taken = 0, wrong = 0;
        double t = threshold_at_far(s, total, f, all - s->impostors[f], target);
        for (int64_t i = fold_begin(set->count, set->folds, f); i < end; i++) {
            bool accepted = s->distances[i] < t;
            *(set->pairs[i].same ? &genuine : &impostor) += weights[i];
            *(set->pairs[i].same ? &taken : &wrong) += accepted ? weights[i] : 0;
        }
        val[f] = (double)taken / (double)genuine; /* 0 / 0 is NaN, and so is the mean then */
        sum += val[f];
        far += (double)wrong / (double)impostor;
    }
    for (int f = 0; f < set->folds; f++) {
        squares += (val[f] - sum / set->folds) * (val[f] - sum / set->folds);
    }
    return (struct val_far){100 * sum / set->folds, 100 * sqrt(squares / set->folds),
                            far / set->folds};
}
