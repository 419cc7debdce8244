/* train/losses/engine_inside.c - what all parts of the engine do. */
#include "train/losses/engine_inside.h"

#include "train/losses/counted.h"

enum cask_status engine_alloc(struct cask_engine *engine, size_t count, size_t size, bool step,
                              const char *what, void *slot, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(counted_alloc(&engine->bytes, count, size, what, slot, err));
    engine->step_bytes += step ? count * size : 0;
done:
    return st;
}

void engine_measure(struct cask_engine *engine, int at, const real *d_unit, int batch)
{
    /* The radial part of a gradient at e moves nothing: compare what is tangential. */
    double own = 0, head = 0, both = 0;
    const int dim = engine->facts.dim;
    const real *reference = at == 0 ? d_unit : engine->head_unit;
    for (int64_t i = 0; i < batch; i++) {
        const real *e = engine->unit + i * dim, *g = d_unit + i * dim, *h = reference + i * dim;
        double ge = rows_dot(g, e, dim), he = rows_dot(h, e, dim);
        own += rows_dot(g, g, dim) - ge * ge;
        head += rows_dot(h, h, dim) - he * he;
        both += rows_dot(g, h, dim) - ge * he;
    }
    engine->gradient_norm[at] = sqrt(fmax(own, 0));
    engine->gradient_cosine[at] = own > 0 && head > 0 ? both / sqrt(own * head) : NAN;
}
