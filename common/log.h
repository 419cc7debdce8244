/* common/log.h - human text on stderr. stdout belongs to results.
 *
 * Level from CASK_LOG=error|warn|info|debug (default info). Thread-safe; one line per call. A
 * progress bar that is on screen is cleared and redrawn around a log line.
 */
#ifndef CASK_COMMON_LOG_H
#define CASK_COMMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum cask_log_level { CASK_LOG_ERROR, CASK_LOG_WARN, CASK_LOG_INFO, CASK_LOG_DEBUG };

void cask_log(enum cask_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
#define cask_log_warn(...) cask_log(CASK_LOG_WARN, __VA_ARGS__)
#define cask_log_info(...) cask_log(CASK_LOG_INFO, __VA_ARGS__)
#define cask_log_debug(...) cask_log(CASK_LOG_DEBUG, __VA_ARGS__)
enum cask_log_level cask_log_level(void);

/* A progress line: a bar on a terminal, else one plain line every 10 seconds.
 *     struct cask_progress bar;
 *     cask_progress_begin(&bar, "teacher", "images", total);
 *     cask_progress_update(&bar, done, "loss %.3f", loss);       -- any rate of calls
 *     cask_progress_end(&bar);
 * Shows done/total, units per second and ETA. On a narrow terminal first the gauge goes, then the
 * end of the line, so that a line stays a line. One bar at a time; one thread. `initial` is what
 * was already done before this process (resume), so that the rate is honest. */
struct cask_progress {
    const char *title, *unit;
    int64_t total, initial, done;
    double start, last;
    char note[160];
    bool terminal;
};
void cask_progress_begin(struct cask_progress *bar, const char *title, const char *unit,
                         int64_t initial, int64_t total);
void cask_progress_update(struct cask_progress *bar, int64_t done, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void cask_progress_end(struct cask_progress *bar);

double cask_now(void);     /* monotonic seconds */
double cask_cpu_now(void); /* CPU seconds of the calling thread */

#endif
