/* data/decode.c - tells formats apart by their first bytes and checks sizes. */
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "data/decode_impl.h"

struct cask_decoder {
    struct cask_jpeg_decoder *jpeg;
};

/* A 16 x 16 colour JPEG with 4:2:0 chroma: its pixels depend on the inverse DCT, on the way chroma
 * is upsampled and on the colour conversion, which is all that decoders differ in. */
static const uint8_t probe[] = {
#include "data/decode_probe.inc"
};
enum { PROBE_SIDE = 16 };

enum format { FORMAT_UNKNOWN, FORMAT_JPEG, FORMAT_PNG };

static enum format sniff(const uint8_t *data, size_t bytes)
{
    static const uint8_t jpeg[] = {0xFF, 0xD8, 0xFF};
    static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    if (bytes >= sizeof jpeg && memcmp(data, jpeg, sizeof jpeg) == 0) {
        return FORMAT_JPEG;
    }
    return bytes >= sizeof png && memcmp(data, png, sizeof png) == 0 ? FORMAT_PNG : FORMAT_UNKNOWN;
}

static enum cask_status refuse_format(const uint8_t *data, size_t bytes, struct cask_error *err)
{
    static const struct {
        const char *begin, *name;
    } known[] = {{"GIF8", ", a GIF"},        {"BM", ", a BMP"},  {"RIFF", ", a WebP"},
                 {"II*", ", a TIFF"},        {"MM", ", a TIFF"}, {"<", ", HTML or XML text"},
                 {"\xFF\x0A", ", a JPEG XL"}};
    char hex[3 * 8 + 1] = "";
    const char *name = "";
    if (bytes == 0) {
        return cask_error_set(err, CASK_ERR_FORMAT, "expected a JPEG or PNG, found no bytes");
    }
    for (size_t i = 0; i < bytes && i < 8; i++) {
        snprintf(hex + 3 * i, 4, " %02x", data[i]);
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t length = strlen(known[i].begin);
        if (bytes >= length && memcmp(data, known[i].begin, length) == 0) {
            name = known[i].name;
            break;
        }
    }
    return cask_error_set(err, CASK_ERR_FORMAT, "expected a JPEG or PNG, found %zu bytes:%s%s",
                          bytes, hex, name);
}

enum cask_status cask_decoder_create(struct cask_decoder **decoder, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *decoder = NULL;
    struct cask_decoder *made = cask_alloc(1, sizeof *made);
    if (made == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *made, "a decoder"));
    }
    CASK_TRY(cask_jpeg_decoder_create(&made->jpeg, err));
    *decoder = made;
    made = NULL;
done:
    cask_decoder_free(made);
    return st;
}

void cask_decoder_free(struct cask_decoder *decoder)
{
    if (decoder != NULL) {
        cask_jpeg_decoder_free(decoder->jpeg);
        cask_free(decoder);
    }
}

static enum cask_status image_size(struct cask_decoder *decoder, const uint8_t *data, size_t bytes,
                                   int *width, int *height, struct cask_error *err)
{
    switch (sniff(data, bytes)) {
    case FORMAT_JPEG:
        return cask_jpeg_size(decoder->jpeg, data, bytes, width, height, err);
    case FORMAT_PNG:
        return cask_png_size(data, bytes, width, height, err);
    case FORMAT_UNKNOWN:
        break;
    }
    return refuse_format(data, bytes, err);
}

static enum cask_status image_pixels(struct cask_decoder *decoder, const uint8_t *data,
                                     size_t bytes, int width, int height, uint8_t *rgb,
                                     struct cask_error *err)
{
    if (sniff(data, bytes) == FORMAT_JPEG) {
        return cask_jpeg_pixels(decoder->jpeg, data, bytes, width, height, rgb, err);
    }
    return cask_png_pixels(data, bytes, width, height, rgb, err);
}

enum cask_status cask_decode(struct cask_decoder *decoder, const uint8_t *data, size_t bytes,
                             int width, int height, uint8_t *rgb, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int found_width, found_height;
    CASK_TRY(image_size(decoder, data, bytes, &found_width, &found_height, err));
    if (found_width != width || found_height != height) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "expected an image of %d x %d pixels, found %d x %d; align and "
                                "crop it first",
                                width, height, found_width, found_height));
    }
    CASK_TRY(image_pixels(decoder, data, bytes, width, height, rgb, err));
done:
    return st;
}

enum cask_status cask_decode_any(struct cask_decoder *decoder, const uint8_t *data, size_t bytes,
                                 int *width, int *height, uint8_t **rgb, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    uint8_t *pixels = NULL;
    *rgb = NULL;
    CASK_TRY(image_size(decoder, data, bytes, width, height, err));
    if (*width > CASK_IMAGE_SIDE || *height > CASK_IMAGE_SIDE) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "expected an image of at most %d x %d pixels, found %d x %d",
                                CASK_IMAGE_SIDE, CASK_IMAGE_SIDE, *width, *height));
    }
    pixels = cask_alloc((size_t)*width * (size_t)*height, 3);
    if (pixels == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)*width * (size_t)*height * 3, "pixels"));
    }
    CASK_TRY(image_pixels(decoder, data, bytes, *width, *height, pixels, err));
    *rgb = pixels;
    pixels = NULL;
done:
    cask_free(pixels);
    return st;
}

const char *cask_decoder_describe(void)
{
    return cask_jpeg_describe();
}

enum cask_status cask_decoder_fingerprint(uint32_t *crc, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_decoder *decoder = NULL;
    uint8_t rgb[PROBE_SIDE * PROBE_SIDE * 3];
    CASK_TRY(cask_decoder_create(&decoder, err));
    CASK_TRY(cask_decode(decoder, probe, sizeof probe, PROBE_SIDE, PROBE_SIDE, rgb, err));
    *crc = cask_crc32(0, rgb, sizeof rgb);
done:
    cask_decoder_free(decoder);
    return st;
}
