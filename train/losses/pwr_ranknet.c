/* train/losses/pwr_ranknet.c - see pwr_ranknet.h. */
#include "train/losses/pwr_ranknet.h"

#include "train/losses/losses.h"

enum { BLOCK = 64, PRODUCT = 32 };

struct job {
    struct pwr_ranknet *ranknet;
    int64_t count;
    real beta;
    bool steep;  /* exp(beta x) may leave the range: psi itself is in `up` */
    int factors; /* in a product that stays inside the range */
};

/* softplus(x) = log(1 + u), its derivative u / (1 + u), u = exp(x). */
static double flat_run(const struct job *job, int64_t a, int64_t from, int64_t end, real *slope,
                       double *own)
{
    const real *up = job->ranknet->up, down = job->ranknet->down[a];
    double value = 0, total = 0;
    for (int64_t first = from; first < end; first += job->factors) {
        const int64_t stop = first + job->factors < end ? first + job->factors : end;
        real product = 1, sum = 0;
        SIMD(reduction(* : product) reduction(+ : sum))
        for (int64_t b = first; b < stop; b++) {
            const real one = 1 + up[b] * down, share = 1 - 1 / one;
            product *= one;
            sum += share;
            slope[b] += share;
        }
        value += log((double)product);
        total += (double)sum;
    }
    *own -= total;
    return value;
}

static double steep_run(const struct job *job, int64_t a, int64_t from, int64_t end, real *slope,
                        double *own)
{
    const real *psi = job->ranknet->up, mine = psi[a], beta = job->beta;
    double value = 0, total = 0;
    for (int64_t first = from; first < end; first += PRODUCT) {
        const int64_t stop = first + PRODUCT < end ? first + PRODUCT : end;
        real linear = 0, product = 1, sum = 0;
        SIMD(reduction(* : product) reduction(+ : sum, linear))
        for (int64_t b = first; b < stop; b++) {
            const real x = beta * (psi[b] - mine);
            const real y = real_exp(x > 0 ? -x : x); /* exp(-|x|) */
            const real share = (x > 0 ? 1 : y) / (1 + y);
            linear += x > 0 ? x : 0;
            product *= 1 + y;
            sum += share;
            slope[b] += share;
        }
        value += (double)linear + log((double)product);
        total += (double)sum;
    }
    *own -= total;
    return value;
}

static void lane_task(void *user, int64_t lane, int thread)
{
    const struct job *job = user;
    struct pwr_ranknet *r = job->ranknet;
    real *slope = r->slope[lane];
    (void)thread;
    memset(slope, 0, (size_t)job->count * sizeof *slope);
    r->value[lane] = 0;
    for (int64_t block = lane; block * BLOCK < job->count; block += RANKNET_LANES) {
        const int64_t end = (block + 1) * BLOCK < job->count ? (block + 1) * BLOCK : job->count;
        for (int64_t a = block * BLOCK; a < end; a++) {
            double own = 0;
            r->value[lane] += job->steep ? steep_run(job, a, 0, r->before[a], slope, &own)
                                         : flat_run(job, a, 0, r->before[a], slope, &own);
            slope[a] += (real)own;
        }
    }
}

/* Fills up, down, before, and chooses the form. */
static void prepare(struct job *job, const double *psi)
{
    struct pwr_ranknet *r = job->ranknet;
    double largest = 0;
    for (int64_t n = 0; n < job->count; n++) {
        largest = fmax(largest, fabs(psi[r->order[n]]));
    }
    /* (1 + e^(2 beta |psi|))^factors stays below e^80 */
    const double growth = 2 * (double)job->beta * largest + 0.7;
    job->factors = growth < 40 ? (int)fmin(80 / growth, PRODUCT) : 0;
    job->steep = job->factors < 8;
    for (int64_t n = 0; n < job->count; n++) {
        const double own = psi[r->order[n]];
        r->up[n] = (real)(job->steep ? own : exp((double)job->beta * own));
        r->down[n] = (real)exp(-(double)job->beta * own);
        const bool tied = n > 0 && r->teacher[r->order[n]] == r->teacher[r->order[n - 1]];
        r->before[n] = tied ? r->before[n - 1] : n;
    }
}

double pwr_ranknet_run(struct pwr_ranknet *r, struct cask_device *device, const double *psi,
                       int64_t count, double beta, double *d_student, double *ordered)
{
    struct job job = {.ranknet = r, .count = count, .beta = (real)beta};
    double value = 0;
    prepare(&job, psi);
    loss_parallel(device, RANKNET_LANES, lane_task, &job);
    *ordered = 0;
    for (int64_t n = 0; n < count; n++) {
        double slope = 0;
        for (int l = 0; l < RANKNET_LANES; l++) {
            slope += (double)r->slope[l][n];
        }
        d_student[r->order[n]] += beta * slope;
        *ordered += (double)r->before[n];
    }
    for (int l = 0; l < RANKNET_LANES; l++) {
        value += r->value[l];
    }
    return value;
}
