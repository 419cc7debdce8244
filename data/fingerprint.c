/* data/fingerprint.c - the identity of a dataset's content.
 *
 * Workers reduce each image to (bytes, CRC-32) in blocks; one SHA-256 then runs over the blocks in
 * order, so the result does not depend on the number of threads.
 */
#include "common/mem.h"
#include "common/thread.h"
#include "data/data.h"

enum { BLOCK = 8192 };

struct digest {
    uint64_t bytes;
    uint32_t crc;
    bool no_memory;
};

struct work {
    const struct cask_dataset *dataset;
    int64_t first;
    struct cask_encoded *encoded; /* one a worker */
    struct digest digests[BLOCK];
};

static void digest_image(void *user, int64_t index, int worker)
{
    struct work *work = user;
    struct cask_error err = {0};
    struct cask_encoded *encoded = &work->encoded[worker];
    enum cask_status st = cask_dataset_read(work->dataset, work->first + index, encoded, &err);
    if (st == CASK_OK) {
        work->digests[index] = (struct digest){.bytes = encoded->bytes,
                                               .crc = cask_crc32(0, encoded->data, encoded->bytes)};
    } else {
        /* An image that cannot be read is part of the dataset's identity too. */
        work->digests[index] =
            (struct digest){.bytes = UINT64_MAX, .no_memory = st == CASK_ERR_MEMORY};
    }
}

static enum cask_status hash_block(struct cask_sha256 *state, const struct work *work,
                                   int64_t count, struct cask_error *err)
{
    for (int64_t i = 0; i < count; i++) {
        if (work->digests[i].no_memory) {
            return cask_error_memory(err, 0, "an image's bytes");
        }
        cask_sha256_update_u64(state, (uint64_t)(work->first + i));
        cask_sha256_update_u64(state, cask_dataset_label(work->dataset, work->first + i));
        cask_sha256_update_u64(state, work->digests[i].bytes);
        cask_sha256_update_u64(state, work->digests[i].crc);
    }
    return CASK_OK;
}

enum cask_status cask_dataset_fingerprint(const struct cask_dataset *dataset, int threads,
                                          char hex[CASK_SHA256_HEX], struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_pool *pool = NULL;
    struct cask_sha256 state;
    struct work *work = cask_alloc(1, sizeof *work);
    int workers = threads > 0 ? threads : cask_cpu_count();
    struct cask_encoded *encoded = cask_alloc((size_t)workers, sizeof *encoded);
    if (work == NULL || encoded == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *work, "a dataset fingerprint"));
    }
    work->dataset = dataset;
    work->encoded = encoded;
    CASK_TRY(cask_pool_create(workers, &pool, err));
    cask_sha256_init(&state);
    int64_t total = cask_dataset_count(dataset);
    for (work->first = 0; work->first < total; work->first += BLOCK) {
        int64_t count = total - work->first < BLOCK ? total - work->first : BLOCK;
        CASK_TRY(cask_interrupt_check(err));
        cask_pool_run(pool, count, digest_image, work);
        CASK_TRY(hash_block(&state, work, count, err));
    }
    cask_sha256_final_hex(&state, hex);
done:
    cask_pool_free(pool);
    for (int i = 0; encoded != NULL && i < workers; i++) {
        cask_encoded_release(&encoded[i]);
    }
    cask_free(encoded);
    cask_free(work);
    return st;
}
