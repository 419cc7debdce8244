/* data/pairs_open.c - what kind of text a list of pairs is. */
#include <string.h>

#include "common/lines.h"
#include "data/pairs_impl.h"

enum cask_status cask_pairs_open_text(const char *path, const char *folder, struct cask_pairs **out,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_lines lines = {0};
    struct cask_slice first = {0};
    *out = NULL;
    CASK_TRY(cask_lines_open(&lines, path, err));
    CASK_TRY(cask_lines_next(&lines, &first, err));
    bool csv = first.data != NULL && memchr(first.data, ',', first.bytes) != NULL;
    CASK_TRY(csv ? cask_pairs_open_csv(path, folder, out, err)
                 : cask_pairs_open_lfw(path, folder, out, err));
done:
    cask_lines_close(&lines);
    return st;
}
