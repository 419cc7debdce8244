#include "eval/paired.h"

#include <math.h>

#include "common/mem.h"
#include "eval/resample.h"

struct cask_paired paired_begin(const char *set, const char *protocol, const char *number, double a,
                                double b)
{
    struct cask_paired paired = {.a = a,
                                 .b = b,
                                 .difference = a - b,
                                 .interval = {NAN, NAN},
                                 .bootstrap = NAN,
                                 .mcnemar = NAN};
    snprintf(paired.set, sizeof paired.set, "%s", set);
    snprintf(paired.protocol, sizeof paired.protocol, "%s", protocol);
    snprintf(paired.number, sizeof paired.number, "%s", number);
    return paired;
}

void paired_trial(struct cask_paired *paired, bool right_a, bool right_b, int64_t times)
{
    int64_t *cell = right_a ? (right_b ? &paired->both_right : &paired->only_a)
                            : (right_b ? &paired->only_b : &paired->both_wrong);
    *cell += times;
}

/* McNemar's test, exact: of b + c trials that only one of two models gets right, the chance of a
 * split at least as uneven as b : c if each side were equally likely. Two-sided. */
void paired_mcnemar(struct cask_paired *paired)
{
    int64_t b = paired->only_a, c = paired->only_b, n = b + c, least = b < c ? b : c;
    double sum = 0;
    for (int64_t i = 0; i <= least; i++) {
        sum += exp(lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) -
                   (double)n * log(2));
    }
    paired->mcnemar = fmin(1, 2 * sum);
}

enum cask_status paired_draws(struct cask_paired *paired, const double *a, const double *b,
                              int draws, struct cask_error *err)
{
    int64_t below = 0, above = 0;
    int defined = 0;
    double *differences = cask_alloc((size_t)draws, sizeof *differences);
    if (differences == NULL) {
        return cask_error_memory(err, (size_t)draws * sizeof *differences, "differences");
    }
    for (int draw = 0; draw < draws; draw++) {
        double difference = a[draw] - b[draw];
        if (!isnan(difference)) {
            below += difference <= 0;
            above += difference >= 0;
            differences[defined++] = difference;
        }
    }
    if (defined > 0) {
        int64_t least = below < above ? below : above;
        paired->interval = percentiles(differences, defined);
        paired->bootstrap = fmin(1, 2.0 * (double)(least + 1) / (defined + 1));
    }
    cask_free(differences);
    return CASK_OK;
}
