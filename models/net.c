/* models/net.c - parameters, gradients and momentum: three planes of one layout. */
#include <string.h>

#include "models/net.h"

#include "models/checkpoint.h"

enum { ALIGNMENT = 64 };

static size_t element_bytes(const struct cask_net *net)
{
    return cask_dtype_size(cask_device_parameter_dtype(net->device));
}

static enum cask_status allocate_plane(struct cask_net *net, void **plane, const char *what,
                                       struct cask_error *err)
{
    *plane = cask_buffer_alloc(net->device, net->plane_bytes);
    return *plane == NULL ? cask_error_memory(err, net->plane_bytes, what) : CASK_OK;
}

enum cask_status cask_net_create(const struct cask_graph *graph, struct cask_device *device,
                                 bool train, struct cask_net **net, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_net *n = cask_alloc(1, sizeof *n);
    *net = NULL;
    if (n == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *n, "network"));
    }
    n->graph = graph;
    n->device = device;
    n->train = train;
    if (train && !graph->trainable) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                "network %s cannot be trained: its batch norms are folded into its "
                                "convolutions",
                                graph->name));
    }
    n->offsets = cask_alloc((size_t)graph->param_count + 1, sizeof *n->offsets);
    n->frozen = cask_alloc((size_t)graph->param_count + 1, sizeof *n->frozen);
    if (n->offsets == NULL || n->frozen == NULL) {
        CASK_TRY(
            cask_error_memory(err, (size_t)graph->param_count * sizeof *n->offsets, "network"));
    }
    for (int i = 0; i < graph->param_count; i++) {
        n->offsets[i] = n->plane_bytes;
        size_t bytes = (size_t)graph->params[i].count * element_bytes(n);
        n->plane_bytes += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    n->plane_bytes += ALIGNMENT; /* never zero */
    CASK_TRY(allocate_plane(n, &n->values, "parameters", err));
    if (train) {
        CASK_TRY(allocate_plane(n, &n->grads, "parameter gradients", err));
        CASK_TRY(allocate_plane(n, &n->momentum, "momentum", err));
    }
    *net = n;
    n = NULL;
done:
    cask_net_free(n);
    return st;
}

void cask_net_free(struct cask_net *net)
{
    if (net == NULL) {
        return;
    }
    cask_buffer_free(net->device, net->momentum);
    cask_buffer_free(net->device, net->grads);
    cask_buffer_free(net->device, net->values);
    cask_free(net->frozen);
    cask_free(net->offsets);
    cask_free(net);
}

const struct cask_graph *cask_net_graph(const struct cask_net *net)
{
    return net->graph;
}

void *cask_net_value(struct cask_net *net, int param)
{
    return (char *)net->values + net->offsets[param];
}

void *cask_net_grad(struct cask_net *net, int param)
{
    bool has = net->train && net->graph->params[param].trained;
    return has ? (char *)net->grads + net->offsets[param] : NULL;
}

void *cask_net_momentum(struct cask_net *net, int param)
{
    bool has = net->train && net->graph->params[param].trained;
    return has ? (char *)net->momentum + net->offsets[param] : NULL;
}

void cask_net_freeze(struct cask_net *net, int param)
{
    net->frozen[param] = true;
}

bool cask_net_trains(const struct cask_net *net, int param)
{
    return net->train && net->graph->params[param].trained && !net->frozen[param];
}

void *cask_net_slot(struct cask_net *net, const struct cask_node *node, enum cask_slot slot)
{
    return node->params[slot] < 0 ? NULL : cask_net_value(net, node->params[slot]);
}

void *cask_net_slot_grad(struct cask_net *net, const struct cask_node *node, enum cask_slot slot)
{
    return node->params[slot] < 0 ? NULL : cask_net_grad(net, node->params[slot]);
}

enum cask_status cask_net_set(struct cask_net *net, int param, const float *values,
                              struct cask_error *err)
{
    const size_t count = (size_t)net->graph->params[param].count;
    char *target = cask_net_value(net, param);
    if (cask_device_parameter_dtype(net->device) == CASK_F32) {
        cask_buffer_upload(net->device, target, values, count * sizeof *values);
    } else {
        double *wide = cask_alloc(count, sizeof *wide);
        if (wide == NULL) {
            return cask_error_memory(err, count * sizeof *wide, net->graph->params[param].name);
        }
        for (size_t i = 0; i < count; i++) {
            wide[i] = (double)values[i];
        }
        cask_buffer_upload(net->device, target, wide, count * sizeof *wide);
        cask_free(wide);
    }
    cask_net_changed(net);
    return CASK_OK;
}

enum cask_status cask_net_take(struct cask_net *net, int param, const char *tensor,
                               const float *values, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_check_finite(tensor, values, net->graph->params[param].count, err));
    CASK_TRY(cask_net_set(net, param, values, err));
done:
    return st;
}

void cask_net_read(const struct cask_net *net, int param, int64_t first, int64_t count, double *out)
{
    const char *source = (const char *)net->values + net->offsets[param];
    if (cask_device_parameter_dtype(net->device) == CASK_F64) {
        cask_buffer_download(net->device, out, source + (size_t)first * sizeof *out,
                             (size_t)count * sizeof *out);
        return;
    }
    enum { CHUNK = 256 };
    float chunk[CHUNK];
    for (int64_t done = 0; done < count; done += CHUNK) {
        int64_t now = count - done < CHUNK ? count - done : CHUNK;
        cask_buffer_download(net->device, chunk, source + (size_t)(first + done) * sizeof *chunk,
                             (size_t)now * sizeof *chunk);
        for (int64_t i = 0; i < now; i++) {
            out[done + i] = (double)chunk[i];
        }
    }
}

void cask_net_get(struct cask_net *net, int param, float *values)
{
    const int64_t count = net->graph->params[param].count;
    if (cask_device_parameter_dtype(net->device) == CASK_F32) {
        cask_buffer_download(net->device, values, cask_net_value(net, param),
                             (size_t)count * sizeof *values);
        return;
    }
    enum { CHUNK = 256 };
    double chunk[CHUNK];
    for (int64_t done = 0; done < count; done += CHUNK) {
        int64_t now = count - done < CHUNK ? count - done : CHUNK;
        cask_net_read(net, param, done, now, chunk);
        for (int64_t i = 0; i < now; i++) {
            values[done + i] = (float)chunk[i];
        }
    }
}

void cask_net_count_batch(struct cask_net *net, const struct cask_node *node)
{
    void *counter = cask_net_slot(net, node, CASK_SLOT_COUNT);
    if (cask_device_parameter_dtype(net->device) == CASK_F64) {
        double seen;
        cask_buffer_download(net->device, &seen, counter, sizeof seen);
        seen += 1;
        cask_buffer_upload(net->device, counter, &seen, sizeof seen);
    } else {
        float seen; /* exact up to 16.7 million batches */
        cask_buffer_download(net->device, &seen, counter, sizeof seen);
        seen += 1;
        cask_buffer_upload(net->device, counter, &seen, sizeof seen);
    }
}

enum cask_status cask_net_zero_grads(struct cask_net *net, struct cask_error *err)
{
    enum { CHUNK = 1 << 14 };
    static const char zeros[CHUNK];
    if (!net->train) {
        return cask_error_set(err, CASK_ERR_INTERNAL,
                              "network %s has no gradients: it was created for "
                              "inference",
                              net->graph->name);
    }
    for (size_t at = 0; at < net->plane_bytes; at += CHUNK) {
        size_t now = net->plane_bytes - at < CHUNK ? net->plane_bytes - at : CHUNK;
        cask_buffer_upload(net->device, (char *)net->grads + at, zeros, now);
    }
    return CASK_OK;
}

void cask_net_changed(struct cask_net *net)
{
    net->version++;
}

enum cask_status cask_net_init(struct cask_net *net, uint64_t seed, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    float *values = NULL;
    int64_t largest = 1;
    for (int i = 0; i < net->graph->param_count; i++) {
        largest = net->graph->params[i].count > largest ? net->graph->params[i].count : largest;
    }
    values = cask_alloc((size_t)largest, sizeof *values);
    if (values == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)largest * sizeof *values, "initial weights"));
    }
    for (int i = 0; i < net->graph->param_count; i++) {
        cask_init_values(net->graph, i, seed, values);
        CASK_TRY(cask_net_set(net, i, values, err));
    }
done:
    cask_free(values);
    return st;
}
