/*
 * Owns:     the instruction decoder for trapped accesses.
 * Promises: pure; reads at most `have` bytes, never more than 15; the opcode maps are data. The length
 *           and the memory operand are right for every instruction of the maps that a guest's CPUID
 *           offers (no EVEX, XOP, 3DNow), emulated or not.
 * Needs:    base.
 * Never:    guest memory, translations, per-CPU state.
 *
 * Sources: SDM 2 "Instruction Format", SDM 2 Appendix A "Opcode Map"; APM 3 where the two vendors differ.
 */
#ifndef HV_MMIO_INSN_H
#define HV_MMIO_INSN_H

#include "hv/base/types.h"

#define INSN_MAX_BYTES 15u

/* What kind of code the bytes are: it chooses the default widths. */
enum insn_mode { INSN_16, INSN_32, INSN_64 };

enum insn_op {
    INSN_OTHER, /* not emulated, or all operands are registers; length and memory operand are told */
    INSN_MOV,   /* MOV, MOVZX, MOVSX, MOVSXD, MOVNTI */
    INSN_MOVBE,
    INSN_ADD, /* these eight in the order of bits 5:3 of their opcodes */
    INSN_OR,
    INSN_ADC,
    INSN_SBB,
    INSN_AND,
    INSN_SUB,
    INSN_XOR,
    INSN_CMP,
    INSN_TEST,
    INSN_NOT,
    INSN_NEG,
    INSN_INC,
    INSN_DEC,
    INSN_BT,
    INSN_BTS,
    INSN_BTR,
    INSN_BTC,
    INSN_XCHG,
    INSN_XADD,
    INSN_CMPXCHG,
    INSN_CMPXCHG_PAIR, /* CMPXCHG8B, CMPXCHG16B; reg is INSN_NO_REG */
    INSN_PUSH,         /* of a memory operand */
    INSN_POP,          /* into a memory operand */
    INSN_MOVS,         /* string instructions have no register operand, base or index */
    INSN_CMPS,
    INSN_STOS,
    INSN_LODS,
    INSN_SCAS,
    INSN_VECTOR, /* plain loads and stores of a vector register; see `vector` */
};

enum insn_result {
    INSN_OK,
    INSN_SHORT,     /* more bytes needed than given, and fewer than 15 given */
    INSN_TOO_LONG,  /* more than 15 bytes: #GP */
    INSN_UNDEFINED, /* no such instruction in this mode: #UD, a forbidden LOCK among the reasons */
};

enum insn_segment { INSN_ES, INSN_CS, INSN_SS, INSN_DS, INSN_FS, INSN_GS };

/* What is done with the memory operand. */
enum insn_access { INSN_READS = 1, INSN_WRITES = 2 };

enum insn_repeat { INSN_ONCE, INSN_REPE /* F3: REP, REPE */, INSN_REPNE /* F2 */ };

/* How a vector load or store treats the register. */
enum insn_vector {
    INSN_XMM,     /* legacy SSE: bits above 127 stay */
    INSN_VEX_128, /* bits above 127 become 0 on a load */
    INSN_VEX_256,
};

#define INSN_NO_REG 16u

/* Registers are 0..15 in encoding order: RAX RCX RDX RBX RSP RBP RSI RDI R8.., or of XMM. */
struct insn {
    uint8_t op;        /* enum insn_op */
    uint8_t bytes;     /* of one memory access: 1, 2, 4, 8, 16, 32; 0 for INSN_OTHER */
    uint8_t reg_bytes; /* of the destination where that is wider: MOVZX, MOVSX, vector registers */
    uint8_t access;    /* enum insn_access bits; 0 for INSN_OTHER */
    bool memory;       /* there is a memory operand: base to disp below are filled */
    bool to_reg;       /* the result goes to `reg`, memory is only read. CMP: reg - memory */
    bool has_imm;      /* the other operand is imm; reg is INSN_NO_REG */
    bool sign_extend;  /* MOVSX, MOVSXD */
    bool locked;       /* a LOCK prefix on an instruction that takes it; XCHG always */
    uint8_t repeat;    /* enum insn_repeat; only on string instructions */
    uint8_t length;    /* bytes of the instruction */
    uint8_t reg;       /* register number or INSN_NO_REG */
    bool high_byte;    /* the register is AH, CH, DH or BH (reg = 0..3) */
    uint8_t vector;    /* enum insn_vector, of INSN_VECTOR */
    uint8_t lane;   /* INSN_VECTOR: first byte of the register that takes part; 8: MOVHPS, MOVHPD */
    bool merge;     /* INSN_VECTOR loads: other bytes below 16 stay (MOVLPS, MOVHPS and PD) */
    bool aligned;   /* must be aligned to its width, else #GP: MOVAPS, MOVNTDQ, CMPXCHG16B .. */
    uint32_t flags; /* the bits of RFLAGS that it writes or leaves undefined */

    bool rip_relative;
    uint8_t base;       /* register number or INSN_NO_REG */
    uint8_t index;      /* register number or INSN_NO_REG */
    uint8_t scale;      /* shift 0..3 */
    uint8_t segment;    /* enum insn_segment: override, else default (SS for rSP and rBP, else DS).
                           In 64-bit mode overrides by ES, CS, SS and DS do not count */
    uint8_t addr_bytes; /* 2, 4 or 8 */
    int64_t disp;       /* sign-extended; for moffs the whole address */
    uint64_t imm;       /* sign-extended to 64 bits; cut it to the width */
};

/*
 * Decode one instruction from bytes[0..have). *insn is defined after INSN_OK only. After INSN_SHORT
 * call again with more bytes.
 *
 * String instructions: `memory` is set, base is INSN_NO_REG; DS:rSI is seg `segment` (an override
 * counts), ES:rDI is fixed; addr_bytes is told. PUSH and POP: `bytes` is the width that moves to or
 * from the stack too; POP with rSP as base counts from its new value (the caller changes the
 * register). Of INSN_OTHER only a memory operand that ModRM names is told: not the stack, nor what
 * XLAT, INS, OUTS or MASKMOVDQU touch, nor the index of a gather.
 */
enum insn_result insn_decode(const uint8_t *bytes, unsigned have, enum insn_mode mode,
                             struct insn *insn);

/*
 * The offset of the memory operand in its segment, cut to addr_bytes. `rip` is that of the
 * instruction's first byte. For bit instructions with a register the caller adds the part that the
 * register gives.
 */
uint64_t insn_offset(const struct insn *insn, const uint64_t gpr[16], uint64_t rip);

/* The register or immediate operand, in the low `bytes` bytes; those above are 0. */
uint64_t insn_operand(const struct insn *insn, const uint64_t gpr[16]);

/*
 * Put a value into the register operand: extension from insn->bytes to reg_bytes, and the rule for
 * the upper bits (4-byte destinations clear them, 1- and 2-byte ones keep them).
 */
void insn_set_reg(const struct insn *insn, uint64_t gpr[16], uint64_t value);

/* As a name for reports: "mov", "cmpxchg". */
const char *insn_name(const struct insn *insn);

#endif
