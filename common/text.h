/* common/text.h - text that grows: pages, scripts and other people's output, built piece by piece.
 *
 * Writers never fail in the middle: out of memory is remembered and asked for once, at the end:
 *     struct cask_text page = {0};
 *     cask_text_put(&page, "<p>");
 *     cask_text_format(&page, "%d", n);
 *     CASK_TRY(cask_text_check(&page, "the page", err));
 * data is always terminated by a NUL that length does not count; it is NULL while empty.
 * Thread rule: one text, one thread.
 */
#ifndef CASK_COMMON_TEXT_H
#define CASK_COMMON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/status.h"

struct cask_text {
    char *data; /* owned */
    size_t length, capacity;
    bool failed;
};

void cask_text_add(struct cask_text *text, const char *bytes, size_t count);
void cask_text_put(struct cask_text *text, const char *string);
void cask_text_format(struct cask_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* As XML and HTML want it, in an element or between double or single quotes. What is not UTF-8 and
 * what XML forbids (control characters) becomes '?'. */
void cask_text_escaped(struct cask_text *text, const char *string);
/* CASK_ERR_MEMORY naming `what` if a writer failed; after it data is not NULL. */
enum cask_status cask_text_check(struct cask_text *text, const char *what, struct cask_error *err);
void cask_text_release(struct cask_text *text); /* accepts a zeroed struct */

bool cask_ends_with(const char *string, const char *end);

/* Bytes of the UTF-8 character at `string`, 0 if it is not one: cut, overlong, a surrogate, past
 * U+10FFFF. A NUL is one byte. */
size_t cask_utf8_length(const char *string);

#endif
