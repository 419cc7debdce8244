/* models/graph.c - the growing arrays of a graph, its checks, and the questions asked about it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "models/graph.h"
#include "models/layers.h"

/* Files describe graphs too: these bounds keep sizes far from overflow and planning fast. The
 * largest network here has 1,100 layers. */
enum { MOST_LAYERS = 1 << 14, MOST_ELEMENTS = INT32_MAX };

static enum cask_status make_room(void **array, int count, int *room, size_t size,
                                  struct cask_error *err)
{
    if (count < *room) {
        return CASK_OK;
    }
    int wider = *room == 0 ? 64 : 2 * *room;
    void *moved = cask_grow(*array, (size_t)*room, (size_t)wider, size);
    if (moved == NULL) {
        return cask_error_memory(err, (size_t)wider * size, "network graph");
    }
    *array = moved;
    *room = wider;
    return CASK_OK;
}

static bool broken(const struct cask_graph *graph)
{
    return graph->problem.status != CASK_OK;
}

int cask_graph_fail(struct cask_graph *graph, enum cask_status status, const char *format, ...)
{
    if (!broken(graph)) {
        char text[512];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        cask_error_set(&graph->problem, status, "network %s: %s", graph->name, text);
    }
    return -1;
}

const char *cask_graph_text(struct cask_graph *graph, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length < 0 || length >= (int)sizeof text) {
        cask_graph_fail(graph, CASK_ERR_RANGE, "a layer's name is longer than %zu bytes",
                        sizeof text - 1);
        return "";
    }
    const char *copy = cask_arena_strdup(&graph->arena, text);
    if (copy == NULL) {
        cask_graph_fail(graph, CASK_ERR_MEMORY, "out of memory for a layer's name");
        return "";
    }
    return copy;
}

static int append_value(struct cask_graph *graph, int producer, int c, int h, int w)
{
    int elements; /* of one image */
    if (broken(graph)) {
        return -1;
    }
    if (__builtin_mul_overflow(h, w, &elements) || __builtin_mul_overflow(elements, c, &elements) ||
        elements < 1) {
        return cask_graph_fail(graph, CASK_ERR_RANGE,
                               "a value of %d x %d x %d is out of range; expected 1 to %d elements",
                               c, h, w, MOST_ELEMENTS);
    }
    if (make_room((void **)&graph->values, graph->value_count, &graph->value_room,
                  sizeof *graph->values, &graph->problem) != CASK_OK) {
        return -1;
    }
    graph->values[graph->value_count] = (struct cask_value){c, h, w, producer, 0};
    return graph->value_count++;
}

enum cask_status cask_graph_begin(const char *name, bool trainable, int channels, int height,
                                  int width, struct cask_graph **graph, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_graph *g = cask_alloc(1, sizeof *g);
    *graph = NULL;
    if (g == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *g, "network graph"));
    }
    cask_arena_init(&g->arena);
    g->trainable = trainable;
    g->norm = (struct cask_norm){.eps = 1e-5, .momentum = 0.1};
    g->output = -1;
    g->name = cask_arena_strdup(&g->arena, name);
    if (g->name == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(name) + 1, "network name"));
    }
    if (append_value(g, -1, channels, height, width) != CASK_GRAPH_INPUT) {
        *err = g->problem;
        CASK_TRY(g->problem.status);
    }
    *graph = g;
    g = NULL;
done:
    cask_graph_free(g);
    return st;
}

struct cask_node *cask_graph_append(struct cask_graph *graph, enum cask_layer_kind kind,
                                    const char *name, int a, int b)
{
    const int inputs[CASK_NODE_INPUTS] = {a, b};
    const char *copy = cask_graph_text(graph, "%s", name);
    if (broken(graph) || make_room((void **)&graph->nodes, graph->node_count, &graph->node_room,
                                   sizeof *graph->nodes, &graph->problem) != CASK_OK) {
        return NULL;
    }
    if (graph->node_count == MOST_LAYERS) {
        cask_graph_fail(graph, CASK_ERR_RANGE, "more than %d layers", MOST_LAYERS);
        return NULL;
    }
    struct cask_node *node = &graph->nodes[graph->node_count++];
    *node = (struct cask_node){.kind = kind, .name = copy, .output = -1};
    for (int i = 0; i < CASK_SLOTS; i++) {
        node->params[i] = -1;
    }
    for (int i = 0; i < CASK_NODE_INPUTS; i++) {
        node->inputs[i] = inputs[i];
        if (inputs[i] >= graph->value_count || inputs[0] < 0) {
            cask_graph_fail(graph, CASK_ERR_INTERNAL, "%s reads a value that does not exist", name);
            return NULL;
        }
        if (inputs[i] >= 0) {
            graph->values[inputs[i]].consumers++;
        }
    }
    return node;
}

void cask_graph_append_param(struct cask_graph *graph, struct cask_node *node, enum cask_slot slot,
                             const char *suffix, enum cask_param_role role, bool trained, int rank,
                             const int64_t shape[4])
{
    const char *name = cask_graph_text(graph, "%s.%s", node->name, suffix);
    if (broken(graph) || make_room((void **)&graph->params, graph->param_count, &graph->param_room,
                                   sizeof *graph->params, &graph->problem) != CASK_OK) {
        return;
    }
    struct cask_param_info info = {.name = name, .role = role, .rank = rank, .count = 1};
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 1 || __builtin_mul_overflow(info.count, shape[i], &info.count) ||
            info.count > INT32_MAX) {
            cask_graph_fail(graph, CASK_ERR_RANGE,
                            "%s: %lld elements along axis %d are out of range", name,
                            (long long)shape[i], i);
            return;
        }
        info.shape[i] = shape[i];
    }
    info.buffer =
        role == CASK_PARAM_BN_MEAN || role == CASK_PARAM_BN_VAR || role == CASK_PARAM_BN_COUNT;
    info.trained = trained && !info.buffer && graph->trainable;
    node->params[slot] = graph->param_count;
    graph->params[graph->param_count++] = info;
}

/* Where a parameter is after the move. */
static int moved(int param, int first, int to, int count)
{
    return param >= first ? param - (first - to) : param >= to ? param + (count - first) : param;
}

void cask_graph_move_params(struct cask_graph *graph, int first, int to)
{
    const int count = graph->param_count;
    if (broken(graph) || to < 0 || to >= first || first >= count) {
        return;
    }
    struct cask_param_info *old =
        cask_arena_alloc(&graph->arena, (size_t)(count - to), sizeof *old);
    if (old == NULL) {
        cask_graph_fail(graph, CASK_ERR_MEMORY, "out of memory for the order of parameters");
        return;
    }
    memcpy(old, graph->params + to, (size_t)(count - to) * sizeof *old);
    for (int p = to; p < count; p++) {
        graph->params[moved(p, first, to, count)] = old[p - to];
    }
    for (int i = 0; i < graph->node_count; i++) {
        int *params = graph->nodes[i].params;
        for (int slot = 0; slot < CASK_SLOTS; slot++) {
            params[slot] = moved(params[slot], first, to, count);
        }
    }
}

int cask_graph_append_output(struct cask_graph *graph, struct cask_node *node, int c, int h, int w)
{
    int producer = (int)(node - graph->nodes);
    node->output = append_value(graph, producer, c, h, w);
    return node->output;
}

const struct cask_value *cask_graph_value(const struct cask_graph *graph, int value)
{
    static const struct cask_value none = {.producer = -1};
    return value >= 0 && value < graph->value_count ? &graph->values[value] : &none;
}

enum cask_status cask_graph_finish(struct cask_graph *graph, int output, struct cask_error *err)
{
    if (!broken(graph)) {
        const struct cask_value *value = cask_graph_value(graph, output);
        if (output <= CASK_GRAPH_INPUT || value->h != 1 || value->w != 1) {
            cask_graph_fail(graph, CASK_ERR_FORMAT,
                            "the output is %d x %d x %d; expected an embedding, C x 1 x 1",
                            value->c, value->h, value->w);
        }
    }
    for (int i = 0; i < graph->param_count && !broken(graph); i++) {
        if (cask_graph_find_param(graph, graph->params[i].name) != i) {
            cask_graph_fail(graph, CASK_ERR_FORMAT, "two parameters have the name %s",
                            graph->params[i].name);
        }
    }
    graph->output = output;
    if (broken(graph)) {
        *err = graph->problem;
    }
    return graph->problem.status;
}

void cask_graph_free(struct cask_graph *graph)
{
    if (graph == NULL) {
        return;
    }
    cask_free(graph->nodes);
    cask_free(graph->values);
    cask_free(graph->params);
    cask_arena_release(&graph->arena);
    cask_free(graph);
}

const char *cask_graph_name(const struct cask_graph *graph)
{
    return graph->name;
}

int cask_graph_embedding(const struct cask_graph *graph)
{
    return graph->values[graph->output].c;
}

int cask_graph_input_width(const struct cask_graph *graph)
{
    return graph->values[CASK_GRAPH_INPUT].w;
}

int cask_graph_input_height(const struct cask_graph *graph)
{
    return graph->values[CASK_GRAPH_INPUT].h;
}

bool cask_graph_trainable(const struct cask_graph *graph)
{
    return graph->trainable;
}

int cask_graph_param_count(const struct cask_graph *graph)
{
    return graph->param_count;
}

const struct cask_param_info *cask_graph_param(const struct cask_graph *graph, int index)
{
    return &graph->params[index];
}

int cask_graph_find_param(const struct cask_graph *graph, const char *name)
{
    for (int i = 0; i < graph->param_count; i++) {
        if (strcmp(graph->params[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

int64_t cask_graph_parameters(const struct cask_graph *graph)
{
    int64_t sum = 0;
    for (int i = 0; i < graph->param_count; i++) {
        sum += graph->params[i].buffer ? 0 : graph->params[i].count;
    }
    return sum;
}

int64_t cask_graph_macs(const struct cask_graph *graph)
{
    int64_t sum = 0;
    for (int i = 0; i < graph->node_count; i++) {
        if (__builtin_add_overflow(sum, cask_layer_macs(graph, &graph->nodes[i]), &sum)) {
            return INT64_MAX;
        }
    }
    return sum;
}
