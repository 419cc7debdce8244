/* kernels/cpu/backend.c - opening the cpu backend, and its table of ops. */
#include "kernels/cpu/cpu.h"

#include <omp.h>
#include <stdio.h>

#include "common/mem.h"
#include "kernels/cpu/onednn.h"

static enum cask_status choose_dtype(enum cask_precision precision, enum cask_isa isa,
                                     enum cask_dtype *dtype, struct cask_error *err)
{
    bool has_bf16 = cask_isa_has_bf16(isa);
    *dtype = CASK_F32;
    if (precision == CASK_PRECISION_BF16 && !has_bf16) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "precision bf16: this CPU has no bf16 instructions (or CASK_CPU_ISA "
                              "hides them); expected avx512_bf16 or AMX; "
                              "use fp32 or auto");
    }
    if (precision == CASK_PRECISION_BF16 ||
        (precision == CASK_PRECISION_AUTO && isa == CASK_ISA_AMX && has_bf16)) {
        *dtype = CASK_BF16;
    }
    return CASK_OK;
}

static void free_scratch(struct cask_scratch *scratch, int count)
{
    for (int i = 0; scratch != NULL && i < count; i++) {
        cask_free(scratch[i].data);
    }
    cask_free(scratch);
}

static void cpu_close(struct cask_device *device)
{
    struct cask_cpu *cpu = device->state;
    if (cpu == NULL) {
        return;
    }
    cask_pool_free(cpu->pool);
    cask_gemm_cache_free(cpu->gemms);
    cask_dnnl_close(cpu->dnnl);
    free_scratch(cpu->primitive_scratch, cpu->threads);
    free_scratch(cpu->block_scratch, cpu->threads);
    free_scratch(cpu->read_scratch, cpu->threads);
    free_scratch(cpu->gradient_scratch, cpu->threads);
    free_scratch(cpu->sum_scratch, cpu->threads);
    cask_free(cpu->shared.data);
    cask_free(cpu->norms.data);
    cask_free(cpu->norm_sums.data);
    cask_free(cpu);
    device->state = NULL;
}

static void no_threads_below(void)
{
    omp_set_num_threads(1); /* oneDNN shall not start threads under one of ours */
}

static enum cask_status cpu_open(const struct cask_device_options *options,
                                 struct cask_device *device, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cpu *cpu = cask_alloc(1, sizeof *cpu);
    if (cpu == NULL) {
        return cask_error_memory(err, sizeof *cpu, "cpu device");
    }
    device->state = cpu;
    cpu->threads = options->threads > 0 ? options->threads : cask_cpu_count();
    CASK_TRY(cask_isa_detect(&cpu->isa, err));
    CASK_TRY(choose_dtype(options->precision, cpu->isa, &cpu->dtype, err));
    cpu->primitive_scratch = cask_alloc((size_t)cpu->threads, sizeof *cpu->primitive_scratch);
    cpu->block_scratch = cask_alloc((size_t)cpu->threads, sizeof *cpu->block_scratch);
    cpu->read_scratch = cask_alloc((size_t)cpu->threads, sizeof *cpu->read_scratch);
    cpu->gradient_scratch = cask_alloc((size_t)cpu->threads, sizeof *cpu->gradient_scratch);
    cpu->sum_scratch = cask_alloc((size_t)cpu->threads, sizeof *cpu->sum_scratch);
    if (cpu->primitive_scratch == NULL || cpu->block_scratch == NULL || cpu->read_scratch == NULL ||
        cpu->gradient_scratch == NULL || cpu->sum_scratch == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)cpu->threads * sizeof *cpu->block_scratch,
                                   "scratch of threads"));
    }
    CASK_TRY(cask_pool_create_with(cpu->threads, no_threads_below, &cpu->pool, err));
    CASK_TRY(cask_dnnl_open(cpu, err));
    device->threads = cpu->threads;
    device->activation_dtype = cpu->dtype;
    device->parameter_dtype = CASK_F32;
done:
    if (st != CASK_OK) {
        cpu_close(device);
    }
    return st;
}

static void cpu_describe(const struct cask_device *device, char *buffer, size_t bytes)
{
    const struct cask_cpu *cpu = device->state;
    (void)snprintf(buffer, bytes, "cpu: %s, %s kernels, %d thread%s, %s",
                   cask_dnnl_describe(cpu->dnnl), cask_cpu_isa(), cpu->threads,
                   cpu->threads == 1 ? "" : "s", cask_dtype_name(cpu->dtype));
}

const struct cask_ops cask_cpu_ops = {
    .name = "cpu",
    .conv_open = cask_cpu_conv_open,
    .conv_close = cask_cpu_conv_close,
    .conv_set_weights = cask_cpu_conv_set_weights,
    .conv_forward = cask_cpu_conv_forward,
    .conv_forward_finish = cask_cpu_conv_forward_finish,
    .conv_backward_data = cask_cpu_conv_backward_data,
    .conv_backward_weights = cask_cpu_conv_backward_weights,
    .conv_describe = cask_cpu_conv_describe,
    .conv_forward_chained = cask_cpu_conv_forward_chained,
    .conv_backward_chained = cask_cpu_conv_backward_chained,
    .gemm = cask_cpu_gemm,
    .parallel = cask_cpu_parallel,
    .product_open = cask_cpu_product_open,
    .product_close = cask_cpu_product_close,
    .product_packed_bytes = cask_cpu_product_packed_bytes,
    .serial_pack = cask_cpu_serial_pack,
    .serial_product = cask_cpu_serial_product,
    .serial_sgd = cask_cpu_serial_sgd,
    .serial_round = cask_cpu_serial_round,
    .batchnorm_train = cask_cpu_batchnorm_train,
    .batchnorm_eval = cask_cpu_batchnorm_eval,
    .batchnorm_backward = cask_cpu_batchnorm_backward,
    .batchnorm_statistics = cask_cpu_batchnorm_statistics,
    .batchnorm_apply = cask_cpu_batchnorm_apply,
    .batchnorm_reduce = cask_cpu_batchnorm_reduce,
    .batchnorm_gradient = cask_cpu_batchnorm_gradient,
    .activation_forward = cask_cpu_activation_forward,
    .activation_backward = cask_cpu_activation_backward,
    .add = cask_cpu_add,
    .add_chained = cask_cpu_add_chained,
    .subsample_forward = cask_cpu_subsample_forward,
    .subsample_backward = cask_cpu_subsample_backward,
    .average_pool_forward = cask_cpu_average_pool_forward,
    .average_pool_backward = cask_cpu_average_pool_backward,
    .max_pool_forward = cask_cpu_max_pool_forward,
    .max_pool_backward = cask_cpu_max_pool_backward,
    .scale_forward = cask_cpu_scale_forward,
    .scale_backward = cask_cpu_scale_backward,
    .convert = cask_cpu_convert,
    .l2norm_forward = cask_cpu_l2norm_forward,
    .l2norm_backward = cask_cpu_l2norm_backward,
    .softmax_cross_entropy = cask_cpu_softmax_cross_entropy,
    .sgd_step = cask_cpu_sgd_step,
    .sum_squares = cask_cpu_sum_squares,
};

const struct cask_backend cask_backend_cpu = {.name = "cpu",
                                              .open = cpu_open,
                                              .close = cpu_close,
                                              .ops = &cask_cpu_ops,
                                              .describe = cpu_describe};
