/* eval/command_measure.c - the flags of every subcommand that measures. */
#include <string.h>

#include "common/plot.h"
#include "eval/command.h"

static const char *const precision_names[] = {"auto", "fp32", "bf16", NULL};

#define ROW(field) offsetof(struct measure_flags, field)
static const struct cask_config_row model_rows[] = {
    {"model", CASK_CONFIG_TEXT, ROW(model.model), "", 0, 0, NULL, "FILE",
     "network with its weights: .safetensors, .pth, .pt, .ckpt or .onnx"},
    {"network", CASK_CONFIG_TEXT, ROW(model.network), "auto", 0, 0, NULL, "NAME",
     "ir18, ir50, mobilefacenet, mbf, ...; auto: from metadata or keys"},
    {"preprocess", CASK_CONFIG_TEXT, ROW(model.preprocess), "", 0, 0, NULL, "SPEC",
     "pixels as rgb|bgr:MEAN:SCALE; default: what the file says, else rgb:127.5:127.5"},
    {"batch", CASK_CONFIG_INT, ROW(model.batch), "32", 1, 4096, NULL, "N",
     "images per forward pass"},
    {"threads", CASK_CONFIG_INT, ROW(model.threads), "0", 0, 1024, NULL, "N",
     "CPU threads; 0: all"},
    {"precision", CASK_CONFIG_ENUM, ROW(model.precision), "auto", 0, 0, precision_names, NULL,
     "of the forward pass; auto: bf16 where the CPU has AMX, else fp32"},
    {"backend", CASK_CONFIG_TEXT, ROW(model.backend), "cpu", 0, 0, NULL, "NAME",
     "cpu, or ref or ref64 (slow, for checking)"},
};
static const struct cask_config_row against_rows[] = {
    {"against", CASK_CONFIG_TEXT, ROW(against.path), "", 0, 0, NULL, "PATH",
     "second model, measured on the same set; the difference is tested"},
    {"against_network", CASK_CONFIG_TEXT, ROW(against.network), "auto", 0, 0, NULL, "NAME",
     "as --network, for --against"},
    {"against_preprocess", CASK_CONFIG_TEXT, ROW(against.preprocess), "", 0, 0, NULL, "SPEC",
     "as --preprocess, for --against"},
};
static const struct cask_config_row result_rows[] = {
    {"bootstrap", CASK_CONFIG_INT, ROW(draws), "1000", 0, 100000, NULL, "N",
     "draws for intervals and paired tests; 0: none"},
    {"seed", CASK_CONFIG_INT, ROW(seed), "1", 0, 1e15, NULL, "N", "of all that is drawn"},
    {"json", CASK_CONFIG_TEXT, ROW(json), "", 0, 0, NULL, "FILE", "write the results as JSON too"},
    {"csv", CASK_CONFIG_TEXT, ROW(csv), "", 0, 0, NULL, "FILE",
     "write the results as CSV too, one number a line"},
};
static const struct cask_config_row picture_rows[] = {
    {"roc", CASK_CONFIG_TEXT, ROW(roc), "", 0, 0, NULL, "FILE", "draw the ROC: .svg or .png"},
    {"histogram", CASK_CONFIG_TEXT, ROW(histogram), "", 0, 0, NULL, "FILE",
     "draw genuine and impostor scores: .svg or .png"},
};

struct model_options measure_against(const struct measure_flags *flags)
{
    struct model_options model = flags->model;
    model.model = flags->against.path;
    model.network = flags->against.network;
    model.preprocess = flags->against.preprocess;
    return model;
}

/* What run is told: the command behind the options. */
struct started {
    const struct measure_command *command;
    void *options;
    const struct measure_flags *flags;
};

static enum cask_status check_against(const struct measure_flags *flags, struct cask_error *err)
{
    bool network = strcmp(flags->against.network, "auto") != 0;
    if (flags->against.path[0] == 0 && (network || flags->against.preprocess[0] != 0)) {
        return cask_error_set(err, CASK_ERR_USAGE, "--against-%s needs --against",
                              network ? "network" : "preprocess");
    }
    return CASK_OK;
}

static enum cask_status start(void *user, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct started *s = user;
    if (s->command->against) {
        CASK_TRY(check_against(s->flags, err));
    }
    if (s->command->pictures) { /* refused before the work */
        CASK_TRY(cask_plot_check_name(s->flags->roc, err));
        CASK_TRY(cask_plot_check_name(s->flags->histogram, err));
    }
    CASK_TRY(s->command->run(s->options, err));
done:
    return st;
}

#define SECTION(rows)                                                                              \
    (struct cask_config_section)                                                                   \
    {                                                                                              \
        "", rows, sizeof(rows) / sizeof *(rows), flags                                             \
    }

enum cask_status measure_run(const struct measure_command *command, void *options,
                             struct measure_flags *flags, int argc, char **argv,
                             struct cask_error *err)
{
    struct started started = {command, options, flags};
    struct cask_config_section sections[5];
    size_t count = 0;
    sections[count++] = SECTION(model_rows);
    sections[count++] =
        (struct cask_config_section){"", command->rows, command->row_count, options};
    if (command->against) {
        sections[count++] = SECTION(against_rows);
    }
    sections[count++] = SECTION(result_rows);
    if (command->pictures) {
        sections[count++] = SECTION(picture_rows);
    }
    const struct cask_cli_command cli = {command->usage, sections, count, start, &started};
    return cask_cli_run(&cli, argc, argv, err);
}
