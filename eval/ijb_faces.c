#include "eval/ijb_faces.h"

#include <stdio.h>

#include "common/mem.h"

static void crop_name(const void *user, int64_t image, char *buffer, size_t bytes)
{
    const struct ijb_crops *crops = user;
    snprintf(buffer, bytes, "%.*s", CASK_SLICE_SHOWN(crops->set->image[image].name));
}

/* Loose crop to aligned face: similarity of the five points, OpenCV's warp. */
static enum cask_status load_crop(const void *user, int64_t image, struct cask_face_tools *tools,
                                  int width, int height, uint8_t *rgb, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct ijb_crops *crops = user;
    const struct cask_ijb_image *about = &crops->set->image[image];
    struct cask_landmarks target;
    uint8_t *crop = NULL;
    double m[6];
    int crop_width, crop_height;
    char *path = cask_format("%s/%.*s", crops->folder, (int)about->name.bytes, about->name.data);
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, 256, "a path"));
    }
    CASK_TRY(cask_encoded_read_file(&tools->encoded, path, err));
    st = cask_decode_any(tools->decoder, tools->encoded.data, tools->encoded.bytes, &crop_width,
                         &crop_height, &crop, err);
    if (st == CASK_OK) {
        st = cask_landmarks_target(width, height, &target, err);
    }
    if (st == CASK_OK) {
        st = cask_align_estimate(&about->points, &target, m, err);
    }
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", path);
        goto done;
    }
    cask_warp_affine(crop, crop_width, crop_height, m, width, height, rgb);
done:
    cask_free(path);
    cask_free(crop);
    return st;
}

struct cask_faces ijb_faces(const struct ijb_crops *crops)
{
    return (struct cask_faces){crops->set->images, crops, crop_name, load_crop};
}

void ijb_fingerprint(const struct cask_ijb *set, char hex[CASK_SHA256_HEX])
{
    struct cask_sha256 state;
    cask_sha256_init(&state);
    cask_sha256_update_text(&state, "IJB images and points");
    for (int64_t i = 0; i < set->images; i++) {
        cask_sha256_update_u64(&state, set->image[i].name.bytes);
        cask_sha256_update(&state, set->image[i].name.data, set->image[i].name.bytes);
        cask_sha256_update(&state, &set->image[i].points, sizeof set->image[i].points);
    }
    cask_sha256_final_hex(&state, hex);
}
