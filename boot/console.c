#include "boot/console.h"

#include "drivers/host/uart.h"
#include "hv/base/log.h"
#include "hv/base/string.h"
#include "hv/console/report.h"
#include "hv/pci/scanout.h"

#define EARLY_BYTES KIB(4)

static bool serial_off;

/* The machine's screen: what the firmware left, and what became of it. */
static struct {
    const struct screen_mode *mode;
    bool tried, usable; /* it was looked at; it can be drawn on */
    bool log;           /* the log appears on it: until a guest's picture does */
    bool log_at_panic;  /* the configuration wants it there */
} machine_screen;

/* What was said before there was a screen. It fills up and then takes no more. */
static struct {
    char text[EARLY_BYTES];
    size_t used;
    bool over;
} early;

void log_sink(const char *text, size_t bytes)
{
    if (!serial_off)
        uart_write(text, bytes);
    if (early.over) {
        if (machine_screen.log)
            screen_text(text, bytes);
    } else if (bytes <= sizeof(early.text) - early.used) {
        memcpy(early.text + early.used, text, bytes);
        early.used += bytes;
    }
}

void log_panic_on(void)
{
    serial_off = false;
    machine_screen.log = machine_screen.log_at_panic;
}

void console_configure(const struct config *config)
{
    serial_off = !config->serial;
}

static bool use_screen(void)
{
    const struct screen_mode *mode = machine_screen.mode;

    if (machine_screen.tried || !mode)
        return machine_screen.usable;
    machine_screen.tried = true;
    machine_screen.usable = screen_start(mode);
    if (machine_screen.usable)
        log_line("screen", "%ux%u at %#llx, write-combining", mode->width, mode->height,
                 (unsigned long long)mode->base);
    return machine_screen.usable;
}

void console_start_screen(const struct boot_info *boot)
{
    machine_screen.mode = &boot->screen;
    if (boot->config.screen && use_screen()) {
        machine_screen.log = machine_screen.log_at_panic = true;
        screen_text(early.text, early.used);
    }
    early.over = true;
}

bool scanout_show(const uint32_t *pixels, uint32_t width, uint32_t height, uint32_t stride_bytes)
{
    if (!machine_screen.mode || machine_screen.mode->format == SCREEN_NONE || !use_screen())
        return false;
    if (machine_screen.log)
        log_line("screen", "shows a guest's picture now; the log goes on elsewhere");
    machine_screen.log = false;
    screen_picture(pixels, width, height, stride_bytes);
    return true;
}
