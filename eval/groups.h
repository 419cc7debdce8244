/* eval/groups.h - disjoint groups of the numbers 0, 1, 2, ...: who is one person with whom. Private
 * to eval/.
 *
 * parent[i] == i in the beginning; the root of a group is its smallest member.
 */
#ifndef CASK_EVAL_GROUPS_H
#define CASK_EVAL_GROUPS_H

#include <stdint.h>

static inline int64_t group_root(int64_t *parent, int64_t i)
{
    while (parent[i] != i) {
        parent[i] = parent[parent[i]]; /* half the way for the next one */
        i = parent[i];
    }
    return i;
}

static inline void group_join(int64_t *parent, int64_t a, int64_t b)
{
    a = group_root(parent, a);
    b = group_root(parent, b);
    parent[a > b ? a : b] = a > b ? b : a;
}

#endif
