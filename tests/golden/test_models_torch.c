/* Checkpoints as PyTorch 1.13 writes them (make_checkpoints.py), whole and damaged. */
#include "common/file.h"
#include "common/mem.h"
#include "models/models.h"
#include "tests/support/test.h"

static const char *file_path(const char *file)
{
    static char path[500];
    const char *source = getenv("CASK_SOURCE");
    snprintf(path, sizeof path, "%s/tests/golden/checkpoints/%s", source != NULL ? source : ".",
             file);
    return path;
}

static struct cask_checkpoint *open_file(const char *file)
{
    struct cask_error err;
    struct cask_checkpoint *checkpoint = NULL;
    assert_ok(cask_checkpoint_open(file_path(file), &checkpoint, &err));
    return checkpoint;
}

/* make_checkpoints.py: tensor k at row-major index i */
static float ramp(int k, int i)
{
    return (float)((7 * i + k) % 32 - 16) / 4;
}

/* The tensor has this shape (0 ends it) and at its index i the value ramp(k, map[i]). */
static void check(const struct cask_checkpoint *checkpoint, const char *name, int k,
                  const int *shape, const int *map)
{
    struct cask_error err;
    float values[256] = {0};
    const struct cask_file_tensor *t = cask_checkpoint_find(checkpoint, name);
    if (t == NULL) {
        fail_msg("%s is not in the file", name);
        return;
    }
    for (int i = 0; i < t->rank; i++) {
        assert_int_equal(t->shape[i], shape[i]);
    }
    assert_int_equal(shape[t->rank], 0);
    assert_true(t->count > 0 && t->count <= 256);
    assert_ok(cask_file_tensor_to_f32(t, values, &err));
    for (int i = 0; i < t->count; i++) {
        assert_close((double)values[i], (double)ramp(k, map != NULL ? map[i] : i), 0);
    }
}
#define SHAPE(...)                                                                                 \
    (const int[])                                                                                  \
    {                                                                                              \
        __VA_ARGS__, 0                                                                             \
    }

static void check_state(const struct cask_checkpoint *checkpoint)
{
    assert_int_equal(cask_checkpoint_count(checkpoint), 4);
    check(checkpoint, "conv.weight", 0, SHAPE(2, 3, 3, 3), NULL);
    check(checkpoint, "bn.weight", 1, SHAPE(2), NULL);
    const struct cask_file_tensor *counter =
        cask_checkpoint_find(checkpoint, "bn.num_batches_tracked");
    int64_t seen = 0;
    assert_int_equal(counter->dtype, CASK_FILE_I64);
    assert_int_equal(counter->rank, 0);
    memcpy(&seen, counter->data, sizeof seen);
    assert_int_equal(seen, 7);
    assert_int_equal(cask_checkpoint_find(checkpoint, "empty")->count, 0);
    assert_null(cask_checkpoint_find(checkpoint, "nothing"));
}

static void plain(void **state)
{
    (void)state;
    struct cask_checkpoint *zip = open_file("plain.pth"), *legacy = open_file("legacy.pth");
    assert_string_equal(cask_checkpoint_container(zip), "PyTorch zip");
    assert_string_equal(cask_checkpoint_container(legacy), "PyTorch legacy");
    check_state(zip);
    check_state(legacy);
    cask_checkpoint_close(zip);
    cask_checkpoint_close(legacy);
}

static void types(void **state)
{
    (void)state;
    struct cask_error err;
    float special[6], integers[5];
    struct cask_checkpoint *c = open_file("types.pth");
    check(c, "f16", 2, SHAPE(5), NULL);
    check(c, "bf16", 3, SHAPE(5), NULL);
    check(c, "f64", 4, SHAPE(5), NULL);
    assert_refused(CASK_ERR_UNSUPPORTED, "\"u8\": expected F32",
                   cask_file_tensor_to_f32(cask_checkpoint_find(c, "u8"), integers, &err));
    assert_ok(cask_file_tensor_to_f32(cask_checkpoint_find(c, "f16_special"), special, &err));
    assert_close((double)special[0], 0x1p-24, 0);
    assert_close((double)special[1], -0x1p-24, 0);
    assert_true(isinf(special[2]) && special[2] > 0);
    assert_true(isnan(special[3]));
    assert_close((double)special[4], 65504, 0);
    assert_true(special[5] == 0 && signbit(special[5]));
    cask_checkpoint_close(c);
}

/* All share one storage of 4 x 6, but for the last. */
static void views_of(const char *file)
{
    struct cask_checkpoint *c = open_file(file);
    int columns[8], turned[24], last[120], rows[12];
    for (int i = 0; i < 24; i++) {
        turned[i] = i % 4 * 6 + i / 4;
        columns[i % 8] = i % 8 / 2 * 6 + 2 + i % 2;
        rows[i % 12] = 6 + i % 12;
    }
    for (int i = 0; i < 120; i++) {
        last[i] = i;
    }
    check(c, "base", 5, SHAPE(4, 6), NULL);
    check(c, "rows", 5, SHAPE(2, 6), rows);
    check(c, "columns", 5, SHAPE(4, 2), columns);
    check(c, "turned", 5, SHAPE(6, 4), turned);
    check(c, "strided", 5, SHAPE(5), (const int[]){1, 6, 11, 16, 21});
    check(c, "scalar", 5, SHAPE(0), (const int[]){15});
    check(c, "last", 6, SHAPE(2, 3, 4, 5), last);
    check(c, "parameter", 5, SHAPE(6), (const int[]){18, 19, 20, 21, 22, 23});
    cask_checkpoint_close(c);
}

static void views(void **state)
{
    (void)state;
    views_of("views.pth");
    views_of("views_legacy.pth");
}

static void wrappers(void **state)
{
    (void)state;
    struct cask_checkpoint *c = open_file("training.ckpt");
    check_state(c);
    assert_string_equal(cask_checkpoint_metadata(c, "epoch"), "68");
    assert_string_equal(cask_checkpoint_metadata(c, "rate"), "0.125");
    assert_string_equal(cask_checkpoint_metadata(c, "name"), "run");
    assert_null(cask_checkpoint_metadata(c, "optimizer"));
    cask_checkpoint_close(c);
    c = open_file("with_head.pth");
    check(c, "conv.weight", 0, SHAPE(2, 3, 3, 3), NULL);
    cask_checkpoint_close(c);
    c = open_file("partial_fc.pt");
    check_state(c);
    cask_checkpoint_close(c);
}

/* Class rows: 6 classes of 4 numbers, in every layout people have. */
static void classifiers(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        int k;
        bool columns;
    } files[] = {{"with_head.pth", 7, false},
                 {"partial_fc.pt", 8, false},
                 {"kernel.pth", 9, true},
                 {"tensor.pt", 10, false}};
    struct cask_error err;
    float *centers = NULL;
    int64_t classes = -1;
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        struct cask_checkpoint *c = open_file(files[f].file);
        assert_ok(cask_checkpoint_classifier(c, 4, &centers, &classes, &err));
        assert_int_equal(classes, 6);
        for (int i = 0; i < 24; i++) {
            int from = files[f].columns ? i % 4 * 6 + i / 4 : i;
            assert_close((double)centers[i], (double)ramp(files[f].k, from), 0);
        }
        cask_free(centers);
        assert_refused(CASK_ERR_MISMATCH, "expected rows of 512 numbers",
                       cask_checkpoint_classifier(c, 512, &centers, &classes, &err));
        cask_checkpoint_close(c);
    }
    struct cask_checkpoint *c = open_file("plain.pth");
    assert_ok(cask_checkpoint_classifier(c, 4, &centers, &classes, &err));
    assert_int_equal(classes, 0);
    assert_null(centers);
    cask_checkpoint_close(c);
}

static void whole_modules(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_checkpoint *c = NULL;
    assert_refused(CASK_ERR_UNSUPPORTED, "__main__.Net: the file holds pickled Python objects",
                   cask_checkpoint_open(file_path("module.pth"), &c, &err));
    assert_non_null(strstr(err.message, "opcode GLOBAL at byte 2"));
    assert_refused(CASK_ERR_UNSUPPORTED, "__main__.Net: the file holds pickled Python objects",
                   cask_checkpoint_open(file_path("module_legacy.pth"), &c, &err));
    assert_null(c);
}

/* Weights written by Cask, carried by PyTorch into its two containers under a wrapper's prefix: the
 * network and its size are found from the keys alone, and the identity stays. */
static void same_identity_in_any_container(void **state)
{
    (void)state;
    struct cask_error err;
    char temporary[256], path[300], command[1200], want[65], got[65];
    struct cask_device *device = NULL;
    struct cask_graph *graph = NULL;
    struct cask_net *net = NULL;
    const struct cask_device_options options = {.backend = "ref", .threads = 1};
    const struct cask_graph_options shape = {.embedding = 48, .width = 96, .height = 112};
    const struct cask_preprocess preprocess = cask_preprocess_default();
    if (system("/usr/bin/python3 -c 'import torch' 2>/dev/null") != 0) {
        print_message("no python3 with torch\n");
        skip();
    }
    test_make_folder(temporary);
    assert_ok(cask_device_open(&options, &device, &err));
    assert_ok(cask_graph_build("mobilefacenet", &shape, &graph, &err));
    assert_ok(cask_net_create(graph, device, false, &net, &err));
    assert_ok(cask_net_init(net, 11, &err));
    assert_ok(cask_net_fingerprint(net, want, &err));
    snprintf(path, sizeof path, "%s/net.safetensors", temporary);
    assert_ok(cask_net_save(net, path, &preprocess, NULL, 0, &err));
    snprintf(command, sizeof command,
             "/usr/bin/python3 -W ignore -c \"\n"
             "import json, struct, numpy, torch\n"
             "b = open('%s', 'rb').read()\n"
             "n, = struct.unpack('<Q', b[:8]); h = json.loads(b[8:8 + n]); h.pop('__metadata__')\n"
             "d = b[8 + n:]; s = {}\n"
             "for k, t in h.items():\n"
             "    v = numpy.frombuffer(d[slice(*t['data_offsets'])], {'F32': '<f4', 'I64': "
             "'<i8'}[t['dtype']])\n"
             "    s['module.' + k] = torch.from_numpy(v.reshape(t['shape']).copy())\n"
             "torch.save({'epoch': 1, 'state_dict': s}, '%s/new')\n"
             "torch.save(s, '%s/old', _use_new_zipfile_serialization=False)\n"
             "\"",
             path, temporary, temporary);
    assert_int_equal(system(command), 0);
    for (int i = 0; i < 2; i++) {
        struct cask_model model;
        struct cask_preprocess found = preprocess;
        bool known = true;
        snprintf(path, sizeof path, "%s/%s", temporary, i == 0 ? "new" : "old");
        assert_ok(cask_model_open(device, i == 0 ? "auto" : "mobilefacenet", path, &found, &known,
                                  &model, &err));
        assert_false(known);
        assert_int_equal(cask_graph_embedding(model.graph), 48);
        assert_int_equal(found.width, 96);
        assert_int_equal(found.height, 112);
        assert_ok(cask_net_fingerprint(model.net, got, &err));
        assert_string_equal(got, want);
        cask_model_close(&model);
    }
    cask_net_free(net);
    cask_graph_free(graph);
    cask_device_close(device);
    test_remove_folder(temporary);
}

/* Without fsync, unlike common/file.h: there are thousands. */
static void write_quickly(const char *path, const char *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

/* Every truncation and every changed byte either is refused with the file's name, or reads like a
 * file (a changed weight is a valid file). */
static void damage_of(const char *file, const char *temporary)
{
    struct cask_error err;
    char path[300], *data = NULL;
    size_t bytes = 0;
    snprintf(path, sizeof path, "%s/broken", temporary);
    assert_ok(cask_file_read_all(file_path(file), 1 << 20, &data, &bytes, &err));
    for (size_t keep = 0; keep < bytes; keep += 1 + keep / 16) {
        struct cask_checkpoint *c = NULL;
        write_quickly(path, data, keep);
        assert_int_not_equal(cask_checkpoint_open(path, &c, &err), CASK_OK);
        assert_non_null(strstr(err.message, "broken"));
        if (keep > 100) {
            assert_non_null(strstr(err.message, "truncated"));
        }
    }
    for (size_t at = 0; at < bytes; at += 3) {
        struct cask_checkpoint *c = NULL;
        data[at] = (char)(data[at] ^ (1 << at % 8));
        write_quickly(path, data, bytes);
        if (cask_checkpoint_open(path, &c, &err) == CASK_OK) {
            for (int i = 0; i < cask_checkpoint_count(c); i++) {
                const struct cask_file_tensor *t = cask_checkpoint_tensor(c, i);
                assert_true(t->count >= 0 && (size_t)t->count <= bytes);
            }
        }
        cask_checkpoint_close(c);
        data[at] = (char)(data[at] ^ (1 << at % 8));
    }
    cask_free(data);
}

static void damage(void **state)
{
    (void)state;
    char temporary[256];
    test_make_folder(temporary);
    damage_of("plain.pth", temporary);
    damage_of("legacy.pth", temporary);
    damage_of("training.ckpt", temporary);
    test_remove_folder(temporary);
}

int main(void)
{
    setenv("CASK_LOG", "error", 1); /* changed bytes make checksum warnings */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),       cmocka_unit_test(types),
        cmocka_unit_test(views),       cmocka_unit_test(wrappers),
        cmocka_unit_test(classifiers), cmocka_unit_test(whole_modules),
        cmocka_unit_test(damage),      cmocka_unit_test(same_identity_in_any_container),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
