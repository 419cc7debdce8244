#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "common/thread.h"
#include "precompute/precompute.h"

enum { ROWS = 128, CLASSES = 4096 }; /* one block of cosines: 2 MB */

/* One candidate as one integer that orders like (cosine descending, class id ascending). */
static uint64_t candidate(int fixed_point, uint32_t class_id)
{
    return (uint64_t)(uint32_t)(fixed_point + 32768) << 32 | (uint32_t)~class_id;
}

struct distiller {
    struct cask_device *device;
    struct cask_pool *pool;
    const struct class_scan *scan;
    const struct centers *centers; /* borrowed */
    int dim, topk, temperature_count;
    double scale, temperatures[CASK_CACHE_TEMPERATURES];
    float *cosines;      /* [ROWS][CLASSES] */
    uint64_t *heaps;     /* [ROWS][topk], smallest candidate first */
    int *heap_sizes;     /* [ROWS] */
    double *most;        /* [ROWS]: largest cosine so far */
    double *sums;        /* [ROWS][temperature_count]: sum of exp(s (cos - most) / T) */
    float *label_cosine; /* [ROWS] */
    uint32_t *labels;    /* [ROWS]: of the current block */
    /* what a shard's rows point to, per view */
    uint32_t *topk_index[CASK_CACHE_VIEWS];
    float *topk_cosine[CASK_CACHE_VIEWS];
    double *lse[CASK_CACHE_VIEWS];
    float *label[CASK_CACHE_VIEWS];
    struct cask_cache_row *rows;      /* [ROWS] */
    int64_t class_begin, class_count; /* of the current block of cosines */
};

enum cask_status distiller_create(struct cask_device *device, const struct cask_manifest *manifest,
                                  const struct centers *centers, int threads,
                                  struct distiller **out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct distiller *d = cask_alloc(1, sizeof *d);
    size_t k = (size_t)manifest->topk, t = (size_t)manifest->temperature_count;
    if (d == NULL) {
        return cask_error_memory(err, sizeof *d, "the distiller");
    }
    d->device = device;
    d->scan = class_scan_at(cask_cpu_isa());
    d->centers = centers;
    d->dim = manifest->embedding;
    d->topk = manifest->topk;
    d->scale = manifest->scale;
    d->temperature_count = manifest->temperature_count;
    memcpy(d->temperatures, manifest->temperatures, sizeof d->temperatures);
    d->cosines = cask_alloc((size_t)ROWS * CLASSES, sizeof *d->cosines);
    d->heaps = cask_alloc(ROWS * k, sizeof *d->heaps);
    d->heap_sizes = cask_alloc(ROWS, sizeof *d->heap_sizes);
    d->most = cask_alloc(ROWS, sizeof *d->most);
    d->sums = cask_alloc(ROWS * t, sizeof *d->sums);
    d->label_cosine = cask_alloc(ROWS, sizeof *d->label_cosine);
    d->labels = cask_alloc(ROWS, sizeof *d->labels);
    d->rows = cask_alloc(ROWS, sizeof *d->rows);
    bool complete = d->cosines != NULL && d->heaps != NULL && d->heap_sizes != NULL &&
                    d->most != NULL && d->sums != NULL && d->label_cosine != NULL &&
                    d->labels != NULL && d->rows != NULL;
    for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
        d->topk_index[v] = cask_alloc(ROWS * k, sizeof(uint32_t));
        d->topk_cosine[v] = cask_alloc(ROWS * k, sizeof(float));
        d->lse[v] = cask_alloc(ROWS * t, sizeof(double));
        d->label[v] = cask_alloc(ROWS, sizeof(float));
        complete = complete && d->topk_index[v] != NULL && d->topk_cosine[v] != NULL &&
                   d->lse[v] != NULL && d->label[v] != NULL;
    }
    if (!complete) {
        CASK_TRY(cask_error_memory(err, (size_t)ROWS * CLASSES * sizeof(float), "top-k search"));
    }
    CASK_TRY(cask_pool_create(threads, &d->pool, err));
    *out = d;
    d = NULL;
done:
    distiller_free(d);
    return st;
}

void distiller_free(struct distiller *d)
{
    if (d == NULL) {
        return;
    }
    for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
        cask_free(d->topk_index[v]);
        cask_free(d->topk_cosine[v]);
        cask_free(d->lse[v]);
        cask_free(d->label[v]);
    }
    cask_pool_free(d->pool);
    cask_free(d->cosines);
    cask_free(d->heaps);
    cask_free(d->heap_sizes);
    cask_free(d->most);
    cask_free(d->sums);
    cask_free(d->label_cosine);
    cask_free(d->labels);
    cask_free(d->rows);
    cask_free(d);
}

/* Puts `value` where it belongs below `root` of a heap whose smallest element is first. */
static void sift_down(uint64_t *heap, int size, int root, uint64_t value)
{
    for (int child; (child = 2 * root + 1) < size; root = child) {
        child += child + 1 < size && heap[child + 1] < heap[child];
        if (value <= heap[child]) {
            break;
        }
        heap[root] = heap[child];
    }
    heap[root] = value;
}

static void push(uint64_t *heap, int *size, int capacity, uint64_t value)
{
    if (*size < capacity) {
        int at = (*size)++;
        for (; at > 0 && heap[(at - 1) / 2] > value; at = (at - 1) / 2) {
            heap[at] = heap[(at - 1) / 2];
        }
        heap[at] = value;
    } else if (value > heap[0]) {
        sift_down(heap, capacity, 0, value);
    }
}

/* Sums of exponentials relative to the row's largest cosine so far: at s/T in the thousands any
 * other shift would underflow to log 0. What was summed before is rescaled when the largest grows.
 */
static void add_exponentials(struct distiller *d, int64_t row, const float *cosines, double most)
{
    double before = d->most[row];
    most = most > before ? most : before;
    d->most[row] = most;
    for (int t = 0; t < d->temperature_count; t++) {
        double factor = d->scale / d->temperatures[t];
        double *total = &d->sums[row * d->temperature_count + t];
        *total = *total * exp(factor * (before - most)) +
                 d->scan->exponentials(cosines, d->class_count, factor, most);
    }
}

/* A list that is full takes few of the classes that follow, so blocks whose largest cosine cannot
 * enter are passed over. One step of the grid is left for rounding. */
static void push_block(struct distiller *d, int64_t row, const float *cosines, int64_t begin,
                       int64_t end)
{
    uint64_t *heap = d->heaps + (size_t)row * (size_t)d->topk;
    for (int64_t j = begin; j < end; j++) {
        float cosine = fminf(fmaxf(cosines[j], -1.0f), 1.0f);
        push(heap, &d->heap_sizes[row], d->topk,
             candidate((int)lrintf(cosine * 32767.0f), (uint32_t)(d->class_begin + j)));
    }
}

/* One row of one block of classes: feeds its heap, its sums and its label cosine. */
static void scan_row(void *user, int64_t row, int worker)
{
    struct distiller *d = user;
    const float *cosines = d->cosines + (size_t)row * (size_t)d->class_count;
    const uint64_t *heap = d->heaps + (size_t)row * (size_t)d->topk;
    float largest[CLASSES / CLASS_BLOCK], most = -INFINITY;
    (void)worker;
    d->scan->maxima(cosines, d->class_count, largest);
    for (int64_t j = 0, b = 0; j < d->class_count; j += CLASS_BLOCK, b++) {
        bool full = d->heap_sizes[row] == d->topk;
        float smallest = full ? (float)((int)(heap[0] >> 32) - 32768 - 1) / 32767.0f : -INFINITY;
        if (largest[b] >= smallest) {
            int64_t end = j + CLASS_BLOCK < d->class_count ? j + CLASS_BLOCK : d->class_count;
            push_block(d, row, cosines, j, end);
        }
        most = largest[b] > most ? largest[b] : most;
    }
    add_exponentials(d, row, cosines, (double)most);
    int64_t label = (int64_t)d->labels[row] - d->class_begin;
    if (d->labels[row] != CASK_NO_LABEL && label >= 0 && label < d->class_count) {
        d->label_cosine[row] = cosines[label];
    }
}

/* Empties the heap from the smallest end, so that the list is written back to front. */
static void finish_row(struct distiller *d, int row, int view)
{
    uint64_t *heap = d->heaps + (size_t)row * (size_t)d->topk;
    for (int size = d->heap_sizes[row]; size > 0; size--) {
        size_t at = (size_t)row * (size_t)d->topk + (size_t)size - 1;
        d->topk_index[view][at] = ~(uint32_t)heap[0];
        d->topk_cosine[view][at] = (float)((int)(heap[0] >> 32) - 32768) / 32767.0f;
        sift_down(heap, size - 1, 0, heap[size - 1]);
    }
    for (int t = 0; t < d->temperature_count; t++) {
        int at = row * d->temperature_count + t;
        d->lse[view][at] = d->scale / d->temperatures[t] * d->most[row] + log(d->sums[at]);
    }
    d->label[view][row] = d->label_cosine[row];
}

/* All classes for `count` unit rows of one view. */
static enum cask_status distil_block(struct distiller *d, const float *unit, int count, int view,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_ops *ops = cask_device_ops(d->device);
    memset(d->heap_sizes, 0, (size_t)count * sizeof *d->heap_sizes);
    memset(d->sums, 0, (size_t)(count * d->temperature_count) * sizeof *d->sums);
    memset(d->label_cosine, 0, (size_t)count * sizeof *d->label_cosine);
    for (int row = 0; row < count; row++) {
        d->most[row] = -INFINITY;
    }
    for (int64_t begin = 0; begin < d->centers->classes; begin += CLASSES) {
        int64_t left = d->centers->classes - begin;
        d->class_begin = begin;
        d->class_count = left < CLASSES ? left : CLASSES;
        struct cask_gemm gemm = {.trans_b = true,
                                 .m = count,
                                 .n = d->class_count,
                                 .k = d->dim,
                                 .alpha = 1,
                                 .in_dtype = CASK_F32,
                                 .out_dtype = CASK_F32};
        CASK_TRY(
            ops->gemm(d->device, &gemm, unit, d->centers->rows + begin * d->dim, d->cosines, err));
        cask_pool_run(d->pool, count, scan_row, d);
    }
    for (int row = 0; row < count; row++) {
        finish_row(d, row, view);
    }
done:
    return st;
}

/* `i` of the block is row `at + i` of the shard. */
static void fill_row(struct distiller *d, const struct row_identity *who,
                     const struct shard_rows *rows, int64_t at, int i)
{
    struct cask_cache_row *row = &d->rows[i];
    *row = (struct cask_cache_row){.sample_id = who->sample_id,
                                   .source_offset = who->source_offset,
                                   .label = who->label,
                                   .flags = rows->bad[at + i] ? CASK_ROW_BAD : 0};
    for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
        row->views[v] =
            (struct cask_cache_view){.embedding = rows->unit[v] + (size_t)(at + i) * (size_t)d->dim,
                                     .norm = rows->norm[v][at + i],
                                     .topk_index = d->topk_index[v] + i * d->topk,
                                     .topk_cosine = d->topk_cosine[v] + i * d->topk,
                                     .label_cosine = d->label[v][i],
                                     .lse = d->lse[v] + i * d->temperature_count};
    }
}

enum cask_status distiller_write_rows(struct distiller *d, row_identify identify, const void *user,
                                      const struct shard_rows *rows,
                                      struct cask_cache_writer *writer, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct row_identity who[ROWS];
    for (int64_t at = 0; at < rows->count; at += ROWS) {
        int count = rows->count - at < ROWS ? (int)(rows->count - at) : ROWS;
        CASK_TRY(cask_interrupt_check(err));
        for (int i = 0; i < count; i++) {
            identify(user, rows->first + at + i, &who[i]);
            d->labels[i] = who[i].label;
        }
        for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
            CASK_TRY(distil_block(d, rows->unit[v] + (size_t)at * (size_t)d->dim, count, v, err));
        }
        for (int i = 0; i < count; i++) {
            fill_row(d, &who[i], rows, at, i);
        }
        CASK_TRY(cask_cache_writer_append(writer, d->rows, count, err));
    }
done:
    return st;
}

static void identify_image(const void *user, int64_t row, struct row_identity *who)
{
    const struct cask_dataset *dataset = user;
    *who = (struct row_identity){cask_dataset_id(dataset, row), cask_dataset_offset(dataset, row),
                                 cask_dataset_label(dataset, row)};
}

enum cask_status distiller_write(struct distiller *d, const struct cask_dataset *dataset,
                                 const struct shard_rows *rows, struct cask_cache_writer *writer,
                                 struct cask_error *err)
{
    return distiller_write_rows(d, identify_image, dataset, rows, writer, err);
}
