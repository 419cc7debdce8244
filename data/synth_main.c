/* synth-faces - writes a folder of generated faces, and verification pairs over it. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/config.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/rng.h"
#include "common/thread.h"
#include "data/data.h"
#include "data/synth.h"

#define STREAM_PAIRS ((uint64_t)0x70616972 << 32) /* "pair" */

static const char usage[] =
    "usage: synth-faces --out DIR [options]\n"
    "\n"
    "Draws cartoon faces to DIR/id_0000/id_0000_0001.jpg and so on. Identities are numbered from\n"
    "--first-identity, so two calls can give persons that do not overlap. --pairs writes a\n"
    "verification list over them in LFW's format; its folds share no person if there are enough.\n";

struct options {
    const char *out, *pairs;
    int64_t identities, images, size, seed, first_identity, pairs_per_fold, folds, threads;
};

#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {"out", CASK_CONFIG_TEXT, ROW(out), "", 0, 0, NULL, "DIR", "folder to write to"},
    {"identities", CASK_CONFIG_INT, ROW(identities), "200", 1, 1000000, NULL, "N", "persons"},
    {"images", CASK_CONFIG_INT, ROW(images), "20", 1, 9999, NULL, "N", "images a person"},
    {"size", CASK_CONFIG_INT, ROW(size), "112", 16, 1024, NULL, "N", "width and height in pixels"},
    {"seed", CASK_CONFIG_INT, ROW(seed), "1", 0, 1e15, NULL, "N", "another seed: other persons"},
    {"first_identity", CASK_CONFIG_INT, ROW(first_identity), "0", 0, 1e9, NULL, "N",
     "number of the first person"},
    {"pairs", CASK_CONFIG_TEXT, ROW(pairs), "", 0, 0, NULL, "FILE", "also write pairs to FILE"},
    {"pairs_per_fold", CASK_CONFIG_INT, ROW(pairs_per_fold), "60", 1, 100000, NULL, "N",
     "same pairs, and as many different pairs, in each fold"},
    {"folds", CASK_CONFIG_INT, ROW(folds), "10", 1, 1000, NULL, "N", "folds of the pairs file"},
    {"threads", CASK_CONFIG_INT, ROW(threads), "0", 0, 256, NULL, "N", "CPU threads; 0: all"},
};

struct work {
    const struct options *options;
    atomic_int failed; /* the first thread that fails fills err */
    enum cask_status status;
    struct cask_error err;
};

static enum cask_status write_image(const char *path, const uint8_t *data, size_t bytes,
                                    struct cask_error *err)
{
    /* Not cask_file_write_all: its fsync would cost more than the drawing, and a folder that was
     * not finished is simply made again. */
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        return cask_error_errno(err, errno, "%s: cannot create", path);
    }
    bool good = fwrite(data, 1, bytes, file) == bytes;
    int errnum = errno;
    if (fclose(file) != 0 && good) {
        good = false;
        errnum = errno;
    }
    return good ? CASK_OK : cask_error_errno(err, errnum, "%s: cannot write", path);
}

static enum cask_status make_identity(const struct options *options, int64_t number,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t pixels = (size_t)options->size * (size_t)options->size * 3, bytes = 0;
    uint8_t *rgb = cask_alloc(pixels, 1), *jpeg = NULL;
    char *path = NULL;
    char *folder = cask_format("%s/id_%04lld", options->out, (long long)number);
    if (rgb == NULL || folder == NULL) {
        CASK_TRY(cask_error_memory(err, pixels, "an image"));
    }
    CASK_TRY(cask_folder_create(folder, err));
    for (int64_t image = 1; image <= options->images; image++) {
        CASK_TRY(cask_interrupt_check(err));
        CASK_TRY(cask_synth_face((uint64_t)options->seed, (uint32_t)number, (uint32_t)image,
                                 (int)options->size, rgb, err));
        CASK_TRY(
            cask_encode_jpeg(rgb, (int)options->size, (int)options->size, 95, &jpeg, &bytes, err));
        path = cask_format("%s/id_%04lld_%04lld.jpg", folder, (long long)number, (long long)image);
        if (path == NULL) {
            CASK_TRY(cask_error_memory(err, strlen(folder) + 32, "a path"));
        }
        CASK_TRY(write_image(path, jpeg, bytes, err));
        cask_free(path);
        cask_free(jpeg);
        path = NULL;
        jpeg = NULL;
    }
done:
    cask_free(path);
    cask_free(jpeg);
    cask_free(rgb);
    cask_free(folder);
    return st;
}

static void make_one(void *user, int64_t index, int worker)
{
    struct work *work = user;
    struct cask_error err = {0};
    (void)worker;
    if (atomic_load(&work->failed) != 0) {
        return;
    }
    enum cask_status st = make_identity(work->options, work->options->first_identity + index, &err);
    if (st != CASK_OK && atomic_exchange(&work->failed, 1) == 0) {
        work->status = st;
        work->err = err;
    }
}

struct dice {
    uint64_t seed, counter;
};

static int64_t roll_below(struct dice *dice, int64_t bound)
{
    return (int64_t)cask_rng_below(dice->seed, STREAM_PAIRS, dice->counter++, (uint64_t)bound);
}

/* Another number than `not` in [0, bound). */
static int64_t roll_other(struct dice *dice, int64_t bound, int64_t not )
{
    int64_t value = roll_below(dice, bound - 1);
    return value + (value >= not );
}

static void write_fold(FILE *file, const struct options *options, int64_t fold, struct dice *dice)
{
    int64_t count = options->identities, first = options->first_identity;
    if (count >= 2 * options->folds) { /* each fold has its own persons */
        int64_t begin = fold * count / options->folds;
        count = (fold + 1) * count / options->folds - begin;
        first += begin;
    }
    for (int64_t i = 0; i < options->pairs_per_fold; i++) {
        int64_t who = first + roll_below(dice, count), a = roll_below(dice, options->images);
        fprintf(file, "id_%04lld\t%lld\t%lld\n", (long long)who, (long long)a + 1,
                (long long)roll_other(dice, options->images, a) + 1);
    }
    for (int64_t i = 0; i < options->pairs_per_fold; i++) {
        int64_t a = roll_below(dice, count), b = roll_other(dice, count, a);
        int64_t image_a = roll_below(dice, options->images);
        int64_t image_b = roll_below(dice, options->images);
        fprintf(file, "id_%04lld\t%lld\tid_%04lld\t%lld\n", (long long)(first + a),
                (long long)image_a + 1, (long long)(first + b), (long long)image_b + 1);
    }
}

static enum cask_status write_pairs(const struct options *options, struct cask_error *err)
{
    struct dice dice = {(uint64_t)options->seed, (uint64_t)options->first_identity << 32};
    if (options->identities < 2 || options->images < 2) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "--pairs needs at least 2 identities of 2 images, found %lld of %lld",
                              (long long)options->identities, (long long)options->images);
    }
    FILE *file = fopen(options->pairs, "w");
    if (file == NULL) {
        return cask_error_errno(err, errno, "%s: cannot create", options->pairs);
    }
    fprintf(file, "%lld\t%lld\n", (long long)options->folds, (long long)options->pairs_per_fold);
    for (int64_t fold = 0; fold < options->folds; fold++) {
        write_fold(file, options, fold, &dice);
    }
    bool good = ferror(file) == 0;
    good = fclose(file) == 0 && good;
    return good ? CASK_OK : cask_error_errno(err, errno, "%s: cannot write", options->pairs);
}

static enum cask_status make_all(const struct options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_pool *pool = NULL;
    struct work work = {.options = options};
    enum { GROUP = 16 }; /* identities between two looks at the progress bar */
    struct cask_progress bar;
    int threads = options->threads > 0 ? (int)options->threads : cask_cpu_count();
    CASK_TRY(cask_folder_create(options->out, err));
    CASK_TRY(cask_pool_create(threads, &pool, err));
    struct options group = *options;
    work.options = &group;
    cask_progress_begin(&bar, "faces", "images", 0, options->identities * options->images);
    for (int64_t done = 0; done < options->identities && work.status == CASK_OK; done += GROUP) {
        int64_t left = options->identities - done, count = left < GROUP ? left : GROUP;
        group.first_identity = options->first_identity + done;
        cask_pool_run(pool, count, make_one, &work);
        cask_progress_update(&bar, (done + count) * options->images, " ");
    }
    cask_progress_end(&bar);
    if (work.status != CASK_OK) {
        *err = work.err;
        CASK_TRY(work.status);
    }
    if (options->pairs[0] != 0) {
        CASK_TRY(write_pairs(options, err));
    }
done:
    cask_pool_free(pool);
    return st;
}

static enum cask_status run(void *user, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct options *options = user;
    if (options->out[0] == 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_USAGE, "--out DIR is missing"));
    }
    CASK_TRY(make_all(options, err));
    printf("%lld images of %lld identities in %s\n",
           (long long)(options->identities * options->images), (long long)options->identities,
           options->out);
done:
    return st;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    const struct cask_config_section section = {"", rows, sizeof rows / sizeof *rows, &options};
    const struct cask_cli_command cli = {usage, &section, 1, run, &options};
    return cask_cli_main("synth-faces", &cli, argc, argv);
}
