/* models/torch_write.h - a state_dict as torch.save writes it. Private to models/. */
#ifndef CASK_MODELS_TORCH_WRITE_H
#define CASK_MODELS_TORCH_WRITE_H

#include "common/text.h"
#include "models/models.h"

/* data.pkl: an OrderedDict of tensors, the i-th of which is all of storage "i". Pickle protocol 2.
 * Types other than F32, F16, F64 and I64 are CASK_ERR_UNSUPPORTED. */
enum cask_status cask_torch_pickle(const struct cask_file_tensor *tensors, int count,
                                   struct cask_text *pickle, struct cask_error *err);

/* PyTorch's zip: PREFIX/data.pkl, PREFIX/data/N, PREFIX/version, and PREFIX/metadata.json with the
 * entries, which PyTorch does not look at and cask_checkpoint_metadata finds again. */
enum cask_status cask_torch_write(const char *path, const struct cask_file_tensor *tensors,
                                  int count, const struct cask_metadata_entry *entries,
                                  int entry_count, struct cask_error *err);

#endif
