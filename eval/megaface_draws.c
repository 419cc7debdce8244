#include "eval/megaface_draws.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/thread.h"
#include "eval/resample.h"

int64_t megaface_allowed(double far, int64_t negatives)
{
    int64_t allowed = (int64_t)(far * (double)negatives);
    while ((double)(allowed + 1) / (double)negatives <= far) {
        allowed++;
    }
    return allowed;
}

static int compare_kept(const void *a, const void *b)
{
    const struct cask_kept *x = a, *y = b;
    return x->value > y->value ? -1 : x->value < y->value;
}

/* A slice that is full has dropped what lies below its smallest: so far down the union is whole. */
static enum cask_status gather(struct megaface_detail *detail, const struct cask_largest *largest,
                               int slices, struct cask_error *err)
{
    int64_t count = 0, whole = 0;
    float floor = -INFINITY;
    detail->all_negatives = true;
    for (int s = 0; s < slices; s++) {
        count += largest[s].count;
        if (largest[s].count == largest[s].capacity) {
            detail->all_negatives = false;
            floor = largest[s].least > floor ? largest[s].least : floor;
        }
    }
    detail->negatives = cask_alloc((size_t)count + 1, sizeof *detail->negatives);
    if (detail->negatives == NULL) {
        return cask_error_memory(err, (size_t)count * sizeof *detail->negatives, "negatives");
    }
    for (int s = 0; s < slices; s++) {
        for (int64_t i = 0; i < largest[s].count; i++) {
            if (largest[s].kept[i].value >= floor) {
                detail->negatives[whole++] = largest[s].kept[i];
            }
        }
    }
    qsort(detail->negatives, (size_t)whole, sizeof *detail->negatives, compare_kept);
    detail->negative_count = whole;
    return CASK_OK;
}

static int64_t identity_end(const struct cask_probes *probes)
{
    int64_t end = 0;
    for (int64_t p = 0; p < probes->count; p++) {
        end = probes->identity[p] >= end ? (int64_t)probes->identity[p] + 1 : end;
    }
    return end;
}

enum cask_status megaface_detail_open(struct megaface_detail *detail,
                                      const struct cask_probes *probes, int64_t distractors,
                                      const struct cask_largest *largest, int slices, bool outcomes,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t count = (size_t)probes->count, identities = (size_t)identity_end(probes);
    int64_t *members = cask_alloc(identities, sizeof *members);
    detail->probes = probes;
    detail->distractors = distractors;
    detail->begin = cask_alloc(count + 1, sizeof *detail->begin);
    detail->next = cask_alloc(count, sizeof *detail->next);
    detail->hits = cask_alloc(count, sizeof *detail->hits);
    if (members == NULL || detail->begin == NULL || detail->next == NULL || detail->hits == NULL) {
        CASK_TRY(cask_error_memory(err, count * 96, "pairs of probes"));
    }
    for (size_t p = 0; p < count; p++) {
        members[probes->identity[p]]++;
    }
    for (size_t p = 0; p < count; p++) {
        detail->next[p] = detail->begin[p];
        detail->begin[p + 1] = detail->begin[p] + members[probes->identity[p]] - 1;
    }
    size_t pairs = (size_t)detail->begin[count];
    detail->scores = cask_alloc(pairs + 1, sizeof *detail->scores);
    detail->outcomes = outcomes ? cask_alloc(pairs, sizeof *detail->outcomes) : NULL;
    if (detail->scores == NULL || (outcomes && detail->outcomes == NULL)) {
        CASK_TRY(cask_error_memory(err, pairs * sizeof *detail->scores, "scores of pairs"));
    }
    CASK_TRY(gather(detail, largest, slices, err));
done:
    cask_free(members);
    return st;
}

void megaface_detail_close(struct megaface_detail *detail)
{
    cask_free(detail->begin);
    cask_free(detail->next);
    cask_free(detail->scores);
    cask_free(detail->hits);
    cask_free(detail->outcomes);
    cask_free(detail->negatives);
    *detail = (struct megaface_detail){0};
}

void megaface_detail_add(struct megaface_detail *detail, int64_t probe, float score,
                         const float *best, bool accepted)
{
    int64_t place = detail->next[probe]++;
    int missed = 0;
    detail->scores[place] = score;
    for (int n = 0; n < CASK_MEGAFACE_RANKS; n++) {
        detail->hits[probe][n] += score >= best[n];
        missed += !(score >= best[n]);
    }
    if (detail->outcomes != NULL) {
        detail->outcomes[place] = (struct cask_megaface_outcome){(uint8_t)(missed + 1), accepted};
    }
}

/* The k-th largest negative of the draw, or, with k = 0, the largest. */
static float threshold_of(const struct megaface_detail *detail, const int32_t *times,
                          int64_t allowed, int64_t *shallow)
{
    int64_t passed = 0, wanted = allowed > 0 ? allowed : 1;
    float last = -INFINITY;
    for (int64_t i = 0; i < detail->negative_count; i++) {
        int32_t weight = times[detail->probes->identity[detail->negatives[i].tag]];
        passed += weight;
        last = weight > 0 ? detail->negatives[i].value : last;
        if (passed >= wanted) {
            return last;
        }
    }
    *shallow += !detail->all_negatives;
    return detail->all_negatives ? -INFINITY : last;
}

static void measure(const struct megaface_detail *detail, const int32_t *times, double far,
                    int64_t draw, struct cask_megaface_draws *draws)
{
    const struct cask_probes *probes = detail->probes;
    int64_t counts[CASK_MEGAFACE_RANKS + 1] = {0}, pairs = 0, drawn = 0;
    for (int64_t p = 0; p < probes->count; p++) {
        drawn += times[probes->identity[p]];
    }
    int64_t allowed = megaface_allowed(far, drawn * detail->distractors);
    float threshold = threshold_of(detail, times, allowed, &draws->shallow);
    for (int64_t p = 0; p < probes->count; p++) {
        int32_t weight = times[probes->identity[p]];
        int64_t accepted = 0;
        for (int64_t i = detail->begin[p]; weight > 0 && i < detail->begin[p + 1]; i++) {
            float score = detail->scores[i];
            accepted += allowed > 0 ? score >= threshold : score > threshold;
        }
        pairs += weight * (detail->begin[p + 1] - detail->begin[p]);
        counts[CASK_MEGAFACE_RANKS] += weight * accepted;
        for (int n = 0; n < CASK_MEGAFACE_RANKS; n++) {
            counts[n] += weight * detail->hits[p][n];
        }
    }
    for (int n = 0; n <= CASK_MEGAFACE_RANKS; n++) {
        draws->values[(int64_t)n * draws->draws + draw] =
            pairs > 0 ? 100.0 * (double)counts[n] / (double)pairs : (double)NAN;
    }
}

enum cask_status megaface_draw(struct megaface_detail *detail, double far,
                               struct cask_megaface_draws *draws, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t most = (size_t)identity_end(detail->probes);
    int32_t *times = cask_alloc(most, sizeof *times);
    int64_t *units = cask_alloc(most, sizeof *units);
    draws->shallow = draws->identities = 0;
    draws->values =
        cask_alloc((size_t)draws->draws * (CASK_MEGAFACE_RANKS + 1), sizeof *draws->values);
    if (times == NULL || units == NULL || draws->values == NULL) {
        CASK_TRY(cask_error_memory(err, most * 12 + (size_t)draws->draws * 88, "the bootstrap"));
    }
    for (int64_t p = 0; p < detail->probes->count; p++) {
        times[detail->probes->identity[p]] = 1;
    }
    for (size_t i = 0; i < most; i++) {
        if (times[i] > 0) {
            units[draws->identities++] = (int64_t)i;
        }
    }
    for (int64_t d = 0; d < draws->draws; d++) {
        CASK_TRY(cask_interrupt_check(err));
        memset(times, 0, most * sizeof *times);
        resample_units(draws->seed, d, units, draws->identities, times);
        measure(detail, times, far, d, draws);
    }
    draws->outcomes = detail->outcomes;
    detail->outcomes = NULL;
done:
    cask_free(times);
    cask_free(units);
    return st;
}
