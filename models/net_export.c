/* A net for other programs: ONNX, PyTorch's state_dict, safetensors. */
#include "models/graph.h"
#include "models/net_copy.h"
#include "models/onnx_write.h"
#include "models/torch_write.h"

static enum cask_status check(const struct cask_graph *graph, const struct cask_preprocess *pixels,
                              const struct cask_export_options *options, struct cask_error *err)
{
    const bool onnx = options->format == CASK_EXPORT_ONNX;
    if (!onnx && !graph->trainable) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "an ONNX graph has no state_dict: its batch norms are folded and its "
                              "names are its exporter's; it can be written to ONNX only");
    }
    if (!onnx && (options->keep_batchnorm || options->preprocess_in_graph)) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "batch norms to fold and pixels in the graph are choices for ONNX; "
                              "a state_dict holds neither");
    }
    if (options->preprocess_in_graph && pixels->mean == 0 && pixels->scale == 1) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "the pixels go in as they are (mean 0, scale 1): there is nothing to "
                              "put into the graph");
    }
    return CASK_OK;
}

enum cask_status cask_net_export(struct cask_net *net, const char *path,
                                 const struct cask_preprocess *preprocess,
                                 const struct cask_export_options *options,
                                 const struct cask_metadata_entry *entries, int entry_count,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_net_copy copy = {0};
    CASK_TRY(check(cask_net_graph(net), preprocess, options, err));
    if (options->format == CASK_EXPORT_ONNX) {
        CASK_TRY(cask_onnx_write(net, path, preprocess, options, entries, entry_count, err));
        goto done;
    }
    CASK_TRY(cask_net_copy_create(net, options->half, preprocess, NULL, 0, entries, entry_count,
                                  &copy, err));
    if (options->format == CASK_EXPORT_PTH) {
        CASK_TRY(
            cask_torch_write(path, copy.tensors, copy.count, copy.entries, copy.entry_count, err));
    } else {
        CASK_TRY(cask_safetensors_write(path, copy.tensors, copy.count, copy.entries,
                                        copy.entry_count, err));
    }
done:
    cask_net_copy_release(&copy);
    return st;
}
