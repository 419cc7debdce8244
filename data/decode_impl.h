/* data/decode_impl.h - what decode.c asks of the two formats. Private to data/. */
#ifndef CASK_DATA_DECODE_IMPL_H
#define CASK_DATA_DECODE_IMPL_H

#include "data/data.h"

enum { CASK_IMAGE_SIDE = 8192 }; /* largest width and height that are decoded */

struct cask_jpeg_decoder; /* a TurboJPEG handle */
enum cask_status cask_jpeg_decoder_create(struct cask_jpeg_decoder **jpeg, struct cask_error *err);
void cask_jpeg_decoder_free(struct cask_jpeg_decoder *jpeg); /* accepts NULL */
/* Reads only the header. */
enum cask_status cask_jpeg_size(struct cask_jpeg_decoder *jpeg, const uint8_t *data, size_t bytes,
                                int *width, int *height, struct cask_error *err);
/* width and height are those cask_jpeg_size gave. */
enum cask_status cask_jpeg_pixels(struct cask_jpeg_decoder *jpeg, const uint8_t *data, size_t bytes,
                                  int width, int height, uint8_t *rgb, struct cask_error *err);
const char *cask_jpeg_describe(void);

enum cask_status cask_png_size(const uint8_t *data, size_t bytes, int *width, int *height,
                               struct cask_error *err);
enum cask_status cask_png_pixels(const uint8_t *data, size_t bytes, int width, int height,
                                 uint8_t *rgb, struct cask_error *err);

#endif
