/* cache/names.c - see the header. */
#include "cache/names.h"

#include <inttypes.h>

#include "common/mem.h"

char *cask_shard_stem(const char *folder, int64_t shard)
{
    return cask_format("%s/shard-%05" PRId64, folder, shard);
}

char *cask_centers_stem(const char *folder)
{
    return cask_format("%s/centers", folder);
}
