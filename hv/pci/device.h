/*
 * Owns:     the device-host API: what a virtual PCI device may call and must provide.
 * Promises: this header is all that a device file includes of the hypervisor.
 * Needs:    status, sections, memory types.
 * Never:    vendor state, table entries. (The lab device also includes hv/pci/inspect.h.)
 */
#ifndef HV_PCI_DEVICE_H
#define HV_PCI_DEVICE_H

#include "ept/memtype.h"
#include "hv/base/log.h"
#include "hv/base/status.h"
#include "hv/base/types.h"
#include "hv/mem/section.h"

enum hv_bar {
    HV_BAR0 = 0,
    HV_BAR1,
    HV_BAR2,
    HV_BAR3,
    HV_BAR4,
    HV_BAR5,
    HV_BAR_ROM = 6,
    HV_BAR_COUNT
};
enum hv_device_type { HV_DEVICE_UNDEFINED = 0, HV_DEVICE_PCI = 1 };

struct vm;
struct hv_device_host;
struct hv_device;

struct hv_pnp_id {
    uint16_t vendor, device;
    uint8_t revision, prog_if, subclass, base_class;
    uint16_t subsystem_vendor, subsystem;
};

struct hv_guid {
    uint8_t byte[16];
};

#define HV_DEVICE_OPS_VERSION 1u

/*
 * The ten callbacks; none may be NULL. `context` is what hv_device_create() was given.
 * A callback returns promptly and may call anything in this header.
 */
struct hv_device_ops {
    uint32_t version; /* HV_DEVICE_OPS_VERSION */
    /* Power-on. A failure aborts it; teardown is then not called. */
    hv_status_t (*initialize)(void *context);
    /* NUL-terminated UTF-8 from the configuration; valid only during the call; count may be 0. */
    hv_status_t (*set_configuration)(void *context, uint32_t count, const char *const *strings);
    /*
     * May be called again; idempotent. probed_bars[i] is what BAR i reads after all ones were written:
     * size mask and type bits; 0: absent. bar_count is HV_BAR_COUNT (index 6 is the ROM BAR).
     */
    hv_status_t (*get_details)(void *context, struct hv_pnp_id *id, uint32_t bar_count,
                               uint32_t *probed_bars);
    hv_status_t (*start)(void *context); /* VPs are about to run */
    void (*stop)(void *context);         /* VPs are about to stop */
    void (*teardown)(void *context);     /* may destroy; may not create */
    /*
     * Dwords outside the core's own (IDs, COMMAND, STATUS, header type, BARs, ROM BAR, subsystem ids).
     * offset: 4-aligned, 0..0xFFC. A narrow write comes merged with what the read gives. The device is also
     * told of writes to the core's own dwords, after they took effect; that status is ignored.
     */
    hv_status_t (*read_config_space)(void *context, uint32_t offset, uint32_t *value);
    hv_status_t (*write_config_space)(void *context, uint32_t offset, uint32_t value);
    /*
     * A trapped access: BAR byte offset, length 1, 2, 4 or 8, naturally aligned. The read buffer comes
     * filled with ones. A failing read gives all ones, a failing write is dropped; both are counted.
     */
    hv_status_t (*read_intercepted_memory)(void *context, enum hv_bar bar, uint64_t offset,
                                           uint64_t length, uint8_t *buffer);
    hv_status_t (*write_intercepted_memory)(void *context, enum hv_bar bar, uint64_t offset,
                                            uint64_t length, const uint8_t *buffer);
};

/*
 * One host per VM, created before it starts. flags: 0. NULL vm or host HV_E_INVALID_PARAMETER_1, _3; flags _2;
 * HV_E_ALREADY_EXISTS; HV_E_QUOTA (hosts, ports); HV_E_NO_MEMORY.
 */
hv_status_t hv_device_host_create(struct vm *vm, uint32_t flags,
                                  struct hv_device_host **host) MUST_CHECK;

/*
 * Create a device and put it on the bus: initialize, set_configuration (with `strings`), get_details; start
 * follows with hv_device_host_start(). type other than PCI: HV_E_INVALID_PARAMETER_2. Wrong ops version:
 * HV_E_NOT_SUPPORTED. A NULL callback: HV_E_INVALID_PARAMETER_5. Duplicate instance: HV_E_ALREADY_EXISTS.
 * BARs that are not a power of two of at least 16 bytes or a torn 64-bit pair: HV_E_INVALID_PARAMETER.
 * No slot left: HV_E_QUOTA. Unknown host: HV_E_INVALID_HANDLE. A callback's failure is returned as it is.
 * *device is set before `initialize` runs, so that the callbacks may use it.
 */
hv_status_t hv_device_create(struct hv_device_host *host, enum hv_device_type type,
                             const struct hv_guid *class_id, const struct hv_guid *instance_id,
                             const struct hv_device_ops *ops, void *context, uint32_t string_count,
                             const char *const *strings, struct hv_device **device) MUST_CHECK;

/*
 * Stop, tear down, destroy what the device left (each leak is logged). HV_E_INVALID_HANDLE: unknown;
 * HV_E_INVALID_STATE: already going; HV_E_DEADLOCK: from inside one of the device's own access callbacks.
 */
hv_status_t hv_device_destroy(struct hv_device *device);

/* ---- section-backed MMIO ranges ---- */

enum hv_mmio_flags {
    HV_MMIO_READ_ONLY = 0x0,
    HV_MMIO_WRITEABLE = 0x1,
    HV_MMIO_EXECUTABLE = 0x2,
    HV_MMIO_MT_MASK = 0xF0,
    HV_MMIO_MT_DEFAULT = 0x00, /* the type in force on the frames, else the section's default */
    HV_MMIO_MT_UC = 0x10,
    HV_MMIO_MT_WC = 0x20,
    HV_MMIO_MT_WT = 0x30,
    HV_MMIO_MT_WP = 0x40,
    HV_MMIO_MT_WB = 0x50,
    HV_MMIO_REPLACE = 0x100, /* HV_E_NOT_SUPPORTED in this version */
    HV_MMIO_NO_LARGE = 0x200,
    HV_MMIO_IGNORE_GUEST_PAT = 0x400,
    HV_MMIO_TRACK_DIRTY = 0x800, /* HV_E_NOT_SUPPORTED in this version */
};

/*
 * Put section pages [section_page, section_page + page_count) behind BAR pages [bar_page, ...): accesses are
 * direct from the return on; a write without WRITEABLE still traps and leaves the section alone.
 * Pages of 4096 bytes. The range holds its own reference to the section. Legal at any time, running or not,
 * decoded or not, from inside any callback.
 *
 * Checks, in order:
 *  1 device unknown HV_E_INVALID_HANDLE; tearing down HV_E_INVALID_STATE
 *  2 bar > 6 HV_E_INVALID_PARAMETER_2; absent, I/O or upper half HV_E_NO_SUCH_BAR
 *  3 page_count 0 HV_E_INVALID_PARAMETER_4; unknown flag, unknown type or WRITEABLE on the ROM BAR
 *    HV_E_INVALID_PARAMETER_5; a legal flag that this build or CPU lacks HV_E_NOT_SUPPORTED
 *  4 past the end of the BAR or wrapping HV_E_OUT_OF_RANGE (a BAR below one page has no pages)
 *  5 section: HV_E_INVALID_HANDLE, HV_E_OBJECT_TYPE, HV_E_ACCESS_DENIED, HV_E_SECTION_PROTECTION
 *  6 past the end of the section or wrapping HV_E_INVALID_VIEW_SIZE
 *  7 a frame in force with another type, or WB, WT, WP on a physical window HV_E_CACHE_CONFLICT
 *  8 overlap with a live range HV_E_CONFLICTING_ADDRESSES
 *  9 HV_E_QUOTA (ranges of the device), HV_E_NO_MEMORY (records or table pages)
 * A call that fails changes nothing.
 */
hv_status_t hv_mmio_range_create(struct hv_device *device, enum hv_bar bar, uint64_t bar_page,
                                 uint64_t page_count, uint32_t flags, hv_handle_t section,
                                 uint64_t section_page) MUST_CHECK;

/*
 * Destroy the whole range whose first page is exactly bar_page; accesses trap again from the return on.
 * Device HV_E_INVALID_HANDLE (tearing down is allowed); bar as above; nothing starts there HV_E_NOT_MAPPED.
 */
hv_status_t hv_mmio_range_destroy(struct hv_device *device, enum hv_bar bar, uint64_t bar_page);

struct hv_mmio_range_info {
    uint64_t bar_page, page_count, section_page;
    uint32_t flags; /* as created */
    uint32_t section_id;
    enum memtype memtype;    /* in force */
    bool live;               /* its leaves are in the tables now */
    uint64_t leaves[4];      /* [1] 4 KiB, [2] 2 MiB, [3] 1 GiB; all 0 when not live */
    uint64_t trapped_writes; /* writes to the read-only range */
};

/* The range that holds bar_page. HV_E_NOT_MAPPED: none. */
hv_status_t hv_mmio_range_query(struct hv_device *device, enum hv_bar bar, uint64_t bar_page,
                                struct hv_mmio_range_info *info) MUST_CHECK;

#endif
