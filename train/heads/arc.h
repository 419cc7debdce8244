/* train/heads/arc.h - the angular margin that three heads share: cos(theta + m) without arccos. */
#ifndef CASK_TRAIN_HEADS_ARC_H
#define CASK_TRAIN_HEADS_ARC_H

#include <math.h>

/* cos(theta + m) = c cos m - sin(theta) sin m, with slope sin(theta + m) / sin(theta). The floor
 * under sin(theta) keeps c = +-1 finite; the slope there is harmless, because the tangential part
 * of w - c e has length sin(theta). */
static inline void cask_arc_margin(double margin, double cosine, double *phi, double *slope)
{
    double sine = sqrt(fmax(1 - cosine * cosine, 1e-12));
    *phi = cosine * cos(margin) - sine * sin(margin);
    *slope = cos(margin) + cosine * sin(margin) / sine;
}

#endif
