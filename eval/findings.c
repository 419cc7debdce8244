#include "eval/findings.h"

#include <stdarg.h>
#include <string.h>

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
