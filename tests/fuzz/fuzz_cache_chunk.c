/* An LZ4 frame from anywhere, decoded by every way that the reader has. First byte: the size the
 * chunk should have; what decodes must survive being encoded again. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cache/lz4_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 1) {
        return 0;
    }
    size_t raw_bytes = 16 * (1 + (size_t)data[0]), frame_bytes = bytes - 1;
    uint8_t *frame = malloc(frame_bytes + 1), *raw = malloc(raw_bytes), *other = malloc(raw_bytes);
    memcpy(frame, data + 1, frame_bytes);
    const uint8_t *view = NULL;
    bool good = cask_lz4_frame_decode(frame, frame_bytes, raw, raw_bytes) == NULL;
    if (cask_lz4_frame_view(frame, frame_bytes, other, raw_bytes, &view) == NULL &&
        (!good || memcmp(view, raw, raw_bytes) != 0)) {
        abort();
    }
    volatile uint8_t sink = 0;
    for (size_t row = 0; row < 16; row++) {
        const uint8_t *row_data;
        if (cask_lz4_frame_row(frame, frame_bytes, 16, raw_bytes / 16, row, &row_data) == NULL) {
            sink = (uint8_t)(sink + row_data[0] + row_data[raw_bytes / 16 - 1]);
        }
    }
    if (good) {
        size_t room = cask_lz4_frame_stored_bytes(raw_bytes, raw_bytes);
        uint8_t *again = malloc(room);
        size_t used = cask_lz4_frame_encode(raw, raw_bytes, again);
        if (used > room || cask_lz4_frame_decode(again, used, other, raw_bytes) != NULL ||
            memcmp(raw, other, raw_bytes) != 0) {
            abort();
        }
        free(again);
    }
    free(frame);
    free(raw);
    free(other);
    return 0;
}
