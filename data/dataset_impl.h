/* data/dataset_impl.h - what a kind of dataset provides. Private to data/.
 *
 * A kind embeds `struct cask_dataset` as its first member and fills count, labels and ops in its
 * open function; dataset_open.c chooses the kind, dataset.c does the rest.
 */
#ifndef CASK_DATA_DATASET_IMPL_H
#define CASK_DATA_DATASET_IMPL_H

#include "data/data.h"

struct cask_dataset_ops {
    const char *kind;
    void (*close)(struct cask_dataset *dataset); /* frees everything, the struct too */
    uint64_t (*id)(const struct cask_dataset *dataset, int64_t index);     /* NULL: the index */
    uint64_t (*offset)(const struct cask_dataset *dataset, int64_t index); /* NULL: 0 */
    void (*name)(const struct cask_dataset *dataset, int64_t index, char *buffer, size_t bytes);
    enum cask_status (*read)(const struct cask_dataset *dataset, int64_t index,
                             struct cask_encoded *encoded, struct cask_error *err);
};

struct cask_dataset {
    const struct cask_dataset_ops *ops;
    int64_t count;
    int64_t classes;  /* set by dataset_open.c from the labels */
    uint32_t *labels; /* [count], owned; NULL: unlabelled */
};

enum cask_status cask_dataset_open_folder(const char *path,
                                          const struct cask_dataset_options *options,
                                          struct cask_dataset **dataset, struct cask_error *err);
enum cask_status cask_dataset_open_list(const char *path,
                                        const struct cask_dataset_options *options,
                                        struct cask_dataset **dataset, struct cask_error *err);
enum cask_status cask_dataset_open_record(const char *path,
                                          const struct cask_dataset_options *options,
                                          struct cask_dataset **dataset, struct cask_error *err);

/* Labels are class indices: integers from 0 to 2^31 - 1. False for anything else, NaN too. */
bool cask_label_from_real(double value, uint32_t *label);
/* .jpg, .jpeg or .png in any case */
bool cask_name_is_image(const char *name);

/* Makes room for `bytes`; what was in the buffer is lost. */
enum cask_status cask_encoded_reserve(struct cask_encoded *encoded, size_t bytes,
                                      struct cask_error *err);

#endif
