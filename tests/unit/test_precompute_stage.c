/* Where class centres come from (classifier, file, means), and the staging of embeddings on disk.
 */
#include "tests/support/test.h"

#include <sys/stat.h>

#include "common/file.h"
#include "common/mem.h"
#include "common/rng.h"
#include "data/dataset_impl.h"
#include "precompute/precompute.h"

/* ---------------------------------------------------------------- class means */

static void no_name(const struct cask_dataset *dataset, int64_t index, char *buffer, size_t bytes)
{
    (void)dataset;
    snprintf(buffer, bytes, "%lld", (long long)index);
}
static const struct cask_dataset_ops fake_ops = {.kind = "fake", .name = no_name};

static void fill(struct shard_rows *rows, int64_t first, int64_t count)
{
    rows->first = first;
    rows->count = count;
    for (int64_t i = 0; i < count; i++) {
        rows->bad[i] = (first + i) % 5 == 4;
        for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
            rows->norm[v][i] = (float)(first + i + v);
            for (int d = 0; d < rows->dim; d++) {
                rows->unit[v][i * rows->dim + d] =
                    (float)cask_rng_normal(3, (uint64_t)v, (uint64_t)((first + i) * rows->dim + d));
            }
        }
    }
}

/* Two shards of three images; class 0 has images 0, 3 and a bad one, class 1 has 1 and 5, class 2
 * none, class 3 only the bad image 4 and one without a label. */
static void class_means_are_normalised_sums(void **state)
{
    (void)state;
    enum { DIM = 7, CLASSES = 4 };
    struct cask_error err = {0};
    uint32_t labels[] = {0, 1, CASK_NO_LABEL, 0, 3, 1};
    const struct cask_dataset dataset = {
        .ops = &fake_ops, .count = 6, .classes = CLASSES, .labels = labels};
    struct class_means means = {0};
    struct shard_rows rows = {0};
    struct centers centers = {0};
    double want[CLASSES][DIM] = {{0}};
    assert_ok(class_means_create(&means, CLASSES, DIM, &err));
    assert_ok(shard_rows_create(&rows, 3, DIM, &err));
    for (int64_t first = 0; first < 6; first += 3) {
        fill(&rows, first, 3);
        class_means_add(&means, &dataset, &rows);
        for (int64_t i = 0; i < 3; i++) {
            uint32_t label = labels[first + i];
            for (int d = 0; d < DIM && label != CASK_NO_LABEL && !rows.bad[i]; d++) {
                want[label][d] +=
                    (double)rows.unit[0][i * DIM + d] + (double)rows.unit[1][i * DIM + d];
            }
        }
    }
    assert_ok(class_means_finish(&means, &centers, &err));
    assert_int_equal(centers.classes, CLASSES);
    assert_string_equal(centers.origin, "mean");
    for (int c = 0; c < CLASSES; c++) {
        double squares = 0;
        for (int d = 0; d < DIM; d++) {
            squares += want[c][d] * want[c][d];
        }
        assert_true((squares > 0) == (c < 2));
        for (int d = 0; d < DIM; d++) {
            double expected = squares > 0 ? want[c][d] / sqrt(squares) : 0;
            assert_close((double)centers.rows[c * DIM + d], expected, 1e-6);
        }
    }
    class_means_release(&means);
    shard_rows_release(&rows);
    centers_release(&centers);
}

/* ---------------------------------------------------------------- staging */

enum { STAGED = 5, STAGE_DIM = 3 };

static struct cask_manifest stage_manifest(void)
{
    return (struct cask_manifest){.embedding = STAGE_DIM,
                                  .shard_images = STAGED,
                                  .weights_sha256 = "aa",
                                  .architecture_sha256 = "bb",
                                  .dataset_sha256 = "cc",
                                  .precision = "fp32",
                                  .preprocess = {CASK_RGB, 127.5, 127.5, 112, 112}};
}

static void assert_same_rows(const struct shard_rows *a, const struct shard_rows *b)
{
    size_t count = (size_t)a->count;
    assert_int_equal(a->first, b->first);
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->bad, b->bad, count);
    for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
        assert_memory_equal(a->norm[v], b->norm[v], count * sizeof(float));
        assert_memory_equal(a->unit[v], b->unit[v], count * (size_t)a->dim * sizeof(float));
    }
}

static void rewrite(const char *path, const char *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void staging_reports_damage_of_any_byte(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_manifest manifest = stage_manifest();
    struct staging staging = {.folder = ""};
    struct shard_rows rows = {0}, back = {0};
    char folder[256], path[4096], *data = NULL;
    size_t bytes = 0;
    test_make_folder(folder);
    assert_ok(shard_rows_create(&rows, STAGED, STAGE_DIM, &err));
    assert_ok(shard_rows_create(&back, STAGED, STAGE_DIM, &err));
    assert_ok(staging_open(folder, &manifest, &staging, &err));
    assert_false(staging_has(&staging, 2));
    fill(&rows, 2 * STAGED, STAGED);
    assert_ok(staging_save(&staging, 2, &rows, &err));
    assert_true(staging_has(&staging, 2) && !staging_has(&staging, 1));
    assert_ok(staging_load(&staging, 2, 2 * STAGED, STAGED, &back, &err));
    assert_same_rows(&rows, &back);
    /* whole, but not what was asked for */
    assert_refused(CASK_ERR_FORMAT, "stage-00002.bin",
                   staging_load(&staging, 2, STAGED, STAGED, &back, &err));
    assert_refused(CASK_ERR_FORMAT, "run the same command again",
                   staging_load(&staging, 2, 2 * STAGED, STAGED - 1, &back, &err));
    assert_refused(CASK_ERR_IO, "stage-00001.bin",
                   staging_load(&staging, 1, STAGED, STAGED, &back, &err));
    snprintf(path, sizeof path, "%s/stage-00002.bin", staging.folder);
    assert_ok(cask_file_read_all(path, 1 << 20, &data, &bytes, &err));
    assert_int_equal(bytes, 40 + 2 * STAGED * (STAGE_DIM + 1) * 4 + STAGED);
    for (size_t at = 0; at < bytes; at++) {
        data[at] = (char)(data[at] ^ (1 << at % 8));
        rewrite(path, data, bytes);
        assert_refused(CASK_ERR_FORMAT, "damaged",
                       staging_load(&staging, 2, 2 * STAGED, STAGED, &back, &err));
        data[at] = (char)(data[at] ^ (1 << at % 8));
        rewrite(path, data, at);
        assert_refused(CASK_ERR_FORMAT, "cut short",
                       staging_load(&staging, 2, 2 * STAGED, STAGED, &back, &err));
    }
    rewrite(path, data, bytes);
    assert_ok(staging_load(&staging, 2, 2 * STAGED, STAGED, &back, &err));
    assert_same_rows(&rows, &back);
    staging_remove(&staging, 3);
    assert_false(cask_path_exists(staging.folder));
    staging_remove(&staging, 3);
    cask_free(data);
    shard_rows_release(&rows);
    shard_rows_release(&back);
    test_remove_folder(folder);
}

/* Embeddings of another teacher, data, precision or preprocessing never meet: their folders have
 * other names. What only top-k needs may change. */
static void staging_belongs_to_one_build(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_manifest base = stage_manifest(), other;
    struct staging one = {.folder = ""}, two = {.folder = ""};
    char deep[5000];
    assert_ok(staging_open("/nowhere", &base, &one, &err));
#define DIFFERS(change)                                                                            \
    do {                                                                                           \
        other = base;                                                                              \
        change;                                                                                    \
        assert_ok(staging_open("/nowhere", &other, &two, &err));                                   \
        assert_string_not_equal(one.folder, two.folder);                                           \
    } while (0)
    DIFFERS(other.weights_sha256[0] = 'x');
    DIFFERS(other.architecture_sha256[0] = 'x');
    DIFFERS(other.dataset_sha256[0] = 'x');
    DIFFERS(other.precision[0] = 'b');
    DIFFERS(other.preprocess.order = CASK_BGR);
    DIFFERS(other.preprocess.mean = 0);
    DIFFERS(other.decoder_crc = 1);
    DIFFERS(other.shard_images = 6);
#undef DIFFERS
    other = base;
    other.topk = 99;
    assert_ok(staging_open("/nowhere", &other, &two, &err));
    assert_string_equal(one.folder, two.folder);
    memset(deep, 'd', sizeof deep);
    deep[4060] = 0;
    assert_refused(CASK_ERR_USAGE, "--out", staging_open(deep, &base, &two, &err));
}

static void staging_wants_room(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_manifest manifest = stage_manifest();
    struct staging staging = {.folder = ""};
    assert_ok(staging_open("/tmp", &manifest, &staging, &err));
    assert_ok(staging_check_space(&staging, "/tmp", &manifest, 1, &err));
    assert_refused(CASK_ERR_NO_SPACE, "make room",
                   staging_check_space(&staging, "/tmp", &manifest, (int64_t)1 << 50, &err));
}

/* ---------------------------------------------------------------- centres */

enum { PEOPLE = 6, IMAGES = 5, SIDE = 32, EMBEDDING = 16 };

/* A folder of six persons, a MobileFaceNet with random weights, and the class means of what it says
 * about them: a classifier that fits by construction. */
static struct scene {
    char folder[256], faces[300], weights[300];
    struct cask_device *device;
    struct cask_graph *graph;
    struct cask_net *net;
    struct cask_dataset *dataset;
    struct centers means;
} scene;

/* Each person is a pattern; each image a little noise on it. */
static void draw_face(int person, int image)
{
    struct cask_error err = {0};
    uint8_t rgb[SIDE * SIDE * 3], *data = NULL;
    size_t bytes = 0;
    char path[400];
    for (int i = 0; i < SIDE * SIDE * 3; i++) {
        double value = 128 + 60 * cask_rng_normal(11, (uint64_t)person, (uint64_t)(i / 3 / 4)) +
                       4 * cask_rng_normal(12, (uint64_t)(person * 100 + image), (uint64_t)i);
        rgb[i] = (uint8_t)fmin(255, fmax(0, value));
    }
    snprintf(path, sizeof path, "%s/p%d", scene.faces, person);
    assert_ok(cask_folder_create(path, &err));
    snprintf(path, sizeof path, "%s/p%d/%d.jpg", scene.faces, person, image);
    assert_ok(cask_encode_jpeg(rgb, SIDE, SIDE, 95, &data, &bytes, &err));
    assert_ok(cask_file_write_all(path, data, bytes, &err));
    cask_free(data);
}

/* The network and, where `head` is not NULL, a classifier whose row c is head row order[c]. */
static void save_teacher(const char *path, const float *head, int64_t rows, const int *order,
                         int width)
{
    struct cask_error err = {0};
    float *turned = calloc((size_t)rows * (size_t)width + 1, sizeof *turned);
    for (int64_t c = 0; c < rows && head != NULL; c++) {
        for (int d = 0; d < width; d++) { /* raw rows: any length */
            turned[c * width + d] = head[order[c] * width + d] * (float)(c + 2);
        }
    }
    const struct cask_preprocess pixels = {CASK_RGB, 127.5, 127.5, SIDE, SIDE};
    const struct cask_file_tensor extra = {.name = "head.weight",
                                           .dtype = CASK_FILE_F32,
                                           .shape = {rows, width},
                                           .rank = 2,
                                           .count = rows * width,
                                           .data = turned};
    assert_ok(cask_net_save_with(scene.net, path, &pixels, &extra, head != NULL, NULL, 0, &err));
    free(turned);
}

static struct precompute_options options_for(const char *centers)
{
    return (struct precompute_options){.teacher = "mobilefacenet",
                                       .weights = scene.weights,
                                       .data = scene.faces,
                                       .centers = centers,
                                       .preprocess = "",
                                       .backend = "cpu",
                                       .batch = 4,
                                       .threads = 1,
                                       .precision = CASK_PRECISION_FP32};
}

static int set_scene(void **state)
{
    (void)state;
    struct cask_error err = {0};
    const struct cask_device_options cpu = {"cpu", 1, CASK_PRECISION_FP32};
    const struct cask_graph_options shape = {EMBEDDING, SIDE, SIDE};
    struct precompute_options options = options_for("mean");
    struct teacher teacher = {0};
    struct shard_rows rows = {0};
    struct class_means means = {0};
    test_make_folder(scene.folder);
    snprintf(scene.faces, sizeof scene.faces, "%s/faces", scene.folder);
    snprintf(scene.weights, sizeof scene.weights, "%s/teacher.safetensors", scene.folder);
    for (int i = 0; i < PEOPLE * IMAGES; i++) {
        draw_face(i / IMAGES, i % IMAGES);
    }
    assert_ok(cask_device_open(&cpu, &scene.device, &err));
    assert_ok(cask_graph_build("mobilefacenet", &shape, &scene.graph, &err));
    assert_ok(cask_net_create(scene.graph, scene.device, true, &scene.net, &err));
    assert_ok(cask_net_init(scene.net, 5, &err));
    save_teacher(scene.weights, NULL, 0, NULL, EMBEDDING);
    assert_ok(cask_dataset_open(scene.faces, NULL, &scene.dataset, &err));
    assert_ok(teacher_open(&options, &teacher, &err));
    assert_ok(shard_rows_create(&rows, PEOPLE * IMAGES, EMBEDDING, &err));
    assert_ok(class_means_create(&means, PEOPLE, EMBEDDING, &err));
    struct embed_request all = {.dataset = scene.dataset, .count = PEOPLE * IMAGES};
    assert_ok(teacher_embed(&teacher, &all, &rows, &err));
    class_means_add(&means, scene.dataset, &rows);
    assert_ok(class_means_finish(&means, &scene.means, &err));
    class_means_release(&means);
    shard_rows_release(&rows);
    teacher_close(&teacher);
    return 0;
}

static int strike_scene(void **state)
{
    (void)state;
    centers_release(&scene.means);
    cask_dataset_close(scene.dataset);
    cask_net_free(scene.net);
    cask_graph_free(scene.graph);
    cask_device_close(scene.device);
    test_remove_folder(scene.folder);
    return 0;
}

static const int in_order[] = {0, 1, 2, 3, 4, 5}, turned[] = {1, 2, 3, 4, 5, 0},
                 one_wrong[] = {0, 1, 2, 3, 5, 4};

static enum cask_status find(const char *choice, const char *begun, struct centers *centers,
                             struct cask_error *err)
{
    struct precompute_options options = options_for(choice);
    struct teacher teacher = {0};
    enum cask_status st = teacher_open(&options, &teacher, err);
    st = st == CASK_OK ? centers_find(&options, begun, &teacher, scene.dataset, centers, err) : st;
    teacher_close(&teacher);
    return st;
}

static void expect(const char *choice, const char *begun, const char *origin)
{
    struct cask_error err = {0};
    struct centers centers = {0};
    assert_ok(find(choice, begun, &centers, &err));
    assert_string_equal(centers.rows != NULL ? centers.origin : "mean", origin);
    if (centers.rows != NULL) {
        assert_int_equal(centers.classes, PEOPLE);
        assert_all_close_f32(centers.rows, scene.means.rows, PEOPLE * EMBEDDING, 1e-6);
    }
    centers_release(&centers);
}

static void refuse(const char *choice, enum cask_status want, const char *text)
{
    struct cask_error err = {0};
    struct centers centers = {0};
    assert_refused(want, text, find(choice, "", &centers, &err));
    assert_null(centers.rows);
}

static void classifier_that_fits_is_taken(void **state)
{
    (void)state;
    save_teacher(scene.weights, scene.means.rows, PEOPLE, in_order, EMBEDDING);
    expect("auto", "", "classifier");
    expect("classifier", "", "classifier");
    expect("mean", "", "mean");
}

/* A list in which no two neighbours are of one person, and one image is torn. */
static void order_of_the_data_does_not_matter(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_dataset *folder = scene.dataset;
    char path[400];
    save_teacher(scene.weights, scene.means.rows, PEOPLE, in_order, EMBEDDING);
    snprintf(path, sizeof path, "%s/torn.jpg", scene.folder);
    assert_ok(cask_file_write_all(path, "torn", 4, &err));
    snprintf(path, sizeof path, "%s/mixed.txt", scene.folder);
    FILE *list = fopen(path, "w");
    assert_non_null(list);
    fprintf(list, "torn.jpg 0\n");
    for (int i = 0; i < PEOPLE * IMAGES; i++) {
        fprintf(list, "faces/p%d/%d.jpg %d\n", i % PEOPLE, i / PEOPLE, i % PEOPLE);
    }
    assert_int_equal(fclose(list), 0);
    assert_ok(cask_dataset_open(path, NULL, &scene.dataset, &err));
    expect("auto", "", "classifier");
    save_teacher(scene.weights, scene.means.rows, PEOPLE, turned, EMBEDDING);
    expect("auto", "", "mean");
    cask_dataset_close(scene.dataset);
    scene.dataset = folder;
}

static void classifier_of_other_people_is_not(void **state)
{
    (void)state;
    save_teacher(scene.weights, scene.means.rows, PEOPLE, turned, EMBEDDING);
    expect("auto", "", "mean");
    refuse("classifier", CASK_ERR_MISMATCH, "another identity list");
    refuse("classifier", CASK_ERR_MISMATCH, "--centers mean");
    save_teacher(scene.weights, scene.means.rows, PEOPLE, one_wrong, EMBEDDING);
    expect("auto", "", "mean"); /* four of six are fewer than nine of ten */
    save_teacher(scene.weights, scene.means.rows, PEOPLE - 1, in_order, EMBEDDING);
    expect("auto", "", "mean");
    refuse("classifier", CASK_ERR_MISMATCH, "has 5 classes, the data has 6");
}

static void classifier_that_cannot_be_used(void **state)
{
    (void)state;
    float hole[PEOPLE * EMBEDDING];
    memcpy(hole, scene.means.rows, sizeof hole);
    memset(hole + 3 * EMBEDDING, 0, EMBEDDING * sizeof *hole); /* a class PartialFC never saw */
    save_teacher(scene.weights, hole, PEOPLE, in_order, EMBEDDING);
    expect("auto", "", "mean");
    refuse("classifier", CASK_ERR_MISMATCH, "class centre 3");
    save_teacher(scene.weights, scene.means.rows, PEOPLE, in_order, EMBEDDING - 1);
    expect("auto", "", "mean");
    refuse("classifier", CASK_ERR_MISMATCH, "head.weight");
    save_teacher(scene.weights, NULL, 0, NULL, EMBEDDING);
    expect("auto", "", "mean");
    refuse("classifier", CASK_ERR_MISMATCH, "no classifier");
}

/* A cache that was begun one way goes on that way, whatever a second look would say. */
static void resumed_cache_keeps_its_origin(void **state)
{
    (void)state;
    save_teacher(scene.weights, scene.means.rows, PEOPLE, in_order, EMBEDDING);
    expect("auto", "mean", "mean");
    expect("auto", "classifier", "classifier");
}

static void centres_from_a_file(void **state)
{
    (void)state;
    struct cask_error err = {0};
    char path[400];
    save_teacher(scene.weights, NULL, 0, NULL, EMBEDDING);
    snprintf(path, sizeof path, "%s/centers.safetensors", scene.folder);
    struct cask_file_tensor matrix = {.name = "weight",
                                      .dtype = CASK_FILE_F32,
                                      .shape = {PEOPLE, EMBEDDING},
                                      .rank = 2,
                                      .count = PEOPLE * EMBEDDING,
                                      .data = scene.means.rows};
    assert_ok(cask_safetensors_write(path, &matrix, 1, NULL, 0, &err));
    expect(path, "", "file");
    matrix.shape[0] = PEOPLE - 2;
    matrix.count = (PEOPLE - 2) * EMBEDDING;
    assert_ok(cask_safetensors_write(path, &matrix, 1, NULL, 0, &err));
    refuse(path, CASK_ERR_MISMATCH, "expected class centres [6, 16], found 4");
    matrix.name = "something.else";
    assert_ok(cask_safetensors_write(path, &matrix, 1, NULL, 0, &err));
    refuse(path, CASK_ERR_MISMATCH, "found 0");
    refuse("no/such/file", CASK_ERR_IO, "no/such/file");
}

/* The subset of a request: rows come in the order asked for; mirrored views are the mirror's. */
static void requests_name_their_images(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct precompute_options options = options_for("mean");
    struct teacher teacher = {0};
    struct shard_rows all = {0}, some = {0};
    const int64_t subset[] = {17, 3, 29, 3};
    assert_ok(teacher_open(&options, &teacher, &err));
    assert_ok(shard_rows_create(&all, PEOPLE * IMAGES, EMBEDDING, &err));
    assert_ok(shard_rows_create(&some, 4, EMBEDDING, &err));
    struct embed_request whole = {.dataset = scene.dataset, .count = PEOPLE * IMAGES};
    struct embed_request part = {.dataset = scene.dataset, .subset = subset, .count = 4};
    assert_ok(teacher_embed(&teacher, &whole, &all, &err));
    assert_ok(teacher_embed(&teacher, &part, &some, &err));
    for (int i = 0; i < 4; i++) {
        for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
            assert_all_close_f32(some.unit[v] + i * EMBEDDING, all.unit[v] + subset[i] * EMBEDDING,
                                 EMBEDDING, 1e-5);
        }
    }
    double dot = 0;
    for (int d = 0; d < EMBEDDING; d++) {
        dot += (double)all.unit[0][d] * (double)all.unit[1][d];
    }
    assert_true(dot < 0.99999); /* the views are two */
    shard_rows_release(&all);
    shard_rows_release(&some);
    teacher_close(&teacher);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(class_means_are_normalised_sums),
        cmocka_unit_test(staging_reports_damage_of_any_byte),
        cmocka_unit_test(staging_belongs_to_one_build),
        cmocka_unit_test(staging_wants_room),
        cmocka_unit_test(classifier_that_fits_is_taken),
        cmocka_unit_test(order_of_the_data_does_not_matter),
        cmocka_unit_test(classifier_of_other_people_is_not),
        cmocka_unit_test(classifier_that_cannot_be_used),
        cmocka_unit_test(resumed_cache_keeps_its_origin),
        cmocka_unit_test(centres_from_a_file),
        cmocka_unit_test(requests_name_their_images),
    };
    return cmocka_run_group_tests(tests, set_scene, strike_scene);
}
