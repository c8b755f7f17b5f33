/*
 * Owns:     the virtual PCI bus 0 behind ports 0xCF8 and 0xCFC and behind its window in memory, BARs and their
 *           decode.
 * Promises: config space as PCI Local Bus 3.0 has it: sizing, 64-bit pairs, moves with decode on or off;
 *           with decode off, resizable BARs change their size as PCI Express Base has it;
 *           regions and leaves follow the decode state before the write returns.
 * Needs:    hv/vm (ports, regions, tables), hv/pci/range.h.
 * Never:    passes a real device through.
 *
 * Lock order: host -> device -> section -> tables; the lock of a device's capabilities comes last. Callbacks run with
 * none of them held.
 */
#ifndef HV_PCI_BUS_H
#define HV_PCI_BUS_H

#include "hv/base/lock.h"
#include "hv/base/tree.h"
#include "hv/pci/device.h"
#include "hv/vm/vm.h"

#define PCI_SLOTS          32u
#define PCI_SLOT_FUNCTIONS 8u
#define PCI_FUNCTIONS      (PCI_SLOTS * PCI_SLOT_FUNCTIONS)
#define PCI_RANGES_PER_DEV 65536u
#define PCI_HOST_BRIDGE    0u /* the slot of the host bridge; devices follow in creation order */

/*
 * One BAR. A BAR is wanted while the guest decodes it. A wanted BAR is live, or it waits (in the order in
 * which it became wanted) until its address is free and usable.
 *
 *    not wanted --enable--> waiting --address usable--> live --move--> waiting --> live
 *        ^--------------------disable--------------------'
 */
struct hv_bar_state {   /* a power of two of bytes, so that an index is a shift */
    uint64_t bytes;     /* decoded size now; 0: absent, or the upper half of a pair */
    uint64_t max_bytes; /* the largest that it can have: ranges may lie up to here */
    uint64_t base;      /* as programmed */
    uint64_t live_base;
    struct hv_device *device;
    uint32_t sizes; /* bit n: the guest may choose 2^(20 + n) bytes; 0: not resizable */
    enum hv_bar index;
    uint32_t kind; /* type bits of the low dword, as the guest reads them */
    bool upper;    /* this slot is the upper half of a 64-bit BAR */
    bool io;
    bool rom_enabled; /* HV_BAR_ROM only */
    bool wanted;
    bool live;            /* region registered and ranges in the tables at live_base */
    uint8_t access_bytes; /* of the longest access that the callbacks take whole; 0: 8 */
    uint8_t doorbells;    /* how many: doorbell.c */
    bool is_16bit;        /* I/O: the upper half of the register is 0 */
    uint8_t first_shift;  /* of the bytes that get_details() gave, and a reset gives again */
    bool has_leaves; /* there has been a range since it became live: a fault may be over by now */
    bool has_msix;   /* an MSI-X table and its pending bits lie in it: msix.c */
    struct tree ranges; /* struct hv_range by first BAR page */
    /*
     * Tables that the ranges keep reserved: edges.c. Written under vm->tables_lock with section_lock or the device's; a
     * change reads it with the device's lock alone, since a commit only adds to ranges that the change does not touch.
     */
    uint64_t held_tables;
    uint64_t trapped_reads, trapped_writes, callback_failures;
    uint64_t rings; /* writes that doorbells took. Lock: the device's doorbell_lock */
    struct hv_bar_state *next_waiting;
};

enum hv_device_state {
    HV_DEVICE_CREATED,
    HV_DEVICE_INITIALISED,
    HV_DEVICE_CONFIGURED,
    HV_DEVICE_STARTED,
    HV_DEVICE_STOPPED,
    HV_DEVICE_STOPPING, /* for good: nothing reaches it any more, it may still call */
    HV_DEVICE_TEARING_DOWN,
};

struct hv_device {
    struct lock lock; /* guards state, bars and ranges */
    struct hv_device_host *host;
    enum hv_device_state state;
    uint8_t slot, function;
    uint8_t own_capability; /* the first of the device's own list; 0: none */
    bool is_asleep; /* in D3hot: nothing decodes, no interrupt is raised. Lock: the host's */
    struct hv_guid instance_id;
    struct capabilities
        *capabilities; /* capability.c. NULL: the core offers none. Lock: the host's */
    const struct hv_device_ops *ops;
    void *context;
    uint64_t context_pages; /* of a model's context, which goes with the device; 0: the caller's */
    struct hv_pnp_id id;
    uint16_t command;  /* guest-visible COMMAND */
    uint16_t status;   /* guest-visible STATUS */
    uint32_t accesses; /* access callbacks in progress */
    bool takes_turns;  /* HV_HOST_SERIALIZE */
    uint16_t turn_depth;
    struct lock turn;
    const void *turn_owner; /* the CPU that has it */
    uint32_t range_count;
    struct tree apertures;     /* guest_memory.c */
    struct lock doorbell_lock; /* innermost */
    struct doorbells *
        doorbells; /* doorbell.c. NULL: none in any BAR. Lock: the device's, and doorbell_lock to write */
    struct hv_bar_state bar[HV_BAR_COUNT];
};

struct hv_device_host {
    struct vm *vm;
    uint32_t flags;                      /* enum hv_device_host_flags */
    struct lock lock;                    /* guards config space, slots and the waiting list */
    uint32_t address;                    /* CONFIG_ADDRESS */
    unsigned end;                        /* above every used place */
    struct hv_device *at[PCI_FUNCTIONS]; /* by pci_place() */
    bool started;
    struct hv_bar_state *waiting; /* wanted and not live, oldest first */
    struct log_limit failure_log; /* BARs that cannot be where they are put */
    struct log_limit access_log;  /* callbacks that failed: a guest may cause any number */
};

/* Start every device; the VM is about to run. The first failure stops those started and is returned. */
hv_status_t hv_device_host_start(struct hv_device_host *host) MUST_CHECK;

/* Stop and destroy every device. */
void hv_device_host_destroy(struct hv_device_host *host);

/* Where the ports of a VM's bus find its host; it outlives the host, as the ports do. */
struct pci_ports {
    struct vm *vm;
    struct hv_device_host *host; /* NULL: no bus, reads are all ones */
};

/* HV_E_QUOTA, HV_E_CONFLICTING_ADDRESSES. */
hv_status_t pci_ports_register(struct pci_ports *ports) MUST_CHECK;

/*
 * The same config space, all 4096 bytes of it, in memory at PCI_ECAM_BASE: while there is a host. Accesses of 1, 2, 4
 * and 8 bytes. HV_E_QUOTA, HV_E_CONFLICTING_ADDRESSES.
 */
hv_status_t pci_ecam_open(struct pci_ports *ports) MUST_CHECK;
void pci_ecam_close(struct pci_ports *ports);

/* Config space of one function, dword-aligned. Absent: all ones. Takes the host's lock. */
uint32_t pci_config_read(struct hv_device_host *host, unsigned slot, unsigned function,
                         uint32_t offset);
/* byte_enable: bit i set when byte i of the dword is written. */
#define PCI_ALL_BYTES 0xfu
void pci_config_write(struct hv_device_host *host, unsigned slot, unsigned function,
                      uint32_t offset, uint32_t value, unsigned byte_enable);

/* ---- bar.c. Caller holds the host's lock. ---- */

/* Take over what get_details() probed. HV_E_INVALID_PARAMETER: malformed; the BARs stay absent. */
hv_status_t bars_probe(struct hv_device *device, const uint32_t probed[HV_BAR_COUNT]) MUST_CHECK;

/* As after power-on, but without addresses: decode and ROM off, bases 0, resizable ones with their first size. */
void bars_reset(struct hv_device_host *host, struct hv_device *device);

/* A BAR register as the guest sees it, and a whole dword written to it. No effect on decode yet. */
uint32_t bar_register_read(const struct hv_device *device, enum hv_bar index);
void bar_register_write(struct hv_device *device, enum hv_bar index, uint32_t value);

/* Above every address that the BAR can have. place.c. */
uint64_t bar_limit(const struct hv_bar_state *bar);

/* Bring decode in line with the registers of `device`, then let waiting BARs of all devices in. */
void bars_update(struct hv_device_host *host, struct hv_device *device);

/*
 * The first range of a live BAR or its first doorbell has come, or the last doorbell has gone: its region looks for them, or no
 * longer. Caller holds the device's lock and not vm->tables_lock.
 */
void bar_update_handler(struct hv_bar_state *bar);
/* The same, with vm->tables_lock held. */
void bar_update_handler_held(struct hv_bar_state *bar);

/*
 * Trapped accesses, to the device: the functions of a mmio_handler whose owner is the BAR. bar_write: no doorbell takes it.
 */
uint64_t bar_read(void *owner, uint64_t offset, unsigned bytes);
void bar_write(void *owner, uint64_t offset, unsigned bytes, uint64_t value);
void bar_read_wide(void *owner, uint64_t offset, unsigned bytes, void *value);
void bar_write_wide(void *owner, uint64_t offset, unsigned bytes, const void *value);

/* ---- place.c ---- */

/* Where the hypervisor puts BARs: config.h. */
enum pci_space { PCI_SPACE_IO, PCI_SPACE_MEM32, PCI_SPACE_MEM64 };
struct pci_window {
    uint64_t start, end; /* the end may be at or below the start: there is no such window */
};
struct pci_window pci_window(const struct vm *vm, enum pci_space space);

/*
 * Initial addresses, decode off: the first place of the window in which no other BAR lies, decoded or not. 0 when there is
 * none, with a line in the log: the guest has to find one. Caller holds the host's lock and the device's.
 */
void bars_assign(struct hv_device_host *host, struct hv_device *device);

/* ---- resize.c: the Resizable BAR capability. Caller holds the host's lock. ---- */

/* Is the dword of extended config space part of the capability? No, when no BAR is resizable. */
bool resize_owns(const struct hv_device *device, uint32_t offset);
uint32_t resize_read(const struct hv_device *device, uint32_t offset);
/* A whole dword. A new size takes effect at once; ignored: one that is not offered, and any with decode on. */
void resize_write(struct hv_device *device, uint32_t offset, uint32_t value);

/* ---- device.c ---- */

/* The place of a function in the host's table. */
static inline unsigned pci_place(unsigned slot, unsigned function)
{
    return slot * PCI_SLOT_FUNCTIONS + function;
}

/* What a device is made of. The context of a model is gone with the device, and also when there comes none to be. */
struct device_request {
    struct hv_device_place place;
    const struct hv_guid *class_id, *instance_id;
    const struct hv_device_ops *ops;
    void *context;
    uint64_t context_pages;
    uint32_t string_count;
    const char *const *strings;
};
hv_status_t device_make(struct hv_device_host *host, const struct device_request *request,
                        struct hv_device **device) MUST_CHECK;

bool host_is_known(const struct hv_device_host *host);

/* True when the device pointer is one that hv_device_create() made and that is not gone. */
bool device_is_known(const struct hv_device *device);

/*
 * The BAR that an API call means. HV_E_INVALID_PARAMETER_2: index out of range; HV_E_NO_SUCH_BAR: absent,
 * I/O or upper half.
 */
static inline MUST_CHECK hv_status_t device_memory_bar(struct hv_device *device, enum hv_bar index,
                                                       struct hv_bar_state **bar)
{
    struct hv_bar_state *state;

    if ((unsigned)index >= HV_BAR_COUNT)
        return HV_E_INVALID_PARAMETER_2;
    state = &device->bar[index];
    if (state->bytes == 0 || state->io)
        return HV_E_NO_SUCH_BAR;
    *bar = state;
    return HV_OK;
}

/* ---- model.c ---- */

/* Each model of the image in turn, from NULL on; NULL: no more. */
const struct hv_device_model *model_next(const struct hv_device_model *model);
/* NULL: none has that name. */
const struct hv_device_model *model_find(const char *name);

/* May it use the guest's memory and raise interrupts? */
static inline bool device_is_in_phase(const struct hv_device *device)
{
    enum hv_device_state state = __atomic_load_n(&device->state, __ATOMIC_RELAXED);

    return state >= HV_DEVICE_INITIALISED && state < HV_DEVICE_TEARING_DOWN;
}

/*
 * Link-time, boot/ in the image: something that only the calling CPU has.
 */
const void *cpu_current(void);

/*
 * Where the device takes turns, between device_enter() and device_leave(): wait until no access callback of it runs on
 * another CPU, and keep others from running. With no lock held.
 */
void device_take_turn(struct hv_device *device);
void device_pass_turn(struct hv_device *device);

/* Around every access callback, so that a device is not destroyed under its own code. */
static inline void device_enter(struct hv_device *device)
{
    __atomic_fetch_add(&device->accesses, 1, __ATOMIC_ACQUIRE);
}

static inline void device_leave(struct hv_device *device)
{
    __atomic_fetch_sub(&device->accesses, 1, __ATOMIC_RELEASE);
}

/*
 * Function-level reset: decode, bus mastering, ROM off; BAR registers 0, as after power-on before firmware came, so the guest
 * puts back what it saved; then the device's `reset`, with no other access under way. The caller is between
 * device_enter() and device_leave(), once, and holds no lock. Ranges and doorbells stay.
 */
void device_reset(struct hv_device *device);

/* Reset of the VM: of every device, and then BARs get addresses as at power-on. No VP runs. */
void hv_device_host_reset(struct hv_device_host *host);

/* ---- guest_memory.c ---- */

/* Destroy every aperture of the device and log each: teardown. Returns how many there were. */
uint64_t aperture_destroy_all(struct hv_device *device);
/* Give back what is kept warm: see section_trim(). */
void aperture_trim(void);

/* ---- report.c ---- */

/* A line per page run of each BAR: page range, section, rights, type, IPAT, leaf sizes, live or not. */
void pci_print_bars(struct hv_device_host *host);
/* A line per BAR: direct pages, trapped reads and writes; one per device that raises interrupts. */
void pci_print_stats(struct hv_device_host *host);
/* Which range, or hole, of which BAR a guest-physical address lies in; nothing when it is in none. */
void pci_print_owner(struct hv_device_host *host, gpa_t gpa);

#endif
