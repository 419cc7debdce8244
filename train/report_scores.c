/* ROC and score distributions, from evaluation.json (eval/eval.h, cask_report_json). */
#include <math.h>
#include <stdio.h>

#include "common/mem.h"
#include "train/report_figures.h"

enum { WIDTH = 560, HEIGHT = 340, NARROW_MAX = 6, POINTS_MAX = 100000 };

/* A JSON array as numbers (NaN where there is none); NULL if it is empty or no array. */
static double *numbers(const struct cask_json *array, size_t *count)
{
    const size_t size = cask_json_kind(array) == CASK_JSON_ARRAY ? cask_json_size(array) : 0;
    *count = size < POINTS_MAX ? size : POINTS_MAX;
    double *values = *count > 0 ? cask_alloc(*count, sizeof *values) : NULL;
    for (size_t i = 0; values != NULL && i < *count; i++) {
        values[i] = NAN;
        cask_json_as_real(cask_json_at(array, i), &values[i]);
    }
    *count = values != NULL ? *count : 0;
    return values;
}

/* 1, 1e-1, ..., the last decade in which some curve has a false accept; at least three decades. */
static double lowest_rate(const struct cask_plot_series *series, int count)
{
    double low = 1;
    for (int s = 0; s < count; s++) {
        for (size_t i = 0; i < series[s].count; i++) {
            low = series[s].x[i] > 0 ? fmin(low, series[s].x[i]) : low;
        }
    }
    return fmin(pow(10, floor(log10(low))), 1e-3);
}

enum cask_status report_figure_roc(struct report_page *page, const char *heading,
                                   const struct cask_json *const *sets, const char *const *names,
                                   int count, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_plot_series series[REPORT_SERIES];
    double *owned[REPORT_SERIES][2];
    int used = 0;
    for (int i = 0; i < count && used < REPORT_SERIES; i++) {
        const struct cask_json *roc = cask_json_get(sets[i], "roc");
        size_t points = 0, more = 0;
        owned[used][0] = numbers(cask_json_get(roc, "fpr"), &points);
        owned[used][1] = numbers(cask_json_get(roc, "tpr"), &more);
        series[used] = (struct cask_plot_series){.name = names[i],
                                                 .x = owned[used][0],
                                                 .y = owned[used][1],
                                                 .count = points < more ? points : more,
                                                 .style = CASK_PLOT_STEPS};
        used++;
    }
    double drawn = 0;
    for (int i = 0; i < used; i++) {
        drawn += (double)series[i].count;
    }
    const struct cask_plot plot = {.x_label = "false positive rate",
                                   .y_label = "true positive rate",
                                   .log_x = true,
                                   .x_min = lowest_rate(series, used),
                                   .x_max = 1,
                                   .width = used > NARROW_MAX ? REPORT_WIDE : WIDTH,
                                   .height = report_figure_height(HEIGHT, used),
                                   .series = series,
                                   .series_count = used};
    if (drawn > 0) {
        CASK_TRY(report_page_figure(page, heading, &plot, err));
    }
done:
    for (int i = 0; i < used; i++) {
        cask_free(owned[i][0]);
        cask_free(owned[i][1]);
    }
    return st;
}

/* Counts to shares of their kind: there are often many more impostors. */
static void to_shares(double *counts, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += counts[i] > 0 ? counts[i] : 0;
    }
    for (size_t i = 0; i < count && sum > 0; i++) {
        counts[i] = 100 * counts[i] / sum;
    }
}

enum cask_status report_figure_scores(struct report_page *page, const struct cask_json *set,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_json *histogram = cask_json_get(set, "histogram");
    size_t edges = 0, counts[2] = {0, 0};
    double *edge = numbers(cask_json_get(histogram, "edges"), &edges);
    double *bars[2] = {numbers(cask_json_get(histogram, "genuine"), &counts[0]),
                       numbers(cask_json_get(histogram, "impostor"), &counts[1])};
    const char *name = "";
    char heading[160];
    if (edges < 2 || counts[0] + 1 != edges || counts[1] + 1 != edges) {
        goto done;
    }
    for (size_t i = 0; i + 1 < edges; i++) {
        edge[i] = (edge[i] + edge[i + 1]) / 2; /* the middle of the bar */
    }
    to_shares(bars[0], counts[0]);
    to_shares(bars[1], counts[1]);
    size_t first = 0, last = counts[0] - 1;
    while (first < last && !(bars[0][first] > 0 || bars[1][first] > 0)) {
        first++;
    }
    while (last > first && !(bars[0][last] > 0 || bars[1][last] > 0)) {
        last--;
    }
    first -= first < 2 ? first : 2; /* two empty bars at either side, where there are any */
    last += counts[0] - 1 - last < 2 ? counts[0] - 1 - last : 2;
    const struct cask_plot_series series[2] = {
        {"genuine pairs", edge + first, bars[0] + first, last - first + 1, CASK_PLOT_BARS, false,
         NULL, NULL},
        {"impostor pairs", edge + first, bars[1] + first, last - first + 1, CASK_PLOT_BARS, false,
         NULL, NULL}};
    const struct cask_plot plot = {.x_label = "cosine of the two embeddings",
                                   .y_label = "% of the pairs of a kind",
                                   .width = WIDTH,
                                   .height = HEIGHT,
                                   .series = series,
                                   .series_count = 2};
    cask_json_as_text(cask_json_get(set, "name"), &name);
    snprintf(heading, sizeof heading, "Scores on %.100s", name);
    CASK_TRY(report_page_figure(page, heading, &plot, err));
done:
    cask_free(edge);
    cask_free(bars[0]);
    cask_free(bars[1]);
    return st;
}
