/* cache/peek.c - what a folder says it is, before anything is opened for writing. */
#include <string.h>

#include "cache/manifest.h"
#include "common/file.h"
#include "common/mem.h"

enum cask_status cask_manifest_peek(const char *folder, struct cask_manifest *manifest, bool *found,
                                    bool *complete, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_manifest_file file = {.complete = false};
    char *path = cask_format("%s/manifest.json", folder);
    *found = *complete = false;
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(folder), "file name"));
    }
    if (cask_path_exists(path)) {
        CASK_TRY(cask_manifest_read(path, &file, err));
        *manifest = file.manifest;
        *complete = file.complete;
        *found = true;
    }
done:
    cask_manifest_file_release(&file);
    cask_free(path);
    return st;
}
