/* tests/support/ops/op.h - op cases: one line of text each, one table for correctness
 * (tests/ops), gradients (tests/grad) and speed (tests/bench).
 *
 *     conv n2 c3 h9 w7 k5 r3 s2 p1 bias
 *
 * The first word names a family; a word with digits is a number, one without is a flag. A family
 * (one file here) turns a case into a list of operands and knows which ops to call on them. All
 * that is generic - values, buffers with red zones, running, comparing - is written once, in
 * case.c, run.c and check.c.
 *
 * A run that differs from what it should be is an error of status CASK_ERR_MISMATCH.
 */
#ifndef CASK_TESTS_SUPPORT_OPS_OP_H
#define CASK_TESTS_SUPPORT_OPS_OP_H

#include "kernels/kernels.h"

/* ---------------------------------------------------------------- a case */

enum { OP_WORDS = 20, OP_OPERANDS = 32 };

struct op_word {
    char name[16];
    long value; /* -1: a flag */
    bool read;
};

struct op_case {
    const char *text;
    struct op_word words[OP_WORDS]; /* words[0] is the family */
    int count;
};

enum cask_status op_case_parse(const char *text, struct op_case *parsed, struct cask_error *err);
/* Both mark the word as read; a case with words that nobody reads is refused by op_spec_build. */
int op_number(struct op_case *parsed, const char *name, int otherwise);
bool op_flag(struct op_case *parsed, const char *name);

/* -------------------------------------------------------------- operands */

enum op_role {
    OP_INPUT,      /* read, and the same bytes afterwards */
    OP_STATE,      /* read and written by forward: running statistics, weights under SGD */
    OP_OUTPUT,     /* written by forward; NaN before */
    OP_COTANGENT,  /* the gradient that arrives at output `of` */
    OP_DATA_GRAD,  /* gradient of input `of`: written, or added where accumulate */
    OP_PARAM_GRAD, /* gradient of input `of`: added */
};

enum op_type {
    OP_ACTIVATION, /* of the device's activation type */
    OP_PARAMETER,  /* of the device's parameter type */
    OP_HOST,       /* doubles on the host, as a loss value */
    OP_LABELS,     /* uint32; a negative value stands for UINT32_MAX */
};

struct op_operand {
    const char *name;
    enum op_role role;
    enum op_type type;
    int of;         /* index of the operand it belongs to, see op_role */
    int n, h, w, c; /* a vector is n = h = w = 1, a matrix h = w = 1 */

    double low, high; /* inputs are uniform in [low, high); both 0: [-1, 1) */
    bool kinked;      /* inputs keep a distance from -3, 0 and 3, where activations bend */
    bool packed; /* a parameter that a bf16 device rounds to bf16: its values lie there already */
    bool padded; /* rows with gaps; in an output, the gaps must still be NaN */

    double length; /* terms summed into one element: sets the error bound; 0 counts as 1 */
    double gain;   /* by how much the formula amplifies the error of a sum; 0 counts as 1 */
    double coarse; /* the same for the error of a bf16 in between; 0 counts as 1 */
};

struct op_spec {
    struct op_operand operands[OP_OPERANDS];
    int count;
    bool fp32_only; /* what a bf16 device rounds in between may pass a kink */
};

size_t op_count(const struct op_operand *operand);         /* elements */
int op_find(const struct op_spec *spec, const char *name); /* index, or -1 */

/* ---------------------------------------------------------------- running */

struct op_buffer {
    unsigned char *block; /* red zone, data, red zone */
    size_t bytes;         /* of the data */
    enum cask_dtype dtype;
};

/* One case on one device. */
struct op_run {
    struct op_case *parsed;
    const struct op_family *family;
    const struct op_spec *spec;
    struct cask_device *device;
    const struct cask_ops *ops;
    struct op_buffer buffers[OP_OPERANDS];
    struct cask_conv *conv; /* for the family */
    void *user;             /* the same */
    bool any_threads; /* the bits must not depend on the thread count; families may clear it */
};

struct op_family {
    const char *name;
    bool exact; /* integers in give integers out: compared bit by bit on small integers */
    bool once;  /* its gradient is only ever written: there is no second backward */
    void (*declare)(struct op_case *, struct op_spec *);
    enum cask_status (*open)(struct op_run *, struct cask_error *);    /* may be NULL */
    enum cask_status (*prepare)(struct op_run *, struct cask_error *); /* packs; may be NULL */
    enum cask_status (*forward)(struct op_run *, struct cask_error *);
    enum cask_status (*backward)(struct op_run *, bool accumulate,
                                 struct cask_error *); /* may be NULL */
    void (*close)(struct op_run *); /* may be NULL; also after an open that failed */
};

/* For families: where operand `index` lies, NULL if the case has none; and as a tensor. */
void *op_data(const struct op_run *run, int index);
struct cask_tensor op_tensor(const struct op_run *run, int index);
void op_copy(const struct op_run *run, int to, int from); /* for ops that may work in place */
/* For declare: operands are known by their index; the caller may set what is special about one. A
 * gradient or cotangent has the type and shape of the operand it belongs to. */
struct op_operand *op_declare(struct op_spec *spec, int index, const char *name, enum op_role role,
                              enum op_type type, int n, int h, int w, int c);
struct op_operand *op_declare_like(struct op_spec *spec, int index, const char *name,
                                   enum op_role role, int of);

/* Values of all operands as doubles, whatever type a device holds them in. */
struct op_values {
    double *of[OP_OPERANDS];
};
enum op_fill {
    OP_FILL_REAL,
    OP_FILL_INTEGER, /* small integers */
};
enum cask_status op_values_alloc(const struct op_spec *spec, struct op_values *values,
                                 struct cask_error *err);
void op_values_free(struct op_values *values);
/* Inputs, states, cotangents, and what gradient buffers hold before an op adds to them. The same
 * text gives the same values. `bf16`: values that a bf16 device would round are rounded here. */
void op_values_fill(const struct op_case *parsed, const struct op_spec *spec, enum op_fill fill,
                    bool bf16, struct op_values *values);
/* Puts one NaN into operand `index`. */
void op_values_poison(const struct op_spec *spec, int index, struct op_values *values);

/* Finds the family, declares, and refuses words that nobody read. */
enum cask_status op_spec_build(struct op_case *parsed, const struct op_family **family,
                               struct op_spec *spec, struct cask_error *err);

enum cask_status op_run_open(struct op_run *run, struct cask_device *device, struct op_case *parsed,
                             const struct op_family *family, const struct op_spec *spec,
                             struct cask_error *err);
void op_run_close(struct op_run *run); /* accepts a zeroed run */
void op_upload(struct op_run *run, int index, const double *values);
void op_download(const struct op_run *run, int index, double *values);
void op_fill_nan(struct op_run *run, int index);
/* Prepares and calls the op, then looks at every red zone and every input. */
enum cask_status op_forward(struct op_run *run, struct cask_error *err);
enum cask_status op_backward(struct op_run *run, bool accumulate, struct cask_error *err);

/* Forward, backward without and with accumulate. `first` receives outputs, states and the gradients
 * of the first backward; `second` the gradients of the second one. Data gradients are NaN before
 * the first and hold fed values before the second; parameter gradients start from fed values.
 * Where `second` is NULL there is no backward. */
enum cask_status op_execute(struct op_run *run, const struct op_values *fed,
                            struct op_values *first, struct op_values *second,
                            struct cask_error *err);

/* --------------------------------------------------------------- checking */

struct op_devices {
    struct cask_device *oracle;   /* ref64 */
    struct cask_device *tested;   /* one thread */
    struct cask_device *threaded; /* the same with two threads, or NULL */
};
/* Everything tests/ops asks of one case. */
enum cask_status op_check(const struct op_devices *devices, const char *text,
                          struct cask_error *err);

/* Central differences in double against backward. */
enum cask_status op_check_gradient(struct cask_device *ref64, const char *text,
                                   struct cask_error *err);

/* ------------------------------------------------------------------ table */

extern const char *const op_cases[];      /* ends with NULL */
extern const char *const op_tiny_cases[]; /* small enough to difference every element */
/* The convolution that a case describes; the words are those of conv.c. */
struct cask_conv_desc op_conv_desc(struct op_case *parsed);

extern const struct op_family *const op_families[];

extern const struct op_family op_family_chain, op_family_add_chain, op_family_conv,
    op_family_conv_finish, op_family_gemm, op_family_batchnorm, op_family_batchnorm_eval,
    op_family_activation, op_family_add, op_family_scale, op_family_convert, op_family_subsample,
    op_family_average_pool, op_family_max_pool, op_family_l2norm, op_family_softmax, op_family_sgd,
    op_family_sum_squares;

#endif
