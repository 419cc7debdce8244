/* train/losses/rule.c - see rule.h. */
#include "train/losses/rule.h"

#include "common/mem.h"

const char *const rule_tail_names[] = {"one_bin", "uniform", "zero", "renormalised", NULL};

static enum cask_status check_topk(const char *name, const struct rule_options *options,
                                   const struct cask_engine_facts *facts, struct cask_error *err)
{
    if (facts->topk <= 0) {
        return cask_error_set(
            err, CASK_ERR_MISMATCH,
            "loss.%s: needs the teacher's class centres or its top-k; this teacher gives neither. "
            "Build the cache with --centers or --topk",
            name);
    }
    if (options->tail == TAIL_RENORMALISED) {
        return CASK_OK;
    }
    for (int t = 0; t < facts->temperature_count; t++) {
        if (fabs(facts->temperatures[t] - options->temperature) < 1e-9) {
            return CASK_OK;
        }
    }
    return cask_error_set(err, CASK_ERR_MISMATCH,
                          "loss.%s.temperature: the tail rule %s needs the teacher's log-sum-exp "
                          "at T = %g, and the cache has "
                          "%d other temperatures. Build the cache with --temperatures %g, keep its "
                          "class centres, or choose "
                          "tail: renormalised",
                          name, rule_tail_names[options->tail], options->temperature,
                          facts->temperature_count, options->temperature);
}

enum cask_status rule_create(const char *name, const struct rule_options *options,
                             const struct cask_engine_facts *facts, size_t bytes, void *state,
                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct two_group *made = NULL;
    if (!(options->temperature > 0)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE,
                                "loss.%s.temperature: must be above 0, found %g", name,
                                options->temperature));
    }
    if (!facts->centers) {
        CASK_TRY(check_topk(name, options, facts, err));
    }
    made = cask_alloc(1, bytes);
    if (made == NULL ||
        (made->rows = cask_alloc((size_t)facts->batch, sizeof *made->rows)) == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)facts->batch * sizeof *made->rows,
                                   "rows of a class loss"));
    }
    made->temperature = options->temperature;
    made->t_squared = options->t_squared;
    made->margin = options->margin;
    made->tail = (enum tail_rule)options->tail;
    memcpy(state, &made, sizeof made);
    made = NULL;
done:
    rule_free(made);
    return st;
}

void rule_free(void *state)
{
    struct two_group *rule = state;
    if (rule != NULL) {
        cask_free(rule->rows);
        cask_free(rule);
    }
}

unsigned rule_needs(const void *options, const struct cask_engine_facts *facts)
{
    const struct rule_options *o = options;
    if (facts->centers) {
        return CASK_NEED_UNIT | CASK_NEED_CENTERS;
    }
    unsigned lse = o->tail == TAIL_RENORMALISED ? 0 : CASK_NEED_LSE;
    return CASK_NEED_TOPK | CASK_NEED_LABEL_COSINE | lse;
}

struct two_group *rule_itself(void *state)
{
    return state;
}
