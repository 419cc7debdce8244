/* Every head and every loss with every option: the gradient for f and W against central differences
 * of the loss in double, at random shapes; twice, because a step may leave nothing behind.
 *
 * Selections, thresholds and mined sets are constants of a loss. They are piecewise constant, so
 * the differences see them as such unless a step of 1e-6 crosses an edge; the seeds stay clear of
 * edges.
 */
#include "tests/support/losses.h"

struct setup {
    const char *set[6];
    bool topk; /* teacher known at its top-k only */
    bool same_dim;
    double tolerance; /* of max |grad|; 0: 1e-6 */
};

#define GKD "loss.gkd.weight=0.7"
static const struct setup setups[] = {
    {.set = {"head.kind=softmax"}},
    {.set = {"head.kind=arcface"}},
    {.set = {"head.kind=arcface", "head.margin=1.9"}},
    {.set = {"head.kind=arcface", "head.easy_margin=true"}},
    {.set = {"head.kind=cosface", "head.margin=0.2"}},
    {.set = {"head.kind=sphereface"}},
    {.set = {"head.kind=sphereface", "head.margin=2", "head.lambda=0"}},
    {.set = {"head.kind=curricularface", "head.t=0.3", "head.t_momentum=1"}},
    {.set = {"head.kind=margin_distillation"}, .same_dim = true},
    {.set = {"head.kind=arcface", "head.frozen=true"}, .same_dim = true},
    {.set = {"loss.kd.weight=1"}},
    {.set = {"loss.kd.weight=0.3", "loss.kd.margin=false", "loss.kd.t_squared=false",
             "loss.kd.temperature=2"}},
    {.set = {"loss.kd.weight=1", "loss.kd.tail=one_bin"}, .topk = true},
    {.set = {"loss.kd.weight=1", "loss.kd.tail=uniform"}, .topk = true},
    {.set = {"loss.kd.weight=1", "loss.kd.tail=zero", "loss.kd.margin=false"}, .topk = true},
    {.set = {"loss.kd.weight=1", "loss.kd.tail=renormalised", "loss.kd.temperature=3"},
     .topk = true},
    {.set = {"loss.dkd.weight=1"}},
    {.set = {"loss.dkd.weight=1", "loss.dkd.margin=false", "loss.dkd.alpha=2",
             "loss.dkd.beta=0.5"}},
    {.set = {"loss.dkd.weight=1", "loss.dkd.tail=uniform"}, .topk = true},
    {.set = {GKD, "loss.gkd.k=5"}},
    {.set = {GKD, "loss.gkd.k=5", "loss.gkd.margin=false", "loss.gkd.selection_margin=false"}},
    {.set = {GKD, "loss.gkd.k=1"}},
    {.set = {GKD, "loss.gkd.k=21"}},
    {.set = {GKD, "loss.gkd.variant=paper"}},
    {.set = {GKD, "loss.gkd.variant=paper", "loss.gkd.temperature=4", "loss.gkd.tau=0.5",
             "loss.gkd.force_label=true"}},
    {.set = {GKD, "loss.gkd.selection=batch", "loss.gkd.step=3", "loss.gkd.tau=0.8"}},
    {.set = {GKD, "loss.gkd.k=4", "loss.gkd.lambda_primary=p_phi",
             "loss.gkd.lambda_secondary=1-p_phi"}},
    {.set = {GKD, "loss.gkd.k=4", "loss.gkd.lambda_binary=0"}},
    {.set = {GKD, "loss.gkd.k=9", "loss.gkd.tail=one_bin"}, .topk = true},
    {.set = {GKD, "loss.gkd.k=9", "loss.gkd.tail=uniform", "loss.gkd.lambda_secondary=2"},
     .topk = true},
    {.set = {GKD, "loss.gkd.k=9", "loss.gkd.tail=zero"}, .topk = true},
    {.set = {GKD, "loss.gkd.k=9", "loss.gkd.tail=renormalised"}, .topk = true},
    {.set = {"loss.kd.weight=1", GKD, "loss.gkd.k=3", "loss.dkd.weight=0.1", "loss.sp.weight=3",
             "head.kind=cosface"}},
    {.set = {"loss.embedding.weight=30"}, .same_dim = true},
    {.set = {"loss.embedding.weight=30", "loss.embedding.kind=cos_sq"}, .same_dim = true},
    {.set = {"loss.embedding.weight=30", "loss.embedding.kind=l2"}, .same_dim = true},
    {.set = {"loss.embedding.weight=30", "loss.embedding.kind=mse_raw"}, .same_dim = true},
    {.set = {"loss.embedding.weight=30", "loss.embedding.kind=mse_unit"}, .same_dim = true},
    {.set = {"loss.embedding.weight=30"}},
    {.set = {"loss.embedding.weight=30", "loss.embedding.kind=mse_raw", "head.weight=0.7"}},
    {.set = {"loss.embedding.weight=30", "loss.embedding.map=true"}, .same_dim = true},
    {.set = {"loss.gkd_teacher.weight=1", "loss.gkd_teacher.k=6"}},
    {.set = {"loss.gkd_teacher.weight=1", "loss.gkd_teacher.k=6",
             "loss.gkd_teacher.force_label=false"}},
    {.set = {"loss.gkd_teacher.weight=1", "loss.gkd_teacher.k=5"}, .topk = true},
    {.set = {"loss.kd.weight=0.3", "head.weight=0.7"}},
    {.set = {"loss.sp.weight=100"}},
    {.set = {"loss.sp.weight=100", "loss.sp.rows=raw_gram_rows_normalised"}},
    {.set = {"loss.cckd.weight=1000"}},
    {.set = {"loss.cckd.weight=1000", "loss.cckd.order=1", "loss.cckd.gamma=1"}},
    {.set = {"loss.rkd_d.weight=100"}},
    {.set = {"loss.rkd_d.weight=100", "loss.rkd_d.normalise=true", "loss.rkd_d.mean_scale=false",
             "loss.rkd_d.denominator=B*(B-1)"}},
    {.set = {"loss.rkd_a.weight=100"}},
    {.set = {"loss.rkd_a.weight=100", "loss.rkd_a.normalise=true"}},
    {.set = {"loss.rkd_da.weight=50"}},
    {.set = {"loss.darkrank.weight=1"}},
    {.set = {"loss.darkrank.weight=1", "loss.darkrank.normalise=false", "loss.darkrank.alpha=0.3",
             "loss.darkrank.beta=2", "loss.darkrank.length=5"}},
    {.set = {"loss.ekd.weight=100", "loss.ekd.ema=1", "loss.ekd.tau=0.2"}, .tolerance = 1e-5},
    {.set = {"loss.ekd.weight=100", "loss.ekd.ema=1", "loss.ekd.tau=0.2",
             "loss.ekd.variant=paper"}},
    {.set = {"loss.ekd.weight=100", "loss.ekd.ema=1", "loss.ekd.form=eq7_abs",
             "loss.ekd.negatives=7"}},
    {.set = {"loss.ekd.weight=100", "loss.ekd.ema=1", "loss.ekd.tau=0.2", "loss.ekd.negatives=7",
             "loss.ekd.random_negatives=true"}},
    {.set = {"loss.pwr.weight=100"}},
    {.set = {"loss.pwr.weight=100", "loss.pwr.margin=const"}},
    {.set = {"loss.pwr.weight=100", "loss.pwr.margin=teacher_std", "loss.pwr.power=2"}},
    {.set = {"loss.pwr.weight=100", "loss.pwr.kind=exp", "loss.pwr.beta=2"}},
    {.set = {"loss.pwr.weight=100", "loss.pwr.kind=ranknet", "loss.pwr.beta=3"}},
    {.set = {"loss.triplet.weight=30", "loss.triplet.window=2"}},
    {.set = {"loss.triplet.weight=30", "loss.triplet.metric=angle", "loss.triplet.window=2"}},
};

/* A rig of its own for every evaluation: some losses change their state or draw by the step count.
 */
static double evaluate(const struct setup *setup, const struct losses_batch *b, double *d_f,
                       double *d_w)
{
    struct losses_rig rig;
    struct cask_error err;
    double total = NAN;
    assert_ok(losses_rig_open(&rig, "ref64", 1, b, !setup->topk, 5, setup->set, &err));
    assert_ok(losses_step(&rig, b, false, &total, d_f, d_w, &err));
    losses_rig_close(&rig);
    return total;
}

static void check_gradient(const struct setup *setup, const struct losses_batch *start,
                           double *values, const double *gradient, size_t count,
                           struct losses_batch *moving)
{
    double ignored_f[LOSSES_B * LOSSES_D], ignored_w[LOSSES_C * LOSSES_D], largest = 0;
    const double h = 1e-6;
    for (size_t j = 0; j < count; j++) {
        largest = fmax(largest, fabs(gradient[j]));
    }
    if (!(largest > 1e-6)) {
        fail_msg("%s: the gradient is zero, the test is vacuous", setup->set[0]);
    }
    (void)start;
    for (size_t n = 0; n < 12 && n < count; n++) {
        size_t j = (n * 7 + 3) % count;
        double kept = values[j];
        values[j] = kept + h;
        double up = evaluate(setup, moving, ignored_f, ignored_w);
        values[j] = kept - h;
        double down = evaluate(setup, moving, ignored_f, ignored_w);
        values[j] = kept;
        double tolerance = (setup->tolerance > 0 ? setup->tolerance : 1e-6) * largest;
        double difference = (up - down) / (2 * h);
        if (!(fabs(difference - gradient[j]) <= tolerance)) {
            fail_msg("%s %s %s, entry %zu: gradient %.12g, differences %.12g, allowed %.3g",
                     setup->set[0], setup->set[1] ? setup->set[1] : "",
                     setup->set[2] ? setup->set[2] : "", j, gradient[j], difference, tolerance);
        }
    }
}

static void test_central_differences(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof setups / sizeof *setups; s++) {
        const struct setup *setup = &setups[s];
        struct losses_batch b;
        double d_f[LOSSES_B * LOSSES_D], d_w[LOSSES_C * LOSSES_D] = {0};
        losses_draw(&b, 11 + s, LOSSES_B, LOSSES_C, LOSSES_D,
                    setup->same_dim ? LOSSES_D : LOSSES_DT);
        evaluate(setup, &b, d_f, d_w);
        check_gradient(setup, &b, b.f, d_f, (size_t)(b.batch * b.dim), &b);
        bool frozen = strstr(setup->set[0], "margin_distillation") != NULL ||
                      (setup->set[1] && strstr(setup->set[1], "frozen") != NULL);
        if (!frozen) {
            check_gradient(setup, &b, b.w, d_w, (size_t)(b.classes * b.dim), &b);
        }
    }
}

/* The straight-through slope is a rule: the exact gradient with dz_y/dc = s. At margin 0 both
 * agree. */
static void test_straight_through(void **state)
{
    (void)state;
    struct losses_batch b;
    double exact[LOSSES_B * LOSSES_D], rule[LOSSES_B * LOSSES_D], d_w[LOSSES_C * LOSSES_D];
    losses_draw(&b, 3, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_DT);
    const struct setup plain = {.set = {"head.margin=0"}},
                       through = {.set = {"head.margin=0", "head.slope=straight_through"}};
    const struct setup margin = {.set = {"head.margin=0.5"}},
                       margin_through = {.set = {"head.margin=0.5", "head.slope=straight_through"}};
    evaluate(&plain, &b, exact, d_w);
    evaluate(&through, &b, rule, d_w);
    for (int j = 0; j < b.batch * b.dim; j++) {
        assert_close(rule[j], exact[j], 1e-12);
    }
    double a = evaluate(&margin, &b, exact, d_w), c = evaluate(&margin_through, &b, rule, d_w),
           worst = 0;
    assert_close(a, c, 1e-12);
    for (int j = 0; j < b.batch * b.dim; j++) {
        worst = fmax(worst, fabs(rule[j] - exact[j]));
    }
    assert_true(worst > 1e-3);
}

/* One engine, two steps: the second gives what the first gave. */
static void test_twice(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof setups / sizeof *setups; s++) {
        const struct setup *setup = &setups[s];
        bool draws =
            strstr(setup->set[0], "triplet") != NULL || strstr(setup->set[0], "ekd") != NULL;
        struct losses_rig rig;
        struct losses_batch b;
        struct cask_error err;
        double first[LOSSES_B * LOSSES_D], second[LOSSES_B * LOSSES_D], d_w[LOSSES_C * LOSSES_D],
            w_first[LOSSES_C * LOSSES_D], totals[2];
        losses_draw(&b, 50 + s, LOSSES_B, LOSSES_C, LOSSES_D,
                    setup->same_dim ? LOSSES_D : LOSSES_DT);
        assert_ok(losses_rig_open(&rig, "ref64", 1, &b, !setup->topk, 0, setup->set, &err));
        assert_ok(losses_step(&rig, &b, true, &totals[0], first, w_first, &err));
        assert_ok(losses_step(&rig, &b, false, &totals[1], second, d_w, &err));
        for (int j = 0; !draws && j < b.batch * b.dim; j++) {
            assert_close(second[j], first[j], 1e-12 * (1 + fabs(first[j])));
        }
        losses_rig_close(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_central_differences),
        cmocka_unit_test(test_straight_through),
        cmocka_unit_test(test_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
