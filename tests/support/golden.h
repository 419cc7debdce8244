/* tests/support/golden.h - golden files that are JSON. */
#ifndef CASK_TESTS_GOLDEN_H
#define CASK_TESTS_GOLDEN_H

#include "common/json.h"
#include "tests/support/test.h"

/* tests/golden/NAME.json; the caller frees it. */
static inline struct cask_json *golden_read(const char *name)
{
    char path[512];
    struct cask_error err;
    struct cask_json *json = NULL;
    const char *source = getenv("CASK_SOURCE");
    snprintf(path, sizeof path, "%s/tests/golden/%s.json", source != NULL ? source : ".", name);
    assert_ok(cask_json_read(path, 1 << 20, &json, &err));
    return json;
}

#endif
