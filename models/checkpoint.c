/* What is known of a checkpoint: its tensors by name, its metadata. Filled by the readers of the
 * containers, asked by everybody else. */
#include "models/checkpoint.h"

#include <string.h>

/* ----------------------------------------------------------- called by readers */

/* Names end up in messages on a terminal. */
static bool is_printable(const char *name, size_t bytes)
{
    bool good = bytes <= 1000;
    for (size_t i = 0; good && i < bytes; i++) {
        good = (unsigned char)name[i] >= ' ' && name[i] != 0x7F;
    }
    return good;
}

enum cask_status cask_checkpoint_add(struct cask_checkpoint *c, struct cask_tensor_list *list,
                                     const struct cask_file_tensor *tensor, const char *name,
                                     size_t name_bytes, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (!is_printable(name, name_bytes)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "a tensor name of %zu bytes, or with control characters in it",
                                name_bytes));
    }
    if (list->count == list->room) {
        if (list->count >= CASK_FILE_MAX_TENSORS) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "more than %d tensors",
                                    CASK_FILE_MAX_TENSORS));
        }
        int room = list->room > 0 ? 2 * list->room : 256;
        struct cask_file_tensor *larger =
            cask_grow(list->items, (size_t)list->room, (size_t)room, sizeof *larger);
        if (larger == NULL) {
            CASK_TRY(cask_error_memory(err, (size_t)room * sizeof *larger, "the tensor table"));
        }
        list->items = larger;
        list->room = room;
    }
    char *copy = cask_arena_alloc(&c->arena, name_bytes + 1, 1);
    if (copy == NULL) {
        CASK_TRY(cask_error_memory(err, name_bytes + 1, "a tensor name"));
    }
    memcpy(copy, name, name_bytes);
    struct cask_file_tensor *added = &list->items[list->count];
    *added = *tensor;
    added->name = copy;
    if (!cask_shape_count(added->shape, added->rank, added->dtype, &added->count)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "tensor \"%s\": its size overflows", copy));
    }
    list->count++;
done:
    return st;
}

enum cask_status cask_checkpoint_add_entry(struct cask_checkpoint *c, const char *key,
                                           const char *value, struct cask_error *err)
{
    if (c->entry_count == c->entry_room) {
        int room = c->entry_room > 0 ? 2 * c->entry_room : 16;
        struct cask_metadata_entry *larger =
            cask_grow(c->entries, (size_t)c->entry_room, (size_t)room, sizeof *larger);
        if (larger == NULL) {
            return cask_error_memory(err, (size_t)room * sizeof *larger, "metadata");
        }
        c->entries = larger;
        c->entry_room = room;
    }
    const struct cask_metadata_entry entry = {cask_arena_strdup(&c->arena, key),
                                              cask_arena_strdup(&c->arena, value)};
    if (entry.key == NULL || entry.value == NULL) {
        return cask_error_memory(err, strlen(key) + strlen(value), "metadata");
    }
    c->entries[c->entry_count++] = entry;
    return CASK_OK;
}

void cask_checkpoint_close(struct cask_checkpoint *c)
{
    if (c != NULL) {
        cask_map_close(&c->map);
        cask_arena_release(&c->arena);
        cask_free(c->tensors.items);
        cask_free(c->others.items);
        cask_free(c->by_name);
        cask_free(c->entries);
        cask_free(c);
    }
}

/* --------------------------------------------------------------------- reading */

int cask_checkpoint_count(const struct cask_checkpoint *c)
{
    return c->tensors.count;
}

const struct cask_file_tensor *cask_checkpoint_tensor(const struct cask_checkpoint *c, int index)
{
    return &c->tensors.items[index];
}

const struct cask_file_tensor *cask_checkpoint_find(const struct cask_checkpoint *c,
                                                    const char *name)
{
    int low = 0, high = c->tensors.count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        const struct cask_file_tensor *tensor = &c->tensors.items[c->by_name[middle]];
        int order = strcmp(name, tensor->name);
        if (order == 0) {
            return tensor;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

const char *cask_checkpoint_metadata(const struct cask_checkpoint *c, const char *key)
{
    for (int i = 0; i < c->entry_count; i++) {
        if (strcmp(c->entries[i].key, key) == 0) {
            return c->entries[i].value;
        }
    }
    return NULL;
}

const struct cask_metadata_entry *cask_checkpoint_metadata_at(const struct cask_checkpoint *c,
                                                              int index)
{
    return index >= 0 && index < c->entry_count ? &c->entries[index] : NULL;
}

const char *cask_checkpoint_container(const struct cask_checkpoint *c)
{
    return c->container;
}
