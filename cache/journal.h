/* cache/journal.h - private: what has been published, one checksummed line per file.
 *
 * journal.jsonl is only ever appended to. A line that does not check out (a torn last one, a
 * damaged one) is skipped: its shard counts as missing and is built again, to the same bytes.
 */
#ifndef CASK_CACHE_JOURNAL_H
#define CASK_CACHE_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/json.h"
#include "common/status.h"

/* One published file. */
struct cask_record {
    int64_t shard; /* CASK_CACHE_CENTERS for centers.h5 */
    int64_t rows;
    uint64_t bytes;       /* of the .h5 */
    uint64_t index_bytes; /* of the .idx */
    uint64_t index_xxh3;  /* of the whole .idx, which in turn holds the hash of the .h5 */
    double embedding_error, cosine_error; /* largest in this shard; 0 for centres */
};

struct cask_json *cask_record_to_json(const struct cask_record *record); /* NULL: no memory */
/* False where a member is missing or of another kind; ranges are the caller's matter. */
bool cask_record_from_json(const struct cask_json *json, struct cask_record *record);

typedef enum cask_status (*cask_journal_visit)(const struct cask_record *record, void *user,
                                               struct cask_error *err);
/* Calls `visit` for every good line in order and counts the others. A missing file has no lines. */
enum cask_status cask_journal_read(const char *path, cask_journal_visit visit, void *user,
                                   int64_t *bad_lines, struct cask_error *err);
/* Appends one line and syncs it to disk. A torn last line is closed first, so that it spoils no
 * more than itself. */
enum cask_status cask_journal_append(const char *path, const struct cask_record *record,
                                     struct cask_error *err);

#endif
