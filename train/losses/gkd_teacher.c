/* train/losses/gkd_teacher.c - grouped KD whose primary set the TEACHER ranks: the label and the
 * teacher's k - 1 largest others, or with force_label: false simply its k largest.
 *
 * Both released files of WisonZ/GKD hold such a function and call neither. It is another method
 * than GKD (gkd.c), where the student ranks, but the only one that a stored top-k serves exactly:
 * Phi lies inside the list whenever K >= k, and the binary term needs the LSE alone.
 */
#include "common/mem.h"
#include "train/losses/losses.h"
#include "train/losses/rule.h"
#include "train/losses/select.h"

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

struct state {
    struct two_group rule;
    bool force_label;
    int threads;
    int64_t k, batch;
    /* Each thread keeps the best of the chunks it saw: the best of all do not depend on who saw
     * what, because rank has no ties. */
    struct candidate *kept; /* [threads][batch][k]: heaps of all classes but the label */
    int64_t *count;         /* [threads][batch] */
};

static void watch_row(const struct state *state, const struct classes *classes, int64_t row,
                      const struct chunk *chunk, int thread)
{
    const struct label *label = &classes->labels[row];
    const real *y = chunk->y + row * chunk->stride;
    const int64_t k = state->k - (state->force_label && label->known);
    struct candidate *kept = state->kept + (thread * state->batch + row) * state->k;
    int64_t *count = &state->count[thread * state->batch + row];
    const int64_t at = label->known ? (int64_t)label->at - chunk->first : -1;
    for (int64_t j = 0; j < chunk->width; j++) {
        if (j != at && y[j] > REAL_FLOOR && (*count < k || (k > 0 && y[j] >= kept[0].value))) {
            rank_keep(kept, count, k, (struct candidate){y[j], (uint32_t)(chunk->first + j), 0});
        }
    }
}

static void watch(struct two_group *rule, const struct classes *classes, const struct chunk *chunk,
                  int thread)
{
    for (int64_t row = 0; row < classes->batch; row++) {
        watch_row((const struct state *)rule, classes, row, chunk, thread);
    }
}

/* Thread 0's heap takes in those of the others, which are emptied for the next step. */
static void gather(const struct state *state, int64_t row, int64_t k)
{
    struct candidate *kept = state->kept + row * state->k;
    for (int64_t t = 1; t < state->threads; t++) {
        const struct candidate *other = state->kept + (t * state->batch + row) * state->k;
        int64_t *count = &state->count[t * state->batch + row];
        for (int64_t j = 0; j < *count; j++) {
            rank_keep(kept, &state->count[row], k, other[j]);
        }
        *count = 0;
    }
}

static bool select_all(struct two_group *rule, const struct classes *classes)
{
    const struct state *state = (const struct state *)rule;
    for (int row = 0; row < classes->batch; row++) {
        const struct label *label = &classes->labels[row];
        struct candidate *kept = state->kept + row * state->k;
        int64_t *count = &state->count[row];
        bool inside = label->known && state->force_label;
        gather(state, row, state->k - inside);
        if (label->known && !state->force_label) {
            const double phi = two_group_teacher_label(rule, classes, row);
            const struct candidate own = {(real)phi, label->at, 0};
            inside = !isnan(phi) && (*count < state->k || rank_before(own, kept[0]));
            if (inside && *count == state->k) {
                rank_drop(kept, count);
            }
        }
        rule->rows[row].cut = (struct cut){.value = *count > 0 ? kept[0].value : -REAL_NONE,
                                           .index = *count > 0 ? (int64_t)kept[0].index : -1,
                                           .label = inside};
        *count = 0;
    }
    return false;
}

static void release(void *state_)
{
    struct state *state = state_;
    if (state != NULL) {
        cask_free(state->kept);
        cask_free(state->count);
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
    const size_t heaps = (size_t)facts->threads * (size_t)facts->batch;
    enum cask_status st = CASK_OK;
    struct state *state = NULL;
    CASK_TRY(rule_create("gkd_teacher", &o->rule, facts, sizeof *state, &state, err));
    CASK_TRY(check_list(o, facts, err));
    state->k = o->k < facts->classes ? o->k : facts->classes;
    state->force_label = o->force_label;
    state->threads = facts->threads;
    state->batch = facts->batch;
    state->kept = cask_alloc(heaps * (size_t)state->k, sizeof *state->kept);
    state->count = cask_alloc(heaps, sizeof *state->count);
    if (state->kept == NULL || state->count == NULL) {
        CASK_TRY(cask_error_memory(err, heaps * (size_t)state->k * sizeof *state->kept,
                                   "primary sets of teacher-ranked GKD"));
    }
    state->rule.bytes = heaps * (size_t)state->k * sizeof *state->kept;
    state->rule.set = SET_CUT;
    state->rule.by_teacher = true;
    state->rule.watch = watch;
    state->rule.select = select_all;
    state->rule.primary.value = o->lambda_primary;
    state->rule.binary.value = o->lambda_binary;
    *out = state;
    state = NULL;
done:
    release(state);
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
