#include "train/report.h"
enum cask_status cask_sweep_report(const char *folder, struct cask_error *err)
{
    return cask_error_set(err, CASK_ERR_FORMAT, "%s: no run", folder);
}
