/* train/report_style.h - the style sheet of a report. Private to train/report*.c. */
#ifndef CASK_TRAIN_REPORT_STYLE_H
#define CASK_TRAIN_REPORT_STYLE_H

extern const char report_style[];

#endif
