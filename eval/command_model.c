#include "common/log.h"
#include "eval/command.h"

static const char *const precision_names[] = {"auto", "fp32", "bf16", NULL};

#define ROW(field) offsetof(struct model_options, field)
const struct cask_config_row model_rows[] = {
    {"model", CASK_CONFIG_TEXT, ROW(model), "", 0, 0, NULL, "FILE",
     "safetensors, .pth, .pt, .ckpt or .onnx"},
    {"network", CASK_CONFIG_TEXT, ROW(network), "auto", 0, 0, NULL, "NAME",
     "ir18, ir50, mobilefacenet, mbf, ...; auto: from metadata or keys"},
    {"preprocess", CASK_CONFIG_TEXT, ROW(preprocess), "", 0, 0, NULL, "SPEC",
     "rgb|bgr:MEAN:SCALE, for files without metadata"},
    {"batch", CASK_CONFIG_INT, ROW(batch), "32", 1, 4096, NULL, "N", "images per forward pass"},
    {"threads", CASK_CONFIG_INT, ROW(threads), "0", 0, 1024, NULL, "N", "CPU threads; 0: all"},
    {"precision", CASK_CONFIG_ENUM, ROW(precision), "auto", 0, 0, precision_names, NULL,
     "of the forward pass"},
    {"backend", CASK_CONFIG_TEXT, ROW(backend), "cpu", 0, 0, NULL, "NAME", "cpu, ref or ref64"},
};
const size_t model_row_count = sizeof model_rows / sizeof *model_rows;

enum cask_status model_open(const struct model_options *options, struct opened_model *opened,
                            struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool known = false;
    char text[160];
    struct cask_device_options device = {options->backend, (int)options->threads,
                                         (enum cask_precision)options->precision};
    struct cask_preprocess *preprocess = &opened->preprocess;
    CASK_TRY(cask_device_open(&device, &opened->device, err));
    *preprocess = cask_preprocess_default();
    CASK_TRY(cask_model_open(opened->device, options->network, options->model, preprocess, &known,
                             &opened->model, err));
    if (options->preprocess[0] != 0) {
        CASK_TRY(cask_preprocess_parse(options->preprocess, preprocess, err));
    } else if (!known) {
        cask_preprocess_format(preprocess, text);
        cask_log_warn(
            "%s says nothing about its pixels: taking %s; set --preprocess if it wants others",
            options->model, text);
    }
    preprocess->width = cask_graph_input_width(opened->model.graph);
    preprocess->height = cask_graph_input_height(opened->model.graph);
    cask_device_describe(opened->device, text, sizeof text);
    cask_log_info("%s: %s, %d-d, on %s", options->model, cask_graph_name(opened->model.graph),
                  cask_graph_embedding(opened->model.graph), text);
done:
    return st;
}

void model_close(struct opened_model *opened)
{
    cask_model_close(&opened->model);
    cask_device_close(opened->device);
}
