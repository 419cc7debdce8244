/* common/plot.h - pictures of numbers: curves, steps, bars and points, drawn by gnuplot.
 *
 * Cask draws nothing itself. A picture is described by one struct and handed to the program
 * `gnuplot` (Debian: gnuplot-nox) as a script and inline data on its standard input; no shell is
 * involved and no text of the caller is ever read as a command. A machine without gnuplot gets
 * CASK_ERR_UNSUPPORTED, so that callers can go on without pictures and say so.
 *
 * NaN in y leaves a gap in a line. Thread rule: plain functions.
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
    bool right; /* measured on the axis at the right */
};

struct cask_plot {
    const char *title, *x_label, *y_label, *right_label; /* "" or NULL: none */
    bool log_x, log_y;                 /* values <= 0 are left out on a log axis */
    double x_min, x_max, y_min, y_max; /* min == max: chosen by the data */
    int width, height;                 /* pixels; 0: 720 x 420 */
    const struct cask_plot_series *series;
    int series_count;
};

/* The picture as SVG text, for a page; caller frees *svg with cask_free. */
enum cask_status cask_plot_svg(const struct cask_plot *plot, char **svg, struct cask_error *err);
/* The picture as a file, by its name's end: .svg or .png. Whole or absent. */
enum cask_status cask_plot_write(const struct cask_plot *plot, const char *path,
                                 struct cask_error *err);

#endif
