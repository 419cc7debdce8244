/* tests/grad/test_grad_ops.c - every gradient of every op, by central differences on ref64.
 *
 * This is the link between the formulas and the oracle; tests/ops carries it on to the backends.
 */
#include "kernels/kernels.h"
#include "tests/support/ops/op.h"
#include "tests/support/test.h"

static void every_gradient_is_the_difference_quotient(void **state)
{
    struct cask_error err;
    struct cask_device *ref64 = NULL;
    struct cask_device_options options = {.backend = "ref64"};
    int cases = 0, failures = 0;
    (void)state;
    assert_ok(cask_device_open(&options, &ref64, &err));
    for (; op_tiny_cases[cases] != NULL; cases++) {
        if (op_check_gradient(ref64, op_tiny_cases[cases], &err) != CASK_OK) {
            print_error("FAILED %s: %s\n", op_tiny_cases[cases], err.message);
            failures++;
        }
    }
    cask_device_close(ref64);
    print_message("%d of %d cases pass\n", cases - failures, cases);
    assert_int_equal(failures, 0);
}

/* A family with a backward op and no tiny case would be an untested gradient. */
static void every_family_with_a_backward_has_a_case(void **state)
{
    struct cask_error err;
    (void)state;
    for (int f = 0; op_families[f] != NULL; f++) {
        bool found = op_families[f]->backward == NULL;
        for (int i = 0; op_tiny_cases[i] != NULL; i++) {
            struct op_case parsed;
            assert_ok(op_case_parse(op_tiny_cases[i], &parsed, &err));
            found = found || strcmp(parsed.words[0].name, op_families[f]->name) == 0;
        }
        if (!found) {
            fail_msg("no gradient case for %s", op_families[f]->name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_is_the_difference_quotient),
        cmocka_unit_test(every_family_with_a_backward_has_a_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
