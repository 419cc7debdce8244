/* kernels/ref/batchnorm.c - batch normalisation with an activation behind it.
 *
 * Per channel, over the m = n*h*w values x_j of the batch (Ioffe and Szegedy, 2015, algorithm 1):
 *     mean = sum x_j / m,   var = sum (x_j - mean)^2 / m,   inv_std = 1 / sqrt(var + eps)
 *     hat_j = (x_j - mean) * inv_std,   z_j = gamma * hat_j + beta,   y_j = f(z_j)
 */
#include <math.h>

#include "kernels/ref/ref.h"

/* What channel c of a batch normalisation consists of. */
struct channel {
    double gamma, beta, slope, mean, inv_std;
};

static double read_or(const void *values, int c, double otherwise)
{
    return values ? (double)((const real *)values)[c] : otherwise;
}

static struct channel read_channel(const struct cask_batchnorm *bn, int c, double mean,
                                   double inv_std)
{
    return (struct channel){read_or(bn->gamma, c, 1), read_or(bn->beta, c, 0),
                            read_or(bn->slope, c, 0), mean, inv_std};
}

static double hat(const struct channel *ch, double x)
{
    return (x - ch->mean) * ch->inv_std;
}

static void forward_channel(const struct cask_batchnorm *bn, const struct channel *ch, int c,
                            const struct cask_tensor *x, const struct cask_tensor *y)
{
    const real *from = x->data;
    real *to = y->data;
    for (size_t j = (size_t)c; j < cask_tensor_count(x); j += (size_t)x->c) {
        double z = ch->gamma * hat(ch, (double)from[j]) + ch->beta;
        to[j] = (real)REF(activation_value)(bn->activation, ch->slope, z);
    }
}

static void statistics(const struct cask_tensor *x, int c, double *mean, double *variance)
{
    const real *from = x->data;
    double m = (double)ref_rows(x), sum = 0, squares = 0;
    for (size_t j = (size_t)c; j < cask_tensor_count(x); j += (size_t)x->c) {
        sum += (double)from[j];
    }
    *mean = sum / m;
    for (size_t j = (size_t)c; j < cask_tensor_count(x); j += (size_t)x->c) {
        squares += ((double)from[j] - *mean) * ((double)from[j] - *mean);
    }
    *variance = squares / m;
}

/* running = (1-momentum) * running + momentum * batch */
static void follow(void *running, int c, double momentum, double batch)
{
    real *value = (real *)running + c;
    *value = (real)((1 - momentum) * (double)*value + momentum * batch);
}

enum cask_status REF(batchnorm_statistics)(struct cask_device *device,
                                           const struct cask_batchnorm *bn,
                                           const struct cask_tensor *x, struct cask_error *err)
{
    double m = (double)ref_rows(x);
    (void)device;
    (void)err;
    for (int c = 0; c < x->c; c++) {
        double mean, variance;
        statistics(x, c, &mean, &variance);
        ((real *)bn->saved_mean)[c] = (real)mean;
        ((real *)bn->saved_inv_std)[c] = (real)(1 / sqrt(variance + bn->eps));
        follow(bn->running_mean, c, bn->momentum, mean);
        /* PyTorch normalises with the biased variance and remembers the unbiased one. */
        follow(bn->running_var, c, bn->momentum, m > 1 ? variance * m / (m - 1) : 0);
    }
    return CASK_OK;
}

static struct channel saved_channel(const struct cask_batchnorm *bn, int c)
{
    return read_channel(bn, c, (double)((const real *)bn->saved_mean)[c],
                        (double)((const real *)bn->saved_inv_std)[c]);
}

double REF(operand_value)(const struct cask_operand *operand, size_t j)
{
    const struct cask_batchnorm *bn = operand->norm;
    double x = (double)((const real *)operand->x->data)[j];
    if (bn == NULL) {
        return x;
    }
    struct channel ch = saved_channel(bn, (int)(j % (size_t)operand->x->c));
    return REF(activation_value)(bn->activation, ch.slope, ch.gamma * hat(&ch, x) + ch.beta);
}

enum cask_status REF(batchnorm_apply)(struct cask_device *device, const struct cask_batchnorm *bn,
                                      const struct cask_tensor *x, const struct cask_tensor *y,
                                      struct cask_error *err)
{
    (void)device;
    (void)err;
    for (int c = 0; c < x->c; c++) {
        struct channel ch = saved_channel(bn, c);
        forward_channel(bn, &ch, c, x, y);
    }
    return CASK_OK;
}

enum cask_status REF(batchnorm_train)(struct cask_device *device, const struct cask_batchnorm *bn,
                                      const struct cask_tensor *x, const struct cask_tensor *y,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(REF(batchnorm_statistics)(device, bn, x, err));
    CASK_TRY(REF(batchnorm_apply)(device, bn, x, y, err));
done:
    return st;
}

enum cask_status REF(batchnorm_eval)(struct cask_device *device, const struct cask_batchnorm *bn,
                                     const struct cask_tensor *x, const struct cask_tensor *y,
                                     struct cask_error *err)
{
    (void)device;
    (void)err;
    for (int c = 0; c < x->c; c++) {
        double mean = (double)((const real *)bn->running_mean)[c];
        double variance = (double)((const real *)bn->running_var)[c];
        struct channel ch = read_channel(bn, c, mean, 1 / sqrt(variance + bn->eps));
        forward_channel(bn, &ch, c, x, y);
    }
    return CASK_OK;
}

/* With dz_j = dy_j f'(z_j):
 *     dbeta = sum dz_j,   dgamma = sum dz_j hat_j,   dslope = sum over z_j <= 0 of z_j dy_j
 *     dx_j = gamma inv_std (dz_j - dbeta / m - hat_j dgamma / m)
 */
struct sums {
    double dgamma, dbeta, dslope;
};

static struct sums reduce_channel(const struct cask_batchnorm *bn, const struct channel *ch, int c,
                                  const struct cask_tensor *x, const struct cask_tensor *dy)
{
    const real *from = x->data, *gradient = dy->data;
    struct sums sums = {0, 0, 0};
    for (size_t j = (size_t)c; j < cask_tensor_count(x); j += (size_t)x->c) {
        double h = hat(ch, (double)from[j]), z = ch->gamma * h + ch->beta;
        double dz = REF(activation_gradient)(bn->activation, ch->slope, z, (double)gradient[j]);
        sums.dbeta += dz;
        sums.dgamma += dz * h;
        sums.dslope += z > 0 ? 0 : z * (double)gradient[j];
    }
    return sums;
}

/* mean_dz = dbeta / m, pull = dgamma inv_std / m */
static void gradient_channel(const struct cask_batchnorm *bn, const struct channel *ch, int c,
                             double mean_dz, double pull, const struct cask_tensor *x,
                             const struct cask_tensor *dy, const struct cask_tensor *dx,
                             bool accumulate)
{
    const real *from = x->data, *gradient = dy->data;
    real *to = dx->data;
    for (size_t j = (size_t)c; j < cask_tensor_count(x); j += (size_t)x->c) {
        double d = (double)from[j] - ch->mean, z = ch->gamma * ch->inv_std * d + ch->beta;
        double dz = REF(activation_gradient)(bn->activation, ch->slope, z, (double)gradient[j]);
        ref_give(&to[j], accumulate, ch->gamma * ch->inv_std * (dz - mean_dz - d * pull));
    }
}

static void add_sums(const struct cask_batchnorm_grads *grads, int c, const struct sums *sums)
{
    if (grads->gamma != NULL) {
        ref_give((real *)grads->gamma + c, true, sums->dgamma);
    }
    if (grads->beta != NULL) {
        ref_give((real *)grads->beta + c, true, sums->dbeta);
    }
    if (grads->slope != NULL) {
        ref_give((real *)grads->slope + c, true, sums->dslope);
    }
}

enum cask_status REF(batchnorm_reduce)(struct cask_device *device,
                                       const struct cask_reduction *reduction,
                                       const struct cask_tensor *dy, struct cask_error *err)
{
    const struct cask_batchnorm *bn = reduction->norm;
    double m = (double)ref_rows(dy);
    (void)device;
    (void)err;
    for (int c = 0; c < dy->c; c++) {
        struct channel ch = saved_channel(bn, c);
        struct sums sums = reduce_channel(bn, &ch, c, reduction->x, dy);
        add_sums(&reduction->grads, c, &sums);
        ((real *)bn->saved_mean_dz)[c] = (real)(sums.dbeta / m);
        ((real *)bn->saved_pull)[c] = (real)(ch.inv_std * sums.dgamma / m);
    }
    return CASK_OK;
}

enum cask_status REF(batchnorm_gradient)(struct cask_device *device,
                                         const struct cask_batchnorm *bn,
                                         const struct cask_tensor *x, const struct cask_tensor *dy,
                                         const struct cask_tensor *dx, bool accumulate,
                                         const struct cask_reduction *reductions,
                                         int reduction_count, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (int c = 0; c < x->c; c++) {
        struct channel ch = saved_channel(bn, c);
        gradient_channel(bn, &ch, c, (double)((const real *)bn->saved_mean_dz)[c],
                         (double)((const real *)bn->saved_pull)[c], x, dy, dx, accumulate);
    }
    for (int i = 0; i < reduction_count; i++) {
        CASK_TRY(REF(batchnorm_reduce)(device, &reductions[i], dx, err));
    }
done:
    return st;
}

enum cask_status REF(batchnorm_backward)(struct cask_device *device,
                                         const struct cask_batchnorm *bn,
                                         const struct cask_tensor *x, const struct cask_tensor *dy,
                                         const struct cask_tensor *dx, bool accumulate,
                                         const struct cask_batchnorm_grads *grads,
                                         struct cask_error *err)
{
    double m = (double)ref_rows(x);
    (void)device;
    (void)err;
    for (int c = 0; c < x->c; c++) {
        struct channel ch = saved_channel(bn, c);
        struct sums sums = reduce_channel(bn, &ch, c, x, dy);
        gradient_channel(bn, &ch, c, sums.dbeta / m, ch.inv_std * sums.dgamma / m, x, dy, dx,
                         accumulate);
        add_sums(grads, c, &sums);
    }
    return CASK_OK;
}
