/* data/synth_hair.c - hair behind the head and over it. */
#include <math.h>

#include "data/synth_impl.h"

void cask_synth_paint_hair_behind(struct canvas *canvas, const struct who *who,
                                  const struct shape *head)
{
    struct colour dark = cask_synth_mix(who->hair_colour, (struct colour){0, 0, 0}, 0.25f);
    float grown = 1 + who->hair_volume;
    if (who->hair == HAIR_LONG) {
        struct shape fall = {.distance = cask_synth_box,
                             .x = head->x,
                             .y = head->y + head->ry * (who->hair_length - 0.6f) * 0.6f,
                             .rx = head->rx * (grown + 0.12f),
                             .ry = head->ry * (0.75f + who->hair_length * 0.45f),
                             .low = head->rx * 0.7f};
        cask_synth_fill(canvas, &fall, dark, 1, 0);
    } else if (who->hair == HAIR_BUN) {
        struct shape bun = {.distance = cask_synth_ellipse,
                            .x = head->x + who->hair_side * 0.2f,
                            .y = head->y - head->ry * (grown + 0.08f),
                            .rx = 0.17f + who->hair_volume * 0.6f,
                            .ry = 0.15f + who->hair_volume * 0.6f};
        cask_synth_fill(canvas, &bun, dark, 1, 0);
    } else if (who->hair == HAIR_CURLY) {
        for (int i = 0; i < 11; i++) {
            float angle = 3.1415927f * (0.92f + 1.16f * (float)i / 10);
            float reach = 0.98f + who->hair_volume;
            struct shape curl = {.distance = cask_synth_ellipse,
                                 .x = head->x + head->rx * reach * cosf(angle),
                                 .y = head->y + head->ry * reach * sinf(angle) * 0.95f,
                                 .rx = 0.13f + who->hair_volume,
                                 .ry = 0.13f + who->hair_volume};
            cask_synth_fill(canvas, &curl, i % 2 == 0 ? dark : who->hair_colour, 1, 0);
        }
    }
}

/* The lower edge of the hair on the forehead, over u = x - middle:
 *     y = top + slope u + curve u^2 + wave cos 16 u + side (u / head radius)^6
 * The last term runs down the temples. */
static void set_hairline(struct shape *cap, const struct who *who, const struct shape *head,
                         float pitch)
{
    cap->thick_a = head->y - head->ry * who->hairline + pitch; /* top */
    cap->angle = head->x;                                      /* middle */
    cap->slope = 0;
    cap->curve = 0.15f;
    cap->thick_b = 0; /* wave */
    switch (who->hair) {
    case HAIR_FRINGE:
        cap->thick_a = who->eye_y - who->brow_y - 0.06f + pitch;
        cap->curve = 0.25f;
        cap->thick_b = 0.018f;
        break;
    case HAIR_PARTED:
        cap->angle += who->hair_side * 0.4f;
        cap->slope = who->hair_side > 0 ? -0.28f : 0.28f;
        cap->curve = 0.45f;
        break;
    case HAIR_BUN:
        cap->thick_a -= 0.05f;
        cap->curve = 0.5f;
        break;
    case HAIR_CURLY:
        cap->thick_b = 0.03f;
        break;
    case HAIR_LONG:
        cap->curve = 0.9f;
        break;
    case HAIR_SHORT:
    case HAIR_BALD:
        break;
    }
}

static float cap_distance(const struct shape *cap, float x, float y)
{
    float u = x - cap->angle, t = x / cap->rx;
    float line = cap->thick_a + cap->slope * u + cap->curve * u * u + 0.5f * t * t * t * t * t * t;
    if (cap->thick_b > 0) {
        line += cap->thick_b * cosf(16 * u);
    }
    float lean = cap->slope + 2 * cap->curve * u;
    return fmaxf(cask_synth_head(cap, x, y), (y - line) / sqrtf(1 + lean * lean));
}

static void paint_shine(struct canvas *canvas, const struct shape *head, float slide, float opacity,
                        const struct shape *inside)
{
    struct shape shine = {.distance = cask_synth_ellipse,
                          .x = head->x - head->rx * 0.3f + slide,
                          .y = head->y - head->ry * 0.80f,
                          .rx = head->rx * 0.38f,
                          .ry = 0.05f,
                          .angle = -0.25f,
                          .inside = inside};
    cask_synth_fill(canvas, &shine, (struct colour){1, 1, 1}, opacity, 0.14f);
}

void cask_synth_paint_hair(struct canvas *canvas, const struct who *who, const struct view *view,
                           const struct shape *head)
{
    if (who->hair == HAIR_BALD) {
        paint_shine(canvas, head, view->yaw * 0.5f, 0.35f, head);
        return;
    }
    struct colour edge = cask_synth_mix(who->hair_colour, (struct colour){0, 0, 0}, 0.3f);
    struct shape cap = *head;
    cap.distance = cap_distance;
    cap.rx *= who->hair == HAIR_SHORT ? 1.02f : 1 + who->hair_volume * 0.6f;
    cap.ry *= 1 + who->hair_volume;
    set_hairline(&cap, who, head, view->pitch * 0.5f);
    cap.angle += view->yaw * 0.4f;
    cask_synth_fill(canvas, &cap, edge, 1, 0);
    cap.thick_a -= 0.02f;
    cap.rx *= 0.97f;
    cap.ry *= 0.97f;
    cask_synth_fill(canvas, &cap, who->hair_colour, 1, 0.05f);
    paint_shine(canvas, head, view->yaw * 0.3f, 0.22f, &cap);
}
