/* data/pairs_bin.c - insightface's verification sets: a pickle of (images, issame).
 *
 * Pair i is images 2i and 2i + 1. What one image is depends on who wrote the file: the bytes of a
 * JPEG or PNG (Python 2 str, Python 3 bytes), or a numpy array of uint8 as cv2.imencode returns it.
 * issame is a list of bools, ints or numpy bools, or one numpy array of bool.
 */
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"
#include "common/pickle.h"
#include "data/dataset_impl.h"
#include "data/pairs_impl.h"

enum { FOLDS = 10, PROTO = 0x80 }; /* the opcode that a pickle of our time begins with */
#define LARGEST_FILE ((size_t)1 << 31)

enum { RECONSTRUCT, FROM_BUFFER, SCALAR, NDARRAY, DTYPE };

static const struct cask_pickle_global globals[] = {
    {"numpy.core.multiarray", "_reconstruct", RECONSTRUCT},
    {"numpy._core.multiarray", "_reconstruct", RECONSTRUCT},
    {"numpy.core.numeric", "_frombuffer", FROM_BUFFER},
    {"numpy._core.numeric", "_frombuffer", FROM_BUFFER},
    {"numpy.core.multiarray", "scalar", SCALAR},
    {"numpy._core.multiarray", "scalar", SCALAR},
    {"numpy", "ndarray", NDARRAY},
    {"numpy", "dtype", DTYPE},
    {"_codecs", "encode", CASK_PICKLE_MAKES_LATIN1},
};

struct image {
    const uint8_t *data; /* inside the file or the pickle */
    size_t bytes;
};

struct bin_pairs {
    struct cask_pairs base;
    char *file; /* the file's bytes */
    struct cask_pickle *pickle;
    struct image *images; /* [image_count] */
};

static bool is_dtype(const struct cask_pickle_value *value, const char *code)
{
    const struct cask_pickle_value *args = cask_pickle_args(value, DTYPE);
    return cask_pickle_is_text(cask_pickle_at(args, 0), code);
}

/* The bytes of a numpy array of one-byte elements: either way numpy pickles it. */
static bool array_bytes(const struct cask_pickle_value *value, const char *dtype,
                        struct image *bytes)
{
    const struct cask_pickle_value *data = NULL, *type = NULL, *shape = NULL;
    if (cask_pickle_args(value, RECONSTRUCT) != NULL) {
        const struct cask_pickle_value *state =
            value->call.state; /* version, shape, dtype, order */
        shape = cask_pickle_at(state, 1);
        type = cask_pickle_at(state, 2);
        data = cask_pickle_at(state, 4);
    } else if (cask_pickle_args(value, FROM_BUFFER) != NULL) {
        const struct cask_pickle_value *args = cask_pickle_args(value, FROM_BUFFER);
        data = cask_pickle_at(args, 0);
        type = cask_pickle_at(args, 1);
        shape = cask_pickle_at(args, 2);
    }
    if (data == NULL || data->kind != CASK_PICKLE_BYTES || !is_dtype(type, dtype)) {
        return false;
    }
    uint64_t product = 1;
    for (size_t i = 0; i < cask_pickle_size(shape); i++) {
        int64_t side = 0;
        if (!cask_pickle_as_int(cask_pickle_at(shape, i), &side) || side < 0 || side > INT32_MAX ||
            product > INT32_MAX) {
            return false;
        }
        product *= (uint64_t)side;
    }
    *bytes = (struct image){data->text.data, data->text.bytes};
    return shape != NULL && product == data->text.bytes;
}

static enum cask_status parse_image(const char *path, const struct cask_pickle_value *value,
                                    int64_t number, struct image *image, struct cask_error *err)
{
    if (value->kind == CASK_PICKLE_BYTES) {
        *image = (struct image){value->text.data, value->text.bytes};
        return CASK_OK;
    }
    if (array_bytes(value, "u1", image)) {
        return CASK_OK;
    }
    return cask_error_set(err, CASK_ERR_FORMAT,
                          "%s: byte %zu: image %lld: expected bytes or a numpy array of uint8, "
                          "found %s",
                          path, value->offset, (long long)number, cask_pickle_kind_name(value));
}

static bool parse_same(const struct cask_pickle_value *value, bool *same)
{
    const struct cask_pickle_value *args = cask_pickle_args(value, SCALAR);
    int64_t number;
    if (args != NULL) {
        const struct cask_pickle_value *data = cask_pickle_at(args, 1);
        bool good = is_dtype(cask_pickle_at(args, 0), "b1") && data != NULL &&
                    data->kind == CASK_PICKLE_BYTES && data->text.bytes == 1;
        *same = good && data->text.data[0] != 0;
        return good;
    }
    if (!cask_pickle_as_int(value, &number) || (number != 0 && number != 1)) {
        return false;
    }
    *same = number == 1;
    return true;
}

static enum cask_status parse_pairs(struct bin_pairs *pairs, const char *path,
                                    const struct cask_pickle_value *list, const struct image *flags,
                                    struct cask_error *err)
{
    for (int64_t i = 0; i < pairs->base.count; i++) {
        struct cask_pair *pair = &pairs->base.pairs[i];
        *pair = (struct cask_pair){.a = 2 * i, .b = 2 * i + 1};
        const struct cask_pickle_value *value =
            flags == NULL ? cask_pickle_at(list, (size_t)i) : NULL;
        if (flags != NULL) {
            pair->same = flags->data[i] != 0;
        } else if (!parse_same(value, &pair->same)) {
            return cask_error_set(err, CASK_ERR_FORMAT,
                                  "%s: byte %zu: issame of pair %lld: expected a bool, 0 or 1, "
                                  "found %s",
                                  path, value->offset, (long long)i, cask_pickle_kind_name(value));
        }
    }
    return CASK_OK;
}

static bool is_sequence(const struct cask_pickle_value *value)
{
    return value != NULL && (value->kind == CASK_PICKLE_LIST || value->kind == CASK_PICKLE_TUPLE);
}

static enum cask_status parse_root(struct bin_pairs *pairs, const char *path,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_pickle_value *root = cask_pickle_root(pairs->pickle);
    const struct cask_pickle_value *images = cask_pickle_at(root, 0);
    const struct cask_pickle_value *same = cask_pickle_at(root, 1);
    struct image flags;
    bool packed = array_bytes(same, "b1", &flags);
    if (!is_sequence(root) || cask_pickle_size(root) != 2 || !is_sequence(images) ||
        (!is_sequence(same) && !packed)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: expected a pickle of (list of images, list of issame), found "
                                "%s of %zu: %s and %s",
                                path, cask_pickle_kind_name(root), cask_pickle_size(root),
                                cask_pickle_kind_name(images), cask_pickle_kind_name(same)));
    }
    size_t image_count = cask_pickle_size(images);
    size_t pair_count = packed ? flags.bytes : cask_pickle_size(same);
    if (pair_count == 0 || image_count != 2 * pair_count) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: expected two images for each of %zu issame flags, found %zu "
                                "images",
                                path, pair_count, image_count));
    }
    pairs->images = cask_alloc(image_count, sizeof *pairs->images);
    pairs->base.pairs = cask_alloc(pair_count, sizeof *pairs->base.pairs);
    if (pairs->images == NULL || pairs->base.pairs == NULL) {
        CASK_TRY(cask_error_memory(err, image_count * sizeof *pairs->images, "pairs"));
    }
    for (size_t i = 0; i < image_count; i++) {
        CASK_TRY(parse_image(path, cask_pickle_at(images, i), (int64_t)i, &pairs->images[i], err));
    }
    pairs->base.image_count = (int64_t)image_count;
    pairs->base.count = (int64_t)pair_count;
    CASK_TRY(parse_pairs(pairs, path, same, packed ? &flags : NULL, err));
done:
    return st;
}

static void close_bin(struct cask_pairs *base)
{
    struct bin_pairs *pairs = (struct bin_pairs *)base;
    cask_pickle_free(pairs->pickle);
    cask_free(pairs->images);
    cask_free(pairs->file);
    cask_free(pairs);
}

static void image_name(const struct cask_pairs *base, int64_t image, char *buffer, size_t bytes)
{
    snprintf(buffer, bytes, "%s.bin image %lld", base->name, (long long)image);
}

static enum cask_status read_image(const struct cask_pairs *base, int64_t image,
                                   struct cask_encoded *encoded, struct cask_error *err)
{
    const struct image *from = &((const struct bin_pairs *)base)->images[image];
    enum cask_status st = cask_encoded_reserve(encoded, from->bytes, err);
    if (st == CASK_OK && from->bytes > 0) {
        memcpy(encoded->data, from->data, from->bytes);
        encoded->bytes = from->bytes;
    }
    return st;
}

static uint64_t image_key(const struct cask_pairs *base, int64_t image)
{
    const struct image *from = &((const struct bin_pairs *)base)->images[image];
    return cask_xxh3(from->data, from->bytes);
}

enum cask_status cask_pairs_open_bin(const char *path, struct cask_pairs **out,
                                     struct cask_error *err)
{
    static const struct cask_pairs_ops ops = {close_bin, image_name, read_image, image_key};
    static const struct cask_pickle_options options = {
        .globals = globals, .global_count = sizeof globals / sizeof globals[0]};
    enum cask_status st = CASK_OK;
    size_t bytes = 0;
    *out = NULL;
    struct bin_pairs *pairs = cask_alloc(1, sizeof *pairs);
    if (pairs == NULL || (pairs->base.name = cask_pairs_name_of(path)) == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *pairs, "pairs"));
    }
    pairs->base.ops = &ops;
    pairs->base.folds = FOLDS;
    CASK_TRY(cask_file_read_all(path, LARGEST_FILE, &pairs->file, &bytes, err));
    st =
        cask_pickle_parse((const uint8_t *)pairs->file, bytes, &options, &pairs->pickle, NULL, err);
    if (st != CASK_OK && (uint8_t)pairs->file[0] != PROTO) {
        CASK_TRY(
            cask_error_set(err, st,
                           "%s: expected an insightface .bin (a pickle of protocol 2 to 5: its "
                           "first byte is 0x%02x), found %zu bytes, the first 0x%02x",
                           path, PROTO, bytes, (uint8_t)pairs->file[0]));
    }
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", path);
        CASK_TRY(st);
    }
    CASK_TRY(parse_root(pairs, path, err));
    *out = &pairs->base;
    pairs = NULL;
done:
    if (pairs != NULL) {
        pairs->base.ops = &ops;
        cask_pairs_close(&pairs->base);
    }
    return st;
}
