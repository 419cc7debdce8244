/* train/losses/embedding.c - the student's embedding against the teacher's, image by image.
 *
 *   cos      mean (1 - c), c = e.u          (margindistillation, TFace)
 *   cos_sq   mean (1 - c)^2                 (ShrinkTeaNet, the paper's form)
 *   l2       mean |e - u|^2 = 2 mean (1-c)  (VarGFaceNet)
 *   mse_raw  mean over B*D of (f - g)^2, raw embeddings (FitNet as in TFace, RepDistiller)
 *   mse_unit sum |e - u|^2 / (2 B), unit rows (FitNet as in WisonZ/GKD); the same number as cos
 *
 * Where D_T differs from D, or with `map: true`, the student side is y = M f with a learned M
 * (linear_map.h) in place of f, and e = y / |y|.
 */
#include "common/mem.h"
#include "train/losses/linear_map.h"

enum kind { COS, COS_SQ, L2, MSE_RAW, MSE_UNIT };

struct options {
    int kind;
    bool map;
};

static const char *const kinds[] = {"cos", "cos_sq", "l2", "mse_raw", "mse_unit", NULL};
static const struct cask_config_row rows[] = {
    {.key = "kind",
     .type = CASK_CONFIG_ENUM,
     .offset = offsetof(struct options, kind),
     .value = "cos",
     .names = kinds,
     .help = "mean 1-cos, its square, squared distance of unit rows, FitNet's MSE of raw "
             "embeddings, or of unit ones"},
    {.key = "map",
     .type = CASK_CONFIG_BOOL,
     .offset = offsetof(struct options, map),
     .value = "false",
     .help = "compare through a learned linear map; always where student and teacher differ in "
             "size"},
};

/* The student's side of the comparison, with or without a map. */
struct side {
    int dim;
    const real *raw, *unit;
    real *d_raw, *d_unit;
};

static unsigned needs(const void *options, const struct cask_engine_facts *facts)
{
    (void)facts;
    return ((const struct options *)options)->kind == MSE_RAW
               ? CASK_NEED_TEACHER_RAW | CASK_NEED_UNIT | CASK_NEED_NORM
               : CASK_NEED_UNIT;
}

static double mse_raw(const struct loss_step *step, const struct side *side)
{
    int64_t count = (int64_t)step->batch * side->dim;
    double sum = 0;
    for (int64_t j = 0; j < count; j++) {
        double gap = (double)side->raw[j] - (double)step->teacher_raw[j];
        sum += gap * gap;
        side->d_raw[j] += (real)(step->weight * 2 * gap / (double)count);
    }
    return sum / (double)count;
}

static double angular(const struct loss_step *step, const struct side *side, enum kind kind)
{
    const bool plain = kind == COS || kind == MSE_UNIT;
    double sum = 0;
    for (int64_t i = 0; i < step->batch; i++) {
        const real *e = side->unit + i * side->dim, *u = step->teacher_unit + i * side->dim;
        real *d = side->d_unit + i * side->dim;
        double gap = 0, length = 0, c = 0;
        for (int j = 0; j < side->dim; j++) {
            double difference = (double)e[j] - (double)u[j];
            gap += difference * difference;
            length += (double)e[j] * (double)e[j];
            c += (double)e[j] * (double)u[j];
        }
        /* |e - u|^2 / 2 is 1 - c without its cancellation near c = 1; a zero embedding has c = 0.
         */
        double one_minus_c = length > 0.5 ? gap / 2 : 1 - c;
        sum += plain ? one_minus_c : kind == COS_SQ ? one_minus_c * one_minus_c : 2 * one_minus_c;
        double slope = plain ? 1 : kind == COS_SQ ? 2 * one_minus_c : 2;
        real by = (real)(step->weight * slope / step->batch);
        for (int j = 0; j < side->dim; j++) {
            d[j] -= by * u[j];
        }
    }
    return sum / step->batch;
}

static double step_embedding(void *state, const void *options, const struct loss_step *step)
{
    const enum kind kind = (enum kind)((const struct options *)options)->kind;
    struct linear_map *map = state;
    struct side side = {step->dim, step->raw, step->unit, step->d_raw, step->d_unit};
    if (map != NULL) {
        linear_map_forward(map, step);
        side = (struct side){map->to, map->y, map->unit, map->d_y, map->d_unit};
    }
    const double value = kind == MSE_RAW ? mse_raw(step, &side) : angular(step, &side, kind);
    if (map != NULL) {
        linear_map_backward(map, step);
    }
    return value;
}

static enum cask_status create(const void *options, const struct cask_engine_facts *facts,
                               void **state, struct cask_error *err)
{
    struct linear_map *map = NULL;
    enum cask_status st = CASK_OK;
    if (facts->dim != facts->teacher_dim || ((const struct options *)options)->map) {
        CASK_TRY(linear_map_create(facts, 0x656d, &map, err));
    }
    *state = map;
done:
    return st;
}

static void release(void *state)
{
    linear_map_free(state);
}

static bool parameter(void *state, struct cask_engine_parameter *parameter)
{
    struct linear_map *map = state;
    if (map == NULL) {
        return false;
    }
    *parameter = (struct cask_engine_parameter){"loss.embedding.map",
                                                "loss.embedding.map_momentum",
                                                map->weight,
                                                map->momentum,
                                                map->d_weight,
                                                map->to,
                                                map->from};
    return true;
}

const struct loss NAME(cask_loss_embedding) = {
    .name = "embedding",
    .place = CASK_AT_EMBEDDING,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .option_bytes = sizeof(struct options),
    .needs = needs,
    .create = create,
    .free = release,
    .step = step_embedding,
    .parameter = parameter,
};
