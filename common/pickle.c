/* Reads opcodes and their operands; one row of `opcodes` each. Numbers and layouts are those of
 * Python's pickletools. */
#include "common/pickle.h"

#include <string.h>

#include "common/pickle_internal.h"

enum layout {
    NO_OPERAND,
    U8,
    U16, /* little endian, like everything but F64 */
    I32,
    U32,
    U64,
    F64,     /* big endian */
    TEXT_U8, /* a length of one byte, then that many bytes */
    TEXT_U32,
    TEXT_U64,
    TWO_LINES, /* a module and a name, each ended by a newline */
};

static const struct {
    const char *name; /* NULL: not allowed */
    enum layout layout;
    cask_pickle_step *step;
    int variant;
} opcodes[256] = {
    [0x80] = {"PROTO", U8, cask_pickle_op_proto, 0},
    [0x95] = {"FRAME", U64, cask_pickle_op_nothing, 0},
    ['.'] = {"STOP", NO_OPERAND, cask_pickle_op_stop, 0},
    ['('] = {"MARK", NO_OPERAND, cask_pickle_op_mark, 0},
    ['0'] = {"POP", NO_OPERAND, cask_pickle_op_pop, 0},

    ['q'] = {"BINPUT", U8, cask_pickle_op_put, 0},
    ['r'] = {"LONG_BINPUT", U32, cask_pickle_op_put, 0},
    [0x94] = {"MEMOIZE", NO_OPERAND, cask_pickle_op_memoize, 0},
    ['h'] = {"BINGET", U8, cask_pickle_op_get, 0},
    ['j'] = {"LONG_BINGET", U32, cask_pickle_op_get, 0},

    ['N'] = {"NONE", NO_OPERAND, cask_pickle_op_none, 0},
    [0x88] = {"NEWTRUE", NO_OPERAND, cask_pickle_op_bool, 1},
    [0x89] = {"NEWFALSE", NO_OPERAND, cask_pickle_op_bool, 0},
    ['J'] = {"BININT", I32, cask_pickle_op_int, 0},
    ['K'] = {"BININT1", U8, cask_pickle_op_int, 0},
    ['M'] = {"BININT2", U16, cask_pickle_op_int, 0},
    [0x8A] = {"LONG1", TEXT_U8, cask_pickle_op_long, 0},
    ['G'] = {"BINFLOAT", F64, cask_pickle_op_real, 0},
    ['T'] = {"BINSTRING", TEXT_U32, cask_pickle_op_text, CASK_PICKLE_BYTES},
    ['U'] = {"SHORT_BINSTRING", TEXT_U8, cask_pickle_op_text, CASK_PICKLE_BYTES},
    ['B'] = {"BINBYTES", TEXT_U32, cask_pickle_op_text, CASK_PICKLE_BYTES},
    ['C'] = {"SHORT_BINBYTES", TEXT_U8, cask_pickle_op_text, CASK_PICKLE_BYTES},
    [0x8E] = {"BINBYTES8", TEXT_U64, cask_pickle_op_text, CASK_PICKLE_BYTES},
    [0x96] = {"BYTEARRAY8", TEXT_U64, cask_pickle_op_text, CASK_PICKLE_BYTES},
    ['X'] = {"BINUNICODE", TEXT_U32, cask_pickle_op_text, CASK_PICKLE_TEXT},
    [0x8C] = {"SHORT_BINUNICODE", TEXT_U8, cask_pickle_op_text, CASK_PICKLE_TEXT},
    [0x8D] = {"BINUNICODE8", TEXT_U64, cask_pickle_op_text, CASK_PICKLE_TEXT},

    [')'] = {"EMPTY_TUPLE", NO_OPERAND, cask_pickle_op_empty, CASK_PICKLE_TUPLE},
    [']'] = {"EMPTY_LIST", NO_OPERAND, cask_pickle_op_empty, CASK_PICKLE_LIST},
    ['}'] = {"EMPTY_DICT", NO_OPERAND, cask_pickle_op_empty, CASK_PICKLE_DICT},
    [0x85] = {"TUPLE1", NO_OPERAND, cask_pickle_op_tuple, 1},
    [0x86] = {"TUPLE2", NO_OPERAND, cask_pickle_op_tuple, 2},
    [0x87] = {"TUPLE3", NO_OPERAND, cask_pickle_op_tuple, 3},
    ['t'] = {"TUPLE", NO_OPERAND, cask_pickle_op_marked, CASK_PICKLE_TUPLE},
    ['l'] = {"LIST", NO_OPERAND, cask_pickle_op_marked, CASK_PICKLE_LIST},
    ['a'] = {"APPEND", NO_OPERAND, cask_pickle_op_append, 0},
    ['e'] = {"APPENDS", NO_OPERAND, cask_pickle_op_appends, 0},
    ['s'] = {"SETITEM", NO_OPERAND, cask_pickle_op_setitem, 0},
    ['u'] = {"SETITEMS", NO_OPERAND, cask_pickle_op_setitems, 0},

    ['c'] = {"GLOBAL", TWO_LINES, cask_pickle_op_global, 0},
    [0x93] = {"STACK_GLOBAL", NO_OPERAND, cask_pickle_op_stack_global, 0},
    ['R'] = {"REDUCE", NO_OPERAND, cask_pickle_op_reduce, 0},
    [0x81] = {"NEWOBJ", NO_OPERAND, cask_pickle_op_reduce, 0},
    ['b'] = {"BUILD", NO_OPERAND, cask_pickle_op_build, 0},
    ['Q'] = {"BINPERSID", NO_OPERAND, cask_pickle_op_persid, 0},
};

static enum cask_status truncated(const struct cask_pickle_machine *m, uint64_t need,
                                  struct cask_error *err)
{
    return CASK_PICKLE_REFUSE(m, err, CASK_ERR_FORMAT,
                              "it needs %llu more bytes, %zu are left: the file is truncated or "
                              "damaged",
                              (unsigned long long)need, m->bytes - m->at);
}

static uint64_t little_endian(const uint8_t *data, int bytes)
{
    uint64_t number = 0;
    for (int i = bytes; i > 0; i--) {
        number = number << 8 | data[i - 1];
    }
    return number;
}

static enum cask_status read_text(struct cask_pickle_machine *m, int length_bytes,
                                  struct cask_pickle_operand *x, struct cask_error *err)
{
    if (m->bytes - m->at < (size_t)length_bytes) {
        return truncated(m, (uint64_t)length_bytes, err);
    }
    uint64_t length = little_endian(m->data + m->at, length_bytes);
    m->at += (size_t)length_bytes;
    if (m->bytes - m->at < length) {
        return truncated(m, length, err);
    }
    x->data = m->data + m->at;
    x->bytes = (size_t)length;
    m->at += (size_t)length;
    return CASK_OK;
}

static enum cask_status read_line(struct cask_pickle_machine *m, const uint8_t **line,
                                  size_t *bytes, struct cask_error *err)
{
    const uint8_t *start = m->data + m->at;
    const uint8_t *end = memchr(start, '\n', m->bytes - m->at);
    if (end == NULL) {
        return truncated(m, (uint64_t)(m->bytes - m->at) + 1, err);
    }
    *line = start;
    *bytes = (size_t)(end - start);
    m->at += *bytes + 1;
    return CASK_OK;
}

static enum cask_status read_operand(struct cask_pickle_machine *m, enum layout layout,
                                     struct cask_pickle_operand *x, struct cask_error *err)
{
    static const int widths[] = {
        [NO_OPERAND] = 0, [U8] = 1,      [U16] = 2,      [I32] = 4,      [U32] = 4,      [U64] = 8,
        [F64] = 8,        [TEXT_U8] = 1, [TEXT_U32] = 4, [TEXT_U64] = 8, [TWO_LINES] = 0};
    enum cask_status st = CASK_OK;
    if (layout == TEXT_U8 || layout == TEXT_U32 || layout == TEXT_U64) {
        CASK_TRY(read_text(m, widths[layout], x, err));
        goto done;
    }
    if (layout == TWO_LINES) {
        CASK_TRY(read_line(m, &x->data, &x->bytes, err));
        CASK_TRY(read_line(m, &x->second, &x->second_bytes, err));
        goto done;
    }
    if (m->bytes - m->at < (size_t)widths[layout]) {
        CASK_TRY(truncated(m, (uint64_t)widths[layout], err));
    }
    x->number = little_endian(m->data + m->at, widths[layout]);
    m->at += (size_t)widths[layout];
    if (layout == I32) {
        x->number = (uint64_t)(int64_t)(int32_t)x->number;
    } else if (layout == F64) {
        x->number = __builtin_bswap64(x->number);
    }
done:
    return st;
}

static enum cask_status run(struct cask_pickle_machine *m, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    while (!m->stopped) {
        m->offset = m->options->base + m->at;
        m->opcode = "";
        if (m->at == m->bytes) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                    "pickle: ends at byte %zu without STOP: the file is truncated",
                                    m->offset));
        }
        uint8_t code = m->data[m->at++];
        m->opcode = opcodes[code].name;
        if (m->opcode == NULL) {
            CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                    "pickle opcode 0x%02X at byte %zu: not allowed; plain tensors "
                                    "and arrays do not need it",
                                    code, m->offset));
        }
        struct cask_pickle_operand x = {.variant = opcodes[code].variant};
        CASK_TRY(read_operand(m, opcodes[code].layout, &x, err));
        CASK_TRY(opcodes[code].step(m, &x, err));
        m->steps++;
    }
done:
    return st;
}

enum cask_status cask_pickle_parse(const uint8_t *data, size_t bytes,
                                   const struct cask_pickle_options *options,
                                   struct cask_pickle **pickle, size_t *used,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_pickle_machine m = {.data = data, .bytes = bytes, .options = options};
    m.pickle = cask_alloc(1, sizeof *m.pickle);
    if (m.pickle == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *m.pickle, "a pickle"));
    }
    cask_arena_init(&m.pickle->arena);
    CASK_TRY(run(&m, err));
    CASK_TRY(cask_pickle_check(m.pickle, err));
    if (used != NULL) {
        *used = m.at;
    }
    *pickle = m.pickle;
    m.pickle = NULL;
done:
    cask_pickle_free(m.pickle);
    cask_free(m.stack);
    cask_free(m.memo);
    return st;
}
