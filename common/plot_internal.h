/* common/plot_internal.h - shared by the plot*.c files; nobody else includes it. */
#ifndef CASK_COMMON_PLOT_INTERNAL_H
#define CASK_COMMON_PLOT_INTERNAL_H

#include "common/plot.h"
#include "common/text.h"

/* What can be drawn of a plot. */
struct plot_extent {
    bool left, right;    /* some value on this y axis */
    double x_min, x_max; /* over all values */
    double y_min, y_max; /* over those of the left axis */
    double bar_width;    /* smallest distance of two bars of one series; 0: no two bars */
    bool bars;           /* some bar */
};
struct plot_extent plot_measure(const struct cask_plot *plot);

/* In pixels. */
int plot_width(const struct cask_plot *plot);
int plot_height(const struct cask_plot *plot);

/* The value, the i-th point can be drawn: see common/plot.h. */
bool plot_shown(double value, bool log_axis);
bool plot_drawable(const struct cask_plot *plot, const struct cask_plot_series *series, size_t i);

/* One line "x y" or "x y low high" a point; an empty line is a gap. */
void plot_points(const struct cask_plot *plot, const struct plot_extent *extent,
                 const struct cask_plot_series *series, struct cask_text *text);

enum plot_terminal { PLOT_SVG, PLOT_PNG };
/* The whole input of gnuplot. `name`: letters and digits, before every id of the picture. */
void plot_script(const struct cask_plot *plot, enum plot_terminal terminal, const char *name,
                 struct cask_text *script);

/* gnuplot's SVG document as an element for a page. */
void plot_element(const struct cask_plot *plot, const char *name, const char *document,
                  struct cask_text *element);

#endif
