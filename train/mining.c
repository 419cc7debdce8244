#include "train/mining.h"

#include "common/rng.h"

/* Stream of the run's seed: the text in ASCII, room for the bag below. */
#define STREAM_NEGATIVE ((uint64_t)0x6e656761 << 32) /* "nega" */

/* Cosines between which a negative lies: d = 2 - 2 c turns the rule round. */
struct range {
    double above, below;
};

static bool fits(const struct cask_mining *mining, const float *cosines, int64_t n,
                 struct range range)
{
    const double c = (double)cosines[n];
    return mining->usable[n] && c > range.above && c < range.below;
}

/* Images of [first, end) that fit. */
static int64_t count_fitting(const struct cask_mining *mining, const float *cosines, int64_t first,
                             int64_t end, struct range range)
{
    int64_t count = 0;
    for (int64_t n = first; n < end; n++) {
        count += fits(mining, cosines, n, range);
    }
    return count;
}

/* The choice-th of those. */
static int64_t find_fitting(const struct cask_mining *mining, const float *cosines, int64_t first,
                            struct range range, int64_t choice)
{
    int64_t n = first;
    while (!fits(mining, cosines, n, range) || choice-- > 0) {
        n++;
    }
    return n;
}

/* A negative for the pair (a, p), or -1; `cosines` are a's to the whole bag. */
static int64_t draw_negative(const struct cask_mining *mining, const float *cosines, int64_t a,
                             int64_t p)
{
    const int64_t images = mining->people * mining->shots;
    const int64_t own = a / mining->shots * mining->shots, behind = own + mining->shots;
    const double near = (double)cosines[p];
    const struct range range = {.above = near - mining->window / 2, .below = near};
    const int64_t before = count_fitting(mining, cosines, 0, own, range);
    const int64_t count = before + count_fitting(mining, cosines, behind, images, range);
    if (count == 0) {
        return -1;
    }
    const int64_t choice = (int64_t)cask_rng_below(mining->seed, STREAM_NEGATIVE + mining->bag,
                                                   (uint64_t)(a * images + p), (uint64_t)count);
    return choice < before ? find_fitting(mining, cosines, 0, range, choice)
                           : find_fitting(mining, cosines, behind, range, choice - before);
}

static bool is_pair(const struct cask_mining *mining, int64_t a, int64_t p)
{
    return mining->usable[a] && mining->usable[p] &&
           mining->samples[a].index != mining->samples[p].index;
}

int64_t cask_mining_pairs(int64_t people, int64_t shots)
{
    return people * (shots * (shots - 1) / 2);
}

enum cask_status cask_mining_run(const struct cask_mining *mining, struct cask_device *device,
                                 int32_t (*triplets)[3], int64_t *count, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const int64_t shots = mining->shots, images = mining->people * shots;
    const struct cask_gemm gemm = {.trans_b = true,
                                   .m = shots,
                                   .n = images,
                                   .k = mining->dim,
                                   .alpha = 1,
                                   .in_dtype = CASK_F32,
                                   .out_dtype = CASK_F32};
    *count = 0;
    for (int64_t own = 0; own < images; own += shots) {
        CASK_TRY(cask_device_ops(device)->gemm(device, &gemm, mining->unit + own * mining->dim,
                                               mining->unit, mining->cosines, err));
        for (int64_t pair = 0; pair < shots * shots; pair++) {
            const int64_t a = own + pair / shots, p = own + pair % shots;
            const float *row = mining->cosines + (a - own) * images;
            const int64_t n =
                a < p && is_pair(mining, a, p) ? draw_negative(mining, row, a, p) : -1;
            if (n >= 0) {
                triplets[*count][0] = (int32_t)a;
                triplets[*count][1] = (int32_t)p;
                triplets[*count][2] = (int32_t)n;
                (*count)++;
            }
        }
    }
done:
    return st;
}
