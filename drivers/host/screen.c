#include "drivers/host/screen.h"

#include "drivers/host/screen_font.h"
#include "hv/base/log.h"
#include "hv/base/status.h"
#include "hv/mem/view.h"

#define PIXEL_BYTES   4u
#define LARGE_COLUMNS 80u /* dots are doubled when that many still fit */
#define MIN_COLUMNS   20u
#define MIN_ROWS      2u /* the newest and the empty one */

/* 0xRRGGBB */
#define INK_COLOUR   0xd8dee9u
#define PAPER_COLOUR 0x10203cu

static uint32_t pixel_of(uint32_t colour, enum screen_format format)
{
    if (format == SCREEN_BGR)
        return colour;
    return (colour & 0xff) << 16 | (colour & 0xff00) | colour >> 16;
}

const char *screen_refuses(const struct screen_mode *mode)
{
    if (mode->format == SCREEN_NONE || mode->width == 0 || mode->height == 0)
        return "there is no frame buffer";
    if (mode->format != SCREEN_RGB && mode->format != SCREEN_BGR)
        return "its pixels are not 32-bit RGB or BGR";
    if (mode->stride_pixels < mode->width || !IS_ALIGNED(mode->base, PIXEL_BYTES) ||
        mode->size_bytes > UINT64_MAX - mode->base ||
        (uint64_t)mode->stride_pixels * mode->height > mode->size_bytes / PIXEL_BYTES)
        return "the firmware's description of it contradicts itself";
    if (mode->width < MIN_COLUMNS * FONT_CELL_WIDTH || mode->height < MIN_ROWS * FONT_CELL_HEIGHT)
        return "it is too small for text";
    return NULL;
}

static void fill(const struct screen *screen, uint32_t x, uint32_t y, uint32_t width,
                 uint32_t height)
{
    for (uint32_t line = y; line < y + height; line++) {
        volatile uint32_t *at = screen->pixels + (uint64_t)line * screen->stride_pixels + x;

        for (uint32_t i = 0; i < width; i++)
            at[i] = screen->paper;
    }
}

void screen_init(struct screen *screen, const struct screen_mode *mode, volatile uint32_t *pixels)
{
    unsigned scale = mode->width >= LARGE_COLUMNS * FONT_CELL_WIDTH * 2 ? 2 : 1;

    *screen = (struct screen){
        .pixels = pixels,
        .width = mode->width,
        .height = mode->height,
        .stride_pixels = mode->stride_pixels,
        .ink = pixel_of(INK_COLOUR, mode->format),
        .paper = pixel_of(PAPER_COLOUR, mode->format),
        .is_rgb = mode->format == SCREEN_RGB,
        .scale = scale,
        .columns = mode->width / (FONT_CELL_WIDTH * scale),
        .rows = MIN(mode->height / (FONT_CELL_HEIGHT * scale), SCREEN_MAX_ROWS),
    };
    screen->columns = MIN(screen->columns, UINT16_MAX);
    fill(screen, 0, 0, screen->width, screen->height);
}

static void draw(const struct screen *screen, char c)
{
    const unsigned scale = screen->scale;
    volatile uint32_t *at =
        screen->pixels + (uint64_t)screen->row * FONT_CELL_HEIGHT * scale * screen->stride_pixels +
        (uint64_t)screen->column * FONT_CELL_WIDTH * scale;

    for (unsigned row = 0; row < FONT_CELL_HEIGHT; row++) {
        uint32_t dots = font_row(c, row);

        for (unsigned y = 0; y < scale; y++, at += screen->stride_pixels)
            for (unsigned x = 0, column = 0; column < FONT_CELL_WIDTH; column++)
                for (unsigned end = x + scale; x < end; x++)
                    at[x] = dots >> column & 1 ? screen->ink : screen->paper;
    }
}

/* Only what was written there is wiped: a screen line has far more pixels than its text. */
static void clear_row(struct screen *screen, unsigned row)
{
    const unsigned scale = screen->scale;

    fill(screen, 0, row * FONT_CELL_HEIGHT * scale, screen->used[row] * FONT_CELL_WIDTH * scale,
         FONT_CELL_HEIGHT * scale);
    screen->used[row] = 0;
}

/* The line that is begun is empty already; the one behind it becomes so. */
static void next_row(struct screen *screen)
{
    screen->column = 0;
    screen->row = (screen->row + 1) % screen->rows;
    clear_row(screen, (screen->row + 1) % screen->rows);
}

void screen_write(struct screen *screen, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\n') {
            next_row(screen);
            continue;
        }
        if (text[i] == '\r')
            continue;
        if (screen->column == screen->columns)
            next_row(screen);
        draw(screen, text[i]);
        screen->used[screen->row] = (uint16_t)++screen->column;
    }
}

void screen_draw(struct screen *screen, const volatile uint32_t *pixels, uint32_t width,
                 uint32_t height, uint32_t stride_bytes)
{
    const enum screen_format format = screen->is_rgb ? SCREEN_RGB : SCREEN_BGR;
    const uint32_t columns = MIN(width, screen->width), lines = MIN(height, screen->height);

    if (width != screen->picture_width || height != screen->picture_height)
        fill(screen, 0, 0, screen->width, screen->height);
    screen->picture_width = width;
    screen->picture_height = height;
    for (uint32_t line = 0; line < lines; line++) {
        const volatile uint32_t *from = pixels + (uint64_t)line * (stride_bytes / PIXEL_BYTES);
        volatile uint32_t *to = screen->pixels + (uint64_t)line * screen->stride_pixels;

        for (uint32_t i = 0; i < columns; i++)
            to[i] = pixel_of(from[i] & 0xffffff, format);
    }
}

/* Owner: this file. `busy` keeps a fault in the frame buffer from being reported on it. */
static struct screen the_screen;
static bool started, busy;

bool screen_start(const struct screen_mode *mode)
{
    const char *refused = screen_refuses(mode);
    uint64_t bytes = (uint64_t)mode->stride_pixels * mode->height * PIXEL_BYTES;
    void *pixels;
    hv_status_t status;

    if (refused) {
        log_line("screen", "off: %s", refused);
        return false;
    }
    status =
        hv_io_space_map(HPA(mode->base), bytes, HV_PAGE_READWRITE | HV_PAGE_WRITECOMBINE, &pixels);
    if (status != HV_OK) {
        log_line("screen", "off: frame buffer at %#llx: %s", (unsigned long long)mode->base,
                 hv_status_name(status));
        return false;
    }
    screen_init(&the_screen, mode, pixels);
    started = true;
    return true;
}

void screen_text(const char *text, size_t bytes)
{
    if (!started || __atomic_exchange_n(&busy, true, __ATOMIC_ACQUIRE))
        return;
    screen_write(&the_screen, text, bytes);
    __atomic_store_n(&busy, false, __ATOMIC_RELEASE);
}

void screen_picture(const volatile uint32_t *pixels, uint32_t width, uint32_t height,
                    uint32_t stride_bytes)
{
    if (!started || __atomic_exchange_n(&busy, true, __ATOMIC_ACQUIRE))
        return;
    screen_draw(&the_screen, pixels, width, height, stride_bytes);
    __atomic_store_n(&busy, false, __ATOMIC_RELEASE);
}
