/* kernels/ref/ref.c - the tables of backends "ref" and "ref64". */
#include <stdio.h>

#include "kernels/ref/ref.h"

static const enum cask_dtype dtype = sizeof(real) == sizeof(double) ? CASK_F64 : CASK_F32;

static enum cask_status open_device(const struct cask_device_options *options,
                                    struct cask_device *device, struct cask_error *err)
{
    if (options->precision == CASK_PRECISION_BF16) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "backend %s: precision bf16 is offered by backend cpu only",
                              device->backend->name);
    }
    device->activation_dtype = dtype;
    device->parameter_dtype = dtype;
    device->threads = 1; /* whatever was asked for: one thread is part of being the oracle */
    return CASK_OK;
}

static void close_device(struct cask_device *device)
{
    (void)device;
}

static void describe_device(const struct cask_device *device, char *buffer, size_t bytes)
{
    snprintf(buffer, bytes, "%s: plain loops, 1 thread, %s", device->backend->name,
             cask_dtype_name(dtype));
}

#define REF_TEXT(name) #name
#define REF_NAME(name) REF_TEXT(name)

static const struct cask_ops ops = {
    .name = REF_NAME(CASK_REF),
    .conv_open = REF(conv_open),
    .conv_close = REF(conv_close),
    .conv_set_weights = REF(conv_set_weights),
    .conv_forward = REF(conv_forward),
    .conv_forward_finish = REF(conv_forward_finish),
    .conv_backward_data = REF(conv_backward_data),
    .conv_backward_weights = REF(conv_backward_weights),
    .conv_describe = REF(conv_describe),
    .conv_forward_chained = REF(conv_forward_chained),
    .conv_backward_chained = REF(conv_backward_chained),
    .gemm = REF(gemm),
    .parallel = REF(parallel),
    .product_open = REF(product_open),
    .product_close = REF(product_close),
    .product_packed_bytes = REF(product_packed_bytes),
    .serial_pack = REF(serial_pack),
    .serial_product = REF(serial_product),
    .serial_sgd = REF(serial_sgd),
    .serial_round = REF(serial_round),
    .batchnorm_train = REF(batchnorm_train),
    .batchnorm_eval = REF(batchnorm_eval),
    .batchnorm_backward = REF(batchnorm_backward),
    .batchnorm_statistics = REF(batchnorm_statistics),
    .batchnorm_apply = REF(batchnorm_apply),
    .batchnorm_reduce = REF(batchnorm_reduce),
    .batchnorm_gradient = REF(batchnorm_gradient),
    .activation_forward = REF(activation_forward),
    .activation_backward = REF(activation_backward),
    .add = REF(add),
    .add_chained = REF(add_chained),
    .subsample_forward = REF(subsample_forward),
    .subsample_backward = REF(subsample_backward),
    .average_pool_forward = REF(average_pool_forward),
    .average_pool_backward = REF(average_pool_backward),
    .max_pool_forward = REF(max_pool_forward),
    .max_pool_backward = REF(max_pool_backward),
    .scale_forward = REF(scale_forward),
    .scale_backward = REF(scale_backward),
    .convert = REF(convert),
    .l2norm_forward = REF(l2norm_forward),
    .l2norm_backward = REF(l2norm_backward),
    .softmax_cross_entropy = REF(softmax_cross_entropy),
    .sgd_step = REF(sgd_step),
    .sum_squares = REF(sum_squares),
};

const struct cask_backend REF_EXPAND(backend, CASK_REF) = {
    .name = REF_NAME(CASK_REF),
    .open = open_device,
    .close = close_device,
    .ops = &ops,
    .describe = describe_device,
};
