/* cache/tool/diff.c - two caches, field by field and row by row. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cache/tool/tool.h"

enum { BATCH = 256 };

/* One compared field of the rows. */
struct field_diff {
    const char *name;
    int64_t views, first_row; /* views of rows that differ; the first row */
    int first_view;
    double largest; /* absolute difference */
};
enum { EMBEDDING, NORM, TOPK_INDEX, TOPK_COSINE, LABEL_COSINE, LSE, LABEL, SAMPLE_ID, FIELDS };

struct difference {
    struct field_diff fields[FIELDS];
    int64_t compared;
    bool same_manifest, same_shape;
    char manifest[CASK_ERROR_MESSAGE];
};

static void note(struct field_diff *field, int64_t row, int view, double largest)
{
    if (field->views == 0) {
        field->first_row = row;
        field->first_view = view;
    }
    field->views++;
    field->largest = fmax(field->largest, largest);
}

static void compare_floats(struct field_diff *field, int64_t row, int view, const float *a,
                           const float *b, int count)
{
    double largest = 0;
    if (memcmp(a, b, (size_t)count * sizeof *a) != 0) {
        for (int i = 0; i < count; i++) {
            largest = fmax(largest, fabs((double)a[i] - (double)b[i]));
        }
        note(field, row, view, largest);
    }
}

static void compare_row(struct difference *d, const struct cask_manifest *m,
                        const struct tool_rows *a, const struct tool_rows *b, int i, int view)
{
    int64_t row = a->row[i];
    size_t at = (size_t)i, k = (size_t)m->topk;
    compare_floats(&d->fields[EMBEDDING], row, view,
                   a->fields.embedding + at * (size_t)m->embedding,
                   b->fields.embedding + at * (size_t)m->embedding, m->embedding);
    compare_floats(&d->fields[NORM], row, view, a->fields.norm + at, b->fields.norm + at, 1);
    compare_floats(&d->fields[TOPK_COSINE], row, view, a->fields.topk_cosine + at * k,
                   b->fields.topk_cosine + at * k, m->topk);
    compare_floats(&d->fields[LABEL_COSINE], row, view, a->fields.label_cosine + at,
                   b->fields.label_cosine + at, 1);
    compare_floats(&d->fields[LSE], row, view, a->fields.lse + at * (size_t)m->temperature_count,
                   b->fields.lse + at * (size_t)m->temperature_count, m->temperature_count);
    if (memcmp(a->fields.topk_index + at * k, b->fields.topk_index + at * k,
               k * sizeof(uint32_t)) != 0) {
        note(&d->fields[TOPK_INDEX], row, view, 0);
    }
}

static enum cask_status compare_rows(struct difference *d, struct cask_cache *a,
                                     struct cask_cache *b, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_manifest *m = cask_cache_manifest(a);
    struct tool_rows x = {0}, y = {0};
    CASK_TRY(tool_rows_open(&x, m, BATCH, err));
    CASK_TRY(tool_rows_open(&y, m, BATCH, err));
    for (int64_t row = 0; row < m->images; row += BATCH) {
        int count = m->images - row < BATCH ? (int)(m->images - row) : BATCH;
        for (int view = 0; view < CASK_CACHE_VIEWS; view++) {
            CASK_TRY(tool_rows_read(&x, a, row, count, view, err));
            CASK_TRY(tool_rows_read(&y, b, row, count, view, err));
            for (int i = 0; i < count; i++) {
                compare_row(d, m, &x, &y, i, view);
            }
        }
        for (int64_t r = row; r < row + count; r++) {
            if (cask_cache_label(a, r) != cask_cache_label(b, r)) {
                note(&d->fields[LABEL], r, 0, 0);
            }
            if (cask_cache_sample_id(a, r) != cask_cache_sample_id(b, r)) {
                note(&d->fields[SAMPLE_ID], r, 0, 0);
            }
        }
        d->compared += count;
    }
done:
    tool_rows_close(&x);
    tool_rows_close(&y);
    return st;
}

static bool same_shape(const struct cask_manifest *a, const struct cask_manifest *b)
{
    return a->images == b->images && a->embedding == b->embedding && a->topk == b->topk &&
           a->temperature_count == b->temperature_count;
}

static bool print_text(const struct difference *d)
{
    bool same = d->same_manifest && d->same_shape;
    printf("manifest: %s\n", d->same_manifest ? "the same" : d->manifest);
    if (!d->same_shape) {
        printf("rows: not compared, the shapes differ\n");
    }
    for (int i = 0; i < FIELDS && d->same_shape; i++) {
        const struct field_diff *f = &d->fields[i];
        same = same && f->views == 0;
        if (f->views > 0) {
            printf("%-13s %" PRId64 " views differ, first row %" PRId64
                   " (%s), largest difference %.3g\n",
                   f->name, f->views, f->first_row, f->first_view == 0 ? "orig" : "hflip",
                   f->largest);
        }
    }
    printf("%s (%" PRId64 " rows x 2 views compared)\n", same ? "equal" : "different", d->compared);
    return same;
}

static struct cask_json *to_json(const struct difference *d, bool *same)
{
    struct cask_json *object = cask_json_object(), *fields = cask_json_array();
    *same = d->same_manifest && d->same_shape;
    for (int i = 0; i < FIELDS; i++) {
        const struct field_diff *f = &d->fields[i];
        if (f->views > 0) {
            struct cask_json *entry = cask_json_object();
            cask_json_set_text(entry, "field", f->name);
            cask_json_set_int(entry, "views", f->views);
            cask_json_set_int(entry, "first_row", f->first_row);
            cask_json_set_text(entry, "first_view", f->first_view == 0 ? "orig" : "hflip");
            cask_json_set_real(entry, "largest", f->largest);
            cask_json_append(fields, entry);
            *same = false;
        }
    }
    cask_json_set_bool(object, "equal", *same);
    cask_json_set_text(object, "manifest", d->same_manifest ? "" : d->manifest);
    cask_json_set_bool(object, "rows_compared", d->same_shape);
    cask_json_set(object, "fields", fields);
    return object;
}

enum cask_status tool_diff(const struct tool_arguments *arguments, int *exit_code,
                           struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cache *a = NULL, *b = NULL;
    struct cask_error difference;
    static const char *const names[FIELDS] = {"embedding",    "norm", "topk_index", "topk_cosine",
                                              "label_cosine", "lse",  "label",      "sample_id"};
    struct difference d = {0};
    int overrides = 0;
    bool same = false;
    for (int i = 0; i < FIELDS; i++) {
        d.fields[i].name = names[i];
    }
    CASK_TRY(cask_cache_open(arguments->folders.values[0], CASK_VERIFY_FIRST, &a, err));
    CASK_TRY(cask_cache_open(arguments->folders.values[1], CASK_VERIFY_FIRST, &b, err));
    const struct cask_manifest *x = cask_cache_manifest(a), *y = cask_cache_manifest(b);
    /* Both ways: a field that is empty on one side is not compared from there. */
    d.same_manifest = cask_manifest_compare(x, y, NULL, 0, &overrides, &difference) == CASK_OK &&
                      cask_manifest_compare(y, x, NULL, 0, &overrides, &difference) == CASK_OK;
    snprintf(d.manifest, sizeof d.manifest, "%s", d.same_manifest ? "" : difference.message);
    d.same_shape = same_shape(x, y);
    if (d.same_shape) {
        CASK_TRY(compare_rows(&d, a, b, err));
    }
    if (arguments->json) {
        CASK_TRY(cask_json_print(to_json(&d, &same), err));
    } else {
        same = print_text(&d);
    }
    *exit_code = same ? 0 : cask_status_exit_code(CASK_ERR_MISMATCH);
done:
    cask_cache_close(a);
    cask_cache_close(b);
    return st;
}
