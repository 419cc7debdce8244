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
#include "train/losses/gkd_cut.h"
#include "train/losses/rule.h"

enum variant { CODE, PAPER };
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
                            struct gkd *gkd, struct rule_options *rule)
{
    bool paper = o->variant == PAPER;
    *gkd = (struct gkd){0};
    *rule = o->rule;
    if (rule->temperature == 0) {
        rule->temperature = paper ? 1 : 4;
    }
    gkd->selection = o->selection != GKD_BY_VARIANT ? (enum gkd_selection)o->selection
                     : paper                        ? GKD_SAMPLE
                                                    : GKD_FIXED;
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
    if (state != NULL) {
        gkd_cut_release(state);
        rule_free(state);
    }
}

static enum cask_status create(const void *options, const struct cask_engine_facts *facts,
                               void **out, struct cask_error *err)
{
    const struct options *o = options;
    struct gkd resolved, *gkd = NULL;
    struct rule_options rule;
    enum cask_status st = CASK_OK;
    resolve_variant(o, facts, &resolved, &rule);
    CASK_TRY(rule_create("gkd", &rule, facts, sizeof *gkd, &gkd, err));
    resolved.rule = gkd->rule;
    *gkd = resolved;
    const char *primary = o->lambda_primary[0] != '\0'                        ? o->lambda_primary
                          : gkd->selection == GKD_BATCH && o->variant == CODE ? "4"
                                                                              : "8";
    CASK_TRY(parse_lambda("lambda_primary", primary, &gkd->rule.primary, err));
    CASK_TRY(parse_lambda("lambda_binary", o->lambda_binary, &gkd->rule.binary, err));
    CASK_TRY(parse_lambda("lambda_secondary", o->lambda_secondary, &gkd->rule.secondary, err));
    CASK_TRY(gkd_cut_create(gkd, facts, err));
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
