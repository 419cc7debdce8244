/* How good the student is: the sets' numbers with their protocols, curves and scores. */
#include <math.h>
#include <stdio.h>

#include "train/report_figures.h"
#include "train/report_sections.h"

static void interval(struct report_page *page, const struct cask_json *pair)
{
    double low, high;
    if (cask_json_as_real(cask_json_at(pair, 0), &low) &&
        cask_json_as_real(cask_json_at(pair, 1), &high)) {
        cask_text_format(&page->html, " <small>%.2f \xE2\x80\x93 %.2f</small>", low, high);
    }
}

static void set_row(struct report_page *page, const struct cask_json *set)
{
    static const struct {
        const char *key, *interval;
        int decimals;
    } cells[] = {{"pairs", NULL, 0},
                 {"accuracy", "accuracy_interval", 2},
                 {"std", NULL, 2},
                 {"auc", "auc_interval", 3},
                 {"eer", "eer_interval", 2}};
    const struct cask_json *points = cask_json_get(set, "tpr_at_fpr");
    const char *name = report_data_text(set, "name");
    char key[160];
    report_page_put(page, "<tr><td>");
    report_page_text(page, name);
    report_page_put(page, "</td>");
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        snprintf(key, sizeof key, "%.100s.%s", name, cells[i].key);
        report_page_put(page, "<td>");
        report_page_number(page, key, report_data_number(set, cells[i].key), cells[i].decimals, "");
        if (cells[i].interval != NULL) {
            interval(page, cask_json_get(set, cells[i].interval));
        }
        report_page_put(page, "</td>");
    }
    for (size_t i = 0; i < 3; i++) {
        const struct cask_json *point = cask_json_at(points, i);
        const double allowed = report_data_number(point, "impostors_allowed");
        snprintf(key, sizeof key, "%.100s.tpr_at_fpr.%zu", name, i);
        report_page_put(page, allowed < 10 ? "<td><small>" : "<td>");
        report_page_number(page, key, report_data_number(point, "tpr"), 2, "");
        report_page_put(page, allowed < 10 ? "</small></td>" : "</td>");
    }
    report_page_put(page, "</tr>\n");
}

/* Sets as evaluation.json tells them, else as result.json does. */
static const struct cask_json *final_sets(const struct report_data *run)
{
    const struct cask_json *sets = cask_json_get(run->evaluation, "sets");
    return cask_json_size(sets) > 0
               ? sets
               : cask_json_get(cask_json_get(run->result, "validation"), "sets");
}

static void set_table(struct report_page *page, const struct cask_json *sets)
{
    report_page_open(page, "card");
    report_page_put(page,
                    "<table><thead><tr><th>set</th><th>pairs</th><th>accuracy %</th><th>std</th>"
                    "<th>AUC %</th><th>EER %</th><th>TPR % at FPR 1e-1</th><th>1e-2</th>"
                    "<th>1e-3</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < cask_json_size(sets); i++) {
        set_row(page, cask_json_at(sets, i));
    }
    report_page_put(page, "</tbody></table>");
    for (size_t i = 0; i < cask_json_size(sets); i++) {
        const struct cask_json *set = cask_json_at(sets, i);
        const char *about = report_data_text(set, "interval");
        report_page_put(page, "<p class=\"note\">");
        report_page_text(page, report_data_text(set, "name"));
        report_page_put(page, ": ");
        report_page_text(page, report_data_text(set, "protocol"));
        report_page_put(page, about[0] != 0 ? "; intervals " : "");
        report_page_text(page, about);
        report_page_put(page, "</p>");
    }
    report_page_put(page, "<p class=\"note\">A TPR in small print rests on fewer than ten impostor "
                          "pairs and is mostly chance.</p>");
    report_page_close(page);
}

enum cask_status report_section_verification(struct report_page *page,
                                             const struct report_data *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_json *sets = final_sets(run), *list[REPORT_SERIES];
    const char *names[REPORT_SERIES];
    int count = 0;
    if (cask_json_size(sets) == 0) {
        goto done;
    }
    report_page_section(page, "verification", "Verification of the final student");
    set_table(page, sets);
    report_page_put(page, "<div style=\"height:14px\"></div>");
    report_page_open(page, "figures");
    for (; count < (int)cask_json_size(sets) && count < REPORT_SERIES; count++) {
        list[count] = cask_json_at(sets, (size_t)count);
        names[count] = report_data_text(list[count], "name");
    }
    CASK_TRY(report_figure_roc(page, "ROC", list, names, count, err));
    for (int i = 0; i < count; i++) {
        CASK_TRY(report_figure_scores(page, list[i], err));
    }
    report_page_close(page);
done:
    return st;
}
