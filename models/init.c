/* models/init.c - how training starts: each value is a pure function of (seed, parameter, element).
 *
 * A network's file says which rule its source repository uses for convolutions and which for linear
 * layers (enum cask_init_rule). fan_in and fan_out are PyTorch's: taken from the weight's shape, so
 * a depthwise kernel [C,1,3,3] has fan_out 9 C. All: batch norm gamma 1, beta 0; PReLU slope 0.25.
 * Only the gammas that cask_init names in zero_gamma start at 0 (Goyal et al. 2017, 1706.02677).
 */
#include <math.h>
#include <string.h>

#include "common/rng.h"
#include "common/text.h"
#include "models/net.h"

/* Keeps draws for weights apart from draws of other modules with the same seed. */
static uint64_t stream_of(int param)
{
    return UINT64_C(0x696e697400000000) + (uint64_t)param;
}

static void fill(float *values, int64_t count, float value)
{
    for (int64_t i = 0; i < count; i++) {
        values[i] = value;
    }
}

static void draw_normal(float *values, int64_t count, double std, uint64_t seed, uint64_t stream)
{
    for (int64_t i = 0; i < count; i++) {
        values[i] = (float)(std * cask_rng_normal(seed, stream, (uint64_t)i));
    }
}

static void draw_uniform(float *values, int64_t count, double bound, uint64_t seed, uint64_t stream)
{
    for (int64_t i = 0; i < count; i++) {
        values[i] = (float)(bound * (2 * cask_rng_uniform(seed, stream, (uint64_t)i) - 1));
    }
}

/* Elements of a weight a single output (fan_in) or input (fan_out) channel is joined to. */
static double fan_in(const struct cask_param_info *weight)
{
    return (double)weight->count / (double)weight->shape[0];
}

static double fan_out(const struct cask_param_info *weight)
{
    return (double)weight->count / (double)weight->shape[1];
}

static void draw_weight(const struct cask_param_info *info, enum cask_init_rule rule, uint64_t seed,
                        uint64_t stream, float *values)
{
    switch (rule) {
    case CASK_INIT_PYTORCH:
        draw_uniform(values, info->count, 1 / sqrt(fan_in(info)), seed, stream);
        break;
    case CASK_INIT_NORMAL_01:
        draw_normal(values, info->count, 0.1, seed, stream);
        break;
    case CASK_INIT_NORMAL_001:
        draw_normal(values, info->count, 0.01, seed, stream);
        break;
    case CASK_INIT_KAIMING:
        draw_normal(values, info->count, sqrt(2 / fan_out(info)), seed, stream);
        break;
    case CASK_INIT_XAVIER:
        draw_uniform(values, info->count, sqrt(6 / (fan_in(info) + fan_out(info))), seed, stream);
        break;
    }
}

/* A bias stands just behind its weight. */
static void draw_bias(const struct cask_param_info *info, enum cask_init_rule rule, uint64_t seed,
                      uint64_t stream, float *values)
{
    if (rule == CASK_INIT_PYTORCH) {
        draw_uniform(values, info->count, 1 / sqrt(fan_in(info - 1)), seed, stream);
    } else {
        fill(values, info->count, 0);
    }
}

static double first_gamma(const struct cask_graph *graph, const char *name)
{
    const char *zero = graph->init.zero_gamma;
    return zero != NULL && cask_ends_with(name, zero) ? 0 : 1;
}

void cask_init_values(const struct cask_graph *graph, int param, uint64_t seed, float *values)
{
    const struct cask_param_info *info = &graph->params[param];
    const uint64_t stream = stream_of(param);
    switch (info->role) {
    case CASK_PARAM_CONV_WEIGHT:
        draw_weight(info, graph->init.conv, seed, stream, values);
        break;
    case CASK_PARAM_LINEAR_WEIGHT:
        draw_weight(info, graph->init.linear, seed, stream, values);
        break;
    case CASK_PARAM_CONV_BIAS:
        draw_bias(info, graph->init.conv, seed, stream, values);
        break;
    case CASK_PARAM_LINEAR_BIAS:
        draw_bias(info, graph->init.linear, seed, stream, values);
        break;
    case CASK_PARAM_BN_GAMMA:
        fill(values, info->count, first_gamma(graph, info->name));
        break;
    case CASK_PARAM_BN_VAR:
        fill(values, info->count, 1);
        break;
    case CASK_PARAM_PRELU_SLOPE:
        fill(values, info->count, 0.25F);
        break;
    case CASK_PARAM_BN_BETA:
    case CASK_PARAM_BN_MEAN:
    case CASK_PARAM_BN_COUNT:
        fill(values, info->count, 0);
        break;
    }
}
