/* data/loader.c - the consumer's side of the loader: start, next, give back, stop. */
#include <limits.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/thread.h"
#include "data/loader_impl.h"
#include "data/sampler_impl.h"

enum { DEFAULT_THREADS = 4, DEFAULT_AHEAD = 4, MOST_THREADS = 256, MOST_AHEAD = 4096 };

/* Batches of a run before `position`; -1: no batch begins there. */
static int64_t batches_before(const struct cask_loader_options *options, int64_t position)
{
    const int64_t length = cask_sampler_epoch_length(&options->sampler),
                  batches = length / options->batch, within = position % length;
    if (batches == 0 || within % options->batch != 0 || within / options->batch >= batches) {
        return -1;
    }
    return position / length * batches + within / options->batch;
}

int64_t cask_loader_position(const struct cask_loader *loader, int64_t number)
{
    const struct cask_loader_options *options = &loader->options;
    if (!options->whole_epochs) {
        return options->begin + number * options->batch;
    }
    const int64_t length = cask_sampler_epoch_length(&options->sampler),
                  batches = length / options->batch, at = loader->first + number;
    return at / batches * length + at % batches * options->batch;
}

int cask_loader_batch_size(const struct cask_loader *loader, int64_t number)
{
    const struct cask_loader_options *options = &loader->options;
    int64_t left = options->end - cask_loader_position(loader, number);
    return left < options->batch ? (int)left : options->batch;
}

static enum cask_status check_sampler(const struct cask_loader_options *options, int64_t images,
                                      struct cask_error *err)
{
    const struct cask_sampler *sampler = &options->sampler;
    enum cask_status st = cask_sampler_check(sampler, err);
    if (st != CASK_OK) {
        return st;
    }
    const int64_t whole = cask_sampler_batch(sampler);
    if (sampler->kind != CASK_SAMPLER_TRIPLETS && whole > 0 &&
        (options->batch != whole || options->begin % whole != 0)) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "loader: batches of %d images from position %lld on, and a sampler "
                              "whose batches have %lld",
                              options->batch, (long long)options->begin, (long long)whole);
    }
    if ((sampler->subset == NULL && sampler->list == NULL && sampler->count > images) ||
        (sampler->identities != NULL && sampler->identities->limit > images)) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "loader: a sampler of %lld images over a dataset of %lld",
                              (long long)sampler->count, (long long)images);
    }
    for (int64_t i = 0; sampler->subset != NULL && i < sampler->count; i++) {
        if (sampler->subset[i] < 0 || sampler->subset[i] >= images) {
            return cask_error_set(err, CASK_ERR_RANGE,
                                  "loader: image %lld in the subset of a dataset of %lld",
                                  (long long)sampler->subset[i], (long long)images);
        }
    }
    for (int64_t i = 0; sampler->list != NULL && i < sampler->count; i++) {
        if (sampler->list[i].index < 0 || sampler->list[i].index >= images) {
            return cask_error_set(err, CASK_ERR_RANGE,
                                  "loader: image %lld in the list for a dataset of %lld",
                                  (long long)sampler->list[i].index, (long long)images);
        }
    }
    return CASK_OK;
}

static enum cask_status check_options(const struct cask_loader_options *options,
                                      struct cask_error *err)
{
    const struct cask_preprocess *pixels = &options->preprocess;
    int64_t images = cask_dataset_count(options->dataset);
    if (options->batch < 1 || options->begin < 0 || options->end < options->begin ||
        options->threads < 0 || options->threads > MOST_THREADS || options->ahead < 0 ||
        options->ahead > MOST_AHEAD) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "loader: batch %d, positions [%lld, %lld), %d threads, %d ahead",
                              options->batch, (long long)options->begin, (long long)options->end,
                              options->threads, options->ahead);
    }
    if (pixels->width < 1 || pixels->height < 1 || pixels->width > 8192 || pixels->height > 8192 ||
        !(pixels->scale > 0)) {
        return cask_error_set(err, CASK_ERR_RANGE, "loader: images of %d x %d pixels, scale %g",
                              pixels->width, pixels->height, pixels->scale);
    }
    enum cask_status st = check_sampler(options, images, err);
    if (st == CASK_OK && options->whole_epochs &&
        (batches_before(options, options->begin) < 0 ||
         batches_before(options, options->end) < 0)) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "loader: no batch of %d of epochs of %lld images begins at %lld or "
                              "%lld",
                              options->batch,
                              (long long)cask_sampler_epoch_length(&options->sampler),
                              (long long)options->begin, (long long)options->end);
    }
    return st;
}

static void count_batches(struct cask_loader *loader)
{
    const struct cask_loader_options *options = &loader->options;
    const int64_t positions = options->end - options->begin;
    if (options->whole_epochs) {
        loader->first = batches_before(options, options->begin);
        loader->batches = batches_before(options, options->end) - loader->first;
    } else {
        loader->batches = positions / options->batch;
        loader->batches += !options->drop_last && positions % options->batch != 0;
    }
}

static enum cask_status create_slots(struct cask_loader *loader, struct cask_error *err)
{
    size_t batch = (size_t)loader->options.batch;
    size_t views = loader->options.both_views ? 2 : 1;
    loader->slots = cask_alloc((size_t)loader->slot_count, sizeof *loader->slots);
    loader->bad = cask_alloc(CASK_LOADER_MESSAGES, sizeof *loader->bad);
    bool good = loader->slots != NULL && loader->bad != NULL;
    for (int i = 0; good && i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        slot->batch.pixels = cask_alloc(batch * views, loader->pixel_count * sizeof(float));
        slot->batch.samples = cask_alloc(batch, sizeof *slot->batch.samples);
        slot->batch.labels = cask_alloc(batch, sizeof *slot->batch.labels);
        slot->batch.bad = cask_alloc(batch, sizeof *slot->batch.bad);
        slot->messages = cask_alloc(batch, sizeof *slot->messages);
        good = slot->batch.pixels != NULL && slot->batch.samples != NULL &&
               slot->batch.labels != NULL && slot->batch.bad != NULL && slot->messages != NULL;
    }
    if (!good) {
        size_t bytes = (size_t)loader->slot_count * batch * views * loader->pixel_count * 4;
        return cask_error_memory(err, bytes, "batches loaded ahead");
    }
    return CASK_OK;
}

static void free_slots(struct cask_loader *loader)
{
    for (int i = 0; loader->slots != NULL && i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        for (int k = 0; slot->messages != NULL && k < loader->options.batch; k++) {
            cask_free(slot->messages[k]);
        }
        cask_free(slot->batch.pixels);
        cask_free(slot->batch.samples);
        cask_free(slot->batch.labels);
        cask_free(slot->batch.bad);
        cask_free(slot->messages);
    }
    for (int i = 0; loader->bad != NULL && i < CASK_LOADER_MESSAGES; i++) {
        cask_free(loader->bad[i].message);
    }
    cask_free(loader->slots);
    cask_free(loader->bad);
}

static enum cask_status start_threads(struct cask_loader *loader, struct cask_error *err)
{
    int wanted = loader->options.threads;
    if (wanted == 0) {
        wanted = cask_cpu_count() < DEFAULT_THREADS ? cask_cpu_count() : DEFAULT_THREADS;
    }
    loader->threads = cask_alloc((size_t)wanted, sizeof *loader->threads);
    if (loader->threads == NULL) {
        return cask_error_memory(err, (size_t)wanted * sizeof *loader->threads, "loader threads");
    }
    while (loader->thread_count < wanted) {
        int errnum = pthread_create(&loader->threads[loader->thread_count], NULL,
                                    cask_loader_worker, loader);
        if (errnum != 0) {
            return cask_error_errno(err, errnum, "cannot start loader thread %d of %d",
                                    loader->thread_count + 1, wanted);
        }
        loader->thread_count++;
    }
    return CASK_OK;
}

enum cask_status cask_loader_start(const struct cask_loader_options *options,
                                   struct cask_loader **out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_loader *loader = NULL;
    *out = NULL;
    CASK_TRY(check_options(options, err));
    loader = cask_alloc(1, sizeof *loader);
    if (loader == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *loader, "a loader"));
    }
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->slot_freed, NULL);
    pthread_cond_init(&loader->slot_ready, NULL);
    loader->options = *options;
    loader->pixel_count =
        (size_t)options->preprocess.width * (size_t)options->preprocess.height * 3;
    count_batches(loader);
    /* one more than are decoded ahead: the one that is lent */
    loader->slot_count = (options->ahead > 0 ? options->ahead : DEFAULT_AHEAD) + 1;
    if (loader->slot_count > loader->batches + 1) {
        loader->slot_count = (int)loader->batches + 1;
    }
    CASK_TRY(create_slots(loader, err));
    CASK_TRY(start_threads(loader, err));
    *out = loader;
    loader = NULL;
done:
    cask_loader_stop(loader);
    return st;
}

/* Moves the messages of a batch into the loader's list. */
static void keep_messages(struct cask_loader *loader, struct slot *slot)
{
    for (int i = 0; i < slot->batch.count; i++) {
        if (!slot->batch.bad[i]) {
            continue;
        }
        if (loader->bad_count < CASK_LOADER_MESSAGES) {
            loader->bad[loader->bad_count] =
                (struct bad_image){slot->batch.samples[i].index, slot->messages[i]};
        } else {
            cask_free(slot->messages[i]);
        }
        slot->messages[i] = NULL;
        loader->bad_count++;
    }
}

enum cask_status cask_loader_next(struct cask_loader *loader, struct cask_batch **batch,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *batch = NULL;
    pthread_mutex_lock(&loader->lock);
    if (loader->next_batch == loader->batches) {
        goto done;
    }
    struct slot *slot = &loader->slots[loader->next_batch % loader->slot_count];
    if (slot->state == SLOT_LENT) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL,
                                "loader: all %d batches are lent; give one back first",
                                loader->slot_count));
    }
    double began = cask_now();
    while (slot->state != SLOT_READY && loader->failed == CASK_OK) {
        pthread_cond_wait(&loader->slot_ready, &loader->lock);
    }
    loader->stall_seconds += cask_now() - began;
    if (loader->failed != CASK_OK) {
        *err = loader->failure;
        CASK_TRY(loader->failed);
    }
    slot->state = SLOT_LENT;
    loader->next_batch++;
    keep_messages(loader, slot);
    *batch = &slot->batch;
done:
    pthread_mutex_unlock(&loader->lock);
    return st;
}

void cask_loader_give_back(struct cask_loader *loader, struct cask_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    struct slot *slot = (struct slot *)batch;
    pthread_mutex_lock(&loader->lock);
    slot->state = SLOT_FREE;
    pthread_cond_broadcast(&loader->slot_freed);
    pthread_mutex_unlock(&loader->lock);
}

void cask_loader_stop(struct cask_loader *loader)
{
    if (loader == NULL) {
        return;
    }
    pthread_mutex_lock(&loader->lock);
    loader->stopping = true;
    pthread_cond_broadcast(&loader->slot_freed);
    pthread_mutex_unlock(&loader->lock);
    for (int i = 0; i < loader->thread_count; i++) {
        pthread_join(loader->threads[i], NULL);
    }
    free_slots(loader);
    cask_free(loader->threads);
    pthread_cond_destroy(&loader->slot_ready);
    pthread_cond_destroy(&loader->slot_freed);
    pthread_mutex_destroy(&loader->lock);
    cask_free(loader);
}

int64_t cask_loader_bad_count(const struct cask_loader *loader)
{
    return loader->bad_count;
}

const char *cask_loader_bad_message(const struct cask_loader *loader, int64_t n, int64_t *index)
{
    if (n < 0 || n >= loader->bad_count || n >= CASK_LOADER_MESSAGES) {
        return NULL;
    }
    *index = loader->bad[n].index;
    return loader->bad[n].message != NULL ? loader->bad[n].message : "out of memory";
}

double cask_loader_stall_seconds(const struct cask_loader *loader)
{
    return loader->stall_seconds;
}
