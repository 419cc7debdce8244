/* kernels/backend.h - private to kernels/: what a backend is, and what a device holds.
 *
 * kernels/device.c finds a backend by name, fills the fields marked "device.c", calls open(), and
 * owns the struct's memory. open() fills the rest; it is called once and close() once after it
 * succeeded. Buffers of every CPU backend are host memory from common/mem.h.
 */
#ifndef CASK_KERNELS_BACKEND_H
#define CASK_KERNELS_BACKEND_H

#include "kernels/kernels.h"

struct cask_backend {
    const char *name; /* as in cask_device_options.backend */
    enum cask_status (*open)(const struct cask_device_options *options, struct cask_device *device,
                             struct cask_error *err);
    void (*close)(struct cask_device *device);
    const struct cask_ops *ops;
};

struct cask_device {
    const struct cask_backend *backend; /* device.c */
    int threads;                        /* device.c: options->threads, or all CPUs if 0 */
    enum cask_dtype activation_dtype;   /* open() */
    enum cask_dtype parameter_dtype;    /* open() */
    char description[160];              /* open() */
    void *state;                        /* the backend's own */
};

extern const struct cask_backend cask_backend_ref;   /* kernels/ref, float */
extern const struct cask_backend cask_backend_ref64; /* kernels/ref, double */
extern const struct cask_backend cask_backend_cpu;   /* kernels/cpu */

#endif
