/* The structures of an HDF5 file from anywhere: h5_locate refuses, or every chunk lies inside the
 * file. The end-of-file address is made right first, so that the headers are reached. */
#include <stdlib.h>
#include <string.h>

#include "cache/bytes.h"
#include "cache/h5_locate.h"
#include "common/mem.h"
#include "tests/support/cache_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct cask_manifest m = fixture_manifest(90, 300, 24, 6, 70, CASK_EMBEDDING_F16);
    struct cask_layout layout;
    struct cask_error err;
    cask_layout_shard(&m, 0, &layout);
    struct cask_chunk *chunks = calloc(layout.chunks, sizeof *chunks);
    uint8_t *copy = malloc(bytes + 1);
    memcpy(copy, data, bytes);
    if (bytes >= 48) {
        cask_put_le64(copy + 28, bytes);
    }
    if (cask_h5_locate(copy, bytes, &layout, chunks, &err) == CASK_OK) {
        for (uint32_t i = 0; i < layout.chunks; i++) {
            if (chunks[i].address > bytes ||
                cask_chunk_bytes(&chunks[i]) > bytes - chunks[i].address) {
                abort();
            }
        }
    }
    free(copy);
    free(chunks);
    return 0;
}
