/* cache/tool/rows.c - memory for gathered rows, and JSON output. */
#include "cache/tool/tool.h"
#include "common/mem.h"

enum cask_status tool_rows_open(struct tool_rows *rows, const struct cask_manifest *manifest,
                                int capacity, struct cask_error *err)
{
    size_t n = (size_t)capacity;
    rows->capacity = capacity;
    rows->row = cask_alloc(n, sizeof *rows->row);
    rows->mirror = cask_alloc(n, sizeof *rows->mirror);
    rows->fields.embedding = cask_alloc(n * (size_t)manifest->embedding, sizeof(float));
    rows->fields.norm = cask_alloc(n, sizeof(float));
    rows->fields.topk_index = cask_alloc(n * (size_t)manifest->topk, sizeof(uint32_t));
    rows->fields.topk_cosine = cask_alloc(n * (size_t)manifest->topk, sizeof(float));
    rows->fields.label_cosine = cask_alloc(n, sizeof(float));
    rows->fields.lse = cask_alloc(n * (size_t)manifest->temperature_count, sizeof(float));
    bool all = rows->row != NULL && rows->mirror != NULL && rows->fields.embedding != NULL &&
               rows->fields.norm != NULL && rows->fields.topk_index != NULL &&
               rows->fields.topk_cosine != NULL && rows->fields.label_cosine != NULL &&
               rows->fields.lse != NULL;
    return all ? CASK_OK
               : cask_error_memory(err, n * (size_t)manifest->embedding * sizeof(float), "rows");
}

void tool_rows_close(struct tool_rows *rows)
{
    cask_free(rows->row);
    cask_free(rows->mirror);
    cask_free(rows->fields.embedding);
    cask_free(rows->fields.norm);
    cask_free(rows->fields.topk_index);
    cask_free(rows->fields.topk_cosine);
    cask_free(rows->fields.label_cosine);
    cask_free(rows->fields.lse);
}

enum cask_status tool_rows_read(struct tool_rows *rows, struct cask_cache *cache, int64_t first,
                                int count, int view, struct cask_error *err)
{
    for (int i = 0; i < count; i++) {
        rows->row[i] = first + i;
        rows->mirror[i] = view == 1;
    }
    return cask_cache_gather(cache, rows->row, rows->mirror, count, &rows->fields, err);
}
