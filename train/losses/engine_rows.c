/* train/losses/engine_rows.c - losses over pairs and embedding rows: Gram matrices in, gradients at
 * e and f out.
 */
#include "train/losses/engine_inside.h"

/* Rows of a Gram matrix from rows in `real`; by unit: of their directions. */
struct gram_job {
    const real *rows;
    int batch;
    int64_t dim;
    const double *length; /* [B] what each row is divided by */
    double *gram;
};

static void gram_row(void *user, int64_t i, int thread)
{
    const struct gram_job *job = user;
    const real *a = job->rows + i * job->dim;
    (void)thread;
    for (int64_t j = 0; j <= i; j++) {
        const double product = rows_dot_double(a, job->rows + j * job->dim, job->dim) /
                               (job->length[i] * job->length[j]);
        job->gram[i * job->batch + j] = job->gram[j * job->batch + i] = product;
    }
}

/* The Gram matrix of unit rows and of raw ones, where asked for. `norm`: |x|, if the rows given are
 * unit rows of a raw x; NULL: they are raw. */
static void grams_of(struct cask_engine *engine, const real *rows, const real *norm, int batch,
                     int dim, double *unit_gram, double *raw_gram)
{
    double *length = engine->length;
    for (int64_t i = 0; i < batch; i++) {
        length[i] = fmax(sqrt(rows_dot_double(rows + i * dim, rows + i * dim, dim)), 1e-12);
    }
    struct gram_job job = {rows, batch, dim, length, unit_gram};
    if (unit_gram != NULL) {
        loss_parallel(engine->device, batch, gram_row, &job);
    }
    for (int64_t i = 0; i < batch; i++) {
        length[i] = norm != NULL ? length[i] / fmax((double)norm[i], 1e-300) : 1;
    }
    job.gram = raw_gram;
    if (raw_gram != NULL) {
        loss_parallel(engine->device, batch, gram_row, &job);
    }
}

/* d_rows += (P + P^T) rows, with the entries of P taken as independent. */
static enum cask_status gram_backward(struct cask_engine *engine, const real *rows, int batch,
                                      const double *p, real *d_rows, struct cask_error *err)
{
    for (int64_t i = 0; i < batch; i++) {
        for (int64_t j = 0; j <= i; j++) {
            const real both = (real)(p[i * batch + j] + p[j * batch + i]);
            engine->pair_sums[i * batch + j] = engine->pair_sums[j * batch + i] = both;
        }
    }
    const struct cask_gemm gemm = {
        .m = batch, .n = engine->facts.dim, .k = batch, .alpha = 1, .beta = 1};
    return engine_gemm(engine, gemm, engine->pair_sums, rows, d_rows, err);
}

static void prepare_grams(struct cask_engine *engine, const struct cask_engine_input *input)
{
    const int batch = input->batch, dim = engine->facts.teacher_dim;
    const real *unit = input->teacher_unit, *norm = input->teacher_norm;
    if (engine->teacher_raw != NULL) {
        for (int64_t j = 0; j < (int64_t)batch * dim; j++) {
            engine->teacher_raw[j] = unit[j] * norm[j / dim];
        }
    }
    if (engine->gram != NULL) {
        grams_of(engine, input->embedding, NULL, batch, engine->facts.dim, engine->gram,
                 engine->raw_gram);
        grams_of(engine, unit, norm, batch, dim, engine->teacher_gram, engine->teacher_raw_gram);
    }
}

static enum cask_status term_step(struct cask_engine *engine, int t,
                                  const struct cask_engine_input *input, real *d_unit, real *d_raw,
                                  struct cask_error *err)
{
    struct term *term = &engine->terms[t];
    const size_t pairs = (size_t)input->batch * (size_t)input->batch * sizeof(double);
    enum cask_status st = CASK_OK;
    const bool at_pairs = term->loss->place == CASK_AT_PAIRS;
    struct loss_step step = {
        .batch = input->batch,
        .dim = engine->facts.dim,
        .teacher_dim = engine->facts.teacher_dim,
        .labels = input->labels,
        .raw = input->embedding,
        .unit = engine->unit,
        .norm = engine->norm,
        .teacher_raw = engine->teacher_raw,
        .teacher_unit = input->teacher_unit,
        .gram = engine->gram,
        .raw_gram = engine->raw_gram,
        .teacher_gram = engine->teacher_gram,
        .teacher_raw_gram = engine->teacher_raw_gram,
        .d_raw = d_raw,
        .d_unit = d_unit,
        .d_gram = engine->d_gram,
        .d_raw_gram = engine->d_raw_gram,
        .triplets = input->triplets,
        .triplet_count = input->triplet_count,
        .weight = input->weights[t],
        .seed = engine->seed,
        .counter = input->step,
        .device = engine->device,
    };
    if (at_pairs) {
        memset(engine->d_gram, 0, pairs);
    }
    if (engine->d_raw_gram != NULL) {
        memset(engine->d_raw_gram, 0, pairs);
    }
    engine->value[1 + t] = term->loss->step(term->state, term->options, &step);
    if (at_pairs) {
        CASK_TRY(gram_backward(engine, engine->unit, input->batch, engine->d_gram, d_unit, err));
    }
    if (at_pairs && engine->d_raw_gram != NULL) {
        CASK_TRY(
            gram_backward(engine, input->embedding, input->batch, engine->d_raw_gram, d_raw, err));
    }
done:
    return st;
}

/* Runs one pair or embedding term into buffers of its own, measures it, adds it to the rest. */
static enum cask_status measured_step(struct cask_engine *engine, int t,
                                      const struct cask_engine_input *input, struct cask_error *err)
{
    const int64_t dim = engine->facts.dim, count = input->batch * dim;
    enum cask_status st = CASK_OK;
    memset(engine->term_unit, 0, (size_t)count * sizeof(real));
    memset(engine->term_raw, 0, (size_t)count * sizeof(real));
    CASK_TRY(term_step(engine, t, input, engine->term_unit, engine->term_raw, err));
    for (int64_t j = 0; j < count; j++) {
        engine->d_unit[j] += engine->term_unit[j];
        engine->d_raw[j] += engine->term_raw[j];
        /* f = |f| e: a gradient at f is one at e times |f| */
        engine->term_unit[j] += engine->term_raw[j] * engine->norm[j / dim];
    }
    engine_measure(engine, 1 + t, engine->term_unit, input->batch);
done:
    return st;
}

enum cask_status rows_step(struct cask_engine *engine, const struct cask_engine_input *input,
                           struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    prepare_grams(engine, input);
    for (int t = 0; t < engine->term_count; t++) {
        if (engine->terms[t].loss->place == CASK_AT_LOGITS) {
            continue;
        }
        if (input->measure) {
            CASK_TRY(measured_step(engine, t, input, err));
        } else {
            CASK_TRY(term_step(engine, t, input, engine->d_unit, engine->d_raw, err));
        }
    }
done:
    return st;
}
