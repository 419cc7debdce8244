#include "train/watch.h"

#include <math.h>
#include <stdio.h>

enum cask_status cask_watch_state(struct cask_watch *watch, struct cask_state_list *state,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_state_add(state, "watch.", "values", CASK_F64, CASK_WATCH_TERMS, watch->values,
                            NULL, err));
    CASK_TRY(cask_state_add(state, "watch.", "equal", CASK_F64, CASK_WATCH_TERMS, watch->equal,
                            NULL, err));
done:
    return st;
}

/* ------------------------------------------------------------------ explain */

static bool all_finite(struct cask_device *device, int64_t count, const void *values)
{
    struct cask_error ignored;
    double squares = NAN;
    return cask_device_ops(device)->sum_squares(device, (size_t)count, values, &squares,
                                                &ignored) == CASK_OK &&
           isfinite(squares);
}

/* Running statistics took part in this step's forward pass already and say nothing. */
static const char *bad_parameter(const struct cask_watch_scene *scene)
{
    const struct cask_graph *graph = cask_net_graph(scene->net);
    for (int i = 0; i < cask_graph_param_count(graph); i++) {
        const struct cask_param_info *info = cask_graph_param(graph, i);
        if (info->trained &&
            !all_finite(scene->device, info->count, cask_net_value(scene->net, i))) {
            return info->name;
        }
    }
    return NULL;
}

static const char *bad_class_rows(const struct cask_watch_scene *scene)
{
    const struct cask_state_array *arrays = NULL;
    const int count = cask_criterion_state(scene->criterion, &arrays);
    for (int i = 0; i < count; i++) {
        for (int64_t j = 0; j < arrays[i].rows * arrays[i].columns; j++) {
            if (!isfinite(arrays[i].values[j])) {
                return arrays[i].name;
            }
        }
    }
    return NULL;
}

struct finding {
    char layer[128];
    int64_t values, not_finite;
    bool equal;
};

static bool finds_not_finite(const struct cask_layer_report *report, void *user)
{
    struct finding *finding = user;
    if (report->not_finite == 0) {
        return false;
    }
    snprintf(finding->layer, sizeof finding->layer, "%s", report->name);
    finding->values = report->values;
    finding->not_finite = report->not_finite;
    return true;
}

static bool finds_equal_images(const struct cask_layer_report *report, void *user)
{
    struct finding *finding = user;
    if (!report->images_equal) {
        return false;
    }
    snprintf(finding->layer, sizeof finding->layer, "%s", report->name);
    finding->equal = true;
    return true;
}

/* Where forward first meets what is not a number: in a weight, in a layer's output, in the class
 * rows, or, if all of these are finite, in the loss itself. */
static void explain_not_finite(const struct cask_watch_scene *scene, char text[400])
{
    struct cask_error ignored;
    struct finding finding = {.layer = ""};
    const char *name = bad_parameter(scene);
    if (name != NULL) {
        snprintf(text, 400, "the first parameter that is not finite is %s", name);
        return;
    }
    if (cask_plan_inspect(scene->plan, scene->pixels, scene->count, finds_not_finite, &finding,
                          &ignored) == CASK_OK &&
        finding.layer[0] != 0) {
        snprintf(text, 400,
                 "the first layer with an output that is not finite is %s (%lld of %lld values); "
                 "all parameters are finite",
                 finding.layer, (long long)finding.not_finite, (long long)finding.values);
        return;
    }
    name = bad_class_rows(scene);
    if (name != NULL) {
        snprintf(text, 400,
                 "the network is finite up to its embedding; of the criterion, %s is not", name);
    } else {
        snprintf(text, 400, "network and class rows are finite: the loss itself overflows");
    }
}

static void explain_stuck(const struct cask_watch_scene *scene, char text[400])
{
    struct cask_error ignored;
    struct finding finding = {.layer = ""};
    if (cask_plan_inspect(scene->plan, scene->pixels, scene->count, finds_equal_images, &finding,
                          &ignored) == CASK_OK &&
        finding.equal) {
        snprintf(text, 400,
                 "from layer %s on the network gives the same output to every image of the batch",
                 finding.layer);
    } else {
        snprintf(text, 400,
                 "the embeddings still differ from image to image, so the loss sits at a clamp");
    }
}

/* -------------------------------------------------------------------- watch */

static enum cask_status refuse_not_finite(const struct cask_watch_scene *scene, const char *name,
                                          double value, struct cask_error *err)
{
    char where[400];
    explain_not_finite(scene, where);
    return cask_error_set(err, CASK_ERR_RANGE,
                          "step %lld: the loss \"%s\" is %s; %s. Lower train.lr, lengthen "
                          "train.warmup_epochs or lower its weight. Nothing of this step is kept",
                          (long long)scene->step + 1, name,
                          isnan(value) ? "not a number" : "infinite", where);
}

static enum cask_status refuse_stuck(const struct cask_watch_scene *scene,
                                     const struct cask_term *term, double steps,
                                     struct cask_error *err)
{
    char where[400];
    explain_stuck(scene, where);
    return cask_error_set(err, CASK_ERR_RANGE,
                          "step %lld: the loss \"%s\" has been %.9g, to the last bit, for %.0f "
                          "steps of different images: it is stuck; %s. Lower train.lr, lengthen "
                          "train.warmup_epochs, or look at the labels",
                          (long long)scene->step + 1, term->name, term->value, steps, where);
}

enum cask_status cask_watch_losses(struct cask_watch *watch, const struct cask_watch_scene *scene,
                                   double total, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_term *terms = NULL;
    const int count = cask_criterion_terms(scene->criterion, &terms);
    for (int i = 0; i < count; i++) { /* a term explains more than the total */
        if (!isfinite(terms[i].value)) {
            CASK_TRY(refuse_not_finite(scene, terms[i].name, terms[i].value, err));
        }
    }
    if (!isfinite(total)) {
        CASK_TRY(refuse_not_finite(scene, "total", total, err));
    }
    for (int i = 0; i < count && i < CASK_WATCH_TERMS; i++) {
        /* 0 is what a loss without anything to compare gives, batch after batch */
        const bool counts = terms[i].weight != 0 && terms[i].value != 0;
        const bool same = counts && terms[i].value == watch->values[i];
        watch->equal[i] = same ? watch->equal[i] + 1 : 1;
        watch->values[i] = terms[i].value;
        if (same && watch->equal[i] >= CASK_WATCH_STUCK) {
            CASK_TRY(refuse_stuck(scene, &terms[i], watch->equal[i], err));
        }
    }
done:
    return st;
}

/* Backward runs from the embedding to the pixels, so what is last in the graph was met first. */
enum cask_status cask_watch_gradients(const struct cask_watch_scene *scene, struct cask_error *err)
{
    const struct cask_graph *graph = cask_net_graph(scene->net);
    for (int i = cask_graph_param_count(graph) - 1; i >= 0; i--) {
        const struct cask_param_info *info = cask_graph_param(graph, i);
        if (cask_net_trains(scene->net, i) &&
            !all_finite(scene->device, info->count, cask_net_grad(scene->net, i))) {
            return cask_error_set(err, CASK_ERR_RANGE,
                                  "step %lld: the gradient of %s is not finite, the first that "
                                  "going back from the loss meets; lower train.lr, lengthen "
                                  "train.warmup_epochs or set train.clip. Nothing of this step is "
                                  "kept",
                                  (long long)scene->step + 1, info->name);
        }
    }
    return CASK_OK;
}
