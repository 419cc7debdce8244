/* eval/report_csv.c - results for a spreadsheet: one number a line. */
#include <math.h>

#include "eval/eval.h"

static void put_name(struct cask_text *text, const char *name)
{
    for (const char *at = name; *at != 0; at++) {
        char letter = *at == ',' || *at == '"' ? ';' : *at;
        cask_text_add(text, (unsigned char)letter < ' ' ? " " : &letter, 1);
    }
    cask_text_put(text, ",");
}

static void put_value(struct cask_text *text, double value)
{
    if (!isnan(value)) {
        cask_text_format(text, "%.10g", value);
    }
    cask_text_put(text, ",");
}

void cask_report_csv_line(struct cask_text *text, const char *model, const char *set,
                          const char *protocol, const char *number, double value,
                          struct cask_interval interval, int64_t pairs)
{
    put_name(text, model);
    put_name(text, set);
    put_name(text, protocol);
    put_name(text, number);
    put_value(text, value);
    put_value(text, interval.low);
    put_value(text, interval.high);
    cask_text_format(text, "%lld\n", (long long)pairs);
}

struct line {
    struct cask_text *text;
    const char *model;
    const struct cask_set_result *set;
};

static void put_line(const struct line *line, const char *protocol, const char *number,
                     double value, struct cask_interval interval)
{
    cask_report_csv_line(line->text, line->model, line->set->name, protocol, number, value,
                         interval, line->set->pairs);
}

static void put_set(const struct line *line)
{
    const struct cask_interval none = {NAN, NAN};
    const struct cask_set_result *set = line->set;
    for (int p = 0; p < set->protocol_count; p++) {
        const struct cask_protocol_result *result = &set->protocols[p];
        const char *name = cask_protocol_name(result->protocol);
        put_line(line, name, "accuracy", result->kfold.accuracy, result->accuracy_interval);
        put_line(line, name, "std", result->kfold.std, none);
        for (int f = 0; f < result->kfold.folds; f++) {
            char number[32];
            snprintf(number, sizeof number, "fold %d", f + 1);
            put_line(line, name, number, result->kfold.fold_accuracy[f], none);
        }
        put_line(line, name, "val", result->val, result->val_interval);
    }
    put_line(line, "raw", "xnorm", set->xnorm, none);
    put_line(line, "cosine", "auc", set->auc, set->auc_interval);
    put_line(line, "cosine", "eer", set->eer, set->eer_interval);
    for (int i = 0; i < CASK_ROC_TARGETS; i++) {
        char number[32];
        snprintf(number, sizeof number, "tpr at fpr %g", set->operating[i].target);
        put_line(line, "cosine", number, set->operating[i].tpr, set->operating[i].interval);
    }
}

void cask_report_csv_head(struct cask_text *text)
{
    cask_text_put(text, "model,set,protocol,number,value,low,high,pairs\n");
}

void cask_report_csv(const char *model, const struct cask_set_result *sets, int count,
                     struct cask_text *text)
{
    for (int i = 0; i < count; i++) {
        put_set(&(struct line){text, model, &sets[i]});
    }
}
