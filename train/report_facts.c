/* What the run was made of: network and machine, the cache, the settings. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "train/options.h"
#include "train/report_sections.h"

enum { KEY_BYTES = 160, VALUE_BYTES = 2048 };

static void fact_number(struct report_page *page, const char *name, double value, double unit,
                        int decimals, const char *unit_name)
{
    char text[80] = "";
    if (isfinite(value)) {
        snprintf(text, sizeof text, "%.*f%s", decimals, value / unit, unit_name);
    }
    report_page_fact(page, name, text);
}

static void machine(struct report_page *page, const struct report_data *run)
{
    const struct cask_json *result = run->result;
    report_page_fact(page, "Program", report_data_text(result, "program"));
    report_page_fact(page, "Network", report_data_text(result, "network"));
    report_page_fact(page, "Device", report_data_text(result, "device"));
    report_page_fact(page, "Model file", report_data_text(result, "model"));
    fact_number(page, "Peak memory", report_data_number(result, "peak_memory_bytes"), 1048576, 0,
                " MiB");
    fact_number(page, "Images that could not be read", report_data_number(result, "bad_images"), 1,
                0, "");
    fact_number(page, "Images drawn", report_data_number(result, "coverage.draws"), 1, 0, "");
    fact_number(page, "Different images among them", report_data_number(result, "coverage.images"),
                1, 0, "");
    report_page_fact(page, "Settings, SHA-256", report_data_text(result, "settings_sha256"));
}

static void cache(struct report_page *page, const struct report_data *run)
{
    const struct cask_json *cask = cask_json_get(run->result, "cache");
    const struct cask_json *accepted = cask_json_get(cask, "accepted_mismatch");
    if (cask == NULL) {
        return;
    }
    report_page_fact(page, "Cache", report_data_text(cask, "folder"));
    report_page_fact(page, "Teacher", report_data_text(cask, "teacher"));
    report_page_fact(page, "Teacher logits", report_data_text(cask, "mode"));
    fact_number(page, "Images in the cache", report_data_number(cask, "images"), 1, 0, "");
    fact_number(page, "Identities in the cache", report_data_number(cask, "classes"), 1, 0, "");
    fact_number(page, "Cosines kept for a view (k)", report_data_number(cask, "topk"), 1, 0, "");
    fact_number(page, "Size of the cache", report_data_number(cask, "bytes"), 1e6, 1, " MB");
    report_page_fact(page, "Teacher weights, SHA-256", report_data_text(cask, "weights_sha256"));
    report_page_fact(page, "Class centres, SHA-256", report_data_text(cask, "centers_sha256"));
    report_page_fact(page, "Dataset, SHA-256", report_data_text(cask, "dataset_sha256"));
    for (size_t i = 0; i < cask_json_size(accepted); i++) {
        const struct cask_json *one = cask_json_at(accepted, i);
        char text[400];
        snprintf(text, sizeof text, "%.60s: the dataset has %.120s, the cache %.120s",
                 report_data_text(one, "field"), report_data_text(one, "dataset"),
                 report_data_text(one, "cache"));
        report_page_fact(page, "Accepted difference", text);
    }
}

/* ----------------------------------------------------------------- settings */

/* Keys of the run whose value is not the default, one line of a table each. */
static void put_changed(struct report_page *page, const struct report_data *run,
                        const struct report_data *defaults, const struct cask_yaml_node *map,
                        const char *prefix)
{
    char key[KEY_BYTES], value[VALUE_BYTES], otherwise[VALUE_BYTES];
    for (const struct cask_yaml_node *node = map->first; node != NULL; node = node->next) {
        snprintf(key, sizeof key, "%s%s%s", prefix, prefix[0] != 0 ? "." : "", node->key);
        if (node->kind == CASK_YAML_MAP) {
            put_changed(page, run, defaults, node, key);
        } else if (report_data_setting(run, key, value, sizeof value) &&
                   !(report_data_setting(defaults, key, otherwise, sizeof otherwise) &&
                     strcmp(value, otherwise) == 0)) {
            report_page_fact(page, key, value);
        }
    }
}

/* The same keys with the values that a run has when nobody says anything. */
static enum cask_status open_defaults(struct report_data *defaults, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_train_config *config = NULL;
    CASK_TRY(cask_train_config_create(&config, err));
    defaults->settings_text = cask_config_dump(config->rows);
    if (defaults->settings_text == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "the default settings"));
    }
    CASK_TRY(cask_yaml_parse("defaults", defaults->settings_text, strlen(defaults->settings_text),
                             &defaults->yaml, err));
done:
    cask_train_config_free(config);
    return st;
}

enum cask_status report_section_facts(struct report_page *page, const struct report_data *run,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct report_data defaults = {0};
    CASK_TRY(open_defaults(&defaults, err));
    report_page_section(page, "facts", "What it was");
    if (run->result != NULL) {
        report_page_open(page, "card facts");
        report_page_put(page, "<table><tbody>");
        machine(page, run);
        cache(page, run);
        report_page_put(page, "</tbody></table>");
        report_page_close(page);
    }
    report_page_open(page, "card facts");
    report_page_put(page, "<h3>Settings that are not the defaults</h3><table><tbody>");
    put_changed(page, run, &defaults, run->yaml.root, "");
    report_page_put(page, "</tbody></table><details><summary>All settings (config.yaml)</summary>"
                          "<pre>");
    report_page_text(page, run->settings_text);
    report_page_put(page, "</pre></details>");
    report_page_close(page);
done:
    report_data_close(&defaults);
    return st;
}
