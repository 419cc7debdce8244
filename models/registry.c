/* models/registry.c - network names and the file that builds each. */
#include <string.h>

#include "models/graph.h"

static const struct network {
    const char *name;
    cask_network_builder build;
} networks[] = {
    {"ir18", cask_build_iresnet},  {"ir34", cask_build_iresnet},
    {"ir50", cask_build_iresnet},  {"ir100", cask_build_iresnet},
    {"ir200", cask_build_iresnet}, {"mobilefacenet", cask_build_mobilefacenet},
    {"mbf", cask_build_mbf},       {"mbf_large", cask_build_mbf},
};

enum { NETWORKS = sizeof networks / sizeof *networks, DEFAULT_EMBEDDING = 512, DEFAULT_SIZE = 112 };

const char *const *cask_graph_networks(void)
{
    static const char *const names[] = {"ir18",          "ir34", "ir50",      "ir100", "ir200",
                                        "mobilefacenet", "mbf",  "mbf_large", NULL};
    _Static_assert(sizeof names / sizeof *names == NETWORKS + 1,
                   "a network is missing in one list");
    return names;
}

static enum cask_status unknown_network(const char *name, struct cask_error *err)
{
    char list[256] = "";
    for (size_t i = 0; i < NETWORKS; i++) {
        strncat(list, i == 0 ? "" : ", ", sizeof list - strlen(list) - 1);
        strncat(list, networks[i].name, sizeof list - strlen(list) - 1);
    }
    return cask_error_set(err, CASK_ERR_USAGE, "unknown network \"%s\"; known are %s", name, list);
}

enum cask_status cask_graph_build(const char *network, const struct cask_graph_options *options,
                                  struct cask_graph **graph, struct cask_error *err)
{
    const struct cask_graph_options none = {0};
    options = options == NULL ? &none : options;
    const int embedding = options->embedding == 0 ? DEFAULT_EMBEDDING : options->embedding;
    const int width = options->width == 0 ? DEFAULT_SIZE : options->width;
    const int height = options->height == 0 ? DEFAULT_SIZE : options->height;
    *graph = NULL;
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
    for (size_t i = 0; i < NETWORKS; i++) {
        if (strcmp(network, networks[i].name) == 0) {
            return networks[i].build(network, embedding, height, width, graph, err);
        }
    }
    return unknown_network(network, err);
}
