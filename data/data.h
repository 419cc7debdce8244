/* data/data.h - images in: datasets, decoding, order, loading ahead.
 *
 *   dataset   what images there are; gives encoded bytes by index
 *   decode    JPEG or PNG bytes to RGB
 *   sampler   position in training to (image, mirrored?) as a pure function of (seed, epoch,
 * position) loader    threads that run ahead of a sampler and hand over whole batches in order
 *   pairs     verification sets: pairs .txt with an image folder, insightface .bin
 */
#ifndef CASK_DATA_DATA_H
#define CASK_DATA_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "common/hash.h"
#include "common/preprocess.h"
#include "common/status.h"

#define CASK_NO_LABEL UINT32_MAX

/* ----------------------------------------------------------------- dataset */

/* PATH may be: a folder root/identity/image.{jpg,jpeg,png} (labels: byte-wise order of folder
 * names; a folder with images directly in it is unlabelled), a folder with train.rec (+ train.idx,
 * property), a .rec file, or a text list ("path label", "path<TAB>label", im2rec or face2rec .lst),
 * paths relative to the list, label -1 for an image that has none. */
struct cask_dataset;
struct cask_dataset_options {
    int64_t limit;      /* use the first N images; 0: all */
    bool natural_order; /* folders "2" before "10" */
};
struct cask_encoded {
    uint8_t *data; /* grown as needed; free with cask_encoded_release */
    size_t bytes, capacity;
};
enum cask_status cask_dataset_open(const char *path, const struct cask_dataset_options *options,
                                   struct cask_dataset **dataset, struct cask_error *err);
void cask_dataset_close(struct cask_dataset *dataset); /* accepts NULL */
const char *cask_dataset_kind(
    const struct cask_dataset *dataset); /* "folder", "recordio", "list" */
int64_t cask_dataset_count(const struct cask_dataset *dataset);
int64_t cask_dataset_classes(const struct cask_dataset *dataset); /* max label + 1; 0: unlabelled */
uint32_t cask_dataset_label(const struct cask_dataset *dataset, int64_t index);
uint64_t cask_dataset_id(const struct cask_dataset *dataset,
                         int64_t index); /* .rec: key; else the index */
uint64_t cask_dataset_offset(const struct cask_dataset *dataset,
                             int64_t index); /* .rec: byte offset; else 0 */
/* "folder/name.jpg" or "train.rec key 17"; buffer gets a NUL-terminated, perhaps cut, text */
void cask_dataset_name(const struct cask_dataset *dataset, int64_t index, char *buffer,
                       size_t bytes);
/* Thread-safe. The file's bytes as they are. */
enum cask_status cask_dataset_read(const struct cask_dataset *dataset, int64_t index,
                                   struct cask_encoded *encoded, struct cask_error *err);
void cask_encoded_release(struct cask_encoded *encoded);
/* A whole image file, at most 64 MB. */
enum cask_status cask_encoded_read_file(struct cask_encoded *encoded, const char *path,
                                        struct cask_error *err);
/* SHA-256 over (index, label, length, CRC32 of bytes) of every image; reads all, in threads. */
enum cask_status cask_dataset_fingerprint(const struct cask_dataset *dataset, int threads,
                                          char hex[CASK_SHA256_HEX], struct cask_error *err);

/* ------------------------------------------------------------------ decode */

/* Accurate integer DCT and fancy upsampling: the pixels OpenCV and PIL give. One decoder, one
 * thread. */
struct cask_decoder;
enum cask_status cask_decoder_create(struct cask_decoder **decoder, struct cask_error *err);
void cask_decoder_free(struct cask_decoder *decoder); /* accepts NULL */
/* Fills rgb[height][width][3]. Another size, another format or damage is CASK_ERR_FORMAT. */
enum cask_status cask_decode(struct cask_decoder *decoder, const uint8_t *data, size_t bytes,
                             int width, int height, uint8_t *rgb, struct cask_error *err);
/* Any size: caller frees *rgb with cask_free. Refuses over 8192 x 8192. */
enum cask_status cask_decode_any(struct cask_decoder *decoder, const uint8_t *data, size_t bytes,
                                 int *width, int *height, uint8_t **rgb, struct cask_error *err);
/* "libjpeg-turbo 2.1.5 islow fancy", and the CRC32 of a built-in JPEG decoded here */
const char *cask_decoder_describe(void);
enum cask_status cask_decoder_fingerprint(uint32_t *crc, struct cask_error *err);

/* pixels[height][width][3] float32 in the network's channel order; mirror flips left-right. */
void cask_preprocess_apply(const struct cask_preprocess *preprocess, const uint8_t *rgb,
                           bool mirror, float *pixels);

/* JPEG writer for generated faces (quality 95, 4:4:4). Caller frees *data with cask_free. */
enum cask_status cask_encode_jpeg(const uint8_t *rgb, int width, int height, int quality,
                                  uint8_t **data, size_t *bytes, struct cask_error *err);

/* --------------------------------------------------------------- alignment */

/* Pixels (x, y) of the eye at the left of the picture, the other eye, the nose, and the corners of
 * the mouth, left one first. */
struct cask_landmarks {
    float at[5][2];
};
/* Where they belong: insightface's template for 112 x 112, scaled for other squares; 96 wide and
 * 112 high: the same less 8 columns at either side. Other shapes: CASK_ERR_UNSUPPORTED. */
enum cask_status cask_landmarks_target(int width, int height, struct cask_landmarks *target,
                                       struct cask_error *err);
/* Eyes: means of points 36, 39 and 42, 45; nose 30; mouth 48, 54 (from 0, iBUG's order). */
struct cask_landmarks cask_landmarks_of_68(const float points[68][2]);
/* The similarity nearest in squares, [m0 m1 m2; m3 m4 m5], as skimage's SimilarityTransform without
 * reflection. CASK_ERR_RANGE: points that are not finite or all the same. */
enum cask_status cask_align_estimate(const struct cask_landmarks *from,
                                     const struct cask_landmarks *to, double m[6],
                                     struct cask_error *err);
/* out[out_height][out_width][3] = the picture moved by m: the bytes of OpenCV's warpAffine with
 * INTER_LINEAR and a border of 0. `out` may not overlap rgb[height][width][3]. */
void cask_warp_affine(const uint8_t *rgb, int width, int height, const double m[6], int out_width,
                      int out_height, uint8_t *out);

/* A face mask, drawn over nose, mouth and chin of the face with these points: colour, height and
 * outline are functions of (seed, image), and the same pixels come out everywhere. `outline` gives
 * its corners in pixels. CASK_ERR_RANGE as cask_align_estimate. */
enum { CASK_MASK_CORNERS = 10 };
enum cask_status cask_mask_draw(uint8_t *rgb, int width, int height,
                                const struct cask_landmarks *points, uint64_t seed, uint64_t image,
                                struct cask_error *err);
enum cask_status cask_mask_outline(const struct cask_landmarks *points, uint64_t seed,
                                   uint64_t image, float corners[CASK_MASK_CORNERS][2],
                                   struct cask_error *err);

/* ----------------------------------------------------------------- sampler */

struct cask_sample {
    int64_t index; /* in the dataset */
    bool mirror;
};

/* Images by identity: one list of images, cut at the identities (CSR). 4 bytes an image and 8 an
 * identity (69 MB for 17 M images of 200,000 people), and 4 a class while it is built. Unlabelled
 * images, and identities with fewer than `fewest` images (0 counts as 1), are not in it. Constant
 * once made, so any number of threads may read it. */
struct cask_identities;
/* `subset`: NULL for the first `count` images, else a table of `count` indices (only read now). */
enum cask_status cask_identities_create(const struct cask_dataset *dataset, const int64_t *subset,
                                        int64_t count, int64_t fewest,
                                        struct cask_identities **identities,
                                        struct cask_error *err);
void cask_identities_free(struct cask_identities *identities); /* accepts NULL */
int64_t cask_identities_count(const struct cask_identities *identities);
int64_t cask_identities_images(const struct cask_identities *identities); /* of all of them */

/* A sampler says which image stands at a position of the run. It holds no state: position counts
 * over the whole run, epoch = position / cask_sampler_epoch_length, and every draw is a function
 * of (seed, epoch, position) alone.
 *
 * BALANCED. A batch is `people` different identities with `shots` images each, one identity behind
 * the other. Both are dealt like cards: a round shuffles all identities anew and deals floor(I /
 * people) hands; the I % people left over sit this round out. So nobody comes twice in a batch or
 * in a round. In the same way an identity with n images deals `shots` of them at each of its turns,
 * floor(n / shots) hands before it shuffles again. Replacement: only an identity with n < shots
 * images repeats images, as evenly as it can (each floor(shots / n) times or once more; one image:
 * `shots` times). The first copy in a batch has the view of a coin thrown at each turn, the next
 * the other view, and so on by turns: where images are too few, positive pairs are views. An epoch
 * is floor(images / batch) batches; rounds go on across epochs.
 *
 * EKD (Huang et al. 2022; TFace's ekd). A batch is `general` images of what SHUFFLED would give in
 * batches of that size, then a BALANCED part. An epoch is floor(count / general) batches: it counts
 * the general part only. An image may stand in both parts; it then does so in different views, as
 * the balanced part's coin is the complement of the general one.
 *
 * TRIPLETS. A bag of people x shots images, dealt as in BALANCED, to mine triplets from: it needs
 * identities made with fewest >= 2, so that everyone has a positive of another image. A loader may
 * read a bag in batches of any size. Triplets mined from a bag are in turn fed by LIST: anchor,
 * positive, negative, anchor, ..., each in the view that it had in the bag.
 *
 * With mirror = false all copies are equal. */
struct cask_sampler {
    enum cask_sampler_kind {
        CASK_SAMPLER_STORAGE,  /* 0,1,2,... never mirrored; epochs repeat it */
        CASK_SAMPLER_SHUFFLED, /* a new permutation each epoch; mirror by a fair coin */
        CASK_SAMPLER_BALANCED,
        CASK_SAMPLER_EKD,
        CASK_SAMPLER_TRIPLETS,
        CASK_SAMPLER_LIST, /* what `list` says, in its order; epochs repeat it */
    } kind;
    int64_t count; /* images of STORAGE, SHUFFLED and EKD's general part; samples of LIST */
    uint64_t seed;
    bool mirror; /* false: the coin is never thrown */
    const int64_t *
        subset; /* NULL: all; else positions map through this table of `count` indices (borrowed) */
    const struct cask_sample *list; /* LIST: [count], borrowed */
    /* BALANCED, EKD, TRIPLETS */
    const struct cask_identities *identities; /* borrowed */
    int general, people, shots;
};
struct cask_sample cask_sampler_at(const struct cask_sampler *sampler, int64_t position);

/* CASK_ERR_RANGE, saying which number does not fit the images there are. A checked sampler cannot
 * fail. */
enum cask_status cask_sampler_check(const struct cask_sampler *sampler, struct cask_error *err);
/* Images in a batch or bag: general + people x shots; 0: any size will do. */
int64_t cask_sampler_batch(const struct cask_sampler *sampler);
/* Positions in an epoch: `count`, or whole batches. */
int64_t cask_sampler_epoch_length(const struct cask_sampler *sampler);

/* What was drawn at positions [begin, end). Found by drawing them again: 1 to 2 us each, and
 * three bits of memory for each image. */
struct cask_coverage {
    int64_t draws;
    int64_t images, identities; /* different ones; identities: 0 without sampler->identities */
    int64_t repeats;            /* draws of an image that had been drawn: draws - images */
    int64_t in_batch;           /* of them, in the same batch */
    int64_t same_view;          /* of those, in the same view too: a pair of equal pictures */
};
enum cask_status cask_sampler_coverage(const struct cask_sampler *sampler, int64_t begin,
                                       int64_t end, struct cask_coverage *coverage,
                                       struct cask_error *err);

/* ------------------------------------------------------------------ loader */

struct cask_batch {
    int count;
    int64_t position;            /* of its first sample */
    float *pixels;               /* [count][h][w][3]; both_views: [2*count][h][w][3] */
    struct cask_sample *samples; /* [batch] */
    uint32_t *labels;            /* [batch] */
    bool *bad;                   /* [batch]: could not be read or decoded; its pixels are zero */
};
struct cask_loader;
struct cask_loader_options {
    const struct cask_dataset *dataset; /* borrowed */
    struct cask_sampler sampler;
    struct cask_preprocess preprocess;
    int batch;
    int64_t begin, end; /* positions [begin, end); the last batch may be short unless drop_last */
    bool drop_last;
    /* true: batches are those of a training run. An epoch is floor(length / batch) of them, and the
     * positions left over are passed by; begin and end are where a batch begins. So one loader
     * reads on through all epochs, and the first batch of an epoch is decoded ahead like any other.
     */
    bool whole_epochs;
    int threads; /* 0: one per CPU, at most 4 */
    int ahead;   /* batches decoded in advance; 0: 4 */
    /* true: pixels[0..count) are as sampled, pixels[count..2*count) the same images mirrored the
     * other way; without gap also in a short last batch */
    bool both_views;
};
/* The sequence of batches does not depend on the number of threads. */
enum cask_status cask_loader_start(const struct cask_loader_options *options,
                                   struct cask_loader **loader, struct cask_error *err);
/* Waits for the next batch; *batch is NULL at the end. It is lent until give_back. */
enum cask_status cask_loader_next(struct cask_loader *loader, struct cask_batch **batch,
                                  struct cask_error *err);
void cask_loader_give_back(struct cask_loader *loader, struct cask_batch *batch);
void cask_loader_stop(struct cask_loader *loader); /* accepts NULL; joins its threads */
/* Bad images in the batches handed over so far, and the message of the n-th in order of position
 * (0-based; NULL past the end or past 1000). Only for the thread that calls `next`. */
int64_t cask_loader_bad_count(const struct cask_loader *loader);
const char *cask_loader_bad_message(const struct cask_loader *loader, int64_t n, int64_t *index);
double cask_loader_stall_seconds(const struct cask_loader *loader); /* time `next` waited */

/* ------------------------------------------------------------------- pairs */

/* A verification set: images, and pairs of them. Images are listed once each. */
struct cask_pairs;
struct cask_pair {
    int64_t a, b; /* image indices */
    bool same;
};
/* LFW format: header "sets<TAB>pairs per half" ("N" alone: one set), then for each set that many
 * lines "name i j" and as many "name i name j"; images at DIR/NAME/NAME_%04d.jpg (.jpeg, .png). */
/* CSV, known by a comma in its first line: "a,b,same", a and b paths under DIR (no ".."), same 1 or
 * 0, true or false; a first line whose third column is something else is a head; lines that begin
 * with '#' are skipped; no quotes. 10 folds.
 * image_folder NULL: the names stand for something else than files (rows of a matrix or a cache;
 * LFW's are NAME/NAME_0001 then); nothing is looked up, and cask_pairs_read refuses. */
enum cask_status cask_pairs_open_text(const char *pairs_path, const char *image_folder,
                                      struct cask_pairs **pairs, struct cask_error *err);
/* insightface .bin: a pickle of (images, issame), read by a machine that executes nothing. */
enum cask_status cask_pairs_open_bin(const char *path, struct cask_pairs **pairs,
                                     struct cask_error *err);
void cask_pairs_close(struct cask_pairs *pairs);             /* accepts NULL */
const char *cask_pairs_name(const struct cask_pairs *pairs); /* "pairs_val", "lfw" */
int cask_pairs_folds(const struct cask_pairs *pairs);        /* as the file declares; 10 for .bin */
int64_t cask_pairs_count(const struct cask_pairs *pairs);
const struct cask_pair *cask_pairs_at(const struct cask_pairs *pairs, int64_t index);
int64_t cask_pairs_image_count(const struct cask_pairs *pairs);
void cask_pairs_image_name(const struct cask_pairs *pairs, int64_t image, char *buffer,
                           size_t bytes);
enum cask_status cask_pairs_read(const struct cask_pairs *pairs, int64_t image,
                                 struct cask_encoded *encoded, struct cask_error *err);
/* Equal for two images that are the same: same name in a text, same bytes in a .bin. */
uint64_t cask_pairs_image_key(const struct cask_pairs *pairs, int64_t image);

/* The same pairs with masks on some of the faces. */
enum cask_mask_rule {
    CASK_MASK_NN, /* none */
    CASK_MASK_MN, /* the second image of each pair (also called U-M) */
    CASK_MASK_MM, /* both */
    /* What fdbtrs' loader does under the name M-N: it masks the second half of the interleaved list
     * of images, so the first half of the pairs is N-N and the rest M-M. */
    CASK_MASK_FDBTRS_MN,
};
extern const char *const cask_mask_rule_names[]; /* "n-n", "m-n", ...; NULL-terminated */
/* Borrows `plain`. cask_pairs_read gives the bytes of the plain image: who decodes draws the mask,
 * where cask_pairs_plain_image says so. */
enum cask_status cask_pairs_open_masked(const struct cask_pairs *plain, enum cask_mask_rule rule,
                                        struct cask_pairs **pairs, struct cask_error *err);
/* The image of the plain set behind an image of a masked one, and only of such. */
int64_t cask_pairs_plain_image(const struct cask_pairs *pairs, int64_t image, bool *wears_mask);

struct cask_pack_options {
    int jpeg_quality; /* 0: the files' bytes as they are; else decoded and encoded again (4:4:4) */
    int threads;      /* 0: all */
    /* Folds over which genuine and impostor pairs are spread evenly, each kind in its order: for
     * lists that begin with all genuine pairs, whose folds would hold one kind. 0: as they stand.
     */
    int interleave;
};
/* Writes the pairs as an insightface .bin: a pickle (protocol 3: Python 3) of (list of bytes, list
 * of bool), images 2i and 2i + 1 of pair i. Every image is decoded first: one that is damaged, or
 * not as large as the first one, is CASK_ERR_FORMAT and names it. Whole or absent. */
enum cask_status cask_pairs_write_bin(const struct cask_pairs *pairs, const char *path,
                                      const struct cask_pack_options *options,
                                      struct cask_error *err);

#endif
