/*
 * Owns:     what an instruction does: segments, operands, flags, strings, vectors.
 * Promises: pure; every operand is located and checked before the first side effect; a fault leaves registers and
 *           memory as they were before the instruction (a string instruction: before its current iteration).
 * Needs:    hv/mmio/insn.h; memory and vector registers handed in as functions.
 * Never:    translations, devices, the guest's tables.
 *
 * Sources: SDM 2 (each instruction), SDM 1 "EFLAGS", SDM 3A "Protection", APM 3.
 */
#ifndef HV_MMIO_EMULATE_H
#define HV_MMIO_EMULATE_H

#include "hv/mmio/insn.h"

#define EMU_MAX_BYTES 32u

struct emu_segment {
    uint64_t base;
    uint32_t limit;
    uint32_t attributes; /* descriptor bits 8..23 from bit 0 on; bit 16: unusable */
};

/* The CPU's state that instructions look at besides the registers. */
struct emu_cpu {
    uint64_t *gpr;   /* 16 of them, RSP too */
    uint64_t rip;    /* of the instruction's first byte; an offset in CS */
    uint64_t rflags; /* in and out */
    uint64_t cr0, cr4, xcr0;
    uint8_t mode; /* enum insn_mode */
    uint8_t cpl;
    struct emu_segment seg[6]; /* enum insn_segment order */
};

/* Memory that an instruction touches: at most EMU_MAX_BYTES, so at most two pages. */
struct emu_span {
    uint64_t linear; /* in; outside 64-bit mode cut to 32 bits: after the top comes 0 */
    uint8_t bytes;   /* in */
    uint8_t access;  /* in: enum insn_access bits */
    /* What locate() fills: for the bytes in the first page, and for the rest if there is one. */
    uint8_t first_bytes;
    uint8_t rights[2]; /* INSN_READS, INSN_WRITES: what goes to memory without a device */
    gpa_t gpa[2];
};

struct emu_fault {
    uint8_t vector;
    bool has_error; /* never in real mode */
    uint32_t error;
    uint64_t address; /* of a page fault */
};

/*
 * What emulate() asks its caller for. `owner` is handed through. Of two operands the first that a CPU touches is
 * located first, and the second only when that did not fault; all reads and writes come after the last locate().
 */
struct emu_memory {
    /*
     * Translate, check the guest's rights (as user when cpl is 3), find who answers. False: *fault is filled. No side
     * effect that the guest could see.
     */
    bool (*locate)(void *owner, struct emu_span *span, struct emu_fault *fault);
    /* Cannot fail. Also set accessed and dirty bits as the CPU would. */
    void (*read)(void *owner, const struct emu_span *span, void *to);
    void (*write)(void *owner, const struct emu_span *span, const void *from);
    /* Around the accesses of a locked instruction. */
    void (*lock)(void *owner);
    void (*unlock)(void *owner);
    /* The low `bytes` (16 or 32) of a vector register. A set of 16 with `zero` clears the bytes above. */
    void (*vector_get)(void *owner, unsigned reg, unsigned bytes, void *to);
    void (*vector_set)(void *owner, unsigned reg, unsigned bytes, bool zero, const void *from);
};

enum emu_result {
    EMU_DONE,  /* step over the instruction */
    EMU_AGAIN, /* a string instruction has more to do: enter the guest at the same RIP */
    EMU_RETRY, /* nothing was done, and nothing of it traps any more: the CPU can do it itself */
    EMU_FAULT, /* *fault is filled; nothing was done (in this iteration) */
    EMU_UNSUPPORTED, /* INSN_OTHER: the caller gives #UD */
};

/*
 * Carry the instruction out. `iterations` is the most that a repeated string instruction does before EMU_AGAIN (at
 * least one; the caller asks for 1 when RFLAGS.TF is set, and owes a #DB after each). A repeated one whose count is 0
 * is EMU_DONE without an access. cpu->gpr and cpu->rflags are changed; on EMU_FAULT and EMU_AGAIN they say what the
 * iterations so far have done (flags too). EMU_AGAIN is also the result when iterations have been done and the next
 * traps no more. RIP is the caller's to move.
 */
enum emu_result emulate(const struct insn *insn, struct emu_cpu *cpu, unsigned iterations,
                        const struct emu_memory *memory, void *owner, struct emu_fault *fault);

/* ---- alu.c: results and flags; widths 1, 2, 4, 8 ---- */

/*
 * The operation `op` (ADD..BTC, XADD and CMPXCHG as ADD and CMP) on the destination's value `a` and the other operand
 * `b`, both cut to the width, with the flags in *rflags as input and output. Undefined flags: as all CPUs have them
 * (AF after AND, OR, XOR and TEST: 0), else unchanged. For BT.. b is the bit number inside the operand; NOT, NEG, INC
 * and DEC have no `b`.
 */
uint64_t alu(enum insn_op op, unsigned bytes, uint64_t a, uint64_t b, uint64_t *rflags);

#endif
