/* The rates are those of python3-torch 1.13.1's PolynomialLR, CosineAnnealingLR and MultiStepLR
 * (base 0.1); torch numbers its first step 0, as Cask does. */
#include "tests/support/test.h"
#include "train/schedule.h"

static void check_rates(const struct cask_schedule *schedule, int64_t first, const double *want,
                        int count)
{
    for (int i = 0; i < count; i++) {
        assert_close(cask_schedule_rate(schedule, first + i), want[i], 1e-15);
    }
}

/* From 0.1 to 0 in seven steps. */
static const double straight[] = {0.1,
                                  0.08571428571428573,
                                  0.07142857142857144,
                                  0.05714285714285715,
                                  0.042857142857142864,
                                  0.028571428571428574,
                                  0.014285714285714294};

static void poly_is_torchs(void **state)
{
    (void)state;
    const double square[] = {0.1,
                             0.07346938775510206,
                             0.05102040816326531,
                             0.03265306122448979,
                             0.018367346938775515,
                             0.008163265306122451,
                             0.0020408163265306146};
    struct cask_schedule schedule = {.kind = CASK_SCHEDULE_POLY,
                                     .rate = 0.1,
                                     .steps_per_epoch = 7,
                                     .total_steps = 7,
                                     .power = 1};
    check_rates(&schedule, 0, straight, 7);
    schedule.power = 2;
    check_rates(&schedule, 0, square, 7);
}

static void cosine_is_torchs(void **state)
{
    (void)state;
    const double want[] = {0.1,
                           0.09504844339512096,
                           0.08117449009293669,
                           0.061126046697815725,
                           0.03887395330218429,
                           0.018825509907063328,
                           0.004951556604879048};
    const struct cask_schedule schedule = {
        .kind = CASK_SCHEDULE_COSINE, .rate = 0.1, .steps_per_epoch = 7, .total_steps = 7};
    check_rates(&schedule, 0, want, 7);
}

static void step_is_torchs(void **state)
{
    (void)state;
    const double want[] = {0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001, 0.001, 0.001};
    const struct cask_schedule schedule = {.kind = CASK_SCHEDULE_STEP,
                                           .rate = 0.1,
                                           .steps_per_epoch = 3,
                                           .total_steps = 12,
                                           .milestones = {.values = {2, 3}, .count = 2},
                                           .gamma = 0.1};
    check_rates(&schedule, 0, want, 12);
}

/* The curve behind a warm-up is the curve without one, moved to the right and shortened. */
static void warmup_is_a_line_from_zero(void **state)
{
    (void)state;
    const double rise[] = {0.02, 0.04, 0.06, 0.08, 0.1};
    const struct cask_schedule schedule = {.kind = CASK_SCHEDULE_POLY,
                                           .rate = 0.1,
                                           .steps_per_epoch = 2,
                                           .total_steps = 12,
                                           .warmup_epochs = 2.5,
                                           .power = 1};
    check_rates(&schedule, 0, rise, 5);
    check_rates(&schedule, 5, straight, 7);
}

/* Its scheduler's own arithmetic by hand: W = 5, T = 12; l / W of the rate, but all of it at l = 0;
 * behind W the straight line to 0 at T. */
static void insightface_starts_at_the_full_rate(void **state)
{
    (void)state;
    const double want[] = {0.1,
                           0.02,
                           0.04,
                           0.06,
                           0.08,
                           0.1,
                           0.1 * (6 / 7.),
                           0.1 * (5 / 7.),
                           0.1 * (4 / 7.),
                           0.1 * (3 / 7.),
                           0.1 * (2 / 7.),
                           0.1 * (1 / 7.)};
    struct cask_schedule schedule = {.kind = CASK_SCHEDULE_POLY,
                                     .rate = 0.1,
                                     .steps_per_epoch = 2,
                                     .total_steps = 12,
                                     .warmup_epochs = 2.5,
                                     .warmup = CASK_WARMUP_INSIGHTFACE,
                                     .power = 1};
    check_rates(&schedule, 0, want, 12);
    /* Without warm-up there is nothing to differ in. */
    schedule.warmup_epochs = 0;
    struct cask_schedule plain = schedule;
    plain.warmup = CASK_WARMUP_LINEAR;
    for (int step = 0; step < 12; step++) {
        assert_close(cask_schedule_rate(&schedule, step), cask_schedule_rate(&plain, step), 0);
    }
}

static void ends_are_defined(void **state)
{
    (void)state;
    struct cask_schedule schedule = {.kind = CASK_SCHEDULE_COSINE,
                                     .rate = 0.1,
                                     .steps_per_epoch = 4,
                                     .total_steps = 8,
                                     .warmup_epochs = 2};
    assert_close(cask_schedule_rate(&schedule, 7), 0.1, 1e-15); /* nothing but warm-up */
    schedule.warmup_epochs = 0;
    assert_close(cask_schedule_rate(&schedule, 100), cask_schedule_rate(&schedule, 7), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(poly_is_torchs),
        cmocka_unit_test(cosine_is_torchs),
        cmocka_unit_test(step_is_torchs),
        cmocka_unit_test(warmup_is_a_line_from_zero),
        cmocka_unit_test(insightface_starts_at_the_full_rate),
        cmocka_unit_test(ends_are_defined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
