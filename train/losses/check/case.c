/* train/losses/check/case.c - reads one golden case. */
#include "train/losses/check/case.h"

#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"
#include "train/losses/check/options.h"

enum { MAX_BYTES = 1 << 30, MAX_SECTIONS = 80 };

const char *const case_input_names[CASE_INPUTS] = {
    "z_student", "z_teacher", "f_student", "f_teacher", "W", "W_teacher", "map"};

static enum cask_status read_matrix(const struct cask_json *json, const char *name,
                                    struct case_matrix *matrix, struct cask_error *err)
{
    const size_t rows = cask_json_size(json), columns = cask_json_size(cask_json_at(json, 0));
    if (rows == 0 || columns == 0) {
        return cask_error_set(err, CASK_ERR_FORMAT, "%s: expected rows of numbers", name);
    }
    matrix->rows = (int64_t)rows;
    matrix->columns = (int64_t)columns;
    matrix->values = cask_alloc(rows * columns, sizeof *matrix->values);
    if (matrix->values == NULL) {
        return cask_error_memory(err, rows * columns * sizeof *matrix->values, name);
    }
    for (size_t i = 0; i < rows; i++) {
        const struct cask_json *row = cask_json_at(json, i);
        if (cask_json_size(row) != columns) {
            return cask_error_set(err, CASK_ERR_FORMAT,
                                  "%s: row %zu has %zu numbers, the first has %zu", name, i,
                                  cask_json_size(row), columns);
        }
        for (size_t j = 0; j < columns; j++) {
            if (!cask_json_as_real(cask_json_at(row, j), &matrix->values[i * columns + j])) {
                return cask_error_set(err, CASK_ERR_FORMAT, "%s[%zu][%zu]: expected a number", name,
                                      i, j);
            }
        }
    }
    return CASK_OK;
}

static int input_named(const char *name)
{
    for (int i = 0; i < CASE_INPUTS; i++) {
        if (strcmp(case_input_names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

static enum cask_status read_matrices(const struct cask_json *object, const char *what,
                                      struct case_matrix matrices[CASE_INPUTS], bool labels,
                                      struct cask_error *err)
{
    const struct cask_json *value;
    const char *name;
    for (void *iter = cask_json_next(object, NULL, &name, &value); iter != NULL;
         iter = cask_json_next(object, iter, &name, &value)) {
        int input = input_named(name);
        if (labels && strcmp(name, "labels") == 0) {
            continue;
        }
        if (input < 0) {
            return cask_error_set(err, CASK_ERR_FORMAT, "%s.%s: not known", what, name);
        }
        if (read_matrix(value, name, &matrices[input], err) != CASK_OK) {
            return err->status;
        }
    }
    return CASK_OK;
}

static enum cask_status read_labels(struct check_case *check, const struct cask_json *list,
                                    struct cask_error *err)
{
    const struct case_matrix *student =
        check->inputs[INPUT_Z].values ? &check->inputs[INPUT_Z] : &check->inputs[INPUT_F];
    if (student->values == NULL || student->rows > 1 << 20) {
        return cask_error_set(err, CASK_ERR_FORMAT, "inputs: expected z_student or f_student");
    }
    check->batch = (int)student->rows;
    check->labels = cask_alloc((size_t)check->batch, sizeof *check->labels);
    if (check->labels == NULL) {
        return cask_error_memory(err, (size_t)check->batch * sizeof *check->labels, "labels");
    }
    if (cask_json_size(list) != (size_t)check->batch) {
        return cask_error_set(err, CASK_ERR_FORMAT, "inputs.labels: expected %d, found %zu",
                              check->batch, cask_json_size(list));
    }
    for (int i = 0; i < check->batch; i++) {
        int64_t label;
        if (!cask_json_as_int(cask_json_at(list, (size_t)i), &label) || label < 0 ||
            label >= UINT32_MAX) {
            return cask_error_set(err, CASK_ERR_FORMAT,
                                  "inputs.labels[%d]: expected a class number", i);
        }
        check->labels[i] = (uint32_t)label;
    }
    return CASK_OK;
}

static enum cask_status check_shapes(const struct check_case *check, struct cask_error *err)
{
    const struct case_matrix *m = check->inputs;
    const struct {
        enum case_input a, b;
        bool rows;
    } equal[] = {
        {INPUT_Z, INPUT_Z_TEACHER, true}, {INPUT_Z, INPUT_Z_TEACHER, false},
        {INPUT_F, INPUT_F_TEACHER, true}, {INPUT_F, INPUT_W, false},
        {INPUT_F, INPUT_MAP, false},      {INPUT_F_TEACHER, INPUT_W_TEACHER, false},
        {INPUT_W, INPUT_W_TEACHER, true},
    };
    for (size_t i = 0; i < sizeof equal / sizeof *equal; i++) {
        const struct case_matrix *a = &m[equal[i].a], *b = &m[equal[i].b];
        if (a->values != NULL && b->values != NULL &&
            (equal[i].rows ? a->rows != b->rows : a->columns != b->columns)) {
            return cask_error_set(
                err, CASK_ERR_FORMAT, "inputs: %s is %lld x %lld and %s is %lld x %lld",
                case_input_names[equal[i].a], (long long)a->rows, (long long)a->columns,
                case_input_names[equal[i].b], (long long)b->rows, (long long)b->columns);
        }
    }
    for (int i = 0; i < CASE_INPUTS; i++) {
        const struct case_matrix *known[2] = {&check->grad[i], &check->analytic[i]};
        for (int g = 0; g < 2; g++) {
            if (known[g]->values != NULL &&
                (known[g]->rows != m[i].rows || known[g]->columns != m[i].columns)) {
                return cask_error_set(err, CASK_ERR_FORMAT,
                                      "gradient of %s: not the shape of the input",
                                      case_input_names[i]);
            }
        }
    }
    return CASK_OK;
}

static enum cask_status open_settings(struct check_case *check, struct cask_error *err)
{
    struct cask_config_section sections[MAX_SECTIONS];
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_criterion_config_create(&check->settings, err));
    size_t count = cask_criterion_config_sections(check->settings, sections, MAX_SECTIONS);
    if (count > MAX_SECTIONS) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL, "%zu sections of settings, room for %d",
                                count, MAX_SECTIONS));
    }
    CASK_TRY(cask_config_create(sections, count, &check->config, err));
done:
    return st;
}

static enum cask_status read_case(struct check_case *check, struct cask_error *err)
{
    const char *name, *method;
    const struct cask_json *inputs = cask_json_get(check->json, "inputs");
    enum cask_status st = CASK_OK;
    if (!cask_json_as_text(cask_json_get(check->json, "name"), &name) ||
        !cask_json_as_text(cask_json_get(check->json, "method"), &method) ||
        !cask_json_as_real(cask_json_get(check->json, "loss"), &check->loss)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "expected name, method and loss"));
    }
    snprintf(check->name, sizeof check->name, "%s", name);
    CASK_TRY(open_settings(check, err));
    CASK_TRY(read_matrices(inputs, "inputs", check->inputs, true, err));
    CASK_TRY(read_labels(check, cask_json_get(inputs, "labels"), err));
    CASK_TRY(read_matrices(cask_json_get(check->json, "grad"), "grad", check->grad, false, err));
    CASK_TRY(read_matrices(cask_json_get(check->json, "grad_analytic"), "grad_analytic",
                           check->analytic, false, err));
    CASK_TRY(check_shapes(check, err));
    CASK_TRY(check_case_options(check, method, cask_json_get(check->json, "options"), err));
done:
    return st;
}

enum cask_status check_case_load(const char *path, struct check_case *out, struct cask_error *err)
{
    char *text = NULL;
    size_t bytes;
    enum cask_status st = CASK_OK;
    struct check_case check = {.weight = 1};
    CASK_TRY(cask_file_read_all(path, MAX_BYTES, &text, &bytes, err));
    CASK_TRY(cask_json_parse(text, bytes, &check.json, err));
    CASK_TRY(read_case(&check, err));
    *out = check;
    memset(&check, 0, sizeof check);
done:
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", path);
    }
    check_case_release(&check);
    cask_free(text);
    return st;
}

void check_case_release(struct check_case *check)
{
    for (int i = 0; i < CASE_INPUTS; i++) {
        cask_free(check->inputs[i].values);
        cask_free(check->grad[i].values);
        cask_free(check->analytic[i].values);
    }
    cask_free(check->labels);
    cask_free(check->triplets);
    cask_free(check->thresholds[0]);
    cask_free(check->thresholds[1]);
    cask_config_free(check->config);
    cask_criterion_config_free(check->settings);
    cask_json_free(check->json);
}
