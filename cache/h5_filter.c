/* cache/h5_filter.c - filter 32004 for libhdf5: for creating datasets, for H5Dread in tests and
 * benchmarks. The write path encodes chunks itself and the read path never comes here. */
#include <string.h>

#include "cache/bytes.h"
#include "cache/h5_file.h"
#include "cache/lz4_frame.h"

enum { LZ4_RATIO_MAX = 255 }; /* no LZ4 block expands further, so no frame honestly claims more */

static size_t decode(size_t bytes, size_t *buffer_bytes, void **buffer)
{
    const uint8_t *frame = *buffer;
    if (bytes < CASK_LZ4_FRAME_HEADER) {
        return 0;
    }
    uint64_t raw_bytes = (uint64_t)cask_get_be32(frame) << 32 | cask_get_be32(frame + 4);
    if (raw_bytes == 0 || raw_bytes > (uint64_t)bytes * LZ4_RATIO_MAX) {
        return 0;
    }
    uint8_t *raw = H5allocate_memory((size_t)raw_bytes, 0);
    if (raw == NULL || cask_lz4_frame_decode(frame, bytes, raw, (size_t)raw_bytes) != NULL) {
        H5free_memory(raw);
        return 0;
    }
    H5free_memory(*buffer);
    *buffer = raw;
    *buffer_bytes = (size_t)raw_bytes;
    return (size_t)raw_bytes;
}

static size_t encode(size_t block_bytes, size_t bytes, size_t *buffer_bytes, void **buffer)
{
    bool rows = block_bytes > 0 && block_bytes < bytes;
    size_t room = cask_lz4_frame_stored_bytes(bytes, rows ? block_bytes : bytes);
    uint8_t *frame = H5allocate_memory(room, 0);
    if (frame == NULL) {
        return 0;
    }
    size_t used = rows ? cask_lz4_frame_store(*buffer, bytes, block_bytes, frame)
                       : cask_lz4_frame_encode(*buffer, bytes, frame);
    H5free_memory(*buffer);
    *buffer = frame;
    *buffer_bytes = room;
    return used;
}

static size_t filter(unsigned flags, size_t value_count, const unsigned values[], size_t bytes,
                     size_t *buffer_bytes, void **buffer)
{
    if (flags & H5Z_FLAG_REVERSE) {
        return decode(bytes, buffer_bytes, buffer);
    }
    return bytes == 0 ? 0 : encode(value_count > 0 ? values[0] : 0, bytes, buffer_bytes, buffer);
}

enum cask_status cask_h5_register_lz4(struct cask_error *err)
{
    static const H5Z_class2_t class = {
        .version = H5Z_CLASS_T_VERS,
        .id = CASK_LZ4_FILTER,
        .encoder_present = 1,
        .decoder_present = 1,
        .name = "lz4 (cask)",
        .filter = filter,
    };
    return H5Zregister(&class) < 0 ? cask_h5_error(err, "libhdf5", "cannot register filter 32004")
                                   : CASK_OK;
}
