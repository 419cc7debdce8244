#include "eval/masked.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "eval/faces.h"
#include "eval/rates.h"
#include "eval/trial.h"
#include "eval/views.h"

/* The images of a masked set: those of the plain one, painted where the set says so. */
struct masked_faces {
    const struct cask_pairs *masked;
    struct cask_faces plain;
    const struct cask_masked_options *options;
    struct cask_landmarks target;
};

static void name(const void *user, int64_t image, char *buffer, size_t bytes)
{
    cask_pairs_image_name(((const struct masked_faces *)user)->masked, image, buffer, bytes);
}

static enum cask_status load(const void *user, int64_t image, struct cask_face_tools *tools,
                             int width, int height, uint8_t *rgb, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct masked_faces *faces = user;
    bool wears_mask;
    int64_t plain = cask_pairs_plain_image(faces->masked, image, &wears_mask);
    CASK_TRY(faces->plain.load(faces->plain.user, plain, tools, width, height, rgb, err));
    if (wears_mask) {
        const struct cask_landmarks *points =
            faces->options->points != NULL ? &faces->options->points[plain] : &faces->target;
        st = cask_mask_draw(rgb, width, height, points, faces->options->seed, (uint64_t)plain, err);
        if (st != CASK_OK) {
            char text[256];
            name(user, image, text, sizeof text);
            cask_error_prefix(err, "%s", text);
        }
    }
done:
    return st;
}

static int64_t count_masked(const struct cask_pairs *masked)
{
    int64_t count = 0;
    for (int64_t i = 0; i < cask_pairs_image_count(masked); i++) {
        bool wears_mask;
        cask_pairs_plain_image(masked, i, &wears_mask);
        count += wears_mask;
    }
    return count;
}

/* Cosines of the pairs, split by their truth. */
static enum cask_status collect_scores(const struct cask_pairs *pairs,
                                       const struct cask_views *views, enum cask_flip flip,
                                       struct cask_scores *scores, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    double *rows = NULL;
    int dim = 0;
    size_t count = (size_t)cask_pairs_count(pairs);
    CASK_TRY(views_rows(views, flip, &rows, &dim, err));
    unit_rows(rows, views->images, dim);
    scores->genuine = cask_alloc(count, sizeof *scores->genuine);
    scores->impostor = cask_alloc(count, sizeof *scores->impostor);
    if (scores->genuine == NULL || scores->impostor == NULL) {
        CASK_TRY(cask_error_memory(err, count * 2 * sizeof(double), "scores"));
    }
    for (size_t i = 0; i < count; i++) {
        const struct cask_pair *pair = cask_pairs_at(pairs, (int64_t)i);
        double score = cask_dot(rows + pair->a * dim, rows + pair->b * dim, dim);
        if (views->bad[pair->a] || views->bad[pair->b]) {
            continue; /* counted by cask_verify */
        }
        if (pair->same) {
            scores->genuine[scores->genuine_count++] = score;
        } else {
            scores->impostor[scores->impostor_count++] = score;
        }
    }
    CASK_TRY(cask_scores_sort(scores, err));
done:
    cask_free(rows);
    return st;
}

static void set_rates(const struct cask_scores *scores, struct cask_masked_result *out)
{
    out->fmr100 = 100 * (1 - cask_rate_strict(scores, 0.01).tpr);
    out->fmr1000 = 100 * (1 - cask_rate_strict(scores, 0.001).tpr);
    out->eer = 100 * cask_equal_error_rate(scores).rate;
    out->fdr = cask_fisher_ratio(scores);
}

enum cask_status cask_evaluate_masked(const struct cask_pairs *pairs,
                                      const struct cask_embed_options *embed,
                                      const struct cask_masked_options *masked,
                                      const struct cask_verify_options *verify,
                                      struct cask_masked_result *out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_pairs *worn = NULL;
    struct cask_views views = {0};
    struct cask_scores scores = {0};
    struct masked_faces user = {.plain = cask_faces_of_pairs(pairs), .options = masked};
    enum cask_flip flip = verify->flip == CASK_FLIP_PROTOCOL ? CASK_FLIP_SUM : verify->flip;
    CASK_TRY(cask_landmarks_target(embed->preprocess.width, embed->preprocess.height, &user.target,
                                   err));
    CASK_TRY(cask_pairs_open_masked(pairs, masked->rule, &worn, err));
    user.masked = worn;
    struct cask_faces faces = {cask_pairs_image_count(worn), &user, name, load};
    CASK_TRY(views_embed(worn, &faces, embed, flip != CASK_FLIP_NONE, &views, err));
    CASK_TRY(cask_verify(worn, &views, NULL, verify, &out->set, NULL, err));
    CASK_TRY(collect_scores(worn, &views, flip, &scores, err));
    set_rates(&scores, out);
    out->masked_images = count_masked(worn);
    snprintf(out->line, sizeof out->line, "%s, masks %s, seed %llu, landmarks %s",
             out->set.protocol, cask_mask_rule_names[masked->rule],
             (unsigned long long)masked->seed,
             masked->points != NULL ? "of a file" : "of the template");
done:
    cask_scores_release(&scores);
    cask_views_release(&views);
    cask_pairs_close(worn);
    return st;
}
