#include "common/hash.h"

#include <sha2.h>
#include <string.h>
#include <xxhash.h>
#include <zlib.h>

_Static_assert(sizeof(SHA2_CTX) <= sizeof(struct cask_sha256), "struct cask_sha256 is too small");

uint64_t cask_xxh3(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}

uint32_t cask_crc32(uint32_t crc, const void *data, size_t bytes)
{
    return (uint32_t)crc32_z(crc, data, bytes);
}

void cask_sha256_init(struct cask_sha256 *state)
{
    SHA256Init((SHA2_CTX *)state);
}

void cask_sha256_update(struct cask_sha256 *state, const void *data, size_t bytes)
{
    SHA256Update((SHA2_CTX *)state, data, bytes);
}

void cask_sha256_update_u64(struct cask_sha256 *state, uint64_t value)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    cask_sha256_update(state, bytes, sizeof bytes);
}

void cask_sha256_update_text(struct cask_sha256 *state, const char *text)
{
    cask_sha256_update(state, text, strlen(text) + 1);
}

void cask_sha256_final_hex(struct cask_sha256 *state, char hex[CASK_SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256Final(digest, (SHA2_CTX *)state);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[2 * SHA256_DIGEST_LENGTH] = 0;
}
