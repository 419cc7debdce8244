/* The opcodes that make Python import and call. Here they write down a GLOBAL or a CALL, no more.
 * Two calls are data in disguise and are resolved: an OrderedDict is a dict, and _codecs.encode is
 * how Python 3 writes bytes in protocol 2. */
#include <string.h>

#include "common/pickle_internal.h"

#define REFUSE(status, format, ...) CASK_PICKLE_REFUSE(m, err, status, format, __VA_ARGS__)
#define STEP(name)                                                                                 \
    enum cask_status cask_pickle_op_##name(struct cask_pickle_machine *m,                          \
                                           const struct cask_pickle_operand *x,                    \
                                           struct cask_error *err)

enum { MAX_NAME = 200 };

/* Names end up in messages: what cannot be printed becomes '?', which no known global contains. */
static char *printable(struct cask_pickle *pickle, const uint8_t *text, size_t bytes)
{
    char *copy = cask_arena_alloc(&pickle->arena, bytes + 1, 1);
    for (size_t i = 0; copy != NULL && i < bytes; i++) {
        copy[i] = text[i] > ' ' && text[i] < 0x7F ? (char)text[i] : '?';
    }
    return copy;
}

static int meaning_of(const struct cask_pickle_options *options, const char *module,
                      const char *name)
{
    for (size_t i = 0; i < options->global_count; i++) {
        const struct cask_pickle_global *known = &options->globals[i];
        if (strcmp(known->module, module) == 0 && strcmp(known->name, name) == 0) {
            return known->meaning;
        }
    }
    return CASK_PICKLE_UNKNOWN;
}

STEP(global)
{
    enum cask_status st = CASK_OK;
    if (x->bytes > MAX_NAME || x->second_bytes > MAX_NAME) {
        CASK_TRY(REFUSE(CASK_ERR_FORMAT, "a name of %zu bytes; at most %d are read",
                        x->bytes > x->second_bytes ? x->bytes : x->second_bytes, MAX_NAME));
    }
    struct cask_pickle_value *value = cask_pickle_new(m->pickle, CASK_PICKLE_GLOBAL, m->offset);
    char *module = printable(m->pickle, x->data, x->bytes);
    char *name = printable(m->pickle, x->second, x->second_bytes);
    if (value == NULL || module == NULL || name == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *value, "a pickle's values"));
    }
    value->global.module = module;
    value->global.name = name;
    value->global.meaning = meaning_of(m->options, module, name);
    if (value->global.meaning == CASK_PICKLE_UNKNOWN) {
        if (!m->options->tolerant) {
            CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "global %s.%s is not allowed", module, name));
        }
        if (m->pickle->first_unknown == NULL) {
            m->pickle->first_unknown = value;
        }
    }
    CASK_TRY(cask_pickle_push(m, value, err));
done:
    return st;
}

STEP(stack_global)
{
    (void)x;
    enum cask_status st = CASK_OK;
    struct cask_pickle_value *module = NULL, *name = NULL;
    CASK_TRY(cask_pickle_pop(m, &name, err));
    CASK_TRY(cask_pickle_pop(m, &module, err));
    if (module->kind != CASK_PICKLE_TEXT || name->kind != CASK_PICKLE_TEXT) {
        CASK_TRY(REFUSE(CASK_ERR_FORMAT, "it needs two str, found %s and %s",
                        cask_pickle_kind_name(module), cask_pickle_kind_name(name)));
    }
    const struct cask_pickle_operand both = {.data = module->text.data,
                                             .bytes = module->text.bytes,
                                             .second = name->text.data,
                                             .second_bytes = name->text.bytes};
    CASK_TRY(cask_pickle_op_global(m, &both, err));
done:
    return st;
}

/* OrderedDict() or, from Python 2, OrderedDict([[key, value], ...]). */
static enum cask_status make_dict(struct cask_pickle_machine *m,
                                  const struct cask_pickle_value *args, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_pickle_value *dict = cask_pickle_new(m->pickle, CASK_PICKLE_DICT, m->offset);
    if (dict == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *dict, "a pickle's dict"));
    }
    const struct cask_pickle_value *pairs = cask_pickle_at(args, 0);
    if (cask_pickle_size(args) > 1 || (pairs != NULL && pairs->kind != CASK_PICKLE_LIST)) {
        CASK_TRY(REFUSE(CASK_ERR_FORMAT, "OrderedDict from %s; expected a list of pairs",
                        cask_pickle_kind_name(pairs)));
    }
    for (size_t i = 0; i < cask_pickle_size(pairs); i++) {
        const struct cask_pickle_value *pair = cask_pickle_at(pairs, i);
        if (cask_pickle_size(pair) != 2 || pair->kind == CASK_PICKLE_DICT) {
            CASK_TRY(REFUSE(CASK_ERR_FORMAT, "OrderedDict: entry %zu is not a pair", i));
        }
        if (!cask_pickle_append(m->pickle, dict,
                                (const struct cask_pickle_value *const *)pair->list.items, 2)) {
            CASK_TRY(cask_error_memory(err, 2 * sizeof *dict, "a pickle's dict"));
        }
    }
    CASK_TRY(cask_pickle_push(m, dict, err));
done:
    return st;
}

static enum cask_status make_latin1(struct cask_pickle_machine *m,
                                    const struct cask_pickle_value *args, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_pickle_value *text = cask_pickle_at(args, 0);
    if (cask_pickle_size(args) != 2 || text->kind != CASK_PICKLE_TEXT ||
        !cask_pickle_is_text(cask_pickle_at(args, 1), "latin1")) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "%s", "_codecs.encode: expected (str, 'latin1')"));
    }
    struct cask_pickle_value *bytes = cask_pickle_new(m->pickle, CASK_PICKLE_BYTES, m->offset);
    if (bytes == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *bytes, "a pickle's bytes"));
    }
    CASK_TRY(cask_pickle_latin1(m->pickle, text, bytes, err));
    CASK_TRY(cask_pickle_push(m, bytes, err));
done:
    return st;
}

/* REDUCE calls a function, NEWOBJ makes an object without calling its __init__: the same here. */
STEP(reduce)
{
    (void)x;
    enum cask_status st = CASK_OK;
    struct cask_pickle_value *callee = NULL, *args = NULL;
    CASK_TRY(cask_pickle_pop(m, &args, err));
    CASK_TRY(cask_pickle_pop(m, &callee, err));
    /* PyTorch's whole-module files put a persistent id in the place of a class. */
    bool callable = callee->kind == CASK_PICKLE_GLOBAL ||
                    (m->options->tolerant && callee->kind == CASK_PICKLE_PERSISTENT);
    if (!callable || args->kind != CASK_PICKLE_TUPLE) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "it needs a global and a tuple, found %s and %s",
                        cask_pickle_kind_name(callee), cask_pickle_kind_name(args)));
    }
    int meaning = callee->kind == CASK_PICKLE_GLOBAL ? callee->global.meaning : CASK_PICKLE_UNKNOWN;
    if (meaning == CASK_PICKLE_MAKES_DICT) {
        CASK_TRY(make_dict(m, args, err));
        goto done;
    }
    if (meaning == CASK_PICKLE_MAKES_LATIN1) {
        CASK_TRY(make_latin1(m, args, err));
        goto done;
    }
    struct cask_pickle_value *call = cask_pickle_new(m->pickle, CASK_PICKLE_CALL, m->offset);
    if (call == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *call, "a pickle's objects"));
    }
    call->call.callee = callee;
    call->call.args = args;
    CASK_TRY(cask_pickle_push(m, call, err));
done:
    return st;
}

/* BUILD hands an object its state. An OrderedDict's is PyTorch's _metadata: versions of modules,
 * not needed. */
STEP(build)
{
    (void)x;
    enum cask_status st = CASK_OK;
    struct cask_pickle_value *state = NULL, *object = NULL;
    CASK_TRY(cask_pickle_pop(m, &state, err));
    CASK_TRY(cask_pickle_top(m, &object, err));
    if (object->kind == CASK_PICKLE_CALL) {
        object->call.state = state;
    } else if (object->kind != CASK_PICKLE_DICT) {
        CASK_TRY(
            REFUSE(CASK_ERR_FORMAT, "it needs an object, found %s", cask_pickle_kind_name(object)));
    }
done:
    return st;
}

STEP(persid)
{
    (void)x;
    enum cask_status st = CASK_OK;
    struct cask_pickle_value *id = NULL;
    CASK_TRY(cask_pickle_pop(m, &id, err));
    if (!m->options->persistent) {
        CASK_TRY(
            REFUSE(CASK_ERR_UNSUPPORTED, "%s", "a persistent id does not belong in this file"));
    }
    struct cask_pickle_value *value = cask_pickle_new(m->pickle, CASK_PICKLE_PERSISTENT, m->offset);
    if (value == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *value, "a pickle's persistent id"));
    }
    value->persistent.id = id;
    if (m->pickle->last_persistent != NULL) {
        m->pickle->last_persistent->persistent.next = value;
    } else {
        m->pickle->first_persistent = value;
    }
    m->pickle->last_persistent = value;
    CASK_TRY(cask_pickle_push(m, value, err));
done:
    return st;
}
