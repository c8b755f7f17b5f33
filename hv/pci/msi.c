/*
 * Interrupts that devices raise: by MSI-X or by MSI, whichever the guest has enabled. A message is written with the lock of the
 * capabilities held, so that none comes after the write that masks it has returned.
 */
#include "hv/pci/device.h"

#include "hv/pci/capability.h"
#include "hv/vm/apic.h"

#define MSI_MAX_VECTORS 32u

/* ---- what is common ---- */

bool interrupt_may_send(const struct hv_device *device)
{
    return (__atomic_load_n(&device->command, __ATOMIC_RELAXED) & PCI_COMMAND_BUS_MASTER) &&
           !__atomic_load_n(&device->is_asleep, __ATOMIC_RELAXED);
}

/* An address or data that the guest made up is the guest's affair: the message goes nowhere. */
void interrupt_send(struct hv_device *device, uint64_t address, uint32_t data)
{
    struct capabilities *caps = device->capabilities;

    if (apic_message(device->host->vm, address, data) == HV_OK)
        caps->sent++;
    else
        caps->dropped++;
}

/* ---- MSI ---- */

static uint32_t msi_dword(struct capabilities *caps, uint32_t offset)
{
    return *capability_dword(caps, CAPABILITY_MSI, offset);
}

static bool msi_is_enabled(struct capabilities *caps)
{
    return caps->at[CAPABILITY_MSI] != 0 && (msi_dword(caps, 0) & PCI_MSI_ENABLE);
}

/* The guest may write more than is offered; it has no more for that. */
static uint32_t msi_granted(struct capabilities *caps)
{
    uint32_t control = msi_dword(caps, 0);

    return 1u << MIN(FIELD_GET(PCI_MSI_GRANTED, control), FIELD_GET(PCI_MSI_OFFERED, control));
}

static void msi_send(struct hv_device *device, uint32_t vector)
{
    struct capabilities *caps = device->capabilities;
    uint32_t data = msi_dword(caps, PCI_MSI_DATA) & ~(msi_granted(caps) - 1);

    interrupt_send(
        device, (uint64_t)msi_dword(caps, PCI_MSI_UPPER) << 32 | msi_dword(caps, PCI_MSI_ADDRESS),
        data | vector);
}

static void msi_send_pending(struct hv_device *device)
{
    struct capabilities *caps = device->capabilities;
    uint32_t *pending = capability_dword(caps, CAPABILITY_MSI, PCI_MSI_PENDING);
    uint32_t ready = *pending & ~msi_dword(caps, PCI_MSI_MASK);

    *pending &= ~ready;
    for (; ready; ready &= ready - 1)
        msi_send(device, (uint32_t)__builtin_ctz(ready) & (msi_granted(caps) - 1));
}

static hv_status_t msi_raise(struct hv_device *device, uint32_t vector)
{
    struct capabilities *caps = device->capabilities;

    if (vector >= 1u << FIELD_GET(PCI_MSI_OFFERED, msi_dword(caps, 0)))
        return HV_E_INVALID_PARAMETER_2;
    vector &= msi_granted(caps) - 1;
    if (!interrupt_may_send(device))
        caps->dropped++;
    else if (msi_dword(caps, PCI_MSI_MASK) & 1u << vector)
        *capability_dword(caps, CAPABILITY_MSI, PCI_MSI_PENDING) |= 1u << vector;
    else
        msi_send(device, vector);
    return HV_OK;
}

hv_status_t hv_msi_offer(struct hv_device *device, uint32_t vectors)
{
    struct capability_dword dwords[] = {
        {PCI_MSI_ID | PCI_MSI_64BIT | PCI_MSI_MASKS, PCI_MSI_ENABLE | PCI_MSI_GRANTED},
        {0, (uint32_t)~BITS(1, 0)}, /* address */
        {0, UINT32_MAX},
        {0, (uint32_t)BITS(15, 0)}, /* data */
        {0, 0},                     /* masks: those of the vectors */
        {0, 0},
    };
    hv_status_t status = capability_begin(device, CAPABILITY_MSI);

    if (status != HV_OK)
        return status;
    if (vectors == 0 || vectors > MSI_MAX_VECTORS || !IS_POW2(vectors)) {
        capability_end(device);
        return HV_E_INVALID_PARAMETER_2;
    }
    dwords[0].first |= (uint32_t)FIELD_PREP(PCI_MSI_OFFERED, __builtin_ctz(vectors));
    dwords[PCI_MSI_MASK / sizeof(uint32_t)].writable = (uint32_t)(BIT(vectors) - 1);
    status = capability_add(device, CAPABILITY_MSI, dwords, ARRAY_COUNT(dwords));
    capability_end(device);
    return status;
}

/* ---- the device's calls, and the guest's registers ---- */

void interrupt_update(struct hv_device *device)
{
    struct capabilities *caps = device->capabilities;

    if (!caps || !interrupt_may_send(device))
        return;
    lock_acquire(&caps->lock);
    if (msix_is_enabled(caps))
        msix_send_pending(device);
    else if (msi_is_enabled(caps))
        msi_send_pending(device);
    lock_release(&caps->lock);
}

hv_status_t hv_interrupt_raise(struct hv_device *device, uint32_t vector)
{
    struct capabilities *caps;
    hv_status_t status = HV_OK;

    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    if (!device_is_in_phase(device))
        return HV_E_INVALID_STATE;
    caps = __atomic_load_n(&device->capabilities, __ATOMIC_ACQUIRE);
    if (!caps || (caps->at[CAPABILITY_MSI] == 0 && caps->at[CAPABILITY_MSIX] == 0))
        return HV_E_NOT_SUPPORTED;
    lock_acquire(&caps->lock);
    if (msix_is_enabled(caps))
        status = msix_raise(device, vector);
    else if (msi_is_enabled(caps))
        status = msi_raise(device, vector);
    else
        caps->dropped++;
    lock_release(&caps->lock);
    return status;
}

hv_status_t hv_guest_msi_deliver(struct hv_device *device, uint64_t address, uint32_t data)
{
    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    if (!device_is_in_phase(device))
        return HV_E_INVALID_STATE;
    return apic_message(device->host->vm, address, data);
}
