/*
 * Owns:     the virtual PCI bus 0 behind ports 0xCF8 and 0xCFC, BARs and their decode.
 * Promises: config space as PCI Local Bus 3.0 has it: sizing, 64-bit pairs, moves with decode on or off;
 *           regions and leaves follow the decode state before the write returns.
 * Needs:    hv/vm (ports, regions, tables), hv/pci/range.h.
 * Never:    passes a real device through.
 */
#ifndef HV_PCI_BUS_H
#define HV_PCI_BUS_H

#include "hv/base/lock.h"
#include "hv/base/tree.h"
#include "hv/pci/device.h"
#include "hv/vm/vm.h"

#define PCI_SLOTS          32u
#define PCI_RANGES_PER_DEV 65536u

/* What one BAR register pair stands for. */
struct hv_bar_state {
    uint64_t bytes; /* 0: absent, I/O or upper half */
    uint32_t kind;  /* type bits of the low dword (PCI: bits 3:0) */
    bool upper;     /* this slot is the upper half of a 64-bit BAR */
    bool io;
    uint64_t base;  /* as programmed */
    bool live;      /* region registered and ranges in the tables at live_base */
    uint64_t live_base;
    struct hv_device *device;
    enum hv_bar index;
    struct tree ranges; /* struct hv_range by first BAR page */
    uint64_t trapped_reads, trapped_writes, callback_failures;
    unsigned last_region;
};

enum hv_device_state {
    HV_DEVICE_CREATED,
    HV_DEVICE_INITIALISED,
    HV_DEVICE_CONFIGURED,
    HV_DEVICE_STARTED,
    HV_DEVICE_STOPPED,
    HV_DEVICE_TEARING_DOWN,
    HV_DEVICE_GONE,
};

struct hv_device {
    struct lock lock; /* guards bars and ranges. Lock order: device -> section -> tables */
    struct hv_device_host *host;
    enum hv_device_state state;
    uint8_t slot;
    struct hv_guid class_id, instance_id;
    const struct hv_device_ops *ops;
    void *context;
    struct hv_pnp_id id;
    uint16_t command; /* guest-visible COMMAND */
    uint64_t range_count;
    struct hv_bar_state bar[HV_BAR_COUNT];
};

struct hv_device_host {
    struct vm *vm;
    struct lock lock;
    uint32_t address; /* CONFIG_ADDRESS */
    unsigned device_count;
    struct hv_device *slot[PCI_SLOTS];
    bool started;
};

/* Start every device; the VM is about to run. The first failure stops it and is returned. */
hv_status_t hv_device_host_start(struct hv_device_host *host) MUST_CHECK;

/* Stop and destroy every device. */
void hv_device_host_destroy(struct hv_device_host *host);

/* Config space of one function, dword-aligned. Absent: all ones. Lock: takes the device's. */
uint32_t pci_config_read(struct hv_device_host *host, unsigned slot, unsigned function, uint32_t offset);
/* byte_enable: bit i set when byte i of the dword is written. */
void pci_config_write(struct hv_device_host *host, unsigned slot, unsigned function, uint32_t offset,
                      uint32_t value, unsigned byte_enable);

/* True when the device pointer is one that hv_device_create() made and that is not gone. */
bool device_is_known(const struct hv_device *device);

/* A line per page run of each BAR: page range, section, rights, type, IPAT, leaf sizes, live or not. */
void pci_print_bars(struct hv_device_host *host);
/* A line per BAR: direct pages, trapped reads and writes. */
void pci_print_stats(struct hv_device_host *host);

#endif
