/*
 * Owns:     a CPU and a memory for the emulator's tests: 16 pages that repeat through the whole address space, each
 *           trapped, direct or missing, and a line of text that says what was called.
 * Promises: an access that was not located right before, or after it with other values, fails the test; so does an access
 *           outside of the lock of a locked instruction.
 * Needs:    hv/mmio/emulate.h.
 * Never:    decodes.
 */
#ifndef TESTS_UNIT_EMU_KIT_H
#define TESTS_UNIT_EMU_KIT_H

#include "tests/fake/host.h"

#include "hv/base/bits.h"
#include "hv/mmio/emulate.h"
#include "hv/x86/regs.h"

#define KIT_PAGES 16u
#define KIT_BYTES (KIT_PAGES * PAGE_BYTES)
#define KIT_SPANS 16u
#define KIT_PLACE 0x7f0000003100ull /* where operands usually are: in the fourth page */

#define STATUS    (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
enum { ES = INSN_ES, CS, SS, DS, FS, GS };
enum { R = INSN_READS, W = INSN_WRITES, RW = INSN_READS | INSN_WRITES };

/* What the emulator may change. */
struct kit_state {
    uint64_t gpr[16];
    uint64_t rflags;
    uint8_t memory[KIT_BYTES];
    uint8_t vector[16][EMU_MAX_BYTES];
};

struct kit {
    struct kit_state state;
    struct emu_cpu cpu;        /* gpr points into state; rflags is copied by kit_run() */
    uint8_t rights[KIT_PAGES]; /* 0: trapped */
    bool missing[KIT_PAGES];   /* #PF */
    unsigned fail_in;          /* the n-th locate from now fails with #PF; 0: none */
    unsigned spans;            /* located; the newest KIT_SPANS are kept */
    struct emu_span span[KIT_SPANS];
    struct emu_fault fault;
    /*
     * The calls: l locate, r read, w write, [ lock, ] unlock, g vector_get, s vector_set, z the same with zero. Only the first
     * ones fit.
     */
    char calls[64];
    bool locked;
};

extern struct kit kit;

/* 64-bit mode, CPL 0, all pages trapped, registers and memory filled with values that differ. */
int kit_setup(void **state);
/* The other modes, with flat segments: INSN_16 without protection. */
void kit_mode(enum insn_mode mode);

/* One emulate(). Faults and spans and calls are those of this run. */
enum emu_result kit_run(const struct insn *insn, unsigned iterations);
/* The same, for what must not change anything. */
enum emu_result kit_run_unchanged(const struct insn *insn);
/* EMU_DONE, with these calls. */
void kit_done(const struct insn *insn, const char *calls);
/* EMU_FAULT, with this exception, with error code 0, before any access; nothing changed. */
void kit_faults(const struct insn *insn, enum vector vector);

void kit_poke(uint64_t linear, uint64_t value, unsigned bytes);
uint64_t kit_peek(uint64_t linear, unsigned bytes);

/* An operand [RBX] without a register; the caller adds what else there is. */
struct insn kit_insn(enum insn_op op, unsigned bytes, unsigned access);
/* The same with a register of that width. */
struct insn kit_insn_reg(enum insn_op op, unsigned bytes, unsigned access, unsigned reg);
/* A string instruction with 64-bit addresses. */
struct insn kit_string(enum insn_op op, unsigned bytes, enum insn_repeat repeat);

#define KIT_TEST(name) cmocka_unit_test_setup(name, kit_setup)

#endif
