/* tests/support/folder.h - one folder for all tests of a program:
 *     return cmocka_run_group_tests(tests, make_folder, remove_folder);
 */
#ifndef CASK_TESTS_SUPPORT_FOLDER_H
#define CASK_TESTS_SUPPORT_FOLDER_H

#include "tests/support/test.h"

static char folder[256];

/* Until the next call. */
static inline const char *in_folder(const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static inline int make_folder(void **state)
{
    (void)state;
    test_make_folder(folder);
    return 0;
}

static inline int remove_folder(void **state)
{
    (void)state;
    test_remove_folder(folder);
    return 0;
}

#endif
