/* train/losses/counted.h - memory that is counted, for what the criterion logs. */
#ifndef CASK_TRAIN_LOSSES_COUNTED_H
#define CASK_TRAIN_LOSSES_COUNTED_H

#include <string.h>

#include "common/mem.h"
#include "common/status.h"

/* Zeroed memory into *slot, a pointer of any type, and its size onto *bytes; on failure both are
 * left alone. cask_free. */
static inline enum cask_status counted_alloc(size_t *bytes, size_t count, size_t size,
                                             const char *what, void *slot, struct cask_error *err)
{
    void *memory = cask_alloc(count, size);
    if (memory == NULL) {
        return cask_error_memory(err, count * size, what);
    }
    *bytes += count * size;
    memcpy(slot, &memory, sizeof memory);
    return CASK_OK;
}

#endif
