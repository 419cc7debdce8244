#include "train/options.h"

#include <string.h>

#include "common/mem.h"
#include "common/preprocess.h"

static const char *const schedules[] = {"step", "poly", "cosine", NULL};
static const char *const decay_groups[] = {"all", "no_bn_bias", "tface", NULL};
static const char *const warmups[] = {"linear", "insightface", NULL};
static const char *const clip_scopes[] = {"network", "all", NULL};
static const char *const precisions[] = {"auto", "fp32", "bf16", NULL};
static const char *const teacher_modes[] = {"exact", "topk", NULL};
static const char *const verify_modes[] = {"first", "always", "off", NULL};
static const char *const data_checks[] = {"full", "labels", NULL};
static const char *const samplers[] = {"shuffled", "balanced", "ekd", "triplets", NULL};
static const char *const head_parts[] = {"all", "general", NULL};
static const char *const choices[] = {"auto", "yes", "no", NULL};

#define AT(field) offsetof(struct cask_train_config, field)
static const struct cask_config_row flag_rows[] = {
    {"config", CASK_CONFIG_TEXT, AT(config_file), "", 0, 0, NULL, "FILE",
     "settings in YAML; later flags win"},
    {"cache", CASK_CONFIG_TEXT, AT(cache), "", 0, 0, NULL, "DIR",
     "folder written by precompute; without it the network is trained on labels alone"},
    {"cache_sha256", CASK_CONFIG_TEXT, AT(cache_sha256), "", 0, 0, NULL, "HASH",
     "which cache that must be (cachetool info: sha256), wherever it lies; by default the one that "
     "is there, and config.yaml remembers it"},
    {"data", CASK_CONFIG_TEXT, AT(data), "", 0, 0, NULL, "PATH",
     "training images; by default the path remembered in the cache"},
    {"out", CASK_CONFIG_TEXT, AT(out), "", 0, 0, NULL, "RUN",
     "run folder; one that holds this same run is continued"},
};
#undef AT

#define AT(field) offsetof(struct cask_student_options, field)
static const struct cask_config_row student_rows[] = {
    {"net", CASK_CONFIG_TEXT, AT(net), "mobilefacenet", 0, 0, NULL, "NAME",
     "network to train, one of those above"},
    {"embedding", CASK_CONFIG_INT, AT(embedding), "0", 0, 65536, NULL, "N",
     "numbers in an embedding; 0: the network's own"},
    {"init", CASK_CONFIG_TEXT, AT(init), "", 0, 0, NULL, "FILE",
     "trained weights of the same network to start from: .safetensors, .pth, .pt, .ckpt or .onnx; "
     "default: random from train.seed"},
    {"input", CASK_CONFIG_INT, AT(input), "0", 0, 1024, NULL, "PIXELS",
     "side of the input; 0: the teacher's as the cache says, 112 without a cache"},
    {"preprocess", CASK_CONFIG_TEXT, AT(preprocess), "rgb:127.5:127.5", 0, 0, NULL,
     "ORDER:MEAN:SCALE",
     "channel order, mean and scale of the student's pixels; the teacher's may differ"},
};
#undef AT

#define AT(field) offsetof(struct cask_train_options, field)
static const struct cask_config_row train_rows[] = {
    {"epochs", CASK_CONFIG_INT, AT(epochs), "20", 1, 100000, NULL, "N",
     "passes over the images; an epoch is floor(images / batch) steps"},
    {"batch", CASK_CONFIG_INT, AT(batch), "128", 2, 65536, NULL, "N", "images in a step"},
    {"max_steps", CASK_CONFIG_INT, AT(max_steps), "0", 0, 1e15, NULL, "N",
     "stop after so many steps of the run; the schedule still spans all epochs; 0: no limit"},
    {"seed", CASK_CONFIG_INT, AT(seed), "1", 0, 9e15, NULL, "N",
     "of weights, order and mirror coins"},
    {"lr", CASK_CONFIG_REAL, AT(rate), "0.1", 0, 1000, NULL, "RATE", "base learning rate"},
    {"momentum", CASK_CONFIG_REAL, AT(momentum), "0.9", 0, 0.99999, NULL, NULL, "of SGD"},
    {"nesterov", CASK_CONFIG_BOOL, AT(nesterov), "false", 0, 0, NULL, NULL, "Nesterov momentum"},
    {"weight_decay", CASK_CONFIG_REAL, AT(weight_decay), "5e-4", 0, 10, NULL, NULL,
     "added to the gradient as decay * weight"},
    {"decay_on", CASK_CONFIG_ENUM, AT(decay_on), "all", 0, 0, decay_groups, NULL,
     "all (insightface); no_bn_bias: not on batch norm, PReLU slopes and biases; tface: not on "
     "what has bn in its name"},
    {"freeze", CASK_CONFIG_TEXTS, AT(freeze), "[]", 0, 0, NULL, "WORDS",
     "parameters that stay as they are: backbone (all of the network), bn (gammas and betas), or "
     "patterns such as \"layer1.*\"; batch norms still normalise with the batch, as in PyTorch's "
     "train(), and their statistics follow it"},
    {"clip", CASK_CONFIG_REAL, AT(clip), "0", 0, 1e9, NULL, "NORM",
     "largest global gradient norm; 0: no clipping"},
    {"clip_over", CASK_CONFIG_ENUM, AT(clip_over), "network", 0, 0, clip_scopes, NULL,
     "whose gradients are measured and scaled: network (insightface) or all, class rows too"},
    {"schedule", CASK_CONFIG_ENUM, AT(schedule), "poly", 0, 0, schedules, NULL,
     "step, poly or cosine"},
    {"steps", CASK_CONFIG_REALS, AT(steps), "[]", 0, 1e6, NULL, "EPOCHS",
     "step schedule: epochs at which the rate is multiplied by train.gamma"},
    {"gamma", CASK_CONFIG_REAL, AT(gamma), "0.1", 0, 1, NULL, NULL, "step schedule: factor"},
    {"poly_power", CASK_CONFIG_REAL, AT(poly_power), "1", 0, 10, NULL, NULL,
     "poly schedule: exponent; 1 is a straight line to 0 (insightface), 2 its older form"},
    {"warmup_epochs", CASK_CONFIG_REAL, AT(warmup_epochs), "0", 0, 1e6, NULL, "EPOCHS",
     "the rate grows linearly from 0, step by step"},
    {"warmup", CASK_CONFIG_ENUM, AT(warmup), "linear", 0, 0, warmups, NULL,
     "linear, or insightface: as its scheduler, which gives the very first step the full rate"},
    {"mirror", CASK_CONFIG_BOOL, AT(mirror), "true", 0, 0, NULL, NULL,
     "mirror an image by a fair coin; the cache's view follows the coin"},
    {"sampler", CASK_CONFIG_ENUM, AT(sampler), "shuffled", 0, 0, samplers, NULL,
     "shuffled: a new permutation each epoch; balanced: identities x per_identity images, for "
     "losses over pairs; ekd: a general and a balanced part, the batch is both and an epoch counts "
     "the general one; triplets: for loss.triplet, mined with the student out of bags"},
    {"identities", CASK_CONFIG_INT, AT(identities), "0", 0, 65536, NULL, "N",
     "balanced part: different identities; 0: as many as fill the batch, with ekd half of it, with "
     "triplets the bag"},
    {"per_identity", CASK_CONFIG_INT, AT(per_identity), "4", 1, 65536, NULL, "N",
     "balanced part: images of an identity; one that has fewer gives both views of each, then "
     "repeats"},
    {"min_images", CASK_CONFIG_INT, AT(min_images), "1", 1, 65536, NULL, "N",
     "balanced part: identities with fewer images are left out; 2 for loss.triplet"},
    {"bag", CASK_CONFIG_INT, AT(bag), "7200", 4, 1e8, NULL, "N",
     "triplets: images that the student embeds to mine the next batches' triplets from, "
     "train.per_identity of each identity (18 in the original)"},
    {"head_on", CASK_CONFIG_ENUM, AT(head_on), "general", 0, 0, head_parts, NULL,
     "ekd: the head's cross-entropy counts all images or the general part only (paper and code)"},
    {"teacher_mode", CASK_CONFIG_ENUM, AT(teacher_mode), "exact", 0, 0, teacher_modes, NULL,
     "exact: logits of all classes from embedding and class centres; topk: only what was stored"},
    {"threads", CASK_CONFIG_INT, AT(threads), "0", 0, 1024, NULL, "N",
     "compute threads; 0: all CPUs"},
    {"precision", CASK_CONFIG_ENUM, AT(precision), "auto", 0, 0, precisions, NULL,
     "auto: bf16 where the CPU has AMX, else fp32"},
    {"backend", CASK_CONFIG_TEXT, AT(backend), "cpu", 0, 0, NULL, "NAME",
     "cpu, or ref (the slow oracle)"},
    {"loader_threads", CASK_CONFIG_INT, AT(loader_threads), "0", 0, 256, NULL, "N",
     "threads that decode images; 0: one per CPU, at most 4"},
    {"verify", CASK_CONFIG_ENUM, AT(verify), "first", 0, 0, verify_modes, NULL,
     "checksums of the cache: at first touch, at every read, or off"},
    {"check_data", CASK_CONFIG_ENUM, AT(check_data), "full", 0, 0, data_checks, NULL,
     "full: read every image once and compare the dataset's fingerprint; labels: labels and ids "
     "only"},
    {"accept_mismatch", CASK_CONFIG_TEXTS, AT(accept_mismatch), "[]", 0, 0, NULL, "FIELDS",
     "fingerprint fields that may differ between cache and dataset, by name"},
    {"checkpoint_steps", CASK_CONFIG_INT, AT(checkpoint_steps), "1000", 0, 1e15, NULL, "N",
     "steps between checkpoints; 0: only at the end and on Ctrl-C"},
    {"log_steps", CASK_CONFIG_INT, AT(log_steps), "50", 1, 1e9, NULL, "N",
     "steps between lines of metrics.jsonl"},
    {"save_head", CASK_CONFIG_ENUM, AT(save_head), "auto", 0, 0, choices, NULL,
     "put the class rows into student.safetensors, for use as a teacher; auto: if there is no "
     "cache"},
};
#undef AT

static const char *const flips[] = {"sum", "none", NULL}; /* in the order of enum cask_flip */

#define AT(field) offsetof(struct cask_valid_options, field)
static const struct cask_config_row valid_rows[] = {
    {"pairs", CASK_CONFIG_TEXTS, AT(pairs), "[]", 0, 0, NULL, "FILES",
     "verification sets to look at while training: pairs in LFW's format"},
    {"images", CASK_CONFIG_TEXTS, AT(images), "[]", 0, 0, NULL, "DIRS",
     "the folder of each valid.pairs; the last one serves those that follow"},
    {"bin", CASK_CONFIG_TEXTS, AT(bins), "[]", 0, 0, NULL, "FILES",
     "verification sets to look at: insightface .bin"},
    {"every", CASK_CONFIG_INT, AT(every), "0", 0, 1e15, NULL, "N",
     "steps between validations; 0: only at the end"},
    {"flip", CASK_CONFIG_ENUM, AT(flip), "sum", 0, 0, flips, NULL,
     "embedding of image plus mirror, or of the image alone"},
    {"batch", CASK_CONFIG_INT, AT(batch), "32", 1, 4096, NULL, "N", "images a forward pass"},
    {"patience", CASK_CONFIG_INT, AT(patience), "0", 0, 1e9, NULL, "N",
     "end the run after so many validations without a new best mean accuracy; 0: never"},
};
#undef AT

#define AT(field) offsetof(struct cask_call_options, field)
static const struct cask_config_row call_rows[] = {
    {"sweep", CASK_CONFIG_TEXT, AT(sweep), "", 0, 0, NULL, "FILE",
     "train every row of this file into a folder of its own under --out, then print one table"},
    {"list", CASK_CONFIG_BOOL, AT(list), "false", 0, 0, NULL, NULL,
     "with --sweep: check all rows and print them, train nothing"},
    {"jobs", CASK_CONFIG_INT, AT(jobs), "1", 1, 256, NULL, "N",
     "with --sweep: rows that train at the same time, a process each; set train.threads with it"},
    {"together", CASK_CONFIG_INT, AT(together), "1", 1, 32, NULL, "N",
     "with --sweep: rows that train in one process, fed by the same batches: images are decoded "
     "and "
     "the cache is read once for them"},
    {"only", CASK_CONFIG_TEXTS, AT(only), "[]", 0, 0, NULL, "ROW",
     "with --sweep: only the rows of this name or folder; repeatable"},
    {"also", CASK_CONFIG_TEXTS, AT(also), "[]", 0, 0, NULL, "FILE",
     "train a second run in this process from the same batches; FILE is its config.yaml, with its "
     "out; repeatable"},
    {"report", CASK_CONFIG_TEXT, AT(report), "", 0, 0, NULL, "DIR",
     "write DIR/report.html about the run, or the sweep, in DIR and do nothing else; it may be at "
     "work"},
};
#undef AT

/* Keys with no say in the bits of the result. */
static const char *const silent_keys[][2] = {
    {"config", ""},
    {"out", ""},
    {"train.max_steps", "0"},
    {"train.loader_threads", "0"},
    {"train.verify", "first"},
    {"train.check_data", "full"},
    {"train.checkpoint_steps", "0"},
    {"train.log_steps", "1"},
    {"train.save_head", "auto"},
    {"head.keep_mb", "96"},
    {"head.pack_centers", "true"},
    {"valid.batch", "32"},
};

/* These have a say only where a validation may end the run. */
static const char *const silent_without_patience[][2] = {
    {"valid.pairs", "[]"}, {"valid.images", "[]"}, {"valid.bin", "[]"},
    {"valid.every", "0"},  {"valid.flip", "sum"},
};

enum { OWN_SECTIONS = 5, MAX_SECTIONS = 64 };
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define ROWS(table) (table), COUNT(table)

enum cask_status cask_train_config_create(struct cask_train_config **out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_train_config *config = cask_alloc(1, sizeof *config);
    if (config == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *config, "settings"));
    }
    struct cask_config_section sections[MAX_SECTIONS] = {
        {"", ROWS(flag_rows), config},
        {"", ROWS(call_rows), &config->call},
        {"student.", ROWS(student_rows), &config->student},
        {"train.", ROWS(train_rows), &config->train},
        {"valid.", ROWS(valid_rows), &config->valid},
    };
    CASK_TRY(cask_criterion_config_create(&config->criterion, err));
    size_t count = OWN_SECTIONS;
    count += cask_criterion_config_sections(config->criterion, sections + OWN_SECTIONS,
                                            MAX_SECTIONS - OWN_SECTIONS);
    CASK_TRY(cask_config_create(sections, count, &config->rows, err));
    for (size_t i = 0; i < COUNT(call_rows); i++) {
        cask_config_leave_out(config->rows, call_rows[i].key);
    }
    *out = config;
    config = NULL;
done:
    cask_train_config_free(config);
    return st;
}

void cask_train_config_free(struct cask_train_config *config)
{
    if (config == NULL) {
        return;
    }
    cask_config_free(config->rows);
    cask_criterion_config_free(config->criterion);
    cask_free(config);
}

int64_t cask_train_identities(const struct cask_train_options *train)
{
    if (train->sampler == CASK_ORDER_SHUFFLED || train->identities > 0) {
        return train->sampler == CASK_ORDER_SHUFFLED ? 0 : train->identities;
    }
    const int64_t part = train->sampler == CASK_ORDER_EKD        ? train->batch / 2
                         : train->sampler == CASK_ORDER_TRIPLETS ? train->bag
                                                                 : train->batch;
    return part / train->per_identity;
}

int64_t cask_train_general(const struct cask_train_options *train)
{
    return train->sampler == CASK_ORDER_EKD
               ? train->batch - cask_train_identities(train) * train->per_identity
               : 0;
}

static enum cask_status check_triplets(const struct cask_train_config *config,
                                       struct cask_error *err)
{
    const struct cask_train_options *train = &config->train;
    const long long people = cask_train_identities(train), shots = train->per_identity;
    if (!(cask_config_real(config->rows, "loss.triplet.weight") > 0)) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "train.sampler: triplets are for loss.triplet, whose weight is 0");
    }
    if (people < 2 || shots < 2 || people * shots != train->bag) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "train.bag: expected at least two identities x at least two images "
                              "(train.identities x train.per_identity), found %lld x %lld for a "
                              "bag of %lld",
                              people, shots, (long long)train->bag);
    }
    if (train->batch % 3 != 0) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "train.batch: expected a multiple of three for triplets, found %lld",
                              (long long)train->batch);
    }
    return CASK_OK;
}

static enum cask_status check_sampler(const struct cask_train_options *train,
                                      struct cask_error *err)
{
    const long long people = cask_train_identities(train), shots = train->per_identity;
    const long long batch = train->batch;
    if (train->sampler == CASK_ORDER_BALANCED && people * shots != batch) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "train.batch: expected train.identities x train.per_identity = %lld "
                              "x %lld = %lld, found %lld",
                              people, shots, people * shots, batch);
    }
    if (train->sampler == CASK_ORDER_EKD && (people < 1 || people * shots >= batch)) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "train.batch: a batch of %lld has no room for %lld x %lld balanced "
                              "images beside general ones",
                              batch, people, shots);
    }
    return CASK_OK;
}

static enum cask_status check_valid(const struct cask_valid_options *valid, struct cask_error *err)
{
    const bool sets = valid->pairs.count + valid->bins.count > 0;
    if (valid->pairs.count > 0 && valid->images.count == 0) {
        return cask_error_set(err, CASK_ERR_USAGE, "valid.pairs: %s needs valid.images",
                              valid->pairs.values[0]);
    }
    if (valid->images.count > valid->pairs.count) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "valid.images: expected at most one for each of valid.pairs, found "
                              "%d for %d",
                              valid->images.count, valid->pairs.count);
    }
    if (valid->patience > 0 && (!sets || valid->every == 0)) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "valid.patience: %lld needs valid.every and a set to look at "
                              "(valid.pairs or valid.bin)",
                              (long long)valid->patience);
    }
    if (valid->every > 0 && !sets) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "valid.every: %lld needs a set to look at (valid.pairs or valid.bin)",
                              (long long)valid->every);
    }
    return CASK_OK;
}

enum cask_status cask_train_config_check_values(const struct cask_train_config *config,
                                                struct cask_error *err)
{
    const struct cask_train_options *train = &config->train;
    if (train->schedule == CASK_SCHEDULE_STEP && train->steps.count == 0) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "train.schedule: step needs train.steps, such as [10, 18, 22]");
    }
    for (int i = 1; i < train->steps.count; i++) {
        if (!(train->steps.values[i] > train->steps.values[i - 1])) {
            return cask_error_set(err, CASK_ERR_USAGE,
                                  "train.steps: expected ascending epochs, found %g after %g",
                                  train->steps.values[i], train->steps.values[i - 1]);
        }
    }
    if (!(train->warmup_epochs <= (double)train->epochs)) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "train.warmup_epochs: %g is more than train.epochs, %lld",
                              train->warmup_epochs, (long long)train->epochs);
    }
    if (train->nesterov && !(train->momentum > 0)) {
        return cask_error_set(err, CASK_ERR_USAGE, "train.nesterov needs a train.momentum over 0");
    }
    enum cask_status st = train->sampler == CASK_ORDER_TRIPLETS ? check_triplets(config, err)
                                                                : check_sampler(train, err);
    if (st == CASK_OK) {
        st = check_valid(&config->valid, err);
    }
    if (st != CASK_OK) {
        return st;
    }
    struct cask_preprocess preprocess = cask_preprocess_default();
    st = cask_preprocess_parse(config->student.preprocess, &preprocess, err);
    if (st != CASK_OK) {
        cask_error_prefix(err, "student.preprocess");
    }
    return st;
}

enum cask_status cask_train_config_check(const struct cask_train_config *config,
                                         struct cask_error *err)
{
    if (config->out[0] == '\0') {
        return cask_error_set(err, CASK_ERR_USAGE, "--out: a folder for the run is needed");
    }
    if (config->cache[0] == '\0' && config->data[0] == '\0') {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "--cache or --data is needed: a cache written by precompute, or "
                              "images to train on without a teacher");
    }
    return cask_train_config_check_values(config, err);
}

static enum cask_status silence(struct cask_train_config *config, const char *const keys[][2],
                                size_t count, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (size_t i = 0; i < count; i++) {
        CASK_TRY(cask_config_set_value(config->rows, keys[i][0], keys[i][1], "identity", err));
    }
done:
    return st;
}

/* Takes over `config`. */
static enum cask_status dump_identity(struct cask_train_config *config, bool by_path, char **text,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const char *const not_counted[][2] = {{by_path ? "cache_sha256" : "cache", ""}};
    CASK_TRY(silence(config, silent_keys, COUNT(silent_keys), err));
    CASK_TRY(silence(config, not_counted, 1, err));
    if (config->valid.patience == 0) {
        CASK_TRY(silence(config, silent_without_patience, COUNT(silent_without_patience), err));
    }
    *text = cask_config_dump(config->rows);
    if (*text == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "settings as text"));
    }
done:
    cask_train_config_free(config);
    return st;
}

enum cask_status cask_train_config_identity(const char *path, char **text, bool *by_path,
                                            struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_train_config *config = NULL;
    CASK_TRY(cask_train_config_create(&config, err));
    CASK_TRY(cask_config_load_file(config->rows, path, err));
    *by_path = config->cache_sha256[0] == '\0';
    return dump_identity(config, *by_path, text, err);
done:
    cask_train_config_free(config);
    return st;
}

/* By way of the text: what is bound from a dump is what will be compared next time. */
enum cask_status cask_train_config_identity_of(const struct cask_train_config *config, bool by_path,
                                               char **text, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_train_config *copy = NULL;
    struct cask_yaml file = {0};
    char *dump = cask_config_dump(config->rows);
    if (dump == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "settings as text"));
    }
    CASK_TRY(cask_train_config_create(&copy, err));
    CASK_TRY(cask_yaml_parse("these settings", dump, strlen(dump), &file, err));
    CASK_TRY(cask_config_apply(copy->rows, &file, file.root, NULL, err));
    st = dump_identity(copy, by_path, text, err);
    copy = NULL;
done:
    cask_yaml_close(&file);
    cask_train_config_free(copy);
    cask_free(dump);
    return st;
}
