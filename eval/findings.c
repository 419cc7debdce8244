#include "eval/findings.h"

#include <stdarg.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"

void findings_add(struct findings *findings, const char *what, int64_t times, const char *format,
                  ...)
{
    if (times > 0 && findings->count < FINDINGS_MOST) {
        struct finding *finding = &findings->list[findings->count++];
        va_list arguments;
        finding->what = what;
        finding->times = times;
        va_start(arguments, format);
        vsnprintf(finding->first, sizeof finding->first, format, arguments);
        va_end(arguments);
    }
}

void findings_print(const struct findings *findings, FILE *stream)
{
    for (int i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->list[i];
        fprintf(stream, "  note: %lld %s, the first: %s\n", (long long)finding->times,
                finding->what, finding->first);
    }
}

struct cask_json *findings_json(const struct findings *findings)
{
    struct cask_json *list = cask_json_array();
    for (int i = 0; i < findings->count; i++) {
        struct cask_json *one = cask_json_object();
        cask_json_set_text(one, "what", findings->list[i].what);
        cask_json_set_int(one, "times", findings->list[i].times);
        cask_json_set_text(one, "first", findings->list[i].first);
        cask_json_append(list, one);
    }
    return list;
}

enum cask_status result_write_json(const char *path, struct cask_json *json, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *text = cask_json_dump(json, CASK_JSON_PRETTY);
    cask_json_free(json);
    if (text == NULL) {
        return cask_error_memory(err, 0, "the JSON report");
    }
    if (path[0] != 0) {
        st = cask_file_write_all(path, text, strlen(text), err);
    }
    cask_free(text);
    return st;
}

enum cask_status result_write_csv(const char *path, struct cask_text *text, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (path[0] != 0) {
        CASK_TRY(cask_text_check(text, "the CSV report", err));
        CASK_TRY(cask_file_write_all(path, text->data, text->length, err));
    }
done:
    return st;
}
