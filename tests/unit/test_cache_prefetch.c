/* Threads that read ahead change no byte, take any request, and bring in every page that a gather
 * then reads. */
#include "tests/support/test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "tests/support/cache_fixture.h"

enum { IMAGES = 3000, DIMENSION = 64, TOPK = 16, BATCH = 128 };
static char folder[256];

static int setup(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_manifest m =
        fixture_manifest(IMAGES, 600, DIMENSION, TOPK, 1024, CASK_EMBEDDING_INT8);
    char base[] = "/var/tmp/cask-test-XXXXXX"; /* a disk: memory cannot be cold */
    assert_non_null(mkdtemp(base));
    snprintf(folder, sizeof folder, "%s", base);
    assert_ok(fixture_build(folder, &m, &err));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_remove_folder(folder);
    return 0;
}

struct batch {
    int64_t rows[BATCH];
    bool mirror[BATCH];
    float embedding[BATCH * DIMENSION], norm[BATCH], cosine[BATCH * TOPK], label[BATCH],
        lse[BATCH * 2];
    uint32_t index[BATCH * TOPK];
};

static void draw(struct batch *batch, uint64_t number)
{
    for (uint64_t i = 0; i < BATCH; i++) {
        batch->rows[i] = (int64_t)cask_rng_below(1, number, i, IMAGES);
        batch->mirror[i] = cask_rng_u64(2, number, i) & 1;
    }
}

static struct cask_cache_gather everything(struct batch *batch)
{
    return (struct cask_cache_gather){batch->embedding, batch->norm,  batch->index,
                                      batch->cosine,    batch->label, batch->lse};
}

/* The page cache forgets the shards; false where it cannot (a file system in memory). */
static bool make_cold(void)
{
    bool cold = true;
    for (int shard = 0; shard < 3; shard++) {
        char path[300];
        unsigned char resident[4096];
        struct cask_map map;
        struct cask_error err = {0};
        snprintf(path, sizeof path, "%s/shard-%05d.h5", folder, shard);
        int fd = open(path, O_RDONLY);
        assert_true(fd >= 0);
        assert_int_equal(fdatasync(fd), 0);
        assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
        close(fd);
        assert_ok(cask_map_open(&map, path, &err));
        assert_true(map.bytes / 4096 < sizeof resident);
        assert_int_equal(mincore((void *)(uintptr_t)map.data, map.bytes, resident), 0);
        for (size_t page = 0; page < map.bytes / 4096; page++) {
            cold = cold && (resident[page] & 1) == 0;
        }
        cask_map_close(&map);
    }
    return cold;
}

static long slow_faults(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_THREAD, &usage), 0);
    return usage.ru_majflt;
}

static void pause_milliseconds(long milliseconds)
{
    const struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static void gather_finds_its_pages_in_memory(void **state)
{
    (void)state;
    static struct batch batch;
    struct cask_error err = {0};
    draw(&batch, 7);
    struct cask_cache_gather out = everything(&batch);
    long faults[2] = {0, 0};
    for (int ahead = 0; ahead < 2; ahead++) {
        struct cask_cache *cache = NULL;
        struct cask_prefetch *prefetch = NULL;
        if (!make_cold()) {
            print_message("not tried: %s is no disk, or its page cache cannot be emptied\n",
                          folder);
            return;
        }
        assert_ok(cask_cache_open(folder, CASK_VERIFY_FIRST, &cache, &err));
        if (ahead) {
            assert_ok(cask_prefetch_start(cache, &out, 8, &prefetch, &err));
            cask_prefetch_rows(prefetch, batch.rows, batch.mirror, BATCH);
            pause_milliseconds(1000);
        }
        long before = slow_faults();
        assert_ok(cask_cache_gather(cache, batch.rows, batch.mirror, BATCH, &out, &err));
        faults[ahead] = slow_faults() - before;
        cask_prefetch_stop(prefetch);
        cask_cache_close(cache);
    }
    printf("%ld page faults that went to the disk, %ld after reading ahead\n", faults[0],
           faults[1]);
    assert_true(faults[0] > 20);
    assert_true(faults[1] <= faults[0] / 10);
}

static void bytes_do_not_depend_on_it(void **state)
{
    (void)state;
    static struct batch plain, ahead;
    struct cask_error err = {0};
    struct cask_cache *cache = NULL;
    struct cask_prefetch *prefetch = NULL;
    assert_ok(cask_cache_open(folder, CASK_VERIFY_ALWAYS, &cache, &err));
    struct cask_cache_gather from = everything(&plain), to = everything(&ahead);
    assert_ok(cask_prefetch_start(cache, &to, 3, &prefetch, &err));
    for (uint64_t n = 0; n < 40; n++) {
        memset(&plain, 0, sizeof plain);
        memset(&ahead, 0, sizeof ahead);
        draw(&plain, n);
        draw(&ahead, n + 1);
        cask_prefetch_rows(prefetch, ahead.rows, ahead.mirror, BATCH);
        draw(&ahead, n);
        assert_ok(cask_cache_gather(cache, ahead.rows, ahead.mirror, BATCH, &to, &err));
        assert_ok(cask_cache_gather(cache, plain.rows, plain.mirror, BATCH, &from, &err));
        assert_memory_equal(&plain, &ahead, sizeof plain);
    }
    cask_prefetch_stop(prefetch);
    cask_cache_close(cache);
}

/* More rows than may wait, rows that do not exist, no mirror, nothing wanted, stopped while busy.
 */
static void any_request_is_taken(void **state)
{
    (void)state;
    static int64_t rows[3 * CASK_PREFETCH_ROWS];
    struct cask_error err = {0};
    struct cask_cache *cache = NULL;
    struct cask_prefetch *prefetch = NULL;
    static struct batch batch;
    for (int64_t i = 0; i < 3 * CASK_PREFETCH_ROWS; i++) {
        rows[i] = i % 5 == 0 ? -i : i % 7 == 0 ? INT64_MAX - i : i % IMAGES;
    }
    assert_ok(cask_cache_open(folder, CASK_VERIFY_OFF, &cache, &err));
    const struct cask_cache_gather some = everything(&batch), nothing = {0};
    const struct cask_cache_gather *wanted[] = {&some, &nothing};
    for (int w = 0; w < 2; w++) {
        for (int threads = 1; threads <= 16; threads += 5) {
            assert_ok(cask_prefetch_start(cache, wanted[w], threads, &prefetch, &err));
            cask_prefetch_rows(prefetch, rows, NULL, 3 * CASK_PREFETCH_ROWS);
            cask_prefetch_rows(prefetch, rows, NULL, 0);
            cask_prefetch_stop(prefetch);
        }
    }
    cask_prefetch_stop(NULL);
    for (long n = 1, done = 0; !done; n++) {
        cask_mem_fail_after(n);
        enum cask_status st = cask_prefetch_start(cache, &some, 2, &prefetch, &err);
        cask_mem_fail_after(0);
        done = st == CASK_OK;
        assert_true(done || (st == CASK_ERR_MEMORY && prefetch == NULL));
    }
    cask_prefetch_stop(prefetch);
    cask_cache_close(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gather_finds_its_pages_in_memory),
        cmocka_unit_test(bytes_do_not_depend_on_it),
        cmocka_unit_test(any_request_is_taken),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
