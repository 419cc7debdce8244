/* tests/support/ops/run.c - one case on one device: buffers between red zones, and the calls. */
#include <math.h>
#include <string.h>

#include "common/hash.h"
#include "common/mem.h"
#include "tests/support/ops/op.h"

enum { RED_ZONE = 256, RED = 0xA5 };

static enum cask_dtype type_on(const struct cask_device *device, enum op_type type)
{
    switch (type) {
    case OP_ACTIVATION:
        return cask_device_activation_dtype(device);
    case OP_PARAMETER:
        return cask_device_parameter_dtype(device);
    case OP_HOST:
        return CASK_F64;
    case OP_LABELS:
        break;
    }
    return CASK_F32; /* as wide as a label */
}

enum cask_status op_run_open(struct op_run *run, struct cask_device *device, struct op_case *parsed,
                             const struct op_family *family, const struct op_spec *spec,
                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *run = (struct op_run){.parsed = parsed,
                           .family = family,
                           .spec = spec,
                           .device = device,
                           .ops = cask_device_ops(device),
                           .any_threads = true};
    for (int i = 0; i < spec->count; i++) {
        size_t count = op_count(&spec->operands[i]);
        struct op_buffer *buffer = &run->buffers[i];
        if (count == 0) {
            continue;
        }
        buffer->dtype = type_on(device, spec->operands[i].type);
        buffer->bytes = count * cask_dtype_size(buffer->dtype);
        buffer->block = cask_buffer_alloc(device, buffer->bytes + 2 * RED_ZONE);
        if (buffer->block == NULL) {
            CASK_TRY(cask_error_memory(err, buffer->bytes, spec->operands[i].name));
        }
        memset(buffer->block, RED, RED_ZONE);
        memset(buffer->block + RED_ZONE + buffer->bytes, RED, RED_ZONE);
    }
    if (family->open != NULL) {
        CASK_TRY(family->open(run, err));
    }
done:
    return st;
}

void op_run_close(struct op_run *run)
{
    if (run->family != NULL && run->family->close != NULL) {
        run->family->close(run);
    }
    for (int i = 0; i < OP_OPERANDS; i++) {
        cask_buffer_free(run->device, run->buffers[i].block);
    }
    memset(run, 0, sizeof *run);
}

void *op_data(const struct op_run *run, int index)
{
    return run->buffers[index].block ? run->buffers[index].block + RED_ZONE : NULL;
}

struct cask_tensor op_tensor(const struct op_run *run, int index)
{
    const struct op_operand *o = &run->spec->operands[index];
    return (struct cask_tensor){
        op_data(run, index), run->buffers[index].dtype, o->n, o->h, o->w, o->c};
}

void op_copy(const struct op_run *run, int to, int from)
{
    memcpy(op_data(run, to), op_data(run, from), run->buffers[to].bytes);
}

static void store(void *data, enum cask_dtype dtype, size_t at, double value)
{
    float narrow = (float)value;
    uint32_t bits;
    switch (dtype) {
    case CASK_F64:
        ((double *)data)[at] = value;
        return;
    case CASK_F32:
        ((float *)data)[at] = narrow;
        return;
    case CASK_BF16: /* op_values_fill gave a value that bf16 holds exactly */
        memcpy(&bits, &narrow, sizeof bits);
        ((uint16_t *)data)[at] = (uint16_t)(bits >> 16);
        return;
    }
}

static double load(const void *data, enum cask_dtype dtype, size_t at)
{
    uint32_t bits;
    float narrow;
    switch (dtype) {
    case CASK_F64:
        return ((const double *)data)[at];
    case CASK_F32:
        return (double)((const float *)data)[at];
    case CASK_BF16:
        break;
    }
    bits = (uint32_t)((const uint16_t *)data)[at] << 16;
    memcpy(&narrow, &bits, sizeof narrow);
    return (double)narrow;
}

void op_upload(struct op_run *run, int index, const double *values)
{
    const struct op_operand *o = &run->spec->operands[index];
    void *data = op_data(run, index);
    for (size_t j = 0; j < op_count(o); j++) {
        if (o->type == OP_LABELS) {
            ((uint32_t *)data)[j] = values[j] < 0 ? UINT32_MAX : (uint32_t)values[j];
        } else {
            store(data, run->buffers[index].dtype, j, values[j]);
        }
    }
}

void op_download(const struct op_run *run, int index, double *values)
{
    const void *data = op_data(run, index);
    for (size_t j = 0; j < op_count(&run->spec->operands[index]); j++) {
        values[j] = load(data, run->buffers[index].dtype, j);
    }
}

void op_fill_nan(struct op_run *run, int index)
{
    for (size_t j = 0; j < op_count(&run->spec->operands[index]); j++) {
        store(op_data(run, index), run->buffers[index].dtype, j, NAN);
    }
}

static bool is_input(const struct op_operand *o)
{
    return o->role == OP_INPUT || o->role == OP_COTANGENT;
}

static uint64_t hash_of_inputs(const struct op_run *run)
{
    uint64_t hash = 0;
    for (int i = 0; i < run->spec->count; i++) {
        if (run->buffers[i].block != NULL && is_input(&run->spec->operands[i])) {
            hash = hash * 31 + cask_xxh3(op_data(run, i), run->buffers[i].bytes);
        }
    }
    return hash;
}

static enum cask_status check_zones(const struct op_run *run, const char *after,
                                    struct cask_error *err)
{
    for (int i = 0; i < run->spec->count; i++) {
        const struct op_buffer *buffer = &run->buffers[i];
        for (size_t j = 0; buffer->block != NULL && j < RED_ZONE; j++) {
            if (buffer->block[j] != RED || buffer->block[RED_ZONE + buffer->bytes + j] != RED) {
                return cask_error_set(err, CASK_ERR_MISMATCH, "%s wrote outside of %s", after,
                                      run->spec->operands[i].name);
            }
        }
    }
    return CASK_OK;
}

static enum cask_status check_after(const struct op_run *run, uint64_t hash, const char *after,
                                    struct cask_error *err)
{
    if (hash_of_inputs(run) != hash) {
        return cask_error_set(err, CASK_ERR_MISMATCH, "%s changed one of its inputs", after);
    }
    return check_zones(run, after, err);
}

enum cask_status op_forward(struct op_run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    uint64_t hash = hash_of_inputs(run);
    if (run->family->prepare != NULL) {
        CASK_TRY(run->family->prepare(run, err));
    }
    CASK_TRY(run->family->forward(run, err));
    CASK_TRY(check_after(run, hash, "forward", err));
done:
    return st;
}

enum cask_status op_backward(struct op_run *run, bool accumulate, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    uint64_t hash = hash_of_inputs(run);
    CASK_TRY(run->family->backward(run, accumulate, err));
    CASK_TRY(check_after(run, hash, "backward", err));
done:
    return st;
}

/* Uploads what is read, and fills with NaN what is to be written. */
static void prepare(struct op_run *run, const struct op_values *fed)
{
    for (int i = 0; i < run->spec->count; i++) {
        if (run->buffers[i].block == NULL) {
            continue;
        }
        enum op_role role = run->spec->operands[i].role;
        if (role == OP_OUTPUT || role == OP_DATA_GRAD) {
            op_fill_nan(run, i);
        } else {
            op_upload(run, i, fed->of[i]);
        }
    }
}

static void collect(const struct op_run *run, struct op_values *results, bool gradients)
{
    for (int i = 0; i < run->spec->count; i++) {
        enum op_role role = run->spec->operands[i].role;
        bool gradient = role == OP_DATA_GRAD || role == OP_PARAM_GRAD;
        bool forward = role == OP_OUTPUT || role == OP_STATE;
        if (run->buffers[i].block != NULL && (gradients ? gradient : forward)) {
            op_download(run, i, results->of[i]);
        }
    }
}

enum cask_status op_execute(struct op_run *run, const struct op_values *fed,
                            struct op_values *first, struct op_values *second,
                            struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    prepare(run, fed);
    CASK_TRY(op_forward(run, err));
    collect(run, first, false);
    if (run->family->backward == NULL || second == NULL) {
        goto done;
    }
    CASK_TRY(op_backward(run, false, err));
    collect(run, first, true);
    if (!run->family->once) {
        for (int i = 0; i < run->spec->count; i++) {
            if (run->buffers[i].block != NULL && run->spec->operands[i].role == OP_DATA_GRAD) {
                op_upload(run, i, fed->of[i]);
            }
        }
        CASK_TRY(op_backward(run, true, err));
        collect(run, second, true);
    }
done:
    return st;
}
