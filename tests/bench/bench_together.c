/* bench_together - what one process for several students saves: images/s x students of separate
 * runs and of the same runs together, on images of your own (synth-faces draws some).
 *
 *   bench_together --data faces/ [--cache shards/ | --classes 85742] [--students 3] [--steps 40]
 *
 * Every run is a process of its own, as a user would start it, and its whole life counts: opening
 * data and networks, memory that the system has to clear, steps, files. Runs differ in head.margin
 * only, so their steps cost the same. A first run that is not counted warms the disk's cache.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "tests/bench/bench_main.h"
#include "tests/bench/cache_for_data.h"
#include "train/run.h"

enum { MOST = 16 };

struct options {
    const char *data, *cache, *net, *loss, *precision;
    int64_t classes, students, steps, batch, input, threads, repeats;
};

#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {"data", CASK_CONFIG_TEXT, ROW(data), "", 0, 0, NULL, "PATH", "images"},
    {"cache", CASK_CONFIG_TEXT, ROW(cache), "", 0, 0, NULL, "DIR", "their teacher; adds --loss"},
    {"classes", CASK_CONFIG_INT, ROW(classes), "0", 0, 1e7, NULL, "N",
     "make a cache of a random teacher with so many classes"},
    {"loss", CASK_CONFIG_TEXT, ROW(loss), "kd", 0, 0, NULL, "NAME", "of every run"},
    {"net", CASK_CONFIG_TEXT, ROW(net), "mobilefacenet", 0, 0, NULL, "NAME", "student"},
    {"students", CASK_CONFIG_INT, ROW(students), "3", 1, MOST, NULL, "N", "runs"},
    {"steps", CASK_CONFIG_INT, ROW(steps), "40", 1, 1e6, NULL, "N", "of each run"},
    {"batch", CASK_CONFIG_INT, ROW(batch), "32", 2, 4096, NULL, "N", "images in a step"},
    {"input", CASK_CONFIG_INT, ROW(input), "112", 16, 1024, NULL, "N", "side of the images"},
    {"threads", CASK_CONFIG_INT, ROW(threads), "0", 0, 1024, NULL, "N", "0: all CPUs"},
    {"precision", CASK_CONFIG_TEXT, ROW(precision), "fp32", 0, 0, NULL, "NAME", "fp32 or bf16"},
    {"repeats", CASK_CONFIG_INT, ROW(repeats), "1", 1, 100, NULL, "N", "best of; both in turn"},
};

static enum cask_status make(const struct options *options, const char *folder, int student,
                             struct cask_train_config **config, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char text[16][400];
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
    snprintf(text[n++], 400, "train.precision=%.300s", options->precision);
    snprintf(text[n++], 400, "train.check_data=labels");
    snprintf(text[n++], 400, "head.margin=%g", 0.3 + 0.01 * student);
    snprintf(text[n++], 400, "loss.%.300s.weight=%d", options->loss, options->cache[0] != 0);
    for (int i = 0; i < n; i++) {
        CASK_TRY(cask_config_set((*config)->rows, text[i], "bench", err));
    }
done:
    return st;
}

/* Runs [first, end) in this process. */
static enum cask_status train(const struct options *options, const char *folder, int first, int end,
                              struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_train_config *configs[MOST] = {0};
    for (int i = first; i < end; i++) {
        CASK_TRY(make(options, folder, i, &configs[i], err));
    }
    CASK_TRY(cask_run_together((const struct cask_train_config *const *)configs + first,
                               end - first, err));
done:
    for (int i = first; i < end; i++) {
        cask_train_config_free(configs[i]);
    }
    return st;
}

struct measure {
    double seconds, peak_mb;
    double steps; /* seconds of them that were steps, by the runs' own clocks */
};

static enum cask_status add_steps(const struct options *options, const char *folder, int run,
                                  double *seconds, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char path[128];
    double each = NAN;
    struct cask_json *result = NULL;
    snprintf(path, sizeof path, "%s/%d/result.json", folder, run);
    CASK_TRY(cask_json_read(path, 1 << 20, &result, err));
    if (!cask_json_as_real(cask_json_get(result, "seconds_per_step"), &each)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "%s: no seconds_per_step", path));
    }
    *seconds += each * (double)options->steps;
done:
    cask_json_free(result);
    return st;
}

static enum cask_status remove_folder(const char *folder, struct cask_error *err)
{
    char command[80];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) == 0 ? CASK_OK : cask_error_set(err, CASK_ERR_IO, "%s", command);
}

/* The same in a process of its own; adds to what is measured. */
static enum cask_status in_child(const struct options *options, int first, int end,
                                 struct measure *measure, struct cask_error *err)
{
    char folder[] = "/tmp/cask-bench-XXXXXX";
    struct rusage usage;
    int status = 0;
    if (mkdtemp(folder) == NULL) {
        return cask_error_set(err, CASK_ERR_IO, "%s: cannot be made", folder);
    }
    const double begin = cask_now();
    const pid_t child = fork();
    if (child == 0) {
        enum cask_status st = train(options, folder, first, end, err);
        if (st != CASK_OK) {
            cask_error_print(err, "bench_together");
        }
        _exit(cask_status_exit_code(st));
    }
    if (child < 0 || wait4(child, &status, 0, &usage) != child || status != 0) {
        return cask_error_set(err, CASK_ERR_INTERNAL, "a run failed; its files are in %s", folder);
    }
    measure->seconds += cask_now() - begin;
    measure->peak_mb = fmax(measure->peak_mb, (double)usage.ru_maxrss / 1000);
    for (int i = first; i < end; i++) {
        enum cask_status st = add_steps(options, folder, i, &measure->steps, err);
        if (st != CASK_OK) {
            return st;
        }
    }
    return remove_folder(folder, err);
}

static void tell(const char *way, double images, const struct measure *m)
{
    printf("%-12s %9.2f %15.2f %28.1f %10.1f %27.0f\n", way, m->seconds, m->steps,
           images / m->seconds, images / m->steps, m->peak_mb);
}

static enum cask_status compare(const struct options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const int students = (int)options->students;
    struct measure apart = {.seconds = 1e30}, joined = {.seconds = 1e30};
    CASK_TRY(in_child(options, 0, 1, &(struct measure){0}, err));
    for (int64_t n = 0; n < options->repeats; n++) {
        struct measure a = {0}, j = {0};
        for (int i = 0; i < students; i++) {
            CASK_TRY(in_child(options, i, i + 1, &a, err));
        }
        CASK_TRY(in_child(options, 0, students, &j, err));
        apart = a.seconds < apart.seconds ? a : apart;
        joined = j.seconds < joined.seconds ? j : joined;
    }
    const double images = (double)(options->students * options->steps * options->batch);
    printf(
        "%d students     seconds   of them steps   images/s x students, whole   in steps   MB of "
        "the largest process\n",
        students);
    tell("one by one", images, &apart);
    tell("together", images, &joined);
    printf("together is %.3f times as fast, its steps %.3f times\n", apart.seconds / joined.seconds,
           apart.steps / joined.steps);
done:
    return st;
}

static enum cask_status run(void *user, struct cask_error *err)
{
    struct options *options = user;
    enum cask_status st = CASK_OK;
    char folder[] = "/tmp/cask-bench-XXXXXX";
    bool made = false;
    setenv("CASK_LOG", "warn", 0);
    if (options->classes > 0) {
        made = mkdtemp(folder) != NULL;
        CASK_TRY(cache_for_data(folder, options->data, options->classes, err));
        options->cache = folder;
    }
    CASK_TRY(compare(options, err));
done:
    if (made && remove_folder(folder, &(struct cask_error){0}) != CASK_OK) {
        fprintf(stderr, "%s: left behind\n", folder);
    }
    return st;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    return bench_main("bench_together", rows, sizeof rows / sizeof *rows, &options, run, argc,
                      argv);
}
