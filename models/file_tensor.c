/* Types and shapes of tensors in files, and their way to float32. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/half.h"
#include "models/checkpoint.h"

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [CASK_FILE_F32] = {"F32", 4},   [CASK_FILE_F16] = {"F16", 2}, [CASK_FILE_BF16] = {"BF16", 2},
    [CASK_FILE_F64] = {"F64", 8},   [CASK_FILE_I64] = {"I64", 8}, [CASK_FILE_I32] = {"I32", 4},
    [CASK_FILE_I16] = {"I16", 2},   [CASK_FILE_I8] = {"I8", 1},   [CASK_FILE_U8] = {"U8", 1},
    [CASK_FILE_BOOL] = {"BOOL", 1},
};

size_t cask_file_dtype_size(enum cask_file_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *cask_file_dtype_name(enum cask_file_dtype dtype)
{
    return dtypes[dtype].name;
}

void cask_shape_format(const int64_t *shape, int rank, char *buffer, size_t bytes)
{
    snprintf(buffer, bytes, "scalar");
    size_t used = 0;
    for (int i = 0; i < rank && used < bytes; i++) {
        used +=
            (size_t)snprintf(buffer + used, bytes - used, "%s%" PRId64, i > 0 ? "x" : "", shape[i]);
    }
}

bool cask_shape_count(const int64_t *shape, int rank, enum cask_file_dtype dtype, int64_t *count)
{
    int64_t product = 1, limit = 0;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0 || __builtin_mul_overflow(product, shape[i], &product)) {
            return false;
        }
    }
    *count = product;
    return !__builtin_mul_overflow(product, (int64_t)cask_file_dtype_size(dtype), &limit);
}

static float bits_to_float(uint32_t bits)
{
    float value = 0;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* File data need not be aligned, hence memcpy. */
static void convert(const struct cask_file_tensor *tensor, float *out)
{
    const uint8_t *in = tensor->data;
    uint16_t half = 0;
    double wide = 0;
    for (int64_t i = 0; i < tensor->count; i++) {
        switch (tensor->dtype) {
        case CASK_FILE_F16:
            memcpy(&half, in + 2 * i, 2);
            out[i] = cask_float_from_half(half);
            break;
        case CASK_FILE_BF16:
            memcpy(&half, in + 2 * i, 2);
            out[i] = bits_to_float((uint32_t)half << 16);
            break;
        case CASK_FILE_F64:
            memcpy(&wide, in + 8 * i, 8);
            out[i] = (float)wide;
            break;
        default:
            memcpy(&out[i], in + 4 * i, 4);
            break;
        }
    }
}

enum cask_status cask_file_tensor_to_f32(const struct cask_file_tensor *tensor, float *out,
                                         struct cask_error *err)
{
    if (tensor->dtype > CASK_FILE_F64) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "tensor \"%s\": expected F32, F16, BF16 or F64, found %s; quantised "
                              "and integer weights are not read: save the float network",
                              tensor->name, cask_file_dtype_name(tensor->dtype));
    }
    convert(tensor, out);
    return CASK_OK;
}

enum cask_status cask_check_finite(const char *tensor, const float *values, int64_t count,
                                   struct cask_error *err)
{
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            return cask_error_set(err, CASK_ERR_FORMAT,
                                  "tensor \"%.200s\": element %" PRId64 " of %" PRId64
                                  " is %g, expected a finite number; training had diverged when "
                                  "this was saved, or the file is damaged: take an earlier one",
                                  tensor, i, count, (double)values[i]);
        }
    }
    return CASK_OK;
}
