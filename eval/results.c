#include "eval/results.h"

#include "common/file.h"

enum cask_status result_write_json(const char *path, struct cask_json *json, struct cask_error *err)
{
    if (path[0] == 0) {
        cask_json_free(json);
        return CASK_OK;
    }
    return cask_json_write(path, json, err);
}

enum cask_status result_write_csv(const char *path, struct cask_text *text, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (path[0] != 0) {
        CASK_TRY(cask_text_check(text, "the CSV report", err));
        CASK_TRY(cask_file_write_all(path, text->data, text->length, err));
    }
done:
    return st;
}

enum cask_status result_write_pictures(const char *roc, const char *histogram,
                                       const struct cask_report_curve *curves, int count,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (roc[0] != 0 && count > 0) {
        CASK_TRY(cask_report_roc(roc, curves, count, err));
    }
    if (histogram[0] != 0 && count > 0) {
        CASK_TRY(cask_report_histogram(histogram, curves, count, err));
    }
done:
    return st;
}

void result_print_side(int side, const char *path, FILE *stream)
{
    fprintf(stream, "%s%c: %s\n", side == 0 ? "" : "\n", "AB"[side], path);
}

void result_set_against(struct cask_json *report, struct cask_json *against,
                        const struct cask_paired *paired, int count)
{
    cask_json_set(report, "against", against);
    cask_json_set(report, "paired", cask_report_paired_json(paired, count));
}
