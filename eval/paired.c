/* eval/paired.c - two models on the same pairs: who is right where the other is wrong? */
#include <math.h>

#include "common/mem.h"
#include "common/thread.h"
#include "eval/verify.h"

/* McNemar's test, exact: of b + c pairs that only one of two models calls right, the chance of a
 * split at least as uneven as b : c if each side were equally likely. Two-sided. */
static double mcnemar(int64_t b, int64_t c)
{
    int64_t n = b + c, least = b < c ? b : c;
    double sum = 0;
    for (int64_t i = 0; i <= least; i++) {
        sum += exp(lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) -
                   (double)n * log(2));
    }
    return fmin(1, 2 * sum);
}

static void count_right(const struct cask_verification *v, const bool *a, const bool *b,
                        struct cask_paired *out)
{
    for (int64_t i = 0; i < v->set.count; i++) {
        int64_t *cell = a[i] ? (b[i] ? &out->both_right : &out->only_a)
                             : (b[i] ? &out->only_b : &out->both_wrong);
        *cell += v->weights[i];
    }
    out->mcnemar = mcnemar(out->only_a, out->only_b);
}

/* The difference in every draw; both models see the same weights. */
static enum cask_status draw_differences(struct cask_verification *a, struct trial *trial_a,
                                         struct trial *trial_b, struct cask_paired *out,
                                         struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct trial_kind *kind = trial_kind(out->protocol);
    int64_t below = 0, above = 0;
    int32_t *weights = cask_alloc((size_t)a->set.count, sizeof *weights);
    double *differences = cask_alloc((size_t)a->draws, sizeof *differences);
    if (weights == NULL || differences == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)a->set.count * sizeof *weights, "draws"));
    }
    for (int draw = 0; draw < a->draws; draw++) {
        struct cask_kfold kfold_a, kfold_b;
        CASK_TRY(cask_interrupt_check(err));
        resampler_draw(&a->resampler, draw, weights);
        kind->run(trial_a, weights, &kfold_a, NULL);
        kind->run(trial_b, weights, &kfold_b, NULL);
        differences[draw] = kfold_a.accuracy - kfold_b.accuracy;
        below += differences[draw] <= 0;
        above += differences[draw] >= 0;
    }
    out->interval = percentiles(differences, a->draws);
    out->bootstrap = fmin(1, 2.0 * (double)((below < above ? below : above) + 1) / (a->draws + 1));
done:
    cask_free(weights);
    cask_free(differences);
    return st;
}

static enum cask_status compare(struct cask_verification *a, struct cask_verification *b, int index,
                                bool *right_a, bool *right_b, struct cask_paired *out,
                                struct cask_error *err)
{
    struct trial *trial_a = a->trials[index].trial, *trial_b = b->trials[index].trial;
    const struct trial_kind *kind = trial_kind(a->trials[index].protocol);
    struct cask_kfold kfold_a, kfold_b;
    *out = (struct cask_paired){
        .protocol = a->trials[index].protocol, .interval = {NAN, NAN}, .bootstrap = NAN};
    snprintf(out->set, sizeof out->set, "%s", a->name);
    kind->run(trial_a, a->weights, &kfold_a, right_a);
    kind->run(trial_b, a->weights, &kfold_b, right_b);
    out->a = kfold_a.accuracy;
    out->b = kfold_b.accuracy;
    out->difference = out->a - out->b;
    count_right(a, right_a, right_b, out);
    return a->draws > 0 ? draw_differences(a, trial_a, trial_b, out, err) : CASK_OK;
}

enum cask_status cask_verify_paired(struct cask_verification *a, struct cask_verification *b,
                                    struct cask_paired out[CASK_PROTOCOLS], int *count,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t pairs = (size_t)a->set.count;
    bool *right_a = cask_alloc(pairs, sizeof *right_a), *right_b = cask_alloc(pairs, 1);
    *count = 0;
    if (right_a == NULL || right_b == NULL) {
        CASK_TRY(cask_error_memory(err, 2 * pairs, "decisions"));
    }
    if (a->set.count != b->set.count || a->trial_count != b->trial_count) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL,
                                "a paired test needs the same pairs and protocols for both"));
    }
    for (int i = 0; i < a->trial_count; i++) {
        CASK_TRY(compare(a, b, i, right_a, right_b, &out[i], err));
        ++*count;
    }
done:
    cask_free(right_a);
    cask_free(right_b);
    return st;
}
