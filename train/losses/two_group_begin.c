/* train/losses/two_group_begin.c - what a row knows before its sums: labels, and in top-k mode how
 * much of the teacher there is.
 */
#include "train/losses/two_group.h"

double two_group_teacher_label(const struct two_group *rule, const struct classes *classes, int row)
{
    const struct label *label = &classes->labels[row];
    double phi = label->teacher, slope;
    if (rule->margin && classes->head != NULL && !isnan(phi)) {
        phi = phi > 1 ? 1 : (phi < -1 ? -1 : phi); /* rounding of a product */
        classes->head->label(classes->head_options, label->sample_margin, phi, &phi, &slope);
    }
    return phi;
}

/* Top-k mode: how much of the mass is known, and what the others get. */
static void begin_topk(struct two_group *rule, const struct classes *classes, int row)
{
    const struct teacher_rows *teacher = classes->teacher;
    const struct label *label = &classes->labels[row];
    struct row_state *state = &rule->rows[row];
    double factor = classes->teacher->scale / rule->temperature, lse = NAN;
    for (int t = 0; t < teacher->temperature_count; t++) {
        if (fabs(teacher->temperatures[t] - rule->temperature) < 1e-9) {
            lse = teacher->lse[(int64_t)row * teacher->temperature_count + t];
        }
    }
    double known = 0;
    int64_t count = 0;
    bool label_seen = false;
    for (int j = 0; j < teacher->k; j++) {
        known += exp((double)teacher->cosine[(int64_t)row * teacher->k + j] * factor - lse);
        label_seen |= label->known && teacher->index[(int64_t)row * teacher->k + j] == label->at;
        count++;
    }
    double change = 0; /* of the label's probability by its margin */
    if (label->known && !isnan(label->teacher)) {
        double plain = exp(label->teacher * factor - lse);
        known += label_seen ? 0 : plain;
        count += !label_seen;
        change = exp(two_group_teacher_label(rule, classes, row) * factor - lse) - plain;
    }
    double rest = known < 1 ? 1 - known : 0;
    int64_t unknown = classes->count - count;
    rest = unknown > 0 ? rest : 0;
    state->log_total = lse + log1p(change);
    if (rule->tail == TAIL_UNIFORM && rest > 0) {
        state->tail = (real)((lse + log(rest / (double)unknown)) / factor);
    }
    if (rule->tail == TAIL_UNIFORM || rule->tail == TAIL_RENORMALISED) {
        state->log_total = NAN; /* what is seen adds up to everything */
    }
    state->captured = isnan(lse) ? NAN : (known < 1 ? known : 1);
}

/* Where all values lie in [-1, 1] and no exp((x - 1) factor) comes near the least float, the bound
 * serves as the maximum. */
static real known_maximum(bool cosines, double factor)
{
    return cosines && 2 * factor <= 80 ? 1 : REAL_NONE;
}

void two_group_clear(const struct two_group *rule, struct group_sums *sums)
{
    const struct group nothing = {.max_a = rule->max_a, .max_b = rule->max_b};
    *sums = (struct group_sums){.in = nothing, .out = nothing};
}

void two_group_begin(struct two_group *rule, const struct classes *classes, int row)
{
    const struct label *label = &classes->labels[row];
    struct row_state *state = &rule->rows[row];
    const double student = classes->scale / rule->temperature;
    const double teacher = classes->teacher->scale / rule->temperature;
    rule->fa = (real)student;
    rule->fb = (real)teacher;
    rule->ga = (real)(student * LOG2_E);
    rule->gb = (real)(teacher * LOG2_E);
    rule->max_a = known_maximum(classes->bounded, student);
    rule->max_b = known_maximum(classes->teacher->kind == TEACHER_CENTERS, teacher);
    two_group_clear(rule, &state->sums);
    state->summed = false;
    state->tail = REAL_NONE;
    state->log_total = NAN;
    state->captured = 1;
    if (rule->set == SET_ALL) {
        state->cut = (struct cut){.value = REAL_NONE, .index = classes->count, .label = true};
    } else if (rule->set == SET_LABEL) {
        state->cut = (struct cut){.value = -REAL_NONE, .index = -1, .label = true};
    }
    double slope;
    state->label_a = label->known ? two_group_label(rule, label, &slope) : NAN;
    state->label_b = label->known ? two_group_teacher_label(rule, classes, row) : NAN;
    if (classes->teacher->kind == TEACHER_TOPK) {
        begin_topk(rule, classes, row);
    }
}
