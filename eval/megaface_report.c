#include "eval/megaface_report.h"

#include <math.h>
#include <string.h>

#include "eval/resample.h"

enum { LAST = CASK_MEGAFACE_RANKS - 1 };

static int64_t count_of(const struct megaface_result *r, int number)
{
    return number == MEGAFACE_TPR ? r->found.accepted : r->found.hits[number];
}

double megaface_number(const struct megaface_result *r, int number)
{
    int64_t pairs = r->found.pairs;
    return pairs > 0 ? 100.0 * (double)count_of(r, number) / (double)pairs : NAN;
}

const char *megaface_number_name(const struct megaface_result *r, int number, char buffer[40])
{
    if (number == MEGAFACE_TPR) {
        snprintf(buffer, 40, "tpr at far %g", r->far);
    } else {
        snprintf(buffer, 40, "rank %d", number + 1);
    }
    return buffer;
}

void megaface_intervals(struct megaface_result *r)
{
    struct cask_megaface_draws *draws = &r->draws;
    int64_t units = draws->identities < r->found.pairs ? draws->identities : r->found.pairs;
    for (int n = 0; n < MEGAFACE_NUMBERS; n++) {
        r->intervals[n] =
            draws->draws == 0
                ? (struct cask_interval){NAN, NAN}
                : interval_of_draws(draws->values + (int64_t)n * draws->draws, draws->draws, units);
    }
    if (draws->draws > 0) {
        size_t used = strlen(r->line);
        snprintf(r->line + used, sizeof r->line - used,
                 "; 95 %%: bootstrap over %lld identities of probes, %d draws, seed %llu",
                 (long long)draws->identities, draws->draws, (unsigned long long)draws->seed);
        findings_add(&r->findings, "draws whose TPR is taken at the smallest negative kept",
                     draws->shallow, "of %d", draws->draws);
    }
}

void megaface_print(const struct megaface_result *r, FILE *stream)
{
    const struct cask_megaface *f = &r->found;
    const int shown[] = {0, LAST, MEGAFACE_TPR};
    char name[40], text[48];
    fprintf(stream, "megaface: %lld probes of %lld identities, %lld pairs, %lld distractors\n",
            (long long)f->probes, (long long)r->identities, (long long)f->pairs,
            (long long)f->distractors);
    for (int i = 0; i < 3; i++) {
        int n = shown[i];
        fprintf(stream, "  %-18s %6.2f%%  (%s), %lld pairs\n", megaface_number_name(r, n, name),
                megaface_number(r, n), cask_interval_text(r->intervals[n], text),
                (long long)count_of(r, n));
    }
    fprintf(stream, "  threshold %.6f, %lld of %lld negatives allowed\n", f->threshold,
            (long long)f->allowed, (long long)f->negatives);
    fprintf(stream, "  protocol: %s\n", r->line);
    findings_print(&r->findings, stream);
}

struct cask_json *megaface_json(const struct megaface_result *r)
{
    const struct cask_megaface *f = &r->found;
    struct cask_json *json = cask_json_object(), *hits = cask_json_array();
    for (int n = 0; n < CASK_MEGAFACE_RANKS; n++) {
        cask_json_append_int(hits, f->hits[n]);
    }
    cask_json_set_text(json, "model", r->model);
    cask_json_set_text(json, "set", "megaface");
    cask_json_set_text(json, "protocol", r->line);
    cask_json_set_int(json, "probes", f->probes);
    cask_json_set_int(json, "identities", r->identities);
    cask_json_set_int(json, "distractors", f->distractors);
    cask_json_set_int(json, "pairs", f->pairs);
    cask_json_set(json, "hits", hits);
    cask_json_set_real(json, "rank1", megaface_number(r, 0));
    cask_json_set_real(json, "rank10", megaface_number(r, LAST));
    cask_json_set_interval(json, "rank1_interval", r->intervals[0]);
    cask_json_set_interval(json, "rank10_interval", r->intervals[LAST]);
    cask_json_set_interval(json, "tpr_interval", r->intervals[MEGAFACE_TPR]);
    cask_json_set_real(json, "far", r->far);
    cask_json_set_real(json, "tpr", megaface_number(r, MEGAFACE_TPR));
    cask_json_set_int(json, "accepted", f->accepted);
    cask_json_set_int(json, "negatives", f->negatives);
    cask_json_set_int(json, "negatives_allowed", f->allowed);
    cask_json_set_real(json, "threshold", f->threshold);
    cask_json_set(json, "findings", findings_json(&r->findings));
    return json;
}

void megaface_csv(const struct megaface_result *r, struct cask_text *text)
{
    char name[40];
    for (int n = 0; n < MEGAFACE_NUMBERS; n++) {
        cask_report_csv_line(text, r->model, "megaface", r->rule, megaface_number_name(r, n, name),
                             megaface_number(r, n), r->intervals[n], r->found.pairs);
    }
}
