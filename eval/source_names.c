/* eval/source_names.c - how a pair names a row: through a list, a dataset, or a number. */
#include <string.h>

#include "common/lines.h"
#include "eval/image_names.h"
#include "eval/names.h"
#include "eval/source.h"

static enum cask_status name_of_line(void *user, int64_t row, char *buffer, size_t bytes,
                                     struct cask_error *err)
{
    struct cask_lines *lines = user;
    struct cask_slice line;
    enum cask_status st = cask_lines_next(lines, &line, err);
    if (st == CASK_OK && line.data == NULL) {
        st = cask_error_set(err, CASK_ERR_MISMATCH,
                            "%s: expected a line for each row, found only %lld lines", lines->path,
                            (long long)row);
    }
    if (st == CASK_OK) {
        snprintf(buffer, bytes, "%.*s", (int)line.bytes, line.data);
    }
    return st;
}

static enum cask_status name_of_image(void *user, int64_t row, char *buffer, size_t bytes,
                                      struct cask_error *err)
{
    (void)err;
    cask_dataset_name(user, row, buffer, bytes);
    return CASK_OK;
}

static enum cask_status name_of_id(void *user, int64_t row, char *buffer, size_t bytes,
                                   struct cask_error *err)
{
    (void)err;
    snprintf(buffer, bytes, "%llu", (unsigned long long)cask_cache_sample_id(user, row));
    return CASK_OK;
}

static enum cask_status resolve_list(const char *path, const struct cask_pairs *pairs,
                                     int64_t count, int64_t *rows, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_lines lines = {0};
    struct cask_slice rest;
    CASK_TRY(cask_lines_open(&lines, path, err));
    struct row_names names = {count, path, &lines, name_of_line};
    CASK_TRY(row_names_resolve(pairs, &names, rows, err));
    CASK_TRY(cask_lines_next(&lines, &rest, err));
    if (rest.data != NULL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                "%s: expected a line for each of %lld rows, found more", path,
                                (long long)count));
    }
done:
    cask_lines_close(&lines);
    return st;
}

static enum cask_status resolve_dataset(const char *path, const struct cask_pairs *pairs,
                                        int64_t count, int64_t *rows, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_dataset *dataset = NULL;
    CASK_TRY(cask_dataset_open(path, &(struct cask_dataset_options){0}, &dataset, err));
    if (cask_dataset_count(dataset) != count) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                "%s: expected the dataset of the %lld rows, found %lld images",
                                path, (long long)count, (long long)cask_dataset_count(dataset)));
    }
    struct row_names names = {count, path, dataset, name_of_image};
    CASK_TRY(row_names_resolve(pairs, &names, rows, err));
done:
    cask_dataset_close(dataset);
    return st;
}

static void resolve_numbers(const struct cask_pairs *pairs, int64_t count, bool by_position,
                            int64_t *rows)
{
    for (int64_t i = 0; i < cask_pairs_image_count(pairs); i++) {
        char name[IMAGE_NAME_LONGEST];
        struct cask_slice text;
        cask_pairs_image_name(pairs, i, name, sizeof name);
        text = cask_slice_of(name);
        if (by_position) {
            rows[i] = i < count ? i : -1;
        } else if (!cask_slice_int(text, 0, count - 1, &rows[i])) {
            rows[i] = -1;
        }
    }
}

enum cask_status source_resolve(const struct source *source, const struct cask_pairs *pairs,
                                bool by_position, int64_t *rows, struct cask_error *err)
{
    const struct source_options *options = &source->options;
    int64_t count = source->kind == SOURCE_NPY ? source->npy.rows : cask_cache_rows(source->cache);
    if (options->index[0] != 0) {
        return resolve_list(options->index, pairs, count, rows, err);
    }
    if (options->data[0] != 0) {
        return resolve_dataset(options->data, pairs, count, rows, err);
    }
    if (source->kind == SOURCE_CACHE && !by_position) {
        struct row_names names = {count, options->path, source->cache, name_of_id};
        return row_names_resolve(pairs, &names, rows, err);
    }
    resolve_numbers(pairs, count, by_position, rows);
    return CASK_OK;
}
