/* Programs of several commands: the table of each begins its rows with name and help. */
#include <stdio.h>
#include <string.h>

#include "common/config.h"
#include "common/text.h"

static const struct cask_cli_about *about_at(const void *table, size_t row_bytes, size_t index)
{
    return (const void *)((const char *)table + index * row_bytes);
}

enum cask_status cask_cli_find(const void *table, size_t count, size_t row_bytes, const char *name,
                               const void **row, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_text names = {0};
    for (size_t i = 0; i < count; i++) {
        const struct cask_cli_about *about = about_at(table, row_bytes, i);
        if (strcmp(about->name, name) == 0) {
            *row = about;
            goto done;
        }
        cask_text_format(&names, "%s%s", i > 0 ? ", " : "", about->name);
    }
    CASK_TRY(cask_text_check(&names, "the list of commands", err));
    CASK_TRY(cask_error_set(err, CASK_ERR_USAGE,
                            "expected a command (%s), found %.100s; see --help", names.data,
                            name[0] != '\0' ? name : "none"));
done:
    cask_text_release(&names);
    return st;
}

void cask_cli_list(const void *table, size_t count, size_t row_bytes)
{
    int width = 0;
    for (size_t i = 0; i < count; i++) {
        const int length = (int)strlen(about_at(table, row_bytes, i)->name);
        width = length > width ? length : width;
    }
    for (size_t i = 0; i < count; i++) {
        const struct cask_cli_about *about = about_at(table, row_bytes, i);
        printf("  %-*s  %s\n", width, about->name, about->help);
    }
}
