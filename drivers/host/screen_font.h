/*
 * Owns:     the shapes of the characters ' ' to '~' for the screen.
 * Promises: every character has ink of its own (but ' '), inside its cell.
 * Needs:    nothing.
 * Never:    colours, sizes in pixels.
 */
#ifndef DRIVERS_HOST_SCREEN_FONT_H
#define DRIVERS_HOST_SCREEN_FONT_H

#include "hv/base/types.h"

#define FONT_FIRST       ' '
#define FONT_LAST        '~'
#define FONT_CELL_WIDTH  6u  /* a gap and 5 */
#define FONT_CELL_HEIGHT 10u /* a gap, 7, and 2 below the line */

/*
 * Dots of one row of a character's cell: bit n is column n from the left. Others than FONT_FIRST..LAST look like
 * '?'.
 */
uint32_t font_row(char c, unsigned row);

#endif
