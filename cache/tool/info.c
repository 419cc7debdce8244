/* cache/tool/info.c - what a cache is. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "cache/tool/tool.h"
#include "common/mem.h"

enum { SAMPLED_ROWS = 4096, PERCENTILES = 5 };
static const int PERCENTS[PERCENTILES] = {5, 25, 50, 75, 95};

struct summary {
    int64_t bad, outside, unlabelled, sampled;
    double captured[CASK_CACHE_TEMPERATURES]
                   [PERCENTILES]; /* share of the teacher's mass inside the top-k */
};

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void count_flags(const struct cask_cache *cache, struct summary *summary)
{
    for (int64_t row = 0; row < cask_cache_rows(cache); row++) {
        uint8_t flags = cask_cache_flags(cache, row);
        summary->bad += (flags & CASK_ROW_BAD) != 0;
        summary->outside += (flags & CASK_ROW_LABEL_OUTSIDE_TOPK) != 0;
        summary->unlabelled += cask_cache_label(cache, row) == UINT32_MAX;
    }
}

/* mass_T = sum over the top-k of exp(s cos / T - LSE_T), of every good row among evenly spaced
 * ones. */
static enum cask_status measure_mass(struct cask_cache *cache, struct tool_rows *rows, double *mass,
                                     struct summary *summary, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_manifest *m = cask_cache_manifest(cache);
    int64_t step = m->images / SAMPLED_ROWS + 1;
    for (int64_t row = 0; row < m->images; row += step) {
        for (int view = 0;
             view < CASK_CACHE_VIEWS && !(cask_cache_flags(cache, row) & CASK_ROW_BAD); view++) {
            CASK_TRY(tool_rows_read(rows, cache, row, 1, view, err));
            for (int t = 0; t < m->temperature_count; t++) {
                double sum = 0;
                for (int j = 0; j < m->topk; j++) {
                    sum += exp(m->scale * (double)rows->fields.topk_cosine[j] / m->temperatures[t] -
                               (double)rows->fields.lse[t]);
                }
                mass[(int64_t)t * 2 * SAMPLED_ROWS + summary->sampled] = fmin(sum, 1.0);
            }
            summary->sampled++;
        }
    }
done:
    return st;
}

static enum cask_status summarise(struct cask_cache *cache, struct summary *summary,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_manifest *m = cask_cache_manifest(cache);
    struct tool_rows rows = {0};
    double *mass = cask_alloc((size_t)m->temperature_count * 2 * SAMPLED_ROWS, sizeof *mass);
    if (mass == NULL) {
        CASK_TRY(cask_error_memory(err, 2 * SAMPLED_ROWS * sizeof *mass, "percentiles"));
    }
    count_flags(cache, summary);
    CASK_TRY(tool_rows_open(&rows, m, 1, err));
    CASK_TRY(measure_mass(cache, &rows, mass, summary, err));
    for (int t = 0; t < m->temperature_count && summary->sampled > 0; t++) {
        double *own = mass + (int64_t)t * 2 * SAMPLED_ROWS;
        qsort(own, (size_t)summary->sampled, sizeof *own, ascending);
        for (int p = 0; p < PERCENTILES; p++) {
            summary->captured[t][p] = own[(summary->sampled - 1) * PERCENTS[p] / 100];
        }
    }
done:
    tool_rows_close(&rows);
    cask_free(mass);
    return st;
}

static void print_text(const struct cask_cache *cache, const struct summary *s)
{
    const struct cask_manifest *m = cask_cache_manifest(cache);
    size_t count;
    const struct cask_manifest_field *fields = cask_manifest_fields(&count);
    for (size_t i = 0; i < count; i++) {
        char text[1100];
        cask_manifest_field_format(&fields[i], m, text, sizeof text);
        printf("%-22s %s\n", fields[i].name, text);
    }
    double images = (double)m->images, bytes = (double)cask_cache_file_bytes(cache);
    printf("%-22s %s\n", "sha256", cask_cache_sha256(cache));
    printf("%-22s %" PRId64 " (and %s)\n", "shards", cask_layout_shards(m),
           cache->file.has_centers ? "class centres" : "no class centres");
    printf("%-22s %.3f GB, %.1f bytes per image\n", "size on disk", bytes / 1e9, bytes / images);
    printf("%-22s %.1f MB\n", "resident when read", (double)cask_cache_resident_bytes(cache) / 1e6);
    printf("%-22s %" PRId64 " bad, %" PRId64 " without label, %" PRId64
           " with the label outside the top-k\n",
           "rows", s->bad, s->unlabelled, s->outside);
    printf("%-22s 1 - cos <= %.3g; top-k cosines %.2g, so %.2g in a logit at s = %g\n",
           "error budget", m->embedding_error_max, m->cosine_error_max,
           m->scale * m->cosine_error_max, m->scale);
    printf("mass captured by the top %d, percentiles over %" PRId64 " views\n", m->topk,
           s->sampled);
    printf("  %-8s", "T");
    for (int p = 0; p < PERCENTILES; p++) {
        printf(" %6d%%", PERCENTS[p]);
    }
    for (int t = 0; t < m->temperature_count; t++) {
        printf("\n  %-8g", m->temperatures[t]);
        for (int p = 0; p < PERCENTILES; p++) {
            printf(" %7.4f", s->captured[t][p]);
        }
    }
    printf("\n");
}

static struct cask_json *to_json(const struct cask_cache *cache, const struct summary *s)
{
    const struct cask_manifest *m = cask_cache_manifest(cache);
    struct cask_json *object = cask_json_object(), *mass = cask_json_array();
    size_t count;
    const struct cask_manifest_field *fields = cask_manifest_fields(&count);
    for (size_t i = 0; i < count; i++) {
        char text[1100];
        cask_manifest_field_format(&fields[i], m, text, sizeof text);
        if (fields[i].kind == CASK_KIND_INT || fields[i].kind == CASK_KIND_INT64) {
            cask_json_set_int(object, fields[i].name, (int64_t)cask_manifest_number(&fields[i], m));
        } else if (fields[i].kind == CASK_KIND_REAL) {
            cask_json_set_real(object, fields[i].name, cask_manifest_number(&fields[i], m));
        } else {
            cask_json_set_text(object, fields[i].name, text);
        }
    }
    cask_json_set_text(object, "sha256", cask_cache_sha256(cache));
    cask_json_set_int(object, "shards", cask_layout_shards(m));
    cask_json_set_bool(object, "centers", cache->file.has_centers);
    cask_json_set_int(object, "file_bytes", (int64_t)cask_cache_file_bytes(cache));
    cask_json_set_int(object, "resident_bytes", (int64_t)cask_cache_resident_bytes(cache));
    cask_json_set_int(object, "bad_rows", s->bad);
    cask_json_set_int(object, "rows_without_label", s->unlabelled);
    cask_json_set_int(object, "rows_with_label_outside_topk", s->outside);
    for (int t = 0; t < m->temperature_count; t++) {
        struct cask_json *entry = cask_json_object();
        cask_json_set_real(entry, "temperature", m->temperatures[t]);
        for (int p = 0; p < PERCENTILES; p++) {
            char name[8];
            snprintf(name, sizeof name, "p%d", PERCENTS[p]);
            cask_json_set_real(entry, name, s->captured[t][p]);
        }
        cask_json_append(mass, entry);
    }
    cask_json_set(object, "mass_captured", mass);
    return object;
}

enum cask_status tool_info(const struct tool_arguments *arguments, int *exit_code,
                           struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cache *cache = NULL;
    struct summary summary = {0};
    *exit_code = 0;
    CASK_TRY(cask_cache_open(arguments->folders.values[0], CASK_VERIFY_FIRST, &cache, err));
    CASK_TRY(summarise(cache, &summary, err));
    if (arguments->json) {
        CASK_TRY(cask_json_print(to_json(cache, &summary), err));
    } else {
        print_text(cache, &summary);
    }
done:
    cask_cache_close(cache);
    return st;
}
