/* tests/support/formula.h - numbers that C and numpy compute alike from a name and an index, so
 * that golden files need to hold results only, no weights. The same rules stand in
 * tests/golden/make_networks.py.
 */
#ifndef CASK_TESTS_SUPPORT_FORMULA_H
#define CASK_TESTS_SUPPORT_FORMULA_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "common/hash.h"
#include "common/mem.h"
#include "models/models.h"

/* Uniform in [-1, 1): CRC-32 of the name, plus a stride, through a 32-bit mixer. */
static inline double formula_uniform(uint32_t name_hash, uint64_t index)
{
    uint32_t x = name_hash + (uint32_t)index * UINT32_C(2654435761);
    x = (x ^ (x >> 16)) * UINT32_C(0x7feb352d);
    x = (x ^ (x >> 15)) * UINT32_C(0x846ca68b);
    x ^= x >> 16;
    return (double)x / 2147483648.0 - 1;
}

static inline void formula_fill(float *values, size_t count, const char *name, double centre,
                                double spread)
{
    const uint32_t hash = cask_crc32(0, name, strlen(name));
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)(centre + spread * formula_uniform(hash, i));
    }
}

/* Weights keep the variance of their input; batch norms and slopes are off their usual values. */
static inline void formula_parameter(const struct cask_param_info *info, float *values)
{
    const double fan_in = info->rank > 0 ? (double)info->count / (double)info->shape[0] : 1;
    double centre = 0, spread = 0;
    switch (info->role) {
    case CASK_PARAM_CONV_WEIGHT:
    case CASK_PARAM_LINEAR_WEIGHT:
        spread = sqrt(3 / fan_in);
        break;
    case CASK_PARAM_BN_GAMMA:
        centre = 1;
        spread = 0.2;
        break;
    case CASK_PARAM_BN_VAR:
        centre = 1;
        spread = 0.5;
        break;
    case CASK_PARAM_PRELU_SLOPE:
        centre = 0.25;
        spread = 0.1;
        break;
    case CASK_PARAM_CONV_BIAS:
    case CASK_PARAM_LINEAR_BIAS:
    case CASK_PARAM_BN_BETA:
    case CASK_PARAM_BN_MEAN:
        spread = 0.1;
        break;
    case CASK_PARAM_BN_COUNT:
        break;
    }
    formula_fill(values, (size_t)info->count, info->name, centre, spread);
}

static inline enum cask_status formula_net(struct cask_net *net, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_graph *graph = cask_net_graph(net);
    for (int i = 0; i < cask_graph_param_count(graph) && st == CASK_OK; i++) {
        const struct cask_param_info *info = cask_graph_param(graph, i);
        float *values = cask_alloc((size_t)info->count, sizeof *values);
        if (values == NULL) {
            return cask_error_memory(err, (size_t)info->count * sizeof *values, info->name);
        }
        formula_parameter(info, values);
        st = cask_net_set(net, i, values, err);
        cask_free(values);
    }
    return st;
}

#endif
