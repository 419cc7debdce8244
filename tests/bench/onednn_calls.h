/* tests/bench/onednn_calls.h - a list of oneDNN primitives with their memory, run one after another
 * as a program that calls the library op by op does, each call timed.
 *
 * Only bench_onednn.c and its headers call oneDNN outside kernels/cpu: they are what the cpu
 * backend is measured against, so they share none of its code. Threads are OpenMP's, inside the
 * primitives; one caller, so the library's own scratchpad is safe.
 */
#ifndef CASK_TESTS_BENCH_ONEDNN_CALLS_H
#define CASK_TESTS_BENCH_ONEDNN_CALLS_H

#include <dnnl.h>
#include <dnnl_debug.h>
#include <omp.h>

#include "models/plan.h"
#include "tests/bench/bench.h"

enum onednn_kind {
    ONEDNN_STEM,
    ONEDNN_POINTWISE,
    ONEDNN_DENSE,
    ONEDNN_DEPTHWISE,
    ONEDNN_GLOBAL, /* depthwise, the kernel as large as the picture */
    ONEDNN_LINEAR,
    ONEDNN_NORM,
    ONEDNN_ACTIVATION,
    ONEDNN_ADD, /* residuals, and gradients of values with several readers */
    ONEDNN_OTHER,
    ONEDNN_REORDER, /* weights to the layout and type of a primitive, pixels, embeddings */
    ONEDNN_KINDS
};
enum onednn_pass { ONEDNN_FORWARD, ONEDNN_DATA, ONEDNN_WEIGHTS, ONEDNN_PASSES };

enum { ONEDNN_ARGS = 10 };
struct onednn_call {
    enum onednn_kind kind;
    enum onednn_pass pass;
    const char *node, *name; /* the layer; oneDNN's word for the implementation */
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[ONEDNN_ARGS];
    int arg_count;
    double best; /* seconds, of all runs since onednn_forget_times */
};

enum { ONEDNN_TRIALS = 8 };
struct onednn {
    struct cask_device *device; /* borrowed: memory */
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    bool search; /* try every implementation, not only oneDNN's first choice */
    enum onednn_kind kind;
    enum onednn_pass pass;
    const char *node; /* of the calls that are being added */
    struct onednn_call *calls;
    dnnl_memory_t *memories;
    void **buffers;
    int call_count, memory_count, buffer_count;
    void *trials[ONEDNN_TRIALS]; /* only a search has any */
    size_t trial_bytes[ONEDNN_TRIALS];
};

enum { ONEDNN_MOST = 16384 }; /* of each list: four times what an IResNet-200 needs */

static inline enum cask_status onednn_check(dnnl_status_t status, const char *what,
                                            struct cask_error *err)
{
    if (status == dnnl_success) {
        return CASK_OK;
    }
    return cask_error_set(err,
                          status == dnnl_unimplemented ? CASK_ERR_UNSUPPORTED : CASK_ERR_DEVICE,
                          "oneDNN: %s: %s", what, dnnl_status2str(status));
}

static inline enum cask_status onednn_open(struct onednn *o, struct cask_device *device,
                                           bool search, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *o = (struct onednn){.device = device, .search = search};
    o->calls = cask_alloc(ONEDNN_MOST, sizeof *o->calls);
    o->memories = cask_alloc(ONEDNN_MOST, sizeof(dnnl_memory_t));
    o->buffers = cask_alloc(ONEDNN_MOST, sizeof(void *));
    if (o->calls == NULL || o->memories == NULL || o->buffers == NULL) {
        CASK_TRY(cask_error_memory(err, ONEDNN_MOST * sizeof *o->calls, "a list of calls"));
    }
    CASK_TRY(onednn_check(dnnl_engine_create(&o->engine, dnnl_cpu, 0), "engine", err));
    CASK_TRY(onednn_check(dnnl_stream_create(&o->stream, o->engine, dnnl_stream_default_flags),
                          "stream", err));
done:
    return st;
}

static inline void onednn_close(struct onednn *o)
{
    for (int i = 0; i < o->call_count; i++) {
        (void)dnnl_primitive_destroy(o->calls[i].primitive);
        (void)dnnl_primitive_desc_destroy(o->calls[i].desc);
    }
    for (int i = 0; i < o->memory_count; i++) {
        (void)dnnl_memory_destroy(o->memories[i]);
    }
    for (int i = 0; i < o->buffer_count; i++) {
        cask_buffer_free(o->device, o->buffers[i]);
    }
    for (int i = 0; i < ONEDNN_TRIALS; i++) {
        cask_buffer_free(o->device, o->trials[i]);
    }
    (void)dnnl_stream_destroy(o->stream);
    (void)dnnl_engine_destroy(o->engine);
    cask_free(o->calls);
    cask_free(o->memories);
    cask_free(o->buffers);
}

/* Memory of the program's own, zeroed. */
static inline enum cask_status onednn_buffer(struct onednn *o, size_t bytes, void **data,
                                             struct cask_error *err)
{
    if (o->buffer_count == ONEDNN_MOST) {
        return cask_error_set(err, CASK_ERR_RANGE, "more than %d buffers", ONEDNN_MOST);
    }
    *data = cask_buffer_alloc(o->device, bytes);
    if (*data == NULL) {
        return cask_error_memory(err, bytes, "a buffer of oneDNN's step");
    }
    o->buffers[o->buffer_count++] = *data;
    return CASK_OK;
}

/* A handle on `data`, or on a buffer of its own where that is NULL. */
static inline enum cask_status onednn_memory(struct onednn *o, const dnnl_memory_desc_t *md,
                                             void *data, dnnl_memory_t *memory,
                                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (o->memory_count == ONEDNN_MOST) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE, "more than %d memories", ONEDNN_MOST));
    }
    if (data == NULL) {
        CASK_TRY(onednn_buffer(o, dnnl_memory_desc_get_size(md), &data, err));
    }
    CASK_TRY(onednn_check(dnnl_memory_create(memory, md, o->engine, data), "memory handle", err));
    o->memories[o->memory_count++] = *memory;
done:
    return st;
}

static inline enum cask_status onednn_execute(struct onednn *o, const struct onednn_call *call,
                                              struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(onednn_check(
        dnnl_primitive_execute(call->primitive, o->stream, call->arg_count, call->args), call->node,
        err));
    CASK_TRY(onednn_check(dnnl_stream_wait(o->stream), call->node, err));
done:
    return st;
}

/* Adds a call of `desc`, which belongs to the list from now on. args end with 0. */
static inline enum cask_status onednn_add(struct onednn *o, dnnl_primitive_desc_t desc,
                                          const dnnl_exec_arg_t *args, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (o->call_count == ONEDNN_MOST) {
        (void)dnnl_primitive_desc_destroy(desc);
        return cask_error_set(err, CASK_ERR_RANGE, "more than %d calls", ONEDNN_MOST);
    }
    struct onednn_call *call = &o->calls[o->call_count++];
    *call = (struct onednn_call){
        .kind = o->kind, .pass = o->pass, .node = o->node, .desc = desc, .best = 1e30};
    while (args[call->arg_count].arg != 0) {
        call->args[call->arg_count] = args[call->arg_count];
        call->arg_count++;
    }
    CASK_TRY(onednn_check(dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &call->name),
                          "name of an implementation", err));
    CASK_TRY(onednn_check(dnnl_primitive_create(&call->primitive, desc), call->node, err));
done:
    return st;
}

/* ------------------------------------------------------------ which implementation */

/* Argument `i` of a trial: memory that all trials share, because new memory is slow at first. */
static inline void *onednn_trial(struct onednn *o, int i, size_t bytes)
{
    if (o->trial_bytes[i] < bytes) {
        cask_buffer_free(o->device, o->trials[i]);
        o->trials[i] = cask_buffer_alloc(o->device, bytes);
        o->trial_bytes[i] = o->trials[i] != NULL ? bytes : 0;
    }
    return o->trials[i];
}

/* Seconds of the fastest of three runs, or of one that is hopeless beside `best`; 1e30 where it
 * cannot run. */
static inline double onednn_try(struct onednn *o, dnnl_primitive_desc_t desc, double best)
{
    static const int kinds[ONEDNN_TRIALS] = {
        DNNL_ARG_SRC,      DNNL_ARG_WEIGHTS,      DNNL_ARG_BIAS,      DNNL_ARG_DST,
        DNNL_ARG_DIFF_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS, DNNL_ARG_DIFF_DST};
    dnnl_primitive_t primitive = NULL;
    dnnl_exec_arg_t args[ONEDNN_TRIALS];
    int count = 0;
    double fastest = 1e30;
    bool works = dnnl_primitive_create(&primitive, desc) == dnnl_success;
    for (int i = 0; i < ONEDNN_TRIALS && works; i++) {
        const dnnl_memory_desc_t *md =
            dnnl_primitive_desc_query_md(desc, dnnl_query_exec_arg_md, kinds[i]);
        const size_t bytes = md == NULL ? 0 : dnnl_memory_desc_get_size(md);
        if (bytes > 0) {
            void *data = onednn_trial(o, i, bytes);
            args[count].arg = kinds[i];
            works = data != NULL &&
                    dnnl_memory_create(&args[count].memory, md, o->engine, data) == dnnl_success;
            count += works;
        }
    }
    for (int i = 0; i < 3 && works && !(i > 0 && fastest > 3 * best); i++) {
        const double start = cask_now();
        works = dnnl_primitive_execute(primitive, o->stream, count, args) == dnnl_success &&
                dnnl_stream_wait(o->stream) == dnnl_success;
        const double seconds = cask_now() - start;
        fastest = works && seconds < fastest ? seconds : fastest;
    }
    for (int i = 0; i < count; i++) {
        (void)dnnl_memory_destroy(args[i].memory);
    }
    (void)dnnl_primitive_destroy(primitive);
    return works ? fastest : 1e30;
}

/* oneDNN's first choice, or, in a search, the fastest of all but its reference code. */
static inline enum cask_status onednn_choose(struct onednn *o, const void *op,
                                             const_dnnl_primitive_desc_t hint,
                                             dnnl_primitive_desc_t *chosen, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    dnnl_primitive_desc_iterator_t each = NULL;
    double best = 1e30;
    *chosen = NULL;
    CASK_TRY(onednn_check(dnnl_primitive_desc_iterator_create(&each, op, NULL, o->engine, hint),
                          o->node, err));
    do {
        const char *name = "";
        dnnl_primitive_desc_t desc = dnnl_primitive_desc_iterator_fetch(each);
        (void)dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name);
        const bool first = *chosen == NULL;
        double seconds = 1e30;
        if (o->search && (first || strncmp(name, "ref", 3) != 0)) {
            seconds = onednn_try(o, desc, best);
        }
        if (first || seconds < best) {
            (void)dnnl_primitive_desc_destroy(*chosen);
            *chosen = desc;
            best = seconds;
        } else {
            (void)dnnl_primitive_desc_destroy(desc);
        }
    } while (o->search && dnnl_primitive_desc_iterator_next(each) == dnnl_success);
done:
    (void)dnnl_primitive_desc_iterator_destroy(each);
    return st;
}

/* The first choice: for what oneDNN has one good implementation of. */
static inline enum cask_status onednn_first(struct onednn *o, const void *op,
                                            const_dnnl_primitive_desc_t hint,
                                            dnnl_primitive_desc_t *desc, struct cask_error *err)
{
    return onednn_check(dnnl_primitive_desc_create(desc, op, NULL, o->engine, hint), o->node, err);
}

/* --------------------------------------------------------------------- common calls */

static inline const dnnl_memory_desc_t *onednn_md(const_dnnl_primitive_desc_t desc, int arg)
{
    return dnnl_primitive_desc_query_md(desc, dnnl_query_exec_arg_md, arg);
}

static inline const dnnl_memory_desc_t *onednn_md_of(dnnl_memory_t memory)
{
    const dnnl_memory_desc_t *md = NULL;
    (void)dnnl_memory_get_memory_desc(memory, &md);
    return md;
}

/* Another layout or type, or a copy. */
static inline enum cask_status onednn_add_reorder(struct onednn *o, dnnl_memory_t from,
                                                  dnnl_memory_t to, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    dnnl_primitive_desc_t desc = NULL;
    const enum onednn_kind kind = o->kind;
    o->kind = ONEDNN_REORDER;
    CASK_TRY(onednn_check(dnnl_reorder_primitive_desc_create(&desc, onednn_md_of(from), o->engine,
                                                             onednn_md_of(to), o->engine, NULL),
                          "reorder", err));
    CASK_TRY(onednn_add(o, desc, (dnnl_exec_arg_t[]){{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}, {0}},
                        err));
done:
    o->kind = kind;
    return st;
}

/* y = a + b or a * b; b may be one pixel. */
static inline enum cask_status onednn_add_binary(struct onednn *o, dnnl_alg_kind_t alg,
                                                 dnnl_memory_t a, dnnl_memory_t b, dnnl_memory_t y,
                                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    dnnl_binary_desc_t op;
    dnnl_primitive_desc_t desc = NULL;
    CASK_TRY(onednn_check(
        dnnl_binary_desc_init(&op, alg, onednn_md_of(a), onednn_md_of(b), onednn_md_of(y)), o->node,
        err));
    CASK_TRY(onednn_first(o, &op, NULL, &desc, err));
    CASK_TRY(onednn_add(
        o, desc,
        (dnnl_exec_arg_t[]){{DNNL_ARG_SRC_0, a}, {DNNL_ARG_SRC_1, b}, {DNNL_ARG_DST, y}, {0}},
        err));
done:
    return st;
}

/* -------------------------------------------------------------------------- running */

static inline void onednn_forget_times(struct onednn *o)
{
    for (int i = 0; i < o->call_count; i++) {
        o->calls[i].best = 1e30;
    }
}

/* All calls in order. */
static inline enum cask_status onednn_run(struct onednn *o, double *seconds, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const double start = cask_now();
    double last = start;
    for (int i = 0; i < o->call_count; i++) {
        struct onednn_call *call = &o->calls[i];
        CASK_TRY(onednn_execute(o, call, err));
        const double now = cask_now();
        call->best = now - last < call->best ? now - last : call->best;
        last = now;
    }
    *seconds = last - start;
done:
    return st;
}

#endif
