/* tests/support/networks.h - a registry network on a device, filled by formula.h: what the tests of
 * plans start from. */
#ifndef CASK_TESTS_SUPPORT_NETWORKS_H
#define CASK_TESTS_SUPPORT_NETWORKS_H

#include "models/plan.h"
#include "tests/support/formula.h"
#include "tests/support/test.h"

/* Skips the test where the CPU lacks bf16 instructions, or CASK_CPU_ISA hides them. */
static inline struct cask_device *open_threads(const char *backend, enum cask_precision precision,
                                               int threads)
{
    struct cask_error err;
    struct cask_device *device = NULL;
    const struct cask_device_options options = {backend, threads, precision};
    enum cask_status st = cask_device_open(&options, &device, &err);
    if (st == CASK_ERR_UNSUPPORTED && precision == CASK_PRECISION_BF16) {
        print_message("skipped: %s\n", err.message);
        skip();
    }
    assert_ok(st);
    return device;
}

static inline struct cask_device *open_with(const char *backend, enum cask_precision precision)
{
    return open_threads(backend, precision, 0);
}

static inline struct cask_device *open_device(const char *backend)
{
    return open_with(backend, CASK_PRECISION_FP32);
}

static inline struct cask_graph *build(const char *name, int size)
{
    struct cask_error err;
    struct cask_graph *graph = NULL;
    const struct cask_graph_options options = {.embedding = 64, .width = size, .height = size};
    assert_ok(cask_graph_build(name, &options, &graph, &err));
    return graph;
}

static inline struct cask_net *filled(const struct cask_graph *graph, struct cask_device *device,
                                      bool train)
{
    struct cask_error err;
    struct cask_net *net = NULL;
    assert_ok(cask_net_create(graph, device, train, &net, &err));
    assert_ok(formula_net(net, &err));
    return net;
}

static inline size_t image_floats(const struct cask_graph *graph)
{
    return 3 * (size_t)cask_graph_input_width(graph) * (size_t)cask_graph_input_height(graph);
}

static inline float *noise(size_t count, const char *name)
{
    float *values = cask_alloc(count, sizeof *values);
    assert_non_null(values);
    formula_fill(values, count, name, 0, 1);
    return values;
}

#endif
