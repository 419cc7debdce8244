/* eval/names.h - which row of a matrix or of a cache an image of a pairs file is. Private to eval/.
 *
 * Three ways to name a sample:
 *   by name      row r has a name: line r of a list, or image r of the dataset the rows were made
 * of by number    the name is a decimal: the row of a matrix, the sample id of a cache by position
 * the sets of insightface hold their images in order: image i is row i
 */
#ifndef CASK_EVAL_NAMES_H
#define CASK_EVAL_NAMES_H

#include "data/data.h"

struct row_names {
    int64_t count;    /* rows */
    const char *what; /* for messages: "rows.txt" */
    void *user;
    /* Called for row 0, 1, 2, ... in turn. */
    enum cask_status (*name)(void *user, int64_t row, char *buffer, size_t bytes,
                             struct cask_error *err);
};

/* rows[images]: the row of each image, -1 if there is none. A name without .jpg, .jpeg or .png also
 * finds the row with it (LFW's pairs have none). Only the images' names are held in memory.
 * CASK_ERR_FORMAT: two rows have the name of one image. */
enum cask_status row_names_resolve(const struct cask_pairs *pairs, const struct row_names *names,
                                   int64_t *rows, struct cask_error *err);

#endif
