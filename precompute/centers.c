#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "precompute/precompute.h"

/* Of the tried classes, as many must lie nearest to their own row of the classifier. */
static const double ALIGNED = 0.9;

void centers_release(struct centers *centers)
{
    cask_free(centers->rows);
    *centers = (struct centers){0};
}

/* Rows to unit length; files keep them raw. */
static enum cask_status normalise_rows(float *rows, int64_t classes, int dim, const char *path,
                                       struct cask_error *err)
{
    for (int64_t c = 0; c < classes; c++) {
        float *row = rows + (size_t)c * (size_t)dim;
        double norm;
        if (!unit_row(row, dim, &norm)) {
            return cask_error_set(err, CASK_ERR_FORMAT,
                                  "%s: class centre %lld has norm %g; expected a non-zero row",
                                  path, (long long)c, norm);
        }
    }
    return CASK_OK;
}

/* Centres out of `checkpoint`, if it has a matrix of the right width. */
static enum cask_status take_classifier(const struct cask_checkpoint *checkpoint, int dim,
                                        const char *path, struct centers *centers,
                                        struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_checkpoint_classifier(checkpoint, dim, &centers->rows, &centers->classes, err));
    if (centers->classes > 0) {
        CASK_TRY(normalise_rows(centers->rows, centers->classes, dim, path, err));
    }
done:
    return st;
}

static enum cask_status from_file(const char *path, int dim, int64_t classes,
                                  struct centers *centers, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_checkpoint *checkpoint = NULL;
    CASK_TRY(cask_checkpoint_open(path, &checkpoint, err));
    CASK_TRY(take_classifier(checkpoint, dim, path, centers, err));
    if (centers->classes != classes) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                "%s: expected class centres [%lld, %d], found %lld of them; "
                                "--centers mean needs no file",
                                path, (long long)classes, dim, (long long)centers->classes));
    }
    snprintf(centers->origin, sizeof centers->origin, "file");
done:
    cask_checkpoint_close(checkpoint);
    return st;
}

/* A matrix that cannot be used is no reason to stop where class means will do. */
static bool is_unusable(enum cask_status st)
{
    return st == CASK_ERR_FORMAT || st == CASK_ERR_MISMATCH || st == CASK_ERR_UNSUPPORTED;
}

/* Reads the teacher's own classifier; `why` says why it will not do, or stays empty. */
static enum cask_status read_classifier(struct teacher *teacher, const struct cask_dataset *dataset,
                                        const char *path, struct centers *centers, char why[512],
                                        struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (teacher->model.checkpoint != NULL) {
        st = take_classifier(teacher->model.checkpoint, teacher->dim, path, centers, err);
        if (is_unusable(st)) {
            snprintf(why, 512, "%s", err->message);
            return CASK_OK;
        }
        CASK_TRY(st);
    }
    if (centers->classes == 0) {
        snprintf(why, 512, "%s holds no classifier", path);
    } else if (centers->classes != cask_dataset_classes(dataset)) {
        snprintf(why, 512, "%s: its classifier has %lld classes, the data has %lld", path,
                 (long long)centers->classes, (long long)cask_dataset_classes(dataset));
    }
done:
    return st;
}

/* The teacher's own classifier, if its rows can be trusted to be this dataset's classes. */
static enum cask_status from_teacher(struct teacher *teacher, const struct cask_dataset *dataset,
                                     const char *path, bool demanded, struct centers *centers,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    double share = 0;
    char why[512] = "";
    CASK_TRY(read_classifier(teacher, dataset, path, centers, why, err));
    if (why[0] == 0) {
        CASK_TRY(alignment_share(teacher, dataset, centers, &share, err));
        if (!(share >= ALIGNED)) {
            snprintf(why, sizeof why,
                     "%s: only %.0f %% of the tried identities lie nearest to their own row of its "
                     "classifier, expected %.0f %%: it was trained on another identity list, or "
                     "weakly",
                     path, 100 * share, 100 * ALIGNED);
        }
    }
    if (why[0] != 0 && demanded) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH, "%s; use --centers mean", why));
    }
    if (why[0] != 0) {
        cask_log_info("class centres: class means of the teacher's embeddings (%s)", why);
        centers_release(centers);
    } else {
        cask_log_info("class centres: the teacher's classifier (%.0f %% of tried identities agree)",
                      100 * share);
        snprintf(centers->origin, sizeof centers->origin, "classifier");
    }
done:
    return st;
}

/* A resumed cache was begun with the classifier: the manifest's fingerprints vouch for it. */
static enum cask_status classifier_again(struct teacher *teacher,
                                         const struct cask_dataset *dataset, const char *path,
                                         struct centers *centers, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char why[512] = "";
    CASK_TRY(read_classifier(teacher, dataset, path, centers, why, err));
    if (why[0] != 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                "%s; the cache was begun with a classifier: use another --out",
                                why));
    }
    snprintf(centers->origin, sizeof centers->origin, "classifier");
done:
    return st;
}

const char *centers_asked(const struct precompute_options *options)
{
    const char *text = options->centers;
    return strcmp(text, "auto") == 0                                      ? ""
           : strcmp(text, "mean") == 0 || strcmp(text, "classifier") == 0 ? text
                                                                          : "file";
}

enum cask_status centers_find(const struct precompute_options *options, const char *begun,
                              struct teacher *teacher, const struct cask_dataset *dataset,
                              struct centers *centers, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *centers = (struct centers){0};
    const char *asked = centers_asked(options), *origin = begun[0] != 0 ? begun : asked;
    if (strcmp(asked, "file") == 0) {
        CASK_TRY(
            from_file(options->centers, teacher->dim, cask_dataset_classes(dataset), centers, err));
    } else if (strcmp(origin, "mean") == 0) {
        cask_log_info("class centres: class means of the teacher's embeddings");
    } else if (strcmp(begun, "classifier") == 0) {
        CASK_TRY(classifier_again(teacher, dataset, options->weights, centers, err));
    } else {
        CASK_TRY(from_teacher(teacher, dataset, options->weights, strcmp(asked, "classifier") == 0,
                              centers, err));
    }
done:
    if (st != CASK_OK) {
        centers_release(centers);
    }
    return st;
}
