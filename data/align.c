/* data/align.c - where the five points of a face belong, and the similarity that takes them there.
 */
#include <math.h>

#include "data/data.h"

/* insightface's template for 112 x 112. The older crop of SphereFace, 96 wide, is the same with 8
 * columns less at either side. */
static const float target_112[5][2] = {
    {38.2946F, 51.6963F}, {73.5318F, 51.5014F}, {56.0252F, 71.7366F},
    {41.5493F, 92.3655F}, {70.7299F, 92.2041F},
};

enum cask_status cask_landmarks_target(int width, int height, struct cask_landmarks *target,
                                       struct cask_error *err)
{
    bool sphereface = width == 96 && height == 112;
    if (!sphereface && (width != height || width < 1)) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "alignment: expected a square picture or 96 x 112 pixels, found "
                              "%d x %d",
                              width, height);
    }
    double scale = sphereface ? 1 : width / 112.0, shift = sphereface ? -8 : 0;
    for (int i = 0; i < 5; i++) {
        target->at[i][0] = (float)((double)target_112[i][0] * scale + shift);
        target->at[i][1] = (float)((double)target_112[i][1] * scale);
    }
    return CASK_OK;
}

struct cask_landmarks cask_landmarks_of_68(const float points[68][2])
{
    struct cask_landmarks five;
    for (int d = 0; d < 2; d++) {
        five.at[0][d] = (points[36][d] + points[39][d]) / 2;
        five.at[1][d] = (points[42][d] + points[45][d]) / 2;
        five.at[2][d] = points[30][d];
        five.at[3][d] = points[48][d];
        five.at[4][d] = points[54][d];
    }
    return five;
}

/* Umeyama (1991) for two dimensions without reflection, in closed form: with both sets centred,
 *     a = sum(s.d) / sum|s|^2,  b = sum(sx dy - sy dx) / sum|s|^2,  M = [a -b tx; b a ty]. */
enum cask_status cask_align_estimate(const struct cask_landmarks *from,
                                     const struct cask_landmarks *to, double m[6],
                                     struct cask_error *err)
{
    double s0[2] = {0}, d0[2] = {0}, dot = 0, cross = 0, spread = 0;
    for (int i = 0; i < 5; i++) {
        for (int d = 0; d < 2; d++) {
            s0[d] += (double)from->at[i][d] / 5;
            d0[d] += (double)to->at[i][d] / 5;
        }
    }
    for (int i = 0; i < 5; i++) {
        double sx = (double)from->at[i][0] - s0[0], sy = (double)from->at[i][1] - s0[1];
        double dx = (double)to->at[i][0] - d0[0], dy = (double)to->at[i][1] - d0[1];
        dot += sx * dx + sy * dy;
        cross += sx * dy - sy * dx;
        spread += sx * sx + sy * sy;
    }
    double a = dot / spread, b = cross / spread;
    if (!(spread > 0) || !isfinite(a) || !isfinite(b) || !(a * a + b * b > 0)) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "alignment: expected five landmarks apart from one another, found "
                              "(%g,%g) (%g,%g) (%g,%g) (%g,%g) (%g,%g)",
                              (double)from->at[0][0], (double)from->at[0][1],
                              (double)from->at[1][0], (double)from->at[1][1],
                              (double)from->at[2][0], (double)from->at[2][1],
                              (double)from->at[3][0], (double)from->at[3][1],
                              (double)from->at[4][0], (double)from->at[4][1]);
    }
    m[0] = a;
    m[1] = -b;
    m[2] = d0[0] - (a * s0[0] - b * s0[1]);
    m[3] = b;
    m[4] = a;
    m[5] = d0[1] - (b * s0[0] + a * s0[1]);
    return CASK_OK;
}
