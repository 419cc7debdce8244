/* eval/megaface_images.h - MegaFace's two sets of images, and a model's embeddings of one. Private
 * to eval/. */
#ifndef CASK_EVAL_MEGAFACE_IMAGES_H
#define CASK_EVAL_MEGAFACE_IMAGES_H

#include "eval/embeddings.h"
#include "eval/megaface.h"

/* The same for every model. Texts are borrowed. */
struct megaface_images {
    const char *what; /* "facescrub", "megaface": also its folder below a model's `work` */
    const char *list_path, *folder, *noise_path; /* noise_path: "" for none */
    struct cask_name_list list;
    struct cask_noise noise;
};
/* The lists. limit: only the first so many images; 0: all. */
enum cask_status megaface_images_open(struct megaface_images *images, int64_t limit,
                                      struct cask_error *err);
void megaface_images_close(struct megaface_images *images); /* accepts a zeroed one */

/* Where a model's embeddings come from: feature files, matrices, or the model itself. Texts are
 * borrowed; "" is not given. */
struct megaface_source {
    const char *features;                   /* suffix of the devkit's files */
    const char *probe_npy, *distractor_npy; /* both or none */
    struct model_options model;             /* with */
    const char *work;                       /* a folder for its embeddings */
    int views;                              /* in a row of a matrix */
    bool flip;                              /* add the mirror's embedding */
    enum bad_policy bad_images;
    struct opened_model opened;
};
/* How many of the three are given. folders: there are folders of images or features. */
int megaface_source_kinds(const struct megaface_source *source, bool folders);
const char *megaface_source_name(const struct megaface_source *source);

struct megaface_rows {
    struct cask_feature_files files;
    struct embeddings embeddings;
    struct cask_rows_view view;
    struct cask_rows rows; /* one view; refers to the struct, which stays where it is */
};
/* npy: the matrix of these images. A model is opened before. */
enum cask_status megaface_rows_open(struct megaface_source *source,
                                    const struct megaface_images *images, const char *npy,
                                    struct findings *findings, struct megaface_rows *rows,
                                    struct cask_error *err);
void megaface_rows_close(struct megaface_rows *rows); /* accepts a zeroed one */

#endif
