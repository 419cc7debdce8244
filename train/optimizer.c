#include "train/optimizer.h"

#include <math.h>

static bool decays(enum cask_param_role role, enum cask_decay_group group)
{
    return group == CASK_DECAY_ALL || role == CASK_PARAM_CONV_WEIGHT ||
           role == CASK_PARAM_LINEAR_WEIGHT;
}

static enum cask_status global_norm(struct cask_net *net, struct cask_device *device,
                                    const struct cask_criterion *criterion,
                                    enum cask_clip_scope scope, double *norm,
                                    struct cask_error *err)
{
    const struct cask_graph *graph = cask_net_graph(net);
    double total = scope == CASK_CLIP_ALL ? cask_criterion_gradient_squares(criterion) : 0;
    for (int i = 0; i < cask_graph_param_count(graph); i++) {
        const struct cask_param_info *info = cask_graph_param(graph, i);
        double squares = 0;
        if (!info->trained) {
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

enum cask_status cask_optimizer_step(struct cask_net *net, struct cask_device *device,
                                     struct cask_criterion *criterion,
                                     const struct cask_train_options *options, double rate,
                                     double *norm, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_graph *graph = cask_net_graph(net);
    struct cask_sgd sgd = {.rate = rate,
                           .momentum = options->momentum,
                           .gradient_scale = 1,
                           .nesterov = options->nesterov};
    *norm = NAN;
    if (options->clip > 0) {
        CASK_TRY(global_norm(net, device, criterion, (enum cask_clip_scope)options->clip_over, norm,
                             err));
        sgd.gradient_scale = *norm > options->clip ? options->clip / *norm : 1;
    }
    for (int i = 0; i < cask_graph_param_count(graph); i++) {
        const struct cask_param_info *info = cask_graph_param(graph, i);
        if (!info->trained) {
            continue;
        }
        sgd.decay = decays(info->role, (enum cask_decay_group)options->decay_on)
                        ? options->weight_decay
                        : 0;
        CASK_TRY(cask_device_ops(device)->sgd_step(device, &sgd, (size_t)info->count,
                                                   cask_net_value(net, i), cask_net_grad(net, i),
                                                   cask_net_momentum(net, i), err));
    }
    cask_net_changed(net);
    struct cask_sgd head = cask_optimizer_head(options, rate);
    head.gradient_scale = options->clip_over == CASK_CLIP_ALL ? sgd.gradient_scale : 1;
    CASK_TRY(cask_criterion_update(criterion, &head, err));
done:
    return st;
}
