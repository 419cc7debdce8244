/* Constants of an ONNX file: raw or typed data, little endian. Type numbers are those of
 * TensorProto.DataType. */
#include <inttypes.h>
#include <string.h>

#include "models/checkpoint.h"
#include "models/onnx.h"

enum { FLOAT = 1, INT32 = 6, INT64 = 7, FLOAT16 = 10, DOUBLE = 11, BFLOAT16 = 16 };

static const char *name_of(const Cask__Onnx__Tensor *tensor)
{
    return tensor->name != NULL ? tensor->name : "";
}

bool cask_onnx_is_float(const Cask__Onnx__Tensor *tensor)
{
    int type = tensor->data_type;
    return type == FLOAT || type == FLOAT16 || type == DOUBLE || type == BFLOAT16;
}

int64_t cask_onnx_count(const Cask__Onnx__Tensor *tensor)
{
    int64_t count = 1;
    for (size_t i = 0; i < tensor->n_dims; i++) {
        if (tensor->dims[i] < 0 || __builtin_mul_overflow(count, tensor->dims[i], &count) ||
            count > INT32_MAX) {
            return -1;
        }
    }
    return count;
}

static bool float_type(const Cask__Onnx__Tensor *tensor, enum cask_file_dtype *dtype)
{
    switch (tensor->data_type) {
    case FLOAT:
        *dtype = CASK_FILE_F32;
        return true;
    case FLOAT16:
        *dtype = CASK_FILE_F16;
        return true;
    case BFLOAT16:
        *dtype = CASK_FILE_BF16;
        return true;
    case DOUBLE:
        *dtype = CASK_FILE_F64;
        return true;
    default:
        return false;
    }
}

/* How many elements the typed field for this type holds. Half floats stand in int32_data as bits.
 */
static size_t typed_count(const Cask__Onnx__Tensor *tensor)
{
    switch (tensor->data_type) {
    case FLOAT:
        return tensor->n_float_data;
    case DOUBLE:
        return tensor->n_double_data;
    case INT64:
        return tensor->n_int64_data;
    default:
        return tensor->n_int32_data;
    }
}

enum cask_status cask_onnx_check_floats(const Cask__Onnx__Tensor *tensor, struct cask_error *err)
{
    enum cask_file_dtype dtype = CASK_FILE_F32;
    int64_t count = cask_onnx_count(tensor);
    if (!float_type(tensor, &dtype)) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "tensor \"%.200s\" has data type %d; expected float, double, float16 "
                              "or bfloat16 (quantised models are not read)",
                              name_of(tensor), tensor->data_type);
    }
    bool fits =
        count >= 0 && (tensor->has_raw_data
                           ? (uint64_t)count * cask_file_dtype_size(dtype) == tensor->raw_data.len
                           : (uint64_t)count == typed_count(tensor));
    if (!fits) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "tensor \"%.200s\": %" PRId64 " elements by its shape, %zu %s in its "
                              "data",
                              name_of(tensor), count,
                              tensor->has_raw_data ? tensor->raw_data.len : typed_count(tensor),
                              tensor->has_raw_data ? "bytes" : "elements");
    }
    return CASK_OK;
}

void cask_onnx_floats(const Cask__Onnx__Tensor *tensor, float *out)
{
    struct cask_error ignored;
    struct cask_file_tensor view = {.name = name_of(tensor), .count = cask_onnx_count(tensor)};
    float_type(tensor, &view.dtype);
    if (tensor->has_raw_data) {
        view.data = tensor->raw_data.data;
    } else if (tensor->data_type == FLOAT) {
        view.data = tensor->float_data;
    } else if (tensor->data_type == DOUBLE) {
        view.data = tensor->double_data;
    } else {
        for (int64_t i = 0; i < view.count; i++) {
            const uint16_t bits = (uint16_t)tensor->int32_data[i];
            view.data = &bits;
            struct cask_file_tensor one = view;
            one.count = 1;
            cask_file_tensor_to_f32(&one, &out[i], &ignored);
        }
        return;
    }
    cask_file_tensor_to_f32(&view, out, &ignored);
}

enum cask_status cask_onnx_tensor_ints(const Cask__Onnx__Tensor *tensor,
                                       struct cask_onnx_ints *ints, struct cask_error *err)
{
    int64_t count = cask_onnx_count(tensor);
    size_t width = tensor->data_type == INT64 ? 8 : 4;
    bool known = tensor->data_type == INT64 || tensor->data_type == INT32;
    bool fits = known && count >= 0 && count <= CASK_ONNX_RANK && tensor->n_dims <= 1 &&
                (tensor->has_raw_data ? (size_t)count * width == tensor->raw_data.len
                                      : (size_t)count == typed_count(tensor));
    if (!fits) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "tensor \"%.200s\": expected up to %d integers, found data type %d",
                              name_of(tensor), CASK_ONNX_RANK, tensor->data_type);
    }
    *ints = (struct cask_onnx_ints){.count = (int)count, .scalar = tensor->n_dims == 0};
    for (int64_t i = 0; i < count; i++) {
        int32_t narrow = 0;
        if (tensor->has_raw_data && width == 8) {
            memcpy(&ints->items[i], tensor->raw_data.data + 8 * i, 8);
        } else if (tensor->has_raw_data) {
            memcpy(&narrow, tensor->raw_data.data + 4 * i, 4);
            ints->items[i] = narrow;
        } else {
            ints->items[i] = width == 8 ? tensor->int64_data[i] : tensor->int32_data[i];
        }
    }
    return CASK_OK;
}

enum cask_status cask_onnx_scalar(const Cask__Onnx__Tensor *tensor, double *out,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    float value = 0;
    CASK_TRY(cask_onnx_check_floats(tensor, err));
    if (cask_onnx_count(tensor) != 1) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED, "tensor \"%.200s\": expected one number",
                                name_of(tensor)));
    }
    cask_onnx_floats(tensor, &value);
    *out = (double)value;
done:
    return st;
}
