/* cache/tool/merge.c - joins parts that were built apart into one cache. */
#include <inttypes.h>

#include "cache/merge.h"
#include "cache/tool/tool.h"
#include "common/thread.h"

enum cask_status tool_merge(const struct tool_arguments *arguments, int *exit_code,
                            struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_merge_counts counts;
    const char *out = arguments->folders.values[0];
    cask_interrupt_install();
    st = cask_cache_merge(out, arguments->folders.values + 1, arguments->folders.count - 1, &counts,
                          err);
    if (st == CASK_ERR_INTERRUPTED) {
        cask_error_prefix(err, "%s keeps what was merged, the same command goes on", out);
    }
    CASK_TRY(st);
    *exit_code = 0;
    if (arguments->json) {
        struct cask_json *object = cask_json_object();
        cask_json_set_text(object, "folder", out);
        cask_json_set_int(object, "parts", arguments->folders.count - 1);
        cask_json_set_int(object, "shards", counts.shards);
        cask_json_set_int(object, "copied_shards", counts.copied);
        cask_json_set_int(object, "copied_bytes", (int64_t)counts.bytes);
        CASK_TRY(cask_json_print(object, err));
    } else {
        printf("%s: %" PRId64 " shards out of %d parts, %" PRId64 " of them (%.3f GB) copied now\n",
               out, counts.shards, arguments->folders.count - 1, counts.copied,
               (double)counts.bytes / 1e9);
    }
done:
    return st;
}
