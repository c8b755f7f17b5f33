#include "hv/pci/scanout.h"

#include "hv/mem/view.h"
#include "hv/pci/bus.h"
#include "hv/vm/alarm.h"

#define PIXEL_BYTES 4u

/*
 * What is shown. Lock: its own, outside those of sections and of the screen; no device calls with
 * it held.
 */
static struct {
    struct lock lock;
    const struct hv_device *device; /* NULL: nothing */
    void *view;                     /* keeps the section */
    const uint32_t *pixels;
    uint32_t width, height, stride_bytes;
    struct alarm alarm;
} shown;

/* Show it, and again later: at most an eighth of the time goes into it. Caller holds the lock. */
static void show(void)
{
    uint64_t began = alarm_now();

    if (scanout_show(shown.pixels, shown.width, shown.height, shown.stride_bytes))
        alarm_set(&shown.alarm, alarm_now() + MAX(SCANOUT_TICKS, 7 * (alarm_now() - began)));
}

static void show_again(struct alarm *alarm)
{
    (void)alarm;
    lock_acquire(&shown.lock);
    if (shown.device)
        show();
    lock_release(&shown.lock);
}

/* Caller holds the lock. */
static void take_away(void)
{
    hv_status_t status;

    if (!shown.device)
        return;
    alarm_set(&shown.alarm, 0);
    shown.device = NULL;
    status = hv_section_unmap_view(HV_SPACE_HYPERVISOR, shown.view);
    ASSERT(status == HV_OK);
}

static uint64_t picture_bytes(const struct hv_scanout *scanout)
{
    return (uint64_t)scanout->stride_bytes * (scanout->height - 1) +
           (uint64_t)scanout->width * PIXEL_BYTES;
}

static bool is_sound(const struct hv_scanout *scanout)
{
    return scanout->width != 0 && scanout->height != 0 &&
           IS_ALIGNED(scanout->offset, PIXEL_BYTES) &&
           IS_ALIGNED(scanout->stride_bytes, PIXEL_BYTES) &&
           scanout->stride_bytes / PIXEL_BYTES >= scanout->width;
}

/*
 * Is all of the picture in the section, and are there frames? A view of a page without one could
 * not be read.
 */
static hv_status_t check_section(const struct hv_scanout *scanout)
{
    uint64_t bytes = picture_bytes(scanout), first = scanout->offset >> PAGE_SHIFT, end;
    struct section *section;
    hv_status_t status =
        section_ref(scanout->section, HV_SECTION_MAP_READ, SECTION_USER_VIEW, &section);

    if (status != HV_OK)
        return status;
    end = section_pages(section) << PAGE_SHIFT;
    if (scanout->offset > end || bytes > end - scanout->offset)
        status = HV_E_INVALID_VIEW_SIZE;
    else if (!section_is_committed(section, first, pages_of((scanout->offset & PAGE_MASK) + bytes)))
        status = HV_E_NOT_MAPPED;
    section_unref(section, SECTION_USER_VIEW);
    return status;
}

static hv_status_t map_picture(const struct hv_scanout *scanout, void **view)
{
    uint64_t offset = ALIGN_DOWN(scanout->offset, PAGE_BYTES);
    uint64_t bytes = scanout->offset - offset + picture_bytes(scanout);

    *view = NULL;
    return hv_section_map_view(scanout->section, HV_SPACE_HYPERVISOR, view, 0, 0, &offset, &bytes,
                               HV_VIEW_SHARE, HV_VIEW_PAGE_GRANULAR, HV_PAGE_READONLY);
}

static void set_picture(const struct hv_device *device, const struct hv_scanout *scanout,
                        void *view)
{
    shown.device = device;
    shown.view = view;
    shown.pixels =
        (const uint32_t *)(const void *)((uint8_t *)view + (scanout->offset & PAGE_MASK));
    shown.width = scanout->width;
    shown.height = scanout->height;
    shown.stride_bytes = scanout->stride_bytes;
    shown.alarm.ring = show_again;
}

static hv_status_t replace(struct hv_device *device, const struct hv_scanout *scanout)
{
    void *view;
    hv_status_t status = device->state >= HV_DEVICE_TEARING_DOWN ? HV_E_INVALID_STATE
                         : is_sound(scanout)                     ? check_section(scanout)
                                                                 : HV_E_INVALID_PARAMETER_2;

    if (status == HV_OK)
        status = map_picture(scanout, &view);
    if (status != HV_OK)
        return status;
    lock_acquire(&shown.lock);
    take_away();
    set_picture(device, scanout, view);
    show();
    lock_release(&shown.lock);
    return HV_OK;
}

/* True: the device had one. */
static bool end(const struct hv_device *device)
{
    bool had_one;

    lock_acquire(&shown.lock);
    had_one = shown.device == device;
    if (had_one) {
        show(); /* the last that was drawn */
        take_away();
    }
    lock_release(&shown.lock);
    return had_one;
}

hv_status_t hv_scanout_set(struct hv_device *device, const struct hv_scanout *scanout)
{
    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    if (scanout)
        return replace(device, scanout);
    end(device);
    return HV_OK;
}

void scanout_destroy(const struct hv_device *device)
{
    if (end(device))
        log_line("pci", "00:%02x.%u was torn down with its picture on the screen", device->slot,
                 device->function);
}
