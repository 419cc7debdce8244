/* eval/ijb.h - IJB-B and IJB-C: templates of many images, compared 1:1 and searched for 1:N.
 *
 *   face_tid_mid + name_5pts_score --> struct cask_ijb        images, templates, media, landmarks
 *   cask_ijb + image embeddings    --> cask_ijb_pool          one unit vector a template
 *   templates + template_pair_label --> cask_ijb_score         genuine and impostor scores
 *   templates + gallery, probe CSV --> cask_ijb_identify      rank, TPIR at FPIR
 *
 * Nothing is held per pair but its score: 15.7 M pairs take 125 MB, and as much to sort them.
 */
#ifndef CASK_EVAL_IJB_H
#define CASK_EVAL_IJB_H

#include "common/lines.h"
#include "data/data.h"
#include "eval/rates.h"
#include "eval/rows.h"

/* -------------------------------------------------------------------- meta */

struct cask_ijb_image {
    struct cask_slice name; /* in the map of name_5pts_score */
    uint32_t template_index, media;
    float score; /* of the detector */
    struct cask_landmarks points;
};

struct cask_ijb {
    int64_t images, templates;
    struct cask_ijb_image *image; /* [images], in the files' order */
    int64_t *template_id;         /* [templates], rising: ids are sparse, indices dense */
    uint32_t *order;              /* [images] by template, media, place in the file */
    int64_t *begin;               /* [templates + 1] in `order` */
    uint32_t *slots;              /* hash table of index + 1 by id; 0: empty */
    size_t slot_count;
    struct cask_lines points; /* keeps the names alive */
};

/* Files: "name template media" and "name x1 y1 ... x5 y5 score", line i of both about image i.
 * CASK_ERR_FORMAT with file:line. CASK_ERR_MISMATCH: other lengths, or names that differ. */
enum cask_status cask_ijb_open(const char *tid_mid_path, const char *points_path,
                               struct cask_ijb *set, struct cask_error *err);
void cask_ijb_close(struct cask_ijb *set);                              /* accepts a zeroed set */
int64_t cask_ijb_find_template(const struct cask_ijb *set, int64_t id); /* -1: not there */

/* ----------------------------------------------------------------- pooling */

/* The three switches that make published IJB numbers incomparable. */
struct cask_ijb_switches {
    bool norm;     /* N1: keep the length of an image's embedding, as a weight; N0: unit length */
    bool detector; /* D1: times the detector's score */
    bool flip;     /* F1: embedding of the image plus that of its mirror; F0: of the image alone */
};

struct cask_ijb_templates {
    double *rows; /* [count][dim], unit length; zero if no image of the template is usable */
    int64_t count;
    int dim;
    int64_t zero_images, empty_templates;
    char first_zero[256]; /* name of the first such image; "" if there is none */
    int64_t first_empty;  /* id */
};

/* rows: [images][2 D], the raw embeddings of each image and behind it of its mirror; with
 * flip = false [images][D] will do (`views` says which). Mean of the images of a medium, sum over
 * media, unit length; all in double. An image whose row is zero is left out of its medium and
 * counted. A row that is not finite is CASK_ERR_RANGE. */
enum cask_status cask_ijb_pool(const struct cask_ijb *set, const struct cask_rows *rows, int views,
                               struct cask_ijb_switches switches, int threads,
                               struct cask_ijb_templates *out, struct cask_error *err);
void cask_ijb_templates_release(struct cask_ijb_templates *templates);

/* --------------------------------------------------------------------- 1:1 */

struct cask_ijb_pairs {
    int64_t pairs, duplicates, selves; /* a pair either way round; a template with itself */
    int64_t first_duplicate;           /* line of it */
    int64_t empty;                     /* pairs with an empty template: their score is 0 */
};

/* Who stands in each pair, beside the scores: for intervals. */
struct cask_ijb_sides {
    uint32_t (*genuine)[2], (*impostor)[2]; /* template indices, in the order of the scores */
};
void cask_ijb_sides_release(struct cask_ijb_sides *sides);

/* File: "template template label", label 1 for genuine. Scores are dot products. Duplicates stay,
 * as in the public scripts. A template that is not in the set is CASK_ERR_MISMATCH with the first
 * line and the number of such lines. sides: NULL, or filled (8 bytes a pair); the caller releases
 * them also on failure. */
enum cask_status cask_ijb_score(const struct cask_ijb *set, const char *pairs_path,
                                const struct cask_ijb_templates *templates, int threads,
                                struct cask_scores *scores, struct cask_ijb_pairs *found,
                                struct cask_ijb_sides *sides, struct cask_error *err);

/* --------------------------------------------------------------------- 1:N */

struct cask_ijb_people {
    int64_t count;
    uint32_t *template_index; /* [count], each once, rising */
    int64_t *subject;         /* [count] */
};
/* CSV with a header row that names TEMPLATE_ID and SUBJECT_ID (else the first two columns); one row
 * an image, so templates repeat. CASK_ERR_MISMATCH: a template with two subjects, or not in the
 * set. one_each: also a subject with two templates (a gallery). */
enum cask_status cask_ijb_people_read(const struct cask_ijb *set, const char *path, bool one_each,
                                      struct cask_ijb_people *people, struct cask_error *err);
void cask_ijb_people_release(struct cask_ijb_people *people);

enum { CASK_IJB_RANKS = 3, CASK_IJB_FPIRS = 2 };
extern const int cask_ijb_ranks[CASK_IJB_RANKS];    /* 1, 5, 10 */
extern const double cask_ijb_fpirs[CASK_IJB_FPIRS]; /* 0.01, 0.1 */

struct cask_ijb_identification {
    int64_t gallery, probes, mated, nonmated;
    int64_t hits[CASK_IJB_RANKS];     /* mated probes whose mate stands among the first k */
    int64_t accepted[CASK_IJB_FPIRS]; /* mate first, and above the threshold */
    double threshold[CASK_IJB_FPIRS]; /* NaN without non-mated probes */
};
/* What became of a probe. */
struct cask_ijb_outcome {
    double score; /* of the mate; without a mate the best of all */
    int64_t rank; /* of the mate; 0: there is none */
};
/* One gallery. A mate's rank is 1 + the number of other gallery templates that score as much or
 * more. The threshold at FPIR x is element max(int(n x) - 1, 0) of the n non-mated probes' best
 * scores, largest first; a mated probe is accepted above it. TPIR = accepted / mated.
 * outcomes: NULL, or [probes->count]. */
enum cask_status cask_ijb_identify(const struct cask_ijb_templates *templates,
                                   const struct cask_ijb_people *gallery,
                                   const struct cask_ijb_people *probes, int threads,
                                   struct cask_ijb_identification *out,
                                   struct cask_ijb_outcome *outcomes, struct cask_error *err);

#endif
