/*
 * Owns:     the instruction decoder for trapped accesses.
 * Promises: pure; reads at most `have` bytes; never more than 15; the tables are data.
 * Needs:    base.
 * Never:    guest memory, translations, per-CPU state.
 *
 * This version emulates MOV in all its memory forms (moffs and immediates too), MOVZX, MOVSX and MOVSXD in
 * 64-bit mode. Sources: SDM 2 "Instruction Format", SDM 2 Appendix A "Opcode Map".
 */
#ifndef HV_MMIO_INSN_H
#define HV_MMIO_INSN_H

#include "hv/base/types.h"

#define INSN_MAX_BYTES 15u

enum insn_op {
    INSN_LOAD,      /* memory -> register */
    INSN_STORE,     /* register -> memory */
    INSN_STORE_IMM, /* immediate -> memory */
};

enum insn_result {
    INSN_OK,
    INSN_SHORT,       /* more bytes needed than given, and fewer than 15 seen */
    INSN_UNSUPPORTED, /* not in the list above, or no memory operand */
};

enum insn_segment { INSN_ES, INSN_CS, INSN_SS, INSN_DS, INSN_FS, INSN_GS };

#define INSN_NO_REG 16u

struct insn {
    uint8_t op;        /* enum insn_op */
    uint8_t bytes;     /* width of the memory access: 1, 2, 4, 8 */
    uint8_t reg_bytes; /* width of the register operand: 1, 2, 4, 8 */
    bool sign_extend;  /* MOVSX, MOVSXD */
    uint8_t length;    /* bytes of the instruction */
    uint8_t reg;       /* 0..15 in encoding order: RAX RCX RDX RBX RSP RBP RSI RDI R8..;
                          INSN_NO_REG for INSN_STORE_IMM */
    bool high_byte;    /* the register is AH, CH, DH or BH (reg = 0..3) */
    bool rip_relative;
    uint8_t base;    /* register number or INSN_NO_REG */
    uint8_t index;   /* register number or INSN_NO_REG */
    uint8_t scale;   /* shift 0..3 */
    uint8_t segment; /* enum insn_segment: override, else default (SS for RSP and RBP, else DS) */
    uint8_t addr_bytes; /* 4 or 8 */
    int64_t disp;       /* sign-extended; for moffs the whole address */
    uint64_t imm;       /* of INSN_STORE_IMM; sign-extended to 64 bits */
};

/*
 * Decode one instruction of 64-bit code from bytes[0..have). *insn is defined after INSN_OK only. After
 * INSN_SHORT, call again with more bytes; an instruction longer than 15 bytes is INSN_UNSUPPORTED.
 */
enum insn_result insn_decode(const uint8_t *bytes, unsigned have, struct insn *insn);

/*
 * The linear address of the memory operand. `rip` is that of the instruction's first byte. `segment_base`
 * is 0 but for FS and GS.
 */
uint64_t insn_address(const struct insn *insn, const uint64_t gpr[16], uint64_t rip,
                      uint64_t segment_base);

/* The value a store writes, in the low insn->bytes bytes; those above are 0. */
uint64_t insn_store_value(const struct insn *insn, const uint64_t gpr[16]);

/*
 * Put a loaded value (its low insn->bytes bytes) into its register: zero or sign extension, and the rule for the upper bits (4-byte
 * destinations clear them, 1- and 2-byte ones keep them).
 */
void insn_load_value(const struct insn *insn, uint64_t gpr[16], uint64_t value);

#endif
