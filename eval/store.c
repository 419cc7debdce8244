/* eval/store.c - embeddings on disk, block by block; see faces.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/file.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/thread.h"
#include "eval/store_impl.h"

enum { BLOCK = 256, SHOWN = 20 };

static int64_t block_count(const struct cask_store *s)
{
    return (s->images + BLOCK - 1) / BLOCK;
}

static int64_t block_rows(const struct cask_store *s, int64_t block)
{
    int64_t left = s->images - block * BLOCK;
    return left < BLOCK ? left : BLOCK;
}

static off_t row_offset(const struct cask_store *s, int64_t row)
{
    return (off_t)(CASK_STORE_HEADER + (size_t)row * (size_t)s->columns * sizeof(float));
}

static enum cask_status read_rows(const void *user, int64_t first, int64_t count, float *values,
                                  struct cask_error *err)
{
    const struct cask_store *s = user;
    char *at = (char *)values;
    size_t left = (size_t)count * (size_t)s->columns * sizeof(float);
    off_t offset = row_offset(s, first);
    while (left > 0) {
        ssize_t got = pread(s->fd, at, left, offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return cask_error_errno(err, got < 0 ? errno : EIO, "%s: reading rows from %lld",
                                    s->data_path, (long long)first);
        }
        at += got;
        offset += got;
        left -= (size_t)got;
    }
    return CASK_OK;
}

static enum cask_status write_rows(const struct cask_store *s, int64_t first, int64_t count,
                                   const float *values, struct cask_error *err)
{
    const char *at = (const char *)values;
    size_t left = (size_t)count * (size_t)s->columns * sizeof(float);
    off_t offset = row_offset(s, first);
    while (left > 0) {
        ssize_t put = pwrite(s->fd, at, left, offset);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return cask_error_errno(err, put < 0 ? errno : EIO, "%s: writing rows from %lld",
                                    s->data_path, (long long)first);
        }
        at += put;
        offset += put;
        left -= (size_t)put;
    }
    return fdatasync(s->fd) == 0 ? CASK_OK
                                 : cask_error_errno(err, errno, "%s: fdatasync", s->data_path);
}

static void note_bad(struct cask_store *s, const char *reason)
{
    if (s->bad_count++ == 0) {
        snprintf(s->first_bad, sizeof s->first_bad, "%s", reason);
    }
}

/* A line of the journal: the block counts as done if its rows still have the line's checksum. */
static enum cask_status take_block(const struct store_block *block, void *user,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_store *s = user;
    if (block->number < 0 || block->number >= block_count(s) || s->finished[block->number]) {
        return CASK_OK;
    }
    int64_t rows = block_rows(s, block->number);
    CASK_TRY(read_rows(s, block->number * BLOCK, rows, s->buffer, err));
    size_t bytes = (size_t)rows * (size_t)s->columns * sizeof(float);
    if (cask_xxh3(s->buffer, bytes) != block->xxh3) {
        cask_log_warn("%s: block %lld does not have the checksum of its journal line; its %lld "
                      "images are embedded again",
                      s->data_path, (long long)block->number, (long long)rows);
        return CASK_OK;
    }
    s->finished[block->number] = true;
    s->missing -= rows;
    for (int i = 0; i < block->bad_count; i++) {
        note_bad(s, block->bad[i]);
    }
done:
    return st;
}

static enum cask_status open_data(struct cask_store *s, struct cask_error *err)
{
    char header[CASK_STORE_HEADER];
    off_t bytes = row_offset(s, s->images);
    s->fd = open(s->data_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (s->fd < 0) {
        return cask_error_errno(err, errno, "%s", s->data_path);
    }
    if (flock(s->fd, LOCK_EX | LOCK_NB) != 0) {
        return cask_error_errno(err, errno,
                                "%s: another process is at work in this folder; wait for it or "
                                "choose another",
                                s->data_path);
    }
    cask_store_npy_header(header, s->images, s->columns);
    if (ftruncate(s->fd, bytes) != 0 ||
        pwrite(s->fd, header, sizeof header, 0) != (ssize_t)sizeof header) {
        return cask_error_errno(err, errno, "%s: making room for %lld rows", s->data_path,
                                (long long)s->images);
    }
    return CASK_OK;
}

enum cask_status cask_store_open(const char *folder, const struct cask_store_identity *identity,
                                 struct cask_store **store, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *state_path = cask_format("%s/state.json", folder);
    *store = NULL;
    struct cask_store *s = cask_alloc(1, sizeof *s);
    if (s == NULL || state_path == NULL) {
        cask_free(state_path);
        cask_free(s);
        return cask_error_memory(err, sizeof *s, "a folder of embeddings");
    }
    *s = (struct cask_store){.fd = -1,
                             .images = identity->images,
                             .missing = identity->images,
                             .columns = identity->columns};
    s->data_path = cask_format("%s/embeddings.npy", folder);
    s->journal_path = cask_format("%s/journal.jsonl", folder);
    s->finished = cask_alloc((size_t)block_count(s) + 1, sizeof *s->finished);
    s->buffer = cask_alloc(BLOCK * (size_t)s->columns, sizeof *s->buffer);
    if (s->data_path == NULL || s->journal_path == NULL || s->finished == NULL ||
        s->buffer == NULL) {
        CASK_TRY(cask_error_memory(err, BLOCK * (size_t)s->columns * 4, "a block of embeddings"));
    }
    CASK_TRY(cask_folder_create(folder, err));
    CASK_TRY(cask_store_claim(state_path, s->data_path, identity, err));
    CASK_TRY(open_data(s, err));
    CASK_TRY(cask_store_read_journal(s->journal_path, take_block, s, err));
    *store = s;
    s = NULL;
done:
    cask_store_close(s);
    cask_free(state_path);
    return st;
}

void cask_store_close(struct cask_store *s)
{
    if (s == NULL) {
        return;
    }
    if (s->fd >= 0) {
        close(s->fd); /* gives up the lock */
    }
    cask_free(s->data_path);
    cask_free(s->journal_path);
    cask_free(s->finished);
    cask_free(s->buffer);
    cask_free(s);
}

struct filling {
    struct cask_store *store;
    struct store_block block;
    bool failed; /* no memory for a reason */
};

static void take_bad(void *user, int64_t image, const char *reason)
{
    struct filling *f = user;
    (void)image;
    note_bad(f->store, reason);
    if (f->store->bad_count <= SHOWN) {
        cask_log_warn("%s", reason);
    } else if (f->store->bad_count == SHOWN + 1) {
        cask_log_warn("more such images are listed in %s only", f->store->journal_path);
    }
    f->failed |= !cask_store_block_add(&f->block, reason);
}

static enum cask_status fill_block(struct cask_store *s, struct cask_embedder *embedder,
                                   int64_t number, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t rows = block_rows(s, number);
    struct filling f = {.store = s, .block = {.number = number}};
    CASK_TRY(cask_embedder_run(embedder, number * BLOCK, rows, s->buffer, take_bad, &f, err));
    if (f.failed) {
        CASK_TRY(cask_error_memory(err, CASK_ERROR_MESSAGE, "the reasons of bad images"));
    }
    f.block.xxh3 = cask_xxh3(s->buffer, (size_t)rows * (size_t)s->columns * sizeof(float));
    CASK_TRY(write_rows(s, number * BLOCK, rows, s->buffer, err));
    CASK_TRY(cask_store_append_journal(s->journal_path, &f.block, err));
    s->finished[number] = true;
    s->missing -= rows;
done:
    cask_store_block_release(&f.block);
    return st;
}

enum cask_status cask_store_fill(struct cask_store *s, struct cask_embedder *embedder,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_progress bar;
    int64_t done = s->images - s->missing;
    if (s->missing == 0) {
        return CASK_OK;
    }
    if (cask_embedder_columns(embedder) != s->columns) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL, "%s: rows of %d, embeddings of %d",
                                s->data_path, s->columns, cask_embedder_columns(embedder)));
    }
    if (done > 0) {
        cask_log_info("%s: %lld of %lld images are there already", s->data_path, (long long)done,
                      (long long)s->images);
    }
    cask_progress_begin(&bar, "embedding", "images", done, s->images);
    for (int64_t b = 0; b < block_count(s); b++) {
        if (!s->finished[b]) {
            CASK_TRY(fill_block(s, embedder, b, err));
            cask_progress_update(&bar, s->images - s->missing, "%lld bad", (long long)s->bad_count);
        }
    }
    cask_progress_end(&bar);
done:
    return st;
}

int64_t cask_store_missing(const struct cask_store *s)
{
    return s->missing;
}

struct cask_rows cask_store_rows(const struct cask_store *s)
{
    return (struct cask_rows){s->images, s->columns, s, read_rows};
}

int64_t cask_store_bad_count(const struct cask_store *s)
{
    return s->bad_count;
}

const char *cask_store_first_bad(const struct cask_store *s)
{
    return s->first_bad;
}
