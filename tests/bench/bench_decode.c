/* Images per second from files to floats: decoding alone, preprocessing alone, the whole loader.
 *     bench_decode [DATASET [IMAGES]]      without a dataset: generated faces, 112 x 112 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "data/data.h"
#include "data/synth.h"

enum { SIDE = 112, BATCH = 64, GENERATED = 512 };

static const struct cask_preprocess pixels_of = {CASK_RGB, 127.5, 127.5, SIDE, SIDE};

static enum cask_status generate(const char *folder, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    static uint8_t rgb[SIDE * SIDE * 3];
    uint8_t *jpeg = NULL;
    char *path = NULL;
    size_t bytes;
    double drawing = 0;
    for (uint32_t i = 0; i < GENERATED; i++) {
        double began = cask_now();
        CASK_TRY(cask_synth_face(1, i / 8, i, SIDE, rgb, err));
        CASK_TRY(cask_encode_jpeg(rgb, SIDE, SIDE, 95, &jpeg, &bytes, err));
        drawing += cask_now() - began;
        path = cask_format("%s/%04u.jpg", folder, i);
        FILE *file = path != NULL ? fopen(path, "wb") : NULL;
        if (file == NULL || fwrite(jpeg, 1, bytes, file) != bytes || fclose(file) != 0) {
            CASK_TRY(cask_error_set(err, CASK_ERR_IO, "%s: cannot write", folder));
        }
        cask_free(path);
        cask_free(jpeg);
        path = NULL;
        jpeg = NULL;
    }
    printf("%-28s %8.0f images/s\n", "draw and encode, 1 thread", GENERATED / drawing);
done:
    cask_free(path);
    cask_free(jpeg);
    return st;
}

static enum cask_status bench_stages(const struct cask_dataset *dataset, int64_t count,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_decoder *decoder = NULL;
    struct cask_encoded encoded = {0};
    static uint8_t rgb[SIDE * SIDE * 3];
    static float pixels[SIDE * SIDE * 3];
    double reading = 0, decoding = 0, preparing = 0, total_bytes = 0;
    CASK_TRY(cask_decoder_create(&decoder, err));
    for (int64_t i = 0; i < count; i++) {
        double start = cask_now();
        CASK_TRY(cask_dataset_read(dataset, i, &encoded, err));
        double read = cask_now();
        CASK_TRY(cask_decode(decoder, encoded.data, encoded.bytes, SIDE, SIDE, rgb, err));
        double decoded = cask_now();
        cask_preprocess_apply(&pixels_of, rgb, i % 2 == 1, pixels);
        preparing += cask_now() - decoded;
        decoding += decoded - read;
        reading += read - start;
        total_bytes += (double)encoded.bytes;
    }
    printf("%-28s %8.0f images/s   %.1f kB each\n", "read, 1 thread", (double)count / reading,
           total_bytes / (double)count / 1000);
    printf("%-28s %8.0f images/s   %s\n", "decode, 1 thread", (double)count / decoding,
           cask_decoder_describe());
    printf("%-28s %8.0f images/s\n", "preprocess, 1 thread", (double)count / preparing);
done:
    cask_encoded_release(&encoded);
    cask_decoder_free(decoder);
    return st;
}

static enum cask_status bench_loader(const struct cask_dataset *dataset, int64_t count, int threads,
                                     bool both_views, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_loader *loader = NULL;
    struct cask_batch *batch;
    struct cask_loader_options options = {
        .dataset = dataset,
        .sampler = {.kind = CASK_SAMPLER_SHUFFLED, .count = count, .seed = 1, .mirror = true},
        .preprocess = pixels_of,
        .batch = BATCH,
        .end = 4 * count,
        .threads = threads,
        .both_views = both_views,
    };
    double began = cask_now();
    CASK_TRY(cask_loader_start(&options, &loader, err));
    do {
        CASK_TRY(cask_loader_next(loader, &batch, err));
        cask_loader_give_back(loader, batch);
    } while (batch != NULL);
    printf("loader, %d thread%s%-13s %8.0f images/s\n", threads, threads == 1 ? "" : "s",
           both_views ? ", both views" : "", (double)options.end / (cask_now() - began));
done:
    cask_loader_stop(loader);
    return st;
}

static enum cask_status run(const char *path, int64_t limit, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_dataset *dataset = NULL;
    double began = cask_now();
    CASK_TRY(cask_dataset_open(path, NULL, &dataset, err));
    int64_t count = cask_dataset_count(dataset);
    printf("%-28s %8.3f s          %lld images, peak memory %.0f MB\n", "open", cask_now() - began,
           (long long)count, (double)cask_mem_peak_bytes() / 1e6);
    count = count < limit ? count : limit;
    CASK_TRY(bench_stages(dataset, count, err));
    for (int threads = 1; threads <= 2; threads++) {
        CASK_TRY(bench_loader(dataset, count, threads, false, err));
        CASK_TRY(bench_loader(dataset, count, threads, true, err));
    }
done:
    cask_dataset_close(dataset);
    return st;
}

int main(int argc, char **argv)
{
    struct cask_error err = {0};
    char folder[] = "/tmp/cask-bench-XXXXXX";
    enum cask_status st;
    if (argc > 1) {
        st = run(argv[1], argc > 2 ? atoll(argv[2]) : 2000, &err);
    } else {
        st = mkdtemp(folder) != NULL ? generate(folder, &err)
                                     : cask_error_set(&err, CASK_ERR_IO, "%s", folder);
        st = st == CASK_OK ? run(folder, GENERATED, &err) : st;
        for (int i = 0; i < GENERATED; i++) {
            char path[64];
            snprintf(path, sizeof path, "%s/%04d.jpg", folder, i);
            unlink(path);
        }
        rmdir(folder);
    }
    if (st != CASK_OK) {
        cask_error_print(&err, "bench_decode");
    }
    return cask_status_exit_code(st);
}
