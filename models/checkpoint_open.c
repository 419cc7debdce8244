/* Opens a checkpoint: sniffs the container, calls its reader, strips what wrappers put before the
 * names, and sorts them for lookup. */
#include "models/checkpoint.h"

#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------------- prefixes */

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool all_start_with(const struct cask_tensor_list *list, const char *prefix)
{
    bool some = false;
    for (int i = 0; i < list->count; i++) {
        const char *name = list->items[i].name;
        /* FaceX-Zoo and AdaFace keep their classifier beside the network. */
        if (starts_with(name, "head.")) {
            continue;
        }
        if (!starts_with(name, prefix)) {
            return false;
        }
        some = true;
    }
    return some;
}

static void strip(struct cask_tensor_list *list, const char *prefix)
{
    for (int t = 0; t < list->count; t++) {
        if (starts_with(list->items[t].name, prefix)) {
            list->items[t].name += strlen(prefix);
        }
    }
}

/* What stands before the first tensor of a network, "student.encoder." or the like, and before all
 * others. */
static void strip_before_stem(struct cask_tensor_list *list)
{
    static const char *const stems[] = {"conv1.weight", "conv1.conv.weight", "input_layer.0.weight",
                                        "layers.0.layers.0.weight", "features.0.0.weight"};
    char prefix[200];
    for (int t = 0; t < list->count; t++) {
        const char *name = list->items[t].name;
        for (size_t i = 0; i < sizeof stems / sizeof *stems; i++) {
            const size_t n = strlen(name), m = strlen(stems[i]);
            const size_t before = n > m ? n - m : 0;
            if (before < 2 || before >= sizeof prefix || name[before - 1] != '.' ||
                strcmp(name + before, stems[i]) != 0) {
                continue;
            }
            memcpy(prefix, name, before);
            prefix[before] = '\0';
            if (all_start_with(list, prefix)) {
                strip(list, prefix);
                return;
            }
        }
    }
}

/* DataParallel, Lightning and training wrappers put their attribute's name before every key. No
 * network in the registry has such a prefix itself. */
static void strip_prefixes(struct cask_tensor_list *list)
{
    static const char *const prefixes[] = {"module.", "model.", "backbone.", "feat_net.", "net."};
    enum { COUNT = sizeof prefixes / sizeof *prefixes };
    for (int i = 0; i < COUNT; i++) {
        if (!all_start_with(list, prefixes[i])) {
            continue;
        }
        strip(list, prefixes[i]);
        i = -1; /* "module.backbone.": look again from the start */
    }
}

/* ------------------------------------------------------------------ name index */

static int compare_names(const void *a, const void *b, void *items)
{
    const struct cask_file_tensor *tensors = items;
    return strcmp(tensors[*(const int *)a].name, tensors[*(const int *)b].name);
}

static enum cask_status sort_names(struct cask_checkpoint *c, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int count = c->tensors.count;
    c->by_name = cask_alloc((size_t)count, sizeof *c->by_name);
    if (c->by_name == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *c->by_name, "the name index"));
    }
    for (int i = 0; i < count; i++) {
        c->by_name[i] = i;
    }
    if (count > 0) {
        qsort_r(c->by_name, (size_t)count, sizeof *c->by_name, compare_names, c->tensors.items);
    }
    for (int i = 1; i < count; i++) {
        if (compare_names(&c->by_name[i - 1], &c->by_name[i], c->tensors.items) == 0) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "two tensors are called \"%s\"",
                                    c->tensors.items[c->by_name[i]].name));
        }
    }
done:
    return st;
}

/* --------------------------------------------------------------------- opening */

static bool looks_like_safetensors(const uint8_t *data, size_t bytes)
{
    /* The 8th byte of the header's length: no header is 2^56 bytes long. */
    return bytes >= 9 && data[7] == 0 && data[8] == '{';
}

/* A ModelProto begins with field 1 (ir_version, a small varint), then a later field. */
bool cask_looks_like_onnx(const uint8_t *data, size_t bytes)
{
    return bytes >= 9 && !looks_like_safetensors(data, bytes) && data[0] == 0x08 &&
           data[1] < 0x40 && data[2] >> 3 >= 2 && data[2] >> 3 <= 25 &&
           ((data[2] & 7) == 0 || (data[2] & 7) == 2);
}

static enum cask_status read_container(struct cask_checkpoint *c, struct cask_error *err)
{
    const uint8_t *d = c->data;
    size_t n = c->bytes;
    if (n >= 4 && memcmp(d, "PK\3\4", 4) == 0) {
        c->container = "PyTorch zip";
        return cask_torch_zip_read(c, err);
    }
    if (cask_torch_legacy_sniff(d, n)) {
        c->container = "PyTorch legacy";
        return cask_torch_legacy_read(c, err);
    }
    if (looks_like_safetensors(d, n)) {
        c->container = "safetensors";
        return cask_safetensors_read(c, err);
    }
    if (n == 0) {
        return cask_error_set(err, CASK_ERR_FORMAT, "the file is empty");
    }
    if (cask_looks_like_onnx(d, n)) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "this is an ONNX graph, not a checkpoint: its batch norms are folded "
                              "and cannot be trained; as a teacher its network is \"onnx\"");
    }
    if (n > 262 && memcmp(d + 257, "ustar", 5) == 0) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "a tar file, as PyTorch 0.1 wrote; load it there and save the "
                              "state_dict again");
    }
    if (n >= 2 && d[0] == 0x80 && d[1] >= 2 && d[1] <= 5) {
        return cask_error_set(
            err, CASK_ERR_UNSUPPORTED,
            "a bare pickle, not a PyTorch file; save with torch.save(state_dict)");
    }
    return cask_error_set(
        err, CASK_ERR_FORMAT,
        "expected safetensors or a PyTorch file, found bytes %02x %02x %02x %02x; "
        "a download page saved as a file?",
        d[0], n > 1 ? d[1] : 0, n > 2 ? d[2] : 0, n > 3 ? d[3] : 0);
}

static enum cask_status fill(struct cask_checkpoint *c, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(read_container(c, err));
    if (!c->own) {
        strip_prefixes(&c->tensors);
        strip_before_stem(&c->tensors);
    }
    CASK_TRY(sort_names(c, err));
done:
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", c->path);
    }
    return st;
}

enum cask_status cask_checkpoint_open_memory(const char *name, const void *data, size_t bytes,
                                             struct cask_checkpoint **checkpoint,
                                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_checkpoint *c = cask_alloc(1, sizeof *c);
    if (c == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *c, name));
    }
    cask_arena_init(&c->arena);
    c->path = cask_arena_strdup(&c->arena, name);
    if (c->path == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(name), name));
    }
    c->data = data;
    c->bytes = bytes;
    CASK_TRY(fill(c, err));
    *checkpoint = c;
    c = NULL;
done:
    cask_checkpoint_close(c);
    return st;
}

enum cask_status cask_checkpoint_open(const char *path, struct cask_checkpoint **checkpoint,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_map map = {0};
    CASK_TRY(cask_map_open(&map, path, err));
    CASK_TRY(cask_checkpoint_open_memory(path, map.data, map.bytes, checkpoint, err));
    (*checkpoint)->map = map;
    map = (struct cask_map){0};
done:
    cask_map_close(&map);
    return st;
}
