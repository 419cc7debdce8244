#include "models/difference.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "models/checkpoint.h"
#include "models/classifier.h"
#include "models/detect.h"
#include "models/graph.h"

enum { SHOWN = 4 };

/* "12 missing: a, b, c, d and others" */
struct key_list {
    const char *title;
    int count;
    char text[400];
    size_t used;
};

static void note(struct key_list *list, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void note(struct key_list *list, const char *format, ...)
{
    if (++list->count > SHOWN || list->used >= sizeof list->text) {
        return;
    }
    va_list args;
    va_start(args, format);
    list->used += (size_t)snprintf(list->text + list->used, sizeof list->text - list->used, "%s",
                                   list->count > 1 ? ", " : "");
    if (list->used < sizeof list->text) {
        list->used += (size_t)vsnprintf(list->text + list->used, sizeof list->text - list->used,
                                        format, args);
    }
    va_end(args);
}

static bool same_shape(const struct cask_param_info *want, const struct cask_file_tensor *have)
{
    if (want->role == CASK_PARAM_BN_COUNT) {
        return have->count == 1;
    }
    bool same = want->rank == have->rank;
    for (int i = 0; same && i < want->rank; i++) {
        same = want->shape[i] == have->shape[i];
    }
    return same;
}

static void append_list(char *text, size_t bytes, const struct key_list *list)
{
    size_t used = strlen(text);
    if (list->count > 0) {
        snprintf(text + used, bytes - used, "; %d %s: %s%s", list->count, list->title, list->text,
                 list->count > SHOWN ? " and others" : "");
    }
}

static bool is_unknown(const struct cask_graph *graph, const char *name)
{
    return cask_graph_find_param(graph, name) < 0 && !cask_is_classifier_name(name);
}

/* The only unknown tensor of the parameter's shape; NULL: none, or several. */
static const struct cask_file_tensor *namesake(const struct cask_graph *graph,
                                               const struct cask_checkpoint *c,
                                               const struct cask_param_info *want)
{
    const struct cask_file_tensor *only = NULL;
    for (int i = 0; i < c->tensors.count; i++) {
        const struct cask_file_tensor *have = &c->tensors.items[i];
        if (is_unknown(graph, have->name) && same_shape(want, have)) {
            if (only != NULL) {
                return NULL;
            }
            only = have;
        }
    }
    return only;
}

/* A layer under another name: the first missing tensor whose shape one unknown tensor has. */
static void append_renamed(const struct cask_graph *graph, const struct cask_checkpoint *c,
                           char *text, size_t bytes)
{
    for (int i = 0; i < graph->param_count; i++) {
        const struct cask_param_info *want = &graph->params[i];
        if (want->role == CASK_PARAM_BN_COUNT || cask_checkpoint_find(c, want->name) != NULL) {
            continue;
        }
        const struct cask_file_tensor *other = namesake(graph, c, want);
        if (other != NULL) {
            const size_t used = strlen(text);
            snprintf(text + used, bytes - used, "; %.80s has the shape of %.80s (renamed?)",
                     other->name, want->name);
        }
        return;
    }
}

bool cask_key_difference(const struct cask_graph *graph, const struct cask_checkpoint *c,
                         char *text, size_t bytes)
{
    struct key_list missing = {.title = "missing"}, unknown = {.title = "unknown"};
    struct key_list wrong = {.title = "of another shape"};
    for (int i = 0; i < graph->param_count; i++) {
        const struct cask_param_info *want = &graph->params[i];
        const struct cask_file_tensor *have = cask_checkpoint_find(c, want->name);
        if (have == NULL && want->role != CASK_PARAM_BN_COUNT) {
            note(&missing, "%.80s", want->name);
        } else if (have != NULL && !same_shape(want, have)) {
            char expected[80], found[160];
            cask_shape_format(want->shape, want->rank, expected, sizeof expected);
            cask_shape_format(have->shape, have->rank, found, sizeof found);
            note(&wrong, "%.80s (expected %s, found %.60s)", want->name, expected, found);
        }
    }
    for (int i = 0; i < c->tensors.count; i++) {
        const char *name = c->tensors.items[i].name;
        if (is_unknown(graph, name)) {
            note(&unknown, "%.80s", name);
        }
    }
    text[0] = '\0';
    append_list(text, bytes, &missing);
    append_list(text, bytes, &unknown);
    append_list(text, bytes, &wrong);
    append_renamed(graph, c, text, bytes);
    return missing.count + unknown.count + wrong.count > 0;
}

/* ------------------------------------------------------------ nearest network */

struct nearness {
    int names, shapes; /* keys in common; those of the same shape as well */
};

static struct nearness compare(const struct cask_graph *graph, const struct cask_checkpoint *c)
{
    struct nearness n = {0};
    for (int i = 0; i < graph->param_count; i++) {
        const struct cask_file_tensor *have = cask_checkpoint_find(c, graph->params[i].name);
        n.names += have != NULL;
        n.shapes += have != NULL && same_shape(&graph->params[i], have);
    }
    return n;
}

/* In common, of all keys that the two have. */
static double score(const struct nearness *n, const struct cask_graph *graph,
                    const struct cask_checkpoint *c)
{
    return (n->names + n->shapes) / (2.0 * (graph->param_count + c->tensors.count - n->names));
}

void cask_describe_nearest(const struct cask_checkpoint *c, char *text, size_t bytes)
{
    struct cask_detected d;
    struct cask_graph *best = NULL;
    struct nearness best_nearness = {0};
    double best_score = 0.05;
    cask_detect(c, &d);
    const struct cask_graph_options options = {d.embedding, d.width, d.height};
    for (int i = 0; cask_graph_network(i) != NULL; i++) {
        struct cask_graph *graph = NULL;
        struct cask_error ignored;
        if (cask_graph_build(cask_graph_network(i), &options, &graph, &ignored) != CASK_OK) {
            continue; /* this is the text of another error: a network less is no new one */
        }
        const struct nearness n = compare(graph, c);
        const double s = score(&n, graph, c);
        if (s > best_score) {
            cask_graph_free(best);
            best = graph;
            best_score = s;
            best_nearness = n;
        } else {
            cask_graph_free(graph);
        }
    }
    text[0] = '\0';
    if (best != NULL) {
        char difference[1000];
        cask_key_difference(best, c, difference, sizeof difference);
        snprintf(text, bytes, ". The nearest network is \"%s\" (%d of its %d keys are here)%s",
                 best->name, best_nearness.names, best->param_count, difference);
    }
    cask_graph_free(best);
}
