/* models/graph_match.h - which layer of an imported graph does the work of which layer of a network
 * of the registry. Names say nothing there: layers are paired by what they compute and read.
 * Private to models/.
 *
 * An exporter folds most batch norms into the convolution before them. Such a batch norm has no
 * partner; its pair is CASK_MATCH_FOLDED, and what it did is in its convolution's weights and bias.
 */
#ifndef CASK_MODELS_GRAPH_MATCH_H
#define CASK_MODELS_GRAPH_MATCH_H

#include "models/graph.h"

enum { CASK_MATCH_FOLDED = -1 };

struct cask_match {
    int *pairs;  /* by node of the network: node of the file, or CASK_MATCH_FOLDED */
    int *values; /* by value of the network: value of the file */
    bool *used;  /* by node of the file */
    int leading; /* nodes of the file that normalise its pixels; the network's come normalised */
    int failed;  /* node of the network that has no partner; -1: all have */
};

/* Pairs the layers. *fits: all have a partner, and the file ends where the network does.
 * Fails only without memory. Release in any case. */
enum cask_status cask_match_graphs(const struct cask_graph *network, const struct cask_graph *file,
                                   struct cask_match *match, bool *fits, struct cask_error *err);
void cask_match_release(struct cask_match *match);

/* What the network has and the file has not, what is there instead, and what to do: "; behind
 * layer1.0.prelu ...". */
void cask_match_difference(const struct cask_graph *network, const struct cask_graph *file,
                           const struct cask_match *match, char *text, size_t bytes);

/* The first network of the registry that computes what the file does; NULL: none. */
const char *cask_match_registry(const struct cask_graph *file);

#endif
