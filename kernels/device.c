/* kernels/device.c - choosing a backend by name, and the memory it works on. */
#include <string.h>

#include "common/mem.h"
#include "kernels/backend.h"

static const struct cask_backend *const backends[] = {
    &cask_backend_cpu,
    &cask_backend_ref,
    &cask_backend_ref64,
};

enum { BACKENDS = sizeof backends / sizeof backends[0] };

static const struct cask_backend *find_backend(const char *name)
{
    for (int i = 0; i < BACKENDS; i++) {
        if (strcmp(backends[i]->name, name) == 0) {
            return backends[i];
        }
    }
    return NULL;
}

static enum cask_status refuse_name(const char *name, struct cask_error *err)
{
    char list[128] = "";
    for (int i = 0; i < BACKENDS; i++) {
        strncat(list, i > 0 ? ", " : "", sizeof list - strlen(list) - 1);
        strncat(list, backends[i]->name, sizeof list - strlen(list) - 1);
    }
    return cask_error_set(err, CASK_ERR_USAGE, "backend: expected one of %s, found \"%s\"", list,
                          name);
}

enum cask_status cask_device_open(const struct cask_device_options *options,
                                  struct cask_device **device, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_device *opened = NULL;
    const char *name = options->backend ? options->backend : "";
    const struct cask_backend *backend = find_backend(name);

    *device = NULL;
    if (backend == NULL) {
        CASK_TRY(refuse_name(name, err));
    }
    if (options->threads < 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE, "threads: expected 0 (all) or more, found %d",
                                options->threads));
    }
    opened = cask_alloc(1, sizeof *opened);
    if (opened == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *opened, "a device"));
    }
    opened->backend = backend;
    opened->ops = backend->ops;
    CASK_TRY(backend->open(options, opened, err));
    *device = opened;
    opened = NULL;
done:
    cask_free(opened);
    return st;
}

void cask_device_close(struct cask_device *device)
{
    if (device != NULL) {
        device->backend->close(device);
        cask_free(device);
    }
}

const struct cask_ops *cask_device_ops(const struct cask_device *device)
{
    return device->ops;
}

enum cask_dtype cask_device_activation_dtype(const struct cask_device *device)
{
    return device->activation_dtype;
}

enum cask_dtype cask_device_parameter_dtype(const struct cask_device *device)
{
    return device->parameter_dtype;
}

int cask_device_threads(const struct cask_device *device)
{
    return device->threads;
}

void cask_device_describe(const struct cask_device *device, char *buffer, size_t bytes)
{
    device->backend->describe(device, buffer, bytes);
}

/* Device memory is host memory on every backend there is today. The device is a parameter, and
 * upload and download are calls, so that this can change without touching a caller. */

void *cask_buffer_alloc(struct cask_device *device, size_t bytes)
{
    (void)device;
    return cask_alloc(bytes, 1);
}

void cask_buffer_free(struct cask_device *device, void *buffer)
{
    (void)device;
    cask_free(buffer);
}

void cask_buffer_upload(struct cask_device *device, void *buffer, const void *host, size_t bytes)
{
    (void)device;
    memcpy(buffer, host, bytes);
}

void cask_buffer_download(struct cask_device *device, void *host, const void *buffer, size_t bytes)
{
    (void)device;
    memcpy(host, buffer, bytes);
}
