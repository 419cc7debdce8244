/* JSON values as files and on standard output. */
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"

enum cask_status cask_json_read(const char *path, size_t most_bytes, struct cask_json **out,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *text = NULL;
    size_t bytes = 0;
    CASK_TRY(cask_file_read_all(path, most_bytes, &text, &bytes, err));
    st = cask_json_parse(text, bytes, out, err);
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", path);
    }
done:
    cask_free(text);
    return st;
}

/* The pretty form of a value that is not needed any more. */
static enum cask_status take_text(struct cask_json *value, const char *what, char **text,
                                  struct cask_error *err)
{
    *text = cask_json_dump(value, CASK_JSON_PRETTY);
    cask_json_free(value);
    return *text != NULL ? CASK_OK : cask_error_memory(err, 4096, what);
}

enum cask_status cask_json_write(const char *path, struct cask_json *value, struct cask_error *err)
{
    char *text = NULL;
    enum cask_status st = take_text(value, path, &text, err);
    if (st == CASK_OK) {
        st = cask_file_write_all(path, text, strlen(text), err);
    }
    cask_free(text);
    return st;
}

enum cask_status cask_json_print(struct cask_json *value, struct cask_error *err)
{
    char *text = NULL;
    const enum cask_status st = take_text(value, "JSON", &text, err);
    if (st == CASK_OK) {
        printf("%s\n", text);
    }
    cask_free(text);
    return st;
}
