/* tests/support/ops/check.c - what tests/ops asks of one case.
 *
 * Against ref64, in two fills: real numbers within a bound, small integers bit by bit. Then that a
 * repetition and a second thread give the same bits, that a NaN is not lost, and that the case
 * says something (not nearly all zeros).
 *
 * The bound. One fp32 rounding is at most 2^-24 of the value. A sum of L terms in any order makes L
 * of them, of random sign, so its error grows as sqrt(L); measured against the largest element of
 * the result, (4 + sqrt(L)) * 2^-23 leaves about a factor of ten. A result kept in bf16 (8 bits)
 * may be rounded twice more, 2^-9 each, and once more where it is added to another: 2^-7 in all.
 */
#include <math.h>
#include <string.h>

#include "tests/support/ops/op.h"

enum { LARGE = 20000 }; /* elements of a case whose NaN checks are cut short */

static double bound(const struct op_operand *o, enum cask_dtype dtype, bool bf16, double largest)
{
    double length = o->length > 0 ? o->length : 1, gain = o->gain > 0 ? o->gain : 1;
    double sum = (4 + sqrt(length)) * gain * 0x1p-23, coarse = o->coarse > 0 ? o->coarse : 1;
    bool rounded = dtype == CASK_BF16 || (bf16 && o->coarse > 0);
    return (sum + (rounded ? 0x1p-7 * coarse : 0)) * largest;
}

/* Infinite and NaN elements do not count: they are compared by kind. */
static double largest_of(const double *values, size_t count)
{
    double largest = 0;
    for (size_t j = 0; j < count; j++) {
        largest = isfinite(values[j]) ? fmax(largest, fabs(values[j])) : largest;
    }
    return largest;
}

static enum cask_status compare(const struct op_operand *o, const char *pass, const double *want,
                                const double *got, double allowed, struct cask_error *err)
{
    for (size_t j = 0; j < op_count(o); j++) {
        if (o->padded && isnan(want[j]) && isnan(got[j])) {
            continue; /* a gap between two rows, still untouched */
        }
        if (!(fabs(got[j] - want[j]) <= allowed)) {
            return cask_error_set(err, CASK_ERR_MISMATCH,
                                  "%s%s[%zu of %zu] is %.9g, expected %.9g within %.3g", o->name,
                                  pass, j, op_count(o), got[j], want[j], allowed);
        }
    }
    return CASK_OK;
}

/* More than 90 % zeros in what the op contributed: the case would pass on a kernel that does
 * nothing. Few elements say nothing about their share. */
static enum cask_status refuse_vacuous(const struct op_operand *o, const double *want,
                                       const double *start, struct cask_error *err)
{
    size_t zeros = 0;
    for (size_t j = 0; j < op_count(o); j++) {
        zeros += want[j] - (o->role == OP_PARAM_GRAD ? start[j] : 0) == 0;
    }
    if (op_count(o) >= 8 && zeros * 10 > op_count(o) * 9) {
        return cask_error_set(err, CASK_ERR_MISMATCH, "vacuous: %zu of %zu elements of %s are zero",
                              zeros, op_count(o), o->name);
    }
    return CASK_OK;
}

struct check {
    struct op_case parsed;
    const struct op_family *family;
    struct op_spec spec;
    struct op_values fed, want[2], got[2], again[2]; /* [0] first pass, [1] second */
    bool bf16, any_threads;
    enum cask_dtype dtypes[OP_OPERANDS]; /* on the tested device */
};

static enum cask_status check_open(struct check *c, const struct op_devices *devices,
                                   const char *text, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    c->bf16 = cask_device_activation_dtype(devices->tested) == CASK_BF16;
    CASK_TRY(op_case_parse(text, &c->parsed, err));
    CASK_TRY(op_spec_build(&c->parsed, &c->family, &c->spec, err));
    CASK_TRY(op_values_alloc(&c->spec, &c->fed, err));
    for (int pass = 0; pass < 2; pass++) {
        CASK_TRY(op_values_alloc(&c->spec, &c->want[pass], err));
        CASK_TRY(op_values_alloc(&c->spec, &c->got[pass], err));
        CASK_TRY(op_values_alloc(&c->spec, &c->again[pass], err));
    }
done:
    return st;
}

static void check_release(struct check *c)
{
    op_values_free(&c->fed);
    for (int pass = 0; pass < 2; pass++) {
        op_values_free(&c->want[pass]);
        op_values_free(&c->got[pass]);
        op_values_free(&c->again[pass]);
    }
}

static enum cask_status execute(struct check *c, struct cask_device *device,
                                struct op_values results[2], bool backward, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct op_run run = {0};
    CASK_TRY(op_run_open(&run, device, &c->parsed, c->family, &c->spec, err));
    CASK_TRY(op_execute(&run, &c->fed, &results[0], backward ? &results[1] : NULL, err));
    c->any_threads = run.any_threads;
    for (int i = 0; i < c->spec.count; i++) {
        c->dtypes[i] = run.buffers[i].dtype;
    }
done:
    op_run_close(&run);
    return st;
}

static bool is_result(const struct op_operand *o, int pass)
{
    bool gradient = o->role == OP_DATA_GRAD || o->role == OP_PARAM_GRAD;
    bool forward = o->role == OP_OUTPUT || o->role == OP_STATE;
    return o->name != NULL && (gradient || (forward && pass == 0));
}

static enum cask_status check_values(struct check *c, bool exact, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int passes = c->family->backward && !c->family->once ? 2 : 1;
    for (int pass = 0; pass < passes; pass++) {
        for (int i = 0; i < c->spec.count; i++) {
            const struct op_operand *o = &c->spec.operands[i];
            const double *want = c->want[pass].of[i];
            if (!is_result(o, pass)) {
                continue;
            }
            double largest = largest_of(want, op_count(o));
            CASK_TRY(compare(o, pass == 0 ? "" : " (second backward)", want, c->got[pass].of[i],
                             exact ? 0 : bound(o, c->dtypes[i], c->bf16, largest), err));
            if (!exact && pass == 0) {
                CASK_TRY(refuse_vacuous(o, want, c->fed.of[i], err));
            }
        }
    }
done:
    if (st != CASK_OK && exact) {
        cask_error_prefix(err, "small integers");
    }
    return st;
}

static enum cask_status check_bits(struct check *c, const char *what, struct cask_error *err)
{
    for (int i = 0; i < c->spec.count; i++) {
        const struct op_operand *o = &c->spec.operands[i];
        for (int pass = 0; pass < 2; pass++) {
            if (is_result(o, pass) && memcmp(c->got[pass].of[i], c->again[pass].of[i],
                                             op_count(o) * sizeof(double)) != 0) {
                return cask_error_set(err, CASK_ERR_MISMATCH, "%s gives other bits in %s", what,
                                      o->name);
            }
        }
    }
    return CASK_OK;
}

/* Where the oracle has a NaN, the tested one must: losing a NaN hides a broken run. */
static enum cask_status compare_nan(const struct check *c, bool backward, size_t *found,
                                    struct cask_error *err)
{
    *found = 0;
    for (int i = 0; i < c->spec.count; i++) {
        const struct op_operand *o = &c->spec.operands[i];
        bool gradient = o->role == OP_DATA_GRAD || o->role == OP_PARAM_GRAD;
        for (size_t j = 0; is_result(o, 0) && gradient == backward && j < op_count(o); j++) {
            bool wanted = isnan(c->want[0].of[i][j]);
            *found += wanted;
            if (wanted && !isnan(c->got[0].of[i][j])) {
                return cask_error_set(err, CASK_ERR_MISMATCH, "NaN is lost in %s[%zu]: found %g",
                                      o->name, j, c->got[0].of[i][j]);
            }
        }
    }
    return CASK_OK;
}

static enum cask_status check_nan(struct check *c, const struct op_devices *devices, int index,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool backward = c->spec.operands[index].role == OP_COTANGENT;
    size_t found = 0;
    op_values_fill(&c->parsed, &c->spec, OP_FILL_REAL, c->bf16, &c->fed);
    op_values_poison(&c->spec, index, &c->fed);
    CASK_TRY(execute(c, devices->oracle, c->want, backward, err));
    CASK_TRY(execute(c, devices->tested, c->got, backward, err));
    CASK_TRY(compare_nan(c, backward, &found, err));
    if (found == 0 && index == 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH, "no output depends on it"));
    }
done:
    if (st != CASK_OK) {
        cask_error_prefix(err, "with a NaN in %s", c->spec.operands[index].name);
    }
    return st;
}

/* A NaN in each operand that is read; in the first one only, where the case is large. */
static enum cask_status check_nans(struct check *c, const struct op_devices *devices,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t elements = 0;
    for (int i = 0; i < c->spec.count; i++) {
        elements += op_count(&c->spec.operands[i]);
    }
    for (int i = 0; i < (elements <= LARGE ? c->spec.count : 1); i++) {
        const struct op_operand *o = &c->spec.operands[i];
        bool read = o->role == OP_INPUT || o->role == OP_STATE || o->role == OP_COTANGENT;
        if (o->name != NULL && read && o->type != OP_LABELS) {
            CASK_TRY(check_nan(c, devices, i, err));
        }
    }
done:
    return st;
}

static enum cask_status check_all(struct check *c, const struct op_devices *devices,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    op_values_fill(&c->parsed, &c->spec, OP_FILL_REAL, c->bf16, &c->fed);
    CASK_TRY(execute(c, devices->oracle, c->want, true, err));
    CASK_TRY(execute(c, devices->tested, c->got, true, err));
    CASK_TRY(check_values(c, false, err));
    CASK_TRY(execute(c, devices->tested, c->again, true, err));
    CASK_TRY(check_bits(c, "a repetition", err));
    if (devices->threaded != NULL) {
        CASK_TRY(execute(c, devices->threaded, c->again, true, err));
        CASK_TRY(c->any_threads ? check_bits(c, "a second thread", err) : CASK_OK);
    }

    if (c->family->exact && !c->bf16) {
        op_values_fill(&c->parsed, &c->spec, OP_FILL_INTEGER, false, &c->fed);
        CASK_TRY(execute(c, devices->oracle, c->want, true, err));
        CASK_TRY(execute(c, devices->tested, c->got, true, err));
        CASK_TRY(check_values(c, true, err));
    }

    CASK_TRY(check_nans(c, devices, err));
done:
    return st;
}

enum cask_status op_check(const struct op_devices *devices, const char *text,
                          struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct check c = {0};
    CASK_TRY(check_open(&c, devices, text, err));
    if (c.bf16 && c.spec.fp32_only) {
        goto done;
    }
    CASK_TRY(check_all(&c, devices, err));
done:
    check_release(&c);
    return st;
}
