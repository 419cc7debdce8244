#include "common/preprocess.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cask_preprocess cask_preprocess_default(void)
{
    return (struct cask_preprocess){CASK_RGB, 127.5, 127.5, 112, 112};
}

enum cask_status cask_preprocess_parse(const char *text, struct cask_preprocess *out,
                                       struct cask_error *err)
{
    char order[4] = "", tail = 0;
    double mean = 0, scale = 0;
    if (sscanf(text, "%3[rgb]:%lf:%lf%c", order, &mean, &scale, &tail) != 3 ||
        (strcmp(order, "rgb") != 0 && strcmp(order, "bgr") != 0) || !isfinite(mean) ||
        !(fabs(scale) > 1e-6 && fabs(scale) < 1e6)) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "preprocess: expected rgb:MEAN:SCALE or bgr:MEAN:SCALE, such as "
                              "rgb:127.5:127.5; found '%s'",
                              text);
    }
    out->order = order[0] == 'r' ? CASK_RGB : CASK_BGR;
    out->mean = mean;
    out->scale = scale;
    return CASK_OK;
}

void cask_preprocess_format(const struct cask_preprocess *preprocess, char buffer[64])
{
    snprintf(buffer, 64, "%s:%.10g:%.10g", preprocess->order == CASK_RGB ? "rgb" : "bgr",
             preprocess->mean, preprocess->scale);
}

bool cask_preprocess_equal(const struct cask_preprocess *a, const struct cask_preprocess *b)
{
    return a->order == b->order && a->mean == b->mean && a->scale == b->scale &&
           a->width == b->width && a->height == b->height;
}
