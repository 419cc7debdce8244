/* train/losses/variants.c - which compilation of the numerics serves a device. */
#include <string.h>

#include "train/losses/engine.h"

const struct cask_engine_api *cask_engine_for(const struct cask_device *device)
{
    const char *backend = cask_device_ops(device)->name, *isa = cask_cpu_isa();
    if (strcmp(backend, "ref64") == 0) {
        return &cask_engine_f64;
    }
    if (strcmp(backend, "ref") == 0) {
        return &cask_engine_f32;
    }
    if (strcmp(isa, "avx512") == 0) {
        return &cask_engine_cpu_avx512;
    }
    return strcmp(isa, "avx2") == 0 ? &cask_engine_cpu_avx2 : &cask_engine_cpu;
}
