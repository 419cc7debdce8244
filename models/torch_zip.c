/* PyTorch's zip container (since 1.6): PREFIX/data.pkl is the saved object, PREFIX/data/KEY the
 * bytes of one storage. The prefix is "archive" or the name the file had when it was saved. */
#include <inttypes.h>
#include <string.h>

#include "common/hash.h"
#include "common/json.h"
#include "common/log.h"
#include "models/checkpoint.h"
#include "models/zip.h"

enum { MAX_METADATA = 1 << 20 };

static const char pickle_name[] = "/data.pkl";

/* The member of this name, with its slash, in a folder at the top of the zip. */
static const struct cask_zip_member *find_ending(const struct cask_zip *zip, const char *ending)
{
    size_t bytes = strlen(ending);
    for (size_t i = 0; i < zip->count; i++) {
        const struct cask_zip_member *m = &zip->members[i];
        if (m->name_bytes < bytes) {
            continue;
        }
        const char *tail = m->name + m->name_bytes - bytes;
        if (memcmp(tail, ending, bytes) == 0 && memchr(m->name, '/', m->name_bytes) == tail) {
            return m;
        }
    }
    return NULL;
}

/* The member FOLDER + NAME beside the pickle; NULL: absent. */
static const struct cask_zip_member *find_beside(const struct cask_zip *zip,
                                                 const struct cask_zip_member *pickle,
                                                 const char *folder, const void *name, size_t bytes)
{
    char path[1200];
    size_t prefix = pickle->name_bytes - strlen(pickle_name), middle = strlen(folder);
    if (prefix + middle + bytes > sizeof path) {
        return NULL;
    }
    memcpy(path, pickle->name, prefix);
    memcpy(path + prefix, folder, middle);
    memcpy(path + prefix + middle, name, bytes);
    return cask_zip_find(zip, path, prefix + middle + bytes);
}

static enum cask_status check_stored(const struct cask_zip_member *member, struct cask_error *err)
{
    if (member->data == NULL) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "zip member \"%.*s\" is compressed or encrypted; PyTorch stores "
                              "members as they are: was the file packed again?",
                              member->name_bytes < 200 ? (int)member->name_bytes : 200,
                              member->name);
    }
    return CASK_OK;
}

static enum cask_status find_pickle(const struct cask_zip *zip,
                                    const struct cask_zip_member **pickle, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (find_ending(zip, "/constants.pkl") != NULL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                "a TorchScript archive (code and weights), not a checkpoint; load "
                                "it with torch.jit.load and save "
                                "torch.save(model.state_dict(), FILE)"));
    }
    *pickle = find_ending(zip, pickle_name);
    if (*pickle == NULL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                "a zip without data.pkl: not a PyTorch checkpoint (an .npz?)"));
    }
    CASK_TRY(check_stored(*pickle, err));
    const struct cask_zip_member *order = find_beside(zip, *pickle, "/", "byteorder", 9);
    if (order != NULL && (order->bytes < 6 || memcmp(order->data, "little", 6) != 0)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                "the file's byteorder is not little; save it again on a "
                                "little-endian machine"));
    }
done:
    return st;
}

static enum cask_status find_storage(const struct cask_checkpoint *c, const struct cask_zip *zip,
                                     const struct cask_zip_member *pickle,
                                     struct cask_torch_storage *s, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int shown = s->key_bytes < 100 ? (int)s->key_bytes : 100;
    const struct cask_zip_member *member = find_beside(zip, pickle, "/data/", s->key, s->key_bytes);
    if (member == NULL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "zip: no member for storage \"%.*s\"", shown,
                                s->key));
    }
    CASK_TRY(check_stored(member, err));
    if ((uint64_t)s->numel > member->bytes / cask_file_dtype_size(s->dtype)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "zip: storage \"%.*s\" should have %" PRId64
                                " elements of %s, its member has %zu bytes",
                                shown, s->key, s->numel, cask_file_dtype_name(s->dtype),
                                member->bytes));
    }
    /* PyTorch can be told not to compute checksums, so a wrong one is no error. */
    if (member->crc != 0 && cask_crc32(0, member->data, member->bytes) != member->crc) {
        cask_log_warn("%s: the checksum of storage %.*s does not match; the file may be damaged",
                      c->path, shown, s->key);
    }
    s->data = member->data;
done:
    return st;
}

/* What Cask wrote beside the pickle (torch_write.c). A file of that name by somebody else says
 * nothing to us. */
static enum cask_status read_own_metadata(struct cask_checkpoint *c, const struct cask_zip *zip,
                                          const struct cask_zip_member *pickle,
                                          struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_json *json = NULL;
    struct cask_error foreign;
    const char *format = NULL;
    const struct cask_zip_member *member = find_beside(zip, pickle, "/", "metadata.json", 13);
    if (member == NULL || member->data == NULL || member->bytes > MAX_METADATA ||
        cask_json_parse((const char *)member->data, member->bytes, &json, &foreign) != CASK_OK ||
        !cask_json_as_text(cask_json_get(json, "format_version"), &format) ||
        strncmp(format, "cask ", 5) != 0) {
        goto done;
    }
    CASK_TRY(cask_checkpoint_read_metadata(c, json, err));
done:
    cask_json_free(json);
    return st;
}

enum cask_status cask_torch_zip_read(struct cask_checkpoint *c, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_zip zip = {0};
    struct cask_pickle *pickle = NULL;
    struct cask_torch_storages storages = {0};
    const struct cask_zip_member *member = NULL;
    CASK_TRY(cask_zip_open(&zip, c->data, c->bytes, err));
    CASK_TRY(find_pickle(&zip, &member, err));
    CASK_TRY(cask_torch_parse(member->data, member->bytes, 0, &pickle, NULL, err));
    CASK_TRY(cask_torch_list_storages(pickle, &storages, err));
    for (size_t i = 0; i < storages.count; i++) {
        CASK_TRY(find_storage(c, &zip, member, &storages.items[i], err));
    }
    CASK_TRY(cask_torch_collect(c, pickle, &storages, err));
    CASK_TRY(read_own_metadata(c, &zip, member, err));
done:
    if (st != CASK_OK && member != NULL) {
        cask_error_prefix(err, "data.pkl");
    }
    cask_free(storages.items);
    cask_pickle_free(pickle);
    cask_zip_close(&zip);
    return st;
}
