/* data/pairs_text.c - verification pairs in the format of LFW's pairs.txt.
 *
 * The header "sets TAB n" announces, for each set, n lines "name i j" and n lines "name i name j";
 * a header of one number is one set (LFW's pairsDevTest.txt). Columns are divided by tabs, or by
 * blanks in a line without tabs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"
#include "data/pairs_images.h"

enum { LARGEST_FILE = 1 << 28, MOST_PAIRS = 100000000, MOST_SETS = 1000, LONGEST_NAME = 255 };
enum { SHORTEST_LINE = 6 /* "a 1 2\n" */ };

struct cursor {
    const char *file;
    char *next, *end;
    int64_t number; /* of the line that was taken last */
};

/* The next line that is not empty, or NULL. Lines end with a NUL then. */
static char *take_line(struct cursor *at)
{
    while (at->next < at->end) {
        char *line = at->next;
        char *newline = memchr(line, '\n', (size_t)(at->end - line));
        char *stop = newline != NULL ? newline : at->end;
        at->next = stop + 1;
        at->number++;
        while (stop > line && strchr(" \t\r", stop[-1]) != NULL) {
            stop--;
        }
        *stop = 0;
        if (*line != 0) {
            return line;
        }
    }
    return NULL;
}

static int split(char *line, char *columns[5])
{
    const char *divider = strchr(line, '\t') != NULL ? "\t" : " ";
    int count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, divider, &rest); word != NULL && count < 5;
         word = strtok_r(NULL, divider, &rest)) {
        columns[count++] = word;
    }
    return count;
}

static bool read_count(const char *text, int64_t most, int64_t *value)
{
    char *end;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != 0 || number < 1 || number > most) {
        return false;
    }
    *value = number;
    return true;
}

/* Finds the file of NAME n, and its index. Without a folder the name is NAME/NAME_0001, no ending.
 */
static enum cask_status find_image(struct pairs_images *images, const struct cursor *at,
                                   const char *name, const char *number, int64_t *image,
                                   struct cask_error *err)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};
    enum cask_status st = CASK_OK;
    int64_t n = 0;
    if (strlen(name) > LONGEST_NAME || strchr(name, '/') != NULL || strcmp(name, "..") == 0 ||
        !read_count(number, 99999999, &n)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s:%lld: expected a name of at most %d bytes without '/' and an "
                                "image number from 1, found \"%.80s\" and \"%.80s\"",
                                at->file, (long long)at->number, LONGEST_NAME, name, number));
    }
    *image = -1;
    for (size_t i = 0; i < 3 && *image < 0; i++) {
        char path[2 * LONGEST_NAME + 32];
        snprintf(path, sizeof path, "%s/%s_%04lld%s", name, name, (long long)n,
                 images->folder != NULL ? endings[i] : "");
        CASK_TRY(pairs_images_find(images, path, image, err));
    }
    if (*image < 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s:%lld: no image %s/%s/%s_%04lld.jpg (.jpeg, .png)", at->file,
                                (long long)at->number, images->folder, name, name, (long long)n));
    }
done:
    return st;
}

static enum cask_status parse_pair(struct pairs_images *pairs, const struct cursor *at, char *line,
                                   struct cask_pair *pair, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *columns[5];
    int count = split(line, columns);
    if (count != 3 && count != 4) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s:%lld: expected \"name i j\" or \"name i name j\", found %d "
                                "columns beginning with \"%.80s\"",
                                at->file, (long long)at->number, count,
                                count > 0 ? columns[0] : ""));
    }
    pair->same = count == 3;
    CASK_TRY(find_image(pairs, at, columns[0], columns[1], &pair->a, err));
    CASK_TRY(find_image(pairs, at, columns[pair->same ? 0 : 2], columns[count - 1], &pair->b, err));
done:
    return st;
}

static enum cask_status parse_header(struct cursor *at, int64_t *sets, int64_t *half,
                                     struct cask_error *err)
{
    char *columns[5] = {0};
    char *line = take_line(at);
    int count = line != NULL ? split(line, columns) : 0;
    *sets = 1;
    bool good = count == 1 ? read_count(columns[0], MOST_PAIRS, half)
                           : count == 2 && read_count(columns[0], MOST_SETS, sets) &&
                                 read_count(columns[1], MOST_PAIRS, half);
    if (good && *sets * *half * 2 > (at->end - at->next) / SHORTEST_LINE + 1) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%s: the header promises %lld pairs, more than %lld bytes can hold",
                              at->file, (long long)(*sets * *half * 2),
                              (long long)(at->end - at->next));
    }
    if (!good) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%s:%lld: expected the header \"sets TAB pairs-per-half\" (such as "
                              "\"10 300\"; at most %d sets of %d pairs), found \"%.80s\"",
                              at->file, (long long)at->number, MOST_SETS, MOST_PAIRS,
                              count > 0 ? columns[0] : "");
    }
    return CASK_OK;
}

/* Fold borders follow from the counts alone, so each set must hold what the header says. */
static enum cask_status parse_sets(struct pairs_images *pairs, struct cursor *at, int64_t half,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (int64_t set = 0; set < pairs->base.folds; set++) {
        int64_t same = 0;
        for (int64_t i = 0; i < 2 * half; i++) {
            struct cask_pair *pair = &pairs->base.pairs[set * 2 * half + i];
            char *line = take_line(at);
            if (line == NULL) {
                CASK_TRY(cask_error_set(
                    err, CASK_ERR_FORMAT, "%s: the header promises %lld pairs, found %lld",
                    at->file, (long long)pairs->base.count, (long long)(set * 2 * half + i)));
            }
            CASK_TRY(parse_pair(pairs, at, line, pair, err));
            same += pair->same;
        }
        if (same != half) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                    "%s:%lld: set %lld ends here: expected %lld same and %lld "
                                    "different pairs, found %lld and %lld",
                                    at->file, (long long)at->number, (long long)set + 1,
                                    (long long)half, (long long)half, (long long)same,
                                    (long long)(2 * half - same)));
        }
    }
    if (take_line(at) != NULL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s:%lld: more lines than the %lld pairs that the header promises",
                                at->file, (long long)at->number, (long long)pairs->base.count));
    }
done:
    return st;
}

enum cask_status cask_pairs_open_lfw(const char *path, const char *folder, struct cask_pairs **out,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct pairs_images *pairs = NULL;
    char *text = NULL;
    size_t bytes = 0;
    int64_t sets = 0, half = 0;
    CASK_TRY(cask_file_read_all(path, LARGEST_FILE, &text, &bytes, err));
    struct cursor at = {.file = path, .next = text, .end = text + bytes};
    CASK_TRY(parse_header(&at, &sets, &half, err));
    CASK_TRY(pairs_images_create(path, folder, sets * half * 2, &pairs, err));
    pairs->base.folds = (int)sets;
    CASK_TRY(parse_sets(pairs, &at, half, err));
    *out = &pairs->base;
    pairs = NULL;
done:
    cask_free(text);
    cask_pairs_close(pairs != NULL ? &pairs->base : NULL);
    return st;
}
