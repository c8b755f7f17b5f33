/*
 * Owns:     what hv/vm and boot/ give to hv/pci, for host tests: RAM, ports, flush, clock, capabilities.
 * Promises: accesses go to leaf, region or nobody as hv/vm/mmio.c sends them, one piece at a time.
 * Needs:    ept/, hv/mmio/region.c, tests/fake/blocks.h and window.h.
 * Never:    linked together with hv/vm/vm.c.
 */
#ifndef TESTS_FAKE_VM_H
#define TESTS_FAKE_VM_H

#include "hv/vm/vm.h"

/* Guest RAM: [0, FAKE_VM_LOW_BYTES) and [4 GiB, 4 GiB + FAKE_VM_HIGH_BYTES). Nothing stands behind it. */
#define FAKE_VM_LOW_BYTES     MIB(16)
#define FAKE_VM_HIGH_START    GIB(4ull)
#define FAKE_VM_HIGH_BYTES    MIB(16)
#define FAKE_VM_PHYSICAL_BITS 39u

/* The tables of the next VM; pt_format_ept unless a test says otherwise. */
extern const struct pt_format *fake_vm_format;

/* Called before vm_flush() gives tables back (done = false) and after it; NULL: nobody listens. */
extern void (*fake_vm_on_flush)(const struct pt_flush *flush, bool done);

/* An empty VM and a CPU that can do everything. Ports stay registered, as the bus expects. */
void fake_vm_create(struct vm *vm);

/* Asserts that no table, region or reservation is left. */
void fake_vm_destroy(struct vm *vm);

/* An aligned access of 1, 2, 4 or 8 bytes as a guest makes it. Nobody: ones, or dropped. */
uint64_t fake_vm_read(struct vm *vm, uint64_t gpa, unsigned bytes);
void fake_vm_write(struct vm *vm, uint64_t gpa, unsigned bytes, uint64_t value);

/* The way of the last access. */
enum fake_way { FAKE_DIRECT, FAKE_TRAPPED, FAKE_NOBODY, FAKE_RANG };
extern enum fake_way fake_vm_way;

/* Port access; nobody: ones, or dropped. */
uint32_t fake_vm_in(struct vm *vm, uint16_t port, unsigned bytes);
void fake_vm_out(struct vm *vm, uint16_t port, unsigned bytes, uint32_t value);

/* What hv_effective_memtype() answers. */
extern struct hv_memtype_report fake_vm_report;

#endif
