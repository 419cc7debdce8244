/* eval/masked.h - verification of masked faces: the pairs of a set with drawn masks. */
#ifndef CASK_EVAL_MASKED_H
#define CASK_EVAL_MASKED_H

#include "eval/eval.h"

/* Landmarks of every image of a set, by a text file "name x1 y1 ... x5 y5" in any order; names are
 * those of cask_pairs_image_name; lines about other images are passed over and counted in the log.
 * CASK_ERR_MISMATCH: images without a line (the first, and how many). Caller frees *points with
 * cask_free. */
enum cask_status cask_landmarks_read(const char *path, const struct cask_pairs *pairs,
                                     struct cask_landmarks **points, struct cask_error *err);

struct cask_masked_options {
    enum cask_mask_rule rule;
    uint64_t seed; /* of the masks; the image's index in the plain set is the other half */
    /* [images of the plain set], or NULL: faces are aligned, so the points are the template's */
    const struct cask_landmarks *points;
};

struct cask_masked_result {
    struct cask_set_result set; /* k-fold, ROC, ... */
    /* Percent. Lowest FNMR at FMR <= 1 % and <= 0.1 %; EER; and a plain ratio: FDR = (mean_g -
     * mean_i)^2 / (var_g + var_i). Cosines of all pairs without bad images. */
    double fmr100, fmr1000, eer, fdr;
    int64_t masked_images;
    char line[300]; /* the protocol */
};

/* `pairs` is the plain set. verify->pixels and verify->flip say how embeddings are made. */
enum cask_status cask_evaluate_masked(const struct cask_pairs *pairs,
                                      const struct cask_embed_options *embed,
                                      const struct cask_masked_options *masked,
                                      const struct cask_verify_options *verify,
                                      struct cask_masked_result *out, struct cask_error *err);

#endif
