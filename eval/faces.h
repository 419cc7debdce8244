/* eval/faces.h - images of any origin, run through a network batch by batch.
 *
 *   struct cask_faces   what images there are, and how one becomes pixels (align, paint, ...)
 *   cask_embedder       decodes in parallel, runs image and mirror, gives raw rows
 *   cask_store          the rows on disk, so that a killed run of a million images loses seconds
 */
#ifndef CASK_EVAL_FACES_H
#define CASK_EVAL_FACES_H

#include <stdbool.h>

#include "data/data.h"
#include "eval/rows.h"
#include "models/models.h"

/* ------------------------------------------------------------------ images */

/* What a worker thread brings along. */
struct cask_face_tools {
    struct cask_decoder *decoder;
    struct cask_encoded encoded;
};

struct cask_faces {
    int64_t count;
    const void *user;
    void (*name)(const void *user, int64_t image, char *buffer, size_t bytes);
    /* Fills rgb[height][width][3], ready for the network. Called by several threads. The message of
     * an error names the image; CASK_ERR_MEMORY ends the run, any other marks the image as bad. */
    enum cask_status (*load)(const void *user, int64_t image, struct cask_face_tools *tools,
                             int width, int height, uint8_t *rgb, struct cask_error *err);
};

/* Files FOLDER/<path>, aligned already. */
struct cask_face_files {
    const char *folder;      /* borrowed */
    const char *const *path; /* borrowed */
};
struct cask_faces cask_faces_of_files(const struct cask_face_files *files, int64_t count);

/* The images of a verification set. */
struct cask_faces cask_faces_of_pairs(const struct cask_pairs *pairs);

/* ---------------------------------------------------------------- embedder */

struct cask_embedder_options {
    struct cask_net *net; /* borrowed */
    struct cask_preprocess preprocess;
    int views; /* 1: the image; 2: and its mirror */
    int batch, threads;
};

/* Told about each image that could not be loaded or whose embedding is not finite; its row is zero.
 */
typedef void (*cask_bad_face)(void *user, int64_t image, const char *reason);

struct cask_embedder;
enum cask_status cask_embedder_open(const struct cask_faces *faces,
                                    const struct cask_embedder_options *options,
                                    struct cask_embedder **embedder, struct cask_error *err);
/* rows[count][views * D]: raw embedding of the image, behind it that of its mirror. Any range of
 * images; the result does not depend on how it is cut. */
enum cask_status cask_embedder_run(struct cask_embedder *embedder, int64_t first, int64_t count,
                                   float *rows, cask_bad_face bad, void *user,
                                   struct cask_error *err);
int cask_embedder_columns(const struct cask_embedder *embedder); /* views * D */
void cask_embedder_close(struct cask_embedder *embedder);        /* accepts NULL */

/* ------------------------------------------------------------------- store */

/* A folder with
 *     embeddings.npy   float32 [images][columns], for numpy and other programs too
 *     state.json       whose embeddings these are
 *     journal.jsonl    one line a finished block: its checksum, its bad images
 * A block is written and synced before its line; on opening, blocks whose checksum does not match
 * are made again. One process at a time (a lock). */
struct cask_store_identity {
    const char *model;  /* fingerprint of the weights */
    const char *list;   /* fingerprint of the list of images */
    const char *pixels; /* "rgb:127.5:127.5 112x112 five points libjpeg-turbo ..." */
    const char *precision;
    int64_t images;
    int columns, views;
};
struct cask_store;
/* Opens or begins. A folder of other embeddings is CASK_ERR_MISMATCH, with every field that
 * differs. */
enum cask_status cask_store_open(const char *folder, const struct cask_store_identity *identity,
                                 struct cask_store **store, struct cask_error *err);
void cask_store_close(struct cask_store *store);            /* accepts NULL */
int64_t cask_store_missing(const struct cask_store *store); /* images that are still to do */
/* Makes what is missing. CASK_ERR_INTERRUPTED: finished blocks are kept. */
enum cask_status cask_store_fill(struct cask_store *store, struct cask_embedder *embedder,
                                 struct cask_error *err);
/* Valid while the store is open and full. */
struct cask_rows cask_store_rows(const struct cask_store *store);
int64_t cask_store_bad_count(const struct cask_store *store);
const char *cask_store_first_bad(const struct cask_store *store); /* "" if there is none */

#endif
