/* train/losses/gkd_cut.c - see gkd_cut.h. */
#include "train/losses/gkd_cut.h"

#include "common/mem.h"
#include "train/losses/rows.h"

/* ------------------------------------------------------------------- looks */

static struct tally tally_of(const struct gkd *gkd, int64_t row, int64_t thread)
{
    const int64_t one = thread * gkd->batch + row;
    return (struct tally){.count = gkd->counts + one * TALLY,
                          .range = gkd->ranges + one * 2,
                          .mass = gkd->masses != NULL ? gkd->masses + one * TALLY : NULL};
}

static void clear_tally(const struct tally *tally)
{
    memset(tally->count, 0, TALLY * sizeof *tally->count);
    tally->range[0] = (real)INFINITY;
    tally->range[1] = (real)-INFINITY;
    if (tally->mass != NULL) {
        memset(tally->mass, 0, TALLY * sizeof *tally->mass);
    }
}

static double label_value(const struct gkd *gkd, const struct label *label)
{
    return gkd->selection_margin ? label->margin : label->plain;
}

static double selection_factor(const struct gkd *gkd, const struct classes *classes)
{
    return classes->scale / gkd->selection_temperature;
}

static void start_row(struct gkd *gkd, const struct classes *classes, int64_t row)
{
    const struct label *label = &classes->labels[row];
    real low = (real)-1.001, high = (real)1.001; /* cosines, and their rounding */
    if (classes->logits != NULL) {
        const real *x = classes->logits + row * classes->count;
        low = high = x[0];
        rows_range(x, classes->count, &low, &high);
        low = low > REAL_NONE ? low : REAL_NONE;
        high = high < -REAL_NONE ? high : -REAL_NONE;
    }
    window_open(&gkd->undecided.windows[row], low, high, classes->count,
                selection_factor(gkd, classes));
    gkd->goals[row] = (struct goal){.by_mass = gkd->selection == GKD_SAMPLE,
                                    .closer = true,
                                    .k = gkd->k,
                                    .forced = gkd->force_label,
                                    .has_label = label->known};
    if (label->known) {
        gkd->goals[row].label = (struct candidate){(real)label_value(gkd, label), label->at, 0};
    }
    for (int t = 0; t < gkd->threads; t++) {
        const struct tally tally = tally_of(gkd, row, t);
        clear_tally(&tally);
    }
}

static void start(struct two_group *rule, const struct classes *classes)
{
    struct gkd *gkd = (struct gkd *)rule;
    gkd->phase = COUNTING;
    for (int row = 0; row < classes->batch; row++) {
        start_row(gkd, classes, row);
    }
}

static int label_in(const struct classes *classes, int64_t row, const struct chunk *chunk)
{
    const struct label *label = &classes->labels[row];
    const int64_t at = label->known ? (int64_t)label->at - chunk->first : -1;
    return at >= 0 && at < chunk->width ? (int)at : -1;
}

static void count_rows(const struct gkd *gkd, const struct classes *classes,
                       const struct chunk *chunk, int thread)
{
    for (int64_t first = 0; first < classes->batch; first += LOOK_ROWS) {
        struct look rows[LOOK_ROWS];
        int n = 0;
        for (int64_t row = first; row < classes->batch && n < LOOK_ROWS; row++) {
            rows[n++] = (struct look){.window = &gkd->undecided.windows[row],
                                      .x = chunk->x + row * chunk->stride,
                                      .skip = label_in(classes, row, chunk),
                                      .tally = tally_of(gkd, row, thread)};
        }
        window_look(rows, n, chunk->width, chunk->first);
    }
}

static void weigh_row(const struct gkd *gkd, const struct classes *classes, int64_t row,
                      const struct chunk *chunk)
{
    const double factor = selection_factor(gkd, classes);
    const double top = gkd->goals[row].top, log_sum = gkd->log_sum[row];
    const int at = label_in(classes, row, chunk);
    real *mass = gkd->mass + chunk->first;
    const real kept = at >= 0 ? mass[at] : 0;
    rows_add_exp(chunk->x + row * chunk->stride, chunk->width, factor, top, log_sum, 1, mass);
    if (at >= 0) {
        const double value = label_value(gkd, &classes->labels[row]);
        mass[at] = kept + (real)exp((value - top) * factor - log_sum);
    }
}

static void watch(struct two_group *rule, const struct classes *classes, const struct chunk *chunk,
                  int thread)
{
    const struct gkd *gkd = (const struct gkd *)rule;
    if (gkd->phase != WEIGHING) {
        count_rows(gkd, classes, chunk, thread);
        return;
    }
    for (int64_t row = 0; row < classes->batch; row++) {
        weigh_row(gkd, classes, row, chunk);
    }
}

struct job {
    struct gkd *gkd;
    const struct classes *classes;
};

/* What all threads counted, in the first one's tally. */
static struct tally add_tallies(const struct gkd *gkd, int64_t row)
{
    const struct tally sum = tally_of(gkd, row, 0);
    for (int t = 1; t < gkd->threads; t++) {
        const struct tally one = tally_of(gkd, row, t);
        sum.range[0] = one.range[0] < sum.range[0] ? one.range[0] : sum.range[0];
        sum.range[1] = one.range[1] > sum.range[1] ? one.range[1] : sum.range[1];
        for (int b = 0; b < BINS; b++) {
            sum.count[b] += one.count[b];
        }
        for (int b = 0; b < BINS && sum.mass != NULL; b++) {
            sum.mass[b] += one.mass[b];
        }
        clear_tally(&one);
    }
    return sum;
}

static void total_row(void *user, int64_t row, int thread)
{
    const struct job *job = user;
    struct gkd *gkd = job->gkd;
    const struct tally tally = add_tallies(gkd, row);
    (void)thread;
    gkd->log_sum[row] = log(window_total(&gkd->undecided.windows[row], &gkd->goals[row], &tally));
}

static void narrow_row(void *user, int64_t row, int thread)
{
    const struct job *job = user;
    struct gkd *gkd = job->gkd;
    struct window *window = &gkd->undecided.windows[row];
    struct goal *goal = &gkd->goals[row];
    const struct tally tally = add_tallies(gkd, row);
    (void)thread;
    if (gkd->selection == GKD_SAMPLE && gkd->phase == COUNTING) {
        goal->mass = gkd->tau * window_total(window, goal, &tally);
    }
    window_narrow(window, goal, &tally, gkd->undecided.room);
    clear_tally(&tally);
    gkd->undecided.count[row] = 0;
    gkd->rule.rows[row].cut =
        window->exact ? window->cut : (struct cut){.value = window->last, .index = -1};
}

/* The released rule: smallest k in 1, 1 + step, ... whose classes hold tau of the batch's mass. */
static int64_t batch_k(const struct gkd *gkd, const struct classes *classes)
{
    const int64_t least =
        rank_mass(gkd->mass, classes->count, gkd->tau * classes->batch, gkd->scratch);
    const int64_t k = 1 + (least - 1 + gkd->step - 1) / gkd->step * gkd->step;
    return k < classes->count ? k : classes->count;
}

static bool select_all(struct two_group *rule, const struct classes *classes)
{
    struct gkd *gkd = (struct gkd *)rule;
    struct job job = {gkd, classes};
    if (gkd->selection == GKD_BATCH && gkd->phase == COUNTING) {
        loss_parallel(classes->device, classes->batch, total_row, &job);
        memset(gkd->mass, 0, (size_t)classes->count * sizeof *gkd->mass);
        gkd->phase = WEIGHING;
        return true;
    }
    if (gkd->phase == WEIGHING) {
        const int64_t k = batch_k(gkd, classes);
        for (int row = 0; row < classes->batch; row++) {
            gkd->goals[row].k = k;
        }
    }
    loss_parallel(classes->device, classes->batch, narrow_row, &job);
    gkd->phase = NARROWING;
    bool more = false;
    for (int row = 0; row < classes->batch; row++) {
        more |= !gkd->undecided.windows[row].done;
    }
    return more;
}

static void settle_row(void *user, int64_t row, int thread)
{
    const struct job *job = user;
    struct gkd *gkd = job->gkd;
    struct window *window = &gkd->undecided.windows[row];
    struct candidate *list = gkd->undecided.list + row * (gkd->undecided.room + 1);
    (void)thread;
    if (window_settle(window, &gkd->goals[row], list, gkd->undecided.count[row])) {
        gkd->rule.rows[row].cut = window->cut;
        two_group_decide(&gkd->rule, job->classes, row);
    }
}

static bool settle(struct two_group *rule, const struct classes *classes)
{
    struct gkd *gkd = (struct gkd *)rule;
    struct job job = {gkd, classes};
    loss_parallel(classes->device, classes->batch, settle_row, &job);
    bool again = false;
    for (int row = 0; row < classes->batch; row++) {
        again |= !gkd->undecided.windows[row].done;
    }
    return again;
}

/* ------------------------------------------------------------------ memory */

void gkd_cut_release(struct gkd *gkd)
{
    void *const owned[] = {gkd->undecided.windows,
                           gkd->undecided.list,
                           gkd->undecided.count,
                           gkd->goals,
                           gkd->counts,
                           gkd->ranges,
                           gkd->masses,
                           gkd->mass,
                           gkd->log_sum,
                           gkd->scratch};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        cask_free(owned[i]);
    }
}

static enum cask_status claim(struct gkd *gkd, size_t count, size_t size, void *slot,
                              struct cask_error *err)
{
    void *memory = cask_alloc(count, size);
    if (memory == NULL) {
        return cask_error_memory(err, count * size, "GKD's selection");
    }
    gkd->rule.bytes += count * size;
    memcpy(slot, &memory, sizeof memory);
    return CASK_OK;
}

/* A bin of a row of cosines holds about a hundredth of it at most (dim 512); twice that is room. */
static enum cask_status create_memory(struct gkd *gkd, const struct cask_engine_facts *facts,
                                      struct cask_error *err)
{
    const size_t batch = (size_t)facts->batch, classes = (size_t)facts->classes;
    const size_t tallies = (size_t)facts->threads * batch * TALLY;
    struct undecided *u = &gkd->undecided;
    enum cask_status st = CASK_OK;
    u->room = facts->classes / 64 > 512 ? facts->classes / 64 : 512;
    u->room = u->room < facts->classes ? u->room : facts->classes;
    gkd->threads = facts->threads;
    gkd->batch = facts->batch;
    CASK_TRY(claim(gkd, batch, sizeof *u->windows, &u->windows, err));
    CASK_TRY(claim(gkd, batch * (size_t)(u->room + 1), sizeof *u->list, &u->list, err));
    CASK_TRY(claim(gkd, batch, sizeof *u->count, &u->count, err));
    CASK_TRY(claim(gkd, batch, sizeof *gkd->goals, &gkd->goals, err));
    CASK_TRY(claim(gkd, tallies, sizeof *gkd->counts, &gkd->counts, err));
    CASK_TRY(
        claim(gkd, 2 * (size_t)facts->threads * batch, sizeof *gkd->ranges, &gkd->ranges, err));
    if (gkd->selection != GKD_FIXED) {
        CASK_TRY(claim(gkd, tallies, sizeof *gkd->masses, &gkd->masses, err));
    }
    if (gkd->selection == GKD_BATCH) {
        CASK_TRY(claim(gkd, classes, sizeof *gkd->mass, &gkd->mass, err));
        CASK_TRY(claim(gkd, batch, sizeof *gkd->log_sum, &gkd->log_sum, err));
        CASK_TRY(claim(gkd, classes < RANK_SCRATCH ? classes : RANK_SCRATCH, sizeof *gkd->scratch,
                       &gkd->scratch, err));
    }
done:
    return st;
}

enum cask_status gkd_cut_create(struct gkd *gkd, const struct cask_engine_facts *facts,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(create_memory(gkd, facts, err));
    gkd->rule.set = SET_CUT;
    gkd->rule.start = start;
    gkd->rule.watch = watch;
    gkd->rule.select = select_all;
    gkd->rule.settle = settle;
    gkd->rule.undecided = &gkd->undecided;
done:
    return st;
}
