/* data/encode_jpeg.c - JPEG writer of the face generator: 4:4:4, accurate DCT. */
#include <turbojpeg.h>

#include "common/mem.h"
#include "data/data.h"

enum cask_status cask_encode_jpeg(const uint8_t *rgb, int width, int height, int quality,
                                  uint8_t **data, size_t *bytes, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    unsigned long size = tjBufSize(width, height, TJSAMP_444);
    uint8_t *buffer = NULL;
    *data = NULL;
    tjhandle handle = tjInitCompress();
    if (size == (unsigned long)-1 || quality < 1 || quality > 100) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE, "JPEG of %d x %d pixels with quality %d",
                                width, height, quality));
    }
    buffer = cask_alloc(size, 1);
    if (handle == NULL || buffer == NULL) {
        CASK_TRY(cask_error_memory(err, size, "a JPEG"));
    }
    if (tjCompress2(handle, rgb, width, 3 * width, height, TJPF_RGB, &buffer, &size, TJSAMP_444,
                    quality, TJFLAG_ACCURATEDCT | TJFLAG_NOREALLOC) != 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL, "cannot write a JPEG: %s",
                                tjGetErrorStr2(handle)));
    }
    *data = buffer;
    *bytes = size;
    buffer = NULL;
done:
    cask_free(buffer);
    if (handle != NULL) {
        tjDestroy(handle);
    }
    return st;
}
