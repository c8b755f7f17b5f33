/*
 * Owns:     the machine's linear frame buffer: a text console on it, and pictures.
 * Promises: draws only inside the picture, with 32-bit stores in ascending order and never a read, so that a
 *           write-combining mapping serves it best. Text runs from top to bottom and starts again at the top:
 *           nothing is copied, and the empty line ahead tells where the newest text is. A screen that cannot be
 *           used stays off with one line in the log.
 * Needs:    hv/mem/view.h for the frame buffer.
 * Never:    modes, the firmware, locks (a panic uses it too).
 */
#ifndef DRIVERS_HOST_SCREEN_H
#define DRIVERS_HOST_SCREEN_H

#include "hv/base/types.h"

/* Bytes of a pixel, from the lowest address. UEFI 2.10 "EFI_GRAPHICS_OUTPUT_PROTOCOL": reserved comes last. */
enum screen_format {
    SCREEN_NONE, /* no frame buffer */
    SCREEN_RGB,
    SCREEN_BGR,
    SCREEN_OTHER, /* not 8 bits for each of three colours */
};

struct screen_mode {
    uint64_t base;
    uint64_t size_bytes;
    uint32_t width, height, stride_pixels;
    enum screen_format format;
};

#define SCREEN_MAX_ROWS 256u /* of text; what a screen has more stays empty */

struct screen {
    volatile uint32_t *pixels;
    uint32_t width, height, stride_pixels;
    uint32_t ink, paper;
    bool is_rgb;                            /* red comes in the lowest byte */
    uint32_t picture_width, picture_height; /* the last that was drawn; 0: none yet */
    unsigned scale;                         /* pixels of a dot */
    unsigned columns, rows;                 /* of text */
    unsigned column, row;                   /* where the next character goes */
    uint16_t used[SCREEN_MAX_ROWS];
};

/* ---- drawing: pure ---- */

/* Why this mode cannot be used; NULL: it can. */
const char *screen_refuses(const struct screen_mode *mode);

/* An empty screen over `pixels`. The mode is one that screen_refuses() does not. */
void screen_init(struct screen *screen, const struct screen_mode *mode, volatile uint32_t *pixels);

/* '\n' goes on to the next line, '\r' is nothing, what is not printable ASCII looks like '?'. */
void screen_write(struct screen *screen, const char *text, size_t bytes);

/*
 * A picture of 32-bit pixels, blue in the lowest byte, from the top left and cut to the screen. One
 * of another size than the one before gets an empty screen first.
 */
void screen_draw(struct screen *screen, const volatile uint32_t *pixels, uint32_t width,
                 uint32_t height, uint32_t stride_bytes);

/* ---- the machine's screen ---- */

/* Map the frame buffer write-combining and clear it. False: the screen stays off, and the log says why. */
bool screen_start(const struct screen_mode *mode);

/* screen_write() on it. Without a screen, and inside itself (a fault while drawing), it does nothing. */
void screen_text(const char *text, size_t bytes);

/* screen_draw() on it, likewise. */
void screen_picture(const volatile uint32_t *pixels, uint32_t width, uint32_t height,
                    uint32_t stride_bytes);

#endif
