/* train/report_page.h - the HTML of a report: one file, nothing outside it. Private to
 * train/report*.c.
 *
 * Every text of a caller is escaped here. A number that a reader may want to check stands in an
 * element with data-key and data-value (all its digits), whatever is shown.
 */
#ifndef CASK_TRAIN_REPORT_PAGE_H
#define CASK_TRAIN_REPORT_PAGE_H

#include <stdbool.h>

#include "common/plot.h"
#include "common/status.h"
#include "common/text.h"

enum { REPORT_WIDE = 1120 }; /* pixels; a picture of this width has a row to itself */

struct report_page {
    struct cask_text html;
    bool without_pictures; /* gnuplot is not there; said once */
};

void report_page_begin(struct report_page *page, const char *title, const char *subtitle,
                       const char *state, const char *state_class);
/* Publishes the page as `path`. */
enum cask_status report_page_write(struct report_page *page, const char *path,
                                   struct cask_error *err);
void report_page_release(struct report_page *page); /* accepts a zeroed page */

void report_page_put(struct report_page *page, const char *markup); /* as it is */
void report_page_text(struct report_page *page, const char *text);  /* escaped */
void report_page_section(struct report_page *page, const char *id, const char *title);

/* Around figures, which stand two in a row where there is room; between tiles. */
void report_page_open(struct report_page *page, const char *class_name); /* <div class=...> */
void report_page_close(struct report_page *page);

/* A picture below its heading. Without gnuplot nothing, but for one sentence on the page; where
 * gnuplot fails, what it said. CASK_ERR_MEMORY only. */
enum cask_status report_page_figure(struct report_page *page, const char *heading,
                                    const struct cask_plot *plot, struct cask_error *err);

/* value as a number with so many decimals and its unit ("" or "%"); a dash for NaN. */
void report_page_number(struct report_page *page, const char *key, double value, int decimals,
                        const char *unit);
/* A large number with its label, and a small text below that may be "". */
void report_page_tile(struct report_page *page, const char *label, const char *key, double value,
                      int decimals, const char *unit, const char *below);
void report_page_tile_text(struct report_page *page, const char *label, const char *text,
                           const char *below);
/* One line of a two-column table. Nothing where the text is "". */
void report_page_fact(struct report_page *page, const char *name, const char *text);

/* "1 h 02 min", "3 min 20 s", "12.5 s" */
void report_page_duration(double seconds, char *buffer, size_t bytes);

#endif
