/* Where the seconds of a run went. */
#include <math.h>

#include "train/report_sections.h"

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

void report_section_time(struct report_page *page, const struct report_data *run)
{
    static const char *const names[3] = {"forward, losses, backward, update",
                                         "waiting for images and teacher rows", "validation"};
    static const char *const keys[3] = {"seconds.steps", "seconds.waiting", "seconds.validation"};
    static const char *const colours[3] = {"#0072b2", "#e69f00", "#009e73"};
    const double total = report_data_seconds(run),
                 told = report_data_number(run->result, "validation_seconds"),
                 validation = told >= 0 ? told : 0,
                 waiting = column_sum(&run->training, "stall_seconds");
    const double parts[3] = {fmax(total - waiting - validation, 0), waiting, validation};
    if (!(total > 0)) {
        return;
    }
    report_page_section(page, "time", "Where the time went");
    report_page_open(page, "card");
    report_page_put(page, "<div class=\"bar\">");
    for (int i = 0; i < 3; i++) {
        cask_text_format(&page->html, "<span style=\"width:%.2f%%;background:%s\"></span>",
                         100 * parts[i] / total, colours[i]);
    }
    report_page_put(page, "</div><table><tbody>");
    for (int i = 0; i < 3; i++) {
        stage(page, colours[i], names[i], keys[i], parts[i], total);
    }
    report_page_put(page, "</tbody></table>");
    report_page_close(page);
}
