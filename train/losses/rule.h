/* train/losses/rule.h - what KD, DKD and GKD have in common as rows of the registry. */
#ifndef CASK_TRAIN_LOSSES_RULE_H
#define CASK_TRAIN_LOSSES_RULE_H

#include "train/losses/losses.h"

/* First member of their options. */
struct rule_options {
    double temperature; /* 0: by the loss's variant */
    bool t_squared, margin;
    int tail; /* enum tail_rule */
};

#define rule_create NAME(cask_rule_create)
#define rule_free NAME(cask_rule_free)
#define rule_needs NAME(cask_rule_needs)
#define rule_itself NAME(cask_rule_itself)
#define rule_tail_names NAME(cask_rule_tail_names)

extern const char *const rule_tail_names[];

#define RULE_ROWS(owner, default_t, default_t2, default_margin)                                    \
    {.key = "temperature",                                                                         \
     .type = CASK_CONFIG_REAL,                                                                     \
     .offset = offsetof(owner, rule.temperature),                                                  \
     .value = default_t,                                                                           \
     .min = 0,                                                                                     \
     .max = 1000,                                                                                  \
     .help = "T of both softmaxes"},                                                               \
        {.key = "t_squared",                                                                       \
         .type = CASK_CONFIG_BOOL,                                                                 \
         .offset = offsetof(owner, rule.t_squared),                                                \
         .value = default_t2,                                                                      \
         .help = "multiply by T^2, so that the gradient keeps its size"},                          \
        {.key = "margin",                                                                          \
         .type = CASK_CONFIG_BOOL,                                                                 \
         .offset = offsetof(owner, rule.margin),                                                   \
         .value = default_margin,                                                                  \
         .help = "margin on the label's logit of both nets"},                                      \
    {                                                                                              \
        .key = "tail", .type = CASK_CONFIG_ENUM, .offset = offsetof(owner, rule.tail),             \
        .value = "one_bin", .names = rule_tail_names,                                              \
        .help = "top-k mode: what stands for classes outside the teacher's top-k"                  \
    }

/* Allocates a state of `bytes`, zeroed, whose first member is a struct two_group, and the rule's
 * rows; refuses what a teacher without class centres cannot give. rule_free releases both. */
enum cask_status rule_create(const char *name, const struct rule_options *options,
                             const struct cask_engine_facts *facts, size_t bytes, void *state,
                             struct cask_error *err);
void rule_free(void *state);
unsigned rule_needs(const void *options, const struct cask_engine_facts *facts);
struct two_group *rule_itself(void *state);

#endif
