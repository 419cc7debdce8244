/* common/status.h - how every function of Cask reports failure.
 *
 * A fallible function returns `enum cask_status` (0 is success, never another polarity) and takes
 * `struct cask_error *err` as its last parameter: the caller's memory, filled on failure with one
 * message for a person and up to eight frames that show the way up. `err` may not be NULL.
 *
 * A message names the file, the field, what was expected, what was found, and the way out.
 */
#ifndef CASK_COMMON_STATUS_H
#define CASK_COMMON_STATUS_H

#include <stddef.h>

enum cask_status {
    CASK_OK = 0,
    CASK_ERR_USAGE,       /* the command line or a config key is wrong */
    CASK_ERR_IO,          /* the operating system refused: open, read, write, rename */
    CASK_ERR_NO_SPACE,    /* the disk is full */
    CASK_ERR_FORMAT,      /* a file is damaged or is not what it should be */
    CASK_ERR_MISMATCH,    /* two good files do not belong together */
    CASK_ERR_RANGE,       /* a value lies outside what is allowed */
    CASK_ERR_UNSUPPORTED, /* well-formed, but Cask does not do this */
    CASK_ERR_MEMORY,      /* out of memory */
    CASK_ERR_DEVICE,      /* a compute backend failed */
    CASK_ERR_INTERRUPTED, /* SIGINT or SIGTERM; finished work was kept */
    CASK_ERR_INTERNAL,    /* a defect of Cask */
};

enum { CASK_ERROR_MESSAGE = 2048, CASK_ERROR_FRAMES = 8 };

struct cask_error_frame {
    const char *file;
    int line;
};

struct cask_error {
    enum cask_status status;
    char message[CASK_ERROR_MESSAGE];
    struct cask_error_frame frames[CASK_ERROR_FRAMES];
    int frame_count;
};

/* Puts a new message into `err`, forgetting what was there, and returns `status`, so that
 *     CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "%s: expected ..., found ...", path, ...));
 * is the one way to raise an error inside a function. */
enum cask_status cask_error_set(struct cask_error *err, enum cask_status status, const char *format,
                                ...) __attribute__((format(printf, 3, 4), cold));

/* Same, with ": " and strerror(errnum) appended; ENOSPC and EDQUOT give CASK_ERR_NO_SPACE, all else
 * CASK_ERR_IO. */
enum cask_status cask_error_errno(struct cask_error *err, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

/* "out of memory: N bytes for WHAT" */
enum cask_status cask_error_memory(struct cask_error *err, size_t bytes, const char *what)
    __attribute__((cold));

/* Puts "PREFIX: " before the message that is there (to name the file a parser was given). */
void cask_error_prefix(struct cask_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));

/* Called by CASK_TRY. */
void cask_error_frame(struct cask_error *err, const char *file, int line) __attribute__((cold));

/* Prints "PROGRAM: error: MESSAGE" and, at log level debug, the frames, to stderr. */
void cask_error_print(const struct cask_error *err, const char *program);

const char *cask_status_name(enum cask_status status);

/* 0 ok, 2 usage, 3 data, 4 device, 5 internal, 130 interrupted */
int cask_status_exit_code(enum cask_status status);

/* The one control-flow macro: needs `enum cask_status st`, `struct cask_error *err` and the label
 * `done` in scope. */
#define CASK_TRY(call)                                                                             \
    do {                                                                                           \
        st = (call);                                                                               \
        if (__builtin_expect(st != CASK_OK, 0)) {                                                  \
            cask_error_frame(err, __FILE__, __LINE__);                                             \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

#endif
