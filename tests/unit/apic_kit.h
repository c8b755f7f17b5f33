/*
 * Owns:     what the tests of the local APIC share: the page as a guest reaches it, MSRs, what a backend does.
 * Promises: accesses go through the region of the VM, so a page that is not there answers nobody.
 * Needs:    tests/unit/vm_kit.h, tests/fake/alarm.h.
 * Never:    expectations of one test.
 */
#ifndef TESTS_UNIT_APIC_KIT_H
#define TESTS_UNIT_APIC_KIT_H

#include "tests/unit/vm_kit.h"

#include "hv/vm/apic_core.h"
#include "tests/fake/alarm.h"

/* Offsets in the page. */
enum {
    P_ID = 0x20,
    P_VERSION = 0x30,
    P_TPR = 0x80,
    P_PPR = 0xa0,
    P_EOI = 0xb0,
    P_LDR = 0xd0,
    P_DFR = 0xe0,
    P_SVR = 0xf0,
    P_ISR = 0x100,
    P_TMR = 0x180,
    P_IRR = 0x200,
    P_ESR = 0x280,
    P_ICR = 0x300,
    P_ICR_HIGH = 0x310,
    P_TIMER = 0x320,
    P_LINT0 = 0x350,
    P_ERROR = 0x370,
    P_INITIAL = 0x380,
    P_CURRENT = 0x390,
    P_DIVIDE = 0x3e0
};
#define MSR_OF(offset) (0x800u + (offset) / 16)
#define MASKED         0x10000u

/* Nobody there: ones, or dropped. */
uint64_t page_read(uint64_t offset, unsigned bytes);
void page_write(uint64_t offset, unsigned bytes, uint64_t value);
uint32_t page_get(uint64_t offset);
void page_put(uint64_t offset, uint32_t value);
bool page_is_at(uint64_t gpa);

/* RDMSR and WRMSR; false: #GP. */
bool msr_get(uint32_t msr, uint64_t *value);
bool msr_put(uint32_t msr, uint64_t value);
uint64_t msr_of(uint32_t msr); /* which must not fault */

/* kit_open(), then enabled by software; in x2APIC mode. */
int apic_open(void **state);
int x2apic_open(void **state);

/* What a backend does before an entry with interrupts on: the vector that it has delivered, or -1. */
int deliver_next(void);

/* Is the vector in the set that begins at this offset? */
bool set_has(uint64_t offset, unsigned vector);

#endif
