/* The device of docs/first-device.md: a register that interrupts, and a page of memory. */
#include "hv/pci/device.h"

struct mailbox {
    struct hv_device *device; /* always first: the hypervisor fills it in */
    uint32_t value;
};

static hv_status_t details(void *context, struct hv_pnp_id *id, uint32_t bars, uint32_t *probed)
{
    (void)context, (void)bars;
    *id = (struct hv_pnp_id){.vendor = 0x1d1d, .device = 0x1ab2, .base_class = 0xff};
    hv_bar_describe(probed, HV_BAR0, 2 * PAGE_BYTES, HV_BAR_MEMORY);
    return HV_OK;
}

static hv_status_t start(void *context)
{
    struct mailbox *m = context;
    hv_handle_t page;
    hv_status_t status = hv_msi_offer(m->device, 1);

    if (status == HV_OK || status == HV_E_ALREADY_EXISTS) /* it may start again */
        status = hv_section_create(&page, HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE, NULL,
                                   PAGE_BYTES, HV_PAGE_READWRITE, HV_SEC_COMMIT, NULL);
    if (status != HV_OK)
        return status;
    status = hv_mmio_range_create(m->device, HV_BAR0, 1, 1, HV_MMIO_WRITEABLE, page, 0);
    (void)hv_handle_close(page); /* the range keeps the memory */
    return status;
}

static void stop(void *context)
{
    (void)hv_mmio_range_destroy(((struct mailbox *)context)->device, HV_BAR0, 1);
}

static hv_status_t read(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                        uint8_t *buffer)
{
    const struct mailbox *m = context;

    if (bar != HV_BAR0 || offset != 0 || length != sizeof(m->value))
        return HV_E_OUT_OF_RANGE; /* the guest reads ones */
    memcpy(buffer, &m->value, sizeof(m->value));
    return HV_OK;
}

static hv_status_t write(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                         const uint8_t *buffer)
{
    struct mailbox *m = context;

    if (bar != HV_BAR0 || offset != 0 || length != sizeof(m->value))
        return HV_E_OUT_OF_RANGE; /* dropped */
    memcpy(&m->value, buffer, sizeof(m->value));
    return hv_interrupt_raise(m->device, 0);
}

HV_DEVICE_SIMPLE_MODEL(template, struct mailbox, details, start, stop, read, write);
