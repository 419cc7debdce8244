/* eval/views.h - filling and combining the embeddings of images and mirrors. Private to eval/. */
#ifndef CASK_EVAL_VIEWS_H
#define CASK_EVAL_VIEWS_H

#include "eval/eval.h"
#include "eval/faces.h"

/* Zeroed rows; the caller releases them also on failure. */
enum cask_status views_create(int64_t images, int dim, bool mirrors, struct cask_views *views,
                              struct cask_error *err);
/* Zeroes the image's rows; the first reason is kept. */
void views_mark_bad(struct cask_views *views, int64_t image, const char *reason);
/* Marks rows that are not finite or all zero. */
void views_check(struct cask_views *views, const struct cask_pairs *pairs);

/* cask_embed_views over faces that are the set's images made ready in some other way. */
enum cask_status views_embed(const struct cask_pairs *pairs, const struct cask_faces *faces,
                             const struct cask_embed_options *options, bool mirrors,
                             struct cask_views *views, struct cask_error *err);

/* *rows: [images][*dim] double, e as `flip` says, not of unit length; caller frees. A flip that
 * needs mirrors where there are none is CASK_ERR_RANGE. */
enum cask_status views_rows(const struct cask_views *views, enum cask_flip flip, double **rows,
                            int *dim, struct cask_error *err);

/* CASK_ERR_FORMAT with the first reason and the count, if any image is bad. */
enum cask_status views_refuse_bad(const struct cask_views *views, struct cask_error *err);

#endif
