/*
 * Owns:     one instruction that is being carried out: its parts, and what emulate.c and strings.c share.
 * Promises: a span that is open has passed every check; opening has no side effect that the guest could see.
 * Needs:    hv/mmio/emulate.h.
 * Never:    included outside hv/mmio.
 */
#ifndef HV_MMIO_RUN_H
#define HV_MMIO_RUN_H

#include "hv/base/bits.h"
#include "hv/mmio/emulate.h"

enum run_gpr { RUN_RAX, RUN_RCX, RUN_RDX, RUN_RBX, RUN_RSP, RUN_RBP, RUN_RSI, RUN_RDI };

struct run {
    const struct insn *insn;
    struct emu_cpu *cpu;
    const struct emu_memory *memory;
    void *owner;
    struct emu_fault *fault;
    unsigned spans; /* open ones */
    struct emu_span span[2];
};

/* Replace the low `bytes` (1, 2, 4 or 8) of a register: 4 clear those above, 1 and 2 keep them. */
static inline void run_set_low(uint64_t *reg, unsigned bytes, uint64_t value)
{
    uint64_t kept = bytes < 4 ? ~ones_of(bytes) : 0;

    *reg = (*reg & kept) | (value & ones_of(bytes));
}

/*
 * Open the next span, of insn->bytes at `offset` in a segment: the checks of mode, segment and alignment, then
 * locate(). False: *fault is filled.
 */
bool run_open(struct run *run, unsigned segment, uint64_t offset, unsigned access) MUST_CHECK;

/* Something of the open spans goes to a device. */
bool run_traps(const struct run *run);

/* The value of a span of at most 8 bytes. */
uint64_t run_read(struct run *run, const struct emu_span *span);
void run_write(struct run *run, const struct emu_span *span, uint64_t value);

/* ---- strings.c ---- */

/* MOVS, CMPS, STOS, LODS and SCAS: the result of emulate(). */
enum emu_result run_string(struct run *run, unsigned iterations);

#endif
