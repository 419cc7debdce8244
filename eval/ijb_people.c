/* eval/ijb_people.c - the CSV lists of 1:N search: which template shows whom. */
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "eval/ijb.h"

enum { MOST_FIELDS = 64 };

struct row {
    int64_t subject, line;
    uint32_t template_index;
};

static int by_template(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->template_index != y->template_index) {
        return x->template_index < y->template_index ? -1 : 1;
    }
    return x->line < y->line ? -1 : x->line > y->line;
}

static int by_subject(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->subject != y->subject) {
        return x->subject < y->subject ? -1 : 1;
    }
    return x->line < y->line ? -1 : x->line > y->line;
}

/* The columns by their names in the header; -1 where there is none. */
static int find_column(const struct cask_slice *fields, int count, const char *name)
{
    for (int i = 0; i < count && i < MOST_FIELDS; i++) {
        if (cask_slice_equal(fields[i], cask_slice_of(name))) {
            return i;
        }
    }
    return -1;
}

static enum cask_status read_header(struct cask_lines *lines, int *template_column,
                                    int *subject_column, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_slice line, fields[MOST_FIELDS];
    int64_t number;
    CASK_TRY(cask_lines_next(lines, &line, err));
    int count = line.data != NULL ? cask_slice_fields(line, ',', fields, MOST_FIELDS) : 0;
    if (count < 2 || cask_slice_int(fields[0], 0, INT32_MAX, &number)) {
        CASK_TRY(cask_lines_refuse(lines, line,
                                   "a header row such as \"TEMPLATE_ID,SUBJECT_ID,...\"", err));
    }
    *template_column = find_column(fields, count, "TEMPLATE_ID");
    *subject_column = find_column(fields, count, "SUBJECT_ID");
    if (*template_column < 0 || *subject_column < 0) { /* the public scripts' places */
        *template_column = 0;
        *subject_column = 1;
    }
done:
    return st;
}

static enum cask_status read_rows(const struct cask_ijb *set, struct cask_lines *lines,
                                  struct row *rows, int64_t *count, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_slice line, fields[MOST_FIELDS];
    int64_t id, subject, missing = 0, missing_id = 0, missing_line = 0;
    int template_column, subject_column;
    CASK_TRY(read_header(lines, &template_column, &subject_column, err));
    for (;;) {
        CASK_TRY(cask_lines_next(lines, &line, err));
        if (line.data == NULL) {
            break;
        }
        int found = cask_slice_fields(line, ',', fields, MOST_FIELDS);
        if (template_column >= found || subject_column >= found ||
            !cask_slice_int(fields[template_column], 0, INT32_MAX, &id) ||
            !cask_slice_int(fields[subject_column], 0, INT32_MAX, &subject)) {
            CASK_TRY(cask_lines_refuse(lines, line, "a template id and a subject id", err));
        }
        int64_t index = cask_ijb_find_template(set, id);
        if (index < 0) {
            missing_id = missing == 0 ? id : missing_id;
            missing_line = missing == 0 ? lines->number : missing_line;
            missing++;
            continue;
        }
        rows[(*count)++] = (struct row){subject, lines->number, (uint32_t)index};
    }
    if (missing > 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                "%s:%lld: expected a template of the list of images, found %lld, "
                                "which it does not name; %lld row(s) name such templates",
                                lines->path, (long long)missing_line, (long long)missing_id,
                                (long long)missing));
    }
    if (*count == 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "%s: expected templates, found none",
                                lines->path));
    }
done:
    return st;
}

/* One row a template; two subjects in one template would make "mate" meaningless. */
static enum cask_status make_unique(const struct cask_ijb *set, const char *path, struct row *rows,
                                    int64_t *count, struct cask_error *err)
{
    int64_t kept = 0;
    qsort(rows, (size_t)*count, sizeof *rows, by_template);
    for (int64_t i = 0; i < *count; i++) {
        const struct row *last = kept > 0 ? &rows[kept - 1] : NULL;
        if (last == NULL || last->template_index != rows[i].template_index) {
            rows[kept++] = rows[i];
        } else if (last->subject != rows[i].subject) {
            return cask_error_set(err, CASK_ERR_MISMATCH,
                                  "%s:%lld: expected subject %lld of template %lld, as in line "
                                  "%lld, found subject %lld",
                                  path, (long long)rows[i].line, (long long)last->subject,
                                  (long long)set->template_id[last->template_index],
                                  (long long)last->line, (long long)rows[i].subject);
        }
    }
    *count = kept;
    return CASK_OK;
}

static enum cask_status check_one_each(const char *path, struct row *rows, int64_t count,
                                       struct cask_error *err)
{
    qsort(rows, (size_t)count, sizeof *rows, by_subject);
    for (int64_t i = 1; i < count; i++) {
        if (rows[i].subject == rows[i - 1].subject) {
            return cask_error_set(err, CASK_ERR_MISMATCH,
                                  "%s:%lld: expected one template of each subject in a gallery, "
                                  "found another of subject %lld, first in line %lld",
                                  path, (long long)rows[i].line, (long long)rows[i].subject,
                                  (long long)rows[i - 1].line);
        }
    }
    qsort(rows, (size_t)count, sizeof *rows, by_template);
    return CASK_OK;
}

enum cask_status cask_ijb_people_read(const struct cask_ijb *set, const char *path, bool one_each,
                                      struct cask_ijb_people *people, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_lines lines = {0};
    struct row *rows = NULL;
    *people = (struct cask_ijb_people){0};
    CASK_TRY(cask_lines_open(&lines, path, err));
    size_t most = (size_t)cask_lines_left(&lines) + 1;
    rows = cask_alloc(most, sizeof *rows);
    if (rows == NULL) {
        CASK_TRY(cask_error_memory(err, most * sizeof *rows, path));
    }
    CASK_TRY(read_rows(set, &lines, rows, &people->count, err));
    CASK_TRY(make_unique(set, path, rows, &people->count, err));
    if (one_each) {
        CASK_TRY(check_one_each(path, rows, people->count, err));
    }
    people->template_index = cask_alloc((size_t)people->count, sizeof *people->template_index);
    people->subject = cask_alloc((size_t)people->count, sizeof *people->subject);
    if (people->template_index == NULL || people->subject == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)people->count * 12, path));
    }
    for (int64_t i = 0; i < people->count; i++) {
        people->template_index[i] = rows[i].template_index;
        people->subject[i] = rows[i].subject;
    }
done:
    cask_free(rows);
    cask_lines_close(&lines);
    if (st != CASK_OK) {
        cask_ijb_people_release(people);
    }
    return st;
}

void cask_ijb_people_release(struct cask_ijb_people *people)
{
    cask_free(people->template_index);
    cask_free(people->subject);
    *people = (struct cask_ijb_people){0};
}
