#include "models/graph_match.h"

#include <stdio.h>
#include <string.h>

#include "models/layers.h"

/* ----------------------------------------------------------------- one pair */

static bool is_weighted(const struct cask_node *node)
{
    return node->kind == CASK_LAYER_CONV || node->kind == CASK_LAYER_LINEAR;
}

/* A linear layer is a convolution whose kernel is its input. Biases are not compared: folding a
 * batch norm makes one. */
static bool same_conv(const struct cask_conv_spec *a, const struct cask_conv_spec *b)
{
    return a->out_c == b->out_c && a->kernel_h == b->kernel_h && a->kernel_w == b->kernel_w &&
           a->stride == b->stride && a->groups == b->groups && a->pad_top == b->pad_top &&
           a->pad_left == b->pad_left && a->pad_bottom == b->pad_bottom &&
           a->pad_right == b->pad_right;
}

static bool same_work(const struct cask_node *a, const struct cask_node *b)
{
    if (is_weighted(a) && is_weighted(b)) {
        return same_conv(&a->conv, &b->conv);
    }
    return a->kind == b->kind && a->activation == b->activation && a->stride == b->stride &&
           a->window.size == b->window.size && a->window.stride == b->window.stride &&
           a->window.pad == b->window.pad;
}

/* The value that passes through what does nothing: PyTorch writes a shortcut of stride 1 as a
 * pool of one pixel. */
static int behind_nothing(const struct cask_graph *file, int value)
{
    while (value > CASK_GRAPH_INPUT) {
        const struct cask_node *producer = &file->nodes[file->values[value].producer];
        if (producer->kind != CASK_LAYER_SUBSAMPLE || producer->stride != 1) {
            break;
        }
        value = producer->inputs[0];
    }
    return value;
}

/* Sums do not care which input comes first; neither does a gate once it is one pixel. */
static bool reads(const struct cask_graph *file, const struct cask_node *node, int a, int b)
{
    const int x = behind_nothing(file, node->inputs[0]), y = behind_nothing(file, node->inputs[1]);
    return (x == a && y == b) || (b >= 0 && x == b && y == a);
}

static int find_partner(const struct cask_graph *file, const struct cask_match *match,
                        const struct cask_node *node, int a, int b)
{
    for (int i = 0; i < file->node_count; i++) {
        if (!match->used[i] && same_work(node, &file->nodes[i]) &&
            reads(file, &file->nodes[i], a, b)) {
            return i;
        }
    }
    return -1;
}

/* Behind a convolution that nothing else reads, a batch norm may be in its weights. */
static bool may_be_folded(const struct cask_graph *network, const struct cask_node *node)
{
    const int producer = cask_graph_value(network, node->inputs[0])->producer;
    return node->kind == CASK_LAYER_BATCHNORM && producer >= 0 &&
           cask_graph_foldable(network, &network->nodes[producer]) == node;
}

/* ----------------------------------------------------------------- all pairs */

static enum cask_status allocate(const struct cask_graph *network, const struct cask_graph *file,
                                 struct cask_match *match, struct cask_error *err)
{
    *match = (struct cask_match){.failed = -1};
    match->pairs = cask_alloc((size_t)network->node_count, sizeof *match->pairs);
    match->values = cask_alloc((size_t)network->value_count, sizeof *match->values);
    match->used = cask_alloc((size_t)file->node_count, sizeof *match->used);
    if (match->pairs == NULL || match->values == NULL || match->used == NULL) {
        return cask_error_memory(err, (size_t)network->value_count * sizeof *match->values,
                                 "pairs of layers");
    }
    return CASK_OK;
}

/* A file that normalises its pixels starts with constants, a Sub and a Mul. */
static int picture_of(const struct cask_graph *file, struct cask_match *match)
{
    int value = CASK_GRAPH_INPUT;
    while (match->leading < file->node_count) {
        const struct cask_node *node = &file->nodes[match->leading];
        if (node->kind != CASK_LAYER_AFFINE || cask_graph_sole_reader(file, value) != node) {
            break;
        }
        match->used[match->leading++] = true;
        value = node->output;
    }
    return value;
}

enum cask_status cask_match_graphs(const struct cask_graph *network, const struct cask_graph *file,
                                   struct cask_match *match, bool *fits, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *fits = false;
    CASK_TRY(allocate(network, file, match, err));
    match->values[CASK_GRAPH_INPUT] = picture_of(file, match);
    for (int i = 0; i < network->node_count; i++) {
        const struct cask_node *node = &network->nodes[i];
        const int a = match->values[node->inputs[0]];
        const int b = node->inputs[1] >= 0 ? match->values[node->inputs[1]] : -1;
        match->pairs[i] = find_partner(file, match, node, a, b);
        if (match->pairs[i] >= 0) {
            match->used[match->pairs[i]] = true;
            match->values[node->output] = file->nodes[match->pairs[i]].output;
        } else if (may_be_folded(network, node)) {
            match->values[node->output] = a;
        } else {
            match->failed = i;
            goto done;
        }
    }
    *fits = match->values[network->output] == behind_nothing(file, file->output);
done:
    return st;
}

void cask_match_release(struct cask_match *match)
{
    cask_free(match->pairs);
    cask_free(match->values);
    cask_free(match->used);
    *match = (struct cask_match){0};
}

/* -------------------------------------------------------------- differences */

static void describe(const struct cask_graph *graph, const struct cask_node *node, char *text,
                     size_t bytes)
{
    const struct cask_value *in = cask_graph_value(graph, node->inputs[0]);
    const struct cask_conv_spec *conv = &node->conv;
    if (is_weighted(node) && in->h == conv->kernel_h && in->w == conv->kernel_w &&
        conv->groups == 1) {
        snprintf(text, bytes, "linear %.60s, %d x %d x %d to %d", node->name, in->c, in->h, in->w,
                 conv->out_c);
    } else if (is_weighted(node)) {
        snprintf(text, bytes, "conv %.60s, %d x %d, %d to %d channels, stride %d, groups %d",
                 node->name, conv->kernel_h, conv->kernel_w, in->c, conv->out_c, conv->stride,
                 conv->groups);
    } else {
        snprintf(text, bytes, "%s %.60s, %d channels", cask_layer(node->kind)->name, node->name,
                 in->c);
    }
}

/* The file's first layer on `value` that is still free. */
static const struct cask_node *reader_of(const struct cask_graph *file,
                                         const struct cask_match *match, int value)
{
    for (int i = 0; i < file->node_count; i++) {
        if (!match->used[i] && (behind_nothing(file, file->nodes[i].inputs[0]) == value ||
                                file->nodes[i].inputs[1] == value)) {
            return &file->nodes[i];
        }
    }
    return NULL;
}

void cask_match_difference(const struct cask_graph *network, const struct cask_graph *file,
                           const struct cask_match *match, char *text, size_t bytes)
{
    char expected[200] = "its end", found[200] = "its end";
    int value = match->values[network->output];
    const char *behind = network->nodes[network->node_count - 1].name;
    if (match->failed >= 0) {
        const struct cask_node *node = &network->nodes[match->failed];
        const int producer = cask_graph_value(network, node->inputs[0])->producer;
        describe(network, node, expected, sizeof expected);
        behind = producer >= 0 ? network->nodes[producer].name : "the picture";
        value = match->values[node->inputs[0]];
    }
    const struct cask_node *instead = reader_of(file, match, value);
    if (instead != NULL) {
        describe(file, instead, found, sizeof found);
    }
    snprintf(text, bytes, "; behind %.80s expected %s; found %s", behind, expected, found);
}

const char *cask_match_registry(const struct cask_graph *file)
{
    const struct cask_graph_options options = {.embedding = cask_graph_embedding(file),
                                               .width = cask_graph_input_width(file),
                                               .height = cask_graph_input_height(file)};
    for (int i = 0; cask_graph_network(i) != NULL; i++) {
        struct cask_graph *graph = NULL;
        struct cask_match match = {0};
        struct cask_error ignored; /* a network that cannot be of this size does not fit */
        bool fits = false;
        if (cask_graph_build(cask_graph_network(i), &options, &graph, &ignored) == CASK_OK) {
            (void)cask_match_graphs(graph, file, &match, &fits, &ignored);
        }
        cask_match_release(&match);
        cask_graph_free(graph);
        if (fits) {
            return cask_graph_network(i);
        }
    }
    return NULL;
}
