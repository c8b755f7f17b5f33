/*
 * test=demo [hold]: the guest draws tests/guest/picture.c into the frame buffer of bochs-display,
 * moves a part of it, and leaves the last frame. `make run DEMO=display` shows it, `make
 * screenshot` takes a picture of it.
 */
#include "tests/guest/pci.h"
#include "tests/guest/picture.h"

#define DISPI(index)   (GVA_DISPI + 0x500u + 2u * (index))
#define STRIDE         (4u * PICTURE_WIDTH)
#define DISPLAY_VENDOR 0x1234u
#define DISPLAY_DEVICE 0x1111u
#define DISPLAY_CLASS  0x0380u
#define SHOW           0x41u     /* on, and the frame buffer is linear */
#define FRAME_TICKS    20000000u /* at least: a fast machine does not race through */

enum { XRES = 1, YRES, BPP, ENABLE, BANK, VIRT_WIDTH, VIRT_HEIGHT, X_OFFSET, Y_OFFSET };

static struct pci_function display;

static bool ready(void)
{
    for (unsigned n = 0; !display.present && pci_find(&display, DISPLAY_VENDOR, DISPLAY_DEVICE, n);
         n++)
        display.present = config_get(&display, CFG_REVISION + 2, 2) == DISPLAY_CLASS;
    if (!display.present)
        skip("no bochs-display device");
    return display.present;
}

static void draw(uint32_t row, uint32_t rows, uint32_t frame)
{
    for (uint32_t y = row; y < row + rows; y++)
        for (uint32_t x = 0; x < PICTURE_WIDTH; x++)
            store(GVA_FRAME + y * STRIDE + 4 * x, 4, picture_pixel(x, y, frame));
    __asm__ volatile("sfence" ::: "memory"); /* write-combining buffers, before anybody is told */
}

/* What the device shows from here on: whoever shows it has it whole when this returns. */
static void show(void)
{
    store(DISPI(ENABLE), 2, 0);
    store(DISPI(ENABLE), 2, SHOW);
}

static void mode(unsigned i)
{
    (void)i;
    if (!ready())
        return;
    bar_show(&display, 2, GVA_DISPI, PAGE, PAGE, PAT_UC);
    bar_show(&display, 0, GVA_FRAME, LARGE, PAGE, PAT_WC);
    store(DISPI(ENABLE), 2, 0);
    store(DISPI(XRES), 2, PICTURE_WIDTH);
    store(DISPI(YRES), 2, PICTURE_HEIGHT);
    store(DISPI(BPP), 2, 32);
    store(DISPI(BANK), 2, 0);
    store(DISPI(VIRT_WIDTH), 2, PICTURE_WIDTH);
    store(DISPI(VIRT_HEIGHT), 2, PICTURE_HEIGHT);
    store(DISPI(X_OFFSET), 2, 0);
    store(DISPI(Y_OFFSET), 2, 0);
    show();
    expect_eq("XRES", load(DISPI(XRES), 2), PICTURE_WIDTH);
    expect_eq("YRES", load(DISPI(YRES), 2), PICTURE_HEIGHT);
    expect_eq("ENABLE", load(DISPI(ENABLE), 2), SHOW);
}

static void whole(unsigned i)
{
    (void)i;
    if (ready())
        draw(0, PICTURE_HEIGHT, 0);
}

static void moving(unsigned i)
{
    (void)i;
    if (!ready())
        return;
    for (uint32_t frame = 1; frame <= PICTURE_LAST; frame++) {
        uint64_t since = rdtsc();

        draw(PICTURE_BAND, PICTURE_BAND_ROWS, frame);
        while (rdtsc() - since < FRAME_TICKS)
            __asm__ volatile("pause");
    }
    show();
}

static void last(unsigned i)
{
    unsigned wrong = 0;

    (void)i;
    if (!ready())
        return;
    for (uint32_t y = 0; y < PICTURE_HEIGHT; y++)
        for (uint32_t x = 0; x < PICTURE_WIDTH; x++)
            wrong += load(GVA_FRAME + y * STRIDE + 4 * x, 4) != picture_pixel(x, y, PICTURE_LAST);
    expect_eq("pixels that are not as drawn", wrong, 0);
}

static const struct check list[] = {
    {"demo", "a mode of 800 by 600, 32 bits", NULL, 0, false, mode},
    {"demo", "the picture", NULL, 0, false, whole},
    {"demo", "the moving part, frame by frame", NULL, 0, false, moving},
    {"demo", "the last frame is in the frame buffer", NULL, 0, false, last},
};
const struct check_list checks_demo = {list, COUNT_OF(list)};

void demo_hold(void)
{
    say("# demo: holding\n");
    for (;;)
        __asm__ volatile("pause");
}
