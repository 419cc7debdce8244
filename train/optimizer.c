#include "train/optimizer.h"

#include <fnmatch.h>
#include <math.h>
#include <string.h>

/* TFace's rule is about names: what is called "bn" does not decay. In its IR networks batch norms
 * have numbers for names, so there they do, and so do slopes and biases everywhere. */
static bool decays(const struct cask_param_info *info, enum cask_decay_group group)
{
    switch (group) {
    case CASK_DECAY_ALL:
        return true;
    case CASK_DECAY_TFACE:
        return strstr(info->name, "bn") == NULL;
    case CASK_DECAY_NO_BN_BIAS:
        break;
    }
    return info->role == CASK_PARAM_CONV_WEIGHT || info->role == CASK_PARAM_LINEAR_WEIGHT;
}

static bool names(const char *word, const struct cask_param_info *info)
{
    if (strcmp(word, "backbone") == 0) {
        return true;
    }
    if (strcmp(word, "bn") == 0) {
        return info->role == CASK_PARAM_BN_GAMMA || info->role == CASK_PARAM_BN_BETA;
    }
    return fnmatch(word, info->name, 0) == 0;
}

static enum cask_status check_words(const struct cask_graph *graph,
                                    const struct cask_train_options *options,
                                    struct cask_error *err)
{
    for (int i = 0; i < options->freeze.count; i++) {
        int named = 0;
        for (int p = 0; p < cask_graph_param_count(graph); p++) {
            const struct cask_param_info *info = cask_graph_param(graph, p);
            named += info->trained && names(options->freeze.values[i], info);
        }
        if (named == 0) {
            return cask_error_set(err, CASK_ERR_USAGE,
                                  "train.freeze: \"%s\" names no trained parameter of %s; expected "
                                  "backbone, bn, or a pattern such as \"%s\"",
                                  options->freeze.values[i], cask_graph_name(graph),
                                  cask_graph_param(graph, 0)->name);
        }
    }
    return CASK_OK;
}

enum cask_status cask_optimizer_freeze(struct cask_net *net,
                                       const struct cask_train_options *options, int *frozen,
                                       struct cask_error *err)
{
    const struct cask_graph *graph = cask_net_graph(net);
    *frozen = 0;
    enum cask_status st = check_words(graph, options, err);
    for (int p = 0; st == CASK_OK && p < cask_graph_param_count(graph); p++) {
        const struct cask_param_info *info = cask_graph_param(graph, p);
        bool named = false;
        for (int i = 0; i < options->freeze.count; i++) {
            named = named || names(options->freeze.values[i], info);
        }
        if (info->trained && named) {
            cask_net_freeze(net, p);
            *frozen += 1;
        }
    }
    return st;
}

/* Of the network, together with what the criterion measured. */
static enum cask_status global_norm(struct cask_net *net, struct cask_device *device,
                                    double head_squares, double *norm, struct cask_error *err)
{
    const struct cask_graph *graph = cask_net_graph(net);
    double total = head_squares;
    for (int i = 0; i < cask_graph_param_count(graph); i++) {
        const struct cask_param_info *info = cask_graph_param(graph, i);
        double squares = 0;
        if (!cask_net_trains(net, i)) {
            continue;
        }
        enum cask_status st = cask_device_ops(device)->sum_squares(
            device, (size_t)info->count, cask_net_grad(net, i), &squares, err);
        if (st != CASK_OK) {
            return st;
        }
        total += squares;
    }
    *norm = sqrt(total);
    if (!isfinite(*norm)) {
        return cask_error_set(
            err, CASK_ERR_RANGE,
            "the gradient norm is %g; lower train.lr or lengthen train.warmup_epochs", *norm);
    }
    return CASK_OK;
}

bool cask_optimizer_wants_head(const struct cask_train_options *options)
{
    return options->clip > 0 && options->clip_over == CASK_CLIP_ALL;
}

struct cask_sgd cask_optimizer_head(const struct cask_train_options *options, double rate)
{
    return (struct cask_sgd){.rate = rate,
                             .momentum = options->momentum,
                             .decay = options->weight_decay,
                             .gradient_scale = 1,
                             .nesterov = options->nesterov};
}

enum cask_status cask_optimizer_network(struct cask_net *net, struct cask_device *device,
                                        const struct cask_train_options *options, double rate,
                                        double head_squares, double *norm, double *scale,
                                        struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_graph *graph = cask_net_graph(net);
    struct cask_sgd sgd = {.rate = rate,
                           .momentum = options->momentum,
                           .gradient_scale = 1,
                           .nesterov = options->nesterov};
    *norm = NAN;
    if (options->clip > 0) {
        CASK_TRY(global_norm(net, device, head_squares, norm, err));
        sgd.gradient_scale = *norm > options->clip ? options->clip / *norm : 1;
    }
    for (int i = 0; i < cask_graph_param_count(graph); i++) {
        const struct cask_param_info *info = cask_graph_param(graph, i);
        if (!cask_net_trains(net, i)) {
            continue;
        }
        sgd.decay =
            decays(info, (enum cask_decay_group)options->decay_on) ? options->weight_decay : 0;
        CASK_TRY(cask_device_ops(device)->sgd_step(device, &sgd, (size_t)info->count,
                                                   cask_net_value(net, i), cask_net_grad(net, i),
                                                   cask_net_momentum(net, i), err));
    }
    *scale = sgd.gradient_scale;
    cask_net_changed(net);
done:
    return st;
}

enum cask_status cask_optimizer_step(struct cask_net *net, struct cask_device *device,
                                     struct cask_criterion *criterion,
                                     const struct cask_train_options *options, double rate,
                                     double *norm, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const bool together = cask_optimizer_wants_head(options);
    const double squares = together ? cask_criterion_gradient_squares(criterion) : 0;
    double scale = 1;
    CASK_TRY(cask_optimizer_network(net, device, options, rate, squares, norm, &scale, err));
    struct cask_sgd head = cask_optimizer_head(options, rate);
    head.gradient_scale = together ? scale : 1;
    CASK_TRY(cask_criterion_update(criterion, &head, err));
done:
    return st;
}
