/* data/coverage.c - what a sampler drew, found by drawing it again. */
#include <inttypes.h>

#include "common/mem.h"
#include "data/sampler_impl.h"

struct seen {
    uint64_t *ever;     /* a bit for each image */
    uint64_t *batch[2]; /* in the current batch, by view */
    int64_t *drawn;     /* images of the current batch */
    int64_t count;
};

static bool has(const uint64_t *bits, int64_t index)
{
    return bits[index / 64] >> (index % 64) & 1;
}

static void put(uint64_t *bits, int64_t index)
{
    bits[index / 64] |= UINT64_C(1) << (index % 64);
}

static int64_t image_limit(const struct cask_sampler *sampler)
{
    int64_t limit = sampler->identities != NULL ? sampler->identities->limit : 0;
    for (int64_t i = 0; sampler->list != NULL && i < sampler->count; i++) {
        limit = sampler->list[i].index >= limit ? sampler->list[i].index + 1 : limit;
    }
    for (int64_t i = 0; sampler->subset != NULL && i < sampler->count; i++) {
        limit = sampler->subset[i] >= limit ? sampler->subset[i] + 1 : limit;
    }
    const bool counted = sampler->subset == NULL && sampler->list == NULL;
    return counted && sampler->count > limit ? sampler->count : limit;
}

static void count_draw(struct seen *seen, bool batches, struct cask_sample sample,
                       struct cask_coverage *coverage)
{
    const int64_t index = sample.index;
    coverage->draws++;
    coverage->images += !has(seen->ever, index);
    put(seen->ever, index);
    if (batches) {
        coverage->in_batch += has(seen->batch[0], index) || has(seen->batch[1], index);
        coverage->same_view += has(seen->batch[sample.mirror], index);
        put(seen->batch[sample.mirror], index);
        seen->drawn[seen->count++] = index;
    }
}

static void forget_batch(struct seen *seen)
{
    for (; seen->count > 0; seen->count--) {
        const int64_t word = seen->drawn[seen->count - 1] / 64;
        seen->batch[0][word] = seen->batch[1][word] = 0;
    }
}

static int64_t count_identities(const struct cask_identities *all, const uint64_t *ever)
{
    int64_t count = 0;
    for (int64_t n = 0; all != NULL && n < all->count; n++) {
        bool found = false;
        for (int64_t i = all->offsets[n]; i < all->offsets[n + 1] && !found; i++) {
            found = has(ever, all->members[i]);
        }
        count += found;
    }
    return count;
}

enum cask_status cask_sampler_coverage(const struct cask_sampler *sampler, int64_t begin,
                                       int64_t end, struct cask_coverage *coverage,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    uint64_t *memory = NULL;
    int64_t *drawn = NULL;
    *coverage = (struct cask_coverage){0};
    CASK_TRY(cask_sampler_check(sampler, err));
    if (begin < 0 || end < begin) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE,
                                "coverage of positions [%" PRId64 ", %" PRId64 ")", begin, end));
    }
    const int64_t batch = cask_sampler_batch(sampler);
    const size_t words = (size_t)image_limit(sampler) / 64 + 1;
    memory = cask_alloc(3 * words, sizeof *memory);
    drawn = cask_alloc((size_t)batch + 1, sizeof *drawn);
    if (memory == NULL || drawn == NULL) {
        CASK_TRY(cask_error_memory(err,
                                   3 * words * sizeof *memory + ((size_t)batch + 1) * sizeof *drawn,
                                   "marks of images drawn"));
    }
    struct seen seen = {memory, {memory + words, memory + 2 * words}, drawn, 0};
    for (int64_t position = begin; position < end; position++) {
        const struct cask_sample sample = cask_sampler_at(sampler, position);
        if (batch > 0 && (position == begin || position % batch == 0)) {
            forget_batch(&seen);
        }
        count_draw(&seen, batch > 0, sample, coverage);
    }
    coverage->repeats = coverage->draws - coverage->images;
    coverage->identities = count_identities(sampler->identities, seen.ever);
done:
    cask_free(memory);
    cask_free(drawn);
    return st;
}
