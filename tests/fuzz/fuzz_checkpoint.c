/* Any bytes as a checkpoint: opened, every tensor converted, network and classifier looked for. */
#include "common/mem.h"
#include "models/detect.h"
#include "models/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct cask_error err;
    struct cask_checkpoint *checkpoint = NULL;
    struct cask_detected detected;
    float *centers = NULL;
    int64_t classes = 0;
    if (cask_checkpoint_open_memory("fuzz", data, bytes, &checkpoint, &err) != CASK_OK) {
        return 0;
    }
    for (int i = 0; i < cask_checkpoint_count(checkpoint); i++) {
        const struct cask_file_tensor *tensor = cask_checkpoint_tensor(checkpoint, i);
        float *values = cask_alloc((size_t)tensor->count, sizeof *values);
        if (values != NULL) {
            (void)cask_file_tensor_to_f32(tensor, values, &err);
        }
        cask_free(values);
    }
    cask_detect(checkpoint, &detected);
    (void)cask_checkpoint_classifier(checkpoint, 4, &centers, &classes, &err);
    cask_free(centers);
    cask_checkpoint_close(checkpoint);
    return 0;
}
