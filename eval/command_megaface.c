/* eval/command_megaface.c - `evaluate megaface`: identification and verification among distractors.
 */
#include <math.h>
#include <string.h>

#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"
#include "eval/embeddings.h"
#include "eval/eval.h"
#include "eval/megaface.h"
#include "eval/resample.h"

static const char usage[] =
    "usage: evaluate megaface --probes LIST --distractors LIST --probe-dir DIR --distractor-dir "
    "DIR\n"
    "           (--features SUFFIX | --model FILE --work DIR) [options]\n"
    "       evaluate megaface --probes LIST --distractors LIST --probe-npy FILE --distractor-npy "
    "FILE\n"
    "\n"
    "Rank-1 and rank-10 of every pair of probes of one identity among the distractors, and TPR at\n"
    "FAR 1e-6. LIST is text with one path a line, or the devkit's JSON. --features reads the "
    "devkit's\n"
    "files DIR/<path>SUFFIX; --model embeds the aligned images DIR/<path> and keeps the embeddings "
    "in\n"
    "--work, where a stopped run goes on.\n";

struct options {
    struct model_options model;
    const char *probes, *distractors, *probe_dir, *distractor_dir, *probe_npy, *distractor_npy;
    const char *features, *work, *probe_noise, *distractor_noise, *json, *csv;
    int64_t limit, seed, views, draws;
    double far;
    int noise_rule, flip, bad_images;
};

static const char *const flip_names[] = {"sum", "none", NULL};

#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {"probes", CASK_CONFIG_TEXT, ROW(probes), "", 0, 0, NULL, "LIST",
     "facescrub_lst or facescrub_features_list.json"},
    {"distractors", CASK_CONFIG_TEXT, ROW(distractors), "", 0, 0, NULL, "LIST",
     "megaface_lst or megaface_features_list.json_1000000_1"},
    {"limit", CASK_CONFIG_INT, ROW(limit), "0", 0, 1e9, NULL, "N",
     "the first so many distractors; 0: all"},
    {"probe_dir", CASK_CONFIG_TEXT, ROW(probe_dir), "", 0, 0, NULL, "DIR", "of images or features"},
    {"distractor_dir", CASK_CONFIG_TEXT, ROW(distractor_dir), "", 0, 0, NULL, "DIR",
     "of images or features"},
    {"features", CASK_CONFIG_TEXT, ROW(features), "", 0, 0, NULL, "SUFFIX",
     "of the devkit's feature files, such as _r100.bin"},
    {"probe_npy", CASK_CONFIG_TEXT, ROW(probe_npy), "", 0, 0, NULL, "FILE",
     "a row a line of the list"},
    {"distractor_npy", CASK_CONFIG_TEXT, ROW(distractor_npy), "", 0, 0, NULL, "FILE",
     "a row a line of the list"},
    {"views", CASK_CONFIG_INT, ROW(views), "1", 1, 2, NULL, "N",
     "views in a row of a .npy: 1, or 2: image and mirror"},
    {"flip", CASK_CONFIG_ENUM, ROW(flip), "sum", 0, 0, flip_names, NULL,
     "embedding of image plus mirror, or of the image alone"},
    {"probe_noise", CASK_CONFIG_TEXT, ROW(probe_noise), "", 0, 0, NULL, "FILE",
     "facescrub_noises.txt"},
    {"distractor_noise", CASK_CONFIG_TEXT, ROW(distractor_noise), "", 0, 0, NULL, "FILE",
     "megaface_noises.txt"},
    {"noise_rule", CASK_CONFIG_ENUM, ROW(noise_rule), "insightface", 0, 0, cask_noise_rule_names,
     NULL, "what is done with the images of the noise lists"},
    {"seed", CASK_CONFIG_INT, ROW(seed), "1", 0, 1e15, NULL, "N",
     "of insightface's noise rule and of the draws"},
    {"bootstrap", CASK_CONFIG_INT, ROW(draws), "1000", 0, 100000, NULL, "N",
     "draws for the intervals; 0: none"},
    {"far", CASK_CONFIG_REAL, ROW(far), "1e-6", 1e-12, 0.1, NULL, "RATE", "target of TPR at FAR"},
    {"work", CASK_CONFIG_TEXT, ROW(work), "", 0, 0, NULL, "DIR", "where embeddings are kept"},
    {"bad_images", CASK_CONFIG_ENUM, ROW(bad_images), "stop", 0, 0, bad_policy_names, NULL,
     "what an image that does not decode does"},
    {"json", CASK_CONFIG_TEXT, ROW(json), "", 0, 0, NULL, "FILE", "write the results as JSON too"},
    {"csv", CASK_CONFIG_TEXT, ROW(csv), "", 0, 0, NULL, "FILE", "write the results as CSV too"},
};

/* One of the two sets of images. */
struct side {
    const char *what; /* "facescrub", "megaface": also its folder in --work */
    const char *list_path, *folder, *npy, *noise_path;
    struct cask_name_list list;
    struct cask_noise noise;
    struct cask_feature_files files;
    struct embeddings embeddings;
    struct cask_rows_view view;
    struct cask_rows rows; /* D columns */
};

struct run {
    const struct options *options;
    struct opened_model model;
    struct cask_device *device; /* for the products; fp32 */
    struct side probe, distractor;
    struct cask_probes probes;
    struct cask_megaface found;
    struct findings findings;
    struct cask_megaface_draws draws;
    struct cask_interval intervals[CASK_MEGAFACE_RANKS + 1]; /* percent: rank-1..10, TPR */
    char line[600];
};

static enum cask_status check_options(const struct options *o, struct cask_error *err)
{
    bool npy = o->probe_npy[0] != 0 && o->distractor_npy[0] != 0;
    bool folders = o->probe_dir[0] != 0 && o->distractor_dir[0] != 0;
    bool model = o->model.model[0] != 0 && o->work[0] != 0;
    int kinds = npy + (folders && o->features[0] != 0) + (folders && model);
    if (o->probes[0] == 0 || o->distractors[0] == 0 || kinds != 1) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "expected --probes and --distractors, and one of: both .npy; both "
                              "folders and --features; both folders, --model and --work; see "
                              "--help");
    }
    return CASK_OK;
}

/* ------------------------------------------------------------------- sides */

static void fingerprint(const struct cask_name_list *list, char hex[CASK_SHA256_HEX])
{
    struct cask_sha256 state;
    cask_sha256_init(&state);
    cask_sha256_update_text(&state, "list of aligned images");
    for (int64_t i = 0; i < list->count; i++) {
        cask_sha256_update_text(&state, list->path[i]);
    }
    cask_sha256_final_hex(&state, hex);
}

static enum cask_status embed_side(struct run *r, struct side *side, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct options *o = r->options;
    struct cask_face_files files = {side->folder, side->list.path};
    struct cask_faces faces = cask_faces_of_files(&files, side->list.count);
    char list[CASK_SHA256_HEX];
    char *folder = cask_format("%s/%s", o->work, side->what);
    if (folder == NULL) {
        CASK_TRY(cask_error_memory(err, 256, "a path"));
    }
    fingerprint(&side->list, list);
    CASK_TRY(embeddings_make(&r->model, &o->model, &faces, list, "aligned", o->flip == 0 ? 2 : 1,
                             folder, (enum bad_policy)o->bad_images, &r->findings,
                             &side->embeddings, err));
done:
    cask_free(folder);
    return st;
}

static enum cask_status open_side(struct run *r, struct side *side, int64_t limit,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct options *o = r->options;
    CASK_TRY(cask_name_list_open(side->list_path, limit, &side->list, err));
    cask_log_info("%s: %lld images, %lld identities", side->list_path, (long long)side->list.count,
                  (long long)side->list.identities);
    if (side->noise_path[0] != 0) {
        CASK_TRY(cask_noise_read(side->noise_path, &side->list, &side->noise, err));
        cask_log_info("%s: %lld entries name %lld images of the list", side->noise_path,
                      (long long)side->noise.entries, (long long)side->noise.images);
    }
    if (o->features[0] != 0) {
        CASK_TRY(cask_feature_files_open(&side->list, side->folder, o->features, &side->files,
                                         &side->rows, err));
        return st;
    }
    if (side->npy[0] != 0) {
        CASK_TRY(
            embeddings_read(side->npy, side->list.count, (int)o->views, &side->embeddings, err));
    } else {
        CASK_TRY(embed_side(r, side, err));
    }
    side->view =
        (struct cask_rows_view){&side->embeddings.rows, side->embeddings.views, o->flip == 0};
    side->rows = cask_rows_of_view(&side->view);
done:
    return st;
}

static void close_side(struct side *side)
{
    embeddings_close(&side->embeddings);
    cask_free(side->noise.noisy);
    cask_name_list_close(&side->list);
}

static enum cask_status read_probes(struct run *r, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct side *side = &r->probe;
    size_t values = (size_t)side->rows.count * (size_t)side->rows.columns;
    r->probes = (struct cask_probes){.count = side->rows.count,
                                     .dim = side->rows.columns,
                                     .identity = side->list.identity,
                                     .noisy = side->noise.noisy};
    r->probes.rows = cask_alloc(values, sizeof(float));
    if (r->probes.rows == NULL) {
        CASK_TRY(cask_error_memory(err, values * sizeof(float), "probes"));
    }
    CASK_TRY(side->rows.read(side->rows.user, 0, side->rows.count, r->probes.rows, err));
    CASK_TRY(cask_probes_clean(&r->probes, (enum cask_noise_rule)r->options->noise_rule,
                               (uint64_t)r->options->seed, err));
done:
    return st;
}

/* ------------------------------------------------------------------ report */

static double percent(int64_t part, int64_t whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : NAN;
}

static void find_intervals(struct run *r)
{
    int64_t units = r->draws.identities < r->found.pairs ? r->draws.identities : r->found.pairs;
    for (int n = 0; n <= CASK_MEGAFACE_RANKS; n++) {
        r->intervals[n] = r->draws.values == NULL
                              ? (struct cask_interval){NAN, NAN}
                              : interval_of_draws(r->draws.values + (int64_t)n * r->draws.draws,
                                                  r->draws.draws, units);
    }
    if (r->draws.values != NULL) {
        size_t used = strlen(r->line);
        snprintf(r->line + used, sizeof r->line - used,
                 "; 95 %%: bootstrap over %lld identities of probes, %d draws, seed %llu",
                 (long long)r->draws.identities, r->draws.draws, (unsigned long long)r->draws.seed);
        findings_add(&r->findings, "draws whose TPR is taken at the smallest negative kept",
                     r->draws.shallow, "of %d", r->draws.draws);
    }
}

static void describe(struct run *r)
{
    const struct options *o = r->options;
    const char *rule = cask_noise_rule_names[o->noise_rule];
    bool noise = o->probe_noise[0] != 0 || o->distractor_noise[0] != 0;
    char how[160], spec[64];
    if (r->model.model.net != NULL) {
        cask_preprocess_format(&r->model.preprocess, spec);
        snprintf(how, sizeof how, "%s, %s", o->flip == 0 ? "flip-sum" : "no flip", spec);
    } else {
        snprintf(how, sizeof how, "%s", o->features[0] != 0 ? "feature files" : ".npy rows");
    }
    snprintf(r->line, sizeof r->line,
             "MegaFace, %lld distractors, noise %s, cosine; rank-n: fewer than n distractors above "
             "the pair, over all ordered pairs; TPR: at or above the floor(FAR n)-th largest of n "
             "probe-distractor pairs; %s",
             (long long)r->found.distractors, noise ? rule : "lists not given", how);
    findings_add(&r->findings, "noisy probes", r->probes.noisy_count, "rule %s", rule);
    findings_add(&r->findings, "noisy distractors", r->found.noisy_distractors, "rule %s", rule);
    findings_add(&r->findings, "probes without an embedding, similar to nobody",
                 r->probes.zero_count, "%s", r->probe.list.path[r->probes.first_zero]);
    findings_add(&r->findings, "distractors without an embedding, similarity 0",
                 r->found.zero_distractors, "%s", r->distractor.list.path[r->found.first_zero]);
}

static void print(const struct run *r, FILE *stream)
{
    const struct cask_megaface *f = &r->found;
    char text[3][48];
    fprintf(stream, "megaface: %lld probes of %lld identities, %lld pairs, %lld distractors\n",
            (long long)f->probes, (long long)r->probe.list.identities, (long long)f->pairs,
            (long long)f->distractors);
    fprintf(stream,
            "  rank-1 %.2f%% (%lld), rank-10 %.2f%% (%lld), TPR@FAR=%g %.2f%% (%lld)\n"
            "  95 %% intervals: rank-1 %s, rank-10 %s, TPR %s\n",
            percent(f->hits[0], f->pairs), (long long)f->hits[0],
            percent(f->hits[CASK_MEGAFACE_RANKS - 1], f->pairs),
            (long long)f->hits[CASK_MEGAFACE_RANKS - 1], r->options->far,
            percent(f->accepted, f->pairs), (long long)f->accepted,
            cask_interval_text(r->intervals[0], text[0]),
            cask_interval_text(r->intervals[CASK_MEGAFACE_RANKS - 1], text[1]),
            cask_interval_text(r->intervals[CASK_MEGAFACE_RANKS], text[2]));
    fprintf(stream, "  threshold %.6f, %lld of %lld negatives allowed\n", f->threshold,
            (long long)f->allowed, (long long)f->negatives);
    fprintf(stream, "  protocol: %s\n", r->line);
    findings_print(&r->findings, stream);
}

static struct cask_json *to_json(const struct run *r)
{
    const struct cask_megaface *f = &r->found;
    struct cask_json *json = cask_json_object(), *hits = cask_json_array();
    for (int n = 0; n < CASK_MEGAFACE_RANKS; n++) {
        cask_json_append_int(hits, f->hits[n]);
    }
    cask_json_set_text(json, "model", r->options->model.model);
    cask_json_set_text(json, "set", "megaface");
    cask_json_set_text(json, "protocol", r->line);
    cask_json_set_int(json, "probes", f->probes);
    cask_json_set_int(json, "identities", r->probe.list.identities);
    cask_json_set_int(json, "distractors", f->distractors);
    cask_json_set_int(json, "pairs", f->pairs);
    cask_json_set(json, "hits", hits);
    cask_json_set_real(json, "rank1", percent(f->hits[0], f->pairs));
    cask_json_set_real(json, "rank10", percent(f->hits[CASK_MEGAFACE_RANKS - 1], f->pairs));
    cask_json_set_interval(json, "rank1_interval", r->intervals[0]);
    cask_json_set_interval(json, "rank10_interval", r->intervals[CASK_MEGAFACE_RANKS - 1]);
    cask_json_set_interval(json, "tpr_interval", r->intervals[CASK_MEGAFACE_RANKS]);
    cask_json_set_real(json, "far", r->options->far);
    cask_json_set_real(json, "tpr", percent(f->accepted, f->pairs));
    cask_json_set_int(json, "accepted", f->accepted);
    cask_json_set_int(json, "negatives", f->negatives);
    cask_json_set_int(json, "negatives_allowed", f->allowed);
    cask_json_set_real(json, "threshold", f->threshold);
    cask_json_set(json, "findings", findings_json(&r->findings));
    return json;
}

static enum cask_status write_files(const struct run *r, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const char *rule = cask_noise_rule_names[r->options->noise_rule];
    const char *model = r->options->model.model;
    struct cask_text text = {0};
    char number[64];
    CASK_TRY(result_write_json(r->options->json, to_json(r), err));
    cask_report_csv_head(&text);
    for (int n = 0; n < CASK_MEGAFACE_RANKS; n++) {
        snprintf(number, sizeof number, "rank %d", n + 1);
        cask_report_csv_line(&text, model, "megaface", rule, number,
                             percent(r->found.hits[n], r->found.pairs), r->intervals[n],
                             r->found.pairs);
    }
    snprintf(number, sizeof number, "tpr at far %g", r->options->far);
    cask_report_csv_line(&text, model, "megaface", rule, number,
                         percent(r->found.accepted, r->found.pairs),
                         r->intervals[CASK_MEGAFACE_RANKS], r->found.pairs);
    CASK_TRY(result_write_csv(r->options->csv, &text, err));
done:
    cask_text_release(&text);
    return st;
}

/* --------------------------------------------------------------------- run */

static enum cask_status run(void *user, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct options *o = user;
    struct run *r = cask_alloc(1, sizeof *r);
    struct cask_device_options device = {o->model.backend, (int)o->model.threads,
                                         CASK_PRECISION_FP32};
    if (r == NULL) {
        return cask_error_memory(err, sizeof *r, "results");
    }
    r->options = o;
    r->probe = (struct side){.what = "facescrub",
                             .list_path = o->probes,
                             .folder = o->probe_dir,
                             .npy = o->probe_npy,
                             .noise_path = o->probe_noise};
    r->distractor = (struct side){.what = "megaface",
                                  .list_path = o->distractors,
                                  .folder = o->distractor_dir,
                                  .npy = o->distractor_npy,
                                  .noise_path = o->distractor_noise};
    CASK_TRY(check_options(o, err));
    if (o->model.model[0] != 0) {
        CASK_TRY(model_open(&o->model, &r->model, err));
    }
    CASK_TRY(cask_device_open(&device, &r->device, err));
    CASK_TRY(open_side(r, &r->probe, 0, err));
    CASK_TRY(open_side(r, &r->distractor, o->limit, err));
    CASK_TRY(read_probes(r, err));
    struct cask_megaface_options options = {r->device,
                                            (int)o->model.threads,
                                            o->far,
                                            (enum cask_noise_rule)o->noise_rule,
                                            r->distractor.noise.noisy,
                                            o->draws > 0 ? &r->draws : NULL};
    r->draws = (struct cask_megaface_draws){.draws = (int)o->draws, .seed = (uint64_t)o->seed};
    CASK_TRY(cask_megaface_run(&r->probes, &r->distractor.rows, &options, &r->found, err));
    describe(r);
    find_intervals(r);
    print(r, stdout);
    CASK_TRY(write_files(r, err));
done:
    close_side(&r->probe);
    close_side(&r->distractor);
    cask_free(r->probes.rows);
    cask_free(r->draws.values);
    cask_device_close(r->device);
    model_close(&r->model);
    cask_free(r);
    return st;
}

enum cask_status command_megaface(int argc, char **argv, struct cask_error *err)
{
    struct options options = {0};
    const struct cask_config_section sections[] = {
        {"", model_rows, model_row_count, &options.model},
        {"", rows, sizeof rows / sizeof *rows, &options},
    };
    const struct cask_cli_command cli = {usage, sections, 2, run, &options};
    return cask_cli_run(&cli, argc, argv, err);
}
