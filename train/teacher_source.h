/* train/teacher_source.h - the teacher, read from the cask instead of run.
 *
 *   open     maps the cache and says what is in it
 *   check    the cache belongs to this dataset, or every difference is printed
 *   prepare  memory for what the losses need, and how many bytes that is
 *   gather   one batch: dataset index = cache row, the mirror coin picks the view
 *   ahead    names rows of coming batches, so that the disk is asked before they are needed
 *
 * No teacher network is in this process; the class centres, in exact mode, are all that is left of
 * it.
 */
#ifndef CASK_TRAIN_TEACHER_SOURCE_H
#define CASK_TRAIN_TEACHER_SOURCE_H

#include "cache/cache.h"
#include "data/data.h"
#include "train/criterion.h"
#include "train/options.h"

/* A difference between dataset and cache that train.accept_mismatch allowed; result.json keeps it.
 */
struct cask_accepted_mismatch {
    char field[32], dataset[256], cache[256];
};
enum { CASK_ACCEPTED_MISMATCHES = 8 };

struct cask_teacher_source {
    struct cask_cache *cache;
    const struct cask_manifest *manifest;
    enum cask_teacher_mode mode; /* EXACT only if the cache has class centres */
    struct cask_accepted_mismatch accepted[CASK_ACCEPTED_MISMATCHES];
    int accepted_count;
    int batch;
    double center_bytes;
    size_t batch_bytes;
    void *memory;  /* one block behind all pointers below */
    int64_t *rows; /* [batch] */
    bool *mirror;  /* [batch] */
    struct cask_cache_gather arrays;
    struct cask_prefetch *prefetch; /* reads the rows of coming batches into memory */
    struct cask_teacher teacher;    /* what the criterion sees; points into arrays */
};

enum cask_status cask_teacher_source_open(struct cask_teacher_source *source, const char *folder,
                                          const struct cask_train_options *options,
                                          struct cask_error *err);
void cask_teacher_source_close(struct cask_teacher_source *source); /* accepts a zeroed struct */

/* CASK_ERR_MISMATCH with every field that differs, except those in options->accept_mismatch,
 * which are logged and kept in source->accepted. Rows and labels have to agree in any case: a row
 * is found by its number. */
enum cask_status cask_teacher_source_check(struct cask_teacher_source *source,
                                           const struct cask_dataset *dataset,
                                           const struct cask_train_options *options,
                                           struct cask_error *err);

/* Rows that training may use: fills *rows (caller frees; NULL if all are good) and *count. */
enum cask_status cask_teacher_source_good_rows(const struct cask_teacher_source *source,
                                               int64_t **rows, int64_t *count,
                                               struct cask_error *err);

/* `needs`: bits of enum cask_teacher_need. */
enum cask_status cask_teacher_source_prepare(struct cask_teacher_source *source, unsigned needs,
                                             int batch, struct cask_error *err);
/* The sampler's positions [first, end) come next; no data depends on it. After prepare. */
void cask_teacher_source_ahead(struct cask_teacher_source *source,
                               const struct cask_sampler *sampler, int64_t first, int64_t end);
/* Fills source->teacher for count <= batch samples. No allocation. */
enum cask_status cask_teacher_source_gather(struct cask_teacher_source *source,
                                            const struct cask_sample *samples, int count,
                                            struct cask_error *err);

#endif
