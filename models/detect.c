/* Key sets of the networks people have files of. Five layouts are called "IR-50"; what tells them
 * apart is where batch norms stand in a block and whether the first shortcut has weights. */
#include "models/detect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool has(const struct cask_checkpoint *c, const char *name)
{
    return cask_checkpoint_find(c, name) != NULL;
}

/* Size of one dimension; 0: no such tensor. */
static int size_of(const struct cask_checkpoint *c, const char *name, int axis)
{
    const struct cask_file_tensor *t = cask_checkpoint_find(c, name);
    bool fits = t != NULL && axis < t->rank && t->shape[axis] > 0 && t->shape[axis] < 1 << 30;
    return fits ? (int)t->shape[axis] : 0;
}

/* How many of format % 0, 1, 2, ... are there. */
static int count_keys(const struct cask_checkpoint *c, const char *before, const char *after)
{
    char name[128];
    for (int n = 0; n < 1000; n++) {
        snprintf(name, sizeof name, "%s%d%s", before, n, after);
        if (!has(c, name)) {
            return n;
        }
    }
    return 0;
}

/* Four halvings lie between picture and map. `pixels` = h * w: the most square pair, h >= w. */
static void size_from_pixels(int pixels, struct cask_detected *d)
{
    int w = 1;
    if (pixels < 1) {
        return;
    }
    for (int i = 1; i <= pixels / i; i++) {
        w = pixels % i == 0 ? i : w;
    }
    d->width = 16 * w;
    d->height = 16 * (pixels / w);
}

static void detect_iresnet(const struct cask_checkpoint *c, struct cask_detected *d)
{
    static const struct {
        const char *name;
        int units[4];
    } depths[] = {{"ir18", {2, 2, 2, 2}},
                  {"ir34", {3, 4, 6, 3}},
                  {"ir50", {3, 4, 14, 3}},
                  {"ir100", {3, 13, 30, 3}},
                  {"ir200", {6, 26, 60, 6}}};
    int units[4];
    for (int s = 0; s < 4; s++) {
        char before[16];
        snprintf(before, sizeof before, "layer%d.", s + 1);
        units[s] = count_keys(c, before, ".bn1.weight");
    }
    d->family = "insightface IResNet";
    d->embedding = size_of(c, "fc.weight", 0);
    size_from_pixels(size_of(c, "fc.weight", 1) / 512, d);
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        if (memcmp(units, depths[i].units, sizeof units) == 0) {
            snprintf(d->network, sizeof d->network, "%s", depths[i].name);
        }
    }
}

static void detect_mobilefacenet(const struct cask_checkpoint *c, struct cask_detected *d)
{
    if (!has(c, "output_layer.conv_6_dw.conv.weight")) {
        d->family = "MobileFaceNet as FaceX-Zoo and TreB1eN write it (conv_6_dw and linear at the "
                    "top level)";
        return;
    }
    if (has(c, "output_layer.bn.weight")) {
        d->family = "cavaface MobileFaceNet (its last batch norm has weights; TFace's has none)";
        return;
    }
    d->family = "TFace MobileFaceNet";
    snprintf(d->network, sizeof d->network, "mobilefacenet");
    d->embedding = size_of(c, "output_layer.linear.weight", 0);
    d->height = 16 * size_of(c, "output_layer.conv_6_dw.conv.weight", 2);
    d->width = 16 * size_of(c, "output_layer.conv_6_dw.conv.weight", 3);
}

static void detect_mbf(const struct cask_checkpoint *c, struct cask_detected *d)
{
    d->family = "insightface MobileFaceNet";
    snprintf(d->network, sizeof d->network, "%s",
             size_of(c, "layers.0.layers.0.weight", 0) == 256 ? "mbf_large" : "mbf");
    d->embedding = size_of(c, "features.layers.2.weight", 0);
    d->height = 16 * size_of(c, "features.layers.0.layers.0.weight", 2);
    d->width = 16 * size_of(c, "features.layers.0.layers.0.weight", 3);
}

/* The older IR family: flat blocks "body.N". */
static const char *ir_family(const struct cask_checkpoint *c)
{
    if (has(c, "body.0.res_layer.8.running_mean")) {
        return "TFace IR_152 or IR_200 (bottleneck blocks)";
    }
    if (has(c, "body.0.res_layer.se_block.fc1.weight") || has(c, "body.0.res_layer.5.fc1.weight")) {
        return "IR_SE (blocks with squeeze-and-excitation)";
    }
    if (has(c, "body.0.res_layer.5.running_mean")) {
        return "TFace IR (layout B: first shortcut without weights)";
    }
    return has(c, "features.weight") || has(c, "features.running_mean")
               ? "cavaface IR (layout D: no batch norm between convolution and PReLU)"
               : "face.evoLVe, FaceX-Zoo or CurricularFace IR (layout C: no batch norm between "
                 "convolution and PReLU)";
}

static int metadata_int(const struct cask_checkpoint *c, const char *key, int otherwise)
{
    const char *text = cask_checkpoint_metadata(c, key);
    int value = text != NULL ? atoi(text) : 0;
    return value > 0 ? value : otherwise;
}

void cask_detect(const struct cask_checkpoint *c, struct cask_detected *d)
{
    *d = (struct cask_detected){0};
    if (has(c, "layer1.0.bn1.weight") && has(c, "layer1.0.prelu.weight")) {
        detect_iresnet(c, d);
    } else if (has(c, "layer1.0.bn1.weight")) {
        d->family = "torchvision ResNet (no PReLU)";
    } else if (has(c, "conv_23.conv.conv.weight")) {
        detect_mobilefacenet(c, d);
    } else if (has(c, "layers.0.layers.0.weight")) {
        detect_mbf(c, d);
    } else if (has(c, "body.0.res_layer.1.weight")) {
        d->family = ir_family(c);
    } else if (has(c, "blocks.0.conv.0.weight") && has(c, "dw_conv1.conv.weight")) {
        d->family = "Xiaoccer MobileFaceNet";
    } else if (has(c, "features.0.conv.0.0.weight") || has(c, "features.0.conv.0.weight") ||
               has(c, "features.1.conv.0.weight")) {
        d->family = "a MobileNetV2-like network";
    }
    const char *net = cask_checkpoint_metadata(c, "net");
    if (net != NULL && strlen(net) < sizeof d->network) {
        snprintf(d->network, sizeof d->network, "%s", net);
    }
    d->embedding = metadata_int(c, "embedding", d->embedding);
    d->width = metadata_int(c, "input_width", d->width);
    d->height = metadata_int(c, "input_height", d->height);
}
