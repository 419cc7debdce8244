/* cache/verify.h - private: is every byte of a cache what was published? */
#ifndef CASK_CACHE_VERIFY_H
#define CASK_CACHE_VERIFY_H

#include "cache/manifest.h"

struct cask_verify_counts {
    int64_t shards, bad_shards;
    bool centers_bad;
    uint64_t bytes; /* read */
};
/* Called once per damaged file; shard is CASK_RECORD_CENTERS for the centres. `damage` says file,
 * array and rows. */
typedef void (*cask_verify_report)(int64_t shard, const struct cask_error *damage, void *user);

/* Checks sidecars, every span of every array, that every chunk decodes to indices in range, and the
 * whole-file hashes. Fails only where there is nothing to check (no readable, finished manifest).
 */
enum cask_status cask_verify_folder(const char *folder, cask_verify_report report, void *user,
                                    struct cask_verify_counts *counts, struct cask_error *err);

#endif
