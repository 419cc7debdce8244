/* A net from a checkpoint, by name. All that does not fit is collected first, so that one message
 * shows what is wrong and what the file seems to be. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "models/checkpoint.h"
#include "models/classifier.h"
#include "models/detect.h"
#include "models/graph.h"

enum { SHOWN = 4 };

/* "missing 12: a, b, c, d, ..." */
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

static void compare(const struct cask_graph *graph, const struct cask_checkpoint *c,
                    struct key_list *missing, struct key_list *unknown, struct key_list *wrong)
{
    for (int i = 0; i < graph->param_count; i++) {
        const struct cask_param_info *want = &graph->params[i];
        const struct cask_file_tensor *have = cask_checkpoint_find(c, want->name);
        if (have == NULL && want->role != CASK_PARAM_BN_COUNT) {
            note(missing, "%.80s", want->name);
        } else if (have != NULL && !same_shape(want, have)) {
            char expected[80], found[160];
            cask_shape_format(want->shape, want->rank, expected, sizeof expected);
            cask_shape_format(have->shape, have->rank, found, sizeof found);
            note(wrong, "%.80s (expected %s, found %.60s)", want->name, expected, found);
        }
    }
    for (int i = 0; i < c->tensors.count; i++) {
        const char *name = c->tensors.items[i].name;
        if (cask_graph_find_param(graph, name) < 0 && !cask_is_classifier_name(name)) {
            note(unknown, "%.80s", name);
        }
    }
}

static void append_list(char *text, size_t bytes, const struct key_list *list)
{
    size_t used = strlen(text);
    if (list->count > 0) {
        snprintf(text + used, bytes - used, "; %d %s: %s%s", list->count, list->title, list->text,
                 list->count > SHOWN ? " and others" : "");
    }
}

/* What the file is, when it is something else. */
static void append_hint(char *text, size_t bytes, const struct cask_graph *graph,
                        const struct cask_checkpoint *c)
{
    struct cask_detected d;
    cask_detect(c, &d);
    size_t used = strlen(text);
    if (d.network[0] != '\0' && strcmp(d.network, graph->name) != 0) {
        snprintf(text + used, bytes - used, ". The file looks like \"%s\": name that network",
                 d.network);
    } else if (d.network[0] != '\0') {
        snprintf(text + used, bytes - used,
                 ". The file is a \"%s\" with embedding %d for pictures of %d x %d", d.network,
                 d.embedding, d.width, d.height);
    } else if (d.family != NULL) {
        snprintf(text + used, bytes - used,
                 ". The file looks like %s, which is not in the registry: export it to ONNX and "
                 "use that as a teacher",
                 d.family);
    }
}

static enum cask_status check(const struct cask_graph *graph, const struct cask_checkpoint *c,
                              struct cask_error *err)
{
    struct key_list missing = {.title = "missing"}, unknown = {.title = "unknown"};
    struct key_list wrong = {.title = "of another shape"};
    compare(graph, c, &missing, &unknown, &wrong);
    if (missing.count + unknown.count + wrong.count == 0) {
        return CASK_OK;
    }
    char text[CASK_ERROR_MESSAGE - 300] = "";
    append_list(text, sizeof text, &missing);
    append_list(text, sizeof text, &unknown);
    append_list(text, sizeof text, &wrong);
    append_hint(text, sizeof text, graph, c);
    return cask_error_set(err, CASK_ERR_MISMATCH, "%.200s: these are not weights of %s%s", c->path,
                          graph->name, text);
}

static void count_to_float(const struct cask_file_tensor *tensor, float *out)
{
    int64_t wide = 0;
    int32_t narrow = 0;
    if (tensor->dtype == CASK_FILE_I64) {
        memcpy(&wide, tensor->data, sizeof wide);
    } else if (tensor->dtype == CASK_FILE_I32) {
        memcpy(&narrow, tensor->data, sizeof narrow);
        wide = narrow;
    }
    *out = (float)wide;
}

enum cask_status cask_net_load(struct cask_net *net, const struct cask_checkpoint *checkpoint,
                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_graph *graph = cask_net_graph(net);
    float *values = NULL;
    int64_t largest = 1;
    CASK_TRY(check(graph, checkpoint, err));
    for (int i = 0; i < graph->param_count; i++) {
        largest = graph->params[i].count > largest ? graph->params[i].count : largest;
    }
    values = cask_alloc((size_t)largest, sizeof *values);
    if (values == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)largest * sizeof *values, "weights"));
    }
    for (int i = 0; i < graph->param_count; i++) {
        const struct cask_param_info *info = &graph->params[i];
        const struct cask_file_tensor *tensor = cask_checkpoint_find(checkpoint, info->name);
        values[0] = 0;
        if (tensor != NULL && info->role == CASK_PARAM_BN_COUNT) {
            count_to_float(tensor, values);
        } else if (tensor != NULL) {
            CASK_TRY(cask_file_tensor_to_f32(tensor, values, err));
        }
        CASK_TRY(cask_net_set(net, i, values, err));
    }
done:
    cask_free(values);
    return st;
}
