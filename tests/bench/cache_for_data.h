/* tests/bench/cache_for_data.h - a cache of random teacher rows that fits a data set, with any
 * number of classes: how long a student's step takes does not depend on what the teacher says. */
#ifndef CASK_TESTS_BENCH_CACHE_FOR_DATA_H
#define CASK_TESTS_BENCH_CACHE_FOR_DATA_H

#include "data/data.h"
#include "tests/support/cache_fixture.h"

static inline enum cask_status cache_for_data_centers(struct cask_cache_writer *writer,
                                                      const struct cask_manifest *manifest,
                                                      struct cask_error *err)
{
    const int64_t dim = manifest->embedding;
    float *centers = cask_alloc((size_t)(manifest->classes * dim), sizeof *centers);
    enum cask_status st = CASK_OK;
    if (centers == NULL) {
        return cask_error_memory(err, (size_t)(manifest->classes * dim), "class centres");
    }
    for (int64_t c = 0; c < manifest->classes; c++) {
        float *row = centers + c * dim;
        double sum = 0;
        for (int64_t i = 0; i < dim; i++) {
            row[i] = (float)cask_rng_uniform(3, 0, (uint64_t)(c * dim + i)) - 0.5f;
            sum += (double)row[i] * (double)row[i];
        }
        for (int64_t i = 0; i < dim; i++) {
            row[i] = (float)((double)row[i] / sqrt(sum));
        }
    }
    st = cask_cache_writer_centers(writer, centers, err);
    cask_free(centers);
    return st;
}

static inline enum cask_status cache_for_data_rows(struct cask_cache_writer *writer,
                                                   const struct cask_dataset *dataset,
                                                   struct fixture *fixture, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (int64_t i = 0; i < cask_cache_writer_shards(writer); i++) {
        const int64_t first = i * fixture->manifest.shard_images;
        const int64_t left = fixture->manifest.images - first;
        CASK_TRY(cask_cache_writer_begin(writer, i, err));
        for (int64_t row = first;
             row < first + fixture->manifest.shard_images && left > row - first; row++) {
            struct cask_cache_row one = {.sample_id = cask_dataset_id(dataset, row),
                                         .label = cask_dataset_label(dataset, row)};
            for (int view = 0; view < CASK_CACHE_VIEWS; view++) {
                fixture_view(fixture, row, view, &one.views[view]);
            }
            CASK_TRY(cask_cache_writer_append(writer, &one, 1, err));
        }
        CASK_TRY(cask_cache_writer_commit(writer, err));
    }
done:
    return st;
}

/* Makes `folder`. */
static inline enum cask_status cache_for_data(const char *folder, const char *data, int64_t classes,
                                              struct cask_error *err)
{
    enum { D = 512, K = 32 };
    enum cask_status st = CASK_OK;
    struct cask_dataset *dataset = NULL;
    struct cask_cache_writer *writer = NULL;
    struct fixture fixture = {0};
    CASK_TRY(cask_dataset_open(data, &(struct cask_dataset_options){0}, &dataset, err));
    struct cask_manifest manifest =
        fixture_manifest(cask_dataset_count(dataset), classes, D, K, 16384, CASK_EMBEDDING_F16);
    snprintf(manifest.centers_origin, sizeof manifest.centers_origin, "classifier");
    CASK_TRY(cask_decoder_fingerprint(&manifest.decoder_crc, err));
    fixture_open(&fixture, &manifest);
    CASK_TRY(cask_cache_writer_open(folder, &manifest, 2, &writer, err));
    CASK_TRY(cache_for_data_rows(writer, dataset, &fixture, err));
    CASK_TRY(cache_for_data_centers(writer, &manifest, err));
    CASK_TRY(cask_cache_writer_finish(writer, err));
done:
    cask_cache_writer_close(writer);
    fixture_close(&fixture);
    cask_dataset_close(dataset);
    return st;
}

#endif
