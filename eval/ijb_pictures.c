/* eval/ijb_pictures.c - ROC and histogram of IJB's scores, in the pictures of verification sets. */
#include "eval/histogram.h"
#include "eval/ijb_report.h"

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

enum cask_status ijb_write_pictures(const struct ijb_result *result,
                                    const struct cask_set_result *sets, const char *roc,
                                    const char *histogram, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_report_curve curves[IJB_VARIANTS];
    int count = 0;
    for (int i = 0; i < result->count; i++) {
        if (result->variants[i].pairs.pairs > 0) {
            curves[count++] = (struct cask_report_curve){result->variants[i].name, &sets[i]};
        }
    }
    if (roc[0] != 0 && count > 0) {
        CASK_TRY(cask_report_roc(roc, curves, count, err));
    }
    if (histogram[0] != 0 && count > 0) {
        CASK_TRY(cask_report_histogram(histogram, curves, count, err));
    }
done:
    return st;
}
