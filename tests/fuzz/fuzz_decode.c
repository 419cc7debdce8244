/* JPEG and PNG of any bytes. Only the corpus' own sizes are decoded: a header that claims
 * 8192 x 8192 pixels would cost time and find nothing more. */
#include "data/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const int sizes[][2] = {{1, 1}, {40, 40}, {64, 48}, {37, 53}, {45, 33}, {16, 16}};
    static uint8_t rgb[64 * 64 * 3];
    struct cask_decoder *decoder;
    struct cask_error err = {0};
    if (cask_decoder_create(&decoder, &err) != CASK_OK) {
        return 0;
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        (void)cask_decode(decoder, data, bytes, sizes[i][0], sizes[i][1], rgb, &err);
    }
    cask_decoder_free(decoder);
    return 0;
}
