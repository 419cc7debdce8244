/* kernels/cpu/gemm.c - matrix products of shapes that are not known in advance.
 *
 * C is cut along its longer side into strips of fixed size, one oneDNN product each; products are
 * kept in a small table with the least recently used one replaced.
 */
#include <string.h>

#include "common/mem.h"
#include "kernels/cpu/onednn.h"

enum { ENTRIES = 64, STRIP = 512, STRIPS_WANTED = 8, STRIP_LEAST = 64 };

struct entry {
    struct cask_product_desc desc;
    struct cask_product *product;
    uint64_t used;
};

struct cask_gemm_cache {
    struct entry entries[ENTRIES];
    uint64_t clock;
};

void cask_gemm_cache_free(struct cask_gemm_cache *cache)
{
    for (int i = 0; cache != NULL && i < ENTRIES; i++) {
        cask_product_close(cache->entries[i].product);
    }
    cask_free(cache);
}

static bool same(const struct cask_product_desc *a, const struct cask_product_desc *b)
{
    bool shape = a->m == b->m && a->n == b->n && a->k == b->k;
    bool strides = memcmp(a->src_strides, b->src_strides, sizeof a->src_strides) == 0 &&
                   memcmp(a->weight_strides, b->weight_strides, sizeof a->weight_strides) == 0 &&
                   memcmp(a->dst_strides, b->dst_strides, sizeof a->dst_strides) == 0;
    bool scales = memcmp(&a->alpha, &b->alpha, sizeof a->alpha) == 0 &&
                  memcmp(&a->beta, &b->beta, sizeof a->beta) == 0;
    return shape && strides && scales && a->accumulate == b->accumulate &&
           a->in_dtype == b->in_dtype && a->out_dtype == b->out_dtype;
}

/* `keep` is not replaced: both products of one call must live. */
static enum cask_status find(struct cask_cpu *cpu, const struct cask_product_desc *desc,
                             const struct cask_product *keep, struct cask_product **product,
                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (cpu->gemms == NULL) {
        cpu->gemms = cask_alloc(1, sizeof *cpu->gemms);
        if (cpu->gemms == NULL) {
            return cask_error_memory(err, sizeof *cpu->gemms, "the table of matrix products");
        }
    }
    struct cask_gemm_cache *cache = cpu->gemms;
    struct entry *oldest = NULL;
    for (int i = 0; i < ENTRIES; i++) {
        struct entry *entry = &cache->entries[i];
        if (entry->product != NULL && same(&entry->desc, desc)) {
            entry->used = ++cache->clock;
            *product = entry->product;
            return CASK_OK;
        }
        if ((entry->product == NULL || entry->product != keep) &&
            (oldest == NULL || entry->used < oldest->used)) {
            oldest = entry;
        }
    }
    cask_product_close(oldest->product);
    *oldest = (struct entry){0};
    CASK_TRY(cask_product_open(cpu, desc, NULL, &oldest->product, err));
    oldest->desc = *desc;
    oldest->used = ++cache->clock;
    *product = oldest->product;
done:
    return st;
}

struct gemm_run {
    struct cask_product *product[2]; /* of a full strip, of the last */
    const struct cask_product_desc *desc;
    bool by_rows;
    int64_t strip, side;
    const void *a, *b;
    void *c;
    bool failed;
};

static void run_strip(void *user, int64_t index, int thread)
{
    struct gemm_run *run = user;
    const struct cask_product_desc *desc = run->desc;
    int64_t begin = index * run->strip;
    bool full = run->side - begin >= run->strip;
    const void *a = run->a, *b = run->b;
    void *c = run->c;
    if (run->by_rows) {
        a = cask_at(a, desc->in_dtype, begin * desc->src_strides[0]);
        c = cask_at(c, desc->out_dtype, begin * desc->dst_strides[0]);
    } else {
        b = cask_at(b, desc->in_dtype, begin * desc->weight_strides[1]);
        c = cask_at(c, desc->out_dtype, begin * desc->dst_strides[1]);
    }
    if (!cask_product_run(run->product[full ? 0 : 1], thread, a, b, NULL, c)) {
        __atomic_store_n(&run->failed, true, __ATOMIC_RELAXED);
    }
}

static void set_strides(int64_t strides[2], bool transposed, int64_t leading, int64_t dense)
{
    int64_t row = leading != 0 ? leading : dense;
    strides[0] = transposed ? 1 : row;
    strides[1] = transposed ? row : 1;
}

struct cask_product_desc cask_product_desc_of(const struct cask_gemm *gemm)
{
    struct cask_product_desc desc = {.m = gemm->m,
                                     .n = gemm->n,
                                     .k = gemm->k,
                                     .accumulate = gemm->beta != 0,
                                     .alpha = (float)gemm->alpha,
                                     .beta = (float)gemm->beta,
                                     .in_dtype = gemm->in_dtype,
                                     .out_dtype = gemm->out_dtype};
    set_strides(desc.src_strides, gemm->trans_a, gemm->lda, gemm->trans_a ? gemm->m : gemm->k);
    set_strides(desc.weight_strides, gemm->trans_b, gemm->ldb, gemm->trans_b ? gemm->k : gemm->n);
    set_strides(desc.dst_strides, false, gemm->ldc, gemm->n);
    return desc;
}

static int64_t strip_of(int64_t side)
{
    int64_t strip = (side / STRIPS_WANTED + STRIP_LEAST - 1) / STRIP_LEAST * STRIP_LEAST;
    strip = strip < STRIP_LEAST ? STRIP_LEAST : strip > STRIP ? STRIP : strip;
    return strip < side ? strip : side;
}

CASK_OP(gemm)
(struct cask_device *device, const struct cask_gemm *gemm, const void *a, const void *b, void *c,
 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cpu *cpu = cask_cpu_of(device);
    const struct cask_product_desc desc = cask_product_desc_of(gemm);
    struct gemm_run run = {.desc = &desc, .by_rows = gemm->m >= gemm->n, .a = a, .b = b, .c = c};
    run.side = run.by_rows ? gemm->m : gemm->n;
    run.strip = strip_of(run.side);
    int64_t strips = (run.side + run.strip - 1) / run.strip,
            last = run.side - (strips - 1) * run.strip;
    struct cask_product_desc part = desc;
    int64_t *part_side = run.by_rows ? &part.m : &part.n;
    *part_side = run.strip;
    CASK_TRY(find(cpu, &part, NULL, &run.product[0], err));
    if (last != run.strip) {
        *part_side = last;
        CASK_TRY(find(cpu, &part, run.product[0], &run.product[1], err));
    }
    cask_cpu_for(cpu, strips, run_strip, &run);
    if (run.failed) {
        CASK_TRY(cask_error_set(err, CASK_ERR_DEVICE, "oneDNN: a matrix product failed (%s)",
                                cask_product_name(run.product[0])));
    }
done:
    return st;
}
