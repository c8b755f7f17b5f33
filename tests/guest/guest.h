/*
 * Owns:     the vocabulary of the guest test kernel.
 * Promises: shares with the hypervisor only the lab's register layout and the status values; every other
 *           number here is the guest's own, so that a mistake is not made twice in the same way.
 * Needs:    freestanding C headers.
 * Never:    a header of the hypervisor's rooms besides those two.
 */
#ifndef TESTS_GUEST_GUEST_H
#define TESTS_GUEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/virtual/lab_regs.h"
#include "hv/base/status.h"

#define PAGE        ((uint64_t)4096) /* of uint64_t's own type: %lx takes it */
#define LARGE       (512 * PAGE)
#define HUGE        (512 * LARGE)
#define COUNT_OF(a) ((unsigned)(sizeof(a) / sizeof((a)[0])))
#define NOBODY      ((unsigned)-1)

/* ---- serial.c ---- */
void serial_init(void);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
unsigned format_text(char *out, unsigned room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool text_equal(const char *a, const char *b);
bool text_match(const char *glob, const char *text);
void *memcpy(void *to, const void *from, size_t bytes);
void *memset(void *to, int byte, size_t bytes);

/* ---- cpu.c: instructions ---- */
static inline void outb(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port) : "memory");
}
static inline void outw(uint16_t port, uint16_t v)
{
    __asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port) : "memory");
}
static inline void outl(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port) : "memory");
}
static inline uint8_t inb(uint16_t port)
{
    uint8_t v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}
static inline uint16_t inw(uint16_t port)
{
    uint16_t v;
    __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}
static inline uint32_t inl(uint16_t port)
{
    uint32_t v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}
static inline uint64_t rdtsc(void)
{
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi)::"memory");
    return ((uint64_t)hi << 32) | lo;
}
static inline void invlpg(uint64_t gva)
{
    __asm__ volatile("invlpg (%0)" ::"r"(gva) : "memory");
}
static inline uint64_t read_cr3(void)
{
    uint64_t v;
    __asm__ volatile("mov %%cr3, %0" : "=r"(v));
    return v;
}
static inline void write_cr3(uint64_t v)
{
    __asm__ volatile("mov %0, %%cr3" ::"r"(v) : "memory");
}
static inline uint64_t read_cr4(void)
{
    uint64_t v;
    __asm__ volatile("mov %%cr4, %0" : "=r"(v));
    return v;
}
static inline uint64_t read_cr0(void)
{
    uint64_t v;
    __asm__ volatile("mov %%cr0, %0" : "=r"(v));
    return v;
}
struct cpuid {
    uint32_t a, b, c, d;
};
struct cpuid cpuid(uint32_t leaf, uint32_t subleaf);
uint64_t rdmsr(uint32_t msr);
void wrmsr(uint32_t msr, uint64_t v);
/* The same with a fault answered: the vector, or -1 when none came. */
int try_rdmsr(uint32_t msr, uint64_t *v);
int try_wrmsr(uint32_t msr, uint64_t v);
int try_write_cr0(uint64_t v);
int try_write_cr4(uint64_t v);
int try_write_cr8(uint64_t v);
uint64_t read_cr8(void);
int try_xsetbv(uint32_t index, uint64_t v);
uint64_t xgetbv(uint32_t index);
bool on_barvisor(void); /* CPUID says so */

/* One access of 1, 2, 4 or 8 bytes by a plain MOV. */
uint64_t load(uint64_t gva, unsigned bytes);
void store(uint64_t gva, unsigned bytes, uint64_t value);
uint64_t ones(unsigned bytes);

/* ---- traps.c ---- */
enum vector {
    VEC_DE = 0,
    VEC_DB = 1,
    VEC_BP = 3,
    VEC_UD = 6,
    VEC_NM = 7,
    VEC_DF = 8,
    VEC_SS = 12,
    VEC_GP = 13,
    VEC_PF = 14,
    VEC_AC = 17
};
struct trap_frame {
    uint64_t gpr[16]; /* encoding order: RAX RCX RDX RBX RSP RBP RSI RDI R8.. */
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
};
extern struct trap_frame trap_last; /* the fault that ended the last trap_try() */
extern uint64_t trap_cr2;
void traps_init(void);
/* Descriptors by selector / 8: 1 and 3 64-bit and 32-bit code, 2 data; 4, 5, 6 32-bit code, data, 64-bit code of users. */
#define GDT_TASK 8
#define GDT_FREE 10 /* and up to 15: for one check at a time */
extern uint64_t guest_gdt[16];
/* The IDT has 256 gates, and lies at the start of a page; a gate's stack number 0: the stack that is there. */
uint64_t traps_idt(void);
void trap_gate(unsigned vector, uint64_t entry, unsigned stack_number);
void trap_gate_default(unsigned vector); /* of an exception: as traps_init() has it */
void trap_stack(unsigned stack_number, uint64_t top);
void traps_idt_load(uint64_t base);
/* Calls fn(arg). The vector of the exception that ended it, or -1. */
int trap_try(void (*fn)(void *), void *arg);

/* ---- paging.c ---- */
enum { PAT_UC = 0, PAT_WC = 1, PAT_WT = 4, PAT_WP = 5, PAT_WB = 6, PAT_UCM = 7 };
#define GUEST_PAT 0x0106050400070106ull /* PA0..7: WB WC UC- UC WT WP WB WC */
#define MSR_PAT   0x277u
extern uint64_t pat_at_entry;
void paging_init(void);
/* Map [gpa, gpa+bytes) at gva by pages of `leaf` bytes (PAGE, LARGE, HUGE) with a PAT index. */
void map(uint64_t gva, uint64_t gpa, uint64_t bytes, uint64_t leaf, unsigned pat_index);
void unmap(uint64_t gva, uint64_t bytes, uint64_t leaf);
/* The entry for gva at level 1 (4 KiB) or 2 (2 MiB); tables are made on the way. */
uint64_t *entry_of(uint64_t gva, unsigned level);
void allow_user(uint64_t gva, uint64_t bytes); /* for what is mapped by 4 KiB pages */
unsigned pat_index_of(unsigned type);          /* an index of GUEST_PAT that gives `type` */
bool have_huge_pages(void);

#define GVA_BAR2      UINT64_C(0x40000000) /* BAR2 by 4 KiB pages, and what follows it */
#define GVA_TMP       UINT64_C(0x60000000) /* for one check at a time */
#define GVA_USER_CODE UINT64_C(0x68000000)
#define GVA_REGS      UINT64_C(0x70000000) /* BAR0, uncached */
#define GVA_APIC      UINT64_C(0x78000000) /* the local APIC's page, uncached */
#define GVA_BAR2_2M   UINT64_C(0x80000000) /* BAR2 by 2 MiB pages */
#define GVA_1G        UINT64_C(0xc0000000) /* the GiB that holds BAR2, by one 1 GiB page */
#define GVA_BAR4      UINT64_C(0x8000000000)
#define GVA_CODE_1G   UINT64_C(0xffff800000000000) /* RAM again by 1 GiB page */
#define GVA_CODE_4K   UINT64_C(0xffff800100000000) /* the image again by 4 KiB pages */
#define GVA_CODE_X    UINT64_C(0xffff800140000000) /* two pages whose frames are not neighbours */

/* ---- t_acpi.c: as the tables say it is done; false: they do not say ---- */
bool acpi_reset(void);
bool acpi_power_off(void);
void acpi_dump(void); /* every table as text */

/* ---- start.asm: what PVH hands over ---- */
struct start_info {
    uint32_t magic, version, flags, modules;
    uint64_t module_list, cmdline, rsdp, memory_map;
    uint32_t memory_entries; /* from version 1 on */
};
struct memory_entry {
    uint64_t base, bytes;
    uint32_t type, unused;
};
#define MEMORY_RAM  1u
#define MEMORY_ACPI 3u
#define FOUR_GIB    UINT64_C(0x100000000)
extern uint32_t entry_state[8]; /* start_info, CR0, CR4, EFLAGS, TR */
static inline const struct start_info *start_info(void)
{
    return (const struct start_info *)(uintptr_t)entry_state[0];
}
/* kit.c: entry k of its memory map; NULL behind the last. */
const struct memory_entry *memory_entry(unsigned k);
/* kit.c: ends of the RAM below 4 GiB and above it; 0: there is none. */
void ram_ends(uint64_t *low, uint64_t *high);

/* ---- pci.c ---- */
uint32_t pci_read(unsigned slot, unsigned function, unsigned offset, unsigned bytes);
void pci_write(unsigned slot, unsigned function, unsigned offset, unsigned bytes, uint32_t value);

/* ---- lab.c ---- */
struct lab {
    bool present;
    unsigned slot;
    uint64_t bytes[6]; /* by BAR, 0: absent */
    uint64_t base[6];  /* where the guest keeps it */
    uint64_t caps, phys_bits;
    uint32_t main, alt, bar4; /* section handles */
    uint64_t main_pages, alt_pages, bar4_pages;
};
extern struct lab lab;
extern const uint64_t lab_home[6]; /* the address a BAR has between checks */

bool lab_find(void);
void lab_init(void);
void lab_decode(bool on);
void lab_set_bar(unsigned bar, uint64_t base); /* config writes: low dword, then high */
void lab_map_regs(void);                       /* follow BAR0 with GVA_REGS */
void lab_home_all(void);                       /* every BAR home, decode on */
hv_status_t lab_call(uint32_t command, const uint64_t *args, unsigned count);
uint64_t lab_result(unsigned i);
#define LAB(command, ...)                                \
    lab_call((command), (const uint64_t[]){__VA_ARGS__}, \
             (unsigned)(sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)))
#define LAB0(command) lab_call((command), NULL, 0)

hv_status_t range_create(uint64_t page, uint64_t pages, uint32_t flags, uint32_t section,
                         uint64_t section_page);
hv_status_t range_destroy(uint64_t page);
uint64_t section_get(uint32_t handle, uint64_t offset);
void section_put(uint32_t handle, uint64_t offset, uint64_t value);
uint64_t lab_hash(void);
uint64_t lab_traps(void);
uint64_t hole_value(uint64_t offset, unsigned bytes); /* what a trapped read of a BAR gives */
struct bar_stats {
    uint64_t bytes, base, decoded, ranges, direct, reads, writes, failures;
};
struct bar_stats bar_stats(unsigned bar);
struct totals {
    uint64_t value[9]; /* all that TOTALS tells */
};
struct totals totals(void);
bool totals_equal(const struct totals *a, const struct totals *b);
struct leaf {
    uint64_t present, rights, type, ipat, level;
};
struct leaf leaf_at(uint64_t gpa);
struct trap_record {
    uint64_t bar, offset, bytes, value, write;
};
bool trap_record(uint64_t sequence, struct trap_record *r);

/* A device of a model, at slot << 8 | function or LAB_PLACE_ANY; "": no option. The device: for the lab's commands. */
hv_status_t device_add(const char *model, uint64_t place, const char *option, uint64_t *device);
hv_status_t device_remove(uint64_t device);
uint64_t device_seen(uint64_t device, unsigned what); /* LAB_SEEN_* of a neighbour */

/* The guest's own numbers of the mapping flags. */
#define F_WRITE    0x001u
#define F_EXEC     0x002u
#define F_TYPE(t)  (0x10u * ((t) + 1u)) /* t = 0..4: UC WC WT WP WB */
#define F_REPLACE  0x100u
#define F_NO_LARGE 0x200u
#define F_IPAT     0x400u
#define F_DIRTY    0x800u
extern const char *const type_name[5];   /* by t */
extern const unsigned type_value[5];     /* the architecture's encoding, by t */
extern const char *const rights_name[4]; /* by r: R RW RX RWX */
unsigned rights_bits(unsigned r);        /* 1 R, 2 W, 4 X */
bool type_legal(bool ipat);              /* false: the CPU lacks IPAT */

/* One initial range. */
struct initial {
    uint64_t page, pages;
    unsigned type, rights, ipat; /* t, r, 0/1 */
};
#define INITIAL_COUNT (LAB_SMALL_SLOTS + LAB_LARGE_SLOTS + 3u)
struct initial initial_range(unsigned n);
unsigned initial_level(const struct initial *range, uint64_t page); /* leaf level that is right */
void name_initial(char *out, unsigned n);

/* ---- kit.c: for the scenarios of the mapping engine ---- */
enum section_access { SA_QUERY = 1, SA_WRITE = 2, SA_READ = 4, SA_EXECUTE = 8, SA_ALL = 15 };
enum page_protection {
    PROT_NONE = 0x01,
    PROT_R = 0x02,
    PROT_RW = 0x04,
    PROT_RX = 0x20,
    PROT_RWX = 0x40,
    PROT_NOCACHE = 0x200,
    PROT_COMBINE = 0x400
};
enum section_attributes {
    S_COMMIT = 0x01,
    S_RESERVE = 0x02,
    S_NOCACHE = 0x10,
    S_COMBINE = 0x20,
    S_LARGE = 0x40,
    S_CONTIGUOUS = 0x80,
    S_OPEN_IF = 0x100
};
enum backing { B_NONE, B_PHYSICAL, B_MODULE };
enum op_kind { OP_CREATE = 1, OP_UNMAP = 2, OP_DESTROY = 3 };
#define BATCH_ATOMIC 1u

/* Everything that must come back when a check has undone what it did. */
struct world {
    struct totals totals;
    uint64_t hash;
};
void world_note(struct world *w);
bool world_same(const struct world *w, const char *when);

uint32_t section_make(uint64_t bytes, uint32_t attributes); /* RWX and all rights; 0: failed */
void handle_drop(uint32_t handle);
hv_status_t bar_map(unsigned bar, uint64_t page, uint64_t pages, uint32_t flags, uint32_t section,
                    uint64_t section_page);
hv_status_t bar_destroy(unsigned bar, uint64_t page);
hv_status_t bar_unmap(unsigned bar, uint64_t page, uint64_t pages);
/* One op of the lab's table, and the run of its first `count`; lab_result(0) says how many stay. */
void batch_set(unsigned index, enum op_kind kind, unsigned bar, uint64_t page, uint64_t pages,
               uint32_t flags, uint32_t section, uint64_t section_page);
hv_status_t batch_run(unsigned count, uint32_t flags);

uint64_t mark_of(unsigned id, uint64_t page); /* a word that tells one page from all others */
void marks_put(uint32_t section, unsigned id, uint64_t first, uint64_t pages); /* by the device */
void marks_store(uint64_t gva, unsigned id, uint64_t first, uint64_t pages);   /* by the guest */
bool marks_seen(uint64_t gva, unsigned id, uint64_t first, uint64_t pages);

bool leaf_is(uint64_t gpa, unsigned rights, unsigned type, unsigned level); /* r, t as in flags */
bool page_traps(unsigned bar, uint64_t gva, uint64_t page); /* a read of the page behind gva */
unsigned large_or_small(unsigned level); /* the largest level up to it that this CPU has */
bool range_is(unsigned bar, uint64_t page, uint64_t pages, uint64_t section_page, uint32_t flags);
/* As on a CPU with all leaf sizes; a large leaf that this one lacks counts as its parts. */
bool range_leaves(unsigned bar, uint64_t page, uint64_t small, uint64_t large, uint64_t huge);

/* t_resize.c: decode off, the size, home, decode on. And a card's window over a section of a GiB or more. */
void lab_resize_bar4(uint64_t bytes);
void graphics_card(uint32_t section, bool memory);

void initial_put_away(void); /* BAR2 empty */
void initial_restore(void);
uint32_t random_next(uint32_t *state);

/* ---- state.c: one instruction in a chosen state ---- */
struct cpu_state {
    uint64_t gpr[16], rflags, unused[3];
    uint64_t vector[16][4]; /* as much of it as vectors_width() says */
} __attribute__((aligned(32)));
#define FLAGS_ARITHMETIC 0x8d5ull
#define FLAG_TF          0x100ull
#define FLAG_DF          0x400ull
#define FLAG_RF          0x10000ull
#define FLAG_AC          0x40000ull
enum need {
    NEEDS_NOTHING,
    NEEDS_MOVBE,
    NEEDS_CX16,
    NEEDS_SSE3,
    NEEDS_SSE41,
    NEEDS_AVX,
    NEEDS_AVX2
};
bool cpu_has(enum need need);
void vectors_on(
    void); /* CR4 and XCR0 for SSE, and for AVX where it is; state_try() loads them then */
void vectors_off(void);
unsigned vectors_width(void);     /* 0, 16, 32 */
void vectors_use(bool yes);       /* between the two: whether state_try() loads them; it does */
extern const uint64_t state_back; /* code that is tried ends with a jump to what is there */
/* Run the code at `entry` in *state, and have the state that it leaves there; the vector of its exception, or -1. */
int state_try(struct cpu_state *state, uint64_t entry);
/* The same for code of another kind: a snippet of snippets.asm. -1: it came to its end. */
enum code_kind { KERNEL64, KERNEL32, KERNEL16, USER64, USER32 };
int code_try(struct cpu_state *state, enum code_kind kind, const uint8_t *code);
/* A descriptor, flags as in its bits 40 to 55; those of KERNEL16: its code, and data where the check wants it. */
void segment_set(unsigned index, uint64_t base, uint32_t limit, uint32_t flags);
void segments_16(uint64_t data_base, uint32_t data_limit);
void state_random(struct cpu_state *state,
                  uint32_t *seed); /* the vector registers too if they are used */
/* The lab's digest, with the naturally aligned pieces of an access to BAR2 added. */
uint64_t digest_pieces(uint64_t digest, uint64_t offset, unsigned bytes, const uint8_t *content,
                       bool write);
void digest_start(void);
uint64_t digest_now(void);
void say_traps(uint64_t since); /* for a check that failed */

/*
 * ---- arena.c: two pages of guest addresses, with RAM behind them or with what a check is about ----
 *
 * An instruction is tried on RAM (arena_ram) first, then on the pages of the arena, at the same address. There are
 * two: for a copy's source, and for its destination.
 */
enum arena_kind { A_RAM, A_TRAP, A_DIRECT, A_READ_ONLY };
struct arena {
    enum arena_kind kind[2];
    unsigned number; /* 0, 1 */
};
#define ARENA_GVA(number) (GVA_TMP + 4 * PAGE * (number))
extern uint8_t arena_ram[2][2 * 4096];
extern const char *const arena_kind_name[];
void arena_show(const struct arena *arena);
void arena_show_ram(unsigned number);
void arena_hide(unsigned number);
void arena_ranges(const struct arena *arena, bool there); /* of the pages that are not trapped */
/* Bytes [from, end) of both become the same. What is read-only has its own. The arena is shown. */
void arena_fill(const struct arena *arena, unsigned from, unsigned end, uint32_t *seed);
/* The digest with the pieces of an access that the device sees, their content as in arena_ram. */
uint64_t arena_seen(const struct arena *arena, uint64_t digest, unsigned at, unsigned bytes,
                    bool write);

/* ---- irq.c: interrupts ---- */
enum apic_register {
    APIC_ID = 0x20,
    APIC_VERSION = 0x30,
    APIC_TPR = 0x80,
    APIC_APR = 0x90,
    APIC_PPR = 0xa0,
    APIC_EOI = 0xb0,
    APIC_LDR = 0xd0,
    APIC_DFR = 0xe0,
    APIC_SVR = 0xf0,
    APIC_ISR = 0x100,
    APIC_TMR = 0x180,
    APIC_IRR = 0x200,
    APIC_ESR = 0x280,
    APIC_ICR = 0x300,
    APIC_ICR_HIGH = 0x310,
    APIC_TIMER = 0x320,
    APIC_THERMAL = 0x330,
    APIC_PMC = 0x340,
    APIC_LINT0 = 0x350,
    APIC_LINT1 = 0x360,
    APIC_ERROR = 0x370,
    APIC_INITIAL = 0x380,
    APIC_CURRENT = 0x390,
    APIC_DIVIDE = 0x3e0,
    APIC_SELF = 0x3f0 /* x2APIC */
};
#define MSR_APIC_BASE    0x1bu
#define MSR_X2APIC       0x800u
#define MSR_TSC_DEADLINE 0x6e0u
#define APIC_BASE_BSP    0x100ull
#define APIC_BASE_X2     0x400ull
#define APIC_BASE_ENABLE 0x800ull
#define APIC_HOME        0xfee00000ull
#define SVR_ENABLE       0x100u
#define LVT_MASKED       0x10000u
#define LVT_PERIODIC     0x20000u
#define LVT_DEADLINE     0x40000u
#define ICR_LOGICAL      0x800u
#define ICR_PENDING      0x1000u
#define ICR_ASSERT       0x4000u
#define ICR_SELF         0x40000u
#define ICR_ALL          0x80000u
#define ICR_OTHERS       0xc0000u
#define ICR_NMI          0x400u
#define IRQ_TIMEOUT      0xfeu /* the vector of irq_wait()'s own timer */
#define IRQ_SPURIOUS     0xffu
#define VEC_NMI          2u

/* Runs with IF=0 before the EOI. What it changes in *frame, the interrupted code gets. */
typedef void irq_handler(struct trap_frame *frame, void *arg);
/* What irq_log tells of one interrupt: taken in front of `rip`. */
struct irq_event {
    uint64_t vector, rip, tsc;
};
#define IRQ_LOG 512u
extern struct irq_event irq_log[IRQ_LOG]; /* the first IRQ_LOG since irq_forget() */
extern volatile uint32_t irq_total;       /* all of them; each vector's own: irq_count() */
extern volatile bool irq_eoi_deferred; /* the handlers of interrupts leave the EOI to the check */

/*
 * In front of every check with interrupts: IF=0, nothing pending or in service, the APIC enabled in xAPIC mode
 * at its home, TPR 0,
 * everything in the LVT masked, no handlers, nothing logged. False: there is no local APIC, the check is skipped.
 */
bool irq_ready(void);
void irq_done(void); /* behind every check: the same, if it was called */
/*
 * Vectors 16 and up (17, 21, 29, 30 as interrupts, not as exceptions), NMI, and the exceptions without a check
 * of their own
 * that a handler can mend, as #PF. NULL: the vector counts, logs and gets its EOI; an exception gets its old gate back.
 */
void irq_on(unsigned vector, irq_handler *handler, void *arg);
void irq_gate_stack(unsigned vector, unsigned stack_number); /* until the next irq_on() of it */
void irq_low_vectors(bool interrupts); /* 16 to 31: as interrupts; or as exceptions again */
uint32_t irq_count(unsigned vector);
void irq_forget(void); /* counters and log */
/*
 * With interrupts on until the vector has come `count` times since irq_forget(); false: not within `ticks` of
 * the TSC.
 */
bool irq_wait_count(unsigned vector, uint32_t count, uint64_t ticks);
/* The same for one more than now. Whoever starts the device before: interrupts must be off, or irq_wait_count(). */
bool irq_wait(unsigned vector, uint64_t ticks);
bool time_is_steady(void); /* the TSC counts instructions: what is late, is late by itself */
void irq_window(void);     /* on for a few instructions: all that is pending comes */
void irq_unblock_nmi(void);
/*
 * Ticks from in front of a 4-byte store to the first RDTSC in the handler of the interrupt that it brings; 0:
 * none came.
 */
uint64_t irq_stamp(uint64_t address, uint32_t value);
extern const uint64_t irq_stamp_entry; /* that handler, for trap_gate(); it gives no EOI */
/* Code with a boundary between instructions at which what is pending must be taken. IF=0 before and after. */
enum irq_place {
    AT_STI_NOP,
    AT_STI_CLI, /* nowhere */
    AT_STI_STI,
    AT_POPF,
    AT_IRET,
    AT_STI_HLT,
    AT_STI_LOAD, /* of `address`, as the next */
    AT_STI_STORE,
    AT_STI_CPUID,
    AT_STI_IN,
    AT_STI_RDMSR,
    AT_STI_CR8,
    AT_CR8_OPENS,       /* it writes 0 */
    AT_STORE_SENDS,     /* the store of `value` makes it pending */
    AT_SS_STORE_SENDS,  /* it lies in the shadow of MOV SS */
    AT_STI_STORE_SENDS, /* in that of STI */
    AT_COUNT
};
struct irq_place_code {
    void (*run)(uint64_t address, uint32_t value);
    uint64_t at; /* 0: nowhere */
};
extern const struct irq_place_code irq_places[AT_COUNT];
void irq_sweep(
    unsigned rounds); /* IF=1 in and out; no interrupt may be taken at these two places */
extern const uint64_t irq_sweep_at[2];
void irq_sweep_access(unsigned rounds, uint64_t address);
extern const uint64_t irq_sweep_access_at[2];
/* Single steps with interrupts on: behind STI, behind a store; where the first two boundaries of each are. */
void irq_step_sti(uint64_t address, uint32_t value);
void irq_step_store(uint64_t address, uint32_t value);
extern const uint64_t irq_step_at[4];
void irq_rep_movsd(uint64_t to, uint64_t from, uint32_t count);
extern const uint64_t irq_rep_at;
static inline void irq_enable(void)
{
    __asm__ volatile("sti" ::: "memory");
}
static inline void irq_disable(void)
{
    __asm__ volatile("cli" ::: "memory");
}
void irq_halt(void); /* STI, HLT, CLI: until an interrupt has been handled */
extern const uint64_t irq_halt_at;

bool apic_have_x2(void);
void apic_x2(bool on);            /* between the modes, by way of off */
uint32_t apic_read(unsigned reg); /* in the mode that is on */
void apic_write(unsigned reg, uint32_t v);
uint32_t apic_id(void);
void apic_eoi(void);
void apic_icr(uint32_t low, uint32_t destination); /* an ID or a logical address, not shifted */
void apic_self_ipi(unsigned vector);
bool apic_bit(unsigned reg, unsigned vector); /* of APIC_IRR, APIC_ISR, APIC_TMR */
/* An interrupt of a device, edge-triggered: fixed delivery to the CPU with this APIC ID. */
uint64_t msi_address(uint32_t id);
uint32_t msi_data(unsigned vector);

/* ---- tap.c ---- */
#define NAME_ROOM 120u
struct check {
    const char *group;
    const char *text;                    /* or NULL: name() makes it */
    void (*name)(char *out, unsigned i); /* at most NAME_ROOM bytes */
    unsigned count;                      /* 0 means 1 */
    bool lab;                            /* skip without the lab device */
    void (*run)(unsigned i);
};
struct check_list {
    const struct check *checks;
    unsigned count;
};
/* Marks the check failed; only the first failure of a check is printed. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void skip(const char *reason);
bool failed(void);
bool expect(bool condition, const char *what);
bool expect_eq(const char *what, uint64_t got, uint64_t expected);
bool expect_status(const char *what, hv_status_t got, hv_status_t expected);
const char *status_name(hv_status_t status);
/* Runs what the words of `chosen` match; returns the number of failures. */
unsigned tap_run(const struct check_list *lists, unsigned count, const char *chosen);
void tap_done(unsigned passed, unsigned failures, unsigned skipped);
__attribute__((noreturn)) void guest_exit(uint32_t code);

/* ---- main.c: words of the command line ---- */
extern bool quirk_canonical; /* this machine's WRMSR takes any address */
extern bool quirk_shadow;    /* its VMRUN forgets the interrupt shadow */

/* ---- the checks ---- */
extern const struct check_list checks_pci, checks_ranges, checks_trap, checks_forms, checks_cross,
    checks_dynamic, checks_types, checks_status, checks_section, checks_bars, checks_overlap,
    checks_cpu, checks_regs, checks_stress, checks_share, checks_display, checks_replace,
    checks_batch, checks_reserve, checks_memory, checks_view, checks_window, checks_rom,
    checks_resize, checks_doorbell, checks_churn, checks_storm, checks_many, checks_names,
    checks_chance, checks_big, checks_insn, checks_string, checks_faults, checks_step, checks_modes,
    checks_card, checks_bench, checks_apic, checks_ipi, checks_timer, checks_irq, checks_edu,
    checks_transfer, checks_ivshmem, checks_peers, checks_dispi, checks_scenario, checks_acpi,
    checks_caps, checks_bus, checks_x2, checks_demo, checks_first, checks_virtio, checks_cmb,
    checks_lifetime;
bool fatal_run(const char *which); /* false: no such run */
void oracle_run(bool hold);
void demo_hold(void) __attribute__((noreturn));

#endif
