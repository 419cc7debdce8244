#include "eval/ijb_report.h"

#include <math.h>

#include "eval/eval.h"

const double ijb_targets[IJB_TARGETS] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1};

static const char *const rule_names[IJB_RULES] = {"parity", "full", "strict"};

static double tpir(const struct ijb_variant *v, int fpir)
{
    double sum = 0;
    for (int g = 0; g < v->galleries; g++) {
        const struct cask_ijb_identification *found = &v->found[g];
        bool defined = found->mated > 0 && found->nonmated > 0;
        sum += defined ? 100.0 * (double)found->accepted[fpir] / (double)found->mated : NAN;
    }
    return v->galleries > 0 ? sum / v->galleries : NAN;
}

static double rank(const struct ijb_variant *v, int rank)
{
    int64_t hits = 0;
    for (int g = 0; g < v->galleries; g++) {
        hits += v->found[g].hits[rank];
    }
    return v->galleries > 0 ? 100.0 * (double)hits / (double)v->found[0].probes : NAN;
}

bool ijb_has_number(const struct ijb_variant *v, int number)
{
    return number < IJB_RATES ? v->pairs.pairs > 0 : v->galleries > 0;
}

double ijb_number(const struct ijb_variant *v, int number)
{
    int search = number - IJB_RATES;
    return search < 0 ? 100 * v->rates[number / IJB_TARGETS][number % IJB_TARGETS].tpr
           : search < CASK_IJB_RANKS ? rank(v, search)
                                     : tpir(v, search - CASK_IJB_RANKS);
}

const char *ijb_number_name(int number, char buffer[40])
{
    int search = number - IJB_RATES;
    if (search < 0) {
        snprintf(buffer, 40, "%s tpr at fpr %g", rule_names[number / IJB_TARGETS],
                 ijb_targets[number % IJB_TARGETS]);
    } else if (search < CASK_IJB_RANKS) {
        snprintf(buffer, 40, "rank %d", cask_ijb_ranks[search]);
    } else {
        snprintf(buffer, 40, "tpir at fpir %g", cask_ijb_fpirs[search - CASK_IJB_RANKS]);
    }
    return buffer;
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
    for (int r = 0; r < IJB_RULES; r++) {
        print_rates(rule_names[r], v->rates[r], v->intervals + r * IJB_TARGETS, stream);
    }
    fprintf(stream, "  impostors");
    for (int i = 0; i < IJB_TARGETS; i++) {
        fprintf(stream, " %8lld", (long long)v->rates[IJB_STRICT][i].impostors);
    }
    fprintf(stream, "\n  protocol: %s\n", v->line);
}

static void print_1n(const struct ijb_result *result, const struct ijb_variant *v, FILE *stream)
{
    char interval[48];
    const struct cask_interval *intervals = v->intervals + IJB_RATES;
    fprintf(stream, "%s 1:N, %s:", result->set, v->name);
    for (int k = 0; k < CASK_IJB_RANKS; k++) {
        fprintf(stream, " rank-%d %.2f%% (%s),", cask_ijb_ranks[k], ijb_number(v, IJB_RATES + k),
                cask_interval_text(intervals[k], interval));
    }
    for (int f = 0; f < CASK_IJB_FPIRS; f++) {
        fprintf(stream, " TPIR@FPIR=%g %.2f%% (%s)%s", cask_ijb_fpirs[f],
                ijb_number(v, IJB_RATES + CASK_IJB_RANKS + f),
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
        cask_json_set_real(one, "impostors_allowed", ijb_targets[i] * (double)v->impostor);
        for (int r = 0; r < IJB_RULES; r++) {
            char key[32];
            cask_json_set_real(one, rule_names[r], 100 * v->rates[r][i].tpr);
            snprintf(key, sizeof key, "%s_fpr", rule_names[r]);
            cask_json_set_real(one, key, v->rates[r][i].fpr);
            snprintf(key, sizeof key, "%s_interval", rule_names[r]);
            cask_json_set_interval(one, key, v->intervals[r * IJB_TARGETS + i]);
        }
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
    for (int n = IJB_RATES; n < IJB_NUMBERS; n++) {
        int k = n - IJB_RATES, f = k - CASK_IJB_RANKS, used;
        char key[40];
        used = f < 0 ? snprintf(key, sizeof key, "rank%d", cask_ijb_ranks[k])
                     : snprintf(key, sizeof key, "tpir_%g", cask_ijb_fpirs[f]);
        cask_json_set_real(json, key, ijb_number(v, n));
        snprintf(key + used, sizeof key - (size_t)used, "_interval");
        cask_json_set_interval(json, key, v->intervals[n]);
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
    char name[40];
    for (int i = 0; i < result->count; i++) {
        const struct ijb_variant *v = &result->variants[i];
        for (int n = 0; n < IJB_NUMBERS; n++) {
            if (ijb_has_number(v, n)) {
                cask_report_csv_line(text, result->model, result->set, v->name,
                                     ijb_number_name(n, name), ijb_number(v, n), v->intervals[n],
                                     n < IJB_RATES ? v->pairs.pairs : v->found[0].probes);
            }
        }
    }
}
