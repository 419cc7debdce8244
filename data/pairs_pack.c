/* data/pairs_pack.c - writes a verification set as insightface's .bin.
 *
 * Python's pickle, protocol 3: PROTO, the images as one list of bytes, the flags as one list of
 * bools, TUPLE2. Lists are filled in runs of a thousand, as Python does, so that the reader's stack
 * stays small. What decodes the images in Python (mxnet, cv2, PIL) gets JPEG or PNG files' bytes.
 */
#include <stdatomic.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"
#include "common/thread.h"
#include "data/data.h"

enum { RUN = 1000, CHUNK = 64 };

struct packer {
    const struct cask_pairs *pairs;
    const struct cask_pack_options *options;
    int64_t *order;                 /* [pairs]: which pair stands at each place */
    struct cask_decoder **decoders; /* [threads] */
    int width, height;              /* of the first image; 0: not known yet */
    int64_t first;                  /* position of the chunk in the list of images */
    struct cask_encoded images[CHUNK];
    struct cask_error errors[CHUNK];
};

/* Image i of the list: sides of the pairs in turn. */
static int64_t image_at(const struct packer *p, int64_t i)
{
    const struct cask_pair *pair = cask_pairs_at(p->pairs, p->order[i / 2]);
    return i % 2 == 0 ? pair->a : pair->b;
}

/* The next pair of this kind from *at on. */
static int64_t next_of(const struct cask_pairs *pairs, bool same, int64_t *at)
{
    while (cask_pairs_at(pairs, *at)->same != same) {
        ++*at;
    }
    return (*at)++;
}

/* Contiguous folds, the first count mod folds of them one longer, as every reader cuts them. Fold f
 * gets its share of the genuine pairs first, then impostors; both kinds keep their order. */
static enum cask_status make_order(struct packer *p, struct cask_error *err)
{
    int64_t count = cask_pairs_count(p->pairs), genuine = 0, next_same = 0, next_other = 0;
    int64_t folds = p->options->interleave, placed = 0, placed_same = 0;
    p->order = cask_alloc((size_t)count, sizeof *p->order);
    if (p->order == NULL) {
        return cask_error_memory(err, (size_t)count * sizeof *p->order, "the order of pairs");
    }
    for (int64_t i = 0; i < count; i++) {
        p->order[i] = i;
        genuine += cask_pairs_at(p->pairs, i)->same;
    }
    for (int64_t f = 0; f < folds; f++) {
        int64_t extra = count % folds,
                end = (f + 1) * (count / folds) + (f < extra ? f + 1 : extra);
        int64_t end_same = (int64_t)((double)genuine * (double)end / (double)count + 0.5);
        int64_t same = end_same - placed_same;
        for (; placed < end; placed++) {
            bool take = same-- > 0;
            p->order[placed] = next_of(p->pairs, take, take ? &next_same : &next_other);
        }
        placed_same = end_same;
    }
    return CASK_OK;
}

static enum cask_status encode_again(const struct packer *p, const uint8_t *rgb, int width,
                                     int height, struct cask_encoded *image, struct cask_error *err)
{
    uint8_t *jpeg = NULL;
    size_t bytes = 0;
    enum cask_status st =
        cask_encode_jpeg(rgb, width, height, p->options->jpeg_quality, &jpeg, &bytes, err);
    if (st == CASK_OK) {
        cask_encoded_release(image);
        *image = (struct cask_encoded){jpeg, bytes, bytes};
    }
    return st;
}

static enum cask_status load(struct packer *p, int64_t index, int worker, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_encoded *image = &p->images[index];
    int64_t number = image_at(p, p->first + index);
    uint8_t *rgb = NULL;
    int width = 0, height = 0;
    CASK_TRY(cask_pairs_read(p->pairs, number, image, err));
    CASK_TRY(cask_decode_any(p->decoders[worker], image->data, image->bytes, &width, &height, &rgb,
                             err));
    if (p->width == 0 && index == 0) {
        p->width = width; /* the first image is loaded alone */
        p->height = height;
    }
    if (width != p->width || height != p->height) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "expected %d x %d pixels as in the first image, found %d x %d",
                                p->width, p->height, width, height));
    }
    if (p->options->jpeg_quality > 0) {
        CASK_TRY(encode_again(p, rgb, width, height, image, err));
    }
    if (image->bytes > UINT32_MAX) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE, "expected less than 4 GB, found %zu bytes",
                                image->bytes));
    }
done:
    cask_free(rgb);
    if (st != CASK_OK) {
        char name[256];
        cask_pairs_image_name(p->pairs, number, name, sizeof name);
        cask_error_prefix(err, "%s", name);
    }
    return st;
}

static void load_task(void *user, int64_t index, int worker)
{
    struct packer *p = user;
    p->errors[index].status = CASK_OK;
    p->errors[index].status = load(p, index, worker, &p->errors[index]);
}

/* Opcode, then `count` in `width` bytes, little endian. */
static enum cask_status put(struct cask_file *file, char opcode, uint32_t count, int width,
                            struct cask_error *err)
{
    unsigned char bytes[5] = {(unsigned char)opcode};
    for (int i = 0; i < width; i++) {
        bytes[1 + i] = (unsigned char)(count >> (8 * i));
    }
    return cask_file_write(file, bytes, 1 + (size_t)width, err);
}

static enum cask_status put_images(struct packer *p, struct cask_pool *pool, struct cask_file *file,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t total = 2 * cask_pairs_count(p->pairs);
    CASK_TRY(put(file, ']', 0, 0, err));
    for (p->first = 0; p->first < total;) {
        int64_t left = total - p->first;
        int64_t count = p->first == 0 ? 1 : left < CHUNK ? left : CHUNK;
        CASK_TRY(cask_interrupt_check(err));
        cask_pool_run(pool, count, load_task, p);
        for (int64_t i = 0; i < count; i++) {
            const struct cask_encoded *image = &p->images[i];
            int64_t at = p->first + i;
            if (p->errors[i].status != CASK_OK) {
                *err = p->errors[i];
                CASK_TRY(err->status);
            }
            if (at % RUN == 0) {
                CASK_TRY(put(file, '(', 0, 0, err));
            }
            bool small = image->bytes < 256;
            CASK_TRY(put(file, small ? 'C' : 'B', (uint32_t)image->bytes, small ? 1 : 4, err));
            CASK_TRY(cask_file_write(file, image->data, image->bytes, err));
            if (at % RUN == RUN - 1 || at + 1 == total) {
                CASK_TRY(put(file, 'e', 0, 0, err));
            }
        }
        p->first += count;
    }
done:
    return st;
}

static enum cask_status put_flags(const struct packer *p, struct cask_file *file,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t count = cask_pairs_count(p->pairs);
    CASK_TRY(put(file, ']', 0, 0, err));
    for (int64_t i = 0; i < count; i++) {
        if (i % RUN == 0) {
            CASK_TRY(put(file, '(', 0, 0, err));
        }
        CASK_TRY(
            put(file, cask_pairs_at(p->pairs, p->order[i])->same ? '\x88' : '\x89', 0, 0, err));
        if (i % RUN == RUN - 1 || i + 1 == count) {
            CASK_TRY(put(file, 'e', 0, 0, err));
        }
    }
done:
    return st;
}

enum cask_status cask_pairs_write_bin(const struct cask_pairs *pairs, const char *path,
                                      const struct cask_pack_options *options,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int threads = options->threads > 0 ? options->threads : cask_cpu_count();
    struct cask_pool *pool = NULL;
    struct cask_file file = {.fd = -1};
    struct packer *p = cask_alloc(1, sizeof *p);
    if (p == NULL || (p->decoders = cask_alloc((size_t)threads, sizeof *p->decoders)) == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *p, "a packer"));
    }
    p->pairs = pairs;
    p->options = options;
    CASK_TRY(make_order(p, err));
    CASK_TRY(cask_pool_create(threads, &pool, err));
    for (int i = 0; i < threads; i++) {
        CASK_TRY(cask_decoder_create(&p->decoders[i], err));
    }
    CASK_TRY(cask_file_begin(&file, path, err));
    CASK_TRY(put(&file, '\x80', 3, 1, err));
    CASK_TRY(put_images(p, pool, &file, err));
    CASK_TRY(put_flags(p, &file, err));
    CASK_TRY(put(&file, '\x86', 0, 0, err));
    CASK_TRY(put(&file, '.', 0, 0, err));
    CASK_TRY(cask_file_commit(&file, err));
done:
    cask_file_abort(&file);
    for (int i = 0; p != NULL && i < CHUNK; i++) {
        cask_encoded_release(&p->images[i]);
    }
    for (int i = 0; p != NULL && p->decoders != NULL && i < threads; i++) {
        cask_decoder_free(p->decoders[i]);
    }
    cask_free(p != NULL ? p->decoders : NULL);
    cask_free(p != NULL ? p->order : NULL);
    cask_free(p);
    cask_pool_free(pool);
    return st;
}
