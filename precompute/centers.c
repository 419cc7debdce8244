#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "precompute/precompute.h"

enum { CHECK_CLASSES = 64, CHECK_IMAGES = 2 };

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
        double squares = 0;
        for (int i = 0; i < dim; i++) {
            squares += (double)row[i] * (double)row[i];
        }
        if (!(squares > 1e-24 && isfinite(squares))) {
            return cask_error_set(err, CASK_ERR_FORMAT,
                                  "%s: class centre %lld has norm %g; expected a non-zero row",
                                  path, (long long)c, sqrt(squares));
        }
        for (int i = 0; i < dim; i++) {
            row[i] = (float)(row[i] / sqrt(squares));
        }
    }
    return CASK_OK;
}

static int64_t nearest_center(const struct centers *centers, const double *mean, int dim)
{
    int64_t best = -1;
    double most = -INFINITY;
    for (int64_t c = 0; c < centers->classes; c++) {
        const float *row = centers->rows + (size_t)c * (size_t)dim;
        double dot = 0;
        for (int i = 0; i < dim; i++) {
            dot += mean[i] * (double)row[i];
        }
        if (dot > most) {
            most = dot;
            best = c;
        }
    }
    return best;
}

/* Share of sampled classes whose first images lie nearest to the classifier row of their own label.
 * Released classifiers may have been trained on another identity list, where row y is not identity
 * y. */
static enum cask_status check_alignment(struct teacher *teacher, const struct cask_dataset *dataset,
                                        const struct centers *centers, double *share,
                                        struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct shard_rows rows = {0};
    int64_t images = cask_dataset_count(dataset), checked = 0, agreed = 0;
    int64_t step = images / CHECK_CLASSES > 0 ? images / CHECK_CLASSES : 1;
    double *mean = cask_alloc((size_t)teacher->dim, sizeof *mean);
    if (mean == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)teacher->dim * sizeof *mean, "a class mean"));
    }
    CASK_TRY(shard_rows_create(&rows, CHECK_IMAGES, teacher->dim, err));
    for (int64_t at = 0; at + CHECK_IMAGES <= images; at += step) {
        uint32_t label = cask_dataset_label(dataset, at);
        struct embed_request request = {.dataset = dataset, .first = at, .count = CHECK_IMAGES};
        if (label == CASK_NO_LABEL || label != cask_dataset_label(dataset, at + 1)) {
            continue;
        }
        CASK_TRY(teacher_embed(teacher, &request, &rows, err));
        for (int i = 0; i < teacher->dim; i++) {
            mean[i] = (double)rows.unit[0][i] + (double)rows.unit[0][teacher->dim + i];
        }
        agreed += nearest_center(centers, mean, teacher->dim) == (int64_t)label;
        checked++;
    }
    *share = checked > 0 ? (double)agreed / (double)checked : 0;
done:
    shard_rows_release(&rows);
    cask_free(mean);
    return st;
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

/* The teacher's own classifier, if its rows can be trusted to be this dataset's classes. */
static enum cask_status from_teacher(struct teacher *teacher, const struct cask_dataset *dataset,
                                     const char *path, bool demanded, struct centers *centers,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    double share = 0;
    char why[200] = "";
    if (teacher->model.checkpoint != NULL) {
        CASK_TRY(take_classifier(teacher->model.checkpoint, teacher->dim, path, centers, err));
    }
    if (centers->classes == 0) {
        snprintf(why, sizeof why, "the file holds no classifier");
    } else if (centers->classes != cask_dataset_classes(dataset)) {
        snprintf(why, sizeof why, "its classifier has %lld classes, the data has %lld",
                 (long long)centers->classes, (long long)cask_dataset_classes(dataset));
    } else {
        CASK_TRY(check_alignment(teacher, dataset, centers, &share, err));
        if (share < 0.9) {
            snprintf(
                why, sizeof why,
                "only %.0f %% of the sampled identities lie nearest to their own row of its "
                "classifier (expected 90 %%): it was trained on another identity list, or weakly",
                100 * share);
        }
    }
    if (why[0] != 0 && demanded) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH, "%s: %s; use --centers mean", path, why));
    }
    if (why[0] != 0) {
        cask_log_info("class centres: class means of the teacher's embeddings (%s)", why);
        centers_release(centers);
    } else {
        cask_log_info(
            "class centres: the teacher's classifier (%.0f %% of sampled identities agree)",
            100 * share);
        snprintf(centers->origin, sizeof centers->origin, "classifier");
    }
done:
    return st;
}

enum cask_status centers_find(const struct precompute_options *options, struct teacher *teacher,
                              const struct cask_dataset *dataset, struct centers *centers,
                              struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *centers = (struct centers){0};
    bool demanded = strcmp(options->centers, "classifier") == 0;
    if (strcmp(options->centers, "mean") == 0) {
        cask_log_info("class centres: class means of the teacher's embeddings");
    } else if (demanded || strcmp(options->centers, "auto") == 0) {
        CASK_TRY(from_teacher(teacher, dataset, options->weights, demanded, centers, err));
    } else {
        CASK_TRY(
            from_file(options->centers, teacher->dim, cask_dataset_classes(dataset), centers, err));
    }
done:
    if (st != CASK_OK) {
        centers_release(centers);
    }
    return st;
}
