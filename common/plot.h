/* common/plot.h - pictures of numbers: curves, steps, bars and points, drawn by gnuplot.
 *
 * Cask draws nothing itself. A picture is described by one struct and handed to the program
 * `gnuplot` (Debian: gnuplot-nox) as a script and inline data on its standard input; no shell is
 * involved and no text of the caller is ever read as a command. A machine without gnuplot gets
 * CASK_ERR_UNSUPPORTED, so that callers can go on without pictures and say so.
 *
 * NaN in y leaves a gap in a line; so does what a picture cannot show: infinities, values beyond
 * 1e150, values <= 0 on a log axis. Of a line with more points than the picture has columns, each
 * column keeps the first, last, lowest and highest. No value at all gives an empty frame that says
 * so. Thread rule: plain functions.
 */
#ifndef CASK_COMMON_PLOT_H
#define CASK_COMMON_PLOT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/status.h"

enum cask_plot_style {
    CASK_PLOT_LINE,
    CASK_PLOT_STEPS, /* ROC of counted pairs */
    CASK_PLOT_POINTS,
    CASK_PLOT_LINE_POINTS,
    CASK_PLOT_BARS, /* histograms; bars of several series are drawn half transparent */
};

struct cask_plot_series {
    const char *name;    /* in the key; borrowed */
    const double *x, *y; /* [count]; borrowed */
    size_t count;
    enum cask_plot_style style;
    bool right;               /* measured on the axis at the right */
    const double *low, *high; /* [count] or NULL: an interval around each value, as a band around a
                                 line and as a bar through a point; borrowed */
};

struct cask_plot {
    const char *title, *x_label, *y_label, *right_label; /* "" or NULL: none */
    bool log_x, log_y;                 /* values <= 0 are left out on a log axis */
    double x_min, x_max, y_min, y_max; /* min == max: chosen by the data */
    int width, height;                 /* pixels; 0: 720 x 420 */
    const struct cask_plot_series *series;
    int series_count;
    /* Names instead of numbers on the y axis: names[i] stands at y = i, the first on top. Every
     * series is then drawn as points and its intervals lie in x. NULL: numbers. */
    const char *const *names;
    int name_count;
};

/* The picture as one <svg> element, for a page: no fixed size (it fills its parent's width), no
 * background, no reference to anything outside, ids that differ from those of another picture.
 * Caller frees *svg with cask_free. CASK_ERR_IO: gnuplot failed, with what it said. */
enum cask_status cask_plot_svg(const struct cask_plot *plot, char **svg, struct cask_error *err);
/* The picture as a file, by its name's end: .svg or .png (white background). Whole or absent. */
enum cask_status cask_plot_write(const struct cask_plot *plot, const char *path,
                                 struct cask_error *err);
/* Is that a name cask_plot_write takes? For a program to ask before its work. "" is one. */
enum cask_status cask_plot_check_name(const char *path, struct cask_error *err);

#endif
