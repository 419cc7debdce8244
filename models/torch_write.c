#include "models/torch_write.h"

#include <string.h>

#include "common/json.h"
#include "models/checkpoint.h"
#include "models/zip_write.h"

enum { FIXED = 3 }; /* members beside the storages */

static enum cask_status dump_metadata(const struct cask_metadata_entry *entries, int count,
                                      char **text, struct cask_error *err)
{
    struct cask_json *object = cask_json_object();
    cask_json_set_text(object, "format_version", "cask 1");
    for (int i = 0; i < count; i++) {
        cask_json_set_text(object, entries[i].key, entries[i].value);
    }
    *text = cask_json_dump(object, CASK_JSON_COMPACT);
    cask_json_free(object);
    return *text != NULL ? CASK_OK : cask_error_memory(err, 1, "metadata");
}

enum cask_status cask_torch_write(const char *path, const struct cask_file_tensor *tensors,
                                  int count, const struct cask_metadata_entry *entries,
                                  int entry_count, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_text pickle = {0};
    struct cask_arena arena;
    char *metadata = NULL;
    cask_arena_init(&arena);
    struct cask_zip_piece *pieces = cask_arena_alloc(&arena, (size_t)count + FIXED, sizeof *pieces);
    char(*names)[32] = cask_arena_alloc(&arena, (size_t)count, sizeof *names);
    if (pieces == NULL || names == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *pieces, "zip members"));
    }
    CASK_TRY(cask_torch_pickle(tensors, count, &pickle, err));
    CASK_TRY(dump_metadata(entries, entry_count, &metadata, err));
    pieces[0] = (struct cask_zip_piece){"archive/data.pkl", pickle.data, pickle.length};
    for (int i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "archive/data/%d", i);
        pieces[1 + i] = (struct cask_zip_piece){names[i], tensors[i].data,
                                                (size_t)tensors[i].count *
                                                    cask_file_dtype_size(tensors[i].dtype)};
    }
    pieces[count + 1] = (struct cask_zip_piece){"archive/version", "3\n", 2};
    pieces[count + 2] =
        (struct cask_zip_piece){"archive/metadata.json", metadata, strlen(metadata)};
    CASK_TRY(cask_zip_write(path, pieces, (size_t)count + FIXED, err));
done:
    cask_free(metadata);
    cask_text_release(&pickle);
    cask_arena_release(&arena);
    return st;
}
