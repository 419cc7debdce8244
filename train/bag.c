#include "train/bag.h"

#include <inttypes.h>
#include <math.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/rng.h"
#include "common/thread.h"
#include "train/mining.h"

/* Stream of the run's seed: the text in ASCII, room for the bag below. */
#define STREAM_TRIPLET ((uint64_t)0x74726970 << 32) /* "trip" */

/* -------------------------------------------------------------------- open */

enum cask_status cask_bag_open(struct cask_bag *bag, const struct cask_bag_options *options,
                               struct cask_error *err)
{
    *bag = (struct cask_bag){.options = *options};
    bag->images = cask_sampler_batch(&options->sampler);
    bag->pairs = cask_mining_pairs(options->sampler.people, options->sampler.shots);
    if (bag->pairs < 1 || bag->pairs > INT32_MAX / 3) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "expected a bag with 1 to %d pairs of one identity, found %" PRId64
                              ": %d identities with %d images",
                              INT32_MAX / 3, bag->pairs, options->sampler.people,
                              options->sampler.shots);
    }
    const size_t triplets = (size_t)bag->pairs, images = (size_t)bag->images;
    bag->kept = cask_alloc(3 * triplets, sizeof *bag->kept);
    bag->order = cask_alloc(3 * triplets, sizeof *bag->order);
    bag->triplets = cask_alloc(triplets, sizeof *bag->triplets);
    bag->samples = cask_alloc(images, sizeof *bag->samples);
    bag->usable = cask_alloc(images, sizeof *bag->usable);
    bag->cosines = cask_alloc(images * (size_t)options->sampler.shots, sizeof *bag->cosines);
    if (bag->kept == NULL || bag->order == NULL || bag->triplets == NULL || bag->samples == NULL ||
        bag->usable == NULL || bag->cosines == NULL) {
        return cask_error_memory(err, triplets * 3 * (sizeof *bag->kept + sizeof *bag->order),
                                 "a bag of triplets");
    }
    return CASK_OK;
}

enum cask_status cask_bag_connect(struct cask_bag *bag, const struct cask_bag_student *student,
                                  struct cask_error *err)
{
    const size_t count = (size_t)bag->images * (size_t)student->dim;
    bag->student = *student;
    cask_free(bag->unit);
    bag->unit = cask_alloc(count, sizeof *bag->unit);
    return bag->unit != NULL
               ? CASK_OK
               : cask_error_memory(err, count * sizeof *bag->unit, "embeddings of a bag");
}

void cask_bag_close(struct cask_bag *bag)
{
    cask_free(bag->kept);
    cask_free(bag->order);
    cask_free(bag->triplets);
    cask_free(bag->samples);
    cask_free(bag->usable);
    cask_free(bag->cosines);
    cask_free(bag->unit);
    *bag = (struct cask_bag){0};
}

/* -------------------------------------------------------------------- draw */

/* To length 1; false where there is no direction. */
static bool normalise(float *row, int dim)
{
    double squares = 0;
    for (int i = 0; i < dim; i++) {
        squares += (double)row[i] * (double)row[i];
    }
    const double factor = 1 / sqrt(squares);
    for (int i = 0; i < dim; i++) {
        row[i] = (float)((double)row[i] * factor);
    }
    return isfinite(squares) && isfinite(factor);
}

/* A batch of the bag's images becomes rows [first, first + count). */
static enum cask_status embed_batch(struct cask_bag *bag, const struct cask_batch *batch,
                                    int64_t first, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const int dim = bag->student.dim;
    float *rows = bag->unit + first * dim;
    CASK_TRY(bag->student.embed(bag->student.user, batch->pixels, batch->count, rows, err));
    for (int i = 0; i < batch->count; i++) {
        bag->samples[first + i] = batch->samples[i];
        bag->usable[first + i] = normalise(rows + (int64_t)i * dim, dim) && !batch->bad[i];
    }
    CASK_TRY(cask_interrupt_check(err));
done:
    return st;
}

static enum cask_status check_bad(struct cask_bag *bag, const struct cask_loader *loader,
                                  struct cask_error *err)
{
    int64_t index = 0;
    const int64_t bad = cask_loader_bad_count(loader);
    const char *why = cask_loader_bad_message(loader, 0, &index);
    bag->bad_images += bad;
    if (bad * 100 > bag->images) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%" PRId64 " of %" PRId64
                              " images of a bag could not be decoded, over 1 %%; one of them: %s",
                              bad, bag->images, why ? why : "?");
    }
    if (bad > 0) {
        cask_log_warn("%" PRId64 " images of a bag cannot be decoded and are left out: %s", bad,
                      why ? why : "?");
    }
    return CASK_OK;
}

/* All images of bag `number` through the student. */
static enum cask_status embed(struct cask_bag *bag, int64_t number, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_loader *loader = NULL;
    struct cask_batch *batch = NULL;
    const struct cask_loader_options options = {
        .dataset = bag->options.dataset,
        .sampler = bag->options.sampler,
        .preprocess = bag->options.preprocess,
        .batch = bag->options.batch,
        .begin = number * bag->images,
        .end = (number + 1) * bag->images,
        .threads = bag->options.threads,
    };
    CASK_TRY(cask_loader_start(&options, &loader, err));
    for (int64_t first = 0; first < bag->images; first += batch->count) {
        if (batch != NULL) {
            cask_loader_give_back(loader, batch);
        }
        CASK_TRY(cask_loader_next(loader, &batch, err));
        if (batch == NULL) {
            CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL, "the loader of a bag ended early"));
        }
        CASK_TRY(embed_batch(bag, batch, first, err));
    }
    CASK_TRY(check_bad(bag, loader, err));
done:
    if (batch != NULL) {
        cask_loader_give_back(loader, batch);
    }
    cask_loader_stop(loader);
    return st;
}

/* The kept triplets as images, shuffled: what is mined goes from identity to identity. */
static void lay_out(struct cask_bag *bag)
{
    const int64_t count = (int64_t)bag->numbers[CASK_BAG_TRIPLETS];
    const int64_t number = (int64_t)bag->numbers[CASK_BAG_DRAWN] - 1;
    const struct cask_sampler *sampler = &bag->options.sampler;
    for (int64_t i = 0; i < count; i++) {
        const uint64_t from = cask_rng_permute(sampler->seed, STREAM_TRIPLET + (uint64_t)number,
                                               (uint64_t)count, (uint64_t)i);
        for (int64_t j = 0; j < 3; j++) {
            const int64_t place = (int64_t)bag->kept[from * 3 + (uint64_t)j];
            bag->order[3 * i + j] = cask_sampler_at(sampler, number * bag->images + place);
        }
    }
}

static enum cask_status mine(struct cask_bag *bag, int64_t number, int64_t *count,
                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_sampler *sampler = &bag->options.sampler;
    const struct cask_mining mining = {.people = sampler->people,
                                       .shots = sampler->shots,
                                       .dim = bag->student.dim,
                                       .unit = bag->unit,
                                       .samples = bag->samples,
                                       .usable = bag->usable,
                                       .window = bag->options.window,
                                       .seed = sampler->seed,
                                       .bag = (uint64_t)number,
                                       .cosines = bag->cosines};
    CASK_TRY(embed(bag, number, err));
    CASK_TRY(cask_mining_run(&mining, bag->student.device, bag->triplets, count, err));
    cask_log_info("bag %" PRId64 ": %" PRId64 " images, %" PRId64 " triplets of %" PRId64 " pairs",
                  number + 1, bag->images, *count, bag->pairs);
done:
    return st;
}

/* The bag in use changes only when all of the next one is known, so that a run that is stopped in
 * between is saved with what it has. */
static enum cask_status draw(struct cask_bag *bag, int64_t step, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const int64_t drawn = (int64_t)bag->numbers[CASK_BAG_DRAWN];
    int64_t count = 0, tries = 0;
    while (3 * count < bag->options.batch) {
        if (tries == bag->options.max_empty) {
            CASK_TRY(cask_error_set(
                err, CASK_ERR_RANGE,
                "%" PRId64 " bags in a row gave less than the %d triplets of a batch, the last one "
                "%" PRId64 " of %" PRId64 " pairs: take a smaller train.batch, a larger train.bag "
                "or a wider loss.triplet.window",
                tries, bag->options.batch / 3, count, bag->pairs));
        }
        CASK_TRY(mine(bag, drawn + tries, &count, err));
        tries++;
    }
    for (int64_t i = 0; i < 3 * count; i++) {
        bag->kept[i] = bag->triplets[i / 3][i % 3];
    }
    bag->numbers[CASK_BAG_DRAWN] = (double)(drawn + tries);
    bag->numbers[CASK_BAG_STEP] = (double)step;
    bag->numbers[CASK_BAG_TRIPLETS] = (double)count;
    lay_out(bag);
done:
    return st;
}

/* --------------------------------------------------------------------- use */

int64_t cask_bag_steps(const struct cask_bag *bag, int64_t *first)
{
    *first = (int64_t)bag->numbers[CASK_BAG_STEP];
    return *first + 3 * (int64_t)bag->numbers[CASK_BAG_TRIPLETS] / bag->options.batch;
}

enum cask_status cask_bag_prepare(struct cask_bag *bag, int64_t step, bool *fresh,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t first;
    *fresh = step >= cask_bag_steps(bag, &first);
    if (*fresh) {
        CASK_TRY(draw(bag, step, err));
    }
    if (step % bag->options.steps_per_epoch == 0) {
        bag->numbers[CASK_BAG_EPOCH_BAG] = bag->numbers[CASK_BAG_DRAWN] - 1;
    }
done:
    return st;
}

struct cask_sampler cask_bag_order(const struct cask_bag *bag)
{
    int64_t first;
    const int64_t steps = cask_bag_steps(bag, &first) - first;
    return (struct cask_sampler){
        .kind = CASK_SAMPLER_LIST, .count = steps * bag->options.batch, .list = bag->order};
}

enum cask_status cask_bag_coverage(const struct cask_bag *bag, bool of_epoch,
                                   struct cask_coverage *coverage, struct cask_error *err)
{
    const int64_t first = of_epoch ? (int64_t)bag->numbers[CASK_BAG_EPOCH_BAG] : 0;
    const int64_t end = (int64_t)bag->numbers[CASK_BAG_DRAWN];
    return cask_sampler_coverage(&bag->options.sampler, first * bag->images, end * bag->images,
                                 coverage, err);
}

/* ------------------------------------------------------------------- state */

enum cask_status cask_bag_state(struct cask_bag *bag, struct cask_state_list *state,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_state_add(state, "bag.", "numbers", CASK_F64, CASK_BAG_NUMBERS, bag->numbers,
                            NULL, err));
    CASK_TRY(
        cask_state_add(state, "bag.", "triplets", CASK_F64, 3 * bag->pairs, bag->kept, NULL, err));
done:
    return st;
}

enum cask_status cask_bag_restored(struct cask_bag *bag, struct cask_error *err)
{
    const double *numbers = bag->numbers;
    bool good = numbers[CASK_BAG_TRIPLETS] <= (double)bag->pairs;
    for (int i = 0; i < CASK_BAG_NUMBERS; i++) {
        good = good && numbers[i] >= 0 && numbers[i] < 1e15 && numbers[i] == floor(numbers[i]);
    }
    good = good && (numbers[CASK_BAG_TRIPLETS] == 0 || numbers[CASK_BAG_DRAWN] >= 1);
    for (int64_t i = 0; good && i < 3 * (int64_t)numbers[CASK_BAG_TRIPLETS]; i++) {
        good = bag->kept[i] >= 0 && bag->kept[i] < (double)bag->images;
    }
    if (!good) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "the checkpoint's bag.numbers and bag.triplets are not those of a "
                              "bag of %" PRId64 " images",
                              bag->images);
    }
    lay_out(bag);
    return CASK_OK;
}
