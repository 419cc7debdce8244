/* train/losses/gkd.c - grouped knowledge distillation (Zhao et al. 2023; WisonZ/GKD).
 *
 * Phi is what the STUDENT ranks highest; the same index set serves both nets:
 *     L = lambda_primary KL(ph | qh) + lambda_binary KL([P,1-P] | [Q,1-Q]) (+ lambda_secondary
 * KL(pc | qc))
 *
 * Paper and released code differ; `variant` sets what is left at its default:
 *                   paper                                  code
 *   temperature     1 (none is written)                    4, with T^2
 *   selection       sample: k_i = argmin |mass - tau|      fixed: k = 10000 of 85742
 *   selection_T     as temperature ("softened")            1
 *   force_label     no                                     yes: {y} and the k - 1 largest others
 *   lambda_primary  8                                      8; 4 with selection batch
 * The default is code: it is the only form that is known to have run, and its fixed k keeps the
 * primary term alive, while the per-sample k of the paper falls to 1 once the label holds tau of
 * the mass. The code also ramps the term over 10 epochs: set ramp_epochs for that.
 */
#include <stdlib.h>

#include "common/mem.h"
#include "train/losses/losses.h"
#include "train/losses/rows.h"
#include "train/losses/rule.h"
#include "train/losses/select.h"

enum variant { CODE, PAPER };
enum selection { BY_VARIANT, FIXED, SAMPLE, BATCH };
enum choice { CHOICE_BY_VARIANT, CHOICE_OFF, CHOICE_ON };

struct options {
    struct rule_options rule;
    int variant, selection, force_label;
    bool selection_margin;
    int64_t k, step;
    double k_fraction, tau, selection_temperature;
    const char *lambda_primary, *lambda_binary, *lambda_secondary;
};

static const char *const variants[] = {"code", "paper", NULL};
static const char *const selections[] = {"by_variant", "fixed", "sample", "batch", NULL};
static const char *const choices[] = {"by_variant", "false", "true", NULL};

#define AT(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    RULE_ROWS(struct options, "0", "true", "true"),
    {.key = "variant",
     .type = CASK_CONFIG_ENUM,
     .offset = AT(variant),
     .value = "code",
     .names = variants,
     .help = "preset of what is not set: code (T 4, fixed k, label forced) or paper (T 1, k per "
             "sample)"},
    {.key = "selection",
     .type = CASK_CONFIG_ENUM,
     .offset = AT(selection),
     .value = "by_variant",
     .names = selections,
     .help = "size of the primary set: fixed k, by tau per sample, or one k by tau per batch"},
    {.key = "k",
     .type = CASK_CONFIG_INT,
     .offset = AT(k),
     .value = "0",
     .min = 0,
     .max = 1e9,
     .help = "fixed: classes in the primary set; 0: k_fraction"},
    {.key = "k_fraction",
     .type = CASK_CONFIG_REAL,
     .offset = AT(k_fraction),
     .value = "0.117",
     .min = 0,
     .max = 1,
     .help = "fixed: k as a part of all classes (10000 of 85742 in the code)"},
    {.key = "tau",
     .type = CASK_CONFIG_REAL,
     .offset = AT(tau),
     .value = "0.93",
     .min = 0,
     .max = 1,
     .help = "sample, batch: mass that the primary set should hold"},
    {.key = "step",
     .type = CASK_CONFIG_INT,
     .offset = AT(step),
     .value = "0",
     .min = 0,
     .max = 1e9,
     .help = "batch: k is 1 + a multiple of this (code 100); 0: classes / 857, at least 1"},
    {.key = "selection_temperature",
     .type = CASK_CONFIG_REAL,
     .offset = AT(selection_temperature),
     .value = "0",
     .min = 0,
     .max = 1000,
     .help = "T of the softmax that tau is measured in; 0: by variant"},
    {.key = "selection_margin",
     .type = CASK_CONFIG_BOOL,
     .offset = AT(selection_margin),
     .value = "true",
     .help = "rank the label by its margin logit"},
    {.key = "force_label",
     .type = CASK_CONFIG_ENUM,
     .offset = AT(force_label),
     .value = "by_variant",
     .names = choices,
     .help = "the label is always in the primary set"},
    {.key = "lambda_primary",
     .type = CASK_CONFIG_TEXT,
     .offset = AT(lambda_primary),
     .value = "",
     .help = "a number, p_phi or 1-p_phi; empty: by variant"},
    {.key = "lambda_binary",
     .type = CASK_CONFIG_TEXT,
     .offset = AT(lambda_binary),
     .value = "1",
     .help = "a number, p_phi or 1-p_phi"},
    {.key = "lambda_secondary",
     .type = CASK_CONFIG_TEXT,
     .offset = AT(lambda_secondary),
     .value = "0",
     .help = "a number, p_phi or 1-p_phi"},
};

/* What a look at the rows is for: their histograms, or BATCH's sums over them. */
enum phase { COUNTING, WEIGHING, NARROWING };

struct state {
    struct two_group rule;
    enum selection selection;
    bool force_label, selection_margin;
    int64_t k, step;
    double tau, selection_temperature;
    int threads;
    int64_t batch;
    enum phase phase;
    struct undecided undecided;
    struct goal *goals; /* [batch] */
    int32_t *counts;    /* [threads][batch][TALLY] */
    real *ranges;       /* [threads][batch][2] */
    int64_t *masses;    /* as counts; NULL for FIXED */
    /* BATCH: probabilities summed over the batch, of the selection softmax */
    real *mass;                /* [classes] */
    double *log_sum;           /* [batch] */
    struct candidate *scratch; /* of their ranking */
};

/* --------------------------------------------------------------- selection */

static struct tally tally_of(const struct state *gkd, int64_t row, int64_t thread)
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

static double label_value(const struct state *gkd, const struct label *label)
{
    return gkd->selection_margin ? label->margin : label->plain;
}

static double selection_factor(const struct state *gkd, const struct classes *classes)
{
    return classes->scale / gkd->selection_temperature;
}

static void start_row(struct state *gkd, const struct classes *classes, int64_t row)
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
    gkd->goals[row] = (struct goal){.by_mass = gkd->selection == SAMPLE,
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
    struct state *gkd = (struct state *)rule;
    gkd->phase = COUNTING;
    for (int row = 0; row < classes->batch; row++) {
        start_row(gkd, classes, row);
    }
}

static void watch_run(const struct state *gkd, const struct classes *classes, int64_t row,
                      const struct chunk *chunk, int from, int to, int thread)
{
    const real *x = chunk->x + row * chunk->stride + from;
    const int64_t first = chunk->first + from;
    if (gkd->phase == WEIGHING) {
        rows_add_exp(x, to - from, selection_factor(gkd, classes), gkd->goals[row].top,
                     gkd->log_sum[row], 1, gkd->mass + first);
    } else {
        const struct tally tally = tally_of(gkd, row, thread);
        window_look(&gkd->undecided.windows[row], x, to - from, first, &tally);
    }
}

static void watch(struct two_group *rule, const struct classes *classes, int64_t row,
                  const struct chunk *chunk, int thread)
{
    const struct state *gkd = (const struct state *)rule;
    const struct label *label = &classes->labels[row];
    const int64_t at = label->known ? (int64_t)label->at - chunk->first : -1;
    if (at < 0 || at >= chunk->width) {
        watch_run(gkd, classes, row, chunk, 0, chunk->width, thread);
        return;
    }
    watch_run(gkd, classes, row, chunk, 0, (int)at, thread);
    watch_run(gkd, classes, row, chunk, (int)at + 1, chunk->width, thread);
    if (gkd->phase == WEIGHING) {
        gkd->mass[label->at] += (real)exp((label_value(gkd, label) - gkd->goals[row].top) *
                                              selection_factor(gkd, classes) -
                                          gkd->log_sum[row]);
    }
}

struct job {
    struct state *gkd;
    const struct classes *classes;
};

/* What all threads counted, in the first one's tally. */
static struct tally add_tallies(const struct state *gkd, int64_t row)
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
    struct state *gkd = job->gkd;
    const struct tally tally = add_tallies(gkd, row);
    (void)thread;
    gkd->log_sum[row] = log(window_total(&gkd->undecided.windows[row], &gkd->goals[row], &tally));
}

static void narrow_row(void *user, int64_t row, int thread)
{
    const struct job *job = user;
    struct state *gkd = job->gkd;
    struct window *window = &gkd->undecided.windows[row];
    struct goal *goal = &gkd->goals[row];
    const struct tally tally = add_tallies(gkd, row);
    (void)thread;
    if (gkd->selection == SAMPLE && gkd->phase == COUNTING) {
        goal->mass = gkd->tau * window_total(window, goal, &tally);
    }
    window_narrow(window, goal, &tally, gkd->undecided.room);
    clear_tally(&tally);
    gkd->undecided.count[row] = 0;
    gkd->rule.rows[row].cut =
        window->exact ? window->cut : (struct cut){.value = window->last, .index = -1};
}

/* The released rule: smallest k in 1, 1 + step, ... whose classes hold tau of the batch's mass. */
static int64_t batch_k(const struct state *gkd, const struct classes *classes)
{
    const int64_t least =
        rank_mass(gkd->mass, classes->count, gkd->tau * classes->batch, gkd->scratch);
    const int64_t k = 1 + (least - 1 + gkd->step - 1) / gkd->step * gkd->step;
    return k < classes->count ? k : classes->count;
}

static bool select_all(struct two_group *rule, const struct classes *classes)
{
    struct state *gkd = (struct state *)rule;
    struct job job = {gkd, classes};
    if (gkd->selection == BATCH && gkd->phase == COUNTING) {
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
    struct state *gkd = job->gkd;
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
    struct state *gkd = (struct state *)rule;
    struct job job = {gkd, classes};
    loss_parallel(classes->device, classes->batch, settle_row, &job);
    bool again = false;
    for (int row = 0; row < classes->batch; row++) {
        again |= !gkd->undecided.windows[row].done;
    }
    return again;
}

/* --------------------------------------------------------------------- row */

static enum cask_status parse_lambda(const char *key, const char *text, struct lambda *lambda,
                                     struct cask_error *err)
{
    char *end = NULL;
    if (strcmp(text, "p_phi") == 0) {
        lambda->kind = LAMBDA_P;
        return CASK_OK;
    }
    if (strcmp(text, "1-p_phi") == 0) {
        lambda->kind = LAMBDA_ONE_MINUS_P;
        return CASK_OK;
    }
    lambda->kind = LAMBDA_VALUE;
    lambda->value = strtod(text, &end);
    if (end == text || *end != '\0' || !(lambda->value >= 0 && lambda->value <= 1e9)) {
        return cask_error_set(
            err, CASK_ERR_RANGE,
            "loss.gkd.%s: expected a number from 0, p_phi or 1-p_phi, found \"%s\"", key, text);
    }
    return CASK_OK;
}

static void resolve_variant(const struct options *o, const struct cask_engine_facts *facts,
                            struct state *gkd, struct rule_options *rule)
{
    bool paper = o->variant == PAPER;
    *gkd = (struct state){0};
    *rule = o->rule;
    if (rule->temperature == 0) {
        rule->temperature = paper ? 1 : 4;
    }
    gkd->selection = o->selection != BY_VARIANT ? (enum selection)o->selection
                     : paper                    ? SAMPLE
                                                : FIXED;
    gkd->force_label = o->force_label == CHOICE_BY_VARIANT ? !paper : o->force_label == CHOICE_ON;
    gkd->selection_margin = o->selection_margin;
    gkd->tau = o->tau;
    gkd->selection_temperature = o->selection_temperature > 0 ? o->selection_temperature
                                 : paper                      ? rule->temperature
                                                              : 1;
    int64_t classes = facts->classes;
    gkd->k = o->k > 0 ? o->k : (int64_t)ceil(o->k_fraction * (double)classes);
    gkd->k = gkd->k < 1 ? 1 : gkd->k > classes ? classes : gkd->k;
    gkd->step = o->step > 0 ? o->step : classes / 857 > 1 ? classes / 857 : 1;
}

static void release(void *state)
{
    struct state *gkd = state;
    if (gkd != NULL) {
        void *const owned[] = {gkd->undecided.windows,
                               gkd->undecided.list,
                               gkd->undecided.count,
                               gkd->goals,
                               gkd->counts,
                               gkd->masses,
                               gkd->mass,
                               gkd->log_sum,
                               gkd->scratch};
        for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
            cask_free(owned[i]);
        }
        rule_free(gkd);
    }
}

static enum cask_status claim(struct state *gkd, size_t count, size_t size, void *slot,
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
static enum cask_status create_selection(struct state *gkd, const struct cask_engine_facts *facts,
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
    if (gkd->selection != FIXED) {
        CASK_TRY(claim(gkd, tallies, sizeof *gkd->masses, &gkd->masses, err));
    }
    if (gkd->selection == BATCH) {
        CASK_TRY(claim(gkd, classes, sizeof *gkd->mass, &gkd->mass, err));
        CASK_TRY(claim(gkd, batch, sizeof *gkd->log_sum, &gkd->log_sum, err));
        CASK_TRY(claim(gkd, classes < RANK_SCRATCH ? classes : RANK_SCRATCH, sizeof *gkd->scratch,
                       &gkd->scratch, err));
    }
done:
    return st;
}

static enum cask_status create(const void *options, const struct cask_engine_facts *facts,
                               void **out, struct cask_error *err)
{
    const struct options *o = options;
    struct state resolved, *gkd = NULL;
    struct rule_options rule;
    enum cask_status st = CASK_OK;
    resolve_variant(o, facts, &resolved, &rule);
    CASK_TRY(rule_create("gkd", &rule, facts, sizeof *gkd, &gkd, err));
    resolved.rule = gkd->rule;
    *gkd = resolved;
    const char *primary = o->lambda_primary[0] != '\0'                    ? o->lambda_primary
                          : gkd->selection == BATCH && o->variant == CODE ? "4"
                                                                          : "8";
    CASK_TRY(parse_lambda("lambda_primary", primary, &gkd->rule.primary, err));
    CASK_TRY(parse_lambda("lambda_binary", o->lambda_binary, &gkd->rule.binary, err));
    CASK_TRY(parse_lambda("lambda_secondary", o->lambda_secondary, &gkd->rule.secondary, err));
    gkd->rule.set = SET_CUT;
    gkd->rule.start = start;
    gkd->rule.watch = watch;
    gkd->rule.select = select_all;
    gkd->rule.settle = settle;
    CASK_TRY(create_selection(gkd, facts, err));
    gkd->rule.undecided = &gkd->undecided;
    *out = gkd;
    gkd = NULL;
done:
    release(gkd);
    return st;
}

const struct loss NAME(cask_loss_gkd) = {
    .name = "gkd",
    .place = CASK_AT_LOGITS,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .option_bytes = sizeof(struct options),
    .needs = rule_needs,
    .create = create,
    .free = release,
    .rule = rule_itself,
};
