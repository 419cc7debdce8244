/* eval/bootstrap.c - an interval for every number of a set: all of them from the same draws. */
#include <math.h>

#include "common/mem.h"
#include "common/thread.h"
#include "eval/verification.h"

/* The numbers of one draw, in a row of a table. */
enum {
    ACCURACY,
    VAL = ACCURACY + CASK_PROTOCOLS,
    AUC = VAL + CASK_PROTOCOLS,
    EER,
    OPERATING,
    NUMBERS = OPERATING + CASK_ROC_TARGETS
};

struct bootstrap {
    struct cask_verification *v;
    int32_t *weights;        /* [count] */
    double *values[NUMBERS]; /* [draws] each */
    double *table;           /* all of them */
    struct roc roc;
};

static void measure(struct bootstrap *b, int draw)
{
    struct cask_verification *v = b->v;
    struct cask_kfold kfold;
    for (int i = 0; i < v->trial_count; i++) {
        const struct verified *t = &v->trials[i];
        trial_kind(t->protocol)->run(t->trial, b->weights, &kfold, NULL);
        b->values[ACCURACY + i][draw] = kfold.accuracy;
        b->values[VAL + i][draw] =
            t->val != NULL ? val_at_far(t->val, b->weights, v->far).val : (double)NAN;
    }
    roc_fill(&v->order, v->trials[0].trial->cosine, v->same, b->weights, &b->roc);
    b->values[AUC][draw] = 100 * roc_auc(&b->roc);
    b->values[EER][draw] = 100 * roc_eer(&b->roc);
    for (int i = 0; i < CASK_ROC_TARGETS; i++) {
        b->values[OPERATING + i][draw] = 100 * roc_tpr_at(&b->roc, roc_targets[i]);
    }
}

static struct cask_interval interval_of(struct bootstrap *b, int number, int64_t units)
{
    return interval_of_draws(b->values[number], b->v->draws, units);
}

static void fill_intervals(struct bootstrap *b, struct cask_set_result *out)
{
    int64_t most = b->v->resampler.kind == CASK_RESAMPLE_PERSONS ? b->v->resampler.held : INT64_MAX;
    int64_t genuine = out->genuine < most ? out->genuine : most;
    int64_t all = out->pairs < most ? out->pairs : most;
    for (int i = 0; i < out->protocol_count; i++) {
        out->protocols[i].accuracy_interval = interval_of(b, ACCURACY + i, all);
        out->protocols[i].val_interval = interval_of(b, VAL + i, genuine);
    }
    out->auc_interval = interval_of(b, AUC, all);
    out->eer_interval = interval_of(b, EER, genuine);
    for (int i = 0; i < CASK_ROC_TARGETS; i++) {
        out->operating[i].interval = interval_of(b, OPERATING + i, genuine);
    }
}

static void no_intervals(struct cask_set_result *out)
{
    const struct cask_interval none = {NAN, NAN};
    for (int i = 0; i < out->protocol_count; i++) {
        out->protocols[i].accuracy_interval = out->protocols[i].val_interval = none;
    }
    out->auc_interval = out->eer_interval = none;
}

enum cask_status verification_bootstrap(struct cask_verification *v, struct cask_set_result *out,
                                        struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct bootstrap b = {.v = v};
    size_t count = (size_t)v->set.count, draws = (size_t)v->draws;
    no_intervals(out);
    out->persons = v->persons.count;
    if (v->draws == 0) {
        return CASK_OK;
    }
    b.weights = cask_alloc(count, sizeof *b.weights);
    b.roc.points = cask_alloc(count + 1, sizeof *b.roc.points);
    b.table = cask_alloc(draws * NUMBERS, sizeof *b.table);
    if (b.weights == NULL || b.roc.points == NULL || b.table == NULL) {
        CASK_TRY(cask_error_memory(err, count * 28 + draws * NUMBERS * 8, "the bootstrap"));
    }
    for (int i = 0; i < NUMBERS; i++) {
        b.values[i] = b.table + (size_t)i * draws;
    }
    for (int draw = 0; draw < v->draws; draw++) {
        CASK_TRY(cask_interrupt_check(err));
        resampler_draw(&v->resampler, draw, b.weights);
        measure(&b, draw);
    }
    fill_intervals(&b, out);
    if (v->resampler.kind == CASK_RESAMPLE_PERSONS) {
        snprintf(out->interval_line, sizeof out->interval_line,
                 "95 %%: bootstrap over %lld persons, %d draws, seed %llu",
                 (long long)v->resampler.held, v->draws, (unsigned long long)v->resampler.seed);
    } else {
        snprintf(out->interval_line, sizeof out->interval_line,
                 "95 %%: bootstrap over pairs within folds (too narrow where pairs share people), "
                 "%d draws, seed %llu",
                 v->draws, (unsigned long long)v->resampler.seed);
    }
done:
    cask_free(b.weights);
    cask_free(b.roc.points);
    cask_free(b.table);
    return st;
}
