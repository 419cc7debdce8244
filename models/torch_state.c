/* Which map in a saved object is the network's state_dict, and what else is worth keeping. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "models/torch_pickle.h"

static bool is_tensor_map(const struct cask_pickle_value *value)
{
    if (value == NULL || value->kind != CASK_PICKLE_DICT) {
        return false;
    }
    for (size_t i = 0; i < value->list.count; i += 2) {
        if (cask_torch_is_tensor(value->list.items[i + 1])) {
            return true;
        }
    }
    return false;
}

static bool is_key(const struct cask_pickle_value *value)
{
    return value->kind == CASK_PICKLE_TEXT || value->kind == CASK_PICKLE_BYTES;
}

/* Training scripts wrap the state_dict; the names are theirs (facts: insightface, FaceX-Zoo,
 * Xiaoccer, Lightning). Without one of them: the object itself, else its first map of tensors. */
static const struct cask_pickle_value *choose(const struct cask_pickle_value *root)
{
    static const char *const wrappers[] = {"state_dict", "net_state_dict", "state_dict_backbone",
                                           "model", "backbone"};
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
        const struct cask_pickle_value *inner = cask_pickle_get(root, wrappers[i]);
        if (is_tensor_map(inner)) {
            return inner;
        }
    }
    if (is_tensor_map(root)) {
        return root;
    }
    for (size_t i = 0; root->kind == CASK_PICKLE_DICT && i < root->list.count; i += 2) {
        if (is_tensor_map(root->list.items[i + 1])) {
            return root->list.items[i + 1];
        }
    }
    return NULL;
}

/* Adds the tensors of a map under "PREFIX/KEY", or KEY where prefix is NULL. */
static enum cask_status add_map(struct cask_checkpoint *c, struct cask_tensor_list *list,
                                const struct cask_torch_storages *storages,
                                const struct cask_pickle_value *map,
                                const struct cask_pickle_value *prefix, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char name[1100];
    for (size_t i = 0; i < map->list.count; i += 2) {
        const struct cask_pickle_value *key = map->list.items[i], *value = map->list.items[i + 1];
        struct cask_file_tensor tensor = {0};
        size_t before = prefix != NULL ? prefix->text.bytes + 1 : 0;
        if (!cask_torch_is_tensor(value) || !is_key(key)) {
            continue;
        }
        if (before + key->text.bytes > sizeof name) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "a tensor name of %zu bytes at byte %zu",
                                    before + key->text.bytes, key->offset));
        }
        if (prefix != NULL) {
            memcpy(name, prefix->text.data, prefix->text.bytes);
            name[before - 1] = '/';
        }
        memcpy(name + before, key->text.data, key->text.bytes);
        CASK_TRY(cask_torch_tensor(c, storages, value, &tensor, err));
        CASK_TRY(cask_checkpoint_add(c, list, &tensor, name, before + key->text.bytes, err));
    }
done:
    if (st != CASK_OK && st != CASK_ERR_MEMORY) {
        cask_error_prefix(err, "tensor %d", list->count);
    }
    return st;
}

/* Numbers and texts beside the weights ("epoch": 68) become metadata. */
static enum cask_status add_scalar(struct cask_checkpoint *c, const struct cask_pickle_value *key,
                                   const struct cask_pickle_value *value, struct cask_error *err)
{
    enum { LONGEST = 200 };
    char name[LONGEST + 1], text[LONGEST + 1];
    int64_t integer = 0;
    if (!is_key(key) || key->text.bytes > LONGEST) {
        return CASK_OK;
    }
    snprintf(name, sizeof name, "%.*s", (int)key->text.bytes, (const char *)key->text.data);
    if (cask_pickle_as_int(value, &integer)) {
        snprintf(text, sizeof text, "%" PRId64, integer);
    } else if (value->kind == CASK_PICKLE_REAL) {
        snprintf(text, sizeof text, "%.17g", value->real);
    } else if (is_key(value) && value->text.bytes <= LONGEST) {
        snprintf(text, sizeof text, "%.*s", (int)value->text.bytes, (const char *)value->text.data);
    } else {
        return CASK_OK;
    }
    return cask_checkpoint_add_entry(c, name, text, err);
}

enum cask_status cask_torch_collect(struct cask_checkpoint *c, const struct cask_pickle *pickle,
                                    const struct cask_torch_storages *storages,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_pickle_value *root = cask_pickle_root(pickle);
    if (cask_torch_is_tensor(root)) {
        /* A classifier shard of PartialFC is one bare tensor. */
        struct cask_file_tensor tensor = {0};
        CASK_TRY(cask_torch_tensor(c, storages, root, &tensor, err));
        CASK_TRY(cask_checkpoint_add(c, &c->tensors, &tensor, "weight", strlen("weight"), err));
        goto done;
    }
    const struct cask_pickle_value *state = choose(root);
    if (state == NULL) {
        CASK_TRY(cask_torch_refuse_objects(pickle, err));
    }
    CASK_TRY(add_map(c, &c->tensors, storages, state, NULL, err));
    for (size_t i = 0; state != root && i < root->list.count; i += 2) {
        const struct cask_pickle_value *key = root->list.items[i], *value = root->list.items[i + 1];
        if (value != state && is_key(key) && is_tensor_map(value)) {
            CASK_TRY(add_map(c, &c->others, storages, value, key, err));
        } else {
            CASK_TRY(add_scalar(c, key, value, err));
        }
    }
done:
    return st;
}
