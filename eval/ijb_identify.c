/* eval/ijb_identify.c - open-set search of probe templates in one gallery. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/thread.h"
#include "eval/ijb.h"

const int cask_ijb_ranks[CASK_IJB_RANKS] = {1, 5, 10};
const double cask_ijb_fpirs[CASK_IJB_FPIRS] = {0.01, 0.1};

struct subject {
    int64_t subject, place; /* in the gallery */
};

struct search {
    const struct cask_ijb_templates *templates;
    const struct cask_ijb_people *gallery, *probes;
    struct subject *by_subject;        /* [gallery->count] */
    struct cask_ijb_outcome *outcomes; /* [probes->count] */
};

static int compare_subjects(const void *a, const void *b)
{
    const struct subject *x = a, *y = b;
    return x->subject < y->subject ? -1 : x->subject > y->subject;
}

static const double *row_of(const struct search *s, const struct cask_ijb_people *people, int64_t i)
{
    return s->templates->rows + (size_t)people->template_index[i] * (size_t)s->templates->dim;
}

static void search_probe(void *user, int64_t index, int worker)
{
    struct search *s = user;
    struct subject wanted = {s->probes->subject[index], 0};
    const struct subject *mate =
        bsearch(&wanted, s->by_subject, (size_t)s->gallery->count, sizeof wanted, compare_subjects);
    const double *probe = row_of(s, s->probes, index);
    int dim = s->templates->dim;
    double mate_score = mate != NULL ? cask_dot(probe, row_of(s, s->gallery, mate->place), dim) : 0;
    double best = -INFINITY;
    int64_t as_good = 0;
    (void)worker;
    for (int64_t g = 0; g < s->gallery->count; g++) {
        if (mate != NULL && g == mate->place) {
            continue;
        }
        double score = cask_dot(probe, row_of(s, s->gallery, g), dim);
        best = score > best ? score : best;
        as_good += score >= mate_score;
    }
    s->outcomes[index] = mate != NULL ? (struct cask_ijb_outcome){mate_score, 1 + as_good}
                                      : (struct cask_ijb_outcome){best, 0};
}

static enum cask_status count_outcomes(const struct search *s, struct cask_ijb_identification *out,
                                       struct cask_error *err)
{
    double *best = cask_alloc((size_t)s->probes->count * 2, sizeof *best);
    if (best == NULL) {
        return cask_error_memory(err, (size_t)s->probes->count * 2 * sizeof *best, "best scores");
    }
    *out =
        (struct cask_ijb_identification){.gallery = s->gallery->count, .probes = s->probes->count};
    for (int64_t p = 0; p < s->probes->count; p++) {
        const struct cask_ijb_outcome *outcome = &s->outcomes[p];
        if (outcome->rank == 0) {
            best[out->nonmated++] = outcome->score;
            continue;
        }
        out->mated++;
        for (int k = 0; k < CASK_IJB_RANKS; k++) {
            out->hits[k] += outcome->rank <= cask_ijb_ranks[k];
        }
    }
    cask_sort_falling(best, out->nonmated, best + s->probes->count);
    for (int f = 0; f < CASK_IJB_FPIRS; f++) {
        int64_t at = (int64_t)((double)out->nonmated * cask_ijb_fpirs[f]) - 1;
        out->threshold[f] = out->nonmated > 0 ? best[at > 0 ? at : 0] : NAN;
        for (int64_t p = 0; p < s->probes->count; p++) {
            out->accepted[f] +=
                s->outcomes[p].rank == 1 && s->outcomes[p].score > out->threshold[f];
        }
    }
    cask_free(best);
    return CASK_OK;
}

enum cask_status cask_ijb_identify(const struct cask_ijb_templates *templates,
                                   const struct cask_ijb_people *gallery,
                                   const struct cask_ijb_people *probes, int threads,
                                   struct cask_ijb_identification *out,
                                   struct cask_ijb_outcome *outcomes, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_pool *pool = NULL;
    struct search s = {templates, gallery, probes, NULL, NULL};
    s.by_subject = cask_alloc((size_t)gallery->count, sizeof *s.by_subject);
    s.outcomes = cask_alloc((size_t)probes->count, sizeof *s.outcomes);
    if (s.by_subject == NULL || s.outcomes == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)(gallery->count + probes->count) * 16, "a search"));
    }
    for (int64_t g = 0; g < gallery->count; g++) {
        s.by_subject[g] = (struct subject){gallery->subject[g], g};
    }
    qsort(s.by_subject, (size_t)gallery->count, sizeof *s.by_subject, compare_subjects);
    CASK_TRY(cask_pool_create(threads > 0 ? threads : cask_cpu_count(), &pool, err));
    cask_pool_run(pool, probes->count, search_probe, &s);
    CASK_TRY(cask_interrupt_check(err));
    CASK_TRY(count_outcomes(&s, out, err));
    if (outcomes != NULL) {
        memcpy(outcomes, s.outcomes, (size_t)probes->count * sizeof *outcomes);
    }
done:
    cask_pool_free(pool);
    cask_free(s.by_subject);
    cask_free(s.outcomes);
    return st;
}
