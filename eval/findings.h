/* eval/findings.h - what is odd about a set, named and counted, for every way a result is told;
 * and the files results go to. Private to eval/. */
#ifndef CASK_EVAL_FINDINGS_H
#define CASK_EVAL_FINDINGS_H

#include <stdio.h>

#include "common/json.h"
#include "common/status.h"
#include "common/text.h"

enum { FINDINGS_MOST = 16 };

struct findings {
    int count;
    struct finding {
        const char *what; /* "duplicate pairs"; a constant */
        int64_t times;
        char first[512]; /* the first of them by name */
    } list[FINDINGS_MOST];
};

/* Nothing is added for times = 0. */
void findings_add(struct findings *findings, const char *what, int64_t times, const char *format,
                  ...) __attribute__((format(printf, 4, 5)));
/* "  note: 2 duplicate pairs, the first: pairs.txt:17" */
void findings_print(const struct findings *findings, FILE *stream);
/* [{"what", "times", "first"}]; NULL: no memory */
struct cask_json *findings_json(const struct findings *findings);

/* Writes the text of `json` and frees it; path "" writes nothing. */
enum cask_status result_write_json(const char *path, struct cask_json *json,
                                   struct cask_error *err);
/* The same for CSV lines; `text` stays the caller's. */
enum cask_status result_write_csv(const char *path, struct cask_text *text, struct cask_error *err);

#endif
