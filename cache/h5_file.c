/* cache/h5_file.c - creating files, attributes and datasets with libhdf5. */
#include "cache/h5_file.h"

#include <stdio.h>
#include <string.h>

#include "cache/bytes.h"
#include "cache/lz4_frame.h"
#include "cache/manifest.h"
#include "common/mem.h"

/* The innermost description of libhdf5's error stack. */
static herr_t keep_first(unsigned depth, const H5E_error2_t *error, void *user)
{
    if (depth == 0 && error->desc != NULL) {
        snprintf(user, 256, "%s", error->desc);
    }
    return 0;
}

enum cask_status cask_h5_error(struct cask_error *err, const char *file, const char *what)
{
    char reason[256] = "libhdf5 gives no reason";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, reason);
    H5Eclear2(H5E_DEFAULT);
    return cask_error_set(err, CASK_ERR_IO, "%s: %s: %s", file, what, reason);
}

hid_t cask_h5_type(enum cask_element element)
{
    switch (element) {
    case CASK_ELEMENT_U8:
        return H5Tcopy(H5T_STD_U8LE);
    case CASK_ELEMENT_I8:
        return H5Tcopy(H5T_STD_I8LE);
    case CASK_ELEMENT_I16:
        return H5Tcopy(H5T_STD_I16LE);
    case CASK_ELEMENT_U32:
        return H5Tcopy(H5T_STD_U32LE);
    case CASK_ELEMENT_F32:
        return H5Tcopy(H5T_IEEE_F32LE);
    case CASK_ELEMENT_U64:
        return H5Tcopy(H5T_STD_U64LE);
    default:
        break;
    }
    /* IEEE 754 binary16: 1 sign, 5 exponent, 10 mantissa bits, bias 15; h5py reads it as float16.
     */
    hid_t half = H5Tcopy(H5T_IEEE_F32LE);
    if (H5Tset_fields(half, 15, 10, 5, 0, 10) < 0 || H5Tset_size(half, 2) < 0 ||
        H5Tset_ebias(half, 15) < 0) {
        H5Tclose(half);
        return H5I_INVALID_HID;
    }
    return half;
}

/* libhdf5's in-memory driver keeps its buffer through these callbacks. Taking the buffer at close,
 * and not H5Fget_file_image before it, matters: the latter clears a flag in the superblock without
 * renewing its checksum, and such a file does not open. */
static void *image_resize(void *data, size_t bytes, H5FD_file_image_op_t op, void *user)
{
    struct cask_h5_image *image = user;
    uint8_t *grown = cask_grow(data, image->room, bytes, 1);
    (void)op;
    if (grown != NULL) {
        image->data = grown;
        image->room = bytes;
    }
    return grown;
}

static herr_t image_keep(void *data, H5FD_file_image_op_t op, void *user)
{
    (void)data;
    (void)op;
    (void)user;
    return 0;
}

static void *image_user(void *user)
{
    return user;
}

static herr_t image_user_free(void *user)
{
    (void)user;
    return 0;
}

static bool keep_in_memory(hid_t access, struct cask_h5_image *image, size_t increment)
{
    H5FD_file_image_callbacks_t callbacks = {
        .image_realloc = image_resize,
        .image_free = image_keep,
        .udata_copy = image_user,
        .udata_free = image_user_free,
        .udata = image,
    };
    return H5Pset_fapl_core(access, increment, 0) >= 0 &&
           H5Pset_file_image_callbacks(access, &callbacks) >= 0;
}

size_t cask_h5_image_bytes(const struct cask_h5_image *image)
{
    size_t bytes = image->room >= 48 ? (size_t)cask_get_le64(image->data + 28) : 0;
    return bytes <= image->room ? bytes : 0;
}

enum cask_status cask_h5_create(const char *path, struct cask_h5_image *image, size_t increment,
                                hid_t *file, struct cask_error *err)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* libraries do not print */
    H5PLset_loading_state(0);              /* nor load code that a variable names */
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), create = H5Pcreate(H5P_FILE_CREATE);
    bool ok =
        access >= 0 && create >= 0 &&
        H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110) >= 0 &&
        H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0 &&
        H5Pset_obj_track_times(create, 0) >= 0 &&
        /* All attributes stay in the root's own header: no fractal heap, nothing to get lost in. */
        H5Pset_attr_phase_change(create, 64, 0) >= 0 &&
        (image == NULL || keep_in_memory(access, image, increment));
    /* The in-memory driver looks for a file of that name first, and would read it: give it one that
     * cannot exist. */
    const char *name = image != NULL ? "/dev/null/in-memory" : path;
    *file = ok ? H5Fcreate(name, H5F_ACC_TRUNC, create, access) : H5I_INVALID_HID;
    enum cask_status st = *file < 0 ? cask_h5_error(err, path, "cannot create") : CASK_OK;
    H5Pclose(access);
    H5Pclose(create);
    return st;
}

enum cask_status cask_h5_close(hid_t *file, const char *path, struct cask_error *err)
{
    herr_t closed = *file >= 0 ? H5Fclose(*file) : 0;
    *file = H5I_INVALID_HID;
    return closed < 0 ? cask_h5_error(err, path, "cannot close") : CASK_OK;
}

enum cask_status cask_h5_create_group(hid_t file, const char *path, const char *name,
                                      struct cask_error *err)
{
    hid_t create = H5Pcreate(H5P_GROUP_CREATE);
    hid_t group = H5I_INVALID_HID;
    /* Links stay in the group's header: h5_locate.c reads no other kind. */
    if (H5Pset_obj_track_times(create, 0) >= 0 && H5Pset_link_phase_change(create, 32, 16) >= 0) {
        group = H5Gcreate2(file, name, H5P_DEFAULT, create, H5P_DEFAULT);
    }
    H5Pclose(create);
    if (group < 0) {
        return cask_h5_error(err, path, name);
    }
    return H5Gclose(group) < 0 ? cask_h5_error(err, path, name) : CASK_OK;
}

/* ---------------------------------------------------------------- attributes */

static herr_t put_attribute(hid_t file, const char *name, hid_t type, int count, const void *data)
{
    hsize_t length = (hsize_t)count;
    hid_t space = count == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &length, NULL);
    hid_t attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    herr_t written = attribute < 0 ? -1 : H5Awrite(attribute, type, data);
    if (attribute >= 0) {
        H5Aclose(attribute);
    }
    H5Sclose(space);
    return written;
}

/* Fixed-length, NUL-terminated: variable-length texts live in a heap of their own, one more thing
 * to break. */
static herr_t put_text(hid_t file, const char *name, const char *text)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, strlen(text) + 1);
    herr_t written = put_attribute(file, name, type, 0, text);
    H5Tclose(type);
    return written;
}

static herr_t put_int(hid_t file, const char *name, int64_t value)
{
    return put_attribute(file, name, H5T_STD_I64LE, 0, &value);
}

static herr_t put_field(hid_t file, const struct cask_manifest_field *field,
                        const struct cask_manifest *manifest)
{
    const char *at = (const char *)manifest + field->offset;
    int number;
    int64_t wide;
    uint32_t word;
    char text[64];
    switch (field->kind) {
    case CASK_KIND_INT:
        memcpy(&number, at, sizeof number);
        return put_int(file, field->name, number);
    case CASK_KIND_INT64:
        memcpy(&wide, at, sizeof wide);
        return put_int(file, field->name, wide);
    case CASK_KIND_U32:
        memcpy(&word, at, sizeof word);
        return put_int(file, field->name, word);
    case CASK_KIND_REAL:
        return put_attribute(file, field->name, H5T_IEEE_F64LE, 0, at);
    case CASK_KIND_REALS:
        return put_attribute(file, field->name, H5T_IEEE_F64LE, manifest->temperature_count, at);
    case CASK_KIND_TYPE:
        return put_text(file, field->name, cask_embedding_type_name(manifest->embedding_type));
    case CASK_KIND_PREPROCESS:
        cask_preprocess_format(&manifest->preprocess, text);
        return put_text(file, field->name, text);
    case CASK_KIND_TEXT:
        return put_text(file, field->name, at);
    case CASK_KIND_PROBE:
        break;
    }
    return -1;
}

enum cask_status cask_h5_put_attributes(hid_t file, const char *path,
                                        const struct cask_manifest *manifest, const char *kind,
                                        int64_t shard, uint64_t rows, struct cask_error *err)
{
    size_t count;
    const struct cask_manifest_field *fields = cask_manifest_fields(&count);
    herr_t ok = put_text(file, "format", "cask");
    for (size_t i = 0; ok >= 0 && i < count; i++) {
        /* The hash of the centres may be known only after the last shard; a probe's last digits
         * are those of one machine. */
        if (fields[i].use == CASK_USE_IDENTITY && fields[i].kind != CASK_KIND_PROBE &&
            strcmp(fields[i].name, "centers_sha256") != 0) {
            ok = put_field(file, &fields[i], manifest);
        }
    }
    ok = ok < 0 ? ok : put_int(file, "minor", CASK_CACHE_MINOR);
    ok = ok < 0 ? ok : put_text(file, "kind", kind);
    ok = ok < 0 ? ok : put_int(file, "shard", shard);
    ok = ok < 0 ? ok : put_int(file, "row_begin", shard * manifest->shard_images);
    ok = ok < 0 ? ok : put_int(file, "row_count", (int64_t)rows);
    return ok < 0 ? cask_h5_error(err, path, "cannot write attributes") : CASK_OK;
}

/* ---------------------------------------------------------------- datasets */

static hid_t dataset_properties(const struct cask_array *array)
{
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    bool ok = create >= 0 && H5Pset_obj_track_times(create, 0) >= 0 &&
              H5Pset_fill_time(create, H5D_FILL_TIME_NEVER) >= 0;
    if (array->storage == CASK_STORAGE_CONTIGUOUS) {
        ok = ok && H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY) >= 0;
    } else {
        hsize_t chunk[2] = {array->chunk_rows, array->row_elements};
        bool rows = array->storage == CASK_STORAGE_ROW_BLOCKS;
        /* cd_values[0]: block size; 0 means one block. */
        unsigned block = rows ? array->row_bytes : 0;
        ok = ok && H5Pset_chunk(create, array->rank, chunk) >= 0 &&
             (rows || H5Pset_shuffle(create) >= 0) &&
             H5Pset_filter(create, CASK_LZ4_FILTER, H5Z_FLAG_MANDATORY, 1, &block) >= 0;
    }
    if (!ok && create >= 0) {
        H5Pclose(create);
        create = H5I_INVALID_HID;
    }
    return create;
}

enum cask_status cask_h5_create_dataset(hid_t file, const char *path,
                                        const struct cask_array *array, uint64_t rows,
                                        hid_t *dataset, struct cask_error *err)
{
    hsize_t shape[2] = {rows, array->row_elements};
    hid_t type = cask_h5_type(array->element);
    hid_t space = H5Screate_simple(array->rank, shape, NULL);
    hid_t create = dataset_properties(array);
    *dataset = H5I_INVALID_HID;
    if (type >= 0 && space >= 0 && create >= 0) {
        *dataset = H5Dcreate2(file, array->name, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    }
    enum cask_status st = *dataset < 0 ? cask_h5_error(err, path, array->name) : CASK_OK;
    H5Tclose(type);
    H5Sclose(space);
    H5Pclose(create);
    return st;
}

enum cask_status cask_h5_write_array(hid_t file, const char *path, const struct cask_array *array,
                                     uint64_t rows, const void *data, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    hid_t dataset = H5I_INVALID_HID, type = cask_h5_type(array->element);
    CASK_TRY(cask_h5_create_dataset(file, path, array, rows, &dataset, err));
    if (H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0) {
        CASK_TRY(cask_h5_error(err, path, array->name));
    }
done:
    H5Tclose(type);
    if (dataset >= 0 && H5Dclose(dataset) < 0 && st == CASK_OK) {
        st = cask_h5_error(err, path, array->name);
    }
    return st;
}
