/*
 * Owns:     the instructions that the differential tests generate, one line per encoding.
 * Promises: written from the manuals, without the decoder's tables; each line says what the decoder must find.
 * Needs:    hv/mmio/insn.h for the names of operations.
 * Never:    encoding, running.
 *
 * Sources: SDM 2 "Instruction Set Reference", APM 3.
 */
#ifndef TESTS_UNIT_DIFF_FORMS_H
#define TESTS_UNIT_DIFF_FORMS_H

#include "hv/mmio/insn.h"

/* form.flags */
enum {
    FORM_LOCK = 1,   /* takes LOCK */
    FORM_STRING = 2, /* no ModRM: rSI, rDI, REP */
    FORM_MOFFS = 4,  /* no ModRM: the address follows the opcode */
    FORM_STACK =
        8, /* PUSH and POP: rSP is a second operand; 8 bytes without REX.W in 64-bit mode */
    FORM_ONLY64 = 16,  /* another instruction, or none, in other modes */
    FORM_NOT64 = 32,   /* none in 64-bit mode */
    FORM_VECTOR = 64,  /* the register is XMM or YMM; the prefix belongs to the opcode */
    FORM_VEX128 = 128, /* has that form too */
    FORM_VEX256 = 256,
    FORM_W = 512,        /* a vector form whose memory operand is 4 or 8 bytes by REX.W */
    FORM_ALIGNED = 1024, /* #GP unless aligned (CMPXCHG16B: its 16-byte form) */
    FORM_AVX2 = 2048,    /* the 256-bit form came with AVX2 */
    FORM_BITS = 4096,    /* the register moves the operand */
};

enum form_imm { IMM_NONE, IMM_BYTE, IMM_FULL /* at most 4 bytes */ };

enum form_need { NEED_NOTHING, NEED_MOVBE, NEED_CX16, NEED_SSE3, NEED_SSE41, NEED_TEST_1, NEEDS };

/* The bits of RFLAGS that instructions compute, SDM 1 "EFLAGS Register". */
enum {
    DIFF_CF = 1,
    DIFF_PF = 1 << 2,
    DIFF_AF = 1 << 4,
    DIFF_ZF = 1 << 6,
    DIFF_SF = 1 << 7,
    DIFF_DF = 1 << 10,
    DIFF_OF = 1 << 11,
    DIFF_AC = 1 << 18,
    DIFF_ARITHMETIC = DIFF_CF | DIFF_PF | DIFF_AF | DIFF_ZF | DIFF_SF | DIFF_OF,
};

#define FORM_REG (-1) /* ext: ModRM.reg is a register */

#define WIDTH_B  1u
#define WIDTH_V  14u /* 2, 4, 8 */
#define WIDTH_Y  12u /* 4, 8 */
#define WIDTH_1  4u  /* one form, whatever the prefixes say */

struct diff_form {
    const char *name;
    uint8_t op;  /* enum insn_op */
    uint8_t map; /* 1: one byte; 2: 0F; 3: 0F 38 */
    uint8_t opcode;
    int8_t ext;     /* ModRM.reg or FORM_REG */
    uint8_t prefix; /* that belongs to the opcode, or 0 */
    uint8_t widths; /* one bit per operand width */
    uint8_t memory; /* bytes of the memory operand when they are not the width */
    uint8_t imm;    /* enum form_imm */
    uint8_t need;   /* enum form_need */
    uint16_t flags;
    uint16_t undefined; /* bits of RFLAGS */
};

extern const struct diff_form diff_forms[];
extern const unsigned diff_forms_count;

#endif
