/*
 * Owns:     the capabilities that the core offers for a device, and the interrupts that go through them.
 * Promises: a masked interrupt is not lost while the device may send and never delivered; a register's effect is there when its write returns.
 * Needs:    the APIC model (hv/vm/apic.h), which takes messages.
 * Never:    calls a device.
 */
#ifndef HV_PCI_CAPABILITY_H
#define HV_PCI_CAPABILITY_H

#include "hv/pci/bus.h"
#include "hv/pci/config.h"

enum capability {
    CAPABILITY_POWER,
    CAPABILITY_MSI,
    CAPABILITY_MSIX,
    CAPABILITY_EXPRESS,
    CAPABILITY_KINDS
};

/* A dword of a capability: what it reads at first, and the bits that a guest may write. */
struct capability_dword {
    uint32_t first, writable;
};

#define CAPABILITY_DWORDS 26u /* of all kinds together */

/* An entry of the MSI-X table, as dwords. */
enum { MSIX_ADDRESS, MSIX_UPPER, MSIX_DATA, MSIX_CONTROL, MSIX_DWORDS };

/*
 * A record of its own, for devices that offer something. Lock order: `lock` is taken last, but for the APIC's. It guards what a
 * guest writes and what interrupts look at; members up to `dword` change under the host's lock as well, before the start.
 */
struct capabilities {
    struct lock lock;
    uint8_t end;  /* of the dwords in use: the offset behind */
    uint8_t last; /* the offset of the last capability; the device's own list hangs there */
    uint8_t at[CAPABILITY_KINDS]; /* offset; 0: not offered */
    struct capability_dword dword[CAPABILITY_DWORDS];
    uint32_t config[CAPABILITY_DWORDS]; /* from PCI_CAP_FIRST on, as the guest reads it */
    uint64_t sent, dropped;             /* interrupts */
    /* MSI-X. `vectors` 0: not offered */
    uint32_t vectors;
    uint64_t table_offset, pending_offset; /* bytes, in the BAR */
    uint32_t (*table)[MSIX_DWORDS];        /* frames */
    uint64_t pending[PCI_MSIX_VECTORS / 64];
};

/* One dword of a capability that is offered. */
static inline uint32_t *capability_dword(struct capabilities *caps, enum capability kind,
                                         uint32_t offset)
{
    return &caps->config[(caps->at[kind] - PCI_CAP_FIRST + offset) / sizeof(uint32_t)];
}

/* ---- capability.c: config space. Caller holds the host's lock. ---- */

bool capability_owns(const struct hv_device *device, uint32_t offset);
uint32_t capability_read(const struct hv_device *device, uint32_t offset);
/* A whole dword. True: the guest has asked for a function-level reset. BARs and interrupts are the caller's to update. */
bool capability_write(struct hv_device *device, uint32_t offset, uint32_t value) MUST_CHECK;

/* Every register as it was first; nothing is pending. */
void capability_reset(struct hv_device *device);
/* The device is gone. */
void capability_destroy(struct hv_device *device);

/* Takes the host's lock and the device's, if a capability may come now: as the calls in device.h. */
hv_status_t capability_begin(struct hv_device *device, enum capability kind) MUST_CHECK;
void capability_end(struct hv_device *device);
/* Between the two. HV_E_NO_MEMORY. */
hv_status_t capability_add(struct hv_device *device, enum capability kind,
                           const struct capability_dword *dwords, unsigned count) MUST_CHECK;

/* ---- msi.c ---- */

/* Send what is pending and can be sent now: after a change of registers. Caller holds the host's lock. */
void interrupt_update(struct hv_device *device);

/* May it write messages at all? */
bool interrupt_may_send(const struct hv_device *device);
/* Write one. Caller holds caps->lock. */
void interrupt_send(struct hv_device *device, uint64_t address, uint32_t data);

/* ---- msix.c. Caller holds caps->lock. ---- */

bool msix_is_enabled(struct capabilities *caps);
/* HV_E_INVALID_PARAMETER_2. */
hv_status_t msix_raise(struct hv_device *device, uint32_t vector) MUST_CHECK;
void msix_send_pending(struct hv_device *device);
void msix_reset(struct capabilities *caps);
void msix_destroy(struct capabilities *caps);

#endif
