/* A finished shard goes to disk beside the making of the next: same bytes, same order, and an error
 * of the disk is told, while what is finished is kept. The disk is held by the test hook of
 * common/file.h, so that nothing here depends on how fast anything is. */
#include "tests/support/test.h"

#include <errno.h>
#include <time.h>

#include "common/rng.h"
#include "precompute/publisher.h"
#include "tests/support/cache_fixture.h"

enum { SHARDS = 5, IMAGES = 250, SHARD = 60 };

struct scene {
    struct cask_manifest manifest;
    struct fixture fixture;
    struct cask_cache_writer *writer;
    struct publisher publisher;
    char folder[256], whole[300], built[300];
};

static void open_scene(struct scene *s)
{
    struct cask_error err = {0};
    *s = (struct scene){.manifest = fixture_manifest(IMAGES, 90, 16, 6, SHARD, CASK_EMBEDDING_F16)};
    test_make_folder(s->folder);
    snprintf(s->whole, sizeof s->whole, "%s/whole", s->folder);
    snprintf(s->built, sizeof s->built, "%s/built", s->folder);
    assert_ok(fixture_build(s->whole, &s->manifest, &err));
    fixture_open(&s->fixture, &s->manifest);
    assert_ok(cask_cache_writer_open(s->built, &s->manifest, 2, &s->writer, &err));
    s->publisher = (struct publisher){.writer = s->writer};
}

static void close_scene(struct scene *s)
{
    cask_file_set_fault(NULL, NULL);
    publisher_release(&s->publisher);
    cask_cache_writer_close(s->writer);
    fixture_close(&s->fixture);
    test_remove_folder(s->folder);
}

static void make_shard(struct scene *s, int64_t shard)
{
    struct cask_error err = {0};
    int64_t end = shard + 1 < SHARDS ? (shard + 1) * SHARD : IMAGES;
    assert_ok(cask_cache_writer_begin(s->writer, shard, &err));
    for (int64_t row = shard * SHARD; row < end; row++) {
        struct cask_cache_row one = fixture_row(&s->fixture, row);
        assert_ok(cask_cache_writer_append(s->writer, &one, 1, &err));
    }
}

static enum cask_status give(struct scene *s, int64_t shard, struct cask_error *err)
{
    struct cask_lease *lease = NULL;
    return publisher_give_shard(&s->publisher, shard, SHARD, &lease, err);
}

/* Finishes what is missing with a writer of its own and compares with the undisturbed build. */
static void assert_ends_like_the_whole(struct scene *s)
{
    struct cask_error err = {0};
    char what[512];
    assert_ok(fixture_build(s->built, &s->manifest, &err));
    if (!fixture_same_folders(s->whole, s->built, what)) {
        fail_msg("differs from the undisturbed build: %s", what);
    }
}

/* ---------------------------------------------------------------- a disk that is held */

struct disk {
    const char *call; /* that is held */
    atomic_bool open;
    bool late; /* nobody opened it: publishing is waited for */
};

static int held(const char *call, const char *path, size_t *bytes, void *user)
{
    struct disk *disk = user;
    const struct timespec pause = {0, 1000000};
    int turns = 0;
    (void)path;
    (void)bytes;
    while (strcmp(call, disk->call) == 0 && !atomic_load(&disk->open) && !disk->late) {
        nanosleep(&pause, NULL);
        disk->late = ++turns > 20000;
    }
    return 0;
}

/* Lets what is on its way arrive, and holds what comes next. */
static void let_pass(struct publisher *publisher, struct disk *disk)
{
    struct cask_error err = {0};
    atomic_store(&disk->open, true);
    assert_ok(publisher_settle(publisher, &err));
    atomic_store(&disk->open, false);
    assert_false(disk->late);
}

/* Every fsync of a shard passes only when the rows of the next one are all there. */
static void the_next_shard_is_made_meanwhile(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct scene s;
    struct disk disk = {.call = "fsync"};
    open_scene(&s);
    cask_file_set_fault(held, &disk);
    for (int64_t shard = 0; shard < SHARDS; shard++) {
        make_shard(&s, shard);
        assert_false(shard > 0 && cask_cache_writer_has(s.writer, shard - 1));
        let_pass(&s.publisher, &disk);
        assert_true(shard == 0 || cask_cache_writer_has(s.writer, shard - 1));
        assert_ok(give(&s, shard, &err));
        assert_int_equal(s.publisher.images, SHARD);
    }
    atomic_store(&disk.open, true);
    assert_ok(publisher_end(&s.publisher, CASK_OK, &err));
    assert_int_equal(s.publisher.images, 0);
    assert_true(cask_cache_writer_has(s.writer, SHARDS - 1));
    cask_file_set_fault(NULL, NULL);
    assert_ok(cask_cache_writer_finish(s.writer, &err));
    assert_ends_like_the_whole(&s);
    close_scene(&s);
}

/* ---------------------------------------------------------------- a disk that fails */

static int full_at_shard_2(const char *call, const char *path, size_t *bytes, void *user)
{
    (void)bytes;
    (void)user;
    return strcmp(call, "write") == 0 && strstr(path, "shard-00002.h5") != NULL ? ENOSPC : 0;
}

/* The error of shard 2 is known while shard 3 is being made, without waiting for its end; giving
 * shard 3 reports it too, and it is told once. */
static void an_error_stops_the_build_with_its_own_message(void **state)
{
    (void)state;
    struct cask_error err = {0};
    const struct timespec pause = {0, 1000000};
    struct scene s;
    open_scene(&s);
    cask_file_set_fault(full_at_shard_2, NULL);
    for (int64_t shard = 0; shard < 3; shard++) {
        make_shard(&s, shard);
        assert_ok(give(&s, shard, &err));
    }
    for (int i = 0; i < 10000 && publisher_check(&s.publisher, &err) == CASK_OK; i++) {
        nanosleep(&pause, NULL);
    }
    assert_refused(CASK_ERR_NO_SPACE, "shard-00002.h5", publisher_check(&s.publisher, &err));
    make_shard(&s, 3);
    err = (struct cask_error){0};
    assert_refused(CASK_ERR_NO_SPACE, "shard-00002.h5", give(&s, 3, &err));
    cask_cache_writer_abort(s.writer);
    assert_ok(publisher_check(&s.publisher, &err));
    assert_ok(publisher_end(&s.publisher, CASK_OK, &err));
    assert_true(cask_cache_writer_has(s.writer, 1));
    assert_false(cask_cache_writer_has(s.writer, 2) || cask_cache_writer_has(s.writer, 3));
    cask_file_set_fault(NULL, NULL);
    assert_ends_like_the_whole(&s);
    close_scene(&s);
}

/* An interrupt keeps the shard that is on its way; a failed disk is worth more than an interrupt,
 * and less than another error. */
static void the_end_of_a_pass_keeps_what_is_finished(void **state)
{
    (void)state;
    struct cask_error err = {0}, other = {0};
    struct scene s;
    open_scene(&s);
    make_shard(&s, 0);
    assert_ok(give(&s, 0, &err));
    cask_error_set(&err, CASK_ERR_INTERRUPTED, "interrupted");
    assert_refused(CASK_ERR_INTERRUPTED, "interrupted",
                   publisher_end(&s.publisher, CASK_ERR_INTERRUPTED, &err));
    assert_true(cask_cache_writer_has(s.writer, 0));

    cask_file_set_fault(full_at_shard_2, NULL);
    const enum cask_status before[] = {CASK_OK, CASK_ERR_INTERRUPTED, CASK_ERR_DEVICE};
    for (int i = 0; i < 3; i++) {
        make_shard(&s, 2);
        assert_ok(give(&s, 2, &err));
        cask_error_set(&other, CASK_ERR_DEVICE, "the card is gone");
        enum cask_status st = publisher_end(&s.publisher, before[i], &other);
        assert_int_equal(st, i < 2 ? CASK_ERR_NO_SPACE : CASK_ERR_DEVICE);
        assert_non_null(strstr(other.message, i < 2 ? "shard-00002.h5" : "the card is gone"));
        assert_false(cask_cache_writer_has(s.writer, 2));
    }
    cask_file_set_fault(NULL, NULL);
    assert_ends_like_the_whole(&s);
    close_scene(&s);
}

/* ---------------------------------------------------------------- staged rows */

static void fill(struct shard_rows *rows, int64_t first, int64_t count)
{
    rows->first = first;
    rows->count = count;
    for (int64_t i = 0; i < count * rows->dim; i++) {
        for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
            rows->unit[v][i] =
                (float)cask_rng_normal(3, (uint64_t)v, (uint64_t)(first * rows->dim + i));
        }
    }
}

/* Nothing of a stage is written before the next one is in memory: what is on its way is not
 * overwritten by the rows that follow. */
static void staged_rows_have_memory_of_their_own(void **state)
{
    (void)state;
    enum { COUNT = 40, DIM = 5, STAGES = 4 };
    struct cask_error err = {0};
    struct disk disk = {.call = "write"};
    struct shard_rows rows = {0}, expected = {0}, loaded = {0};
    struct staging staging;
    struct scene s;
    open_scene(&s);
    assert_ok(staging_open(s.folder, &s.manifest, &staging, &err));
    s.publisher.staging = &staging;
    assert_ok(shard_rows_create(&rows, COUNT, DIM, &err));
    assert_ok(shard_rows_create(&expected, COUNT, DIM, &err));
    assert_ok(shard_rows_create(&loaded, COUNT, DIM, &err));
    cask_file_set_fault(held, &disk);
    for (int64_t stage = 0; stage < STAGES; stage++) {
        struct cask_lease *lease = NULL;
        fill(&rows, stage * COUNT, COUNT - stage);
        let_pass(&s.publisher, &disk);
        assert_ok(publisher_give_stage(&s.publisher, stage, &rows, &lease, &err));
        assert_true(rows.capacity == COUNT && rows.dim == DIM && rows.bad != NULL);
    }
    atomic_store(&disk.open, true);
    assert_ok(publisher_end(&s.publisher, CASK_OK, &err));
    cask_file_set_fault(NULL, NULL);
    for (int64_t stage = 0; stage < STAGES; stage++) {
        fill(&expected, stage * COUNT, COUNT - stage);
        assert_ok(staging_load(&staging, stage, stage * COUNT, COUNT - stage, &loaded, &err));
        for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
            assert_memory_equal(loaded.unit[v], expected.unit[v],
                                (size_t)(COUNT - stage) * DIM * sizeof(float));
        }
    }
    shard_rows_release(&rows);
    shard_rows_release(&expected);
    shard_rows_release(&loaded);
    close_scene(&s);
}

int main(void)
{
    fixture_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_shard_is_made_meanwhile),
        cmocka_unit_test(an_error_stops_the_build_with_its_own_message),
        cmocka_unit_test(the_end_of_a_pass_keeps_what_is_finished),
        cmocka_unit_test(staged_rows_have_memory_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
