/* data/sampler.c - what a sampler is asked for: the length of its batches and epochs, the coin of a
 * mirror, and whether it can be served at all. */
#include <inttypes.h>

#include "common/rng.h"
#include "data/sampler_impl.h"

bool cask_sampler_coin(const struct cask_sampler *sampler, uint64_t epoch, int64_t index)
{
    return cask_rng_u64(sampler->seed, STREAM_FLIP + epoch, (uint64_t)index) >> 63 != 0;
}

static bool has_balanced_part(const struct cask_sampler *sampler)
{
    return sampler->kind == CASK_SAMPLER_BALANCED || sampler->kind == CASK_SAMPLER_EKD ||
           sampler->kind == CASK_SAMPLER_TRIPLETS;
}

int64_t cask_sampler_batch(const struct cask_sampler *sampler)
{
    return has_balanced_part(sampler) ? sampler->general + (int64_t)sampler->people * sampler->shots
                                      : 0;
}

int64_t cask_sampler_epoch_length(const struct cask_sampler *sampler)
{
    const int64_t batch = cask_sampler_batch(sampler);
    if (batch == 0) {
        return sampler->count;
    }
    return sampler->kind == CASK_SAMPLER_EKD
               ? sampler->count / sampler->general * batch
               : cask_identities_images(sampler->identities) / batch * batch;
}

static enum cask_status check_balanced(const struct cask_sampler *sampler, struct cask_error *err)
{
    const bool ekd = sampler->kind == CASK_SAMPLER_EKD;
    const int64_t batch = cask_sampler_batch(sampler);
    const int64_t identities = cask_identities_count(sampler->identities);
    if (sampler->people < 1 || sampler->shots < 1 || batch > INT32_MAX ||
        (ekd ? sampler->general < 1 : sampler->general != 0)) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "sampler: a batch of %d general images and %d identities with %d "
                              "images each cannot be made",
                              sampler->general, sampler->people, sampler->shots);
    }
    if (sampler->people > identities) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "sampler: %d different identities in a batch, but only %" PRId64
                              " have images enough; take fewer identities and more images of each",
                              sampler->people, identities);
    }
    const int64_t images = ekd ? sampler->count : cask_identities_images(sampler->identities);
    if (cask_sampler_epoch_length(sampler) == 0) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "sampler: an epoch of %" PRId64
                              " images has not one batch of %" PRId64,
                              images, ekd ? sampler->general : batch);
    }
    return CASK_OK;
}

enum cask_status cask_sampler_check(const struct cask_sampler *sampler, struct cask_error *err)
{
    const bool counts =
        sampler->kind != CASK_SAMPLER_BALANCED && sampler->kind != CASK_SAMPLER_TRIPLETS;
    if (counts && sampler->count < 1) {
        return cask_error_set(err, CASK_ERR_RANGE, "sampler: %" PRId64 " images", sampler->count);
    }
    if ((sampler->kind == CASK_SAMPLER_LIST) != (sampler->list != NULL)) {
        return cask_error_set(err, CASK_ERR_INTERNAL, "sampler: a list goes with LIST only");
    }
    if (!has_balanced_part(sampler)) {
        return CASK_OK;
    }
    if (sampler->identities == NULL) {
        return cask_error_set(err, CASK_ERR_INTERNAL, "sampler: no index of images by identity");
    }
    if (sampler->kind == CASK_SAMPLER_TRIPLETS && sampler->identities->fewest < 2) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "sampler: a bag of triplets takes identities with two images or "
                              "more; the index was made with fewer");
    }
    return check_balanced(sampler, err);
}
