/* kernels/backend.h - what a backend gives to kernels/device.c. Private to kernels/.
 *
 * A backend is one constant table. Adding one means writing the table and naming it once in
 * kernels/device.c; no caller of kernels.h changes.
 */
#ifndef CASK_KERNELS_BACKEND_H
#define CASK_KERNELS_BACKEND_H

#include "kernels/kernels.h"

struct cask_backend {
    const char *name; /* what a user writes: "cpu" */

    /* Receives a zeroed device whose `backend` and `ops` are set, and fills the rest: the dtypes,
     * `threads` (at least 1), and whatever it keeps in `state`. On failure it leaves `state` such
     * that close() would be harmless; close() is not called. */
    enum cask_status (*open)(const struct cask_device_options *options, struct cask_device *device,
                             struct cask_error *err);
    void (*close)(struct cask_device *device); /* frees `state`, not the device itself */

    const struct cask_ops *ops; /* every member offered: no NULLs */

    /* One line for logs, begins with the name: "ref64: plain loops, 1 thread, fp64". */
    void (*describe)(const struct cask_device *device, char *buffer, size_t bytes);
};

struct cask_device {
    const struct cask_backend *backend;
    const struct cask_ops *ops;
    enum cask_dtype activation_dtype;
    enum cask_dtype parameter_dtype;
    int threads;
    void *state; /* the backend's own */
};

extern const struct cask_backend cask_backend_ref;   /* kernels/ref, float */
extern const struct cask_backend cask_backend_ref64; /* kernels/ref, double */
extern const struct cask_backend cask_backend_cpu;   /* kernels/cpu */

#endif
