/* common/pickle_internal.h - shared by pickle.c (reads opcodes), pickle_ops.c (what each does to
 * the stack) and pickle_value.c (the tree that results). */
#ifndef CASK_COMMON_PICKLE_INTERNAL_H
#define CASK_COMMON_PICKLE_INTERNAL_H

#include "common/mem.h"
#include "common/pickle.h"

/* --- the tree --- */

struct cask_pickle {
    struct cask_arena arena; /* every value and every item array */
    const struct cask_pickle_value *root, *first_unknown, *first_persistent;
    struct cask_pickle_value *last_persistent;
};

/* A new value in the pickle's arena; NULL: out of memory, or over CASK_PICKLE_MEMORY. */
struct cask_pickle_value *cask_pickle_new(struct cask_pickle *pickle, enum cask_pickle_kind kind,
                                          size_t offset);
/* Appends to a TUPLE, LIST or DICT; false: as above. */
bool cask_pickle_append(struct cask_pickle *pickle, struct cask_pickle_value *list,
                        const struct cask_pickle_value *const *items, size_t count);
/* Code points below 256 become bytes; CASK_ERR_FORMAT for anything else. */
enum cask_status cask_pickle_latin1(struct cask_pickle *pickle,
                                    const struct cask_pickle_value *text,
                                    struct cask_pickle_value *bytes, struct cask_error *err);
/* Refuses values that contain themselves and trees higher than CASK_PICKLE_DEPTH. Unknown calls are
 * leaves: nobody looks inside. */
enum cask_status cask_pickle_check(const struct cask_pickle *pickle, struct cask_error *err);

/* An object of a class that is not known. */
bool cask_pickle_is_unknown(const struct cask_pickle_value *value);

/* --- the machine --- */

struct cask_pickle_machine {
    const uint8_t *data;
    size_t bytes, at;
    const struct cask_pickle_options *options;
    struct cask_pickle *pickle;
    const struct cask_pickle_value **stack; /* NULL entries are marks */
    size_t stack_count, stack_capacity;
    const struct cask_pickle_value **memo; /* NULL entries are empty slots */
    size_t memo_capacity, memo_used;
    size_t steps;       /* opcodes run so far */
    const char *opcode; /* the present one, */
    size_t offset;      /* and where it lies in the file */
    bool stopped;
};

struct cask_pickle_operand {
    uint64_t number; /* integers (sign-extended) and the bits of a float */
    const uint8_t *data;
    size_t bytes;
    const uint8_t *second; /* GLOBAL's name, with its module in `data` */
    size_t second_bytes;
    int variant; /* from the opcode's row: a kind, a count or a truth value */
};

typedef enum cask_status cask_pickle_step(struct cask_pickle_machine *m,
                                          const struct cask_pickle_operand *x,
                                          struct cask_error *err);

enum cask_status cask_pickle_push(struct cask_pickle_machine *m,
                                  const struct cask_pickle_value *value, struct cask_error *err);
enum cask_status cask_pickle_pop(struct cask_pickle_machine *m, struct cask_pickle_value **value,
                                 struct cask_error *err);
enum cask_status cask_pickle_top(struct cask_pickle_machine *m, struct cask_pickle_value **value,
                                 struct cask_error *err);

cask_pickle_step cask_pickle_op_nothing, cask_pickle_op_proto, cask_pickle_op_stop,
    cask_pickle_op_mark, cask_pickle_op_pop, cask_pickle_op_put, cask_pickle_op_memoize,
    cask_pickle_op_get, cask_pickle_op_none, cask_pickle_op_bool, cask_pickle_op_int,
    cask_pickle_op_long, cask_pickle_op_real, cask_pickle_op_text, cask_pickle_op_empty,
    cask_pickle_op_tuple, cask_pickle_op_marked, cask_pickle_op_append, cask_pickle_op_appends,
    cask_pickle_op_setitem, cask_pickle_op_setitems, cask_pickle_op_global,
    cask_pickle_op_stack_global, cask_pickle_op_reduce, cask_pickle_op_build, cask_pickle_op_persid;

/* "pickle opcode NAME at byte N: ..." */
#define CASK_PICKLE_REFUSE(m, err, status, format, ...)                                            \
    cask_error_set(err, status, "pickle opcode %s at byte %zu: " format, (m)->opcode, (m)->offset, \
                   __VA_ARGS__)

#endif
