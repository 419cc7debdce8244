/* data/pairs_impl.h - what a kind of verification set provides. Private to data/. */
#ifndef CASK_DATA_PAIRS_IMPL_H
#define CASK_DATA_PAIRS_IMPL_H

#include "data/data.h"

struct cask_pairs_ops {
    void (*close)(struct cask_pairs *pairs); /* the kind's own parts and the struct */
    void (*image_name)(const struct cask_pairs *pairs, int64_t image, char *buffer, size_t bytes);
    enum cask_status (*read)(const struct cask_pairs *pairs, int64_t image,
                             struct cask_encoded *encoded, struct cask_error *err);
    uint64_t (*key)(const struct cask_pairs *pairs, int64_t image);
};

struct cask_pairs {
    const struct cask_pairs_ops *ops;
    char *name; /* owned */
    int folds;
    int64_t count, image_count;
    struct cask_pair *pairs; /* [count], owned */
};

/* "dir/lfw.bin" gives "lfw"; NULL: no memory. */
char *cask_pairs_name_of(const char *path);

/* folder may be NULL. *out is left alone on failure. */
enum cask_status cask_pairs_open_lfw(const char *path, const char *folder, struct cask_pairs **out,
                                     struct cask_error *err);
enum cask_status cask_pairs_open_csv(const char *path, const char *folder, struct cask_pairs **out,
                                     struct cask_error *err);

#endif
