/* A manifest and a journal from anywhere. The manifest's hash is made right first, so that its
 * fields are reached. What is accepted must be within its limits and be written back and read
 * again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/manifest.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const char KEY[] = ",\"sha256\":\"";

/* BODY} becomes BODY,"sha256":"..."}\n */
static char *sealed(const uint8_t *data, size_t bytes)
{
    struct cask_sha256 state;
    char hex[CASK_SHA256_HEX];
    cask_sha256_init(&state);
    cask_sha256_update(&state, data, bytes);
    cask_sha256_final_hex(&state, hex);
    char *text = malloc(bytes + 128);
    size_t body = bytes > 0 ? bytes - 1 : 0;
    memcpy(text, data, body);
    sprintf(text + body, "%s%s\"}\n", KEY, hex);
    return text;
}

static void decode(const char *text, size_t bytes)
{
    struct cask_error err;
    struct cask_manifest_file file, again;
    char *out = NULL;
    if (cask_manifest_decode(text, bytes, &file, &err) != CASK_OK) {
        return;
    }
    if (cask_manifest_check(&file.manifest, &err) != CASK_OK ||
        cask_manifest_encode(&file, &out, &err) != CASK_OK ||
        cask_manifest_decode(out, strlen(out), &again, &err) != CASK_OK) {
        abort();
    }
    cask_free(out);
    cask_manifest_file_release(&again);
    cask_manifest_file_release(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *copy = malloc(bytes + 1);
    memcpy(copy, data, bytes);
    copy[bytes] = '\0';
    decode(copy, bytes);
    free(copy);
    if (bytes > 0 && memchr(data, '\0', bytes) == NULL) {
        char *text = sealed(data, bytes);
        decode(text, strlen(text));
        free(text);
    }
    return 0;
}
