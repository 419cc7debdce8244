/* What of a plot can be drawn, and how large. */
#include <math.h>

#include "common/plot_internal.h"

int plot_width(const struct cask_plot *plot)
{
    return plot->width > 0 ? plot->width : 720;
}

int plot_height(const struct cask_plot *plot)
{
    const int natural = plot->names != NULL ? 90 + 28 * plot->name_count : 420;
    return plot->height > 0 ? plot->height : natural;
}

static const double largest = 1e150; /* gnuplot squares and subtracts: no overflow below this */

bool plot_shown(double value, bool log_axis)
{
    return fabs(value) <= largest && (!log_axis || value >= 1 / largest);
}

static bool within(double value, double min, double max)
{
    return !(min < max) || (value >= min && value <= max);
}

bool plot_drawable(const struct cask_plot *plot, const struct cask_plot_series *series, size_t i)
{
    const bool log_y = plot->log_y && !series->right && plot->names == NULL;
    return plot_shown(series->x[i], plot->log_x) && plot_shown(series->y[i], log_y);
}

struct plot_extent plot_measure(const struct cask_plot *plot)
{
    struct plot_extent extent = {
        .x_min = INFINITY, .x_max = -INFINITY, .y_min = INFINITY, .y_max = -INFINITY};
    for (int s = 0; s < plot->series_count; s++) {
        const struct cask_plot_series *series = &plot->series[s];
        double before = NAN;
        for (size_t i = 0; i < series->count; i++) {
            /* gnuplot refuses a picture whose points all lie outside it */
            if (!plot_drawable(plot, series, i) ||
                !within(series->x[i], plot->x_min, plot->x_max)) {
                continue;
            }
            extent.x_min = fmin(extent.x_min, series->x[i]);
            extent.x_max = fmax(extent.x_max, series->x[i]);
            if (series->right) {
                extent.right = true;
            } else if (within(series->y[i], plot->y_min, plot->y_max)) {
                extent.left = true;
                extent.y_min = fmin(extent.y_min, series->y[i]);
                extent.y_max = fmax(extent.y_max, series->y[i]);
            }
            if (series->style == CASK_PLOT_BARS) {
                const double step = fabs(series->x[i] - before);
                extent.bars = true;
                if (step > 0 && (extent.bar_width == 0 || step < extent.bar_width)) {
                    extent.bar_width = step;
                }
                before = series->x[i];
            }
        }
    }
    return extent;
}
