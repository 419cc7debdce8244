/* models/registry.c - network names, what they are, and the file that builds each. */
#include <string.h>

#include "models/graph.h"

enum { DEFAULT_EMBEDDING = 512, DEFAULT_SIZE = 112 };

static const struct network {
    const char *name, *about;
    cask_network_builder *build;
    int embedding, width, height; /* 0: the defaults above */
} networks[] = {
    {"ir18", "IResNet-18, insightface; 2.6 GMAC", cask_build_iresnet, 0, 0, 0},
    {"ir34", "IResNet-34, insightface; 4.5 GMAC", cask_build_iresnet, 0, 0, 0},
    {"ir50", "IResNet-50, insightface; 6.3 GMAC", cask_build_iresnet, 0, 0, 0},
    {"ir100", "IResNet-100, insightface; 12.1 GMAC", cask_build_iresnet, 0, 0, 0},
    {"ir200", "IResNet-200, insightface; 23.4 GMAC", cask_build_iresnet, 0, 0, 0},
    {"mobilefacenet", "MobileFaceNet, TFace (EKD's student); 0.22 GMAC", cask_build_mobilefacenet,
     0, 0, 0},
    {"mbf", "MobileFaceNet of double width, insightface; 0.44 GMAC", cask_build_mbf, 0, 0, 0},
    {"mbf_large", "the same, four times as wide; 1.8 GMAC", cask_build_mbf, 0, 0, 0},
    {"mobilenetv3_large", "MobileNetV3-Large at 112, cavaface; 0.21 GMAC", cask_build_mobilenetv3,
     0, 0, 0},
    {"resnet18", "ResNet-18 with an embedding (PWR's student); 0.49 GMAC", cask_build_resnet, 0, 0,
     0},
    {"resnet34", "ResNet-34 with an embedding; 0.98 GMAC", cask_build_resnet, 0, 0, 0},
    {"resnet50", "ResNet-50 with an embedding; 1.1 GMAC", cask_build_resnet, 0, 0, 0},
    {"tface_ir18", "IR_18, TFace; 2.6 GMAC", cask_build_ir, 0, 0, 0},
    {"tface_ir34", "IR_34, TFace; 4.4 GMAC", cask_build_ir, 0, 0, 0},
    {"tface_ir50", "IR_50, TFace; 6.3 GMAC", cask_build_ir, 0, 0, 0},
    {"tface_ir101", "IR_101, TFace; 12.1 GMAC", cask_build_ir, 0, 0, 0},
    {"tface_ir152", "IR_152, TFace, bottlenecks; 12.9 GMAC", cask_build_ir, 0, 0, 0},
    {"tface_ir200", "IR_200, TFace, bottlenecks; 16.4 GMAC", cask_build_ir, 0, 0, 0},
    {"tface_ir_se50", "IR_SE_50, TFace; 6.3 GMAC", cask_build_ir, 0, 0, 0},
    {"tface_ir_se101", "IR_SE_101, TFace; 12.1 GMAC", cask_build_ir, 0, 0, 0},
    {"evolve_ir50", "IR_50, face.evoLVe, FaceX-Zoo, CurricularFace; 6.3 GMAC", cask_build_ir, 0, 0,
     0},
    {"evolve_ir101", "IR_101, the same; 12.1 GMAC", cask_build_ir, 0, 0, 0},
    {"evolve_ir152", "IR_152, the same; 12.3 GMAC", cask_build_ir, 0, 0, 0},
    {"evolve_ir_se50", "IR_SE_50, the same; 6.3 GMAC", cask_build_ir, 0, 0, 0},
    {"evolve_ir_se101", "IR_SE_101, the same; 12.1 GMAC", cask_build_ir, 0, 0, 0},
    {"evolve_ir_se152", "IR_SE_152, the same; 12.3 GMAC", cask_build_ir, 0, 0, 0},
    {"cavaface_ir50", "IR_50, cavaface; 6.3 GMAC", cask_build_ir, 0, 0, 0},
    {"cavaface_ir101", "IR_101, cavaface; 12.1 GMAC", cask_build_ir, 0, 0, 0},
    {"cavaface_mobilefacenet", "MobileFaceNet, cavaface; 0.22 GMAC", cask_build_mobilefacenet, 0, 0,
     0},
    {"facex_mobilefacenet", "MobileFaceNet, FaceX-Zoo and TreB1eN; 0.22 GMAC",
     cask_build_mobilefacenet, 0, 0, 0},
    {"xiaoccer_mobilefacenet", "MobileFaceNet, Xiaoccer, 112 x 96, 128 numbers; 0.19 GMAC",
     cask_build_xiaoccer, 128, 96, 112},
    {"yakhyo_mobilenetv3_large", "MobileNetV3-Large at 112, yakhyo; 0.21 GMAC",
     cask_build_mobilenetv3_torchvision, 0, 0, 0},
    {"torchvision_mobilenetv3_large", "MobileNetV3-Large, torchvision's stem; 0.060 GMAC",
     cask_build_mobilenetv3_torchvision, 0, 0, 0},
    {"evolve_resnet50", "ResNet-50, face.evoLVe: 4 x 4 map into its fc; 1.1 GMAC",
     cask_build_resnet, 0, 0, 0},
};

enum { NETWORKS = sizeof networks / sizeof *networks };

const char *cask_graph_network(int index)
{
    return index >= 0 && index < NETWORKS ? networks[index].name : NULL;
}

const char *cask_graph_network_about(int index)
{
    return index >= 0 && index < NETWORKS ? networks[index].about : NULL;
}

static enum cask_status unknown_network(const char *name, struct cask_error *err)
{
    char list[1024] = "";
    for (size_t i = 0; i < NETWORKS; i++) {
        strncat(list, i == 0 ? "" : ", ", sizeof list - strlen(list) - 1);
        strncat(list, networks[i].name, sizeof list - strlen(list) - 1);
    }
    return cask_error_set(err, CASK_ERR_USAGE, "unknown network \"%s\"; known are %s", name, list);
}

static int either(int asked, int own, int otherwise)
{
    return asked != 0 ? asked : own != 0 ? own : otherwise;
}

enum cask_status cask_graph_build(const char *network, const struct cask_graph_options *options,
                                  struct cask_graph **graph, struct cask_error *err)
{
    const struct cask_graph_options none = {0};
    const struct network *found = NULL;
    options = options == NULL ? &none : options;
    *graph = NULL;
    for (size_t i = 0; i < NETWORKS; i++) {
        found = strcmp(network, networks[i].name) == 0 ? &networks[i] : found;
    }
    if (found == NULL) {
        return unknown_network(network, err);
    }
    const int embedding = either(options->embedding, found->embedding, DEFAULT_EMBEDDING);
    const int width = either(options->width, found->width, DEFAULT_SIZE);
    const int height = either(options->height, found->height, DEFAULT_SIZE);
    if (embedding < 1 || embedding > 1 << 16) {
        return cask_error_set(err, CASK_ERR_RANGE, "embedding is %d; expected 1 to 65536",
                              embedding);
    }
    /* Four halvings must be even everywhere; the head takes what is left. */
    if (width < 16 || height < 16 || width % 16 != 0 || height % 16 != 0 || width > 4096 ||
        height > 4096) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "input is %d x %d pixels; expected multiples of 16 from 16 to 4096",
                              width, height);
    }
    return found->build(network, embedding, height, width, graph, err);
}

char *cask_graph_network_help(const char *usage)
{
    char *text = cask_strdup(usage);
    int widest = 0;
    for (int i = 0; i < NETWORKS; i++) {
        const int width = (int)strlen(networks[i].name);
        widest = width > widest ? width : widest;
    }
    for (int i = 0; i < NETWORKS && text != NULL; i++) {
        char *longer =
            cask_format("%s  %-*s %s\n", text, widest + 1, networks[i].name, networks[i].about);
        cask_free(text);
        text = longer;
    }
    return text;
}
