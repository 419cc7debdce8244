/* tests/bench/bench_kernels.c - how fast the cpu backend's ops are, beside the matmul peak of the
 * same run.
 *
 *     bench_kernels [--net mobilefacenet] [--batch 64] [--threads 2] [--precision bf16]
 *
 * One line per layer shape of the networks: milliseconds for forward, backward data and backward
 * weights, the rate, and the fraction of the peak. The sum at the end counts every shape as often
 * as the network has it. Times are the best of a few runs. With one thread they are CPU time, so
 * that a busy machine does not matter much; with more they are wall time and it should be idle.
 */
#include <stddef.h>

#include "kernels/shapes.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_main.h"

struct options {
    int net, precision;
    int64_t batch, threads;
};

enum { ALL_NETS = 3 };
static const char *const nets[] = {"mobilefacenet", "ir18", "ir50", "all", NULL};
static const char *const precisions[] = {"auto", "fp32", "bf16", NULL};
#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {"net", CASK_CONFIG_ENUM, ROW(net), "all", 0, 0, nets, "NET", "whose layers"},
    {"batch", CASK_CONFIG_INT, ROW(batch), "64", 1, 65536, NULL, "N", "images in a call"},
    {"threads", CASK_CONFIG_INT, ROW(threads), "0", 0, 1024, NULL, "N", "0: all CPUs"},
    {"precision", CASK_CONFIG_ENUM, ROW(precision), "fp32", 0, 0, precisions, NULL,
     "of activations"},
};

struct layer {
    const char *net;
    char kind; /* c convolution, b batchnorm + PReLU, n batchnorm alone, a add */
    int size, in_c, out_c, kernel, stride, groups, count;
    int deeper; /* ir50 has the shapes of ir18, this many more of them */
};

static const struct layer layers[] = {
    {"mobilefacenet", 'c', 112, 3, 64, 3, 2, 1, 1, 0},
    {"mobilefacenet", 'c', 56, 64, 64, 3, 1, 64, 1, 0},
    {"mobilefacenet", 'c', 56, 64, 128, 1, 1, 1, 1, 0},
    {"mobilefacenet", 'c', 56, 128, 128, 3, 2, 128, 1, 0},
    {"mobilefacenet", 'c', 28, 128, 64, 1, 1, 1, 5, 0},
    {"mobilefacenet", 'c', 28, 64, 128, 1, 1, 1, 4, 0},
    {"mobilefacenet", 'c', 28, 128, 128, 3, 1, 128, 4, 0},
    {"mobilefacenet", 'c', 28, 64, 256, 1, 1, 1, 1, 0},
    {"mobilefacenet", 'c', 28, 256, 256, 3, 2, 256, 1, 0},
    {"mobilefacenet", 'c', 14, 256, 128, 1, 1, 1, 7, 0},
    {"mobilefacenet", 'c', 14, 128, 256, 1, 1, 1, 6, 0},
    {"mobilefacenet", 'c', 14, 256, 256, 3, 1, 256, 6, 0},
    {"mobilefacenet", 'c', 14, 128, 512, 1, 1, 1, 1, 0},
    {"mobilefacenet", 'c', 14, 512, 512, 3, 2, 512, 1, 0},
    {"mobilefacenet", 'c', 7, 512, 128, 1, 1, 1, 1, 0},
    {"mobilefacenet", 'c', 7, 128, 256, 1, 1, 1, 2, 0},
    {"mobilefacenet", 'c', 7, 256, 256, 3, 1, 256, 2, 0},
    {"mobilefacenet", 'c', 7, 256, 128, 1, 1, 1, 2, 0},
    {"mobilefacenet", 'c', 7, 128, 512, 1, 1, 1, 1, 0},
    {"mobilefacenet", 'c', 7, 512, 512, 7, 1, 512, 1, 0},
    {"mobilefacenet", 'c', 1, 512, 512, 1, 1, 1, 1, 0},
    {"mobilefacenet", 'b', 56, 64, 64, 0, 0, 0, 2, 0},
    {"mobilefacenet", 'b', 56, 128, 128, 0, 0, 0, 1, 0},
    {"mobilefacenet", 'b', 28, 128, 128, 0, 0, 0, 9, 0},
    {"mobilefacenet", 'n', 28, 64, 64, 0, 0, 0, 5, 0},
    {"mobilefacenet", 'b', 28, 256, 256, 0, 0, 0, 1, 0},
    {"mobilefacenet", 'b', 14, 256, 256, 0, 0, 0, 13, 0},
    {"mobilefacenet", 'n', 14, 128, 128, 0, 0, 0, 7, 0},
    {"mobilefacenet", 'b', 14, 512, 512, 0, 0, 0, 1, 0},
    {"mobilefacenet", 'b', 7, 512, 512, 0, 0, 0, 2, 0},
    {"mobilefacenet", 'b', 7, 256, 256, 0, 0, 0, 4, 0},
    {"mobilefacenet", 'n', 7, 128, 128, 0, 0, 0, 3, 0},
    {"mobilefacenet", 'a', 28, 64, 64, 0, 0, 0, 4, 0},
    {"mobilefacenet", 'a', 14, 128, 128, 0, 0, 0, 6, 0},
    {"ir18", 'c', 112, 3, 64, 3, 1, 1, 1, 0},
    {"ir18", 'c', 112, 64, 64, 3, 1, 1, 1, 0},
    {"ir18", 'c', 112, 64, 64, 3, 2, 1, 1, 0},
    {"ir18", 'c', 112, 64, 64, 1, 2, 1, 1, 0},
    {"ir18", 'c', 56, 64, 64, 3, 1, 1, 2, 2},
    {"ir18", 'c', 56, 64, 128, 3, 1, 1, 1, 0},
    {"ir18", 'c', 56, 128, 128, 3, 2, 1, 1, 0},
    {"ir18", 'c', 56, 64, 128, 1, 2, 1, 1, 0},
    {"ir18", 'c', 28, 128, 128, 3, 1, 1, 2, 4},
    {"ir18", 'c', 28, 128, 256, 3, 1, 1, 1, 0},
    {"ir18", 'c', 28, 256, 256, 3, 2, 1, 1, 0},
    {"ir18", 'c', 28, 128, 256, 1, 2, 1, 1, 0},
    {"ir18", 'c', 14, 256, 256, 3, 1, 1, 2, 24},
    {"ir18", 'c', 14, 256, 512, 3, 1, 1, 1, 0},
    {"ir18", 'c', 14, 512, 512, 3, 2, 1, 1, 0},
    {"ir18", 'c', 14, 256, 512, 1, 2, 1, 1, 0},
    {"ir18", 'c', 7, 512, 512, 3, 1, 1, 2, 2},
    {"ir18", 'c', 7, 512, 512, 7, 1, 1, 1, 0},
    {"ir18", 'b', 112, 64, 64, 0, 0, 0, 2, 0},
    {"ir18", 'n', 112, 64, 64, 0, 0, 0, 1, 0},
    {"ir18", 'b', 56, 64, 64, 0, 0, 0, 1, 1},
    {"ir18", 'n', 56, 64, 64, 0, 0, 0, 5, 2},
    {"ir18", 'b', 56, 128, 128, 0, 0, 0, 1, 0},
    {"ir18", 'n', 28, 128, 128, 0, 0, 0, 5, 4},
    {"ir18", 'b', 28, 128, 128, 0, 0, 0, 1, 2},
    {"ir18", 'n', 14, 256, 256, 0, 0, 0, 5, 24},
    {"ir18", 'b', 14, 256, 256, 0, 0, 0, 1, 12},
    {"ir18", 'n', 7, 512, 512, 0, 0, 0, 6, 2},
    {"ir18", 'a', 56, 64, 64, 0, 0, 0, 2, 1},
    {"ir18", 'a', 28, 128, 128, 0, 0, 0, 2, 2},
};

struct bench {
    struct cask_device *device;
    const struct cask_ops *ops;
    int batch;
    double peak; /* GFLOP/s */
    double sums[3];
    struct cask_error err;
};

enum { RUNS = 4 };

struct operands {
    struct cask_tensor x, y, dx, dy;
    float *weight, *dweight;
    struct cask_conv *conv;
    struct cask_batchnorm bn;
    struct cask_batchnorm_grads grads;
};

typedef enum cask_status (*operation)(struct bench *bench, struct operands *at);

static double now(const struct bench *bench)
{
    return cask_device_threads(bench->device) == 1 ? cask_cpu_now() : cask_now();
}

/* Best milliseconds of a few runs; -1 if it fails. */
static double best_ms(struct bench *bench, operation run, struct operands *at)
{
    double best = -1;
    for (int i = 0; i < RUNS; i++) {
        double start = now(bench);
        if (run(bench, at) != CASK_OK) {
            (void)fprintf(stderr, "%s\n", bench->err.message);
            return -1;
        }
        double ms = (now(bench) - start) * 1e3;
        best = best < 0 || ms < best ? ms : best;
    }
    return best;
}

static void *filled(struct bench *bench, size_t count, enum cask_dtype dtype, float low, float high)
{
    void *memory = cask_buffer_alloc(bench->device, count * cask_dtype_size(dtype));
    uint32_t state = 12345;
    for (size_t i = 0; memory != NULL && i < count; i++) {
        state = state * 1664525U + 1013904223U;
        float value = low + (high - low) * (float)(state >> 8) / 16777216.0F;
        if (dtype == CASK_F32) {
            ((float *)memory)[i] = value;
        } else {
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            ((uint16_t *)memory)[i] = (uint16_t)(bits >> 16);
        }
    }
    return memory;
}

static struct cask_tensor tensor(struct bench *bench, int size, int c)
{
    struct cask_tensor made = {
        NULL, cask_device_activation_dtype(bench->device), bench->batch, size, size, c};
    made.data = filled(bench, cask_tensor_count(&made), made.dtype, -1, 1);
    return made;
}

static void release(struct bench *bench, struct operands *at)
{
    void *memory[] = {at->x.data, at->y.data,  at->dx.data,      at->dy.data,
                      at->weight, at->dweight, at->bn.saved_mean};
    bench->ops->conv_close(at->conv);
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++) {
        cask_buffer_free(bench->device, memory[i]);
    }
}

/* ------------------------------------------------------------ operations */

static enum cask_status conv_forward(struct bench *b, struct operands *at)
{
    return b->ops->conv_forward(at->conv, &at->x, &at->y, &b->err);
}

static enum cask_status conv_data(struct bench *b, struct operands *at)
{
    return b->ops->conv_backward_data(at->conv, &at->dy, &at->dx, false, &b->err);
}

static enum cask_status conv_weights(struct bench *b, struct operands *at)
{
    return b->ops->conv_backward_weights(at->conv, &at->x, &at->dy, at->dweight, NULL, &b->err);
}

static enum cask_status conv_pack(struct bench *b, struct operands *at)
{
    return b->ops->conv_set_weights(at->conv, at->weight, NULL, &b->err);
}

static enum cask_status bn_forward(struct bench *b, struct operands *at)
{
    return b->ops->batchnorm_train(b->device, &at->bn, &at->x, &at->y, &b->err);
}

static enum cask_status bn_backward(struct bench *b, struct operands *at)
{
    return b->ops->batchnorm_backward(b->device, &at->bn, &at->x, &at->dy, &at->dx, false,
                                      &at->grads, &b->err);
}

static enum cask_status add(struct bench *b, struct operands *at)
{
    return b->ops->add(b->device, &at->x, &at->dx, &at->y, &b->err);
}

/* ------------------------------------------------------------------ lines */

static void bench_conv(struct bench *b, const struct layer *layer)
{
    int pad = layer->kernel == 3 ? 1 : 0;
    struct cask_conv_desc desc = {.n = b->batch,
                                  .h = layer->size,
                                  .w = layer->size,
                                  .in_c = layer->in_c,
                                  .out_c = layer->out_c,
                                  .kernel_h = layer->kernel,
                                  .kernel_w = layer->kernel,
                                  .stride = layer->stride,
                                  .pad_top = pad,
                                  .pad_left = pad,
                                  .pad_bottom = pad,
                                  .pad_right = pad,
                                  .groups = layer->groups};
    struct operands at = {.x = tensor(b, layer->size, layer->in_c),
                          .dx = tensor(b, layer->size, layer->in_c)};
    at.y = tensor(b, cask_conv_out_h(&desc), layer->out_c);
    at.dy = tensor(b, cask_conv_out_h(&desc), layer->out_c);
    at.weight = filled(b, cask_conv_weight_count(&desc), CASK_F32, -0.1F, 0.1F);
    at.dweight = filled(b, cask_conv_weight_count(&desc), CASK_F32, 0, 0);
    if (b->ops->conv_open(b->device, &desc, &at.conv, &b->err) != CASK_OK) {
        (void)fprintf(stderr, "%s\n", b->err.message);
        release(b, &at);
        return;
    }
    double pack = best_ms(b, conv_pack, &at), ms[3];
    ms[0] = best_ms(b, conv_forward, &at);
    ms[1] = layer->in_c == 3 ? 0 : best_ms(b, conv_data, &at);
    ms[2] = best_ms(b, conv_weights, &at);
    double gflop = 2e-9 * (double)cask_conv_macs(&desc);
    printf("conv %3d^2 %4d>%-4d k%d s%d g%-4d x%-2d", layer->size, layer->in_c, layer->out_c,
           layer->kernel, layer->stride, layer->groups, layer->count);
    for (int i = 0; i < 3; i++) {
        double rate = ms[i] > 0 ? gflop / ms[i] * 1e3 : 0;
        printf(" | %8.2f ms %6.1f GF/s %3.0f%%", ms[i], rate, 100 * rate / b->peak);
        b->sums[i] += ms[i] * layer->count;
    }
    b->sums[0] += pack * layer->count;
    printf(" | pack %.2f ms | %s\n", pack, b->ops->conv_describe(at.conv));
    release(b, &at);
}

static void bench_batchnorm(struct bench *b, const struct layer *layer, bool prelu)
{
    size_t c = (size_t)layer->in_c;
    struct operands at = {.x = tensor(b, layer->size, layer->in_c),
                          .y = tensor(b, layer->size, layer->in_c),
                          .dy = tensor(b, layer->size, layer->in_c)};
    float *p = filled(b, 10 * c, CASK_F32, 0.2F, 1);
    at.dx = tensor(b, layer->size, layer->in_c);
    at.bn = (struct cask_batchnorm){.eps = 1e-5,
                                    .momentum = 0.1,
                                    .activation = prelu ? CASK_ACT_PRELU : CASK_ACT_NONE,
                                    .gamma = p + c,
                                    .beta = p + 2 * c,
                                    .slope = p + 3 * c,
                                    .running_mean = p + 4 * c,
                                    .running_var = p + 5 * c,
                                    .saved_mean = p,
                                    .saved_inv_std = p + 6 * c};
    at.grads = (struct cask_batchnorm_grads){p + 7 * c, p + 8 * c, prelu ? p + 9 * c : NULL};
    double forward = best_ms(b, bn_forward, &at), backward = best_ms(b, bn_backward, &at);
    double gb = 1e-9 * (double)cask_tensor_bytes(&at.x);
    /* forward reads x twice and writes y; backward reads x and dy twice and writes dx */
    printf("batchnorm%s %3d^2 %4d x%-2d | %8.2f ms %6.1f GB/s | %8.2f ms %6.1f GB/s\n",
           prelu ? "+prelu" : "      ", layer->size, layer->in_c, layer->count, forward,
           3 * gb / forward * 1e3, backward, 5 * gb / backward * 1e3);
    b->sums[0] += forward * layer->count;
    b->sums[1] += backward * layer->count;
    release(b, &at);
}

static void bench_add(struct bench *b, const struct layer *layer)
{
    struct operands at = {.x = tensor(b, layer->size, layer->in_c),
                          .y = tensor(b, layer->size, layer->in_c),
                          .dx = tensor(b, layer->size, layer->in_c)};
    double ms = best_ms(b, add, &at), gb = 1e-9 * (double)cask_tensor_bytes(&at.x);
    printf("add              %3d^2 %4d x%-2d | %8.2f ms %6.1f GB/s\n", layer->size, layer->in_c,
           layer->count, ms, 3 * gb / ms * 1e3);
    b->sums[0] += ms * layer->count;
    release(b, &at);
}

static void bench_network(struct bench *b, const char *net)
{
    bool deep = strcmp(net, "ir50") == 0;
    const char *shapes = deep ? "ir18" : net;
    const char *parts[] = {"convolution", "batchnorm", "add"};
    double total = 0;
    printf("\n%s, batch %d: forward | backward data | backward weights\n", net, b->batch);
    for (int part = 0; part < 3; part++) {
        memset(b->sums, 0, sizeof b->sums);
        for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
            struct layer counted = layers[i], *layer = &counted;
            layer->count += deep ? layer->deeper : 0;
            bool conv = layer->kind == 'c', sum = layer->kind == 'a';
            if (strcmp(layer->net, shapes) != 0 || part != (conv ? 0 : sum ? 2 : 1)) {
                continue;
            }
            if (conv) {
                bench_conv(b, layer);
            } else if (sum) {
                bench_add(b, layer);
            } else {
                bench_batchnorm(b, layer, layer->kind == 'b');
            }
        }
        printf("sum %s: %.1f + %.1f + %.1f ms\n", parts[part], b->sums[0], b->sums[1], b->sums[2]);
        total += b->sums[0] + b->sums[1] + b->sums[2];
    }
    printf("%s training step, sum of ops: %.0f ms, %.1f images/s\n", net, total,
           b->batch / total * 1e3);
}

static enum cask_status run(void *user, struct cask_error *err)
{
    const struct options *options = user;
    const struct cask_device_options device = {"cpu", (int)options->threads,
                                               (enum cask_precision)options->precision};
    struct bench bench = {.batch = (int)options->batch};
    enum cask_status st = CASK_OK;
    char name[160];
    CASK_TRY(cask_device_open(&device, &bench.device, err));
    cask_device_describe(bench.device, name, sizeof name);
    bench.ops = cask_device_ops(bench.device);
    CASK_TRY(bench_peak(bench.device, 5, &bench.peak, err));
    printf("%s\nmatmul 512^3: %.0f GFLOP/s\n", name, bench.peak);
    for (int i = 0; i < ALL_NETS; i++) {
        if (options->net == ALL_NETS || options->net == i) {
            bench_network(&bench, nets[i]);
        }
    }
done:
    cask_device_close(bench.device);
    return st;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    return bench_main("bench_kernels", rows, sizeof rows / sizeof *rows, &options, run, argc, argv);
}
