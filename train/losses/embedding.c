/* train/losses/embedding.c - the student's embedding against the teacher's, image by image.
 *
 *   cos      mean (1 - c), c = e.u          (margindistillation, TFace; GKD's "FitNet")
 *   cos_sq   mean (1 - c)^2                 (ShrinkTeaNet, the paper's form)
 *   l2       mean |e - u|^2 = 2 mean (1-c)  (VarGFaceNet)
 *   mse_raw  mean over B*D of (f - g)^2, raw embeddings (FitNet as in TFace, RepDistiller)
 */
#include "train/losses/losses.h"

enum kind { COS, COS_SQ, L2, MSE_RAW };

struct options {
    int kind;
};

static const char *const kinds[] = {"cos", "cos_sq", "l2", "mse_raw", NULL};
static const struct cask_config_row rows[] = {
    {.key = "kind",
     .type = CASK_CONFIG_ENUM,
     .offset = offsetof(struct options, kind),
     .value = "cos",
     .names = kinds,
     .help = "mean 1-cos, its square, squared distance of unit rows, or MSE of raw embeddings"},
};

static unsigned needs(const void *options, const struct cask_engine_facts *facts)
{
    const struct options *o = options;
    (void)facts;
    return CASK_NEED_SAME_DIM |
           (o->kind == MSE_RAW ? CASK_NEED_TEACHER_RAW | CASK_NEED_UNIT | CASK_NEED_NORM
                               : CASK_NEED_UNIT);
}

static double mse_raw(const struct loss_step *step)
{
    int64_t count = (int64_t)step->batch * step->dim;
    double sum = 0;
    for (int64_t j = 0; j < count; j++) {
        double gap = (double)step->raw[j] - (double)step->teacher_raw[j];
        sum += gap * gap;
        step->d_raw[j] += (real)(step->weight * 2 * gap / (double)count);
    }
    return sum / (double)count;
}

static double angular(const struct loss_step *step, enum kind kind)
{
    double sum = 0;
    for (int64_t i = 0; i < step->batch; i++) {
        const real *e = step->unit + i * step->dim, *u = step->teacher_unit + i * step->dim;
        real *d = step->d_unit + i * step->dim;
        double gap = 0, length = 0, c = 0;
        for (int j = 0; j < step->dim; j++) {
            double difference = (double)e[j] - (double)u[j];
            gap += difference * difference;
            length += (double)e[j] * (double)e[j];
            c += (double)e[j] * (double)u[j];
        }
        /* |e - u|^2 / 2 is 1 - c without its cancellation near c = 1; a zero embedding has c = 0.
         */
        double one_minus_c = length > 0.5 ? gap / 2 : 1 - c;
        sum += kind == COS      ? one_minus_c
               : kind == COS_SQ ? one_minus_c * one_minus_c
                                : 2 * one_minus_c;
        double slope = kind == COS ? 1 : kind == COS_SQ ? 2 * one_minus_c : 2;
        real by = (real)(step->weight * slope / step->batch);
        for (int j = 0; j < step->dim; j++) {
            d[j] -= by * u[j];
        }
    }
    return sum / step->batch;
}

static double step(void *state, const void *options, const struct loss_step *step_)
{
    const struct options *o = options;
    (void)state;
    return o->kind == MSE_RAW ? mse_raw(step_) : angular(step_, (enum kind)o->kind);
}

const struct loss NAME(cask_loss_embedding) = {
    .name = "embedding",
    .place = CASK_AT_EMBEDDING,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .option_bytes = sizeof(struct options),
    .needs = needs,
    .step = step,
};
