/*
 * Owns:     random instructions with random registers, flags and memory, and what a run of one must be compared by.
 * Promises: a memory operand lies in the arena, at its guards, or at an address that no CPU takes; so a real CPU may
 *           run the case in a process without harm. The same seed gives the same cases.
 * Needs:    tests/unit/diff_forms.h.
 * Never:    running them, the decoder.
 */
#ifndef TESTS_UNIT_DIFF_GEN_H
#define TESTS_UNIT_DIFF_GEN_H

#include "hv/mmio/emulate.h"
#include "tests/unit/diff_forms.h"

/*
 * The arena: eight pages of linear addresses, its first and last without rights.
 *
 *   page    0    1   2   3   4   5    6   7
 *   rights  none RW  RW  R   RW  none RW  none
 */
#define ARENA_PAGES 8u
#define ARENA_BYTES (ARENA_PAGES * 4096u)
/* Where the code lies above its arena, near enough for RIP-relative operands. */
#define ARENA_TO_CODE 0x10000u
#define CODE_BYTES    0x10000u

extern const uint8_t arena_rights[ARENA_PAGES]; /* enum insn_access bits */

#define ATTR_PAGES 0x8000u /* granularity, in struct emu_segment */

/* What an executor can run. */
struct diff_world {
    bool modes[3];      /* by enum insn_mode */
    uint64_t arenas[2]; /* of 64-bit mode; the first is below 2 GiB and serves the other modes */
    unsigned arena_count;
    uint64_t fs_base, gs_base; /* in 64-bit mode; 0: no operand is put there */
    bool needs[NEEDS];
    bool avx, avx2;
    bool alignment_check; /* RFLAGS.AC works, CPL is 3 */
    bool limits;          /* limits and types of segments are checked */
    bool real;            /* INSN_16 is real-address mode */
    bool fs;              /* FS may be loaded in 16- and 32-bit mode */
    bool whole_locks;     /* locked operands stay inside a cache line */
    bool non_canonical;
    bool
        rex_noise; /* REX is ignored before a prefix, and its R where ModRM.reg belongs to the opcode */
};

enum { DIFF_LEGACY, DIFF_VEX128, DIFF_VEX256 };

struct diff_case {
    uint64_t number;
    const struct diff_form *form;
    uint8_t code[16];
    uint8_t length;
    uint8_t mode;         /* enum insn_mode */
    uint8_t width;        /* of the operands */
    uint8_t memory_bytes; /* of one access */
    uint8_t addr_bytes;
    uint8_t repeat;   /* enum insn_repeat */
    uint8_t encoding; /* DIFF_LEGACY .. */
    uint8_t override; /* enum insn_segment, or 6 */
    bool locked;
    bool wild;        /* the address is not canonical */
    uint64_t operand; /* linear address aimed at */
    uint64_t arena;
    uint64_t gpr[16], rip, rflags;
    uint8_t vector[16][32];
    uint8_t cpl;
    bool real; /* real-address mode */
    struct emu_segment seg[6];
    uint8_t memory[ARENA_BYTES];
};

void diff_seed(uint64_t seed);
uint64_t diff_random(void);
unsigned diff_below(unsigned bound);

/*
 * The next case. c->memory goes on from the case before. Null, or what the world lacks for it, in a word; c->form and
 * c->mode are told then too.
 */
const char *diff_make(struct diff_case *c, const struct diff_world *world);

/* For diff_encode.c: address and bytes. */
struct diff_build {
    struct diff_case *c;
    const struct diff_world *world;
    unsigned fixed;   /* registers whose values may not change any more */
    uint8_t reg;      /* ModRM.reg with REX.R */
    uint8_t override; /* enum insn_segment, or 6 */
    int64_t shift;    /* what the register of a bit test adds to the address, in bytes */
    uint8_t rex;      /* W R X B */
    bool rex_present;
    bool opsize;      /* 66h */
    uint8_t modrm[8]; /* ModRM, SIB, displacement; or moffs up to 8 bytes */
    uint8_t modrm_bytes;
    int64_t rip_disp_at; /* of modrm: a displacement to be made relative to the end; -1: none */
    uint64_t rip_target;
};

/* Choose addressing and registers so that the operand is at c->operand, or near it when the form cannot reach it. */
void diff_address(struct diff_build *b);
/* Put the bytes together and choose RIP. */
void diff_encode(struct diff_build *b);

#endif
