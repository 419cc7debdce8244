/* cache/shard_write.c - composes and publishes one shard: chunks are encoded by the pool, handed to
 * H5Dwrite_chunk in order by one thread, and the finished image is indexed, hashed and published.
 */
#include "cache/shard_write.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cache/h5_file.h"
#include "cache/h5_locate.h"
#include "cache/lz4_frame.h"
#include "cache/sidecar.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/mem.h"

/* Chunks that the pool encodes at a time: enough for any pool, little enough to stay in cache. */
enum { BATCH = 32 };

struct encoder {
    const struct cask_array *array;
    const uint8_t *rows; /* of the batch's first chunk */
    uint8_t *frames;     /* BATCH x frame_room */
    uint8_t *planes;     /* one shuffled chunk per worker */
    size_t frame_room, chunk_bytes, frame_bytes[BATCH];
};

static void encode_chunk(void *user, int64_t index, int worker)
{
    struct encoder *encoder = user;
    const struct cask_array *array = encoder->array;
    const uint8_t *raw = encoder->rows + (size_t)index * encoder->chunk_bytes;
    uint8_t *frame = encoder->frames + (size_t)index * encoder->frame_room;
    if (array->storage == CASK_STORAGE_ROW_BLOCKS) {
        encoder->frame_bytes[index] =
            cask_lz4_frame_store(raw, encoder->chunk_bytes, array->row_bytes, frame);
        return;
    }
    uint8_t *planes = encoder->planes + (size_t)worker * encoder->chunk_bytes;
    cask_shuffle(raw, encoder->chunk_bytes, cask_element_bytes(array->element), planes);
    encoder->frame_bytes[index] = cask_lz4_frame_encode(planes, encoder->chunk_bytes, frame);
}

static enum cask_status write_batch(hid_t dataset, const char *path, const struct encoder *encoder,
                                    uint32_t first, uint32_t count, struct cask_error *err)
{
    for (uint32_t i = 0; i < count; i++) {
        hsize_t offset[2] = {(hsize_t)(first + i) * encoder->array->chunk_rows, 0};
        const uint8_t *frame = encoder->frames + i * encoder->frame_room;
        if (H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, offset, encoder->frame_bytes[i], frame) < 0) {
            return cask_h5_error(err, path, encoder->array->name);
        }
    }
    return CASK_OK;
}

static enum cask_status write_chunked(hid_t file, const char *path, const struct cask_array *array,
                                      uint64_t rows, const uint8_t *data, struct cask_pool *pool,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    hid_t dataset = H5I_INVALID_HID;
    struct encoder encoder = {.array = array};
    encoder.chunk_bytes = cask_array_chunk_raw(array, rows);
    encoder.frame_room = cask_array_chunk_bound(array, rows);
    encoder.frames = cask_alloc(BATCH, encoder.frame_room);
    encoder.planes = cask_alloc((size_t)cask_pool_threads(pool), encoder.chunk_bytes);
    if (encoder.frames == NULL || encoder.planes == NULL) {
        CASK_TRY(cask_error_memory(err, BATCH * encoder.frame_room, array->name));
    }
    CASK_TRY(cask_h5_create_dataset(file, path, array, rows, &dataset, err));
    for (uint32_t c = 0; c < array->chunks; c += BATCH) {
        uint32_t count = array->chunks - c < BATCH ? array->chunks - c : BATCH;
        encoder.rows = data + (size_t)c * encoder.chunk_bytes;
        cask_pool_run(pool, count, encode_chunk, &encoder);
        CASK_TRY(write_batch(dataset, path, &encoder, c, count, err));
    }
done:
    cask_free(encoder.frames);
    cask_free(encoder.planes);
    if (dataset >= 0 && H5Dclose(dataset) < 0 && st == CASK_OK) {
        st = cask_h5_error(err, path, array->name);
    }
    return st;
}

/* The whole HDF5 file in memory; image->data is the caller's. */
static enum cask_status compose(const char *path, const struct cask_manifest *manifest,
                                int64_t shard, const struct cask_layout *layout,
                                uint8_t *const *arrays, struct cask_pool *pool,
                                struct cask_h5_image *image, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    hid_t file = H5I_INVALID_HID;
    CASK_TRY(cask_h5_register_lz4(err));
    CASK_TRY(cask_h5_create(path, image, (size_t)cask_layout_file_bound(layout), &file, err));
    CASK_TRY(cask_h5_put_attributes(file, path, manifest, "shard", shard, layout->rows, err));
    CASK_TRY(cask_h5_create_group(file, path, "orig", err));
    CASK_TRY(cask_h5_create_group(file, path, "hflip", err));
    for (int i = 0; i < layout->array_count; i++) {
        const struct cask_array *array = &layout->arrays[i];
        if (array->row_elements == 0) {
            continue;
        }
        if (array->storage == CASK_STORAGE_CONTIGUOUS) {
            CASK_TRY(cask_h5_write_array(file, path, array, layout->rows, arrays[i], err));
        } else {
            CASK_TRY(write_chunked(file, path, array, layout->rows, arrays[i], pool, err));
        }
    }
    CASK_TRY(cask_h5_close(&file, path, err));
done:
    if (file >= 0) {
        struct cask_error ignored;
        cask_h5_close(&file, path, &ignored);
    }
    return st;
}

/* Indexes the file's bytes and publishes the sidecar. */
static enum cask_status write_sidecar(const char *path, const uint8_t *file, size_t bytes,
                                      enum cask_sidecar_kind kind, int64_t shard,
                                      const struct cask_layout *layout, struct cask_record *record,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    uint8_t *data = NULL;
    struct cask_sidecar sidecar = {.kind = kind, .shard = (uint32_t)shard, .file_bytes = bytes};
    CASK_TRY(cask_sidecar_allocate(&sidecar, layout, err));
    CASK_TRY(cask_h5_locate(file, bytes, layout, sidecar.chunks, err));
    cask_sidecar_hash(&sidecar, layout, file);
    sidecar.file_xxh3 = cask_xxh3(file, bytes);
    size_t index_bytes = 0;
    CASK_TRY(cask_sidecar_encode(&sidecar, layout, &data, &index_bytes, err));
    record->bytes = bytes;
    record->index_bytes = index_bytes;
    record->index_xxh3 = cask_xxh3(data, index_bytes);
    CASK_TRY(cask_file_write_all(path, data, index_bytes, err));
done:
    cask_sidecar_release(&sidecar);
    cask_free(data);
    return st;
}

enum cask_status cask_shard_write(const char *stem, const struct cask_manifest *manifest,
                                  int64_t shard, const struct cask_layout *layout,
                                  uint8_t *const *arrays, struct cask_pool *pool,
                                  struct cask_record *record, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_h5_image image = {0};
    size_t bytes;
    char *path = cask_format("%s.h5", stem), *index_path = cask_format("%s.idx", stem);
    if (path == NULL || index_path == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(stem), "file name"));
    }
    CASK_TRY(compose(path, manifest, shard, layout, arrays, pool, &image, err));
    bytes = cask_h5_image_bytes(&image);
    CASK_TRY(cask_file_write_all(path, image.data, bytes, err));
    CASK_TRY(write_sidecar(index_path, image.data, bytes, CASK_SIDECAR_SHARD, shard, layout, record,
                           err));
done:
    cask_free(image.data);
    cask_free(path);
    cask_free(index_path);
    return st;
}

enum cask_status cask_centers_write(const char *stem, const struct cask_manifest *manifest,
                                    const float *centers, struct cask_record *record,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    hid_t file = H5I_INVALID_HID;
    struct cask_map map = {0};
    struct cask_layout layout;
    char *path = cask_format("%s.h5", stem),
         *temp = cask_format("%s.h5.tmp.%ld", stem, (long)getpid()),
         *index_path = cask_format("%s.idx", stem);
    if (path == NULL || temp == NULL || index_path == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(stem), "file name"));
    }
    cask_layout_centers(manifest, &layout);
    CASK_TRY(cask_h5_create(temp, NULL, 0, &file, err));
    CASK_TRY(cask_h5_put_attributes(file, path, manifest, "centers", 0, layout.rows, err));
    CASK_TRY(cask_h5_write_array(file, path, &layout.arrays[0], layout.rows, centers, err));
    CASK_TRY(cask_h5_close(&file, path, err));
    CASK_TRY(cask_map_open(&map, temp, err));
    CASK_TRY(write_sidecar(index_path, map.data, map.bytes, CASK_SIDECAR_CENTERS, 0, &layout,
                           record, err));
    CASK_TRY(cask_file_publish(temp, path, err));
done:
    if (file >= 0) {
        struct cask_error ignored;
        cask_h5_close(&file, path, &ignored);
    }
    if (st != CASK_OK && temp != NULL) {
        unlink(temp);
    }
    cask_map_close(&map);
    cask_free(path);
    cask_free(temp);
    cask_free(index_path);
    return st;
}
