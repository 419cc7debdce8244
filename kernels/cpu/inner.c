/* kernels/cpu/inner.c - who makes inner products. */
#include "kernels/cpu/inner.h"

/* A strip of weights is read again for every few rows: it must stay near the core, beside them.
 * With AVX-512, whose strips are four times as wide, oneDNN, which cuts k, is 3 % faster on k =
 * 1152; with AVX2 it is slower by 6 % there and by 17 % on k = 4608 (Zen 5). */
enum { MOST_K = 4608, MOST_K_WIDE = 768 };

bool cask_inner_suits(const struct cask_cpu *cpu, const struct cask_product_desc *desc)
{
    const struct cask_cpu_kernels *own = cask_cpu_kernels_of(cpu, desc->in_dtype);
    const bool plain = desc->alpha == 1 && !desc->accumulate && desc->src_strides[1] == 1;
    return cask_cpu_multiplies(cpu) && desc->pack && plain && desc->k % own->inner->depth == 0 &&
           desc->k <= (cpu->isa == CASK_ISA_AVX512 ? MOST_K_WIDE : MOST_K);
}

static enum cask_status open_pair(struct cask_inner *inner, struct cask_product_desc desc,
                                  int64_t last, const struct cask_product *like,
                                  struct cask_product **pair, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const bool differs = last != desc.m;
    CASK_TRY(cask_product_open(inner->cpu, &desc, like, &pair[0], err));
    if (differs) {
        desc.m = last;
        CASK_TRY(
            cask_product_open(inner->cpu, &desc, like != NULL ? like : pair[0], &pair[1], err));
    }
done:
    return st;
}

enum cask_status cask_inner_open(struct cask_cpu *cpu, const struct cask_product_desc *desc,
                                 int64_t last, bool own, bool accumulate,
                                 const struct cask_inner *like, struct cask_inner *inner,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *inner = (struct cask_inner){.cpu = cpu, .desc = *desc};
    if (like != NULL ? like->own != NULL : own) {
        inner->own = cask_cpu_kernels_of(cpu, desc->in_dtype);
        goto done;
    }
    const struct cask_product *first = like != NULL ? like->write[0] : NULL;
    CASK_TRY(open_pair(inner, *desc, last, first, inner->write, err));
    if (accumulate) {
        struct cask_product_desc add = *desc;
        add.accumulate = true;
        CASK_TRY(
            open_pair(inner, add, last, first != NULL ? first : inner->write[0], inner->add, err));
    }
done:
    return st;
}

void cask_inner_close(struct cask_inner *inner)
{
    for (int i = 0; i < 2; i++) {
        cask_product_close(inner->write[i]);
        cask_product_close(inner->add[i]);
    }
}

const char *cask_inner_name(const struct cask_inner *inner)
{
    return inner->own != NULL ? "inner products" : cask_product_name(inner->write[0]);
}

size_t cask_inner_weight_bytes(const struct cask_inner *inner)
{
    const struct cask_product_desc *desc = &inner->desc;
    if (inner->own == NULL) {
        return cask_product_weight_bytes(inner->write[0]);
    }
    return (size_t)desc->k * (size_t)cask_filled(inner->own, (int)desc->n) *
           cask_dtype_size(desc->in_dtype);
}

bool cask_inner_pack(const struct cask_inner *inner, int thread, const void *plain, void *packed)
{
    const struct cask_product_desc *desc = &inner->desc;
    if (inner->own == NULL) {
        return cask_product_pack(inner->write[0], thread, plain, packed);
    }
    const struct cask_inner_weight weight = {.plain = plain,
                                             .step_k = desc->weight_strides[0],
                                             .step_n = desc->weight_strides[1],
                                             .k = (int)desc->k,
                                             .n = (int)desc->n};
    inner->own->inner->pack(&weight, packed);
    return true;
}

bool cask_inner_run(const struct cask_inner *inner, int thread, struct cask_inner_block block)
{
    if (inner->own == NULL) {
        const int which = block.rows == inner->desc.m ? 0 : 1;
        return cask_product_run(block.accumulate ? inner->add[which] : inner->write[which], thread,
                                block.a, block.weights, block.bias, block.y);
    }
    block.k = (int)inner->desc.k;
    block.n = (int)inner->desc.n;
    block.wide = inner->desc.out_dtype == CASK_F32;
    block.a_step = inner->desc.src_strides[0];
    block.y_step = inner->desc.dst_strides[0];
    inner->own->inner->run(&block);
    return true;
}
