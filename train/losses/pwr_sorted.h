/* train/losses/pwr_sorted.h - PWR-Diff and PWR-Exp over all ordered pairs of pairs in O(M log M).
 *
 * With k = psi^S - psi^T for the margin psi^T_a - psi^T_b, else k = psi^S, both losses depend on a
 * and b only through x = k_b + mu - k_a. Scores enter a Fenwick tree over the ranks of k in
 * ascending order of the teacher's score, equal ones together after they were asked; what is above
 * k_a - mu in the tree is then exactly the set of active b. A second pass, descending, gives the
 * derivative by b.
 */
#ifndef CASK_TRAIN_LOSSES_PWR_SORTED_H
#define CASK_TRAIN_LOSSES_PWR_SORTED_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"
#include "train/losses/real.h"

struct pwr_sorted {
    double *key;   /* [M]: k, filled by the caller */
    double *slope; /* [M]: out, sum of l' of each score */
    uint32_t *by_key, *by_teacher, *rank, *scratch;
    double *sorted, *tree_sum;
    int64_t *tree_count;
};

#define pwr_sorted_create NAME(cask_pwr_sorted_create)
#define pwr_sorted_release NAME(cask_pwr_sorted_release)
#define pwr_sorted_run NAME(cask_pwr_sorted_run)
#define pwr_sorted_order NAME(cask_pwr_sorted_order)

enum cask_status pwr_sorted_create(struct pwr_sorted *sorted, int64_t most, struct cask_error *err);
void pwr_sorted_release(struct pwr_sorted *sorted); /* accepts a zeroed one */
/* beta 0: max(x, 0); else max(exp(beta x) - 1, 0). Returns the sum, *ordered the number of (a,b).
 */
double pwr_sorted_run(struct pwr_sorted *sorted, const double *teacher, int64_t count, double mu,
                      double beta, double *ordered);
/* 0..count-1 in ascending order of value; equal ones in their order. */
void pwr_sorted_order(const double *value, int64_t count, uint32_t *order, uint32_t *scratch);

#endif
