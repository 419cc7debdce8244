/* eval/ijb_draws_search.c - the bootstrap of 1:N: a probe counts as often as its subject. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/thread.h"
#include "eval/ijb_draws.h"
#include "eval/resample.h"

enum { NUMBERS = CASK_IJB_RANKS + CASK_IJB_FPIRS, GALLERIES = 16 };

struct scored {
    double score;
    int64_t probe;
};

struct search {
    const struct cask_ijb_people *probes;
    struct cask_ijb_outcome *const *outcomes;
    int galleries;
    int64_t *units;            /* [persons]: 0, 1, ... */
    int64_t *person;           /* [probes] */
    int32_t *times;            /* [persons] */
    struct scored *nonmated;   /* [galleries][probes], largest first */
    int64_t counts[GALLERIES]; /* of nonmated */
};

static int compare_subjects(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int compare_scored(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score;
}

static enum cask_status prepare(struct search *s, struct ijb_draws *draws, struct cask_error *err)
{
    size_t count = (size_t)s->probes->count;
    int64_t *subjects = cask_alloc(count, sizeof *subjects), persons = 0;
    s->units = cask_alloc(count, sizeof *s->units);
    s->person = cask_alloc(count, sizeof *s->person);
    s->times = cask_alloc(count, sizeof *s->times);
    s->nonmated = cask_alloc(count * (size_t)s->galleries, sizeof *s->nonmated);
    draws->values = cask_alloc((size_t)draws->draws * NUMBERS, sizeof *draws->values);
    if (subjects == NULL || s->units == NULL || s->person == NULL || s->times == NULL ||
        s->nonmated == NULL || draws->values == NULL) {
        cask_free(subjects);
        return cask_error_memory(err, count * 60 + (size_t)draws->draws * 40, "the bootstrap");
    }
    memcpy(subjects, s->probes->subject, count * sizeof *subjects);
    qsort(subjects, count, sizeof *subjects, compare_subjects);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || subjects[i] != subjects[i - 1]) {
            s->units[persons] = persons;
            subjects[persons++] = subjects[i];
        }
    }
    for (size_t p = 0; p < count; p++) {
        const int64_t *found = bsearch(&s->probes->subject[p], subjects, (size_t)persons,
                                       sizeof *subjects, compare_subjects);
        s->person[p] = found - subjects;
    }
    draws->persons = persons;
    cask_free(subjects);
    for (int g = 0; g < s->galleries; g++) {
        struct scored *list = s->nonmated + (size_t)g * count;
        for (size_t p = 0; p < count; p++) {
            if (s->outcomes[g][p].rank == 0) {
                list[s->counts[g]++] = (struct scored){s->outcomes[g][p].score, (int64_t)p};
            }
        }
        qsort(list, (size_t)s->counts[g], sizeof *list, compare_scored);
    }
    return CASK_OK;
}

/* Element max(int(n x) - 1, 0) of the best scores, each as often as it counts. */
static double threshold_of(const struct search *s, int gallery, int64_t n, double fpir)
{
    const struct scored *list = s->nonmated + (int64_t)gallery * s->probes->count;
    int64_t at = (int64_t)((double)n * fpir) - 1, passed = 0;
    at = at > 0 ? at : 0;
    for (int64_t i = 0; i < s->counts[gallery]; i++) {
        passed += s->times[s->person[list[i].probe]];
        if (passed > at) {
            return list[i].score;
        }
    }
    return NAN;
}

/* Adds one gallery's part: ranks are sums of hits, TPIR a sum of rates. */
static void add_gallery(const struct search *s, int gallery, double *numbers)
{
    const struct cask_ijb_outcome *outcomes = s->outcomes[gallery];
    int64_t mated = 0, nonmated = 0, accepted[CASK_IJB_FPIRS] = {0};
    double threshold[CASK_IJB_FPIRS];
    for (int64_t p = 0; p < s->probes->count; p++) {
        *(outcomes[p].rank > 0 ? &mated : &nonmated) += s->times[s->person[p]];
    }
    for (int f = 0; f < CASK_IJB_FPIRS; f++) {
        threshold[f] = threshold_of(s, gallery, nonmated, cask_ijb_fpirs[f]);
    }
    for (int64_t p = 0; p < s->probes->count; p++) {
        int32_t weight = s->times[s->person[p]];
        for (int k = 0; k < CASK_IJB_RANKS; k++) {
            bool hit = outcomes[p].rank > 0 && outcomes[p].rank <= cask_ijb_ranks[k];
            numbers[k] += hit ? weight : 0;
        }
        for (int f = 0; f < CASK_IJB_FPIRS; f++) {
            bool above = outcomes[p].rank == 1 && outcomes[p].score > threshold[f];
            accepted[f] += above ? weight : 0;
        }
    }
    for (int f = 0; f < CASK_IJB_FPIRS; f++) {
        numbers[CASK_IJB_RANKS + f] +=
            mated > 0 && nonmated > 0 ? (double)accepted[f] / (double)mated : NAN;
    }
}

enum cask_status ijb_draws_search(const struct cask_ijb_people *probes,
                                  struct cask_ijb_outcome *const *outcomes, int galleries,
                                  struct ijb_draws *draws, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct search s = {.probes = probes, .outcomes = outcomes, .galleries = galleries};
    draws->numbers = NUMBERS;
    if (galleries > GALLERIES) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE, "expected at most %d galleries, found %d",
                                GALLERIES, galleries));
    }
    CASK_TRY(prepare(&s, draws, err));
    for (int64_t d = 0; d < draws->draws; d++) {
        double numbers[NUMBERS] = {0};
        CASK_TRY(cask_interrupt_check(err));
        memset(s.times, 0, (size_t)draws->persons * sizeof *s.times);
        resample_units(draws->seed, d, s.units, draws->persons, s.times);
        for (int g = 0; g < galleries; g++) {
            add_gallery(&s, g, numbers);
        }
        int64_t all = 0;
        for (int64_t p = 0; p < probes->count; p++) {
            all += s.times[s.person[p]];
        }
        for (int n = 0; n < NUMBERS; n++) { /* with at least one person drawn, `all` is above 0 */
            double whole = n < CASK_IJB_RANKS ? (double)all : (double)galleries;
            draws->values[(int64_t)n * draws->draws + d] = 100 * numbers[n] / whole;
        }
    }
done:
    cask_free(s.units);
    cask_free(s.person);
    cask_free(s.times);
    cask_free(s.nonmated);
    return st;
}
