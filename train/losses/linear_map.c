/* train/losses/linear_map.c - see linear_map.h. */
#include "train/losses/linear_map.h"

#include "common/mem.h"
#include "common/rng.h"
#include "train/losses/rows.h"

struct job {
    struct linear_map *map;
    const struct loss_step *step;
};

enum cask_status linear_map_create(const struct cask_engine_facts *facts, uint64_t stream,
                                   struct linear_map **out, struct cask_error *err)
{
    const size_t from = (size_t)facts->dim, to = (size_t)facts->teacher_dim;
    const size_t rows = (size_t)facts->batch * to, size = from * to;
    struct linear_map *map = cask_alloc(1, sizeof *map);
    if (map != NULL) {
        *map = (struct linear_map){
            .from = facts->dim,
            .to = facts->teacher_dim,
            .weight = cask_alloc(size, sizeof(real)),
            .momentum = cask_alloc(size, sizeof(real)),
            .d_weight = cask_alloc(size, sizeof(real)),
            .y = cask_alloc(rows, sizeof(real)),
            .unit = cask_alloc(rows, sizeof(real)),
            .norm = cask_alloc((size_t)facts->batch, sizeof(real)),
            .d_y = cask_alloc(rows, sizeof(real)),
            .d_unit = cask_alloc(rows, sizeof(real)),
        };
    }
    if (map == NULL || map->weight == NULL || map->momentum == NULL || map->d_weight == NULL ||
        map->y == NULL || map->unit == NULL || map->norm == NULL || map->d_y == NULL ||
        map->d_unit == NULL) {
        linear_map_free(map);
        return cask_error_memory(err, (3 * size + 4 * rows) * sizeof(real), "linear map");
    }
    for (size_t j = 0; j < size; j++) {
        map->weight[j] = (real)(0.01 * cask_rng_uniform(facts->seed, stream, j) - 0.005);
    }
    *out = map;
    return CASK_OK;
}

void linear_map_free(struct linear_map *map)
{
    if (map == NULL) {
        return;
    }
    void *const owned[] = {map->weight, map->momentum, map->d_weight, map->y,
                           map->unit,   map->norm,     map->d_y,      map->d_unit};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        cask_free(owned[i]);
    }
    cask_free(map);
}

static void add_scaled(real *to, const real *row, real by, int count)
{
    SIMD()
    for (int j = 0; j < count; j++) {
        to[j] += by * row[j];
    }
}

static void forward_row(void *user, int64_t i, int worker)
{
    const struct job *job = user;
    const struct linear_map *map = job->map;
    (void)worker;
    for (int64_t t = 0; t < map->to; t++) {
        map->y[i * map->to + t] =
            (real)rows_dot(job->step->raw + i * map->from, map->weight + t * map->from, map->from);
    }
}

static void input_row(void *user, int64_t i, int worker)
{
    const struct job *job = user;
    const struct linear_map *map = job->map;
    (void)worker;
    for (int64_t t = 0; t < map->to; t++) {
        add_scaled(job->step->d_raw + i * map->from, map->weight + t * map->from,
                   map->d_y[i * map->to + t], map->from);
    }
}

static void weight_row(void *user, int64_t t, int worker)
{
    const struct job *job = user;
    const struct linear_map *map = job->map;
    real *d = map->d_weight + t * map->from;
    (void)worker;
    memset(d, 0, (size_t)map->from * sizeof *d);
    for (int64_t i = 0; i < job->step->batch; i++) {
        add_scaled(d, job->step->raw + i * map->from, map->d_y[i * map->to + t], map->from);
    }
}

void linear_map_forward(struct linear_map *map, const struct loss_step *step)
{
    struct job job = {map, step};
    const size_t bytes = (size_t)step->batch * (size_t)map->to * sizeof(real);
    loss_parallel(step->device, step->batch, forward_row, &job);
    rows_unit(map->y, step->batch, map->to, map->unit, map->norm);
    memset(map->d_y, 0, bytes);
    memset(map->d_unit, 0, bytes);
}

void linear_map_backward(struct linear_map *map, const struct loss_step *step)
{
    struct job job = {map, step};
    rows_unit_backward(map->unit, map->norm, map->d_unit, step->batch, map->to, map->d_y);
    loss_parallel(step->device, step->batch, input_row, &job);
    loss_parallel(step->device, map->to, weight_row, &job);
}
