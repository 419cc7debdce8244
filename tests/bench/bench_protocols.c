/* tests/bench/bench_protocols.c - the large protocols at their full size, on embeddings that are
 * drawn as they are needed: time, peak memory, and for MegaFace the fraction of the matmul peak.
 *
 *     bench_protocols [--part ijb|search|megaface|all] [--quick] [--threads 2]
 *
 * ijb       469,375 images in 23,124 templates pooled, 15,658,489 pairs scored, sorted and rated
 * search    19,593 probe templates in galleries of 1,772 and 1,759
 * megaface  3,530 probes among 1,000,000 distractors
 *
 * --quick takes a hundredth of each. Lists are written below /tmp and removed.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "eval/ijb.h"
#include "eval/ijb_draws.h"
#include "eval/megaface.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_main.h"

enum { DIM = 512 };

struct options {
    int part;
    bool quick;
    int64_t threads;
};

static const char *const part_names[] = {"all", "ijb", "search", "megaface", NULL};
enum { PART_ALL, PART_IJB, PART_SEARCH, PART_MEGAFACE };

#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {"part", CASK_CONFIG_ENUM, ROW(part), "all", 0, 0, part_names, NULL, "what is measured"},
    {"quick", CASK_CONFIG_BOOL, ROW(quick), "false", 0, 0, NULL, NULL, "a hundredth of the size"},
    {"threads", CASK_CONFIG_INT, ROW(threads), "0", 0, 1024, NULL, "N", "0: all"},
};

/* ---------------------------------------------------------------- embeddings */

/* Row = centre of its person + noise, a few nanoseconds a number: 64 random bits give four. */
struct drawn {
    int64_t people;
    int columns;
    float noise;
    uint64_t seed;
};

static float piece(uint64_t bits, int i)
{
    return (float)((int)(bits >> (16 * i) & 0xFFFF) - 32768) * 0x1p-15F;
}

static enum cask_status draw_rows(const void *user, int64_t first, int64_t count, float *values,
                                  struct cask_error *err)
{
    const struct drawn *d = user;
    (void)err;
    for (int64_t r = 0; r < count; r++) {
        uint64_t image = (uint64_t)(first + r);
        uint64_t person = d->people > 0 ? image % (uint64_t)d->people : image;
        for (int c = 0; c < d->columns; c += 4) {
            uint64_t centre = cask_rng_u64(d->seed, 1 + person, (uint64_t)(c % DIM) / 4);
            uint64_t noise = cask_rng_u64(d->seed, ~image, (uint64_t)c / 4);
            for (int i = 0; i < 4; i++) {
                values[r * d->columns + c + i] =
                    (d->people > 0 ? piece(centre, i) : 0) + d->noise * piece(noise, i);
            }
        }
    }
    return CASK_OK;
}

static void report(const char *what, double seconds)
{
    printf("  %-58s %7.2f s   peak memory %6.0f MB\n", what, seconds,
           (double)cask_mem_peak_bytes() / 1e6);
    fflush(stdout);
}

/* ----------------------------------------------------------------------- IJB */

struct ijb_size {
    int64_t images, templates, pairs, genuine, probes, gallery[2];
};
static const struct ijb_size ijb_c = {469375, 23124, 15658489, 19557, 19593, {1772, 1759}};

struct ijb_files {
    char folder[256], tid_mid[300], points[300], pairs[300], lists[3][300];
};

static int64_t person_of(const struct ijb_size *size, int64_t template_index)
{
    return template_index % (size->gallery[0] + size->gallery[1]);
}

/* Template of an image: a few large ones (videos) and many small ones, as in IJB. */
static int64_t template_of(const struct ijb_size *size, int64_t image)
{
    return image < size->templates
               ? image
               : (int64_t)cask_rng_below(3, 0, (uint64_t)image, (uint64_t)size->templates);
}

static enum cask_status write_images(const struct ijb_size *size, const struct ijb_files *files,
                                     struct cask_error *err)
{
    FILE *ids = fopen(files->tid_mid, "w"), *points = fopen(files->points, "w");
    for (int64_t i = 0; ids != NULL && points != NULL && i < size->images; i++) {
        int64_t t = template_of(size, i);
        fprintf(ids, "%lld.jpg %lld %lld\n", (long long)i, (long long)(t * 8 + 1),
                (long long)cask_rng_below(3, 1, (uint64_t)i, 9));
        fprintf(points, "%lld.jpg 38.3 51.7 73.5 51.5 56.0 71.7 41.5 92.4 70.7 92.2 0.9%lld\n",
                (long long)i, (long long)(i % 100));
    }
    bool good = ids != NULL && points != NULL && fclose(ids) == 0 && fclose(points) == 0;
    return good ? CASK_OK : cask_error_set(err, CASK_ERR_IO, "%s: cannot write", files->folder);
}

static enum cask_status write_pairs(const struct ijb_size *size, const struct ijb_files *files,
                                    struct cask_error *err)
{
    FILE *pairs = fopen(files->pairs, "w");
    int64_t people = size->gallery[0] + size->gallery[1];
    for (int64_t i = 0; pairs != NULL && i < size->pairs; i++) {
        bool genuine = i < size->genuine;
        int64_t a = (int64_t)cask_rng_below(3, 2, (uint64_t)i, (uint64_t)size->templates);
        int64_t b = (int64_t)cask_rng_below(3, 3, (uint64_t)i, (uint64_t)size->templates);
        b = genuine ? (a + people) % size->templates / people * people + a % people : b;
        b = b < size->templates ? b : a;
        b = !genuine && b % people == a % people ? (b + 1) % size->templates : b;
        fprintf(pairs, "%lld %lld %d\n", (long long)(a * 8 + 1), (long long)(b * 8 + 1), genuine);
    }
    return pairs != NULL && fclose(pairs) == 0
               ? CASK_OK
               : cask_error_set(err, CASK_ERR_IO, "%s: cannot write", files->pairs);
}

static enum cask_status write_people(const struct ijb_size *size, const struct ijb_files *files,
                                     struct cask_error *err)
{
    int64_t begin[4] = {0, size->gallery[0], size->gallery[0] + size->gallery[1], 0};
    int64_t end[3] = {begin[1], begin[2], begin[2] + size->probes};
    bool good = true;
    for (int list = 0; list < 3; list++) {
        FILE *file = fopen(files->lists[list], "w");
        good &= file != NULL;
        if (file == NULL) {
            break;
        }
        fprintf(file, "TEMPLATE_ID,SUBJECT_ID,FILENAME\n");
        for (int64_t t = begin[list]; t < end[list] && t < size->templates; t++) {
            fprintf(file, "%lld,%lld,x.jpg\n", (long long)(t * 8 + 1),
                    (long long)person_of(size, t));
        }
        good &= fclose(file) == 0;
    }
    return good ? CASK_OK : cask_error_set(err, CASK_ERR_IO, "%s: cannot write", files->folder);
}

static enum cask_status make_files(const struct ijb_size *size, struct ijb_files *files,
                                   struct cask_error *err)
{
    static const char *const names[] = {"G1.csv", "G2.csv", "probe.csv"};
    enum cask_status st = CASK_OK;
    snprintf(files->folder, sizeof files->folder, "/tmp/cask-bench-%d", (int)getpid());
    snprintf(files->tid_mid, sizeof files->tid_mid, "%s/tid_mid.txt", files->folder);
    snprintf(files->points, sizeof files->points, "%s/points.txt", files->folder);
    snprintf(files->pairs, sizeof files->pairs, "%s/pairs.txt", files->folder);
    for (int i = 0; i < 3; i++) {
        snprintf(files->lists[i], sizeof files->lists[i], "%s/%s", files->folder, names[i]);
    }
    CASK_TRY(cask_folder_create(files->folder, err));
    CASK_TRY(write_images(size, files, err));
    CASK_TRY(write_pairs(size, files, err));
    CASK_TRY(write_people(size, files, err));
done:
    return st;
}

static void remove_files(const struct ijb_files *files)
{
    unlink(files->tid_mid);
    unlink(files->points);
    unlink(files->pairs);
    for (int i = 0; i < 3; i++) {
        unlink(files->lists[i]);
    }
    rmdir(files->folder);
}

/* Images of a template show one person, so that genuine pairs score higher. */
struct ijb_rows {
    const struct ijb_size *size;
    struct drawn drawn;
};

static enum cask_status draw_image_rows(const void *user, int64_t first, int64_t count,
                                        float *values, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct ijb_rows *rows_of = user;
    for (int64_t i = 0; i < count; i++) {
        struct drawn one = rows_of->drawn;
        int64_t person = person_of(rows_of->size, template_of(rows_of->size, first + i));
        /* the image's number, such that it leaves the person as remainder */
        one.people = rows_of->size->gallery[0] + rows_of->size->gallery[1];
        int64_t image = (first + i) * one.people + person;
        CASK_TRY(draw_rows(&one, image, 1, values + i * one.columns, err));
    }
done:
    return st;
}

static enum cask_status bench_pairs(const struct cask_ijb *set, const struct ijb_files *files,
                                    const struct cask_ijb_templates *templates, int threads,
                                    struct cask_error *err)
{
    static const double targets[6] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1};
    enum cask_status st = CASK_OK;
    struct cask_scores scores = {0};
    struct cask_ijb_pairs found;
    struct cask_ijb_sides sides = {0};
    struct ijb_draws draws = {.draws = 1000, .threads = threads, .seed = 1};
    struct cask_rate parity[6];
    char line[100];
    double start = cask_now();
    CASK_TRY(cask_ijb_score(set, files->pairs, templates, threads, &scores, &found, &sides, err));
    snprintf(line, sizeof line, "%lld pairs read and scored", (long long)found.pairs);
    report(line, cask_now() - start);
    start = cask_now();
    CASK_TRY(ijb_draws_verify(&scores, &sides, set->templates, targets, 6, &draws, err));
    snprintf(line, sizeof line, "intervals of 18 rates: %d draws of %lld persons", draws.draws,
             (long long)draws.persons);
    report(line, cask_now() - start);
    cask_ijb_sides_release(&sides);
    start = cask_now();
    CASK_TRY(cask_scores_sort(&scores, err));
    report("scores sorted", cask_now() - start);
    start = cask_now();
    cask_rates_nearest(&scores, true, targets, 6, parity);
    report("TPR at six FPRs", cask_now() - start);
    printf("  TPR at 1e-6 .. 1e-1:");
    for (int i = 0; i < 6; i++) {
        printf(" %.4f", parity[i].tpr);
    }
    printf("\n");
done:
    ijb_draws_release(&draws);
    cask_ijb_sides_release(&sides);
    cask_scores_release(&scores);
    return st;
}

static enum cask_status bench_search(const struct cask_ijb *set, const struct ijb_files *files,
                                     const struct cask_ijb_templates *templates, int threads,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_ijb_people probes = {0}, gallery = {0};
    struct cask_ijb_identification found;
    struct cask_ijb_outcome *outcomes[2] = {NULL, NULL};
    struct ijb_draws draws = {.draws = 1000, .threads = threads, .seed = 1};
    CASK_TRY(cask_ijb_people_read(set, files->lists[2], false, &probes, err));
    for (int g = 0; g < 2; g++) {
        char line[100];
        double start = cask_now();
        CASK_TRY(cask_ijb_people_read(set, files->lists[g], true, &gallery, err));
        outcomes[g] = cask_alloc((size_t)probes.count, sizeof *outcomes[g]);
        if (outcomes[g] == NULL) {
            CASK_TRY(cask_error_memory(err, (size_t)probes.count * 16, "outcomes"));
        }
        CASK_TRY(
            cask_ijb_identify(templates, &gallery, &probes, threads, &found, outcomes[g], err));
        snprintf(line, sizeof line, "%lld probes searched among %lld templates",
                 (long long)found.probes, (long long)found.gallery);
        report(line, cask_now() - start);
        cask_ijb_people_release(&gallery);
    }
    double start = cask_now();
    CASK_TRY(ijb_draws_search(&probes, outcomes, 2, &draws, err));
    report("intervals of five rates of both: 1000 draws of subjects", cask_now() - start);
done:
    ijb_draws_release(&draws);
    cask_free(outcomes[0]);
    cask_free(outcomes[1]);
    cask_ijb_people_release(&gallery);
    cask_ijb_people_release(&probes);
    return st;
}

static enum cask_status bench_ijb(const struct options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct ijb_size size = ijb_c;
    struct ijb_files files;
    struct cask_ijb set = {0};
    struct cask_ijb_templates templates = {0};
    int threads = (int)options->threads;
    if (options->quick) {
        size = (struct ijb_size){4694, 1231, 156585, 196, 196, {518, 518}};
    }
    struct ijb_rows user = {&size, {0, 2 * DIM, 12.0F, 7}};
    printf("IJB-C: %lld images, %lld templates, %lld pairs, two views of %d numbers\n",
           (long long)size.images, (long long)size.templates, (long long)size.pairs, DIM);
    CASK_TRY(make_files(&size, &files, err));
    double start = cask_now();
    CASK_TRY(cask_ijb_open(files.tid_mid, files.points, &set, err));
    report("lists read", cask_now() - start);
    struct cask_rows images = {set.images, 2 * DIM, &user, draw_image_rows};
    start = cask_now();
    CASK_TRY(cask_ijb_pool(&set, &images, 2, (struct cask_ijb_switches){true, true, true}, threads,
                           &templates, err));
    report("embeddings drawn and pooled (N1 D1 F1)", cask_now() - start);
    if (options->part != PART_SEARCH) {
        CASK_TRY(bench_pairs(&set, &files, &templates, threads, err));
    }
    if (options->part != PART_IJB) {
        CASK_TRY(bench_search(&set, &files, &templates, threads, err));
    }
done:
    cask_ijb_templates_release(&templates);
    cask_ijb_close(&set);
    remove_files(&files);
    return st;
}

/* ------------------------------------------------------------------- MegaFace */

static enum cask_status bench_megaface(const struct options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t count = options->quick ? 353 : 3530, among = options->quick ? 10000 : 1000000;
    struct cask_device_options device_options = {"cpu", (int)options->threads, CASK_PRECISION_FP32};
    struct cask_device *device = NULL;
    struct drawn people = {80, DIM, 2.5F, 11}, strangers = {0, DIM, 1, 13};
    struct cask_rows distractors = {among, DIM, &strangers, draw_rows};
    struct cask_probes probes = {.count = count, .dim = DIM};
    uint32_t *identity = cask_alloc((size_t)count, sizeof *identity);
    struct cask_megaface found;
    struct cask_megaface_draws draws = {.draws = 1000, .seed = 1};
    double peak;
    probes.rows = cask_alloc((size_t)count * DIM, sizeof(float));
    if (identity == NULL || probes.rows == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * DIM * sizeof(float), "probes"));
    }
    for (int64_t i = 0; i < count; i++) {
        identity[i] = (uint32_t)(i % people.people);
    }
    probes.identity = identity;
    CASK_TRY(draw_rows(&people, 0, count, probes.rows, err));
    CASK_TRY(cask_probes_clean(&probes, CASK_NOISE_KEEP, 0, err));
    CASK_TRY(cask_device_open(&device_options, &device, err));
    CASK_TRY(bench_peak(device, 5, &peak, err));
    struct cask_megaface_options run = {device, (int)options->threads, 1e-6, CASK_NOISE_KEEP, NULL,
                                        &draws};
    CASK_TRY(cask_megaface_run(&probes, &distractors, &run, &found, err));
    double work = 2.0 * (double)count * (double)among * DIM / 1e9;
    printf("MegaFace: %lld probes, %lld distractors of %d numbers\n", (long long)count,
           (long long)among, DIM);
    report("distractors drawn, multiplied, the largest kept; 1000 draws", found.seconds);
    printf("  matmul 512^3 %.1f GFLOP/s; products %.2f s = %.1f GFLOP/s = %.2f of it; whole run "
           "%.1f GFLOP/s = %.2f\n",
           peak, found.gemm_seconds, work / found.gemm_seconds, work / found.gemm_seconds / peak,
           work / found.seconds, work / found.seconds / peak);
    printf("  rank-1 %.4f, rank-10 %.4f, TPR@FAR=1e-6 %.4f of %lld pairs\n",
           (double)found.hits[0] / (double)found.pairs, (double)found.hits[9] / (double)found.pairs,
           (double)found.accepted / (double)found.pairs, (long long)found.pairs);
done:
    cask_device_close(device);
    cask_free(probes.rows);
    cask_free(identity);
    cask_free(draws.values);
    return st;
}

static enum cask_status run(void *user, struct cask_error *err)
{
    struct options *options = user;
    enum cask_status st = CASK_OK;
    if (options->part != PART_MEGAFACE) {
        CASK_TRY(bench_ijb(options, err));
    }
    if (options->part == PART_ALL || options->part == PART_MEGAFACE) {
        CASK_TRY(bench_megaface(options, err));
    }
done:
    return st;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    cask_interrupt_install();
    return bench_main("bench_protocols", rows, sizeof rows / sizeof *rows, &options, run, argc,
                      argv);
}
