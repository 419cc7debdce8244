/* common/lines.h - reads text files that hold one record a line: lists, pairs, CSV.
 *
 * The file is mapped; lines and columns are pieces of the map, without a NUL at the end, and die
 * with it. Nothing is copied, and pages that were read are given back, so a list of many millions
 * of lines costs no memory. Thread rule: one reader, one thread.
 */
#ifndef CASK_COMMON_LINES_H
#define CASK_COMMON_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/file.h"
#include "common/status.h"

enum { CASK_LINE_LONGEST = 8192 };

struct cask_slice {
    const char *data;
    size_t bytes;
};

/* For "%.*s" in messages: at most 200 bytes of it. */
#define CASK_SLICE_SHOWN(slice) (int)((slice).bytes < 200 ? (slice).bytes : 200), (slice).data

struct cask_lines {
    const char *path; /* borrowed, for messages */
    struct cask_map map;
    const char *next, *end;
    const char *released; /* what lies before it was given back to the system */
    int64_t number;       /* of the line that was taken last, from 1 */
};

enum cask_status cask_lines_open(struct cask_lines *lines, const char *path,
                                 struct cask_error *err);
void cask_lines_close(struct cask_lines *lines); /* accepts a zeroed reader */

/* The next line that is not empty, without blanks (and CR) at its ends; data is NULL after the
 * last. A line over CASK_LINE_LONGEST bytes or with a NUL in it is CASK_ERR_FORMAT. */
enum cask_status cask_lines_next(struct cask_lines *lines, struct cask_slice *line,
                                 struct cask_error *err);

/* At most this many lines follow: the newlines that are left, and one. */
int64_t cask_lines_left(const struct cask_lines *lines);

/* CASK_ERR_FORMAT: "FILE:LINE: expected WHAT, found "..."" */
enum cask_status cask_lines_refuse(const struct cask_lines *lines, struct cask_slice found,
                                   const char *expected, struct cask_error *err)
    __attribute__((cold));

/* Cuts at runs of blanks and tabs. Returns the number of columns; only `most` are filled. */
int cask_slice_columns(struct cask_slice line, struct cask_slice *columns, int most);
/* Cuts at every `divider` (CSV without quotes); blanks around a field are cut off. */
int cask_slice_fields(struct cask_slice line, char divider, struct cask_slice *fields, int most);

/* The whole text is a decimal integer in [least, most] / a finite number. */
bool cask_slice_int(struct cask_slice text, int64_t least, int64_t most, int64_t *value);
bool cask_slice_real(struct cask_slice text, double *value);
bool cask_slice_equal(struct cask_slice a, struct cask_slice b);
struct cask_slice cask_slice_of(const char *text);
/* A path that stays below the folder it is joined to: not empty, at most 1024 bytes, not absolute,
 * without a ".." in it. */
bool cask_slice_is_below(struct cask_slice path);

#endif
