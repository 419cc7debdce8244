/* eval/megaface_paired.c - two models on the same probes and distractors. */
#include "eval/megaface_report.h"
#include "eval/paired.h"

static bool right(const struct cask_megaface_outcome *outcome, int number)
{
    return number == MEGAFACE_TPR ? outcome->accepted : outcome->rank <= number + 1;
}

enum cask_status megaface_paired(const struct megaface_result *const results[2],
                                 struct cask_paired out[MEGAFACE_PAIRED], struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct megaface_result *a = results[0], *b = results[1];
    const int numbers[MEGAFACE_PAIRED] = {0, CASK_MEGAFACE_RANKS - 1, MEGAFACE_TPR};
    for (int i = 0; i < MEGAFACE_PAIRED; i++) {
        int n = numbers[i];
        char name[40];
        out[i] = paired_begin("megaface", a->rule, megaface_number_name(a, n, name),
                              megaface_number(a, n), megaface_number(b, n));
        for (int64_t p = 0; p < a->found.pairs; p++) {
            paired_trial(&out[i], right(&a->draws.outcomes[p], n), right(&b->draws.outcomes[p], n),
                         1);
        }
        paired_mcnemar(&out[i]);
        int64_t place = (int64_t)n * a->draws.draws;
        CASK_TRY(paired_draws(&out[i], a->draws.values + place, b->draws.values + place,
                              a->draws.draws, err));
    }
done:
    return st;
}
