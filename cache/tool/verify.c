/* cache/tool/verify.c - every checksum; the list of what must be built again. */
#include <inttypes.h>

#include "cache/tool/tool.h"
#include "cache/verify.h"
#include "common/log.h"

struct listing {
    bool json;
    struct cask_json *bad;
};

static void list(int64_t shard, const struct cask_error *damage, void *user)
{
    struct listing *listing = user;
    if (listing->json) {
        struct cask_json *entry = cask_json_object();
        cask_json_set_int(entry, "shard", shard);
        cask_json_set_text(entry, "damage", damage->message);
        cask_json_append(listing->bad, entry);
    } else if (shard == CASK_RECORD_CENTERS) {
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
    st = cask_verify_folder(arguments->positional[0], list, &listing, &counts, err);
    if (st != CASK_OK) {
        cask_json_free(listing.bad);
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
        return tool_print_json(object, err);
    }
    printf("%s: %" PRId64 " of %" PRId64 " shards good, %.3f GB read in %.2f s (%.2f GB/s)\n",
           good ? "good" : "damaged", counts.shards - counts.bad_shards, counts.shards,
           (double)counts.bytes / 1e9, seconds,
           (double)counts.bytes / 1e9 / (seconds > 0 ? seconds : 1));
    return CASK_OK;
}
