/* train/tensorboard_record.h - the bytes of a TensorBoard event file.
 *
 * A file is a list of TFRecords (tensorflow/core/lib/io/record_writer.h), little endian:
 *
 *   u64 length, u32 masked CRC-32C of those 8 bytes, data[length], u32 masked CRC-32C of the data
 *   masked(crc) = rotate_right(crc, 15) + 0xa282ead8
 *
 * Each data is one protocol buffer `Event` (tensorflow/core/util/event.proto, summary.proto):
 *
 *   Event       1 double wall_time, 2 int64 step, 3 string file_version, 5 Summary, 7 SessionLog
 *   Summary     1 repeated Value;   Value  1 string tag, 2 float simple_value
 *   SessionLog  1 enum status (1: START)
 *
 * The first event of a file has file_version "brain.Event:2". Private to train/tensorboard.c.
 */
#ifndef CASK_TRAIN_TENSORBOARD_RECORD_H
#define CASK_TRAIN_TENSORBOARD_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/text.h"

/* One event, as bytes in `text`. A summary's values are added between begin and end. */
void tensorboard_version(struct cask_text *event, double wall_time);
void tensorboard_start(struct cask_text *event, double wall_time, int64_t step);
void tensorboard_scalars(struct cask_text *event, double wall_time, int64_t step,
                         const struct cask_text *summary);
void tensorboard_value(struct cask_text *summary, const char *tag, float value);

/* The event framed as a TFRecord. */
void tensorboard_frame(struct cask_text *file, const struct cask_text *event);

/* Bytes of the whole record at `data`, with good checksums; 0 if it is torn or damaged. *step gets
 * the event's step, 0 where it has none. */
size_t tensorboard_record(const uint8_t *data, size_t bytes, int64_t *step);

#endif
