/* Numbers to gnuplot's data lines: what cannot be drawn is a gap, what would not be seen is left
 * out. */
#include <math.h>

#include "common/plot_internal.h"

static void add_point(const struct cask_plot *plot, const struct cask_plot_series *series, size_t i,
                      struct cask_text *text)
{
    cask_text_format(text, "%.9g %.9g", series->x[i], series->y[i]);
    if (series->low != NULL && series->high != NULL) {
        const double low = series->low[i], high = series->high[i];
        const double value = plot->names != NULL ? series->x[i] : series->y[i];
        const bool known = plot_shown(low, false) && plot_shown(high, false);
        cask_text_format(text, " %.9g %.9g", known ? low : value, known ? high : value);
    }
    cask_text_put(text, "\n");
}

/* The pixel column of x. */
static double column(const struct cask_plot *plot, const struct plot_extent *extent, double x)
{
    const double a = plot->log_x ? log(extent->x_min) : extent->x_min,
                 b = plot->log_x ? log(extent->x_max) : extent->x_max;
    return floor(((plot->log_x ? log(x) : x) - a) / (b - a) * plot_width(plot));
}

/* Points `first`..`last` lie in one column: keeps the ends and the extremes, in their order. */
static void add_column(const struct cask_plot *plot, const struct cask_plot_series *series,
                       size_t first, size_t last, struct cask_text *text)
{
    size_t low = first, high = first;
    for (size_t i = first; i <= last; i++) {
        low = series->y[i] < series->y[low] ? i : low;
        high = series->y[i] > series->y[high] ? i : high;
    }
    const size_t chosen[4] = {first, low < high ? low : high, low < high ? high : low, last};
    for (int i = 0; i < 4; i++) {
        if (i == 0 || chosen[i] != chosen[i - 1]) {
            add_point(plot, series, chosen[i], text);
        }
    }
}

void plot_points(const struct cask_plot *plot, const struct plot_extent *extent,
                 const struct cask_plot_series *series, struct cask_text *text)
{
    const bool thin = (series->style == CASK_PLOT_LINE || series->style == CASK_PLOT_STEPS) &&
                      series->count > 4 * (size_t)plot_width(plot) &&
                      extent->x_min < extent->x_max && plot->names == NULL;
    bool gap = true; /* no gap before the first point or after another gap */
    for (size_t i = 0; i < series->count; i++) {
        if (!plot_drawable(plot, series, i)) {
            cask_text_put(text, gap ? "" : "\n");
            gap = true;
            continue;
        }
        gap = false;
        if (!thin) {
            add_point(plot, series, i, text);
            continue;
        }
        const size_t first = i;
        const double here = column(plot, extent, series->x[i]);
        while (i + 1 < series->count && plot_drawable(plot, series, i + 1) &&
               column(plot, extent, series->x[i + 1]) == here) {
            i++;
        }
        add_column(plot, series, first, i, text);
    }
}
