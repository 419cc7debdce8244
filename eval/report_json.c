/* eval/report_json.c - results for programs; eval.h documents the keys. */
#include <math.h>

#include "eval/eval.h"

void cask_json_set_interval(struct cask_json *object, const char *key,
                            struct cask_interval interval)
{
    struct cask_json *pair = cask_json_array();
    if (isnan(interval.low) || isnan(interval.high)) {
        cask_json_free(pair);
        cask_json_set_real(object, key, NAN); /* null */
        return;
    }
    cask_json_append_real(pair, interval.low);
    cask_json_append_real(pair, interval.high);
    cask_json_set(object, key, pair);
}

static void set_reals(struct cask_json *object, const char *key, const double *values, int count)
{
    struct cask_json *list = cask_json_array();
    for (int i = 0; i < count; i++) {
        cask_json_append_real(list, values[i]);
    }
    cask_json_set(object, key, list);
}

static void set_counts(struct cask_json *object, const char *key, const int64_t *values, int count)
{
    struct cask_json *list = cask_json_array();
    for (int i = 0; i < count; i++) {
        cask_json_append_int(list, values[i]);
    }
    cask_json_set(object, key, list);
}

static void set_kfold(struct cask_json *object, const struct cask_kfold *kfold)
{
    cask_json_set_real(object, "accuracy", kfold->accuracy);
    cask_json_set_real(object, "std", kfold->std);
    set_reals(object, "folds", kfold->fold_accuracy, kfold->folds);
    set_reals(object, "thresholds", kfold->fold_threshold, kfold->folds);
}

static struct cask_json *protocols(const struct cask_set_result *set)
{
    struct cask_json *all = cask_json_object();
    for (int i = 0; i < set->protocol_count; i++) {
        const struct cask_protocol_result *result = &set->protocols[i];
        struct cask_json *one = cask_json_object();
        cask_json_set_text(one, "protocol", result->line);
        set_kfold(one, &result->kfold);
        cask_json_set_interval(one, "accuracy_interval", result->accuracy_interval);
        cask_json_set_real(one, "val", result->val);
        cask_json_set_real(one, "val_std", result->val_std);
        cask_json_set_real(one, "val_far", result->val_far);
        cask_json_set_interval(one, "val_interval", result->val_interval);
        cask_json_set(all, cask_protocol_name(result->protocol), one);
    }
    return all;
}

static struct cask_json *operating_points(const struct cask_set_result *set)
{
    struct cask_json *list = cask_json_array();
    for (int i = 0; i < CASK_ROC_TARGETS; i++) {
        const struct cask_operating_point *at = &set->operating[i];
        struct cask_json *one = cask_json_object();
        cask_json_set_real(one, "fpr", at->target);
        cask_json_set_real(one, "tpr", at->tpr);
        cask_json_set_interval(one, "interval", at->interval);
        cask_json_set_real(one, "impostors_allowed", at->allowed);
        cask_json_append(list, one);
    }
    return list;
}

static void set_curves(struct cask_json *object, const struct cask_set_result *set)
{
    struct cask_json *roc = cask_json_object(), *histogram = cask_json_object();
    set_reals(roc, "fpr", set->roc_fpr, set->roc_count);
    set_reals(roc, "tpr", set->roc_tpr, set->roc_count);
    cask_json_set(object, "roc", roc);
    set_reals(histogram, "edges", set->histogram_edges, CASK_HISTOGRAM_BINS + 1);
    set_counts(histogram, "genuine", set->histogram_genuine, CASK_HISTOGRAM_BINS);
    set_counts(histogram, "impostor", set->histogram_impostor, CASK_HISTOGRAM_BINS);
    cask_json_set(object, "histogram", histogram);
}

static struct cask_json *one_set(const struct cask_set_result *set)
{
    struct cask_json *object = cask_json_object();
    cask_json_set_text(object, "name", set->name);
    cask_json_set_text(object, "protocol", set->protocol);
    cask_json_set_int(object, "pairs", set->pairs);
    cask_json_set_int(object, "images", set->images);
    set_kfold(object, &set->kfold);
    cask_json_set_interval(object, "accuracy_interval", set->protocols[0].accuracy_interval);
    cask_json_set(object, "protocols", protocols(set));
    cask_json_set_int(object, "genuine", set->genuine);
    cask_json_set_int(object, "impostor", set->impostor);
    cask_json_set_real(object, "auc", set->auc);
    cask_json_set_interval(object, "auc_interval", set->auc_interval);
    cask_json_set_real(object, "eer", set->eer);
    cask_json_set_interval(object, "eer_interval", set->eer_interval);
    cask_json_set(object, "tpr_at_fpr", operating_points(set));
    set_curves(object, set);
    cask_json_set_text(object, "interval", set->interval_line);
    cask_json_set_int(object, "persons", set->persons);
    cask_json_set_real(object, "xnorm", set->xnorm);
    cask_json_set_int(object, "bad_images", set->bad_images);
    cask_json_set_int(object, "bad_pairs", set->bad_pairs);
    cask_json_set_int(object, "duplicates", set->duplicates);
    cask_json_set_int(object, "duplicates_excluded", set->duplicates_excluded);
    cask_json_set_int(object, "conflicts", set->conflicts);
    cask_json_set_int(object, "selves", set->selves);
    return object;
}

struct cask_json *cask_report_json(const char *model, const struct cask_set_result *sets, int count)
{
    struct cask_json *root = cask_json_object(), *list = cask_json_array();
    cask_json_set_text(root, "model", model);
    for (int i = 0; i < count; i++) {
        cask_json_append(list, one_set(&sets[i]));
    }
    cask_json_set(root, "sets", list);
    return root;
}

static void set_trials(struct cask_json *json, const struct cask_paired *p)
{
    const char *const names[] = {"both_right", "only_a", "only_b", "both_wrong"};
    const int64_t counts[] = {p->both_right, p->only_a, p->only_b, p->both_wrong};
    for (int n = 0; n < 4; n++) {
        if (isnan(p->mcnemar)) {
            cask_json_set_real(json, names[n], NAN);
        } else {
            cask_json_set_int(json, names[n], counts[n]);
        }
    }
    cask_json_set_real(json, "mcnemar_p", p->mcnemar);
}

struct cask_json *cask_report_paired_json(const struct cask_paired *paired, int count)
{
    struct cask_json *list = cask_json_array();
    for (int i = 0; i < count; i++) {
        struct cask_json *one = cask_json_object();
        cask_json_set_text(one, "set", paired[i].set);
        cask_json_set_text(one, "protocol", paired[i].protocol);
        cask_json_set_text(one, "number", paired[i].number);
        cask_json_set_real(one, "a", paired[i].a);
        cask_json_set_real(one, "b", paired[i].b);
        cask_json_set_real(one, "difference", paired[i].difference);
        cask_json_set_interval(one, "interval", paired[i].interval);
        cask_json_set_real(one, "bootstrap_p", paired[i].bootstrap);
        set_trials(one, &paired[i]);
        cask_json_append(list, one);
    }
    return list;
}
