#include "eval/views.h"

#include "common/mem.h"
#include "eval/trial.h"

enum cask_status views_rows(const struct cask_views *views, enum cask_flip flip, double **rows,
                            int *dim, struct cask_error *err)
{
    int d = views->dim, width = flip == CASK_FLIP_CONCAT ? 2 * d : d;
    const float *f = views->view[0], *g = views->view[1];
    if (g == NULL && flip != CASK_FLIP_NONE) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "flip-sum and concatenation need embeddings of the mirrored images, "
                              "found none; set --flip none");
    }
    *rows = cask_alloc((size_t)views->images * (size_t)width, sizeof **rows);
    if (*rows == NULL) {
        return cask_error_memory(err, (size_t)views->images * (size_t)width * 8, "embeddings");
    }
    for (int64_t r = 0; r < views->images; r++) {
        double *row = *rows + r * width;
        for (int i = 0; i < d; i++) {
            row[i] = (double)f[r * d + i];
            if (flip == CASK_FLIP_SUM) {
                row[i] += (double)g[r * d + i];
            } else if (flip == CASK_FLIP_CONCAT) {
                row[d + i] = (double)g[r * d + i];
            }
        }
    }
    *dim = width;
    return CASK_OK;
}

enum cask_status views_refuse_bad(const struct cask_views *views, struct cask_error *err)
{
    if (views->bad_count == 0) {
        return CASK_OK;
    }
    char others[64] = "";
    if (views->bad_count > 1) {
        snprintf(others, sizeof others, "; and %lld more images", (long long)views->bad_count - 1);
    }
    return cask_error_set(err, CASK_ERR_FORMAT, "%s%s", views->first_bad, others);
}

enum cask_status cask_embed_pairs(const struct cask_pairs *pairs,
                                  const struct cask_embed_options *options, double **embeddings,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_views views = {0};
    enum cask_flip flip = options->flip == CASK_FLIP_PROTOCOL ? CASK_FLIP_SUM : options->flip;
    int dim = 0;
    CASK_TRY(cask_embed_views(pairs, options, flip != CASK_FLIP_NONE, &views, err));
    CASK_TRY(views_refuse_bad(&views, err));
    CASK_TRY(views_rows(&views, flip, embeddings, &dim, err));
    unit_rows(*embeddings, views.images, dim);
done:
    cask_views_release(&views);
    return st;
}
