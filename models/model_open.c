/* A model file of any kind as an eval network. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/checkpoint.h"
#include "models/classifier.h"
#include "models/detect.h"
#include "models/difference.h"
#include "models/net.h"

static enum cask_status open_onnx(struct cask_device *device, const char *path,
                                  struct cask_preprocess *preprocess, bool *from_metadata,
                                  struct cask_model *model, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool normalises = false;
    CASK_TRY(cask_onnx_open(device, path, model, &normalises, err));
    st = cask_graph_pixels(model->graph, preprocess, from_metadata, err);
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", path);
        goto done;
    }
    if (normalises) {
        preprocess->mean = 0;
        preprocess->scale = 1;
        *from_metadata = true;
    }
done:
    return st;
}

/* As a network of the registry, for as large a picture and embedding as the file's. */
static enum cask_status open_onnx_as(struct cask_device *device, const char *network,
                                     const char *path, struct cask_preprocess *preprocess,
                                     bool *from_metadata, struct cask_model *model,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_start start = {.pixels = *preprocess};
    struct cask_model file = {0};
    bool normalises = false;
    CASK_TRY(cask_onnx_open(device, path, &file, &normalises, err));
    const struct cask_graph_options options = {.embedding = cask_graph_embedding(file.graph),
                                               .width = cask_graph_input_width(file.graph),
                                               .height = cask_graph_input_height(file.graph)};
    CASK_TRY(cask_graph_build(network, &options, &model->graph, err));
    CASK_TRY(cask_net_create(model->graph, device, false, &model->net, err));
    st = cask_net_start_from(model->net, file.net, &start, err);
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", path);
        goto done;
    }
    *preprocess = start.pixels;
    *from_metadata = start.knows_pixels;
done:
    cask_model_close(&file);
    return st;
}

static enum cask_status check_eps(const struct cask_checkpoint *c, const struct cask_graph *graph,
                                  struct cask_error *err)
{
    const char *text = cask_checkpoint_metadata(c, "eps");
    const double expected = graph->norm.eps;
    if (text != NULL && !(fabs(atof(text) - expected) < 1e-4 * expected)) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "%s: metadata eps is %.40s; expected %g, the eps of %s's batch "
                              "norms: export the file to ONNX, which keeps its own",
                              c->path, text, expected, graph->name);
    }
    return CASK_OK;
}

static bool only_classifiers(const struct cask_checkpoint *c)
{
    for (int i = 0; i < c->tensors.count; i++) {
        if (!cask_is_classifier_name(c->tensors.items[i].name)) {
            return false;
        }
    }
    return true;
}

/* torchvision's own weights. Files of Cask say what they are. */
static bool looks_like_imagenet(const struct cask_checkpoint *c, const struct cask_detected *d)
{
    const bool torchvision =
        strncmp(d->network, "resnet", 6) == 0 || strncmp(d->network, "torchvision_", 12) == 0;
    return torchvision && d->embedding == 1000 && cask_checkpoint_metadata(c, "net") == NULL;
}

static enum cask_status choose_network(const struct cask_checkpoint *c, const char *asked,
                                       struct cask_detected *detected, struct cask_error *err)
{
    cask_detect(c, detected);
    if (asked != NULL) {
        /* Embedding and size of another network say nothing about the one that was asked for. */
        if (strcmp(detected->network, asked) != 0) {
            *detected = (struct cask_detected){0};
        }
        snprintf(detected->network, sizeof detected->network, "%s", asked);
        return CASK_OK;
    }
    if (c->tensors.count > 0 && only_classifiers(c)) {
        const struct cask_file_tensor *t = &c->tensors.items[0];
        char shape[80];
        cask_shape_format(t->shape, t->rank, shape, sizeof shape);
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "%s: holds a classifier, %s (%.60s), and no network; the network's "
                              "weights are in another file",
                              c->path, t->name, shape);
    }
    if (looks_like_imagenet(c, detected)) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "%s: a %s whose last layer has 1000 outputs is a classifier of "
                              "ImageNet; expected an embedding. If these are one, name the "
                              "network",
                              c->path, detected->network);
    }
    if (detected->network[0] == '\0') {
        const char *first = c->tensors.count > 0 ? c->tensors.items[0].name : "nothing";
        char nearest[1200];
        cask_describe_nearest(c, nearest, sizeof nearest);
        return cask_error_set(
            err, CASK_ERR_UNSUPPORTED,
            "%s: cannot tell the network from its %d tensors (first: %.100s)%s%s; "
            "name it, or export it to ONNX%s",
            c->path, c->tensors.count, first, detected->family != NULL ? "; it looks like " : "",
            detected->family != NULL ? detected->family : "", nearest);
    }
    return CASK_OK;
}

static enum cask_status open_checkpoint(struct cask_device *device, const char *network,
                                        const char *path, struct cask_preprocess *preprocess,
                                        bool *from_metadata, struct cask_model *model,
                                        struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_detected detected;
    CASK_TRY(cask_checkpoint_open(path, &model->checkpoint, err));
    CASK_TRY(choose_network(model->checkpoint, network, &detected, err));
    const struct cask_graph_options options = {
        .embedding = detected.embedding, .width = detected.width, .height = detected.height};
    st = cask_graph_build(detected.network, &options, &model->graph, err);
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", path);
        CASK_TRY(st);
    }
    CASK_TRY(check_eps(model->checkpoint, model->graph, err));
    CASK_TRY(cask_net_create(model->graph, device, false, &model->net, err));
    CASK_TRY(cask_net_load(model->net, model->checkpoint, err));
    CASK_TRY(cask_checkpoint_pixels(model->checkpoint, preprocess, from_metadata, err));
done:
    return st;
}

enum cask_status cask_model_open(struct cask_device *device, const char *network, const char *path,
                                 struct cask_preprocess *preprocess, bool *from_metadata,
                                 struct cask_model *model, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool onnx = false, any = network == NULL || network[0] == '\0' || strcmp(network, "auto") == 0;
    bool wants_onnx = !any && strcmp(network, "onnx") == 0;
    *model = (struct cask_model){0};
    *from_metadata = false;
    CASK_TRY(cask_file_is_onnx(path, &onnx, err));
    if (wants_onnx && !onnx) {
        CASK_TRY(cask_error_set(err, CASK_ERR_USAGE,
                                "%s: the network was given as \"onnx\", but the file is not "
                                "ONNX; \"auto\" takes any",
                                path));
    }
    if (onnx && !any && !wants_onnx) {
        CASK_TRY(open_onnx_as(device, network, path, preprocess, from_metadata, model, err));
    } else if (onnx) {
        CASK_TRY(open_onnx(device, path, preprocess, from_metadata, model, err));
    } else {
        CASK_TRY(open_checkpoint(device, any ? NULL : network, path, preprocess, from_metadata,
                                 model, err));
    }
    preprocess->width = cask_graph_input_width(model->graph);
    preprocess->height = cask_graph_input_height(model->graph);
done:
    if (st != CASK_OK) {
        cask_model_close(model);
    }
    return st;
}
