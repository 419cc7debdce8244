/* cache/merge.c - see the header. libhdf5 is not involved: files are copied as they are. */
#include "cache/merge.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cache/writer.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"

enum { INDEX_MAX_BYTES = 1 << 30 };

struct merge {
    struct cask_published *parts;
    int count;
    int *owner; /* [shards]: the part that holds it */
    struct cask_cache_writer *writer;
    struct cask_merge_counts *counts;
};

/* ---------------------------------------------------------------- do they belong together? */

/* The cache that is made may not be one of its parts. */
static enum cask_status check_paths(const char *out, const char *const *parts, int count,
                                    struct cask_error *err)
{
    char to[PATH_MAX], from[PATH_MAX];
    bool exists = realpath(out, to) != NULL;
    for (int i = 0; exists && i < count; i++) {
        if (realpath(parts[i], from) != NULL && strcmp(to, from) == 0) {
            return cask_error_set(err, CASK_ERR_USAGE,
                                  "%s is one of the parts, which are only read: give another "
                                  "folder",
                                  out);
        }
    }
    return CASK_OK;
}

/* Both ways: a field that is empty on one side only is a difference too, but for the hash of class
 * means, which an unfinished part does not know. Their files then speak for themselves. */
static enum cask_status compare(const struct cask_published *a, const struct cask_published *b,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_manifest one = a->file.manifest, two = b->file.manifest;
    int overrides;
    if (one.centers_sha256[0] == '\0' || two.centers_sha256[0] == '\0') {
        one.centers_sha256[0] = two.centers_sha256[0] = '\0';
    }
    st = cask_manifest_compare(&one, &two, NULL, 0, &overrides, err);
    st = st == CASK_OK ? cask_manifest_compare(&two, &one, NULL, 0, &overrides, err) : st;
    if (st == CASK_OK && a->centers.rows > 0 && b->centers.rows > 0 &&
        a->centers.index_xxh3 != b->centers.index_xxh3) {
        st = cask_error_set(err, CASK_ERR_MISMATCH,
                            "centers.h5: expected %016" PRIx64 ", found %016" PRIx64,
                            a->centers.index_xxh3, b->centers.index_xxh3);
    }
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s and %s are not parts of one build", a->folder, b->folder);
    }
    return st;
}

/* "20" or "20 to 39": the run of shards from `first` that no part holds. */
static enum cask_status report_gap(const struct merge *m, int64_t first, struct cask_error *err)
{
    int64_t shards = m->parts[0].shards, last = first;
    while (last + 1 < shards && m->owner[last + 1] < 0) {
        last++;
    }
    return cask_error_set(err, CASK_ERR_FORMAT,
                          "no part holds shards %" PRId64 " to %" PRId64 " (of 0 to %" PRId64
                          "): build them with precompute --shards %" PRId64 ":%" PRId64
                          "; embeddings that are staged for class means are joined with precompute "
                          "--parts",
                          first, last, shards - 1, first, last + 1);
}

static enum cask_status find_owners(struct merge *m, struct cask_error *err)
{
    int64_t shards = m->parts[0].shards;
    m->owner = cask_alloc((size_t)shards, sizeof *m->owner);
    if (m->owner == NULL) {
        return cask_error_memory(err, (size_t)shards * sizeof *m->owner, "list of shards");
    }
    for (int64_t s = 0; s < shards; s++) {
        m->owner[s] = -1;
        for (int i = 0; i < m->count; i++) {
            if (m->parts[i].records[s].rows == 0) {
                continue;
            }
            if (m->owner[s] >= 0) {
                return cask_error_set(err, CASK_ERR_MISMATCH,
                                      "shard %" PRId64 " is in %s and in %s: expected it in one "
                                      "part only; leave one of them out, or build other ranges",
                                      s, m->parts[m->owner[s]].folder, m->parts[i].folder);
            }
            m->owner[s] = i;
        }
    }
    for (int64_t s = 0; s < shards; s++) {
        if (m->owner[s] < 0) {
            return report_gap(m, s, err);
        }
    }
    return CASK_OK;
}

static enum cask_status open_parts(struct merge *m, const char *const *parts,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (int i = 0; i < m->count; i++) {
        CASK_TRY(cask_published_init(&m->parts[i], parts[i], err));
        CASK_TRY(cask_published_read(&m->parts[i], err));
    }
    for (int i = 1; i < m->count; i++) {
        CASK_TRY(compare(&m->parts[0], &m->parts[i], err));
    }
    CASK_TRY(find_owners(m, err));
done:
    return st;
}

/* ---------------------------------------------------------------- copying */

static enum cask_status damaged(const char *path, uint64_t expected, uint64_t found,
                                struct cask_error *err)
{
    return cask_error_set(err, CASK_ERR_FORMAT,
                          "%s: damaged: its hash is %016" PRIx64 ", expected %016" PRIx64
                          "; build this shard of the part again (precompute), then merge again",
                          path, found, expected);
}

/* The index says what the data hashes to (FORMAT.md 3, offset 40), and the record what the index
 * does. */
static uint64_t stated_hash(const char *index)
{
    uint64_t hash;
    memcpy(&hash, index + 40, sizeof hash);
    return hash;
}

static enum cask_status copy_file(const char *from, const char *to,
                                  const struct cask_record *record, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_map map = {0};
    size_t bytes = 0;
    uint64_t hash;
    char *index = NULL, *data_path = cask_format("%s.h5", from),
         *index_path = cask_format("%s.idx", from), *data_to = cask_format("%s.h5", to),
         *index_to = cask_format("%s.idx", to);
    if (data_path == NULL || index_path == NULL || data_to == NULL || index_to == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(from), "file names"));
    }
    CASK_TRY(cask_file_read_all(index_path, INDEX_MAX_BYTES, &index, &bytes, err));
    hash = cask_xxh3(index, bytes);
    if (bytes != record->index_bytes || bytes < 64 || hash != record->index_xxh3) {
        CASK_TRY(damaged(index_path, record->index_xxh3, hash, err));
    }
    CASK_TRY(cask_map_open(&map, data_path, err));
    hash = cask_xxh3(map.data, map.bytes);
    if (map.bytes != record->bytes || hash != stated_hash(index)) {
        CASK_TRY(damaged(data_path, stated_hash(index), hash, err));
    }
    CASK_TRY(cask_file_write_all(data_to, map.data, map.bytes, err));
    CASK_TRY(cask_file_write_all(index_to, index, bytes, err));
done:
    cask_map_close(&map);
    cask_free(index);
    cask_free(data_path);
    cask_free(index_path);
    cask_free(data_to);
    cask_free(index_to);
    return st;
}

/* One shard, or the centres, from `part` into the new cache, with its journal line. */
static enum cask_status copy_one(struct merge *m, struct cask_published *part, int64_t shard,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_published *to = &m->writer->there;
    const struct cask_record *record = cask_published_record(part, shard);
    char *source = cask_published_stem(part, shard), *target = cask_published_stem(to, shard);
    if (source == NULL || target == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(part->folder), "file names"));
    }
    CASK_TRY(cask_interrupt_check(err));
    CASK_TRY(copy_file(source, target, record, err));
    CASK_TRY(cask_journal_append(to->journal_path, record, err));
    *cask_published_record(to, shard) = *record;
    m->counts->copied += shard != CASK_CACHE_CENTERS;
    m->counts->bytes += record->bytes + record->index_bytes;
done:
    cask_free(source);
    cask_free(target);
    return st;
}

/* The hash of class means is known once they are read. */
static enum cask_status name_centers(struct merge *m, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_manifest *manifest = &m->writer->there.file.manifest;
    size_t count = (size_t)manifest->classes * (size_t)manifest->embedding;
    bool found;
    float *centers = NULL;
    if (manifest->centers_sha256[0] != '\0' || m->writer->there.centers.rows == 0) {
        return CASK_OK;
    }
    centers = cask_alloc(count, sizeof *centers);
    if (centers == NULL) {
        CASK_TRY(cask_error_memory(err, count * sizeof *centers, "class centres"));
    }
    CASK_TRY(cask_cache_writer_read_centers(m->writer, centers, &found, err));
done:
    cask_free(centers);
    return st;
}

static enum cask_status copy_centers(struct merge *m, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (int i = 0; i < m->count && m->writer->there.centers.rows == 0; i++) {
        if (m->parts[i].centers.rows > 0) {
            CASK_TRY(copy_one(m, &m->parts[i], CASK_CACHE_CENTERS, err));
        }
    }
    CASK_TRY(name_centers(m, err));
done:
    return st;
}

static enum cask_status copy_shards(struct merge *m, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_progress bar;
    int64_t shards = m->counts->shards, have = 0;
    for (int64_t s = 0; s < shards; s++) {
        have += cask_cache_writer_has(m->writer, s);
    }
    cask_progress_begin(&bar, "merge", "shards", have, shards);
    for (int64_t s = 0; s < shards; s++) {
        if (!cask_cache_writer_has(m->writer, s)) {
            CASK_TRY(copy_one(m, &m->parts[m->owner[s]], s, err));
            cask_progress_update(&bar, ++have, "%s", "");
        }
    }
    cask_progress_end(&bar);
done:
    return st;
}

enum cask_status cask_cache_merge(const char *out, const char *const *parts, int count,
                                  struct cask_merge_counts *counts, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct merge m = {.count = count, .counts = counts};
    *counts = (struct cask_merge_counts){0};
    m.parts = cask_alloc((size_t)count, sizeof *m.parts);
    if (m.parts == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *m.parts, "list of parts"));
    }
    CASK_TRY(check_paths(out, parts, count, err));
    CASK_TRY(open_parts(&m, parts, err));
    counts->shards = m.parts[0].shards;
    CASK_TRY(cask_cache_writer_open(out, &m.parts[0].file.manifest, 1, &m.writer, err));
    CASK_TRY(copy_shards(&m, err));
    CASK_TRY(copy_centers(&m, err));
    for (int i = 0; i < count; i++) {
        CASK_TRY(cask_cache_writer_take_bad(m.writer, parts[i], err));
    }
    CASK_TRY(cask_cache_writer_finish(m.writer, err));
done:
    cask_cache_writer_close(m.writer);
    for (int i = 0; m.parts != NULL && i < count; i++) {
        cask_published_release(&m.parts[i]);
    }
    cask_free(m.parts);
    cask_free(m.owner);
    return st;
}
