/* train/losses/rkd_angle.c - RKD-A: smooth L1 between the cosines at vertex i of the triangle
 * j-i-k, mean over B^3, in Gram form: A_ijk = (G_jk - G_ij - G_ik + G_ii) / (d_ij d_ik) Costs B^3
 * instead of B^3 D. Edges shorter than rounding are skipped (degenerate triangles).
 */
#include "train/losses/distances.h"
#include "train/losses/rkd.h"

enum { EDGE = 2048 }; /* a vertex's edges live on the stack; larger batches are refused at create */

struct edges {
    double student[EDGE], teacher[EDGE]; /* 1 / d_im; 0: degenerate */
};

static void measure_edges(const struct rkd_step *step, int64_t i, struct edges *edges)
{
    bool constant;
    for (int64_t m = 0; m < step->batch; m++) {
        double d = pair_distance(step->student, step->batch, i, m, &constant);
        edges->student[m] = constant ? 0 : 1 / d;
        d = pair_distance(step->teacher, step->batch, i, m, &constant);
        edges->teacher[m] = constant ? 0 : 1 / d;
    }
}

static double vertex(const struct rkd_step *step, int64_t i, const struct edges *edges,
                     double scale)
{
    const int64_t batch = step->batch;
    const double *g = step->student, *t = step->teacher;
    const double own = g[i * batch + i], teacher_own = t[i * batch + i];
    double sum = 0, at_vertex = 0;
    for (int64_t j = 0; j < batch; j++) {
        /* every unordered pair of edges once, counted twice; j = k is 1 - 1 = 0 unless one side is
         * degenerate */
        for (int64_t k = 0; k <= j; k++) {
            double inverse = edges->student[j] * edges->student[k];
            double angle = (g[j * batch + k] - g[i * batch + j] - g[i * batch + k] + own) * inverse;
            double teacher_inverse = edges->teacher[j] * edges->teacher[k];
            double target = (t[j * batch + k] - t[i * batch + j] - t[i * batch + k] + teacher_own) *
                            teacher_inverse;
            double slope, times = j == k ? 1 : 2;
            sum += times * smooth_l1(angle - target, &slope);
            if (inverse == 0 || j == k) {
                continue; /* j = k: the cosine is 1 whatever the edge is */
            }
            double w = scale * times * slope, r = w * inverse;
            double zj = -w * angle * edges->student[j] * edges->student[j] / 2;
            double zk = -w * angle * edges->student[k] * edges->student[k] / 2;
            step->d_student[j * batch + k] += r;
            step->d_student[i * batch + j] -= r + 2 * zj;
            step->d_student[i * batch + k] -= r + 2 * zk;
            step->d_student[j * batch + j] += zj;
            step->d_student[k * batch + k] += zk;
            at_vertex += r + zj + zk;
        }
    }
    step->d_student[i * batch + i] += at_vertex;
    return sum;
}

double rkd_angle(const struct rkd_step *step)
{
    const double cube = (double)step->batch * step->batch * step->batch;
    struct edges edges;
    double sum = 0;
    for (int64_t i = 0; i < step->batch && step->batch >= 3; i++) {
        measure_edges(step, i, &edges);
        sum += vertex(step, i, &edges, step->weight / cube);
    }
    return sum / cube;
}
