/*
 * Owns:     the views of internal state that the lab device and the console show.
 * Promises: reads only; a leaf is shown without its frame, so a guest learns no host address.
 * Needs:    hv/pci/device.h, hv/vm/vm.h.
 * Never:    used by ordinary devices.
 */
#ifndef HV_PCI_INSPECT_H
#define HV_PCI_INSPECT_H

#include "hv/mem/view.h"
#include "hv/pci/device.h"
#include "hv/vm/vm.h"

struct hv_bar_stats {
    uint64_t bytes;     /* now */
    uint64_t max_bytes; /* at its largest */
    uint64_t base;      /* guest-physical, as programmed */
    bool decoded;       /* live: memory enable is on and the address can be used */
    uint64_t ranges;
    uint64_t direct_pages; /* pages of live ranges */
    uint64_t trapped_reads;
    uint64_t trapped_writes;
    uint64_t callback_failures;
    uint64_t rings; /* writes that doorbells took */
};

/* HV_E_INVALID_PARAMETER_2, HV_E_NO_SUCH_BAR (absent or upper half). */
hv_status_t inspect_bar(struct hv_device *device, enum hv_bar bar,
                        struct hv_bar_stats *stats) MUST_CHECK;

struct inspect_leaf {
    bool present;
    uint8_t rights; /* enum pt_rights */
    uint8_t memtype;
    bool ignore_pat;
    uint8_t level;
    uint64_t bits; /* of the entry, all but the frame's */
};

/* The second-level leaf of a guest-physical address. */
void inspect_leaf(struct hv_device *device, gpa_t gpa, struct inspect_leaf *leaf);

/* Likewise of an address of the hypervisor's own; `bits` is 0. */
void inspect_own_leaf(hva_t address, struct inspect_leaf *leaf);

/* The context of a device whose callbacks are `ops`. NULL: another device, or none. */
void *inspect_context(struct hv_device *device, const struct hv_device_ops *ops);

/* The bus that the device is on, and the VM that it is in. */
struct hv_device_host *inspect_host(struct hv_device *device);
struct vm *inspect_vm(struct hv_device *device);

/* Memory decode of the device on or off, as by the guest's write to its COMMAND register. */
void inspect_decode(struct hv_device *device, bool on);

/* A hash over the second-level tables and all range records of the device's VM. */
uint64_t inspect_hash(struct hv_device *device);

/* Counters that return to their values when everything was undone. */
struct inspect_totals {
    uint64_t free_frames;
    uint64_t table_pages;
    uint64_t ledger_mappings;
    uint64_t sections;
    uint64_t ranges;
    uint64_t views;     /* and I/O mappings and apertures, of everybody */
    uint64_t apertures; /* of the device */
    uint64_t doorbells; /* likewise */
    uint64_t events;    /* of everybody */
};

/* Gives back what is kept warm first, so that two counts can be compared exactly. */
void inspect_totals(struct hv_device *device, struct inspect_totals *totals);

/* Ticks of the time-stamp counter, serialised as a benchmark needs. Link-time: boot/ in the image. */
uint64_t bench_clock(void);

#endif
