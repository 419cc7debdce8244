/* Which shards a run makes: all that are missing, a range of them, or damaged ones anew. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "precompute/build.h"

int64_t build_shard_first(const struct build *b, int64_t shard)
{
    return shard * b->manifest.shard_images;
}

int64_t build_shard_count(const struct build *b, int64_t shard)
{
    int64_t left = b->manifest.images - build_shard_first(b, shard);
    return left < b->manifest.shard_images ? left : b->manifest.shard_images;
}

int64_t build_written(const struct build *b)
{
    int64_t have = 0;
    for (int64_t s = 0; s < b->shards; s++) {
        have += cask_cache_writer_has(b->writer, s) ? build_shard_count(b, s) : 0;
    }
    return have;
}

int64_t build_missing(const struct build *b)
{
    int64_t missing = 0;
    for (int64_t s = 0; s < b->shards; s++) {
        missing += b->mine[s] && !cask_cache_writer_has(b->writer, s) ? build_shard_count(b, s) : 0;
    }
    return missing;
}

bool build_all_there(const struct build *b)
{
    return build_written(b) == b->manifest.images &&
           cask_cache_writer_has(b->writer, CASK_CACHE_CENTERS);
}

/* ---------------------------------------------------------------- options */

/* "A:B" */
static bool parse_range(const char *text, int64_t *first, int64_t *end)
{
    char *colon, *last;
    *first = strtoll(text, &colon, 10);
    if (colon == text || *colon != ':') {
        return false;
    }
    *end = strtoll(colon + 1, &last, 10);
    return last > colon + 1 && *last == '\0' && *first >= 0 && *end > *first;
}

enum cask_status build_check_options(const struct precompute_options *options,
                                     struct cask_error *err)
{
    int64_t first, end;
    int temperatures = options->temperatures.count;
    const char *missing = options->teacher[0] == 0   ? "--teacher"
                          : options->weights[0] == 0 ? "--weights"
                          : options->data[0] == 0    ? "--data"
                          : options->out[0] == 0     ? "--out"
                                                     : NULL;
    if (missing != NULL) {
        return cask_error_set(err, CASK_ERR_USAGE, "expected %s; see --help", missing);
    }
    if (strcmp(options->backend, "ref64") == 0) { /* and not after hours of teacher */
        return cask_error_set(err, CASK_ERR_USAGE,
                              "--backend ref64: expected cpu or ref; the cosines of a cache are "
                              "products of float32 matrices");
    }
    if (temperatures < 1 || temperatures > CASK_CACHE_TEMPERATURES) {
        return cask_error_set(err, CASK_ERR_USAGE, "--temperatures: expected 1 to %d, found %d",
                              CASK_CACHE_TEMPERATURES, temperatures);
    }
    if (options->shards[0] != 0 && !parse_range(options->shards, &first, &end)) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "--shards %s: expected FIRST:END, as 0:20 for shards 0 to 19",
                              options->shards);
    }
    if (options->only.count > 0 && (options->shards[0] != 0 || options->parts.count > 0)) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "--only mends a finished cache: it goes with neither --shards nor "
                              "--parts");
    }
    return CASK_OK;
}

/* ---------------------------------------------------------------- --only */

static enum cask_status redo(struct build *b, int64_t shard, struct cask_error *err)
{
    if (shard != CASK_CACHE_CENTERS) {
        if (shard < 0 || shard >= b->shards) {
            return cask_error_set(err, CASK_ERR_USAGE,
                                  "--only %lld: the cache has shards 0 to %lld", (long long)shard,
                                  (long long)b->shards - 1);
        }
        b->mine[shard] = true;
    }
    return cask_cache_writer_rebuild(b->writer, shard, err);
}

struct finding {
    struct build *build;
    enum cask_status status;
    struct cask_error *err;
};

static void redo_damaged(int64_t shard, const struct cask_error *damage, void *user)
{
    struct finding *finding = user;
    cask_log_warn("%s: it is built anew", damage->message);
    if (finding->status == CASK_OK) {
        finding->status = redo(finding->build, shard, finding->err);
    }
}

/* One item of the list: "3", "centers", or "bad" for whatever `cachetool verify` would list. */
static enum cask_status redo_item(struct build *b, const char *item, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *end;
    if (strcmp(item, "bad") == 0) {
        struct finding finding = {.build = b, .err = err};
        struct cask_verify_counts counts;
        CASK_TRY(cask_verify_folder(b->options->out, redo_damaged, &finding, &counts, err));
        CASK_TRY(finding.status);
    } else if (strcmp(item, "centers") == 0) {
        CASK_TRY(redo(b, CASK_CACHE_CENTERS, err));
    } else {
        long long shard = strtoll(item, &end, 10);
        if (end == item || *end != '\0') {
            CASK_TRY(cask_error_set(err, CASK_ERR_USAGE,
                                    "--only %s: expected shard numbers, \"centers\" or \"bad\"",
                                    item));
        }
        CASK_TRY(redo(b, shard, err));
    }
done:
    return st;
}

/* `list` is "3,7,centers". */
static enum cask_status redo_list(struct build *b, const char *list, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *text = cask_strdup(list), *rest = text;
    if (text == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(list), "--only"));
    }
    for (char *item; (item = strsep(&rest, ",")) != NULL;) {
        CASK_TRY(redo_item(b, item, err));
    }
done:
    cask_free(text);
    return st;
}

/* Shards that are not there at all are mended too. */
static enum cask_status plan_only(struct build *b, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (!b->complete) {
        CASK_TRY(cask_error_set(err, CASK_ERR_USAGE,
                                "--only: %s is no finished cache; without --only the same command "
                                "builds what is missing",
                                b->options->out));
    }
    for (int64_t s = 0; s < b->shards; s++) {
        b->mine[s] = !cask_cache_writer_has(b->writer, s);
    }
    for (int i = 0; i < b->options->only.count; i++) {
        CASK_TRY(redo_list(b, b->options->only.values[i], err));
    }
done:
    return st;
}

enum cask_status build_plan(struct build *b, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t first = 0, end = b->shards;
    b->mine = cask_alloc((size_t)b->shards, sizeof *b->mine);
    if (b->mine == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)b->shards, "list of shards"));
    }
    if (b->options->only.count > 0) {
        return plan_only(b, err);
    }
    if (b->options->shards[0] != 0) {
        parse_range(b->options->shards, &first, &end);
        if (end > b->shards) {
            CASK_TRY(cask_error_set(err, CASK_ERR_USAGE,
                                    "--shards %s: %lld images in shards of %lld are shards 0:%lld",
                                    b->options->shards, (long long)b->manifest.images,
                                    (long long)b->manifest.shard_images, (long long)b->shards));
        }
    }
    for (int64_t s = first; s < end; s++) {
        b->mine[s] = true;
    }
done:
    return st;
}
