/* eval/report_plot.c - ROC and histogram of scores as pictures. */
#include "common/mem.h"
#include "common/plot.h"
#include "eval/eval.h"

enum { BOTH = 2 }; /* genuine, impostor */

enum cask_status cask_report_roc(const char *path, const struct cask_report_curve *curves,
                                 int count, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_plot_series *series = cask_alloc((size_t)count, sizeof *series);
    double least = 1; /* the smallest rate that any of the sets can tell from zero */
    if (series == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *series, "a picture"));
    }
    for (int i = 0; i < count; i++) {
        const struct cask_set_result *set = curves[i].set;
        double step = set->impostor > 0 ? 1 / (double)set->impostor : 1;
        least = step < least ? step : least;
        series[i] = (struct cask_plot_series){.name = curves[i].name,
                                              .x = set->roc_fpr,
                                              .y = set->roc_tpr,
                                              .count = (size_t)set->roc_count,
                                              .style = CASK_PLOT_STEPS};
    }
    struct cask_plot plot = {.title = "ROC",
                             .x_label = "FPR",
                             .y_label = "TPR",
                             .log_x = true,
                             .x_min = least,
                             .x_max = 1,
                             .series = series,
                             .series_count = count};
    CASK_TRY(cask_plot_write(&plot, path, err));
done:
    cask_free(series);
    return st;
}

struct bars {
    double x[CASK_HISTOGRAM_BINS], y[BOTH][CASK_HISTOGRAM_BINS];
    char name[BOTH][160];
};

/* Shares, so that sets of different size can be laid over one another. */
static void fill_bars(const struct cask_report_curve *curve, struct bars *bars)
{
    static const char *const kinds[BOTH] = {"genuine", "impostor"};
    const struct cask_set_result *set = curve->set;
    const int64_t *counts[BOTH] = {set->histogram_genuine, set->histogram_impostor};
    const int64_t all[BOTH] = {set->genuine, set->impostor};
    for (int b = 0; b < CASK_HISTOGRAM_BINS; b++) {
        bars->x[b] = (set->histogram_edges[b] + set->histogram_edges[b + 1]) / 2;
        for (int k = 0; k < BOTH; k++) {
            bars->y[k][b] = all[k] > 0 ? (double)counts[k][b] / (double)all[k] : 0;
        }
    }
    for (int k = 0; k < BOTH; k++) {
        snprintf(bars->name[k], sizeof bars->name[k], "%s, %s", curve->name, kinds[k]);
    }
}

enum cask_status cask_report_histogram(const char *path, const struct cask_report_curve *curves,
                                       int count, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct bars *bars = cask_alloc((size_t)count, sizeof *bars);
    struct cask_plot_series *series = cask_alloc((size_t)count * BOTH, sizeof *series);
    if (bars == NULL || series == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *bars, "a picture"));
    }
    for (int i = 0; i < count; i++) {
        fill_bars(&curves[i], &bars[i]);
        for (int k = 0; k < BOTH; k++) {
            series[i * BOTH + k] = (struct cask_plot_series){.name = bars[i].name[k],
                                                             .x = bars[i].x,
                                                             .y = bars[i].y[k],
                                                             .count = CASK_HISTOGRAM_BINS,
                                                             .style = CASK_PLOT_BARS};
        }
    }
    struct cask_plot plot = {.title = "Scores",
                             .x_label = "cosine",
                             .y_label = "share of pairs",
                             .series = series,
                             .series_count = count * BOTH};
    CASK_TRY(cask_plot_write(&plot, path, err));
done:
    cask_free(bars);
    cask_free(series);
    return st;
}
