/* What PyTorch's pickles mean: storages, tensors, and which of the maps in a file is the
 * state_dict. Globals that are not in the table are carried along as opaque values, because
 * training checkpoints hold schedulers and settings beside the weights; nobody looks into them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/torch_pickle.h"

enum meaning {
    TENSOR_V2,
    TENSOR_V3,
    PARAMETER,
    STORAGE, /* + enum cask_file_dtype */
    UNTYPED = STORAGE + 100,
    DTYPE, /* + enum cask_file_dtype */
};

static const struct cask_pickle_global globals[] = {
    {"collections", "OrderedDict", CASK_PICKLE_MAKES_DICT},
    {"torch._utils", "_rebuild_tensor_v2", TENSOR_V2},
    {"torch._utils", "_rebuild_tensor_v3", TENSOR_V3},
    {"torch._utils", "_rebuild_parameter", PARAMETER},
    {"torch._utils", "_rebuild_parameter_with_state", PARAMETER},
    {"torch", "FloatStorage", STORAGE + CASK_FILE_F32},
    {"torch", "HalfStorage", STORAGE + CASK_FILE_F16},
    {"torch", "BFloat16Storage", STORAGE + CASK_FILE_BF16},
    {"torch", "DoubleStorage", STORAGE + CASK_FILE_F64},
    {"torch", "LongStorage", STORAGE + CASK_FILE_I64},
    {"torch", "IntStorage", STORAGE + CASK_FILE_I32},
    {"torch", "ShortStorage", STORAGE + CASK_FILE_I16},
    {"torch", "CharStorage", STORAGE + CASK_FILE_I8},
    {"torch", "ByteStorage", STORAGE + CASK_FILE_U8},
    {"torch", "BoolStorage", STORAGE + CASK_FILE_BOOL},
    {"torch.storage", "UntypedStorage", UNTYPED},
    {"torch", "float32", DTYPE + CASK_FILE_F32},
    {"torch", "float16", DTYPE + CASK_FILE_F16},
    {"torch", "bfloat16", DTYPE + CASK_FILE_BF16},
    {"torch", "float64", DTYPE + CASK_FILE_F64},
    {"torch", "int64", DTYPE + CASK_FILE_I64},
    {"torch", "int32", DTYPE + CASK_FILE_I32},
    {"torch", "int16", DTYPE + CASK_FILE_I16},
    {"torch", "int8", DTYPE + CASK_FILE_I8},
    {"torch", "uint8", DTYPE + CASK_FILE_U8},
    {"torch", "bool", DTYPE + CASK_FILE_BOOL},
};

enum cask_status cask_torch_parse(const uint8_t *data, size_t bytes, size_t base,
                                  struct cask_pickle **pickle, size_t *used, struct cask_error *err)
{
    const struct cask_pickle_options options = {.globals = globals,
                                                .global_count = sizeof globals / sizeof *globals,
                                                .tolerant = true,
                                                .persistent = true,
                                                .base = base};
    return cask_pickle_parse(data, bytes, &options, pickle, used, err);
}

/* -------------------------------------------------------------------- storages */

static enum cask_status whole_module(const struct cask_pickle_value *global, struct cask_error *err)
{
    return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                          "pickle opcode GLOBAL at byte %zu: %s.%s: the file holds pickled Python "
                          "objects (a whole module), not tensors; load it where its classes are "
                          "and save torch.save(model.state_dict(), FILE)",
                          global->offset, global->global.module, global->global.name);
}

/* ("storage", type, key, location, numel) and in legacy files a view, which must be None. */
static enum cask_status read_storage(const struct cask_pickle_value *persistent,
                                     struct cask_torch_storage *storage, struct cask_error *err)
{
    const struct cask_pickle_value *id = persistent->persistent.id;
    const struct cask_pickle_value *type = cask_pickle_at(id, 1), *key = cask_pickle_at(id, 2);
    const struct cask_pickle_value *view = cask_pickle_at(id, 5);
    if (cask_pickle_is_text(cask_pickle_at(id, 0), "module") && type != NULL &&
        type->kind == CASK_PICKLE_GLOBAL) {
        return whole_module(type, err);
    }
    if (!cask_pickle_is_text(cask_pickle_at(id, 0), "storage") || key == NULL ||
        (key->kind != CASK_PICKLE_TEXT && key->kind != CASK_PICKLE_BYTES) ||
        !cask_pickle_as_int(cask_pickle_at(id, 4), &storage->numel) || storage->numel < 0 ||
        (view != NULL && view->kind != CASK_PICKLE_NONE)) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "pickle opcode BINPERSID at byte %zu: expected (\"storage\", type, "
                              "key, location, elements)",
                              persistent->offset);
    }
    int meaning = type != NULL && type->kind == CASK_PICKLE_GLOBAL ? type->global.meaning : -1;
    if (meaning == UNTYPED) {
        storage->dtype = CASK_FILE_U8;
    } else if (meaning >= STORAGE && meaning <= STORAGE + (int)CASK_FILE_BOOL) {
        storage->dtype = (enum cask_file_dtype)(meaning - STORAGE);
    } else {
        bool named = type != NULL && type->kind == CASK_PICKLE_GLOBAL;
        return cask_error_set(
            err, CASK_ERR_UNSUPPORTED,
            "pickle opcode BINPERSID at byte %zu: storage type %s.%s is not read; "
            "save the float network",
            persistent->offset, named ? type->global.module : "?", named ? type->global.name : "?");
    }
    int64_t limit = 0;
    if (__builtin_mul_overflow(storage->numel, (int64_t)8, &limit)) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "pickle opcode BINPERSID at byte %zu: %" PRId64 " elements",
                              persistent->offset, storage->numel);
    }
    storage->key = key->text.data;
    storage->key_bytes = key->text.bytes;
    return CASK_OK;
}

static int compare_keys(const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
    size_t common = a_bytes < b_bytes ? a_bytes : b_bytes;
    int order = common > 0 ? memcmp(a, b, common) : 0;
    return order != 0 ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static int compare_storages(const void *a, const void *b)
{
    const struct cask_torch_storage *x = a, *y = b;
    return compare_keys(x->key, x->key_bytes, y->key, y->key_bytes);
}

enum cask_status cask_torch_list_storages(const struct cask_pickle *pickle,
                                          struct cask_torch_storages *storages,
                                          struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t count = 0, kept = 0;
    const struct cask_pickle_value *p = NULL;
    while ((p = cask_pickle_next_persistent(pickle, p)) != NULL) {
        count++;
    }
    storages->items = cask_alloc(count, sizeof *storages->items);
    if (storages->items == NULL) {
        CASK_TRY(cask_error_memory(err, count * sizeof *storages->items, "storages"));
    }
    for (size_t i = 0; i < count; i++) {
        p = cask_pickle_next_persistent(pickle, p);
        CASK_TRY(read_storage(p, &storages->items[i], err));
    }
    if (count > 0) {
        qsort(storages->items, count, sizeof *storages->items, compare_storages);
    }
    for (size_t i = 0; i < count; i++) {
        struct cask_torch_storage *last = kept > 0 ? &storages->items[kept - 1] : NULL;
        const struct cask_torch_storage *next = &storages->items[i];
        if (last == NULL || compare_storages(last, next) != 0) {
            storages->items[kept++] = *next;
        } else if (last->dtype != next->dtype || last->numel != next->numel) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "storage \"%.*s\" has two types or sizes",
                                    next->key_bytes < 100 ? (int)next->key_bytes : 100, next->key));
        }
    }
    storages->count = kept;
done:
    return st;
}

struct cask_torch_storage *cask_torch_find_storage(const struct cask_torch_storages *storages,
                                                   const uint8_t *key, size_t key_bytes)
{
    const struct cask_torch_storage wanted = {.key = key, .key_bytes = key_bytes};
    return storages->count == 0 ? NULL
                                : bsearch(&wanted, storages->items, storages->count, sizeof wanted,
                                          compare_storages);
}

/* --------------------------------------------------------------------- tensors */

/* The arguments of the tensor inside `value`, which may be wrapped as a parameter; NULL: not a
 * tensor. */
static const struct cask_pickle_value *tensor_args(const struct cask_pickle_value *value, bool *v3)
{
    const struct cask_pickle_value *parameter = cask_pickle_args(value, PARAMETER);
    value = parameter != NULL ? cask_pickle_at(parameter, 0) : value;
    const struct cask_pickle_value *args = cask_pickle_args(value, TENSOR_V2);
    *v3 = args == NULL;
    return args != NULL ? args : cask_pickle_args(value, TENSOR_V3);
}

bool cask_torch_is_tensor(const struct cask_pickle_value *value)
{
    bool v3 = false;
    return tensor_args(value, &v3) != NULL;
}

static bool read_sizes(const struct cask_pickle_value *tuple, int rank, int64_t *out)
{
    for (int i = 0; i < rank; i++) {
        if (!cask_pickle_as_int(cask_pickle_at(tuple, (size_t)i), &out[i]) || out[i] < 0) {
            return false;
        }
    }
    return true;
}

static bool is_contiguous(const struct cask_file_tensor *tensor, const int64_t *strides)
{
    int64_t expected = 1;
    for (int i = tensor->rank - 1; tensor->count > 0 && i >= 0; i--) {
        if (tensor->shape[i] != 1 && strides[i] != expected) {
            return false;
        }
        expected *= tensor->shape[i];
    }
    return true;
}

/* Copies a view with other strides (channels_last, transposed) in row-major order. */
static enum cask_status make_contiguous(struct cask_checkpoint *c, struct cask_file_tensor *tensor,
                                        const int64_t *strides, struct cask_error *err)
{
    size_t size = cask_file_dtype_size(tensor->dtype), bytes = (size_t)tensor->count * size;
    /* Expanded views (stride 0) could ask for far more memory than the file has. */
    c->copied_bytes += bytes;
    if (c->copied_bytes > 2 * c->bytes) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "views of shared storages need over twice the file's size; save with "
                              "contiguous tensors");
    }
    uint8_t *copy = cask_arena_alloc(&c->arena, (size_t)tensor->count, size);
    if (copy == NULL) {
        return cask_error_memory(err, bytes, "a contiguous copy of a tensor");
    }
    int64_t index[CASK_FILE_RANK] = {0}, at = 0;
    for (int64_t i = 0; i < tensor->count; i++) {
        memcpy(copy + (size_t)i * size, (const uint8_t *)tensor->data + (size_t)at * size, size);
        for (int d = tensor->rank - 1; d >= 0; d--) {
            at += strides[d];
            if (++index[d] < tensor->shape[d]) {
                break;
            }
            at -= strides[d] * tensor->shape[d];
            index[d] = 0;
        }
    }
    tensor->data = copy;
    return CASK_OK;
}

/* offset + sum (size_d - 1) * stride_d must lie inside the storage. */
static bool fits_storage(const struct cask_file_tensor *tensor, const int64_t *strides,
                         int64_t offset, int64_t numel)
{
    int64_t last = offset, step = 0;
    if (tensor->count == 0) {
        return offset >= 0 && offset <= numel;
    }
    for (int i = 0; i < tensor->rank; i++) {
        if (__builtin_mul_overflow(tensor->shape[i] - 1, strides[i], &step) ||
            __builtin_add_overflow(last, step, &last)) {
            return false;
        }
    }
    return offset >= 0 && last < numel;
}

/* v2 (storage, offset, sizes, strides, requires_grad, hooks), v3 adds the dtype. Offset and strides
 * count elements. */
enum cask_status cask_torch_tensor(struct cask_checkpoint *c,
                                   const struct cask_torch_storages *storages,
                                   const struct cask_pickle_value *value,
                                   struct cask_file_tensor *tensor, struct cask_error *err)
{
    bool v3 = false;
    const struct cask_pickle_value *args = tensor_args(value, &v3);
    const struct cask_pickle_value *where = cask_pickle_at(args, 0),
                                   *size = cask_pickle_at(args, 2);
    const struct cask_pickle_value *stride = cask_pickle_at(args, 3),
                                   *type = cask_pickle_at(args, 6);
    int64_t offset = 0, strides[CASK_FILE_RANK] = {0};
    size_t rank = cask_pickle_size(size);
    if (where == NULL || where->kind != CASK_PICKLE_PERSISTENT || rank > CASK_FILE_RANK ||
        cask_pickle_size(stride) != rank || !cask_pickle_as_int(cask_pickle_at(args, 1), &offset) ||
        !read_sizes(size, (int)rank, tensor->shape) || !read_sizes(stride, (int)rank, strides)) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "pickle opcode REDUCE at byte %zu: expected a tensor's storage, "
                              "offset, sizes and strides (at most %d dimensions)",
                              value->offset, CASK_FILE_RANK);
    }
    const struct cask_pickle_value *key = cask_pickle_at(where->persistent.id, 2);
    const struct cask_torch_storage *s =
        cask_torch_find_storage(storages, key->text.data, key->text.bytes);
    int64_t numel = s->numel;
    tensor->rank = (int)rank;
    tensor->dtype = s->dtype;
    if (v3) {
        int meaning = type != NULL && type->kind == CASK_PICKLE_GLOBAL ? type->global.meaning : -1;
        if (meaning < DTYPE || meaning > DTYPE + (int)CASK_FILE_BOOL) {
            return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                  "pickle opcode REDUCE at byte %zu: a tensor of a dtype that is "
                                  "not read",
                                  value->offset);
        }
        tensor->dtype = (enum cask_file_dtype)(meaning - DTYPE);
        numel = numel * (int64_t)cask_file_dtype_size(s->dtype) /
                (int64_t)cask_file_dtype_size(tensor->dtype);
    }
    if (!cask_shape_count(tensor->shape, tensor->rank, tensor->dtype, &tensor->count) ||
        !fits_storage(tensor, strides, offset, numel)) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "pickle opcode REDUCE at byte %zu: the tensor reaches beyond its "
                              "storage of %" PRId64 " elements",
                              value->offset, numel);
    }
    tensor->data = s->data + (size_t)offset * cask_file_dtype_size(tensor->dtype);
    return is_contiguous(tensor, strides) ? CASK_OK : make_contiguous(c, tensor, strides, err);
}

enum cask_status cask_torch_refuse_objects(const struct cask_pickle *pickle, struct cask_error *err)
{
    const struct cask_pickle_value *unknown = cask_pickle_first_unknown(pickle);
    if (unknown != NULL) {
        return whole_module(unknown, err);
    }
    return cask_error_set(err, CASK_ERR_FORMAT,
                          "no map of tensors in the file: expected a state_dict, found a %s",
                          cask_pickle_kind_name(cask_pickle_root(pickle)));
}
