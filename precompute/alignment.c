/* Do the rows of a classifier belong to the classes of a dataset?
 *
 * A classifier may have as many rows as the data has identities and still be another list: released
 * ones are. So a few classes are tried: the mean embedding of some of their images must lie nearest
 * to the row of their own label. */
#include <math.h>

#include "common/mem.h"
#include "precompute/precompute.h"

enum { CLASSES = 64, IMAGES = 4 }; /* tried classes, and images of each */

/* Images of the tried classes, class by class, in any order of the data. */
struct sample {
    int64_t images[CLASSES * IMAGES];
    int counts[CLASSES];
    int classes, total;
};

/* Tried class j is class ceil(j C / n) of C: spread evenly over all labels. */
static void choose(const struct cask_dataset *dataset, struct sample *sample)
{
    int64_t table[CLASSES][IMAGES], classes = cask_dataset_classes(dataset);
    int64_t n = classes < CLASSES ? classes : CLASSES;
    *sample = (struct sample){.classes = (int)n};
    for (int64_t i = 0, count = cask_dataset_count(dataset); i < count; i++) {
        uint32_t label = cask_dataset_label(dataset, i);
        if (label == CASK_NO_LABEL) {
            continue;
        }
        int64_t j = label * n / classes;
        if ((j * classes + n - 1) / n == label && sample->counts[j] < IMAGES) {
            table[j][sample->counts[j]++] = i;
        }
    }
    for (int j = 0; j < sample->classes; j++) {
        for (int i = 0; i < sample->counts[j]; i++) {
            sample->images[sample->total++] = table[j][i];
        }
    }
}

static int64_t nearest_row(const struct centers *centers, const double *mean, int dim)
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

/* Sum of the unit embeddings of rows [at, at + count), both views; false if all of them are bad. */
static bool sum_rows(const struct shard_rows *rows, int at, int count, double *sum)
{
    bool any = false;
    for (int i = 0; i < rows->dim; i++) {
        sum[i] = 0;
    }
    for (int r = at; r < at + count; r++) {
        any = any || !rows->bad[r];
        for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
            const float *unit = rows->unit[v] + (size_t)r * (size_t)rows->dim;
            for (int i = 0; i < rows->dim; i++) {
                sum[i] += (double)unit[i];
            }
        }
    }
    return any;
}

enum cask_status alignment_share(struct teacher *teacher, const struct cask_dataset *dataset,
                                 const struct centers *centers, double *share,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct shard_rows rows = {0};
    struct sample sample;
    int checked = 0, agreed = 0;
    double *mean = cask_alloc((size_t)teacher->dim, sizeof *mean);
    if (mean == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)teacher->dim * sizeof *mean, "a class mean"));
    }
    choose(dataset, &sample);
    CASK_TRY(shard_rows_create(&rows, sample.total > 0 ? sample.total : 1, teacher->dim, err));
    struct embed_request request = {
        .dataset = dataset, .subset = sample.images, .count = sample.total};
    CASK_TRY(teacher_embed(teacher, &request, &rows, err));
    for (int j = 0, at = 0; j < sample.classes; at += sample.counts[j], j++) {
        if (sum_rows(&rows, at, sample.counts[j], mean)) {
            int64_t label = cask_dataset_label(dataset, sample.images[at]);
            agreed += nearest_row(centers, mean, teacher->dim) == label;
            checked++;
        }
    }
    *share = checked > 0 ? (double)agreed / checked : 0;
done:
    shard_rows_release(&rows);
    cask_free(mean);
    return st;
}
