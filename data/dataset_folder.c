/* data/dataset_folder.c - root/identity/image.jpg, or images directly in root (unlabelled).
 *
 * Labels count the identity folders in byte-wise order, as torchvision's ImageFolder does; a folder
 * without images gets no label. Hidden names are ignored.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "data/dataset_impl.h"

struct folder {
    struct cask_dataset base;
    char *root;
    char *text; /* all names one after another, each with its NUL */
    size_t text_bytes, text_capacity;
    uint64_t *file_at;   /* [count] place in text */
    uint64_t *folder_at; /* [classes] place in text */
    int64_t capacity;    /* of file_at and labels */
    int64_t classes, class_capacity;
};

static enum cask_status add_text(struct folder *folder, const char *name, uint64_t *at,
                                 struct cask_error *err)
{
    size_t bytes = strlen(name) + 1;
    if (folder->text_bytes + bytes > folder->text_capacity) {
        size_t capacity = folder->text_capacity * 2 + bytes + 4096;
        char *text = cask_grow(folder->text, folder->text_capacity, capacity, 1);
        if (text == NULL) {
            return cask_error_memory(err, capacity, "file names");
        }
        folder->text = text;
        folder->text_capacity = capacity;
    }
    memcpy(folder->text + folder->text_bytes, name, bytes);
    *at = folder->text_bytes;
    folder->text_bytes += bytes;
    return CASK_OK;
}

static enum cask_status add_image(struct folder *folder, const char *name, struct cask_error *err)
{
    struct cask_dataset *base = &folder->base;
    if (base->count == folder->capacity) {
        int64_t capacity = folder->capacity * 2 + 1024;
        uint64_t *file_at =
            cask_grow(folder->file_at, (size_t)folder->capacity, (size_t)capacity, sizeof *file_at);
        folder->file_at = file_at != NULL ? file_at : folder->file_at;
        uint32_t *labels = file_at == NULL ? NULL
                                           : cask_grow(base->labels, (size_t)folder->capacity,
                                                       (size_t)capacity, sizeof *labels);
        if (labels == NULL) {
            return cask_error_memory(err, (size_t)capacity * sizeof *file_at, "the image table");
        }
        base->labels = labels;
        folder->capacity = capacity;
    }
    base->labels[base->count] = (uint32_t)(folder->classes - 1);
    enum cask_status st = add_text(folder, name, &folder->file_at[base->count], err);
    base->count += st == CASK_OK;
    return st;
}

static enum cask_status add_class(struct folder *folder, const char *name, struct cask_error *err)
{
    if (folder->classes == folder->class_capacity) {
        int64_t capacity = folder->class_capacity * 2 + 64;
        uint64_t *folder_at = cask_grow(folder->folder_at, (size_t)folder->class_capacity,
                                        (size_t)capacity, sizeof *folder_at);
        if (folder_at == NULL) {
            return cask_error_memory(err, (size_t)capacity * sizeof *folder_at, "identities");
        }
        folder->folder_at = folder_at;
        folder->class_capacity = capacity;
    }
    return add_text(folder, name, &folder->folder_at[folder->classes++], err);
}

/* "img2" before "img10": runs of digits compare as numbers. */
static int compare_natural(const void *left, const void *right)
{
    const char *full_a = *(char *const *)left, *full_b = *(char *const *)right;
    const char *a = full_a, *b = full_b;
    while (*a != 0 && *b != 0) {
        size_t digits_a = strspn(a, "0123456789"), digits_b = strspn(b, "0123456789");
        if (digits_a > 0 && digits_b > 0) {
            size_t zeros_a = strspn(a, "0"), zeros_b = strspn(b, "0");
            zeros_a = zeros_a < digits_a ? zeros_a : digits_a - 1;
            zeros_b = zeros_b < digits_b ? zeros_b : digits_b - 1;
            size_t value_a = digits_a - zeros_a, value_b = digits_b - zeros_b;
            int order = value_a != value_b ? (value_a < value_b ? -1 : 1)
                                           : memcmp(a + zeros_a, b + zeros_b, value_a);
            if (order != 0) {
                return order;
            }
            a += digits_a;
            b += digits_b;
        } else if (*a != *b) {
            break;
        } else {
            a++;
            b++;
        }
    }
    int order = (int)(unsigned char)*a - (int)(unsigned char)*b;
    return order != 0 ? order : strcmp(full_a, full_b);
}

static enum cask_status list_names(const char *path, const struct cask_dataset_options *options,
                                   char ***names, size_t *count, struct cask_error *err)
{
    enum cask_status st = cask_folder_list(path, names, count, err);
    if (st == CASK_OK && options->natural_order && *count > 1) {
        qsort(*names, *count, sizeof **names, compare_natural);
    }
    return st;
}

static bool is_full(const struct folder *folder, const struct cask_dataset_options *options)
{
    return options->limit > 0 && folder->base.count >= options->limit;
}

/* Adds one identity; without any image in it, it is as if it were not there. */
static enum cask_status scan_identity(struct folder *folder, const char *name,
                                      const struct cask_dataset_options *options, bool *empty,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char **names = NULL;
    size_t count = 0;
    char *path = cask_format("%s/%s", folder->root, name);
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(folder->root) + strlen(name), "a path"));
    }
    CASK_TRY(list_names(path, options, &names, &count, err));
    *empty = true;
    for (size_t i = 0; i < count && !is_full(folder, options); i++) {
        if (names[i][0] == '.' || !cask_name_is_image(names[i])) {
            continue;
        }
        if (*empty) {
            CASK_TRY(add_class(folder, name, err));
            *empty = false;
        }
        CASK_TRY(add_image(folder, names[i], err));
    }
done:
    cask_folder_list_free(names, count);
    cask_free(path);
    return st;
}

static enum cask_status refuse_mixture(const struct folder *folder, const char *identity,
                                       const char *image, struct cask_error *err)
{
    return cask_error_set(err, CASK_ERR_FORMAT,
                          "%s: expected either identity folders or images, found both (folder "
                          "\"%s\" and image \"%s\"); move the images into a folder",
                          folder->root, identity, image);
}

static enum cask_status scan_root(struct folder *folder, const struct cask_dataset_options *options,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char **names = NULL;
    size_t count = 0;
    const char *image = NULL, *identity = NULL, *skipped = NULL;
    int64_t skipped_count = 0;
    CASK_TRY(list_names(folder->root, options, &names, &count, err));
    for (size_t i = 0; i < count && !is_full(folder, options); i++) {
        if (names[i][0] == '.') {
            continue;
        }
        if (cask_name_is_image(names[i])) {
            image = names[i];
            CASK_TRY(identity == NULL ? add_image(folder, image, err)
                                      : refuse_mixture(folder, identity, image, err));
            continue;
        }
        char *path = cask_format("%s/%s", folder->root, names[i]);
        if (path == NULL) {
            CASK_TRY(cask_error_memory(err, strlen(folder->root) + strlen(names[i]), "a path"));
        }
        bool is_folder = cask_path_is_folder(path), empty = false;
        cask_free(path);
        if (is_folder) {
            CASK_TRY(scan_identity(folder, names[i], options, &empty, err));
            identity = empty ? identity : names[i];
            skipped = empty ? names[i] : skipped;
            skipped_count += empty;
        }
        if (identity != NULL && image != NULL) {
            CASK_TRY(refuse_mixture(folder, identity, image, err));
        }
    }
    if (skipped_count > 0 && identity != NULL && !is_full(folder, options)) {
        cask_log_warn("%s: %lld folders without images, such as \"%s\", get no label", folder->root,
                      (long long)skipped_count, skipped);
    }
done:
    cask_folder_list_free(names, count);
    return st;
}

static void close_folder(struct cask_dataset *dataset)
{
    struct folder *folder = (struct folder *)dataset;
    cask_free(folder->base.labels);
    cask_free(folder->root);
    cask_free(folder->text);
    cask_free(folder->file_at);
    cask_free(folder->folder_at);
    cask_free(folder);
}

static void name_image(const struct cask_dataset *dataset, int64_t index, char *buffer,
                       size_t bytes)
{
    const struct folder *folder = (const struct folder *)dataset;
    const char *file = folder->text + folder->file_at[index];
    if (dataset->labels == NULL) {
        snprintf(buffer, bytes, "%s", file);
    } else {
        snprintf(buffer, bytes, "%s/%s", folder->text + folder->folder_at[dataset->labels[index]],
                 file);
    }
}

static enum cask_status read_image(const struct cask_dataset *dataset, int64_t index,
                                   struct cask_encoded *encoded, struct cask_error *err)
{
    const struct folder *folder = (const struct folder *)dataset;
    char name[1024]; /* two names of at most 255 bytes each on any file system we know */
    name_image(dataset, index, name, sizeof name);
    char *path = cask_format("%s/%s", folder->root, name);
    if (path == NULL) {
        return cask_error_memory(err, strlen(folder->root) + sizeof name, "a path");
    }
    enum cask_status st = cask_encoded_read_file(encoded, path, err);
    cask_free(path);
    return st;
}

enum cask_status cask_dataset_open_folder(const char *path,
                                          const struct cask_dataset_options *options,
                                          struct cask_dataset **dataset, struct cask_error *err)
{
    static const struct cask_dataset_ops ops = {
        .kind = "folder", .close = close_folder, .name = name_image, .read = read_image};
    enum cask_status st = CASK_OK;
    struct folder *folder = cask_alloc(1, sizeof *folder);
    if (folder == NULL || (folder->root = cask_strdup(path)) == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *folder, "a dataset"));
    }
    folder->base.ops = &ops;
    CASK_TRY(scan_root(folder, options, err));
    if (folder->base.count == 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: expected train.rec, or identity folders with .jpg, .jpeg or "
                                ".png images in them, or such images; found none",
                                path));
    }
    if (folder->classes == 0) {
        cask_free(folder->base.labels);
        folder->base.labels = NULL;
    }
    *dataset = &folder->base;
    folder = NULL;
done:
    if (folder != NULL) {
        close_folder(&folder->base);
    }
    return st;
}
