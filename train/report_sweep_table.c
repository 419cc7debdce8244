/* The table of a sweep, which a click on a heading sorts, and the settings in which its rows
 * differ.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "train/report_sweep.h"

enum { KEY_BYTES = 160, VALUE_BYTES = 1024, SETS_SHOWN = 16 };

/* Numbers are compared as numbers, names as names; what is missing comes last either way. */
static const char sorting[] =
    "<script>document.querySelectorAll('table.sortable').forEach(function(t){"
    "t.querySelectorAll('button.sort').forEach(function(b){b.addEventListener('click',function(){"
    "var th=b.parentNode,i=th.cellIndex,down=th.getAttribute('aria-sort')==='ascending',"
    "body=t.tBodies[0],rows=Array.from(body.rows),"
    "value=function(r){var s=r.cells[i].querySelector('[data-value]');"
    "return s?parseFloat(s.dataset.value):i?null:r.cells[i].textContent};"
    "rows.sort(function(x,y){var a=value(x),c=value(y);"
    "if(a===null||c===null)return (a===null)-(c===null);"
    "var d=typeof a==='number'?a-c:a.localeCompare(c);return down?-d:d});"
    "rows.forEach(function(r){body.appendChild(r)});"
    "t.querySelectorAll('th').forEach(function(h){h.removeAttribute('aria-sort')});"
    "th.setAttribute('aria-sort',down?'descending':'ascending')})})});</script>\n";

static void heading(struct report_page *page, const char *text, const char *more)
{
    report_page_put(page, "<th><button class=\"sort\">");
    report_page_text(page, text);
    report_page_text(page, more);
    report_page_put(page, "</button></th>");
}

static void cell(struct report_page *page, const struct report_row *row, const char *key,
                 double value, int decimals)
{
    char name[KEY_BYTES];
    snprintf(name, sizeof name, "%.100s.%.50s", row->name, key);
    report_page_put(page, "<td>");
    report_page_number(page, name, value, decimals, "");
    report_page_put(page, "</td>");
}

/* "finished", or what is not so yet. */
static void state_cell(struct report_page *page, const struct report_row *row)
{
    const struct cask_json *runs = cask_json_get(row->json, "runs");
    const double finished = report_data_number(row->json, "finished"),
                 seeds = report_data_number(row->json, "seeds");
    const char *state = "";
    for (size_t i = 0; i < cask_json_size(runs); i++) {
        const char *found = report_data_text(cask_json_at(runs, i), "state");
        if (strcmp(found, "finished") != 0) {
            state = found;
        }
    }
    report_page_put(page, "<td>");
    if (seeds > 1) {
        cask_text_format(&page->html, "%.0f of %.0f", finished, seeds);
        report_page_put(page, state[0] != 0 ? ", " : "");
        report_page_text(page, state);
    } else {
        report_page_text(page, state[0] != 0 ? state : "finished");
    }
    report_page_put(page, "</td>");
}

static void name_cell(struct report_page *page, const struct report_row *row)
{
    const struct report_data *run = report_sweep_run(row);
    report_page_put(page, "<td>");
    if (run != NULL) { /* relative, so that the folder can be moved */
        report_page_put(page, "<a href=\"./");
        for (const char *c = run->name; *c != 0; c++) { /* RFC 3986, section 2.3 */
            const bool plain = (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') ||
                               (*c >= 'A' && *c <= 'Z') || strchr("-._~", *c) != NULL;
            cask_text_format(&page->html, plain ? "%c" : "%%%02X", (unsigned char)*c);
        }
        report_page_put(page, "/report.html\">");
    }
    report_page_text(page, row->name);
    report_page_put(page, run != NULL ? "</a></td>" : "</td>");
}

static double final_loss(const struct report_row *row)
{
    const struct report_data *run = report_sweep_run(row);
    return run != NULL ? report_table_last(&run->training, "total") : NAN;
}

static void table_row(struct report_page *page, const struct report_sweep *sweep, int index,
                      bool best)
{
    const struct report_row *row = &sweep->rows[index];
    const char *set;
    report_page_put(page, best ? "<tr class=\"best\">" : "<tr>");
    name_cell(page, row);
    for (int i = 0; i < SETS_SHOWN && (set = report_sweep_set(sweep, i)) != NULL; i++) {
        const double std = report_sweep_accuracy(row, set, "std");
        char name[KEY_BYTES];
        snprintf(name, sizeof name, "%.80s.accuracy.%.60s", row->name, set);
        report_page_put(page, "<td>");
        report_page_number(page, name, report_sweep_accuracy(row, set, "mean"), 2, "");
        if (isfinite(std)) {
            cask_text_format(&page->html, " <small>\xC2\xB1 %.2f</small>", std);
        }
        report_page_put(page, "</td>");
    }
    cell(page, row, "mean", report_sweep_mean(row), 2);
    cell(page, row, "seconds", report_data_number(row->json, "seconds"), 1);
    cell(page, row, "step_ratio", report_data_number(row->json, "step_ratio"), 3);
    cell(page, row, "teacher_passes_saved", report_data_number(row->json, "teacher_passes_saved"),
         0);
    cell(page, row, "loss", final_loss(row), 3);
    state_cell(page, row);
    report_page_put(page, "</tr>\n");
}

static int best_row(const struct report_sweep *sweep)
{
    int best = -1;
    for (int i = 0; i < sweep->count; i++) {
        const double mean = report_sweep_mean(&sweep->rows[i]);
        if (mean > (best >= 0 ? report_sweep_mean(&sweep->rows[best]) : -INFINITY)) {
            best = i;
        }
    }
    return best;
}

void report_sweep_table(struct report_page *page, const struct report_sweep *sweep)
{
    const struct cask_json *sets = cask_json_get(sweep->table, "sets");
    const char *set, *baseline = report_data_text(sweep->table, "baseline");
    const int best = best_row(sweep);
    report_page_open(page, "card");
    report_page_put(page, "<table class=\"sortable\"><thead><tr>");
    heading(page, "row", "");
    for (int i = 0; i < SETS_SHOWN && (set = report_sweep_set(sweep, i)) != NULL; i++) {
        heading(page, set, " %");
    }
    heading(page, "mean %", "");
    heading(page, "seconds", "");
    heading(page, "step / ", baseline[0] != 0 ? baseline : "plain");
    heading(page, "teacher passes saved", "");
    heading(page, "final loss", "");
    report_page_put(page, "<th>state</th></tr></thead><tbody>\n");
    for (int i = 0; i < sweep->count; i++) {
        table_row(page, sweep, i, i == best);
    }
    report_page_put(page, "</tbody></table>");
    for (size_t i = 0; i < cask_json_size(sets); i++) {
        report_page_put(page, "<p class=\"note\">");
        report_page_text(page, report_data_text(cask_json_at(sets, i), "name"));
        report_page_put(page, ": ");
        report_page_text(page, report_data_text(cask_json_at(sets, i), "protocol"));
        report_page_put(page, "</p>");
    }
    report_page_put(page,
                    "<p class=\"note\">Accuracies are of the final students; \xC2\xB1 is the "
                    "standard deviation over seeds. Times are means of the finished runs; the "
                    "loss is the first run's.</p>");
    report_page_close(page);
    report_page_put(page, sorting);
}

/* ----------------------------------------------------------------- settings */

/* "–" where the row has no run, or the run no such key. */
static void value_of(const struct report_row *row, const char *key, char value[VALUE_BYTES])
{
    const struct report_data *run = report_sweep_run(row);
    if (run == NULL || !report_data_setting(run, key, value, VALUE_BYTES)) {
        snprintf(value, VALUE_BYTES, "\xE2\x80\x93");
    }
}

static bool differs(const struct report_sweep *sweep, const char *key)
{
    char first[VALUE_BYTES], other[VALUE_BYTES];
    bool known = false;
    for (int i = 0; i < sweep->count; i++) {
        if (report_sweep_run(&sweep->rows[i]) == NULL) {
            continue;
        }
        value_of(&sweep->rows[i], key, known ? other : first);
        if (known && strcmp(first, other) != 0) {
            return true;
        }
        known = true;
    }
    return false;
}

static void put_map(struct report_page *page, const struct report_sweep *sweep,
                    const struct cask_yaml_node *map, const char *prefix)
{
    char key[KEY_BYTES], value[VALUE_BYTES];
    for (const struct cask_yaml_node *node = map->first; node != NULL; node = node->next) {
        snprintf(key, sizeof key, "%s%s%s", prefix, prefix[0] != 0 ? "." : "", node->key);
        if (node->kind == CASK_YAML_MAP) {
            put_map(page, sweep, node, key);
        } else if (strcmp(key, "out") != 0 && strcmp(key, "config") != 0 && differs(sweep, key)) {
            report_page_put(page, "<tr><td>");
            report_page_text(page, key);
            for (int i = 0; i < sweep->count; i++) {
                value_of(&sweep->rows[i], key, value);
                report_page_put(page, "</td><td>");
                report_page_text(page, value);
            }
            report_page_put(page, "</td></tr>\n");
        }
    }
}

void report_sweep_settings(struct report_page *page, const struct report_sweep *sweep)
{
    const struct report_data *run = NULL;
    for (int i = 0; i < sweep->count && run == NULL; i++) {
        run = report_sweep_run(&sweep->rows[i]);
    }
    if (run == NULL) {
        return;
    }
    report_page_section(page, "settings", "Settings in which the rows differ");
    report_page_open(page, "card");
    report_page_put(page, "<table class=\"across\"><thead><tr><th></th>");
    for (int i = 0; i < sweep->count; i++) {
        report_page_put(page, "<th>");
        report_page_text(page, sweep->rows[i].name);
        report_page_put(page, "</th>");
    }
    report_page_put(page, "</tr></thead><tbody>\n");
    put_map(page, sweep, run->yaml.root, "");
    report_page_put(page, "</tbody></table>");
    report_page_close(page);
}
