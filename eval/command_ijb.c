/* eval/command_ijb.c - `evaluate ijb`: IJB-B and IJB-C, 1:1 and 1:N, of one model or two. */
#include <string.h>

#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "eval/embeddings.h"
#include "eval/ijb_faces.h"
#include "eval/ijb_measure.h"
#include "eval/results.h"

static const char usage[] =
    "usage: evaluate ijb --meta DIR --name ijbc --images DIR --model FILE --work DIR [options]\n"
    "       evaluate ijb --meta DIR --name ijbc --embeddings FILE.npy [options]\n"
    "\n"
    "Aligns every image by its five points, embeds it and its mirror, pools the images of a "
    "template,\n"
    "and prints TPR at FPR over all pairs of templates; with --gallery and --probe also ranks and\n"
    "TPIR at FPIR. Embeddings are kept in --work, where a stopped run goes on.\n"
    "Switches: N1 keeps an embedding's length as its weight, D1 multiplies by the detector's "
    "score,\n"
    "F1 adds the mirror's embedding. insightface prints N1D1F1, TFace and EKD N0D0F0.\n"
    "\n"
    "--against PATH measures a second model (with --images and --against-work) or a .npy on the\n"
    "same templates, pairs and galleries, and tests every difference. Persons are drawn, the same\n"
    "for both, and each model's thresholds are found anew in each draw, as for the intervals.\n";

struct options {
    struct measure_flags flags;
    const char *meta, *set, *tid_mid, *points, *pairs, *images, *embeddings, *work, *against_work;
    struct cask_config_texts galleries, probes, switches;
    int64_t views;
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
     "1:N gallery CSV; repeatable (G1, G2), each searched by itself; needs --probe"},
    {"probe", CASK_CONFIG_TEXTS, ROW(probes), "[]", 0, 0, NULL, "FILE", "1:N probe CSV"},
    {"images", CASK_CONFIG_TEXT, ROW(images), "", 0, 0, NULL, "DIR",
     "the set's cropped, not yet aligned images (loose_crop)"},
    {"embeddings", CASK_CONFIG_TEXT, ROW(embeddings), "", 0, 0, NULL, "FILE",
     ".npy matrix, a row an image in the order of the lists, instead of a model"},
    {"views", CASK_CONFIG_INT, ROW(views), "2", 1, 2, NULL, "N",
     "views of an image that are embedded, or stand in a row of a .npy: 1, or 2: image and mirror"},
    {"switches", CASK_CONFIG_TEXTS, ROW(switches), "[N1D1F1]", 0, 0, NULL, "NxDxFx",
     "how images are pooled, see above; repeatable; all: the eight of them"},
    {"work", CASK_CONFIG_TEXT, ROW(work), "", 0, 0, NULL, "DIR", "where embeddings are kept"},
    {"against_work", CASK_CONFIG_TEXT, ROW(against_work), "", 0, 0, NULL, "DIR",
     "as --work, for --against"},
    {"bad_images", CASK_CONFIG_ENUM, ROW(bad_images), "stop", 0, 0, bad_policy_names, NULL,
     "images that do not decode end the run when all are known, or are left out"},
};

static enum cask_status check_options(const struct options *o, struct cask_error *err)
{
    const struct measure_flags *flags = &o->flags;
    bool images = o->images[0] != 0 && flags->model.model[0] != 0 && o->work[0] != 0;
    if ((o->meta[0] == 0 && (o->tid_mid[0] == 0 || o->points[0] == 0)) ||
        images == (o->embeddings[0] != 0)) {
        return cask_error_set(
            err, CASK_ERR_USAGE,
            "expected --meta (or --tid-mid and --points) and either --embeddings, "
            "or --images with --model and --work; see --help");
    }
    if (flags->against.path[0] != 0 && !cask_ends_with(flags->against.path, ".npy") &&
        (o->images[0] == 0 || o->against_work[0] == 0)) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "--against %s: expected a .npy, or for a model --images and "
                              "--against-work too; see --help",
                              flags->against.path);
    }
    if (flags->against.path[0] == 0 && o->against_work[0] != 0) {
        return cask_error_set(err, CASK_ERR_USAGE, "--against-work %s needs --against",
                              o->against_work);
    }
    if ((o->galleries.count > 0) != (o->probes.count == 1) || o->galleries.count > IJB_GALLERIES) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "expected 1 to %d --gallery with one --probe, or none of both, found "
                              "%d and %d",
                              IJB_GALLERIES, o->galleries.count, o->probes.count);
    }
    return CASK_OK;
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

/* A model, or the matrix that stands for one. */
struct side {
    struct model_options options;
    const char *npy, *work;
    struct opened_model model;
    struct embeddings embeddings;
    char pixels[160];
    struct cask_rows_common common;
    struct ijb_embeddings measured;   /* what it is measured on */
    struct cask_set_result *pictures; /* [IJB_VARIANTS] */
};

struct run {
    const struct options *options;
    struct cask_ijb set;
    struct cask_ijb_people galleries[IJB_GALLERIES], probes;
    struct ijb_task task;
    struct side sides[2]; /* the model, and what it is measured against */
    struct ijb_result results[2];
    int count; /* of the two */
    struct cask_paired paired[IJB_VARIANTS * IJB_NUMBERS];
    int paired_count;
};

/* What stands on the command line. */
static enum cask_status begin(struct run *r, const struct options *o, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool npy = cask_ends_with(o->flags.against.path, ".npy");
    r->options = o;
    r->sides[0] = (struct side){.options = o->flags.model, .npy = o->embeddings, .work = o->work};
    r->sides[1] = (struct side){.options = measure_against(&o->flags),
                                .npy = npy ? o->flags.against.path : "",
                                .work = o->against_work};
    CASK_TRY(check_options(o, err));
    r->count = o->flags.against.path[0] != 0 ? 2 : 1;
    for (int s = 0; s < r->count; s++) {
        struct side *side = &r->sides[s];
        struct ijb_result *result = &r->results[s];
        result->model = side->npy[0] != 0 ? side->npy : side->options.model;
        result->set = o->set;
        CASK_TRY(parse_switches(o, result, err));
        side->pictures = cask_alloc(IJB_VARIANTS, sizeof *side->pictures);
        if (side->pictures == NULL) {
            CASK_TRY(cask_error_memory(err, IJB_VARIANTS * sizeof *side->pictures, "pictures"));
        }
    }
done:
    return st;
}

static enum cask_status open_set(struct run *r, const char *tid_mid, const char *points,
                                 const char *pairs, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct options *o = r->options;
    CASK_TRY(cask_ijb_open(tid_mid, points, &r->set, err));
    cask_log_info("%s: %lld images, %lld templates", o->set, (long long)r->set.images,
                  (long long)r->set.templates);
    for (int g = 0; g < o->galleries.count; g++) {
        CASK_TRY(
            cask_ijb_people_read(&r->set, o->galleries.values[g], true, &r->galleries[g], err));
    }
    if (o->probes.count > 0) {
        CASK_TRY(cask_ijb_people_read(&r->set, o->probes.values[0], false, &r->probes, err));
    }
    bool verify = o->pairs[0] != 0 || o->galleries.count == 0 || cask_path_exists(pairs);
    r->task = (struct ijb_task){.set = &r->set,
                                .name = o->set,
                                .pairs_path = verify ? pairs : NULL,
                                .galleries = r->galleries,
                                .probes = &r->probes,
                                .gallery_count = o->galleries.count,
                                .threads = (int)o->flags.model.threads,
                                .draws = (int)o->flags.draws,
                                .seed = (uint64_t)o->flags.seed};
    for (int s = 0; s < r->count; s++) {
        r->results[s].images = r->set.images;
        r->results[s].templates = r->set.templates;
    }
done:
    return st;
}

static enum cask_status open_side(struct run *r, struct side *side, struct findings *findings,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct options *o = r->options;
    struct ijb_crops crops = {&r->set, o->images};
    struct cask_faces faces = ijb_faces(&crops);
    char list[CASK_SHA256_HEX], spec[64];
    if (side->npy[0] != 0) {
        CASK_TRY(embeddings_read(side->npy, r->set.images, (int)o->views, &side->embeddings, err));
        snprintf(side->pixels, sizeof side->pixels, "embeddings of %.120s", side->npy);
        return st;
    }
    CASK_TRY(model_open(&side->options, &side->model, err));
    ijb_fingerprint(&r->set, list);
    cask_preprocess_format(&side->model.preprocess, spec);
    snprintf(side->pixels, sizeof side->pixels, "five points to %dx%d, %s",
             side->model.preprocess.width, side->model.preprocess.height, spec);
    CASK_TRY(embeddings_make(&side->model, &side->options, &faces, list,
                             "five points, similarity, bilinear", (int)o->views, side->work,
                             (enum bad_policy)o->bad_images, findings, &side->embeddings, err));
done:
    return st;
}

static enum cask_status open_sides(struct run *r, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (int s = 0; s < r->count; s++) {
        CASK_TRY(open_side(r, &r->sides[s], &r->results[s].findings, err));
    }
    for (int s = 0; s < r->count; s++) {
        struct side *side = &r->sides[s];
        side->common =
            (struct cask_rows_common){&side->embeddings.rows, &r->sides[1 - s].embeddings.rows};
        side->measured = (struct ijb_embeddings){r->count == 2 ? cask_rows_of_common(&side->common)
                                                               : side->embeddings.rows,
                                                 side->embeddings.views, side->pixels};
    }
done:
    return st;
}

static enum cask_status run_variant(struct run *r, int index, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct ijb_variant *v[2] = {&r->results[0].variants[index], &r->results[1].variants[index]};
    struct ijb_measured measured[2] = {0};
    int tests = 0;
    for (int s = 0; s < r->count; s++) {
        /* the set's oddities are the same for every choice of switches, so the first tells them */
        CASK_TRY(ijb_measure(&r->task, &r->sides[s].measured, v[s], &r->sides[s].pictures[index],
                             index == 0 ? &r->results[s].findings : NULL, &measured[s], err));
    }
    if (r->count == 2) {
        const struct ijb_variant *const compared[2] = {v[0], v[1]};
        CASK_TRY(
            ijb_paired(&r->task, compared, measured, r->paired + r->paired_count, &tests, err));
        r->paired_count += tests;
    }
    for (int s = 0; s < r->count; s++) {
        ijb_intervals(v[s], &measured[s]);
    }
done:
    ijb_measured_release(&measured[0]);
    ijb_measured_release(&measured[1]);
    return st;
}

/* ----------------------------------------------------------------- results */

static void print(const struct run *r, FILE *stream)
{
    for (int s = 0; s < r->count; s++) {
        if (r->count == 2) {
            result_print_side(s, r->results[s].model, stream);
        }
        ijb_print(&r->results[s], stream);
    }
    if (r->paired_count > 0) {
        fprintf(stream, "\n");
        cask_report_paired(r->paired, r->paired_count, stream);
    }
}

static enum cask_status write_files(const struct run *r, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct measure_flags *flags = &r->options->flags;
    struct cask_set_result *const pictures[2] = {r->sides[0].pictures, r->sides[1].pictures};
    struct cask_json *json = ijb_json(&r->results[0]);
    struct cask_text csv = {0};
    if (r->count == 2) {
        result_set_against(json, ijb_json(&r->results[1]), r->paired, r->paired_count);
    }
    CASK_TRY(result_write_json(flags->json, json, err));
    cask_report_csv_head(&csv);
    for (int s = 0; s < r->count; s++) {
        ijb_csv(&r->results[s], &csv);
    }
    CASK_TRY(result_write_csv(flags->csv, &csv, err));
    CASK_TRY(ijb_write_pictures(r->results, pictures, r->count, flags->roc, flags->histogram, err));
done:
    cask_text_release(&csv);
    return st;
}

static void release(struct run *r)
{
    for (int g = 0; g < IJB_GALLERIES; g++) {
        cask_ijb_people_release(&r->galleries[g]);
    }
    cask_ijb_people_release(&r->probes);
    for (int s = 0; s < 2; s++) {
        embeddings_close(&r->sides[s].embeddings);
        model_close(&r->sides[s].model);
        cask_free(r->sides[s].pictures);
    }
    cask_ijb_close(&r->set);
}

static enum cask_status run(void *user, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct options *o = user;
    char *tid_mid = meta_path(o, o->tid_mid, "face_tid_mid");
    char *points = meta_path(o, o->points, "name_5pts_score");
    char *pairs = meta_path(o, o->pairs, "template_pair_label");
    struct run *r = cask_alloc(1, sizeof *r);
    int variants = 0, finished = 0;
    if (r == NULL || tid_mid == NULL || points == NULL || pairs == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *r, "results"));
    }
    CASK_TRY(begin(r, o, err));
    CASK_TRY(open_set(r, tid_mid, points, pairs, err));
    CASK_TRY(open_sides(r, err));
    for (variants = r->results[0].count; finished < variants; finished++) {
        CASK_TRY(run_variant(r, finished, err));
    }
    CASK_TRY(write_files(r, err));
done:
    if (finished > 0) { /* what was finished is told, whatever came after it */
        r->results[0].count = r->results[1].count = finished;
        print(r, stdout);
    }
    if (r != NULL) {
        release(r);
    }
    cask_free(r);
    cask_free(tid_mid);
    cask_free(points);
    cask_free(pairs);
    return st;
}

enum cask_status command_ijb(int argc, char **argv, struct cask_error *err)
{
    static const struct measure_command ijb = {
        usage, rows, sizeof rows / sizeof *rows, .against = true, .pictures = true, .run = run};
    struct options options = {0};
    return measure_run(&ijb, &options, &options.flags, argc, argv, err);
}
