/* eval/megaface_probes.c - unit rows, and what the two noise rules make of noisy probes. */
#include <math.h>

#include "common/mem.h"
#include "common/rng.h"
#include "eval/megaface.h"

const char *const cask_noise_rule_names[] = {"keep", "insightface", "facexzoo", NULL};

static enum cask_status make_unit(struct cask_probes *probes, struct cask_error *err)
{
    for (int64_t p = 0; p < probes->count; p++) {
        float *row = probes->rows + p * probes->dim;
        double squares = 0;
        for (int d = 0; d < probes->dim; d++) {
            squares += (double)row[d] * (double)row[d];
        }
        if (!isfinite(squares)) {
            return cask_error_set(err, CASK_ERR_RANGE,
                                  "probe %lld: expected a finite embedding, found one of length %g",
                                  (long long)p, sqrt(squares));
        }
        if (!(squares > 0)) {
            probes->first_zero = probes->zero_count == 0 ? p : probes->first_zero;
            probes->zero_count++;
        }
        float scale = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
        for (int d = 0; d < probes->dim; d++) {
            row[d] *= scale;
        }
    }
    return CASK_OK;
}

/* row = unit(mean + u); uses up `mean`. */
static void replace(struct cask_probes *probes, int64_t p, double *mean, double amplitude,
                    uint64_t seed)
{
    float *row = probes->rows + p * probes->dim;
    double squares = 0;
    for (int d = 0; d < probes->dim; d++) {
        uint64_t place = (uint64_t)(p * probes->dim + d);
        mean[d] += amplitude * (2 * cask_rng_uniform(seed, 0, place) - 1);
        squares += mean[d] * mean[d];
    }
    for (int d = 0; d < probes->dim; d++) {
        row[d] = squares > 0 ? (float)(mean[d] / sqrt(squares)) : 0;
    }
}

enum cask_status cask_probes_clean(struct cask_probes *probes, enum cask_noise_rule rule,
                                   uint64_t seed, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    double *mean = cask_alloc((size_t)probes->dim, sizeof *mean);
    if (mean == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)probes->dim * sizeof *mean, "a class mean"));
    }
    probes->noisy_count = probes->zero_count = 0;
    CASK_TRY(make_unit(probes, err));
    for (int64_t p = 0; probes->noisy != NULL && p < probes->count; p++) {
        if (!probes->noisy[p]) {
            continue;
        }
        probes->noisy_count++;
        if (rule == CASK_NOISE_KEEP) {
            continue;
        }
        int64_t clean = 0;
        for (int d = 0; d < probes->dim; d++) {
            mean[d] = 0;
        }
        for (int64_t q = 0; q < probes->count; q++) {
            if (probes->identity[q] == probes->identity[p] && !probes->noisy[q]) {
                clean++;
                for (int d = 0; d < probes->dim; d++) {
                    mean[d] += (double)probes->rows[q * probes->dim + d];
                }
            }
        }
        if (clean == 0) {
            CASK_TRY(cask_error_set(err, CASK_ERR_RANGE,
                                    "probe %lld: the noise list names every probe of its identity; "
                                    "expected at least one clean one",
                                    (long long)p));
        }
        for (int d = 0; d < probes->dim; d++) {
            mean[d] /= (double)clean;
        }
        replace(probes, p, mean, rule == CASK_NOISE_INSIGHTFACE ? 0.001 : 0, seed);
    }
done:
    cask_free(mean);
    return st;
}
