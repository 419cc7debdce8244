/* eval/embeddings.h - the embeddings of a large protocol: made by a model and kept in a folder, or
 * read from a .npy matrix. Private to eval/. */
#ifndef CASK_EVAL_EMBEDDINGS_H
#define CASK_EVAL_EMBEDDINGS_H

#include "common/npy.h"
#include "eval/command.h"
#include "eval/faces.h"
#include "eval/findings.h"

enum bad_policy { BAD_STOP, BAD_LEAVE_OUT };
extern const char *const bad_policy_names[]; /* for a config row */

struct embeddings {
    struct cask_rows rows; /* [images][views * D]; valid while open */
    int views;
    struct cask_npy npy;
    struct cask_store *store;
};

/* Runs the model over the faces, or goes on where a killed run stopped. list: fingerprint of the
 * faces; how: how their pixels are made. Bad images are findings, and with BAD_STOP an error that
 * comes when all are known. */
enum cask_status embeddings_make(struct opened_model *model, const struct model_options *options,
                                 const struct cask_faces *faces, const char *list, const char *how,
                                 int views, const char *folder, enum bad_policy policy,
                                 struct findings *findings, struct embeddings *out,
                                 struct cask_error *err);
/* Rows of a matrix of `images` rows. */
enum cask_status embeddings_read(const char *path, int64_t images, int views,
                                 struct embeddings *out, struct cask_error *err);
void embeddings_close(struct embeddings *embeddings); /* accepts a zeroed one */

#endif
