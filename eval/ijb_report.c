#include "eval/ijb_report.h"

#include <math.h>

#include "eval/eval.h"

const double ijb_targets[IJB_TARGETS] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1};

double ijb_tpir(const struct ijb_variant *variant, int fpir)
{
    double sum = 0;
    for (int g = 0; g < variant->galleries; g++) {
        const struct cask_ijb_identification *found = &variant->found[g];
        bool defined = found->mated > 0 && found->nonmated > 0;
        sum += defined ? 100.0 * (double)found->accepted[fpir] / (double)found->mated : NAN;
    }
    return variant->galleries > 0 ? sum / variant->galleries : NAN;
}

double ijb_rank(const struct ijb_variant *variant, int rank)
{
    int64_t hits = 0;
    for (int g = 0; g < variant->galleries; g++) {
        hits += variant->found[g].hits[rank];
    }
    return variant->galleries > 0 ? 100.0 * (double)hits / (double)variant->found[0].probes : NAN;
}

/* ------------------------------------------------------------------- table */

/* Row by row below the rates: the lower ends of the intervals, the upper ends. */
static void print_ends(const struct cask_interval *intervals, FILE *stream)
{
    for (int end = 0; end < 2 && !isnan(intervals[IJB_TARGETS - 1].low); end++) {
        fprintf(stream, "  %9s", end == 0 ? "from" : "to");
        for (int i = 0; i < IJB_TARGETS; i++) {
            fprintf(stream, " %8.2f", end == 0 ? intervals[i].low : intervals[i].high);
        }
        fprintf(stream, "\n");
    }
}

static void print_rates(const char *name, const struct cask_rate *rates,
                        const struct cask_interval *intervals, FILE *stream)
{
    fprintf(stream, "  %-9s", name);
    for (int i = 0; i < IJB_TARGETS; i++) {
        fprintf(stream, " %8.2f", 100 * rates[i].tpr);
    }
    fprintf(stream, "\n");
    print_ends(intervals, stream);
}

static void print_11(const struct ijb_result *result, const struct ijb_variant *v, FILE *stream)
{
    fprintf(stream, "%s 1:1, %s: %lld pairs (%lld genuine), %lld templates, %lld images\n",
            result->set, v->name, (long long)v->pairs.pairs, (long long)v->genuine,
            (long long)result->templates, (long long)result->images);
    fprintf(stream, "  TPR %% at ");
    for (int i = 0; i < IJB_TARGETS; i++) {
        fprintf(stream, " %8g", ijb_targets[i]);
    }
    fprintf(stream, "\n");
    print_rates("parity", v->parity, v->tpr_interval[IJB_PARITY], stream);
    print_rates("full", v->full, v->tpr_interval[IJB_FULL], stream);
    print_rates("strict", v->strict, v->tpr_interval[IJB_STRICT], stream);
    fprintf(stream, "  impostors");
    for (int i = 0; i < IJB_TARGETS; i++) {
        fprintf(stream, " %8lld", (long long)v->strict[i].impostors);
    }
    fprintf(stream, "\n  protocol: %s\n", v->line);
}

static void print_1n(const struct ijb_result *result, const struct ijb_variant *v, FILE *stream)
{
    char interval[48];
    const struct cask_interval *intervals = v->search_interval;
    fprintf(stream, "%s 1:N, %s:", result->set, v->name);
    for (int k = 0; k < CASK_IJB_RANKS; k++) {
        fprintf(stream, " rank-%d %.2f%% (%s),", cask_ijb_ranks[k], ijb_rank(v, k),
                cask_interval_text(intervals[k], interval));
    }
    for (int f = 0; f < CASK_IJB_FPIRS; f++) {
        fprintf(stream, " TPIR@FPIR=%g %.2f%% (%s)%s", cask_ijb_fpirs[f], ijb_tpir(v, f),
                cask_interval_text(intervals[CASK_IJB_RANKS + f], interval),
                f + 1 < CASK_IJB_FPIRS ? "," : "\n");
    }
    for (int g = 0; g < v->galleries; g++) {
        const struct cask_ijb_identification *found = &v->found[g];
        fprintf(stream,
                "  gallery %d: %lld templates, %lld mated and %lld non-mated probes; hits %lld "
                "%lld %lld; accepted %lld %lld\n",
                g + 1, (long long)found->gallery, (long long)found->mated,
                (long long)found->nonmated, (long long)found->hits[0], (long long)found->hits[1],
                (long long)found->hits[2], (long long)found->accepted[0],
                (long long)found->accepted[1]);
    }
    fprintf(stream, "  protocol: %s\n", v->search);
}

void ijb_print(const struct ijb_result *result, FILE *stream)
{
    for (int i = 0; i < result->count; i++) {
        if (result->variants[i].pairs.pairs > 0) {
            print_11(result, &result->variants[i], stream);
        }
        if (result->variants[i].galleries > 0) {
            print_1n(result, &result->variants[i], stream);
        }
    }
    findings_print(&result->findings, stream);
}

/* -------------------------------------------------------------------- JSON */

static struct cask_json *rates_json(const struct ijb_variant *v)
{
    struct cask_json *list = cask_json_array();
    for (int i = 0; i < IJB_TARGETS; i++) {
        struct cask_json *one = cask_json_object();
        cask_json_set_real(one, "fpr", ijb_targets[i]);
        cask_json_set_real(one, "parity", 100 * v->parity[i].tpr);
        cask_json_set_real(one, "parity_fpr", v->parity[i].fpr);
        cask_json_set_real(one, "full", 100 * v->full[i].tpr);
        cask_json_set_real(one, "full_fpr", v->full[i].fpr);
        cask_json_set_real(one, "strict", 100 * v->strict[i].tpr);
        cask_json_set_real(one, "strict_fpr", v->strict[i].fpr);
        cask_json_set_real(one, "impostors_allowed", ijb_targets[i] * (double)v->impostor);
        cask_json_set_interval(one, "parity_interval", v->tpr_interval[IJB_PARITY][i]);
        cask_json_set_interval(one, "full_interval", v->tpr_interval[IJB_FULL][i]);
        cask_json_set_interval(one, "strict_interval", v->tpr_interval[IJB_STRICT][i]);
        cask_json_append(list, one);
    }
    return list;
}

static struct cask_json *galleries_json(const struct ijb_variant *v)
{
    struct cask_json *list = cask_json_array();
    for (int g = 0; g < v->galleries; g++) {
        const struct cask_ijb_identification *found = &v->found[g];
        struct cask_json *one = cask_json_object(), *hits = cask_json_array();
        struct cask_json *accepted = cask_json_array();
        for (int k = 0; k < CASK_IJB_RANKS; k++) {
            cask_json_append_int(hits, found->hits[k]);
        }
        for (int f = 0; f < CASK_IJB_FPIRS; f++) {
            cask_json_append_int(accepted, found->accepted[f]);
        }
        cask_json_set_int(one, "templates", found->gallery);
        cask_json_set_int(one, "probes", found->probes);
        cask_json_set_int(one, "mated", found->mated);
        cask_json_set_int(one, "nonmated", found->nonmated);
        cask_json_set(one, "hits", hits);
        cask_json_set(one, "accepted", accepted);
        cask_json_append(list, one);
    }
    return list;
}

static void set_search_numbers(struct cask_json *json, const struct ijb_variant *v)
{
    char key[40];
    for (int n = 0; n < CASK_IJB_RANKS + CASK_IJB_FPIRS; n++) {
        bool rank = n < CASK_IJB_RANKS;
        int f = n - CASK_IJB_RANKS, used;
        used = rank ? snprintf(key, sizeof key, "rank%d", cask_ijb_ranks[n])
                    : snprintf(key, sizeof key, "tpir_%g", cask_ijb_fpirs[f]);
        cask_json_set_real(json, key, rank ? ijb_rank(v, n) : ijb_tpir(v, f));
        snprintf(key + used, sizeof key - (size_t)used, "_interval");
        cask_json_set_interval(json, key, v->search_interval[n]);
    }
}

static struct cask_json *variant_json(const struct ijb_variant *v)
{
    struct cask_json *json = cask_json_object();
    cask_json_set_text(json, "switches", v->name);
    if (v->pairs.pairs > 0) {
        cask_json_set_text(json, "protocol", v->line);
        cask_json_set_int(json, "pairs", v->pairs.pairs);
        cask_json_set_int(json, "genuine", v->genuine);
        cask_json_set_int(json, "impostor", v->impostor);
        cask_json_set(json, "tpr_at_fpr", rates_json(v));
    }
    if (v->galleries > 0) {
        cask_json_set_text(json, "search_protocol", v->search);
        cask_json_set(json, "galleries", galleries_json(v));
        set_search_numbers(json, v);
    }
    return json;
}

struct cask_json *ijb_json(const struct ijb_result *result)
{
    struct cask_json *json = cask_json_object(), *variants = cask_json_array();
    cask_json_set_text(json, "model", result->model);
    cask_json_set_text(json, "set", result->set);
    cask_json_set_int(json, "images", result->images);
    cask_json_set_int(json, "templates", result->templates);
    cask_json_set(json, "findings", findings_json(&result->findings));
    for (int i = 0; i < result->count; i++) {
        cask_json_append(variants, variant_json(&result->variants[i]));
    }
    cask_json_set(json, "variants", variants);
    return json;
}

/* --------------------------------------------------------------------- CSV */

void ijb_csv(const struct ijb_result *result, struct cask_text *text)
{
    char number[64];
    cask_report_csv_head(text);
    for (int i = 0; i < result->count; i++) {
        const struct ijb_variant *v = &result->variants[i];
        for (int t = 0; t < IJB_TARGETS && v->pairs.pairs > 0; t++) {
            const struct cask_rate *rates[] = {&v->parity[t], &v->full[t], &v->strict[t]};
            static const char *const names[] = {"parity", "full", "strict"};
            for (int n = 0; n < 3; n++) {
                snprintf(number, sizeof number, "%s tpr at fpr %g", names[n], ijb_targets[t]);
                cask_report_csv_line(text, result->model, result->set, v->name, number,
                                     100 * rates[n]->tpr, v->tpr_interval[n][t], v->pairs.pairs);
            }
        }
        for (int k = 0; k < CASK_IJB_RANKS && v->galleries > 0; k++) {
            snprintf(number, sizeof number, "rank %d", cask_ijb_ranks[k]);
            cask_report_csv_line(text, result->model, result->set, v->name, number, ijb_rank(v, k),
                                 v->search_interval[k], v->found[0].probes);
        }
        for (int f = 0; f < CASK_IJB_FPIRS && v->galleries > 0; f++) {
            snprintf(number, sizeof number, "tpir at fpir %g", cask_ijb_fpirs[f]);
            cask_report_csv_line(text, result->model, result->set, v->name, number, ijb_tpir(v, f),
                                 v->search_interval[CASK_IJB_RANKS + f], v->found[0].probes);
        }
    }
}
