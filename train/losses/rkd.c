/* train/losses/rkd.c - RKD-D, RKD-A and RKD-DA as rows of the registry.
 *
 *                     rows of Gram        mean scaling   denominator
 *   lenscloth, TFace  raw                 yes            B*B
 *   KD-PWR            unit                no             B*(B-1)
 * Weights of RKD-DA: 1:2 (lenscloth), 25:50 (TFace, RepDistiller), 100:200 (PWR paper).
 */
#include "train/losses/rkd.h"

static const char *const denominators[] = {"B*B", "B*(B-1)", NULL};

#define AT(field) offsetof(struct rkd_options, field)
#define NORMALISE                                                                                  \
    {                                                                                              \
        .key = "normalise", .type = CASK_CONFIG_BOOL, .offset = AT(normalise), .value = "false",   \
        .help = "unit embeddings (KD-PWR) instead of raw ones (lenscloth, TFace)"                  \
    }
#define MEAN_SCALE                                                                                 \
    {                                                                                              \
        .key = "mean_scale", .type = CASK_CONFIG_BOOL, .offset = AT(mean_scale), .value = "true",  \
        .help = "divide distances by their mean"                                                   \
    }
#define DENOMINATOR                                                                                \
    {                                                                                              \
        .key = "denominator", .type = CASK_CONFIG_ENUM, .offset = AT(denominator), .value = "B*B", \
        .names = denominators, .help = "what the sum of the distance part is divided by"           \
    }

static const struct cask_config_row rows_d[] = {NORMALISE, MEAN_SCALE, DENOMINATOR};
static const struct cask_config_row rows_a[] = {NORMALISE};
static const struct cask_config_row rows_da[] = {
    NORMALISE,
    MEAN_SCALE,
    DENOMINATOR,
    {.key = "weight_d",
     .type = CASK_CONFIG_REAL,
     .offset = AT(weight_d),
     .value = "1",
     .min = 0,
     .max = 1e6,
     .help = "factor of the distance part"},
    {.key = "weight_a",
     .type = CASK_CONFIG_REAL,
     .offset = AT(weight_a),
     .value = "2",
     .min = 0,
     .max = 1e6,
     .help = "factor of the angle part"},
};

static unsigned needs(const void *options, const struct cask_engine_facts *facts)
{
    (void)facts;
    const struct rkd_options *o = options;
    return CASK_NEED_UNIT | (o->normalise ? 0 : CASK_NEED_RAW_GRAM | CASK_NEED_NORM);
}

static enum cask_status create_angle(const void *options, const struct cask_engine_facts *facts,
                                     void **state, struct cask_error *err)
{
    (void)options;
    *state = NULL;
    if (facts->batch > 2048) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "RKD-A: its cost is B^3; expected a batch up to 2048, found %d",
                              facts->batch);
    }
    return CASK_OK;
}

static struct rkd_step step_of(const struct rkd_options *o, const struct loss_step *step,
                               double weight)
{
    return (struct rkd_step){
        .batch = step->batch,
        .student = o->normalise ? step->gram : step->raw_gram,
        .teacher = o->normalise ? step->teacher_gram : step->teacher_raw_gram,
        .d_student = o->normalise ? step->d_gram : step->d_raw_gram,
        .weight = step->weight * weight,
        .device = step->device,
    };
}

static double step_d(void *state, const void *options, const struct loss_step *step)
{
    const struct rkd_options *o = options;
    const struct rkd_step part = step_of(o, step, 1);
    (void)state;
    return rkd_distance(&part, o->mean_scale, o->denominator == 1);
}

static double step_a(void *state, const void *options, const struct loss_step *step)
{
    const struct rkd_step part = step_of(options, step, 1);
    (void)state;
    return rkd_angle(&part);
}

static double step_da(void *state, const void *options, const struct loss_step *step)
{
    const struct rkd_options *o = options;
    const struct rkd_step d = step_of(o, step, o->weight_d), a = step_of(o, step, o->weight_a);
    (void)state;
    return o->weight_d * rkd_distance(&d, o->mean_scale, o->denominator == 1) +
           o->weight_a * rkd_angle(&a);
}

const struct loss NAME(cask_loss_rkd_d) = {
    .name = "rkd_d",
    .place = CASK_AT_PAIRS,
    .rows = rows_d,
    .row_count = sizeof rows_d / sizeof *rows_d,
    .option_bytes = sizeof(struct rkd_options),
    .needs = needs,
    .step = step_d,
};

const struct loss NAME(cask_loss_rkd_a) = {
    .name = "rkd_a",
    .place = CASK_AT_PAIRS,
    .rows = rows_a,
    .row_count = sizeof rows_a / sizeof *rows_a,
    .option_bytes = sizeof(struct rkd_options),
    .needs = needs,
    .create = create_angle,
    .step = step_a,
};

const struct loss NAME(cask_loss_rkd_da) = {
    .name = "rkd_da",
    .place = CASK_AT_PAIRS,
    .rows = rows_da,
    .row_count = sizeof rows_da / sizeof *rows_da,
    .option_bytes = sizeof(struct rkd_options),
    .needs = needs,
    .create = create_angle,
    .step = step_da,
};
