/* What each opcode does to the stack. Nothing here imports or calls: REDUCE and NEWOBJ only write
 * down what would have been called. */
#include <string.h>

#include "common/pickle_internal.h"

#define REFUSE(status, format, ...) CASK_PICKLE_REFUSE(m, err, status, format, __VA_ARGS__)
#define STEP(name)                                                                                 \
    enum cask_status cask_pickle_op_##name(struct cask_pickle_machine *m,                          \
                                           const struct cask_pickle_operand *x,                    \
                                           struct cask_error *err)

/* ------------------------------------------------------------------ the stack */

static enum cask_status no_memory(struct cask_pickle_machine *m, struct cask_error *err)
{
    return REFUSE(CASK_ERR_MEMORY, "out of memory, or the values need more than %d MB",
                  CASK_PICKLE_MEMORY >> 20);
}

enum cask_status cask_pickle_push(struct cask_pickle_machine *m,
                                  const struct cask_pickle_value *value, struct cask_error *err)
{
    if (m->stack_count == m->stack_capacity) {
        size_t capacity = m->stack_capacity > 0 ? 2 * m->stack_capacity : 256;
        const struct cask_pickle_value **larger =
            cask_grow(m->stack, m->stack_capacity, capacity, sizeof *larger);
        if (larger == NULL) {
            return no_memory(m, err);
        }
        m->stack = larger;
        m->stack_capacity = capacity;
    }
    m->stack[m->stack_count++] = value;
    return CASK_OK;
}

static enum cask_status push_new(struct cask_pickle_machine *m, enum cask_pickle_kind kind,
                                 struct cask_pickle_value **value, struct cask_error *err)
{
    *value = cask_pickle_new(m->pickle, kind, m->offset);
    return *value != NULL ? cask_pickle_push(m, *value, err) : no_memory(m, err);
}

/* The machine made every value, so it may write to them; only readers see them const. */
enum cask_status cask_pickle_top(struct cask_pickle_machine *m, struct cask_pickle_value **value,
                                 struct cask_error *err)
{
    if (m->stack_count == 0 || m->stack[m->stack_count - 1] == NULL) {
        return REFUSE(CASK_ERR_FORMAT, "%s", "it needs a value, the stack has none");
    }
    *value = (struct cask_pickle_value *)(uintptr_t)m->stack[m->stack_count - 1];
    return CASK_OK;
}

enum cask_status cask_pickle_pop(struct cask_pickle_machine *m, struct cask_pickle_value **value,
                                 struct cask_error *err)
{
    enum cask_status st = cask_pickle_top(m, value, err);
    m->stack_count -= st == CASK_OK;
    return st;
}

/* Takes everything above the topmost mark, and the mark. `items` points into the stack: it is valid
 * until the next push. */
static enum cask_status pop_to_mark(struct cask_pickle_machine *m,
                                    const struct cask_pickle_value *const **items, size_t *count,
                                    struct cask_error *err)
{
    size_t start = m->stack_count;
    while (start > 0 && m->stack[start - 1] != NULL) {
        start--;
    }
    if (start == 0) {
        return REFUSE(CASK_ERR_FORMAT, "%s", "it needs a MARK, the stack has none");
    }
    *items = (const struct cask_pickle_value *const *)m->stack + start;
    *count = m->stack_count - start;
    m->stack_count = start - 1;
    return CASK_OK;
}

STEP(mark)
{
    (void)x;
    return cask_pickle_push(m, NULL, err);
}

STEP(pop)
{
    (void)x;
    struct cask_pickle_value *value = NULL;
    return cask_pickle_pop(m, &value, err);
}

STEP(stop)
{
    (void)x;
    struct cask_pickle_value *root = NULL;
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_pickle_pop(m, &root, err));
    if (m->stack_count > 0) {
        CASK_TRY(REFUSE(CASK_ERR_FORMAT, "%zu values are left on the stack", m->stack_count));
    }
    m->pickle->root = root;
    m->stopped = true;
done:
    return st;
}

STEP(nothing)
{
    (void)m, (void)x, (void)err;
    return CASK_OK;
}

STEP(proto)
{
    bool known = x->number >= 2 && x->number <= 5;
    return known ? CASK_OK
                 : REFUSE(CASK_ERR_UNSUPPORTED, "protocol %d; 2 to 5 are read", (int)x->number);
}

/* ------------------------------------------------------------------- the memo */

STEP(put)
{
    struct cask_pickle_value *value = NULL;
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_pickle_top(m, &value, err));
    /* Picklers number the memo by what they have written so far; a larger index only serves to make
     * the reader allocate. */
    if (x->number > m->steps) {
        CASK_TRY(REFUSE(CASK_ERR_FORMAT, "memo slot %llu after %zu opcodes",
                        (unsigned long long)x->number, m->steps));
    }
    if (x->number >= m->memo_capacity) {
        size_t capacity = 2 * (size_t)x->number + 256;
        const struct cask_pickle_value **larger =
            cask_grow(m->memo, m->memo_capacity, capacity, sizeof *larger);
        if (larger == NULL) {
            CASK_TRY(no_memory(m, err));
        }
        m->memo = larger;
        m->memo_capacity = capacity;
    }
    m->memo_used += m->memo[x->number] == NULL;
    m->memo[x->number] = value;
done:
    return st;
}

STEP(memoize)
{
    (void)x;
    const struct cask_pickle_operand next = {.number = m->memo_used};
    return cask_pickle_op_put(m, &next, err);
}

STEP(get)
{
    if (x->number >= m->memo_capacity || m->memo[x->number] == NULL) {
        return REFUSE(CASK_ERR_FORMAT, "memo slot %llu is empty", (unsigned long long)x->number);
    }
    return cask_pickle_push(m, m->memo[x->number], err);
}

/* -------------------------------------------------------------------- scalars */

STEP(none)
{
    (void)x;
    struct cask_pickle_value *value = NULL;
    return push_new(m, CASK_PICKLE_NONE, &value, err);
}

STEP(bool)
{
    struct cask_pickle_value *value = NULL;
    enum cask_status st = push_new(m, CASK_PICKLE_BOOL, &value, err);
    if (st == CASK_OK) {
        value->boolean = x->variant != 0;
    }
    return st;
}

STEP(int)
{
    struct cask_pickle_value *value = NULL;
    enum cask_status st = push_new(m, CASK_PICKLE_INT, &value, err);
    if (st == CASK_OK) {
        value->integer = (int64_t)x->number;
    }
    return st;
}

STEP(real)
{
    struct cask_pickle_value *value = NULL;
    enum cask_status st = push_new(m, CASK_PICKLE_REAL, &value, err);
    if (st == CASK_OK) {
        memcpy(&value->real, &x->number, sizeof value->real);
    }
    return st;
}

/* Little-endian two's complement of any length; up to 8 bytes it is an ordinary integer. */
STEP(long)
{
    struct cask_pickle_value *value = NULL;
    bool small = x->bytes <= 8;
    enum cask_status st = push_new(m, small ? CASK_PICKLE_INT : CASK_PICKLE_LONG, &value, err);
    if (st == CASK_OK && small) {
        uint64_t bits = x->bytes > 0 && x->data[x->bytes - 1] >= 0x80 ? UINT64_MAX : 0;
        for (size_t i = x->bytes; i > 0; i--) {
            bits = bits << 8 | x->data[i - 1];
        }
        value->integer = (int64_t)bits;
    } else if (st == CASK_OK) {
        value->text.data = x->data;
        value->text.bytes = x->bytes;
    }
    return st;
}

STEP(text)
{
    struct cask_pickle_value *value = NULL;
    enum cask_status st = push_new(m, (enum cask_pickle_kind)x->variant, &value, err);
    if (st == CASK_OK) {
        value->text.data = x->data;
        value->text.bytes = x->bytes;
    }
    return st;
}

/* ----------------------------------------------------------------- containers */

STEP(empty)
{
    struct cask_pickle_value *value = NULL;
    return push_new(m, (enum cask_pickle_kind)x->variant, &value, err);
}

static enum cask_status push_list(struct cask_pickle_machine *m, enum cask_pickle_kind kind,
                                  const struct cask_pickle_value *const *items, size_t count,
                                  struct cask_error *err)
{
    struct cask_pickle_value *value = cask_pickle_new(m->pickle, kind, m->offset);
    if (value == NULL || !cask_pickle_append(m->pickle, value, items, count)) {
        return no_memory(m, err);
    }
    return cask_pickle_push(m, value, err);
}

/* TUPLE1 to TUPLE3: the last `variant` values. */
STEP(tuple)
{
    const struct cask_pickle_value *items[3];
    enum cask_status st = CASK_OK;
    for (int i = x->variant; i > 0; i--) {
        struct cask_pickle_value *value = NULL;
        CASK_TRY(cask_pickle_pop(m, &value, err));
        items[i - 1] = value;
    }
    CASK_TRY(push_list(m, CASK_PICKLE_TUPLE, items, (size_t)x->variant, err));
done:
    return st;
}

/* TUPLE and LIST: all values above the mark. */
STEP(marked)
{
    const struct cask_pickle_value *const *items = NULL;
    size_t count = 0;
    enum cask_status st = CASK_OK;
    CASK_TRY(pop_to_mark(m, &items, &count, err));
    CASK_TRY(push_list(m, (enum cask_pickle_kind)x->variant, items, count, err));
done:
    return st;
}

/* Adds to the container on top. An unknown object may be a list or dict underneath; what it holds
 * is out of reach, so it is dropped. */
static enum cask_status extend(struct cask_pickle_machine *m, enum cask_pickle_kind kind,
                               const struct cask_pickle_value *const *items, size_t count,
                               struct cask_error *err)
{
    struct cask_pickle_value *container = NULL;
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_pickle_top(m, &container, err));
    if (cask_pickle_is_unknown(container)) {
        goto done;
    }
    if (container->kind != kind) {
        CASK_TRY(REFUSE(CASK_ERR_FORMAT, "it needs a %s, found %s",
                        kind == CASK_PICKLE_DICT ? "dict" : "list",
                        cask_pickle_kind_name(container)));
    }
    if (kind == CASK_PICKLE_DICT && count % 2 != 0) {
        CASK_TRY(REFUSE(CASK_ERR_FORMAT, "a key without a value, %zu items", count));
    }
    if (!cask_pickle_append(m->pickle, container, items, count)) {
        CASK_TRY(no_memory(m, err));
    }
done:
    return st;
}

STEP(append)
{
    (void)x;
    struct cask_pickle_value *value = NULL;
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_pickle_pop(m, &value, err));
    const struct cask_pickle_value *const item = value;
    CASK_TRY(extend(m, CASK_PICKLE_LIST, &item, 1, err));
done:
    return st;
}

STEP(setitem)
{
    (void)x;
    struct cask_pickle_value *key = NULL, *value = NULL;
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_pickle_pop(m, &value, err));
    CASK_TRY(cask_pickle_pop(m, &key, err));
    const struct cask_pickle_value *const items[2] = {key, value};
    CASK_TRY(extend(m, CASK_PICKLE_DICT, items, 2, err));
done:
    return st;
}

static enum cask_status extend_marked(struct cask_pickle_machine *m, enum cask_pickle_kind kind,
                                      struct cask_error *err)
{
    const struct cask_pickle_value *const *items = NULL;
    size_t count = 0;
    enum cask_status st = CASK_OK;
    CASK_TRY(pop_to_mark(m, &items, &count, err));
    CASK_TRY(extend(m, kind, items, count, err));
done:
    return st;
}

STEP(appends)
{
    (void)x;
    return extend_marked(m, CASK_PICKLE_LIST, err);
}

STEP(setitems)
{
    (void)x;
    return extend_marked(m, CASK_PICKLE_DICT, err);
}
