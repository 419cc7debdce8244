/* train/losses/kd.c - knowledge distillation (Hinton et al. 2015): T^2 mean_i KL(p_i || q_i).
 *
 * As a two-group rule: Phi is everything, l1 = P. In exact mode P is 1; where the teacher is known
 * only at its top-k, the tail rule says what the rest is. `margin: true` feeds the margin logits of
 * both nets, as every public face repository does; T = 4 there (TFace, RepDistiller, mdistiller).
 */
#include "common/mem.h"
#include "train/losses/losses.h"
#include "train/losses/rule.h"

struct options {
    struct rule_options rule;
};

static const struct cask_config_row rows[] = {
    RULE_ROWS(struct options, "4", "true", "true"),
};

static enum cask_status create(const void *options, const struct cask_engine_facts *facts,
                               void **state, struct cask_error *err)
{
    const struct options *o = options;
    struct two_group *rule;
    enum cask_status st = CASK_OK;
    CASK_TRY(rule_create("kd", &o->rule, facts, sizeof *rule, &rule, err));
    rule->set = SET_ALL;
    rule->primary.kind = LAMBDA_P;
    rule->binary.value = 1;
    rule->secondary.kind = LAMBDA_ONE_MINUS_P;
    *state = rule;
done:
    return st;
}

const struct loss NAME(cask_loss_kd) = {
    .name = "kd",
    .place = CASK_AT_LOGITS,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .option_bytes = sizeof(struct options),
    .needs = rule_needs,
    .create = create,
    .free = rule_free,
    .rule = rule_itself,
};
