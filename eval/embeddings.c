#include "eval/embeddings.h"

#include <stdio.h>

#include "common/hash.h"

const char *const bad_policy_names[] = {"stop", "leave-out", NULL};

static enum cask_status check_bad(const struct cask_store *store, const char *folder,
                                  enum bad_policy policy, struct findings *findings,
                                  struct cask_error *err)
{
    int64_t bad = cask_store_bad_count(store);
    findings_add(findings, "bad images, left out", bad, "%s", cask_store_first_bad(store));
    if (bad > 0 && policy == BAD_STOP) {
        return cask_error_set(
            err, CASK_ERR_FORMAT,
            "%lld image(s) could not be embedded, the first: %s; %s/journal.jsonl "
            "names all; repair them and remove the folder, or set --bad-images "
            "leave-out",
            (long long)bad, cask_store_first_bad(store), folder);
    }
    return CASK_OK;
}

enum cask_status embeddings_make(struct opened_model *model, const struct model_options *options,
                                 const struct cask_faces *faces, const char *list, const char *how,
                                 int views, const char *folder, enum bad_policy policy,
                                 struct findings *findings, struct embeddings *out,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_embedder *embedder = NULL;
    struct cask_embedder_options embedder_options = {model->model.net, model->preprocess, views,
                                                     (int)options->batch, (int)options->threads};
    char weights[CASK_SHA256_HEX], pixels[300], spec[64], precision[64];
    CASK_TRY(cask_net_fingerprint(model->model.net, weights, err));
    cask_preprocess_format(&model->preprocess, spec);
    snprintf(pixels, sizeof pixels, "%s %dx%d, %s, %s", spec, model->preprocess.width,
             model->preprocess.height, how, cask_decoder_describe());
    snprintf(precision, sizeof precision, "%s %s", options->backend,
             cask_dtype_name(cask_device_activation_dtype(model->device)));
    CASK_TRY(cask_embedder_open(faces, &embedder_options, &embedder, err));
    struct cask_store_identity identity = {
        weights, list, pixels, precision, faces->count, cask_embedder_columns(embedder), views};
    CASK_TRY(cask_store_open(folder, &identity, &out->store, err));
    CASK_TRY(cask_store_fill(out->store, embedder, err));
    out->rows = cask_store_rows(out->store);
    out->views = views;
    CASK_TRY(check_bad(out->store, folder, policy, findings, err));
done:
    cask_embedder_close(embedder);
    return st;
}

static enum cask_status read_matrix(const void *user, int64_t first, int64_t count, float *values,
                                    struct cask_error *err)
{
    (void)err;
    cask_npy_read(user, first, count, values);
    return CASK_OK;
}

enum cask_status embeddings_read(const char *path, int64_t images, int views,
                                 struct embeddings *out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_npy_open(path, &out->npy, err));
    if (out->npy.rows != images || out->npy.columns % views != 0 || out->npy.columns < 1 ||
        out->npy.columns > INT32_MAX) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                "%s: expected %lld rows of %d view(s), found %lld rows of %lld "
                                "numbers; is it the matrix of another list, or --views wrong?",
                                path, (long long)images, views, (long long)out->npy.rows,
                                (long long)out->npy.columns));
    }
    out->rows = (struct cask_rows){images, (int)out->npy.columns, &out->npy, read_matrix};
    out->views = views;
done:
    return st;
}

void embeddings_close(struct embeddings *embeddings)
{
    cask_store_close(embeddings->store);
    cask_npy_close(&embeddings->npy);
    *embeddings = (struct embeddings){0};
}
