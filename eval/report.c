#include <string.h>

#include "common/mem.h"
#include "eval/eval.h"

void cask_protocol_line(int folds, enum cask_flip flip, const struct cask_preprocess *preprocess,
                        char *buffer, size_t bytes)
{
    char pixels[64];
    cask_preprocess_format(preprocess, pixels);
    snprintf(buffer, bytes, "insightface %d-fold, d^2 < t (0.01 steps), %s, %s", folds,
             flip == CASK_FLIP_SUM ? "flip-sum" : "no flip", pixels);
}

enum cask_status cask_evaluate_set(const struct cask_pairs *pairs,
                                   const struct cask_embed_options *options,
                                   struct cask_set_result *out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    double *rows = NULL;
    int64_t count = cask_pairs_count(pairs);
    size_t dim = (size_t)cask_graph_embedding(cask_net_graph(options->net));
    double *distances = cask_alloc((size_t)count, sizeof *distances);
    bool *same = cask_alloc((size_t)count, sizeof *same);
    if (distances == NULL || same == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *distances, "pair distances"));
    }
    CASK_TRY(cask_embed_pairs(pairs, options, &rows, err));
    for (int64_t i = 0; i < count; i++) {
        const struct cask_pair *pair = cask_pairs_at(pairs, i);
        const double *a = rows + (size_t)pair->a * dim, *b = rows + (size_t)pair->b * dim;
        for (size_t d = 0; d < dim; d++) {
            distances[i] += (a[d] - b[d]) * (a[d] - b[d]);
        }
        same[i] = pair->same;
    }
    *out = (struct cask_set_result){.pairs = count, .images = cask_pairs_image_count(pairs)};
    snprintf(out->name, sizeof out->name, "%s", cask_pairs_name(pairs));
    CASK_TRY(cask_verify_kfold(distances, same, count, cask_pairs_folds(pairs), &out->kfold, err));
    cask_protocol_line(out->kfold.folds, options->flip, &options->preprocess, out->protocol,
                       sizeof out->protocol);
done:
    cask_free(rows);
    cask_free(distances);
    cask_free(same);
    return st;
}

void cask_report_table(const struct cask_set_result *sets, int count, FILE *stream)
{
    fprintf(stream, "%-16s %7s %9s %7s  %s\n", "set", "pairs", "accuracy", "std", "folds");
    for (int i = 0; i < count; i++) {
        const struct cask_set_result *set = &sets[i];
        fprintf(stream, "%-16s %7lld %8.2f%% %7.2f ", set->name, (long long)set->pairs,
                set->kfold.accuracy, set->kfold.std);
        for (int f = 0; f < set->kfold.folds; f++) {
            fprintf(stream, " %.2f", set->kfold.fold_accuracy[f]);
        }
        fprintf(stream, "\n  protocol: %s\n", set->protocol);
    }
}

struct cask_json *cask_report_json(const char *model, const struct cask_set_result *sets, int count)
{
    struct cask_json *root = cask_json_object(), *list = cask_json_array();
    cask_json_set_text(root, "model", model);
    for (int i = 0; i < count; i++) {
        struct cask_json *set = cask_json_object(), *folds = cask_json_array();
        cask_json_set_text(set, "name", sets[i].name);
        cask_json_set_text(set, "protocol", sets[i].protocol);
        cask_json_set_int(set, "pairs", sets[i].pairs);
        cask_json_set_int(set, "images", sets[i].images);
        cask_json_set_real(set, "accuracy", sets[i].kfold.accuracy);
        cask_json_set_real(set, "std", sets[i].kfold.std);
        for (int f = 0; f < sets[i].kfold.folds; f++) {
            cask_json_append_real(folds, sets[i].kfold.fold_accuracy[f]);
        }
        cask_json_set(set, "folds", folds);
        cask_json_append(list, set);
    }
    cask_json_set(root, "sets", list);
    return root;
}
