/* tests/support/ops/case.c - from a line of text to operands and their values. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/rng.h"
#include "tests/support/ops/op.h"

static enum cask_status parse_word(const char *from, size_t bytes, struct op_word *word,
                                   const char *text, struct cask_error *err)
{
    size_t letters = 0;
    while (letters < bytes && !isdigit((unsigned char)from[letters])) {
        letters++;
    }
    /* The family's own digits (l2norm) belong to its name. */
    bool number = letters < bytes && from != text;
    if (!number) {
        letters = bytes;
    }
    if (letters == 0 || letters >= sizeof word->name) {
        return cask_error_set(err, CASK_ERR_USAGE, "case \"%s\": cannot read the word at \"%s\"",
                              text, from);
    }
    memcpy(word->name, from, letters);
    word->name[letters] = '\0';
    word->value = number ? strtol(from + letters, NULL, 10) : -1;
    word->read = false;
    return CASK_OK;
}

enum cask_status op_case_parse(const char *text, struct op_case *parsed, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const char *at = text;
    parsed->text = text;
    parsed->count = 0;
    while (*at != '\0') {
        size_t bytes = strcspn(at, " ");
        if (parsed->count == OP_WORDS) {
            CASK_TRY(cask_error_set(err, CASK_ERR_USAGE, "case \"%s\": too many words", text));
        }
        CASK_TRY(parse_word(at, bytes, &parsed->words[parsed->count], text, err));
        parsed->count++;
        at += bytes + strspn(at + bytes, " ");
    }
done:
    return st;
}

static struct op_word *find_word(struct op_case *parsed, const char *name, bool flag)
{
    for (int i = 1; i < parsed->count; i++) {
        struct op_word *word = &parsed->words[i];
        if (strcmp(word->name, name) == 0 && (word->value < 0) == flag) {
            word->read = true;
            return word;
        }
    }
    return NULL;
}

int op_number(struct op_case *parsed, const char *name, int otherwise)
{
    const struct op_word *word = find_word(parsed, name, false);
    return word ? (int)word->value : otherwise;
}

bool op_flag(struct op_case *parsed, const char *name)
{
    return find_word(parsed, name, true) != NULL;
}

enum cask_status op_spec_build(struct op_case *parsed, const struct op_family **family,
                               struct op_spec *spec, struct cask_error *err)
{
    *family = NULL;
    for (int i = 0; op_families[i] != NULL; i++) {
        if (strcmp(op_families[i]->name, parsed->words[0].name) == 0) {
            *family = op_families[i];
        }
    }
    if (*family == NULL) {
        return cask_error_set(err, CASK_ERR_USAGE, "case \"%s\": no such family", parsed->text);
    }
    memset(spec, 0, sizeof *spec);
    (*family)->declare(parsed, spec);
    for (int i = 1; i < parsed->count; i++) {
        if (!parsed->words[i].read) {
            return cask_error_set(err, CASK_ERR_USAGE, "case \"%s\": nothing reads \"%s\"",
                                  parsed->text, parsed->words[i].name);
        }
    }
    return CASK_OK;
}

struct op_operand *op_declare(struct op_spec *spec, int index, const char *name, enum op_role role,
                              enum op_type type, int n, int h, int w, int c)
{
    struct op_operand *operand = &spec->operands[index];
    operand->name = name;
    operand->role = role;
    operand->type = type;
    operand->n = n;
    operand->h = h;
    operand->w = w;
    operand->c = c;
    spec->count = index >= spec->count ? index + 1 : spec->count;
    return operand;
}

struct op_operand *op_declare_like(struct op_spec *spec, int index, const char *name,
                                   enum op_role role, int of)
{
    const struct op_operand *model = &spec->operands[of];
    struct op_operand *operand =
        op_declare(spec, index, name, role, model->type, model->n, model->h, model->w, model->c);
    operand->of = of;
    return operand;
}

/* An index that was not declared has no elements. */
size_t op_count(const struct op_operand *o)
{
    return (size_t)o->n * (size_t)o->h * (size_t)o->w * (size_t)o->c;
}

int op_find(const struct op_spec *spec, const char *name)
{
    for (int i = 0; i < spec->count; i++) {
        if (spec->operands[i].name != NULL && strcmp(spec->operands[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

enum cask_status op_values_alloc(const struct op_spec *spec, struct op_values *values,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    memset(values, 0, sizeof *values);
    for (int i = 0; i < spec->count; i++) {
        size_t count = op_count(&spec->operands[i]);
        if (count > 0) {
            values->of[i] = cask_alloc(count, sizeof(double));
            if (values->of[i] == NULL) {
                CASK_TRY(cask_error_memory(err, count * sizeof(double), "test values"));
            }
        }
    }
done:
    return st;
}

void op_values_free(struct op_values *values)
{
    for (int i = 0; i < OP_OPERANDS; i++) {
        cask_free(values->of[i]);
        values->of[i] = NULL;
    }
}

/* FNV-1a */
static uint64_t seed_of(const char *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    }
    return hash;
}

/* To the nearest number with eight significant bits: a bf16 (exponents here are never extreme). */
static double round_to_bf16(double value)
{
    int exponent;
    double fraction = frexp(value, &exponent);
    return ldexp(nearbyint(ldexp(fraction, 8)), exponent - 8);
}

static double away_from_kinks(double value)
{
    static const double kinks[] = {-3, 0, 3};
    for (int i = 0; i < 3; i++) {
        if (fabs(value - kinks[i]) < 0.03125) {
            return value + 0.0625;
        }
    }
    return value;
}

static double draw(const struct op_operand *o, enum op_fill fill, double uniform)
{
    double low = o->low, high = o->high;
    if (fill == OP_FILL_INTEGER && o->type != OP_LABELS) {
        return floor(uniform * 7) - 3;
    }
    if (low == 0 && high == 0) {
        low = -1;
        high = 1;
    }
    double value = low + uniform * (high - low);
    return o->type == OP_LABELS ? floor(value) : o->kinked ? away_from_kinks(value) : value;
}

void op_values_fill(const struct op_case *parsed, const struct op_spec *spec, enum op_fill fill,
                    bool bf16, struct op_values *values)
{
    uint64_t seed = seed_of(parsed->text);
    for (int i = 0; i < spec->count; i++) {
        const struct op_operand *o = &spec->operands[i];
        bool rounded = bf16 && (o->type == OP_ACTIVATION || o->packed);
        for (size_t j = 0; j < op_count(o); j++) {
            double value = draw(o, fill, cask_rng_uniform(seed, (uint64_t)i, j));
            values->of[i][j] = rounded ? round_to_bf16(value) : (double)(float)value;
        }
    }
}

/* The last channel of the first pixel: a lane that vector code treats on its own. */
void op_values_poison(const struct op_spec *spec, int index, struct op_values *values)
{
    const struct op_operand *o = &spec->operands[index];
    values->of[index][o->padded ? 0 : o->c - 1] = NAN;
}
