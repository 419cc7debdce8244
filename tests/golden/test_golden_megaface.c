/* MegaFace against numpy: rank-1..10 and TPR at FAR under the three noise rules; see
 * make_protocols.py. Counts are equal to the last one. */
#include "tests/support/test.h"

#include <math.h>

#include "common/mem.h"
#include "common/rng.h"
#include "eval/megaface.h"

enum { PROBES = 90, PEOPLE = 14, DISTRACTORS = 3000, DIM = 20, DRAWS = 6 };

static double centred(uint64_t seed, uint64_t stream, int64_t counter)
{
    return cask_rng_uniform(seed, stream, (uint64_t)counter) - 0.5;
}

struct drawn {
    uint32_t identity[PROBES];
    float probes[PROBES * DIM];
    bool noisy_probe[PROBES], noisy[DISTRACTORS];
    float *distractors;
};

static void draw(uint64_t seed, struct drawn *out)
{
    for (int p = 0; p < PROBES; p++) {
        out->identity[p] = (uint32_t)(p * 5 % PEOPLE);
        out->noisy_probe[p] = cask_rng_below(seed, 3, (uint64_t)p, 12) == 0;
        for (int d = 0; d < DIM; d++) {
            double centre = centred(seed, 0, (int64_t)out->identity[p] * DIM + d);
            out->probes[p * DIM + d] = (float)(centre + 1.2 * centred(seed, 1, p * DIM + d));
        }
    }
    out->distractors = cask_alloc(DISTRACTORS * DIM, sizeof(float));
    for (int i = 0; i < DISTRACTORS * DIM; i++) {
        out->distractors[i] = (float)(centred(seed, 2, i) * 3);
    }
    for (int i = 0; i < DISTRACTORS; i++) {
        out->noisy[i] = cask_rng_below(seed, 4, (uint64_t)i, 40) == 0;
    }
}

static void expect(const char *what, int64_t found, FILE *file, uint64_t seed, int rule)
{
    long long want;
    assert_int_equal(fscanf(file, "%lld", &want), 1);
    if (found != want) {
        fail_msg("seed %llu, rule %s: %s %lld, expected %lld", (unsigned long long)seed,
                 cask_noise_rule_names[rule], what, (long long)found, want);
    }
}

static void run_case(const char *backend, uint64_t seed, int rule, int threads, FILE *file)
{
    struct cask_error err = {0};
    struct cask_device_options device_options = {backend, 2, CASK_PRECISION_FP32};
    struct cask_device *device = NULL;
    struct drawn *d = cask_alloc(1, sizeof *d);
    struct cask_megaface got;
    struct cask_megaface_draws draws = {.draws = DRAWS, .seed = 3};
    draw(seed, d);
    struct cask_rows_array array = {d->distractors, DIM};
    struct cask_rows rows = cask_rows_of_array(&array, DISTRACTORS);
    struct cask_probes probes = {.rows = d->probes,
                                 .count = PROBES,
                                 .dim = DIM,
                                 .identity = d->identity,
                                 .noisy = d->noisy_probe};
    assert_ok(cask_device_open(&device_options, &device, &err));
    assert_ok(cask_probes_clean(&probes, (enum cask_noise_rule)rule, seed, &err));
    struct cask_megaface_options options = {device,   threads, 1e-4, (enum cask_noise_rule)rule,
                                            d->noisy, &draws};
    assert_ok(cask_megaface_run(&probes, &rows, &options, &got, &err));
    for (int n = 0; n < CASK_MEGAFACE_RANKS; n++) {
        expect("hits", got.hits[n], file, seed, rule);
    }
    expect("pairs", got.pairs, file, seed, rule);
    expect("allowed", got.allowed, file, seed, rule);
    expect("accepted", got.accepted, file, seed, rule);
    expect("noisy probes", probes.noisy_count, file, seed, rule);
    expect("noisy distractors", got.noisy_distractors, file, seed, rule);
    for (int n = 0; n < DRAWS * (CASK_MEGAFACE_RANKS + 1); n++) {
        int rank = n % (CASK_MEGAFACE_RANKS + 1), draw_number = n / (CASK_MEGAFACE_RANKS + 1);
        double want, value = draws.values[rank * DRAWS + draw_number];
        assert_int_equal(fscanf(file, "%lf", &want), 1);
        if (!(fabs(value - want) <= 1e-6)) {
            fail_msg("seed %llu, rule %s, draw %d, number %d: %.10g, expected %.10g",
                     (unsigned long long)seed, cask_noise_rule_names[rule], draw_number, rank,
                     value, want);
        }
    }
    assert_int_equal(draws.shallow, 0);
    cask_free(draws.values);
    assert_int_equal(got.zero_distractors, 0);
    assert_true(got.hits[0] > 0 && got.hits[0] < got.hits[9] && got.hits[9] < got.pairs);
    cask_device_close(device);
    cask_free(d->distractors);
    cask_free(d);
}

static void all_rules(void **state)
{
    char path[512];
    unsigned long long seed;
    int rule, cases = 0;
    (void)state;
    snprintf(path, sizeof path, "%s/tests/golden/protocols/megaface.txt", getenv("CASK_SOURCE"));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (; fscanf(file, "%llu %d", &seed, &rule) == 2; cases++) {
        run_case(cases % 4 == 3 ? "ref" : "cpu", seed, rule, 1 + cases % 3, file);
    }
    fclose(file);
    assert_int_equal(cases, 18);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_rules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
