/* train/options.h - everything a run is told, bound once from flags, YAML and --set.
 *
 * What the cache knows (teacher, classes, embedding size, scale) is not here: it comes from its
 * manifest and nowhere else. Head and loss keys belong to the criterion and are bound beside.
 */
#ifndef CASK_TRAIN_OPTIONS_H
#define CASK_TRAIN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/cache.h"
#include "common/config.h"
#include "common/hash.h"
#include "common/status.h"
#include "kernels/kernels.h"
#include "train/criterion.h"
#include "train/schedule.h"

enum cask_decay_group { CASK_DECAY_ALL, CASK_DECAY_NO_BN_BIAS, CASK_DECAY_TFACE };
enum cask_clip_scope { CASK_CLIP_NETWORK, CASK_CLIP_ALL };
enum cask_teacher_mode { CASK_TEACHER_EXACT, CASK_TEACHER_TOPK };
enum cask_data_check { CASK_CHECK_FULL, CASK_CHECK_LABELS };
enum cask_order { CASK_ORDER_SHUFFLED, CASK_ORDER_BALANCED, CASK_ORDER_EKD, CASK_ORDER_TRIPLETS };
enum cask_head_on { CASK_HEAD_ON_ALL, CASK_HEAD_ON_GENERAL };
enum cask_choice { CASK_CHOICE_AUTO, CASK_CHOICE_YES, CASK_CHOICE_NO };

struct cask_student_options {
    const char *net, *init, *preprocess;
    int64_t embedding, input;
};

struct cask_train_options {
    int64_t epochs, batch, seed, max_steps;
    double rate, momentum, weight_decay;
    bool nesterov;
    int decay_on; /* enum cask_decay_group */
    double clip;
    int clip_over; /* enum cask_clip_scope */
    int schedule;  /* enum cask_schedule_kind */
    struct cask_config_reals steps;
    double gamma, poly_power, warmup_epochs;
    int warmup;                      /* enum cask_warmup */
    struct cask_config_texts freeze; /* backbone, bn, patterns of parameter names */
    bool mirror;
    int sampler; /* enum cask_order */
    int64_t identities, per_identity, min_images, bag;
    int head_on; /* enum cask_head_on */
    int64_t threads, loader_threads;
    int precision; /* enum cask_precision */
    const char *backend;
    int teacher_mode; /* enum cask_teacher_mode */
    int verify;       /* enum cask_verify */
    int check_data;   /* enum cask_data_check */
    struct cask_config_texts accept_mismatch;
    int64_t checkpoint_steps, log_steps;
    int save_head; /* enum cask_choice */
};

/* What is looked at during training (train/validation.h). */
struct cask_valid_options {
    struct cask_config_texts pairs, images, bins;
    int64_t every, patience, batch;
    int flip; /* enum cask_flip of eval/eval.h */
};

/* What this call is to do, beside training one student; no part of a run's settings. */
struct cask_call_options {
    const char *sweep, *report;
    bool list;
    int64_t jobs, together;
    struct cask_config_texts only, also;
};

struct cask_train_config {
    const char *config_file, *cache, *data, *out; /* flags; "" where not given */
    const char *cache_sha256; /* of the cache's manifest; "" until cask_run_pin_cache */
    struct cask_student_options student;
    struct cask_train_options train;
    struct cask_valid_options valid;
    struct cask_call_options call;
    struct cask_criterion_config *criterion;
    struct cask_config *rows; /* owns the texts above */
};

/* All defaults bound. The struct is a heap object because the rows point into it. */
enum cask_status cask_train_config_create(struct cask_train_config **config,
                                          struct cask_error *err);
void cask_train_config_free(struct cask_train_config *config); /* accepts NULL */

/* What no single row can check: what must be given, what must be ordered. CASK_ERR_USAGE. */
enum cask_status cask_train_config_check(const struct cask_train_config *config,
                                         struct cask_error *err);

/* Identities in a step's balanced part: train.identities, or as many as fill the batch (ekd: half
 * of it; triplets: the bag). 0 for shuffled images. */
int64_t cask_train_identities(const struct cask_train_options *train);
/* Images in a step's general part; 0 where there is only one part. */
int64_t cask_train_general(const struct cask_train_options *train);

/* The values alone, wherever they are to be used: cask_train_config_check without the paths. */
enum cask_status cask_train_config_check_values(const struct cask_train_config *config,
                                                struct cask_error *err);

/* The resolved text of a config file without the keys that cannot change the bits of the result
 * (paths of this call, intervals, loader threads, checks). Two runs with equal identities are the
 * same run. A cache is known by its hash, and where it lies does not matter; *by_path: the file has
 * none (it is older than 0.2.0), so that the path stands for the cache. Caller frees *text. */
enum cask_status cask_train_config_identity(const char *path, char **text, bool *by_path,
                                            struct cask_error *err);
/* by_path: leaves the hash out, for comparison with such a file. */
enum cask_status cask_train_config_identity_of(const struct cask_train_config *config, bool by_path,
                                               char **text, struct cask_error *err);

#endif
