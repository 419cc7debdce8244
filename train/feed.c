#include "train/feed.h"

#include <string.h>

#include "common/log.h"
#include "common/mem.h"

/* -------------------------------------------------------------------- open */

static enum cask_status open_dataset(struct cask_feed *feed, const char *path,
                                     struct cask_error *err)
{
    struct cask_dataset_options options = {0};
    if (feed->source.cache != NULL) {
        /* precompute may have been told to take the first images only */
        options.limit = feed->source.manifest->images;
        if (path[0] == '\0') {
            path = feed->source.manifest->dataset_path;
        }
    }
    enum cask_status st = cask_dataset_open(path, &options, &feed->dataset, err);
    if (st != CASK_OK &&
        path == (feed->source.cache ? feed->source.manifest->dataset_path : NULL)) {
        cask_error_prefix(err, "the dataset remembered in the cache (give another with --data)");
    }
    return st;
}

static enum cask_status check_labels(struct cask_feed *feed, const char *path,
                                     struct cask_error *err)
{
    int64_t count = cask_dataset_count(feed->dataset);
    for (int64_t i = 0; i < count; i++) {
        uint32_t label = cask_dataset_label(feed->dataset, i);
        if (label == CASK_NO_LABEL) {
            continue;
        }
        feed->labelled++;
        if ((int64_t)label >= feed->classes) {
            char name[256];
            cask_dataset_name(feed->dataset, i, name, sizeof name);
            return cask_error_set(err, CASK_ERR_RANGE,
                                  "%s: label %u is outside the class range [0, %lld)", name, label,
                                  (long long)feed->classes);
        }
    }
    if (feed->labelled == 0 && feed->source.cache == NULL) {
        return cask_error_set(
            err, CASK_ERR_RANGE,
            "%s: no image has a label and there is no --cache: there is nothing to learn from; put "
            "the images of each identity into a folder of its own, or give a cache",
            path);
    }
    return CASK_OK;
}

static enum cask_status open_source(struct cask_feed *feed, const struct cask_train_config *config,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    feed->preprocess = cask_preprocess_default();
    CASK_TRY(cask_preprocess_parse(config->student.preprocess, &feed->preprocess, err));
    if (config->cache[0] != '\0') {
        CASK_TRY(cask_teacher_source_open(&feed->source, config->cache, &config->train, err));
        feed->preprocess.width = feed->source.manifest->preprocess.width;
        feed->preprocess.height = feed->source.manifest->preprocess.height;
    }
    if (config->student.input > 0) {
        feed->preprocess.width = feed->preprocess.height = (int)config->student.input;
    }
    CASK_TRY(open_dataset(feed, config->data, err));
    feed->images = cask_dataset_count(feed->dataset);
    feed->classes = cask_dataset_classes(feed->dataset);
    if (feed->source.cache != NULL) {
        feed->classes = feed->source.manifest->classes;
        st = cask_teacher_source_check(&feed->source, feed->dataset, &config->train, err);
        if (st != CASK_OK) {
            cask_error_prefix(err, "cache %s, data %s", config->cache,
                              config->data[0] != '\0' ? config->data
                                                      : feed->source.manifest->dataset_path);
            goto done;
        }
        CASK_TRY(
            cask_teacher_source_good_rows(&feed->source, &feed->good_rows, &feed->images, err));
    }
done:
    return st;
}

/* The bag of triplets; its sampler is that of feed->sampler until the first bag is drawn. */
static enum cask_status open_bag(struct cask_feed *feed, const struct cask_train_config *config,
                                 struct cask_error *err)
{
    enum { EMPTY_BAGS = 100 };
    const struct cask_bag_options options = {
        .dataset = feed->dataset,
        .sampler = feed->sampler,
        .preprocess = feed->preprocess,
        .batch = (int)feed->options->batch,
        .threads = (int)feed->options->loader_threads,
        .window = cask_config_real(config->rows, "loss.triplet.window"),
        .max_empty = EMPTY_BAGS,
        .steps_per_epoch = feed->steps_per_epoch,
    };
    return cask_bag_open(&feed->bag, &options, err);
}

static bool is_mined(const struct cask_feed *feed)
{
    return feed->options->sampler == CASK_ORDER_TRIPLETS;
}

static enum cask_status make_sampler(struct cask_feed *feed, struct cask_error *err)
{
    static const enum cask_sampler_kind kinds[] = {
        [CASK_ORDER_SHUFFLED] = CASK_SAMPLER_SHUFFLED,
        [CASK_ORDER_BALANCED] = CASK_SAMPLER_BALANCED,
        [CASK_ORDER_EKD] = CASK_SAMPLER_EKD,
        [CASK_ORDER_TRIPLETS] = CASK_SAMPLER_TRIPLETS,
    };
    static const char *const names[] = {
        [CASK_ORDER_BALANCED] = "balanced",
        [CASK_ORDER_EKD] = "ekd",
        [CASK_ORDER_TRIPLETS] = "triplets (of a bag)",
    };
    enum cask_status st = CASK_OK;
    const struct cask_train_options *train = feed->options;
    /* an anchor needs a positive that is another image */
    const int64_t fewest = is_mined(feed) && train->min_images < 2 ? 2 : train->min_images;
    feed->sampler = (struct cask_sampler){.kind = kinds[train->sampler],
                                          .count = feed->images,
                                          .seed = (uint64_t)train->seed,
                                          .mirror = train->mirror,
                                          .subset = feed->good_rows};
    if (train->sampler == CASK_ORDER_SHUFFLED) {
        return CASK_OK;
    }
    CASK_TRY(cask_identities_create(feed->dataset, feed->good_rows, feed->images, fewest,
                                    &feed->identities, err));
    feed->sampler.identities = feed->identities;
    feed->sampler.general = (int)cask_train_general(train);
    feed->sampler.people = (int)cask_train_identities(train);
    feed->sampler.shots = (int)train->per_identity;
    CASK_TRY(cask_sampler_check(&feed->sampler, err));
    cask_log_info("sampler: %s, %d general images and %d identities with %d images each, of %lld "
                  "identities with %lld images",
                  names[train->sampler], feed->sampler.general, feed->sampler.people,
                  feed->sampler.shots, (long long)cask_identities_count(feed->identities),
                  (long long)cask_identities_images(feed->identities));
done:
    if (st != CASK_OK) {
        cask_error_prefix(err, is_mined(feed) ? "train.sampler, train.bag"
                                              : "train.sampler, train.identities");
    }
    return st;
}

enum cask_status cask_feed_open(struct cask_feed *feed, const struct cask_train_config *config,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *feed = (struct cask_feed){.options = &config->train};
    CASK_TRY(open_source(feed, config, err));
    CASK_TRY(check_labels(feed, config->data, err));
    CASK_TRY(make_sampler(feed, err));
    const int64_t length = is_mined(feed) ? cask_identities_images(feed->identities)
                                          : cask_sampler_epoch_length(&feed->sampler);
    feed->steps_per_epoch = length / config->train.batch;
    if (feed->steps_per_epoch == 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE,
                                "train.batch: %lld is more than the %lld images there are",
                                (long long)config->train.batch, (long long)feed->images));
    }
    if (is_mined(feed)) {
        CASK_TRY(open_bag(feed, config, err));
    }
    cask_log_info("data: %s, %lld images, %lld identities, %d x %d",
                  cask_dataset_kind(feed->dataset), (long long)feed->images,
                  (long long)feed->classes, feed->preprocess.width, feed->preprocess.height);
done:
    return st;
}

/* --------------------------------------------------------------------- run */

static void stop_loader(struct cask_feed *feed)
{
    if (feed->loader != NULL) {
        if (feed->batch != NULL) {
            cask_loader_give_back(feed->loader, feed->batch);
        }
        cask_loader_stop(feed->loader);
    }
    feed->loader = NULL;
    feed->batch = NULL;
}

void cask_feed_close(struct cask_feed *feed)
{
    stop_loader(feed);
    cask_bag_close(&feed->bag);
    cask_identities_free(feed->identities);
    cask_free(feed->good_rows);
    cask_dataset_close(feed->dataset);
    cask_teacher_source_close(&feed->source);
    *feed = (struct cask_feed){0};
}

enum cask_status cask_feed_connect(struct cask_feed *feed, const struct cask_bag_student *student,
                                   struct cask_error *err)
{
    return is_mined(feed) ? cask_bag_connect(&feed->bag, student, err) : CASK_OK;
}

enum cask_status cask_feed_state(struct cask_feed *feed, struct cask_state_list *state,
                                 struct cask_error *err)
{
    return is_mined(feed) ? cask_bag_state(&feed->bag, state, err) : CASK_OK;
}

enum cask_status cask_feed_restored(struct cask_feed *feed, struct cask_error *err)
{
    return is_mined(feed) ? cask_bag_restored(&feed->bag, err) : CASK_OK;
}

void cask_feed_seek(struct cask_feed *feed, int64_t step)
{
    stop_loader(feed);
    feed->next_step = step;
}

/* Where a step's batch begins in the sampler's positions. */
static int64_t position_of(const struct cask_feed *feed, int64_t step)
{
    const int64_t batch = feed->options->batch;
    if (is_mined(feed)) {
        int64_t first;
        (void)cask_bag_steps(&feed->bag, &first);
        return (step - first) * batch;
    }
    return step / feed->steps_per_epoch * cask_sampler_epoch_length(&feed->sampler) +
           step % feed->steps_per_epoch * batch;
}

/* The step where the loader's batches end: with the bag in use; with the run, or if that is over,
 * with the epoch. */
static int64_t last_of_loader(const struct cask_feed *feed)
{
    int64_t first, epochs = feed->next_step / feed->steps_per_epoch + 1;
    if (is_mined(feed)) {
        return cask_bag_steps(&feed->bag, &first);
    }
    epochs = epochs > feed->options->epochs ? epochs : feed->options->epochs;
    return epochs * feed->steps_per_epoch;
}

static enum cask_status start_loader(struct cask_feed *feed, struct cask_error *err)
{
    feed->loader_end = last_of_loader(feed);
    const struct cask_loader_options options = {
        .dataset = feed->dataset,
        .sampler = feed->sampler,
        .preprocess = feed->preprocess,
        .batch = (int)feed->options->batch,
        .begin = position_of(feed, feed->next_step),
        .end = position_of(feed, feed->loader_end),
        .drop_last = true,
        .whole_epochs = !is_mined(feed),
        .threads = (int)feed->options->loader_threads,
    };
    feed->announced = feed->next_step;
    return cask_loader_start(&options, &feed->loader, err);
}

static void count_bad(struct cask_feed *feed, const struct cask_batch *batch)
{
    enum { NAMED = 10 };
    feed->images_read += batch->count;
    for (int i = 0; i < batch->count; i++) {
        if (batch->bad[i] && feed->bad_images++ < NAMED) {
            char name[256];
            cask_dataset_name(feed->dataset, batch->samples[i].index, name, sizeof name);
            cask_log_warn("%s: cannot be decoded; another image takes its place", name);
        }
    }
}

static enum cask_status check_bad_share(const struct cask_feed *feed, struct cask_error *err)
{
    int64_t seen = feed->images_read > feed->images ? feed->images_read : feed->images, index = 0;
    if (feed->bad_images * 100 <= seen) {
        return CASK_OK;
    }
    const char *why = cask_loader_bad_message(feed->loader, 0, &index);
    return cask_error_set(err, CASK_ERR_FORMAT,
                          "%lld of %lld images could not be decoded, over 1 %%: is this the right "
                          "dataset, and are its "
                          "images %d x %d? One of them: %s",
                          (long long)feed->bad_images, (long long)seen, feed->preprocess.width,
                          feed->preprocess.height, why ? why : "?");
}

static enum cask_status replace_bad(const struct cask_feed *feed, struct cask_batch *batch,
                                    struct cask_error *err)
{
    const size_t pixels = (size_t)feed->preprocess.width * (size_t)feed->preprocess.height * 3;
    int good = 0;
    while (good < batch->count && batch->bad[good]) {
        good++;
    }
    if (good == batch->count) {
        return cask_error_set(err, CASK_ERR_FORMAT, "no image of a whole batch could be decoded");
    }
    for (int i = 0; i < batch->count; i++) {
        if (!batch->bad[i]) {
            good = i;
            continue;
        }
        memcpy(batch->pixels + (size_t)i * pixels, batch->pixels + (size_t)good * pixels,
               pixels * sizeof(float));
        batch->samples[i] = batch->samples[good];
        batch->labels[i] = batch->labels[good];
    }
    return CASK_OK;
}

/* The loader of a used up bag has been stopped by now. */
static enum cask_status prepare_bag(struct cask_feed *feed, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool fresh = false;
    const int64_t bad = feed->bag.bad_images;
    CASK_TRY(cask_bag_prepare(&feed->bag, feed->next_step, &fresh, err));
    feed->bad_images += feed->bag.bad_images - bad;
    feed->images_read += fresh ? feed->bag.images : 0;
    feed->sampler = cask_bag_order(&feed->bag);
done:
    return st;
}

/* Some batches ahead of the one at hand, but no more than the cache takes. */
static void announce(struct cask_feed *feed)
{
    enum { BATCHES = 8 };
    const int64_t batch = feed->options->batch, after = feed->next_step + 1;
    int64_t ahead = CASK_PREFETCH_ROWS / batch - 1;
    ahead = ahead < 1 ? 1 : ahead > BATCHES ? BATCHES : ahead;
    const int64_t end = after + ahead < feed->loader_end ? after + ahead : feed->loader_end;
    for (int64_t step = feed->announced > after ? feed->announced : after; step < end; step++) {
        const int64_t first = position_of(feed, step);
        cask_teacher_source_ahead(&feed->source, &feed->sampler, first, first + batch);
    }
    feed->announced = end;
}

enum cask_status cask_feed_next(struct cask_feed *feed, const struct cask_batch **batch,
                                const struct cask_teacher **teacher, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    double begin;
    if (feed->loader != NULL && feed->next_step == feed->loader_end) {
        stop_loader(feed);
    }
    if (is_mined(feed)) {
        CASK_TRY(prepare_bag(feed, err));
    }
    begin = cask_now();
    if (feed->loader == NULL) {
        CASK_TRY(start_loader(feed, err));
    }
    if (feed->batch != NULL) {
        cask_loader_give_back(feed->loader, feed->batch);
        feed->batch = NULL;
    }
    CASK_TRY(cask_loader_next(feed->loader, &feed->batch, err));
    if (feed->batch == NULL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL, "step %lld: the loader ended early",
                                (long long)feed->next_step));
    }
    count_bad(feed, feed->batch);
    CASK_TRY(check_bad_share(feed, err));
    CASK_TRY(replace_bad(feed, feed->batch, err));
    *teacher = NULL;
    if (feed->source.cache != NULL) {
        CASK_TRY(cask_teacher_source_gather(&feed->source, feed->batch->samples, feed->batch->count,
                                            err));
        announce(feed);
        *teacher = &feed->source.teacher;
    }
    *batch = feed->batch;
    feed->next_step++;
    feed->waited += cask_now() - begin;
done:
    return st;
}

bool cask_feed_counts_draws(const struct cask_feed *feed)
{
    return feed->identities != NULL;
}

enum cask_status cask_feed_coverage(const struct cask_feed *feed, int64_t first, int64_t end,
                                    struct cask_coverage *coverage, struct cask_error *err)
{
    if (is_mined(feed)) {
        return cask_bag_coverage(&feed->bag, first > 0, coverage, err);
    }
    /* an epoch of such a sampler is whole batches, so steps and positions keep in line */
    return cask_sampler_coverage(&feed->sampler, first * feed->options->batch,
                                 end * feed->options->batch, coverage, err);
}

double cask_feed_stall_seconds(const struct cask_feed *feed)
{
    return feed->waited;
}
