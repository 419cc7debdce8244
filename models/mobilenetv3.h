/* models/mobilenetv3.h - the table of MobileNetV3-Large (Howard et al. 2019, arXiv 1905.02244),
 * which all its face recognition forms share. Private to models/.
 *
 *   mobilenetv3.c              cavaface
 *   mobilenetv3_torchvision.c  torchvision, and yakhyo/face-recognition, which builds on it
 */
#ifndef CASK_MODELS_MOBILENETV3_H
#define CASK_MODELS_MOBILENETV3_H

#include "models/graph.h"

struct cask_v3_row {
    int kernel, expansion, out_c, squeezed; /* squeezed 0: no gate */
    bool swish;                             /* the paper's nonlinearity: hard swish, else ReLU */
    int stride;
};
enum { CASK_V3_ROWS = 15, CASK_V3_STEM = 16 };
extern const struct cask_v3_row cask_v3_rows[CASK_V3_ROWS];

/* y + x where the row changes neither size nor channels, else y. */
int cask_v3_residual(struct cask_graph *graph, int x, int y, const struct cask_v3_row *row,
                     const char *path);

#endif
