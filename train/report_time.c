/* Where the seconds of a run went. */
#include <math.h>
#include <stdio.h>

#include "train/report_sections.h"
#include "train/trainer.h"

static void stage(struct report_page *page, const char *colour, const char *name, const char *key,
                  double seconds, double total)
{
    char text[64];
    report_page_duration(seconds, text, sizeof text);
    cask_text_format(&page->html,
                     "<tr><td><span class=\"swatch\" style=\"background:%s\"></span>%s</td>"
                     "<td><span data-key=\"%s\" data-value=\"%.17g\">%s</span></td>"
                     "<td>%.1f %%</td></tr>\n",
                     colour, name, key, seconds, text, 100 * seconds / total);
}

static double column_sum(const struct report_table *table, const char *name)
{
    const double *column = report_table_column(table, name);
    double sum = 0;
    for (size_t i = 0; column != NULL && i < table->rows; i++) {
        sum += isfinite(column[i]) ? column[i] : 0;
    }
    return sum;
}

enum { PARTS = CASK_STAGES + 3 };

void report_section_time(struct report_page *page, const struct report_data *run)
{
    static const char *const names[PARTS] = {"forward",
                                             "head and losses",
                                             "backward",
                                             "update",
                                             "waiting for images and teacher rows",
                                             "validation",
                                             "all else: checkpoints, log, start"};
    static const char *const colours[PARTS] = {"#0072b2", "#56b4e9", "#009e73", "#cc79a7",
                                               "#e69f00", "#d55e00", "#b8bec5"};
    const double total = report_data_seconds(run),
                 validation = report_data_number(run->result, "validation_seconds");
    double parts[PARTS], known = 0;
    char key[64];
    if (!(total > 0)) {
        return;
    }
    for (int i = 0; i < CASK_STAGES; i++) {
        snprintf(key, sizeof key, "stage_seconds.%s", cask_stage_names[i]);
        parts[i] = column_sum(&run->training, key);
    }
    parts[CASK_STAGES] = column_sum(&run->training, "stall_seconds");
    parts[CASK_STAGES + 1] = validation >= 0 ? validation : 0;
    for (int i = 0; i + 1 < PARTS; i++) {
        known += parts[i];
    }
    parts[PARTS - 1] = fmax(total - known, 0);
    report_page_section(page, "time", "Where the time went");
    report_page_open(page, "card");
    report_page_put(page, "<div class=\"bar\">");
    for (int i = 0; i < PARTS; i++) {
        cask_text_format(&page->html, "<span style=\"width:%.2f%%;background:%s\"></span>",
                         100 * parts[i] / fmax(total, known), colours[i]);
    }
    report_page_put(page, "</div><table><tbody>");
    for (int i = 0; i < PARTS; i++) {
        snprintf(key, sizeof key, "seconds.%d", i);
        stage(page, colours[i], names[i], key, parts[i], fmax(total, known));
    }
    report_page_put(page, "</tbody></table>");
    report_page_close(page);
}
