/*
 * Owns:     the opcode maps as data: what follows an opcode, and what the instruction does.
 * Promises: one byte (a cell) per opcode; the cell leads to a form, at most over one row that ModRM.reg or the mandatory
 *           prefix selects. Constant.
 * Needs:    hv/mmio/insn.h.
 * Never:    used outside hv/mmio/insn.c.
 */
#ifndef HV_MMIO_OPCODES_H
#define HV_MMIO_OPCODES_H

#include "hv/mmio/insn.h"

/* Bytes of an operand or immediate: one row of opcode_bytes for operand sizes of 2, 4 and 8. */
enum opcode_width {
    W_NONE,
    W_1,
    W_2,
    W_3, /* ENTER */
    W_4,
    W_8,
    W_16,
    W_ANY,  /* the operand size */
    W_LOW,  /* at most 4: most immediates */
    W_HIGH, /* at least 4 */
    W_PAIR, /* 8, and 16 with REX.W */
    W_FAR,  /* an offset and a selector */
    W_COUNT,
};

extern const uint8_t opcode_bytes[W_COUNT][4];

enum opcode_layout {
    LAYOUT_PLAIN,
    LAYOUT_MODRM,
    LAYOUT_MEMORY,    /* ModRM with mod = 3 is no instruction */
    LAYOUT_REGISTERS, /* ModRM with another mod is none */
    LAYOUT_CONTROL,   /* ModRM, but mod counts as 3 */
    LAYOUT_GATHER,    /* the index is a vector register */
    LAYOUT_MOFFS,     /* a plain address; the register is rAX */
    LAYOUT_STRING,
};

enum opcode_trait {
    T_TO_REG = 1 << 0,
    T_SIGN = 1 << 1,       /* MOVSX */
    T_ROW = 1 << 2,        /* bits 5:3 of the opcode count up `op` */
    T_GROUP = 1 << 3,      /* likewise ModRM.reg */
    T_STACK = 1 << 4,      /* 8 bytes by default in 64-bit mode */
    T_NOT_64 = 1 << 5,     /* no instruction in 64-bit mode */
    T_ONLY_64 = 1 << 6,    /* MOVSXD; in other modes ARPL */
    T_ALIGNED = 1 << 7,    /* operands of 16 bytes and more must be */
    T_HIGH_LANE = 1 << 8,  /* bytes 8..15 of the register */
    T_MERGE = 1 << 9,      /* loads a part; VEX makes it an instruction with three operands */
    T_VEX_LONG = 1 << 10,  /* VEX.L doubles the operand */
    T_VEX_SHORT = 1 << 11, /* VEX.L must be 0 */
};

/* Which mandatory prefixes an opcode takes, by their number in VEX.pp: none, 66, F3, F2. */
#define PP_NONE         1u
#define PP_66           2u
#define PP_F3           4u
#define PP_F2           8u
#define PP_ALL          15u
#define LEGAL(sse, vex) (uint8_t)((sse) | (vex) << 4)

struct opcode_form {
    uint8_t op;
    uint8_t memory_width, reg_width, imm_width; /* enum opcode_width */
    uint8_t legal;                              /* LEGAL(without VEX, with VEX) */
    uint8_t layout;
    uint16_t traits;
};

/* A cell is the number of a form, or one of these. */
enum opcode_cell {
    CELL_GROUP = 0x80,  /* + row of opcode_groups, by ModRM.reg */
    CELL_PREFIX = 0xa0, /* + row of opcode_prefixed, by mandatory prefix */
    CELL_SPECIAL = 0xe0,
    CELL_SEGMENT = CELL_SPECIAL, /* + enum insn_segment */
    CELL_OPERAND = CELL_SEGMENT + 6,
    CELL_ADDRESS,
    CELL_LOCK,
    CELL_REPNE,
    CELL_REP,
    CELL_REX,
    CELL_ESCAPE,
    CELL_VEX,
};
#define CELL_ROW 0x1fu

/* The forms that the walk itself names. */
enum { FORM_NONE, FORM_PLAIN, FORM_MODRM, FORM_POINTER };

extern const struct opcode_form opcode_forms[];
extern const uint8_t opcode_groups[][8];
extern const uint8_t opcode_prefixed[][4];
extern const uint8_t opcode_map_1[256];  /* one byte */
extern const uint8_t opcode_map_0f[256]; /* behind 0F, and VEX map 1 */

/* The sparse maps, behind 0F 38 and 0F 3A, VEX maps 2 and 3: ascending, closed by one for 0xff. */
struct opcode_range {
    uint8_t first, last, cell;
};

extern const struct opcode_range opcode_map_38[];
extern const struct opcode_range opcode_map_3a[];

/* What depends on enum insn_op alone. */
struct opcode_op {
    char name[11];
    uint8_t access; /* of the memory operand, unless T_TO_REG */
    bool lockable;
    uint16_t flags;
};

extern const struct opcode_op opcode_ops[];

#endif
