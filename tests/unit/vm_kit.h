/*
 * Owns:     what the tests of hv/vm share: a guest with two runs of RAM, page tables that a test builds, devices
 *           that record each access.
 * Promises: kit_close() fails a test that leaves a second-level table behind.
 * Needs:    tests/fake/: backend, phys, blocks, window.
 * Never:    expectations of one test.
 */
#ifndef TESTS_UNIT_VM_KIT_H
#define TESTS_UNIT_VM_KIT_H

#include "tests/fake/host.h"

#include "hv/vm/vp.h"
#include "hv/x86/regs.h"
#include "tests/fake/backend.h"

/* Guest-physical: two runs of RAM and a place for BARs. Behind BAR page n lies device frame n. */
#define KIT_LOW_BYTES     MIB(4)
#define KIT_HIGH          GIB(4)
#define KIT_HIGH_BYTES    MIB(1)
#define KIT_BAR           0xc0000000ull
#define KIT_BAR_PAGES     16u
#define KIT_PHYSICAL_BITS 39u

#define KIT_TABLES        MIB(2) /* where kit_map() takes tables, upwards */
#define KIT_LINK          (PTE_P | PTE_W | PTE_U)

/* One access that a device saw. */
struct kit_access {
    unsigned who;
    bool write;
    uint64_t offset;
    unsigned bytes;
    uint64_t value;   /* read: what it answered, in the low bytes */
    uint8_t wide[32]; /* of more than 8 bytes: the same */
};

#define KIT_DEVICES  8u
#define KIT_ACCESSES 32u

struct kit {
    struct vm vm;
    struct vp vp;
    struct apic apic;
    uint64_t cr3, next_table;
    unsigned seen_count;
    struct kit_access seen[KIT_ACCESSES];
    unsigned asked_count; /* writes that a doorbell was asked for */
    struct kit_access asked[KIT_ACCESSES];
    bool rings;                    /* ... and it takes them */
    bool there[KIT_DEVICES];       /* devices whose region is registered */
    void (*on_access)(unsigned n); /* in the n-th access, before it is answered */
    bool tells_linear; /* the CPU tells the linear address of a fault, as one vendor's do */
};

extern struct kit kit;

int kit_open(void **state);
int kit_close(void **state);

/* Two tests: with a CPU that tells the linear address of a fault, and with one that does not. */
#define KIT_TEST_BOTH(test, open)                                       \
    {#test, test, open, kit_close, NULL},                               \
    {                                                                   \
#test "_linear", test, open, kit_close, (void *)&kit_is_telling \
    }
extern char kit_is_telling;

/* The byte behind a guest-physical address of RAM or of a direct page. */
uint8_t *kit_byte(uint64_t gpa);

/* The guest's own tables: the entry for gva at `level` (1..4), its parents linked as needed. */
uint64_t *kit_entry(uint64_t gva, unsigned level);
void kit_map(uint64_t gva, uint64_t gpa, unsigned level, uint64_t bits);

/* BAR page `page` is direct with these rights; rights 0: it traps. */
void kit_direct(unsigned page, uint8_t rights, enum memtype memtype);

/* Device `who` answers for [start, start + bytes). */
void kit_attach(unsigned who, uint64_t start, uint64_t bytes);
/* The same with a doorbell, and with accesses of up to wide_bytes. */
void kit_attach_as(unsigned who, uint64_t start, uint64_t bytes, bool bell, unsigned wide_bytes);
void kit_detach(unsigned who, uint64_t start);
/* What a device answers at an offset, for each byte. */
uint8_t kit_answer(unsigned who, uint64_t offset);

/* Forget what was seen and queued; statistics start again. */
void kit_forget(void);

/* ---- trapped accesses ---- */

#define KIT_CODE \
    0x400000ull /* guest-linear; its page and the next are low RAM from KIT_CODE_RAM on */
#define KIT_CODE_RAM 0x10000ull
#define KIT_DATA     0x800000ull /* guest-linear: where tests map two operand pages */

/* Put an instruction at rip, through the guest's tables. */
void kit_code(uint64_t rip, const void *bytes, unsigned count);

/*
 * The CPU has run into a second-level fault at gpa. *exit is filled as a backend does for a data access by an
 * instruction in 64-bit code at rip; kit_fault() hands it to the core.
 */
void kit_exit(struct hv_exit *exit, uint64_t rip, uint64_t gpa, uint8_t access);
enum hv_resume kit_run(struct hv_exit *exit); /* the short way, or else the core's door */
enum hv_resume kit_fault(uint64_t rip, uint64_t gpa, uint8_t access);

/* MOV between rAX and [RBX], 1 to 8 bytes. Returns the length, which is also that of the last kit_fault(). */
unsigned kit_mov(uint8_t code[4], unsigned bytes, bool write);
extern unsigned kit_length;
extern bool kit_short; /* the last one went the short way */

/* Nobody was asked and no register changed. */
void kit_expect_untouched(const uint64_t gpr[GPR_COUNT]);
void kit_expect_event(uint8_t vector, bool has_error, uint32_t error);

uint64_t kit_random(void);

#endif
