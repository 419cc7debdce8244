/* A plot as gnuplot's commands. gnuplot reads single-quoted text as it is, without backslashes and
 * back-quote substitution (help quotes). Its rule for a quote inside, '', is not used: 5.4 ends the
 * text early at two of them in a row, and what follows would be a command. */
#include <math.h>
#include <string.h>

#include "common/plot_internal.h"

/* Okabe and Ito, "Color Universal Design" (2008): told apart by every kind of colour vision. Their
 * yellow is left out, it is too pale for a thin line; grey stands in for black, which is the text.
 */
static const char *const palette[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                      "#E69F00", "#56B4E9", "#666666"};
enum { COLOURS = sizeof palette / sizeof palette[0], KEY_ABOVE_MAX = 6 };
enum { LABEL_MAX = 200, LETTER_PIXELS = 8, LINE_PIXELS = 20 };
static const char ink[] = "#444444", pale[] = "#E4E6E9", frame[] = "#9AA0A6";

/* Bytes to the next letter, whatever stands here. */
static size_t letter(const char *text)
{
    const size_t length = cask_utf8_length(text);
    return length > 0 ? length : 1;
}

/* Control characters and broken UTF-8 become '?', the apostrophe becomes U+2019. */
static void put_letter(struct cask_text *script, const char *text)
{
    const unsigned char c = (unsigned char)*text;
    if (cask_utf8_length(text) == 0 || c < 0x20 || c == 0x7F) {
        cask_text_put(script, c == '\n' || c == '\t' ? " " : "?");
    } else if (c == '\'') {
        cask_text_put(script, "\xE2\x80\x99");
    } else {
        cask_text_add(script, text, letter(text));
    }
}

/* 'text'. Of more than `most` letters the middle is left out: names of rows often differ at their
 * ends. */
static void quoted(struct cask_text *script, const char *text, int most)
{
    int letters = 0, at = 0;
    for (const char *c = text; *c != 0; c += letter(c)) {
        letters++;
    }
    const int tail = letters > most ? (most - 1) * 2 / 5 : 0,
              head = letters > most ? most - 1 - tail : letters;
    cask_text_put(script, "'");
    for (; *text != 0; text += letter(text), at++) {
        if (at < head || at >= letters - tail) {
            put_letter(script, text);
        } else if (at == head) {
            cask_text_put(script, "\xE2\x80\xA6");
        }
    }
    cask_text_put(script, "'");
}

/* Letters that a name may have in the key: it stands at the right, in one or two columns, or above
 * the picture, two names in a row. */
static int key_letters(const struct cask_plot *plot)
{
    const bool beside = plot->series_count > KEY_ABOVE_MAX;
    const int columns = beside && plot->series_count * LINE_PIXELS > plot_height(plot) ? 2 : 1,
              room = plot_width(plot) / (beside ? 4 * columns : 2) / LETTER_PIXELS;
    return room > 12 ? room : 12;
}

static bool given(const char *text)
{
    return text != NULL && text[0] != 0;
}

static void put_label(struct cask_text *script, const char *command, const char *text)
{
    if (given(text)) {
        cask_text_format(script, "set %s ", command);
        quoted(script, text, LABEL_MAX);
        cask_text_format(script, " textcolor rgb '%s'%s\n", ink,
                         strcmp(command, "xlabel") == 0 ? " offset 0,0.4" : "");
    }
}

/* "set xrange [a:b]" where the caller chose; `low` is what the data is left to choose else. */
static void put_range(struct cask_text *script, const char *axis, double min, double max,
                      bool log_axis, const char *otherwise)
{
    if (min < max && fabs(min) < 1e150 && fabs(max) < 1e150 && !(log_axis && min <= 0)) {
        cask_text_format(script, "set %srange [%.9g:%.9g]\n", axis, min, max);
    } else {
        cask_text_format(script, "set %srange %s\n", axis, otherwise);
    }
}

static void put_terminal(const struct cask_plot *plot, enum plot_terminal terminal,
                         const char *name, struct cask_text *script)
{
    const int width = plot_width(plot), height = plot_height(plot);
    cask_text_put(script, "set encoding utf8\n");
    if (terminal == PLOT_SVG) {
        cask_text_format(script,
                         "set terminal svg size %d,%d dynamic noenhanced rounded "
                         "font 'sans-serif,13' name '%s'\n",
                         width, height, name);
    } else { /* twice as fine, for screens of today and for paper */
        cask_text_format(script,
                         "if (strstrt(GPVAL_TERMINALS, ' pngcairo ') > 0) "
                         "set terminal pngcairo size %d,%d noenhanced rounded fontscale 2 "
                         "linewidth 2 font 'sans,10' background rgb 'white'; "
                         "else set terminal png size %d,%d noenhanced medium\n",
                         2 * width, 2 * height, 2 * width, 2 * height);
    }
}

static void put_frame(const struct cask_plot *plot, const struct plot_extent *extent,
                      struct cask_text *script)
{
    cask_text_format(script, "set border %d back linecolor rgb '%s' linewidth 1\n",
                     extent->right ? 11 : 3, frame);
    cask_text_format(script, "set tics nomirror scale 0.5 textcolor rgb '%s'\n", ink);
    cask_text_format(script, "set grid back linetype 1 linecolor rgb '%s' linewidth 0.7\n", pale);
    cask_text_put(script, "set format '%g'\n");
    put_label(script, "title", plot->title);
    put_label(script, "xlabel", plot->x_label);
    put_label(script, "ylabel", plot->y_label);
    if (extent->right) {
        put_label(script, "y2label", plot->right_label);
        cask_text_put(script, "set y2tics\n");
    }
    cask_text_format(script, "set key textcolor rgb '%s' noautotitle samplen 2 %s\n", ink,
                     plot->series_count > KEY_ABOVE_MAX ? "rmargin top vertical Left reverse"
                     : given(plot->title)
                         ? "bmargin left horizontal Left reverse width 2 title ' ' font ',5'"
                         : "tmargin left horizontal Left reverse width 2");
    cask_text_put(script, "set style fill transparent solid 0.45 noborder\n");
}

/* Over three decades, and beyond what one reads at a glance, every label is a power of ten: 1e-6,
 * 1e-5, ... */
static void put_log(struct cask_text *script, const char *axis, double min, double max)
{
    cask_text_format(script, "set logscale %s\nset m%stics 10\n", axis, axis);
    if (max / min >= 1e3 && (min <= 1e-3 || max > 1e5)) {
        cask_text_format(script, "set format %s '1e%%T'\n", axis);
    }
}

static void put_axes(const struct cask_plot *plot, const struct plot_extent *extent,
                     struct cask_text *script)
{
    const bool any = extent->left || extent->right;
    const bool log_x = plot->log_x && any, log_y = plot->log_y && extent->left;
    if (log_x) {
        put_log(script, "x", plot->x_min > 0 ? plot->x_min : extent->x_min, extent->x_max);
    }
    if (log_y) {
        put_log(script, "y", plot->y_min > 0 ? plot->y_min : extent->y_min, extent->y_max);
    }
    put_range(script, "x", plot->x_min, plot->x_max, log_x, any ? "[*:*] noextend" : "[0:1]");
    const char *zero = extent->bars && extent->y_min >= 0 && !log_y ? "[0:*]" : "[*:*]";
    put_range(script, "y", plot->y_min, plot->y_max, log_y, extent->left ? zero : "[0:1]");
    if (extent->bars && !log_x) {
        cask_text_format(script, "set boxwidth %.9g absolute\n",
                         extent->bar_width > 0 ? extent->bar_width : 1);
    }
    if (extent->bars && extent->bar_width == 0 && !(plot->x_min < plot->x_max)) {
        cask_text_format(script, "set xrange [%.9g:%.9g]\n",
                         log_x ? extent->x_min / 2 : extent->x_min - 1,
                         log_x ? 2 * extent->x_max : extent->x_max + 1);
    }
    if (!any) {
        cask_text_put(script, "unset tics\nset label 'no values' at graph 0.5,0.5 center "
                              "textcolor rgb '#888888'\n");
    }
}

static void put_names(const struct cask_plot *plot, struct cask_text *script)
{
    cask_text_format(script, "set yrange [%g:-0.5]\nset ytics scale 0 (",
                     (plot->name_count > 0 ? plot->name_count : 1) - 0.5);
    for (int i = 0; i < plot->name_count; i++) {
        cask_text_put(script, i > 0 ? ", " : "");
        quoted(script, plot->names[i] != NULL ? plot->names[i] : "",
               plot_width(plot) / 3 / LETTER_PIXELS);
        cask_text_format(script, " %d", i);
    }
    cask_text_put(script, ")\nset offsets graph 0.03, graph 0.03, 0, 0\n");
}

/* ------------------------------------------------------------------- series */

static const char *style_of(const struct cask_plot *plot, const struct cask_plot_series *series,
                            int values)
{
    if (plot->names != NULL ||
        (values == 1 && series->style != CASK_PLOT_BARS)) { /* one point makes no line */
        return "points pointtype 7 pointsize 0.9";
    }
    switch (series->style) {
    case CASK_PLOT_STEPS:
        return "steps linewidth 1.7";
    case CASK_PLOT_POINTS:
        return "points pointtype 7 pointsize 0.5";
    case CASK_PLOT_LINE_POINTS:
        return "linespoints linewidth 1.7 pointtype 7 pointsize 0.5";
    case CASK_PLOT_BARS:
        return "boxes";
    case CASK_PLOT_LINE:
    default:
        return "lines linewidth 1.7";
    }
}

static void put_interval(const struct cask_plot *plot, const struct cask_plot_series *series,
                         int index, struct cask_text *script)
{
    const char *colour = palette[index % COLOURS], *axes = series->right ? "x1y2" : "x1y1";
    const bool line = series->style == CASK_PLOT_LINE || series->style == CASK_PLOT_STEPS;
    if (plot->names != NULL) {
        cask_text_format(script,
                         "$d%d using 1:2:3:4 with xerrorbars linecolor rgb '%s' linewidth 1.5 "
                         "pointtype 7 pointsize 0 notitle, ",
                         index, colour);
    } else if (line) {
        cask_text_format(script,
                         "$d%d using 1:3:4 axes %s with filledcurves linecolor rgb '%s' "
                         "fillstyle transparent solid 0.15 notitle, ",
                         index, axes, colour);
    } else {
        cask_text_format(script,
                         "$d%d using 1:2:3:4 axes %s with yerrorbars linecolor rgb '%s' "
                         "linewidth 1.5 pointtype 7 pointsize 0 notitle, ",
                         index, axes, colour);
    }
}

/* 0, 1 or 2: points that can be drawn, where 2 stands for all above. */
static int values_of(const struct cask_plot *plot, const struct cask_plot_series *series)
{
    int found = 0;
    for (size_t i = 0; i < series->count && found < 2; i++) {
        found += plot_drawable(plot, series, i);
    }
    return found;
}

static void put_series(const struct cask_plot *plot, int index, struct cask_text *script)
{
    const struct cask_plot_series *series = &plot->series[index];
    const bool bars = series->style == CASK_PLOT_BARS && plot->names == NULL;
    const int values = values_of(plot, series);
    if (values == 0) { /* it keeps its place in the key */
        cask_text_put(script, "NaN ");
    } else {
        if (series->low != NULL && series->high != NULL) {
            put_interval(plot, series, index, script);
        }
        cask_text_format(script, "$d%d using 1:2 axes %s ", index, series->right ? "x1y2" : "x1y1");
    }
    cask_text_format(script, "with %s linecolor rgb '%s' ", style_of(plot, series, values),
                     palette[index % COLOURS]);
    if (!bars && index >= COLOURS && plot->names == NULL) { /* the colours begin again */
        cask_text_format(script, "dashtype %d ", 2 + (index / COLOURS - 1) % 4);
    }
    if (given(series->name)) {
        cask_text_put(script, "title ");
        quoted(script, series->name, key_letters(plot));
    } else {
        cask_text_put(script, "notitle");
    }
}

void plot_script(const struct cask_plot *plot, enum plot_terminal terminal, const char *name,
                 struct cask_text *script)
{
    const struct plot_extent extent = plot_measure(plot);
    put_terminal(plot, terminal, name, script);
    put_frame(plot, &extent, script);
    put_axes(plot, &extent, script);
    if (plot->names != NULL) {
        put_names(plot, script);
    }
    for (int i = 0; i < plot->series_count; i++) {
        if (values_of(plot, &plot->series[i]) > 0) {
            cask_text_format(script, "$d%d << CASK_END\n", i);
            plot_points(plot, &extent, &plot->series[i], script);
            cask_text_put(script, "CASK_END\n");
        }
    }
    cask_text_put(script, plot->series_count == 0 ? "plot NaN notitle" : "plot ");
    for (int i = 0; i < plot->series_count; i++) {
        cask_text_put(script, i > 0 ? ", " : "");
        put_series(plot, i, script);
    }
    cask_text_put(script, "\n");
}
