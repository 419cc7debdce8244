/* eval/ijb_pictures.c - ROC and histogram of IJB's scores, in the pictures of verification sets. */
#include "eval/histogram.h"
#include "eval/ijb_report.h"
#include "eval/results.h"

static void count_bins(const double *scores, int64_t count, int64_t bins[CASK_HISTOGRAM_BINS])
{
    for (int64_t i = 0; i < count; i++) {
        bins[histogram_bin(scores[i])]++;
    }
}

void ijb_picture(const struct cask_scores *scores, struct cask_set_result *set)
{
    *set = (struct cask_set_result){.genuine = scores->genuine_count,
                                    .impostor = scores->impostor_count};
    set->roc_count = cask_rates_curve(scores, CASK_ROC_POINTS, set->roc_fpr, set->roc_tpr);
    histogram_edges(set->histogram_edges);
    count_bins(scores->genuine, scores->genuine_count, set->histogram_genuine);
    count_bins(scores->impostor, scores->impostor_count, set->histogram_impostor);
}

enum cask_status ijb_write_pictures(const struct ijb_result *results,
                                    struct cask_set_result *const *sets, int count, const char *roc,
                                    const char *histogram, struct cask_error *err)
{
    struct cask_report_curve curves[2 * IJB_VARIANTS];
    char names[2 * IJB_VARIANTS][256];
    int drawn = 0;
    for (int s = 0; s < count; s++) {
        for (int i = 0; i < results[s].count; i++) {
            const struct ijb_variant *v = &results[s].variants[i];
            if (v->pairs.pairs > 0) {
                snprintf(names[drawn], sizeof names[drawn], "%s%s%s",
                         count > 1 ? results[s].model : "", count > 1 ? ", " : "", v->name);
                curves[drawn] = (struct cask_report_curve){names[drawn], &sets[s][i]};
                drawn++;
            }
        }
    }
    return result_write_pictures(roc, histogram, curves, drawn, err);
}
