/*
 * Owns:     the picture of the display demonstration.
 * Promises: pure: a pixel is a number that follows from its place and the frame, in integer
 *           arithmetic; another program can compute the same.
 * Needs:    <stdint.h>.
 * Never:    a device.
 *
 * Layers, the first that has something to say at (x, y) wins. Colours are 0xRRGGBB, divisions round
 * down, and mix(a, b, n, of) is for each of the three colours a + (b - a) * n / of, where a product
 * below 0 rounds towards 0.
 *
 *  1 band     rows PICTURE_BAND to PICTURE_BAND + PICTURE_BAND_ROWS - 1, the only ones that the
 *             frame changes. In this order:
 *             the counter: text of "FRAME nnnn" (the frame modulo 10000, four digits) at
 *             (580, PICTURE_BAND + 25), scale 3, 0xffffff;
 *             the ball: radius 30, centre (X, PICTURE_BAND + 36) with X = 40 + t, t = 6 * frame
 *             modulo 960, or 960 - t when above 480; where d = dx * dx + dy * dy <= 900:
 *             mix(0xffe9b0, 0xd9480f, d, 900);
 *             else with v = ((x + 2 * frame) ^ (3 * (y - PICTURE_BAND))) & 63:
 *             mix(0x0b1b33, 0x1d4f91, v, 63).
 *  2 text     the lines of picture_text[], each with its place, scale, colour.
 *  3 bars     five, i = 0..4, rows 190 + 44 * i to 190 + 44 * i + 27, columns 120 to 503: 16 blocks
 *             b of 24 columns, of which the last 2 columns belong to none. Block b of bar i is a
 *             hole when bit b of picture_holes[i] is set. Mapped: mix(colour of the bar, 0xffffff,
 *             column in block, 66). Hole: 0x8a93a6 where (x + y) % 8 == 0, else 0x1a2233.
 *  4 ramps    four, i = 0..3, rows 520 + 18 * i to 520 + 18 * i + 13, columns 16 to 783:
 *             v = (x - 16) / 3; red, green, blue, or all of them v.
 *  5 ground   mix(0x16294d, 0x05080f, y, 600).
 *
 * Text: the character n of a line stands at x + 6 * scale * n; bit 4 of a glyph's row is its
 * leftmost dot, a dot is scale * scale pixels, a glyph 5 by 7 of them; what is no dot is not there.
 */
#ifndef TESTS_GUEST_PICTURE_H
#define TESTS_GUEST_PICTURE_H

#include <stdint.h>

#define PICTURE_WIDTH     800u
#define PICTURE_HEIGHT    600u
#define PICTURE_BAND      420u
#define PICTURE_BAND_ROWS 72u
#define PICTURE_LAST      240u /* the frame that stays */

struct picture_line {
    uint32_t x, y, scale, colour;
    const char *text;
};

/* Blue in the lowest byte, the highest is 0. x and y inside the picture. */
uint32_t picture_pixel(uint32_t x, uint32_t y, uint32_t frame);

#endif
