/* A net from a file of any kind. For ONNX: pairs the file's layers with the net's (graph_match.c)
 * and moves the weights over. What is left to do is that the two may write one batch norm in
 * different ways: with another eps, with a bias before it, or folded into its convolution.
 *
 *     BN(y) = gamma (y - mean) / sqrt(var + eps) + beta
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/checkpoint.h"
#include "models/graph_match.h"
#include "models/net.h"

struct transfer {
    struct cask_net *to, *from;
    const struct cask_match *match;
    const struct cask_graph *network, *file;
    struct cask_start *start;
};

/* -------------------------------------------------------------------- numbers */

/* The slot of node `node` from `count` doubles; nothing where the node has no such parameter. */
static enum cask_status put(struct transfer *t, const struct cask_node *node, enum cask_slot slot,
                            const double *values, int count, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    float *narrow = cask_alloc((size_t)count, sizeof *narrow);
    if (narrow == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *narrow, node->name));
    }
    for (int i = 0; i < count; i++) {
        narrow[i] = (float)values[i];
    }
    if (node->params[slot] >= 0) {
        const int param = node->params[slot];
        CASK_TRY(cask_net_take(t->to, param, t->network->params[param].name, narrow, err));
    }
done:
    cask_free(narrow);
    return st;
}

static enum cask_status copy(struct transfer *t, const struct cask_node *to,
                             const struct cask_node *from, enum cask_slot slot,
                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const int64_t count = t->network->params[to->params[slot]].count;
    const int64_t found = t->file->params[from->params[slot]].count;
    float *values = NULL;
    if (found != count) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH, "%s: expected %lld numbers, found %lld",
                                to->name, (long long)count, (long long)found));
    }
    values = cask_alloc((size_t)count, sizeof *values);
    if (values == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *values, to->name));
    }
    cask_net_get(t->from, from->params[slot], values);
    CASK_TRY(cask_net_set(t->to, to->params[slot], values, err));
done:
    cask_free(values);
    return st;
}

/* ---------------------------------------------------------------- batch norms */

enum { GAMMA, BETA, MEAN, VAR, NUMBERS };

/* Numbers of the file's batch norm; of a folded one, those of the identity. var comes with eps. */
static void read_norm(const struct transfer *t, const struct cask_node *from, int channels,
                      double *numbers[NUMBERS])
{
    static const enum cask_slot slots[NUMBERS] = {CASK_SLOT_WEIGHT, CASK_SLOT_BIAS, CASK_SLOT_MEAN,
                                                  CASK_SLOT_VAR};
    static const double identity[NUMBERS] = {1, 0, 0, 1};
    for (int k = 0; k < NUMBERS; k++) {
        for (int c = 0; from == NULL && c < channels; c++) {
            numbers[k][c] = identity[k];
        }
        if (from != NULL) {
            cask_net_read_or(t->from, from, slots[k], identity[k], channels, numbers[k]);
        }
    }
    for (int c = 0; from != NULL && c < channels; c++) {
        numbers[VAR][c] += from->eps;
    }
}

/* The bias of the file's convolution in front of `to`, where the net's convolution has none. */
static void read_bias_before(const struct transfer *t, const struct cask_node *to, int channels,
                             double *bias)
{
    const int producer = cask_graph_value(t->network, to->inputs[0])->producer;
    const struct cask_node *before = producer >= 0 ? &t->network->nodes[producer] : NULL;
    memset(bias, 0, (size_t)channels * sizeof *bias);
    if (before != NULL && (before->kind == CASK_LAYER_CONV || before->kind == CASK_LAYER_LINEAR)) {
        const bool folded = t->match->pairs[to - t->network->nodes] == CASK_MATCH_FOLDED;
        if (before->params[CASK_SLOT_BIAS] < 0 || folded) {
            cask_net_read_or(t->from, &t->file->nodes[t->match->pairs[producer]], CASK_SLOT_BIAS, 0,
                             channels, bias);
        }
    }
}

/* Without weights of its own: gamma and beta go into the statistics,
 *     BN(y) = (y - (mean - beta s / gamma)) / (s / gamma),  s = sqrt(var + eps). */
static enum cask_status into_statistics(const struct cask_node *to, int channels,
                                        double *numbers[NUMBERS], struct cask_error *err)
{
    for (int c = 0; c < channels; c++) {
        const double gamma = numbers[GAMMA][c], s = sqrt(numbers[VAR][c]) / gamma;
        if (!(gamma > 0) || !(s * s >= to->eps)) {
            return cask_error_set(
                err, CASK_ERR_MISMATCH,
                "%s[%d]: this batch norm has no weights of its own, and the file's gamma of %g "
                "cannot be moved into its variance",
                to->name, c, gamma);
        }
        numbers[MEAN][c] -= numbers[BETA][c] * s;
        numbers[VAR][c] = s * s;
    }
    return CASK_OK;
}

static enum cask_status move_norm(struct transfer *t, const struct cask_node *to,
                                  const struct cask_node *from, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const int channels = cask_graph_value(t->network, to->output)->c;
    double *room = cask_alloc((NUMBERS + 1) * (size_t)channels, sizeof *room);
    double *numbers[NUMBERS], *bias = room + NUMBERS * channels;
    if (room == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)channels * sizeof *room, to->name));
    }
    for (int k = 0; k < NUMBERS; k++) {
        numbers[k] = room + k * channels;
    }
    read_norm(t, from, channels, numbers);
    read_bias_before(t, to, channels, bias);
    for (int c = 0; c < channels; c++) { /* a bias b is a mean smaller by b, or a beta */
        numbers[from == NULL ? BETA : MEAN][c] += from == NULL ? bias[c] : -bias[c];
    }
    if (to->params[CASK_SLOT_WEIGHT] < 0) {
        CASK_TRY(into_statistics(to, channels, numbers, err));
    }
    for (int c = 0; c < channels; c++) {
        numbers[VAR][c] -= to->eps;
    }
    CASK_TRY(put(t, to, CASK_SLOT_WEIGHT, numbers[GAMMA], channels, err));
    CASK_TRY(put(t, to, CASK_SLOT_BIAS, numbers[BETA], channels, err));
    CASK_TRY(put(t, to, CASK_SLOT_MEAN, numbers[MEAN], channels, err));
    CASK_TRY(put(t, to, CASK_SLOT_VAR, numbers[VAR], channels, err));
    t->start->folded += from == NULL;
done:
    cask_free(room);
    return st;
}

/* ------------------------------------------------------------ other weights */

/* The batch norm behind takes the bias if it was folded, or if `to` has no bias itself. */
static bool bias_goes_on(const struct transfer *t, const struct cask_node *to)
{
    const struct cask_node *bn = cask_graph_foldable(t->network, to);
    return bn != NULL && (t->match->pairs[bn - t->network->nodes] == CASK_MATCH_FOLDED ||
                          to->params[CASK_SLOT_BIAS] < 0);
}

static enum cask_status move_weights(struct transfer *t, const struct cask_node *to,
                                     const struct cask_node *from, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const int channels = to->conv.out_c;
    double *bias = NULL;
    CASK_TRY(copy(t, to, from, CASK_SLOT_WEIGHT, err));
    bias = cask_alloc((size_t)channels, sizeof *bias);
    if (bias == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)channels * sizeof *bias, to->name));
    }
    if (!bias_goes_on(t, to)) {
        cask_net_read_or(t->from, from, CASK_SLOT_BIAS, 0, channels, bias);
    }
    for (int c = 0; c < channels && to->params[CASK_SLOT_BIAS] < 0; c++) {
        if (bias[c] != 0) {
            CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                    "%s: the file's %s has a bias, which this network has no "
                                    "place for",
                                    to->name, from->name));
        }
    }
    CASK_TRY(put(t, to, CASK_SLOT_BIAS, bias, channels, err));
done:
    cask_free(bias);
    return st;
}

static enum cask_status move_node(struct transfer *t, int index, struct cask_error *err)
{
    const struct cask_node *to = &t->network->nodes[index];
    const int pair = t->match->pairs[index];
    const struct cask_node *from = pair >= 0 ? &t->file->nodes[pair] : NULL;
    if (to->kind == CASK_LAYER_BATCHNORM) {
        return move_norm(t, to, from, err);
    }
    if (to->kind == CASK_LAYER_CONV || to->kind == CASK_LAYER_LINEAR) {
        return move_weights(t, to, from, err);
    }
    return to->params[CASK_SLOT_WEIGHT] < 0 ? CASK_OK : copy(t, to, from, CASK_SLOT_WEIGHT, err);
}

/* --------------------------------------------------------------------- pixels */

/* Leading nodes are y = s p + o, one after the other; together (p - mean) / scale. */
static enum cask_status read_pixels(struct transfer *t, struct cask_error *err)
{
    enum { CHANNELS = 3 };
    double scale = 1, offset = 0, s[CHANNELS], o[CHANNELS];
    for (int i = 0; i < t->match->leading; i++) {
        const struct cask_node *node = &t->file->nodes[i];
        cask_net_read_or(t->from, node, CASK_SLOT_WEIGHT, 1, CHANNELS, s);
        cask_net_read_or(t->from, node, CASK_SLOT_BIAS, 0, CHANNELS, o);
        for (int c = 0; c < CHANNELS; c++) {
            if (s[c] != s[0] || o[c] != o[0] || !(fabs(s[c]) > 0)) {
                return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                      "%s normalises each colour in its own way; expected one "
                                      "mean and one scale",
                                      node->name);
            }
        }
        scale *= s[0];
        offset = offset * s[0] + o[0];
    }
    if (t->match->leading > 0) {
        t->start->pixels.mean = -offset / scale;
        t->start->pixels.scale = 1 / scale;
        t->start->knows_pixels = true;
    }
    return CASK_OK;
}

/* ----------------------------------------------------------------------- ONNX */

static enum cask_status refuse(const struct cask_graph *network, const struct cask_graph *file,
                               const struct cask_match *match, struct cask_error *err)
{
    char text[600] = "", hint[200];
    const int width = cask_graph_input_width(file), height = cask_graph_input_height(file);
    const int embedding = cask_graph_embedding(file);
    const char *other = cask_match_registry(file);
    cask_match_difference(network, file, match, text, sizeof text);
    if (other == NULL) {
        snprintf(hint, sizeof hint,
                 ". No network of the registry computes what the file does: use "
                 "it as a teacher");
    } else {
        snprintf(hint, sizeof hint,
                 ". The file is a \"%s\" with embedding %d for pictures of %d x "
                 "%d: %s",
                 other, embedding, width, height,
                 strcmp(other, network->name) == 0 ? "set these" : "name that network");
    }
    return cask_error_set(err, CASK_ERR_MISMATCH,
                          "this ONNX graph is not %s with embedding %d for pictures of %d x %d%s%s",
                          network->name, cask_graph_embedding(network),
                          cask_graph_input_width(network), cask_graph_input_height(network), text,
                          hint);
}

enum cask_status cask_net_start_from(struct cask_net *net, struct cask_net *source,
                                     struct cask_start *start, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_match match = {0};
    bool fits = false;
    const struct cask_graph *network = net->graph, *file = source->graph;
    struct transfer t = {net, source, &match, network, file, start};
    start->knows_pixels = false;
    start->folded = 0;
    CASK_TRY(cask_graph_pixels(file, &start->pixels, &start->knows_pixels, err));
    CASK_TRY(cask_match_graphs(network, file, &match, &fits, err));
    const struct cask_value *want = cask_graph_value(network, CASK_GRAPH_INPUT);
    const struct cask_value *have = cask_graph_value(file, CASK_GRAPH_INPUT);
    if (!fits || want->h != have->h || want->w != have->w) {
        CASK_TRY(refuse(network, file, &match, err));
    }
    CASK_TRY(read_pixels(&t, err));
    for (int i = 0; i < network->node_count; i++) {
        CASK_TRY(move_node(&t, i, err));
    }
done:
    cask_match_release(&match);
    return st;
}

static enum cask_status start_from_onnx(struct cask_net *net, const char *path,
                                        struct cask_start *start, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_model file = {0};
    bool normalises = false;
    CASK_TRY(cask_onnx_open(net->device, path, &file, &normalises, err));
    st = cask_net_start_from(net, file.net, start, err);
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", path);
    }
done:
    cask_model_close(&file);
    return st;
}

enum cask_status cask_net_start(struct cask_net *net, const char *path, struct cask_start *start,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_checkpoint *file = NULL;
    bool onnx = false;
    start->knows_pixels = false;
    start->folded = 0;
    CASK_TRY(cask_file_is_onnx(path, &onnx, err));
    if (onnx) {
        CASK_TRY(start_from_onnx(net, path, start, err));
    } else {
        CASK_TRY(cask_checkpoint_open(path, &file, err));
        CASK_TRY(cask_net_load(net, file, err));
        CASK_TRY(cask_checkpoint_pixels(file, &start->pixels, &start->knows_pixels, err));
    }
done:
    cask_checkpoint_close(file);
    return st;
}
