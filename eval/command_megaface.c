/* eval/command_megaface.c - `evaluate megaface`: identification and verification among distractors,
 * of one model or two. */
#include "common/mem.h"
#include "eval/megaface_images.h"
#include "eval/megaface_report.h"
#include "eval/results.h"

static const char usage[] =
    "usage: evaluate megaface LISTS (--model FILE --work DIR | --features SUFFIX) FOLDERS "
    "[options]\n"
    "       evaluate megaface LISTS --probe-npy FILE --distractor-npy FILE [options]\n"
    "  LISTS    --probes LIST --distractors LIST: text, one path a line, or the devkit's JSON\n"
    "  FOLDERS  --probe-dir DIR --distractor-dir DIR: of aligned images DIR/<path>, which --model\n"
    "           embeds, or of the devkit's feature files DIR/<path>SUFFIX\n"
    "\n"
    "Takes two probes of one identity as gallery image and probe, both ways round. The pair is a\n"
    "hit at rank n if fewer than n distractors are more similar to the probe than the gallery\n"
    "image; printed are rank-1, rank-10 and TPR at --far. Embeddings of a model are kept in "
    "--work,\n"
    "where a stopped run goes on.\n"
    "\n"
    "A second model is measured on the same probes and distractors, and the differences are\n"
    "tested: --against FILE with --against-work, or --against-features, or --against-probe-npy\n"
    "with --against-distractor-npy. Identities are drawn, the same for both, and each model's\n"
    "threshold is found anew in each draw, as for the intervals.\n";

struct options {
    struct measure_flags flags;
    const char *probes, *distractors, *probe_dir, *distractor_dir, *probe_noise, *distractor_noise;
    struct {
        const char *probe_npy, *distractor_npy, *features, *work;
    } sources[2]; /* of the model, and of what it is measured against */
    int64_t limit, views;
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
    {"features", CASK_CONFIG_TEXT, ROW(sources[0].features), "", 0, 0, NULL, "SUFFIX",
     "of the devkit's feature files, such as _r100.bin"},
    {"probe_npy", CASK_CONFIG_TEXT, ROW(sources[0].probe_npy), "", 0, 0, NULL, "FILE",
     ".npy matrix, a row a line of the list"},
    {"distractor_npy", CASK_CONFIG_TEXT, ROW(sources[0].distractor_npy), "", 0, 0, NULL, "FILE",
     ".npy matrix, a row a line of the list"},
    {"views", CASK_CONFIG_INT, ROW(views), "1", 1, 2, NULL, "N",
     "views in a row of a .npy: 1, or 2: image and mirror"},
    {"flip", CASK_CONFIG_ENUM, ROW(flip), "sum", 0, 0, flip_names, NULL,
     "embedding of image plus mirror, or of the image alone; not for feature files"},
    {"probe_noise", CASK_CONFIG_TEXT, ROW(probe_noise), "", 0, 0, NULL, "FILE",
     "images not to be trusted: facescrub_noises.txt"},
    {"distractor_noise", CASK_CONFIG_TEXT, ROW(distractor_noise), "", 0, 0, NULL, "FILE",
     "the same of distractors: megaface_noises.txt"},
    {"noise_rule", CASK_CONFIG_ENUM, ROW(noise_rule), "insightface", 0, 0, cask_noise_rule_names,
     NULL, "what is done with the images of the noise lists"},
    {"far", CASK_CONFIG_REAL, ROW(far), "1e-6", 1e-12, 0.1, NULL, "RATE",
     "FAR at which TPR is taken"},
    {"work", CASK_CONFIG_TEXT, ROW(sources[0].work), "", 0, 0, NULL, "DIR",
     "where embeddings are kept"},
    {"bad_images", CASK_CONFIG_ENUM, ROW(bad_images), "stop", 0, 0, bad_policy_names, NULL,
     "images that do not decode end the run when all are known, or are left out"},
    {"against_work", CASK_CONFIG_TEXT, ROW(sources[1].work), "", 0, 0, NULL, "DIR",
     "as --work, for --against"},
    {"against_features", CASK_CONFIG_TEXT, ROW(sources[1].features), "", 0, 0, NULL, "SUFFIX",
     "as --features, of a second model in the same folders"},
    {"against_probe_npy", CASK_CONFIG_TEXT, ROW(sources[1].probe_npy), "", 0, 0, NULL, "FILE",
     "as --probe-npy, of a second model"},
    {"against_distractor_npy", CASK_CONFIG_TEXT, ROW(sources[1].distractor_npy), "", 0, 0, NULL,
     "FILE", "as --distractor-npy, of a second model"},
};

/* A model, or what stands for one. */
struct side {
    struct megaface_source source;
    struct megaface_rows probe_rows, distractor_rows;
    struct cask_rows_common common_probes, common_distractors;
    struct cask_rows probes, distractors; /* what it is measured on */
    struct megaface_result result;
};

struct run {
    const struct options *options;
    struct cask_device *device; /* for the products; fp32 */
    struct megaface_images probes, distractors;
    struct side sides[2]; /* the model, and what it is measured against */
    int count;            /* of the two */
    struct cask_paired paired[MEGAFACE_PAIRED];
};

/* ----------------------------------------------------------------- options */

static struct megaface_source source_of(const struct options *o, int side)
{
    return (struct megaface_source){.features = o->sources[side].features,
                                    .probe_npy = o->sources[side].probe_npy,
                                    .distractor_npy = o->sources[side].distractor_npy,
                                    .model =
                                        side == 0 ? o->flags.model : measure_against(&o->flags),
                                    .work = o->sources[side].work,
                                    .views = (int)o->views,
                                    .flip = o->flip == 0,
                                    .bad_images = (enum bad_policy)o->bad_images};
}

static bool is_against(const struct options *o)
{
    return (o->flags.against.path[0] | o->sources[1].work[0] | o->sources[1].features[0] |
            o->sources[1].probe_npy[0] | o->sources[1].distractor_npy[0]) != 0;
}

static enum cask_status begin(struct run *r, const struct options *o, struct cask_error *err)
{
    bool folders = o->probe_dir[0] != 0 && o->distractor_dir[0] != 0;
    r->options = o;
    r->probes = (struct megaface_images){.what = "facescrub",
                                         .list_path = o->probes,
                                         .folder = o->probe_dir,
                                         .noise_path = o->probe_noise};
    r->distractors = (struct megaface_images){.what = "megaface",
                                              .list_path = o->distractors,
                                              .folder = o->distractor_dir,
                                              .noise_path = o->distractor_noise};
    r->sides[0].source = source_of(o, 0);
    r->sides[1].source = source_of(o, 1);
    if (o->probes[0] == 0 || o->distractors[0] == 0 ||
        megaface_source_kinds(&r->sides[0].source, folders) != 1) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "expected --probes and --distractors, and one of: both .npy; both "
                              "folders and --features; both folders, --model and --work; see "
                              "--help");
    }
    if (is_against(o) && megaface_source_kinds(&r->sides[1].source, folders) != 1) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "a second model: expected one of: --against-probe-npy and "
                              "--against-distractor-npy; both folders and --against-features; both "
                              "folders, --against and --against-work; see --help");
    }
    r->count = is_against(o) ? 2 : 1;
    return CASK_OK;
}

/* -------------------------------------------------------------- embeddings */

static enum cask_status open_sides(struct run *r, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (int s = 0; s < r->count; s++) {
        struct side *side = &r->sides[s];
        struct megaface_source *source = &side->source;
        struct findings *findings = &side->result.findings;
        if (source->features[0] == 0 && source->probe_npy[0] == 0) {
            CASK_TRY(model_open(&source->model, &source->opened, err));
        }
        CASK_TRY(megaface_rows_open(source, &r->probes, source->probe_npy, findings,
                                    &side->probe_rows, err));
        CASK_TRY(megaface_rows_open(source, &r->distractors, source->distractor_npy, findings,
                                    &side->distractor_rows, err));
    }
    for (int s = 0; s < r->count; s++) {
        struct side *side = &r->sides[s], *other = &r->sides[1 - s];
        side->probes = side->probe_rows.rows;
        side->distractors = side->distractor_rows.rows;
        if (r->count == 2) {
            side->common_probes =
                (struct cask_rows_common){&side->probe_rows.rows, &other->probe_rows.rows};
            side->common_distractors = (struct cask_rows_common){&side->distractor_rows.rows,
                                                                 &other->distractor_rows.rows};
            side->probes = cask_rows_of_common(&side->common_probes);
            side->distractors = cask_rows_of_common(&side->common_distractors);
        }
    }
done:
    return st;
}

static enum cask_status read_probes(const struct run *r, const struct cask_rows *source,
                                    struct cask_probes *probes, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t values = (size_t)source->count * (size_t)source->columns;
    *probes = (struct cask_probes){.count = source->count,
                                   .dim = source->columns,
                                   .identity = r->probes.list.identity,
                                   .noisy = r->probes.noise.noisy};
    probes->rows = cask_alloc(values, sizeof(float));
    if (probes->rows == NULL) {
        CASK_TRY(cask_error_memory(err, values * sizeof(float), "probes"));
    }
    CASK_TRY(source->read(source->user, 0, source->count, probes->rows, err));
    CASK_TRY(cask_probes_clean(probes, (enum cask_noise_rule)r->options->noise_rule,
                               (uint64_t)r->options->flags.seed, err));
done:
    return st;
}

/* ----------------------------------------------------------------- measure */

/* The protocol, and what is odd. */
static void describe(const struct run *r, struct side *side, const struct cask_probes *probes)
{
    const struct options *o = r->options;
    struct megaface_result *result = &side->result;
    const struct cask_megaface *found = &result->found;
    bool noise = o->probe_noise[0] != 0 || o->distractor_noise[0] != 0;
    char how[160], spec[64];
    if (side->source.opened.model.net != NULL) {
        cask_preprocess_format(&side->source.opened.preprocess, spec);
        snprintf(how, sizeof how, "%s, %s", side->source.flip ? "flip-sum" : "no flip", spec);
    } else {
        snprintf(how, sizeof how, "%s",
                 side->source.features[0] != 0 ? "feature files" : ".npy rows");
    }
    snprintf(result->line, sizeof result->line,
             "MegaFace, %lld distractors, noise %s, cosine; rank-n: fewer than n distractors above "
             "the pair, over all ordered pairs; TPR: at or above the floor(FAR n)-th largest of n "
             "probe-distractor pairs; %s",
             (long long)found->distractors, noise ? result->rule : "lists not given", how);
    findings_add(&result->findings, "noisy probes", probes->noisy_count, "rule %s", result->rule);
    findings_add(&result->findings, "noisy distractors", found->noisy_distractors, "rule %s",
                 result->rule);
    findings_add(&result->findings, "probes without an embedding, similar to nobody",
                 probes->zero_count, "%s", r->probes.list.path[probes->first_zero]);
    findings_add(&result->findings, "distractors without an embedding, similarity 0",
                 found->zero_distractors, "%s", r->distractors.list.path[found->first_zero]);
}

static enum cask_status measure(struct run *r, struct side *side, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct options *o = r->options;
    struct megaface_result *result = &side->result;
    struct cask_probes probes = {0};
    enum cask_noise_rule rule = (enum cask_noise_rule)o->noise_rule;
    bool detail = o->flags.draws > 0 || r->count == 2;
    struct cask_megaface_options options = {
        r->device, (int)o->flags.model.threads, o->far,
        rule,      r->distractors.noise.noisy,  detail ? &result->draws : NULL};
    result->model = megaface_source_name(&side->source);
    result->rule = cask_noise_rule_names[rule];
    result->far = o->far;
    result->identities = r->probes.list.identities;
    result->draws = (struct cask_megaface_draws){.draws = (int)o->flags.draws,
                                                 .seed = (uint64_t)o->flags.seed,
                                                 .keep_outcomes = r->count == 2};
    CASK_TRY(read_probes(r, &side->probes, &probes, err));
    CASK_TRY(cask_megaface_run(&probes, &side->distractors, &options, &result->found, err));
    describe(r, side, &probes);
done:
    cask_free(probes.rows);
    return st;
}

/* ----------------------------------------------------------------- results */

static void print(const struct run *r, FILE *stream)
{
    for (int s = 0; s < r->count; s++) {
        const struct megaface_result *result = &r->sides[s].result;
        if (r->count == 2) {
            result_print_side(s, result->model, stream);
        }
        megaface_print(result, stream);
    }
    if (r->count == 2) {
        fprintf(stream, "\n");
        cask_report_paired(r->paired, MEGAFACE_PAIRED, stream);
    }
}

static enum cask_status write_files(const struct run *r, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_text csv = {0};
    struct cask_json *json = megaface_json(&r->sides[0].result);
    if (r->count == 2) {
        result_set_against(json, megaface_json(&r->sides[1].result), r->paired, MEGAFACE_PAIRED);
    }
    CASK_TRY(result_write_json(r->options->flags.json, json, err));
    cask_report_csv_head(&csv);
    for (int s = 0; s < r->count; s++) {
        megaface_csv(&r->sides[s].result, &csv);
    }
    CASK_TRY(result_write_csv(r->options->flags.csv, &csv, err));
done:
    cask_text_release(&csv);
    return st;
}

static void release(struct run *r)
{
    for (int s = 0; s < 2; s++) {
        struct side *side = &r->sides[s];
        megaface_rows_close(&side->probe_rows);
        megaface_rows_close(&side->distractor_rows);
        cask_free(side->result.draws.values);
        cask_free(side->result.draws.outcomes);
        model_close(&side->source.opened);
    }
    megaface_images_close(&r->probes);
    megaface_images_close(&r->distractors);
    cask_device_close(r->device);
}

static enum cask_status run(void *user, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct options *o = user;
    const struct model_options *model = &o->flags.model;
    struct cask_device_options device = {model->backend, (int)model->threads, CASK_PRECISION_FP32};
    struct run *r = cask_alloc(1, sizeof *r);
    if (r == NULL) {
        return cask_error_memory(err, sizeof *r, "results");
    }
    CASK_TRY(begin(r, o, err));
    CASK_TRY(cask_device_open(&device, &r->device, err));
    CASK_TRY(megaface_images_open(&r->probes, 0, err));
    CASK_TRY(megaface_images_open(&r->distractors, o->limit, err));
    CASK_TRY(open_sides(r, err));
    for (int s = 0; s < r->count; s++) {
        CASK_TRY(measure(r, &r->sides[s], err));
    }
    if (r->count == 2) {
        const struct megaface_result *const results[2] = {&r->sides[0].result, &r->sides[1].result};
        CASK_TRY(megaface_paired(results, r->paired, err));
    }
    for (int s = 0; s < r->count; s++) {
        megaface_intervals(&r->sides[s].result);
    }
    print(r, stdout);
    CASK_TRY(write_files(r, err));
done:
    release(r);
    cask_free(r);
    return st;
}

enum cask_status command_megaface(int argc, char **argv, struct cask_error *err)
{
    static const struct measure_command megaface = {usage, rows, sizeof rows / sizeof *rows,
                                                    .against = true, .run = run};
    struct options options = {0};
    return measure_run(&megaface, &options, &options.flags, argc, argv, err);
}
