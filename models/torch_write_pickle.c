/* The pickle of a state_dict, opcode by opcode (pickletools names them). The reader of the same
 * format is torch_pickle.c; a global or class that occurs again is written again, so no memo is
 * needed. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "models/checkpoint.h"
#include "models/torch_write.h"

static void op(struct cask_text *p, char code)
{
    cask_text_add(p, &code, 1);
}

static void number(struct cask_text *p, uint64_t value, int bytes)
{
    char le[8];
    for (int i = 0; i < bytes; i++) {
        le[i] = (char)(value >> (8 * i));
    }
    cask_text_add(p, le, (size_t)bytes);
}

static void global(struct cask_text *p, const char *module, const char *name)
{
    op(p, 'c');
    cask_text_put(p, module);
    op(p, '\n');
    cask_text_put(p, name);
    op(p, '\n');
}

static void unicode(struct cask_text *p, const char *text)
{
    op(p, 'X');
    number(p, strlen(text), 4);
    cask_text_put(p, text);
}

/* BININT1, BININT, or LONG1 with eight bytes. */
static void integer(struct cask_text *p, int64_t value)
{
    if (value >= 0 && value < 256) {
        op(p, 'K');
        number(p, (uint64_t)value, 1);
    } else if (value >= INT32_MIN && value <= INT32_MAX) {
        op(p, 'J');
        number(p, (uint64_t)value, 4);
    } else {
        op(p, '\x8a');
        number(p, 8, 1);
        number(p, (uint64_t)value, 8);
    }
}

static const char *storage_class(enum cask_file_dtype dtype)
{
    switch (dtype) {
    case CASK_FILE_F32:
        return "FloatStorage";
    case CASK_FILE_F16:
        return "HalfStorage";
    case CASK_FILE_F64:
        return "DoubleStorage";
    case CASK_FILE_I64:
        return "LongStorage";
    default:
        return NULL;
    }
}

static void empty_ordered_dict(struct cask_text *p)
{
    global(p, "collections", "OrderedDict");
    op(p, ')'); /* EMPTY_TUPLE */
    op(p, 'R'); /* REDUCE */
}

/* ('storage', class, key, 'cpu', numel) as a persistent id */
static void storage(struct cask_text *p, const struct cask_file_tensor *tensor, int key)
{
    char digits[16];
    snprintf(digits, sizeof digits, "%d", key);
    op(p, '('); /* MARK */
    unicode(p, "storage");
    global(p, "torch", storage_class(tensor->dtype));
    unicode(p, digits);
    unicode(p, "cpu");
    integer(p, tensor->count);
    op(p, 't'); /* TUPLE */
    op(p, 'Q'); /* BINPERSID */
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks) */
static void tensor_value(struct cask_text *p, const struct cask_file_tensor *tensor, int key)
{
    global(p, "torch._utils", "_rebuild_tensor_v2");
    op(p, '(');
    storage(p, tensor, key);
    integer(p, 0);
    op(p, '(');
    for (int d = 0; d < tensor->rank; d++) {
        integer(p, tensor->shape[d]);
    }
    op(p, 't');
    op(p, '(');
    for (int d = 0; d < tensor->rank; d++) {
        int64_t stride = 1;
        for (int k = d + 1; k < tensor->rank; k++) {
            stride *= tensor->shape[k];
        }
        integer(p, stride);
    }
    op(p, 't');
    op(p, '\x89'); /* NEWFALSE */
    empty_ordered_dict(p);
    op(p, 't');
    op(p, 'R');
}

enum cask_status cask_torch_pickle(const struct cask_file_tensor *tensors, int count,
                                   struct cask_text *p, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    op(p, '\x80'); /* PROTO */
    number(p, 2, 1);
    empty_ordered_dict(p);
    op(p, '(');
    for (int i = 0; i < count; i++) {
        if (storage_class(tensors[i].dtype) == NULL) {
            CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                    "tensor \"%.100s\": %s is not written to PyTorch files",
                                    tensors[i].name, cask_file_dtype_name(tensors[i].dtype)));
        }
        unicode(p, tensors[i].name);
        tensor_value(p, &tensors[i], i);
    }
    op(p, 'u'); /* SETITEMS */
    op(p, '.'); /* STOP */
    CASK_TRY(cask_text_check(p, "data.pkl", err));
done:
    return st;
}
