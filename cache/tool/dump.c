/* cache/tool/dump.c - one image as the cache knows it. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "cache/tool/tool.h"

enum { TOP = 5, SHOWN = 8 };

static enum cask_status read_sample(const char *text, uint64_t *sample, struct cask_error *err)
{
    char *end = NULL;
    errno = 0;
    *sample = strtoull(text, &end, 10);
    return errno == 0 && end > text && *end == '\0' && text[0] != '-'
               ? CASK_OK
               : cask_error_set(err, CASK_ERR_USAGE,
                                "--sample: expected a sample id, a number from 0, found \"%.100s\"",
                                text);
}

static enum cask_status find_row(const struct cask_cache *cache, uint64_t sample, int64_t *row,
                                 struct cask_error *err)
{
    for (*row = 0; *row < cask_cache_rows(cache); ++*row) {
        if (cask_cache_sample_id(cache, *row) == sample) {
            return CASK_OK;
        }
    }
    return cask_error_set(
        err, CASK_ERR_RANGE,
        "no sample %" PRIu64 " in this cache: the first is %" PRIu64 ", the last %" PRIu64, sample,
        cask_cache_sample_id(cache, 0), cask_cache_sample_id(cache, *row - 1));
}

static void print_view(const struct cask_manifest *m, const struct cask_cache_gather *f, int view)
{
    printf("%s: norm %.6g, label cosine %.6f\n", view == 0 ? "orig" : "hflip", (double)f->norm[0],
           (double)f->label_cosine[0]);
    for (int t = 0; t < m->temperature_count; t++) {
        printf("  LSE at T = %g: %.6f\n", m->temperatures[t], (double)f->lse[t]);
    }
    printf("  embedding:");
    for (int i = 0; i < SHOWN && i < m->embedding; i++) {
        printf(" %+.5f", (double)f->embedding[i]);
    }
    printf("%s\n  top %d:   class   cosine   probability at T = %g\n",
           m->embedding > SHOWN ? " ..." : "", TOP < m->topk ? TOP : m->topk, m->temperatures[0]);
    for (int j = 0; j < TOP && j < m->topk; j++) {
        double logit = m->scale * (double)f->topk_cosine[j] / m->temperatures[0];
        printf("  %15" PRIu32 " %+.5f   %.6f\n", f->topk_index[j], (double)f->topk_cosine[j],
               exp(logit - (double)f->lse[0]));
    }
}

static struct cask_json *view_json(const struct cask_manifest *m, const struct cask_cache_gather *f)
{
    struct cask_json *view = cask_json_object(), *lse = cask_json_array(), *top = cask_json_array(),
                     *embedding = cask_json_array();
    cask_json_set_real(view, "norm", (double)f->norm[0]);
    cask_json_set_real(view, "label_cosine", (double)f->label_cosine[0]);
    for (int t = 0; t < m->temperature_count; t++) {
        cask_json_append_real(lse, (double)f->lse[t]);
    }
    for (int j = 0; j < TOP && j < m->topk; j++) {
        struct cask_json *entry = cask_json_object();
        cask_json_set_int(entry, "class", f->topk_index[j]);
        cask_json_set_real(entry, "cosine", (double)f->topk_cosine[j]);
        cask_json_append(top, entry);
    }
    for (int i = 0; i < m->embedding; i++) {
        cask_json_append_real(embedding, (double)f->embedding[i]);
    }
    cask_json_set(view, "lse", lse);
    cask_json_set(view, "top", top);
    cask_json_set(view, "embedding", embedding);
    return view;
}

enum cask_status tool_dump(const struct tool_arguments *arguments, int *exit_code,
                           struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cache *cache = NULL;
    struct cask_json *object = NULL;
    struct tool_rows rows = {0};
    int64_t row = 0;
    uint64_t sample = 0;
    *exit_code = 0;
    CASK_TRY(read_sample(arguments->sample, &sample, err));
    CASK_TRY(cask_cache_open(arguments->folders.values[0], CASK_VERIFY_FIRST, &cache, err));
    CASK_TRY(find_row(cache, sample, &row, err));
    const struct cask_manifest *m = cask_cache_manifest(cache);
    CASK_TRY(tool_rows_open(&rows, m, 1, err));
    uint32_t label = cask_cache_label(cache, row);
    uint8_t flags = cask_cache_flags(cache, row);
    if (arguments->json) {
        object = cask_json_object();
        cask_json_set_int(object, "row", row);
        cask_json_set_int(object, "sample", (int64_t)sample);
        cask_json_set_int(object, "shard", row / m->shard_images);
        cask_json_set_int(object, "label", label == UINT32_MAX ? -1 : (int64_t)label);
        cask_json_set_int(object, "source_offset", (int64_t)cask_cache_source_offset(cache, row));
        cask_json_set_int(object, "flags", flags);
    } else {
        printf("sample %" PRIu64 ": row %" PRId64 " in shard %" PRId64 ", label %" PRId64
               ", source offset %" PRIu64 "%s%s\n",
               sample, row, row / m->shard_images, label == UINT32_MAX ? -1 : (int64_t)label,
               cask_cache_source_offset(cache, row),
               flags & CASK_ROW_BAD ? ", BAD (not decoded)" : "",
               flags & CASK_ROW_LABEL_OUTSIDE_TOPK ? ", label outside the top-k" : "");
    }
    for (int view = 0; view < CASK_CACHE_VIEWS; view++) {
        CASK_TRY(tool_rows_read(&rows, cache, row, 1, view, err));
        if (arguments->json) {
            cask_json_set(object, view == 0 ? "orig" : "hflip", view_json(m, &rows.fields));
        } else {
            print_view(m, &rows.fields, view);
        }
    }
    if (arguments->json) {
        st = cask_json_print(object, err);
        object = NULL;
    }
done:
    cask_json_free(object);
    tool_rows_close(&rows);
    cask_cache_close(cache);
    return st;
}
