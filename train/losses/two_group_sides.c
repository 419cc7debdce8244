/* train/losses/two_group_sides.c - see two_group_sides.h. */
#include "train/losses/two_group_sides.h"

struct sides sides_of(const struct two_group *rule, const struct classes *classes, int64_t row)
{
    bool only_known = classes->teacher->kind == TEACHER_TOPK && rule->tail == TAIL_ONE_BIN;
    return (struct sides){
        .by_teacher = rule->by_teacher,
        .floor = only_known ? REAL_FLOOR : (real)-INFINITY,
        .tail = rule->rows[row].tail,
        .fa = rule->fa,
        .fb = rule->fb,
        .ga = rule->ga,
        .gb = rule->gb,
        .search = rule->max_a == REAL_NONE || rule->max_b == REAL_NONE,
    };
}

enum side side_of(const struct two_group *rule, const struct sides *s)
{
    if (rule->set == SET_CUT || s->floor > (real)-INFINITY) {
        return MIXED;
    }
    return rule->set == SET_ALL ? INSIDE : OUTSIDE;
}

real next_above(real value)
{
    return sizeof(real) == sizeof(float) ? (real)nextafterf((float)value, INFINITY)
                                         : (real)nextafter((double)value, (double)INFINITY);
}

int sides_split(const struct two_group *rule, const struct classes *classes, int64_t row,
                const struct chunk *chunk, struct run runs[RUNS])
{
    const int64_t first = chunk->first;
    const int count = chunk->width;
    const struct cut *cut = &rule->rows[row].cut;
    const struct label *label = &classes->labels[row];
    int64_t bound = cut->index + 1 - first, at = label->known ? (int64_t)label->at - first : -1;
    int edge = bound < 0 ? 0 : (bound > count ? count : (int)bound);
    bool inside = at >= 0 && at < count;
    const int starts[2] = {0, edge}, ends[2] = {edge, count};
    const real thresholds[2] = {cut->value, next_above(cut->value)};
    int n = 0;
    for (int side = 0; side < 2; side++) {
        int from = starts[side], to = ends[side];
        if (inside && at >= from && at < to) {
            runs[n] = (struct run){from, (int)at, thresholds[side]};
            n += from < (int)at;
            from = (int)at + 1;
        }
        runs[n] = (struct run){from, to, thresholds[side]};
        n += from < to;
    }
    return n;
}

void raise_maxima(struct group *group, real max_a, real max_b, const struct sides *s)
{
    if (max_a <= group->max_a && max_b <= group->max_b) {
        return;
    }
    max_a = max_a > group->max_a ? max_a : group->max_a;
    max_b = max_b > group->max_b ? max_b : group->max_b;
    double down_a = group->sum_a > 0 ? ((double)group->max_a - (double)max_a) * (double)s->fa : 0;
    double down_b = group->sum_b > 0 ? ((double)group->max_b - (double)max_b) * (double)s->fb : 0;
    group->sum_a *= exp(down_a);
    group->sum_b *= exp(down_b);
    group->cross *= exp(down_b);
    group->max_a = max_a;
    group->max_b = max_b;
}
