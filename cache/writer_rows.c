/* cache/writer_rows.c - the open shard: rows are checked, turned into what is stored, and put in
 * their place in memory; writer_seal.c takes them from there. */
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "cache/quantize.h"
#include "cache/writer.h"
#include "common/mem.h"

/* Arrays are kept as they lie in the file, which is little endian. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the cache writer needs a little-endian host");

/* A cosine that is handed over on the grid was rounded to it before. */
static const double COSINE_HALF_STEP = 0.5 / 32767;
static const double COSINE_LIMIT = 1.001; /* rounding of a float dot product, with room */
static const double NORM_TOLERANCE = 1e-3;

/* ---------------------------------------------------------------- checks */

static enum cask_status check_embedding(const float *x, int count, struct cask_error *err)
{
    double lanes[4] = {0};
    for (int i = 0; i < count; i++) {
        lanes[i % 4] += (double)x[i] * (double)x[i];
    }
    double sum = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
    if (!(fabs(sqrt(sum) - 1.0) <= NORM_TOLERANCE)) {
        return cask_error_set(err, CASK_ERR_RANGE, "embedding has length %.9g, expected 1",
                              sqrt(sum));
    }
    return CASK_OK;
}

static enum cask_status check_topk(const struct cask_cache_view *view,
                                   const struct cask_manifest *manifest, struct cask_error *err)
{
    for (int j = 0; j < manifest->topk; j++) {
        double cosine = (double)view->topk_cosine[j];
        if (!(fabs(cosine) <= COSINE_LIMIT)) {
            return cask_error_set(err, CASK_ERR_RANGE, "top-k cosine %d is %.9g, expected -1 to 1",
                                  j, cosine);
        }
        if ((int64_t)view->topk_index[j] >= manifest->classes) {
            return cask_error_set(err, CASK_ERR_RANGE,
                                  "top-k index %d is %" PRIu32 ", but there are %" PRId64
                                  " classes",
                                  j, view->topk_index[j], manifest->classes);
        }
        if (j > 0 && !(view->topk_cosine[j] < view->topk_cosine[j - 1] ||
                       (view->topk_cosine[j] == view->topk_cosine[j - 1] &&
                        view->topk_index[j] > view->topk_index[j - 1]))) {
            return cask_error_set(
                err, CASK_ERR_RANGE,
                "top-k entries %d and %d are not in order (cosine down, then class id up)", j - 1,
                j);
        }
    }
    return CASK_OK;
}

static enum cask_status check_view(const struct cask_cache_view *view,
                                   const struct cask_manifest *manifest, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(check_embedding(view->embedding, manifest->embedding, err));
    CASK_TRY(check_topk(view, manifest, err));
    if (!(view->norm >= 0 && view->norm <= 3e38f) || !(fabsf(view->label_cosine) <= COSINE_LIMIT)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE,
                                "norm %.9g, label cosine %.9g: expected finite, and -1 to 1",
                                (double)view->norm, (double)view->label_cosine));
    }
    for (int t = 0; t < manifest->temperature_count; t++) {
        if (!(fabs(view->lse[t]) <= 3e38)) {
            CASK_TRY(cask_error_set(err, CASK_ERR_RANGE, "LSE at temperature %g is %.9g",
                                    manifest->temperatures[t], view->lse[t]));
        }
    }
done:
    return st;
}

static enum cask_status check_row(const struct cask_cache_row *row,
                                  const struct cask_manifest *manifest, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (row->label != UINT32_MAX && (int64_t)row->label >= manifest->classes) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE,
                                "label is %" PRIu32 ", but there are %" PRId64 " classes",
                                row->label, manifest->classes));
    }
    for (int view = 0; view < CASK_CACHE_VIEWS && !(row->flags & CASK_ROW_BAD); view++) {
        st = check_view(&row->views[view], manifest, err);
        if (st != CASK_OK) {
            cask_error_prefix(err, "view %d", view);
            goto done;
        }
    }
done:
    return st;
}

/* ---------------------------------------------------------------- storing */

static void *place(struct cask_cache_writer *writer, int slot, int64_t row)
{
    return writer->arrays[slot] + (size_t)row * writer->layout.arrays[slot].row_bytes;
}

static void put(struct cask_cache_writer *writer, int slot, int64_t row, const void *value)
{
    memcpy(place(writer, slot, row), value, writer->layout.arrays[slot].row_bytes);
}

static void store_embedding(struct cask_cache_writer *writer, int view, int64_t row, const float *x,
                            struct cask_writer_worker *worker)
{
    size_t count = (size_t)writer->there.file.manifest.embedding;
    void *out = place(writer, CASK_ARRAY_VIEW(view, CASK_FIELD_EMBEDDING), row);
    if (writer->there.file.manifest.embedding_type == CASK_EMBEDDING_INT8) {
        float scale = cask_quantize_i8(x, count, out);
        put(writer, CASK_ARRAY_VIEW(view, CASK_FIELD_EMBEDDING_SCALE), row, &scale);
        cask_unit_from_i8(out, count, worker->back);
    } else {
        cask_quantize_f16(x, count, out);
        cask_unit_from_f16(out, count, worker->back);
    }
    worker->embedding_error =
        fmax(worker->embedding_error, cask_cosine_distance(x, worker->back, count));
}

/* True if the label is among the top-k. */
static bool store_topk(struct cask_cache_writer *writer, int view, int64_t row,
                       const struct cask_cache_view *from, uint32_t label,
                       struct cask_writer_worker *worker)
{
    int16_t *cosines = place(writer, CASK_ARRAY_VIEW(view, CASK_FIELD_TOPK_COSINE), row);
    bool inside = false;
    put(writer, CASK_ARRAY_VIEW(view, CASK_FIELD_TOPK_INDEX), row, from->topk_index);
    for (int j = 0; j < writer->there.file.manifest.topk; j++) {
        cosines[j] = cask_quantize_cosine(from->topk_cosine[j]);
        worker->cosine_error =
            fmax(worker->cosine_error,
                 fabs((double)cask_cosine_from_i16(cosines[j]) - (double)from->topk_cosine[j]));
        inside = inside || from->topk_index[j] == label;
    }
    return inside;
}

static bool store_view(struct cask_cache_writer *writer, int view, int64_t row,
                       const struct cask_cache_row *from, struct cask_writer_worker *worker)
{
    const struct cask_cache_view *source = &from->views[view];
    float lse[CASK_CACHE_TEMPERATURES];
    for (int t = 0; t < writer->there.file.manifest.temperature_count; t++) {
        lse[t] = (float)source->lse[t];
    }
    store_embedding(writer, view, row, source->embedding, worker);
    put(writer, CASK_ARRAY_VIEW(view, CASK_FIELD_LABEL_COSINE), row, &source->label_cosine);
    put(writer, CASK_ARRAY_VIEW(view, CASK_FIELD_NORM), row, &source->norm);
    put(writer, CASK_ARRAY_VIEW(view, CASK_FIELD_LSE), row, lse);
    return store_topk(writer, view, row, source, from->label, worker);
}

static void store_row(struct cask_cache_writer *writer, int64_t row,
                      const struct cask_cache_row *from, struct cask_writer_worker *worker)
{
    uint8_t flags = from->flags;
    put(writer, CASK_ARRAY_LABEL, row, &from->label);
    put(writer, CASK_ARRAY_SAMPLE_ID, row, &from->sample_id);
    put(writer, CASK_ARRAY_SOURCE_OFFSET, row, &from->source_offset);
    for (int view = 0; view < CASK_CACHE_VIEWS && !(from->flags & CASK_ROW_BAD); view++) {
        if (!store_view(writer, view, row, from, worker) && from->label != UINT32_MAX) {
            flags |= CASK_ROW_LABEL_OUTSIDE_TOPK;
        }
    }
    put(writer, CASK_ARRAY_FLAGS, row, &flags);
}

/* ---------------------------------------------------------------- begin, append */

enum cask_status cask_cache_writer_begin(struct cask_cache_writer *writer, int64_t shard,
                                         struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (writer->open_shard >= 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL,
                                "shard %" PRId64 " begun while %" PRId64 " is open", shard,
                                writer->open_shard));
    }
    if (shard < 0 || shard >= writer->there.shards) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE, "shard %" PRId64 " of %" PRId64, shard,
                                writer->there.shards));
    }
    cask_layout_shard(&writer->there.file.manifest, shard, &writer->layout);
    writer->open_shard = shard;
    writer->filled = 0;
    for (int i = 0; i < writer->layout.array_count; i++) {
        const struct cask_array *array = &writer->layout.arrays[i];
        if (array->row_elements > 0) {
            size_t rows = (size_t)array->chunks * array->chunk_rows;
            writer->arrays[i] = cask_alloc(rows, array->row_bytes);
            if (writer->arrays[i] == NULL) {
                CASK_TRY(cask_error_memory(err, rows * array->row_bytes, array->name));
            }
        }
    }
    for (int i = 0; i < cask_pool_threads(writer->pool); i++) {
        writer->workers[i].embedding_error = writer->inherited_error;
        writer->workers[i].cosine_error = COSINE_HALF_STEP;
    }
done:
    if (st != CASK_OK && writer->open_shard == shard) {
        cask_writer_release_rows(writer);
    }
    return st;
}

struct appending {
    struct cask_cache_writer *writer;
    const struct cask_cache_row *rows;
    atomic_llong first_bad;
};

static void append_row(void *user, int64_t index, int worker)
{
    struct appending *appending = user;
    struct cask_cache_writer *writer = appending->writer;
    struct cask_error unused;
    if (check_row(&appending->rows[index], &writer->there.file.manifest, &unused) == CASK_OK) {
        store_row(writer, writer->filled + index, &appending->rows[index],
                  &writer->workers[worker]);
        return;
    }
    long long seen = atomic_load(&appending->first_bad);
    while (index < seen && !atomic_compare_exchange_weak(&appending->first_bad, &seen, index)) {
    }
}

enum cask_status cask_cache_writer_append(struct cask_cache_writer *writer,
                                          const struct cask_cache_row *rows, int count,
                                          struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct appending appending = {.writer = writer, .rows = rows, .first_bad = INT64_MAX};
    if (writer->open_shard < 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL, "rows appended while no shard is open"));
    }
    if (count < 0 || (uint64_t)count > writer->layout.rows - (uint64_t)writer->filled) {
        CASK_TRY(cask_error_set(
            err, CASK_ERR_RANGE,
            "%d rows appended to shard %" PRId64 ", which has room for %" PRId64, count,
            writer->open_shard, (int64_t)writer->layout.rows - writer->filled));
    }
    cask_pool_run(writer->pool, count, append_row, &appending);
    int64_t bad = atomic_load(&appending.first_bad);
    if (bad != INT64_MAX) {
        st = check_row(&rows[bad], &writer->there.file.manifest, err);
        cask_error_prefix(err, "row %" PRId64 " (sample %" PRIu64 ")",
                          writer->open_shard * writer->there.file.manifest.shard_images +
                              writer->filled + bad,
                          rows[bad].sample_id);
        goto done;
    }
    writer->filled += count;
done:
    return st;
}

void cask_writer_release_rows(struct cask_cache_writer *writer)
{
    for (int i = 0; i < CASK_ARRAYS; i++) {
        cask_free(writer->arrays[i]);
        writer->arrays[i] = NULL;
    }
    writer->open_shard = -1;
}

void cask_cache_writer_abort(struct cask_cache_writer *writer)
{
    cask_writer_release_rows(writer);
}
