/* eval/verify.c - one set by every protocol that was asked for. */
#include "eval/verification.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "eval/histogram.h"
#include "eval/views.h"

const char *cask_protocol_name(enum cask_protocol protocol)
{
    return trial_kind(protocol)->name;
}

static enum cask_flip flip_of(enum cask_protocol protocol, enum cask_flip flip)
{
    return flip == CASK_FLIP_PROTOCOL ? trial_kind(protocol)->flip : flip;
}

bool cask_protocol_needs_mirrors(enum cask_protocol protocol, enum cask_flip flip)
{
    return flip_of(protocol, flip) != CASK_FLIP_NONE;
}

static void protocol_line(enum cask_protocol protocol, int folds, enum cask_flip flip,
                          const char *pixels, char *buffer, size_t bytes)
{
    static const char *const flips[] = {"flip-sum", "no flip", "flip concatenated"};
    const struct trial_kind *kind = trial_kind(protocol);
    snprintf(buffer, bytes, "%s %d-fold, %s, %s%s%s%s%s", kind->name, folds, kind->rule,
             flips[flip_of(protocol, flip)], pixels[0] != 0 ? ", " : "", pixels,
             kind->deviation[0] != 0 ? "; " : "", kind->deviation);
}

void cask_protocol_line(int folds, enum cask_flip flip, const struct cask_preprocess *preprocess,
                        char *buffer, size_t bytes)
{
    char pixels[64];
    cask_preprocess_format(preprocess, pixels);
    protocol_line(CASK_PROTOCOL_INSIGHTFACE, folds, flip, pixels, buffer, bytes);
}

struct cask_verify_options cask_verify_default(void)
{
    return (struct cask_verify_options){
        .protocols = {[CASK_PROTOCOL_INSIGHTFACE] = true},
        .flip = CASK_FLIP_SUM,
        .far = 1e-3,
        .draws = 1000,
        .resample = CASK_RESAMPLE_PERSONS,
        .seed = 1,
        .pixels = "",
    };
}

static bool is_bad(const struct cask_views *views, const struct cask_pair *pair)
{
    return views != NULL && (views->bad[pair->a] || views->bad[pair->b]);
}

/* Weights of what is excluded become 0; everything odd is counted. */
static enum cask_status exclude(struct cask_verification *v, const struct cask_pairs *pairs,
                                const struct cask_views *views, const struct cask_views *except,
                                const struct cask_verify_options *options,
                                struct cask_set_result *out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_views *both[] = {views, except};
    for (int k = 0; k < 2 && both[k] != NULL; k++) {
        if (!options->exclude_bad) {
            CASK_TRY(views_refuse_bad(both[k], err));
        }
        if (both[k]->bad_count > 0 && out->first_bad[0] == 0) {
            snprintf(out->first_bad, sizeof out->first_bad, "%s", both[k]->first_bad);
        }
    }
    for (int64_t i = 0; i < out->images; i++) {
        out->bad_images += views->bad[i] || (except != NULL && except->bad[i]);
    }
    for (int64_t i = 0; i < v->set.count; i++) {
        if (is_bad(views, &v->pairs[i]) || is_bad(except, &v->pairs[i])) {
            v->weights[i] = 0;
            out->bad_pairs++;
        } else if (options->exclude_duplicates && v->persons.repeats[i]) {
            v->weights[i] = 0;
            out->duplicates_excluded++;
        }
        out->pairs += v->weights[i];
        *(v->same[i] ? &out->genuine : &out->impostor) += v->weights[i];
    }
    out->duplicates = v->persons.duplicates;
    out->conflicts = v->persons.conflicts;
    out->selves = v->persons.selves;
    if (v->persons.first_duplicate >= 0) {
        char a[200], b[200];
        const struct cask_pair *pair = &v->pairs[v->persons.first_duplicate];
        cask_pairs_image_name(pairs, pair->a, a, sizeof a);
        cask_pairs_image_name(pairs, pair->b, b, sizeof b);
        snprintf(out->first_duplicate, sizeof out->first_duplicate, "pair %lld: %s, %s",
                 (long long)v->persons.first_duplicate + 1, a, b);
    }
done:
    return st;
}

static enum cask_status check_folds(const struct cask_verification *v, struct cask_error *err)
{
    const struct trial_pairs *set = &v->set;
    enum cask_status st = fold_check(set->count, set->folds, err);
    for (int f = 0; st == CASK_OK && f < set->folds; f++) {
        int64_t held = 0, end = fold_begin(set->count, set->folds, f + 1);
        for (int64_t i = fold_begin(set->count, set->folds, f); i < end; i++) {
            held += set->weights[i];
        }
        if (held == 0) {
            st = cask_error_set(err, CASK_ERR_RANGE,
                                "%s: fold %d of %d holds no pair that counts: all were excluded",
                                v->name, f + 1, set->folds);
        }
    }
    return st;
}

static enum cask_status run_protocol(struct cask_verification *v, enum cask_protocol protocol,
                                     const struct cask_views *views,
                                     const struct cask_verify_options *options,
                                     struct cask_set_result *out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    double *rows = NULL;
    int dim = 0;
    const struct trial_kind *kind = trial_kind(protocol);
    struct cask_protocol_result *result = &out->protocols[out->protocol_count++];
    struct verified *verified = &v->trials[v->trial_count++];
    verified->protocol = result->protocol = protocol;
    CASK_TRY(views_rows(views, flip_of(protocol, options->flip), &rows, &dim, err));
    CASK_TRY(kind->create(&v->set, rows, views->images, dim, &verified->trial, err));
    kind->run(verified->trial, v->weights, &result->kfold, NULL);
    protocol_line(protocol, v->set.folds, options->flip, options->pixels, result->line,
                  sizeof result->line);
    struct val_far val = {NAN, NAN, NAN};
    if (verified->trial->distance != NULL) {
        CASK_TRY(val_scratch_create(verified->trial->distance, &v->set, &verified->val, err));
        val = val_at_far(verified->val, v->weights, options->far);
    }
    result->val = val.val;
    result->val_std = val.std;
    result->val_far = val.far;
done:
    cask_free(rows);
    return st;
}

static void fill_histogram(const struct cask_verification *v, struct cask_set_result *out)
{
    histogram_edges(out->histogram_edges);
    for (int64_t i = 0; i < v->set.count; i++) {
        int bin = histogram_bin(v->trials[0].trial->cosine[i]);
        *(v->same[i] ? &out->histogram_genuine[bin] : &out->histogram_impostor[bin]) +=
            v->weights[i];
    }
}

/* Over both views of every image that is not bad. */
static double mean_length(const struct cask_views *views)
{
    double sum = 0;
    int64_t count = 0;
    for (int v = 0; v < 2 && views->view[v] != NULL; v++) {
        for (int64_t r = 0; r < views->images; r++) {
            const float *row = views->view[v] + r * views->dim;
            double squares = 0;
            for (int i = 0; i < views->dim; i++) {
                squares += (double)row[i] * (double)row[i];
            }
            sum += sqrt(squares);
            count += !views->bad[r];
        }
    }
    return sum / (double)count;
}

static enum cask_status fill_roc(struct cask_verification *v, struct cask_set_result *out,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const double *cosine = v->trials[0].trial->cosine;
    struct roc roc = {0};
    CASK_TRY(roc_order_create(cosine, v->set.count, &v->order, err));
    roc.points = cask_alloc((size_t)v->set.count + 1, sizeof *roc.points);
    if (roc.points == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)v->set.count * sizeof *roc.points, "a ROC"));
    }
    roc_fill(&v->order, cosine, v->same, v->weights, &roc);
    out->auc = 100 * roc_auc(&roc);
    out->eer = 100 * roc_eer(&roc);
    for (int i = 0; i < CASK_ROC_TARGETS; i++) {
        out->operating[i] = (struct cask_operating_point){
            roc_targets[i],
            100 * roc_tpr_at(&roc, roc_targets[i]),
            roc_targets[i] * (double)out->impostor,
            {NAN, NAN},
        };
    }
    roc_drop_intermediate(&roc);
    out->roc_count = roc_thin(&roc, CASK_ROC_POINTS, out->roc_fpr, out->roc_tpr);
done:
    cask_free(roc.points);
    return st;
}

enum cask_status cask_verify(const struct cask_pairs *pairs, const struct cask_views *views,
                             const struct cask_views *except,
                             const struct cask_verify_options *options, struct cask_set_result *out,
                             struct cask_verification **verification, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_verification *v = NULL;
    int folds = options->folds > 0 ? options->folds : cask_pairs_folds(pairs);
    *out = (struct cask_set_result){.images = cask_pairs_image_count(pairs)};
    CASK_TRY(verification_create(pairs, folds, &v, err));
    CASK_TRY(persons_find(pairs, &v->persons, err));
    CASK_TRY(exclude(v, pairs, views, except, options, out, err));
    CASK_TRY(check_folds(v, err));
    snprintf(out->name, sizeof out->name, "%s", v->name);
    for (int p = 0; p < CASK_PROTOCOLS; p++) {
        if (options->protocols[p]) {
            CASK_TRY(run_protocol(v, (enum cask_protocol)p, views, options, out, err));
        }
    }
    out->kfold = out->protocols[0].kfold;
    snprintf(out->protocol, sizeof out->protocol, "%s", out->protocols[0].line);
    fill_histogram(v, out);
    out->xnorm = mean_length(views);
    CASK_TRY(fill_roc(v, out, err));
    v->far = options->far;
    v->draws = options->draws;
    v->resampler = (struct resampler){.set = &v->set,
                                      .kind = options->resample,
                                      .seed = options->seed,
                                      .person_of = v->persons.of_image,
                                      .persons = v->persons.count};
    CASK_TRY(resampler_create(&v->resampler, err));
    CASK_TRY(verification_bootstrap(v, out, err));
    if (verification != NULL) {
        *verification = v;
        v = NULL;
    }
done:
    cask_verification_free(v);
    return st;
}

enum cask_status cask_evaluate_set(const struct cask_pairs *pairs,
                                   const struct cask_embed_options *options,
                                   struct cask_set_result *out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_views views = {0};
    struct cask_verify_options verify = cask_verify_default();
    char pixels[64];
    cask_preprocess_format(&options->preprocess, pixels);
    verify.flip = options->flip;
    verify.pixels = pixels;
    CASK_TRY(cask_embed_views(pairs, options,
                              cask_protocol_needs_mirrors(CASK_PROTOCOL_INSIGHTFACE, options->flip),
                              &views, err));
    CASK_TRY(cask_verify(pairs, &views, NULL, &verify, out, NULL, err));
done:
    cask_views_release(&views);
    return st;
}
