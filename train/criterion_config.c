/* train/criterion_config.c - the settings of the head and of every loss in the registry. */
#include "train/criterion_config.h"

#include "common/mem.h"

#define HEAD(field) offsetof(struct cask_head_options, field)
static const char *const slopes[] = {"exact", "straight_through", NULL};
static const struct cask_config_row head_rows[] = {
    {.key = "kind",
     .type = CASK_CONFIG_ENUM,
     .offset = HEAD(kind),
     .value = "arcface",
     .names = cask_head_names,
     .help = "margin head of the classification loss"},
    {.key = "weight",
     .type = CASK_CONFIG_REAL,
     .offset = HEAD(weight),
     .value = "1",
     .min = 0,
     .max = 1e9,
     .help = "factor of the head's cross-entropy in the sum; 0: it is only logged"},
    {.key = "scale",
     .type = CASK_CONFIG_REAL,
     .offset = HEAD(scale),
     .value = "64",
     .min = 0.001,
     .max = 10000,
     .help = "s: logits are s times cosines"},
    {.key = "margin",
     .type = CASK_CONFIG_REAL,
     .offset = HEAD(margin),
     .value = "-1",
     .min = -1,
     .max = 10,
     .help = "m; below 0: arcface and curricularface 0.5, cosface 0.4, sphereface 4"},
    {.key = "easy_margin",
     .type = CASK_CONFIG_BOOL,
     .offset = HEAD(easy),
     .value = "false",
     .help = "arcface: margin only where the label's cosine is above 0"},
    {.key = "slope",
     .type = CASK_CONFIG_ENUM,
     .offset = HEAD(slope),
     .value = "exact",
     .names = slopes,
     .help = "arcface backward: derivative, or insightface's rule since 2022-12 (slope s, no "
             "fallback)"},
    {.key = "lambda",
     .type = CASK_CONFIG_REAL,
     .offset = HEAD(lambda),
     .value = "5",
     .min = 0,
     .max = 1e6,
     .help = "sphereface: weight of the plain cosine"},
    {.key = "t",
     .type = CASK_CONFIG_REAL,
     .offset = HEAD(t),
     .value = "0",
     .min = -10,
     .max = 10,
     .help = "curricularface: t at the start"},
    {.key = "t_momentum",
     .type = CASK_CONFIG_REAL,
     .offset = HEAD(t_momentum),
     .value = "0.99",
     .min = 0,
     .max = 1,
     .help = "curricularface: how much of t stays in a step (0.9 in TFace); 1 keeps it"},
    {.key = "margin_min",
     .type = CASK_CONFIG_REAL,
     .offset = HEAD(margin_min),
     .value = "0.2",
     .min = 0,
     .max = 3,
     .help = "margin_distillation: margin where the teacher is least sure"},
    {.key = "margin_max",
     .type = CASK_CONFIG_REAL,
     .offset = HEAD(margin_max),
     .value = "0.5",
     .min = 0,
     .max = 3,
     .help = "margin_distillation: margin where the teacher is surest"},
    {.key = "frozen",
     .type = CASK_CONFIG_BOOL,
     .offset = HEAD(frozen),
     .value = "false",
     .help = "class rows are the teacher's centres and do not learn"},
    {.key = "keep_mb",
     .type = CASK_CONFIG_REAL,
     .offset = HEAD(keep_mb),
     .value = "96",
     .min = 0,
     .max = 1e9,
     .help = "megabytes of class cosines that a step keeps between its passes over the classes, "
             "the student's first; what does not fit is computed again in each"},
    {.key = "pack_centers",
     .type = CASK_CONFIG_BOOL,
     .offset = HEAD(pack_centers),
     .value = "true",
     .help = "a copy of the teacher's class centres is kept as the products take it (4 bytes a "
             "number, 2 on a bf16 device); false: read from the cache's file and packed in each "
             "step, which takes longer"},
};

#define SHARE(field) offsetof(struct cask_loss_share, field)
static const struct cask_config_row share_rows[] = {
    {.key = "weight",
     .type = CASK_CONFIG_REAL,
     .offset = SHARE(weight),
     .value = "0",
     .min = 0,
     .max = 1e9,
     .help = "factor of this loss in the sum; 0: it takes no part"},
    {.key = "ramp_epochs",
     .type = CASK_CONFIG_REAL,
     .offset = SHARE(ramp_epochs),
     .value = "0",
     .min = 0,
     .max = 1e6,
     .help = "the weight grows from 0 over this many epochs"},
    {.key = "ramp_fraction",
     .type = CASK_CONFIG_REAL,
     .offset = SHARE(ramp_fraction),
     .value = "0",
     .min = 0,
     .max = 1,
     .help = "the weight grows from 0 over this part of the run"},
};

static enum cask_status create_entries(struct cask_criterion_config *config, struct cask_error *err)
{
    const char *name;
    enum cask_place place;
    const struct cask_config_row *rows;
    size_t row_count, bytes;
    while (config->loss_count < CASK_MAX_LOSSES &&
           cask_engine_f64.describe(config->loss_count, &name, &place, &rows, &row_count, &bytes)) {
        struct cask_loss_entry *entry = &config->losses[config->loss_count++];
        *entry = (struct cask_loss_entry){.name = name, .rows = rows, .row_count = row_count};
        entry->prefix = cask_format("loss.%s.", name);
        entry->options = cask_alloc(1, bytes + 1);
        if (entry->prefix == NULL || entry->options == NULL) {
            return cask_error_memory(err, bytes, "options of a loss");
        }
    }
    return CASK_OK;
}

enum cask_status cask_criterion_config_create(struct cask_criterion_config **out,
                                              struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_criterion_config *config = cask_alloc(1, sizeof *config);
    if (config == NULL) {
        return cask_error_memory(err, sizeof *config, "criterion settings");
    }
    CASK_TRY(create_entries(config, err));
    *out = config;
    config = NULL;
done:
    cask_criterion_config_free(config);
    return st;
}

void cask_criterion_config_free(struct cask_criterion_config *config)
{
    if (config == NULL) {
        return;
    }
    for (int i = 0; i < config->loss_count; i++) {
        cask_free(config->losses[i].prefix);
        cask_free(config->losses[i].options);
    }
    cask_free(config);
}

size_t cask_criterion_config_sections(struct cask_criterion_config *config,
                                      struct cask_config_section *sections, size_t limit)
{
    size_t n = 0;
    const size_t head_count = sizeof head_rows / sizeof *head_rows,
                 share_count = sizeof share_rows / sizeof *share_rows;
    if (n < limit) {
        sections[n] = (struct cask_config_section){"head.", head_rows, head_count, &config->head};
    }
    n++;
    for (int i = 0; i < config->loss_count; i++) {
        struct cask_loss_entry *entry = &config->losses[i];
        if (n < limit) {
            sections[n] =
                (struct cask_config_section){entry->prefix, share_rows, share_count, &entry->share};
        }
        n++;
        if (entry->row_count > 0 && n < limit) {
            sections[n] = (struct cask_config_section){entry->prefix, entry->rows, entry->row_count,
                                                       entry->options};
        }
        n += entry->row_count > 0;
    }
    return n;
}
