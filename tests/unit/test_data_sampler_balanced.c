/* Balanced batches, EKD's pair of batches, triplet bags: who comes how often, what repeats, and
 * that a position alone decides. */
#include "common/mem.h"
#include "data/data.h"
#include "data/dataset_impl.h" /* a dataset of labels without files */
#include "tests/support/test.h"

enum { MOST = 4096 };

struct people {
    struct cask_dataset dataset;
    uint32_t labels[MOST];
    struct cask_identities *identities;
};

/* sizes[n] images of label n, mixed, the list ended by -1; `unlabelled` images at the end. */
static void make(struct people *people, const int *sizes, int unlabelled, int64_t fewest)
{
    struct cask_error err = {0};
    int left[64], classes = 0, total = 0, done = 0;
    memset(people, 0, sizeof *people);
    for (; sizes[classes] >= 0; classes++) {
        left[classes] = sizes[classes];
        total += sizes[classes];
    }
    for (int at = 0; done < total; at = (at + 5) % classes) {
        for (int tries = 0; left[at] == 0 && tries < classes; tries++) {
            at = (at + 1) % classes;
        }
        people->labels[done++] = (uint32_t)at;
        left[at]--;
    }
    for (int i = 0; i < unlabelled; i++) {
        people->labels[done++] = CASK_NO_LABEL;
    }
    people->dataset =
        (struct cask_dataset){.count = done, .classes = classes, .labels = people->labels};
    assert_ok(
        cask_identities_create(&people->dataset, NULL, done, fewest, &people->identities, &err));
}

static struct cask_sampler balanced(const struct people *people, int p, int q)
{
    return (struct cask_sampler){.kind = CASK_SAMPLER_BALANCED,
                                 .seed = 7,
                                 .mirror = true,
                                 .identities = people->identities,
                                 .people = p,
                                 .shots = q};
}

/* 11 people; label 4 has none, 7 one, 9 two */
static const int mixed[] = {30, 8, 12, 9, 0, 17, 8, 1, 25, 2, 40, 13, -1};

static void the_index_holds_each_labelled_image_once(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct people people;
    make(&people, mixed, 6, 1);
    assert_int_equal(cask_identities_count(people.identities), 11);
    assert_int_equal(cask_identities_images(people.identities), 165);
    cask_identities_free(people.identities);
    make(&people, mixed, 6, 2);
    assert_int_equal(cask_identities_count(people.identities), 10);
    assert_int_equal(cask_identities_images(people.identities), 164);
    cask_identities_free(people.identities);
    make(&people, mixed, 6, 9);
    assert_int_equal(cask_identities_count(people.identities), 7);
    assert_int_equal(cask_identities_images(people.identities), 30 + 12 + 9 + 17 + 25 + 40 + 13);
    cask_identities_free(people.identities);
    const int64_t some[] = {3, 170, 1, 40}, outside[] = {3, 171}; /* 170 has no label */
    assert_ok(cask_identities_create(&people.dataset, some, 4, 1, &people.identities, &err));
    assert_int_equal(cask_identities_images(people.identities), 3);
    cask_identities_free(people.identities);
    assert_refused(
        CASK_ERR_RANGE, "image 171",
        cask_identities_create(&people.dataset, outside, 2, 1, &people.identities, &err));
    assert_null(people.identities);
}

/* No identity twice in a batch; an image twice only where its identity has fewer than q. */
static void a_batch_is_p_people_with_q_images(void **state)
{
    (void)state;
    enum { P = 4, Q = 3 };
    struct people people;
    make(&people, mixed, 6, 1);
    struct cask_sampler sampler = balanced(&people, P, Q);
    int few = 0, whole = 0;
    for (int64_t batch = 0; batch < 500; batch++) {
        uint32_t who[P];
        for (int p = 0; p < P; p++) {
            struct cask_sample s[Q];
            for (int q = 0; q < Q; q++) {
                s[q] = cask_sampler_at(&sampler, batch * P * Q + p * Q + q);
                assert_in_range(s[q].index, 0, 164); /* the last six are unlabelled */
                assert_int_equal(people.labels[s[q].index], people.labels[s[0].index]);
            }
            who[p] = people.labels[s[0].index];
            for (int other = 0; other < p; other++) {
                assert_int_not_equal(who[p], who[other]);
            }
            if (mixed[who[p]] == 1) { /* three copies, by turns in both views */
                assert_true(s[0].index == s[1].index && s[1].index == s[2].index);
                assert_true(s[0].mirror != s[1].mirror && s[1].mirror != s[2].mirror);
                few++;
            } else if (mixed[who[p]] == 2) { /* both, then the first again in its other view */
                assert_true(s[0].index != s[1].index && s[0].index == s[2].index);
                assert_true(s[0].mirror != s[2].mirror);
                few++;
            } else {
                assert_true(s[0].index != s[1].index && s[1].index != s[2].index &&
                            s[0].index != s[2].index);
                whole++;
            }
        }
    }
    assert_true(few > 200 && whole > 1000);
    cask_identities_free(people.identities);
}

/* Rounds: all people once before anyone twice; within one, all images before any twice. */
static void dealing_covers_everyone(void **state)
{
    (void)state;
    enum { PEOPLE = 12, SHOTS = 8, P = 4, Q = 2, ROUNDS = 40 };
    static const int sizes[] = {8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, -1};
    struct people people;
    make(&people, sizes, 0, 1);
    struct cask_sampler sampler = balanced(&people, P, Q);
    int64_t position = 0;
    int drawn[MOST] = {0}, mirrored = 0, same_order = 0;
    uint32_t last[PEOPLE] = {0};
    assert_int_equal(cask_sampler_epoch_length(&sampler), PEOPLE * SHOTS);
    for (int round = 0; round < ROUNDS; round++) {
        int met[PEOPLE] = {0};
        for (int i = 0; i < PEOPLE * Q; i++, position++) {
            struct cask_sample s = cask_sampler_at(&sampler, position);
            met[people.labels[s.index]]++;
            drawn[s.index]++;
            mirrored += s.mirror;
            if (i % Q == 0) {
                same_order += last[i / Q] == people.labels[s.index];
                last[i / Q] = people.labels[s.index];
            }
        }
        for (int who = 0; who < PEOPLE; who++) {
            assert_int_equal(met[who], Q);
        }
        for (int i = 0; (round + 1) % (SHOTS / Q) == 0 && i < PEOPLE * SHOTS; i++) {
            assert_int_equal(drawn[i], (round + 1) / (SHOTS / Q));
        }
    }
    assert_in_range(mirrored, position * 2 / 5, position * 3 / 5);
    assert_in_range(same_order, 0, PEOPLE * ROUNDS / 4); /* by chance one in twelve */
    cask_identities_free(people.identities);
}

static void coverage_counts_what_was_drawn(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct people people;
    struct cask_coverage found;
    make(&people, mixed, 6, 1);
    struct cask_sampler sampler = balanced(&people, 3, 4);
    const int64_t length = cask_sampler_epoch_length(&sampler);
    assert_int_equal(length, 165 / 12 * 12);
    for (int64_t epoch = 0; epoch < 5; epoch++) {
        int drawn[MOST] = {0}, met[64] = {0};
        struct cask_coverage want = {.draws = length};
        for (int64_t i = 0; i < length; i++) {
            const int64_t at = epoch * length + i;
            struct cask_sample s = cask_sampler_at(&sampler, at);
            bool image_before = false, view_before = false;
            for (int64_t j = at / 12 * 12; j < at; j++) { /* another way to count: look back */
                struct cask_sample other = cask_sampler_at(&sampler, j);
                image_before |= other.index == s.index;
                view_before |= other.index == s.index && other.mirror == s.mirror;
            }
            want.in_batch += image_before;
            want.same_view += view_before;
            want.images += drawn[s.index]++ == 0;
            want.identities += met[people.labels[s.index]]++ == 0;
        }
        want.repeats = want.draws - want.images;
        assert_ok(
            cask_sampler_coverage(&sampler, epoch * length, (epoch + 1) * length, &found, &err));
        assert_memory_equal(&found, &want, sizeof want);
        assert_true(found.in_batch > 0 && found.same_view > 0 && found.identities == 11);
    }
    sampler = (struct cask_sampler){.kind = CASK_SAMPLER_SHUFFLED, .count = 171, .seed = 3};
    assert_ok(cask_sampler_coverage(&sampler, 0, 171, &found, &err));
    assert_true(found.images == 171 && found.repeats == 0 && found.in_batch == 0);
    assert_refused(CASK_ERR_RANGE, "coverage", cask_sampler_coverage(&sampler, 5, 4, &found, &err));
    cask_identities_free(people.identities);
}

/* The general part is what SHUFFLED gives; the balanced part is people x shots beside it. */
static void ekd_is_a_general_and_a_balanced_part(void **state)
{
    (void)state;
    enum { GENERAL = 16, P = 3, Q = 4, BATCH = GENERAL + P * Q };
    struct people people;
    int both = 0;
    make(&people, mixed, 6, 1);
    struct cask_sampler sampler = balanced(&people, P, Q);
    sampler.kind = CASK_SAMPLER_EKD;
    sampler.general = GENERAL;
    sampler.count = people.dataset.count;
    const struct cask_sampler shuffled = {
        .kind = CASK_SAMPLER_SHUFFLED, .count = sampler.count, .seed = 7, .mirror = true};
    const int64_t steps = sampler.count / GENERAL;
    assert_int_equal(cask_sampler_batch(&sampler), BATCH);
    assert_int_equal(cask_sampler_epoch_length(&sampler), steps * BATCH);
    for (int64_t step = 0; step < 4 * steps; step++) {
        struct cask_sample s[BATCH];
        for (int i = 0; i < BATCH; i++) {
            s[i] = cask_sampler_at(&sampler, step * BATCH + i);
        }
        for (int i = 0; i < GENERAL; i++) {
            struct cask_sample want = cask_sampler_at(&shuffled, step / steps * sampler.count +
                                                                     step % steps * GENERAL + i);
            assert_int_equal(s[i].index, want.index);
            assert_int_equal(s[i].mirror, want.mirror);
        }
        for (int i = GENERAL; i < BATCH; i++) {
            const int first = GENERAL + (i - GENERAL) / Q * Q;
            assert_int_equal(people.labels[s[i].index], people.labels[s[first].index]);
            for (int g = 0; g < GENERAL && mixed[people.labels[s[i].index]] >= Q; g++) {
                both += s[g].index == s[i].index;
                assert_true(s[g].index != s[i].index || s[g].mirror != s[i].mirror);
            }
        }
    }
    assert_true(both > 20); /* the last assertion met something */
    cask_identities_free(people.identities);
}

static void a_bag_has_a_positive_for_everyone(void **state)
{
    (void)state;
    enum { P = 8, Q = 5 };
    struct cask_error err = {0};
    struct people people;
    make(&people, mixed, 6, 1);
    struct cask_sampler sampler = balanced(&people, P, Q);
    sampler.kind = CASK_SAMPLER_TRIPLETS;
    assert_refused(CASK_ERR_RANGE, "two images or more", cask_sampler_check(&sampler, &err));
    cask_identities_free(people.identities);
    make(&people, mixed, 6, 2);
    sampler.identities = people.identities;
    assert_ok(cask_sampler_check(&sampler, &err));
    for (int64_t i = 0; i < 50 * P * Q; i += Q) {
        struct cask_sample a = cask_sampler_at(&sampler, i), b = cask_sampler_at(&sampler, i + 1);
        assert_int_equal(people.labels[a.index], people.labels[b.index]);
        assert_int_not_equal(a.index, b.index);
    }
    cask_identities_free(people.identities);
}

static void two_people_are_enough(void **state)
{
    (void)state;
    static const int sizes[] = {5, 1, -1};
    struct people people;
    make(&people, sizes, 0, 1);
    struct cask_sampler sampler = balanced(&people, 2, 2);
    for (int64_t i = 0; i < 400; i += 4) {
        uint32_t a = people.labels[cask_sampler_at(&sampler, i).index];
        assert_true(people.labels[cask_sampler_at(&sampler, i + 1).index] == a);
        assert_true(people.labels[cask_sampler_at(&sampler, i + 2).index] == 1 - a);
        assert_true(people.labels[cask_sampler_at(&sampler, i + 3).index] == 1 - a);
    }
    sampler.mirror = false;
    for (int64_t i = 0; i < 400; i++) {
        assert_false(cask_sampler_at(&sampler, i).mirror);
    }
    sampler.people = 1; /* one identity at a time: no negatives, but a batch */
    assert_true(cask_sampler_at(&sampler, 0).index < 6);
    cask_identities_free(people.identities);
}

static void what_cannot_be_made_is_refused(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct people people;
    make(&people, mixed, 6, 1);
    struct cask_sampler sampler = balanced(&people, 12, 4);
    assert_refused(CASK_ERR_RANGE, "12 different identities in a batch, but only 11",
                   cask_sampler_check(&sampler, &err));
    sampler = balanced(&people, 0, 4);
    assert_refused(CASK_ERR_RANGE, "cannot be made", cask_sampler_check(&sampler, &err));
    sampler = balanced(&people, 4, 0);
    assert_refused(CASK_ERR_RANGE, "cannot be made", cask_sampler_check(&sampler, &err));
    sampler = balanced(&people, 11, 16);
    assert_refused(CASK_ERR_RANGE, "165 images has not one batch of 176",
                   cask_sampler_check(&sampler, &err));
    sampler = balanced(&people, 2, 2);
    sampler.kind = CASK_SAMPLER_EKD;
    sampler.count = 171;
    assert_refused(CASK_ERR_RANGE, "0 general images", cask_sampler_check(&sampler, &err));
    sampler.general = 172;
    assert_refused(CASK_ERR_RANGE, "171 images has not one batch of 172",
                   cask_sampler_check(&sampler, &err));
    sampler.identities = NULL;
    assert_refused(CASK_ERR_INTERNAL, "no index", cask_sampler_check(&sampler, &err));
    cask_identities_free(people.identities);
    people.dataset.classes = 0; /* a dataset without any label */
    people.dataset.labels = NULL;
    assert_ok(cask_identities_create(&people.dataset, NULL, 171, 1, &people.identities, &err));
    sampler = balanced(&people, 1, 2);
    assert_refused(CASK_ERR_RANGE, "only 0 have", cask_sampler_check(&sampler, &err));
    cask_identities_free(people.identities);
    people.dataset.classes = INT64_C(1) << 30;
    assert_refused(CASK_ERR_RANGE, "number the identities from 0",
                   cask_identities_create(&people.dataset, NULL, 171, 1, &people.identities, &err));
}

/* Values of the program before balanced batches: old runs must go on as they began. */
static void older_kinds_draw_what_they_drew(void **state)
{
    (void)state;
    static const uint64_t want[2][2] = {
        {UINT64_C(0x1047d7099f0f4121), UINT64_C(0x6ffb791a8edfae13)},
        {UINT64_C(0x157cdbd7e7cb3297), UINT64_C(0x25af92b72fe0aff9)}};
    int64_t subset[40];
    for (int i = 0; i < 40; i++) {
        subset[i] = i * 7 % 53;
    }
    for (int kind = 0; kind < 2; kind++) {
        for (int part = 0; part < 2; part++) {
            const struct cask_sampler sampler = {.kind = kind ? CASK_SAMPLER_SHUFFLED
                                                              : CASK_SAMPLER_STORAGE,
                                                 .count = part ? 40 : 97,
                                                 .seed = 11,
                                                 .mirror = true,
                                                 .subset = part ? subset : NULL};
            uint64_t hash = UINT64_C(1469598103934665603);
            for (int64_t i = 0; i < 1000; i++) {
                struct cask_sample s = cask_sampler_at(&sampler, i);
                hash = (hash ^ (uint64_t)(s.index * 2 + s.mirror)) * UINT64_C(1099511628211);
            }
            assert_true(hash == want[kind][part]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_index_holds_each_labelled_image_once),
        cmocka_unit_test(a_batch_is_p_people_with_q_images),
        cmocka_unit_test(dealing_covers_everyone),
        cmocka_unit_test(coverage_counts_what_was_drawn),
        cmocka_unit_test(ekd_is_a_general_and_a_balanced_part),
        cmocka_unit_test(a_bag_has_a_positive_for_everyone),
        cmocka_unit_test(two_people_are_enough),
        cmocka_unit_test(what_cannot_be_made_is_refused),
        cmocka_unit_test(older_kinds_draw_what_they_drew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
