/* eval/command_verify.h - between command_verify.c, which measures, and verify_output.c, which
 * tells. Private to eval/. */
#ifndef CASK_EVAL_COMMAND_VERIFY_H
#define CASK_EVAL_COMMAND_VERIFY_H

#include "eval/source.h"

struct verify_command {
    struct measure_flags flags;
    const char *embeddings, *cache, *index, *data;
    int64_t views;
    struct cask_config_texts pairs, images, bins;
    int protocol, flip, resample;
    int64_t folds;
    double far;
    bool exclude_bad, exclude_duplicates;

    struct {
        struct source source;
        struct cask_set_result *sets; /* [pairs + bins] */
    } sides[2];                       /* the model, and what it is measured against */
    int side_count, finished;         /* finished: sets */
    struct cask_paired *paired;
    int paired_count;
};

void verify_print(const struct verify_command *command, FILE *stream);
/* The files that were asked for. */
enum cask_status verify_write(const struct verify_command *command, struct cask_error *err);

#endif
