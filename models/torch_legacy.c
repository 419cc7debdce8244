/* PyTorch's stream before version 1.6: five pickles one after the other - a magic number, the
 * protocol, facts about the machine, the saved object, a list of storage keys - and then, for each
 * key of the list, an int64 element count and the elements. */
#include <inttypes.h>
#include <string.h>

#include "models/checkpoint.h"

/* PROTO 2, LONG1 of 10 bytes: 0x1950A86A20F9469CFC6C. */
static const uint8_t magic[] = {0x80, 0x02, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46,
                                0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E};
enum { PROTOCOL = 1001 };

bool cask_torch_legacy_sniff(const uint8_t *data, size_t bytes)
{
    return bytes >= sizeof magic && memcmp(data, magic, sizeof magic) == 0;
}

/* A pickle of plain values, at `*at`, which moves behind it. */
static enum cask_status parse_plain(const struct cask_checkpoint *c, size_t *at,
                                    struct cask_pickle **pickle, struct cask_error *err)
{
    const struct cask_pickle_options options = {.base = *at};
    size_t used = 0;
    enum cask_status st =
        cask_pickle_parse(c->data + *at, c->bytes - *at, &options, pickle, &used, err);
    *at += used;
    return st;
}

static enum cask_status read_preamble(const struct cask_checkpoint *c, size_t *at,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_pickle *protocol = NULL, *machine = NULL;
    int64_t version = 0, little = 0;
    CASK_TRY(parse_plain(c, at, &protocol, err));
    if (!cask_pickle_as_int(cask_pickle_root(protocol), &version) || version != PROTOCOL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                "PyTorch legacy protocol: expected %d, found %" PRId64, PROTOCOL,
                                version));
    }
    CASK_TRY(parse_plain(c, at, &machine, err));
    const struct cask_pickle_value *order =
        cask_pickle_get(cask_pickle_root(machine), "little_endian");
    if (!cask_pickle_as_int(order, &little) || little != 1) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                "PyTorch legacy file from a big-endian machine; save it again on "
                                "a little-endian one"));
    }
done:
    cask_pickle_free(protocol);
    cask_pickle_free(machine);
    return st;
}

static enum cask_status read_storage(const struct cask_checkpoint *c, size_t *at,
                                     const struct cask_pickle_value *key,
                                     const struct cask_torch_storages *storages,
                                     struct cask_error *err)
{
    int shown = key->text.bytes < 100 ? (int)key->text.bytes : 100;
    struct cask_torch_storage *s =
        cask_torch_find_storage(storages, key->text.data, key->text.bytes);
    if (s == NULL) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "storage \"%.*s\" is in the list but no tensor says its type", shown,
                              key->text.data);
    }
    int64_t numel = s->numel;
    size_t left = c->bytes - *at, size = cask_file_dtype_size(s->dtype);
    const bool counted = left >= sizeof numel;
    if (counted) {
        memcpy(&numel, c->data + *at, sizeof numel);
    }
    left -= counted ? sizeof numel : left;
    if (numel != s->numel) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "storage \"%.*s\" at byte %zu: expected %" PRId64
                              " elements, found %" PRId64,
                              shown, key->text.data, *at, s->numel, numel);
    }
    if (!counted || (uint64_t)numel > left / size) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "storage \"%.*s\" at byte %zu needs %" PRId64
                              " elements of %s, %zu bytes are left: a truncated download? fetch "
                              "the file again",
                              shown, key->text.data, *at, numel, cask_file_dtype_name(s->dtype),
                              left);
    }
    s->data = c->data + *at + sizeof numel;
    *at += sizeof numel + (size_t)numel * size;
    return CASK_OK;
}

/* Every storage a tensor speaks of must have been found. */
static enum cask_status check_found(const struct cask_torch_storages *storages,
                                    struct cask_error *err)
{
    for (size_t i = 0; i < storages->count; i++) {
        const struct cask_torch_storage *s = &storages->items[i];
        if (s->data == NULL) {
            return cask_error_set(err, CASK_ERR_FORMAT, "storage \"%.*s\" is not in the file",
                                  s->key_bytes < 100 ? (int)s->key_bytes : 100, s->key);
        }
    }
    return CASK_OK;
}

enum cask_status cask_torch_legacy_read(struct cask_checkpoint *c, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_pickle *object = NULL, *keys = NULL;
    struct cask_torch_storages storages = {0};
    size_t at = sizeof magic, used = 0;
    CASK_TRY(read_preamble(c, &at, err));
    CASK_TRY(cask_torch_parse(c->data + at, c->bytes - at, at, &object, &used, err));
    at += used;
    CASK_TRY(cask_torch_list_storages(object, &storages, err));
    CASK_TRY(parse_plain(c, &at, &keys, err));
    const struct cask_pickle_value *list = cask_pickle_root(keys);
    for (size_t i = 0; i < cask_pickle_size(list); i++) {
        const struct cask_pickle_value *key = cask_pickle_at(list, i);
        if (key == NULL || (key->kind != CASK_PICKLE_TEXT && key->kind != CASK_PICKLE_BYTES)) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "storage key %zu is a %s, expected str",
                                    i, cask_pickle_kind_name(key)));
        }
        CASK_TRY(read_storage(c, &at, key, &storages, err));
    }
    CASK_TRY(check_found(&storages, err));
    CASK_TRY(cask_torch_collect(c, object, &storages, err));
done:
    cask_free(storages.items);
    cask_pickle_free(object);
    cask_pickle_free(keys);
    return st;
}
