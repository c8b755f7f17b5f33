#include "tests/unit/diff_forms.h"

#include "hv/base/types.h"

#define R FORM_REG

/*
 * Flags that the manuals leave undefined, and why they are not compared:
 * the logic operations leave AF undefined (SDM 2 "AND", "OR", "XOR", "TEST");
 * bit tests define CF alone and, on Intel, leave ZF as it was (SDM 2 "BT"); AMD has ZF undefined too (APM 3 "BT").
 */
#define LOGIC_UNDEFINED DIFF_AF
#define BIT_UNDEFINED   (DIFF_OF | DIFF_SF | DIFF_ZF | DIFF_AF | DIFF_PF)

#define FORM(name_, op_, map_, opcode_, ext_, widths_, ...)                              \
    {                                                                                    \
        .name = (name_), .op = (op_), .map = (map_), .opcode = (opcode_), .ext = (ext_), \
        .widths = (widths_), __VA_ARGS__                                                 \
    }

/* The eight of one row of the opcode map, and of group 1. */
#define ALU(name_, op_, n, lock, undefined_)                                                       \
    FORM(name_ " m,r", op_, 1, (n)*8 + 0, R, WIDTH_B, .flags = (lock), .undefined = (undefined_)), \
        FORM(name_ " m,r", op_, 1, (n)*8 + 1, R, WIDTH_V, .flags = (lock),                         \
             .undefined = (undefined_)),                                                           \
        FORM(name_ " r,m", op_, 1, (n)*8 + 2, R, WIDTH_B, .undefined = (undefined_)),              \
        FORM(name_ " r,m", op_, 1, (n)*8 + 3, R, WIDTH_V, .undefined = (undefined_)),              \
        FORM(name_ " m,i", op_, 1, 0x80, n, WIDTH_B, .imm = IMM_BYTE, .flags = (lock),             \
             .undefined = (undefined_)),                                                           \
        FORM(name_ " m,i", op_, 1, 0x81, n, WIDTH_V, .imm = IMM_FULL, .flags = (lock),             \
             .undefined = (undefined_)),                                                           \
        FORM(name_ " m,i (82)", op_, 1, 0x82, n, WIDTH_B, .imm = IMM_BYTE,                         \
             .flags = (lock) | FORM_NOT64, .undefined = (undefined_)),                             \
        FORM(name_ " m,i8", op_, 1, 0x83, n, WIDTH_V, .imm = IMM_BYTE, .flags = (lock),            \
             .undefined = (undefined_))

#define UNARY(name_, op_, opcode_, ext_)                                  \
    FORM(name_ " m", op_, 1, opcode_, ext_, WIDTH_B, .flags = FORM_LOCK), \
        FORM(name_ " m", op_, 1, (opcode_) + 1, ext_, WIDTH_V, .flags = FORM_LOCK)

/* /1 is an alias of /0 that only APM 3 lists; Intel's CPUs have it too. */
#define TEST_IMM(ext_, need_)                                                                 \
    FORM("test m,i", INSN_TEST, 1, 0xf6, ext_, WIDTH_B, .imm = IMM_BYTE, .need = (need_),     \
         .undefined = LOGIC_UNDEFINED),                                                       \
        FORM("test m,i", INSN_TEST, 1, 0xf7, ext_, WIDTH_V, .imm = IMM_FULL, .need = (need_), \
             .undefined = LOGIC_UNDEFINED)

#define BIT_TEST(name_, op_, n, lock)                                                        \
    FORM(name_ " m,r", op_, 2, 0xa3 + 8 * (n), R, WIDTH_V, .flags = (lock) | FORM_BITS,      \
         .undefined = BIT_UNDEFINED),                                                        \
        FORM(name_ " m,i", op_, 2, 0xba, 4 + (n), WIDTH_V, .imm = IMM_BYTE, .flags = (lock), \
             .undefined = BIT_UNDEFINED)

#define STRING(name_, op_, opcode_)                                 \
    FORM(name_, op_, 1, opcode_, R, WIDTH_B, .flags = FORM_STRING), \
        FORM(name_, op_, 1, (opcode_) + 1, R, WIDTH_V, .flags = FORM_STRING)

#define VEX_BOTH (FORM_VEX128 | FORM_VEX256)
#define VECTOR(name_, prefix_, map_, opcode_, memory_, flags_, ...)                               \
    FORM(name_, INSN_VECTOR, map_, opcode_, R, WIDTH_1, .prefix = (prefix_), .memory = (memory_), \
         .flags = FORM_VECTOR | (flags_), __VA_ARGS__)
#define VECTOR_PAIR(name_, prefix_, load, store, memory_, flags_)             \
    VECTOR(name_ " x,m", prefix_, 2, load, memory_, flags_, .imm = IMM_NONE), \
        VECTOR(name_ " m,x", prefix_, 2, store, memory_, flags_, .imm = IMM_NONE)

const struct diff_form diff_forms[] = {
    FORM("mov m,r", INSN_MOV, 1, 0x88, R, WIDTH_B, .imm = IMM_NONE),
    FORM("mov m,r", INSN_MOV, 1, 0x89, R, WIDTH_V, .imm = IMM_NONE),
    FORM("mov r,m", INSN_MOV, 1, 0x8a, R, WIDTH_B, .imm = IMM_NONE),
    FORM("mov r,m", INSN_MOV, 1, 0x8b, R, WIDTH_V, .imm = IMM_NONE),
    FORM("mov al,moffs", INSN_MOV, 1, 0xa0, R, WIDTH_B, .flags = FORM_MOFFS),
    FORM("mov ax,moffs", INSN_MOV, 1, 0xa1, R, WIDTH_V, .flags = FORM_MOFFS),
    FORM("mov moffs,al", INSN_MOV, 1, 0xa2, R, WIDTH_B, .flags = FORM_MOFFS),
    FORM("mov moffs,ax", INSN_MOV, 1, 0xa3, R, WIDTH_V, .flags = FORM_MOFFS),
    FORM("mov m,i", INSN_MOV, 1, 0xc6, 0, WIDTH_B, .imm = IMM_BYTE),
    FORM("mov m,i", INSN_MOV, 1, 0xc7, 0, WIDTH_V, .imm = IMM_FULL),
    FORM("movzx r,m8", INSN_MOV, 2, 0xb6, R, WIDTH_V, .memory = 1),
    FORM("movzx r,m16", INSN_MOV, 2, 0xb7, R, WIDTH_V, .memory = 2),
    FORM("movsx r,m8", INSN_MOV, 2, 0xbe, R, WIDTH_V, .memory = 1),
    FORM("movsx r,m16", INSN_MOV, 2, 0xbf, R, WIDTH_V, .memory = 2),
    FORM("movsxd r,m32", INSN_MOV, 1, 0x63, R, WIDTH_V, .memory = 4, .flags = FORM_ONLY64),
    FORM("movnti m,r", INSN_MOV, 2, 0xc3, R, WIDTH_Y, .imm = IMM_NONE),
    FORM("movbe r,m", INSN_MOVBE, 3, 0xf0, R, WIDTH_V, .need = NEED_MOVBE),
    FORM("movbe m,r", INSN_MOVBE, 3, 0xf1, R, WIDTH_V, .need = NEED_MOVBE),

    ALU("add", INSN_ADD, 0, FORM_LOCK, 0),
    ALU("or", INSN_OR, 1, FORM_LOCK, LOGIC_UNDEFINED),
    ALU("adc", INSN_ADC, 2, FORM_LOCK, 0),
    ALU("sbb", INSN_SBB, 3, FORM_LOCK, 0),
    ALU("and", INSN_AND, 4, FORM_LOCK, LOGIC_UNDEFINED),
    ALU("sub", INSN_SUB, 5, FORM_LOCK, 0),
    ALU("xor", INSN_XOR, 6, FORM_LOCK, LOGIC_UNDEFINED),
    ALU("cmp", INSN_CMP, 7, 0, 0),
    FORM("test m,r", INSN_TEST, 1, 0x84, R, WIDTH_B, .undefined = LOGIC_UNDEFINED),
    FORM("test m,r", INSN_TEST, 1, 0x85, R, WIDTH_V, .undefined = LOGIC_UNDEFINED),
    TEST_IMM(0, NEED_NOTHING),
    TEST_IMM(1, NEED_TEST_1),
    UNARY("not", INSN_NOT, 0xf6, 2),
    UNARY("neg", INSN_NEG, 0xf6, 3),
    UNARY("inc", INSN_INC, 0xfe, 0),
    UNARY("dec", INSN_DEC, 0xfe, 1),
    BIT_TEST("bt", INSN_BT, 0, 0),
    BIT_TEST("bts", INSN_BTS, 1, FORM_LOCK),
    BIT_TEST("btr", INSN_BTR, 2, FORM_LOCK),
    BIT_TEST("btc", INSN_BTC, 3, FORM_LOCK),
    FORM("xchg m,r", INSN_XCHG, 1, 0x86, R, WIDTH_B, .flags = FORM_LOCK),
    FORM("xchg m,r", INSN_XCHG, 1, 0x87, R, WIDTH_V, .flags = FORM_LOCK),
    FORM("xadd m,r", INSN_XADD, 2, 0xc0, R, WIDTH_B, .flags = FORM_LOCK),
    FORM("xadd m,r", INSN_XADD, 2, 0xc1, R, WIDTH_V, .flags = FORM_LOCK),
    FORM("cmpxchg m,r", INSN_CMPXCHG, 2, 0xb0, R, WIDTH_B, .flags = FORM_LOCK),
    FORM("cmpxchg m,r", INSN_CMPXCHG, 2, 0xb1, R, WIDTH_V, .flags = FORM_LOCK),
    FORM("cmpxchg8b m", INSN_CMPXCHG_PAIR, 2, 0xc7, 1, 4, .memory = 8, .flags = FORM_LOCK),
    FORM("cmpxchg16b m", INSN_CMPXCHG_PAIR, 2, 0xc7, 1, 8, .memory = 16, .need = NEED_CX16,
         .flags = FORM_LOCK | FORM_ALIGNED),
    FORM("push m", INSN_PUSH, 1, 0xff, 6, WIDTH_V, .flags = FORM_STACK),
    FORM("pop m", INSN_POP, 1, 0x8f, 0, WIDTH_V, .flags = FORM_STACK),
    STRING("movs", INSN_MOVS, 0xa4),
    STRING("cmps", INSN_CMPS, 0xa6),
    STRING("stos", INSN_STOS, 0xaa),
    STRING("lods", INSN_LODS, 0xac),
    STRING("scas", INSN_SCAS, 0xae),

    VECTOR_PAIR("movups", 0, 0x10, 0x11, 16, VEX_BOTH),
    VECTOR_PAIR("movupd", 0x66, 0x10, 0x11, 16, VEX_BOTH),
    VECTOR_PAIR("movss", 0xf3, 0x10, 0x11, 4, FORM_VEX128),
    VECTOR_PAIR("movsd", 0xf2, 0x10, 0x11, 8, FORM_VEX128),
    VECTOR_PAIR("movaps", 0, 0x28, 0x29, 16, VEX_BOTH | FORM_ALIGNED),
    VECTOR_PAIR("movapd", 0x66, 0x28, 0x29, 16, VEX_BOTH | FORM_ALIGNED),
    VECTOR_PAIR("movdqa", 0x66, 0x6f, 0x7f, 16, VEX_BOTH | FORM_ALIGNED),
    VECTOR_PAIR("movdqu", 0xf3, 0x6f, 0x7f, 16, VEX_BOTH),
    VECTOR("movntps m,x", 0, 2, 0x2b, 16, VEX_BOTH | FORM_ALIGNED, .imm = IMM_NONE),
    VECTOR("movntpd m,x", 0x66, 2, 0x2b, 16, VEX_BOTH | FORM_ALIGNED, .imm = IMM_NONE),
    VECTOR("movntdq m,x", 0x66, 2, 0xe7, 16, VEX_BOTH | FORM_ALIGNED, .imm = IMM_NONE),
    VECTOR("movntdqa x,m", 0x66, 3, 0x2a, 16, VEX_BOTH | FORM_ALIGNED | FORM_AVX2,
           .need = NEED_SSE41),
    VECTOR("lddqu x,m", 0xf2, 2, 0xf0, 16, VEX_BOTH, .need = NEED_SSE3),
    VECTOR_PAIR("movd/movq", 0x66, 0x6e, 0x7e, 4, FORM_VEX128 | FORM_W),
    VECTOR("movq x,m", 0xf3, 2, 0x7e, 8, FORM_VEX128, .imm = IMM_NONE),
    VECTOR("movq m,x", 0x66, 2, 0xd6, 8, FORM_VEX128, .imm = IMM_NONE),
    /* The VEX loads of these four merge with a second register and are not plain. */
    VECTOR("movlps x,m", 0, 2, 0x12, 8, 0, .imm = IMM_NONE),
    VECTOR("movlpd x,m", 0x66, 2, 0x12, 8, 0, .imm = IMM_NONE),
    VECTOR("movhps x,m", 0, 2, 0x16, 8, 0, .imm = IMM_NONE),
    VECTOR("movhpd x,m", 0x66, 2, 0x16, 8, 0, .imm = IMM_NONE),
    VECTOR("movlps m,x", 0, 2, 0x13, 8, FORM_VEX128, .imm = IMM_NONE),
    VECTOR("movlpd m,x", 0x66, 2, 0x13, 8, FORM_VEX128, .imm = IMM_NONE),
    VECTOR("movhps m,x", 0, 2, 0x17, 8, FORM_VEX128, .imm = IMM_NONE),
    VECTOR("movhpd m,x", 0x66, 2, 0x17, 8, FORM_VEX128, .imm = IMM_NONE),
};

const unsigned diff_forms_count = ARRAY_COUNT(diff_forms);
