/* data/decode_png.c - PNG through libpng's simplified interface, which needs no setjmp.
 *
 * That interface converts colour spaces where a file names one (gAMA, iCCP ...); OpenCV and PIL do
 * not, so only the chunks that hold pixels are handed over. Alpha is dropped, not blended. */
#include <png.h>
#include <string.h>

#include "common/mem.h"
#include "data/decode_impl.h"

enum { SIGNATURE = 8, CHUNK_EXTRA = 12 /* length, type, CRC */, HEADER_CHUNK = 13 };

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

enum cask_status cask_png_size(const uint8_t *data, size_t bytes, int *width, int *height,
                               struct cask_error *err)
{
    if (bytes < SIGNATURE + CHUNK_EXTRA + HEADER_CHUNK ||
        big_endian(data + SIGNATURE) != HEADER_CHUNK ||
        memcmp(data + SIGNATURE + 4, "IHDR", 4) != 0) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "PNG of %zu bytes: expected an IHDR chunk of 13 bytes at byte 8",
                              bytes);
    }
    uint32_t w = big_endian(data + 16), h = big_endian(data + 20);
    if (w == 0 || h == 0 || w > INT32_MAX || h > INT32_MAX) {
        return cask_error_set(err, CASK_ERR_FORMAT, "PNG: impossible size %u x %u", w, h);
    }
    if (data[24] > 8) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "PNG: expected at most 8 bits a channel, found %u; convert it to 8",
                              data[24]);
    }
    *width = (int)w;
    *height = (int)h;
    return CASK_OK;
}

/* Copies signature, IHDR, PLTE, IDAT and IEND; `kept` has room for `bytes`. */
static enum cask_status keep_pixel_chunks(const uint8_t *data, size_t bytes, uint8_t *kept,
                                          size_t *kept_bytes, struct cask_error *err)
{
    static const char wanted[][5] = {"IHDR", "PLTE", "IDAT", "IEND"};
    size_t at = SIGNATURE;
    memcpy(kept, data, SIGNATURE);
    *kept_bytes = SIGNATURE;
    while (at < bytes) {
        size_t left = bytes - at;
        uint32_t length = left >= CHUNK_EXTRA ? big_endian(data + at) : 0;
        if (left < CHUNK_EXTRA || length > left - CHUNK_EXTRA) {
            return cask_error_set(err, CASK_ERR_FORMAT,
                                  "PNG: the chunk at byte %zu goes past the end at %zu", at, bytes);
        }
        size_t chunk = (size_t)length + CHUNK_EXTRA;
        for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
            if (memcmp(data + at + 4, wanted[i], 4) == 0) {
                memcpy(kept + *kept_bytes, data + at, chunk);
                *kept_bytes += chunk;
            }
        }
        if (memcmp(data + at + 4, "IEND", 4) == 0) {
            break;
        }
        at += chunk;
    }
    return CASK_OK;
}

enum cask_status cask_png_pixels(const uint8_t *data, size_t bytes, int width, int height,
                                 uint8_t *rgb, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    png_image image = {.version = PNG_IMAGE_VERSION};
    size_t kept_bytes = 0;
    uint8_t *kept = cask_alloc(bytes, 1);
    if (kept == NULL) {
        CASK_TRY(cask_error_memory(err, bytes, "a PNG"));
    }
    CASK_TRY(keep_pixel_chunks(data, bytes, kept, &kept_bytes, err));
    if (!png_image_begin_read_from_memory(&image, kept, kept_bytes)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "PNG: damaged: %s", image.message));
    }
    if ((int64_t)image.width != width || (int64_t)image.height != height ||
        (image.format & PNG_FORMAT_FLAG_LINEAR) != 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "PNG: two headers that differ"));
    }
    /* libpng would blend alpha into RGB; asking for RGBA and skipping A keeps colours as stored */
    bool alpha = (image.format & PNG_FORMAT_FLAG_ALPHA) != 0;
    image.format = alpha ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
    uint8_t *pixels = alpha ? cask_alloc((size_t)width * (size_t)height, 4) : rgb;
    if (pixels == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)width * (size_t)height * 4, "pixels"));
    }
    bool good =
        png_image_finish_read(&image, NULL, pixels, 0, NULL) != 0 && image.warning_or_error == 0;
    for (size_t i = 0; good && alpha && i < (size_t)width * (size_t)height; i++) {
        memcpy(rgb + 3 * i, pixels + 4 * i, 3);
    }
    if (alpha) {
        cask_free(pixels);
    }
    if (!good) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "PNG: damaged: %s", image.message));
    }
done:
    png_image_free(&image);
    cask_free(kept);
    return st;
}
