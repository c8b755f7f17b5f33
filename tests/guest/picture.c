#include "tests/guest/picture.h"

#define GLYPH_WIDTH   5u
#define GLYPH_HEIGHT  7u
#define GLYPH_ADVANCE 6u

#define BARS          5u
#define BARS_TOP      190u
#define BAR_STEP      44u
#define BAR_ROWS      28u
#define BAR_LEFT      120u
#define BLOCKS        16u
#define BLOCK_COLUMNS 24u
#define BLOCK_GAP     2u

#define RAMPS         4u
#define RAMPS_TOP     520u
#define RAMP_STEP     18u
#define RAMP_ROWS     14u
#define RAMP_LEFT     16u
#define RAMP_COLUMNS  768u

#define BALL_RADIUS   30u
#define BALL_WAY      480u

struct glyph {
    char c;
    uint8_t row[GLYPH_HEIGHT];
};

/*
 * A line for each character, in the order of their codes; a program may read them out of this file.
 */
static const struct glyph glyphs[] = {
    {',', {0x00, 0x00, 0x00, 0x00, 0x0c, 0x04, 0x08}},
    {'-', {0x00, 0x00, 0x00, 0x1f, 0x00, 0x00, 0x00}},
    {'.', {0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c}},
    {'0', {0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e}},
    {'1', {0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e}},
    {'2', {0x0e, 0x11, 0x01, 0x06, 0x08, 0x10, 0x1f}},
    {'3', {0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e}},
    {'4', {0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02}},
    {'5', {0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e}},
    {'6', {0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e}},
    {'7', {0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08}},
    {'8', {0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e}},
    {'9', {0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c}},
    {'A', {0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11}},
    {'B', {0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e}},
    {'C', {0x0e, 0x11, 0x10, 0x10, 0x10, 0x11, 0x0e}},
    {'D', {0x1e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1e}},
    {'E', {0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f}},
    {'F', {0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x10}},
    {'G', {0x0e, 0x11, 0x10, 0x17, 0x11, 0x11, 0x0f}},
    {'H', {0x11, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11}},
    {'I', {0x0e, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e}},
    {'J', {0x07, 0x02, 0x02, 0x02, 0x02, 0x12, 0x0c}},
    {'K', {0x11, 0x12, 0x14, 0x18, 0x14, 0x12, 0x11}},
    {'L', {0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x1f}},
    {'M', {0x11, 0x1b, 0x15, 0x15, 0x11, 0x11, 0x11}},
    {'N', {0x11, 0x19, 0x15, 0x13, 0x11, 0x11, 0x11}},
    {'O', {0x0e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e}},
    {'P', {0x1e, 0x11, 0x11, 0x1e, 0x10, 0x10, 0x10}},
    {'Q', {0x0e, 0x11, 0x11, 0x11, 0x15, 0x12, 0x0d}},
    {'R', {0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11}},
    {'S', {0x0f, 0x10, 0x10, 0x0e, 0x01, 0x01, 0x1e}},
    {'T', {0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04}},
    {'U', {0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e}},
    {'V', {0x11, 0x11, 0x11, 0x11, 0x11, 0x0a, 0x04}},
    {'W', {0x11, 0x11, 0x11, 0x15, 0x15, 0x15, 0x0a}},
    {'X', {0x11, 0x11, 0x0a, 0x04, 0x0a, 0x11, 0x11}},
    {'Y', {0x11, 0x11, 0x0a, 0x04, 0x04, 0x04, 0x04}},
    {'Z', {0x1f, 0x01, 0x02, 0x04, 0x08, 0x10, 0x1f}},
};

static const struct picture_line picture_text[] = {
    {184, 24, 9, 0xffffff, "BARVISOR"},
    {76, 112, 2, 0xc7d2e8, "ONE PCI BAR, MANY RANGES, EACH WITH ITS MEMORY TYPE"},
    {94, 148, 2, 0x8fa3c8, "PAGES OF SECTIONS ARE REACHED DIRECTLY, HOLES TRAP"},
    {60, 194, 3, 0xff6b6b, "UC"},
    {60, 238, 3, 0xffc145, "WC"},
    {60, 282, 3, 0x5fd38d, "WT"},
    {60, 326, 3, 0x4fb3ff, "WP"},
    {60, 370, 3, 0xb18cff, "WB"},
    {524, 197, 2, 0xc7d2e8, "UNCACHEABLE"},
    {524, 241, 2, 0xc7d2e8, "WRITE-COMBINING"},
    {524, 285, 2, 0xc7d2e8, "WRITE-THROUGH"},
    {524, 329, 2, 0xc7d2e8, "WRITE-PROTECTED"},
    {524, 373, 2, 0xc7d2e8, "WRITE-BACK"},
    {16, 500, 2, 0x8fa3c8, "DRAWN BY THE GUEST, SHOWN BY THE HYPERVISOR"},
};
#define LINES (sizeof(picture_text) / sizeof(picture_text[0]))

static const uint32_t bar_colour[BARS] = {0xff6b6b, 0xffc145, 0x5fd38d, 0x4fb3ff, 0xb18cff};
static const uint16_t picture_holes[BARS] = {0x8020, 0x0410, 0x4102, 0x2208, 0x1001};

static uint32_t mix(uint32_t from, uint32_t to, uint32_t n, uint32_t of)
{
    uint32_t mixed = 0;

    for (unsigned shift = 0; shift < 24; shift += 8) {
        int32_t a = (int32_t)(from >> shift & 0xff), b = (int32_t)(to >> shift & 0xff);

        mixed |= (uint32_t)(a + (b - a) * (int32_t)n / (int32_t)of) << shift;
    }
    return mixed;
}

/* Is there a dot of the text at (x, y) from its top left corner? */
static int has_dot(const char *text, uint32_t scale, uint32_t x, uint32_t y)
{
    uint32_t n = x / scale / GLYPH_ADVANCE, column = x / scale % GLYPH_ADVANCE, row = y / scale;

    if (row >= GLYPH_HEIGHT || column >= GLYPH_WIDTH)
        return 0;
    for (uint32_t i = 0; i <= n; i++)
        if (text[i] == '\0')
            return 0;
    for (unsigned i = 0; i < sizeof(glyphs) / sizeof(glyphs[0]); i++)
        if (glyphs[i].c == text[n])
            return glyphs[i].row[row] >> (GLYPH_WIDTH - 1 - column) & 1;
    return 0;
}

static uint32_t band_pixel(uint32_t x, uint32_t y, uint32_t frame)
{
    const uint32_t left = 580, top = 25, scale = 3;
    char text[] = "FRAME 0000";
    uint32_t t = 6 * frame % (2 * BALL_WAY), dx, dy, d;

    if (x >= left && y >= top && y < top + GLYPH_HEIGHT * scale) {
        uint32_t number = frame % 10000;

        for (unsigned i = sizeof(text) - 2; number != 0; i--, number /= 10)
            text[i] = (char)('0' + number % 10);
        if (has_dot(text, scale, x - left, y - top))
            return 0xffffff;
    }
    if (t > BALL_WAY)
        t = 2 * BALL_WAY - t;
    dx = x - (40 + t);
    dy = y - PICTURE_BAND_ROWS / 2;
    d = dx * dx + dy * dy; /* modulo 2^32 the square of a negative number is the same */
    if (d <= BALL_RADIUS * BALL_RADIUS)
        return mix(0xffe9b0, 0xd9480f, d, BALL_RADIUS * BALL_RADIUS);
    return mix(0x0b1b33, 0x1d4f91, ((x + 2 * frame) ^ (3 * y)) & 63, 63);
}

static uint32_t bar_pixel(uint32_t x, uint32_t y, uint32_t bar)
{
    uint32_t column = (x - BAR_LEFT) % BLOCK_COLUMNS, block = (x - BAR_LEFT) / BLOCK_COLUMNS;

    if (picture_holes[bar] >> block & 1)
        return (x + y) % 8 == 0 ? 0x8a93a6 : 0x1a2233;
    return mix(bar_colour[bar], 0xffffff, column, 3 * (BLOCK_COLUMNS - BLOCK_GAP));
}

static int is_in_bar(uint32_t x, uint32_t y)
{
    return y >= BARS_TOP && (y - BARS_TOP) / BAR_STEP < BARS &&
           (y - BARS_TOP) % BAR_STEP < BAR_ROWS && x >= BAR_LEFT &&
           x < BAR_LEFT + BLOCKS * BLOCK_COLUMNS &&
           (x - BAR_LEFT) % BLOCK_COLUMNS < BLOCK_COLUMNS - BLOCK_GAP;
}

static int is_in_ramp(uint32_t x, uint32_t y)
{
    return y >= RAMPS_TOP && (y - RAMPS_TOP) / RAMP_STEP < RAMPS &&
           (y - RAMPS_TOP) % RAMP_STEP < RAMP_ROWS && x >= RAMP_LEFT &&
           x < RAMP_LEFT + RAMP_COLUMNS;
}

static uint32_t ramp_pixel(uint32_t x, uint32_t ramp)
{
    uint32_t value = (x - RAMP_LEFT) / 3;

    if (ramp == RAMPS - 1)
        return value << 16 | value << 8 | value;
    return value << (16 - 8 * ramp);
}

uint32_t picture_pixel(uint32_t x, uint32_t y, uint32_t frame)
{
    if (y >= PICTURE_BAND && y < PICTURE_BAND + PICTURE_BAND_ROWS)
        return band_pixel(x, y - PICTURE_BAND, frame);
    for (unsigned i = 0; i < LINES; i++) {
        const struct picture_line *line = &picture_text[i];

        if (y >= line->y && y < line->y + GLYPH_HEIGHT * line->scale && x >= line->x &&
            has_dot(line->text, line->scale, x - line->x, y - line->y))
            return line->colour;
    }
    if (is_in_bar(x, y))
        return bar_pixel(x, y, (y - BARS_TOP) / BAR_STEP);
    if (is_in_ramp(x, y))
        return ramp_pixel(x, (y - RAMPS_TOP) / RAMP_STEP);
    return mix(0x16294d, 0x05080f, y, PICTURE_HEIGHT);
}
