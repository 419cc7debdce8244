/* tests/bench/bench_student.h - a student and the plans of its training step, for benches. */
#ifndef CASK_TESTS_BENCH_BENCH_STUDENT_H
#define CASK_TESTS_BENCH_BENCH_STUDENT_H

#include "models/plan.h"
#include "tests/bench/bench.h"

enum { BENCH_PATHS = 3 };

struct bench_student {
    struct cask_net *net;
    struct cask_plan *plans[BENCH_PATHS]; /* by enum cask_plan_path; NULL where not asked for */
    float *pixels, *embedding, *seed;     /* a batch; what the step says; what it is given */
    int batch;
};

static inline enum cask_status bench_student_open(struct bench_student *s, int64_t count,
                                                  const struct cask_graph *graph,
                                                  struct cask_device *device,
                                                  const bool wanted[BENCH_PATHS],
                                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const size_t batch = (size_t)count;
    const size_t image =
        3 * (size_t)cask_graph_input_width(graph) * (size_t)cask_graph_input_height(graph);
    const size_t outputs = batch * (size_t)cask_graph_embedding(graph);
    s->batch = (int)count;
    CASK_TRY(cask_net_create(graph, device, true, &s->net, err));
    CASK_TRY(cask_net_init(s->net, 1, err));
    for (int path = 0; path < BENCH_PATHS; path++) {
        if (wanted[path]) {
            CASK_TRY(cask_plan_create_way(s->net, s->batch, CASK_MODE_TRAIN,
                                          (struct cask_plan_way){.path = (enum cask_plan_path)path},
                                          &s->plans[path], err));
        }
    }
    s->pixels = cask_alloc(batch * image, sizeof(float));
    s->embedding = cask_alloc(outputs, sizeof(float));
    s->seed = cask_alloc(outputs, sizeof(float));
    if (s->pixels == NULL || s->embedding == NULL || s->seed == NULL) {
        CASK_TRY(cask_error_memory(err, batch * image * sizeof(float), "a batch"));
    }
    bench_fill(s->pixels, batch * image, 1);
    bench_fill(s->seed, outputs, 2);
done:
    return st;
}

static inline void bench_student_close(struct bench_student *s)
{
    for (int path = 0; path < BENCH_PATHS; path++) {
        cask_plan_free(s->plans[path]);
    }
    cask_net_free(s->net);
    cask_free(s->pixels);
    cask_free(s->embedding);
    cask_free(s->seed);
}

/* Forward, backward and the weights packed anew. */
static inline enum cask_status bench_student_step(struct bench_student *s, struct cask_plan *plan,
                                                  double *seconds, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    cask_net_changed(s->net);
    double start = cask_now();
    CASK_TRY(cask_plan_forward(plan, s->pixels, s->batch, s->embedding, err));
    CASK_TRY(cask_plan_backward(plan, s->seed, err));
    *seconds = cask_now() - start;
done:
    return st;
}

#endif
