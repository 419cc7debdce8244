#include "eval/ijb_measure.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "eval/resample.h"

/* "; 95 %: ..." behind a protocol */
static void add_draws(char *line, size_t bytes, const struct ijb_draws *draws, const char *unit)
{
    size_t used = strlen(line);
    snprintf(line + used, bytes - used, "; 95 %%: bootstrap over %lld %s, %d draws, seed %llu",
             (long long)draws->persons, unit, draws->draws, (unsigned long long)draws->seed);
}

static struct ijb_draws draws_of(const struct ijb_task *task)
{
    return (struct ijb_draws){.draws = task->draws, .threads = task->threads, .seed = task->seed};
}

static enum cask_status verify(const struct ijb_task *task,
                               const struct cask_ijb_templates *templates, const char *pixels,
                               struct ijb_variant *v, struct cask_set_result *picture,
                               struct ijb_draws *draws, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_scores scores = {0};
    struct cask_ijb_sides sides = {0};
    CASK_TRY(cask_ijb_score(task->set, task->pairs_path, templates, task->threads, &scores,
                            &v->pairs, task->draws > 0 ? &sides : NULL, err));
    snprintf(v->line, sizeof v->line,
             "%s 1:1 %s, media mean, media sum, cosine; parity: nearest FPR on the thinned ROC; "
             "full: on all of it; strict: FPR <= target; %s",
             task->name, v->name, pixels);
    if (task->draws > 0) { /* before the sort: only now scores lie beside their templates */
        *draws = draws_of(task);
        CASK_TRY(ijb_draws_verify(&scores, &sides, task->set->templates, ijb_targets, IJB_TARGETS,
                                  draws, err));
        add_draws(v->line, sizeof v->line, draws, "persons (templates of genuine pairs)");
    }
    cask_ijb_sides_release(&sides);
    CASK_TRY(cask_scores_sort(&scores, err));
    ijb_picture(&scores, picture);
    v->genuine = scores.genuine_count;
    v->impostor = scores.impostor_count;
    cask_rates_nearest(&scores, true, ijb_targets, IJB_TARGETS, v->rates[IJB_PARITY]);
    cask_rates_nearest(&scores, false, ijb_targets, IJB_TARGETS, v->rates[IJB_FULL]);
    for (int i = 0; i < IJB_TARGETS; i++) {
        v->rates[IJB_STRICT][i] = cask_rate_strict(&scores, ijb_targets[i]);
    }
done:
    cask_ijb_sides_release(&sides);
    cask_scores_release(&scores);
    return st;
}

static enum cask_status search(const struct ijb_task *task,
                               const struct cask_ijb_templates *templates, const char *pixels,
                               struct ijb_variant *v, struct ijb_measured *measured,
                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct ijb_draws *draws = &measured->search;
    size_t probes = (size_t)task->probes->count;
    for (int g = 0; g < task->gallery_count; g++) {
        measured->outcomes[g] = cask_alloc(probes, sizeof *measured->outcomes[g]);
        if (measured->outcomes[g] == NULL) {
            CASK_TRY(cask_error_memory(err, probes * sizeof *measured->outcomes[g], "outcomes"));
        }
        CASK_TRY(cask_ijb_identify(templates, &task->galleries[g], task->probes, task->threads,
                                   &v->found[g], measured->outcomes[g], err));
        v->galleries++;
    }
    snprintf(v->search, sizeof v->search,
             "%s 1:N %s, each gallery by itself; rank: all hits over all probes; TPIR: mate first "
             "and above the max(int(n FPIR) - 1, 0)-th best non-mated score, mean over galleries; "
             "%s",
             task->name, v->name, pixels);
    if (task->draws > 0) {
        *draws = draws_of(task);
        CASK_TRY(
            ijb_draws_search(task->probes, measured->outcomes, task->gallery_count, draws, err));
        add_draws(v->search, sizeof v->search, draws, "subjects of probes");
    }
done:
    return st;
}

static void note(struct findings *findings, const struct cask_ijb_templates *templates,
                 const struct cask_ijb_pairs *pairs, const char *pairs_path)
{
    findings_add(findings, "images without an embedding, left out of their media",
                 templates->zero_images, "%s", templates->first_zero);
    findings_add(findings, "templates without a usable image, score 0", templates->empty_templates,
                 "template %lld", (long long)templates->first_empty);
    findings_add(findings, "pairs with such a template", pairs->empty, "%s", pairs_path);
    findings_add(findings, "pairs that repeat an earlier one, kept", pairs->duplicates, "%s:%lld",
                 pairs_path, (long long)pairs->first_duplicate);
    findings_add(findings, "pairs of a template with itself, kept", pairs->selves, "%s",
                 pairs_path);
}

static void no_intervals(struct ijb_variant *v)
{
    const struct cask_interval none = {NAN, NAN};
    for (int n = 0; n < IJB_NUMBERS; n++) {
        v->intervals[n] = none;
    }
}

enum cask_status ijb_measure(const struct ijb_task *task, const struct ijb_embeddings *embeddings,
                             struct ijb_variant *v, struct cask_set_result *picture,
                             struct findings *findings, struct ijb_measured *measured,
                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_ijb_templates templates = {0};
    no_intervals(v);
    CASK_TRY(cask_ijb_pool(task->set, &embeddings->rows, embeddings->views, v->switches,
                           task->threads, &templates, err));
    if (task->pairs_path != NULL) {
        CASK_TRY(verify(task, &templates, embeddings->pixels, v, picture, &measured->pairs, err));
    }
    if (task->gallery_count > 0) {
        CASK_TRY(search(task, &templates, embeddings->pixels, v, measured, err));
    }
    if (findings != NULL) {
        note(findings, &templates, &v->pairs, task->pairs_path);
    }
done:
    cask_ijb_templates_release(&templates);
    return st;
}

static void fill_intervals(struct ijb_draws *draws, int64_t units, struct cask_interval *intervals)
{
    for (int n = 0; n < draws->numbers; n++) {
        intervals[n] =
            interval_of_draws(draws->values + (int64_t)n * draws->draws, draws->draws, units);
    }
}

void ijb_intervals(struct ijb_variant *v, struct ijb_measured *measured)
{
    struct ijb_draws *pairs = &measured->pairs, *search = &measured->search;
    fill_intervals(pairs, pairs->persons < v->genuine ? pairs->persons : v->genuine, v->intervals);
    fill_intervals(search, search->persons, v->intervals + IJB_RATES);
}

void ijb_measured_release(struct ijb_measured *measured)
{
    ijb_draws_release(&measured->pairs);
    ijb_draws_release(&measured->search);
    for (int g = 0; g < IJB_GALLERIES; g++) {
        cask_free(measured->outcomes[g]);
    }
    *measured = (struct ijb_measured){0};
}
