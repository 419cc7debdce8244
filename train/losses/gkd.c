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
    struct two_group rule;
    enum selection selection;
    bool force_label, selection_margin;
    int64_t k, step;
    double tau, selection_temperature;
    real *mass;             /* [classes]: probabilities summed over the batch; only for BATCH */
    double *high, *log_sum; /* [batch]: of the selection softmax; likewise */
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

static struct ranking ranking_of(const struct job *job, int64_t row, int thread)
{
    const struct classes *c = job->classes;
    const struct label *label = &c->labels[row];
    struct ranking ranking = {.x = cosines_row(c->x, 0, row),
                              .width = c->x->width,
                              .step = c->x->batch * c->x->width,
                              .count = c->count,
                              .cosines = c->bounded,
                              .label = -1,
                              .scratch = c->scratch + thread * rank_scratch(c->count)};
    if (label->known) {
        ranking.label = label->at;
        ranking.with_label = true;
        ranking.label_value = label_value(job->gkd, label);
    }
    return ranking;
}

static double selection_factor(const struct job *job)
{
    return job->classes->scale / job->gkd->selection_temperature;
}

static void softmax_row(void *user, int64_t row, int thread)
{
    const struct job *job = user;
    const struct ranking ranking = ranking_of(job, row, thread);
    job->gkd->log_sum[row] = rank_log_sum(&ranking, selection_factor(job), &job->gkd->high[row]);
}

static void cut_row(void *user, int64_t row, int thread)
{
    const struct job *job = user;
    const struct state *gkd = job->gkd;
    struct ranking ranking = ranking_of(job, row, thread);
    int64_t k = job->k;
    if (gkd->selection == SAMPLE) {
        bool closer;
        double high, log_sum = rank_log_sum(&ranking, selection_factor(job), &high);
        k = rank_mass(&ranking, selection_factor(job), high, log_sum, gkd->tau, &closer);
        k -= closer;
    }
    bool force = gkd->force_label && ranking.label >= 0;
    ranking.with_label = !force;
    struct cut cut = rank_top(&ranking, k - force);
    cut.label |= force;
    gkd->rule.rows[row].cut = cut;
}

/* Probabilities summed over the batch, for one chunk of classes, in row order. */
static void mass_chunk(void *user, int64_t number, int thread)
{
    const struct job *job = user;
    const struct state *gkd = job->gkd;
    const struct classes *c = job->classes;
    const int64_t first = number * c->x->width, width = chunk_width(c->x, number);
    const double factor = selection_factor(job);
    real *mass = gkd->mass + first;
    (void)thread;
    memset(mass, 0, (size_t)width * sizeof *mass);
    for (int i = 0; i < c->batch; i++) {
        const struct label *label = &c->labels[i];
        const real *x = cosines_row(c->x, number, i);
        const double high = gkd->high[i], log_sum = gkd->log_sum[i];
        const int64_t at = label->known ? (int64_t)label->at - first : -1;
        if (at < 0 || at >= width) {
            rows_add_exp(x, width, factor, high, log_sum, 1, mass);
            continue;
        }
        rows_add_exp(x, at, factor, high, log_sum, 1, mass);
        mass[at] += (real)exp((label_value(gkd, label) - high) * factor - log_sum);
        rows_add_exp(x + at + 1, width - at - 1, factor, high, log_sum, 1, mass + at + 1);
    }
}

/* The released rule: smallest k in 1, 1 + step, ... whose classes hold tau of the batch's mass. */
static int64_t batch_k(struct job *job)
{
    const struct state *gkd = job->gkd;
    const struct classes *c = job->classes;
    bool closer;
    loss_parallel(c->device, c->batch, softmax_row, job);
    loss_parallel(c->device, c->x->chunks, mass_chunk, job);
    const struct ranking ranking = rank_array(gkd->mass, c->count, c->scratch);
    int64_t k = rank_mass(&ranking, 0, 0, 0, gkd->tau * c->batch, &closer);
    k = 1 + (k - 1 + gkd->step - 1) / gkd->step * gkd->step;
    return k < c->count ? k : c->count;
}

static void select_all(struct two_group *rule, const struct classes *classes)
{
    const struct state *gkd = (const struct state *)rule;
    struct job job = {.gkd = gkd, .classes = classes, .k = gkd->k};
    if (gkd->selection == BATCH) {
        job.k = batch_k(&job);
    }
    loss_parallel(classes->device, classes->batch, cut_row, &job);
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
        cask_free(gkd->high);
        cask_free(gkd->log_sum);
        cask_free(gkd->mass);
        rule_free(gkd);
    }
}

static enum cask_status create_batch(struct state *gkd, const struct cask_engine_facts *facts,
                                     struct cask_error *err)
{
    const size_t batch = (size_t)facts->batch, classes = (size_t)facts->classes;
    gkd->high = cask_alloc(batch, sizeof *gkd->high);
    gkd->log_sum = cask_alloc(batch, sizeof *gkd->log_sum);
    gkd->mass = cask_alloc(classes, sizeof *gkd->mass);
    if (gkd->high == NULL || gkd->log_sum == NULL || gkd->mass == NULL) {
        return cask_error_memory(err, classes * sizeof *gkd->mass, "GKD's selection");
    }
    return CASK_OK;
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
    gkd->rule.select = select_all;
    if (gkd->selection == BATCH) {
        CASK_TRY(create_batch(gkd, facts, err));
    }
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
