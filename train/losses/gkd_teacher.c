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
    struct two_group *rule;
    bool force_label;
    int64_t k;
    struct candidate *kept; /* [batch][k]: heaps of the others */
    int64_t *count;         /* [batch] */
};

struct job {
    const struct state *state;
    const struct classes *classes;
};

/* Runs over the loaded chunk; what is not known there lies below REAL_FLOOR. */
static void keep_row(void *user, int64_t row, int worker)
{
    const struct job *job = user;
    const struct state *state = job->state;
    const struct teacher_rows *teacher = job->classes->teacher;
    struct label *label = &job->classes->labels[row];
    const real *y = teacher->chunk + row * teacher->count;
    const int64_t k = state->k - (state->force_label && label->known);
    struct candidate *kept = state->kept + row * state->k;
    int64_t *count = &state->count[row];
    (void)worker;
    for (int64_t j = 0; j < teacher->count; j++) {
        if (label->known && teacher->first + j == (int64_t)label->at) {
            label->teacher = y[j] > REAL_FLOOR ? (double)y[j] : label->teacher;
        } else if (y[j] > REAL_FLOOR && (*count < k || (k > 0 && y[j] > kept[0].value))) {
            rank_keep(kept, count, k, (struct candidate){y[j], (uint32_t)(teacher->first + j)});
        }
    }
}

static void cut_row(const struct job *job, int row)
{
    const struct state *state = job->state;
    const struct label *label = &job->classes->labels[row];
    struct candidate *kept = state->kept + (int64_t)row * state->k;
    int64_t *count = &state->count[row];
    bool inside = label->known && state->force_label;
    if (label->known && !state->force_label) {
        const double phi = two_group_teacher_label(state->rule, job->classes, row);
        const struct candidate own = {(real)phi, label->at};
        inside = !isnan(phi) && (*count < state->k || rank_before(own, kept[0]));
        if (inside && *count == state->k) {
            rank_drop(kept, count);
        }
    }
    state->rule->rows[row].cut = (struct cut){.value = *count > 0 ? kept[0].value : -REAL_NONE,
                                              .index = *count > 0 ? (int64_t)kept[0].index : -1,
                                              .label = inside};
}

static enum cask_status select_all(struct two_group *rule, const struct classes *classes,
                                   struct cask_error *err)
{
    const struct state *state = rule->owner;
    struct job job = {state, classes};
    const int64_t capacity = classes->teacher->capacity;
    enum cask_status st = CASK_OK;
    memset(state->count, 0, (size_t)classes->batch * sizeof *state->count);
    for (int64_t first = 0; first < classes->count; first += capacity) {
        int64_t width = classes->count - first < capacity ? classes->count - first : capacity;
        CASK_TRY(teacher_load(classes->teacher, classes->batch, classes->count, first, width, err));
        loss_parallel(classes->pool, classes->batch, keep_row, &job);
    }
    for (int i = 0; i < classes->batch; i++) {
        cut_row(&job, i);
    }
done:
    return st;
}

static void release(void *state_)
{
    struct state *state = state_;
    if (state != NULL) {
        rule_free(state->rule);
        cask_free(state->kept);
        cask_free(state->count);
        cask_free(state);
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
    const size_t batch = (size_t)facts->batch;
    enum cask_status st = CASK_OK;
    struct state *state = cask_alloc(1, sizeof *state);
    if (state == NULL) {
        return cask_error_memory(err, sizeof *state, "teacher-ranked GKD");
    }
    CASK_TRY(rule_create("gkd_teacher", &o->rule, facts, &state->rule, err));
    CASK_TRY(check_list(o, facts, err));
    state->k = o->k < facts->classes ? o->k : facts->classes;
    state->force_label = o->force_label;
    state->kept = cask_alloc(batch * (size_t)state->k, sizeof *state->kept);
    state->count = cask_alloc(batch, sizeof *state->count);
    if (state->kept == NULL || state->count == NULL) {
        CASK_TRY(cask_error_memory(err, batch * (size_t)state->k * sizeof *state->kept,
                                   "primary sets of teacher-ranked GKD"));
    }
    state->rule->set = SET_CUT;
    state->rule->by_teacher = true;
    state->rule->select = select_all;
    state->rule->owner = state;
    state->rule->primary.value = o->lambda_primary;
    state->rule->binary.value = o->lambda_binary;
    *out = state;
    state = NULL;
done:
    release(state);
    return st;
}

static struct two_group *rule_of(void *state)
{
    return ((struct state *)state)->rule;
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
    .rule = rule_of,
};
