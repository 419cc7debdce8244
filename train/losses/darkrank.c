/* train/losses/darkrank.c - DarkRank, hard form (Chen et al. 2018), as in TFace and lenscloth/RKD.
 *
 * Score S_ij = -alpha d_ij^beta. For query i, pi_1..pi_L are the teacher's nearest others:
 *     L = (1/B) sum_i sum_a [ LSE_{b >= a} S_{i,pi_b} - S_{i,pi_a} ]
 * The query itself is left out by index, not by rank; equal teacher distances go by index.
 */
#include "train/losses/distances.h"

enum { MAX_LENGTH = 64 };

struct options {
    bool normalise;
    double alpha, beta;
    int64_t length;
};

#define AT(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {.key = "normalise",
     .type = CASK_CONFIG_BOOL,
     .offset = AT(normalise),
     .value = "true",
     .help = "unit embeddings instead of raw ones"},
    {.key = "alpha",
     .type = CASK_CONFIG_REAL,
     .offset = AT(alpha),
     .value = "3",
     .min = 0,
     .max = 1e6,
     .help = "score = -alpha d^beta"},
    {.key = "beta",
     .type = CASK_CONFIG_REAL,
     .offset = AT(beta),
     .value = "3",
     .min = 1,
     .max = 100,
     .help = "score = -alpha d^beta"},
    {.key = "length",
     .type = CASK_CONFIG_INT,
     .offset = AT(length),
     .value = "3",
     .min = 1,
     .max = MAX_LENGTH,
     .help = "teacher's nearest others of each query (3 in TFace and KD-PWR, 4 in lenscloth/RKD)"},
};

static unsigned needs(const void *options, const struct cask_engine_facts *facts)
{
    (void)facts;
    return CASK_NEED_UNIT |
           (((const struct options *)options)->normalise ? 0 : CASK_NEED_RAW_GRAM | CASK_NEED_NORM);
}

/* The `length` others nearest to i, nearest first; returns how many there are. */
static int nearest(const double *gram, int batch, int64_t i, int length, int64_t *list)
{
    double distance[MAX_LENGTH];
    int n = 0;
    for (int64_t j = 0; j < batch; j++) {
        bool constant;
        double d = pair_distance(gram, batch, i, j, &constant);
        if (j == i || (n == length && !(d < distance[n - 1]))) {
            continue;
        }
        int at = n < length ? n++ : n - 1;
        for (; at > 0 && d < distance[at - 1]; at--) {
            distance[at] = distance[at - 1];
            list[at] = list[at - 1];
        }
        distance[at] = d;
        list[at] = j;
    }
    return n;
}

static double query(const struct options *o, const struct loss_step *step, const double *student,
                    const double *teacher, double *d_student, int64_t i)
{
    int64_t list[MAX_LENGTH];
    double distance[MAX_LENGTH], score[MAX_LENGTH], lse[MAX_LENGTH], value = 0, all = -INFINITY;
    bool constant[MAX_LENGTH];
    const int n = nearest(teacher, step->batch, i, (int)o->length, list);
    for (int a = n - 1; a >= 0; a--) {
        distance[a] = pair_distance(student, step->batch, i, list[a], &constant[a]);
        score[a] = -o->alpha * pow(distance[a], o->beta);
        all = log_add(all, score[a]);
        lse[a] = all;
        value += lse[a] - score[a];
    }
    for (int b = 0; b < n; b++) {
        double slope = -1;
        for (int a = 0; a <= b; a++) {
            slope += exp(score[b] - lse[a]);
        }
        if (!constant[b]) {
            slope *= -o->alpha * o->beta * pow(distance[b], o->beta - 1);
            pair_distance_backward(d_student, step->batch, i, list[b], distance[b],
                                   step->weight * slope / step->batch);
        }
    }
    return value;
}

static double step_darkrank(void *state, const void *options, const struct loss_step *step)
{
    const struct options *o = options;
    double sum = 0;
    (void)state;
    for (int64_t i = 0; i < step->batch; i++) {
        sum += o->normalise
                   ? query(o, step, step->gram, step->teacher_gram, step->d_gram, i)
                   : query(o, step, step->raw_gram, step->teacher_raw_gram, step->d_raw_gram, i);
    }
    return sum / step->batch;
}

const struct loss NAME(cask_loss_darkrank) = {
    .name = "darkrank",
    .place = CASK_AT_PAIRS,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .option_bytes = sizeof(struct options),
    .needs = needs,
    .step = step_darkrank,
};
