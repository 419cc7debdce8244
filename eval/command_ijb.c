/* eval/command_ijb.c - `evaluate ijb`: IJB-B and IJB-C, 1:1 and 1:N. */
#include <math.h>
#include <string.h>

#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/plot.h"
#include "eval/embeddings.h"
#include "eval/ijb_draws.h"
#include "eval/ijb_report.h"
#include "eval/resample.h"

static const char usage[] =
    "usage: evaluate ijb --meta DIR --name ijbc --images DIR --model FILE --work DIR [options]\n"
    "       evaluate ijb --meta DIR --name ijbc --embeddings FILE.npy [options]\n"
    "\n"
    "Aligns every image by its five points, embeds it and its mirror, pools templates, and prints\n"
    "TPR at FPR over all pairs; with --gallery and --probe also ranks and TPIR at FPIR.\n"
    "Embeddings are kept in --work: a run that was stopped goes on where it was.\n"
    "Switches: N1 keeps an embedding's length as its weight, D1 multiplies by the detector's "
    "score,\n"
    "F1 adds the mirror's embedding. insightface prints N1D1F1, TFace and EKD N0D0F0.\n";

struct options {
    struct model_options model;
    const char *meta, *set, *tid_mid, *points, *pairs, *images, *embeddings, *work, *json, *csv,
        *roc, *histogram;
    struct cask_config_texts galleries, probes, switches;
    int64_t views, draws, seed;
    int bad_images;
};

#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {"meta", CASK_CONFIG_TEXT, ROW(meta), "", 0, 0, NULL, "DIR",
     "folder of NAME_face_tid_mid.txt, NAME_name_5pts_score.txt, NAME_template_pair_label.txt"},
    {"name", CASK_CONFIG_TEXT, ROW(set), "ijbc", 0, 0, NULL, "NAME",
     "ijbb or ijbc: the beginning of the files' names in --meta"},
    {"tid_mid", CASK_CONFIG_TEXT, ROW(tid_mid), "", 0, 0, NULL, "FILE",
     "instead of the one in --meta"},
    {"points", CASK_CONFIG_TEXT, ROW(points), "", 0, 0, NULL, "FILE",
     "instead of the one in --meta"},
    {"pairs", CASK_CONFIG_TEXT, ROW(pairs), "", 0, 0, NULL, "FILE",
     "instead of the one in --meta, which may be absent if there is a gallery"},
    {"gallery", CASK_CONFIG_TEXTS, ROW(galleries), "[]", 0, 0, NULL, "FILE",
     "1:N gallery CSV; repeatable (G1, G2), each searched by itself"},
    {"probe", CASK_CONFIG_TEXTS, ROW(probes), "[]", 0, 0, NULL, "FILE", "1:N probe CSV"},
    {"images", CASK_CONFIG_TEXT, ROW(images), "", 0, 0, NULL, "DIR", "loose_crop"},
    {"embeddings", CASK_CONFIG_TEXT, ROW(embeddings), "", 0, 0, NULL, "FILE",
     ".npy matrix of a row an image, instead of a model"},
    {"views", CASK_CONFIG_INT, ROW(views), "2", 1, 2, NULL, "N",
     "views a row holds: 1, or 2: image and mirror"},
    {"switches", CASK_CONFIG_TEXTS, ROW(switches), "[N1D1F1]", 0, 0, NULL, "NxDxFx",
     "repeatable; all: the eight of them"},
    {"work", CASK_CONFIG_TEXT, ROW(work), "", 0, 0, NULL, "DIR", "where embeddings are kept"},
    {"bad_images", CASK_CONFIG_ENUM, ROW(bad_images), "stop", 0, 0, bad_policy_names, NULL,
     "what an image that does not decode does"},
    {"bootstrap", CASK_CONFIG_INT, ROW(draws), "1000", 0, 100000, NULL, "N",
     "draws for the intervals; 0: none"},
    {"seed", CASK_CONFIG_INT, ROW(seed), "1", 0, 1e15, NULL, "N", "of the draws"},
    {"json", CASK_CONFIG_TEXT, ROW(json), "", 0, 0, NULL, "FILE", "write the results as JSON too"},
    {"csv", CASK_CONFIG_TEXT, ROW(csv), "", 0, 0, NULL, "FILE", "write the results as CSV too"},
    {"roc", CASK_CONFIG_TEXT, ROW(roc), "", 0, 0, NULL, "FILE", "draw it: .svg or .png"},
    {"histogram", CASK_CONFIG_TEXT, ROW(histogram), "", 0, 0, NULL, "FILE",
     "of genuine and impostor scores: .svg or .png"},
};

/* ------------------------------------------------------------------ images */

struct crops {
    const struct cask_ijb *set;
    const char *folder;
};

static void crop_name(const void *user, int64_t image, char *buffer, size_t bytes)
{
    const struct crops *crops = user;
    snprintf(buffer, bytes, "%.*s", CASK_SLICE_SHOWN(crops->set->image[image].name));
}

/* Loose crop to aligned face: similarity of the five points, OpenCV's warp. */
static enum cask_status load_crop(const void *user, int64_t image, struct cask_face_tools *tools,
                                  int width, int height, uint8_t *rgb, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct crops *crops = user;
    const struct cask_ijb_image *about = &crops->set->image[image];
    struct cask_landmarks target;
    uint8_t *crop = NULL;
    double m[6];
    int crop_width, crop_height;
    char *path = cask_format("%s/%.*s", crops->folder, (int)about->name.bytes, about->name.data);
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, 256, "a path"));
    }
    CASK_TRY(cask_encoded_read_file(&tools->encoded, path, err));
    st = cask_decode_any(tools->decoder, tools->encoded.data, tools->encoded.bytes, &crop_width,
                         &crop_height, &crop, err);
    if (st == CASK_OK) {
        st = cask_landmarks_target(width, height, &target, err);
    }
    if (st == CASK_OK) {
        st = cask_align_estimate(&about->points, &target, m, err);
    }
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", path);
        goto done;
    }
    cask_warp_affine(crop, crop_width, crop_height, m, width, height, rgb);
done:
    cask_free(path);
    cask_free(crop);
    return st;
}

static void fingerprint(const struct cask_ijb *set, char hex[CASK_SHA256_HEX])
{
    struct cask_sha256 state;
    cask_sha256_init(&state);
    cask_sha256_update_text(&state, "IJB images and points");
    for (int64_t i = 0; i < set->images; i++) {
        cask_sha256_update_u64(&state, set->image[i].name.bytes);
        cask_sha256_update(&state, set->image[i].name.data, set->image[i].name.bytes);
        cask_sha256_update(&state, &set->image[i].points, sizeof set->image[i].points);
    }
    cask_sha256_final_hex(&state, hex);
}

/* ----------------------------------------------------------------- options */

static enum cask_status check_options(const struct options *o, struct cask_error *err)
{
    bool images = o->images[0] != 0 && o->model.model[0] != 0 && o->work[0] != 0;
    if ((o->meta[0] == 0 && (o->tid_mid[0] == 0 || o->points[0] == 0)) ||
        images == (o->embeddings[0] != 0)) {
        return cask_error_set(
            err, CASK_ERR_USAGE,
            "expected --meta (or --tid-mid and --points) and either --embeddings, "
            "or --images with --model and --work; see --help");
    }
    if ((o->galleries.count > 0) != (o->probes.count == 1) || o->galleries.count > IJB_GALLERIES) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "expected 1 to %d --gallery with one --probe, or none of both, found "
                              "%d and %d",
                              IJB_GALLERIES, o->galleries.count, o->probes.count);
    }
    enum cask_status st = cask_plot_check_name(o->roc, err);
    return st == CASK_OK ? cask_plot_check_name(o->histogram, err) : st;
}

static enum cask_status parse_switches(const struct options *o, struct ijb_result *result,
                                       struct cask_error *err)
{
    const struct cask_config_texts *texts = &o->switches;
    bool all = texts->count == 1 && strcmp(texts->values[0], "all") == 0;
    for (int i = 0; i < (all ? IJB_VARIANTS : texts->count); i++) {
        struct ijb_variant *v = &result->variants[result->count];
        int n = i >> 2 & 1, d = i >> 1 & 1, f = i & 1, used = 0;
        bool good = all || (sscanf(texts->values[i], "N%1dD%1dF%1d%n", &n, &d, &f, &used) == 3 &&
                            texts->values[i][used] == 0 && (n | d | f) == ((n | d | f) & 1));
        if (!good || result->count == IJB_VARIANTS) {
            return cask_error_set(
                err, CASK_ERR_USAGE,
                "--switches: expected all, or N0D0F0 to N1D1F1, at most %d times, "
                "found \"%.40s\"",
                IJB_VARIANTS, texts->values[i]);
        }
        if (f == 1 && o->views != 2) {
            return cask_error_set(err, CASK_ERR_USAGE,
                                  "--switches N%dD%dF1 needs mirrored images: --views 2", n, d);
        }
        v->switches = (struct cask_ijb_switches){n == 1, d == 1, f == 1};
        snprintf(v->name, sizeof v->name, "N%dD%dF%d", n & 1, d & 1, f & 1);
        result->count++;
    }
    return CASK_OK;
}

static char *meta_path(const struct options *o, const char *given, const char *name)
{
    return given[0] != 0 ? cask_strdup(given) : cask_format("%s/%s_%s.txt", o->meta, o->set, name);
}

/* --------------------------------------------------------------------- run */

struct run {
    const struct options *options;
    struct cask_ijb set;
    struct embeddings embeddings;
    struct opened_model model;
    struct cask_ijb_people galleries[IJB_GALLERIES], probes;
    char pixels[160];
    struct cask_set_result *pictures; /* [IJB_VARIANTS] */
    struct ijb_result result;
};

static enum cask_status open_embeddings(struct run *r, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct options *o = r->options;
    struct crops crops = {&r->set, o->images};
    struct cask_faces faces = {r->set.images, &crops, crop_name, load_crop};
    char list[CASK_SHA256_HEX], spec[64];
    if (o->embeddings[0] != 0) {
        CASK_TRY(embeddings_read(o->embeddings, r->set.images, (int)o->views, &r->embeddings, err));
        snprintf(r->pixels, sizeof r->pixels, "embeddings of %.120s", o->embeddings);
        return st;
    }
    CASK_TRY(model_open(&o->model, &r->model, err));
    fingerprint(&r->set, list);
    cask_preprocess_format(&r->model.preprocess, spec);
    snprintf(r->pixels, sizeof r->pixels, "five points to %dx%d, %s", r->model.preprocess.width,
             r->model.preprocess.height, spec);
    CASK_TRY(embeddings_make(
        &r->model, &o->model, &faces, list, "five points, similarity, bilinear", (int)o->views,
        o->work, (enum bad_policy)o->bad_images, &r->result.findings, &r->embeddings, err));
done:
    return st;
}

static struct ijb_draws draws_of(const struct run *r)
{
    const struct options *o = r->options;
    return (struct ijb_draws){
        .draws = (int)o->draws, .threads = (int)o->model.threads, .seed = (uint64_t)o->seed};
}

/* "; 95 %: ..." behind a protocol */
static void add_draws(char *line, size_t bytes, const struct ijb_draws *draws, const char *unit)
{
    size_t used = strlen(line);
    snprintf(line + used, bytes - used, "; 95 %%: bootstrap over %lld %s, %d draws, seed %llu",
             (long long)draws->persons, unit, draws->draws, (unsigned long long)draws->seed);
}

/* Before the scores are sorted, as only then they lie beside their templates. */
static enum cask_status draw_pairs(struct run *r, const struct cask_scores *scores,
                                   struct cask_ijb_sides *sides, struct ijb_variant *v,
                                   struct ijb_draws *draws, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *draws = draws_of(r);
    CASK_TRY(
        ijb_draws_verify(scores, sides, r->set.templates, ijb_targets, IJB_TARGETS, draws, err));
    int64_t units = draws->persons < scores->genuine_count ? draws->persons : scores->genuine_count;
    for (int n = 0; n < draws->numbers; n++) {
        v->tpr_interval[n / IJB_TARGETS][n % IJB_TARGETS] =
            interval_of_draws(draws->values + (int64_t)n * draws->draws, draws->draws, units);
    }
done:
    return st;
}

static enum cask_status verify(struct run *r, const char *pairs_path,
                               const struct cask_ijb_templates *templates, struct ijb_variant *v,
                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_scores scores = {0};
    struct cask_ijb_sides sides = {0};
    struct ijb_draws draws = {0};
    bool intervals = r->options->draws > 0;
    CASK_TRY(cask_ijb_score(&r->set, pairs_path, templates, (int)r->options->model.threads, &scores,
                            &v->pairs, intervals ? &sides : NULL, err));
    if (intervals && scores.genuine_count > 0 && scores.impostor_count > 0) {
        CASK_TRY(draw_pairs(r, &scores, &sides, v, &draws, err));
    }
    cask_ijb_sides_release(&sides);
    CASK_TRY(cask_scores_sort(&scores, err));
    ijb_picture(&scores, &r->pictures[v - r->result.variants]);
    v->genuine = scores.genuine_count;
    v->impostor = scores.impostor_count;
    cask_rates_nearest(&scores, true, ijb_targets, IJB_TARGETS, v->parity);
    cask_rates_nearest(&scores, false, ijb_targets, IJB_TARGETS, v->full);
    for (int i = 0; i < IJB_TARGETS; i++) {
        v->strict[i] = cask_rate_strict(&scores, ijb_targets[i]);
    }
    snprintf(v->line, sizeof v->line,
             "%s 1:1 %s, media mean, media sum, cosine; parity: nearest FPR on the thinned ROC; "
             "full: on all of it; strict: FPR <= target; %s",
             r->options->set, v->name, r->pixels);
    if (intervals) {
        add_draws(v->line, sizeof v->line, &draws, "persons (templates of genuine pairs)");
    }
done:
    ijb_draws_release(&draws);
    cask_ijb_sides_release(&sides);
    cask_scores_release(&scores);
    return st;
}

static enum cask_status search(struct run *r, const struct cask_ijb_templates *templates,
                               struct ijb_variant *v, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct options *o = r->options;
    struct cask_ijb_outcome *outcomes[IJB_GALLERIES] = {0};
    struct ijb_draws draws = draws_of(r);
    for (int g = 0; g < o->galleries.count; g++) {
        outcomes[g] = cask_alloc((size_t)r->probes.count, sizeof *outcomes[g]);
        if (outcomes[g] == NULL) {
            CASK_TRY(cask_error_memory(err, (size_t)r->probes.count * 16, "outcomes"));
        }
        CASK_TRY(cask_ijb_identify(templates, &r->galleries[g], &r->probes, (int)o->model.threads,
                                   &v->found[g], outcomes[g], err));
        v->galleries++;
    }
    snprintf(v->search, sizeof v->search,
             "%s 1:N %s, each gallery by itself; rank: all hits over all probes; TPIR: mate first "
             "and above the max(int(n FPIR) - 1, 0)-th best non-mated score, mean over galleries; "
             "%s",
             o->set, v->name, r->pixels);
    if (o->draws > 0) {
        CASK_TRY(ijb_draws_search(&r->probes, outcomes, o->galleries.count, &draws, err));
        for (int n = 0; n < draws.numbers; n++) {
            v->search_interval[n] = interval_of_draws(draws.values + (int64_t)n * draws.draws,
                                                      draws.draws, draws.persons);
        }
        add_draws(v->search, sizeof v->search, &draws, "subjects of probes");
    }
done:
    for (int g = 0; g < IJB_GALLERIES; g++) {
        cask_free(outcomes[g]);
    }
    ijb_draws_release(&draws);
    return st;
}

static void no_intervals(struct ijb_variant *v)
{
    const struct cask_interval none = {NAN, NAN};
    for (int n = 0; n < IJB_RULES * IJB_TARGETS; n++) {
        v->tpr_interval[n / IJB_TARGETS][n % IJB_TARGETS] = none;
    }
    for (int n = 0; n < CASK_IJB_RANKS + CASK_IJB_FPIRS; n++) {
        v->search_interval[n] = none;
    }
}

/* Findings of the set are the same for every variant but for nearly nothing: the first is told. */
static void note_findings(struct run *r, const struct cask_ijb_templates *templates,
                          const struct cask_ijb_pairs *pairs, const char *pairs_path)
{
    struct findings *findings = &r->result.findings;
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

static enum cask_status run_variant(struct run *r, struct ijb_variant *v, const char *pairs_path,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct options *o = r->options;
    struct cask_ijb_templates templates = {0};
    no_intervals(v);
    CASK_TRY(cask_ijb_pool(&r->set, &r->embeddings.rows, r->embeddings.views, v->switches,
                           (int)o->model.threads, &templates, err));
    if (o->pairs[0] != 0 || o->galleries.count == 0 || cask_path_exists(pairs_path)) {
        CASK_TRY(verify(r, pairs_path, &templates, v, err));
    }
    if (o->galleries.count > 0) {
        CASK_TRY(search(r, &templates, v, err));
    }
    if (v == r->result.variants) {
        note_findings(r, &templates, &v->pairs, pairs_path);
    }
done:
    cask_ijb_templates_release(&templates);
    return st;
}

static void release(struct run *r)
{
    for (int g = 0; g < IJB_GALLERIES; g++) {
        cask_ijb_people_release(&r->galleries[g]);
    }
    cask_ijb_people_release(&r->probes);
    embeddings_close(&r->embeddings);
    model_close(&r->model);
    cask_ijb_close(&r->set);
    cask_free(r->pictures);
}

static enum cask_status run(void *user, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct options *o = user;
    struct cask_text csv = {0};
    char *tid_mid = meta_path(o, o->tid_mid, "face_tid_mid");
    char *points = meta_path(o, o->points, "name_5pts_score");
    char *pairs = meta_path(o, o->pairs, "template_pair_label");
    struct run *r = cask_alloc(1, sizeof *r);
    int done_variants = 0;
    if (r != NULL) {
        r->pictures = cask_alloc(IJB_VARIANTS, sizeof *r->pictures);
    }
    if (r == NULL || r->pictures == NULL || tid_mid == NULL || points == NULL || pairs == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *r, "results"));
    }
    r->options = o;
    r->result.model = o->embeddings[0] != 0 ? o->embeddings : o->model.model;
    r->result.set = o->set;
    CASK_TRY(check_options(o, err));
    CASK_TRY(parse_switches(o, &r->result, err));
    CASK_TRY(cask_ijb_open(tid_mid, points, &r->set, err));
    r->result.images = r->set.images;
    r->result.templates = r->set.templates;
    cask_log_info("%s: %lld images, %lld templates", o->set, (long long)r->set.images,
                  (long long)r->set.templates);
    for (int g = 0; g < o->galleries.count; g++) {
        CASK_TRY(
            cask_ijb_people_read(&r->set, o->galleries.values[g], true, &r->galleries[g], err));
    }
    if (o->probes.count > 0) {
        CASK_TRY(cask_ijb_people_read(&r->set, o->probes.values[0], false, &r->probes, err));
    }
    CASK_TRY(open_embeddings(r, err));
    for (; done_variants < r->result.count; done_variants++) {
        CASK_TRY(run_variant(r, &r->result.variants[done_variants], pairs, err));
    }
    CASK_TRY(result_write_json(o->json, ijb_json(&r->result), err));
    ijb_csv(&r->result, &csv);
    CASK_TRY(result_write_csv(o->csv, &csv, err));
    CASK_TRY(ijb_write_pictures(&r->result, r->pictures, o->roc, o->histogram, err));
done:
    if (done_variants > 0) { /* what was finished is told, whatever came after it */
        r->result.count = done_variants;
        ijb_print(&r->result, stdout);
    }
    if (r != NULL) {
        release(r);
    }
    cask_text_release(&csv);
    cask_free(r);
    cask_free(tid_mid);
    cask_free(points);
    cask_free(pairs);
    return st;
}

enum cask_status command_ijb(int argc, char **argv, struct cask_error *err)
{
    struct options options = {0};
    const struct cask_config_section sections[] = {
        {"", model_rows, model_row_count, &options.model},
        {"", rows, sizeof rows / sizeof *rows, &options},
    };
    const struct cask_cli_command cli = {usage, sections, 2, run, &options};
    return cask_cli_run(&cli, argc, argv, err);
}
