/* common/pickle.h - reads Python pickles without being Python.
 *
 * A pickle is a program for a small stack machine. This machine runs the part of it that plain data
 * needs and builds a tree of values; it imports nothing and calls nothing. Where Python would call
 * a class, the tree holds a CALL: which global, with which arguments, and the state BUILD gave it.
 * What a call means is for the reader of the tree to know (a tensor, a numpy array) or to refuse.
 *
 * Strings and bytes borrow the input, which must outlive the pickle. Memory is bounded by
 * CASK_PICKLE_MEMORY, nesting by CASK_PICKLE_DEPTH; a value that contains itself is refused. Every
 * refusal names opcode and byte offset, and the global if there is one. Thread rule: one pickle,
 * one thread.
 */
#ifndef CASK_COMMON_PICKLE_H
#define CASK_COMMON_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

enum { CASK_PICKLE_DEPTH = 64, CASK_PICKLE_MEMORY = 1 << 30 };

enum cask_pickle_kind {
    CASK_PICKLE_NONE,
    CASK_PICKLE_BOOL,
    CASK_PICKLE_INT,
    CASK_PICKLE_LONG, /* an integer over 64 bits: little-endian two's complement in `text` */
    CASK_PICKLE_REAL,
    CASK_PICKLE_BYTES, /* bytes, bytearray and Python 2 str */
    CASK_PICKLE_TEXT,  /* UTF-8, not checked */
    CASK_PICKLE_TUPLE,
    CASK_PICKLE_LIST,
    CASK_PICKLE_DICT, /* also OrderedDict */
    CASK_PICKLE_GLOBAL,
    CASK_PICKLE_CALL,
    CASK_PICKLE_PERSISTENT, /* a persistent id; what it names is the caller's */
};

/* What a global means. The caller's own meanings are 0 and up; these are built in. */
enum {
    CASK_PICKLE_UNKNOWN = -1,      /* not in the caller's table; only with `tolerant` */
    CASK_PICKLE_MAKES_DICT = -2,   /* a call gives a DICT: collections.OrderedDict */
    CASK_PICKLE_MAKES_LATIN1 = -3, /* a call with (text, "latin1") gives BYTES: _codecs.encode */
};

struct cask_pickle_global {
    const char *module, *name;
    int meaning;
};

struct cask_pickle_value {
    enum cask_pickle_kind kind;
    int height;    /* of the tree below it; private to the machine */
    size_t offset; /* of the opcode that made it */
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct {
            const uint8_t *data; /* no NUL at the end */
            size_t bytes;
        } text; /* LONG, BYTES, TEXT */
        struct {
            const struct cask_pickle_value **items; /* DICT: key, value, key, value, ... */
            size_t count, capacity;                 /* of items: a dict of n entries has 2n */
        } list;                                     /* TUPLE, LIST, DICT */
        struct {
            const char *module, *name; /* owned by the pickle */
            int meaning;
        } global;
        struct {
            const struct cask_pickle_value *callee; /* a GLOBAL; if tolerant also a PERSISTENT */
            const struct cask_pickle_value *args;   /* a TUPLE */
            const struct cask_pickle_value *state;  /* what BUILD gave, or NULL */
        } call;
        struct {
            const struct cask_pickle_value *id;
            const struct cask_pickle_value *next; /* made after it; see below */
        } persistent;
    };
};

struct cask_pickle_options {
    const struct cask_pickle_global *globals; /* what is known */
    size_t global_count;
    bool tolerant;   /* unknown globals become UNKNOWN values instead of an error */
    bool persistent; /* persistent ids may occur */
    size_t base;     /* offset of the pickle in its file, added to offsets in messages and values */
};

struct cask_pickle;

/* Runs one pickle at the start of `data`, up to its STOP. Bytes after it are not looked at: `used`
 * (may be NULL) gets the length, so that a sequence of pickles can be read. CASK_ERR_FORMAT:
 * damaged or truncated. CASK_ERR_UNSUPPORTED: an opcode or global that is not allowed. */
enum cask_status cask_pickle_parse(const uint8_t *data, size_t bytes,
                                   const struct cask_pickle_options *options,
                                   struct cask_pickle **pickle, size_t *used,
                                   struct cask_error *err);
void cask_pickle_free(struct cask_pickle *pickle); /* accepts NULL; all its values go with it */
const struct cask_pickle_value *cask_pickle_root(const struct cask_pickle *pickle);
/* The first global that was not known, or NULL. Only with `tolerant`. */
const struct cask_pickle_value *cask_pickle_first_unknown(const struct cask_pickle *pickle);

/* All persistent ids in the order they were met, also those inside unknown objects: starts with
 * NULL, ends with NULL. */
const struct cask_pickle_value *cask_pickle_next_persistent(
    const struct cask_pickle *pickle, const struct cask_pickle_value *previous);

/* The getters accept NULL values and give false / NULL where the kind is another. */
const char *cask_pickle_kind_name(const struct cask_pickle_value *value); /* "tuple", "call", ... */
bool cask_pickle_as_int(const struct cask_pickle_value *value, int64_t *out); /* accepts BOOL */
bool cask_pickle_is_text(const struct cask_pickle_value *value,
                         const char *text); /* TEXT or BYTES */
size_t cask_pickle_size(
    const struct cask_pickle_value *value); /* items of a tuple or list, entries of a dict */
const struct cask_pickle_value *cask_pickle_at(const struct cask_pickle_value *sequence,
                                               size_t index);
/* The last entry under this key, as in Python. */
const struct cask_pickle_value *cask_pickle_get(const struct cask_pickle_value *dict,
                                                const char *key);
/* The arguments of a call whose global has this meaning; NULL otherwise. */
const struct cask_pickle_value *cask_pickle_args(const struct cask_pickle_value *value,
                                                 int meaning);

#endif
