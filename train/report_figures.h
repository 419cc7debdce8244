/* train/report_figures.h - the pictures of a run's report. Private to train/report*.c.
 *
 * A picture without values is not drawn; without gnuplot see train/report_page.h.
 */
#ifndef CASK_TRAIN_REPORT_FIGURES_H
#define CASK_TRAIN_REPORT_FIGURES_H

#include "train/report_data.h"
#include "train/report_page.h"

enum { REPORT_SERIES = 64 };

/* "92.35 % accuracy" curves and so on: one picture each, or none. */
enum cask_status report_figure_loss(struct report_page *page, const struct report_data *run,
                                    struct cask_error *err);
enum cask_status report_figure_accuracy(struct report_page *page, const struct report_data *run,
                                        struct cask_error *err); /* on training batches; lr */
enum cask_status report_figure_validation(struct report_page *page, const struct report_data *run,
                                          struct cask_error *err);
enum cask_status report_figure_speed(struct report_page *page, const struct report_data *run,
                                     struct cask_error *err);
enum cask_status report_figures_gradients(struct report_page *page, const struct report_data *run,
                                          struct cask_error *err); /* norms; cosines */
enum cask_status report_figure_captured(struct report_page *page, const struct report_data *run,
                                        struct cask_error *err);

/* ROC of sets (each {"name", "roc": {...}}) on one log axis; names: [count], of the curves. */
enum cask_status report_figure_roc(struct report_page *page, const char *heading,
                                   const struct cask_json *const *sets, const char *const *names,
                                   int count, struct cask_error *err);
/* Genuine and impostor scores of one set. */
enum cask_status report_figure_scores(struct report_page *page, const struct cask_json *set,
                                      struct cask_error *err);

/* x and y of one curve taken from a table, or a series without values. */
struct cask_plot_series report_series(const struct report_table *table, const char *name,
                                      const char *column, enum cask_plot_style style);

/* Pixels of a picture with so many series: at least `least`, and enough for one line of the key for
 * each. */
static inline int report_figure_height(int least, int series)
{
    const int key = 60 + 21 * series;
    return key > least ? key : least;
}

#endif
