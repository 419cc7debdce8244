/* safetensors: what may not be in a file, what a saved net looks like to other readers, and that
 * its identity does not depend on the container. */
#include "common/mem.h"
#include "models/models.h"
#include "tests/support/folder.h"

/* header bytes, JSON, `data_bytes` zero bytes */
static void write_file(const char *header, uint64_t header_bytes, size_t data_bytes)
{
    static const char zeros[256];
    FILE *file = fopen(in_folder("t.safetensors"), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(&header_bytes, 8, 1, file), 1);
    assert_int_equal(fwrite(header, 1, strlen(header), file), strlen(header));
    assert_int_equal(fwrite(zeros, 1, data_bytes, file), data_bytes);
    assert_int_equal(fclose(file), 0);
}

static enum cask_status open_header(const char *header, size_t data_bytes, struct cask_error *err)
{
    struct cask_checkpoint *checkpoint = NULL;
    write_file(header, strlen(header), data_bytes);
    enum cask_status st = cask_checkpoint_open(in_folder("t.safetensors"), &checkpoint, err);
    cask_checkpoint_close(checkpoint);
    return st;
}
#define T(name, dtype, shape, begin, end)                                                          \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end   \
    "]}"

static void headers(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_checkpoint *checkpoint = NULL;
    assert_ok(open_header("{" T("a", "F32", "[2]", "0", "8") "}   ", 8, &err));
    assert_ok(open_header(
        "{" T("a", "F32", "[]", "0", "4") "," T("b", "F16", "[0,3]", "4", "4") "}", 4, &err));
    assert_ok(open_header("{}", 0, &err));
    char padded[0x1208 + 1];
    snprintf(padded, sizeof padded, "%-*s", 0x1208, "{}"); /* 08 12: as an ONNX file begins */
    assert_ok(open_header(padded, 0, &err));
    struct cask_model model;
    struct cask_preprocess preprocess = cask_preprocess_default();
    bool known = false;
    assert_refused(CASK_ERR_UNSUPPORTED, "cannot tell the network",
                   cask_model_open(NULL, "auto", in_folder("t.safetensors"), &preprocess, &known,
                                   &model, &err));
    assert_refused(
        CASK_ERR_FORMAT, "duplicate",
        open_header("{" T("a", "F32", "[1]", "0", "4") "," T("a", "F32", "[1]", "4", "8") "}", 8,
                    &err));
    assert_refused(
        CASK_ERR_FORMAT, "overlap",
        open_header("{" T("a", "F32", "[2]", "0", "8") "," T("b", "F32", "[2]", "4", "12") "}", 12,
                    &err));
    assert_refused(
        CASK_ERR_FORMAT, "hole",
        open_header("{" T("a", "F32", "[1]", "0", "4") "," T("b", "F32", "[1]", "8", "12") "}", 12,
                    &err));
    assert_refused(CASK_ERR_FORMAT, "belong to nothing",
                   open_header("{" T("a", "F32", "[1]", "0", "4") "}", 5, &err));
    assert_refused(CASK_ERR_FORMAT, "truncated download",
                   open_header("{" T("a", "F32", "[2]", "0", "8") "}", 7, &err));
    assert_refused(CASK_ERR_FORMAT, "its shape needs 12 bytes",
                   open_header("{" T("a", "F32", "[3]", "0", "8") "}", 8, &err));
    assert_refused(CASK_ERR_FORMAT, "is not a size",
                   open_header("{" T("a", "F32", "[-1]", "0", "8") "}", 8, &err));
    assert_refused(
        CASK_ERR_FORMAT, "its size overflows",
        open_header("{" T("a", "F32", "[4294967296,4294967296]", "0", "8") "}", 8, &err));
    assert_refused(CASK_ERR_FORMAT, "[begin, end]",
                   open_header("{" T("a", "F32", "[1]", "8", "4") "}", 8, &err));
    assert_refused(CASK_ERR_FORMAT, "[begin, end]",
                   open_header("{" T("a", "F32", "[1]", "-4", "0") "}", 8, &err));
    assert_refused(CASK_ERR_UNSUPPORTED, "dtype F8_E4M3",
                   open_header("{" T("a", "F8_E4M3", "[1]", "0", "1") "}", 1, &err));
    assert_refused(CASK_ERR_FORMAT, "JSON", open_header("{\"a\":", 0, &err));
    assert_refused(CASK_ERR_FORMAT, "not a text",
                   open_header("{\"__metadata__\":{\"a\":1}}", 0, &err));
    write_file("{}", 100000001, 0);
    assert_refused(CASK_ERR_FORMAT, "at most 100000000",
                   cask_checkpoint_open(in_folder("t.safetensors"), &checkpoint, &err));
    write_file("{}", 50, 0);
    assert_refused(CASK_ERR_FORMAT, "truncated download",
                   cask_checkpoint_open(in_folder("t.safetensors"), &checkpoint, &err));
    assert_non_null(strstr(err.message, "t.safetensors"));
}

/* Files with these names came out of training wrappers; Cask's own are taken as they are. */
static void prefixes(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_checkpoint *checkpoint = NULL;
    const char *header = "{" T("module.model.a", "F32", "[1]", "0",
                               "4") "," T("module.model.b", "F32", "[1]", "4", "8") "}";
    write_file(header, strlen(header), 8);
    assert_ok(cask_checkpoint_open(in_folder("t.safetensors"), &checkpoint, &err));
    assert_non_null(cask_checkpoint_find(checkpoint, "a"));
    assert_non_null(cask_checkpoint_find(checkpoint, "b"));
    cask_checkpoint_close(checkpoint);
    const float value = 3;
    const struct cask_file_tensor own = {
        .name = "model.a", .dtype = CASK_FILE_F32, .data = &value, .count = 1};
    assert_ok(cask_safetensors_write(in_folder("own.safetensors"), &own, 1, NULL, 0, &err));
    assert_ok(cask_checkpoint_open(in_folder("own.safetensors"), &checkpoint, &err));
    assert_non_null(cask_checkpoint_find(checkpoint, "model.a"));
    cask_checkpoint_close(checkpoint);
}

struct opened {
    struct cask_device *device;
    struct cask_graph *graph;
    struct cask_net *net;
};

static struct opened make_net(const char *network, int embedding, uint64_t seed)
{
    struct cask_error err;
    struct opened o = {0};
    const struct cask_device_options device = {.backend = "ref", .threads = 1};
    const struct cask_graph_options options = {.embedding = embedding, .width = 96, .height = 112};
    assert_ok(cask_device_open(&device, &o.device, &err));
    assert_ok(cask_graph_build(network, &options, &o.graph, &err));
    assert_ok(cask_net_create(o.graph, o.device, false, &o.net, &err));
    assert_ok(cask_net_init(o.net, seed, &err));
    return o;
}

static void close_net(struct opened *o)
{
    cask_net_free(o->net);
    cask_graph_free(o->graph);
    cask_device_close(o->device);
}

/* Saved, then opened by nothing but its path: same network, same numbers, same identity. */
static void saved_nets_open(void **state)
{
    (void)state;
    struct cask_error err;
    struct opened o = make_net("mobilefacenet", 64, 5);
    const struct cask_preprocess bgr = {CASK_BGR, 127.5, 128, 96, 112};
    struct cask_preprocess found = cask_preprocess_default();
    const struct cask_metadata_entry entries[] = {{"classes", "10"}, {"note", "a \"quoted\" text"}};
    struct cask_model model;
    bool known = false;
    char before[65], after[65];
    float rows[6] = {1, 2, 3, 4, 5, 6};
    const struct cask_file_tensor head = {.name = "head.weight",
                                          .dtype = CASK_FILE_F32,
                                          .shape = {1, 6},
                                          .rank = 2,
                                          .count = 6,
                                          .data = rows};
    assert_ok(
        cask_net_save_with(o.net, in_folder("s.safetensors"), &bgr, &head, 1, entries, 2, &err));
    assert_ok(cask_net_fingerprint(o.net, before, &err));
    assert_ok(cask_model_open(o.device, "auto", in_folder("s.safetensors"), &found, &known, &model,
                              &err));
    assert_true(known);
    assert_true(cask_preprocess_equal(&found, &bgr));
    assert_string_equal(cask_graph_name(model.graph), "mobilefacenet");
    assert_int_equal(cask_graph_embedding(model.graph), 64);
    assert_string_equal(cask_checkpoint_metadata(model.checkpoint, "classes"), "10");
    assert_string_equal(cask_checkpoint_metadata(model.checkpoint, "note"), "a \"quoted\" text");
    assert_string_equal(cask_checkpoint_metadata(model.checkpoint, "eps"),
                        "1.0000000000000001e-05");
    assert_ok(cask_net_fingerprint(model.net, after, &err));
    assert_string_equal(before, after);
    for (int i = 0; i < cask_graph_param_count(o.graph); i++) {
        const struct cask_param_info *info = cask_graph_param(o.graph, i);
        assert_memory_equal(cask_net_value(o.net, i), cask_net_value(model.net, i),
                            (size_t)info->count * sizeof(float));
    }
    float *centers = NULL;
    int64_t classes = 0;
    assert_ok(cask_checkpoint_classifier(model.checkpoint, 6, &centers, &classes, &err));
    assert_int_equal(classes, 1);
    assert_memory_equal(centers, rows, sizeof rows);
    cask_free(centers);
    cask_model_close(&model);
    /* One changed weight is another identity. */
    float *weight = cask_net_value(o.net, 0);
    weight[0] = nextafterf(weight[0], 9);
    assert_ok(cask_net_fingerprint(o.net, after, &err));
    assert_string_not_equal(before, after);
    close_net(&o);
}

/* Class rows do not become a network's parameters, but centres. 1e300 is infinite as a float. */
static void class_rows_must_be_finite(void **state)
{
    (void)state;
    struct cask_error err;
    const double large[6] = {1, 2, 1e300, 4, 5, 6};
    const float rows[6] = {1, 2, 3, 4, NAN, 6};
    struct cask_file_tensor tensor = {
        .name = "head.weight", .dtype = CASK_FILE_F32, .shape = {2, 3}, .rank = 2, .count = 6};
    for (int i = 0; i < 2; i++) {
        struct cask_checkpoint *checkpoint = NULL;
        float *centers = NULL;
        int64_t classes = 0;
        tensor.dtype = i == 0 ? CASK_FILE_F32 : CASK_FILE_F64;
        tensor.data = i == 0 ? (const void *)rows : large;
        assert_ok(cask_safetensors_write(in_folder("c.safetensors"), &tensor, 1, NULL, 0, &err));
        assert_ok(cask_checkpoint_open(in_folder("c.safetensors"), &checkpoint, &err));
        assert_refused(CASK_ERR_FORMAT,
                       i == 0 ? "c.safetensors: tensor \"head.weight\": element 4 of 6 is nan"
                              : "c.safetensors: tensor \"head.weight\": element 2 of 6 is inf",
                       cask_checkpoint_classifier(checkpoint, 3, &centers, &classes, &err));
        assert_null(centers);
        assert_int_equal(classes, 0);
        cask_checkpoint_close(checkpoint);
    }
}

/* Layout rules checked by a reader that shares nothing with ours. */
static void python_agrees(void **state)
{
    (void)state;
    struct cask_error err;
    char command[1500];
    struct opened o = make_net("mobilefacenet", 32, 7);
    const struct cask_preprocess rgb = {CASK_RGB, 127.5, 127.5, 96, 112};
    double sum = 0;
    int keys = cask_graph_param_count(o.graph);
    assert_ok(cask_net_save(o.net, in_folder("p.safetensors"), &rgb, NULL, 0, &err));
    int param = cask_graph_find_param(o.graph, "conv_45.conv_dw.conv.weight");
    const float *values = cask_net_value(o.net, param);
    for (int64_t i = 0; i < cask_graph_param(o.graph, param)->count; i++) {
        sum += (double)values[i];
    }
    close_net(&o);
    if (system("/usr/bin/python3 -c 'import numpy' 2>/dev/null") != 0) {
        print_message("no python3 with numpy\n");
        skip();
    }
    snprintf(command, sizeof command,
             "/usr/bin/python3 -c \"\n"
             "import json, struct, numpy\n"
             "b = open('%s', 'rb').read()\n"
             "n, = struct.unpack('<Q', b[:8]); h = json.loads(b[8:8 + n]); m = "
             "h.pop('__metadata__'); d = b[8 + n:]\n"
             "assert n %% 8 == 0 and len(h) == %d, (n, len(h))\n"
             "at = 0\n"
             "for k, t in h.items():\n"
             "    p, q = t['data_offsets']; assert p == at; at = q\n"
             "    assert q - p == numpy.prod(t['shape'], dtype=int) * {'F32': 4, 'I64': "
             "8}[t['dtype']], k\n"
             "assert at == len(d)\n"
             "assert m['net'] == 'mobilefacenet' and m['embedding'] == '32' and "
             "m['format_version'] == 'cask 1'\n"
             "assert m['input_height'] == '112' and m['input_width'] == '96' and "
             "m['channel_order'] == 'rgb'\n"
             "assert float(m['mean']) == float(m['scale']) == 127.5 and all(type(v) is str for v "
             "in m.values())\n"
             "t = h['conv_45.conv_dw.conv.weight']; assert t['shape'] == [512, 1, 3, 3]\n"
             "w = numpy.frombuffer(d[slice(*t['data_offsets'])], '<f4').astype(float).sum()\n"
             "assert abs(w - %.17g) < 1e-9, w\n"
             "assert h['conv1.bn.num_batches_tracked'] == {'dtype': 'I64', 'shape': [], "
             "'data_offsets': h['conv1.bn.num_batches_tracked']['data_offsets']}\n"
             "\"",
             in_folder("p.safetensors"), keys, sum);
    assert_int_equal(system(command), 0);
}

static void mismatches_are_listed(void **state)
{
    (void)state;
    struct cask_error err;
    struct opened o = make_net("mobilefacenet", 64, 5), other = make_net("mobilefacenet", 32, 5);
    const struct cask_preprocess rgb = {CASK_RGB, 127.5, 127.5, 96, 112};
    struct cask_preprocess found = cask_preprocess_default();
    struct cask_checkpoint *checkpoint = NULL;
    struct cask_model model;
    bool known = false;
    assert_ok(cask_net_save(o.net, in_folder("s.safetensors"), &rgb, NULL, 0, &err));
    assert_ok(cask_checkpoint_open(in_folder("s.safetensors"), &checkpoint, &err));
    assert_refused(CASK_ERR_MISMATCH, "output_layer.linear.weight (expected 32x512, found 64x512)",
                   cask_net_load(other.net, checkpoint, &err));
    assert_non_null(strstr(err.message, "embedding 64"));
    cask_checkpoint_close(checkpoint);
    assert_refused(CASK_ERR_MISMATCH, "looks like \"mobilefacenet\"",
                   cask_model_open(o.device, "ir18", in_folder("s.safetensors"), &found, &known,
                                   &model, &err));
    assert_non_null(strstr(err.message, "missing: conv1.weight"));
    assert_non_null(strstr(err.message, "unknown: conv1.conv.weight"));
    assert_refused(CASK_ERR_USAGE, "not ONNX",
                   cask_model_open(o.device, "onnx", in_folder("s.safetensors"), &found, &known,
                                   &model, &err));
    assert_refused(
        CASK_ERR_IO, "missing.pth",
        cask_model_open(o.device, NULL, in_folder("missing.pth"), &found, &known, &model, &err));
    close_net(&o);
    close_net(&other);
}

/* Five layouts share the name IR-50; the message says which one it is. */
static void known_families(void **state)
{
    (void)state;
    static const struct {
        const char *keys[4], *says;
    } files[] = {
        {{"body.0.res_layer.1.weight", "body.0.res_layer.5.running_mean"}, "layout B"},
        {{"body.0.res_layer.1.weight", "body.0.res_layer.4.running_mean"}, "layout C"},
        {{"body.0.res_layer.1.weight", "body.0.res_layer.4.running_mean", "features.weight"},
         "layout D"},
        {{"body.0.res_layer.1.weight", "body.0.res_layer.5.fc1.weight"}, "IR_SE"},
        {{"body.0.res_layer.1.weight", "body.0.res_layer.8.running_mean"}, "bottleneck"},
        {{"layer1.0.bn1.weight", "layer1.0.conv1.weight"}, "torchvision ResNet"},
        {{"conv_23.conv.conv.weight", "conv_6_dw.conv.weight"}, "facex_mobilefacenet"},
        {{"layer1.0.bn1.weight", "layer1.0.prelu.weight"}, "these are not weights of ir18"},
    };
    struct cask_error err;
    struct cask_preprocess found = cask_preprocess_default();
    struct cask_device *device = NULL;
    struct cask_model model;
    bool known = false;
    const float value = 1;
    const struct cask_device_options options = {.backend = "ref", .threads = 1};
    assert_ok(cask_device_open(&options, &device, &err));
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        struct cask_file_tensor tensors[4] = {0};
        int count = 0;
        for (; count < 4 && files[f].keys[count] != NULL; count++) {
            tensors[count] =
                (struct cask_file_tensor){.name = files[f].keys[count], .data = &value, .count = 1};
        }
        assert_ok(
            cask_safetensors_write(in_folder("k.safetensors"), tensors, count, NULL, 0, &err));
        assert_refused(CASK_ERR_MISMATCH, files[f].says,
                       cask_model_open(device, "ir18", in_folder("k.safetensors"), &found, &known,
                                       &model, &err));
    }
    cask_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers),         cmocka_unit_test(prefixes),
        cmocka_unit_test(saved_nets_open), cmocka_unit_test(class_rows_must_be_finite),
        cmocka_unit_test(python_agrees),   cmocka_unit_test(mismatches_are_listed),
        cmocka_unit_test(known_families),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
