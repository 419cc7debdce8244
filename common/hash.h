/* common/hash.h - XXH3 for damage (fast), SHA-256 for identity (fingerprints). */
#ifndef CASK_COMMON_HASH_H
#define CASK_COMMON_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t cask_xxh3(const void *data, size_t bytes);
uint32_t cask_crc32(uint32_t crc, const void *data,
                    size_t bytes); /* zlib polynomial; start with 0 */

enum { CASK_SHA256_HEX = 65 }; /* 64 hex digits and a NUL */

struct cask_sha256 {
    uint64_t opaque[32];
};
void cask_sha256_init(struct cask_sha256 *state);
void cask_sha256_update(struct cask_sha256 *state, const void *data, size_t bytes);
void cask_sha256_update_u64(struct cask_sha256 *state, uint64_t value); /* 8 bytes, little endian */
void cask_sha256_update_text(struct cask_sha256 *state, const char *text); /* with its NUL */
void cask_sha256_final_hex(struct cask_sha256 *state, char hex[CASK_SHA256_HEX]);

#endif
