/* data/preprocess_apply.c - bytes to the network's floats: (p - mean) / scale by a table. */
#include "data/data.h"

void cask_preprocess_apply(const struct cask_preprocess *preprocess, const uint8_t *rgb,
                           bool mirror, float *pixels)
{
    float value[256];
    for (int p = 0; p < 256; p++) {
        value[p] = (float)((p - preprocess->mean) / preprocess->scale);
    }
    int first = preprocess->order == CASK_RGB ? 0 : 2;
    int width = preprocess->width;
    for (int y = 0; y < preprocess->height; y++) {
        const uint8_t *row = rgb + (size_t)y * (size_t)width * 3;
        for (int x = 0; x < width; x++) {
            const uint8_t *p = row + 3 * (mirror ? width - 1 - x : x);
            pixels[0] = value[p[first]];
            pixels[1] = value[p[1]];
            pixels[2] = value[p[2 - first]];
            pixels += 3;
        }
    }
}
