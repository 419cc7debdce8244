/* bench_together - what one process for several students saves: images/s x students of runs one
 * after another and of the same runs together, on images of your own (synth-faces draws some).
 *
 *   bench_together --data faces/ [--cache shards/] [--students 4] [--steps 20] [--batch 32]
 *
 * Runs differ in head.margin only, so their steps cost the same. Both ways include opening data and
 * networks; a first run that is not counted warms the disk's cache.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/config.h"
#include "common/log.h"
#include "common/mem.h"
#include "train/run.h"

enum { MOST = 16 };

struct options {
    const char *data, *cache, *net;
    int64_t students, steps, batch, input, threads;
};

#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {"data", CASK_CONFIG_TEXT, ROW(data), "", 0, 0, NULL, "PATH", "images"},
    {"cache", CASK_CONFIG_TEXT, ROW(cache), "", 0, 0, NULL, "DIR", "their teacher; adds loss.kd"},
    {"net", CASK_CONFIG_TEXT, ROW(net), "mobilefacenet", 0, 0, NULL, "NAME", "student"},
    {"students", CASK_CONFIG_INT, ROW(students), "4", 1, MOST, NULL, "N", "runs"},
    {"steps", CASK_CONFIG_INT, ROW(steps), "20", 1, 1e6, NULL, "N", "of each run"},
    {"batch", CASK_CONFIG_INT, ROW(batch), "32", 2, 4096, NULL, "N", "images in a step"},
    {"input", CASK_CONFIG_INT, ROW(input), "112", 16, 1024, NULL, "N", "side of the images"},
    {"threads", CASK_CONFIG_INT, ROW(threads), "0", 0, 1024, NULL, "N", "0: all CPUs"},
};

static enum cask_status make(const struct options *options, const char *folder, int student,
                             struct cask_train_config **config, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char text[12][400];
    int n = 0;
    CASK_TRY(cask_train_config_create(config, err));
    snprintf(text[n++], 400, "data=%.380s", options->data);
    snprintf(text[n++], 400, "cache=%.380s", options->cache);
    snprintf(text[n++], 400, "out=%.300s/%d", folder, student);
    snprintf(text[n++], 400, "student.net=%.300s", options->net);
    snprintf(text[n++], 400, "student.input=%lld", (long long)options->input);
    snprintf(text[n++], 400, "train.batch=%lld", (long long)options->batch);
    snprintf(text[n++], 400, "train.max_steps=%lld", (long long)options->steps);
    snprintf(text[n++], 400, "train.epochs=100000");
    snprintf(text[n++], 400, "train.threads=%lld", (long long)options->threads);
    snprintf(text[n++], 400, "train.check_data=labels");
    snprintf(text[n++], 400, "head.margin=%g", 0.3 + 0.01 * student);
    snprintf(text[n++], 400, "loss.kd.weight=%d", options->cache[0] != 0);
    for (int i = 0; i < n; i++) {
        CASK_TRY(cask_config_set((*config)->rows, text[i], "bench", err));
    }
done:
    return st;
}

/* `together`: all at once; else one after another. */
static enum cask_status measure(const struct options *options, int students, bool together,
                                double *seconds, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_train_config *configs[MOST] = {0};
    char folder[] = "/tmp/cask-bench-XXXXXX", command[64];
    if (mkdtemp(folder) == NULL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_IO, "%s: cannot be made", folder));
    }
    for (int i = 0; i < students; i++) {
        CASK_TRY(make(options, folder, i, &configs[i], err));
    }
    const double begin = cask_now();
    if (together) {
        CASK_TRY(
            cask_run_together((const struct cask_train_config *const *)configs, students, err));
    }
    for (int i = 0; i < students && !together; i++) {
        CASK_TRY(cask_run(configs[i], err));
    }
    *seconds = cask_now() - begin;
done:
    for (int i = 0; i < students; i++) {
        cask_train_config_free(configs[i]);
    }
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0 && st == CASK_OK) {
        st = cask_error_set(err, CASK_ERR_IO, "%s", command);
    }
    return st;
}

int main(int argc, char **argv)
{
    enum cask_status st = CASK_OK;
    struct cask_error error = {0}, *err = &error;
    struct options options = {0};
    struct cask_config *config = NULL;
    struct cask_config_section section = {"", rows, sizeof rows / sizeof *rows, &options};
    bool stop = false;
    double warm, apart, joined;
    CASK_TRY(cask_config_create(&section, 1, &config, err));
    CASK_TRY(cask_cli_parse(config, argc, argv, "usage: bench_together --data PATH\n", &stop, err));
    if (stop) {
        goto done;
    }
    setenv("CASK_LOG", "warn", 0);
    CASK_TRY(measure(&options, 1, false, &warm, err));
    CASK_TRY(measure(&options, (int)options.students, false, &apart, err));
    CASK_TRY(measure(&options, (int)options.students, true, &joined, err));
    const double images = (double)(options.students * options.steps * options.batch);
    printf("%-28s %8.2f s %8.1f images/s x students\n", "one after another", apart, images / apart);
    printf("%lld together %*s %8.2f s %8.1f images/s x students, %.3f times as fast\n",
           (long long)options.students, 16, "", joined, images / joined, apart / joined);
done:
    if (st != CASK_OK) {
        cask_error_print(err, "bench_together");
    }
    cask_config_free(config);
    return cask_status_exit_code(st);
}
