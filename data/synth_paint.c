/* data/synth_paint.c - the order of painting: background, body, head, features, hair. */
#include <math.h>
#include <stddef.h>

#include "data/synth_impl.h"

static const struct colour black = {0.05f, 0.04f, 0.04f};
static const struct colour white = {1, 1, 1};

static void paint_background(struct canvas *canvas, const struct view *view)
{
    for (int y = 0; y < canvas->size; y++) {
        float t = ((float)y + 0.5f) / (float)canvas->size;
        struct colour row = cask_synth_mix(view->back_top, view->back_bottom, t);
        for (int x = 0; x < canvas->size; x++) {
            float *rgb = canvas->rgb + 3 * ((size_t)y * (size_t)canvas->size + (size_t)x);
            rgb[0] = row.r;
            rgb[1] = row.g;
            rgb[2] = row.b;
        }
    }
    for (int i = 0; i < 3; i++) {
        struct shape blob = {.distance = cask_synth_ellipse,
                             .x = view->blob_x[i],
                             .y = view->blob_y[i],
                             .rx = view->blob_size[i],
                             .ry = view->blob_size[i] * 0.8f};
        cask_synth_fill(canvas, &blob, view->blob[i], 0.7f, 0.25f);
    }
}

static void paint_body(struct canvas *canvas, const struct who *who, const struct view *view)
{
    struct colour shade = cask_synth_mix(who->skin, black, 0.28f);
    struct shape shoulders = {.distance = cask_synth_ellipse,
                              .y = 1.45f,
                              .rx = 1.05f + who->face_width * 0.2f,
                              .ry = 0.52f};
    struct shape neck = {.distance = cask_synth_box,
                         .y = 0.85f,
                         .rx = who->face_width * 0.5f,
                         .ry = 0.35f,
                         .low = 0.1f};
    cask_synth_fill(canvas, &shoulders, view->shirt, 1, 0);
    cask_synth_fill(canvas, &neck, shade, 1, 0);
}

static void paint_head(struct canvas *canvas, const struct who *who, const struct view *view,
                       const struct shape *head)
{
    struct colour shade = cask_synth_mix(who->skin, (struct colour){0.35f, 0.12f, 0.08f}, 0.38f);
    for (int side = -1; side <= 1; side += 2) {
        struct shape ear = {.distance = cask_synth_ellipse,
                            .x = head->x + (float)side * head->rx * 0.99f,
                            .y = who->eye_y + 0.1f + view->pitch,
                            .rx = who->ear_size * 0.6f,
                            .ry = who->ear_size};
        cask_synth_fill(canvas, &ear, shade, 1, 0);
        ear.rx *= 0.7f;
        ear.ry *= 0.75f;
        cask_synth_fill(canvas, &ear, who->skin, 1, 0.03f);
    }
    cask_synth_fill(canvas, head, shade, 1, 0);
    struct shape inner = *head; /* the rim stays darker: roundness */
    inner.rx *= 0.93f;
    inner.ry *= 0.95f;
    cask_synth_fill(canvas, &inner, who->skin, 1, 0.16f);
    for (int side = -1; side <= 1; side += 2) {
        struct shape cheek = {.distance = cask_synth_ellipse,
                              .x = (float)side * head->rx * 0.52f + view->yaw * 0.6f,
                              .y = who->eye_y + 0.34f + view->pitch,
                              .rx = 0.14f,
                              .ry = 0.11f,
                              .inside = head};
        cask_synth_fill(canvas, &cheek, (struct colour){0.9f, 0.35f, 0.33f}, who->cheek, 0.12f);
    }
}

static void paint_nose(struct canvas *canvas, const struct who *who, const struct view *view)
{
    float x = view->yaw * 1.1f, top = who->eye_y + view->pitch * 0.9f;
    float tip = top + who->nose_length + view->pitch * 0.3f;
    struct colour shade = cask_synth_mix(who->skin, (struct colour){0.35f, 0.12f, 0.08f}, 0.5f);
    struct shape bridge = {.distance = cask_synth_ellipse,
                           .x = x - view->yaw * 0.3f + (view->light_x > 0 ? -0.03f : 0.03f),
                           .y = 0.5f * (top + tip),
                           .rx = 0.02f + who->nose_width * 0.2f,
                           .ry = 0.5f * (tip - top)};
    cask_synth_fill(canvas, &bridge, shade, 0.25f + 0.6f * who->nose_bridge, 0.06f);
    struct shape ball = {.distance = cask_synth_ellipse,
                         .x = x,
                         .y = tip - 0.01f,
                         .rx = who->nose_width,
                         .ry = 0.05f + who->nose_width * 0.25f};
    cask_synth_fill(canvas, &ball, cask_synth_mix(who->skin, shade, 0.45f), 0.9f, 0.03f);
    ball.y -= 0.025f;
    ball.rx *= 0.6f;
    ball.ry *= 0.6f;
    cask_synth_fill(canvas, &ball, cask_synth_mix(who->skin, white, 0.2f), 0.7f, 0.06f);
    for (int side = -1; side <= 1; side += 2) {
        struct shape nostril = {.distance = cask_synth_ellipse,
                                .x = x + (float)side * who->nose_width * 0.5f,
                                .y = tip + 0.025f,
                                .rx = 0.012f + who->nose_width * 0.16f,
                                .ry = 0.014f};
        cask_synth_fill(canvas, &nostril, cask_synth_mix(shade, black, 0.5f), 0.9f, 0);
    }
}

static void paint_beard(struct canvas *canvas, const struct who *who, const struct shape *head,
                        float x, float mouth)
{
    struct colour hair = cask_synth_mix(who->hair_colour, black, 0.15f);
    float opacity = who->beard == BEARD_STUBBLE ? 0.28f : 0.92f;
    if (who->beard == BEARD_FULL || who->beard == BEARD_STUBBLE) {
        struct shape jaw = {.distance = cask_synth_ellipse,
                            .x = head->x,
                            .y = head->y + head->ry * 0.95f,
                            .rx = head->rx * 1.05f,
                            .ry = head->ry * 0.95f - mouth + head->y + 0.14f,
                            .inside = head};
        cask_synth_fill(canvas, &jaw, hair, opacity, 0.06f);
    } else if (who->beard == BEARD_GOATEE) {
        struct shape chin = {.distance = cask_synth_ellipse,
                             .x = x,
                             .y = mouth + 0.13f,
                             .rx = who->mouth_width * 0.95f,
                             .ry = 0.19f,
                             .inside = head};
        cask_synth_fill(canvas, &chin, hair, opacity, 0.02f);
    }
    if (who->beard == BEARD_FULL || who->beard == BEARD_MOUSTACHE) {
        struct shape moustache = {.distance = cask_synth_stroke,
                                  .x = x,
                                  .y = mouth - who->lip_upper - 0.045f,
                                  .rx = who->mouth_width * 0.85f,
                                  .ry = 0.04f,
                                  .curve = 0.05f,
                                  .thick_a = 0.04f,
                                  .thick_b = 0.015f};
        cask_synth_fill(canvas, &moustache, hair, opacity, 0.01f);
    }
}

static void paint_mouth(struct canvas *canvas, const struct who *who, const struct view *view,
                        float x, float y)
{
    float half = who->mouth_width * (1 + view->smile);
    float open = view->mouth_open;
    struct shape lips = {.distance = cask_synth_stroke,
                         .x = x,
                         .y = y - who->lip_upper * 0.5f,
                         .rx = half,
                         .ry = 0.05f,
                         .curve = -view->smile,
                         .thick_a = who->lip_upper,
                         .thick_b = 0.006f};
    struct colour upper = cask_synth_mix(who->lip, black, 0.15f);
    struct shape lower = lips;
    lower.y = y + who->lip_lower * 0.5f + open;
    lower.curve = -view->smile - open;
    lower.thick_a = who->lip_lower;
    if (open > 0.01f) {
        struct shape inside = lips;
        inside.y = y + open * 0.5f;
        inside.rx = half * 0.95f;
        inside.curve = -view->smile - open * 0.5f;
        inside.thick_a = open * 0.5f + 0.02f;
        cask_synth_fill(canvas, &inside, (struct colour){0.28f, 0.07f, 0.08f}, 1, 0);
        inside.y -= open * 0.3f;
        inside.rx = half * 0.75f;
        inside.thick_a = open * 0.25f + 0.008f;
        cask_synth_fill(canvas, &inside, (struct colour){0.96f, 0.95f, 0.92f}, 1, 0);
    }
    cask_synth_fill(canvas, &lips, upper, 1, 0);
    cask_synth_fill(canvas, &lower, who->lip, 1, 0);
    struct shape line = lips;
    line.y = y;
    line.thick_a = line.thick_b = 0.007f;
    if (open <= 0.01f) {
        cask_synth_fill(canvas, &line, cask_synth_mix(who->lip, black, 0.65f), 0.9f, 0);
    }
}

static void paint_marks(struct canvas *canvas, const struct who *who, const struct view *view)
{
    struct colour brown = cask_synth_mix(who->skin, (struct colour){0.2f, 0.1f, 0.06f}, 0.8f);
    for (int i = 0; i < who->moles; i++) {
        struct shape mole = {.distance = cask_synth_ellipse,
                             .x = who->mole_x[i] + view->yaw * 0.8f,
                             .y = who->mole_y[i] + view->pitch * 0.8f,
                             .rx = 0.02f,
                             .ry = 0.02f};
        cask_synth_fill(canvas, &mole, brown, 0.95f, 0);
    }
    for (int i = 0; who->freckles > 0 && i < 18; i++) {
        float turn = (float)i * 2.399963f; /* the golden angle spreads them evenly */
        float away = 0.045f * sqrtf((float)i);
        struct shape freckle = {.distance = cask_synth_ellipse,
                                .x = cosf(turn) * away * 1.9f + view->yaw * 0.9f,
                                .y = who->eye_y + 0.27f + sinf(turn) * away + view->pitch,
                                .rx = 0.009f,
                                .ry = 0.009f};
        cask_synth_fill(canvas, &freckle, brown, 0.6f, 0);
    }
}

void cask_synth_paint(struct canvas *canvas, const struct who *who, const struct view *view)
{
    struct shape head = {.distance = cask_synth_head,
                         .y = 0.04f,
                         .rx = who->face_width,
                         .ry = who->face_height,
                         .low = who->brow_power,
                         .high = who->jaw};
    float nose_tip = who->eye_y + who->nose_length + view->pitch * 1.2f;
    float mouth_x = view->yaw * 0.85f, mouth_y = nose_tip + who->mouth_y;
    paint_background(canvas, view);
    cask_synth_paint_hair_behind(canvas, who, &head);
    paint_body(canvas, who, view);
    paint_head(canvas, who, view, &head);
    paint_beard(canvas, who, &head, mouth_x, mouth_y);
    paint_mouth(canvas, who, view, mouth_x, mouth_y);
    paint_nose(canvas, who, view);
    paint_marks(canvas, who, view);
    cask_synth_paint_hair(canvas, who, view, &head);
    cask_synth_paint_eyes(canvas, who, view);
}
