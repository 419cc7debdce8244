/* gnuplot writes a document; a page wants an element that can stand beside others of its kind:
 * without prolog, tool tips ("gnuplot_plot_1") and ids that every picture shares. */
#include <string.h>

#include "common/plot_internal.h"

/* Where `pattern` begins in [text, end), or end. */
static const char *find(const char *text, const char *end, const char *pattern)
{
    const char *found = memmem(text, (size_t)(end - text), pattern, strlen(pattern));
    return found != NULL ? found : end;
}

static bool starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Where an id is given or named inside a tag; 0 if not here. */
static size_t id_at(const char *text)
{
    static const char *const ids[] = {" id='", " id=\"", "href='#"};
    for (int i = 0; i < 3; i++) {
        if (starts(text, ids[i])) {
            return strlen(ids[i]);
        }
    }
    return 0;
}

/* The end of what is left out here, or `at` if nothing is. */
static const char *skip(const char *at, const char *end)
{
    static const char *const dropped[][2] = {
        {"<title>", "</title>"}, {"<desc>", "</desc>"}, {"<filter ", "</filter>"}};
    for (int i = 0; i < 3; i++) {
        if (starts(at, dropped[i][0])) {
            const char *found = find(at, end, dropped[i][1]);
            return found < end ? found + strlen(dropped[i][1]) : end;
        }
    }
    return at;
}

void plot_element(const struct cask_plot *plot, const char *name, const char *document,
                  struct cask_text *element)
{
    const char *end = document + strlen(document), *at = find(document, end, "<svg");
    bool tag = true; /* a label may look like an id */
    if (at < end) {
        cask_text_put(element, "<svg role=\"img\" aria-label=\"");
        cask_text_escaped(element, plot->title != NULL ? plot->title : "");
        cask_text_put(element, "\"");
        at += strlen("<svg");
    }
    while (at < end) {
        const char *next = skip(at, end);
        if (next > at) {
            at = next;
            continue;
        }
        const size_t id = tag ? id_at(at) : 0;
        cask_text_add(element, at, id > 0 ? id : 1);
        cask_text_put(element, id > 0 ? name : "");
        tag = *at == '<' || (tag && *at != '>');
        at += id > 0 ? id : 1;
    }
}
