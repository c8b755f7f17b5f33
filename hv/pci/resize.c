/*
 * What a device chooses for a BAR before it starts: a size that the guest may change (the Resizable BAR capability, which is
 * the core's), and the length of accesses.
 */
#include "hv/pci/device.h"

#include "hv/pci/bus.h"
#include "hv/pci/config.h"

/* Sizes that the control dword's field and the tables' input bits both have: up to 2^47 bytes. */
#define SIZES_KNOWN     BITS(PT_INPUT_BITS - 1 - PCI_RESIZE_UNIT_SHIFT, 0)
#define MAX_32BIT_BYTES BIT(31)
#define PAIRS_OFFSET    (PCI_EXT_FIRST + PCI_RESIZE_HEADER_BYTES)

static uint64_t size_bytes(unsigned n)
{
    return BIT(n + PCI_RESIZE_UNIT_SHIFT);
}

/* n of a power of two that is at least one unit. */
static unsigned size_number(uint64_t bytes)
{
    return (unsigned)__builtin_ctzll(bytes >> PCI_RESIZE_UNIT_SHIFT);
}

static bool is_offered(uint64_t sizes, uint64_t bytes)
{
    return IS_POW2(bytes) && bytes >= size_bytes(0) && (sizes & BIT(size_number(bytes)));
}

static uint64_t largest(uint64_t sizes)
{
    uint64_t bytes = size_bytes(0);

    while (sizes >>= 1)
        bytes <<= 1;
    return bytes;
}

/* ---- the capability: a header, then a pair of dwords for each resizable BAR in order ---- */

static unsigned resizable_count(const struct hv_device *device)
{
    unsigned count = 0;

    for (unsigned i = 0; i <= HV_BAR5; i++)
        count += device->bar[i].sizes != 0;
    return count;
}

bool resize_owns(const struct hv_device *device, uint32_t offset)
{
    unsigned count;

    if (LIKELY(offset < PCI_EXT_FIRST))
        return false;
    count = resizable_count(device);
    return count != 0 && offset < PAIRS_OFFSET + count * PCI_RESIZE_PAIR_BYTES;
}

/* The BAR of pair `pair`, which exists. */
static enum hv_bar bar_of_pair(const struct hv_device *device, unsigned pair)
{
    unsigned i = 0;

    while (device->bar[i].sizes == 0 || pair-- != 0)
        i++;
    return (enum hv_bar)i;
}

uint32_t resize_read(const struct hv_device *device, uint32_t offset)
{
    unsigned pair = (offset - PAIRS_OFFSET) / PCI_RESIZE_PAIR_BYTES;
    const struct hv_bar_state *bar;
    unsigned count = 0;

    if (offset == PCI_EXT_FIRST)
        return (uint32_t)(FIELD_PREP(PCI_EXT_ID, PCI_RESIZE_ID) |
                          FIELD_PREP(PCI_EXT_VERSION, PCI_RESIZE_VERSION));
    bar = &device->bar[bar_of_pair(device, pair)];
    if ((offset - PAIRS_OFFSET) % PCI_RESIZE_PAIR_BYTES == PCI_RESIZE_CAPABILITY)
        return (uint32_t)FIELD_PREP(PCI_RESIZE_SIZES, bar->sizes);
    if (pair == 0)
        count = resizable_count(device);
    return (uint32_t)(FIELD_PREP(PCI_RESIZE_BAR, bar->index) |
                      FIELD_PREP(PCI_RESIZE_BAR_COUNT, count) |
                      FIELD_PREP(PCI_RESIZE_CURRENT, size_number(bar->bytes)));
}

/*
 * Nothing of the BAR is in the tables while decode is off, so the new size needs no more than the register. Ranges
 * beyond the end keep their records; the next decode leaves them out.
 */
void resize_write(struct hv_device *device, uint32_t offset, uint32_t value)
{
    unsigned n = (unsigned)FIELD_GET(PCI_RESIZE_CURRENT, value);
    struct hv_bar_state *bar;

    if (offset < PAIRS_OFFSET ||
        (offset - PAIRS_OFFSET) % PCI_RESIZE_PAIR_BYTES != PCI_RESIZE_CONTROL ||
        (device->command & PCI_COMMAND_MEMORY))
        return;
    bar = &device->bar[bar_of_pair(device, (offset - PAIRS_OFFSET) / PCI_RESIZE_PAIR_BYTES)];
    if (!(bar->sizes & BIT(n)))
        return;
    lock_acquire(&device->lock);
    ASSERT(!bar->live);
    bar->bytes = size_bytes(n);
    bar->base &= -bar->bytes;
    lock_release(&device->lock);
}

/* ---- the device's calls ---- */

static hv_status_t set_access_bytes(struct hv_bar_state *bar, uint64_t bytes)
{
    if (bytes < 8 || bytes > 64 || !IS_POW2(bytes))
        return HV_E_INVALID_PARAMETER_3;
    bar->access_bytes = bytes == 8 ? 0 : (uint8_t)bytes;
    return HV_OK;
}

static hv_status_t make_resizable(struct hv_bar_state *bar, uint64_t sizes)
{
    if (bar->index == HV_BAR_ROM)
        return HV_E_NO_SUCH_BAR;
    if ((sizes & ~SIZES_KNOWN) != 0 || !is_offered(sizes, bar->bytes))
        return HV_E_INVALID_PARAMETER_3;
    if (FIELD_GET(PCI_BAR_TYPE, bar->kind) == PCI_BAR_TYPE_32 && largest(sizes) > MAX_32BIT_BYTES)
        return HV_E_INVALID_PARAMETER_3;
    bar->sizes = (uint32_t)sizes;
    bar->max_bytes = largest(sizes);
    return HV_OK;
}

/* Before the guest can have seen it otherwise: not while it runs with the device. */
static __attribute__((noinline)) hv_status_t
choose(struct hv_device *device, enum hv_bar index,
       hv_status_t (*set)(struct hv_bar_state *bar, uint64_t value), uint64_t value)
{
    struct hv_bar_state *bar;
    hv_status_t status = HV_E_INVALID_STATE;

    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    lock_acquire(&device->host->lock);
    lock_acquire(&device->lock);
    if (device->state != HV_DEVICE_STARTED && device->state < HV_DEVICE_TEARING_DOWN)
        status = device_memory_bar(device, index, &bar);
    if (status == HV_OK)
        status = set(bar, value);
    lock_release(&device->lock);
    lock_release(&device->host->lock);
    return status;
}

hv_status_t hv_bar_make_resizable(struct hv_device *device, enum hv_bar bar, uint64_t sizes)
{
    return choose(device, bar, make_resizable, sizes);
}

hv_status_t hv_bar_set_access_bytes(struct hv_device *device, enum hv_bar bar, uint32_t bytes)
{
    return choose(device, bar, set_access_bytes, bytes);
}
