/* models/detect.h - which network a checkpoint belongs to, from its metadata or its key set.
 * Private to models/. */
#ifndef CASK_MODELS_DETECT_H
#define CASK_MODELS_DETECT_H

#include "models/models.h"

struct cask_detected {
    char network[32]; /* a registry name; "" if the registry has none for it */
    int embedding;    /* 0: unknown, like width and height */
    int width, height;
    const char *family; /* for messages; NULL: nothing known */
};
void cask_detect(const struct cask_checkpoint *checkpoint, struct cask_detected *detected);

#endif
