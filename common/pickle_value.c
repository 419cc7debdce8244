#include <string.h>

#include "common/pickle_internal.h"

struct cask_pickle_value *cask_pickle_new(struct cask_pickle *pickle, enum cask_pickle_kind kind,
                                          size_t offset)
{
    struct cask_pickle_value *value = NULL;
    if (pickle->arena.used_bytes < CASK_PICKLE_MEMORY) {
        value = cask_arena_alloc(&pickle->arena, 1, sizeof *value);
    }
    if (value != NULL) {
        value->kind = kind;
        value->offset = offset;
    }
    return value;
}

bool cask_pickle_append(struct cask_pickle *pickle, struct cask_pickle_value *list,
                        const struct cask_pickle_value *const *items, size_t count)
{
    size_t need = list->list.count + count;
    if (need > list->list.capacity) {
        /* Doubling in an arena leaves the old array behind: twice the memory at worst. */
        size_t capacity = need > 2 * list->list.capacity ? need : 2 * list->list.capacity;
        const struct cask_pickle_value **larger = NULL;
        if (pickle->arena.used_bytes + capacity * sizeof *larger < CASK_PICKLE_MEMORY) {
            larger = cask_arena_alloc(&pickle->arena, capacity, sizeof *larger);
        }
        if (larger == NULL) {
            return false;
        }
        for (size_t i = 0; i < list->list.count; i++) {
            larger[i] = list->list.items[i];
        }
        list->list.items = larger;
        list->list.capacity = capacity;
    }
    for (size_t i = 0; i < count; i++) {
        list->list.items[list->list.count++] = items[i];
    }
    return true;
}

enum cask_status cask_pickle_latin1(struct cask_pickle *pickle,
                                    const struct cask_pickle_value *text,
                                    struct cask_pickle_value *bytes, struct cask_error *err)
{
    const uint8_t *in = text->text.data, *end = in + text->text.bytes;
    uint8_t *out = NULL;
    if (pickle->arena.used_bytes + text->text.bytes < CASK_PICKLE_MEMORY) {
        out = cask_arena_alloc(&pickle->arena, text->text.bytes, 1);
    }
    if (out == NULL) {
        return cask_error_memory(err, text->text.bytes, "the bytes of a pickle");
    }
    bytes->text.data = out;
    while (in < end) {
        if (in[0] < 0x80) {
            *out++ = *in++;
        } else if ((in[0] == 0xC2 || in[0] == 0xC3) && end - in >= 2 && (in[1] & 0xC0) == 0x80) {
            *out++ = (uint8_t)((in[0] & 3) << 6 | (in[1] & 0x3F));
            in += 2;
        } else {
            return cask_error_set(err, CASK_ERR_FORMAT,
                                  "the text encoded as latin1 has a character over 255 at its "
                                  "byte %td",
                                  in - text->text.data);
        }
    }
    bytes->text.bytes = (size_t)(out - bytes->text.data);
    return CASK_OK;
}

bool cask_pickle_is_unknown(const struct cask_pickle_value *value)
{
    return value->kind == CASK_PICKLE_CALL &&
           (value->call.callee->kind != CASK_PICKLE_GLOBAL ||
            value->call.callee->global.meaning == CASK_PICKLE_UNKNOWN);
}

enum { UNSEEN = 0, IN_PROGRESS = -1 };

/* Depth-first with the finished heights kept, so that a value shared a million times is walked
 * once. The recursion is at most CASK_PICKLE_DEPTH deep. */
static enum cask_status measure(const struct cask_pickle_value *shared, int level,
                                struct cask_error *err)
{
    /* Values are const for readers; the height is the machine's own field. */
    struct cask_pickle_value *value = (struct cask_pickle_value *)(uintptr_t)shared;
    const struct cask_pickle_value *single[2] = {NULL, NULL};
    const struct cask_pickle_value *const *children = single;
    size_t count = 2;
    if (value->height == IN_PROGRESS) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "pickle: the %s made at byte %zu contains itself",
                              cask_pickle_kind_name(value), value->offset);
    }
    if (level + value->height > CASK_PICKLE_DEPTH) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "pickle: values nested deeper than %d at byte %zu", CASK_PICKLE_DEPTH,
                              value->offset);
    }
    if (value->height > 0) {
        return CASK_OK;
    }
    if (value->kind == CASK_PICKLE_TUPLE || value->kind == CASK_PICKLE_LIST ||
        value->kind == CASK_PICKLE_DICT) {
        children = value->list.items;
        count = value->list.count;
    } else if (value->kind == CASK_PICKLE_CALL && !cask_pickle_is_unknown(value)) {
        single[0] = value->call.args;
        single[1] = value->call.state;
    } else if (value->kind == CASK_PICKLE_PERSISTENT) {
        single[0] = value->persistent.id;
    }
    enum cask_status st = CASK_OK;
    int tallest = 0;
    value->height = IN_PROGRESS;
    for (size_t i = 0; i < count; i++) {
        if (children[i] != NULL) {
            CASK_TRY(measure(children[i], level + 1, err));
            tallest = children[i]->height > tallest ? children[i]->height : tallest;
        }
    }
    value->height = tallest + 1;
done:
    return st;
}

enum cask_status cask_pickle_check(const struct cask_pickle *pickle, struct cask_error *err)
{
    return measure(pickle->root, 0, err);
}

void cask_pickle_free(struct cask_pickle *pickle)
{
    if (pickle != NULL) {
        cask_arena_release(&pickle->arena);
        cask_free(pickle);
    }
}

const struct cask_pickle_value *cask_pickle_root(const struct cask_pickle *pickle)
{
    return pickle->root;
}

const struct cask_pickle_value *cask_pickle_first_unknown(const struct cask_pickle *pickle)
{
    return pickle->first_unknown;
}

const struct cask_pickle_value *cask_pickle_next_persistent(
    const struct cask_pickle *pickle, const struct cask_pickle_value *previous)
{
    return previous != NULL ? previous->persistent.next : pickle->first_persistent;
}

const char *cask_pickle_kind_name(const struct cask_pickle_value *value)
{
    static const char *const names[] = {
        [CASK_PICKLE_NONE] = "None",
        [CASK_PICKLE_BOOL] = "bool",
        [CASK_PICKLE_INT] = "int",
        [CASK_PICKLE_LONG] = "long int",
        [CASK_PICKLE_REAL] = "float",
        [CASK_PICKLE_BYTES] = "bytes",
        [CASK_PICKLE_TEXT] = "str",
        [CASK_PICKLE_TUPLE] = "tuple",
        [CASK_PICKLE_LIST] = "list",
        [CASK_PICKLE_DICT] = "dict",
        [CASK_PICKLE_GLOBAL] = "global",
        [CASK_PICKLE_CALL] = "object",
        [CASK_PICKLE_PERSISTENT] = "persistent id",
    };
    return value != NULL ? names[value->kind] : "nothing";
}

bool cask_pickle_as_int(const struct cask_pickle_value *value, int64_t *out)
{
    if (value != NULL && value->kind == CASK_PICKLE_INT) {
        *out = value->integer;
        return true;
    }
    if (value != NULL && value->kind == CASK_PICKLE_BOOL) {
        *out = value->boolean;
        return true;
    }
    return false;
}

bool cask_pickle_is_text(const struct cask_pickle_value *value, const char *text)
{
    return value != NULL && (value->kind == CASK_PICKLE_TEXT || value->kind == CASK_PICKLE_BYTES) &&
           value->text.bytes == strlen(text) &&
           memcmp(value->text.data, text, value->text.bytes) == 0;
}

size_t cask_pickle_size(const struct cask_pickle_value *value)
{
    if (value == NULL) {
        return 0;
    }
    switch (value->kind) {
    case CASK_PICKLE_TUPLE:
    case CASK_PICKLE_LIST:
        return value->list.count;
    case CASK_PICKLE_DICT:
        return value->list.count / 2;
    default:
        return 0;
    }
}

const struct cask_pickle_value *cask_pickle_at(const struct cask_pickle_value *sequence,
                                               size_t index)
{
    bool fits = sequence != NULL && sequence->kind != CASK_PICKLE_DICT &&
                index < cask_pickle_size(sequence);
    return fits ? sequence->list.items[index] : NULL;
}

const struct cask_pickle_value *cask_pickle_get(const struct cask_pickle_value *dict,
                                                const char *key)
{
    if (dict == NULL || dict->kind != CASK_PICKLE_DICT) {
        return NULL;
    }
    for (size_t i = dict->list.count; i >= 2; i -= 2) {
        if (cask_pickle_is_text(dict->list.items[i - 2], key)) {
            return dict->list.items[i - 1];
        }
    }
    return NULL;
}

const struct cask_pickle_value *cask_pickle_args(const struct cask_pickle_value *value, int meaning)
{
    bool matches = value != NULL && value->kind == CASK_PICKLE_CALL &&
                   !cask_pickle_is_unknown(value) && value->call.callee->global.meaning == meaning;
    return matches ? value->call.args : NULL;
}
