/* train/losses/check/options.c - the golden files' vocabulary in terms of configuration keys. */
#include "train/losses/check/options.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "train/losses/engine.h"

struct word {
    const char *option, *key; /* key NULL: taken up by take_special() */
};

static const struct word head_ce[] = {
    {"head", "head.kind"},   {"s", "head.scale"},
    {"m", "head.margin"},    {"easy", "head.easy_margin"},
    {"slope", "head.slope"}, {"lambda", "head.lambda"},
    {"t", "head.t"},         {NULL, NULL},
};
static const struct word kd[] = {
    {"T", "loss.kd.temperature"}, {"T2", "loss.kd.t_squared"}, {NULL, NULL}};
static const struct word kd_topk_tail[] = {
    {"T", "loss.kd.temperature"},
    {"T2", "loss.kd.t_squared"},
    {"tail", "loss.kd.tail"},
    {"K", NULL},
    {NULL, NULL},
};
static const struct word dkd[] = {
    {"T", "loss.dkd.temperature"},
    {"T2", "loss.dkd.t_squared"},
    {"alpha", "loss.dkd.alpha"},
    {"beta", "loss.dkd.beta"},
    {NULL, NULL},
};
#define GKD_WORDS                                                                                  \
    {"T", "loss.gkd.temperature"}, {"T2", "loss.gkd.t_squared"},                                   \
        {"selection", "loss.gkd.selection"}, {"k", "loss.gkd.k"}, {"tau", "loss.gkd.tau"},         \
        {"selection_T", "loss.gkd.selection_temperature"}, {"step", "loss.gkd.step"},              \
        {"force_label", "loss.gkd.force_label"}, {"lambda_primary", "loss.gkd.lambda_primary"},    \
        {"lambda_binary", "loss.gkd.lambda_binary"},                                               \
    {                                                                                              \
        "lambda_secondary", "loss.gkd.lambda_secondary"                                            \
    }
static const struct word gkd[] = {GKD_WORDS, {NULL, NULL}};
static const struct word ce_plus_gkd[] = {
    GKD_WORDS,
    {"head", "head.kind"},
    {"s", "head.scale"},
    {"m", "head.margin"},
    {"easy", "head.easy_margin"},
    {"slope", "head.slope"},
    {"margin_in_kd", NULL},
    {"ramp", NULL},
    {NULL, NULL},
};
static const struct word embedding[] = {{"kind", "loss.embedding.kind"}, {NULL, NULL}};
static const struct word margin_distillation[] = {
    {"s", "head.scale"},
    {"m_min", "head.margin_min"},
    {"m_max", "head.margin_max"},
    {NULL, NULL},
};

static const struct word sp[] = {{"rows", "loss.sp.rows"}, {NULL, NULL}};
static const struct word cckd[] = {
    {"gamma", "loss.cckd.gamma"}, {"P", "loss.cckd.order"}, {NULL, NULL}};
static const struct word rkd_d[] = {
    {"normalise", "loss.rkd_d.normalise"},
    {"mean_scale", "loss.rkd_d.mean_scale"},
    {"denom", "loss.rkd_d.denominator"},
    {NULL, NULL},
};
static const struct word rkd_a[] = {{"normalise", "loss.rkd_a.normalise"}, {NULL, NULL}};
static const struct word rkd_da[] = {
    {"normalise", "loss.rkd_da.normalise"}, {"mean_scale", "loss.rkd_da.mean_scale"},
    {"denom", "loss.rkd_da.denominator"},   {"w_d", "loss.rkd_da.weight_d"},
    {"w_a", "loss.rkd_da.weight_a"},        {NULL, NULL},
};
static const struct word darkrank[] = {
    {"normalise", "loss.darkrank.normalise"},
    {"alpha", "loss.darkrank.alpha"},
    {"beta", "loss.darkrank.beta"},
    {"length", "loss.darkrank.length"},
    {NULL, NULL},
};
static const struct word ekd[] = {
    {"form", "loss.ekd.form"},
    {"tau", "loss.ekd.tau"},
    {"inv_fpr", "loss.ekd.inv_fpr"},
    {"ema_alpha", "loss.ekd.ema"},
    {"prev_t_student", NULL},
    {"prev_t_teacher", NULL},
    {"n_hard", "loss.ekd.negatives"},
    {"critical_only", "loss.ekd.critical_only"},
    {"lambda_pos", "loss.ekd.lambda_pos"},
    {"lambda_neg", "loss.ekd.lambda_neg"},
    {NULL, NULL},
};
static const struct word pwr[] = {
    {"loss", "loss.pwr.kind"},
    {"power", "loss.pwr.power"},
    {"beta", "loss.pwr.beta"},
    {"margin", "loss.pwr.margin"},
    {"margin_value", "loss.pwr.margin_value"},
    {NULL, NULL},
};
static const struct word triplet[] = {
    {"metric", "loss.triplet.metric"},
    {"m_min", "loss.triplet.margin_min"},
    {"m_max", "loss.triplet.margin_max"},
    {"triplets", NULL},
    {NULL, NULL},
};

#define BIT(input) (1u << (input))
enum {
    LOGITS = BIT(INPUT_Z) | BIT(INPUT_Z_TEACHER),
    PAIRS = BIT(INPUT_F) | BIT(INPUT_F_TEACHER),
    HEAD = BIT(INPUT_F) | BIT(INPUT_W),
    FROZEN = PAIRS | BIT(INPUT_W_TEACHER),
    BOTH_HEADS = PAIRS | HEAD | BIT(INPUT_W_TEACHER),
};

struct method {
    const char *name, *term;
    bool head;
    unsigned inputs;          /* all of these, and no others */
    const struct word *words; /* NULL: the loss's own configuration keys */
    const char *fixed[4];     /* settings that the golden vocabulary implies */
};

static const struct method methods[] = {
    {"head_ce", NULL, true, HEAD, head_ce, {"head.t_momentum=1"}},
    {"kd", "kd", false, LOGITS, kd, {"loss.kd.margin=false"}},
    {"kd_topk_tail", "kd", false, LOGITS, kd_topk_tail, {"loss.kd.margin=false"}},
    {"dkd", "dkd", false, LOGITS, dkd, {"loss.dkd.margin=false"}},
    {"gkd",
     "gkd",
     false,
     LOGITS,
     gkd,
     {"loss.gkd.margin=false", "loss.gkd.selection_margin=false"}},
    {"ce_plus_gkd", "gkd", true, BOTH_HEADS, ce_plus_gkd, {NULL}},
    {"embedding", "embedding", false, PAIRS, embedding, {NULL}},
    {"ekd", "ekd", false, PAIRS, ekd, {NULL}},
    {"pwr", "pwr", false, PAIRS, pwr, {NULL}},
    {"rkd_d", "rkd_d", false, PAIRS, rkd_d, {NULL}},
    {"rkd_a", "rkd_a", false, PAIRS, rkd_a, {NULL}},
    {"rkd_da", "rkd_da", false, PAIRS, rkd_da, {NULL}},
    {"darkrank", "darkrank", false, PAIRS, darkrank, {NULL}},
    {"sp", "sp", false, PAIRS, sp, {NULL}},
    {"cckd", "cckd", false, PAIRS, cckd, {NULL}},
    {"triplet", "triplet", false, PAIRS, triplet, {NULL}},
    {"margin_distillation",
     NULL,
     true,
     FROZEN,
     margin_distillation,
     {"head.kind=margin_distillation"}},
};

static char *text_of(const struct cask_json *value)
{
    const char *text;
    bool flag;
    int64_t whole;
    double number;
    if (cask_json_as_text(value, &text)) {
        return cask_strdup(text);
    }
    if (cask_json_as_bool(value, &flag)) {
        return cask_strdup(flag ? "true" : "false");
    }
    if (cask_json_as_int(value, &whole)) {
        return cask_format("%lld", (long long)whole);
    }
    if (cask_json_as_real(value, &number)) {
        return cask_format("%.17g", number);
    }
    return cask_json_dump(value, CASK_JSON_COMPACT); /* a list */
}

static enum cask_status take_thresholds(struct check_case *check, int net,
                                        const struct cask_json *list, struct cask_error *err)
{
    const size_t count = cask_json_size(list);
    if (count == 0 || count > 64 ||
        (check->threshold_count != 0 && (size_t)check->threshold_count != count) ||
        check->thresholds[net] != NULL) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "options: both nets need the same number of thresholds, 1 to 64");
    }
    check->threshold_count = (int)count;
    check->thresholds[net] = cask_alloc(count, sizeof(double));
    if (check->thresholds[net] == NULL) {
        return cask_error_memory(err, count * sizeof(double), "thresholds");
    }
    for (size_t k = 0; k < count; k++) {
        if (!cask_json_as_real(cask_json_at(list, k), &check->thresholds[net][k])) {
            return cask_error_set(err, CASK_ERR_FORMAT, "options: threshold %zu is not a number",
                                  k);
        }
    }
    return CASK_OK;
}

static enum cask_status take_triplets(struct check_case *check, const struct cask_json *list,
                                      struct cask_error *err)
{
    const size_t count = cask_json_size(list);
    if (count == 0 || count > 1 << 24 || check->triplets != NULL) {
        return cask_error_set(err, CASK_ERR_FORMAT, "options.triplets: expected a list");
    }
    check->triplets = cask_alloc(count, sizeof *check->triplets);
    if (check->triplets == NULL) {
        return cask_error_memory(err, count * sizeof *check->triplets, "triplets");
    }
    check->triplet_count = (int)count;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < 3; j++) {
            int64_t at;
            if (!cask_json_as_int(cask_json_at(cask_json_at(list, i), j), &at) || at < 0 ||
                at >= check->batch) {
                return cask_error_set(err, CASK_ERR_FORMAT,
                                      "options.triplets[%zu]: expected three images below %d", i,
                                      check->batch);
            }
            check->triplets[i][j] = (int32_t)at;
        }
    }
    return CASK_OK;
}

static enum cask_status take_special(struct check_case *check, const char *option,
                                     const struct cask_json *value, struct cask_error *err)
{
    int64_t whole;
    bool flag;
    enum cask_status st = CASK_OK;
    if (strcmp(option, "K") == 0 && cask_json_as_int(value, &whole) && whole > 0 &&
        whole < INT32_MAX) {
        check->topk = (int)whole;
    } else if (strcmp(option, "ramp") == 0 && cask_json_as_real(value, &check->weight)) {
        return CASK_OK;
    } else if (strcmp(option, "prev_t_student") == 0) {
        CASK_TRY(take_thresholds(check, 0, value, err));
    } else if (strcmp(option, "prev_t_teacher") == 0) {
        CASK_TRY(take_thresholds(check, 1, value, err));
    } else if (strcmp(option, "triplets") == 0) {
        CASK_TRY(take_triplets(check, value, err));
    } else if (strcmp(option, "margin_in_kd") == 0 && cask_json_as_bool(value, &flag)) {
        CASK_TRY(cask_config_set_value(check->config, "loss.gkd.margin", flag ? "true" : "false",
                                       "margin_in_kd", err));
        CASK_TRY(cask_config_set_value(check->config, "loss.gkd.selection_margin",
                                       flag ? "true" : "false", "margin_in_kd", err));
    } else {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "options.%s: not a value that this option takes", option));
    }
done:
    return st;
}

/* A loss without golden words: its options are its configuration keys. */
static enum cask_status take_key(struct check_case *check, const char *loss, const char *option,
                                 const struct cask_json *value, struct cask_error *err)
{
    char *key = cask_format("loss.%s.%s", loss, option), *text = text_of(value);
    enum cask_status st = CASK_OK;
    if (key == NULL || text == NULL) {
        CASK_TRY(cask_error_memory(err, 0, "an option"));
    }
    CASK_TRY(cask_config_set_value(check->config, key, text, option, err));
done:
    cask_free(key);
    cask_free(text);
    return st;
}

static enum cask_status check_inputs(const struct check_case *check, unsigned expected,
                                     struct cask_error *err)
{
    for (int i = 0; i < CASE_INPUTS; i++) {
        const bool given = check->inputs[i].values != NULL;
        if (i != INPUT_MAP && given != ((expected >> i & 1) != 0)) {
            return cask_error_set(err, CASK_ERR_FORMAT, "inputs.%s: this method %s",
                                  case_input_names[i], given ? "has no such input" : "needs it");
        }
    }
    return CASK_OK;
}

/* A method that is the name of a loss in the registry, at the place where that loss attaches. */
static bool registry_method(const char *name, struct method *method)
{
    const struct cask_config_row *rows;
    size_t row_count, bytes;
    enum cask_place place;
    *method = (struct method){0};
    for (int i = 0; cask_engine_f64.describe(i, &method->name, &place, &rows, &row_count, &bytes);
         i++) {
        if (strcmp(method->name, name) == 0) {
            method->term = method->name;
            method->inputs = place == CASK_AT_LOGITS ? LOGITS : PAIRS;
            return true;
        }
    }
    return false;
}

static enum cask_status take_option(struct check_case *check, const struct method *method,
                                    const char *option, const struct cask_json *value,
                                    struct cask_error *err)
{
    const struct word *word = method->words;
    enum cask_status st = CASK_OK;
    if (word == NULL) {
        return take_key(check, method->term, option, value, err);
    }
    while (word->option != NULL && strcmp(word->option, option) != 0) {
        word++;
    }
    if (word->option == NULL) {
        return cask_error_set(err, CASK_ERR_FORMAT, "options.%s: method %s has no such option",
                              option, method->name);
    }
    if (word->key == NULL) {
        return take_special(check, option, value, err);
    }
    char *text = text_of(value);
    if (text == NULL) {
        return cask_error_memory(err, 0, "an option");
    }
    CASK_TRY(cask_config_set_value(check->config, word->key, text, option, err));
done:
    cask_free(text);
    return st;
}

enum cask_status check_case_options(struct check_case *check, const char *name,
                                    const struct cask_json *options, struct cask_error *err)
{
    struct method own;
    const struct method *method = registry_method(name, &own) ? &own : NULL;
    const struct cask_json *value;
    const char *option;
    enum cask_status st = CASK_OK;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        method = strcmp(methods[i].name, name) == 0 ? &methods[i] : method;
    }
    if (method == NULL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "method: %s is not known", name));
    }
    check->head = method->head;
    check->term = method->term;
    check->weight = 1;
    for (int i = 0; i < 4 && method->fixed[i] != NULL; i++) {
        CASK_TRY(cask_config_set(check->config, method->fixed[i], method->name, err));
    }
    for (void *iter = cask_json_next(options, NULL, &option, &value); iter != NULL;
         iter = cask_json_next(options, iter, &option, &value)) {
        CASK_TRY(take_option(check, method, option, value, err));
    }
    CASK_TRY(check_inputs(check, method->inputs, err));
    if (check->topk > 0 && !(cask_json_as_real(cask_json_get(options, "T"), &check->temperature) &&
                             check->temperature > 0)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "options.T: expected a number above 0"));
    }
done:
    return st;
}
