/* eval/megaface_run.c - the streamed product of probes and distractors. */
#include <math.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/thread.h"
#include "eval/largest.h"
#include "eval/megaface.h"
#include "eval/megaface_draws.h"

enum {
    BLOCK = 1024, /* distractors in one product */
    READ = 64,    /* rows in one reading task */
    SLICES = 16,  /* of the probes; each keeps largest values of its own */
};

struct run {
    const struct cask_probes *probes;
    const struct cask_megaface_options *options;
    const struct cask_rows *source; /* of the block: distractors, or the probes themselves */
    float *block;                   /* [BLOCK][dim], device memory */
    float *probe_rows;              /* [probes][dim], device memory */
    float *scores;                  /* [probes][BLOCK], device memory */
    int64_t first;                  /* of the block */
    int count;                      /* in the block */
    float *best;                    /* [probes][RANKS], falling */
    struct cask_largest largest[SLICES];
    struct read_state {
        struct cask_error error;
        int64_t zeros, first_zero;
    } * readers; /* [threads] */
    int64_t hits[SLICES][CASK_MEGAFACE_RANKS], pairs[SLICES], accepted[SLICES];
    double threshold;
    bool none_allowed;
    struct megaface_detail detail; /* for intervals */
    struct cask_megaface *out;
};

/* ----------------------------------------------------------------- reading */

static bool is_noisy(const struct run *r, int64_t distractor)
{
    return r->options->noisy != NULL && r->options->rule != CASK_NOISE_KEEP &&
           r->options->noisy[distractor];
}

static void read_task(void *user, int64_t index, int worker)
{
    struct run *r = user;
    struct read_state *mine = &r->readers[worker];
    int dim = r->probes->dim, begin = (int)index * READ;
    int count = r->count - begin < READ ? r->count - begin : READ;
    float *rows = r->block + (size_t)begin * (size_t)dim;
    if (mine->error.status != CASK_OK ||
        r->source->read(r->source->user, r->first + begin, count, rows, &mine->error) != CASK_OK) {
        return;
    }
    for (int i = 0; i < count; i++) {
        float *row = rows + (size_t)i * (size_t)dim;
        int64_t place = r->first + begin + i;
        double squares = 0;
        for (int d = 0; d < dim; d++) {
            squares += (double)row[d] * (double)row[d];
        }
        if (!isfinite(squares)) {
            cask_error_set(&mine->error, CASK_ERR_RANGE,
                           "distractor %lld: expected a finite embedding, found one of length %g",
                           (long long)place, sqrt(squares));
            return;
        }
        if (!(squares > 0)) {
            mine->first_zero =
                mine->zeros == 0 || place < mine->first_zero ? place : mine->first_zero;
            mine->zeros++;
        }
        bool zero = is_noisy(r, place) && r->options->rule == CASK_NOISE_FACEXZOO;
        float scale = squares > 0 && !zero ? (float)(1 / sqrt(squares)) : 0;
        for (int d = 0; d < dim; d++) {
            row[d] *= scale;
        }
    }
}

static enum cask_status read_block(struct run *r, struct cask_pool *pool, struct cask_error *err)
{
    cask_pool_run(pool, (r->count + READ - 1) / READ, read_task, r);
    for (int w = 0; w < cask_pool_threads(pool); w++) {
        if (r->readers[w].error.status != CASK_OK) {
            *err = r->readers[w].error;
            return err->status;
        }
    }
    return CASK_OK;
}

/* scores[probe][i] = probe . row i of the block */
static enum cask_status multiply(struct run *r, struct cask_error *err)
{
    const struct cask_gemm gemm = {
        .trans_b = true,
        .m = r->probes->count,
        .n = r->count,
        .k = r->probes->dim,
        .ldc = BLOCK,
        .alpha = 1,
        .in_dtype = CASK_F32,
        .out_dtype = CASK_F32,
    };
    struct cask_device *device = r->options->device;
    return cask_device_ops(device)->gemm(device, &gemm, r->probe_rows, r->block, r->scores, err);
}

/* ----------------------------------------------------------------- keeping */

static void slice_of(const struct run *r, int64_t slice, int64_t *begin, int64_t *end)
{
    *begin = r->probes->count * slice / SLICES;
    *end = r->probes->count * (slice + 1) / SLICES;
}

/* `best` is falling; a value that is not above its last changes nothing. */
static void insert(float *best, float value)
{
    int at = CASK_MEGAFACE_RANKS - 1;
    while (at > 0 && best[at - 1] < value) {
        best[at] = best[at - 1];
        at--;
    }
    best[at] = value;
}

static void keep_task(void *user, int64_t slice, int worker)
{
    enum { GROUP = 16 };
    struct run *r = user;
    struct cask_largest *largest = &r->largest[slice];
    int64_t begin, end;
    (void)worker;
    slice_of(r, slice, &begin, &end);
    for (int64_t p = begin; p < end; p++) {
        float *best = r->best + p * CASK_MEGAFACE_RANKS;
        const float *scores = r->scores + p * BLOCK;
        for (int i = 0; i < r->count; i += GROUP) {
            float least = best[CASK_MEGAFACE_RANKS - 1];
            least = largest->least < least ? largest->least : least;
            int stop = i + GROUP < r->count ? i + GROUP : r->count, above = 0;
            for (int j = i; j < stop; j++) {
                above |= scores[j] > least;
            }
            for (int j = i; above && j < stop; j++) {
                if (scores[j] > best[CASK_MEGAFACE_RANKS - 1]) {
                    insert(best, scores[j]);
                }
                cask_largest_offer(largest, scores[j], (uint32_t)p);
            }
        }
    }
}

static enum cask_status stream_distractors(struct run *r, struct cask_pool *pool,
                                           struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_progress bar;
    cask_progress_begin(&bar, "distractors", "images", 0, r->source->count);
    for (r->first = 0; r->first < r->source->count; r->first += BLOCK) {
        int64_t left = r->source->count - r->first;
        r->count = left < BLOCK ? (int)left : BLOCK;
        CASK_TRY(cask_interrupt_check(err));
        CASK_TRY(read_block(r, pool, err));
        double start = cask_now();
        CASK_TRY(multiply(r, err));
        r->out->gemm_seconds += cask_now() - start;
        for (int i = 0; r->options->noisy != NULL && i < r->count; i++) {
            bool noisy = is_noisy(r, r->first + i);
            r->out->noisy_distractors += r->options->noisy[r->first + i];
            for (int64_t p = 0;
                 noisy && r->options->rule == CASK_NOISE_INSIGHTFACE && p < r->probes->count; p++) {
                r->scores[p * BLOCK + i] = -INFINITY;
            }
        }
        cask_pool_run(pool, SLICES, keep_task, r);
        cask_progress_update(&bar, r->first + r->count, "%s", "");
    }
    cask_progress_end(&bar);
done:
    return st;
}

/* ---------------------------------------------------------------- counting */

static void count_task(void *user, int64_t slice, int worker)
{
    struct run *r = user;
    int64_t begin, end;
    (void)worker;
    slice_of(r, slice, &begin, &end);
    for (int64_t p = begin; p < end; p++) {
        const float *best = r->best + p * CASK_MEGAFACE_RANKS;
        for (int i = 0; i < r->count; i++) {
            if (r->probes->identity[r->first + i] != r->probes->identity[p] || r->first + i == p) {
                continue;
            }
            float score = r->scores[p * BLOCK + i];
            r->pairs[slice]++;
            for (int n = 0; n < CASK_MEGAFACE_RANKS; n++) {
                r->hits[slice][n] += score >= best[n];
            }
            bool accepted =
                r->none_allowed ? (double)score > r->threshold : (double)score >= r->threshold;
            if (r->options->draws != NULL) {
                megaface_detail_add(&r->detail, p, score, best, accepted);
            }
            r->accepted[slice] += accepted;
        }
    }
}

/* The gallery goes through the same product as the distractors, so that a distractor which is a
 * gallery image ties with it. */
static enum cask_status count_pairs(struct run *r, struct cask_pool *pool, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int dim = r->probes->dim;
    for (r->first = 0; r->first < r->probes->count; r->first += BLOCK) {
        int64_t left = r->probes->count - r->first;
        r->count = left < BLOCK ? (int)left : BLOCK;
        memcpy(r->block, r->probes->rows + r->first * dim,
               (size_t)r->count * (size_t)dim * sizeof(float));
        CASK_TRY(multiply(r, err));
        cask_pool_run(pool, SLICES, count_task, r);
    }
    for (int s = 0; s < SLICES; s++) {
        r->out->pairs += r->pairs[s];
        r->out->accepted += r->accepted[s];
        for (int n = 0; n < CASK_MEGAFACE_RANKS; n++) {
            r->out->hits[n] += r->hits[s][n];
        }
    }
done:
    return st;
}

static enum cask_status find_threshold(struct run *r, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_largest all = {0};
    CASK_TRY(cask_largest_open(&all, r->out->allowed > 0 ? r->out->allowed : 1, err));
    for (int s = 0; s < SLICES; s++) {
        for (int64_t i = 0; i < r->largest[s].count; i++) {
            cask_largest_offer(&all, r->largest[s].kept[i].value, 0);
        }
    }
    r->none_allowed = r->out->allowed == 0;
    /* noisy distractors may leave fewer negatives than are allowed */
    bool enough = all.count >= r->out->allowed && all.count > 0;
    r->threshold = enough ? (double)cask_largest_smallest(&all) : -INFINITY;
    r->out->threshold = r->threshold;
done:
    cask_largest_close(&all);
    return st;
}

/* -------------------------------------------------------------------- run */

static enum cask_status open_run(struct run *r, int threads, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_probes *probes = r->probes;
    struct cask_device *device = r->options->device;
    size_t count = (size_t)probes->count, dim = (size_t)probes->dim;
    if (r->source->columns != probes->dim || r->source->count < 1 || probes->count < 1) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                "MegaFace: expected probes and distractors of one length, found "
                                "%lld probes of %d numbers and %lld distractors of %d",
                                (long long)probes->count, probes->dim, (long long)r->source->count,
                                r->source->columns));
    }
    r->block = cask_buffer_alloc(device, BLOCK * dim * sizeof(float));
    r->probe_rows = cask_buffer_alloc(device, count * dim * sizeof(float));
    r->scores = cask_buffer_alloc(device, count * BLOCK * sizeof(float));
    r->best = cask_alloc(count * CASK_MEGAFACE_RANKS, sizeof *r->best);
    r->readers = cask_alloc((size_t)threads, sizeof *r->readers);
    if (r->block == NULL || r->probe_rows == NULL || r->scores == NULL || r->best == NULL ||
        r->readers == NULL) {
        CASK_TRY(cask_error_memory(err, count * (dim + BLOCK) * sizeof(float), "probes"));
    }
    for (size_t i = 0; i < count * CASK_MEGAFACE_RANKS; i++) {
        r->best[i] = -INFINITY;
    }
    for (int s = 0; s < SLICES; s++) {
        int64_t most = r->out->allowed > 0 ? r->out->allowed : 1;
        CASK_TRY(cask_largest_open(&r->largest[s],
                                   r->options->draws != NULL ? MEGAFACE_DEPTH * most : most, err));
    }
    memcpy(r->probe_rows, probes->rows, count * dim * sizeof(float));
done:
    return st;
}

static void close_run(struct run *r)
{
    struct cask_device *device = r->options->device;
    cask_buffer_free(device, r->block);
    cask_buffer_free(device, r->probe_rows);
    cask_buffer_free(device, r->scores);
    cask_free(r->best);
    cask_free(r->readers);
    megaface_detail_close(&r->detail);
    for (int s = 0; s < SLICES; s++) {
        cask_largest_close(&r->largest[s]);
    }
}

enum cask_status cask_megaface_run(const struct cask_probes *probes,
                                   const struct cask_rows *distractors,
                                   const struct cask_megaface_options *options,
                                   struct cask_megaface *out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_pool *pool = NULL;
    int threads = options->threads > 0 ? options->threads : cask_cpu_count();
    double start = cask_now();
    struct run r = {.probes = probes, .options = options, .source = distractors, .out = out};
    *out = (struct cask_megaface){.probes = probes->count, .distractors = distractors->count};
    out->negatives = probes->count * distractors->count;
    out->allowed = out->negatives > 0 ? megaface_allowed(options->far, out->negatives) : 0;
    CASK_TRY(open_run(&r, threads, err));
    CASK_TRY(cask_pool_create(threads, &pool, err));
    CASK_TRY(stream_distractors(&r, pool, err));
    CASK_TRY(find_threshold(&r, err));
    if (options->draws != NULL) {
        CASK_TRY(megaface_detail_open(&r.detail, probes, distractors->count, r.largest, SLICES,
                                      options->draws->keep_outcomes, err));
    }
    CASK_TRY(count_pairs(&r, pool, err));
    if (options->draws != NULL) {
        CASK_TRY(megaface_draw(&r.detail, options->far, options->draws, err));
    }
    for (int w = 0; w < threads; w++) {
        const struct read_state *reader = &r.readers[w];
        if (reader->zeros > 0) {
            out->first_zero = out->zero_distractors == 0 || reader->first_zero < out->first_zero
                                  ? reader->first_zero
                                  : out->first_zero;
            out->zero_distractors += reader->zeros;
        }
    }
    out->seconds = cask_now() - start;
done:
    cask_pool_free(pool);
    close_run(&r);
    return st;
}
