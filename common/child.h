/* common/child.h - another program, run once: text in, text out.
 *
 * No shell: the program is looked for in the absolute folders of PATH and given its arguments as
 * they are. It gets the input as its standard input, an environment of three variables (LC_ALL,
 * PATH, HOME), no other open file, default signals and a process group of its own, so that Ctrl-C
 * for us is not Ctrl-C for it. What it says on standard error goes into the error message.
 *
 * Thread rule: plain functions.
 */
#ifndef CASK_COMMON_CHILD_H
#define CASK_COMMON_CHILD_H

#include <stddef.h>

#include "common/status.h"
#include "common/text.h"

struct cask_child {
    const char *program;          /* a name, looked for in PATH, or an absolute path */
    const char *const *arguments; /* without the name; ends with NULL */
    const char *input;            /* [input_bytes] */
    size_t input_bytes;
    size_t max_output; /* bytes of standard output; more is an error */
    double seconds;    /* after which it is killed */
};

/* Adds what it wrote to `output`. CASK_ERR_UNSUPPORTED: there is no such program. CASK_ERR_IO: it
 * ended with another code than 0, was killed, took too long or wrote too much. */
enum cask_status cask_child_run(const struct cask_child *child, struct cask_text *output,
                                struct cask_error *err);

#endif
