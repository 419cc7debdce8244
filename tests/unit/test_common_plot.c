/* common/plot.h: what gnuplot is told, and what comes back. Text that grows is tested on the way.
 */
#include "tests/support/test.h"

#include "common/file.h"
#include "common/mem.h"
#include "common/plot_internal.h"

static struct cask_error err;
static const char evil[] =
    "a' b''; d'; system \"touch owned\" `touch owned` @x <b>&amp;\\n\n\"c\" %s "
    "\xff\xc3\x28 $d0 id='gpPt0' \xc3\xb6";

static void have_gnuplot(void)
{
    if (system("command -v gnuplot >/dev/null") != 0) {
        printf("skipped: gnuplot is not installed\n");
        skip();
    }
}

/* An independent reader must take it as XML; true if python3 was there to ask. */
static void assert_xml(const char *svg)
{
    FILE *python = popen("/usr/bin/python3 -c 'import sys, xml.dom.minidom as m\n"
                         "m.parseString(sys.stdin.buffer.read())'",
                         "w");
    fputs(svg, python);
    assert_int_equal(pclose(python), 0);
}

static void escapes(void **state)
{
    (void)state;
    struct cask_text text = {0};
    cask_text_escaped(&text,
                      "<a href=\"x\" b='y'>&\x01\xff \xc3\xb6 \xed\xa0\x80 \xf0\x9f\x98\x80\t");
    assert_string_equal(text.data, "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;?? \xc3\xb6 ??? "
                                   "\xf0\x9f\x98\x80\t");
    text.length = 0;
    for (int i = 0; i < 10000; i++) {
        cask_text_format(&text, "%d,", i % 10);
    }
    assert_int_equal(text.length, 20000);
    assert_int_equal(strlen(text.data), 20000);
    cask_text_release(&text);
    assert_ok(cask_text_check(&text, "x", &err));
    assert_string_equal(text.data, "");
    cask_text_release(&text);
    cask_mem_fail_after(1);
    cask_text_put(&text, "x");
    cask_mem_fail_after(0);
    cask_text_put(&text, "y"); /* later writers keep still */
    assert_refused(CASK_ERR_MEMORY, "the page", cask_text_check(&text, "the page", &err));
    assert_int_equal(cask_utf8_length("\xc0\xaf"), 0);         /* overlong */
    assert_int_equal(cask_utf8_length("\xe0\x80\xaf"), 0);     /* overlong */
    assert_int_equal(cask_utf8_length("\xf4\x90\x80\x80"), 0); /* past U+10FFFF */
    assert_int_equal(cask_utf8_length("\xe2\x82"), 0);         /* cut */
    assert_int_equal(cask_utf8_length("\xe2\x82\xac"), 3);
}

static void no_label_is_a_command(void **state)
{
    (void)state;
    have_gnuplot();
    char folder[256], before[4096], *svg = NULL;
    const double x[] = {0, 1}, y[] = {1, 2};
    const struct cask_plot_series series = {evil, x, y, 2, CASK_PLOT_LINE, true, NULL, NULL};
    const char *const names[] = {evil, NULL};
    struct cask_plot plot = {.title = evil,
                             .x_label = evil,
                             .y_label = evil,
                             .right_label = evil,
                             .series = &series,
                             .series_count = 1};
    test_make_folder(folder);
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    for (int i = 0; i < 2; i++) {
        plot.names = i == 1 ? names : NULL;
        plot.name_count = 2 * i;
        assert_ok(cask_plot_svg(&plot, &svg, &err));
        assert_xml(svg);
        assert_non_null(strstr(svg,
                               "system \"touch owned\" `touch owned` @x &lt;b>&amp;amp;\\n \"c\" "
                               "%s ??\x28 $d0 id=\xe2\x80\x99gpPt0\xe2\x80\x99 \xc3\xb6"));
        cask_free(svg);
    }
    assert_false(cask_path_exists("owned"));
    assert_int_equal(chdir(before), 0);
    test_remove_folder(folder);
}

/* Names of rows can be longer than a picture is wide. Of many lines each has its name in the key,
 * inside the picture, with both its ends. */
static void long_names_stay_inside(void **state)
{
    (void)state;
    have_gnuplot();
    enum { MANY = 15, WIDTH = 1120, HEIGHT = 400 };
    char names[MANY][128], *svg = NULL;
    const double x[] = {0, 1}, y[] = {1, 2};
    struct cask_plot_series series[MANY];
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i],
                 "begin%02d \xc3\xb6 a name of a row that is very long and says everything twice, "
                 "really end%02d",
                 i, i);
        series[i] = (struct cask_plot_series){names[i], x, y, 2, CASK_PLOT_LINE, false, NULL, NULL};
    }
    const struct cask_plot plot = {
        .width = WIDTH, .height = HEIGHT, .series = series, .series_count = MANY};
    assert_ok(cask_plot_svg(&plot, &svg, &err));
    assert_xml(svg);
    for (int i = 0; i < MANY; i++) {
        char begin[16], end[16];
        snprintf(begin, sizeof begin, ">begin%02d \xc3\xb6", i);
        snprintf(end, sizeof end, "end%02d<", i);
        const char *at = strstr(svg, begin), *tail = at != NULL ? strstr(at, end) : NULL;
        if (at == NULL || tail == NULL || tail - at > 60 || strstr(at, "\xe2\x80\xa6") > tail) {
            fail_msg("%s is not in the key", names[i]);
        }
    }
    for (const char *at = svg; (at = strstr(at, "translate(")) != NULL; at++) {
        double left = NAN, top = NAN;
        assert_int_equal(sscanf(at, "translate(%lf,%lf)", &left, &top), 2);
        assert_true(left >= 0 && left <= WIDTH && top >= 0 && top <= HEIGHT);
    }
    cask_free(svg);
}

/* Three points with known ranges: their places in the picture, read back from the path. */
static void draws_to_scale(void **state)
{
    (void)state;
    have_gnuplot();
    char *svg = NULL;
    const double x[] = {0, 1, 2}, y[] = {0, 1, 4};
    const struct cask_plot_series series = {"curve", x, y, 3, CASK_PLOT_LINE, false, NULL, NULL};
    const struct cask_plot plot = {
        .x_max = 2, .y_max = 4, .series = &series, .series_count = 1, .width = 500, .height = 300};
    assert_ok(cask_plot_svg(&plot, &svg, &err));
    assert_int_equal(strncmp(svg, "<svg role=\"img\"", 15), 0);
    assert_non_null(strstr(svg, "viewBox=\"0 0 500 300\""));
    assert_null(strstr(svg, "<title>"));
    assert_null(strstr(svg, "id='gp"));
    const char *path = strstr(svg, "rgb(  0, 114, 178)'  d='M"); /* #0072B2 */
    double p[10];
    assert_non_null(path);
    assert_int_equal(sscanf(strchr(path, 'M'), "M%lf,%lf L%lf,%lf M%lf,%lf L%lf,%lf L%lf,%lf", p,
                            p + 1, p + 2, p + 3, p + 4, p + 5, p + 6, p + 7, p + 8, p + 9),
                     10); /* the first two are the key's */
    assert_close((p[6] - p[4]) / (p[8] - p[4]), 0.5, 1e-3);
    assert_close((p[7] - p[5]) / (p[9] - p[5]), 0.25, 1e-3);
    assert_true(p[8] > p[4] + 350 && p[9] < p[5] - 200 && p[8] <= 500 && p[9] >= 0);
    cask_free(svg);
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;
    for (; *text != 0; text++) {
        lines += *text == '\n';
    }
    return lines;
}

/* A million points become a few thousand, and no peak is lost. */
static void thins_long_lines(void **state)
{
    (void)state;
    enum { POINTS = 1000000 };
    double *x = cask_alloc(POINTS, sizeof *x), *y = cask_alloc(POINTS, sizeof *y);
    struct cask_text text = {0};
    for (int i = 0; i < POINTS; i++) {
        x[i] = i + 1;
        y[i] = sin(i * 0.001);
    }
    y[777777] = 55.5;
    y[222222] = -44.25;
    y[500000] = NAN;
    const struct cask_plot_series series = {"", x, y, POINTS, CASK_PLOT_LINE, false, NULL, NULL};
    struct cask_plot plot = {.series = &series, .series_count = 1};
    for (int i = 0; i < 2; i++) {
        plot.log_x = i == 1;
        text.length = 0;
        struct plot_extent extent = plot_measure(&plot);
        assert_close(extent.x_max, POINTS, 0);
        assert_close(extent.y_max, 55.5, 0);
        plot_points(&plot, &extent, &series, &text);
        assert_true(count_lines(text.data) > 700 && count_lines(text.data) < 4 * 722 + 5);
        assert_non_null(strstr(text.data, "\n777778 55.5\n"));
        assert_non_null(strstr(text.data, "\n222223 -44.25\n"));
        assert_non_null(strstr(text.data, "\n\n")); /* the NaN is a gap */
        assert_int_equal(strncmp(text.data, "1 0\n", 4), 0);
        assert_non_null(strstr(text.data, "\n1000000 "));
    }
    cask_text_release(&text);
    cask_free(x);
    cask_free(y);
}

static void leaves_out_what_cannot_be_drawn(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3, 4, 5, 6, NAN}, y[] = {NAN, 2, INFINITY, 0, -1, 6, 7};
    const struct cask_plot_series series = {"", x, y, 7, CASK_PLOT_LINE, false, NULL, NULL};
    struct cask_plot plot = {.series = &series, .series_count = 1};
    struct cask_text text = {0};
    struct plot_extent extent = plot_measure(&plot);
    plot_points(&plot, &extent, &series, &text);
    assert_string_equal(text.data, "2 2\n\n4 0\n5 -1\n6 6\n\n");
    text.length = 0;
    plot.log_y = true;
    extent = plot_measure(&plot);
    plot_points(&plot, &extent, &series, &text);
    assert_string_equal(text.data, "2 2\n\n6 6\n\n");
    cask_text_release(&text);
}

/* Every style with every kind of bad series gives a picture and no error. */
static void survives_anything(void **state)
{
    (void)state;
    have_gnuplot();
    static const double x[] = {1, 2, 3}, far[] = {1e15, 1e15 + 1, 1e15 + 2};
    static const double rows[][3] = {
        {NAN, NAN, NAN},        {INFINITY, -INFINITY, NAN}, {0, 0, 0},         {5, 5, 5},
        {1e308, -1e308, 1e149}, {1e-310, 5e-324, 2e-310},   {1, 1 + 3e-16, 1}, {-3, -2, -1}};
    for (int row = 0; row < 8; row++) {
        const int style = row % 5;
        for (int variant = 0; variant < 4; variant++) {
            const struct cask_plot_series series[2] = {
                {"a", variant == 3 ? far : x, rows[row], variant == 1 ? 1 : 3,
                 (enum cask_plot_style)style, false, rows[(row + 3) % 8], rows[(row + 5) % 8]},
                {"b", x, rows[7 - row], variant == 2 ? 0 : 3, (enum cask_plot_style)style, true,
                 NULL, NULL}};
            const struct cask_plot plot = {.log_x = variant == 1,
                                           .log_y = variant >= 1,
                                           .x_min = variant == 2 ? 100 : 0,
                                           .x_max = variant == 2 ? NAN : 0,
                                           .y_min = variant == 0 ? 7 : 0,
                                           .y_max = variant == 0 ? 9 : 0,
                                           .series = series,
                                           .series_count = 2};
            char *svg = NULL;
            if (cask_plot_svg(&plot, &svg, &err) != CASK_OK) {
                fail_msg("row %d, variant %d: %s", row, variant, err.message);
            }
            cask_free(svg);
        }
    }
    const struct cask_plot nothing = {0};
    char *svg = NULL;
    assert_ok(cask_plot_svg(&nothing, &svg, &err));
    assert_non_null(strstr(svg, "no values"));
    cask_free(svg);
}

static void writes_files(void **state)
{
    (void)state;
    have_gnuplot();
    char folder[256], path[300], *data = NULL, *again = NULL;
    size_t bytes = 0, more = 0;
    const double x[] = {1, 2, 3}, y[] = {3, 1, 2};
    const struct cask_plot_series series = {"s", x, y, 3, CASK_PLOT_STEPS, false, NULL, NULL};
    const struct cask_plot plot = {.title = "t", .series = &series, .series_count = 1};
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/a.png", folder);
    assert_ok(cask_plot_write(&plot, path, &err));
    assert_ok(cask_file_read_all(path, 1 << 24, &data, &bytes, &err));
    assert_memory_equal(data, "\x89PNG\r\n\x1a\n", 8);
    assert_memory_equal(data + 16, "\0\0\x05\xa0\0\0\x03\x48", 8); /* 1440 x 840 */
    cask_free(data);
    snprintf(path, sizeof path, "%s/a.svg", folder);
    assert_ok(cask_plot_write(&plot, path, &err));
    assert_ok(cask_file_read_all(path, 1 << 24, &data, &bytes, &err));
    assert_int_equal(strncmp(data, "<?xml", 5), 0);
    assert_ok(cask_plot_write(&plot, path, &err)); /* the same picture, the same bytes */
    assert_ok(cask_file_read_all(path, 1 << 24, &again, &more, &err));
    assert_int_equal(bytes, more);
    assert_memory_equal(data, again, bytes);
    cask_free(data);
    cask_free(again);
    snprintf(path, sizeof path, "%s/a.jpg", folder);
    assert_refused(CASK_ERR_USAGE, ".svg or .png", cask_plot_write(&plot, path, &err));
    test_remove_folder(folder);
}

static void says_so_without_gnuplot(void **state)
{
    (void)state;
    char folder[256], path[300], *kept = strdup(getenv("PATH")), *svg = NULL;
    const struct cask_plot plot = {0};
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/a.png", folder);
    setenv("PATH", "", 1);
    assert_refused(CASK_ERR_UNSUPPORTED, "gnuplot-nox", cask_plot_svg(&plot, &svg, &err));
    assert_null(svg);
    assert_refused(CASK_ERR_UNSUPPORTED, "gnuplot", cask_plot_write(&plot, path, &err));
    assert_false(cask_path_exists(path));
    setenv("PATH", kept, 1);
    free(kept);
    test_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes),
        cmocka_unit_test(no_label_is_a_command),
        cmocka_unit_test(long_names_stay_inside),
        cmocka_unit_test(draws_to_scale),
        cmocka_unit_test(thins_long_lines),
        cmocka_unit_test(leaves_out_what_cannot_be_drawn),
        cmocka_unit_test(survives_anything),
        cmocka_unit_test(writes_files),
        cmocka_unit_test(says_so_without_gnuplot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
