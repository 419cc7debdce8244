/* eval/eval.h - embeddings of a verification set, and the numbers made of them.
 *
 *   pairs + model, .npy or cache --> struct cask_views   raw embeddings of images and mirrors
 *   views + pairs                --> cask_verify         accuracies, val@FAR, ROC, intervals
 *   two of those                 --> cask_verify_paired  is one model better than the other?
 *   cask_set_result              --> cask_report_...     table, JSON, CSV, pictures
 *
 * Thread rule: plain functions; the model belongs to the calling thread.
 */
#ifndef CASK_EVAL_EVAL_H
#define CASK_EVAL_EVAL_H

#include <stdio.h>

#include "common/json.h"
#include "common/preprocess.h"
#include "common/status.h"
#include "common/text.h"
#include "data/data.h"
#include "models/models.h"

/* -------------------------------------------------------------- embeddings */

/* How the embeddings f of an image and g of its mirror become the vector e that is compared. */
enum cask_flip {
    CASK_FLIP_SUM,      /* e = f + g, then unit length: insightface's "Accuracy-Flip" */
    CASK_FLIP_NONE,     /* e = f, then unit length */
    CASK_FLIP_CONCAT,   /* e = (f, g), 2 D numbers, then unit length */
    CASK_FLIP_PROTOCOL, /* whichever of these the protocol's own program does */
};

struct cask_embed_options {
    struct cask_net *net; /* borrowed */
    struct cask_preprocess preprocess;
    enum cask_flip flip;
    int batch, threads;
};

/* Raw embeddings of a set's images, as the network gave them (or unit rows times their norms). */
struct cask_views {
    int64_t images;
    int dim;
    float *view[2]; /* [images][dim]: of the image, of its mirror; the second may be NULL */
    bool *bad;      /* [images]: could not be read, or is not a finite vector of positive length;
                       its rows are zero */
    int64_t bad_count;
    char first_bad[512]; /* why, with the image's name; "" if bad_count is 0 */
};
void cask_views_release(struct cask_views *views); /* accepts a zeroed struct */

/* Runs the model over all images; `mirrors`: over their mirrors too. An image that fails is marked,
 * not refused: cask_verify decides. CASK_ERR_MEMORY, CASK_ERR_DEVICE, CASK_ERR_INTERRUPTED. */
enum cask_status cask_embed_views(const struct cask_pairs *pairs,
                                  const struct cask_embed_options *options, bool mirrors,
                                  struct cask_views *views, struct cask_error *err);

/* Fills *embeddings [images][D] double, rows of unit length (CONCAT: [images][2 D]); caller frees
 * with cask_free. An image that cannot be read or decoded, or whose embedding is zero or not
 * finite, is an error that names it: a number from fewer pairs would not be the protocol's. */
enum cask_status cask_embed_pairs(const struct cask_pairs *pairs,
                                  const struct cask_embed_options *options, double **embeddings,
                                  struct cask_error *err);

/* ------------------------------------------------------------------- k-fold */

enum { CASK_FOLDS_MAX = 100 };

struct cask_kfold {
    int folds;
    double accuracy, std;                  /* mean and standard deviation over folds, in percent */
    double fold_accuracy[CASK_FOLDS_MAX];  /* percent */
    double fold_threshold[CASK_FOLDS_MAX]; /* insightface, tface: squared distance; else cosine */
};

/* insightface's protocol. d = |e1 - e2|^2; contiguous folds, the first n mod folds one pair longer;
 * thresholds 0.01 k, k = 0..399; a pair is called "same" iff d < t; each fold is scored at the
 * first of the thresholds that are best on all other folds. With one fold there are no others:
 * CASK_ERR_RANGE. distances, same: [count]. */
enum cask_status cask_verify_kfold(const double *distances, const bool *same, int64_t count,
                                   int folds, struct cask_kfold *out, struct cask_error *err);

/* The published programs, each with the rules that change its numbers. All use contiguous folds.
 *
 *   INSIGHTFACE  arcface_torch's verification.py: as cask_verify_kfold says; flip-sum in double;
 *                standard deviation of the population.
 *   FACEXZOO     lfw_evaluator.py: no flip; cosine in float32; of 1,000 thresholds min + j (max -
 *                min) / 1000, j = 1..1000, over the other folds' scores, the first that is best in
 *                TPR - FPR; a score equal to the threshold is wrong either way; "std" is the
 *                standard error: sample deviation / sqrt(folds).
 *   TFACE        recognition/test: as INSIGHTFACE, but sum and unit length in float32.
 *   XIAOCCER     lfw_eval.py of MobileFaceNet_Pytorch: (f, g) concatenated, minus the mean over
 *                both sides of the other folds' pairs, unit length, cosine; 20,001 thresholds j /
 *                10000; the mean of all that are best; a tie is wrong; deviation of the population.
 *                (It computes in float32, this in double.)
 */
enum cask_protocol {
    CASK_PROTOCOL_INSIGHTFACE,
    CASK_PROTOCOL_FACEXZOO,
    CASK_PROTOCOL_TFACE,
    CASK_PROTOCOL_XIAOCCER,
    CASK_PROTOCOLS,
};
const char *cask_protocol_name(enum cask_protocol protocol); /* "insightface", ... */
bool cask_protocol_needs_mirrors(enum cask_protocol protocol, enum cask_flip flip);

/* "insightface 3-fold, d^2 < t (0.01 steps), flip-sum, rgb:127.5:127.5" */
void cask_protocol_line(int folds, enum cask_flip flip, const struct cask_preprocess *preprocess,
                        char *buffer, size_t bytes);

/* ------------------------------------------------------------- verification */

enum cask_resample {
    /* Persons with replacement: a pair counts as often as its person was drawn, or, of two
     * persons, the product. Pairs of one person move together, which they do in truth. Where two
     * persons meet in one pair only, the product is wider than need be: the interval errs on the
     * wide side. */
    CASK_RESAMPLE_PERSONS,
    /* Pairs with replacement within each fold, as if they were independent: too narrow where
     * pairs share people. For comparison with other programs. */
    CASK_RESAMPLE_PAIRS,
};

struct cask_verify_options {
    bool protocols[CASK_PROTOCOLS]; /* which; the first of them is the set's headline */
    enum cask_flip flip;
    int folds;  /* 0: as the set declares */
    double far; /* target of val@FAR, 1e-3 */
    bool exclude_bad, exclude_duplicates;
    int draws; /* of the bootstrap; 0: no intervals */
    enum cask_resample resample;
    uint64_t seed;
    const char *pixels; /* end of the protocol line: "rgb:127.5:127.5"; borrowed */
};
/* insightface, flip-sum, FAR 1e-3, 1000 draws of persons, seed 1 */
struct cask_verify_options cask_verify_default(void);

/* 95 %: the 2.5th and 97.5th percentile of the draws. Where no draw differs from any other (no pair
 * is wrong), the exact binomial bound instead, so that 600 of 600 is not "100 to 100". NaN: not
 * computed. Rates in percent, as the number they belong to. */
struct cask_interval {
    double low, high;
};

struct cask_protocol_result {
    enum cask_protocol protocol;
    char line[200];
    struct cask_kfold kfold;
    struct cask_interval accuracy_interval;
    /* INSIGHTFACE and TFACE; percent; NaN where a fold holds no genuine or no impostor pair.
     * Thresholds 0.001 k, k < 4000; t* by linear interpolation between the last threshold whose
     * FAR on the other folds is <= the target and the next one; 0 if the target is not reached. */
    double val, val_std, val_far; /* val_far: measured on the folds, a rate */
    struct cask_interval val_interval;
};

enum { CASK_ROC_POINTS = 500, CASK_ROC_TARGETS = 6, CASK_HISTOGRAM_BINS = 80 };

/* One evaluated set, for tables and JSON. Holds no pointers. */
struct cask_set_result {
    char name[64], protocol[200]; /* protocol: the headline's line */
    int64_t pairs, images;        /* pairs: those that count */
    struct cask_kfold kfold;      /* the headline's */

    int protocol_count;
    struct cask_protocol_result protocols[CASK_PROTOCOLS];

    /* Of the headline's embedding, all pairs, score = cosine, accepted at score >= threshold. */
    int64_t genuine, impostor;
    double auc, eer; /* percent; EER by the rule of eval/rates.h */
    struct cask_interval auc_interval, eer_interval;
    struct cask_operating_point {
        double target, tpr; /* highest TPR (percent) with FPR <= target */
        double allowed;     /* target x impostor pairs: below about 10 it is mostly chance */
        struct cask_interval interval;
    } operating[CASK_ROC_TARGETS]; /* 1e-1 .. 1e-6 */
    int roc_count;
    double roc_fpr[CASK_ROC_POINTS], roc_tpr[CASK_ROC_POINTS]; /* rates, thinned */
    double histogram_edges[CASK_HISTOGRAM_BINS + 1];           /* cosine -1 .. 1 */
    int64_t histogram_genuine[CASK_HISTOGRAM_BINS], histogram_impostor[CASK_HISTOGRAM_BINS];

    /* What is odd about the set. Nothing of it is dropped unless an option says so. */
    int64_t bad_images, bad_pairs; /* excluded by exclude_bad */
    int64_t duplicates,
        duplicates_excluded; /* pairs that repeat an earlier one, either way round */
    int64_t conflicts;       /* duplicates with the other label */
    int64_t selves;          /* an image with itself */
    char first_bad[512], first_duplicate[512]; /* "" if none */

    double xnorm; /* mean length of the raw embeddings of images and mirrors: insightface's XNorm */

    int64_t persons;         /* as far as names or genuine pairs tell */
    char interval_line[200]; /* "95 %: bootstrap over 310 persons, 1000 draws, seed 1" */
};

/* What cask_verify prepared, kept for cask_verify_paired. Borrows nothing. */
struct cask_verification;
void cask_verification_free(struct cask_verification *verification); /* accepts NULL */

/* All protocols asked for. `except`: NULL, or other views of the same images whose bad ones count
 * as bad here too, so that two models are measured on the same pairs. `verification` may be NULL.
 * CASK_ERR_FORMAT: bad images without exclude_bad. CASK_ERR_RANGE: folds and pairs do not fit. */
enum cask_status cask_verify(const struct cask_pairs *pairs, const struct cask_views *views,
                             const struct cask_views *except,
                             const struct cask_verify_options *options, struct cask_set_result *out,
                             struct cask_verification **verification, struct cask_error *err);

/* cask_embed_views, then cask_verify with the default options and this flip. */
enum cask_status cask_evaluate_set(const struct cask_pairs *pairs,
                                   const struct cask_embed_options *options,
                                   struct cask_set_result *out, struct cask_error *err);

/* One number of two models on the same set: pairs, templates or probes. */
struct cask_paired {
    char set[64], protocol[16], number[40]; /* "lfw", "insightface", "accuracy" */
    double a, b, difference;                /* percent; a - b */
    struct cask_interval interval;          /* of the difference, by percentiles: both models in the
                                               same draws, each with the thresholds of its draw */
    double bootstrap; /* twice the smaller share of draws on one side of zero, (k + 1) / (draws +
                         1), at most 1; NaN without draws */
    /* Trials that a model gets right or wrong, where the number is a share of such. For accuracy:
     * pairs, each at its own fold's threshold. */
    int64_t both_right, only_a, only_b, both_wrong;
    double mcnemar; /* exact two-sided p: only_a of only_a + only_b at one half; NaN: no trials */
};
/* Both made by cask_verify with the same pairs and options, and with each other's views as
 * `except`. out: the accuracy by each protocol; *count is set. */
enum cask_status cask_verify_paired(struct cask_verification *a, struct cask_verification *b,
                                    struct cask_paired out[CASK_PROTOCOLS], int *count,
                                    struct cask_error *err);

/* ------------------------------------------------------------------- report */

void cask_report_table(const struct cask_set_result *sets, int count, FILE *stream);
void cask_report_paired(const struct cask_paired *paired, int count, FILE *stream);

/* {"model": ..., "sets": [set, ...]}; NULL: no memory. A set is
 *
 *   {"name", "protocol", "pairs", "images", "accuracy", "std", "folds": [percent],
 *    "thresholds": [one a fold], "accuracy_interval": [low, high] or null,
 *    "protocols": {"insightface": {"protocol", "accuracy", "std", "accuracy_interval", "folds",
 *        "thresholds", "val", "val_std", "val_far", "val_interval"}, ...},
 *    "genuine", "impostor", "auc", "auc_interval", "eer", "eer_interval",
 *    "tpr_at_fpr": [{"fpr", "tpr", "interval", "impostors_allowed"}],
 *    "roc": {"fpr": [rates], "tpr": [rates]}, at most CASK_ROC_POINTS points,
 *    "histogram": {"edges": [n + 1 cosines], "genuine": [n counts], "impostor": [n counts]},
 *    "interval": "95 %: ...", "persons", "xnorm",
 *    "bad_images", "bad_pairs", "duplicates", "duplicates_excluded", "conflicts", "selves"}
 *
 * Percent everywhere but in "roc", "val_far" and "fpr"; what is not defined is null. */
struct cask_json *cask_report_json(const char *model, const struct cask_set_result *sets,
                                   int count);
/* [{"set", "protocol", "number", "a", "b", "difference", "interval", "bootstrap_p", "both_right",
 * "only_a", "only_b", "both_wrong", "mcnemar_p"}]; the last five are null where the number is no
 * share of trials */
struct cask_json *cask_report_paired_json(const struct cask_paired *paired, int count);

/* One number a line: model,set,protocol,number,value,low,high,pairs; commas in names become
 * semicolons, what is not defined is empty. A head line comes first. Out of memory is asked for
 * with cask_text_check. */
void cask_report_csv_head(struct cask_text *text);
void cask_report_csv(const char *model, const struct cask_set_result *sets, int count,
                     struct cask_text *text);
/* One such line; commas in names become ';'. NaN is an empty field. */
void cask_report_csv_line(struct cask_text *text, const char *model, const char *set,
                          const char *protocol, const char *number, double value,
                          struct cask_interval interval, int64_t pairs);

/* "98.05 .. 99.51", or "-" where there is none. Returns buffer. */
const char *cask_interval_text(struct cask_interval interval, char buffer[48]);
/* key: [low, high], or null where there is none */
void cask_json_set_interval(struct cask_json *object, const char *key,
                            struct cask_interval interval);

/* Curves of several models and sets in one picture; .svg or .png by the name's end. */
struct cask_report_curve {
    const char *name;                  /* borrowed */
    const struct cask_set_result *set; /* borrowed */
};
enum cask_status cask_report_roc(const char *path, const struct cask_report_curve *curves,
                                 int count, struct cask_error *err);
enum cask_status cask_report_histogram(const char *path, const struct cask_report_curve *curves,
                                       int count, struct cask_error *err);

#endif
