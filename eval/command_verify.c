/* eval/command_verify.c - `evaluate`: pairs, embeddings of one model or two, numbers. */
#include <string.h>

#include "common/file.h"
#include "common/mem.h"
#include "eval/command_verify.h"

static const char usage[] =
    "usage: evaluate SOURCE SETS [options]\n"
    "  SOURCE  --model FILE | --embeddings FILE.npy | --cache DIR\n"
    "  SETS    --pairs FILE [--images DIR], --bin FILE; any number of them\n"
    "\n"
    "Prints the k-fold accuracy of the pairs with its protocol and a 95 % interval. The n-th "
    "--pairs\n"
    "takes its images from the n-th --images, or from the last one. Where embeddings are there\n"
    "already, no images are needed: a pair then names its rows by --index (a list: line r is row "
    "r),\n"
    "by --data (the dataset that the rows were made of), or by number (a row of the matrix, a "
    "sample\n"
    "id of the cache); the images of a .bin are the rows 0, 1, 2, ... unless --index is given.\n"
    "--against PATH measures a second model (a file), matrix (.npy) or cache (a folder) on the "
    "same\n"
    "pairs and tests the difference.\n";

static const char *const flip_names[] = {"sum", "none", "concat", "protocol", NULL};
static const char *const protocol_names[] = {"insightface", "facexzoo", "tface",
                                             "xiaoccer",    "all",      NULL};
static const char *const resample_names[] = {"persons", "pairs", NULL};

#define ROW(field) offsetof(struct verify_command, field)
static const struct cask_config_row rows[] = {
    {"embeddings", CASK_CONFIG_TEXT, ROW(embeddings), "", 0, 0, NULL, "FILE",
     "a .npy matrix of float32 or float64, a row an image"},
    {"views", CASK_CONFIG_INT, ROW(views), "1", 1, 2, NULL, "N",
     "2: a row of a .npy is the image's embedding and behind it the mirror's"},
    {"cache", CASK_CONFIG_TEXT, ROW(cache), "", 0, 0, NULL, "DIR", "a cask: what its teacher said"},
    {"index", CASK_CONFIG_TEXT, ROW(index), "", 0, 0, NULL, "FILE",
     "names of the rows, one a line"},
    {"data", CASK_CONFIG_TEXT, ROW(data), "", 0, 0, NULL, "PATH", "dataset the rows were made of"},
    {"pairs", CASK_CONFIG_TEXTS, ROW(pairs), "[]", 0, 0, NULL, "FILE",
     "pairs in LFW's format, or CSV \"a,b,same\"; repeatable"},
    {"images", CASK_CONFIG_TEXTS, ROW(images), "[]", 0, 0, NULL, "DIR",
     "folder with NAME/NAME_0001.jpg, or the CSV's paths; repeatable"},
    {"bin", CASK_CONFIG_TEXTS, ROW(bins), "[]", 0, 0, NULL, "FILE",
     "insightface .bin set; repeatable"},
    {"protocol", CASK_CONFIG_ENUM, ROW(protocol), "insightface", 0, 0, protocol_names, NULL,
     "whose program is followed"},
    {"flip", CASK_CONFIG_ENUM, ROW(flip), "protocol", 0, 0, flip_names, NULL,
     "image plus mirror, image alone, both side by side, or as the protocol does"},
    {"folds", CASK_CONFIG_INT, ROW(folds), "0", 0, CASK_FOLDS_MAX, NULL, "N",
     "0: as the pairs declare (CSV and .bin: 10)"},
    {"far", CASK_CONFIG_REAL, ROW(far), "0.001", 1e-9, 1, NULL, "RATE", "target of val@FAR"},
    {"exclude_bad", CASK_CONFIG_BOOL, ROW(exclude_bad), "false", 0, 0, NULL, NULL,
     "leave out pairs with images that cannot be used, and say so; else they are an error"},
    {"exclude_duplicates", CASK_CONFIG_BOOL, ROW(exclude_duplicates), "false", 0, 0, NULL, NULL,
     "leave out repeated pairs, and say so; else they count and are told"},
    {"resample", CASK_CONFIG_ENUM, ROW(resample), "persons", 0, 0, resample_names, NULL,
     "what is drawn"},
};

static const char *source_path(const struct verify_command *c)
{
    return c->flags.model.model[0] != 0 ? c->flags.model.model
           : c->embeddings[0] != 0      ? c->embeddings
                                        : c->cache;
}

static enum cask_status check_options(const struct verify_command *c, struct cask_error *err)
{
    int sources = (c->flags.model.model[0] != 0) + (c->embeddings[0] != 0) + (c->cache[0] != 0);
    if (sources != 1 || c->pairs.count + c->bins.count == 0) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "expected one of --model, --embeddings and --cache, and at least one "
                              "--pairs or --bin; see --help");
    }
    if (c->images.count > c->pairs.count) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "--images %s: expected at most one --images for each --pairs, found "
                              "%d for %d",
                              c->images.values[c->pairs.count], c->images.count, c->pairs.count);
    }
    size_t length = strlen(c->embeddings);
    if (length > 0 && (length < 4 || strcmp(c->embeddings + length - 4, ".npy") != 0)) {
        return cask_error_set(err, CASK_ERR_USAGE, "--embeddings: expected a .npy file, found %s",
                              c->embeddings);
    }
    if (c->cache[0] != 0 && !cask_path_is_folder(c->cache)) {
        return cask_error_set(err, CASK_ERR_IO, "--cache: expected the folder of a cask, found %s",
                              c->cache);
    }
    return CASK_OK;
}

static enum cask_status open_sources(struct verify_command *c, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct source_options options = {source_path(c), c->flags.model, c->index, c->data, c->views};
    bool against = c->flags.against.path[0] != 0;
    CASK_TRY(source_open(&options, &c->sides[0].source, err));
    if (against) {
        options.path = c->flags.against.path;
        options.model = measure_against(&c->flags);
        CASK_TRY(source_open(&options, &c->sides[1].source, err));
    }
    c->side_count = 1 + against;
    for (int s = 0; s < c->side_count; s++) {
        bool model = c->sides[s].source.kind == SOURCE_MODEL;
        if (model && c->pairs.count > 0 && c->images.count == 0) {
            CASK_TRY(cask_error_set(err, CASK_ERR_USAGE, "--pairs %s needs --images DIR",
                                    c->pairs.values[0]));
        }
        size_t sets = (size_t)(c->pairs.count + c->bins.count);
        c->sides[s].sets = cask_alloc(sets, sizeof *c->sides[s].sets);
        if (c->sides[s].sets == NULL) {
            CASK_TRY(cask_error_memory(err, sets * sizeof *c->sides[s].sets, "results"));
        }
    }
done:
    return st;
}

static enum cask_status open_set(const struct verify_command *c, int index,
                                 struct cask_pairs **pairs, struct cask_error *err)
{
    if (index >= c->pairs.count) {
        return cask_pairs_open_bin(c->bins.values[index - c->pairs.count], pairs, err);
    }
    int folder = index < c->images.count ? index : c->images.count - 1;
    return cask_pairs_open_text(c->pairs.values[index],
                                folder >= 0 ? c->images.values[folder] : NULL, pairs, err);
}

static struct cask_verify_options verify_options(const struct verify_command *c, int side)
{
    struct cask_verify_options options = {
        .flip = (enum cask_flip)c->flip,
        .folds = (int)c->folds,
        .far = c->far,
        .exclude_bad = c->exclude_bad,
        .exclude_duplicates = c->exclude_duplicates,
        .draws = (int)c->flags.draws,
        .resample = (enum cask_resample)c->resample,
        .seed = (uint64_t)c->flags.seed,
        .pixels = c->sides[side].source.pixels,
    };
    for (int p = 0; p < CASK_PROTOCOLS; p++) {
        options.protocols[p] = c->protocol == CASK_PROTOCOLS || c->protocol == p;
    }
    return options;
}

static enum cask_status run_set(struct verify_command *c, int index, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_pairs *pairs = NULL;
    struct cask_views views[2] = {0};
    struct cask_verification *kept[2] = {NULL, NULL};
    bool mirrors = false, by_position = index >= c->pairs.count;
    int tests = 0;
    for (int p = 0; p < CASK_PROTOCOLS; p++) {
        mirrors = mirrors ||
                  (verify_options(c, 0).protocols[p] &&
                   cask_protocol_needs_mirrors((enum cask_protocol)p, (enum cask_flip)c->flip));
    }
    CASK_TRY(open_set(c, index, &pairs, err));
    for (int s = 0; s < c->side_count; s++) {
        CASK_TRY(source_embed(&c->sides[s].source, pairs, by_position, mirrors, &views[s], err));
    }
    for (int s = 0; s < c->side_count; s++) {
        struct cask_verify_options options = verify_options(c, s);
        CASK_TRY(cask_verify(pairs, &views[s], c->side_count == 2 ? &views[1 - s] : NULL, &options,
                             &c->sides[s].sets[index], &kept[s], err));
    }
    if (c->side_count == 2) {
        CASK_TRY(cask_verify_paired(kept[0], kept[1], c->paired + c->paired_count, &tests, err));
        c->paired_count += tests;
    }
    c->finished++;
done:
    for (int s = 0; s < 2; s++) {
        cask_views_release(&views[s]);
        cask_verification_free(kept[s]);
    }
    cask_pairs_close(pairs);
    return st;
}

static enum cask_status run(void *user, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct verify_command *c = user;
    int sets = c->pairs.count + c->bins.count;
    CASK_TRY(check_options(c, err));
    CASK_TRY(open_sources(c, err));
    c->paired = cask_alloc((size_t)sets * CASK_PROTOCOLS, sizeof *c->paired);
    if (c->paired == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)sets * sizeof *c->paired, "results"));
    }
    for (int i = 0; i < sets; i++) {
        CASK_TRY(run_set(c, i, err));
    }
done:
    if (c->finished > 0) { /* what was finished is told, whatever came after it */
        verify_print(c, stdout);
    }
    if (st == CASK_OK) {
        st = verify_write(c, err);
    }
    for (int s = 0; s < 2; s++) {
        source_close(&c->sides[s].source);
        cask_free(c->sides[s].sets);
    }
    cask_free(c->paired);
    return st;
}

enum cask_status command_verify(int argc, char **argv, struct cask_error *err)
{
    static const struct measure_command verify = {
        usage, rows, sizeof rows / sizeof *rows, .against = true, .pictures = true, .run = run};
    struct verify_command command = {0};
    return measure_run(&verify, &command, &command.flags, argc, argv, err);
}
