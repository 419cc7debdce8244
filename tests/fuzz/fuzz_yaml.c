/* Settings and sweeps from anywhere. The input is cut at lines "====" into up to three files, which
 * are open as 100, 101 and 102 in a folder of their own, /proc/self/fd: "extends: 101" reaches the
 * next one, and an input that names anything with a slash in it is passed over, so nothing else of
 * the file system is read.
 *
 * What binds must come back from its dump with the same dump; what is a sweep must have rows whose
 * folders differ. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/mem.h"
#include "train/options.h"
#include "train/settings.h"
#include "train/sweep_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { FILES = 3, FIRST_FILE = 100 };

static bool has_slash(const struct cask_yaml_node *node)
{
    bool found = node->text != NULL && strchr(node->text, '/') != NULL;
    for (const struct cask_yaml_node *child = node->first; !found && child != NULL;
         child = child->next) {
        found = has_slash(child);
    }
    return found;
}

/* May be read: every file of the input, extended or not. */
static bool is_confined(const uint8_t *data, size_t bytes)
{
    struct cask_error err;
    struct cask_yaml file;
    if (cask_yaml_parse("part", (const char *)data, bytes, &file, &err) != CASK_OK) {
        return true; /* nothing in it will be followed */
    }
    const bool found = has_slash(file.root);
    cask_yaml_close(&file);
    return !found;
}

static void no_difference(const char *key, const char *before, const char *now, void *user)
{
    (void)user;
    fprintf(stderr, "%s: %s came back as %s\n", key, before, now);
    abort();
}

/* Dump, bind, dump again. */
static void go_round(const struct cask_train_config *config)
{
    struct cask_error err = {0};
    struct cask_train_config *again = NULL;
    struct cask_yaml file = {0};
    char *text = cask_config_dump(config->rows), *second = NULL, *identity = NULL;
    if (cask_train_config_create(&again, &err) != CASK_OK ||
        cask_yaml_parse("dump", text, strlen(text), &file, &err) != CASK_OK ||
        cask_config_apply(again->rows, &file, file.root, NULL, &err) != CASK_OK ||
        cask_train_config_identity_of(config, false, &identity, &err) != CASK_OK) {
        fprintf(stderr, "%s\n%s\n", err.message, text);
        abort();
    }
    second = cask_config_dump(again->rows);
    cask_settings_compare(text, second, no_difference, NULL);
    if (strcmp(text, second) != 0) {
        abort();
    }
    cask_yaml_close(&file);
    cask_train_config_free(again);
    cask_free(identity);
    cask_free(second);
    cask_free(text);
}

static void read_settings(const char *path)
{
    struct cask_error err;
    struct cask_train_config *config = NULL;
    if (cask_train_config_create(&config, &err) == CASK_OK &&
        cask_config_load_file(config->rows, path, &err) == CASK_OK) {
        (void)cask_train_config_check_values(config, &err);
        go_round(config);
    }
    cask_train_config_free(config);
}

static void read_sweep(const char *path)
{
    struct cask_error err;
    struct cask_sweep sweep;
    struct cask_train_config *call = NULL;
    char program[] = "fuzz", *argv[] = {program, NULL};
    if (cask_train_config_create(&call, &err) == CASK_OK) {
        call->call.sweep = path;
        if (cask_sweep_open(call, 1, argv, &sweep, &err) == CASK_OK) {
            for (int i = 0; i < sweep.run_count; i++) {
                for (int j = 0; j < i && i < 40; j++) {
                    if (strcmp(sweep.runs[i].folder, sweep.runs[j].folder) == 0) {
                        abort();
                    }
                }
            }
            go_round(sweep.runs[sweep.run_count - 1].config);
            cask_sweep_close(&sweep);
        }
    }
    cask_train_config_free(call);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const uint8_t *end = data + bytes;
    bool confined = true;
    int files[FILES];
    char path[64];
    for (int i = 0; i < FILES; i++) {
        const uint8_t *stop = bytes > 0 ? memmem(data, (size_t)(end - data), "====\n", 5) : NULL;
        const size_t length = (size_t)((stop != NULL ? stop : end) - data);
        const int fd = memfd_create("fuzz", MFD_CLOEXEC);
        files[i] = fd < 0 ? -1 : dup2(fd, FIRST_FILE + i);
        close(fd);
        if (files[i] < 0 || (length > 0 && write(files[i], data, length) != (ssize_t)length)) {
            abort();
        }
        confined = confined && is_confined(data, length);
        data = stop != NULL ? stop + 5 : end;
    }
    if (confined) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", FIRST_FILE);
        read_settings(path);
        read_sweep(path);
    }
    for (int i = 0; i < FILES; i++) {
        close(files[i]);
    }
    return 0;
}
