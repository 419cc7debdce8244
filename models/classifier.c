/* The class rows in a checkpoint: what training scripts call them, and which way round they lie.
 * Rows are never normalised on disk; that is left to the caller. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "models/checkpoint.h"
#include "models/classifier.h"

/* In order of preference. PartialFC 1 keeps `weight` and, if all classes are sampled, only
 * `weight_activated`; `kernel` is [D, C]. */
static const char *const names[] = {
    "head.weight",      "head.kernel",      "classifier.weight", "arcface.weight",
    "margin.weight",    "metric_fc.weight", "fc7.weight",        "weight",
    "weight_activated", "kernel",           "arcface.kernel",    "margin.kernel",
};
/* Beside them, of no use without the training run. */
static const char *const companions[] = {
    "weight_mom", "weight_activated_mom", "weight_index", "sample_rate",
    "head.bias",  "classifier.bias",      "head.t"};

enum { NAMES = sizeof names / sizeof *names, COMPANIONS = sizeof companions / sizeof *companions };

bool cask_is_classifier_name(const char *name)
{
    for (int i = 0; i < NAMES; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    for (int i = 0; i < COMPANIONS; i++) {
        if (strcmp(name, companions[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* A name in another map of the file is MAP/KEY. */
static const struct cask_file_tensor *find_in(const struct cask_tensor_list *list, const char *name)
{
    for (int i = 0; i < list->count; i++) {
        const char *slash = strrchr(list->items[i].name, '/');
        const char *key = slash != NULL ? slash + 1 : list->items[i].name;
        if (strcmp(key, name) == 0 && list->items[i].rank == 2) {
            return &list->items[i];
        }
    }
    return NULL;
}

static const struct cask_file_tensor *find(const struct cask_checkpoint *c)
{
    for (int i = 0; i < NAMES; i++) {
        const struct cask_file_tensor *t = find_in(&c->tensors, names[i]);
        t = t != NULL ? t : find_in(&c->others, names[i]);
        if (t != NULL) {
            return t;
        }
    }
    return NULL;
}

static void transpose(const float *columns, int64_t classes, int64_t embedding, float *rows)
{
    for (int64_t r = 0; r < classes; r++) {
        for (int64_t d = 0; d < embedding; d++) {
            rows[r * embedding + d] = columns[d * classes + r];
        }
    }
}

enum cask_status cask_checkpoint_classifier(const struct cask_checkpoint *c, int embedding,
                                            float **centers, int64_t *classes,
                                            struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    float *raw = NULL, *turned = NULL;
    const struct cask_file_tensor *t = find(c);
    *centers = NULL;
    *classes = 0;
    if (t == NULL) {
        goto done;
    }
    const char *last = strrchr(t->name, '.') != NULL ? strrchr(t->name, '.') + 1 : t->name;
    last = strrchr(last, '/') != NULL ? strrchr(last, '/') + 1 : last;
    /* A square matrix is taken the way its name is usually meant. */
    bool as_columns =
        t->shape[0] == embedding && (strcmp(last, "kernel") == 0 || t->shape[1] != embedding);
    int64_t width = as_columns ? t->shape[0] : t->shape[1];
    if (width != embedding || t->count == 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                "%s: classifier \"%s\" is %" PRId64 " x %" PRId64
                                "; expected rows of %d numbers, the network's embedding",
                                c->path, t->name, t->shape[0], t->shape[1], embedding));
    }
    raw = cask_alloc((size_t)t->count, sizeof *raw);
    turned = as_columns ? cask_alloc((size_t)t->count, sizeof *turned) : NULL;
    if (raw == NULL || (as_columns && turned == NULL)) {
        CASK_TRY(cask_error_memory(err, (size_t)t->count * sizeof *raw, "class centres"));
    }
    CASK_TRY(cask_file_tensor_to_f32(t, raw, err));
    st = cask_check_finite(t->name, raw, t->count, err);
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", c->path);
        goto done;
    }
    if (as_columns) {
        transpose(raw, t->shape[1], embedding, turned);
    }
    *classes = as_columns ? t->shape[1] : t->shape[0];
    *centers = as_columns ? turned : raw;
    if (as_columns) {
        turned = NULL;
    } else {
        raw = NULL;
    }
done:
    cask_free(raw);
    cask_free(turned);
    return st;
}
