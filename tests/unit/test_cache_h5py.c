/* A cache opened by h5py + hdf5plugin says what our reader says, and a shard that h5py wrote is
 * read by ours. Skipped where Debian's python3-h5py and python3-hdf5plugin are not installed. */
#include "tests/support/test.h"

#include <sys/wait.h>

#include "cache/h5_locate.h"
#include "cache/journal.h"
#include "cache/shard.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/mem.h"
#include "tests/support/cache_fixture.h"

static void save(const char *folder, const char *name, const void *data, size_t bytes)
{
    struct cask_error err = {0};
    char path[600];
    snprintf(path, sizeof path, "%s/expected-%s.bin", folder, name);
    assert_ok(cask_file_write_all(path, data, bytes, &err));
}

static void save_view(const char *folder, struct cask_cache *cache, int view)
{
    struct cask_error err = {0};
    const struct cask_manifest *m = cask_cache_manifest(cache);
    size_t n = (size_t)m->images, d = (size_t)m->embedding, k = (size_t)m->topk,
           t = (size_t)m->temperature_count;
    float *buffer = calloc(n * (d + 2 * k + 2 + t), sizeof(float));
    int64_t *rows = calloc(n, sizeof *rows);
    bool *mirror = calloc(n, sizeof *mirror);
    for (size_t i = 0; i < n; i++) {
        rows[i] = (int64_t)i;
        mirror[i] = view == 1;
    }
    struct cask_cache_gather out = {
        .embedding = buffer, .topk_cosine = buffer + n * d, .norm = buffer + n * (d + k)};
    out.label_cosine = out.norm + n;
    out.lse = out.label_cosine + n;
    out.topk_index = (uint32_t *)(void *)(out.lse + n * t);
    assert_ok(cask_cache_gather(cache, rows, mirror, (int)n, &out, &err));
    const struct {
        const char *name;
        const void *data;
        size_t bytes;
    } arrays[] = {{"embedding", out.embedding, n * d * 4},
                  {"topk_cosine", out.topk_cosine, n * k * 4},
                  {"norm", out.norm, n * 4},
                  {"label_cosine", out.label_cosine, n * 4},
                  {"lse", out.lse, n * t * 4},
                  {"topk_index", out.topk_index, n * k * 4}};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "%d-%s", view, arrays[i].name);
        save(folder, name, arrays[i].data, arrays[i].bytes);
    }
    free(buffer);
    free(rows);
    free(mirror);
}

static void save_shared(const char *folder, struct cask_cache *cache)
{
    struct cask_error err = {0};
    size_t n = (size_t)cask_cache_rows(cache);
    const struct cask_manifest *m = cask_cache_manifest(cache);
    uint32_t *label = calloc(n, sizeof *label);
    uint64_t *id = calloc(2 * n, sizeof *id);
    const float *centers = NULL;
    for (size_t i = 0; i < n; i++) {
        label[i] = cask_cache_label(cache, (int64_t)i);
        id[i] = cask_cache_sample_id(cache, (int64_t)i);
        id[n + i] = cask_cache_source_offset(cache, (int64_t)i);
    }
    assert_ok(cask_cache_centers(cache, &centers, &err));
    save(folder, "label", label, n * 4);
    save(folder, "sample_id", id, n * 8);
    save(folder, "source_offset", id + n, n * 8);
    save(folder, "centers", centers, (size_t)m->classes * (size_t)m->embedding * 4);
    free(label);
    free(id);
}

/* The rewritten shard, indexed by h5_locate alone, must hold the same stored arrays after decoding.
 */
static void read_rewritten(const char *path, const struct cask_cache *cache)
{
    struct cask_error err = {0};
    struct cask_layout layout;
    struct cask_sidecar sidecar = {.kind = CASK_SIDECAR_SHARD};
    uint8_t *data = NULL;
    size_t bytes = 0;
    char stem[600], index_path[640];
    struct cask_map map = {0};
    cask_layout_shard(cask_cache_manifest(cache), 0, &layout);
    assert_ok(cask_map_open(&map, path, &err));
    assert_ok(cask_sidecar_allocate(&sidecar, &layout, &err));
    assert_ok(cask_h5_locate(map.data, map.bytes, &layout, sidecar.chunks, &err));
    sidecar.file_bytes = map.bytes;
    cask_sidecar_hash(&sidecar, &layout, map.data);
    assert_ok(cask_sidecar_encode(&sidecar, &layout, &data, &bytes, &err));
    snprintf(stem, sizeof stem, "%.*s", (int)strlen(path) - 3, path);
    snprintf(index_path, sizeof index_path, "%s.idx", stem);
    assert_ok(cask_file_write_all(index_path, data, bytes, &err));
    struct cask_record record = {.rows = (int64_t)layout.rows,
                                 .bytes = map.bytes,
                                 .index_bytes = bytes,
                                 .index_xxh3 = cask_xxh3(data, bytes)};
    struct cask_shard shard;
    assert_ok(cask_shard_open(&shard, stem, &record, &layout, CASK_VERIFY_ALWAYS, &err));
    for (int i = 0; i < layout.array_count; i++) {
        if (layout.arrays[i].row_elements > 0) {
            assert_ok(cask_shard_check_array(&shard, i, &err));
        }
    }
    assert_memory_equal(cask_shard_rows(&shard, CASK_ARRAY_SAMPLE_ID),
                        &(uint64_t){(uint64_t)1 << 40}, 8);
    cask_shard_close(&shard);
    cask_map_close(&map);
    cask_sidecar_release(&sidecar);
    cask_free(data);
}

static void check_type(enum cask_embedding_type type)
{
    struct cask_error err = {0};
    struct cask_cache *cache = NULL;
    char folder[256], expected[256], command[1200], rewritten[300];
    const char *source = getenv("CASK_SOURCE");
    test_make_folder(folder);
    test_make_folder(expected);
    struct cask_manifest m = fixture_manifest(700, 2000, 64, 32, 256, type);
    snprintf(m.centers_origin, sizeof m.centers_origin, "mean");
    assert_ok(fixture_build(folder, &m, &err));
    assert_ok(cask_cache_open(folder, CASK_VERIFY_ALWAYS, &cache, &err));
    save_view(expected, cache, 0);
    save_view(expected, cache, 1);
    save_shared(expected, cache);
    snprintf(rewritten, sizeof rewritten, "%s/rewritten.h5", expected);
    snprintf(command, sizeof command,
             "/usr/bin/python3 '%s/tests/e2e/cache_h5py.py' '%s' '%s' '%s'", source ? source : ".",
             folder, expected, rewritten);
    int status = system(command);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("%s", command);
    }
    read_rewritten(rewritten, cache);
    cask_cache_close(cache);
    test_remove_folder(folder);
    test_remove_folder(expected);
}

static void test_f16(void **state)
{
    (void)state;
    check_type(CASK_EMBEDDING_F16);
}

static void test_int8(void **state)
{
    (void)state;
    check_type(CASK_EMBEDDING_INT8);
}

int main(void)
{
    if (system("/usr/bin/python3 -c 'import h5py, hdf5plugin, numpy; assert "
               "h5py.h5z.filter_avail(hdf5plugin.LZ4_ID)' 2>/dev/null") != 0) {
        printf("skipped: /usr/bin/python3 has no h5py with the LZ4 filter (apt install "
               "python3-h5py python3-hdf5plugin hdf5-filter-plugin)\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_f16), cmocka_unit_test(test_int8)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
