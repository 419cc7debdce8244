/* Which network a file belongs to: every network of the registry is known by its keys alone, and
 * files that fit none are told apart key by key. */
#include "tests/support/folder.h"

#include <fcntl.h>

#include "common/mem.h"
#include "models/detect.h"
#include "models/difference.h"

static struct cask_error err;

/* What is written in place of key `index`; NULL: left out. */
typedef const char *rename_key(const char *name, int index);

/* A safetensors file with the graph's keys and shapes. Its numbers are a hole in the file, so the
 * largest network costs no disk. */
static void write_keys(const char *path, const struct cask_graph *graph, rename_key *rename)
{
    const int count = cask_graph_param_count(graph);
    char *header = cask_alloc((size_t)count * 200 + 100, 1), *at = header + 8;
    uint64_t offset = 0;
    assert_non_null(header);
    at += sprintf(at, "{\"__metadata__\":{}");
    for (int i = 0; i < count; i++) {
        const struct cask_param_info *info = cask_graph_param(graph, i);
        const char *name = rename != NULL ? rename(info->name, i) : info->name;
        const bool counter = info->role == CASK_PARAM_BN_COUNT;
        const uint64_t bytes = (uint64_t)info->count * (counter ? 8 : 4);
        if (name == NULL) {
            continue;
        }
        at += sprintf(at, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", name, counter ? "I64" : "F32");
        for (int d = 0; d < info->rank; d++) {
            at += sprintf(at, "%s%d", d > 0 ? "," : "", (int)info->shape[d]);
        }
        at += sprintf(at, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)offset,
                      (unsigned long long)(offset + bytes));
        offset += bytes;
    }
    *at++ = '}';
    const uint64_t length = (uint64_t)(at - header) - 8;
    memcpy(header, &length, sizeof length);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, header, (size_t)(at - header)), at - header);
    assert_int_equal(ftruncate(fd, (off_t)(8 + length + offset)), 0);
    close(fd);
    cask_free(header);
}

static struct cask_graph *build(const char *name, int width, int height)
{
    const struct cask_graph_options options = {.embedding = 96, .width = width, .height = height};
    struct cask_graph *graph = NULL;
    assert_ok(cask_graph_build(name, &options, &graph, &err));
    return graph;
}

static void every_network_is_known_by_its_keys(void **state)
{
    (void)state;
    for (int i = 0; cask_graph_network(i) != NULL; i++) {
        const char *name = cask_graph_network(i);
        struct cask_graph *graph = build(name, 64, 80);
        struct cask_checkpoint *checkpoint = NULL;
        struct cask_detected found;
        char difference[500];
        write_keys(in_folder("keys.safetensors"), graph, NULL);
        assert_ok(cask_checkpoint_open(in_folder("keys.safetensors"), &checkpoint, &err));
        cask_detect(checkpoint, &found);
        assert_string_equal(found.network, name);
        assert_int_equal(found.embedding, 96);
        /* An average over the picture leaves no trace of its size, a fifth halving a rounded one.
         */
        const bool pooled = strncmp(name, "resnet", 6) == 0 || strncmp(name, "torchv", 6) == 0;
        const bool rounded = strcmp(name, "evolve_resnet50") == 0;
        assert_int_equal(found.width, pooled ? 0 : 64);
        assert_int_equal(found.height, pooled ? 0 : rounded ? 96 : 80);
        assert_non_null(found.family);
        assert_false(cask_key_difference(graph, checkpoint, difference, sizeof difference));
        assert_string_equal(difference, "");
        cask_checkpoint_close(checkpoint);
        cask_graph_free(graph);
    }
}

/* Opening the file must fail, and the message must hold all of `texts`. */
static void check_refusal(const char *network, rename_key *rename, const char *const *texts)
{
    struct cask_graph *graph = build(network, 64, 64);
    struct cask_device *device = NULL;
    struct cask_preprocess preprocess = cask_preprocess_default();
    struct cask_model model;
    bool known = false;
    const struct cask_device_options options = {.backend = "ref", .threads = 1};
    write_keys(in_folder("other.safetensors"), graph, rename);
    assert_ok(cask_device_open(&options, &device, &err));
    for (; *texts != NULL; texts++) {
        enum cask_status got = cask_model_open(device, "auto", in_folder("other.safetensors"),
                                               &preprocess, &known, &model, &err);
        assert_true(got == CASK_ERR_UNSUPPORTED || got == CASK_ERR_MISMATCH);
        if (strstr(err.message, *texts) == NULL) {
            fail_msg("\"%s\" is not in: %s", *texts, err.message);
        }
    }
    print_message("%s\n", err.message);
    cask_device_close(device);
    cask_graph_free(graph);
}

static const char *one_block_less(const char *name, int index)
{
    (void)index;
    return strncmp(name, "body.6.", 7) == 0 ? NULL : name;
}

static const char *foreign_head(const char *name, int index)
{
    static char text[100];
    (void)index;
    snprintf(text, sizeof text, "%s%s", strncmp(name, "fc.", 3) == 0 ? "embedding_" : "", name);
    return text;
}

static const char *all_foreign(const char *name, int index)
{
    static char text[100];
    (void)name;
    snprintf(text, sizeof text, "tensor%d", index);
    return text;
}

static void what_does_not_fit_is_listed(void **state)
{
    (void)state;
    check_refusal("tface_ir18", one_block_less,
                  (const char *[]){"cannot tell the network", "it looks like TFace IR (layout B",
                                   "The nearest network is \"tface_ir18\"",
                                   "missing: body.6.res_layer.0.weight", NULL});
    check_refusal("ir34", foreign_head,
                  (const char *[]){"these are not weights of ir34", "2 missing: fc.weight, fc.bias",
                                   "2 unknown: embedding_fc.weight, embedding_fc.bias", NULL});
    check_refusal(
        "resnet18", all_foreign,
        (const char *[]){"cannot tell the network from its 122 tensors (first: tensor0)", NULL});
    assert_null(strstr(err.message, "nearest"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_network_is_known_by_its_keys),
        cmocka_unit_test(what_does_not_fit_is_listed),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
