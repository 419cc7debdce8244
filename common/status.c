#include "common/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"

static const struct {
    const char *name;
    int exit_code;
} families[] = {
    [CASK_OK] = {"ok", 0},
    [CASK_ERR_USAGE] = {"usage error", 2},
    [CASK_ERR_IO] = {"input/output error", 3},
    [CASK_ERR_NO_SPACE] = {"no space", 3},
    [CASK_ERR_FORMAT] = {"format error", 3},
    [CASK_ERR_MISMATCH] = {"mismatch", 3},
    [CASK_ERR_RANGE] = {"out of range", 3},
    [CASK_ERR_UNSUPPORTED] = {"unsupported", 3},
    [CASK_ERR_MEMORY] = {"out of memory", 5},
    [CASK_ERR_DEVICE] = {"device error", 4},
    [CASK_ERR_INTERRUPTED] = {"interrupted", 130},
    [CASK_ERR_INTERNAL] = {"internal error", 5},
};

const char *cask_status_name(enum cask_status status)
{
    return (size_t)status < sizeof families / sizeof *families ? families[status].name : "unknown";
}

int cask_status_exit_code(enum cask_status status)
{
    return (size_t)status < sizeof families / sizeof *families ? families[status].exit_code : 5;
}

enum cask_status cask_error_set(struct cask_error *err, enum cask_status status, const char *format,
                                ...)
{
    /* The arguments may point into err->message, so the new text is made beside it. */
    char text[CASK_ERROR_MESSAGE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(err->message, text, sizeof text);
    err->status = status;
    err->frame_count = 0;
    return status;
}

enum cask_status cask_error_errno(struct cask_error *err, int errnum, const char *format, ...)
{
    char text[CASK_ERROR_MESSAGE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bool full = errnum == ENOSPC || errnum == EDQUOT;
    return cask_error_set(err, full ? CASK_ERR_NO_SPACE : CASK_ERR_IO, "%.1900s: %s%s", text,
                          strerror(errnum), full ? "; free some space and run again" : "");
}

enum cask_status cask_error_memory(struct cask_error *err, size_t bytes, const char *what)
{
    return cask_error_set(err, CASK_ERR_MEMORY, "out of memory: %zu bytes for %s", bytes, what);
}

void cask_error_prefix(struct cask_error *err, const char *format, ...)
{
    char text[CASK_ERROR_MESSAGE];
    va_list args;
    va_start(args, format);
    int used = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (used < 0 || (size_t)used >= sizeof text) {
        return;
    }
    snprintf(text + used, sizeof text - (size_t)used, ": %s", err->message);
    memcpy(err->message, text, sizeof text);
}

void cask_error_frame(struct cask_error *err, const char *file, int line)
{
    if (err->frame_count < CASK_ERROR_FRAMES) {
        err->frames[err->frame_count++] = (struct cask_error_frame){file, line};
    }
}

void cask_error_print(const struct cask_error *err, const char *program)
{
    cask_log(CASK_LOG_ERROR, "%s: error: %s", program, err->message);
    for (int i = 0; i < err->frame_count; i++) {
        cask_log_debug("  at %s:%d", err->frames[i].file, err->frames[i].line);
    }
}
