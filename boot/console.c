#include "boot/console.h"

#include "drivers/host/uart.h"
#include "hv/base/log.h"
#include "hv/base/string.h"
#include "hv/console/report.h"

#define EARLY_BYTES KIB(4)

static bool serial_off;

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
        screen_text(text, bytes);
    } else if (bytes <= sizeof(early.text) - early.used) {
        memcpy(early.text + early.used, text, bytes);
        early.used += bytes;
    }
}

void log_panic_on(void)
{
    serial_off = false;
}

void console_configure(const struct config *config)
{
    serial_off = !config->serial;
}

void console_start_screen(const struct boot_info *boot)
{
    const struct screen_mode *mode = &boot->screen;

    if (boot->config.screen && screen_start(mode)) {
        log_line("screen", "%ux%u at %#llx, write-combining", mode->width, mode->height,
                 (unsigned long long)mode->base);
        screen_text(early.text, early.used);
    }
    early.over = true;
}
