/* export-student: a trained network for other programs. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "common/config.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/text.h"
#include "models/models.h"

static const char usage[] =
    "usage: export-student --model FILE --to onnx|pth|safetensors [options] OUT\n"
    "\n"
    "Writes a network for other programs. FILE is a student.safetensors, or any model that\n"
    "precompute takes as a teacher. OUT has the model's names, shapes and preprocessing: it opens\n"
    "again as a teacher, in PyTorch (pth, with strict=True), in OpenCV and ONNX runtimes (onnx:\n"
    "opset 13, input \"data\", output \"embedding\", any batch). Embeddings are not normalised.\n";

struct export_options {
    const char *model, *net, *out, *pixels;
    int to, bn, preprocess;
    bool fp16;
};

enum to { TO_AUTO, TO_ONNX, TO_PTH, TO_SAFETENSORS };
static const char *const to_names[] = {"auto", "onnx", "pth", "safetensors", NULL};
static const char *const bn_names[] = {"fold", "keep", NULL};
static const char *const preprocess_names[] = {"metadata", "graph", NULL};

#define AT(field) offsetof(struct export_options, field)
static const struct cask_config_row rows[] = {
    {"model", CASK_CONFIG_TEXT, AT(model), "", 0, 0, NULL, "FILE",
     "the network: .safetensors, .pth, .pt, .ckpt or .onnx"},
    {"net", CASK_CONFIG_TEXT, AT(net), "auto", 0, 0, NULL, "NAME",
     "which network FILE holds, as precompute --help lists them; auto: known from the file"},
    {"to", CASK_CONFIG_ENUM, AT(to), "auto", 0, 0, to_names, NULL,
     "format of OUT: onnx, pth or safetensors; auto: by its ending"},
    {"out", CASK_CONFIG_WORD, AT(out), "", 0, 0, NULL, "OUT",
     "file to write, replaced at once or not at all"},
    {"fp16", CASK_CONFIG_BOOL, AT(fp16), "false", 0, 0, NULL, NULL,
     "weights as float16: half the size, arithmetic stays float32; OpenCV 4.6 reads no such ONNX"},
    {"bn", CASK_CONFIG_ENUM, AT(bn), "fold", 0, 0, bn_names, NULL,
     "onnx: fold batch norms into the convolutions before them, or keep them as nodes"},
    {"preprocess", CASK_CONFIG_ENUM, AT(preprocess), "metadata", 0, 0, preprocess_names, NULL,
     "onnx: the pixels' mean and scale stand in the metadata, or are applied in the graph, which "
     "then takes 0..255"},
    {"pixels", CASK_CONFIG_TEXT, AT(pixels), "", 0, 0, NULL, "SPEC",
     "rgb|bgr:MEAN:SCALE for files that do not say; kept in OUT"},
};
#undef AT

static enum cask_status choose_format(const struct export_options *options,
                                      enum cask_export_format *format, struct cask_error *err)
{
    static const struct {
        const char *ending;
        enum cask_export_format format;
    } endings[] = {{".onnx", CASK_EXPORT_ONNX},
                   {".pth", CASK_EXPORT_PTH},
                   {".pt", CASK_EXPORT_PTH},
                   {".safetensors", CASK_EXPORT_SAFETENSORS}};
    if (options->to != TO_AUTO) {
        *format = options->to == TO_ONNX  ? CASK_EXPORT_ONNX
                  : options->to == TO_PTH ? CASK_EXPORT_PTH
                                          : CASK_EXPORT_SAFETENSORS;
        return CASK_OK;
    }
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (cask_ends_with(options->out, endings[i].ending)) {
            *format = endings[i].format;
            return CASK_OK;
        }
    }
    return cask_error_set(err, CASK_ERR_USAGE,
                          "--to: %s does not end in .onnx, .pth or .safetensors; say which it is",
                          options->out);
}

/* What the file says about its training goes on; what is about the file itself is written anew. */
static int other_metadata(const struct cask_checkpoint *checkpoint,
                          struct cask_metadata_entry *entries, int room)
{
    static const char *const own[] = {"format_version", "net",           "embedding",
                                      "input_height",   "input_width",   "mean",
                                      "scale",          "channel_order", "eps"};
    int count = 0;
    for (int i = 0; checkpoint != NULL && count < room; i++) {
        const struct cask_metadata_entry *entry = cask_checkpoint_metadata_at(checkpoint, i);
        bool known = false;
        if (entry == NULL) {
            break;
        }
        for (size_t k = 0; k < sizeof own / sizeof *own; k++) {
            known = known || strcmp(entry->key, own[k]) == 0;
        }
        if (!known) {
            entries[count++] = *entry;
        }
    }
    return count;
}

static enum cask_status set_pixels(const struct export_options *options, bool known,
                                   struct cask_preprocess *preprocess, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char text[64];
    if (options->pixels[0] != '\0') {
        st = cask_preprocess_parse(options->pixels, preprocess, err);
        if (st != CASK_OK) {
            cask_error_prefix(err, "--pixels");
        }
        return st;
    }
    cask_preprocess_format(preprocess, text);
    if (!known) {
        cask_log_warn(
            "%s says nothing about its pixels: taking %s; set --pixels if it wants others",
            options->model, text);
    }
    return st;
}

static enum cask_status run(void *user, struct cask_error *err)
{
    enum { MOST_ENTRIES = 64 };
    const struct export_options *options = user;
    const char *out = options->out;
    enum cask_status st = CASK_OK;
    struct cask_device *device = NULL;
    struct cask_model model = {0};
    struct cask_preprocess preprocess = cask_preprocess_default();
    struct cask_metadata_entry entries[MOST_ENTRIES];
    struct cask_export_options export = {.half = options->fp16,
                                         .keep_batchnorm = options->bn == 1,
                                         .preprocess_in_graph = options->preprocess == 1};
    bool known = false;
    /* The plainest backend: nothing is computed but sums over weights. */
    const struct cask_device_options plain = {.backend = "ref", .threads = 1};
    if (options->model[0] == '\0' || out[0] == '\0') {
        CASK_TRY(
            cask_error_set(err, CASK_ERR_USAGE, "%s is needed; see --help",
                           options->model[0] == '\0' ? "--model FILE" : "a file to write, OUT,"));
    }
    CASK_TRY(choose_format(options, &export.format, err));
    CASK_TRY(cask_device_open(&plain, &device, err));
    CASK_TRY(
        cask_model_open(device, options->net, options->model, &preprocess, &known, &model, err));
    CASK_TRY(set_pixels(options, known, &preprocess, err));
    const int count = other_metadata(model.checkpoint, entries, MOST_ENTRIES);
    st = cask_net_export(model.net, out, &preprocess, &export, entries, count, err);
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", options->model);
        goto done;
    }
    cask_log_info("%s: %s, %d-d, %d x %d pixels, %.2f M parameters", out,
                  cask_graph_name(model.graph), cask_graph_embedding(model.graph),
                  cask_graph_input_width(model.graph), cask_graph_input_height(model.graph),
                  1e-6 * (double)cask_graph_parameters(model.graph));
    printf("%s\n", out);
done:
    cask_model_close(&model);
    cask_device_close(device);
    return st;
}

int main(int argc, char **argv)
{
    struct export_options options = {0};
    const struct cask_config_section section = {"", rows, sizeof rows / sizeof *rows, &options};
    const struct cask_cli_command cli = {usage, &section, 1, run, &options};
    return cask_cli_main("export-student", &cli, argc, argv);
}
