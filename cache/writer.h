/* cache/writer.h - private: the writer's state, shared by writer.c (the folder), writer_rows.c (the
 * open shard), writer_seal.c (its way to disk) and writer_bad.c (the list of bad images). */
#ifndef CASK_CACHE_WRITER_H
#define CASK_CACHE_WRITER_H

#include "cache/layout.h"
#include "cache/published.h"
#include "common/thread.h"

struct cask_writer_worker {
    float *back; /* [D]: an embedding as a reader will see it */
    double embedding_error, cosine_error;
    char pad[40]; /* workers write to lines of their own */
};

struct cask_cache_writer {
    struct cask_published there;
    char *bad_path;
    struct cask_pool *pool;
    struct cask_writer_worker *workers;

    double inherited_error; /* of embeddings, from the cache that they were read from */
    int64_t open_shard;     /* -1: none */
    struct cask_layout layout;
    uint8_t *arrays[CASK_ARRAYS]; /* of the open shard, as they will be stored */
    int64_t filled;
};

/* writer_rows.c */
void cask_writer_release_rows(struct cask_cache_writer *writer);
/* writer_bad.c: one line per row, sorted, once it is known which were built twice. */
enum cask_status cask_writer_sort_bad(const char *path, struct cask_error *err);

#endif
