/*
 * Owns:     the device-host API: what a virtual PCI device may call and must provide.
 * Promises: this header is all that a device file includes of the hypervisor.
 * Needs:    status, sections, events, memory types.
 * Never:    vendor state, table entries. (The lab device also includes hv/pci/inspect.h.)
 */
#ifndef HV_PCI_DEVICE_H
#define HV_PCI_DEVICE_H

#include "ept/memtype.h"
#include "hv/base/lock.h"
#include "hv/base/log.h"
#include "hv/base/status.h"
#include "hv/base/string.h"
#include "hv/base/types.h"
#include "hv/mem/event.h"
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

#define HV_DEVICE_OPS_VERSION 2u /* 1 is taken too: without the members at the end */

/*
 * The ten callbacks; none may be NULL (but see version 2). `context` is what hv_device_create() was given.
 * A callback returns promptly and may call anything in this header. Those for accesses may come at the same time for
 * different VPs, unless the host has HV_HOST_SERIALIZE; the others never do, and no access is under way meanwhile.
 */
struct hv_device_ops {
    uint32_t version; /* 1 or HV_DEVICE_OPS_VERSION */
    /* Power-on. A failure aborts it; teardown is then not called. */
    hv_status_t (*initialize)(void *context);
    /* NUL-terminated UTF-8 from the configuration; valid only during the call; count may be 0. */
    hv_status_t (*set_configuration)(void *context, uint32_t count, const char *const *strings);
    /*
     * May be called again; idempotent. probed_bars[i] is what BAR i reads after all ones were written:
     * size mask and type bits; 0, as they come: absent. bar_count is HV_BAR_COUNT (index 6 is the ROM BAR).
     */
    hv_status_t (*get_details)(void *context, struct hv_pnp_id *id, uint32_t bar_count,
                               uint32_t *probed_bars);
    hv_status_t (*start)(void *context); /* VPs are about to run */
    void (*stop)(void *context);         /* VPs are about to stop */
    void (*teardown)(void *context);     /* may destroy; may not create */
    /*
     * Dwords outside the core's own (IDs, COMMAND, STATUS, header type, BARs, ROM BAR, subsystem ids; the Resizable
     * BAR capability at 0x100, in front of which a device can have no extended capability of its own).
     * offset: 4-aligned, 0..0xFFC. A narrow write comes merged with what the read gives. The device is also
     * told of writes to the core's own dwords, after they took effect; that status is ignored.
     */
    hv_status_t (*read_config_space)(void *context, uint32_t offset, uint32_t *value);
    hv_status_t (*write_config_space)(void *context, uint32_t offset, uint32_t value);
    /*
     * A trapped access to a memory BAR, or an access to an I/O BAR (length 1, 2 or 4, any alignment that the guest chose):
     * BAR byte offset, length 1, 2, 4 or 8 (and more after hv_bar_set_access_bytes()), naturally aligned in memory. The read buffer comes filled with ones. A failing read gives all ones, a failing write is dropped; both
     * are counted. Not for writes that a doorbell takes.
     */
    hv_status_t (*read_intercepted_memory)(void *context, enum hv_bar bar, uint64_t offset,
                                           uint64_t length, uint8_t *buffer);
    hv_status_t (*write_intercepted_memory)(void *context, enum hv_bar bar, uint64_t offset,
                                            uint64_t length, const uint8_t *buffer);
    /*
     * Version 2. In place of write_config_space, which may then be NULL, for devices to which it matters which bytes are
     * written (write 1 to clear): bit i of byte_enable is set when byte i of `value` is; the other bytes are 0, not merged.
     * NULL: write_config_space is called.
     */
    hv_status_t (*write_config_bytes)(void *context, uint32_t offset, uint32_t value,
                                      uint8_t byte_enable);
    /*
     * Version 2. Function-level reset or reset of the VM: decode, bus mastering, MSI and MSI-X are off by now and ranges and
     * doorbells are as they were. Registers go to their first values. NULL: nothing to do.
     */
    void (*reset)(void *context);
};

/* ---- ready-made callbacks, for what a device has nothing to do ---- */

hv_status_t hv_device_ready(void *context); /* initialize, start */
void hv_device_no_action(void *context);    /* stop, teardown */
/* set_configuration of a device without options: each string is told in the log and HV_E_INVALID_PARAMETER. */
hv_status_t hv_device_no_options(void *context, uint32_t count, const char *const *strings);
hv_status_t hv_device_config_zero(void *context, uint32_t offset, uint32_t *value);
hv_status_t hv_device_config_ignore(void *context, uint32_t offset, uint32_t value);

/* ---- options: the words behind a device's name in \barvisor.cfg ---- */

enum hv_option_kind {
    HV_OPTION_FLAG,   /* "key": a bool becomes true */
    HV_OPTION_NUMBER, /* "key=123", "key=0x7b", "key=16M" (or K, G): a uint64_t */
    HV_OPTION_TEXT,   /* "key=word": HV_OPTION_TEXT_BYTES of chars, with a NUL */
};
#define HV_OPTION_TEXT_BYTES 64u

/* A word that a device understands, and where in the context its value goes. */
struct hv_option {
    const char *key;
    enum hv_option_kind kind;
    uint32_t offset;
};

/*
 * For set_configuration: the strings into the context. What is not given stays as it is. A word that is not understood
 * is told in the log: HV_E_INVALID_PARAMETER.
 */
hv_status_t hv_options_read(void *context, const struct hv_option *options, uint32_t option_count,
                            uint32_t count, const char *const *strings) MUST_CHECK;

/*
 * What get_details() puts into probed_bars[]. bytes: a power of two, of memory at least 16, of I/O at least 4 and at
 * most 256, of a ROM at least 2048. A 64-bit BAR takes probed_bars[bar + 1] too.
 */
enum hv_bar_kind {
    HV_BAR_MEMORY = 0x0,
    HV_BAR_IO = 0x1,
    HV_BAR_64BIT = 0x4,
    HV_BAR_PREFETCHABLE = 0x8
};

static inline void hv_bar_describe(uint32_t *probed_bars, enum hv_bar bar, uint64_t bytes,
                                   unsigned kind)
{
    uint64_t mask = (0 - bytes) | kind;

    probed_bars[bar] = (uint32_t)mask;
    if (kind & HV_BAR_64BIT)
        probed_bars[bar + 1] = (uint32_t)(mask >> 32);
}

/* ---- models: a device that \barvisor.cfg can name ---- */

/*
 * What makes a file in drivers/virtual/ a device of the product: `device = <name> <options>` in \barvisor.cfg makes one.
 * The options are the strings of set_configuration. The context is zeroed memory of context_bytes, gone after `teardown`
 * (or after a power-on that failed); its first member is a `struct hv_device *`, which the hypervisor fills
 * before `initialize`.
 */
struct hv_device_model {
    const char *name;
    const struct hv_device_ops *ops;
    uint64_t context_bytes;
};

/* Defines `const struct hv_device_model variable`, in the list of the image: an array, so no compiler may align it more. */
#define HV_DEVICE_MODEL(variable, ...)                                       \
    extern const struct hv_device_model variable;                            \
    __attribute__((used, aligned(8), section(".data.rel.ro.device_models"))) \
    const struct hv_device_model variable = {__VA_ARGS__}

/*
 * A model and its ops at one go, for a device without options, config space of its own, and anything to do at power-on and
 * tear-down: those callbacks are the ready-made ones, the other five are given. The name is `model` as text.
 */
#define HV_DEVICE_SIMPLE_MODEL(model, context_type, details, start_, stop_, read, write)    \
    HV_DEVICE_MODEL(                                                                        \
        model##_model, .name = #model,                                                      \
        .ops = &(const struct hv_device_ops){.version = HV_DEVICE_OPS_VERSION,              \
                                             .initialize = hv_device_ready,                 \
                                             .set_configuration = hv_device_no_options,     \
                                             .get_details = (details),                      \
                                             .start = (start_),                             \
                                             .stop = (stop_),                               \
                                             .teardown = hv_device_no_action,               \
                                             .read_config_space = hv_device_config_zero,    \
                                             .write_config_space = hv_device_config_ignore, \
                                             .read_intercepted_memory = (read),             \
                                             .write_intercepted_memory = (write)},          \
        .context_bytes = sizeof(context_type))

/*
 * One host per VM, created before it starts. flags: enum hv_device_host_flags. NULL vm or host
 * HV_E_INVALID_PARAMETER_1, _3; unknown flag _2;
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

/*
 * hv_device_create() for a place of the caller's choice: slot 1..31, function 0..7, or HV_SLOT_ANY for the first slot that
 * is free (function 0). A guest looks for other functions of a slot only where there is a function 0. In the order of
 * hv_device_create(), with a bad slot or function in `place` HV_E_INVALID_PARAMETER_2 in place of the type; a place that is
 * taken HV_E_ALREADY_EXISTS.
 */
#define HV_SLOT_ANY 0xffu
struct hv_device_place {
    uint8_t slot, function;
};
hv_status_t hv_device_create_at(struct hv_device_host *host, struct hv_device_place place,
                                const struct hv_guid *class_id, const struct hv_guid *instance_id,
                                const struct hv_device_ops *ops, void *context,
                                uint32_t string_count, const char *const *strings,
                                struct hv_device **device) MUST_CHECK;

/*
 * A device of the model with that name, its context and its ids made here. A first string "at=<slot>" or
 * "at=<slot>.<function>" (decimal) is its place and does not come to the device. HV_E_INVALID_PARAMETER_2: no such model;
 * _4: a place that cannot be read; else as hv_device_create(). hv_device_destroy() ends it.
 */
hv_status_t hv_device_add(struct hv_device_host *host, const char *model, uint32_t string_count,
                          const char *const *strings, struct hv_device **device) MUST_CHECK;

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
    HV_MMIO_REPLACE = 0x100, /* overwrite, and split, what is there */
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
 *  7 a frame in force with another type (what REPLACE removes does not count), or WB, WT, WP on a physical
 *    window HV_E_CACHE_CONFLICT
 *  8 overlap with a live range, without HV_MMIO_REPLACE HV_E_CONFLICTING_ADDRESSES; WRITEABLE and a page with a
 *    doorbell, or a page with a byte of an MSI-X table or its pending bits, likewise, whatever is replaced
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
    uint32_t flags; /* as created, without HV_MMIO_REPLACE */
    uint32_t section_id;
    enum memtype memtype; /* in force */
    bool
        live; /* its BAR is decoded and in place, and reaches this far: leaves are in the tables now */
    uint64_t leaves[4]; /* [1] 4 KiB, [2] 2 MiB, [3] 1 GiB, shared ones too; all 0 when not live */
    uint64_t trapped_writes; /* writes to the read-only range */
};

/*
 * Make BAR pages [bar_page, bar_page + page_count) trap again, whatever lies there: ranges inside go, ranges across a
 * border keep the rest, and what is left of a range behind the hole is a range of its own with its own first page. Holes
 * are fine, and so is nothing at all. Checks: device and bar as for destroy; page_count 0 HV_E_INVALID_PARAMETER_4; past the
 * end of the BAR HV_E_OUT_OF_RANGE; HV_E_QUOTA, HV_E_NO_MEMORY (a split takes a record and tables).
 */
hv_status_t hv_mmio_range_unmap(struct hv_device *device, enum hv_bar bar, uint64_t bar_page,
                                uint64_t page_count) MUST_CHECK;

enum hv_mmio_op_kind {
    HV_MMIO_OP_CREATE = 1, /* all members, as hv_mmio_range_create() */
    HV_MMIO_OP_UNMAP = 2,  /* bar, bar_page, page_count */
    HV_MMIO_OP_DESTROY = 3 /* bar, bar_page */
};

/* One call of a batch. `core` belongs to the hypervisor until the batch returns; its content does not matter. */
struct hv_mmio_op {
    enum hv_mmio_op_kind kind;
    enum hv_bar bar;
    uint64_t bar_page, page_count;
    uint64_t section_page;
    uint32_t flags;
    hv_handle_t section;
    uint64_t core[12];
};

enum hv_mmio_batch_flags {
    HV_BATCH_ATOMIC = 1, /* all or nothing, and no VP sees part of it: they are paused around it */
};

/*
 * Many calls, in order, with one flush for the lot. Each is checked against what the earlier ones leave. The first that
 * fails ends it and its status is returned: without HV_BATCH_ATOMIC those before it stay and *done says how many
 * they are; with it nothing has changed and *done is 0. *done is count when all is well.
 * Checks of the call itself: device HV_E_INVALID_HANDLE; ops NULL with a count _2; unknown flag _4; done NULL _5.
 * An op of unknown kind fails with HV_E_INVALID_PARAMETER. While the device is torn down only UNMAP and DESTROY are legal.
 */
hv_status_t hv_mmio_range_batch(struct hv_device *device, struct hv_mmio_op *ops, uint64_t count,
                                uint32_t flags, uint64_t *done) MUST_CHECK;

/* The range that holds bar_page. HV_E_NOT_MAPPED: none. */
hv_status_t hv_mmio_range_query(struct hv_device *device, enum hv_bar bar, uint64_t bar_page,
                                struct hv_mmio_range_info *info) MUST_CHECK;

/* ---- BARs that change their size ---- */

/*
 * A memory BAR whose size the guest may choose through the Resizable BAR capability (PCI Express Base, "Resizable BAR
 * Extended Capability"), with decode off. `sizes`: bit n set when 2^(20 + n) bytes are possible; the size that
 * get_details() gives must be among them. Pages beyond a smaller size are inactive, not destroyed. Not while the device
 * is started, so at the latest in `start`, nor in tear-down: HV_E_INVALID_STATE. HV_E_INVALID_HANDLE; _2,
 * HV_E_NO_SUCH_BAR (also ROM and I/O); _3.
 */
hv_status_t hv_bar_make_resizable(struct hv_device *device, enum hv_bar bar,
                                  uint64_t sizes) MUST_CHECK;

/* ---- doorbells, and the lengths of accesses ---- */

/* Bits 2:0 are the length of the write. Others are reserved. */
enum hv_doorbell_flags {
    HV_DOORBELL_ANY = 0,
    HV_DOORBELL_BYTE = 1,
    HV_DOORBELL_WORD = 2,
    HV_DOORBELL_DWORD = 3,
    HV_DOORBELL_QWORD = 4,
    HV_DOORBELL_LENGTH = 7,
};
#define HV_DOORBELL_ANY_VALUE   0x80000000ull /* whatever is written */
#define HV_DOORBELLS_PER_DEVICE 64u

/*
 * A guest's write that starts at bar_offset (bytes), has the length and the value signals `event` and is gone: no
 * callback of the device runs. With ANY as length trigger_value is cut to the length of the write. Other writes, reads,
 * and writes that come in pieces go to the callbacks as ever. Doorbells are the BAR's, wherever it is, also while it is
 * not decoded and beyond the size that it has just now; then they do not ring. Legal whenever ranges are.
 *
 * The event stays with the doorbell when its handle is closed. Signals count, one for each write. What the guest stored
 * before the write is there for whoever takes the signal.
 *
 * Checks, in order: device and bar as in hv_mmio_range_create(); reserved flag or length HV_E_INVALID_PARAMETER_5; not
 * inside the BAR as large as it is now (ANY: one byte) HV_E_OUT_OF_RANGE; not naturally aligned (ANY: any)
 * HV_E_MAPPED_ALIGNMENT; value wider than the length, with ANY_VALUE too, _4; event HV_E_INVALID_HANDLE,
 * HV_E_OBJECT_TYPE; HV_E_ALREADY_EXISTS as below; a page of a WRITEABLE range, or bytes of MSI-X, HV_E_CONFLICTING_ADDRESSES; HV_E_QUOTA
 * (HV_DOORBELLS_PER_DEVICE); HV_E_NO_MEMORY. After a failure the write goes where it went before.
 *
 * Two of one offset collide when either has ANY as length, or both have the same and either has ANY_VALUE or both have
 * the same value.
 */
hv_status_t hv_doorbell_register(struct hv_device *device, enum hv_bar bar, uint64_t bar_offset,
                                 uint64_t trigger_value, uint64_t flags,
                                 hv_handle_t event) MUST_CHECK;

/*
 * All four as they were registered, else HV_E_NOT_FOUND. HV_E_INVALID_HANDLE, bar as above; legal in teardown. After the
 * return it gives no signal any more; what was given before can still be taken, and a callback that began may still
 * run on another CPU. What `teardown` leaves is destroyed, with a line in the log for each.
 */
hv_status_t hv_doorbell_unregister(struct hv_device *device, enum hv_bar bar, uint64_t bar_offset,
                                   uint64_t trigger_value, uint64_t flags);

/*
 * The longest access that the callbacks take whole: 8 (as it is at first), 16, 32 or 64 bytes. Longer ones, and those
 * that are not naturally aligned, come in naturally aligned pieces up to it. Not while the device is started, so at the latest in
 * `start`, nor in tear-down: HV_E_INVALID_STATE. HV_E_INVALID_HANDLE; _2, HV_E_NO_SUCH_BAR (also I/O); _3.
 */
hv_status_t hv_bar_set_access_bytes(struct hv_device *device, enum hv_bar bar,
                                    uint32_t bytes) MUST_CHECK;

/*
 * ---- capabilities that the core offers for a device ----
 *
 * Each call puts one capability into the device's list; the core answers for its dwords, from 0x40 on in the order of the
 * calls, up to 0xA8 with all four. The device's own list (the pointer that read_config_space gives at 0x34) hangs behind it,
 * if it begins behind the core's dwords, else it is left out. Legal from set_configuration (MSI-X: from `start`, when the BARs
 * are known) to `start`, and while the device is stopped, else HV_E_INVALID_STATE. HV_E_INVALID_HANDLE;
 * HV_E_ALREADY_EXISTS: a second time; HV_E_NO_MEMORY.
 */

/* MSI with 64-bit addresses and a mask for each of 1, 2, 4, 8, 16 or 32 vectors, else HV_E_INVALID_PARAMETER_2. */
hv_status_t hv_msi_offer(struct hv_device *device, uint32_t vectors) MUST_CHECK;

/*
 * MSI-X: table (16 bytes a vector) and pending bits (8 bytes for 64 vectors) at byte offsets of a memory BAR. What lies there
 * is the core's, for accesses of 4 and 8 bytes: narrower reads are answered, narrower writes and all writes to pending bits are
 * ignored. The rest of those pages is the device's, and all of them trap always: a range over one is
 * HV_E_CONFLICTING_ADDRESSES, even with REPLACE. BAR as in hv_mmio_range_create() (_2, HV_E_NO_SUCH_BAR; the ROM too);
 * vectors 0 or above 2048 _5; not 8-aligned, not inside the BAR or beyond 4 GiB of it _3, _4; the two overlap _4; a range lies
 * in their pages already, or a doorbell on their bytes, HV_E_CONFLICTING_ADDRESSES; the guest decodes the BAR HV_E_INVALID_STATE.
 */
hv_status_t hv_msix_offer(struct hv_device *device, enum hv_bar bar, uint64_t table_offset,
                          uint64_t pending_offset, uint32_t vectors) MUST_CHECK;

/* Power management: D0 and D3hot. In D3hot nothing decodes and the device raises no interrupt; in D0 all is as it was. */
hv_status_t hv_power_offer(struct hv_device *device) MUST_CHECK;

/*
 * PCI Express, an endpoint that is integrated into the root complex, with function-level reset. A guest looks at extended
 * config space (resizable BARs) only where it finds this one.
 */
hv_status_t hv_express_offer(struct hv_device *device) MUST_CHECK;

/*
 * Raise interrupt `vector` (from 0) of the device by MSI-X or MSI, whichever the guest has enabled; masked, it stays
 * pending and comes when unmasked. HV_E_NOT_SUPPORTED: neither is offered.
 * HV_E_INVALID_PARAMETER_2: not a vector of what is enabled. With MSI the guest may grant fewer vectors than are
 * offered: then the vector is taken modulo what it grants. Neither enabled, bus mastering off, or D3hot: HV_OK, nothing
 * comes, now or later, it is counted. What was pending before stays so until nothing of this stands in the way, and is forgotten
 * when the guest disables MSI-X or MSI, and at a reset. HV_E_INVALID_HANDLE, HV_E_INVALID_STATE as for guest memory. From any context. What this caller
 * wrote to guest memory before is there for the guest's handler.
 */
hv_status_t hv_interrupt_raise(struct hv_device *device, uint32_t vector) MUST_CHECK;

/*
 * A message as the device would write it: no capability is looked at. address outside 0xFEExxxxx
 * HV_E_INVALID_PARAMETER_2; a reserved delivery mode, or level-triggered deassert, in `data` _3; nobody there: HV_OK, dropped and
 * counted. Latched when it returns, not yet taken; the same vector twice may be taken once.
 * HV_E_INVALID_HANDLE, HV_E_INVALID_STATE as for guest memory.
 */
hv_status_t hv_guest_msi_deliver(struct hv_device *device, uint64_t address,
                                 uint32_t data) MUST_CHECK;

/* ---- what the machine's screen shows ---- */

/* 32 bits a pixel: blue in the lowest byte, then green, red, and one that is not looked at. */
struct hv_scanout {
    hv_handle_t section;                  /* needs HV_SECTION_MAP_READ */
    uint64_t offset;                      /* bytes, of the first pixel: a multiple of 4 */
    uint32_t width, height, stride_bytes; /* a multiple of 4, at least 4 * width */
};

/*
 * Show a picture out of a section on the machine's own screen, where there is one, from now on and as it changes; NULL: no
 * longer. The picture of the device that asked last is shown, from the top left and cut to the screen; one that it took the
 * place of does not come back. The section is referenced until then. HV_E_INVALID_HANDLE (device), HV_E_INVALID_STATE in
 * teardown (but NULL is fine); zero width or height, a bad offset or stride HV_E_INVALID_PARAMETER_2; section as in
 * hv_mmio_range_create(), past its end HV_E_INVALID_VIEW_SIZE, a page of it without a frame HV_E_NOT_MAPPED;
 * HV_E_NO_MEMORY.
 */
hv_status_t hv_scanout_set(struct hv_device *device, const struct hv_scanout *scanout) MUST_CHECK;

/*
 * ---- guest memory ----
 * All but the destroy call: HV_E_INVALID_HANDLE unknown device; HV_E_INVALID_STATE before `initialize` has returned and
 * from `teardown` on (`stop` may still write back).
 */

/* Of the host, for all its devices: hv_device_host_create(). */
enum hv_device_host_flags {
    HV_HOST_RESTRICTED = 1, /* no hv_guest_memory_read/write, no apertures: HV_E_ACCESS_DENIED */
    HV_HOST_ENFORCE_BUS_MASTER =
        2,                 /* likewise while the guest has COMMAND.BusMaster off, and in D3hot */
    HV_HOST_SERIALIZE = 4, /* of each device at most one access callback at a time */
};

#define HV_APERTURES_PER_DEVICE 1024u

/*
 * Copy guest RAM. In this order: 0 bytes HV_OK, whatever the rest; gpa + bytes wrapping (2^64 itself too)
 * HV_E_INVALID_PARAMETER_2; NULL buffer _4; HV_E_ACCESS_DENIED by the host's flags; a byte that is not RAM (a BAR, the
 * hole below 4 GiB) HV_E_GUEST_FAULT and nothing copied. Naturally aligned copies of 1, 2, 4 and 8 bytes are single
 * accesses; no other promise against VPs. `buffer` does not overlap the guest's RAM.
 */
hv_status_t hv_guest_memory_read(struct hv_device *device, gpa_t gpa, uint32_t bytes,
                                 void *buffer) MUST_CHECK;
hv_status_t hv_guest_memory_write(struct hv_device *device, gpa_t gpa, uint32_t bytes,
                                  const void *buffer) MUST_CHECK;

/*
 * Guest RAM in the caller's space, coherent for as long as it is mapped; *va keeps gpa's offset in its page. In this
 * order: wrapping as above _2; bytes 0 _3; va NULL _5; HV_E_ACCESS_DENIED as above; not all RAM of one contiguous run
 * HV_E_GUEST_FAULT; HV_E_QUOTA: HV_APERTURES_PER_DEVICE of the device (destroy one and try again); HV_E_NO_MEMORY.
 * Overlapping ones are fine. What is left after `teardown` is destroyed, with a line in the log for each.
 */
hv_status_t hv_guest_aperture_create(struct hv_device *device, gpa_t gpa, uint32_t bytes,
                                     bool write_protected, void **va) MUST_CHECK;

/* `va` exactly as given out to this device, else HV_E_NOT_MAPPED. HV_E_INVALID_HANDLE. Legal in teardown. */
hv_status_t hv_guest_aperture_destroy(struct hv_device *device, void *va);

#endif
