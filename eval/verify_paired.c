/* eval/verify_paired.c - two models on the same pairs, by each protocol. */
#include <math.h>

#include "common/mem.h"
#include "common/thread.h"
#include "eval/paired.h"
#include "eval/verification.h"

struct comparison {
    struct cask_verification *a;
    struct trial *trials[2];
    bool *right[2];     /* [pairs] */
    int32_t *weights;   /* [pairs] */
    double *accuracies; /* [2][draws] */
};

/* The accuracies in every draw; both models see the same weights. */
static enum cask_status draw_accuracies(struct comparison *c, const struct trial_kind *kind,
                                        struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_kfold kfold;
    for (int draw = 0; draw < c->a->draws; draw++) {
        CASK_TRY(cask_interrupt_check(err));
        resampler_draw(&c->a->resampler, draw, c->weights);
        for (int s = 0; s < 2; s++) {
            kind->run(c->trials[s], c->weights, &kfold, NULL);
            c->accuracies[s * c->a->draws + draw] = kfold.accuracy;
        }
    }
done:
    return st;
}

static enum cask_status compare(struct comparison *c, enum cask_protocol protocol,
                                struct cask_paired *out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct trial_kind *kind = trial_kind(protocol);
    struct cask_kfold kfolds[2];
    for (int s = 0; s < 2; s++) {
        kind->run(c->trials[s], c->a->weights, &kfolds[s], c->right[s]);
    }
    *out = paired_begin(c->a->name, cask_protocol_name(protocol), "accuracy", kfolds[0].accuracy,
                        kfolds[1].accuracy);
    for (int64_t i = 0; i < c->a->set.count; i++) {
        paired_trial(out, c->right[0][i], c->right[1][i], c->a->weights[i]);
    }
    paired_mcnemar(out);
    CASK_TRY(draw_accuracies(c, kind, err));
    CASK_TRY(paired_draws(out, c->accuracies, c->accuracies + c->a->draws, c->a->draws, err));
done:
    return st;
}

enum cask_status cask_verify_paired(struct cask_verification *a, struct cask_verification *b,
                                    struct cask_paired out[CASK_PROTOCOLS], int *count,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t pairs = (size_t)a->set.count, draws = (size_t)a->draws;
    struct comparison c = {.a = a};
    *count = 0;
    if (a->set.count != b->set.count || a->trial_count != b->trial_count) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL,
                                "a paired test needs the same pairs and protocols for both"));
    }
    c.right[0] = cask_alloc(pairs, sizeof(bool));
    c.right[1] = cask_alloc(pairs, sizeof(bool));
    c.weights = cask_alloc(pairs, sizeof *c.weights);
    c.accuracies = cask_alloc(2 * draws, sizeof *c.accuracies);
    if (c.right[0] == NULL || c.right[1] == NULL || c.weights == NULL || c.accuracies == NULL) {
        CASK_TRY(cask_error_memory(err, 6 * pairs + 16 * draws, "a paired test"));
    }
    for (int i = 0; i < a->trial_count; i++) {
        c.trials[0] = a->trials[i].trial;
        c.trials[1] = b->trials[i].trial;
        CASK_TRY(compare(&c, a->trials[i].protocol, &out[i], err));
        ++*count;
    }
done:
    cask_free(c.right[0]);
    cask_free(c.right[1]);
    cask_free(c.weights);
    cask_free(c.accuracies);
    return st;
}
