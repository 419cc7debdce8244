/* cache/published.h - private: which files of a cache are there and whole, finished cache or not.
 *
 * What the manifest lists, if it is final, and after it what the journal lists, later lines first;
 * of that, what is on disk with the right sizes and an index that hashes as recorded. The data
 * itself is hashed when it is read: to hash a whole cache at every start would be a wait.
 */
#ifndef CASK_CACHE_PUBLISHED_H
#define CASK_CACHE_PUBLISHED_H

#include "cache/manifest.h"

struct cask_published {
    char *folder, *manifest_path, *journal_path;
    struct cask_manifest_file file; /* manifest.json */
    int64_t shards;                 /* of the manifest */
    struct cask_record *records;    /* [shards]; rows == 0: not published */
    struct cask_record centers;     /* rows == 0: not published */
    /* [shards] and the centres: being built anew, so that what is on disk does not count */
    bool *redo, redo_centers;
};

/* File names only. */
enum cask_status cask_published_init(struct cask_published *published, const char *folder,
                                     struct cask_error *err);
/* Fills file, shards and records; the first time of a folder that has a manifest. */
enum cask_status cask_published_read(struct cask_published *published, struct cask_error *err);
/* The same where `file` was filled by the caller. */
enum cask_status cask_published_read_records(struct cask_published *published,
                                             struct cask_error *err);
/* Learns of what others have published since. */
enum cask_status cask_published_refresh(struct cask_published *published, struct cask_error *err);
void cask_published_release(struct cask_published *published); /* accepts a zeroed one */

/* "DIR/shard-00012" or "DIR/centers", and what is known of it. */
char *cask_published_stem(const struct cask_published *published, int64_t shard);
struct cask_record *cask_published_record(struct cask_published *published, int64_t shard);

#endif
