#include "common/plot.h"

#include <stdio.h>
#include <string.h>

#include "common/child.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/mem.h"
#include "common/plot_internal.h"

enum { SECONDS = 60, NAME_BYTES = 16 };
static const size_t largest_picture = (size_t)64 << 20;

/* Runs gnuplot; `name` receives the prefix of the picture's ids: the same picture has the same
 * bytes. */
static enum cask_status draw(const struct cask_plot *plot, enum plot_terminal terminal,
                             char name[NAME_BYTES], struct cask_text *picture,
                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    static const char *const arguments[] = {"-d", NULL}; /* no start files of the user */
    struct cask_text script = {0};
    snprintf(name, NAME_BYTES, "p");
    plot_script(plot, terminal, name, &script);
    CASK_TRY(cask_text_check(&script, "a picture's commands", err));
    snprintf(name, NAME_BYTES, "p%08x", (unsigned)cask_crc32(0, script.data, script.length));
    const struct cask_child gnuplot = {.program = "gnuplot",
                                       .arguments = arguments,
                                       .input = script.data,
                                       .input_bytes = script.length,
                                       .max_output = largest_picture,
                                       .seconds = SECONDS};
    st = cask_child_run(&gnuplot, picture, err);
    if (st == CASK_ERR_UNSUPPORTED) {
        CASK_TRY(cask_error_set(err, st,
                                "gnuplot is not in PATH, so there are no pictures; install it "
                                "(Debian: gnuplot-nox)"));
    }
    CASK_TRY(st);
    CASK_TRY(cask_text_check(picture, "a picture", err));
    if (picture->length == 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_IO, "gnuplot: ended well but drew nothing"));
    }
done:
    cask_text_release(&script);
    return st;
}

enum cask_status cask_plot_svg(const struct cask_plot *plot, char **svg, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char name[NAME_BYTES];
    struct cask_text document = {0}, element = {0};
    *svg = NULL;
    CASK_TRY(draw(plot, PLOT_SVG, name, &document, err));
    plot_element(plot, name, document.data, &element);
    CASK_TRY(cask_text_check(&element, "a picture", err));
    *svg = element.data;
    element = (struct cask_text){0};
done:
    cask_text_release(&document);
    cask_text_release(&element);
    return st;
}

enum cask_status cask_plot_check_name(const char *path, struct cask_error *err)
{
    if (path[0] == '\0' || cask_ends_with(path, ".svg") || cask_ends_with(path, ".png")) {
        return CASK_OK;
    }
    return cask_error_set(err, CASK_ERR_USAGE, "%s: expected a name that ends in .svg or .png",
                          path);
}

enum cask_status cask_plot_write(const struct cask_plot *plot, const char *path,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char name[NAME_BYTES];
    struct cask_text picture = {0};
    CASK_TRY(cask_plot_check_name(path, err));
    CASK_TRY(draw(plot, cask_ends_with(path, ".svg") ? PLOT_SVG : PLOT_PNG, name, &picture, err));
    CASK_TRY(cask_file_write_all(path, picture.data, picture.length, err));
done:
    cask_text_release(&picture);
    return st;
}
