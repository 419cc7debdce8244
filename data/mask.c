/* data/mask.c - a drawn face mask, for sets of masked faces that anybody can draw again.
 *
 * The mask is a polygon in the coordinates of insightface's 112 x 112 template. The similarity that
 * takes the template's five points to the face's takes it to the picture. All that varies (colour,
 * how high the mask sits, its outline) is a function of (seed, image), so runs agree.
 */
#include <math.h>

#include "common/rng.h"
#include "data/data.h"

enum { CORNERS = CASK_MASK_CORNERS, COLOURS = 4, SUB = 4, UNIT = 256 };

/* Streams of the draws. */
enum { DRAW_COLOUR, DRAW_SHADE, DRAW_HEIGHT, DRAW_CORNERS };

/* From the bridge of the nose over a cheek to the chin and back. */
static const double outline[CORNERS][2] = {
    {56, 61},  {72, 65},  {92, 62}, {91, 84}, {79, 104},
    {56, 113}, {33, 104}, {21, 84}, {20, 62}, {40, 65},
};

/* insightface's augmentation wears white, blue, black and green with 0.4, 0.4, 0.1 and 0.1. */
static const struct {
    double share;
    uint8_t rgb[3];
} colours[COLOURS] = {
    {0.4, {224, 228, 230}}, {0.4, {122, 164, 206}}, {0.1, {36, 38, 42}}, {0.1, {118, 172, 142}}};

/* In [-1, 1). */
static double draw(uint64_t seed, uint64_t image, uint64_t stream, uint64_t counter)
{
    return 2 * cask_rng_uniform(cask_rng_u64(seed, 0x6d61736b, image), stream, counter) - 1;
}

enum cask_status cask_mask_outline(const struct cask_landmarks *points, uint64_t seed,
                                   uint64_t image, float corners[CORNERS][2],
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_landmarks target;
    double m[6], lift = 2.5 * draw(seed, image, DRAW_HEIGHT, 0);
    CASK_TRY(cask_landmarks_target(112, 112, &target, err));
    CASK_TRY(cask_align_estimate(&target, points, m, err));
    for (int i = 0; i < CORNERS; i++) {
        double x = outline[i][0] + draw(seed, image, DRAW_CORNERS, (uint64_t)(2 * i));
        double y = outline[i][1] + draw(seed, image, DRAW_CORNERS, (uint64_t)(2 * i + 1)) +
                   (outline[i][1] < 70 ? lift : 0);
        corners[i][0] = (float)(m[0] * x + m[1] * y + m[2]);
        corners[i][1] = (float)(m[3] * x + m[4] * y + m[5]);
    }
done:
    return st;
}

struct polygon {
    int64_t at[CORNERS][2]; /* 1/256 pixel */
    int left, top, right, bottom;
};

/* Even-odd rule, in whole numbers so that every machine paints the same pixels. */
static bool inside(const struct polygon *p, int64_t x, int64_t y)
{
    bool in = false;
    for (int i = 0, j = CORNERS - 1; i < CORNERS; j = i++) {
        int64_t xi = p->at[i][0], yi = p->at[i][1], xj = p->at[j][0], yj = p->at[j][1];
        if ((yi > y) != (yj > y)) {
            int64_t cross = (xj - xi) * (y - yi) - (x - xi) * (yj - yi);
            in ^= (yj > yi) == (cross > 0);
        }
    }
    return in;
}

static int clamp(double value, int most)
{
    return value < 0 ? 0 : value > most ? most : (int)value;
}

static void place(const float corners[CORNERS][2], int width, int height, struct polygon *p)
{
    double box[4] = {1e9, 1e9, -1e9, -1e9};
    for (int i = 0; i < CORNERS; i++) {
        for (int d = 0; d < 2; d++) {
            double at = fmax(fmin((double)corners[i][d], 1e6), -1e6);
            p->at[i][d] = llrint(at * UNIT);
            box[d] = fmin(box[d], at);
            box[2 + d] = fmax(box[2 + d], at);
        }
    }
    p->left = clamp(floor(box[0]), width);
    p->top = clamp(floor(box[1]), height);
    p->right = clamp(ceil(box[2]) + 1, width);
    p->bottom = clamp(ceil(box[3]) + 1, height);
}

/* How many of the 4 x 4 points of a pixel lie in the mask; pixel centres are whole numbers. */
static int coverage(const struct polygon *p, int x, int y)
{
    enum { STEP = UNIT / SUB };
    int count = 0;
    for (int i = 0; i < SUB * SUB; i++) {
        int64_t sx = (int64_t)x * UNIT - UNIT / 2 + STEP / 2 + (i % SUB) * STEP;
        int64_t sy = (int64_t)y * UNIT - UNIT / 2 + STEP / 2 + (i / SUB) * STEP;
        count += inside(p, sx, sy);
    }
    return count;
}

static void choose_colour(uint64_t seed, uint64_t image, int rgb[3])
{
    double u = (draw(seed, image, DRAW_COLOUR, 0) + 1) / 2, sum = 0;
    int colour = 0;
    for (int i = 0; i < COLOURS; i++) {
        colour = u >= sum ? i : colour;
        sum += colours[i].share;
    }
    for (int c = 0; c < 3; c++) {
        rgb[c] =
            colours[colour].rgb[c] + (int)floor(16 * draw(seed, image, DRAW_SHADE, (uint64_t)c));
    }
}

enum cask_status cask_mask_draw(uint8_t *rgb, int width, int height,
                                const struct cask_landmarks *points, uint64_t seed, uint64_t image,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    float corners[CORNERS][2];
    struct polygon polygon;
    int colour[3];
    CASK_TRY(cask_mask_outline(points, seed, image, corners, err));
    place((const float(*)[2])corners, width, height, &polygon);
    choose_colour(seed, image, colour);
    int middle = polygon.left + polygon.right, span = polygon.right - polygon.left + 1;
    for (int y = polygon.top; y < polygon.bottom; y++) {
        for (int x = polygon.left; x < polygon.right; x++) {
            int part = coverage(&polygon, x, y);
            /* darker towards the cheeks, as cloth over something round */
            int away = (2 * x - middle) * 256 / span, shade = 256 - away * away / 1024;
            uint8_t *pixel = rgb + ((size_t)y * (size_t)width + (size_t)x) * 3;
            for (int c = 0; c < 3; c++) {
                int cloth = colour[c] * shade / 256;
                cloth = cloth < 0 ? 0 : cloth > 255 ? 255 : cloth;
                int whole = SUB * SUB;
                pixel[c] =
                    (uint8_t)((cloth * part + pixel[c] * (whole - part) + whole / 2) / whole);
            }
        }
    }
done:
    return st;
}
