/*
 * Owns:     a VM: guest RAM, second-level tables, MMIO and port maps, the virtual CPUs, its statistics.
 * Promises: what a guest does ends at worst its own VM, with a report.
 * Needs:    ept, mem, mmio, a backend (backend.h).
 * Never:    PCI: the bus registers ports and regions like anybody else.
 */
#ifndef HV_VM_VM_H
#define HV_VM_VM_H

#include "ept/ept.h"
#include "hv/base/lock.h"
#include "hv/base/log.h"
#include "hv/mmio/region.h"
#include "hv/vm/exit.h"

#define VM_MAX_RAM   16u
#define VM_MAX_PORTS 256u

/* General registers in encoding order. */
enum gpr {
    GPR_RAX,
    GPR_RCX,
    GPR_RDX,
    GPR_RBX,
    GPR_RSP,
    GPR_RBP,
    GPR_RSI,
    GPR_RDI,
    GPR_R8,
    GPR_COUNT = 16
};

/* One run of guest RAM: contiguous in guest and host. */
struct vm_ram {
    gpa_t gpa;
    uint64_t bytes;
    uint8_t *host; /* through the direct map: guest RAM is write-back */
};

/* A port range. in returns the value in the low bytes. */
struct vm_port {
    uint16_t first;
    uint16_t count;
    uint32_t (*in)(void *owner, uint16_t offset, unsigned bytes);
    void (*out)(void *owner, uint16_t offset, unsigned bytes, uint32_t value);
    void *owner;
};

/* X(name, text): why a VM ended. */
#define VM_STOP_LIST(X)                                                                       \
    X(VM_STOP_NONE, "running")                                                                \
    X(VM_STOP_GUEST_EXIT, "the guest ended it through the debug-exit port")                   \
    X(VM_STOP_POWER_OFF, "the guest switched the machine off")                                \
    X(VM_STOP_RESET, "the guest reset the machine")                                           \
    X(VM_STOP_HLT, "the guest halted and nothing can wake it")                                \
    X(VM_STOP_TRIPLE_FAULT, "triple fault")                                                   \
    X(VM_STOP_FETCH_VIOLATION, "instruction fetch from a page that is not executable memory") \
    X(VM_STOP_TABLE_WALK, "a guest page table lies in memory that cannot hold one")           \
    X(VM_STOP_EVENT_DELIVERY, "event delivery touched memory that cannot take it")            \
    X(VM_STOP_ENTRY_FAILURE, "the CPU refused to enter the guest")                            \
    X(VM_STOP_PAUSED, "paused by a device that did not resume it")                            \
    X(VM_STOP_UNEXPECTED, "an exit that nothing asked for")

#define VM_STOP_ENUM(name, text) name,
enum vm_stop_cause { VM_STOP_LIST(VM_STOP_ENUM) VM_STOP_COUNT };
#undef VM_STOP_ENUM

struct vm_stats {
    uint64_t exits[HV_EXIT_COUNT];
    uint64_t trapped_reads;
    uint64_t trapped_writes;
    uint64_t spurious;      /* violations that a re-walk found allowed */
    uint64_t unclaimed;     /* accesses to neither RAM nor device */
    uint64_t unsupported;   /* instructions answered with #UD */
    uint64_t flushes;       /* shoot-downs asked for */
    uint64_t invalidations; /* INVEPT or TLB-control flushes done */
};

struct vp;

/*
 * In vm->generation while the VM is paused. No VP's flushed_generation has it, so the one compare that every entry to
 * the guest makes anyway sees a pause too.
 */
#define VM_PAUSED     BIT(63)
#define VM_MAX_PAUSES UINT32_MAX

struct vm {
    uint32_t id;
    struct lock tables_lock; /* guards tables, pool, regions, generation changes */
    struct pt_pool pool;
    struct pt_root tables;
    /* Of the translations: a CPU that entered with an older one flushes first. While paused with VM_PAUSED. */
    uint64_t generation;
    uint32_t pauses; /* that were not resumed yet */
    unsigned ram_count;
    struct vm_ram ram[VM_MAX_RAM];
    struct mmio_map regions;
    /*
     * Held by a VP around the accesses of one locked instruction. The only lock that is held over a device's callbacks:
     * nothing that a callback may do takes it, and a VP that waits for it has done nothing of its instruction, so
     * it counts as paused.
     */
    struct lock bus_lock;
    unsigned port_count;
    struct vm_port port[VM_MAX_PORTS];
    struct vp *vp; /* one VP in this version */
    enum vm_stop_cause stop;
    struct hv_exit stop_exit; /* the exit that ended it */
    uint32_t exit_code;       /* what the guest gave to debug-exit */
    struct vm_stats stats;
    struct log_limit unclaimed_log;
    struct log_limit unsupported_log;
};

/* A pointer into guest RAM for [gpa, gpa+bytes), or NULL when it is not all in one run of RAM. */
static inline void *vm_ram_pointer(const struct vm *vm, gpa_t gpa, uint64_t bytes)
{
    for (const struct vm_ram *ram = vm->ram; ram < vm->ram + vm->ram_count; ram++) {
        uint64_t offset = gpa.v - ram->gpa.v;

        if (offset < ram->bytes)
            return bytes <= ram->bytes - offset ? ram->host + offset : NULL;
    }
    return NULL;
}

/*
 * Second-level look-ups for guest-physical addresses. A guest whose CPU has more physical bits than the tables have
 * input bits can name addresses beyond them: nothing is mapped there.
 */
static inline bool vm_leaf_allows(const struct vm *vm, gpa_t gpa, uint8_t rights)
{
    return gpa.v >> PT_INPUT_BITS == 0 && pt_allows(&vm->tables, gpa.v, rights);
}

static inline bool vm_leaf_lookup(const struct vm *vm, gpa_t gpa, struct pt_leaf *leaf)
{
    return gpa.v >> PT_INPUT_BITS == 0 && pt_lookup(&vm->tables, gpa.v, leaf);
}

/* True when [gpa, gpa+bytes) touches RAM. */
bool vm_ram_overlaps(const struct vm *vm, gpa_t gpa, uint64_t bytes);

/*
 * Who answers an access that begins at a port: looked for in the order of registration, so what is there from the start is
 * found first. NULL: nobody.
 */
static inline const struct vm_port *vm_port_find(const struct vm *vm, uint16_t port)
{
    for (unsigned i = 0; i < vm->port_count; i++)
        if ((uint16_t)(port - vm->port[i].first) < vm->port[i].count)
            return &vm->port[i];
    return NULL;
}

/*
 * HV_E_QUOTA; HV_E_CONFLICTING_ADDRESSES. Also while the VM runs: with one VP, whoever calls this is not looking for a port.
 * Before there is a second VP it has to be kept out of the table meanwhile. unregister: what begins at `first`, which is there.
 */
hv_status_t vm_port_register(struct vm *vm, const struct vm_port *port) MUST_CHECK;
void vm_port_unregister(struct vm *vm, uint16_t first);

/*
 * Carry out a flush duty: bump the generation, make every CPU that runs this VM flush before its next guest
 * instruction, then give dead tables back. Takes tables_lock for that. Never waits for a callback.
 */
void vm_flush(struct vm *vm, struct pt_flush *flush);

/*
 * Keep every VP out of the guest, at an instruction boundary with its trapped access finished, until the matching resume;
 * calls nest. From inside a device callback the calling VP counts as paused: its access completes after the resume.
 * timeout_us 0: as long as it takes; else HV_E_TIMEOUT and nothing changed. vm NULL _1; HV_E_QUOTA: VM_MAX_PAUSES.
 * hv_vm_resume_vps(): vm NULL _1; without a pause HV_E_INVALID_STATE. Both take tables_lock and, as they may have to
 * wait for a VP that runs a callback, are called with no lock held. (A change of a live frame's type, in range_create.c,
 * pauses with the device's lock and section_lock held: before there is a second VP, it must drop them first.) A VM that
 * would enter its guest while paused ends with VM_STOP_PAUSED: its only VP is the one that should have resumed it.
 */
hv_status_t hv_vm_pause_vps(struct vm *vm, uint64_t timeout_us) MUST_CHECK;
hv_status_t hv_vm_resume_vps(struct vm *vm);

/*
 * For the backend, before an entry for which the generation was found to be another than the VP's. False: the VM is paused
 * or has ended, and does not enter; vm->stop is set.
 */
bool vm_entry_allowed(struct vm *vm, uint64_t generation);

/* End the VM: the first cause and the exit that brought it (NULL: none in particular) stay. */
void vm_stop(struct vm *vm, const struct hv_exit *exit, enum vm_stop_cause cause);
/* The same from where no exit can tell: it ends before its next instruction. */
void vm_end_at_entry(struct vm *vm, enum vm_stop_cause cause);
const char *vm_stop_text(enum vm_stop_cause cause);

/* How the type of an access comes about: everything that took part, and the result. */
struct hv_memtype_report {
    bool translates; /* the guest's own tables do: gpa and the guest's part are filled */
    bool mapped;     /* so does the second level: all is filled */
    gpa_t gpa;
    uint8_t guest_level; /* of the guest's leaf entry, 1..3; 0: the guest does not page */
    bool pwt, pcd, pat; /* bits of that entry as read; pat is bit 7 of a 4 KiB entry, else bit 12 */
    uint8_t pat_index;  /* what they choose */
    uint8_t pat_type;   /* that entry of the guest's IA32_PAT; without paging WB */
    uint8_t leaf_type;  /* enum memtype of the second-level leaf */
    bool ignore_pat;
    uint8_t leaf_level;  /* 1..3 */
    bool cache_disabled; /* a CR0.CD that is in force while the guest runs */
    bool has_mtrr;       /* the frame's MTRR takes part */
    uint8_t mtrr_type;   /* enum memtype, when has_mtrr */
    uint8_t effective;   /* enum memtype */
};

/* gva in the VP's current paging mode. HV_OK with mapped = false when it does not translate. */
hv_status_t hv_effective_memtype(struct vp *vp, gva_t gva,
                                 struct hv_memtype_report *report) MUST_CHECK;

/* The report as one sentence: "EPT says WB, guest PAT entry 1 says WC, so WC". Cut when `bytes` are too few. */
#define HV_MEMTYPE_TEXT_BYTES 128u
void hv_memtype_explain(const struct hv_memtype_report *report, char *text, size_t bytes);

/* What the second-level translation of this machine can do (filled by the backend). */
struct hv_caps {
    const char *backend; /* its name */
    const char *table_format;
    bool ignore_pat; /* IGNORE_GUEST_PAT can be honoured */
    bool large_2m, large_1g;
    bool large_executable; /* no iTLB-multihit erratum: executable leaves may be large */
    bool execute_only;
    bool accessed_dirty;
    uint8_t physical_bits;
};

extern struct hv_caps hv_caps; /* written once at boot, then read-only */

#endif
