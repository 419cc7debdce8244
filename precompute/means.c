#include <math.h>
#include <stdio.h>

#include "common/log.h"
#include "common/mem.h"
#include "precompute/precompute.h"

enum cask_status class_means_create(struct class_means *means, int64_t classes, int dim,
                                    struct cask_error *err)
{
    *means = (struct class_means){.classes = classes, .dim = dim};
    means->sums = cask_alloc((size_t)classes * (size_t)dim, sizeof *means->sums);
    return means->sums != NULL
               ? CASK_OK
               : cask_error_memory(err, (size_t)classes * (size_t)dim * sizeof(double),
                                   "class means");
}

void class_means_add(struct class_means *means, const struct cask_dataset *dataset,
                     const struct shard_rows *rows)
{
    size_t dim = (size_t)means->dim;
    for (int64_t i = 0; i < rows->count; i++) {
        uint32_t label = cask_dataset_label(dataset, rows->first + i);
        if (rows->bad[i] || label == CASK_NO_LABEL) {
            continue;
        }
        double *sum = means->sums + (size_t)label * dim;
        for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
            const float *unit = rows->unit[v] + (size_t)i * dim;
            for (size_t d = 0; d < dim; d++) {
                sum[d] += (double)unit[d];
            }
        }
    }
}

enum cask_status class_means_finish(const struct class_means *means, struct centers *centers,
                                    struct cask_error *err)
{
    size_t dim = (size_t)means->dim;
    int64_t empty = 0;
    centers->rows = cask_alloc((size_t)means->classes * dim, sizeof *centers->rows);
    if (centers->rows == NULL) {
        return cask_error_memory(err, (size_t)means->classes * dim * sizeof(float),
                                 "class centres");
    }
    centers->classes = means->classes;
    for (int64_t c = 0; c < means->classes; c++) {
        const double *sum = means->sums + (size_t)c * dim;
        double squares = 0;
        for (size_t d = 0; d < dim; d++) {
            squares += sum[d] * sum[d];
        }
        empty += !(squares > 0);
        for (size_t d = 0; d < dim && squares > 0; d++) {
            centers->rows[(size_t)c * dim + d] = (float)(sum[d] / sqrt(squares));
        }
    }
    if (empty > 0) {
        cask_log_warn("%lld of %lld classes have no readable image: their centres are zero",
                      (long long)empty, (long long)means->classes);
    }
    snprintf(centers->origin, sizeof centers->origin, "mean");
    return CASK_OK;
}

void class_means_release(struct class_means *means)
{
    cask_free(means->sums);
    *means = (struct class_means){0};
}
