/* data/decode_jpeg.c - JPEG through TurboJPEG, with the settings of OpenCV, PIL and MXNet: accurate
 * integer DCT, fancy upsampling. EXIF rotation is not applied. */
#include <limits.h>
#include <string.h>
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
        if (jpeg->handle != NULL) {
            tjDestroy(jpeg->handle);
        }
        cask_free(jpeg);
    }
}

/* After a damaged header TurboJPEG 2.1 goes on in the middle of the next image, so a handle that
 * has failed is thrown away. */
static enum cask_status refuse(struct cask_jpeg_decoder *jpeg, size_t bytes, const char *what,
                               struct cask_error *err)
{
    const char *said = tjGetErrorStr2(jpeg->handle);
    cask_error_set(err, CASK_ERR_FORMAT, "JPEG of %zu bytes: %s: %s", bytes, what,
                   strcmp(said, "No error") != 0 ? said : "there is no picture in it");
    tjDestroy(jpeg->handle);
    jpeg->handle = NULL;
    return CASK_ERR_FORMAT;
}

enum cask_status cask_jpeg_size(struct cask_jpeg_decoder *jpeg, const uint8_t *data, size_t bytes,
                                int *width, int *height, struct cask_error *err)
{
    int subsampling, colours = TJCS_RGB;
    if (bytes > INT_MAX) {
        return cask_error_set(err, CASK_ERR_FORMAT, "JPEG of %zu bytes: too long", bytes);
    }
    if (jpeg->handle == NULL && (jpeg->handle = tjInitDecompress()) == NULL) {
        return cask_error_memory(err, 0, "a JPEG decoder");
    }
    *width = *height = 0; /* stays so if the file has tables but no image */
    if (tjDecompressHeader3(jpeg->handle, data, bytes, width, height, &subsampling, &colours) !=
            0 ||
        *width < 1 || *height < 1) {
        return refuse(jpeg, bytes, "damaged header", err);
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
        return refuse(jpeg, bytes, "damaged", err);
    }
    return CASK_OK;
}

const char *cask_jpeg_describe(void)
{
    return "libjpeg-turbo " CASK_TURBOJPEG_VERSION " islow fancy";
}
