/* evaluate - accuracy of a model on verification sets, with the protocol beside each number. */
#include <string.h>

#include "common/config.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/thread.h"
#include "eval/eval.h"

static const char usage[] =
    "usage: evaluate --model FILE (--pairs FILE --images DIR | --bin FILE)... [options]\n"
    "\n"
    "Embeds every image of the sets and prints the k-fold accuracy of insightface's protocol.\n"
    "The n-th --pairs takes its images from the n-th --images, or from the last one.\n";

struct options {
    const char *model, *network, *preprocess, *json, *backend;
    struct cask_config_texts pairs, images, bins;
    int flip, precision;
    int64_t batch, threads;
};

static const char *const flip_names[] = {"sum", "none", NULL};
static const char *const precision_names[] = {"auto", "fp32", "bf16", NULL};

#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {"model", CASK_CONFIG_TEXT, ROW(model), "", 0, 0, NULL, "FILE",
     "safetensors, .pth, .pt, .ckpt or .onnx"},
    {"network", CASK_CONFIG_TEXT, ROW(network), "auto", 0, 0, NULL, "NAME",
     "ir18, ir50, mobilefacenet, mbf, ...; auto: from metadata or keys"},
    {"pairs", CASK_CONFIG_TEXTS, ROW(pairs), "[]", 0, 0, NULL, "FILE",
     "pairs in LFW's format; repeatable"},
    {"images", CASK_CONFIG_TEXTS, ROW(images), "[]", 0, 0, NULL, "DIR",
     "folder NAME/NAME_0001.jpg; repeatable"},
    {"bin", CASK_CONFIG_TEXTS, ROW(bins), "[]", 0, 0, NULL, "FILE",
     "insightface .bin set; repeatable"},
    {"flip", CASK_CONFIG_ENUM, ROW(flip), "sum", 0, 0, flip_names, NULL,
     "embedding of image plus mirror, or of the image alone"},
    {"preprocess", CASK_CONFIG_TEXT, ROW(preprocess), "", 0, 0, NULL, "SPEC",
     "rgb|bgr:MEAN:SCALE, for files without metadata"},
    {"json", CASK_CONFIG_TEXT, ROW(json), "", 0, 0, NULL, "FILE", "write the results as JSON too"},
    {"batch", CASK_CONFIG_INT, ROW(batch), "32", 1, 4096, NULL, "N", "images per forward pass"},
    {"threads", CASK_CONFIG_INT, ROW(threads), "0", 0, 1024, NULL, "N", "CPU threads; 0: all"},
    {"precision", CASK_CONFIG_ENUM, ROW(precision), "auto", 0, 0, precision_names, NULL,
     "of the forward pass"},
    {"backend", CASK_CONFIG_TEXT, ROW(backend), "cpu", 0, 0, NULL, "NAME", "cpu, ref or ref64"},
};

static enum cask_status check_options(const struct options *options, struct cask_error *err)
{
    if (options->model[0] == 0 || options->pairs.count + options->bins.count == 0) {
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

/* Opens the model; an explicit --preprocess wins over the file's metadata and says so. */
static enum cask_status open_model(const struct options *options, struct cask_device *device,
                                   struct cask_model *model, struct cask_preprocess *preprocess,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool known = false;
    *preprocess = cask_preprocess_default();
    CASK_TRY(
        cask_model_open(device, options->network, options->model, preprocess, &known, model, err));
    if (options->preprocess[0] != 0) {
        CASK_TRY(cask_preprocess_parse(options->preprocess, preprocess, err));
    } else if (!known) {
        char text[64];
        cask_preprocess_format(preprocess, text);
        cask_log_warn(
            "%s says nothing about its pixels: taking %s; set --preprocess if it wants others",
            options->model, text);
    }
    preprocess->width = cask_graph_input_width(model->graph);
    preprocess->height = cask_graph_input_height(model->graph);
done:
    return st;
}

static enum cask_status run(const struct options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_device *device = NULL;
    struct cask_model model = {0};
    struct cask_preprocess preprocess;
    struct cask_pairs *pairs = NULL;
    struct cask_set_result *sets = NULL;
    int count = options->pairs.count + options->bins.count, finished = 0;
    char about[160];
    CASK_TRY(check_options(options, err));
    struct cask_device_options device_options = {options->backend, (int)options->threads,
                                                 (enum cask_precision)options->precision};
    CASK_TRY(cask_device_open(&device_options, &device, err));
    CASK_TRY(open_model(options, device, &model, &preprocess, err));
    cask_device_describe(device, about, sizeof about);
    cask_log_info("%s: %s, %d-d, on %s", options->model, cask_graph_name(model.graph),
                  cask_graph_embedding(model.graph), about);
    sets = cask_alloc((size_t)count, sizeof *sets);
    if (sets == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *sets, "results"));
    }
    struct cask_embed_options embed = {model.net, preprocess, (enum cask_flip)options->flip,
                                       (int)options->batch, (int)options->threads};
    for (int i = 0; i < count; i++) {
        CASK_TRY(open_set(options, i, &pairs, err));
        CASK_TRY(cask_evaluate_set(pairs, &embed, &sets[i], err));
        cask_pairs_close(pairs);
        pairs = NULL;
        finished++;
    }
    if (options->json[0] != 0) {
        CASK_TRY(write_json(options->json, options->model, sets, count, err));
    }
done:
    if (finished > 0) { /* what was finished is told, whatever came after it */
        cask_report_table(sets, finished, stdout);
    }
    cask_pairs_close(pairs);
    cask_free(sets);
    cask_model_close(&model);
    cask_device_close(device);
    return st;
}

int main(int argc, char **argv)
{
    enum cask_status st = CASK_OK;
    struct cask_error error = {0}, *err = &error;
    struct options options = {0};
    struct cask_config *config = NULL;
    struct cask_config_section section = {"", rows, sizeof rows / sizeof *rows, &options};
    bool stop = false;
    cask_interrupt_install();
    CASK_TRY(cask_config_create(&section, 1, &config, err));
    CASK_TRY(cask_cli_parse(config, argc, argv, usage, &stop, err));
    if (!stop) {
        CASK_TRY(run(&options, err));
    }
done:
    if (st != CASK_OK) {
        cask_error_print(err, "evaluate");
    }
    cask_config_free(config);
    return cask_status_exit_code(st);
}
