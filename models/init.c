/* models/init.c - how training starts: each value is a pure function of (seed, parameter, element).
 *
 * insightface IResNet: convolutions N(0, 0.1); linear layers as PyTorch leaves them, weight and
 * bias U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
 * TFace MobileFaceNet and insightface mbf: Kaiming normal, fan_out, for convolutions and linear
 * layers. PyTorch takes fan_out from the weight's shape, so a depthwise kernel [C,1,3,3] has
 * fan_out 9 C. All: batch norm gamma 1, beta 0; PReLU slope 0.25.
 */
#include <math.h>

#include "common/rng.h"
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

static double kaiming_std(const struct cask_param_info *info)
{
    double fan_out = (double)info->shape[0];
    for (int i = 2; i < info->rank; i++) {
        fan_out *= (double)info->shape[i];
    }
    return sqrt(2 / fan_out);
}

void cask_init_values(const struct cask_graph *graph, int param, uint64_t seed, float *values)
{
    const struct cask_param_info *info = &graph->params[param];
    const uint64_t stream = stream_of(param);
    switch (info->role) {
    case CASK_PARAM_CONV_WEIGHT:
        draw_normal(values, info->count, graph->init == CASK_INIT_KAIMING ? kaiming_std(info) : 0.1,
                    seed, stream);
        break;
    case CASK_PARAM_LINEAR_WEIGHT:
        if (graph->init == CASK_INIT_KAIMING) {
            draw_normal(values, info->count, kaiming_std(info), seed, stream);
        } else {
            draw_uniform(values, info->count, 1 / sqrt((double)info->shape[1]), seed, stream);
        }
        break;
    case CASK_PARAM_LINEAR_BIAS:
        if (graph->init == CASK_INIT_KAIMING) {
            fill(values, info->count, 0);
        } else {
            /* fan_in is the weight's, the parameter just before. */
            draw_uniform(values, info->count, 1 / sqrt((double)graph->params[param - 1].shape[1]),
                         seed, stream);
        }
        break;
    case CASK_PARAM_BN_GAMMA:
    case CASK_PARAM_BN_VAR:
        fill(values, info->count, 1);
        break;
    case CASK_PARAM_PRELU_SLOPE:
        fill(values, info->count, 0.25F);
        break;
    case CASK_PARAM_CONV_BIAS:
    case CASK_PARAM_BN_BETA:
    case CASK_PARAM_BN_MEAN:
    case CASK_PARAM_BN_COUNT:
        fill(values, info->count, 0);
        break;
    }
}
