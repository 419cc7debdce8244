/* eval/results.h - the files that results go to. Private to eval/. */
#ifndef CASK_EVAL_RESULTS_H
#define CASK_EVAL_RESULTS_H

#include "eval/eval.h"

/* Writes the text of `json` and frees it; path "" writes nothing. */
enum cask_status result_write_json(const char *path, struct cask_json *json,
                                   struct cask_error *err);
/* The same for CSV lines; `text` stays the caller's. */
enum cask_status result_write_csv(const char *path, struct cask_text *text, struct cask_error *err);

/* Pictures of the curves; "" or no curves draws nothing. */
enum cask_status result_write_pictures(const char *roc, const char *histogram,
                                       const struct cask_report_curve *curves, int count,
                                       struct cask_error *err);
/* "A: PATH" or, after an empty line, "B: PATH": what follows is said of the first or second model.
 */
void result_print_side(int side, const char *path, FILE *stream);
/* Of two models: the second's report as "against", the tests as "paired". */
void result_set_against(struct cask_json *report, struct cask_json *against,
                        const struct cask_paired *paired, int count);

#endif
