/* tests/support/test.h - the only header a test includes besides what it tests.
 *
 * cmocka's float asserts pass on NaN, so they are taken away; the ones here fail on NaN.
 * A test program that needs the folder with real faces and weights begins with
 *     const char *shared = test_shared_or_skip();
 */
#ifndef CASK_TESTS_SUPPORT_TEST_H
#define CASK_TESTS_SUPPORT_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/status.h"

#undef assert_float_equal
#undef assert_float_not_equal
#undef assert_float_in_range
#undef assert_float_not_in_range

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != CASK_OK) {                                                                   \
            fail_msg("%s: %s", #call, err.message);                                                \
        }                                                                                          \
    } while (0)

/* The call must fail with `want`, and its message must contain `text`. Needs `err` in scope. */
#define assert_refused(want, text, call)                                                           \
    do {                                                                                           \
        enum cask_status got_ = (call);                                                            \
        if (got_ != (want) || strstr(err.message, (text)) == NULL) {                               \
            fail_msg("%s: expected %s with \"%s\", found %s: %s", #call, cask_status_name(want),   \
                     (text), cask_status_name(got_), got_ == CASK_OK ? "" : err.message);          \
        }                                                                                          \
    } while (0)

#define assert_close(got, want, tolerance)                                                         \
    do {                                                                                           \
        double got_ = (got), want_ = (want), tol_ = (tolerance);                                   \
        if (!(fabs(got_ - want_) <= tol_)) {                                                       \
            fail_msg("%s = %.17g, expected %.17g, difference %.3g over %.3g", #got, got_, want_,   \
                     got_ - want_, tol_);                                                          \
        }                                                                                          \
    } while (0)

/* |got - want| <= tolerance * max(|want|) over all elements. */
static inline void assert_all_close_f32(const float *got, const float *want, size_t count,
                                        double tolerance)
{
    double largest = 0, worst = -1;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)want[i]));
    }
    for (size_t i = 0; i < count; i++) {
        double difference = fabs((double)got[i] - (double)want[i]);
        if (!(difference <= worst)) {
            worst = difference;
            at = i;
        }
        if (!(difference <= tolerance * largest)) {
            fail_msg("element %zu of %zu: %.9g, expected %.9g; allowed %.3g", i, count,
                     (double)got[i], (double)want[i], tolerance * largest);
        }
    }
    (void)at;
}

static inline const char *test_shared_or_skip(void)
{
    const char *shared = getenv("CASK_SHARED");
    if (shared == NULL || access(shared, R_OK) != 0) {
        printf("skipped: no folder with real data (CASK_SHARED=%s)\n", shared ? shared : "");
        exit(77);
    }
    return shared;
}

/* A fresh folder under TMPDIR; the caller removes it with test_remove_folder. */
static inline void test_make_folder(char path[256])
{
    const char *base = getenv("TMPDIR");
    snprintf(path, 256, "%s/cask-test-XXXXXX", base ? base : "/tmp");
    if (mkdtemp(path) == NULL) {
        fail_msg("mkdtemp %s", path);
    }
}

static inline void test_remove_folder(const char *path)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    if (system(command) != 0) {
        fail_msg("%s", command);
    }
}

#endif
