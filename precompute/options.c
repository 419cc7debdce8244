#include <stddef.h>

#include "precompute/precompute.h"

static const char *const embedding_names[] = {"f16", "int8", NULL};
static const char *const precision_names[] = {"auto", "fp32", "bf16", NULL};

#define ROW(field) offsetof(struct precompute_options, field)
const struct cask_config_row precompute_rows[] = {
    {"teacher", CASK_CONFIG_TEXT, ROW(teacher), "", 0, 0, NULL, "NAME",
     "one of the teachers above, onnx, or auto (from the file)"},
    {"weights", CASK_CONFIG_TEXT, ROW(weights), "", 0, 0, NULL, "FILE",
     "the teacher: .pth, .pt, .ckpt, .safetensors or .onnx"},
    {"data", CASK_CONFIG_TEXT, ROW(data), "", 0, 0, NULL, "PATH",
     "image folder, list file, train.rec or the folder that holds it"},
    {"out", CASK_CONFIG_TEXT, ROW(out), "", 0, 0, NULL, "DIR",
     "the cache; an unfinished one is resumed"},
    {"topk", CASK_CONFIG_INT, ROW(topk), "64", 1, 4096, NULL, "N", "largest cosines kept per view"},
    {"temperatures", CASK_CONFIG_REALS, ROW(temperatures), "[1, 4]", 0.01, 1000, NULL, "T,...",
     "temperatures of the stored log-sum-exps, at most 8"},
    {"scale", CASK_CONFIG_REAL, ROW(scale), "64", 1, 1024, NULL, "S",
     "s of the log-sum-exps; cosines are stored without it"},
    {"embedding", CASK_CONFIG_ENUM, ROW(embedding), "f16", 0, 0, embedding_names, NULL,
     "how embeddings are stored"},
    {"centers", CASK_CONFIG_TEXT, ROW(centers), "auto", 0, 0, NULL, "FILE|mean|classifier",
     "class centres: a checkpoint with a [classes, D] matrix, class means, or the teacher's own "
     "classifier; auto: the classifier if it is there and its rows belong to this data, else "
     "means"},
    {"preprocess", CASK_CONFIG_TEXT, ROW(preprocess), "", 0, 0, NULL, "SPEC",
     "rgb|bgr:MEAN:SCALE for files without metadata; kept in the manifest"},
    {"precision", CASK_CONFIG_ENUM, ROW(precision), "auto", 0, 0, precision_names, NULL,
     "of the forward pass; auto is bf16 only where the CPU has AMX"},
    {"batch", CASK_CONFIG_INT, ROW(batch), "16", 1, 4096, NULL, "N", "images per forward pass"},
    {"threads", CASK_CONFIG_INT, ROW(threads), "0", 0, 1024, NULL, "N", "CPU threads; 0: all"},
    {"limit", CASK_CONFIG_INT, ROW(limit), "0", 0, 1e15, NULL, "N",
     "only the first N images; 0: all"},
    {"shard_images", CASK_CONFIG_INT, ROW(shard_images), "16384", 64, 1048576, NULL, "N",
     "images per shard"},
    {"shards", CASK_CONFIG_TEXT, ROW(shards), "", 0, 0, NULL, "A:B",
     "build only shards A to B-1, as one part of a cache that is joined later"},
    {"parts", CASK_CONFIG_TEXTS, ROW(parts), "", 0, 0, NULL, "DIR",
     "a part with staged embeddings for class means to go on from; may be repeated"},
    {"only", CASK_CONFIG_TEXTS, ROW(only), "", 0, 0, NULL, "N,...|bad",
     "of a finished cache: build these shards anew (\"centers\" too), or what is damaged"},
    {"max_bad_percent", CASK_CONFIG_REAL, ROW(max_bad_percent), "5", 0, 100, NULL, "P",
     "stop when more images than this cannot be decoded"},
    {"backend", CASK_CONFIG_TEXT, ROW(backend), "cpu", 0, 0, NULL, "NAME",
     "cpu, or ref (the slow oracle)"},
};
const size_t precompute_row_count = sizeof precompute_rows / sizeof *precompute_rows;
