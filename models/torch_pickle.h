/* models/torch_pickle.h - pickle values as tensors; used by torch_state.c. Private to models/. */
#ifndef CASK_MODELS_TORCH_PICKLE_H
#define CASK_MODELS_TORCH_PICKLE_H

#include "models/checkpoint.h"

bool cask_torch_is_tensor(const struct cask_pickle_value *value);
/* Fills *tensor without its name; copies only what is not contiguous. Needs a value that is a
 * tensor. */
enum cask_status cask_torch_tensor(struct cask_checkpoint *c,
                                   const struct cask_torch_storages *storages,
                                   const struct cask_pickle_value *value,
                                   struct cask_file_tensor *tensor, struct cask_error *err);
/* The error for a file in which no tensors were found: names the first foreign class, if any. */
enum cask_status cask_torch_refuse_objects(const struct cask_pickle *pickle,
                                           struct cask_error *err);

#endif
