/* cache/probe.c - do two teachers say the same about the same pictures, within rounding? */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cache/manifest.h"

int cask_probe_worst(const struct cask_manifest *a, const struct cask_manifest *b, double *distance)
{
    int worst = 0;
    *distance = 0;
    for (int i = 0; i < a->probe_count && i < b->probe_count; i++) {
        double d = fabs(a->probe[i] - b->probe[i]);
        if (!(d <= *distance)) {
            *distance = isnan(d) ? INFINITY : d;
            worst = i;
        }
    }
    return worst;
}

double cask_probe_tolerance(const struct cask_manifest *manifest)
{
    return strcmp(manifest->precision, "bf16") == 0 ? CASK_PROBE_TOLERANCE_BF16
                                                    : CASK_PROBE_TOLERANCE_FP32;
}

void cask_probe_format(const struct cask_manifest *manifest, int number, char *buffer, size_t bytes)
{
    int i = number, j = 1;
    for (; j < CASK_PROBE_PICTURES && i >= j; j++) {
        i -= j;
    }
    if (number < CASK_PROBE_COSINES) {
        snprintf(buffer, bytes, "cosine of pictures %d and %d = %.7f", i, j,
                 manifest->probe[number]);
    } else {
        snprintf(buffer, bytes, "component %d of picture %d = %.7f",
                 (number - CASK_PROBE_COSINES) % CASK_PROBE_COMPONENTS,
                 (number - CASK_PROBE_COSINES) / CASK_PROBE_COMPONENTS, manifest->probe[number]);
    }
}
