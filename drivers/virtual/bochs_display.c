/*
 * bochs-display (1234:1111; the interface is QEMU's "bochs-display": VBE dispi registers of Bochs
 * in memory): a frame buffer and nothing else. What the guest draws appears on the machine's own
 * screen, where there is one.
 */
#include "hv/pci/device.h"

#define DEFAULT_BYTES MIB(16)
#define MIN_BYTES     MIB(4)
#define MAX_BYTES     MIB(256)
#define DEFAULT_XRES  1280u
#define DEFAULT_YRES  800u
#define MIN_RES       64u   /* of a picture */
#define MAX_RES       4095u /* that EDID can tell */
#define PIXEL_BYTES   4u

/* BAR2, 4 KiB. What is at none of these reads as ones, as a bus without a device does. */
#define EDID_BYTES    128u
#define DISPI         0x500u /* u16 each */
#define EXTRA         0x600u /* u32: how many bytes of these there are; byte order of the pixels */
#define EXTRA_BYTES   8u
#define BYTE_ORDER    (EXTRA + 4)
#define BAR2_USED     (EXTRA + EXTRA_BYTES)
#define LITTLE_ENDIAN 0x1e1e1e1eu
#define BIG_ENDIAN    0xbebebebeu

enum dispi {
    DISPI_ID,
    XRES,
    YRES,
    BPP,
    ENABLE,
    BANK,
    VIRT_WIDTH,
    VIRT_HEIGHT,
    X_OFFSET,
    Y_OFFSET,
    MEMORY_64K,
    DISPI_COUNT
};
#define DISPI_ID5 0xb0c5u
#define ENABLED   1u

struct display {
    struct hv_device *device;
    struct lock lock; /* writes, one at a time */
    hv_handle_t section;
    uint64_t bytes, xres, yres; /* options: of the frame buffer; what EDID prefers */
    struct hv_scanout shown;    /* width 0: none */
    uint8_t bar2[BAR2_USED];    /* what reads of it give */
};

/* ---- the picture ---- */

static uint32_t dispi(const struct display *display, enum dispi index)
{
    uint16_t value;

    memcpy(&value, display->bar2 + DISPI + 2 * (uint32_t)index, sizeof(value));
    return value;
}

static void set_dispi(struct display *display, enum dispi index, uint16_t value)
{
    memcpy(display->bar2 + DISPI + 2 * (uint32_t)index, &value, sizeof(value));
}

static bool is_little_endian(const struct display *display)
{
    return display->bar2[BYTE_ORDER] == (LITTLE_ENDIAN & 0xff);
}

/* False: the registers describe no picture, or one that cannot be shown. */
static bool read_mode(const struct display *display, struct hv_scanout *mode)
{
    uint32_t width = dispi(display, XRES), height = dispi(display, YRES);
    uint32_t stride = MAX(dispi(display, VIRT_WIDTH), width) * PIXEL_BYTES;
    uint64_t offset = (uint64_t)dispi(display, Y_OFFSET) * stride +
                      (uint64_t)dispi(display, X_OFFSET) * PIXEL_BYTES;

    *mode = (struct hv_scanout){display->section, offset, width, height, stride};
    return (dispi(display, ENABLE) & ENABLED) && dispi(display, BPP) == 8 * PIXEL_BYTES &&
           is_little_endian(display) && width >= MIN_RES && height >= MIN_RES &&
           offset + (uint64_t)stride * height <= display->bytes;
}

static bool is_same(const struct hv_scanout *a, const struct hv_scanout *b)
{
    return a->offset == b->offset && a->width == b->width && a->height == b->height &&
           a->stride_bytes == b->stride_bytes;
}

static hv_status_t show(struct display *display)
{
    struct hv_scanout mode;
    bool valid = read_mode(display, &mode);
    hv_status_t status;

    if (!valid)
        mode = (struct hv_scanout){0};
    if (is_same(&mode, &display->shown))
        return HV_OK;
    status = hv_scanout_set(display->device, valid ? &mode : NULL);
    if (status == HV_OK)
        display->shown = mode;
    return status;
}

/* ---- registers ---- */

static hv_status_t display_read(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                                uint8_t *buffer)
{
    const struct display *display = context;

    if (bar == HV_BAR2 && offset < BAR2_USED)
        memcpy(buffer, display->bar2 + offset, length);
    return HV_OK;
}

static hv_status_t display_write(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                                 const uint8_t *buffer)
{
    const uint64_t first = DISPI + 2 * XRES,
                   end = DISPI + 2 * MEMORY_64K; /* the others are fixed */
    struct display *display = context;
    hv_status_t status;
    uint32_t order;

    if (bar != HV_BAR2)
        return HV_OK;
    lock_acquire(&display->lock); /* registers and screen change together */
    for (uint64_t i = 0; i < length; i++)
        if (offset + i >= first && offset + i < end)
            display->bar2[offset + i] = buffer[i];
    if (offset == BYTE_ORDER && length == sizeof(order)) {
        memcpy(&order, buffer, sizeof(order));
        if (order == LITTLE_ENDIAN || order == BIG_ENDIAN)
            memcpy(display->bar2 + BYTE_ORDER, &order, sizeof(order));
    }
    status = show(display);
    lock_release(&display->lock);
    return status;
}

/* ---- EDID: VESA E-EDID 1.4, one block ---- */

#define NO_TIMINGS 1, 1, 1, 1, 1, 1, 1, 1
#define SPACES     ' ', ' ', ' ', ' '
#define UNUSED     0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0

static const uint8_t edid_template[EDID_BYTES] = {
    0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, /* always */
    0x0a, 0x56, 0x11, 0x11, 1, 0, 0, 0, 0, 36, 1,
    4,                     /* "BRV", product, serial number, 2026, version */
    0xa5, 0, 0, 120, 0x06, /* digital, size unknown, gamma 2.2, sRGB */
    0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54, /* colours of sRGB */
    0x21, 0x08, 0x00, /* 640x480, 800x600 and 1024x768 at 60 Hz */
    NO_TIMINGS, NO_TIMINGS,
    /* 54: the preferred mode */
    0, 0, 0, 0, 0, 0, 0, 0, 48, 32, 0x36, 0, 0, 0, 0, 0, 0, 0x1a, 0, 0, 0, 0xfc, 0, 'B', 'a', 'r',
    'v', 'i', 's', 'o', 'r', '\n', SPACES, UNUSED, UNUSED, 0, 0};

/* Detailed timing with reduced blanking: 160 pixels and 30 lines, 60 Hz. */
static void make_edid(struct display *display)
{
    const uint32_t h_blank = 160, v_blank = 30, rate = 60, clock_unit = 10000;
    uint32_t x = (uint32_t)display->xres, y = (uint32_t)display->yres;
    uint32_t clock = (x + h_blank) * (y + v_blank) * rate / clock_unit;
    uint8_t *edid = display->bar2, *timing = edid + 54, sum = 0;

    memcpy(edid, edid_template, EDID_BYTES);
    clock = MIN(clock, (uint32_t)UINT16_MAX);
    timing[0] = (uint8_t)clock;
    timing[1] = (uint8_t)(clock >> 8);
    timing[2] = (uint8_t)x;
    timing[3] = h_blank;
    timing[4] = (uint8_t)(x >> 8 << 4);
    timing[5] = (uint8_t)y;
    timing[6] = v_blank;
    timing[7] = (uint8_t)(y >> 8 << 4);
    for (unsigned i = 0; i < EDID_BYTES - 1; i++)
        sum = (uint8_t)(sum + edid[i]);
    edid[EDID_BYTES - 1] = (uint8_t)(0 - sum);
}

/* ---- life ---- */

static void display_reset(void *context)
{
    struct display *display = context;
    const uint32_t extra[] = {EXTRA_BYTES, LITTLE_ENDIAN};
    hv_status_t ignored;

    memset(display->bar2, 0xff, sizeof(display->bar2));
    make_edid(display);
    memset(display->bar2 + DISPI, 0, 2 * DISPI_COUNT);
    set_dispi(display, DISPI_ID, DISPI_ID5);
    set_dispi(display, MEMORY_64K, (uint16_t)(display->bytes / KIB(64)));
    memcpy(display->bar2 + EXTRA, extra, sizeof(extra));
    ignored = show(display); /* taking away does not fail */
    (void)ignored;
}

static hv_status_t display_configure(void *context, uint32_t count, const char *const *strings)
{
    static const struct hv_option options[] = {
        {"size", HV_OPTION_NUMBER, offsetof(struct display, bytes)},
        {"xres", HV_OPTION_NUMBER, offsetof(struct display, xres)},
        {"yres", HV_OPTION_NUMBER, offsetof(struct display, yres)}};
    struct display *display = context;
    hv_status_t status;

    display->bytes = DEFAULT_BYTES;
    display->xres = DEFAULT_XRES;
    display->yres = DEFAULT_YRES;
    status = hv_options_read(display, options, ARRAY_COUNT(options), count, strings);
    if (status != HV_OK)
        return status;
    if (!IS_POW2(display->bytes) || display->bytes < MIN_BYTES || display->bytes > MAX_BYTES ||
        display->xres < MIN_RES || display->xres > MAX_RES || display->yres < MIN_RES ||
        display->yres > MAX_RES) {
        log_line("display", "size is a power of two from 4M to 256M, xres and yres are 64 to 4095");
        return HV_E_INVALID_PARAMETER;
    }
    display_reset(display);
    return hv_section_create(&display->section, HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE, NULL,
                             display->bytes, HV_PAGE_READWRITE,
                             HV_SEC_COMMIT | HV_SEC_LARGE_PAGES | HV_SEC_WRITECOMBINE, NULL);
}

static hv_status_t display_details(void *context, struct hv_pnp_id *id, uint32_t bar_count,
                                   uint32_t *probed_bars)
{
    const struct display *display = context;

    (void)bar_count;
    *id = (struct hv_pnp_id){.vendor = 0x1234,
                             .device = 0x1111,
                             .revision = 2,
                             .base_class = 0x03, /* display, neither VGA nor XGA nor 3D */
                             .subclass = 0x80,
                             .subsystem_vendor = 0x1af4,
                             .subsystem = 0x1100};
    hv_bar_describe(probed_bars, HV_BAR0, display->bytes, HV_BAR_PREFETCHABLE);
    hv_bar_describe(probed_bars, HV_BAR2, PAGE_BYTES, HV_BAR_MEMORY);
    return HV_OK;
}

static hv_status_t display_start(void *context)
{
    const struct display *display = context;

    return hv_mmio_range_create(display->device, HV_BAR0, 0, display->bytes >> PAGE_SHIFT,
                                HV_MMIO_WRITEABLE, display->section, 0);
}

static void display_stop(void *context)
{
    const struct display *display = context;

    (void)hv_mmio_range_destroy(display->device, HV_BAR0, 0);
}

static void display_teardown(void *context)
{
    const struct display *display = context;
    hv_status_t ignored = hv_scanout_set(display->device, NULL);

    (void)ignored;
    if (display->section != 0)
        (void)hv_handle_close(display->section);
}

static const struct hv_device_ops display_ops = {
    .version = HV_DEVICE_OPS_VERSION,
    .initialize = hv_device_ready,
    .set_configuration = display_configure,
    .get_details = display_details,
    .start = display_start,
    .stop = display_stop,
    .teardown = display_teardown,
    .read_config_space = hv_device_config_zero,
    .write_config_space = hv_device_config_ignore,
    .read_intercepted_memory = display_read,
    .write_intercepted_memory = display_write,
    .reset = display_reset,
};

HV_DEVICE_MODEL(display_model, .name = "bochs-display", .ops = &display_ops,
                .context_bytes = sizeof(struct display));
