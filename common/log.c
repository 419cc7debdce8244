#include "common/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;
enum { WIDE_ENOUGH = 110 }; /* columns for a gauge beside the numbers */
static bool bar_on_screen;  /* a progress bar occupies the last line of the terminal */

enum cask_log_level cask_log_level(void)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    const char *wanted = getenv("CASK_LOG");
    for (int i = 0; wanted != NULL && i < 4; i++) {
        if (strcmp(wanted, names[i]) == 0) {
            return (enum cask_log_level)i;
        }
    }
    return CASK_LOG_INFO;
}

void cask_log(enum cask_log_level level, const char *format, ...)
{
    if (level > cask_log_level()) {
        return;
    }
    char text[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pthread_mutex_lock(&sink_lock);
    fprintf(stderr, "%s%s%s\n", bar_on_screen ? "\r\033[K" : "",
            level == CASK_LOG_WARN ? "warning: " : "", text);
    bar_on_screen = false;
    pthread_mutex_unlock(&sink_lock);
}

double cask_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double cask_cpu_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Seconds as "1:02:03" or "02:03". */
static void format_duration(double seconds, char *buffer, size_t bytes)
{
    long whole = seconds > 0 && seconds < 1e8 ? (long)(seconds + 0.5) : 0;
    if (whole >= 3600) {
        snprintf(buffer, bytes, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    } else {
        snprintf(buffer, bytes, "%02ld:%02ld", whole / 60, whole % 60);
    }
}

/* 0: not known. */
static int terminal_columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static void draw(struct cask_progress *bar, bool final)
{
    double elapsed = cask_now() - bar->start;
    double rate = elapsed > 0 ? (double)(bar->done - bar->initial) / elapsed : 0;
    double share = bar->total > 0 ? (double)bar->done / (double)bar->total : 1;
    char left[32], gauge[21];
    format_duration(final      ? elapsed
                    : rate > 0 ? (double)(bar->total - bar->done) / rate
                               : 0,
                    left, sizeof left);
    for (int i = 0; i < 20; i++) {
        gauge[i] = share * 20 >= i + 1 ? '#' : '.';
    }
    gauge[20] = 0;
    const int columns = bar->terminal && !final ? terminal_columns() : 0;
    const bool with_gauge = bar->terminal && (columns == 0 || columns >= WIDE_ENOUGH);
    char line[512];
    snprintf(line, sizeof line, "%s %s%s%s%lld/%lld %s  %.*f/s  %s %s%s%s", bar->title,
             with_gauge ? "[" : "", with_gauge ? gauge : "", with_gauge ? "] " : "",
             (long long)bar->done, (long long)bar->total, bar->unit, rate < 10 ? 2 : 0, rate,
             final ? "took" : "ETA", left, bar->note[0] ? "  " : "", bar->note);
    if (columns > 0 && columns < (int)sizeof line) {
        line[columns - 1] = 0; /* the last column would begin a new line on some terminals */
    }
    pthread_mutex_lock(&sink_lock);
    fprintf(stderr, "%s%s%s", bar->terminal ? "\r\033[K" : "", line,
            bar->terminal && !final ? "" : "\n");
    bar_on_screen = bar->terminal && !final;
    fflush(stderr);
    pthread_mutex_unlock(&sink_lock);
}

void cask_progress_begin(struct cask_progress *bar, const char *title, const char *unit,
                         int64_t initial, int64_t total)
{
    *bar = (struct cask_progress){.title = title,
                                  .unit = unit,
                                  .total = total,
                                  .initial = initial,
                                  .done = initial,
                                  .start = cask_now(),
                                  .terminal = isatty(STDERR_FILENO) == 1};
    bar->last = bar->start;
}

void cask_progress_update(struct cask_progress *bar, int64_t done, const char *format, ...)
{
    bar->done = done;
    double now = cask_now();
    va_list args; /* formatted every time: the last one stays on the final line */
    va_start(args, format);
    vsnprintf(bar->note, sizeof bar->note, format, args);
    va_end(args);
    if (now - bar->last < (bar->terminal ? 0.2 : 10.0) || cask_log_level() < CASK_LOG_INFO) {
        return;
    }
    bar->last = now;
    draw(bar, false);
}

void cask_progress_end(struct cask_progress *bar)
{
    if (cask_log_level() >= CASK_LOG_INFO) {
        draw(bar, true);
    }
}
