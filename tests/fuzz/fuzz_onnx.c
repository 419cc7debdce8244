/* Any bytes as an ONNX graph; what loads is filled and small graphs are run once. */
#include "common/mem.h"
#include "models/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void run(struct cask_net *net, const struct cask_graph *graph)
{
    struct cask_error err;
    struct cask_plan *plan = NULL;
    size_t pixels = (size_t)cask_graph_input_width(graph) * (size_t)cask_graph_input_height(graph);
    if (pixels > 1024 || cask_graph_macs(graph) > 1 << 20) {
        return;
    }
    if (cask_plan_create(net, 1, CASK_MODE_EVAL, &plan, &err) == CASK_OK) {
        float *picture = cask_alloc(3 * pixels, sizeof *picture);
        float *out = cask_alloc((size_t)cask_graph_embedding(graph), sizeof *out);
        if (picture != NULL && out != NULL) {
            (void)cask_plan_forward(plan, picture, 1, out, &err);
        }
        cask_free(picture);
        cask_free(out);
    }
    cask_plan_free(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct cask_error err;
    struct cask_device *device = NULL;
    struct cask_model model = {0};
    bool normalises = false;
    const struct cask_device_options options = {.backend = "ref", .threads = 1};
    if (cask_device_open(&options, &device, &err) == CASK_OK &&
        cask_onnx_open_memory(device, data, bytes, &model, &normalises, &err) == CASK_OK) {
        run(model.net, model.graph);
    }
    cask_model_close(&model);
    cask_device_close(device);
    return 0;
}
