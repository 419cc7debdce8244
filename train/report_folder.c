/* One call for what a person points at: a run, or a folder of runs. */
#include "common/file.h"
#include "common/mem.h"
#include "train/report.h"

static bool is_run(const char *folder)
{
    char *path = cask_format("%s/config.yaml", folder);
    const bool found = path != NULL && cask_path_exists(path);
    cask_free(path);
    return found;
}

enum cask_status cask_report_folder(const char *folder, char **path, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *path = cask_format("%s/report.html", folder);
    if (*path == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "path of the report"));
    }
    CASK_TRY(is_run(folder) ? cask_run_report(folder, err) : cask_sweep_report(folder, err));
done:
    if (st != CASK_OK) {
        cask_free(*path);
        *path = NULL;
    }
    return st;
}
