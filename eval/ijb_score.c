/* eval/ijb_score.c - the pairs of templates, read and scored a block at a time. */
#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "common/thread.h"
#include "eval/ijb.h"

enum { BLOCK = 1 << 16, TASK = 1 << 10 };

struct pair {
    uint32_t a, b; /* template indices */
    bool genuine;
};

struct scoring {
    const struct cask_ijb *set;
    const struct cask_ijb_templates *templates;
    struct cask_lines lines;
    struct cask_scores *scores;
    struct cask_ijb_pairs *found;
    struct cask_ijb_sides *sides; /* or NULL */
    uint8_t *seen;                /* one bit for each unordered pair of templates */
    uint8_t *empty;               /* [templates] */
    struct pair *block;           /* [BLOCK] */
    double *score;                /* [BLOCK] */
    int64_t count;                /* in the block */
    int64_t genuine_room;
    int64_t missing, missing_id, missing_line;
};

/* Triangular numbers give each unordered pair a place: 33 MB for IJB-C. */
static bool seen_before(struct scoring *s, uint32_t a, uint32_t b)
{
    uint64_t high = a > b ? a : b, low = a > b ? b : a;
    uint64_t place = high * (high + 1) / 2 + low;
    uint8_t bit = (uint8_t)(1 << (place & 7));
    bool before = (s->seen[place >> 3] & bit) != 0;
    s->seen[place >> 3] |= bit;
    return before;
}

static enum cask_status add_pair(struct scoring *s, struct cask_slice line, struct cask_error *err)
{
    struct cask_slice columns[3];
    int64_t ids[2], label, found[2];
    if (cask_slice_columns(line, columns, 3) != 3 ||
        !cask_slice_int(columns[0], 0, INT32_MAX, &ids[0]) ||
        !cask_slice_int(columns[1], 0, INT32_MAX, &ids[1]) ||
        !cask_slice_int(columns[2], 0, 1, &label)) {
        return cask_lines_refuse(&s->lines, line, "\"template template label\", label 0 or 1", err);
    }
    for (int i = 0; i < 2; i++) {
        found[i] = cask_ijb_find_template(s->set, ids[i]);
        if (found[i] < 0) {
            s->missing_id = s->missing == 0 ? ids[i] : s->missing_id;
            s->missing_line = s->missing == 0 ? s->lines.number : s->missing_line;
            s->missing++;
            return CASK_OK;
        }
    }
    struct pair pair = {(uint32_t)found[0], (uint32_t)found[1], label == 1};
    if (seen_before(s, pair.a, pair.b)) {
        s->found->first_duplicate =
            s->found->duplicates == 0 ? s->lines.number : s->found->first_duplicate;
        s->found->duplicates++;
    }
    s->found->selves += pair.a == pair.b;
    s->found->empty += s->empty[pair.a] || s->empty[pair.b];
    s->block[s->count++] = pair;
    return CASK_OK;
}

static void score_task(void *user, int64_t index, int worker)
{
    struct scoring *s = user;
    int64_t end = (index + 1) * TASK < s->count ? (index + 1) * TASK : s->count;
    size_t dim = (size_t)s->templates->dim;
    (void)worker;
    for (int64_t i = index * TASK; i < end; i++) {
        s->score[i] = cask_dot(s->templates->rows + s->block[i].a * dim,
                               s->templates->rows + s->block[i].b * dim, (int64_t)dim);
    }
}

/* Impostors have room for all lines; genuine pairs are few, so their room grows. */
static enum cask_status keep_scores(struct scoring *s, struct cask_error *err)
{
    if (s->scores->genuine_count + s->count > s->genuine_room) {
        int64_t room = 2 * s->genuine_room + BLOCK;
        double *grown =
            cask_grow(s->scores->genuine, (size_t)s->genuine_room, (size_t)room, sizeof *grown);
        if (grown == NULL) {
            return cask_error_memory(err, (size_t)room * sizeof *grown, "genuine scores");
        }
        s->scores->genuine = grown;
        if (s->sides != NULL) {
            uint32_t(*sides)[2] =
                cask_grow(s->sides->genuine, (size_t)s->genuine_room, (size_t)room, sizeof *sides);
            if (sides == NULL) {
                return cask_error_memory(err, (size_t)room * sizeof *sides, "genuine pairs");
            }
            s->sides->genuine = sides;
        }
        s->genuine_room = room;
    }
    for (int64_t i = 0; i < s->count; i++) {
        if (s->sides != NULL) {
            uint32_t *side = s->block[i].genuine ? s->sides->genuine[s->scores->genuine_count]
                                                 : s->sides->impostor[s->scores->impostor_count];
            side[0] = s->block[i].a;
            side[1] = s->block[i].b;
        }
        if (s->block[i].genuine) {
            s->scores->genuine[s->scores->genuine_count++] = s->score[i];
        } else {
            s->scores->impostor[s->scores->impostor_count++] = s->score[i];
        }
    }
    s->found->pairs += s->count;
    s->count = 0;
    return CASK_OK;
}

static enum cask_status score_lines(struct scoring *s, struct cask_pool *pool,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool more = true;
    while (more) {
        struct cask_slice line;
        while (more && s->count < BLOCK) {
            CASK_TRY(cask_lines_next(&s->lines, &line, err));
            more = line.data != NULL;
            if (more) {
                CASK_TRY(add_pair(s, line, err));
            }
        }
        CASK_TRY(cask_interrupt_check(err));
        cask_pool_run(pool, (s->count + TASK - 1) / TASK, score_task, s);
        CASK_TRY(keep_scores(s, err));
    }
    if (s->missing > 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                "%s:%lld: expected a template of the list of images, found %lld, "
                                "which it does not name; %lld line(s) name such templates",
                                s->lines.path, (long long)s->missing_line, (long long)s->missing_id,
                                (long long)s->missing));
    }
done:
    return st;
}

static enum cask_status prepare(struct scoring *s, struct cask_error *err)
{
    size_t templates = (size_t)s->templates->count, dim = (size_t)s->templates->dim;
    size_t lines = (size_t)cask_lines_left(&s->lines) + 1;
    s->block = cask_alloc(BLOCK, sizeof *s->block);
    s->score = cask_alloc(BLOCK, sizeof *s->score);
    s->seen = cask_alloc(templates * (templates + 1) / 16 + 1, 1);
    s->empty = cask_alloc(templates, 1);
    s->scores->impostor = cask_alloc(lines, sizeof(double));
    if (s->block == NULL || s->score == NULL || s->seen == NULL || s->empty == NULL ||
        s->scores->impostor == NULL) {
        return cask_error_memory(err, lines * sizeof(double), "scores of pairs");
    }
    if (s->sides != NULL) {
        s->sides->impostor = cask_alloc(lines, sizeof *s->sides->impostor);
        if (s->sides->impostor == NULL) {
            return cask_error_memory(err, lines * sizeof *s->sides->impostor, "sides of pairs");
        }
    }
    for (size_t t = 0; t < templates; t++) {
        const double *row = s->templates->rows + t * dim;
        s->empty[t] = !(cask_dot(row, row, (int64_t)dim) > 0);
    }
    return CASK_OK;
}

void cask_ijb_sides_release(struct cask_ijb_sides *sides)
{
    cask_free(sides->genuine);
    cask_free(sides->impostor);
    *sides = (struct cask_ijb_sides){0};
}

enum cask_status cask_ijb_score(const struct cask_ijb *set, const char *pairs_path,
                                const struct cask_ijb_templates *templates, int threads,
                                struct cask_scores *scores, struct cask_ijb_pairs *found,
                                struct cask_ijb_sides *sides, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_pool *pool = NULL;
    struct scoring s = {
        .set = set, .templates = templates, .scores = scores, .found = found, .sides = sides};
    *scores = (struct cask_scores){0};
    *found = (struct cask_ijb_pairs){0};
    if (sides != NULL) {
        *sides = (struct cask_ijb_sides){0};
    }
    CASK_TRY(cask_lines_open(&s.lines, pairs_path, err));
    CASK_TRY(prepare(&s, err));
    CASK_TRY(cask_pool_create(threads > 0 ? threads : cask_cpu_count(), &pool, err));
    CASK_TRY(score_lines(&s, pool, err));
    if (found->pairs == 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "%s: expected pairs, found an empty list",
                                pairs_path));
    }
done:
    cask_pool_free(pool);
    cask_lines_close(&s.lines);
    cask_free(s.block);
    cask_free(s.score);
    cask_free(s.seen);
    cask_free(s.empty);
    if (st != CASK_OK) {
        cask_scores_release(scores);
    }
    return st;
}
