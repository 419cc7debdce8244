/* cache/lz4_frame.h - private: the framing of HDF5 filter 32004 (LZ4), and the byte shuffle before
 * it.
 *
 *   u64 BE  bytes before compression
 *   u32 BE  block size
 *   then per block: u32 BE n, and n bytes; n == the block's own size means they are stored as they
 * are, otherwise they are one LZ4 block. The last block may be short.
 *
 * Pure functions on the caller's memory.
 */
#ifndef CASK_CACHE_LZ4_FRAME_H
#define CASK_CACHE_LZ4_FRAME_H

#include <stddef.h>
#include <stdint.h>

enum { CASK_LZ4_FRAME_HEADER = 12, CASK_LZ4_BLOCK_HEADER = 4, CASK_LZ4_FILTER = 32004 };

/* Size of a frame whose blocks are all stored; no frame written here is larger. */
size_t cask_lz4_frame_stored_bytes(size_t raw_bytes, size_t block_bytes);

/* Stored blocks only (embeddings, which LZ4 cannot shrink). Returns the frame's size. */
size_t cask_lz4_frame_store(const uint8_t *raw, size_t raw_bytes, size_t block_bytes,
                            uint8_t *frame);
/* One block, compressed where that gains. `frame` has room for cask_lz4_frame_stored_bytes. */
size_t cask_lz4_frame_encode(const uint8_t *raw, size_t raw_bytes, uint8_t *frame);

/* Decodes any frame into exactly raw_bytes; never reads or writes outside the two buffers. NULL if
 * all is well, else what is wrong with it. */
const char *cask_lz4_frame_decode(const uint8_t *frame, size_t frame_bytes, uint8_t *raw,
                                  size_t raw_bytes);
/* Same for a frame of one block, but where that block is stored *view points into the frame and
 * nothing is copied; else *view is `raw`. */
const char *cask_lz4_frame_view(const uint8_t *frame, size_t frame_bytes, uint8_t *raw,
                                size_t raw_bytes, const uint8_t **view);
/* Row `row` of a frame with one stored block per row. */
const char *cask_lz4_frame_row(const uint8_t *frame, size_t frame_bytes, size_t rows,
                               size_t row_bytes, size_t row, const uint8_t **data);

/* Byte plane b of the output holds byte b of each element: HDF5 filter 2. */
void cask_shuffle(const uint8_t *raw, size_t bytes, size_t element_bytes, uint8_t *shuffled);
void cask_unshuffle(const uint8_t *shuffled, size_t bytes, size_t element_bytes, uint8_t *raw);

#endif
