/* train/losses/gkd_teacher.c - grouped KD whose primary set the TEACHER ranks: the label and the
 * teacher's k - 1 largest others, or with force_label: false simply its k largest.
 *
 * Both released files of WisonZ/GKD hold such a function and call neither. It is another method
 * than GKD (gkd.c), where the student ranks, but the only one that a stored top-k serves exactly:
 * Phi lies inside the list whenever K >= k, and the binary term needs the LSE alone.
 */
#include "train/losses/gkd_cut.h"
#include "train/losses/rule.h"

struct options {
    struct rule_options rule;
    int64_t k;
    bool force_label;
    double lambda_primary, lambda_binary;
};

#define AT(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    RULE_ROWS(struct options, "4", "true", "true"),
    {.key = "k",
     .type = CASK_CONFIG_INT,
     .offset = AT(k),
     .value = "64",
     .min = 1,
     .max = 1e6,
     .help = "classes in the primary set; a teacher known at its top-k must hold as many"},
    {.key = "force_label",
     .type = CASK_CONFIG_BOOL,
     .offset = AT(force_label),
     .value = "true",
     .help = "the label is always one of them"},
    {.key = "lambda_primary",
     .type = CASK_CONFIG_REAL,
     .offset = AT(lambda_primary),
     .value = "8",
     .min = 0,
     .max = 1e9,
     .help = "weight inside the primary set"},
    {.key = "lambda_binary",
     .type = CASK_CONFIG_REAL,
     .offset = AT(lambda_binary),
     .value = "1",
     .min = 0,
     .max = 1e9,
     .help = "weight between primary and secondary mass"},
};

static void release(void *state)
{
    if (state != NULL) {
        gkd_cut_release(state);
        rule_free(state);
    }
}

/* A margin may push the label out of the k, and one more is then needed. */
static enum cask_status check_list(const struct options *o, const struct cask_engine_facts *facts,
                                   struct cask_error *err)
{
    const int64_t needed = o->k + (!o->force_label && o->rule.margin);
    if (facts->centers || facts->topk >= facts->classes || needed <= facts->topk) {
        return CASK_OK;
    }
    return cask_error_set(
        err, CASK_ERR_MISMATCH,
        "loss.gkd_teacher.k: %lld classes need a list of %lld, and the teacher is "
        "known at %d. Set loss.gkd_teacher.k to %d or less, or build the cache "
        "with --topk %lld",
        (long long)o->k, (long long)needed, facts->topk, (int)(facts->topk - (needed - o->k)),
        (long long)needed);
}

static enum cask_status create(const void *options, const struct cask_engine_facts *facts,
                               void **out, struct cask_error *err)
{
    const struct options *o = options;
    enum cask_status st = CASK_OK;
    struct gkd *gkd = NULL;
    CASK_TRY(rule_create("gkd_teacher", &o->rule, facts, sizeof *gkd, &gkd, err));
    CASK_TRY(check_list(o, facts, err));
    gkd->selection = GKD_FIXED;
    gkd->k = o->k < facts->classes ? o->k : facts->classes;
    gkd->force_label = o->force_label;
    gkd->selection_temperature = gkd->rule.temperature;
    gkd->rule.by_teacher = true;
    gkd->rule.primary.value = o->lambda_primary;
    gkd->rule.binary.value = o->lambda_binary;
    CASK_TRY(gkd_cut_create(gkd, facts, err));
    *out = gkd;
    gkd = NULL;
done:
    release(gkd);
    return st;
}

const struct loss NAME(cask_loss_gkd_teacher) = {
    .name = "gkd_teacher",
    .place = CASK_AT_LOGITS,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .option_bytes = sizeof(struct options),
    .needs = rule_needs,
    .create = create,
    .free = release,
    .rule = rule_itself,
};
