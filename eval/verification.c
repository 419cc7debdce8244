/* eval/verification.c - see verification.h. */
#include "eval/verification.h"

#include <stdio.h>

#include "common/mem.h"

const double roc_targets[CASK_ROC_TARGETS] = {1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6};

const struct trial_kind *trial_kind(enum cask_protocol protocol)
{
    static const struct trial_kind *const kinds[CASK_PROTOCOLS] = {
        [CASK_PROTOCOL_INSIGHTFACE] = &trial_insightface,
        [CASK_PROTOCOL_FACEXZOO] = &trial_facexzoo,
        [CASK_PROTOCOL_TFACE] = &trial_tface,
        [CASK_PROTOCOL_XIAOCCER] = &trial_xiaoccer,
    };
    return kinds[protocol];
}

void cask_verification_free(struct cask_verification *v)
{
    if (v == NULL) {
        return;
    }
    for (int i = 0; i < v->trial_count; i++) {
        val_scratch_free(v->trials[i].val);
        if (v->trials[i].trial != NULL) {
            trial_kind(v->trials[i].protocol)->free(v->trials[i].trial);
        }
    }
    roc_order_release(&v->order);
    resampler_release(&v->resampler);
    persons_release(&v->persons);
    cask_free(v->pairs);
    cask_free(v->same);
    cask_free(v->weights);
    cask_free(v);
}

enum cask_status verification_create(const struct cask_pairs *pairs, int folds,
                                     struct cask_verification **out, struct cask_error *err)
{
    int64_t count = cask_pairs_count(pairs);
    struct cask_verification *v = cask_alloc(1, sizeof *v);
    *out = v;
    if (v == NULL) {
        return cask_error_memory(err, sizeof *v, "a verification");
    }
    snprintf(v->name, sizeof v->name, "%s", cask_pairs_name(pairs));
    v->pairs = cask_alloc((size_t)count, sizeof *v->pairs);
    v->same = cask_alloc((size_t)count, sizeof *v->same);
    v->weights = cask_alloc((size_t)count, sizeof *v->weights);
    if (v->pairs == NULL || v->same == NULL || v->weights == NULL) {
        return cask_error_memory(err, (size_t)count * sizeof *v->pairs, "pairs");
    }
    for (int64_t i = 0; i < count; i++) {
        v->pairs[i] = *cask_pairs_at(pairs, i);
        v->same[i] = v->pairs[i].same;
        v->weights[i] = 1;
    }
    v->set = (struct trial_pairs){v->pairs, count, folds, v->weights};
    return CASK_OK;
}
