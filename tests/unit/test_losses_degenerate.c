/* Batches that tempt a loss into 0/0: the value is defined and nothing is NaN, in double, in float
 * and on the cpu backend; with the teacher known everywhere and at its top-k only. */
#include "tests/support/losses.h"

static const char *const losses[][4] = {
    {"head.kind=softmax"},
    {"head.kind=arcface"},
    {"head.kind=arcface", "head.easy_margin=true"},
    {"head.kind=arcface", "head.slope=straight_through"},
    {"head.kind=cosface"},
    {"head.kind=sphereface"},
    {"head.kind=curricularface"},
    {"head.kind=margin_distillation"},
    {"head.kind=sphereface", "head.frozen=true", "loss.kd.weight=1"},
    {"loss.kd.weight=1"},
    {"loss.kd.weight=1", "loss.kd.tail=uniform"},
    {"loss.kd.weight=1", "loss.kd.tail=zero"},
    {"loss.kd.weight=1", "loss.kd.tail=renormalised"},
    {"loss.dkd.weight=1", "loss.dkd.tail=uniform"},
    {"loss.gkd.weight=1"},
    {"loss.gkd.weight=1", "loss.gkd.k=1"},
    {"loss.gkd.weight=1", "loss.gkd.k=1000"},
    {"loss.gkd.weight=1", "loss.gkd.variant=paper"},
    {"loss.gkd.weight=1", "loss.gkd.selection=batch"},
    {"loss.gkd.weight=1", "loss.gkd.tail=uniform", "loss.gkd.lambda_secondary=1"},
    {"loss.gkd.weight=1", "loss.gkd.tail=zero", "loss.gkd.k=1"},
    {"loss.gkd_teacher.weight=1", "loss.gkd_teacher.k=1"},
    {"loss.gkd_teacher.weight=1", "loss.gkd_teacher.k=1", "loss.gkd_teacher.force_label=false",
     "loss.gkd_teacher.margin=false"},
    {"head.weight=0", "loss.pwr.weight=1"},
    {"loss.embedding.weight=1"},
    {"loss.embedding.weight=1", "loss.embedding.map=true"},
    {"loss.embedding.weight=1", "loss.embedding.map=true", "loss.embedding.kind=mse_raw"},
    {"loss.embedding.weight=1", "loss.embedding.kind=mse_raw"},
    {"loss.ekd.weight=1"},
    {"loss.ekd.weight=1", "loss.ekd.variant=paper"},
    {"loss.pwr.weight=1"},
    {"loss.pwr.weight=1", "loss.pwr.kind=exp", "loss.pwr.margin=teacher_std"},
    {"loss.pwr.weight=1", "loss.pwr.kind=ranknet"},
    {"loss.rkd_d.weight=1"},
    {"loss.rkd_a.weight=1"},
    {"loss.rkd_da.weight=1", "loss.rkd_da.normalise=true"},
    {"loss.darkrank.weight=1"},
    {"loss.darkrank.weight=1", "loss.darkrank.normalise=false"},
    {"loss.sp.weight=1"},
    {"loss.sp.weight=1", "loss.sp.rows=raw_gram_rows_normalised"},
    {"loss.cckd.weight=1"},
    {"loss.triplet.weight=1"},
    {"loss.triplet.weight=1", "loss.triplet.metric=angle"},
};

static void run_everything(const struct losses_batch *b, const char *what)
{
    static const char *const backends[] = {"ref64", "ref", "cpu"};
    for (size_t l = 0; l < sizeof losses / sizeof *losses; l++) {
        for (int variant = 0; variant < 6; variant++) {
            struct losses_rig rig;
            struct cask_error err;
            double total = NAN, d_f[LOSSES_B * LOSSES_D], d_w[LOSSES_C * LOSSES_D] = {0};
            bool exact = variant % 2 == 0;
            if (!exact && (strstr(losses[l][0], "margin_d") ||
                           (losses[l][1] && strstr(losses[l][1], "frozen")))) {
                continue; /* needs class centres */
            }
            assert_ok(
                losses_rig_open(&rig, backends[variant / 2], 1, b, exact, 4, losses[l], &err));
            for (int step = 0; step < 2; step++) {
                assert_ok(losses_step(&rig, b, step == 1, &total, d_f, d_w, &err));
                bool finite = isfinite(total);
                for (int j = 0; j < b->batch * b->dim; j++) {
                    finite = finite && isfinite(d_f[j]);
                }
                for (int j = 0; j < b->classes * b->dim; j++) {
                    finite = finite && isfinite(d_w[j]);
                }
                if (!finite) {
                    fail_msg("%s: %s %s on %s, %s: loss %g or a gradient is not finite", what,
                             losses[l][0], losses[l][1] ? losses[l][1] : "", backends[variant / 2],
                             exact ? "exact" : "top-k", total);
                }
            }
            losses_rig_close(&rig);
        }
    }
}

static void copy_row(double *rows, int to, int from, int dim)
{
    memcpy(rows + to * dim, rows + from * dim, (size_t)dim * sizeof *rows);
}

static void test_small_batches(void **state)
{
    (void)state;
    for (int batch = 1; batch <= 3; batch++) {
        struct losses_batch b;
        losses_draw(&b, (uint64_t)batch, batch, LOSSES_C, LOSSES_D, LOSSES_D);
        run_everything(&b, "small batch");
    }
}

static void test_few_classes(void **state)
{
    (void)state;
    for (int classes = 1; classes <= 2; classes++) {
        struct losses_batch b;
        losses_draw(&b, (uint64_t)classes, LOSSES_B, classes, LOSSES_D, LOSSES_D);
        run_everything(&b, "few classes");
    }
}

static void test_labels(void **state)
{
    (void)state;
    struct losses_batch b;
    losses_draw(&b, 5, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_D);
    for (int i = 0; i < b.batch; i++) {
        b.labels[i] = 4;
    }
    run_everything(&b, "one identity");
    for (int i = 0; i < b.batch; i++) {
        b.labels[i] = (uint32_t)i;
    }
    run_everything(&b, "all different");
    b.labels[2] = b.labels[5] = UINT32_MAX;
    losses_fill_topk(&b, LOSSES_K);
    run_everything(&b, "two without label");
    for (int i = 0; i < b.batch; i++) {
        b.labels[i] = UINT32_MAX;
    }
    losses_fill_topk(&b, LOSSES_K);
    run_everything(&b, "no labels");
}

static void test_duplicates(void **state)
{
    (void)state;
    struct losses_batch b;
    losses_draw(&b, 6, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_D);
    copy_row(b.f, 1, 0, b.dim);
    copy_row(b.unit, 3, 2, b.dim);
    run_everything(&b, "duplicates");
    for (int i = 1; i < b.batch; i++) {
        copy_row(b.f, i, 0, b.dim);
        copy_row(b.unit, i, 0, b.dim);
    }
    losses_fill_topk(&b, LOSSES_K);
    run_everything(&b, "one image everywhere");
}

static void test_zero_rows(void **state)
{
    (void)state;
    struct losses_batch b;
    losses_draw(&b, 7, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_D);
    memset(b.f + 2 * b.dim, 0, (size_t)b.dim * sizeof *b.f);
    memset(b.w + 6 * b.dim, 0, (size_t)b.dim * sizeof *b.w);
    run_everything(&b, "zero embedding, zero class row");
}

/* Cosine +1 and -1 at the label, for the student and for the teacher. */
static void test_extreme_cosines(void **state)
{
    (void)state;
    struct losses_batch b;
    losses_draw(&b, 8, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_D);
    for (int i = 0; i < b.batch; i++) {
        double sign = i % 2 ? 1 : -1;
        for (int j = 0; j < b.dim; j++) {
            b.f[i * b.dim + j] = 3 * sign * b.w[b.labels[i] * (uint32_t)b.dim + (uint32_t)j];
            b.unit[i * b.dim + j] = sign * b.centers[b.labels[i] * (uint32_t)b.dim + (uint32_t)j];
        }
    }
    losses_fill_topk(&b, LOSSES_K);
    run_everything(&b, "cosine +-1");
}

static void test_whole_topk(void **state)
{
    (void)state;
    struct losses_batch b;
    losses_draw(&b, 9, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_D);
    losses_fill_topk(&b, LOSSES_C);
    run_everything(&b, "top-k of all classes");
    losses_fill_topk(&b, 1);
    run_everything(&b, "top-1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_batches), cmocka_unit_test(test_few_classes),
        cmocka_unit_test(test_labels),        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_zero_rows),     cmocka_unit_test(test_extreme_cosines),
        cmocka_unit_test(test_whole_topk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
