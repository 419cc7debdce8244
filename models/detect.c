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

/* A fifth halving rounds up: 4 x 4 is left of 112 and of 128 pixels, so of two sizes the usual one
 * is taken. */
static void size_after_five_halvings(int pixels, struct cask_detected *d)
{
    enum { USUAL_MAP = 4, USUAL_SIZE = 112 };
    size_from_pixels(pixels, d);
    d->width = d->width == 16 * USUAL_MAP ? USUAL_SIZE : 2 * d->width;
    d->height = d->height == 16 * USUAL_MAP ? USUAL_SIZE : 2 * d->height;
}

static bool is_registered(const char *name)
{
    for (int i = 0; cask_graph_network(i) != NULL; i++) {
        if (strcmp(cask_graph_network(i), name) == 0) {
            return true;
        }
    }
    return false;
}

/* Blocks of the four stages "layer1." .. "layer4.". */
static void count_units(const struct cask_checkpoint *c, int units[4])
{
    for (int s = 0; s < 4; s++) {
        char before[16];
        snprintf(before, sizeof before, "layer%d.", s + 1);
        units[s] = count_keys(c, before, ".bn1.weight");
    }
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
    count_units(c, units);
    d->family = "insightface IResNet";
    d->embedding = size_of(c, "fc.weight", 0);
    size_from_pixels(size_of(c, "fc.weight", 1) / 512, d);
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        if (memcmp(units, depths[i].units, sizeof units) == 0) {
            snprintf(d->network, sizeof d->network, "%s", depths[i].name);
        }
    }
}

static void detect_resnet(const struct cask_checkpoint *c, struct cask_detected *d)
{
    static const int shallow[4] = {2, 2, 2, 2}, deep[4] = {3, 4, 6, 3};
    const bool bottleneck = has(c, "layer1.0.conv3.weight");
    int units[4];
    count_units(c, units);
    d->family = "torchvision ResNet (no PReLU)";
    d->embedding = size_of(c, "fc.weight", 0);
    const bool is_deep = memcmp(units, deep, sizeof units) == 0;
    if (has(c, "bn_o1.weight")) {
        d->family = "face.evoLVe ResNet (batch norm and flattening before its fc)";
        size_after_five_halvings(size_of(c, "fc.weight", 1) / 2048, d);
        snprintf(d->network, sizeof d->network, "%s",
                 is_deep && bottleneck ? "evolve_resnet50" : "");
    } else if (is_deep || (!bottleneck && memcmp(units, shallow, sizeof units) == 0)) {
        snprintf(d->network, sizeof d->network, "%s",
                 !is_deep     ? "resnet18"
                 : bottleneck ? "resnet50"
                              : "resnet34");
    }
}

/* A depthwise kernel as large as the last map gives the size of the picture. */
static void detect_mobilefacenet(const struct cask_checkpoint *c, const char *name,
                                 const char *family, const char *depthwise, const char *linear,
                                 struct cask_detected *d)
{
    snprintf(d->network, sizeof d->network, "%s", name);
    d->family = family;
    d->embedding = size_of(c, linear, 0);
    d->height = 16 * size_of(c, depthwise, 2);
    d->width = 16 * size_of(c, depthwise, 3);
}

/* One topology, three sets of keys. */
static void detect_classic(const struct cask_checkpoint *c, struct cask_detected *d)
{
    if (!has(c, "output_layer.conv_6_dw.conv.weight")) {
        detect_mobilefacenet(c, "facex_mobilefacenet", "FaceX-Zoo or TreB1eN MobileFaceNet",
                             "conv_6_dw.conv.weight", "linear.weight", d);
        return;
    }
    const bool affine = has(c, "output_layer.bn.weight");
    detect_mobilefacenet(c, affine ? "cavaface_mobilefacenet" : "mobilefacenet",
                         affine ? "cavaface MobileFaceNet" : "TFace MobileFaceNet",
                         "output_layer.conv_6_dw.conv.weight", "output_layer.linear.weight", d);
}

static void detect_mbf(const struct cask_checkpoint *c, struct cask_detected *d)
{
    const bool large = size_of(c, "layers.0.layers.0.weight", 0) == 256;
    detect_mobilefacenet(c, large ? "mbf_large" : "mbf", "insightface MobileFaceNet",
                         "features.layers.0.layers.0.weight", "features.layers.2.weight", d);
}

/* The older IR family: flat blocks "body.N". */
static void detect_ir(const struct cask_checkpoint *c, struct cask_detected *d)
{
    static const int depths[][2] = {{8, 18}, {16, 34}, {24, 50}, {49, 101}, {50, 152}, {66, 200}};
    const int blocks = count_keys(c, "body.", ".res_layer.0.weight");
    const bool deep = has(c, "body.0.res_layer.8.running_mean");
    const bool squeeze =
        has(c, "body.0.res_layer.se_block.fc1.weight") || has(c, "body.0.res_layer.5.fc1.weight");
    const bool named = has(c, "fc.weight") || has(c, "features.weight");
    const char *owner = named ? "cavaface" : "evolve", *linear = "output_layer.3.weight";
    d->family = named ? "cavaface IR (layout D: no batch norm between convolution and PReLU)"
                      : "face.evoLVe, FaceX-Zoo or CurricularFace IR (layout C: no batch norm "
                        "between convolution and PReLU)";
    if (deep || has(c, "body.0.res_layer.5.running_mean")) {
        owner = "tface";
        d->family = deep ? "TFace IR_152 or IR_200 (bottleneck blocks)"
                         : "TFace IR (layout B: first shortcut without weights)";
    }
    d->family = squeeze ? "IR_SE (blocks with squeeze-and-excitation)" : d->family;
    linear = named ? "fc.weight" : linear;
    d->embedding = size_of(c, linear, 0);
    size_from_pixels(size_of(c, linear, 1) / (deep ? 2048 : 512), d);
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s_ir%s%d", owner, squeeze ? "_se" : "", depths[i][1]);
        if (blocks == depths[i][0] && is_registered(name)) {
            snprintf(d->network, sizeof d->network, "%s", name);
        }
    }
}

static void detect_features(const struct cask_checkpoint *c, struct cask_detected *d)
{
    if (has(c, "features.1.block.0.0.weight") && has(c, "classifier.3.weight")) {
        d->family = "torchvision MobileNetV3 (average pooling and two linear layers)";
        d->embedding = size_of(c, "classifier.3.weight", 0);
        const bool large = size_of(c, "features.16.0.weight", 0) == 960;
        snprintf(d->network, sizeof d->network, "%s", large ? "torchvision_mobilenetv3_large" : "");
    } else if (has(c, "features.1.block.0.0.weight") &&
               has(c, "output_layer.features.0.layers.0.weight")) {
        detect_mobilefacenet(c, "yakhyo_mobilenetv3_large", "yakhyo MobileNetV3-Large",
                             "output_layer.features.0.layers.0.weight", "output_layer.fc.0.weight",
                             d);
    } else if (has(c, "features.1.conv.0.weight") && has(c, "output_layer.conv_6_dw.conv.weight")) {
        detect_mobilefacenet(c, "mobilenetv3_large", "cavaface MobileNetV3-Large",
                             "output_layer.conv_6_dw.conv.weight", "output_layer.linear.weight", d);
    } else {
        d->family = "a MobileNetV2-like network";
    }
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
        detect_resnet(c, d);
    } else if (has(c, "conv_23.conv.conv.weight")) {
        detect_classic(c, d);
    } else if (has(c, "layers.0.layers.0.weight")) {
        detect_mbf(c, d);
    } else if (has(c, "body.0.res_layer.1.weight")) {
        detect_ir(c, d);
    } else if (has(c, "blocks.0.conv.0.weight") && has(c, "dw_conv1.conv.weight")) {
        detect_mobilefacenet(c, "xiaoccer_mobilefacenet", "Xiaoccer MobileFaceNet",
                             "linear7.conv.weight", "linear1.conv.weight", d);
    } else if (has(c, "features.0.0.weight") || has(c, "features.0.conv.0.0.weight") ||
               has(c, "features.0.conv.0.weight") || has(c, "features.1.conv.0.weight")) {
        detect_features(c, d);
    }
    const char *net = cask_checkpoint_metadata(c, "net");
    if (net != NULL && strlen(net) < sizeof d->network) {
        snprintf(d->network, sizeof d->network, "%s", net);
    }
    d->embedding = metadata_int(c, "embedding", d->embedding);
    d->width = metadata_int(c, "input_width", d->width);
    d->height = metadata_int(c, "input_height", d->height);
}
