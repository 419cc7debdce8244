/* eval/verify_output.c - what `evaluate` prints and writes. */
#include "common/mem.h"
#include "eval/command_verify.h"
#include "eval/results.h"

static const char *path_of(const struct verify_command *c, int side)
{
    return c->sides[side].source.options.path;
}

void verify_print(const struct verify_command *c, FILE *stream)
{
    for (int s = 0; s < c->side_count; s++) {
        if (c->side_count == 2) {
            result_print_side(s, path_of(c, s), stream);
        }
        cask_report_table(c->sides[s].sets, c->finished, stream);
    }
    if (c->paired_count > 0) {
        fprintf(stream, "\n");
        cask_report_paired(c->paired, c->paired_count, stream);
    }
}

static enum cask_status write_json(const struct verify_command *c, struct cask_error *err)
{
    struct cask_json *report = cask_report_json(path_of(c, 0), c->sides[0].sets, c->finished);
    if (c->side_count == 2) {
        result_set_against(report, cask_report_json(path_of(c, 1), c->sides[1].sets, c->finished),
                           c->paired, c->paired_count);
    }
    return result_write_json(c->flags.json, report, err);
}

static enum cask_status write_csv(const struct verify_command *c, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_text text = {0};
    cask_report_csv_head(&text);
    for (int s = 0; s < c->side_count; s++) {
        cask_report_csv(path_of(c, s), c->sides[s].sets, c->finished, &text);
    }
    CASK_TRY(result_write_csv(c->flags.csv, &text, err));
done:
    cask_text_release(&text);
    return st;
}

/* One curve for each model and set. */
static enum cask_status write_pictures(const struct verify_command *c, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int count = c->finished * c->side_count;
    struct cask_report_curve *curves = cask_alloc((size_t)count, sizeof *curves);
    char(*names)[256] = cask_alloc((size_t)count, sizeof *names);
    if (curves == NULL || names == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *names, "pictures"));
    }
    for (int i = 0; i < count; i++) {
        int side = i / c->finished;
        const struct cask_set_result *set = &c->sides[side].sets[i % c->finished];
        if (c->side_count == 2) {
            snprintf(names[i], sizeof names[i], "%s, %s", path_of(c, side), set->name);
        } else {
            snprintf(names[i], sizeof names[i], "%s", set->name);
        }
        curves[i] = (struct cask_report_curve){names[i], set};
    }
    CASK_TRY(result_write_pictures(c->flags.roc, c->flags.histogram, curves, count, err));
done:
    cask_free(curves);
    cask_free(names);
    return st;
}

enum cask_status verify_write(const struct verify_command *c, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(write_json(c, err));
    CASK_TRY(write_csv(c, err));
    CASK_TRY(write_pictures(c, err));
done:
    return st;
}
