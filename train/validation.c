#include "train/validation.h"

#include <string.h>

#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"

/* ------------------------------------------------------------- open, close */

static enum cask_status open_set(const struct cask_valid_options *options, int index,
                                 struct cask_pairs **pairs, struct cask_error *err)
{
    enum cask_status st;
    if (index < options->pairs.count) {
        const int folder = index < options->images.count ? index : (options->images.count - 1);
        st = cask_pairs_open_text(options->pairs.values[index], options->images.values[folder],
                                  pairs, err);
    } else {
        st = cask_pairs_open_bin(options->bins.values[index - options->pairs.count], pairs, err);
    }
    if (st != CASK_OK) {
        cask_error_prefix(err, "valid.%s", index < options->pairs.count ? "pairs" : "bin");
    }
    return st;
}

static uint64_t hash_texts(uint64_t hash, const struct cask_config_texts *texts)
{
    for (int i = 0; i < texts->count; i++) {
        uint64_t pair[2] = {hash, cask_xxh3(texts->values[i], strlen(texts->values[i]))};
        hash = cask_xxh3(pair, sizeof pair);
    }
    return hash + 1; /* so that lists cannot run into one another */
}

/* Kept in a checkpoint, whose arrays hold doubles: 52 bits of a hash fit exactly. */
static double settings_number(const struct cask_valid_options *options)
{
    uint64_t hash = hash_texts(0, &options->pairs);
    hash = hash_texts(hash, &options->images);
    hash = hash_texts(hash, &options->bins);
    uint64_t pair[2] = {hash, (uint64_t)options->flip};
    return (double)(cask_xxh3(pair, sizeof pair) >> 12);
}

enum cask_status cask_validation_open(struct cask_validation *validation,
                                      const struct cask_valid_options *options,
                                      const struct cask_preprocess *preprocess, int threads,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const int count = options->pairs.count + options->bins.count;
    *validation = (struct cask_validation){.options = options,
                                           .embed = {.preprocess = *preprocess,
                                                     .flip = (enum cask_flip)options->flip,
                                                     .batch = (int)options->batch,
                                                     .threads = threads},
                                           .result_step = -1,
                                           .settings = settings_number(options)};
    validation->state[CASK_VALID_SETTINGS] = validation->settings;
    if (count == 0) {
        return CASK_OK;
    }
    validation->pairs = cask_alloc((size_t)count, sizeof(struct cask_pairs *));
    validation->results = cask_alloc((size_t)count, sizeof *validation->results);
    if (validation->pairs == NULL || validation->results == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *validation->results,
                                   "verification sets"));
    }
    for (; validation->count < count; validation->count++) {
        CASK_TRY(open_set(options, validation->count, &validation->pairs[validation->count], err));
    }
done:
    return st;
}

void cask_validation_close(struct cask_validation *validation)
{
    for (int i = 0; i < validation->count; i++) {
        cask_pairs_close(validation->pairs[i]);
    }
    cask_free(validation->pairs);
    cask_free(validation->results);
    *validation = (struct cask_validation){0};
}

/* ------------------------------------------------------------------- state */

enum cask_status cask_validation_state(struct cask_validation *validation,
                                       struct cask_state_list *state, struct cask_error *err)
{
    return cask_state_add(state, "validation.", "state", CASK_F64, CASK_VALID_NUMBERS,
                          validation->state, NULL, err);
}

void cask_validation_restored(struct cask_validation *validation)
{
    double *state = validation->state;
    if (validation->count == 0 || state[CASK_VALID_SETTINGS] == validation->settings) {
        return;
    }
    if (state[CASK_VALID_BEST_STEP] > 0) {
        cask_log_warn("the verification sets are not those of before: the best student is looked "
                      "for anew from here on");
    }
    state[CASK_VALID_BEST] = state[CASK_VALID_BEST_STEP] = state[CASK_VALID_SINCE_BEST] = 0;
    state[CASK_VALID_SETTINGS] = validation->settings;
}

bool cask_validation_due(const struct cask_validation *validation, int64_t steps_done)
{
    const int64_t every = validation->count > 0 ? validation->options->every : 0;
    return every > 0 && steps_done % every == 0 &&
           validation->state[CASK_VALID_STEP] < (double)steps_done;
}

bool cask_validation_taken_up(const struct cask_validation *validation)
{
    return validation->state[CASK_VALID_BEST_STEP] > 0 &&
           validation->state[CASK_VALID_STEP] >= (double)validation->result_step;
}

bool cask_validation_is_done(const struct cask_valid_options *options, double settings)
{
    return options->pairs.count + options->bins.count == 0 || settings == settings_number(options);
}

bool cask_validation_exhausted(const struct cask_validation *validation)
{
    return validation->count > 0 && validation->options->patience > 0 &&
           validation->state[CASK_VALID_SINCE_BEST] >= (double)validation->options->patience;
}

/* ---------------------------------------------------------------- evaluate */

enum cask_status cask_validation_evaluate(struct cask_validation *validation, struct cask_net *net,
                                          int64_t steps_done, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const double begin = cask_now();
    validation->embed.net = net;
    validation->result_step = -1;
    for (int i = 0; i < validation->count; i++) {
        CASK_TRY(cask_evaluate_set(validation->pairs[i], &validation->embed,
                                   &validation->results[i], err));
    }
    validation->result_step = steps_done;
    validation->state[CASK_VALID_SECONDS] += cask_now() - begin;
done:
    return st;
}

double cask_validation_mean(const struct cask_validation *validation)
{
    double sum = 0;
    for (int i = 0; i < validation->count; i++) {
        sum += validation->results[i].kfold.accuracy;
    }
    return sum / validation->count;
}

bool cask_validation_accept(struct cask_validation *validation)
{
    double *state = validation->state;
    const double accuracy = cask_validation_mean(validation);
    const bool best = state[CASK_VALID_BEST_STEP] == 0 || accuracy > state[CASK_VALID_BEST];
    state[CASK_VALID_STEP] = (double)validation->result_step;
    if (best) {
        state[CASK_VALID_BEST] = accuracy;
        state[CASK_VALID_BEST_STEP] = (double)validation->result_step;
        state[CASK_VALID_SINCE_BEST] = 0;
    } else {
        state[CASK_VALID_SINCE_BEST] += 1;
    }
    return best;
}

struct cask_json *cask_validation_json(const struct cask_validation *validation, bool best)
{
    struct cask_json *object = cask_json_object(), *sets = cask_json_array();
    cask_json_set_real(object, "accuracy", cask_validation_mean(validation));
    cask_json_set_bool(object, "best", best);
    for (int i = 0; i < validation->count; i++) {
        const struct cask_set_result *result = &validation->results[i];
        struct cask_json *set = cask_json_object();
        cask_json_set_text(set, "name", result->name);
        cask_json_set_real(set, "accuracy", result->kfold.accuracy);
        cask_json_set_real(set, "std", result->kfold.std);
        cask_json_append(sets, set);
    }
    cask_json_set(object, "sets", sets);
    return object;
}
