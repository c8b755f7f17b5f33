/*
 * The core's list of capabilities, and the two that are only registers: power management and PCI Express.
 *
 *     34   40           48               60         6c            (offsets by the order of the calls)
 *     +--->[ 01 ... ]-->[ 05 ...    ]--->[ 11 ... ]-->  the device's own list
 *
 * Each dword is two masks and a value; what a write starts is told apart by its offset.
 */
#include "hv/pci/capability.h"

#include "hv/base/string.h"
#include "hv/mem/slab.h"

static struct slab capabilities_slab = SLAB_INIT("capabilities", struct capabilities);

_Static_assert(sizeof(struct capabilities) <= 1024, "the capabilities of a device are one record");

/* ---- config space ---- */

static unsigned index_of(uint32_t offset)
{
    return (offset - PCI_CAP_FIRST) / (unsigned)sizeof(uint32_t);
}

bool capability_owns(const struct hv_device *device, uint32_t offset)
{
    const struct capabilities *caps = device->capabilities;

    return caps &&
           (offset == PCI_CFG_CAPABILITY || (offset >= PCI_CAP_FIRST && offset < caps->end));
}

/* A list that begins in the core's dwords would go round in circles. */
static uint32_t own_list(const struct hv_device *device)
{
    return device->own_capability >= device->capabilities->end ? device->own_capability : 0;
}

uint32_t capability_read(const struct hv_device *device, uint32_t offset)
{
    const struct capabilities *caps = device->capabilities;
    uint32_t value;

    if (offset == PCI_CFG_CAPABILITY)
        return PCI_CAP_FIRST;
    /* Pending bits of MSI change at any time. */
    value = __atomic_load_n(&caps->config[index_of(offset)], __ATOMIC_RELAXED);
    if (offset == caps->last)
        value |= (uint32_t)FIELD_PREP(PCI_CAP_NEXT, own_list(device));
    return value;
}

/* Does the dword at `offset` stand at `within` in a capability that is there? */
static bool is_at(const struct capabilities *caps, uint32_t offset, enum capability kind,
                  uint32_t within)
{
    return caps->at[kind] != 0 && offset == caps->at[kind] + within;
}

/* What was pending when the guest turns interrupts off is gone. */
static void forget_pending(struct capabilities *caps, uint32_t offset, uint32_t value)
{
    if (is_at(caps, offset, CAPABILITY_MSI, 0) && !(value & PCI_MSI_ENABLE))
        *capability_dword(caps, CAPABILITY_MSI, PCI_MSI_PENDING) = 0;
    if (is_at(caps, offset, CAPABILITY_MSIX, 0) && !(value & PCI_MSIX_ENABLE))
        memset(caps->pending, 0, sizeof(caps->pending));
}

bool capability_write(struct hv_device *device, uint32_t offset, uint32_t value)
{
    struct capabilities *caps = device->capabilities;
    unsigned i = index_of(offset);

    if (offset == PCI_CFG_CAPABILITY)
        return false;
    if (is_at(caps, offset, CAPABILITY_EXPRESS, PCI_EXPRESS_CONTROL) && (value & PCI_EXPRESS_RESET))
        return true;
    if (is_at(caps, offset, CAPABILITY_POWER, PCI_POWER_CONTROL)) {
        uint64_t state = FIELD_GET(PCI_POWER_STATE, value);

        if (state != PCI_POWER_D0 && state != PCI_POWER_D3HOT)
            return false; /* PCI Power Management 3.2.4: a state that is not supported is dropped */
        device->is_asleep = state == PCI_POWER_D3HOT;
    }
    lock_acquire(&caps->lock);
    caps->config[i] =
        (caps->config[i] & ~caps->dword[i].writable) | (value & caps->dword[i].writable);
    forget_pending(caps, offset, value);
    lock_release(&caps->lock);
    return false;
}

/* ---- life ---- */

void capability_reset(struct hv_device *device)
{
    struct capabilities *caps = device->capabilities;

    if (!caps)
        return;
    device->is_asleep = false;
    lock_acquire(&caps->lock);
    for (unsigned i = 0; i < index_of(caps->end); i++)
        caps->config[i] = caps->dword[i].first;
    msix_reset(caps);
    lock_release(&caps->lock);
}

void capability_destroy(struct hv_device *device)
{
    struct capabilities *caps = device->capabilities;

    if (!caps)
        return;
    msix_destroy(caps);
    slab_free(&capabilities_slab, caps);
}

/* ---- the device's calls ---- */

hv_status_t capability_begin(struct hv_device *device, enum capability kind)
{
    hv_status_t status = HV_OK;

    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    lock_acquire(&device->host->lock);
    lock_acquire(&device->lock);
    if (device->state < HV_DEVICE_INITIALISED || device->state == HV_DEVICE_STARTED ||
        device->state >= HV_DEVICE_TEARING_DOWN)
        status = HV_E_INVALID_STATE;
    else if (device->capabilities && device->capabilities->at[kind] != 0)
        status = HV_E_ALREADY_EXISTS;
    if (status != HV_OK)
        capability_end(device);
    return status;
}

void capability_end(struct hv_device *device)
{
    lock_release(&device->lock);
    lock_release(&device->host->lock);
}

hv_status_t capability_add(struct hv_device *device, enum capability kind,
                           const struct capability_dword *dwords, unsigned count)
{
    struct capabilities *caps = device->capabilities;
    unsigned i;

    if (!caps) {
        caps = slab_alloc(&capabilities_slab);
        if (!caps)
            return HV_E_NO_MEMORY;
        caps->end = PCI_CAP_FIRST;
    }
    i = index_of(caps->end);
    ASSERT(i + count <= CAPABILITY_DWORDS);
    if (caps->last != 0) {
        uint32_t next = (uint32_t)FIELD_PREP(PCI_CAP_NEXT, caps->end);

        caps->dword[index_of(caps->last)].first |= next;
        caps->config[index_of(caps->last)] |= next;
    }
    for (unsigned n = 0; n < count; n++) {
        caps->dword[i + n] = dwords[n];
        caps->config[i + n] = dwords[n].first;
    }
    caps->at[kind] = caps->last = caps->end;
    caps->end = (uint8_t)(caps->end + count * sizeof(uint32_t));
    device->status |= PCI_STATUS_CAPABILITIES;
    __atomic_store_n(&device->capabilities, caps, __ATOMIC_RELEASE);
    return HV_OK;
}

static hv_status_t offer(struct hv_device *device, enum capability kind,
                         const struct capability_dword *dwords, unsigned count)
{
    hv_status_t status = capability_begin(device, kind);

    if (status != HV_OK)
        return status;
    status = capability_add(device, kind, dwords, count);
    capability_end(device);
    return status;
}

/* No power management events, no D1 and D2; what the guest programmed is there after D3hot. */
hv_status_t hv_power_offer(struct hv_device *device)
{
    static const struct capability_dword dwords[] = {
        {PCI_POWER_ID | PCI_POWER_VERSION_1_2, 0},
        {PCI_POWER_NO_SOFT_RESET, PCI_POWER_STATE},
    };

    return offer(device, CAPABILITY_POWER, dwords, ARRAY_COUNT(dwords));
}

/*
 * Nothing lies between the device and the host bridge, so it is integrated into the root complex: guests look for no
 * link. Errors are never reported, so the status half stays 0.
 */
hv_status_t hv_express_offer(struct hv_device *device)
{
    static const struct capability_dword dwords[PCI_EXPRESS_BYTES / sizeof(uint32_t)] = {
        {PCI_EXPRESS_ID | PCI_EXPRESS_VERSION_2 | PCI_EXPRESS_ROOT_COMPLEX, 0},
        {PCI_EXPRESS_ROLE_BASED | PCI_EXPRESS_HAS_RESET, 0},
        {PCI_EXPRESS_RELAXED_ORDER | PCI_EXPRESS_NO_SNOOP |
             FIELD_PREP(PCI_EXPRESS_READ_REQUEST, PCI_EXPRESS_READ_REQUEST_512),
         PCI_EXPRESS_REPORTS | PCI_EXPRESS_RELAXED_ORDER | PCI_EXPRESS_NO_SNOOP |
             PCI_EXPRESS_READ_REQUEST},
    };

    return offer(device, CAPABILITY_EXPRESS, dwords, ARRAY_COUNT(dwords));
}
