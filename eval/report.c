/* eval/report.c - results as a table for people. */
#include <math.h>
#include <string.h>

#include "eval/eval.h"

const char *cask_interval_text(struct cask_interval i, char buffer[48])
{
    snprintf(buffer, 48, isnan(i.low) ? "-" : "%.2f .. %.2f", i.low, i.high);
    return buffer;
}

static void print_rows(const struct cask_set_result *set, FILE *stream)
{
    char interval[48];
    for (int p = 0; p < set->protocol_count; p++) {
        const struct cask_protocol_result *result = &set->protocols[p];
        fprintf(stream, "%-16s %-11s %7lld %8.2f%%  %-16s %5.2f ", p == 0 ? set->name : "",
                cask_protocol_name(result->protocol), (long long)set->pairs, result->kfold.accuracy,
                cask_interval_text(result->accuracy_interval, interval), result->kfold.std);
        for (int f = 0; f < result->kfold.folds; f++) {
            fprintf(stream, " %.2f", result->kfold.fold_accuracy[f]);
        }
        fprintf(stream, "\n");
    }
    for (int p = 0; p < set->protocol_count; p++) {
        const struct cask_protocol_result *result = &set->protocols[p];
        fprintf(stream, "  protocol: %s\n", result->line);
        if (!isnan(result->val)) {
            fprintf(stream, "  val@FAR %.2f +- %.2f %% (%s) at a measured FAR of %.5f\n",
                    result->val, result->val_std,
                    cask_interval_text(result->val_interval, interval), result->val_far);
        } else if (result->protocol == CASK_PROTOCOL_INSIGHTFACE ||
                   result->protocol == CASK_PROTOCOL_TFACE) {
            fprintf(stream,
                    "  val@FAR is not defined: a fold holds no genuine or no impostor pair\n");
        }
    }
}

/* Targets that not one impostor pair in the set can resolve are left to the JSON. */
static void print_roc(const struct cask_set_result *set, FILE *stream)
{
    char interval[48];
    fprintf(stream, "  cosine of all %lld genuine and %lld impostor pairs: AUC %.3f %%",
            (long long)set->genuine, (long long)set->impostor, set->auc);
    fprintf(stream, ", EER %.2f %% (%s)\n", set->eer,
            cask_interval_text(set->eer_interval, interval));
    for (int i = 0; i < CASK_ROC_TARGETS && set->operating[i].allowed >= 1; i++) {
        const struct cask_operating_point *at = &set->operating[i];
        fprintf(stream, "  TPR %.2f %% (%s) at FPR <= %g%s\n", at->tpr,
                cask_interval_text(at->interval, interval), at->target,
                at->allowed < 10 ? "; fewer than 10 impostor pairs decide this" : "");
    }
}

static void print_oddities(const struct cask_set_result *set, FILE *stream)
{
    if (set->bad_images > 0) {
        fprintf(stream, "  EXCLUDED: %lld pairs with %lld bad images; the first: %s\n",
                (long long)set->bad_pairs, (long long)set->bad_images, set->first_bad);
    }
    if (set->duplicates > 0) {
        fprintf(stream,
                "  note: %lld pairs repeat an earlier pair, %lld of them with the other "
                "label; the first: %s\n",
                (long long)set->duplicates, (long long)set->conflicts, set->first_duplicate);
    }
    if (set->duplicates_excluded > 0) {
        fprintf(stream, "  EXCLUDED: %lld of these repeats\n", (long long)set->duplicates_excluded);
    }
    if (set->selves > 0) {
        fprintf(stream, "  note: %lld pairs hold the same image twice\n", (long long)set->selves);
    }
}

void cask_report_table(const struct cask_set_result *sets, int count, FILE *stream)
{
    fprintf(stream, "%-16s %-11s %7s %9s  %-16s %5s  %s\n", "set", "mode", "pairs", "accuracy",
            "95 % interval", "std", "folds");
    for (int i = 0; i < count; i++) {
        print_rows(&sets[i], stream);
        print_roc(&sets[i], stream);
        fprintf(stream, "  raw embeddings have a mean length of %.4g (XNorm)\n", sets[i].xnorm);
        if (sets[i].interval_line[0] != 0) {
            fprintf(stream, "  interval: %s\n", sets[i].interval_line);
        }
        print_oddities(&sets[i], stream);
    }
}

/* How the trials of one number fell; "-" where it is no share of trials. */
static void print_trials(const struct cask_paired *p, FILE *stream)
{
    if (isnan(p->mcnemar)) {
        fprintf(stream, " %7s %7s %10s", "-", "-", "-");
    } else {
        fprintf(stream, " %7lld %7lld %10.4g", (long long)p->only_a, (long long)p->only_b,
                p->mcnemar);
    }
}

void cask_report_paired(const struct cask_paired *paired, int count, FILE *stream)
{
    char interval[48];
    fprintf(stream, "%-16s %-11s %-24s %8s %8s %7s  %-16s %7s %7s %10s %10s\n", "set", "mode",
            "number", "A", "B", "A - B", "95 % interval", "only A", "only B", "McNemar p",
            "draws' p");
    for (int i = 0; i < count; i++) {
        const struct cask_paired *p = &paired[i];
        fprintf(stream, "%-16s %-11s %-24s %7.2f%% %7.2f%% %7.2f  %-16s", p->set, p->protocol,
                p->number, p->a, p->b, p->difference, cask_interval_text(p->interval, interval));
        print_trials(p, stream);
        fprintf(stream, isnan(p->bootstrap) ? "          -\n" : " %10.4g\n", p->bootstrap);
    }
    fprintf(stream,
            "  interval, draws' p: both models in the same draws, each with its thresholds found "
            "anew in each draw.\n"
            "  only A, only B: what one model alone gets right: pairs, or probes of a 1:N search; "
            "McNemar's p takes\n"
            "  them as independent.\n");
}
