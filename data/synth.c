/* data/synth.c - one face from start to end: parameters, painting, light, blur, noise, bytes. */
#include "data/synth.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "common/rng.h"
#include "data/synth_impl.h"

#define STREAM_NOISE ((uint64_t)0x6e6f6973 << 32) /* "nois" */

enum { SMALLEST = 16, LARGEST = 1024, BLUR_REACH = 4 };

/* A plane of light over the picture, exposure, and the colour of the lamp. */
static void light(struct canvas *canvas, const struct view *view)
{
    float middle = 0.5f * (float)canvas->size;
    for (int y = 0; y < canvas->size; y++) {
        for (int x = 0; x < canvas->size; x++) {
            float *rgb = canvas->rgb + 3 * ((size_t)y * (size_t)canvas->size + (size_t)x);
            float side =
                (((float)x - middle) * view->light_x + ((float)y - middle) * view->light_y) /
                middle;
            float strength = view->gain * (1 + 0.75f * side);
            strength = strength < 0.15f ? 0.15f : strength;
            rgb[0] *= strength * view->cast.r;
            rgb[1] *= strength * view->cast.g;
            rgb[2] *= strength * view->cast.b;
        }
    }
}

/* One direction of a Gaussian; `step` floats lie between neighbours, edges repeat. */
static void blur_line(float *line, float *copy, int size, size_t step, const float *weights)
{
    for (int i = 0; i < size; i++) {
        memcpy(copy + 3 * i, line + (size_t)i * step, 3 * sizeof *copy);
    }
    for (int i = 0; i < size; i++) {
        float sum[3] = {0, 0, 0};
        for (int k = -BLUR_REACH; k <= BLUR_REACH; k++) {
            int at = i + k < 0 ? 0 : i + k >= size ? size - 1 : i + k;
            float weight = weights[k < 0 ? -k : k];
            sum[0] += weight * copy[3 * at];
            sum[1] += weight * copy[3 * at + 1];
            sum[2] += weight * copy[3 * at + 2];
        }
        memcpy(line + (size_t)i * step, sum, sizeof sum);
    }
}

static void blur(struct canvas *canvas, float sigma, float *copy)
{
    float weights[BLUR_REACH + 1], total = 0;
    if (!(sigma > 0.2f)) {
        return;
    }
    for (int k = 0; k <= BLUR_REACH; k++) {
        weights[k] = expf(-0.5f * (float)(k * k) / (sigma * sigma));
        total += (k == 0 ? 1 : 2) * weights[k];
    }
    for (int k = 0; k <= BLUR_REACH; k++) {
        weights[k] /= total;
    }
    size_t row = 3 * (size_t)canvas->size;
    for (int i = 0; i < canvas->size; i++) {
        blur_line(canvas->rgb + (size_t)i * row, copy, canvas->size, 3, weights);
    }
    for (int i = 0; i < canvas->size; i++) {
        blur_line(canvas->rgb + 3 * (size_t)i, copy, canvas->size, row, weights);
    }
}

/* The sum of eight bytes is nearly normal: mean 1020, variance 8 (256^2 - 1) / 12. */
static float nearly_normal(uint64_t bits)
{
    int sum = 0;
    for (int i = 0; i < 8; i++) {
        sum += (int)(bits >> (8 * i) & 0xFF);
    }
    return ((float)sum - 1020) / 209.02f;
}

static void to_bytes(const struct canvas *canvas, float noise, uint64_t seed, uint64_t stream,
                     uint64_t counter, uint8_t *rgb)
{
    size_t count = 3 * (size_t)canvas->size * (size_t)canvas->size;
    for (size_t i = 0; i < count; i++) {
        float value =
            canvas->rgb[i] + noise * nearly_normal(cask_rng_u64(seed, stream, counter + i));
        value = value * 255 + 0.5f;
        rgb[i] = value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
    }
}

enum cask_status cask_synth_face(uint64_t seed, uint32_t identity, uint32_t image, int size,
                                 uint8_t *rgb, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct who who;
    struct view view;
    float *pixels = NULL;
    if (size < SMALLEST || size > LARGEST) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE, "face of %d pixels, expected %d to %d", size,
                                SMALLEST, LARGEST));
    }
    size_t floats = 3 * (size_t)size * (size_t)(size + 1); /* and a line for blurring */
    pixels = cask_alloc(floats, sizeof *pixels);
    if (pixels == NULL) {
        CASK_TRY(cask_error_memory(err, floats * sizeof *pixels, "a face"));
    }
    cask_synth_who(seed, identity, &who);
    cask_synth_view(seed, identity, image, &view);
    float half = 0.5f * (float)size;
    struct canvas canvas = {.size = size,
                            .rgb = pixels,
                            .cosine = cosf(view.angle),
                            .sine = sinf(view.angle),
                            .unit = half * view.scale,
                            .middle_x = half * (1 + view.shift_x),
                            .middle_y = half * (1 + view.shift_y)};
    cask_synth_paint(&canvas, &who, &view);
    light(&canvas, &view);
    blur(&canvas, view.blur * (float)size / 112, pixels + 3 * (size_t)size * (size_t)size);
    to_bytes(&canvas, view.noise, seed, STREAM_NOISE | identity, (uint64_t)image << 32, rgb);
done:
    cask_free(pixels);
    return st;
}
