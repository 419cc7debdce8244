#include "train/report_figures.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 560, HEIGHT = 340, NAME_BYTES = 160 };

struct cask_plot_series report_series(const struct report_table *table, const char *name,
                                      const char *column, enum cask_plot_style style)
{
    struct cask_plot_series series = {.name = name, .style = style};
    series.x = report_table_column(table, "step");
    series.y = report_table_column(table, column);
    series.count = series.x != NULL && series.y != NULL ? table->rows : 0;
    return series;
}

static bool has_value(const struct cask_plot_series *series)
{
    for (size_t i = 0; i < series->count; i++) {
        if (isfinite(series->y[i])) {
            return true;
        }
    }
    return false;
}

/* Terms differ by orders of magnitude, and so do norms: then all of them are read on a log axis. */
static bool wants_log(const struct cask_plot_series *series, int count)
{
    double low = INFINITY, high = 0;
    for (int s = 0; s < count; s++) {
        for (size_t i = 0; i < series[s].count; i++) {
            const double value = series[s].y[i];
            if (value < 0) {
                return false;
            }
            if (value > 0 && value < INFINITY) {
                low = fmin(low, value);
                high = fmax(high, value);
            }
        }
    }
    return high / low > 30;
}

/* One series for each term: "kd", and "kd (weight 2)" where that is not 1. */
static int add_terms(const struct report_table *table, const char *what, bool weights,
                     char names[REPORT_SERIES][NAME_BYTES], struct cask_plot_series *series,
                     int count)
{
    char prefix[64], column[2 * NAME_BYTES];
    const char *term;
    snprintf(prefix, sizeof prefix, "terms.%s ", what);
    for (int i = 0; count < REPORT_SERIES && (term = report_table_named(table, prefix, i)) != NULL;
         i++) {
        snprintf(column, sizeof column, "terms.weight %s", term);
        const double weight = report_table_last(table, column);
        if (weights && isfinite(weight) && weight != 1) {
            snprintf(names[count], NAME_BYTES, "%.100s (weight %.4g)", term, weight);
        } else {
            snprintf(names[count], NAME_BYTES, "%.150s", term);
        }
        snprintf(column, sizeof column, "%s%s", prefix, term);
        series[count] = report_series(table, names[count], column, CASK_PLOT_LINE);
        count += has_value(&series[count]);
    }
    return count;
}

enum cask_status report_figure_loss(struct report_page *page, const struct report_data *run,
                                    struct cask_error *err)
{
    char names[REPORT_SERIES][NAME_BYTES];
    struct cask_plot_series series[REPORT_SERIES];
    int count = 1;
    series[0] = report_series(&run->training, "total", "total", CASK_PLOT_LINE);
    count = add_terms(&run->training, "value", true, names, series, count);
    if (!has_value(&series[0])) {
        return CASK_OK;
    }
    if (count == 2 &&
        report_table_last(&run->training, "total") == series[1].y[run->training.rows - 1]) {
        series[0].name = series[1].name; /* the only term is the total */
        count = 1;
    }
    const struct cask_plot plot = {.x_label = "step",
                                   .y_label = "loss",
                                   .log_y = wants_log(series, count),
                                   .width = WIDTH,
                                   .height = HEIGHT,
                                   .series = series,
                                   .series_count = count};
    return report_page_figure(page, "Loss, and each term of it", &plot, err);
}

enum cask_status report_figure_accuracy(struct report_page *page, const struct report_data *run,
                                        struct cask_error *err)
{
    struct cask_plot_series series[2] = {
        report_series(&run->training, "accuracy", "accuracy", CASK_PLOT_LINE),
        report_series(&run->training, "learning rate", "lr", CASK_PLOT_LINE)};
    series[1].right = true;
    const struct cask_plot plot = {.x_label = "step",
                                   .y_label = "share of the batch",
                                   .right_label = "learning rate",
                                   .width = WIDTH,
                                   .height = HEIGHT,
                                   .series = series,
                                   .series_count = 2};
    return has_value(&series[0])
               ? report_page_figure(page, "Accuracy on training batches, learning rate", &plot, err)
               : CASK_OK;
}

enum cask_status report_figure_validation(struct report_page *page, const struct report_data *run,
                                          struct cask_error *err)
{
    struct cask_plot_series series[REPORT_SERIES];
    static const char prefix[] = "validation.sets.accuracy ";
    char column[2 * NAME_BYTES];
    const char *name;
    int count = 0;
    for (int i = 0;
         count < REPORT_SERIES && (name = report_table_named(&run->validation, prefix, i)) != NULL;
         i++) {
        snprintf(column, sizeof column, "%s%s", prefix, name);
        series[count] = report_series(&run->validation, name, column, CASK_PLOT_LINE_POINTS);
        count += has_value(&series[count]);
    }
    const struct cask_plot plot = {.x_label = "step",
                                   .y_label = "accuracy in %",
                                   .width = WIDTH,
                                   .height = HEIGHT,
                                   .series = series,
                                   .series_count = count};
    return count > 0 ? report_page_figure(page, "Accuracy on the validation sets", &plot, err)
                     : CASK_OK;
}

enum cask_status report_figure_speed(struct report_page *page, const struct report_data *run,
                                     struct cask_error *err)
{
    const struct cask_plot_series series =
        report_series(&run->training, "", "images_per_second", CASK_PLOT_LINE);
    const struct cask_plot plot = {.x_label = "step",
                                   .y_label = "images / s",
                                   .width = WIDTH,
                                   .height = HEIGHT,
                                   .series = &series,
                                   .series_count = 1};
    return has_value(&series) ? report_page_figure(page, "Images per second", &plot, err) : CASK_OK;
}

enum cask_status report_figures_gradients(struct report_page *page, const struct report_data *run,
                                          struct cask_error *err)
{
    static const char *const what[2] = {"gradient_norm", "gradient_cosine"};
    static const char *const headings[2] = {"Gradient norm of each term, and of all",
                                            "Cosine of each term's gradient to the head's"};
    char names[REPORT_SERIES][NAME_BYTES];
    struct cask_plot_series series[REPORT_SERIES];
    enum cask_status st = CASK_OK;
    for (int i = 0; i < 2; i++) {
        int count = add_terms(&run->training, what[i], false, names, series, 0);
        if (i == 0 && count < REPORT_SERIES) { /* before clipping, of the whole network */
            series[count] = report_series(&run->training, "all, on the parameters", "gradient_norm",
                                          CASK_PLOT_LINE);
            count += has_value(&series[count]);
        }
        const struct cask_plot plot = {.x_label = "step",
                                       .y_label = i == 0 ? "norm" : "cosine",
                                       .log_y = i == 0 && wants_log(series, count),
                                       .y_min = i == 0 ? 0 : -1.05,
                                       .y_max = i == 0 ? 0 : 1.05,
                                       .width = WIDTH,
                                       .height = HEIGHT,
                                       .series = series,
                                       .series_count = count};
        if (count > i) { /* the head's cosine to itself says nothing */
            CASK_TRY(report_page_figure(page, headings[i], &plot, err));
        }
    }
done:
    return st;
}

enum cask_status report_figure_captured(struct report_page *page, const struct report_data *run,
                                        struct cask_error *err)
{
    const struct cask_plot_series series =
        report_series(&run->training, "", "captured", CASK_PLOT_LINE);
    const struct cask_plot plot = {.x_label = "step",
                                   .y_label = "share of the teacher's mass",
                                   .width = WIDTH,
                                   .height = HEIGHT,
                                   .series = &series,
                                   .series_count = 1};
    double lowest = 1;
    for (size_t i = 0; i < series.count; i++) {
        lowest = fmin(lowest, series.y[i]);
    }
    return lowest < 0.9995 /* else there is nothing to see */
               ? report_page_figure(page, "How much of the teacher's mass is known", &plot, err)
               : CASK_OK;
}
