/* Runs a fuzz target over the files of a committed corpus folder, so that every input that once
 * mattered is a test on every build. */
#include <stdint.h>
#include <stdio.h>

#include "common/file.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int main(int argc, char **argv)
{
    struct cask_error err = {0};
    char **names = NULL;
    size_t count = 0;
    if (argc != 2 || cask_folder_list(argv[1], &names, &count, &err) != CASK_OK) {
        fprintf(stderr, "usage: %s CORPUS_FOLDER: %s\n", argv[0], err.message);
        return 2;
    }
    for (size_t i = 0; i < count; i++) {
        char *path = cask_format("%s/%s", argv[1], names[i]);
        char *data = NULL;
        size_t bytes = 0;
        if (path == NULL ||
            cask_file_read_all(path, (size_t)1 << 26, &data, &bytes, &err) != CASK_OK) {
            fprintf(stderr, "%s: %s\n", argv[0], err.message);
            return 1;
        }
        LLVMFuzzerTestOneInput((const uint8_t *)data, bytes);
        cask_free(data);
        cask_free(path);
    }
    cask_folder_list_free(names, count);
    printf("%zu inputs replayed\n", count);
    return count > 0 ? 0 : 1;
}
