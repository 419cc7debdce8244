/* models/memory.h - files that are in memory already. Private to models/ and its fuzz targets.
 * `data` is borrowed; messages of the ONNX calls do not name a file. */
#ifndef CASK_MODELS_MEMORY_H
#define CASK_MODELS_MEMORY_H

#include "models/models.h"

enum cask_status cask_checkpoint_open_memory(const char *name, const void *data, size_t bytes,
                                             struct cask_checkpoint **checkpoint,
                                             struct cask_error *err);
enum cask_status cask_onnx_open_memory(struct cask_device *device, const void *data, size_t bytes,
                                       struct cask_model *model, bool *normalises,
                                       struct cask_error *err);

#endif
