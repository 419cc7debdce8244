#include "eval/ijb_curve.h"

#include <math.h>

#include "eval/ijb_draws.h"

struct point {
    int64_t genuine, impostors; /* weight that is accepted */
};

/* The point nearest to each target, offered in the curve's order. Of points at or below a target
 * the last is nearest, so they are only remembered until one lies above it. */
struct nearest {
    struct point best[CURVE_TARGETS], pending;
    bool waits; /* pending */
    int first;  /* targets before it are decided */
};

struct curve {
    const struct curve_walk *walk;
    int64_t genuine, impostors;
    int64_t allowed[CURVE_TARGETS]; /* impostors with FPR <= target */
    struct nearest thin, full;
    double *tpr;
    int strict; /* targets before it are decided */
};

static double distance(const struct curve *c, const struct point *p, int target)
{
    return fabs((double)p->impostors / (double)c->impostors - c->walk->targets[target]);
}

static void offer_now(const struct curve *c, struct nearest *n, const struct point *p)
{
    for (int i = n->first; i < c->walk->target_count; i++) {
        if (distance(c, p, i) <= distance(c, &n->best[i], i)) {
            n->best[i] = *p;
        } else if (p->impostors > c->allowed[i]) {
            n->first = i + 1; /* farther with every point from here on */
        }
    }
}

static void offer(const struct curve *c, struct nearest *n, const struct point *p)
{
    if (n->first < c->walk->target_count && p->impostors <= c->allowed[n->first]) {
        n->pending = *p;
        n->waits = true;
        return;
    }
    if (n->waits) {
        offer_now(c, n, &n->pending);
        n->waits = false;
    }
    offer_now(c, n, p);
}

static int64_t allowed_of(double target, int64_t impostors)
{
    int64_t allowed = (int64_t)(target * (double)impostors);
    while (allowed < impostors && (double)(allowed + 1) / (double)impostors <= target) {
        allowed++;
    }
    while (allowed > 0 && !((double)allowed / (double)impostors <= target)) {
        allowed--;
    }
    return allowed;
}

static double rate(const struct curve *c, const struct point *p)
{
    return (double)p->genuine / (double)c->genuine;
}

static bool decided(const struct curve *c)
{
    int count = c->walk->target_count;
    return c->thin.first == count && c->full.first == count && c->strict == count;
}

/* Every point but the last: `here` lies between `before` and `after`. */
static void pass(struct curve *c, const struct point *before, const struct point *here,
                 const struct point *after, bool first)
{
    offer(c, &c->full, here);
    if (first || after->genuine - 2 * here->genuine + before->genuine != 0 ||
        after->impostors - 2 * here->impostors + before->impostors != 0) {
        offer(c, &c->thin, here);
    }
    while (c->strict < c->walk->target_count && after->impostors > c->allowed[c->strict]) {
        c->tpr[IJB_STRICT * c->walk->target_count + c->strict++] = rate(c, here);
    }
}

/* The last point of the whole curve stands on every rule's curve. */
static void finish(struct curve *c, const struct point *last)
{
    int count = c->walk->target_count;
    offer(c, &c->full, last);
    offer(c, &c->thin, last);
    if (c->full.waits) {
        offer_now(c, &c->full, last);
    }
    if (c->thin.waits) {
        offer_now(c, &c->thin, last);
    }
    while (c->strict < count) {
        c->tpr[IJB_STRICT * count + c->strict++] = rate(c, last);
    }
}

bool curve_rates(const struct curve_walk *walk, const int32_t *times, int64_t genuine,
                 int64_t impostors, double *tpr)
{
    struct curve c = {.walk = walk, .genuine = genuine, .impostors = impostors, .tpr = tpr};
    struct point before = {0, 0}, here = before, at = before;
    int64_t points = 0;
    int count = walk->target_count;
    for (int t = 0; t < count; t++) {
        c.allowed[t] = allowed_of(walk->targets[t], impostors);
    }
    for (int64_t i = 0; i < walk->count && !decided(&c); i++) {
        const struct curve_step *step = &walk->steps[i];
        int32_t weight = curve_weight(times, step->a, step->b);
        at.genuine += step->genuine ? weight : 0;
        at.impostors += step->genuine ? 0 : weight;
        if (!step->last || (at.genuine == here.genuine && at.impostors == here.impostors)) {
            continue; /* of equal score with the next one, or not in this draw */
        }
        if (points > 0) {
            pass(&c, &before, &here, &at, points == 1);
        } else { /* from (0, 0), which is on the curve and offered first */
            while (c.strict < count && at.impostors > c.allowed[c.strict]) {
                tpr[IJB_STRICT * count + c.strict++] = 0;
            }
        }
        before = here;
        here = at;
        points++;
    }
    if (!decided(&c)) {
        if (!walk->complete) {
            return false;
        }
        finish(&c, &here);
    }
    for (int t = 0; t < count; t++) {
        tpr[IJB_PARITY * count + t] = rate(&c, &c.thin.best[t]);
        tpr[IJB_FULL * count + t] = rate(&c, &c.full.best[t]);
    }
    return true;
}
