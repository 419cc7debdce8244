/* train/losses/cckd.c - correlation congruence (Peng et al. 2019): mean over B^2 of (K(s) -
 * K(t))^2, K the Taylor series of the Gaussian kernel on unit rows: K(s) = exp(-2 gamma)
 * sum_{p=0..P} (2 gamma)^p / p! s^p TFace's code stops at P = 1, where this is exactly (0.8
 * exp(-0.8))^2 times SP.
 */
#include "train/losses/losses.h"

enum { MAX_ORDER = 20 };

struct options {
    double gamma;
    int64_t order;
};

static const struct cask_config_row rows[] = {
    {.key = "gamma",
     .type = CASK_CONFIG_REAL,
     .offset = offsetof(struct options, gamma),
     .value = "0.4",
     .min = 0,
     .max = 100,
     .help = "width of the Gaussian kernel"},
    {.key = "order",
     .type = CASK_CONFIG_INT,
     .offset = offsetof(struct options, order),
     .value = "2",
     .min = 0,
     .max = MAX_ORDER,
     .help = "P, the last power of the series (1 in TFace)"},
};

static unsigned needs(const void *options, const struct cask_engine_facts *facts)
{
    (void)options;
    (void)facts;
    return CASK_NEED_UNIT;
}

/* Horner for K and K'. */
static double kernel(const double *coefficient, int order, double s, double *slope)
{
    double value = 0;
    *slope = 0;
    for (int p = order; p >= 0; p--) {
        *slope = *slope * s + value;
        value = value * s + coefficient[p];
    }
    return value;
}

static double step_cckd(void *state, const void *options, const struct loss_step *step)
{
    const struct options *o = options;
    const int64_t count = (int64_t)step->batch * step->batch;
    double coefficient[MAX_ORDER + 1], sum = 0;
    (void)state;
    coefficient[0] = exp(-2 * o->gamma);
    for (int p = 1; p <= o->order; p++) {
        coefficient[p] = coefficient[p - 1] * 2 * o->gamma / p;
    }
    for (int64_t j = 0; j < count; j++) {
        double slope, unused;
        double gap = kernel(coefficient, (int)o->order, step->gram[j], &slope);
        gap -= kernel(coefficient, (int)o->order, step->teacher_gram[j], &unused);
        sum += gap * gap;
        step->d_gram[j] += step->weight * 2 * gap * slope / (double)count;
    }
    return sum / (double)count;
}

const struct loss NAME(cask_loss_cckd) = {
    .name = "cckd",
    .place = CASK_AT_PAIRS,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .option_bytes = sizeof(struct options),
    .needs = needs,
    .step = step_cckd,
};
