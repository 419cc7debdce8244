/* cache/tool/verify.c - every checksum; the list of what must be built again. */
#include <inttypes.h>

#include "cache/tool/tool.h"
#include "common/log.h"
#include "common/mem.h"

struct listing {
    bool json;
    struct cask_json *bad;
    char *only; /* "3,7,centers": what precompute --only takes; NULL: nothing, or no memory */
};

static void list(int64_t shard, const struct cask_error *damage, void *user)
{
    struct listing *listing = user;
    char name[32] = "centers", *before = listing->only;
    if (shard != CASK_CACHE_CENTERS) {
        snprintf(name, sizeof name, "%" PRId64, shard);
    }
    listing->only =
        cask_format("%s%s%s", before != NULL ? before : "", before != NULL ? "," : "", name);
    cask_free(before);
    if (listing->json) {
        struct cask_json *entry = cask_json_object();
        cask_json_set_int(entry, "shard", shard);
        cask_json_set_text(entry, "damage", damage->message);
        cask_json_append(listing->bad, entry);
    } else if (shard == CASK_CACHE_CENTERS) {
        printf("bad: centers: %s\n", damage->message);
    } else {
        printf("bad: shard %" PRId64 ": %s\n", shard, damage->message);
    }
}

enum cask_status tool_verify(const struct tool_arguments *arguments, int *exit_code,
                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct listing listing = {.json = arguments->json,
                              .bad = arguments->json ? cask_json_array() : NULL};
    struct cask_verify_counts counts;
    double start = cask_now();
    st = cask_verify_folder(arguments->folders.values[0], list, &listing, &counts, err);
    if (st != CASK_OK) {
        cask_json_free(listing.bad);
        cask_free(listing.only);
        return st;
    }
    bool good = counts.bad_shards == 0 && !counts.centers_bad;
    double seconds = cask_now() - start;
    *exit_code = good ? 0 : cask_status_exit_code(CASK_ERR_FORMAT);
    if (arguments->json) {
        struct cask_json *object = cask_json_object();
        cask_json_set_bool(object, "good", good);
        cask_json_set_int(object, "shards", counts.shards);
        cask_json_set_int(object, "bad_shards", counts.bad_shards);
        cask_json_set_int(object, "bytes", (int64_t)counts.bytes);
        cask_json_set_real(object, "seconds", seconds);
        cask_json_set(object, "bad", listing.bad);
        cask_json_set_text(object, "only", listing.only != NULL ? listing.only : "");
        cask_free(listing.only);
        return cask_json_print(object, err);
    }
    if (!good) {
        printf("to build these anew: precompute --only %s, with the options the cache was built "
               "with\n",
               listing.only != NULL ? listing.only : "bad");
    }
    cask_free(listing.only);
    printf("%s: %" PRId64 " of %" PRId64 " shards good, %.3f GB read in %.2f s (%.2f GB/s)\n",
           good ? "good" : "damaged", counts.shards - counts.bad_shards, counts.shards,
           (double)counts.bytes / 1e9, seconds,
           (double)counts.bytes / 1e9 / (seconds > 0 ? seconds : 1));
    return CASK_OK;
}
