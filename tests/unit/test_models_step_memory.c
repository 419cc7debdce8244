/* Plans that take turns in one memory: the bits are those of plans with memory of their own. */
#include "tests/support/test.h"

#include "tests/support/networks.h"

static struct cask_error err;

enum { BATCH = 3, D = 64, STEPS = 3 };

struct student {
    struct cask_graph *graph;
    struct cask_net *net;
    struct cask_plan *plan;
    float *pixels, *seed;
    float embedding[STEPS][BATCH * D];
};

static void open_student(struct student *s, const char *network, int size,
                         struct cask_device *device, struct cask_step_memory *memory)
{
    s->graph = build(network, size);
    s->net = filled(s->graph, device, true);
    s->pixels = noise((size_t)BATCH * image_floats(s->graph), "pixels");
    s->seed = noise((size_t)BATCH * D, "seed");
    assert_ok(cask_plan_create_in(memory, s->net, BATCH, CASK_MODE_TRAIN, &s->plan, &err));
    assert_ok(cask_net_zero_grads(s->net, &err));
}

static void close_student(struct student *s)
{
    cask_plan_free(s->plan);
    cask_net_free(s->net);
    cask_graph_free(s->graph);
    cask_free(s->pixels);
    cask_free(s->seed);
}

static void step(struct student *s, int number)
{
    assert_ok(cask_plan_forward(s->plan, s->pixels, BATCH, s->embedding[number], &err));
    assert_ok(cask_plan_backward(s->plan, s->seed, &err));
}

static void assert_same(const struct student *a, const struct student *b)
{
    double largest = 0;
    assert_memory_equal(a->embedding, b->embedding, sizeof a->embedding);
    for (int p = 0; p < cask_graph_param_count(a->graph); p++) {
        const struct cask_param_info *info = cask_graph_param(a->graph, p);
        const float *x = cask_net_grad(a->net, p), *y = cask_net_grad(b->net, p);
        for (int64_t i = 0; x != NULL && i < info->count; i++) {
            largest = fmax(largest, fabs((double)x[i]));
        }
        if (x != NULL) {
            assert_memory_equal(x, y, (size_t)info->count * sizeof *x);
        }
    }
    assert_true(largest > 0);
}

/* The second network needs more memory than the first, which has made a step by then. */
static void test_turns(void **state)
{
    struct cask_device *device = open_device("cpu");
    struct cask_step_memory *memory = NULL;
    struct student own[2] = {0}, shared[2] = {0};
    (void)state;
    assert_ok(cask_step_memory_create(device, &memory, &err));
    open_student(&own[0], "mbf", 32, device, NULL);
    open_student(&own[1], "ir18", 48, device, NULL);
    open_student(&shared[0], "mbf", 32, device, memory);
    for (int i = 0; i < STEPS; i++) {
        step(&own[0], i);
        step(&own[1], i);
        step(&shared[0], i);
        if (i == 0) {
            assert_int_equal(cask_step_memory_bytes(memory), cask_plan_bytes(own[0].plan));
            open_student(&shared[1], "ir18", 48, device, memory);
        }
        step(&shared[1], i);
    }
    assert_true(cask_plan_bytes(own[0].plan) < cask_plan_bytes(own[1].plan));
    assert_int_equal(cask_step_memory_bytes(memory), cask_plan_bytes(own[1].plan));
    for (int i = 0; i < 2; i++) {
        assert_same(&own[i], &shared[i]);
        close_student(&own[i]);
        close_student(&shared[i]);
    }
    cask_step_memory_free(memory);
    cask_device_close(device);
}

/* A plan whose values another has written over does not go back through them. */
static void test_another_forward_ends_a_step(void **state)
{
    struct cask_device *device = open_device("cpu");
    struct cask_step_memory *memory = NULL;
    struct student a = {0}, b = {0};
    (void)state;
    assert_ok(cask_step_memory_create(device, &memory, &err));
    open_student(&a, "mbf", 32, device, memory);
    open_student(&b, "mbf", 32, device, memory);
    assert_ok(cask_plan_forward(a.plan, a.pixels, BATCH, a.embedding[0], &err));
    assert_ok(cask_plan_forward(b.plan, b.pixels, BATCH, b.embedding[0], &err));
    assert_refused(CASK_ERR_INTERNAL, "without a training forward",
                   cask_plan_backward(a.plan, a.seed, &err));
    assert_ok(cask_plan_backward(b.plan, b.seed, &err));
    close_student(&a);
    close_student(&b);
    cask_step_memory_free(memory);
    cask_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_another_forward_ends_a_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
