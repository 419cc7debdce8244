/* cache/names.h - private: what the files of a cache are called. The caller frees; NULL: no memory.
 */
#ifndef CASK_CACHE_NAMES_H
#define CASK_CACHE_NAMES_H

#include <stdint.h>

char *cask_shard_stem(const char *folder, int64_t shard); /* "DIR/shard-00012": add .h5 or .idx */
char *cask_centers_stem(const char *folder);              /* "DIR/centers" */

#endif
