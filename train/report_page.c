#include "train/report_page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"
#include "train/report_style.h"

void report_page_put(struct report_page *page, const char *markup)
{
    cask_text_put(&page->html, markup);
}

void report_page_text(struct report_page *page, const char *text)
{
    cask_text_escaped(&page->html, text);
}

void report_page_begin(struct report_page *page, const char *title, const char *subtitle,
                       const char *state, const char *state_class)
{
    /* The policy keeps the page to itself: a browser would refuse anything from outside. */
    report_page_put(page,
                    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                    "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                    "<title>");
    report_page_text(page, title);
    report_page_put(page, "</title><style>");
    report_page_put(page, report_style);
    report_page_put(page, "</style></head>\n<body><main><header><h1>");
    report_page_text(page, title);
    report_page_put(page, "</h1>");
    cask_text_format(&page->html, "<span class=\"state %s\" data-key=\"state\">", state_class);
    report_page_text(page, state);
    report_page_put(page, "</span><p>");
    report_page_text(page, subtitle);
    report_page_put(page, "</p></header>\n");
}

enum cask_status report_page_write(struct report_page *page, const char *path,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    report_page_put(page, "<footer>Written by Cask " CASK_VERSION
                          ". This file needs nothing but itself.</footer></main></body></html>\n");
    CASK_TRY(cask_text_check(&page->html, "the report", err));
    CASK_TRY(cask_file_write_all(path, page->html.data, page->html.length, err));
done:
    return st;
}

void report_page_release(struct report_page *page)
{
    cask_text_release(&page->html);
}

void report_page_section(struct report_page *page, const char *id, const char *title)
{
    cask_text_format(&page->html, "<h2 id=\"%s\">", id);
    report_page_text(page, title);
    report_page_put(page, "</h2>\n");
}

void report_page_open(struct report_page *page, const char *class_name)
{
    cask_text_format(&page->html, "<div class=\"%s\">", class_name);
}

void report_page_close(struct report_page *page)
{
    report_page_put(page, "</div>\n");
}

enum cask_status report_page_figure(struct report_page *page, const char *heading,
                                    const struct cask_plot *plot, struct cask_error *err)
{
    char *svg = NULL;
    const enum cask_status st = page->without_pictures ? CASK_OK : cask_plot_svg(plot, &svg, err);
    if (st == CASK_ERR_MEMORY) {
        return st;
    }
    if (st == CASK_ERR_UNSUPPORTED) {
        page->without_pictures = true;
        report_page_put(page, "<p class=\"note\" data-key=\"without_pictures\">");
        report_page_text(page, err->message);
        report_page_put(page, "</p>");
    } else if (!page->without_pictures) {
        report_page_put(page, plot->width >= REPORT_WIDE ? "<figure class=\"wide\"><h3>"
                                                         : "<figure><h3>");
        report_page_text(page, heading);
        report_page_put(page, "</h3>");
        if (svg != NULL) {
            report_page_put(page, svg);
        } else {
            report_page_put(page, "<p class=\"note\">");
            report_page_text(page, err->message);
            report_page_put(page, "</p>");
        }
        report_page_put(page, "</figure>\n");
    }
    cask_free(svg);
    return CASK_OK;
}

void report_page_number(struct report_page *page, const char *key, double value, int decimals,
                        const char *unit)
{
    if (!isfinite(value)) {
        report_page_put(page, "\xE2\x80\x93");
        return;
    }
    report_page_put(page, "<span data-key=\"");
    report_page_text(page, key);
    cask_text_format(&page->html, "\" data-value=\"%.17g\">%.*f", value, decimals, value);
    report_page_put(page, unit[0] != 0 ? "&#8239;" : "");
    report_page_text(page, unit);
    report_page_put(page, "</span>");
}

static void begin_tile(struct report_page *page, const char *label)
{
    report_page_put(page, "<div class=\"tile\"><span class=\"label\">");
    report_page_text(page, label);
    report_page_put(page, "</span><b>");
}

static void end_tile(struct report_page *page, const char *below)
{
    report_page_put(page, "</b><small>");
    report_page_text(page, below);
    report_page_put(page, "</small></div>\n");
}

void report_page_tile(struct report_page *page, const char *label, const char *key, double value,
                      int decimals, const char *unit, const char *below)
{
    begin_tile(page, label);
    report_page_number(page, key, value, decimals, unit);
    end_tile(page, below);
}

void report_page_tile_text(struct report_page *page, const char *label, const char *text,
                           const char *below)
{
    begin_tile(page, label);
    report_page_text(page, text);
    end_tile(page, below);
}

void report_page_fact(struct report_page *page, const char *name, const char *text)
{
    if (text[0] != 0) {
        report_page_put(page, "<tr><td>");
        report_page_text(page, name);
        report_page_put(page, "</td><td>");
        report_page_text(page, text);
        report_page_put(page, "</td></tr>\n");
    }
}

void report_page_duration(double seconds, char *buffer, size_t bytes)
{
    const long whole = isfinite(seconds) ? lround(seconds) : 0;
    if (!isfinite(seconds)) {
        snprintf(buffer, bytes, "\xE2\x80\x93");
    } else if (whole >= 3600) {
        snprintf(buffer, bytes, "%ld h %02ld min", whole / 3600, whole / 60 % 60);
    } else if (whole >= 60) {
        snprintf(buffer, bytes, "%ld min %02ld s", whole / 60, whole % 60);
    } else {
        snprintf(buffer, bytes, "%.1f s", seconds);
    }
}
