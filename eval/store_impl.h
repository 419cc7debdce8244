/* eval/store_impl.h - between store.c and store_state.c. Private to eval/. */
#ifndef CASK_EVAL_STORE_IMPL_H
#define CASK_EVAL_STORE_IMPL_H

#include "eval/faces.h"

enum { CASK_STORE_HEADER = 128 }; /* of a .npy file, version 1.0 */

struct cask_store {
    int fd;
    char *data_path, *journal_path;
    int64_t images, missing, bad_count;
    int columns;
    bool *finished; /* one a block */
    float *buffer;  /* one block of rows */
    char first_bad[512];
};

/* One line of the journal. */
struct store_block {
    int64_t number;
    uint64_t xxh3;
    int bad_count;
    char **bad; /* reasons, owned */
};
bool cask_store_block_add(struct store_block *block, const char *reason); /* false: no memory */
void cask_store_block_release(struct store_block *block);

/* "\x93NUMPY", version 1.0, {'descr': '<f4', 'fortran_order': False, 'shape': (images, columns)} */
void cask_store_npy_header(char header[CASK_STORE_HEADER], int64_t images, int columns);

/* Writes state.json, or compares it with what is there. */
enum cask_status cask_store_claim(const char *state_path, const char *data_path,
                                  const struct cask_store_identity *identity,
                                  struct cask_error *err);

/* Lines that are not whole (the last one, after a power cut) are passed over. */
typedef enum cask_status (*cask_store_visit)(const struct store_block *block, void *user,
                                             struct cask_error *err);
enum cask_status cask_store_read_journal(const char *path, cask_store_visit visit, void *user,
                                         struct cask_error *err);
enum cask_status cask_store_append_journal(const char *path, const struct store_block *block,
                                           struct cask_error *err);

#endif
