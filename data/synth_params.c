/* data/synth_params.c - dice for who a face is and how it is seen. */
#include "common/rng.h"
#include "data/synth_impl.h"

#define STREAM_WHO ((uint64_t)0x77686f << 32)    /* "who" */
#define STREAM_VIEW ((uint64_t)0x76696577 << 32) /* "view" */

struct dice {
    uint64_t seed, stream, counter;
};

static float roll(struct dice *dice, double low, double high)
{
    return (float)(low +
                   (high - low) * cask_rng_uniform(dice->seed, dice->stream, dice->counter++));
}

/* Denser in the middle: the mean of two rolls. */
static float roll_middle(struct dice *dice, double low, double high)
{
    float a = roll(dice, low, high), b = roll(dice, low, high);
    return 0.5f * (a + b);
}

static int roll_below(struct dice *dice, int bound)
{
    return (int)cask_rng_below(dice->seed, dice->stream, dice->counter++, (uint64_t)bound);
}

static struct colour roll_colour(struct dice *dice, double low, double high)
{
    float r = roll(dice, low, high), g = roll(dice, low, high), b = roll(dice, low, high);
    return (struct colour){r, g, b};
}

/* Not too gaudy: half of the difference to its own grey is taken away. */
static struct colour roll_muted(struct dice *dice, double low, double high)
{
    struct colour c = roll_colour(dice, low, high);
    float grey = (c.r + c.g + c.b) / 3;
    return cask_synth_mix(c, (struct colour){grey, grey, grey}, 0.5f);
}

static struct colour jitter(struct dice *dice, struct colour colour, double by)
{
    colour.r += roll(dice, -by, by);
    colour.g += roll(dice, -by, by);
    colour.b += roll(dice, -by, by);
    return colour;
}

static void roll_colours(struct dice *dice, struct who *who)
{
    static const struct colour skins[] = {{0.99f, 0.88f, 0.80f},
                                          {0.95f, 0.78f, 0.64f},
                                          {0.86f, 0.65f, 0.49f},
                                          {0.67f, 0.46f, 0.33f},
                                          {0.44f, 0.29f, 0.21f}};
    static const struct colour irises[] = {{0.36f, 0.22f, 0.12f}, {0.20f, 0.12f, 0.08f},
                                           {0.30f, 0.52f, 0.76f}, {0.35f, 0.55f, 0.33f},
                                           {0.55f, 0.58f, 0.60f}, {0.58f, 0.42f, 0.16f}};
    static const struct colour hairs[] = {
        {0.08f, 0.07f, 0.07f}, {0.24f, 0.15f, 0.09f}, {0.42f, 0.26f, 0.13f}, {0.82f, 0.64f, 0.32f},
        {0.66f, 0.28f, 0.12f}, {0.66f, 0.65f, 0.64f}, {0.93f, 0.85f, 0.62f}};
    float tone = roll(dice, 0, 3.999);
    int at = (int)tone;
    who->skin = cask_synth_mix(skins[at], skins[at + 1], tone - (float)at);
    who->skin = jitter(dice, who->skin, 0.02);
    who->iris = jitter(dice, irises[roll_below(dice, 6)], 0.05);
    who->hair_colour = jitter(dice, hairs[roll_below(dice, tone > 2 ? 3 : 7)], 0.04);
    struct colour red = {0.78f, 0.28f, 0.30f};
    who->lip = cask_synth_mix(who->skin, red, roll(dice, 0.3, 0.75));
}

void cask_synth_who(uint64_t seed, uint32_t identity, struct who *who)
{
    struct dice dice = {seed, STREAM_WHO | identity, 0};
    *who = (struct who){0};
    roll_colours(&dice, who);
    who->face_width = roll_middle(&dice, 0.50, 0.72);
    who->face_height = roll_middle(&dice, 0.72, 0.92);
    who->jaw = roll(&dice, 1.6, 3.0);
    who->brow_power = roll(&dice, 2.0, 2.8);
    who->eye_x = roll_middle(&dice, 0.19, 0.33);
    who->eye_y = roll_middle(&dice, -0.20, 0.00);
    who->eye_size = roll_middle(&dice, 0.075, 0.155);
    who->eye_aspect = roll(&dice, 0.45, 0.85);
    who->eye_slant = roll_middle(&dice, -0.35, 0.35);
    who->iris_size = roll(&dice, 0.5, 0.72);
    who->brow_y = roll(&dice, 0.13, 0.24);
    who->brow_thickness = roll(&dice, 0.012, 0.045);
    who->brow_length = roll(&dice, 0.11, 0.20);
    who->brow_slant = roll_middle(&dice, -0.07, 0.07);
    who->brow_arch = roll(&dice, 0.0, 0.07);
    who->nose_length = roll_middle(&dice, 0.20, 0.40);
    who->nose_width = roll_middle(&dice, 0.05, 0.15);
    who->nose_bridge = roll(&dice, 0.0, 0.5);
    who->mouth_y = roll_middle(&dice, 0.12, 0.24);
    who->mouth_width = roll_middle(&dice, 0.13, 0.30);
    who->lip_upper = roll(&dice, 0.015, 0.05);
    who->lip_lower = roll(&dice, 0.02, 0.07);
    who->ear_size = roll(&dice, 0.08, 0.17);
    who->cheek = roll(&dice, 0.0, 0.35);
    who->freckles = roll(&dice, 0, 1) < 0.15f ? 1.0f : 0.0f;
    who->hair = (enum hair_style)roll_below(&dice, HAIR_BUN + 1);
    who->hairline = roll(&dice, 0.50, 0.70);
    who->hair_volume = roll(&dice, 0.04, 0.16);
    who->hair_side = roll(&dice, -0.5, 0.5);
    who->hair_length = roll(&dice, 0.3, 1.0);
    bool can_grow = roll(&dice, 0, 1) < 0.45f;
    int beard = roll_below(&dice, BEARD_MOUSTACHE + 1);
    bool long_hair = who->hair == HAIR_LONG || who->hair == HAIR_BUN;
    who->beard = can_grow && !long_hair ? (enum beard_style)beard : BEARD_NONE;
    who->moles = roll_below(&dice, MOST_MOLES + 1);
    for (int i = 0; i < MOST_MOLES; i++) {
        who->mole_x[i] = roll(&dice, -0.42, 0.42);
        who->mole_y[i] = roll(&dice, 0.10, 0.60);
    }
}

static void roll_background(struct dice *dice, struct view *view)
{
    view->back_top = roll_muted(dice, 0.05, 1.0);
    view->back_bottom = roll_muted(dice, 0.05, 1.0);
    for (int i = 0; i < 3; i++) {
        view->blob[i] = roll_muted(dice, 0.0, 1.05);
        view->blob_x[i] = roll(dice, -1.1, 1.1);
        view->blob_y[i] = roll(dice, -1.1, 1.1);
        view->blob_size[i] = roll(dice, 0.2, 0.8);
    }
    view->shirt = roll_colour(dice, 0.1, 0.95);
}

void cask_synth_view(uint64_t seed, uint32_t identity, uint32_t image, struct view *view)
{
    struct dice dice = {seed, STREAM_VIEW | identity, (uint64_t)image << 16};
    *view = (struct view){0};
    view->angle = roll_middle(&dice, -0.28, 0.28);
    view->scale = roll_middle(&dice, 0.86, 1.14);
    view->shift_x = roll_middle(&dice, -0.14, 0.14);
    view->shift_y = roll_middle(&dice, -0.14, 0.14);
    view->yaw = roll_middle(&dice, -0.16, 0.16);
    view->pitch = roll_middle(&dice, -0.08, 0.08);
    view->smile = roll(&dice, -0.03, 0.08);
    float open = roll(&dice, -0.08, 0.08);
    view->mouth_open = open > 0 ? open : 0;
    view->eye_open = roll(&dice, 0.55, 1.1);
    view->brow_raise = roll_middle(&dice, -0.04, 0.05);
    view->gaze_x = roll_middle(&dice, -0.35, 0.35);
    view->gaze_y = roll_middle(&dice, -0.25, 0.25);
    view->light_x = roll_middle(&dice, -0.9, 0.9);
    view->light_y = roll_middle(&dice, -0.5, 0.5);
    view->gain = roll(&dice, 0.55, 1.3);
    view->cast = roll_colour(&dice, 0.82, 1.12);
    roll_background(&dice, view);
    float blur = roll(&dice, -0.5, 1.4);
    view->blur = blur > 0 ? blur : 0;
    view->noise = roll(&dice, 0.0, 0.045);
    bool wears = roll(&dice, 0, 1) < 0.15f;
    view->glasses = wears ? 1 + roll_below(&dice, 3) : 0;
    view->glasses_colour = roll_colour(&dice, 0.0, 0.4);
}
