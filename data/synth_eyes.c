/* data/synth_eyes.c - eyes, brows and glasses. */
#include <math.h>

#include "data/synth_impl.h"

static const struct colour black = {0.05f, 0.04f, 0.04f};
static const struct colour white = {1, 1, 1};

static void paint_eye(struct canvas *canvas, const struct who *who, const struct view *view,
                      float side, float x, float y)
{
    float rx = who->eye_size, ry = who->eye_size * who->eye_aspect * view->eye_open;
    float radius = who->eye_size * who->iris_size;
    float iris_x = x + view->gaze_x * (rx - radius * 0.6f);
    float iris_y = y + view->gaze_y * ry * 0.5f;
    struct colour lid = cask_synth_mix(who->skin, black, 0.25f);
    struct shape ball = {.distance = cask_synth_ellipse,
                         .x = x,
                         .y = y,
                         .rx = rx,
                         .ry = ry,
                         .angle = side * who->eye_slant};
    struct shape socket = ball;
    socket.rx *= 1.35f;
    socket.ry = ry * 1.2f + 0.03f;
    cask_synth_fill(canvas, &socket, lid, 0.35f, 0.08f);
    cask_synth_fill(canvas, &ball, (struct colour){0.97f, 0.96f, 0.95f}, 1, 0);
    struct shape iris = {.distance = cask_synth_ellipse,
                         .x = iris_x,
                         .y = iris_y,
                         .rx = radius,
                         .ry = radius,
                         .inside = &ball};
    cask_synth_fill(canvas, &iris, cask_synth_mix(who->iris, black, 0.45f), 1, 0);
    iris.rx = iris.ry = radius * 0.82f;
    cask_synth_fill(canvas, &iris, who->iris, 1, 0.02f);
    iris.rx = iris.ry = radius * 0.42f;
    cask_synth_fill(canvas, &iris, black, 1, 0);
    iris.x -= radius * 0.32f;
    iris.y -= radius * 0.35f;
    iris.rx = iris.ry = radius * 0.22f;
    cask_synth_fill(canvas, &iris, white, 0.95f, 0);
    struct shape lash = {.distance = cask_synth_stroke,
                         .x = x,
                         .y = y - ry,
                         .rx = rx * 1.05f,
                         .ry = ry,
                         .slope = side * who->eye_slant * rx,
                         .curve = ry * 0.9f,
                         .thick_a = 0.014f,
                         .thick_b = 0.010f};
    cask_synth_fill(canvas, &lash, black, 0.9f, 0);
    lash.y = y + ry;
    lash.curve = -ry * 0.9f;
    lash.thick_a = lash.thick_b = 0.006f;
    cask_synth_fill(canvas, &lash, lid, 0.8f, 0);
}

static void paint_brow(struct canvas *canvas, const struct who *who, const struct view *view,
                       float side, float x, float y)
{
    struct colour colour = cask_synth_mix(who->hair_colour, black, 0.25f);
    struct shape brow = {.distance = cask_synth_stroke,
                         .x = x + side * 0.01f,
                         .y = y - who->brow_y - view->brow_raise - who->brow_arch,
                         .rx = who->brow_length,
                         .ry = 0.02f,
                         .slope = side * (who->brow_slant + view->brow_raise * 0.5f),
                         .curve = who->brow_arch,
                         .thick_a = who->brow_thickness,
                         .thick_b = who->brow_thickness * 0.35f};
    cask_synth_fill(canvas, &brow, colour, 0.92f, 0.01f);
}

static void paint_glass(struct canvas *canvas, const struct who *who, const struct view *view,
                        float x, float y)
{
    float radius = fmaxf(who->eye_size * 1.55f, who->eye_x * 0.72f);
    struct shape lens = {.distance = view->glasses == 2 ? cask_synth_box : cask_synth_ellipse,
                         .x = x,
                         .y = y + 0.02f,
                         .rx = radius,
                         .ry = radius * 0.85f,
                         .low = view->glasses == 2 ? 0.05f : 0};
    bool dark = view->glasses == 3;
    cask_synth_fill(canvas, &lens, dark ? view->glasses_colour : white, dark ? 0.88f : 0.10f, 0);
    lens.distance = cask_synth_outline;
    lens.thick_a = 0.02f;
    cask_synth_fill(canvas, &lens, view->glasses_colour, 1, 0);
}

void cask_synth_paint_eyes(struct canvas *canvas, const struct who *who, const struct view *view)
{
    float slide = view->yaw * 0.8f, y = who->eye_y + view->pitch * 0.8f;
    for (int i = 0; i < 2; i++) {
        float side = i == 0 ? -1 : 1;
        /* the eye that turns away comes nearer to the middle */
        float x = side * who->eye_x * (1 - side * view->yaw * 0.6f) + slide;
        paint_eye(canvas, who, view, side, x, y);
        paint_brow(canvas, who, view, side, x, y);
        if (view->glasses != 0) {
            paint_glass(canvas, who, view, x, y);
        }
    }
    if (view->glasses != 0) {
        struct shape bridge = {.distance = cask_synth_stroke,
                               .x = slide,
                               .y = y,
                               .rx = who->eye_x * 0.3f,
                               .ry = 0.02f,
                               .curve = 0.02f,
                               .thick_a = 0.018f,
                               .thick_b = 0.018f};
        cask_synth_fill(canvas, &bridge, view->glasses_colour, 1, 0);
    }
}
