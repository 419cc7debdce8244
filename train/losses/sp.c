/* train/losses/sp.c - similarity preserving (Tung and Mori 2019): (1/B^2) sum (G_ij - G^T_ij)^2.
 *
 *   unit_embeddings           G = S, as TFace does for faces
 *   raw_gram_rows_normalised  G = rows of f f^T, each divided by its length (the original)
 */
#include "train/losses/losses.h"

enum rows_kind { UNIT, RAW };

struct options {
    int rows;
};

static const char *const kinds[] = {"unit_embeddings", "raw_gram_rows_normalised", NULL};
static const struct cask_config_row rows[] = {
    {.key = "rows",
     .type = CASK_CONFIG_ENUM,
     .offset = offsetof(struct options, rows),
     .value = "unit_embeddings",
     .names = kinds,
     .help = "Gram matrix of unit embeddings, or of raw ones with rows normalised"},
};

static unsigned needs(const void *options, const struct cask_engine_facts *facts)
{
    (void)facts;
    const unsigned raw = CASK_NEED_RAW_GRAM | CASK_NEED_NORM;
    return CASK_NEED_UNIT | (((const struct options *)options)->rows == RAW ? raw : 0);
}

static double unit_step(const struct loss_step *step)
{
    const int64_t count = (int64_t)step->batch * step->batch;
    double sum = 0;
    for (int64_t j = 0; j < count; j++) {
        double gap = step->gram[j] - step->teacher_gram[j];
        sum += gap * gap;
        step->d_gram[j] += step->weight * 2 * gap / (double)count;
    }
    return sum / (double)count;
}

static double inverse_length(const double *row, int count)
{
    double sum = 0;
    for (int j = 0; j < count; j++) {
        sum += row[j] * row[j];
    }
    return 1 / fmax(sqrt(sum), 1e-12);
}

/* dG_i = (2/B^2) (R_i - (R_i.n_i) n_i) / |G_i|, with n_i the normalised row and R the gap */
static double raw_step(const struct loss_step *step)
{
    const int batch = step->batch;
    const double mean = 1 / ((double)batch * batch);
    double sum = 0;
    for (int64_t i = 0; i < batch; i++) {
        const double *g = step->raw_gram + i * batch, *t = step->teacher_raw_gram + i * batch;
        double *d = step->d_raw_gram + i * batch;
        const double inverse = inverse_length(g, batch), teacher_inverse = inverse_length(t, batch);
        double radial = 0;
        for (int j = 0; j < batch; j++) {
            double n = g[j] * inverse, gap = n - t[j] * teacher_inverse;
            sum += gap * gap;
            radial += gap * n;
        }
        if (inverse >= 1e12) {
            continue; /* a zero embedding has no direction to turn */
        }
        for (int j = 0; j < batch; j++) {
            double n = g[j] * inverse, gap = n - t[j] * teacher_inverse;
            d[j] += step->weight * 2 * mean * (gap - radial * n) * inverse;
        }
    }
    return sum * mean;
}

static double step_sp(void *state, const void *options, const struct loss_step *step)
{
    (void)state;
    return ((const struct options *)options)->rows == RAW ? raw_step(step) : unit_step(step);
}

const struct loss NAME(cask_loss_sp) = {
    .name = "sp",
    .place = CASK_AT_PAIRS,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .option_bytes = sizeof(struct options),
    .needs = needs,
    .step = step_sp,
};
