/* models/plan_gradient.c - which gradients exist, where they lie, which are added up.
 *
 * A walk through backward as it will run, from the last step to the first. The gradient of a value
 * is read once, by the step that made the value; it is written by the value's readers, the latest
 * first. The first of them writes, the others add.
 *
 * Two gradients may share memory while nobody writes one before the other has been read: then the
 * sum's backward costs nothing, and batch norm works in place.
 *
 * How far back it goes was decided before (plan_reach.c).
 *
 * The walk also sees which step completes the gradient of a batch norm's output; in a chain that
 * step reduces it (plan_chain.c).
 */
#include "models/plan.h"

/* wanted[v]: the producer of v runs backward. */
static void find_wanted(const struct cask_plan *plan, bool *wanted, int *producer)
{
    producer[CASK_GRAPH_INPUT] = -1;
    for (int i = 0; i < plan->step_count; i++) {
        producer[plan->steps[i].output] = i;
        wanted[plan->steps[i].output] = plan->steps[i].back;
    }
}

/* The step that next adds to the gradient of `value` after step `i` has run backward; -1: none. */
static int next_writer(const struct cask_plan *plan, int value, int i)
{
    for (int j = i - 1; j >= 0; j--) {
        for (int k = 0; k < CASK_NODE_INPUTS; k++) {
            if (plan->steps[j].inputs[k] == value) {
                return j;
            }
        }
    }
    return -1;
}

struct walk {
    struct cask_plan *plan;
    bool *wanted;  /* by value */
    int *producer; /* by value: step */
    int *writer;   /* by value: the step that has last written its gradient, -1 before */
};

/* May `value` live in `buffer` from backward of step `i` on? Steps run backward in falling order,
 * so "is written before it is read" is writer >= reader. */
static bool may_join(const struct walk *walk, int value, int buffer, int i)
{
    const struct cask_plan *plan = walk->plan;
    const int writer = next_writer(plan, value, i), reader = walk->producer[value];
    for (int other = 0; other < plan->net->graph->value_count; other++) {
        if (plan->gradient_buffers[other] != buffer || walk->producer[other] >= i) {
            continue; /* elsewhere, or already read */
        }
        int other_writer = next_writer(plan, other, i);
        if (writer >= walk->producer[other] || other_writer >= reader) {
            return false;
        }
    }
    return true;
}

/* Is the gradient of step `i`'s output the only one in its buffer that is still to be read? */
static bool may_overwrite(const struct walk *walk, int buffer, int i)
{
    const struct cask_plan *plan = walk->plan;
    for (int other = 0; other < plan->net->graph->value_count; other++) {
        if (plan->gradient_buffers[other] == buffer && walk->producer[other] < i) {
            return false;
        }
    }
    return true;
}

static void join(const struct walk *walk, int value, int buffer)
{
    struct cask_plan *plan = walk->plan;
    int last = cask_moment_backward(plan, walk->producer[value]);
    plan->gradient_buffers[value] = buffer;
    if (plan->memory.buffers[buffer].last < last) {
        plan->memory.buffers[buffer].last = last;
    }
}

/* Whoever shares the buffer of `value` sees what step `i` writes there. */
static void mark_written(const struct walk *walk, int value, int i)
{
    const struct cask_plan *plan = walk->plan;
    for (int other = 0; other < plan->net->graph->value_count; other++) {
        if (plan->gradient_buffers[other] == plan->gradient_buffers[value]) {
            walk->writer[other] = i;
        }
    }
}

/* The step that completed the gradient of a batch norm's output can reduce it on the way. */
static void give_reduce(const struct walk *walk, int i)
{
    struct cask_plan *plan = walk->plan;
    struct cask_step *norm = &plan->steps[i];
    const int writer = walk->writer[norm->output];
    if (norm->node->kind != CASK_LAYER_BATCHNORM || plan->way.path != CASK_PATH_CHAINED ||
        writer < 0) {
        return;
    }
    struct cask_step *step = &plan->steps[writer];
    bool able = step->node->kind == CASK_LAYER_CONV || step->node->kind == CASK_LAYER_BATCHNORM;
    if (able && step->reduce_count < CASK_STEP_REDUCES) {
        step->reduces[step->reduce_count++] = i;
        norm->taken.reduce = true;
    }
}

static enum cask_status visit_input(const struct walk *walk, int i, int k, struct cask_error *err)
{
    struct cask_plan *plan = walk->plan;
    struct cask_step *step = &plan->steps[i];
    const struct cask_layer *layer = cask_layer(step->node->kind);
    struct cask_step_gradient *gradient = &step->gradients[k];
    const int value = step->inputs[k], dy = plan->gradient_buffers[step->output];

    gradient->wanted = value >= 0 && walk->wanted[value];
    if (!gradient->wanted) {
        return CASK_OK;
    }
    gradient->accumulate = plan->gradient_buffers[value] >= 0;
    if (gradient->accumulate) {
        mark_written(walk, value, i);
        return CASK_OK;
    }
    /* In a chain the convolution in front finds dy where it looks for dx. */
    if (step->taken.gradient || (layer->gradient_shared && may_join(walk, value, dy, i))) {
        gradient->shared = true;
        join(walk, value, dy);
        walk->writer[value] = walk->writer[step->output];
        return CASK_OK;
    }
    enum cask_status st = CASK_OK;
    if (layer->gradient_in_place && may_overwrite(walk, dy, i)) {
        join(walk, value, dy);
    } else {
        st = cask_memory_add(
            &plan->memory, cask_tensor_bytes(&plan->tensors[value]), cask_moment_backward(plan, i),
            cask_moment_backward(plan, walk->producer[value]), &plan->gradient_buffers[value], err);
    }
    if (st == CASK_OK) {
        mark_written(walk, value, i);
    }
    return st;
}

static enum cask_status check_step(const struct cask_step *step, struct cask_error *err)
{
    const struct cask_layer *layer = cask_layer(step->node->kind);
    const struct cask_step_gradient *x = &step->gradients[0], *gate = &step->gradients[1];
    const enum cask_layer_kind kind = step->node->kind;
    if (layer->backward == NULL) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED, "%s: a layer of kind %s cannot be trained",
                              step->node->name, layer->name);
    }
    if (!x->wanted && !cask_step_may_be_first(step)) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "%s: the first trained layer must be a convolution or linear",
                              step->node->name);
    }
    if (kind == CASK_LAYER_SCALE && (!gate->wanted || gate->accumulate)) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "%s: training needs a gate that trained layers compute and only this "
                              "layer reads",
                              step->node->name);
    }
    return CASK_OK;
}

enum cask_status cask_plan_gradients(struct cask_plan *plan, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_graph *graph = plan->net->graph;
    struct walk walk = {.plan = plan};
    walk.wanted = cask_alloc((size_t)graph->value_count, sizeof *walk.wanted);
    walk.producer = cask_alloc((size_t)graph->value_count, sizeof *walk.producer);
    walk.writer = cask_alloc((size_t)graph->value_count, sizeof *walk.writer);
    if (walk.wanted == NULL || walk.producer == NULL || walk.writer == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)graph->value_count * sizeof(int), "plan"));
    }
    for (int v = 0; v < graph->value_count; v++) {
        walk.writer[v] = -1;
    }
    find_wanted(plan, walk.wanted, walk.producer);
    CASK_TRY(cask_memory_add(&plan->memory, cask_tensor_bytes(&plan->tensors[graph->output]),
                             cask_moment_seed(plan),
                             cask_moment_backward(plan, walk.producer[graph->output]),
                             &plan->gradient_buffers[graph->output], err));
    for (int i = plan->step_count - 1; i >= 0; i--) {
        if (plan->gradient_buffers[plan->steps[i].output] < 0) {
            continue; /* nobody reads it, or nothing trained behind it */
        }
        give_reduce(&walk, i);
        for (int k = 0; k < CASK_NODE_INPUTS; k++) {
            CASK_TRY(visit_input(&walk, i, k, err));
        }
        CASK_TRY(check_step(&plan->steps[i], err));
    }
done:
    cask_free(walk.wanted);
    cask_free(walk.producer);
    cask_free(walk.writer);
    return st;
}
