/* train/losses/dkd.c - decoupled KD (Zhao et al. 2022): alpha * KL between [label, rest], plus beta
 * * KL among the rest, both times T^2 (megvii-research/mdistiller). As a two-group rule: Phi is the
 * label. The second part needs the teacher at every class, so top-k mode has only tail: uniform.
 */
#include "common/mem.h"
#include "train/losses/losses.h"
#include "train/losses/rule.h"

struct options {
    struct rule_options rule;
    double alpha, beta;
};

static const struct cask_config_row rows[] = {
    RULE_ROWS(struct options, "4", "true", "true"),
    {.key = "alpha",
     .type = CASK_CONFIG_REAL,
     .offset = offsetof(struct options, alpha),
     .value = "1",
     .min = 0,
     .max = 1e6,
     .help = "weight of label against rest"},
    {.key = "beta",
     .type = CASK_CONFIG_REAL,
     .offset = offsetof(struct options, beta),
     .value = "8",
     .min = 0,
     .max = 1e6,
     .help = "weight among the other classes"},
};

static enum cask_status create(const void *options, const struct cask_engine_facts *facts,
                               void **state, struct cask_error *err)
{
    const struct options *o = options;
    struct two_group *rule;
    enum cask_status st = CASK_OK;
    if (!facts->centers && o->rule.tail != TAIL_UNIFORM) {
        CASK_TRY(
            cask_error_set(err, CASK_ERR_MISMATCH,
                           "loss.dkd: compares all classes beside the label, and this teacher is "
                           "known only at its top-k. "
                           "Build the cache with class centres, or set loss.dkd.tail: uniform"));
    }
    CASK_TRY(rule_create("dkd", &o->rule, facts, sizeof *rule, &rule, err));
    rule->set = SET_LABEL;
    rule->binary.value = o->alpha;
    rule->secondary.value = o->beta;
    *state = rule;
done:
    return st;
}

static unsigned needs(const void *options, const struct cask_engine_facts *facts)
{
    return rule_needs(options, facts) | CASK_NEED_LABELS;
}

const struct loss NAME(cask_loss_dkd) = {
    .name = "dkd",
    .place = CASK_AT_LOGITS,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .option_bytes = sizeof(struct options),
    .needs = needs,
    .create = create,
    .free = rule_free,
    .rule = rule_itself,
};
