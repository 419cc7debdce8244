/* train/report_sections.h - the parts of a run's page, each its own file. Private to
 * train/report*.c. A part without anything to tell is left out.
 */
#ifndef CASK_TRAIN_REPORT_SECTIONS_H
#define CASK_TRAIN_REPORT_SECTIONS_H

#include "train/report_data.h"
#include "train/report_page.h"

enum cask_status report_section_verification(struct report_page *page,
                                             const struct report_data *run, struct cask_error *err);
void report_section_time(struct report_page *page, const struct report_data *run);
/* What the run was: machine, cache, settings. */
enum cask_status report_section_facts(struct report_page *page, const struct report_data *run,
                                      struct cask_error *err);

#endif
