/* data/decode_jpeg.c - JPEG through TurboJPEG, with the settings of OpenCV, PIL and MXNet: accurate
 * integer DCT, fancy upsampling. EXIF rotation is not applied. */
#include <limits.h>
#include <turbojpeg.h>

#include "common/mem.h"
#include "data/decode_impl.h"

struct cask_jpeg_decoder {
    tjhandle handle;
};

enum cask_status cask_jpeg_decoder_create(struct cask_jpeg_decoder **jpeg, struct cask_error *err)
{
    struct cask_jpeg_decoder *made = cask_alloc(1, sizeof *made);
    *jpeg = NULL;
    if (made == NULL || (made->handle = tjInitDecompress()) == NULL) {
        cask_free(made);
        return cask_error_memory(err, sizeof *made, "a JPEG decoder");
    }
    *jpeg = made;
    return CASK_OK;
}

void cask_jpeg_decoder_free(struct cask_jpeg_decoder *jpeg)
{
    if (jpeg != NULL) {
        tjDestroy(jpeg->handle);
        cask_free(jpeg);
    }
}

enum cask_status cask_jpeg_size(struct cask_jpeg_decoder *jpeg, const uint8_t *data, size_t bytes,
                                int *width, int *height, struct cask_error *err)
{
    int subsampling, colours;
    if (bytes > INT_MAX) {
        return cask_error_set(err, CASK_ERR_FORMAT, "JPEG of %zu bytes: too long", bytes);
    }
    if (tjDecompressHeader3(jpeg->handle, data, bytes, width, height, &subsampling, &colours) !=
        0) {
        return cask_error_set(err, CASK_ERR_FORMAT, "JPEG of %zu bytes: damaged header: %s", bytes,
                              tjGetErrorStr2(jpeg->handle));
    }
    if (colours == TJCS_CMYK || colours == TJCS_YCCK) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "JPEG: expected grey, YCbCr or RGB, found CMYK; convert it to RGB");
    }
    return CASK_OK;
}

/* A warning ("premature end", "corrupt data") leaves grey blocks behind, so it counts as damage. */
enum cask_status cask_jpeg_pixels(struct cask_jpeg_decoder *jpeg, const uint8_t *data, size_t bytes,
                                  int width, int height, uint8_t *rgb, struct cask_error *err)
{
    int flags = TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS;
    if (tjDecompress2(jpeg->handle, data, bytes, rgb, width, 3 * width, height, TJPF_RGB, flags) !=
        0) {
        return cask_error_set(err, CASK_ERR_FORMAT, "JPEG of %zu bytes: damaged: %s", bytes,
                              tjGetErrorStr2(jpeg->handle));
    }
    return CASK_OK;
}

const char *cask_jpeg_describe(void)
{
    return "libjpeg-turbo " CASK_TURBOJPEG_VERSION " islow fancy";
}
