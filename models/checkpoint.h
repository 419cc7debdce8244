/* models/checkpoint.h - the inside of a checkpoint file, shared by its readers. Private to models/.
 *
 *   checkpoint_open.c sniffs the container, strips prefixes, sorts the names
 *   checkpoint.c      tensors and metadata: added by the readers, found by name
 *   safetensors.c     header JSON + data
 *   torch_zip.c       PyTorch >= 1.6: a zip of data.pkl and one member a storage
 *   torch_legacy.c    PyTorch < 1.6: five pickles, then the storages
 *   torch_pickle.c    pickle values -> tensors, for both
 */
#ifndef CASK_MODELS_CHECKPOINT_H
#define CASK_MODELS_CHECKPOINT_H

#include "common/file.h"
#include "common/mem.h"
#include "common/pickle.h"
#include "models/memory.h"
#include "models/models.h"

enum { CASK_FILE_RANK = 8, CASK_FILE_MAX_TENSORS = 1 << 20 };

/* Tensors, in the order of the file. */
struct cask_tensor_list {
    struct cask_file_tensor *items;
    int count, room;
};

struct cask_checkpoint {
    const char *path; /* for messages */
    const char *container;
    const uint8_t *data;
    size_t bytes;
    struct cask_map map;     /* empty for checkpoints in memory */
    struct cask_arena arena; /* names, metadata, tensors that had to be made contiguous */
    size_t copied_bytes;
    struct cask_tensor_list tensors; /* the network's */
    struct cask_tensor_list others;  /* of other maps in the file, named MAP/KEY: classifiers */
    int *by_name;                    /* indices of `tensors` in name order */
    struct cask_metadata_entry *entries;
    int entry_count, entry_room;
    bool own; /* written by Cask: names are taken as they are */
};

/* Readers of containers: fill tensors, others and metadata. Messages do not name the file. */
enum cask_status cask_safetensors_read(struct cask_checkpoint *c, struct cask_error *err);
enum cask_status cask_torch_zip_read(struct cask_checkpoint *c, struct cask_error *err);
enum cask_status cask_torch_legacy_read(struct cask_checkpoint *c, struct cask_error *err);
/* How the file's metadata wants its pixels; all of it or nothing, then *known is left alone. */
enum cask_status cask_checkpoint_pixels(const struct cask_checkpoint *c,
                                        struct cask_preprocess *preprocess, bool *known,
                                        struct cask_error *err);
enum cask_status cask_file_is_onnx(const char *path, bool *onnx, struct cask_error *err);
bool cask_looks_like_onnx(const uint8_t *data, size_t bytes);
bool cask_torch_legacy_sniff(const uint8_t *data, size_t bytes);

/* Appends a copy of *tensor whose name is copied, too. count is computed here from shape. */
enum cask_status cask_checkpoint_add(struct cask_checkpoint *c, struct cask_tensor_list *list,
                                     const struct cask_file_tensor *tensor, const char *name,
                                     size_t name_bytes, struct cask_error *err);
enum cask_status cask_checkpoint_add_entry(struct cask_checkpoint *c, const char *key,
                                           const char *value, struct cask_error *err);

/* A map of texts, as safetensors' __metadata__. */
struct cask_json;
enum cask_status cask_checkpoint_read_metadata(struct cask_checkpoint *c,
                                               const struct cask_json *metadata,
                                               struct cask_error *err);

size_t cask_file_dtype_size(enum cask_file_dtype dtype);
const char *cask_file_dtype_name(enum cask_file_dtype dtype); /* safetensors' names: "F32", ... */
/* CASK_ERR_FORMAT with the first of a tensor's numbers that is NaN or infinite. Messages do not
 * name the file. */
enum cask_status cask_check_finite(const char *tensor, const float *values, int64_t count,
                                   struct cask_error *err);
/* "64x3x7x7", "scalar"; at most 8 numbers */
void cask_shape_format(const int64_t *shape, int rank, char *buffer, size_t bytes);
/* Product of the shape; false if a size is negative or the bytes of `dtype` overflow int64. */
bool cask_shape_count(const int64_t *shape, int rank, enum cask_file_dtype dtype, int64_t *count);

/* --- PyTorch --- */

/* One storage as a persistent id names it; its bytes are found by the container's reader. */
struct cask_torch_storage {
    const uint8_t *key; /* text in the pickle */
    size_t key_bytes;
    enum cask_file_dtype dtype;
    int64_t numel;
    const uint8_t *data; /* NULL until found */
};
struct cask_torch_storages {
    struct cask_torch_storage *items; /* sorted by key, each once; cask_free */
    size_t count;
};

/* Parses the pickle of the saved object. `used` may be NULL. */
enum cask_status cask_torch_parse(const uint8_t *data, size_t bytes, size_t base,
                                  struct cask_pickle **pickle, size_t *used,
                                  struct cask_error *err);
/* The storages a pickle mentions. */
enum cask_status cask_torch_list_storages(const struct cask_pickle *pickle,
                                          struct cask_torch_storages *storages,
                                          struct cask_error *err);
struct cask_torch_storage *cask_torch_find_storage(const struct cask_torch_storages *storages,
                                                   const uint8_t *key, size_t key_bytes);
/* Chooses the state_dict in the object and fills the checkpoint. */
enum cask_status cask_torch_collect(struct cask_checkpoint *c, const struct cask_pickle *pickle,
                                    const struct cask_torch_storages *storages,
                                    struct cask_error *err);

#endif
