/* The manifest's fields: who the teacher is, how it sees pixels, what data it was run on. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "precompute/precompute.h"

static void set_teacher(const struct precompute_options *options, const struct teacher *teacher,
                        struct cask_manifest *manifest)
{
    bool bf16 = cask_device_activation_dtype(teacher->device) == CASK_BF16;
    snprintf(manifest->teacher, sizeof manifest->teacher, "%s",
             cask_graph_name(teacher->model.graph));
    snprintf(manifest->precision, sizeof manifest->precision, "%s", bf16 ? "bf16" : "fp32");
    cask_graph_fingerprint(teacher->model.graph, manifest->architecture_sha256);
    manifest->preprocess = teacher->preprocess;
    manifest->embedding = teacher->dim;
    manifest->embedding_type = (enum cask_embedding_type)options->embedding;
    manifest->scale = options->scale;
    manifest->temperature_count = options->temperatures.count;
    memcpy(manifest->temperatures, options->temperatures.values,
           (size_t)options->temperatures.count * sizeof(double));
}

static void set_origin(const struct precompute_options *options, struct cask_manifest *manifest)
{
    char full[PATH_MAX];
    time_t now = time(NULL);
    struct tm utc;
    strftime(manifest->created, sizeof manifest->created, "%Y-%m-%dT%H:%M:%SZ",
             gmtime_r(&now, &utc));
    snprintf(manifest->writer, sizeof manifest->writer, "cask %s", CASK_VERSION);
    snprintf(manifest->dataset_path, sizeof manifest->dataset_path, "%s",
             realpath(options->data, full) != NULL ? full : options->data);
}

enum cask_status manifest_begin(const struct precompute_options *options, struct teacher *teacher,
                                const struct cask_dataset *dataset, struct cask_manifest *manifest,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t classes = cask_dataset_classes(dataset), images = cask_dataset_count(dataset);
    *manifest = (struct cask_manifest){.major = CASK_CACHE_MAJOR, .minor = CASK_CACHE_MINOR};
    if (images < 1) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE, "%s: holds no image", options->data));
    }
    if (classes < 1) {
        /* The format wants one class. Its centre is zero, so nothing can be read into it. */
        cask_log_warn("%s: no image has a label: this cache serves losses over embeddings only "
                      "(loss.embedding, sp, rkd_*, cckd, darkrank, pwr), with head.weight 0. For "
                      "labels put each identity's images into a folder of its own",
                      options->data);
        classes = 1;
    }
    manifest->images = images;
    manifest->classes = classes;
    manifest->topk = (int)(options->topk < classes ? options->topk : classes);
    manifest->shard_images = options->shard_images;
    set_teacher(options, teacher, manifest);
    set_origin(options, manifest);
    CASK_TRY(cask_net_fingerprint(teacher->model.net, manifest->weights_sha256, err));
    snprintf(manifest->decoder, sizeof manifest->decoder, "%s", cask_decoder_describe());
    CASK_TRY(cask_decoder_fingerprint(&manifest->decoder_crc, err));
    CASK_TRY(
        cask_dataset_fingerprint(dataset, (int)options->threads, manifest->dataset_sha256, err));
    CASK_TRY(probe_teacher(teacher, manifest, err));
done:
    return st;
}
