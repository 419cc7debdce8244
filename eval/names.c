#include "eval/names.h"

#include <string.h>
#include <strings.h>

#include "eval/image_names.h"

/* Length of the name without .jpg, .jpeg or .png; its own length if it has none of them. */
static size_t stem(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};
    size_t length = strlen(name);
    for (int i = 0; i < 3; i++) {
        size_t bytes = strlen(endings[i]);
        if (length > bytes && strcasecmp(name + length - bytes, endings[i]) == 0) {
            return length - bytes;
        }
    }
    return length;
}

enum cask_status row_names_resolve(const struct cask_pairs *pairs, const struct row_names *names,
                                   int64_t *rows, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct image_names table = {0};
    char name[IMAGE_NAME_LONGEST];
    for (int64_t i = 0; i < cask_pairs_image_count(pairs); i++) {
        rows[i] = -1;
    }
    CASK_TRY(image_names_open(pairs, &table, err));
    for (int64_t row = 0; row < names->count; row++) {
        CASK_TRY(names->name(names->user, row, name, sizeof name, err));
        int64_t image = image_names_find(&table, name, strlen(name));
        if (image < 0 && stem(name) < strlen(name)) {
            image = image_names_find(&table, name, stem(name));
        }
        if (image < 0) {
            continue;
        }
        if (rows[image] >= 0) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                    "%s: expected one row for each name, found rows %lld and %lld "
                                    "both for '%.200s'",
                                    names->what, (long long)rows[image], (long long)row, name));
        }
        rows[image] = row;
    }
done:
    image_names_close(&table);
    return st;
}
