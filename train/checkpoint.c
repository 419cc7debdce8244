#include "train/checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "models/models.h"

enum { KEPT = 2, FORMAT_VERSION = 2 }; /* 2: validation.state */

enum cask_status cask_state_add(struct cask_state_list *list, const char *prefix, const char *name,
                                enum cask_dtype dtype, int64_t count, void *memory,
                                struct cask_device *device, struct cask_error *err)
{
    size_t have = (size_t)list->count;
    struct cask_state_entry *entries = cask_grow(list->entries, have, have + 1, sizeof *entries);
    char *joined = cask_format("%s%s", prefix, name);
    if (entries != NULL) {
        list->entries = entries;
    }
    if (entries == NULL || joined == NULL) {
        cask_free(joined);
        return cask_error_memory(err, sizeof *entries, "list of a run's state");
    }
    entries[list->count++] = (struct cask_state_entry){
        .name = joined, .dtype = dtype, .count = count, .memory = memory, .device = device};
    return CASK_OK;
}

void cask_state_release(struct cask_state_list *list)
{
    for (int i = 0; i < list->count; i++) {
        cask_free(list->entries[i].name);
    }
    cask_free(list->entries);
    *list = (struct cask_state_list){0};
}

static size_t entry_bytes(const struct cask_state_entry *entry)
{
    return (size_t)entry->count * cask_dtype_size(entry->dtype);
}

static enum cask_file_dtype file_dtype(enum cask_dtype dtype)
{
    return dtype == CASK_F64 ? CASK_FILE_F64 : CASK_FILE_F32;
}

/* One hash over all arrays: the hash of their hashes, in the list's order. */
static uint64_t hash_arrays(const struct cask_file_tensor *tensors,
                            const struct cask_state_list *state)
{
    uint64_t hash = 0;
    for (int i = 0; i < state->count; i++) {
        uint64_t pair[2] = {hash, cask_xxh3(tensors[i].data, entry_bytes(&state->entries[i]))};
        hash = cask_xxh3(pair, sizeof pair);
    }
    return hash;
}

/* Checkpoints of a folder, oldest first: the names sort by step. */
static enum cask_status list_checkpoints(const char *folder, char ***names, size_t *count,
                                         struct cask_error *err)
{
    *names = NULL;
    *count = 0;
    if (!cask_path_is_folder(folder)) {
        return CASK_OK;
    }
    char **all = NULL;
    size_t all_count = 0;
    enum cask_status st = cask_folder_list(folder, &all, &all_count, err);
    if (st != CASK_OK) {
        return st;
    }
    size_t kept = 0;
    for (size_t i = 0; i < all_count; i++) {
        size_t length = strlen(all[i]);
        bool is_one = length == strlen("step-000000000.safetensors") &&
                      strncmp(all[i], "step-", 5) == 0 &&
                      strcmp(all[i] + length - strlen(".safetensors"), ".safetensors") == 0;
        if (is_one) { /* swapped, so that the list still owns every name */
            char *other = all[kept];
            all[kept++] = all[i];
            all[i] = other;
        }
    }
    for (size_t i = kept; i < all_count; i++) {
        cask_free(all[i]);
        all[i] = NULL;
    }
    *names = all;
    *count = kept;
    return CASK_OK;
}

/* ------------------------------------------------------------------- save */

/* Old files go only after the new one is published; one that cannot be removed does no harm. */
static enum cask_status remove_old(const char *folder, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char **names = NULL;
    size_t count = 0;
    CASK_TRY(list_checkpoints(folder, &names, &count, err));
    for (size_t i = 0; i + KEPT < count; i++) {
        char *path = cask_format("%s/%s", folder, names[i]);
        if (path != NULL && unlink(path) != 0) {
            cask_log_warn("%s: cannot remove this old checkpoint: %s", path, strerror(errno));
        }
        cask_free(path);
    }
done:
    cask_folder_list_free(names, count);
    return st;
}

static enum cask_status write_state(const char *path, const struct cask_checkpoint_note *note,
                                    const struct cask_state_list *state,
                                    const struct cask_file_tensor *tensors, struct cask_error *err)
{
    char version[16], step[32], seconds[64], hash[32];
    snprintf(version, sizeof version, "%d", FORMAT_VERSION);
    snprintf(step, sizeof step, "%" PRId64, note->step);
    snprintf(seconds, sizeof seconds, "%.17g", note->seconds);
    snprintf(hash, sizeof hash, "%016" PRIx64, hash_arrays(tensors, state));
    const struct cask_metadata_entry entries[] = {
        {"cask.checkpoint", version}, {"step", step},           {"seconds", seconds},
        {"identity", note->identity}, {"device", note->device}, {"xxh3", hash},
    };
    return cask_safetensors_write(path, tensors, state->count, entries,
                                  sizeof entries / sizeof entries[0], err);
}

enum cask_status cask_checkpoint_save_state(const char *folder,
                                            const struct cask_checkpoint_note *note,
                                            const struct cask_state_list *state,
                                            struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *path = cask_format("%s/step-%09" PRId64 ".safetensors", folder, note->step);
    size_t bytes = 0, at = 0;
    for (int i = 0; i < state->count; i++) {
        bytes += entry_bytes(&state->entries[i]);
    }
    /* Device memory has no address here, and the file wants all arrays at once. */
    char *staging = cask_alloc(bytes + 1, 1);
    struct cask_file_tensor *tensors = cask_alloc((size_t)state->count + 1, sizeof *tensors);
    if (path == NULL || staging == NULL || tensors == NULL) {
        CASK_TRY(cask_error_memory(err, bytes, "staging of a checkpoint"));
    }
    for (int i = 0; i < state->count; i++) {
        const struct cask_state_entry *entry = &state->entries[i];
        if (entry->device != NULL) {
            cask_buffer_download(entry->device, staging + at, entry->memory, entry_bytes(entry));
        } else {
            memcpy(staging + at, entry->memory, entry_bytes(entry));
        }
        tensors[i] = (struct cask_file_tensor){.name = entry->name,
                                               .dtype = file_dtype(entry->dtype),
                                               .shape = {entry->count},
                                               .rank = 1,
                                               .count = entry->count,
                                               .data = staging + at};
        at += entry_bytes(entry);
    }
    CASK_TRY(cask_folder_create(folder, err));
    CASK_TRY(write_state(path, note, state, tensors, err));
    CASK_TRY(remove_old(folder, err));
done:
    cask_free(tensors);
    cask_free(staging);
    cask_free(path);
    return st;
}

/* ---------------------------------------------------------------- restore */

static enum cask_status read_note(const struct cask_checkpoint *file,
                                  struct cask_checkpoint_note *note, uint64_t *hash,
                                  struct cask_error *err)
{
    static const char *const keys[] = {"cask.checkpoint", "step",   "seconds",
                                       "identity",        "device", "xxh3"};
    const char *values[6];
    for (int i = 0; i < 6; i++) {
        values[i] = cask_checkpoint_metadata(file, keys[i]);
        if (values[i] == NULL) {
            return cask_error_set(err, CASK_ERR_FORMAT,
                                  "not a training checkpoint: no metadata \"%s\"", keys[i]);
        }
    }
    if (atoi(values[0]) != FORMAT_VERSION) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "checkpoint version %s, this program knows %d", values[0],
                              FORMAT_VERSION);
    }
    char *end = NULL;
    note->step = strtoll(values[1], &end, 10);
    note->seconds = strtod(values[2], NULL);
    if (*end != '\0' || note->step < 0 || !(note->seconds >= 0)) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "step \"%s\" or seconds \"%s\" is not a number of 0 or more",
                              values[1], values[2]);
    }
    snprintf(note->identity, sizeof note->identity, "%s", values[3]);
    snprintf(note->device, sizeof note->device, "%s", values[4]);
    *hash = strtoull(values[5], NULL, 16);
    return CASK_OK;
}

/* Finds every array of the state in the file and proves the bytes whole. */
static enum cask_status find_arrays(const struct cask_checkpoint *file, uint64_t hash,
                                    const struct cask_state_list *state,
                                    struct cask_file_tensor *tensors, struct cask_error *err)
{
    for (int i = 0; i < state->count; i++) {
        const struct cask_state_entry *entry = &state->entries[i];
        const struct cask_file_tensor *tensor = cask_checkpoint_find(file, entry->name);
        if (tensor == NULL || tensor->count != entry->count ||
            tensor->dtype != file_dtype(entry->dtype)) {
            return cask_error_set(
                err, CASK_ERR_FORMAT, "array %s: expected %lld of %s, found %lld%s", entry->name,
                (long long)entry->count, cask_dtype_name(entry->dtype),
                tensor ? (long long)tensor->count : 0LL, tensor ? "" : " (absent)");
        }
        tensors[i] = *tensor;
    }
    if (hash_arrays(tensors, state) != hash) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "damaged: its checksum does not fit its arrays");
    }
    return CASK_OK;
}

static enum cask_status restore_one(const char *path, const char *identity,
                                    const struct cask_state_list *state,
                                    struct cask_checkpoint_note *note, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_checkpoint *file = NULL;
    uint64_t hash = 0;
    struct cask_file_tensor *tensors = cask_alloc((size_t)state->count + 1, sizeof *tensors);
    if (tensors == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)state->count * sizeof *tensors, "list of arrays"));
    }
    CASK_TRY(cask_checkpoint_open(path, &file, err));
    CASK_TRY(read_note(file, note, &hash, err));
    if (strcmp(note->identity, identity) != 0) {
        CASK_TRY(cask_error_set(
            err, CASK_ERR_MISMATCH,
            "belongs to a run with other settings (%.12s, this run is %.12s); use another --out",
            note->identity, identity));
    }
    CASK_TRY(find_arrays(file, hash, state, tensors, err));
    for (int i = 0; i < state->count; i++) {
        const struct cask_state_entry *entry = &state->entries[i];
        if (entry->device != NULL) {
            cask_buffer_upload(entry->device, entry->memory, tensors[i].data, entry_bytes(entry));
        } else {
            memcpy(entry->memory, tensors[i].data, entry_bytes(entry));
        }
    }
done:
    if (st != CASK_OK && file != NULL) { /* open names the file itself */
        cask_error_prefix(err, "%s", path);
    }
    cask_checkpoint_close(file);
    cask_free(tensors);
    return st;
}

enum cask_status cask_checkpoint_restore_state(const char *folder, const char *identity,
                                               const struct cask_state_list *state,
                                               struct cask_checkpoint_note *note, bool *found,
                                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char **names = NULL;
    char *path = NULL;
    size_t count = 0;
    *found = false;
    CASK_TRY(list_checkpoints(folder, &names, &count, err));
    for (size_t i = count; i-- > 0 && !*found;) {
        cask_free(path);
        path = cask_format("%s/%s", folder, names[i]);
        if (path == NULL) {
            CASK_TRY(cask_error_memory(err, 1, "path"));
        }
        st = restore_one(path, identity, state, note, err);
        *found = st == CASK_OK;
        if (st == CASK_ERR_FORMAT) {
            cask_log_warn("checkpoint passed over: %s", err->message);
            st = CASK_OK;
        }
        CASK_TRY(st);
    }
    if (count > 0 && !*found) {
        CASK_TRY(cask_error_set(
            err, CASK_ERR_FORMAT,
            "%s: none of the %zu checkpoints is whole; remove the folder to start anew", folder,
            count));
    }
done:
    cask_free(path);
    cask_folder_list_free(names, count);
    return st;
}
