/* eval/command_masked.c - `evaluate masked`: verification with drawn masks. */
#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "eval/command.h"
#include "eval/masked.h"
#include "eval/results.h"

static const char usage[] =
    "usage: evaluate masked --model FILE (--pairs FILE --images DIR | --bin FILE) [options]\n"
    "\n"
    "The pairs of a set without masks (n-n), with a mask on the second image of each pair (m-n) "
    "and\n"
    "on both (m-m): k-fold accuracy, FMR100 and FMR1000 (share of genuine pairs that are refused "
    "when\n"
    "at most 1 % or 0.1 % of impostor pairs are accepted), EER and FDR. Masks are drawn over the\n"
    "faces, by --seed and image. fdbtrs-m-n masks the second half of all images instead, as a "
    "public\n"
    "loader does under the name M-N.\n";

enum { RULES = CASK_MASK_FDBTRS_MN + 1 };

struct options {
    struct measure_flags flags;
    const char *pairs, *images, *bin, *landmarks;
    struct cask_config_texts rules;
    int flip;
    bool exclude_bad;
};

static const char *const flip_names[] = {"sum", "none", "concat", NULL};

#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {"pairs", CASK_CONFIG_TEXT, ROW(pairs), "", 0, 0, NULL, "FILE",
     "pairs in LFW's format, or CSV"},
    {"images", CASK_CONFIG_TEXT, ROW(images), "", 0, 0, NULL, "DIR", "images of --pairs"},
    {"bin", CASK_CONFIG_TEXT, ROW(bin), "", 0, 0, NULL, "FILE", "insightface .bin set"},
    {"mask", CASK_CONFIG_TEXTS, ROW(rules), "[n-n, m-n, m-m]", 0, 0, NULL, "RULE",
     "n-n, m-n, m-m or fdbtrs-m-n; repeatable"},
    {"landmarks", CASK_CONFIG_TEXT, ROW(landmarks), "", 0, 0, NULL, "FILE",
     "\"image x1 y1 ... x5 y5\"; without it images are taken as aligned"},
    {"flip", CASK_CONFIG_ENUM, ROW(flip), "sum", 0, 0, flip_names, NULL,
     "embedding of image plus mirror, of the image alone, or both in a row"},
    {"exclude_bad", CASK_CONFIG_BOOL, ROW(exclude_bad), "false", 0, 0, NULL, NULL,
     "leave out pairs with images that do not decode, and say how many"},
};

static enum cask_status check_options(const struct options *o, enum cask_mask_rule *rules,
                                      struct cask_error *err)
{
    bool pairs = o->pairs[0] != 0 && o->images[0] != 0;
    if (o->flags.model.model[0] == 0 || pairs == (o->bin[0] != 0)) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "expected --model, and either --pairs with --images or --bin; see "
                              "--help");
    }
    for (int i = 0; i < o->rules.count; i++) {
        int rule = 0;
        while (rule < RULES && strcmp(o->rules.values[i], cask_mask_rule_names[rule]) != 0) {
            rule++;
        }
        if (rule == RULES || i >= RULES) {
            return cask_error_set(err, CASK_ERR_USAGE,
                                  "--mask: expected n-n, m-n, m-m or fdbtrs-m-n, each once, found "
                                  "\"%.40s\"",
                                  o->rules.values[i]);
        }
        rules[i] = (enum cask_mask_rule)rule;
    }
    return CASK_OK;
}

/* ------------------------------------------------------------------ report */

static void print(const struct cask_masked_result *results, int count, FILE *stream)
{
    for (int i = 0; i < count; i++) {
        const struct cask_masked_result *r = &results[i];
        cask_report_table(&r->set, 1, stream);
        fprintf(stream,
                "  FMR100 %.2f%%, FMR1000 %.2f%%, EER %.2f%%, FDR %.3f; %lld masked images\n",
                r->fmr100, r->fmr1000, r->eer, r->fdr, (long long)r->masked_images);
        fprintf(stream, "  protocol: %s\n", r->line);
    }
}

/* The report of the sets, and beside it a list "masked" in the same order. */
static struct cask_json *to_json(const char *model, const struct cask_masked_result *results,
                                 const struct cask_set_result *sets, int count)
{
    struct cask_json *json = cask_report_json(model, sets, count), *list = cask_json_array();
    for (int i = 0; i < count; i++) {
        struct cask_json *one = cask_json_object();
        cask_json_set_text(one, "name", results[i].set.name);
        cask_json_set_text(one, "protocol", results[i].line);
        cask_json_set_int(one, "masked_images", results[i].masked_images);
        cask_json_set_real(one, "fmr100", results[i].fmr100);
        cask_json_set_real(one, "fmr1000", results[i].fmr1000);
        cask_json_set_real(one, "eer", results[i].eer);
        cask_json_set_real(one, "fdr", results[i].fdr);
        cask_json_append(list, one);
    }
    cask_json_set(json, "masked", list);
    return json;
}

static void to_csv(const char *model, const struct cask_masked_result *results,
                   const struct cask_set_result *sets, int count, struct cask_text *text)
{
    const struct cask_interval none = {NAN, NAN};
    cask_report_csv_head(text);
    cask_report_csv(model, sets, count, text);
    for (int i = 0; i < count; i++) {
        const struct cask_masked_result *r = &results[i];
        const char *const names[] = {"fmr100", "fmr1000", "eer", "fdr"};
        const double values[] = {r->fmr100, r->fmr1000, r->eer, r->fdr};
        for (int n = 0; n < 4; n++) {
            cask_report_csv_line(text, model, r->set.name, "masked", names[n], values[n], none,
                                 r->set.pairs);
        }
    }
}

static enum cask_status write_files(const struct options *o,
                                    const struct cask_masked_result *results, int count,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_text csv = {0};
    struct cask_set_result *sets = cask_alloc((size_t)count, sizeof *sets);
    if (sets == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *sets, "results"));
    }
    for (int i = 0; i < count; i++) {
        sets[i] = results[i].set;
    }
    CASK_TRY(
        result_write_json(o->flags.json, to_json(o->flags.model.model, results, sets, count), err));
    to_csv(o->flags.model.model, results, sets, count, &csv);
    CASK_TRY(result_write_csv(o->flags.csv, &csv, err));
done:
    cask_text_release(&csv);
    cask_free(sets);
    return st;
}

/* --------------------------------------------------------------------- run */

static enum cask_status run(void *user, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct options *o = user;
    struct opened_model opened = {0};
    struct cask_pairs *pairs = NULL;
    struct cask_landmarks *points = NULL;
    enum cask_mask_rule rules[RULES];
    struct cask_masked_result *results = cask_alloc(RULES, sizeof *results);
    int finished = 0;
    char pixels[64];
    if (results == NULL) {
        CASK_TRY(cask_error_memory(err, RULES * sizeof *results, "results"));
    }
    CASK_TRY(check_options(o, rules, err));
    CASK_TRY(o->bin[0] != 0 ? cask_pairs_open_bin(o->bin, &pairs, err)
                            : cask_pairs_open_text(o->pairs, o->images, &pairs, err));
    if (o->landmarks[0] != 0) {
        CASK_TRY(cask_landmarks_read(o->landmarks, pairs, &points, err));
    }
    CASK_TRY(model_open(&o->flags.model, &opened, err));
    cask_preprocess_format(&opened.preprocess, pixels);
    struct cask_embed_options embed = {opened.model.net, opened.preprocess, (enum cask_flip)o->flip,
                                       (int)o->flags.model.batch, (int)o->flags.model.threads};
    struct cask_verify_options verify = cask_verify_default();
    verify.flip = embed.flip;
    verify.pixels = pixels;
    verify.draws = (int)o->flags.draws;
    verify.seed = (uint64_t)o->flags.seed;
    verify.exclude_bad = o->exclude_bad;
    for (; finished < o->rules.count; finished++) {
        struct cask_masked_options masked = {rules[finished], (uint64_t)o->flags.seed, points};
        CASK_TRY(cask_evaluate_masked(pairs, &embed, &masked, &verify, &results[finished], err));
    }
    CASK_TRY(write_files(o, results, finished, err));
done:
    if (finished > 0) { /* what was finished is told, whatever came after it */
        print(results, finished, stdout);
    }
    cask_free(points);
    cask_pairs_close(pairs);
    model_close(&opened);
    cask_free(results);
    return st;
}

enum cask_status command_masked(int argc, char **argv, struct cask_error *err)
{
    static const struct measure_command masked = {usage, rows, sizeof rows / sizeof *rows,
                                                  .run = run};
    struct options options = {0};
    return measure_run(&masked, &options, &options.flags, argc, argv, err);
}
