/* tests/support/own_folder.h - a folder for each test, its path in *state:
 *     const struct CMUnitTest tests[] = {in_own_folder(some_test), in_own_folder(another)};
 */
#ifndef CASK_TESTS_SUPPORT_OWN_FOLDER_H
#define CASK_TESTS_SUPPORT_OWN_FOLDER_H

#include "tests/support/test.h"

#define in_own_folder(test)                                                                        \
    cmocka_unit_test_setup_teardown(test, make_own_folder, remove_own_folder)

static inline int make_own_folder(void **state)
{
    *state = malloc(256);
    test_make_folder(*state);
    return 0;
}

static inline int remove_own_folder(void **state)
{
    test_remove_folder(*state);
    free(*state);
    return 0;
}

#endif
