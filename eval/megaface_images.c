#include "eval/megaface_images.h"

#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"

enum cask_status megaface_images_open(struct megaface_images *images, int64_t limit,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_name_list_open(images->list_path, limit, &images->list, err));
    cask_log_info("%s: %lld images, %lld identities", images->list_path,
                  (long long)images->list.count, (long long)images->list.identities);
    if (images->noise_path[0] != 0) {
        CASK_TRY(cask_noise_read(images->noise_path, &images->list, &images->noise, err));
        cask_log_info("%s: %lld entries name %lld images of the list", images->noise_path,
                      (long long)images->noise.entries, (long long)images->noise.images);
    }
done:
    return st;
}

void megaface_images_close(struct megaface_images *images)
{
    cask_free(images->noise.noisy);
    cask_name_list_close(&images->list);
}

int megaface_source_kinds(const struct megaface_source *source, bool folders)
{
    bool npy = source->probe_npy[0] != 0 && source->distractor_npy[0] != 0;
    bool features = folders && source->features[0] != 0;
    bool model = folders && source->model.model[0] != 0 && source->work[0] != 0;
    return npy + features + model;
}

const char *megaface_source_name(const struct megaface_source *source)
{
    return source->features[0] != 0    ? source->features
           : source->probe_npy[0] != 0 ? source->probe_npy
                                       : source->model.model;
}

static void fingerprint(const struct cask_name_list *list, char hex[CASK_SHA256_HEX])
{
    struct cask_sha256 state;
    cask_sha256_init(&state);
    cask_sha256_update_text(&state, "list of aligned images");
    for (int64_t i = 0; i < list->count; i++) {
        cask_sha256_update_text(&state, list->path[i]);
    }
    cask_sha256_final_hex(&state, hex);
}

static enum cask_status embed(struct megaface_source *source, const struct megaface_images *images,
                              struct findings *findings, struct embeddings *embeddings,
                              struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_face_files files = {images->folder, images->list.path};
    struct cask_faces faces = cask_faces_of_files(&files, images->list.count);
    char list[CASK_SHA256_HEX];
    char *folder = cask_format("%s/%s", source->work, images->what);
    if (folder == NULL) {
        CASK_TRY(cask_error_memory(err, 256, "a path"));
    }
    fingerprint(&images->list, list);
    CASK_TRY(embeddings_make(&source->opened, &source->model, &faces, list, "aligned",
                             source->flip ? 2 : 1, folder, source->bad_images, findings, embeddings,
                             err));
done:
    cask_free(folder);
    return st;
}

enum cask_status megaface_rows_open(struct megaface_source *source,
                                    const struct megaface_images *images, const char *npy,
                                    struct findings *findings, struct megaface_rows *rows,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (source->features[0] != 0) {
        CASK_TRY(cask_feature_files_open(&images->list, images->folder, source->features,
                                         &rows->files, &rows->rows, err));
        return st;
    }
    if (npy[0] != 0) {
        CASK_TRY(embeddings_read(npy, images->list.count, source->views, &rows->embeddings, err));
    } else {
        CASK_TRY(embed(source, images, findings, &rows->embeddings, err));
    }
    rows->view =
        (struct cask_rows_view){&rows->embeddings.rows, rows->embeddings.views, source->flip};
    rows->rows = cask_rows_of_view(&rows->view);
done:
    return st;
}

void megaface_rows_close(struct megaface_rows *rows)
{
    embeddings_close(&rows->embeddings);
}
