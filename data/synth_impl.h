/* data/synth_impl.h - the parts of the face generator. Private to data/.
 *
 * Face space: x to the right, y down, the head's middle at (0, 0); 1 is half the picture's side.
 */
#ifndef CASK_DATA_SYNTH_IMPL_H
#define CASK_DATA_SYNTH_IMPL_H

#include <stdbool.h>
#include <stdint.h>

struct colour {
    float r, g, b; /* 0 to 1 */
};

enum hair_style {
    HAIR_BALD,
    HAIR_SHORT,
    HAIR_FRINGE,
    HAIR_PARTED,
    HAIR_LONG,
    HAIR_CURLY,
    HAIR_BUN
};
enum beard_style { BEARD_NONE, BEARD_STUBBLE, BEARD_GOATEE, BEARD_FULL, BEARD_MOUSTACHE };

enum { MOST_MOLES = 3 };

struct who {
    struct colour skin, iris, hair_colour, lip;
    float face_width, face_height, jaw, brow_power; /* radii; exponents of lower and upper half */
    float eye_x, eye_y, eye_size, eye_aspect, eye_slant, iris_size;
    float brow_y, brow_thickness, brow_length, brow_slant, brow_arch;
    float nose_length, nose_width, nose_bridge;
    float mouth_y, mouth_width, lip_upper, lip_lower;
    float ear_size, cheek, freckles;
    enum hair_style hair;
    float hairline, hair_volume, hair_side, hair_length;
    enum beard_style beard;
    int moles;
    float mole_x[MOST_MOLES], mole_y[MOST_MOLES];
};

struct view {
    float angle, scale, shift_x, shift_y; /* radians, factor, face space */
    float yaw, pitch;                     /* how far features slide over the head */
    float smile, mouth_open, eye_open, brow_raise, gaze_x, gaze_y;
    float light_x, light_y, gain;
    struct colour cast, back_top, back_bottom, blob[3], shirt;
    float blob_x[3], blob_y[3], blob_size[3];
    float blur, noise;
    int glasses; /* 0: none, 1: round, 2: square, 3: dark */
    struct colour glasses_colour;
};

void cask_synth_who(uint64_t seed, uint32_t identity, struct who *who);
void cask_synth_view(uint64_t seed, uint32_t identity, uint32_t image, struct view *view);

/* A picture under construction, and the way from its pixels to face space. */
struct canvas {
    int size;
    float *rgb;               /* [size][size][3], 0 to 1 */
    float cosine, sine;       /* of the head's angle */
    float unit;               /* pixels per 1 of face space */
    float middle_x, middle_y; /* of the head, in pixels */
};

/* A shape tells how far a point lies outside its edge (negative: inside), in face space. */
struct shape {
    float (*distance)(const struct shape *shape, float x, float y);
    float x, y, rx, ry;         /* middle and radii; also bounds what is looked at */
    float angle;                /* ellipse, box: radians */
    float low, high;            /* head: exponents above and below its middle; box: corner radius */
    float slope, curve;         /* stroke: y = slope u + curve u^2, u = dx / rx from -1 to 1 */
    float thick_a, thick_b;     /* stroke: half thickness at u = 0 and u = +-1; outline: thick_a */
    const struct shape *inside; /* drawn only there; NULL: everywhere */
};

float cask_synth_ellipse(const struct shape *shape, float x, float y);
float cask_synth_head(const struct shape *shape, float x, float y);
float cask_synth_box(const struct shape *shape, float x, float y);
float cask_synth_outline(const struct shape *shape, float x, float y); /* low > 0: of a box */
float cask_synth_stroke(const struct shape *shape, float x, float y);

/* Blends the shape over the picture; `soft` widens its edge (face space; 0: one pixel). */
void cask_synth_fill(struct canvas *canvas, const struct shape *shape, struct colour colour,
                     float opacity, float soft);

void cask_synth_paint(struct canvas *canvas, const struct who *who, const struct view *view);
void cask_synth_paint_eyes(struct canvas *canvas, const struct who *who, const struct view *view);
void cask_synth_paint_hair_behind(struct canvas *canvas, const struct who *who,
                                  const struct shape *head);
void cask_synth_paint_hair(struct canvas *canvas, const struct who *who, const struct view *view,
                           const struct shape *head);
/* a * (1 - t) + b * t */
struct colour cask_synth_mix(struct colour a, struct colour b, float t);

#endif
