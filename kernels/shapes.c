/* kernels/shapes.c - sizes of tensors and convolutions, and the check that they make sense. */
#include "kernels/shapes.h"

/* Far above any network for faces, far below where an int product of two sizes overflows. */
enum { LARGEST_SIZE = 1 << 24, LARGEST_KERNEL = 1 << 12 };

/* A tensor of more elements than this is a mistake, and int64 sums of offsets stay exact. */
static const uint64_t largest_count = UINT64_C(1) << 40;

size_t cask_dtype_size(enum cask_dtype dtype)
{
    return dtype == CASK_F64 ? 8 : dtype == CASK_F32 ? 4 : 2;
}

const char *cask_dtype_name(enum cask_dtype dtype)
{
    return dtype == CASK_F64 ? "fp64" : dtype == CASK_F32 ? "fp32" : "bf16";
}

size_t cask_tensor_count(const struct cask_tensor *tensor)
{
    return (size_t)tensor->n * (size_t)tensor->h * (size_t)tensor->w * (size_t)tensor->c;
}

size_t cask_tensor_bytes(const struct cask_tensor *tensor)
{
    return cask_tensor_count(tensor) * cask_dtype_size(tensor->dtype);
}

int cask_conv_out_h(const struct cask_conv_desc *desc)
{
    return (desc->h + desc->pad_top + desc->pad_bottom - desc->kernel_h) / desc->stride + 1;
}

int cask_conv_out_w(const struct cask_conv_desc *desc)
{
    return (desc->w + desc->pad_left + desc->pad_right - desc->kernel_w) / desc->stride + 1;
}

size_t cask_conv_weight_count(const struct cask_conv_desc *desc)
{
    return (size_t)desc->out_c * (size_t)(desc->in_c / desc->groups) * (size_t)desc->kernel_h *
           (size_t)desc->kernel_w;
}

struct cask_axis cask_conv_axis_h(const struct cask_conv_desc *d)
{
    return (struct cask_axis){d->h, cask_conv_out_h(d), d->kernel_h, d->stride, d->pad_top};
}

struct cask_axis cask_conv_axis_w(const struct cask_conv_desc *d)
{
    return (struct cask_axis){d->w, cask_conv_out_w(d), d->kernel_w, d->stride, d->pad_left};
}

void cask_axis_taps(const struct cask_axis *axis, int position, int *first, int *end)
{
    int origin = position * axis->stride - axis->pad; /* input position of tap 0 */
    *first = origin < 0 ? -origin : 0;
    *end = origin + axis->kernel > axis->in ? axis->in - origin : axis->kernel;
    *first = *first > axis->kernel ? axis->kernel : *first;
    *end = *end < *first ? *first : *end;
}

int cask_axis_region(const struct cask_axis *axis, int position)
{
    int region = 0, before[2], now[2];
    cask_axis_taps(axis, 0, &before[0], &before[1]);
    for (int i = 1; i <= position; i++, before[0] = now[0], before[1] = now[1]) {
        cask_axis_taps(axis, i, &now[0], &now[1]);
        region += now[0] != before[0] || now[1] != before[1];
    }
    return region;
}

int cask_axis_regions(const struct cask_axis *axis)
{
    return cask_axis_region(axis, axis->out - 1) + 1;
}

size_t cask_conv_bias_count(const struct cask_conv_desc *desc)
{
    const struct cask_axis h = cask_conv_axis_h(desc), w = cask_conv_axis_w(desc);
    size_t regions =
        desc->border ? (size_t)cask_axis_regions(&h) * (size_t)cask_axis_regions(&w) : 1;
    return regions * (size_t)desc->out_c;
}

uint64_t cask_conv_macs(const struct cask_conv_desc *desc)
{
    return (uint64_t)desc->n * (uint64_t)cask_conv_out_h(desc) * (uint64_t)cask_conv_out_w(desc) *
           (uint64_t)cask_conv_weight_count(desc);
}

static enum cask_status check_field(const char *name, int value, int least, int most,
                                    struct cask_error *err)
{
    if (value < least || value > most) {
        return cask_error_set(err, CASK_ERR_RANGE, "convolution: %s is %d, expected %d to %d", name,
                              value, least, most);
    }
    return CASK_OK;
}

static enum cask_status check_fields(const struct cask_conv_desc *desc, struct cask_error *err)
{
    const struct {
        const char *name;
        int value, least, most;
    } fields[] = {
        {"n", desc->n, 1, LARGEST_SIZE},
        {"h", desc->h, 1, LARGEST_SIZE},
        {"w", desc->w, 1, LARGEST_SIZE},
        {"in_c", desc->in_c, 1, LARGEST_SIZE},
        {"out_c", desc->out_c, 1, LARGEST_SIZE},
        {"kernel_h", desc->kernel_h, 1, LARGEST_KERNEL},
        {"kernel_w", desc->kernel_w, 1, LARGEST_KERNEL},
        {"stride", desc->stride, 1, LARGEST_KERNEL},
        {"pad_top", desc->pad_top, 0, LARGEST_KERNEL},
        {"pad_left", desc->pad_left, 0, LARGEST_KERNEL},
        {"pad_bottom", desc->pad_bottom, 0, LARGEST_KERNEL},
        {"pad_right", desc->pad_right, 0, LARGEST_KERNEL},
        {"groups", desc->groups, 1, LARGEST_SIZE},
    };
    enum cask_status st = CASK_OK;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        CASK_TRY(
            check_field(fields[i].name, fields[i].value, fields[i].least, fields[i].most, err));
    }
done:
    return st;
}

/* n * h * w * c without overflow: every factor is at most 2^25. */
static bool count_fits(int n, int h, int w, int c)
{
    uint64_t images = (uint64_t)n * (uint64_t)h, row = (uint64_t)w * (uint64_t)c;
    return images <= largest_count && row <= largest_count && images <= largest_count / row;
}

enum cask_status cask_conv_check(const struct cask_conv_desc *desc, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(check_fields(desc, err));
    if (desc->in_c % desc->groups != 0 || desc->out_c % desc->groups != 0) {
        CASK_TRY(cask_error_set(
            err, CASK_ERR_RANGE,
            "convolution: groups is %d, expected a divisor of in_c = %d and of out_c = %d",
            desc->groups, desc->in_c, desc->out_c));
    }
    if (desc->border && !(desc->bias && desc->inference)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE,
                                "convolution: border biases are for inference and need bias"));
    }
    int padded_h = desc->h + desc->pad_top + desc->pad_bottom;
    int padded_w = desc->w + desc->pad_left + desc->pad_right;
    if (desc->kernel_h > padded_h || desc->kernel_w > padded_w) {
        CASK_TRY(
            cask_error_set(err, CASK_ERR_RANGE,
                           "convolution: the kernel, %d x %d, is larger than the padded input, "
                           "%d x %d (height x width)",
                           desc->kernel_h, desc->kernel_w, padded_h, padded_w));
    }
    if (!count_fits(desc->n, desc->h, desc->w, desc->in_c) ||
        !count_fits(desc->n, cask_conv_out_h(desc), cask_conv_out_w(desc), desc->out_c) ||
        !count_fits(desc->out_c, desc->in_c / desc->groups, desc->kernel_h, desc->kernel_w)) {
        CASK_TRY(
            cask_error_set(err, CASK_ERR_RANGE,
                           "convolution: input, output or weight has more than 2^40 elements"));
    }
done:
    return st;
}
