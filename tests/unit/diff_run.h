/*
 * Owns:     what a run of a case leaves behind, and the three who can run one.
 * Promises: each takes the case's memory as it is and works on its own copy of it.
 * Needs:    tests/unit/diff_gen.h.
 * Never:    judging.
 */
#ifndef TESTS_UNIT_DIFF_RUN_H
#define TESTS_UNIT_DIFF_RUN_H

#include "hv/x86/regs.h"
#include "tests/unit/diff_gen.h"

#define NO_FAULT (-1)

struct diff_outcome {
    uint64_t gpr[16];
    uint64_t rflags;
    uint64_t rip; /* where it stands: behind the instruction, or on it after a fault */
    uint8_t vector[16][32];
    int fault; /* vector or NO_FAULT */
    uint32_t error;
    uint64_t address; /* of a page fault */
    uint8_t memory[ARENA_BYTES];
};

#endif
