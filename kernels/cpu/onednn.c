/* kernels/cpu/onednn.c - engine, stream and matrix products of oneDNN. */
#include "kernels/cpu/onednn.h"

#include <dnnl.h>
#include <dnnl_debug.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

struct cask_dnnl {
    dnnl_engine_t engine;
    dnnl_stream_t *streams; /* one a thread */
    int threads;
    char description[80];
};

enum { SRC, WEIGHT, BIAS, DST, SCRATCHPAD, ARGS };
static const int arg_kinds[ARGS] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST,
                                    DNNL_ARG_SCRATCHPAD};

struct cask_product {
    struct cask_cpu *cpu;
    dnnl_primitive_t primitive, packer;
    dnnl_memory_desc_t weight, plain_weight;
    bool bias;
    size_t scratch_bytes;
    dnnl_memory_t (*memories)[ARGS];   /* one row a thread */
    dnnl_memory_t (*pack_memories)[2]; /* from, to */
    char name[48];
};

static enum cask_status check(dnnl_status_t status, const char *what, struct cask_error *err)
{
    if (status == dnnl_success) {
        return CASK_OK;
    }
    return cask_error_set(err,
                          status == dnnl_unimplemented ? CASK_ERR_UNSUPPORTED : CASK_ERR_DEVICE,
                          "oneDNN: %s: %s", what, dnnl_status2str(status));
}

/* oneDNN reads this once, before its first primitive; a later device cannot change it. */
static void limit_isa(enum cask_isa isa)
{
    static const dnnl_cpu_isa_t limits[] = {dnnl_cpu_isa_sse41, dnnl_cpu_isa_avx2,
                                            dnnl_cpu_isa_avx512_core_bf16, dnnl_cpu_isa_all};
    (void)dnnl_set_max_cpu_isa(limits[isa]);
}

enum cask_status cask_dnnl_open(struct cask_cpu *cpu, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_dnnl *dnnl = cask_alloc(1, sizeof *dnnl);
    if (dnnl == NULL) {
        return cask_error_memory(err, sizeof *dnnl, "oneDNN engine");
    }
    cpu->dnnl = dnnl;
    limit_isa(cpu->isa);
    CASK_TRY(check(dnnl_engine_create(&dnnl->engine, dnnl_cpu, 0), "creating the engine", err));
    dnnl->streams = cask_alloc((size_t)cpu->threads, sizeof(dnnl_stream_t));
    if (dnnl->streams == NULL) {
        CASK_TRY(
            cask_error_memory(err, (size_t)cpu->threads * sizeof(dnnl_stream_t), "oneDNN streams"));
    }
    dnnl->threads = cpu->threads;
    for (int i = 0; i < cpu->threads; i++) {
        CASK_TRY(
            check(dnnl_stream_create(&dnnl->streams[i], dnnl->engine, dnnl_stream_default_flags),
                  "creating a stream", err));
    }
    const dnnl_version_t *version = dnnl_version();
    (void)snprintf(dnnl->description, sizeof dnnl->description, "oneDNN %d.%d.%d, %s",
                   version->major, version->minor, version->patch,
                   dnnl_cpu_isa2str(dnnl_get_effective_cpu_isa()));
done:
    return st;
}

void cask_dnnl_close(struct cask_dnnl *dnnl)
{
    if (dnnl == NULL) {
        return;
    }
    for (int i = 0; dnnl->streams != NULL && i < dnnl->threads; i++) {
        (void)dnnl_stream_destroy(dnnl->streams[i]);
    }
    (void)dnnl_engine_destroy(dnnl->engine);
    cask_free(dnnl->streams);
    cask_free(dnnl);
}

const char *cask_dnnl_describe(const struct cask_dnnl *dnnl)
{
    return dnnl->description;
}

static dnnl_data_type_t type_of(enum cask_dtype dtype)
{
    return dtype == CASK_BF16 ? dnnl_bf16 : dnnl_f32;
}

static enum cask_status describe_matrix(dnnl_memory_desc_t *md, int64_t rows, int64_t columns,
                                        enum cask_dtype dtype, const int64_t strides[2],
                                        struct cask_error *err)
{
    dnnl_dims_t dims = {rows, columns}, steps = {strides[0], strides[1]};
    return check(dnnl_memory_desc_init_by_strides(md, 2, dims, type_of(dtype), steps),
                 "describing a matrix", err);
}

static enum cask_status make_attr(const struct cask_product_desc *desc, dnnl_primitive_attr_t *attr,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    dnnl_post_ops_t ops = NULL;
    CASK_TRY(check(dnnl_primitive_attr_create(attr), "attributes", err));
    CASK_TRY(check(dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user),
                   "scratchpad mode", err));
    if (desc->alpha != 1) {
        CASK_TRY(check(dnnl_primitive_attr_set_output_scales(*attr, 1, 0, &desc->alpha),
                       "output scale", err));
    }
    if (desc->accumulate) {
        CASK_TRY(check(dnnl_post_ops_create(&ops), "post-ops", err));
        CASK_TRY(check(dnnl_post_ops_append_sum(ops, desc->beta), "sum post-op", err));
        CASK_TRY(check(dnnl_primitive_attr_set_post_ops(*attr, ops), "post-ops", err));
    }
done:
    (void)dnnl_post_ops_destroy(ops);
    return st;
}

/* The reference code is 100 times slower and is refused, not run. "gemm:jit", what oneDNN takes for
 * strided matrices and on CPUs without AVX-512, is within 20 % of "brg" (Zen 5, 2.6.3). */
static enum cask_status check_name(const struct cask_product *product, struct cask_error *err)
{
    if (strncmp(product->name, "ref", 3) == 0) {
        return cask_error_set(
            err, CASK_ERR_UNSUPPORTED,
            "oneDNN: matrix product would run as %s, which is too slow to be used", product->name);
    }
    return CASK_OK;
}

static enum cask_status make_memories(struct cask_product *product, dnnl_primitive_desc_t pd,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int threads = product->cpu->threads;
    dnnl_engine_t engine = product->cpu->dnnl->engine;
    product->memories = cask_alloc((size_t)threads, sizeof *product->memories);
    product->pack_memories = cask_alloc((size_t)threads, sizeof *product->pack_memories);
    if (product->memories == NULL || product->pack_memories == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)threads * sizeof *product->memories,
                                   "oneDNN memory handles"));
    }
    for (int i = 0; i < threads; i++) {
        for (int arg = 0; arg < ARGS; arg++) {
            const dnnl_memory_desc_t *md =
                dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, arg_kinds[arg]);
            CASK_TRY(
                check(dnnl_memory_create(&product->memories[i][arg], md, engine, DNNL_MEMORY_NONE),
                      "memory handle", err));
        }
        if (product->packer != NULL) {
            CASK_TRY(check(dnnl_memory_create(&product->pack_memories[i][0], &product->plain_weight,
                                              engine, DNNL_MEMORY_NONE),
                           "memory handle", err));
            CASK_TRY(check(dnnl_memory_create(&product->pack_memories[i][1], &product->weight,
                                              engine, DNNL_MEMORY_NONE),
                           "memory handle", err));
        }
    }
done:
    return st;
}

static enum cask_status make_packer(struct cask_product *product, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    dnnl_engine_t engine = product->cpu->dnnl->engine;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    CASK_TRY(check(dnnl_primitive_attr_create(&attr), "attributes", err));
    CASK_TRY(check(dnnl_reorder_primitive_desc_create(&pd, &product->plain_weight, engine,
                                                      &product->weight, engine, attr),
                   "planning a weight reorder", err));
    CASK_TRY(check(dnnl_primitive_create(&product->packer, pd), "creating a weight reorder", err));
done:
    (void)dnnl_primitive_desc_destroy(pd);
    (void)dnnl_primitive_attr_destroy(attr);
    return st;
}

static enum cask_status plan(struct cask_product *product, const struct cask_product_desc *desc,
                             const struct cask_product *like, dnnl_primitive_attr_t attr,
                             dnnl_primitive_desc_t *pd, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    dnnl_memory_desc_t src, weight, bias, dst;
    dnnl_matmul_desc_t op;
    dnnl_dims_t shape = {desc->k, desc->n}, bias_shape = {1, desc->n};
    CASK_TRY(describe_matrix(&src, desc->m, desc->k, desc->in_dtype, desc->src_strides, err));
    CASK_TRY(describe_matrix(&dst, desc->m, desc->n, desc->out_dtype, desc->dst_strides, err));
    CASK_TRY(describe_matrix(&product->plain_weight, desc->k, desc->n, desc->in_dtype,
                             desc->weight_strides, err));
    weight = product->plain_weight;
    if (desc->pack && like != NULL) {
        weight = like->weight;
    } else if (desc->pack) {
        CASK_TRY(check(dnnl_memory_desc_init_by_tag(&weight, 2, shape, type_of(desc->in_dtype),
                                                    dnnl_format_tag_any),
                       "describing a weight", err));
    }
    CASK_TRY(check(dnnl_memory_desc_init_by_tag(&bias, 2, bias_shape, dnnl_f32, dnnl_ab),
                   "describing a bias", err));
    CASK_TRY(check(dnnl_matmul_desc_init(&op, &src, &weight, desc->bias ? &bias : NULL, &dst),
                   "describing a matrix product", err));
    CASK_TRY(check(dnnl_primitive_desc_create(pd, &op, attr, product->cpu->dnnl->engine, NULL),
                   "planning a matrix product", err));
    product->weight = *dnnl_primitive_desc_query_md(*pd, dnnl_query_weights_md, 0);
    product->scratch_bytes =
        dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(*pd, dnnl_query_scratchpad_md, 0));
    const char *name = "";
    CASK_TRY(check(dnnl_primitive_desc_query(*pd, dnnl_query_impl_info_str, 0, &name),
                   "asking for the implementation", err));
    (void)snprintf(product->name, sizeof product->name, "%s", name);
    CASK_TRY(check_name(product, err));
done:
    return st;
}

enum cask_status cask_product_open(struct cask_cpu *cpu, const struct cask_product_desc *desc,
                                   const struct cask_product *like, struct cask_product **result,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    int outer_threads = omp_get_max_threads();
    struct cask_product *product = cask_alloc(1, sizeof *product);
    *result = NULL;
    if (product == NULL) {
        return cask_error_memory(err, sizeof *product, "matrix product");
    }
    /* The thread count is baked in at creation; threads are ours, see cask_cpu_for. */
    omp_set_num_threads(1);
    product->cpu = cpu;
    product->bias = desc->bias;
    CASK_TRY(make_attr(desc, &attr, err));
    CASK_TRY(plan(product, desc, like, attr, &pd, err));
    CASK_TRY(
        check(dnnl_primitive_create(&product->primitive, pd), "creating a matrix product", err));
    if (desc->pack) {
        CASK_TRY(make_packer(product, err));
    }
    CASK_TRY(make_memories(product, pd, err));
    CASK_TRY(cask_cpu_reserve(cpu, cpu->primitive_scratch, product->scratch_bytes, err));
    *result = product;
    product = NULL;
done:
    omp_set_num_threads(outer_threads);
    (void)dnnl_primitive_desc_destroy(pd);
    (void)dnnl_primitive_attr_destroy(attr);
    cask_product_close(product);
    return st;
}

void cask_product_close(struct cask_product *product)
{
    if (product == NULL) {
        return;
    }
    for (int i = 0; i < product->cpu->threads; i++) {
        for (int arg = 0; product->memories != NULL && arg < ARGS; arg++) {
            (void)dnnl_memory_destroy(product->memories[i][arg]);
        }
        for (int arg = 0; product->pack_memories != NULL && arg < 2; arg++) {
            (void)dnnl_memory_destroy(product->pack_memories[i][arg]);
        }
    }
    (void)dnnl_primitive_destroy(product->primitive);
    (void)dnnl_primitive_destroy(product->packer);
    cask_free(product->memories);
    cask_free(product->pack_memories);
    cask_free(product);
}

const char *cask_product_name(const struct cask_product *product)
{
    return product->name;
}

size_t cask_product_weight_bytes(const struct cask_product *product)
{
    return dnnl_memory_desc_get_size(&product->weight);
}

/* oneDNN's handles are not const, whatever the primitive does with the memory. */
static void point(dnnl_memory_t memory, const void *data)
{
    (void)dnnl_memory_set_data_handle(memory, (void *)(uintptr_t)data);
}

bool cask_product_pack(struct cask_product *product, int thread, const void *plain, void *packed)
{
    dnnl_memory_t *memory = product->pack_memories[thread];
    point(memory[0], plain);
    point(memory[1], packed);
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, memory[0]}, {DNNL_ARG_TO, memory[1]}};
    return dnnl_primitive_execute(product->packer, product->cpu->dnnl->streams[thread], 2, args) ==
           dnnl_success;
}

bool cask_product_run(struct cask_product *product, int thread, const void *src, const void *weight,
                      const void *bias, void *dst)
{
    dnnl_memory_t *memory = product->memories[thread];
    const void *data[ARGS] = {src, weight, bias, dst, product->cpu->primitive_scratch[thread].data};
    dnnl_exec_arg_t args[ARGS];
    int count = 0;
    for (int arg = 0; arg < ARGS; arg++) {
        if (arg != BIAS || product->bias) {
            point(memory[arg], data[arg]);
            args[count++] = (dnnl_exec_arg_t){arg_kinds[arg], memory[arg]};
        }
    }
    return dnnl_primitive_execute(product->primitive, product->cpu->dnnl->streams[thread], count,
                                  args) == dnnl_success;
}
