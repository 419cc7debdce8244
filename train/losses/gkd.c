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

struct state {
    struct two_group *rule;
    enum selection selection;
    bool force_label, selection_margin;
    int64_t k, step;
    double tau, selection_temperature;
    double *high, *log_sum; /* [batch]: of the selection softmax */
    real *mass;             /* [classes]: summed over the batch; only for BATCH */
};

/* --------------------------------------------------------------- selection */

struct job {
    const struct state *gkd;
    const struct classes *classes;
    int64_t k; /* of the batch */
};

static double label_value(const struct state *gkd, const struct label *label)
{
    return gkd->selection_margin ? label->margin : label->plain;
}

static struct ranking ranking_of(const struct job *job, int64_t row, int worker)
{
    const struct classes *c = job->classes;
    const struct label *label = &c->labels[row];
    struct ranking ranking = {.x = c->x + row * c->count,
                              .count = c->count,
                              .label = -1,
                              .scratch = c->scratch + worker * rank_scratch(c->count)};
    if (label->known) {
        ranking.label = label->at;
        ranking.with_label = true;
        ranking.label_value = label_value(job->gkd, label);
    }
    return ranking;
}

static void softmax_row(void *user, int64_t row, int worker)
{
    const struct job *job = user;
    const struct classes *c = job->classes;
    struct ranking r = ranking_of(job, row, worker);
    real low = 0, high = REAL_NONE;
    double top = r.label >= 0 ? r.label_value : (double)REAL_NONE;
    if (r.label >= 0) {
        rows_range(r.x, r.label, &low, &high);
    }
    rows_range(r.x + r.label + 1, r.count - r.label - 1, &low, &high);
    top = fmax(top, (double)high);
    job->gkd->high[row] = top;
    job->gkd->log_sum[row] = rows_log_sum(r.x, r.count, r.label, r.label_value, top,
                                          c->scale / job->gkd->selection_temperature);
}

static void cut_row(void *user, int64_t row, int worker)
{
    const struct job *job = user;
    const struct state *gkd = job->gkd;
    const struct classes *c = job->classes;
    struct ranking ranking = ranking_of(job, row, worker);
    int64_t k = job->k;
    if (gkd->selection == SAMPLE) {
        bool closer;
        k = rank_mass(&ranking, c->scale / gkd->selection_temperature, gkd->high[row],
                      gkd->log_sum[row], gkd->tau, &closer);
        k -= closer;
    }
    bool force = gkd->force_label && ranking.label >= 0;
    ranking.with_label = !force;
    struct cut cut = rank_top(&ranking, k - force);
    cut.label |= force;
    gkd->rule->rows[row].cut = cut;
}

/* Probabilities summed over the batch, for one tile of classes, in row order. */
static void mass_tile(void *user, int64_t tile, int worker)
{
    const struct job *job = user;
    const struct state *gkd = job->gkd;
    const struct classes *c = job->classes;
    int64_t first = tile * TILE, width = c->count - first < TILE ? c->count - first : TILE;
    double factor = c->scale / gkd->selection_temperature;
    real *mass = gkd->mass + first;
    (void)worker;
    memset(mass, 0, (size_t)width * sizeof *mass);
    for (int i = 0; i < c->batch; i++) {
        const struct label *label = &c->labels[i];
        const real *x = c->x + i * c->count + first;
        double high = gkd->high[i], log_sum = gkd->log_sum[i];
        int64_t at = label->known ? (int64_t)label->at - first : -1;
        if (at < 0 || at >= width) {
            rows_add_exp(x, width, factor, high, log_sum, mass);
            continue;
        }
        rows_add_exp(x, at, factor, high, log_sum, mass);
        mass[at] += (real)exp((label_value(gkd, label) - high) * factor - log_sum);
        rows_add_exp(x + at + 1, width - at - 1, factor, high, log_sum, mass + at + 1);
    }
}

/* The released rule: smallest k in 1, 1 + step, ... whose classes hold tau of the batch's mass. */
static int64_t batch_k(const struct state *gkd, struct job *job)
{
    const struct classes *c = job->classes;
    bool closer;
    loss_parallel(c->pool, (c->count + TILE - 1) / TILE, mass_tile, job);
    struct ranking ranking = {
        .x = gkd->mass, .count = c->count, .label = -1, .scratch = c->scratch};
    int64_t k = rank_mass(&ranking, 0, 0, 0, gkd->tau * c->batch, &closer);
    k = 1 + (k - 1 + gkd->step - 1) / gkd->step * gkd->step;
    return k < c->count ? k : c->count;
}

static enum cask_status select_all(struct two_group *rule, const struct classes *classes,
                                   struct cask_error *err)
{
    const struct state *gkd = rule->owner;
    struct job job = {.gkd = gkd, .classes = classes, .k = gkd->k};
    (void)err;
    if (gkd->selection != FIXED) {
        loss_parallel(classes->pool, classes->batch, softmax_row, &job);
    }
    if (gkd->selection == BATCH) {
        job.k = batch_k(gkd, &job);
    }
    loss_parallel(classes->pool, classes->batch, cut_row, &job);
    return CASK_OK;
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

static void gkd_free(void *state)
{
    struct state *gkd = state;
    if (gkd != NULL) {
        rule_free(gkd->rule);
        cask_free(gkd->high);
        cask_free(gkd->log_sum);
        cask_free(gkd->mass);
        cask_free(gkd);
    }
}

static enum cask_status create(const void *options, const struct cask_engine_facts *facts,
                               void **state, struct cask_error *err)
{
    const struct options *o = options;
    struct rule_options rule;
    enum cask_status st = CASK_OK;
    struct state *gkd = cask_alloc(1, sizeof *gkd);
    if (gkd == NULL) {
        return cask_error_memory(err, sizeof *gkd, "GKD");
    }
    resolve_variant(o, facts, gkd, &rule);
    CASK_TRY(rule_create("gkd", &rule, facts, &gkd->rule, err));
    const char *primary = o->lambda_primary[0] != '\0'                    ? o->lambda_primary
                          : gkd->selection == BATCH && o->variant == CODE ? "4"
                                                                          : "8";
    CASK_TRY(parse_lambda("lambda_primary", primary, &gkd->rule->primary, err));
    CASK_TRY(parse_lambda("lambda_binary", o->lambda_binary, &gkd->rule->binary, err));
    CASK_TRY(parse_lambda("lambda_secondary", o->lambda_secondary, &gkd->rule->secondary, err));
    gkd->rule->set = SET_CUT;
    gkd->rule->select = select_all;
    gkd->rule->owner = gkd;
    gkd->high = cask_alloc((size_t)facts->batch, sizeof *gkd->high);
    gkd->log_sum = cask_alloc((size_t)facts->batch, sizeof *gkd->log_sum);
    gkd->mass =
        gkd->selection == BATCH ? cask_alloc((size_t)facts->classes, sizeof *gkd->mass) : NULL;
    if (gkd->high == NULL || gkd->log_sum == NULL ||
        (gkd->selection == BATCH && gkd->mass == NULL)) {
        CASK_TRY(
            cask_error_memory(err, (size_t)facts->classes * sizeof *gkd->mass, "GKD's selection"));
    }
    *state = gkd;
    gkd = NULL;
done:
    gkd_free(gkd);
    return st;
}

/* The options' first member holds the temperature before the variant is applied; needs do not
 * depend on it. */
static struct two_group *rule_of(void *state)
{
    return ((struct state *)state)->rule;
}

const struct loss NAME(cask_loss_gkd) = {
    .name = "gkd",
    .place = CASK_AT_LOGITS,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .option_bytes = sizeof(struct options),
    .needs = rule_needs,
    .create = create,
    .free = gkd_free,
    .rule = rule_of,
};
