/* What the teacher says about pictures that need no file: another network, batch norm in training
 * mode or swapped channels show here, whatever the names and hashes of files say. */
#include "common/mem.h"
#include "precompute/precompute.h"

/* Waves of another direction and length in each picture, bent by x y, and shifted from channel to
 * channel so that their order matters. FORMAT.md 5.1 has the formula. */
static uint8_t picture_byte(int picture, int x, int y, int channel)
{
    int phase = (3 + 2 * picture) * x + (11 - 3 * picture) * y + (x * y >> (2 + picture % 3)) +
                64 * channel * (picture + 1);
    int wave = phase & 511; /* two's complement: also of a negative phase */
    return (uint8_t)(wave < 256 ? wave : 511 - wave);
}

static void draw(int picture, const struct cask_preprocess *preprocess, uint8_t *rgb)
{
    for (int y = 0; y < preprocess->height; y++) {
        for (int x = 0; x < preprocess->width; x++) {
            for (int c = 0; c < 3; c++) {
                *rgb++ = picture_byte(picture, x, y, c);
            }
        }
    }
}

static void take_numbers(const float *units, int dim, struct cask_manifest *manifest)
{
    double *numbers = manifest->probe;
    for (int j = 1; j < CASK_PROBE_PICTURES; j++) {
        for (int i = 0; i < j; i++) {
            double dot = 0;
            for (int d = 0; d < dim; d++) {
                dot += (double)units[i * dim + d] * (double)units[j * dim + d];
            }
            *numbers++ = dot;
        }
    }
    for (int i = 0; i < CASK_PROBE_PICTURES; i++) {
        for (int d = 0; d < CASK_PROBE_COMPONENTS; d++) {
            *numbers++ = d < dim ? (double)units[i * dim + d] : 0;
        }
    }
    manifest->probe_count = CASK_PROBE_NUMBERS;
}

enum cask_status probe_teacher(struct teacher *teacher, struct cask_manifest *manifest,
                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    double norm;
    const struct cask_preprocess *preprocess = &teacher->preprocess;
    size_t values = 3 * (size_t)preprocess->width * (size_t)preprocess->height;
    uint8_t *rgb = cask_alloc(values, 1);
    float *pixels = cask_alloc(values, sizeof *pixels);
    float *units = cask_alloc(CASK_PROBE_PICTURES * (size_t)teacher->dim, sizeof *units);
    if (rgb == NULL || pixels == NULL || units == NULL) {
        CASK_TRY(cask_error_memory(err, values * sizeof *pixels, "a built-in picture"));
    }
    for (int i = 0; i < CASK_PROBE_PICTURES; i++) {
        float *unit = units + i * teacher->dim;
        draw(i, preprocess, rgb);
        cask_preprocess_apply(preprocess, rgb, false, pixels);
        CASK_TRY(cask_plan_forward(teacher->plan, pixels, 1, unit, err));
        if (!unit_row(unit, teacher->dim, &norm)) {
            CASK_TRY(cask_error_set(err, CASK_ERR_RANGE,
                                    "built-in picture %d: the teacher gave an embedding of norm "
                                    "%g, expected a positive number; its weights or --preprocess "
                                    "are wrong",
                                    i, norm));
        }
    }
    take_numbers(units, teacher->dim, manifest);
done:
    cask_free(rgb);
    cask_free(pixels);
    cask_free(units);
    return st;
}
