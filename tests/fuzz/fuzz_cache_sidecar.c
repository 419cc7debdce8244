/* A sidecar index from anywhere: refused, or every chunk it names lies inside the file it states.
 * The checksum is repaired first, since an attacker would. */
#include <stdlib.h>
#include <string.h>

#include "cache/bytes.h"
#include "cache/sidecar.h"
#include "common/hash.h"
#include "tests/support/cache_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void decode(const uint8_t *data, size_t bytes, const struct cask_layout *layout,
                   enum cask_sidecar_kind kind)
{
    struct cask_error err;
    struct cask_sidecar sidecar;
    if (cask_sidecar_decode(data, bytes, layout, kind, 0, &sidecar, &err) != CASK_OK) {
        return;
    }
    for (uint32_t i = 0; i < layout->chunks; i++) {
        uint64_t size = cask_chunk_bytes(&sidecar.chunks[i]);
        if (sidecar.chunks[i].address > sidecar.file_bytes ||
            size > sidecar.file_bytes - sidecar.chunks[i].address) {
            abort();
        }
    }
    cask_sidecar_release(&sidecar);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct cask_manifest m = fixture_manifest(90, 300, 24, 6, 70, CASK_EMBEDDING_F16);
    struct cask_layout shard, centers;
    cask_layout_shard(&m, 0, &shard);
    cask_layout_centers(&m, &centers);
    uint8_t *copy = malloc(bytes + 1);
    memcpy(copy, data, bytes);
    decode(copy, bytes, &shard, CASK_SIDECAR_SHARD);
    if (bytes >= 8) {
        cask_put_le64(copy + bytes - 8, cask_xxh3(copy, bytes - 8));
    }
    decode(copy, bytes, &shard, CASK_SIDECAR_SHARD);
    decode(copy, bytes, &centers, CASK_SIDECAR_CENTERS);
    free(copy);
    return 0;
}
