/* eval/paired.h - what is said about one number of two models: the trials that only one of them
 * gets right, and the difference in draws that both share. Private to eval/. */
#ifndef CASK_EVAL_PAIRED_H
#define CASK_EVAL_PAIRED_H

#include "eval/eval.h"

/* Percent. Nothing is tested yet: interval and p are NaN. */
struct cask_paired paired_begin(const char *set, const char *protocol, const char *number, double a,
                                double b);
/* A trial that counts `times` times; after the last one, McNemar's test. */
void paired_trial(struct cask_paired *paired, bool right_a, bool right_b, int64_t times);
void paired_mcnemar(struct cask_paired *paired);
/* a, b: [draws], the number in each draw, the same draw in the same place; a draw in which either
 * is NaN is left out. */
enum cask_status paired_draws(struct cask_paired *paired, const double *a, const double *b,
                              int draws, struct cask_error *err);

#endif
