/*
 * Owns:     trapped accesses of code in any mode: two operand pages and one of code, segments, tables.
 * Promises: the same offsets in every mode: code from MODE_RIP on in CS, the operand's first page from 0 on in DS, ES and
 *           SS, except in 64-bit code, where mode_rip() and mode_data() say where.
 * Needs:    vm_kit: the kit is open.
 * Never:    expectations of one test.
 */
#ifndef TESTS_UNIT_MODE_KIT_H
#define TESTS_UNIT_MODE_KIT_H

#include "tests/unit/vm_kit.h"

/* The last two have no paging. */
enum mode {
    MODE_64,
    MODE_COMPAT_32,
    MODE_COMPAT_16,
    MODE_PAE,
    MODE_TWO,
    MODE_FLAT,
    MODE_REAL,
    MODES
};

#define MODE_CODE 0x100u /* offset of the code in its page */

/* The operand's pages show [gpa, gpa + 2 pages). */
void mode_open(enum mode mode, uint64_t gpa);

#define MODE_PLACE  (KIT_BAR + 4 * PAGE_BYTES) /* where both of these have the operand's two pages */
#define MODE_DEVICE 0u
int mode_open_alone(void **state);  /* 64-bit code, vectors enabled, no device */
int mode_open_device(void **state); /* 64-bit code, MODE_DEVICE has the pages */

/* The n-th access that a device saw. */
void mode_expect_seen(unsigned n, bool write, uint64_t offset, unsigned bytes, uint64_t value);

uint64_t mode_rip(void);
uint64_t mode_data(void); /* what a register holds for the first byte of the operand's pages */
uint64_t mode_linear(unsigned at); /* of that byte of the operand's pages */
enum insn_mode mode_width(void);

/* The guest's entry for an operand page becomes this; not where there is no paging. */
void mode_map(unsigned page, uint64_t gpa, uint64_t bits);
uint64_t mode_entry(unsigned page);

void mode_code(const void *bytes, unsigned count);
/* The fault of an access to that byte of the operand's pages, through the kit's door. */
enum hv_resume mode_fault(unsigned at, uint8_t access);
extern unsigned mode_length; /* what the core said */

/* The registers that address operands (rBX, rSI, rDI) lead to that byte of the operand's pages. */
void mode_point_to(unsigned at);
/* An instruction, with NOPs behind it, and the fault of its access. */
enum hv_resume mode_run(const char *code, unsigned bytes, unsigned at, uint8_t access);
#define RUN(text, at, access) mode_run(text, sizeof(text) - 1, at, access)

/* What a device answers, as a number. */
uint64_t mode_answer(unsigned who, uint64_t offset, unsigned bytes);

#endif
