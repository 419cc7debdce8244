#include "eval/faces.h"

#include <stdio.h>

#include "common/mem.h"

static void file_name(const void *user, int64_t image, char *buffer, size_t bytes)
{
    const struct cask_face_files *files = user;
    snprintf(buffer, bytes, "%s", files->path[image]);
}

static enum cask_status load_file(const void *user, int64_t image, struct cask_face_tools *tools,
                                  int width, int height, uint8_t *rgb, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_face_files *files = user;
    char *path = cask_format("%s/%s", files->folder, files->path[image]);
    if (path == NULL) {
        return cask_error_memory(err, 256, "a path");
    }
    CASK_TRY(cask_encoded_read_file(&tools->encoded, path, err));
    st = cask_decode(tools->decoder, tools->encoded.data, tools->encoded.bytes, width, height, rgb,
                     err);
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", files->path[image]);
    }
done:
    cask_free(path);
    return st;
}

struct cask_faces cask_faces_of_files(const struct cask_face_files *files, int64_t count)
{
    return (struct cask_faces){count, files, file_name, load_file};
}

static void pair_name(const void *user, int64_t image, char *buffer, size_t bytes)
{
    cask_pairs_image_name(user, image, buffer, bytes);
}

static enum cask_status load_of_pairs(const void *user, int64_t image,
                                      struct cask_face_tools *tools, int width, int height,
                                      uint8_t *rgb, struct cask_error *err)
{
    enum cask_status st = cask_pairs_read(user, image, &tools->encoded, err);
    if (st == CASK_OK) {
        st = cask_decode(tools->decoder, tools->encoded.data, tools->encoded.bytes, width, height,
                         rgb, err);
        if (st != CASK_OK) {
            char name[256];
            cask_pairs_image_name(user, image, name, sizeof name);
            cask_error_prefix(err, "%s", name);
        }
    }
    return st;
}

struct cask_faces cask_faces_of_pairs(const struct cask_pairs *pairs)
{
    return (struct cask_faces){cask_pairs_image_count(pairs), pairs, pair_name, load_of_pairs};
}
