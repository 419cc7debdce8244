/* eval/command_pack.c - `evaluate pack`: a pairs file and its images as one insightface .bin. */
#include <stdio.h>

#include "common/log.h"
#include "data/data.h"
#include "eval/command.h"

enum { BIN_FOLDS = 10 }; /* what every reader of a .bin assumes */

static const char usage[] =
    "usage: evaluate pack --pairs FILE --images DIR OUT.bin\n"
    "\n"
    "Writes the pairs in their order (or see --interleave) as a .bin that insightface's loader "
    "and\n"
    "Cask read. Images are copied byte for byte, unless --quality says to encode them again.\n";

struct options {
    const char *pairs, *images, *out;
    int64_t quality, interleave, threads;
};

#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {"pairs", CASK_CONFIG_TEXT, ROW(pairs), "", 0, 0, NULL, "FILE",
     "pairs in LFW's format, or CSV \"a,b,same\""},
    {"images", CASK_CONFIG_TEXT, ROW(images), "", 0, 0, NULL, "DIR",
     "folder with NAME/NAME_0001.jpg, or the CSV's paths"},
    {"out", CASK_CONFIG_WORD, ROW(out), "", 0, 0, NULL, "OUT.bin", "file to write"},
    {"quality", CASK_CONFIG_INT, ROW(quality), "0", 0, 100, NULL, "N",
     "of JPEG, if images are encoded again; 0: as they are"},
    {"interleave", CASK_CONFIG_INT, ROW(interleave), "0", 0, 1000, NULL, "N",
     "spread genuine and impostor pairs evenly over N folds (10, for lists with all genuine pairs "
     "first); 0: the pairs' own order"},
    {"threads", CASK_CONFIG_INT, ROW(threads), "0", 0, 1024, NULL, "N", "CPU threads; 0: all"},
};

static enum cask_status run(void *user, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct options *options = user;
    const char *out = options->out;
    struct cask_pairs *pairs = NULL;
    struct cask_pack_options how = {(int)options->quality, (int)options->threads,
                                    (int)options->interleave};
    if (options->pairs[0] == 0 || options->images[0] == 0 || out[0] == 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_USAGE,
                                "expected --pairs FILE --images DIR OUT.bin; see --help"));
    }
    CASK_TRY(cask_pairs_open_text(options->pairs, options->images, &pairs, err));
    if (cask_pairs_folds(pairs) != BIN_FOLDS) {
        cask_log_warn("%s declares %d folds; a .bin is read in %d, so its accuracy will differ",
                      options->pairs, cask_pairs_folds(pairs), BIN_FOLDS);
    }
    CASK_TRY(cask_pairs_write_bin(pairs, out, &how, err));
    printf("%s: %lld pairs of %lld images\n", out, (long long)cask_pairs_count(pairs),
           (long long)cask_pairs_image_count(pairs));
done:
    cask_pairs_close(pairs);
    return st;
}

enum cask_status command_pack(int argc, char **argv, struct cask_error *err)
{
    struct options options = {0};
    const struct cask_config_section section = {"", rows, sizeof rows / sizeof *rows, &options};
    const struct cask_cli_command cli = {usage, &section, 1, run, &options};
    return cask_cli_run(&cli, argc, argv, err);
}
