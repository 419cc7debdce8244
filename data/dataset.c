/* data/dataset.c - what all kinds of dataset have in common. */
#include <string.h>
#include <strings.h>

#include "data/dataset_impl.h"

bool cask_label_from_real(double value, uint32_t *label)
{
    if (!(value >= 0 && value <= 2147483647.0) || value != (double)(uint32_t)value) {
        return false;
    }
    *label = (uint32_t)value;
    return true;
}

bool cask_name_is_image(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL && dot != name &&
           (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0 ||
            strcasecmp(dot, ".png") == 0);
}

void cask_dataset_close(struct cask_dataset *dataset)
{
    if (dataset != NULL) {
        dataset->ops->close(dataset);
    }
}

const char *cask_dataset_kind(const struct cask_dataset *dataset)
{
    return dataset->ops->kind;
}

int64_t cask_dataset_count(const struct cask_dataset *dataset)
{
    return dataset->count;
}

int64_t cask_dataset_classes(const struct cask_dataset *dataset)
{
    return dataset->classes;
}

uint32_t cask_dataset_label(const struct cask_dataset *dataset, int64_t index)
{
    return dataset->labels != NULL ? dataset->labels[index] : CASK_NO_LABEL;
}

uint64_t cask_dataset_id(const struct cask_dataset *dataset, int64_t index)
{
    return dataset->ops->id != NULL ? dataset->ops->id(dataset, index) : (uint64_t)index;
}

uint64_t cask_dataset_offset(const struct cask_dataset *dataset, int64_t index)
{
    return dataset->ops->offset != NULL ? dataset->ops->offset(dataset, index) : 0;
}

void cask_dataset_name(const struct cask_dataset *dataset, int64_t index, char *buffer,
                       size_t bytes)
{
    dataset->ops->name(dataset, index, buffer, bytes);
}

enum cask_status cask_dataset_read(const struct cask_dataset *dataset, int64_t index,
                                   struct cask_encoded *encoded, struct cask_error *err)
{
    if (index < 0 || index >= dataset->count) {
        return cask_error_set(err, CASK_ERR_RANGE, "image %lld of a dataset of %lld images",
                              (long long)index, (long long)dataset->count);
    }
    return dataset->ops->read(dataset, index, encoded, err);
}
