/*
 * The text console: pixels of glyphs, strides, clipping, the way round, modes that are refused; and
 * pictures.
 */
#include "tests/fake/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/host/screen.h"
#include "drivers/host/screen_font.h"
#include "tests/fake/iospace.h"

#define CELL_W FONT_CELL_WIDTH
#define CELL_H FONT_CELL_HEIGHT
#define MARGIN 0xabababab /* behind the picture's right edge; never written */

static struct screen screen;
static uint32_t *pixels;
static struct screen_mode mode;

/*
 * A picture of w x h with `more` pixels of stride, in a block that ends with its last line's
 * stride.
 */
static void make(uint32_t w, uint32_t h, uint32_t more)
{
    size_t count = (size_t)(w + more) * h;

    free(pixels);
    pixels = malloc(count * sizeof(*pixels));
    for (size_t i = 0; i < count; i++)
        pixels[i] = MARGIN;
    mode = (struct screen_mode){.base = 0x80000000,
                                .size_bytes = count * 4,
                                .width = w,
                                .height = h,
                                .stride_pixels = w + more,
                                .format = SCREEN_BGR};
    assert_null(screen_refuses(&mode));
    screen_init(&screen, &mode, pixels);
}

static void write_text(const char *text)
{
    screen_write(&screen, text, strlen(text));
}

static uint32_t pixel(uint32_t x, uint32_t y)
{
    return pixels[(size_t)y * mode.stride_pixels + x];
}

/*
 * Does the cell look like c? The comparison knows the font by rows only, not how they get on the
 * screen.
 */
static bool shows(unsigned column, unsigned row, char c)
{
    unsigned scale = screen.scale;

    for (unsigned y = 0; y < CELL_H * scale; y++)
        for (unsigned x = 0; x < CELL_W * scale; x++) {
            bool ink = font_row(c, y / scale) >> (x / scale) & 1;

            if (pixel(column * CELL_W * scale + x, row * CELL_H * scale + y) !=
                (ink ? screen.ink : screen.paper))
                return false;
        }
    return true;
}

static bool row_shows(unsigned row, const char *text)
{
    size_t length = strlen(text);

    for (unsigned column = 0; column < screen.columns; column++)
        if (!shows(column, row, column < length ? text[column] : ' '))
            return false;
    return true;
}

/* Every pixel that belongs to no cell is paper inside the picture and untouched outside it. */
static void expect_edges(void)
{
    uint32_t right = screen.columns * CELL_W * screen.scale;
    uint32_t bottom = screen.rows * CELL_H * screen.scale;

    for (uint32_t y = 0; y < mode.height; y++)
        for (uint32_t x = 0; x < mode.stride_pixels; x++) {
            if (x >= mode.width)
                assert_int_equal(pixel(x, y), MARGIN);
            else if (x >= right || y >= bottom)
                assert_int_equal(pixel(x, y), screen.paper);
        }
}

/* One glyph by its dots, written down here once more: the font's bits are columns from the left. */
static void the_letter_F(void **state)
{
    static const char *const expected[CELL_H] = {"      ", " #####", " #    ", " #    ", " #### ",
                                                 " #    ", " #    ", " #    ", "      ", "      "};

    (void)state;
    make(120, 40, 0);
    assert_int_equal(screen.scale, 1);
    write_text("xF");
    for (unsigned y = 0; y < CELL_H; y++)
        for (unsigned x = 0; x < CELL_W; x++)
            assert_int_equal(pixel(CELL_W + x, y),
                             expected[y][x] == '#' ? screen.ink : screen.paper);
}

static void glyphs_differ(void **state)
{
    (void)state;
    for (int a = FONT_FIRST; a <= FONT_LAST; a++) {
        bool ink = false;

        for (unsigned row = 0; row < CELL_H; row++) {
            assert_int_equal(font_row((char)a, row) & 1, 0); /* the gap */
            assert_int_equal(font_row((char)a, row) >> CELL_W, 0);
            ink |= font_row((char)a, row) != 0;
        }
        assert_int_equal(font_row((char)a, 0), 0);
        assert_int_equal(font_row((char)a, CELL_H + 5), 0);
        assert_int_equal(ink, a != ' ');
        for (int b = FONT_FIRST; b < a; b++) {
            bool same = true;

            for (unsigned row = 0; row < CELL_H; row++)
                same &= font_row((char)a, row) == font_row((char)b, row);
            assert_false(same);
        }
    }
    assert_int_equal(font_row('\x7f', 2), font_row('?', 2));
    assert_int_equal(font_row('\x80', 2), font_row('?', 2));
    assert_int_equal(font_row('\n', 2), font_row('?', 2));
}

static void doubled(void **state)
{
    (void)state;
    make(960, 60, 3);
    assert_int_equal(screen.scale, 2);
    assert_int_equal(screen.columns, 80);
    assert_int_equal(screen.rows, 3);
    write_text("ab\n c");
    assert_true(row_shows(0, "ab"));
    assert_true(row_shows(1, " c"));
    assert_true(row_shows(2, ""));
    expect_edges();
    make(959, 60, 0);
    assert_int_equal(screen.scale, 1);
}

static void partial_cells_are_never_drawn(void **state)
{
    (void)state;
    for (uint32_t more = 0; more < 3; more++) {
        make(20 * CELL_W + 5, 4 * CELL_H + 9, more);
        assert_int_equal(screen.columns, 20);
        assert_int_equal(screen.rows, 4);
        for (unsigned i = 0; i < 300; i++)
            write_text("#");
        expect_edges();
    }
}

static void long_lines_go_on_below(void **state)
{
    (void)state;
    make(120, 60, 0);
    write_text(
        "abcdefghijklmnopqrst"); /* exactly full: the next line is begun by the next character */
    assert_int_equal(screen.row, 0);
    write_text("u\r\nv");
    assert_true(row_shows(0, "abcdefghijklmnopqrst"));
    assert_true(row_shows(1, "u"));
    assert_true(row_shows(2, "v"));
    make(120, 60, 0);
    write_text("abcdefghijklmnopqrst\nu"); /* and a newline there makes no empty line */
    assert_true(row_shows(1, "u"));
}

static void around(void **state)
{
    (void)state;
    make(120, 50, 1);
    assert_int_equal(screen.rows, 5);
    write_text("0 a long one\n1 longer yet\n2\n3\n4");
    assert_true(row_shows(0, "")); /* the line ahead was wiped when line 4 began */
    assert_true(row_shows(1, "1 longer yet"));
    assert_true(row_shows(4, "4"));
    write_text("\n5");
    assert_true(row_shows(0, "5"));
    assert_true(row_shows(1, ""));
    assert_true(row_shows(2, "2"));
    for (unsigned i = 6; i < 60; i++) {
        char text[32], old[32];

        snprintf(text, sizeof(text), "\n%u %.*s", i, (int)(i % 17), "wwwwwwwwwwwwwwwwwww");
        write_text(text);
        assert_true(row_shows(i % 5, text + 1));
        assert_true(row_shows((i + 1) % 5, ""));
        if (i < 10)
            continue;
        snprintf(old, sizeof(old), "%u %.*s", i - 3, (int)((i - 3) % 17), "wwwwwwwwwwwwwwwwwww");
        assert_true(row_shows((i - 3) % 5, old));
    }
    expect_edges();
}

static void two_rows_are_enough(void **state)
{
    (void)state;
    make(120, 20, 0);
    write_text("a\nb\nc");
    assert_true(row_shows(0, "c"));
    assert_true(row_shows(1, ""));
}

static void a_tall_screen(void **state)
{
    (void)state;
    make(120, (SCREEN_MAX_ROWS + 7) * CELL_H, 0);
    assert_int_equal(screen.rows, SCREEN_MAX_ROWS);
    for (unsigned i = 0; i < 600; i++)
        write_text("x\n");
    expect_edges();
}

static void colours(void **state)
{
    uint32_t ink;

    (void)state;
    make(120, 20, 0);
    ink = screen.ink;
    mode.format = SCREEN_RGB;
    screen_init(&screen, &mode, pixels);
    assert_int_equal(screen.ink & 0xff, ink >> 16);
    assert_int_equal(screen.ink >> 16, ink & 0xff);
    assert_int_equal(screen.ink & 0xff00, ink & 0xff00);
    assert_int_not_equal(screen.ink, screen.paper);
    assert_int_equal((screen.ink | screen.paper) >> 24, 0); /* reserved bits */
}

static void modes_that_are_refused(void **state)
{
    static const struct screen_mode good = {0x80000000, 1280 * 800 * 4, 1280,
                                            800,        1280,           SCREEN_RGB};
    struct screen_mode bad;

#define REFUSED(member, value)                 \
    do {                                       \
        bad = good;                            \
        bad.member = (value);                  \
        assert_non_null(screen_refuses(&bad)); \
        assert_false(screen_start(&bad));      \
    } while (0)
    (void)state;
    assert_null(screen_refuses(&good));
    REFUSED(format, SCREEN_NONE);
    REFUSED(format, SCREEN_OTHER);
    REFUSED(width, 0);
    REFUSED(height, 0);
    REFUSED(width, 119);
    REFUSED(height, 19);
    REFUSED(width, 1281); /* above the stride */
    REFUSED(width, UINT32_MAX);
    REFUSED(height, 801);
    REFUSED(height, UINT32_MAX);
    REFUSED(stride_pixels, 1279);
    REFUSED(stride_pixels, 1281);
    REFUSED(stride_pixels, UINT32_MAX);
    REFUSED(size_bytes, 1280 * 800 * 4 - 1);
    REFUSED(size_bytes, 0);
    REFUSED(base, 0x80000002);
    REFUSED(base, UINT64_MAX - 3);
}

/* ---- pictures ---- */

#define SOURCE_STRIDE 210u

static uint32_t source[150 * SOURCE_STRIDE];

static uint32_t source_pixel(uint32_t x, uint32_t y)
{
    return 0xaa000000 | x << 16 | y << 8 | (x ^ y);
}

static void draw_picture(uint32_t width, uint32_t height)
{
    for (uint32_t y = 0; y < 150; y++)
        for (uint32_t x = 0; x < SOURCE_STRIDE; x++)
            source[y * SOURCE_STRIDE + x] = x < 200 ? source_pixel(x, y) : MARGIN;
    screen_draw(&screen, source, width, height, SOURCE_STRIDE * 4);
}

/* Its pixels where it is, in the order of the screen; paper beside it; nothing behind the lines. */
static void expect_picture(uint32_t width, uint32_t height)
{
    for (uint32_t y = 0; y < mode.height; y++)
        for (uint32_t x = 0; x < mode.stride_pixels; x++) {
            uint32_t expected = screen.paper;

            if (x >= mode.width)
                expected = MARGIN;
            else if (x < width && y < height)
                expected = mode.format == SCREEN_RGB ? (x ^ y) << 16 | y << 8 | x
                                                     : source_pixel(x, y) & 0xffffff;
            assert_int_equal(pixel(x, y), expected);
        }
}

static void pictures(void **state)
{
    static const uint32_t sizes[][2] = {{200, 150}, {120, 40}, {121, 41}, {119, 39}, {1, 1},
                                        {1, 150},   {200, 1},  {120, 41}, {121, 40}};

    (void)state;
    for (unsigned rgb = 0; rgb < 2; rgb++)
        for (uint32_t more = 0; more < 3; more++) {
            make(120, 40, more);
            mode.format = rgb ? SCREEN_RGB : SCREEN_BGR;
            screen_init(&screen, &mode, pixels);
            write_text("text that goes");
            for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                draw_picture(sizes[i][0], sizes[i][1]);
                expect_picture(sizes[i][0], sizes[i][1]);
                draw_picture(sizes[i][0], sizes[i][1]);
                expect_picture(sizes[i][0], sizes[i][1]);
            }
        }
    make(120, 40, 0);
    draw_picture(60, 20);
    pixels[30 * 120] = 5; /* what is beside a picture is left alone until its size changes */
    draw_picture(60, 20);
    assert_int_equal(pixel(0, 30), 5);
    draw_picture(61, 20);
    expect_picture(61, 20);
}

static uint32_t memory[1280 * 800];

/* In the order of the program: first there is no screen. */
static void the_machine(void **state)
{
    struct screen_mode real = {0x80000000, sizeof(memory), 1280, 800, 1280, SCREEN_BGR};

    (void)state;
    fake_io_reset();
    screen_text("nobody sees it\n", 15);
    screen_picture(source, 10, 10, SOURCE_STRIDE * 4);
    fake_log_lines = 0;
    assert_false(screen_start(&real)); /* the frame buffer cannot be mapped */
    assert_int_equal(fake_log_lines, 1);
    assert_int_equal(fake_io_refused, 1);
    screen_text("nor that\n", 9);
    fake_io_add(0x80000000, memory, sizeof(memory));
    assert_true(screen_start(&real));
    assert_int_equal(fake_io_protect, HV_PAGE_READWRITE | HV_PAGE_WRITECOMBINE);
    assert_int_equal(fake_io_live, 1);
    screen_text("but this\n", 9);
    screen_picture(source, 200, 150, SOURCE_STRIDE * 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_letter_F),
        cmocka_unit_test(glyphs_differ),
        cmocka_unit_test(doubled),
        cmocka_unit_test(partial_cells_are_never_drawn),
        cmocka_unit_test(long_lines_go_on_below),
        cmocka_unit_test(around),
        cmocka_unit_test(two_rows_are_enough),
        cmocka_unit_test(a_tall_screen),
        cmocka_unit_test(colours),
        cmocka_unit_test(modes_that_are_refused),
        cmocka_unit_test(pictures),
        cmocka_unit_test(the_machine),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    free(pixels);
    return failed;
}
