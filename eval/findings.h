/* eval/findings.h - what is odd about a set, named and counted, for every way a result is told.
 * Private to eval/. */
#ifndef CASK_EVAL_FINDINGS_H
#define CASK_EVAL_FINDINGS_H

#include <stdio.h>

#include "common/json.h"

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

#endif
