/* train/losses/engine_rows.c - losses over pairs and embedding rows: Gram matrices in, gradients at
 * e and f out.
 */
#include "train/losses/engine_inside.h"

/* Rows of a Gram matrix from rows in `real`; by unit: of their directions. */
struct gram_job {
    const real *rows;
    int batch;
    int64_t dim;
    const double *length; /* [B] what each row is divided by; NULL: 1 */
    double *gram;
};

static void gram_row(void *user, int64_t i, int thread)
{
    const struct gram_job *job = user;
    const real *a = job->rows + i * job->dim;
    (void)thread;
    for (int64_t j = 0; j <= i; j++) {
        const double lengths = job->length != NULL ? job->length[i] * job->length[j] : 1;
        const double product = rows_dot_double(a, job->rows + j * job->dim, job->dim) / lengths;
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
    if (raw_gram == NULL) {
        return;
    }
    for (int64_t i = 0; i < batch && norm != NULL; i++) {
        length[i] /= fmax((double)norm[i], 1e-300);
    }
    job.length = norm != NULL ? length : NULL;
    job.gram = raw_gram;
    loss_parallel(engine->device, batch, gram_row, &job);
}

/* Back from P = dL/dS to raw rows f, S_ij = f_i.f_j / (l_i l_j), the entries of P independent:
 *     Q = P + P^T;   dL/df_i = sum_j Q_ij / (l_i l_j) f_j - (sum_j Q_ij S_ij) / l_i^2 f_i
 * Raw Gram matrices have l = 1 and no second part. In double, as P is: where e_j is close to e_i,
 * what is left of e_j - S_ij e_i has few digits in float. */
struct back_job {
    const real *rows;
    int batch;
    int64_t dim;
    const double *p, *gram, *length; /* length NULL: raw */
    real *d_rows;
};

static void back_row(void *user, int64_t i, int thread)
{
    enum { PART = 256 };
    const struct back_job *job = user;
    const int64_t batch = job->batch;
    const double own = job->length != NULL ? job->length[i] : 1;
    double radial = 0, sum[PART];
    (void)thread;
    if (job->length != NULL && own <= 1e-12) {
        return; /* a zero embedding has no direction to turn */
    }
    for (int64_t j = 0; j < batch && job->length != NULL; j++) {
        radial += (job->p[i * batch + j] + job->p[j * batch + i]) * job->gram[i * batch + j];
    }
    for (int64_t first = 0; first < job->dim; first += PART) {
        const int64_t width = job->dim - first < PART ? job->dim - first : PART;
        memset(sum, 0, sizeof sum);
        for (int64_t j = 0; j < batch; j++) {
            const real *f = job->rows + j * job->dim + first;
            double q = job->p[i * batch + j] + job->p[j * batch + i];
            q /= job->length != NULL ? own * job->length[j] : 1;
            q -= i == j && job->length != NULL ? radial / (own * own) : 0;
            SIMD()
            for (int64_t d = 0; d < width; d++) {
                sum[d] += q * (double)f[d];
            }
        }
        real *to = job->d_rows + i * job->dim + first;
        for (int64_t d = 0; d < width; d++) {
            to[d] += (real)sum[d];
        }
    }
}

static void gram_backward(struct cask_engine *engine, const struct cask_engine_input *input,
                          bool raw, real *d_raw)
{
    struct back_job job = {.rows = input->embedding,
                           .batch = input->batch,
                           .dim = engine->facts.dim,
                           .p = raw ? engine->d_raw_gram : engine->d_gram,
                           .gram = raw ? NULL : engine->gram,
                           .length = raw ? NULL : engine->length,
                           .d_rows = d_raw};
    loss_parallel(engine->device, input->batch, back_row, &job);
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
        grams_of(engine, unit, norm, batch, dim, engine->teacher_gram, engine->teacher_raw_gram);
        /* last, because the way back needs its lengths */
        grams_of(engine, input->embedding, NULL, batch, engine->facts.dim, engine->gram,
                 engine->raw_gram);
    }
}

static void term_step(struct cask_engine *engine, int t, const struct cask_engine_input *input,
                      real *d_unit, real *d_raw)
{
    struct term *term = &engine->terms[t];
    const size_t pairs = (size_t)input->batch * (size_t)input->batch * sizeof(double);
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
        gram_backward(engine, input, false, d_raw);
    }
    if (at_pairs && engine->d_raw_gram != NULL) {
        gram_backward(engine, input, true, d_raw);
    }
}

/* Runs one pair or embedding term into buffers of its own, measures it, adds it to the rest. */
static void measured_step(struct cask_engine *engine, int t, const struct cask_engine_input *input)
{
    const int64_t dim = engine->facts.dim, count = input->batch * dim;
    memset(engine->term_unit, 0, (size_t)count * sizeof(real));
    memset(engine->term_raw, 0, (size_t)count * sizeof(real));
    term_step(engine, t, input, engine->term_unit, engine->term_raw);
    for (int64_t j = 0; j < count; j++) {
        engine->d_unit[j] += engine->term_unit[j];
        engine->d_raw[j] += engine->term_raw[j];
        /* f = |f| e: a gradient at f is one at e times |f| */
        engine->term_unit[j] += engine->term_raw[j] * engine->norm[j / dim];
    }
    engine_measure(engine, 1 + t, engine->term_unit, input->batch);
}

void rows_step(struct cask_engine *engine, const struct cask_engine_input *input)
{
    prepare_grams(engine, input);
    for (int t = 0; t < engine->term_count; t++) {
        if (engine->terms[t].loss->place == CASK_AT_LOGITS) {
            continue;
        }
        if (input->measure) {
            measured_step(engine, t, input);
        } else {
            term_step(engine, t, input, engine->d_unit, engine->d_raw);
        }
    }
}
