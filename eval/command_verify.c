#include <string.h>

#include "common/file.h"
#include "common/mem.h"
#include "eval/command.h"
#include "eval/eval.h"

static const char usage[] =
    "usage: evaluate --model FILE (--pairs FILE --images DIR | --bin FILE)... [options]\n"
    "\n"
    "Embeds every image of the sets and prints the k-fold accuracy of insightface's protocol.\n"
    "The n-th --pairs takes its images from the n-th --images, or from the last one.\n";

struct options {
    struct model_options model;
    const char *json;
    struct cask_config_texts pairs, images, bins;
    int flip;
};

static const char *const flip_names[] = {"sum", "none", NULL};

#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {"pairs", CASK_CONFIG_TEXTS, ROW(pairs), "[]", 0, 0, NULL, "FILE",
     "pairs in LFW's format; repeatable"},
    {"images", CASK_CONFIG_TEXTS, ROW(images), "[]", 0, 0, NULL, "DIR",
     "folder NAME/NAME_0001.jpg; repeatable"},
    {"bin", CASK_CONFIG_TEXTS, ROW(bins), "[]", 0, 0, NULL, "FILE",
     "insightface .bin set; repeatable"},
    {"flip", CASK_CONFIG_ENUM, ROW(flip), "sum", 0, 0, flip_names, NULL,
     "embedding of image plus mirror, or of the image alone"},
    {"json", CASK_CONFIG_TEXT, ROW(json), "", 0, 0, NULL, "FILE", "write the results as JSON too"},
};

static enum cask_status check_options(const struct options *options, struct cask_error *err)
{
    if (options->model.model[0] == 0 || options->pairs.count + options->bins.count == 0) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "expected --model and at least one --pairs or --bin; see --help");
    }
    if (options->pairs.count > 0 && options->images.count == 0) {
        return cask_error_set(err, CASK_ERR_USAGE, "--pairs %s needs --images DIR",
                              options->pairs.values[0]);
    }
    if (options->images.count > options->pairs.count) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "--images %s: expected at most one --images for each --pairs, found "
                              "%d for %d",
                              options->images.values[options->pairs.count], options->images.count,
                              options->pairs.count);
    }
    return CASK_OK;
}

static enum cask_status open_set(const struct options *options, int index,
                                 struct cask_pairs **pairs, struct cask_error *err)
{
    if (index >= options->pairs.count) {
        return cask_pairs_open_bin(options->bins.values[index - options->pairs.count], pairs, err);
    }
    int folder = index < options->images.count ? index : options->images.count - 1;
    return cask_pairs_open_text(options->pairs.values[index], options->images.values[folder], pairs,
                                err);
}

static enum cask_status write_json(const char *path, const char *model,
                                   const struct cask_set_result *sets, int count,
                                   struct cask_error *err)
{
    struct cask_json *report = cask_report_json(model, sets, count);
    char *text = cask_json_dump(report, CASK_JSON_PRETTY);
    enum cask_status st = text != NULL ? cask_file_write_all(path, text, strlen(text), err)
                                       : cask_error_memory(err, 0, "the JSON report");
    cask_free(text);
    cask_json_free(report);
    return st;
}

static enum cask_status run(const struct options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct opened_model opened = {0};
    struct cask_pairs *pairs = NULL;
    struct cask_set_result *sets = NULL;
    int count = options->pairs.count + options->bins.count, finished = 0;
    CASK_TRY(check_options(options, err));
    CASK_TRY(model_open(&options->model, &opened, err));
    sets = cask_alloc((size_t)count, sizeof *sets);
    if (sets == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *sets, "results"));
    }
    struct cask_embed_options embed = {opened.model.net, opened.preprocess,
                                       (enum cask_flip)options->flip, (int)options->model.batch,
                                       (int)options->model.threads};
    for (int i = 0; i < count; i++) {
        CASK_TRY(open_set(options, i, &pairs, err));
        CASK_TRY(cask_evaluate_set(pairs, &embed, &sets[i], err));
        cask_pairs_close(pairs);
        pairs = NULL;
        finished++;
    }
    if (options->json[0] != 0) {
        CASK_TRY(write_json(options->json, options->model.model, sets, count, err));
    }
done:
    if (finished > 0) { /* what was finished is told, whatever came after it */
        cask_report_table(sets, finished, stdout);
    }
    cask_pairs_close(pairs);
    cask_free(sets);
    model_close(&opened);
    return st;
}

enum cask_status command_verify(int argc, char **argv, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct options options = {0};
    struct cask_config *config = NULL;
    struct cask_config_section sections[] = {
        {"", model_rows, model_row_count, &options.model},
        {"", rows, sizeof rows / sizeof *rows, &options},
    };
    bool stop = false;
    CASK_TRY(cask_config_create(sections, 2, &config, err));
    CASK_TRY(cask_cli_parse(config, argc, argv, usage, &stop, err));
    if (!stop) {
        CASK_TRY(run(&options, err));
    }
done:
    cask_config_free(config);
    return st;
}
