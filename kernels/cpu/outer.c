/* kernels/cpu/outer.c - who sums outer products. */
#include "kernels/cpu/outer.h"

#include <string.h>

#include "kernels/cpu/onednn.h"

/* Every tile of the sum walks all rows of a chunk: they must stay in an L2 cache. oneDNN cuts the
 * rows of larger chunks itself. */
enum { CACHE = 1024 * 1024 };

static size_t packed_bytes(const struct cask_outer *o, int c)
{
    int64_t rows = (o->chunk + 1) / 2 * 2;
    return (size_t)rows * (size_t)cask_filled(cask_cpu_kernels_of(o->cpu, o->cpu->dtype), c) *
           cask_dtype_size(o->cpu->dtype);
}

enum cask_status cask_outer_open(struct cask_cpu *cpu, int m, int n, int64_t chunk, int64_t last,
                                 struct cask_outer *o, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *o = (struct cask_outer){.cpu = cpu, .m = m, .n = n, .width = n, .chunk = chunk};
    bool own = cask_cpu_multiplies(cpu) && packed_bytes(o, m) + packed_bytes(o, n) <= CACHE;
    if (own) {
        o->own = cask_cpu_kernels_of(cpu, cpu->dtype);
        o->width = cask_filled(o->own, n);
        CASK_TRY(cask_cpu_reserve(cpu, cpu->primitive_scratch,
                                  packed_bytes(o, m) + packed_bytes(o, n), err));
        goto done;
    }
    struct cask_product_desc desc = {.m = m,
                                     .n = n,
                                     .k = chunk,
                                     .src_strides = {1, m},
                                     .weight_strides = {n, 1},
                                     .dst_strides = {n, 1},
                                     .accumulate = true,
                                     .alpha = 1,
                                     .beta = 1,
                                     .in_dtype = cpu->dtype,
                                     .out_dtype = CASK_F32};
    CASK_TRY(cask_product_open(cpu, &desc, NULL, &o->products[0], err));
    if (last != chunk) {
        desc.k = last;
        CASK_TRY(cask_product_open(cpu, &desc, NULL, &o->products[1], err));
    }
done:
    return st;
}

void cask_outer_close(struct cask_outer *o)
{
    cask_product_close(o->products[0]);
    cask_product_close(o->products[1]);
}

const char *cask_outer_name(const struct cask_outer *o)
{
    return o->own != NULL ? "outer products" : cask_product_name(o->products[0]);
}

void *cask_outer_room(const struct cask_outer *o, int thread, enum cask_operand_side side)
{
    const int c = side == CASK_LEFT ? o->m : o->n;
    /* The columns of floats lie as the kernel wants them, unless there are some too few. */
    if (o->own == NULL || (o->own->cells->depth == 1 && cask_filled(o->own, c) == c)) {
        return NULL;
    }
    char *room = o->cpu->primitive_scratch[thread].data;
    return side == CASK_LEFT ? room : room + packed_bytes(o, o->m);
}

const void *cask_outer_pack(const struct cask_outer *o, int thread, enum cask_operand_side side,
                            const void *rows, int64_t count)
{
    void *room = cask_outer_room(o, thread, side);
    if (room == NULL) {
        return rows;
    }
    o->own->cells->pack(rows, count, side == CASK_LEFT ? o->m : o->n, room);
    return room;
}

/* oneDNN walks its first operand by columns, which the hardware does not foresee. */
static void fetch(const void *data, size_t bytes)
{
    const char *line = data;
    for (size_t at = 0; at < bytes; at += 64) {
        __builtin_prefetch(line + at, 0, 2);
    }
}

bool cask_outer_add(const struct cask_outer *o, int thread, const void *a, const void *b,
                    int64_t rows, bool fresh, float *sum, struct cask_ahead *ahead)
{
    if (o->own == NULL) {
        if (fresh) {
            memset(sum, 0, (size_t)o->m * (size_t)o->width * sizeof *sum);
        }
        fetch(a, (size_t)rows * (size_t)o->m * cask_dtype_size(o->cpu->dtype));
        return cask_product_run(o->products[rows == o->chunk ? 0 : 1], thread, a, b, NULL, sum);
    }
    o->own->outer->sum(a, o->m, b, o->n, rows, fresh, sum, ahead);
    return true;
}
