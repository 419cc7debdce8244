/* data/synth_shapes.c - shapes with analytic edges: coverage is a smooth step over the distance to
 * the edge, about a pixel wide, so nothing needs to be drawn larger and shrunk. */
#include <math.h>
#include <stddef.h>

#include "data/synth_impl.h"

struct colour cask_synth_mix(struct colour a, struct colour b, float t)
{
    return (struct colour){a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

static void to_shape(const struct shape *shape, float *x, float *y)
{
    float dx = *x - shape->x, dy = *y - shape->y;
    if (shape->angle != 0) {
        float c = cosf(shape->angle), s = sinf(shape->angle);
        *x = c * dx + s * dy;
        *y = c * dy - s * dx;
    } else {
        *x = dx;
        *y = dy;
    }
}

/* First-order distance f / |grad f| with f = |p / r| - 1. */
float cask_synth_ellipse(const struct shape *shape, float x, float y)
{
    to_shape(shape, &x, &y);
    float u = x / shape->rx, v = y / shape->ry;
    float k = sqrtf(u * u + v * v);
    float gu = u / shape->rx, gv = v / shape->ry;
    float slope = sqrtf(gu * gu + gv * gv);
    return slope > 1e-6f ? (k - 1) * k / slope : -fminf(shape->rx, shape->ry);
}

/* |u|^p + |v|^p = 1, with another p above the middle than below: a skull over a jaw. */
float cask_synth_head(const struct shape *shape, float x, float y)
{
    float u = fabsf(x - shape->x) / shape->rx, v = (y - shape->y) / shape->ry;
    float p = v < 0 ? shape->low : shape->high;
    v = fabsf(v);
    if (u > 1.6f || v > 1.6f || u + v < 0.5f) { /* far from the edge: any bound will do */
        return (fmaxf(u, v) - 1) * fminf(shape->rx, shape->ry);
    }
    float up = powf(u, p), vp = powf(v, p);
    float gu = u > 1e-4f ? p * up / (u * shape->rx) : 0;
    float gv = v > 1e-4f ? p * vp / (v * shape->ry) : 0;
    return (up + vp - 1) / sqrtf(gu * gu + gv * gv + 1e-6f);
}

float cask_synth_box(const struct shape *shape, float x, float y)
{
    to_shape(shape, &x, &y);
    float dx = fabsf(x) - (shape->rx - shape->low), dy = fabsf(y) - (shape->ry - shape->low);
    float ox = fmaxf(dx, 0), oy = fmaxf(dy, 0);
    return sqrtf(ox * ox + oy * oy) + fminf(fmaxf(dx, dy), 0) - shape->low;
}

float cask_synth_outline(const struct shape *shape, float x, float y)
{
    float edge = shape->low > 0 ? cask_synth_box(shape, x, y) : cask_synth_ellipse(shape, x, y);
    return fabsf(edge) - shape->thick_a;
}

float cask_synth_stroke(const struct shape *shape, float x, float y)
{
    float u = (x - shape->x) / shape->rx;
    float over = fabsf(u) - 1;
    float t = u < -1 ? -1 : u > 1 ? 1 : u;
    float line = shape->y + shape->slope * t + shape->curve * t * t;
    float lean = (shape->slope + 2 * shape->curve * t) / shape->rx;
    float away = fabsf(y - line) / sqrtf(1 + lean * lean);
    if (over > 0) {
        away = sqrtf(away * away + over * over * shape->rx * shape->rx);
    }
    return away - (shape->thick_a + (shape->thick_b - shape->thick_a) * t * t);
}

static float coverage(float distance, float width)
{
    float t = 0.5f - distance / width;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return t * t * (3 - 2 * t);
}

static int clamp_pixel(float value, int size)
{
    return value < 0 ? 0 : value > (float)size ? size : (int)value;
}

void cask_synth_fill(struct canvas *canvas, const struct shape *shape, struct colour colour,
                     float opacity, float soft)
{
    float pixel = 1.5f / canvas->unit, width = soft + pixel;
    /* a circle around the shape, in pixels */
    float reach = sqrtf(shape->rx * shape->rx + shape->ry * shape->ry) + fabsf(shape->slope) +
                  fabsf(shape->curve) + fmaxf(shape->thick_a, shape->thick_b) + width;
    float middle_x =
        canvas->middle_x + (canvas->cosine * shape->x - canvas->sine * shape->y) * canvas->unit;
    float middle_y =
        canvas->middle_y + (canvas->sine * shape->x + canvas->cosine * shape->y) * canvas->unit;
    reach *= canvas->unit;
    int x0 = clamp_pixel(middle_x - reach, canvas->size);
    int x1 = clamp_pixel(middle_x + reach + 1, canvas->size);
    int y0 = clamp_pixel(middle_y - reach, canvas->size);
    int y1 = clamp_pixel(middle_y + reach + 1, canvas->size);
    for (int py = y0; py < y1; py++) {
        for (int px = x0; px < x1; px++) {
            float dx = ((float)px + 0.5f - canvas->middle_x) / canvas->unit;
            float dy = ((float)py + 0.5f - canvas->middle_y) / canvas->unit;
            float x = canvas->cosine * dx + canvas->sine * dy;
            float y = canvas->cosine * dy - canvas->sine * dx;
            float alpha = opacity * coverage(shape->distance(shape, x, y), width);
            if (alpha > 0 && shape->inside != NULL) {
                alpha *= coverage(shape->inside->distance(shape->inside, x, y), pixel);
            }
            if (alpha > 0) {
                float *rgb = canvas->rgb + 3 * ((size_t)py * (size_t)canvas->size + (size_t)px);
                rgb[0] += (colour.r - rgb[0]) * alpha;
                rgb[1] += (colour.g - rgb[1]) * alpha;
                rgb[2] += (colour.b - rgb[2]) * alpha;
            }
        }
    }
}
