/* eval/ijb_paired.c - two models on the same templates: every rate, rank and TPIR. */
#include <math.h>

#include "eval/ijb_measure.h"
#include "eval/paired.h"

/* Does the search of a mated probe count for number n of 1:N? */
static bool hit(const struct ijb_variant *v, int n, int gallery,
                const struct cask_ijb_outcome *outcome)
{
    return n < CASK_IJB_RANKS
               ? outcome->rank <= cask_ijb_ranks[n]
               : outcome->rank == 1 &&
                     outcome->score > v->found[gallery].threshold[n - CASK_IJB_RANKS];
}

/* A trial is a probe in a gallery that holds its subject. */
static void count_hits(const struct ijb_task *task, const struct ijb_variant *const v[2],
                       const struct ijb_measured measured[2], int n, struct cask_paired *out)
{
    for (int g = 0; g < task->gallery_count; g++) {
        for (int64_t p = 0; p < task->probes->count; p++) {
            const struct cask_ijb_outcome *a = &measured[0].outcomes[g][p];
            const struct cask_ijb_outcome *b = &measured[1].outcomes[g][p];
            if (a->rank > 0) {
                paired_trial(out, hit(v[0], n, g, a), hit(v[1], n, g, b), 1);
            }
        }
    }
    paired_mcnemar(out);
}

enum cask_status ijb_paired(const struct ijb_task *task, const struct ijb_variant *const v[2],
                            const struct ijb_measured measured[2],
                            struct cask_paired out[IJB_NUMBERS], int *count, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *count = 0;
    for (int n = 0; n < IJB_NUMBERS; n++) {
        bool rate = n < IJB_RATES;
        const struct ijb_draws *a = rate ? &measured[0].pairs : &measured[0].search;
        const struct ijb_draws *b = rate ? &measured[1].pairs : &measured[1].search;
        int64_t place = (int64_t)(rate ? n : n - IJB_RATES) * task->draws;
        char name[40];
        if (!ijb_has_number(v[0], n)) {
            continue;
        }
        struct cask_paired *paired = &out[(*count)++];
        *paired = paired_begin(task->name, v[0]->name, ijb_number_name(n, name),
                               ijb_number(v[0], n), ijb_number(v[1], n));
        if (task->draws > 0) {
            CASK_TRY(paired_draws(paired, a->values + place, b->values + place, task->draws, err));
        }
        if (!rate && !isnan(paired->difference)) { /* TPIR may have no threshold */
            count_hits(task, v, measured, n - IJB_RATES, paired);
        }
    }
done:
    return st;
}
