#include "common/log.h"
#include "eval/command.h"

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
