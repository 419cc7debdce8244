/* train/losses/gkd_cut.c - see gkd_cut.h. */
#include "train/losses/gkd_cut.h"

#include "common/mem.h"
#include "train/losses/counted.h"
#include "train/losses/rows.h"

struct job {
    struct gkd *gkd;
    const struct classes *classes;
};

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

static double selection_factor(const struct gkd *gkd, const struct classes *classes)
{
    return classes->scale / gkd->selection_temperature;
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
    const real *x = gkd->rule.by_teacher ? chunk->y : chunk->x;
    for (int64_t first = 0; first < classes->batch; first += LOOK_ROWS) {
        struct look rows[LOOK_ROWS];
        int n = 0;
        for (int64_t row = first; row < classes->batch && n < LOOK_ROWS; row++) {
            rows[n++] = (struct look){.window = &gkd->undecided.windows[row],
                                      .x = x + row * chunk->stride,
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
        mass[at] = kept + (real)exp(((double)gkd->goals[row].label - top) * factor - log_sum);
    }
}

static void watch(struct two_group *rule, const struct classes *classes, const struct chunk *chunk,
                  int thread)
{
    const struct gkd *gkd = (const struct gkd *)rule;
    if (!(gkd->selection == GKD_BATCH && gkd->looks == 1)) {
        count_rows(gkd, classes, chunk, thread);
        return;
    }
    for (int64_t row = 0; row < classes->batch; row++) {
        weigh_row(gkd, classes, row, chunk);
    }
}

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

/* The window as the sums take it: above it is Phi, below it Psi. */
static void set_bounds(struct gkd *gkd, int64_t row)
{
    const struct window *window = &gkd->undecided.windows[row];
    gkd->rule.rows[row].cut =
        window->exact ? window->cut : (struct cut){.value = window->last, .index = -1};
}

static void guess_row(void *user, int64_t row, int thread)
{
    const struct job *job = user;
    struct gkd *gkd = job->gkd;
    const struct tally tally = add_tallies(gkd, row);
    (void)thread;
    if (!gkd->undecided.windows[row].done) {
        window_guess(&gkd->undecided.windows[row], &gkd->goals[row], &tally);
    }
    clear_tally(&tally);
    set_bounds(gkd, row);
}

static void narrow_row(void *user, int64_t row, int thread)
{
    const struct job *job = user;
    struct gkd *gkd = job->gkd;
    struct window *window = &gkd->undecided.windows[row];
    struct goal *goal = &gkd->goals[row];
    const struct tally tally = add_tallies(gkd, row);
    (void)thread;
    if (gkd->selection == GKD_SAMPLE && gkd->looks == 1) {
        goal->mass = gkd->tau * window_total(window, goal, &tally);
    }
    window_narrow(window, goal, &tally, gkd->undecided.room);
    clear_tally(&tally);
    set_bounds(gkd, row);
}

static bool all_done(const struct gkd *gkd, const struct classes *classes)
{
    bool done = true;
    for (int row = 0; row < classes->batch; row++) {
        done = done && gkd->undecided.windows[row].done;
    }
    return done;
}

/* The released rule: smallest k in 1, 1 + step, ... whose classes hold tau of the batch's mass. */
static int64_t batch_k(const struct gkd *gkd, const struct classes *classes)
{
    double before, after;
    const int64_t least =
        rank_mass(gkd->mass, NULL, classes->count, gkd->tau * classes->batch, &before, &after);
    const int64_t k = 1 + (least - 1 + gkd->step - 1) / gkd->step * gkd->step;
    return k < classes->count ? k : classes->count;
}

static enum wish behind_look(struct gkd *gkd, const struct classes *classes)
{
    struct job job = {gkd, classes};
    gkd->looks++;
    if (gkd->selection == GKD_BATCH && gkd->looks == 1) {
        loss_parallel(classes->device, classes->batch, total_row, &job);
        memset(gkd->mass, 0, (size_t)classes->count * sizeof *gkd->mass);
        return A_LOOK;
    }
    if (gkd->selection == GKD_BATCH && gkd->looks == 2) {
        const int64_t k = batch_k(gkd, classes);
        for (int row = 0; row < classes->batch; row++) {
            gkd->goals[row].k = k;
        }
    }
    loss_parallel(classes->device, classes->batch, narrow_row, &job);
    return all_done(gkd, classes) ? SUMS : A_LOOK;
}

/* ------------------------------------------------------------------ settle */

static void settle_row(void *user, int64_t row, int thread)
{
    const struct job *job = user;
    struct gkd *gkd = job->gkd;
    struct row_state *state = &gkd->rule.rows[row];
    struct window *window = &gkd->undecided.windows[row];
    struct settling *s = &gkd->settling[thread];
    if (state->summed) {
        return;
    }
    s->inside.above = state->sums.above;
    s->inside.count =
        window->exact ? 0 : undecided_gather(&gkd->undecided, row, s->x, s->y, s->inside.index);
    state->summed = window_settle(window, &gkd->goals[row], &s->inside);
    if (state->summed) {
        state->cut = window->cut;
        two_group_decide(&gkd->rule, job->classes, row, s->x, s->y, s->inside.index,
                         s->inside.count);
    } else {
        two_group_clear(&gkd->rule, &state->sums);
    }
}

static enum wish next(struct two_group *rule, const struct classes *classes)
{
    struct gkd *gkd = (struct gkd *)rule;
    struct job job = {gkd, classes};
    switch (rule->wish) {
    case A_SAMPLE:
        loss_parallel(classes->device, classes->batch, guess_row, &job);
        return SUMS;
    case A_LOOK:
        return behind_look(gkd, classes);
    case SUMS:
        loss_parallel(classes->device, classes->batch, settle_row, &job);
        undecided_begin(&gkd->undecided, classes->batch);
        return all_done(gkd, classes) ? NOTHING : A_LOOK;
    case NOTHING:
        break;
    }
    return NOTHING;
}

/* ------------------------------------------------------------------- start */

static void set_range(const struct classes *classes, const real *x, int64_t row, real *low,
                      real *high)
{
    if (x != NULL) {
        x += row * classes->count;
        *low = *high = x[0];
        rows_range(x, classes->count, low, high);
        *low = *low > REAL_NONE ? *low : REAL_NONE;
        *high = *high < -REAL_NONE ? *high : -REAL_NONE;
    }
}

static struct goal goal_of(const struct gkd *gkd, const struct classes *classes, int64_t row)
{
    const struct label *label = &classes->labels[row];
    const double value = gkd->rule.by_teacher
                             ? two_group_teacher_label(&gkd->rule, classes, (int)row)
                         : gkd->selection_margin ? label->margin
                                                 : label->plain;
    return (struct goal){.by_mass = gkd->selection == GKD_SAMPLE,
                         .k = gkd->selection == GKD_FIXED ? gkd->k : 0,
                         .others = classes->count - label->known,
                         .forced = gkd->force_label,
                         .has_label = label->known && (gkd->force_label || !isnan(value)),
                         .label = (real)value,
                         .label_at = label->at};
}

/* A teacher known at its top-k: the list is all there is to rank. */
static void cut_list(struct gkd *gkd, const struct classes *classes, int64_t row,
                     struct gathered *list)
{
    const struct teacher_rows *teacher = classes->teacher;
    const struct label *label = &classes->labels[row];
    struct window *window = &gkd->undecided.windows[row];
    list->count = list->above = 0;
    for (int64_t j = row * teacher->k; j < (row + 1) * teacher->k; j++) {
        if (!label->known || teacher->index[j] != label->at) {
            list->index[list->count] = teacher->index[j];
            list->value[list->count++] = teacher->cosine[j];
        }
    }
    window_settle(window, &gkd->goals[row], list);
}

static void start_row(void *user, int64_t row, int thread)
{
    const struct job *job = user;
    struct gkd *gkd = job->gkd;
    const struct classes *classes = job->classes;
    const bool by_teacher = gkd->rule.by_teacher;
    struct window *window = &gkd->undecided.windows[row];
    real low = (real)-1.001, high = (real)1.001; /* cosines, and their rounding */
    set_range(classes, by_teacher ? classes->teacher->dense : classes->logits, row, &low, &high);
    window_open(window, low, high, classes->count, selection_factor(gkd, classes));
    gkd->goals[row] = goal_of(gkd, classes, row);
    for (int t = 0; t < gkd->threads; t++) {
        const struct tally tally = tally_of(gkd, row, t);
        clear_tally(&tally);
    }
    if (by_teacher && classes->teacher->kind == TEACHER_TOPK) {
        cut_list(gkd, classes, row, &gkd->settling[thread].inside);
    } else if (gkd->selection == GKD_FIXED) {
        window_begin(window, &gkd->goals[row], gkd->undecided.room);
    }
    set_bounds(gkd, row);
}

static void start(struct two_group *rule, const struct classes *classes)
{
    struct gkd *gkd = (struct gkd *)rule;
    struct job job = {gkd, classes};
    gkd->looks = 0;
    undecided_begin(&gkd->undecided, classes->batch);
    loss_parallel(classes->device, classes->batch, start_row, &job);
    rule->wish = gkd->selection != GKD_FIXED ? A_LOOK : all_done(gkd, classes) ? SUMS : A_SAMPLE;
}

/* ------------------------------------------------------------------ memory */

void gkd_cut_release(struct gkd *gkd)
{
    undecided_release(&gkd->undecided);
    void *const owned[] = {gkd->goals,  gkd->counts, gkd->ranges,
                           gkd->masses, gkd->mass,   gkd->log_sum};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        cask_free(owned[i]);
    }
    for (int t = 0; gkd->settling != NULL && t < gkd->threads; t++) {
        cask_free(gkd->settling[t].x);
        cask_free(gkd->settling[t].y);
        cask_free(gkd->settling[t].inside.index);
        cask_free(gkd->settling[t].inside.mass);
    }
    cask_free(gkd->settling);
}

static enum cask_status claim(struct gkd *gkd, size_t count, size_t size, void *slot,
                              struct cask_error *err)
{
    return counted_alloc(&gkd->rule.bytes, count, size, "GKD's selection", slot, err);
}

static enum cask_status create_settling(struct gkd *gkd, struct cask_error *err)
{
    const size_t room = (size_t)gkd->undecided.room + 1;
    enum cask_status st = CASK_OK;
    CASK_TRY(claim(gkd, (size_t)gkd->threads, sizeof *gkd->settling, &gkd->settling, err));
    for (int t = 0; t < gkd->threads; t++) {
        struct settling *s = &gkd->settling[t];
        CASK_TRY(claim(gkd, room, sizeof *s->x, &s->x, err));
        CASK_TRY(claim(gkd, room, sizeof *s->y, &s->y, err));
        CASK_TRY(claim(gkd, room, sizeof *s->inside.index, &s->inside.index, err));
        if (gkd->selection != GKD_FIXED) {
            CASK_TRY(claim(gkd, room, sizeof *s->inside.mass, &s->inside.mass, err));
        }
        s->inside.room = gkd->undecided.room;
        s->inside.value = gkd->rule.by_teacher ? s->y : s->x;
    }
done:
    return st;
}

static enum cask_status create_memory(struct gkd *gkd, const struct cask_engine_facts *facts,
                                      struct cask_error *err)
{
    const size_t batch = (size_t)facts->batch, classes = (size_t)facts->classes;
    const size_t tallies = (size_t)facts->threads * batch * TALLY;
    enum cask_status st = CASK_OK;
    gkd->threads = facts->threads;
    gkd->batch = facts->batch;
    CASK_TRY(undecided_create(&gkd->undecided, facts, err));
    gkd->rule.bytes += gkd->undecided.bytes;
    CASK_TRY(create_settling(gkd, err));
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
    gkd->rule.next = next;
    gkd->rule.undecided = &gkd->undecided;
done:
    return st;
}
