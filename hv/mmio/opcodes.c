/*
 * The opcode maps. They say of every instruction how long it is and whether it has a memory operand; what it does, only
 * where it is emulated. All others share a few forms, by what follows the opcode and by the prefixes that they take.
 */
#include "hv/mmio/opcodes.h"

/* clang-format off */
const uint8_t opcode_bytes[W_COUNT][4] = {
    [W_1] = {1, 1, 1},    [W_2] = {2, 2, 2},    [W_3] = {3, 3, 3},     [W_4] = {4, 4, 4},
    [W_8] = {8, 8, 8},    [W_16] = {16, 16, 16}, [W_ANY] = {2, 4, 8},  [W_LOW] = {2, 4, 4},
    [W_HIGH] = {4, 4, 8}, [W_PAIR] = {8, 8, 16}, [W_FAR] = {4, 6, 6},
};

/* clang-format on */

/* ---- operations ---- */

enum { CF = 1 << 0, PF = 1 << 2, AF = 1 << 4, ZF = 1 << 6, SF = 1 << 7, OF = 1 << 11 };
#define ALL   (CF | PF | AF | ZF | SF | OF)
#define READS INSN_READS
#define BOTH  (INSN_READS | INSN_WRITES)

const struct opcode_op opcode_ops[] = {
    [INSN_OTHER] = {"other", 0, false, 0},
    [INSN_MOV] = {"mov", INSN_WRITES, false, 0},
    [INSN_MOVBE] = {"movbe", INSN_WRITES, false, 0},
    [INSN_ADD] = {"add", BOTH, true, ALL},
    [INSN_OR] = {"or", BOTH, true, ALL},
    [INSN_ADC] = {"adc", BOTH, true, ALL},
    [INSN_SBB] = {"sbb", BOTH, true, ALL},
    [INSN_AND] = {"and", BOTH, true, ALL},
    [INSN_SUB] = {"sub", BOTH, true, ALL},
    [INSN_XOR] = {"xor", BOTH, true, ALL},
    [INSN_CMP] = {"cmp", READS, false, ALL},
    [INSN_TEST] = {"test", READS, false, ALL},
    [INSN_NOT] = {"not", BOTH, true, 0},
    [INSN_NEG] = {"neg", BOTH, true, ALL},
    [INSN_INC] = {"inc", BOTH, true, ALL & ~CF},
    [INSN_DEC] = {"dec", BOTH, true, ALL & ~CF},
    [INSN_BT] = {"bt", READS, false, ALL & ~ZF},
    [INSN_BTS] = {"bts", BOTH, true, ALL & ~ZF},
    [INSN_BTR] = {"btr", BOTH, true, ALL & ~ZF},
    [INSN_BTC] = {"btc", BOTH, true, ALL & ~ZF},
    [INSN_XCHG] = {"xchg", BOTH, true, 0},
    [INSN_XADD] = {"xadd", BOTH, true, ALL},
    [INSN_CMPXCHG] = {"cmpxchg", BOTH, true, ALL},
    [INSN_CMPXCHG_PAIR] = {"cmpxchg8b", BOTH, true, ZF},
    [INSN_PUSH] = {"push", READS, false, 0},
    [INSN_POP] = {"pop", INSN_WRITES, false, 0},
    [INSN_MOVS] = {"movs", BOTH, false, 0},
    [INSN_CMPS] = {"cmps", READS, false, ALL},
    [INSN_STOS] = {"stos", INSN_WRITES, false, 0},
    [INSN_LODS] = {"lods", READS, false, 0},
    [INSN_SCAS] = {"scas", READS, false, ALL},
    [INSN_VECTOR] = {"vector mov", INSN_WRITES, false, 0},
};

/* ---- forms ---- */

/*
 * One line each: name, operation, widths of memory operand, register and immediate, layout, legal prefixes, traits. In
 * the names of those not emulated: PLAIN has no ModRM; the number is of immediate bytes (Z: 2 or 4, V: up to 8); then
 * the mandatory prefixes, and behind V those with VEX.
 */
/* clang-format off */
#define ANY LEGAL(PP_ALL, 0)
#define SSE LEGAL(PP_ALL, PP_ALL)
#define O   INSN_OTHER, W_NONE, W_NONE
#define FORMS(X)                                                                              \
    X(NONE, O, W_NONE, PLAIN, 0, 0)                                                           \
    X(PLAIN, O, W_NONE, PLAIN, ANY, 0)                                                        \
    X(MODRM, O, W_NONE, MODRM, ANY, 0)                                                        \
    X(POINTER, O, W_NONE, MEMORY, ANY, T_NOT_64) /* BOUND, LES, LDS */                        \
    X(PLAIN_NOT_64, O, W_NONE, PLAIN, ANY, T_NOT_64)                                          \
    X(PLAIN_1, O, W_1, PLAIN, ANY, 0)                                                         \
    X(PLAIN_1_NOT_64, O, W_1, PLAIN, ANY, T_NOT_64)                                           \
    X(PLAIN_2, O, W_2, PLAIN, ANY, 0)                                                         \
    X(PLAIN_3, O, W_3, PLAIN, ANY, 0)                                                         \
    X(PLAIN_Z, O, W_LOW, PLAIN, ANY, 0)                                                       \
    X(PLAIN_V, O, W_ANY, PLAIN, ANY, 0)                                                       \
    X(FAR_NOT_64, O, W_FAR, PLAIN, ANY, T_NOT_64)                                             \
    X(PLAIN_NP_V, O, W_NONE, PLAIN, LEGAL(PP_NONE, PP_NONE), 0) /* EMMS, VZEROUPPER */        \
    X(MODRM_1, O, W_1, MODRM, ANY, 0)                                                         \
    X(MODRM_Z, O, W_LOW, MODRM, ANY, 0)                                                       \
    X(MEMORY, O, W_NONE, MEMORY, ANY, 0)                                                      \
    X(CONTROL, O, W_NONE, CONTROL, ANY, 0)                                                    \
    X(AE, O, W_NONE, MODRM, LEGAL(PP_ALL, PP_NONE), 0)                                        \
    X(NP, O, W_NONE, MODRM, LEGAL(PP_NONE, 0), 0)                                             \
    X(NP_1, O, W_1, MODRM, LEGAL(PP_NONE, 0), 0)                                              \
    X(ONLY_F3, O, W_NONE, MODRM, LEGAL(PP_F3, 0), 0)                                          \
    X(ADX, O, W_NONE, MODRM, LEGAL(PP_66 | PP_F3, PP_F2), 0)                                  \
    X(MMX, O, W_NONE, MODRM, LEGAL(PP_NONE | PP_66, PP_66), 0)                                \
    X(MMX_1, O, W_1, MODRM, LEGAL(PP_NONE | PP_66, PP_66), 0)                                 \
    X(MMX_REG, O, W_NONE, REGISTERS, LEGAL(PP_NONE | PP_66, PP_66), 0)                        \
    X(MMX_REG_1, O, W_1, REGISTERS, LEGAL(PP_NONE | PP_66, PP_66), 0)                         \
    X(ONLY_66, O, W_NONE, MODRM, LEGAL(PP_66, PP_66), 0)                                      \
    X(ONLY_66_1, O, W_1, MODRM, LEGAL(PP_66, PP_66), 0)                                       \
    X(SHUFFLE_1, O, W_1, MODRM, LEGAL(PP_ALL, PP_66 | PP_F3 | PP_F2), 0)                      \
    X(SSE_ALL, O, W_NONE, MODRM, SSE, 0)                                                      \
    X(SSE_ALL_1, O, W_1, MODRM, SSE, 0)                                                       \
    X(SSE_CVT, O, W_NONE, MODRM, LEGAL(PP_ALL, PP_F3 | PP_F2), 0)                             \
    X(SSE_PD, O, W_NONE, MODRM, LEGAL(PP_NONE | PP_66, PP_NONE | PP_66), 0)                   \
    X(SSE_PD_1, O, W_1, MODRM, LEGAL(PP_NONE | PP_66, PP_NONE | PP_66), 0)                    \
    X(SSE_MASK, O, W_NONE, REGISTERS, LEGAL(PP_NONE | PP_66, PP_NONE | PP_66), 0)             \
    X(SSE_SS, O, W_NONE, MODRM, LEGAL(PP_NONE | PP_F3, PP_NONE | PP_F3), 0)                   \
    X(SSE_DQ, O, W_NONE, MODRM, LEGAL(PP_ALL & ~PP_F2, PP_ALL & ~PP_F2), 0)                   \
    X(SSE_HADD, O, W_NONE, MODRM, LEGAL(PP_66 | PP_F2, PP_66 | PP_F2), 0)                     \
    X(SSE_CVTDQ, O, W_NONE, MODRM, LEGAL(PP_ALL & ~PP_NONE, PP_ALL & ~PP_NONE), 0)            \
    X(AVX, O, W_NONE, MODRM, LEGAL(0, PP_66), 0)                                              \
    X(AVX_1, O, W_1, MODRM, LEGAL(0, PP_66), 0)                                               \
    X(RORX, O, W_1, MODRM, LEGAL(0, PP_F2), 0)                                                \
    X(BMI, O, W_NONE, MODRM, LEGAL(0, PP_NONE), 0)                                            \
    X(BMI_PDEP, O, W_NONE, MODRM, LEGAL(0, PP_NONE | PP_F3 | PP_F2), 0)                       \
    X(BMI_ALL, O, W_NONE, MODRM, LEGAL(0, PP_ALL), 0)                                         \
    X(SSE41, O, W_NONE, MODRM, LEGAL(PP_66, 0), 0)                                            \
    X(GATHER, O, W_NONE, GATHER, LEGAL(0, PP_66), 0)                                          \
    X(MMX_MOVE, O, W_NONE, REGISTERS, ANY, 0)                                                 \
    /* The emulated ones. E is a byte or word in memory, G a register. */                     \
    X(MOV_EB_GB, INSN_MOV, W_1, W_1, W_NONE, MODRM, ANY, 0)                                   \
    X(MOV_EV_GV, INSN_MOV, W_ANY, W_ANY, W_NONE, MODRM, ANY, 0)                               \
    X(MOV_GB_EB, INSN_MOV, W_1, W_1, W_NONE, MODRM, ANY, T_TO_REG)                            \
    X(MOV_GV_EV, INSN_MOV, W_ANY, W_ANY, W_NONE, MODRM, ANY, T_TO_REG)                        \
    X(MOV_AL_O, INSN_MOV, W_1, W_1, W_NONE, MOFFS, ANY, T_TO_REG)                             \
    X(MOV_AX_O, INSN_MOV, W_ANY, W_ANY, W_NONE, MOFFS, ANY, T_TO_REG)                         \
    X(MOV_O_AL, INSN_MOV, W_1, W_1, W_NONE, MOFFS, ANY, 0)                                    \
    X(MOV_O_AX, INSN_MOV, W_ANY, W_ANY, W_NONE, MOFFS, ANY, 0)                                \
    X(MOV_EB_I, INSN_MOV, W_1, W_NONE, W_1, MODRM, ANY, 0)                                    \
    X(MOV_EV_I, INSN_MOV, W_ANY, W_NONE, W_LOW, MODRM, ANY, 0)                                \
    X(MOVZX_B, INSN_MOV, W_1, W_ANY, W_NONE, MODRM, ANY, T_TO_REG)                            \
    X(MOVZX_W, INSN_MOV, W_2, W_ANY, W_NONE, MODRM, ANY, T_TO_REG)                            \
    X(MOVSX_B, INSN_MOV, W_1, W_ANY, W_NONE, MODRM, ANY, T_TO_REG | T_SIGN)                   \
    X(MOVSX_W, INSN_MOV, W_2, W_ANY, W_NONE, MODRM, ANY, T_TO_REG | T_SIGN)                   \
    X(MOVSXD, INSN_MOV, W_LOW, W_ANY, W_NONE, MODRM, ANY, T_TO_REG | T_SIGN | T_ONLY_64)      \
    X(MOVNTI, INSN_MOV, W_HIGH, W_HIGH, W_NONE, MEMORY, ANY, 0)                               \
    X(MOVBE_G, INSN_MOVBE, W_ANY, W_ANY, W_NONE, MEMORY, ANY, T_TO_REG)                       \
    X(MOVBE_E, INSN_MOVBE, W_ANY, W_ANY, W_NONE, MEMORY, ANY, 0)                              \
    X(ALU_EB_GB, INSN_ADD, W_1, W_1, W_NONE, MODRM, ANY, T_ROW)                               \
    X(ALU_EV_GV, INSN_ADD, W_ANY, W_ANY, W_NONE, MODRM, ANY, T_ROW)                           \
    X(ALU_GB_EB, INSN_ADD, W_1, W_1, W_NONE, MODRM, ANY, T_ROW | T_TO_REG)                    \
    X(ALU_GV_EV, INSN_ADD, W_ANY, W_ANY, W_NONE, MODRM, ANY, T_ROW | T_TO_REG)                \
    X(ALU_EB_I, INSN_ADD, W_1, W_NONE, W_1, MODRM, ANY, T_GROUP)                              \
    X(ALU_EB_I_NOT_64, INSN_ADD, W_1, W_NONE, W_1, MODRM, ANY, T_GROUP | T_NOT_64)            \
    X(ALU_EV_I, INSN_ADD, W_ANY, W_NONE, W_LOW, MODRM, ANY, T_GROUP)                          \
    X(ALU_EV_I1, INSN_ADD, W_ANY, W_NONE, W_1, MODRM, ANY, T_GROUP)                           \
    X(TEST_EB_GB, INSN_TEST, W_1, W_1, W_NONE, MODRM, ANY, 0)                                 \
    X(TEST_EV_GV, INSN_TEST, W_ANY, W_ANY, W_NONE, MODRM, ANY, 0)                             \
    X(TEST_EB_I, INSN_TEST, W_1, W_NONE, W_1, MODRM, ANY, 0)                                  \
    X(TEST_EV_I, INSN_TEST, W_ANY, W_NONE, W_LOW, MODRM, ANY, 0)                              \
    X(NOT_EB, INSN_NOT, W_1, W_NONE, W_NONE, MODRM, ANY, 0)                                   \
    X(NOT_EV, INSN_NOT, W_ANY, W_NONE, W_NONE, MODRM, ANY, 0)                                 \
    X(NEG_EB, INSN_NEG, W_1, W_NONE, W_NONE, MODRM, ANY, 0)                                   \
    X(NEG_EV, INSN_NEG, W_ANY, W_NONE, W_NONE, MODRM, ANY, 0)                                 \
    X(INC_EB, INSN_INC, W_1, W_NONE, W_NONE, MODRM, ANY, T_GROUP)                             \
    X(INC_EV, INSN_INC, W_ANY, W_NONE, W_NONE, MODRM, ANY, T_GROUP)                           \
    X(PUSH_EV, INSN_PUSH, W_ANY, W_NONE, W_NONE, MODRM, ANY, T_STACK)                         \
    X(POP_EV, INSN_POP, W_ANY, W_NONE, W_NONE, MODRM, ANY, T_STACK)                           \
    X(XCHG_EB, INSN_XCHG, W_1, W_1, W_NONE, MODRM, ANY, 0)                                    \
    X(XCHG_EV, INSN_XCHG, W_ANY, W_ANY, W_NONE, MODRM, ANY, 0)                                \
    X(XADD_EB, INSN_XADD, W_1, W_1, W_NONE, MODRM, ANY, 0)                                    \
    X(XADD_EV, INSN_XADD, W_ANY, W_ANY, W_NONE, MODRM, ANY, 0)                                \
    X(CMPXCHG_EB, INSN_CMPXCHG, W_1, W_1, W_NONE, MODRM, ANY, 0)                              \
    X(CMPXCHG_EV, INSN_CMPXCHG, W_ANY, W_ANY, W_NONE, MODRM, ANY, 0)                          \
    X(PAIR, INSN_CMPXCHG_PAIR, W_PAIR, W_NONE, W_NONE, MEMORY, ANY, T_ALIGNED)                \
    /* BT to BTC are 4 to 7, in the opcode as in the group. */                                \
    X(BT_EV_GV, INSN_BT - 4, W_ANY, W_ANY, W_NONE, MODRM, ANY, T_ROW)                         \
    X(BT_EV_I, INSN_BT - 4, W_ANY, W_NONE, W_1, MODRM, ANY, T_GROUP)                          \
    X(MOVS_B, INSN_MOVS, W_1, W_NONE, W_NONE, STRING, ANY, 0)                                 \
    X(MOVS_V, INSN_MOVS, W_ANY, W_NONE, W_NONE, STRING, ANY, 0)                               \
    X(CMPS_B, INSN_CMPS, W_1, W_NONE, W_NONE, STRING, ANY, 0)                                 \
    X(CMPS_V, INSN_CMPS, W_ANY, W_NONE, W_NONE, STRING, ANY, 0)                               \
    X(STOS_B, INSN_STOS, W_1, W_NONE, W_NONE, STRING, ANY, 0)                                 \
    X(STOS_V, INSN_STOS, W_ANY, W_NONE, W_NONE, STRING, ANY, 0)                               \
    X(LODS_B, INSN_LODS, W_1, W_NONE, W_NONE, STRING, ANY, 0)                                 \
    X(LODS_V, INSN_LODS, W_ANY, W_NONE, W_NONE, STRING, ANY, 0)                               \
    X(SCAS_B, INSN_SCAS, W_1, W_NONE, W_NONE, STRING, ANY, 0)                                 \
    X(SCAS_V, INSN_SCAS, W_ANY, W_NONE, W_NONE, STRING, ANY, 0)                               \
    /* Vectors: A aligned, U not; LOAD and STORE. */                                          \
    X(ALOAD, INSN_VECTOR, W_16, W_16, W_NONE, MODRM, SSE, T_TO_REG | T_VEX_LONG | T_ALIGNED)  \
    X(ULOAD, INSN_VECTOR, W_16, W_16, W_NONE, MODRM, SSE, T_TO_REG | T_VEX_LONG)              \
    X(ASTORE, INSN_VECTOR, W_16, W_16, W_NONE, MODRM, SSE, T_VEX_LONG | T_ALIGNED)            \
    X(USTORE, INSN_VECTOR, W_16, W_16, W_NONE, MODRM, SSE, T_VEX_LONG)                        \
    X(SS_LOAD, INSN_VECTOR, W_4, W_16, W_NONE, MODRM, SSE, T_TO_REG)                          \
    X(SS_STORE, INSN_VECTOR, W_4, W_16, W_NONE, MODRM, SSE, 0)                                \
    X(SD_LOAD, INSN_VECTOR, W_8, W_16, W_NONE, MODRM, SSE, T_TO_REG)                          \
    X(SD_STORE, INSN_VECTOR, W_8, W_16, W_NONE, MODRM, SSE, 0)                                \
    X(D_LOAD, INSN_VECTOR, W_HIGH, W_16, W_NONE, MODRM, SSE, T_TO_REG | T_VEX_SHORT)          \
    X(D_STORE, INSN_VECTOR, W_HIGH, W_16, W_NONE, MODRM, SSE, T_VEX_SHORT)                    \
    X(Q_LOAD, INSN_VECTOR, W_8, W_16, W_NONE, MODRM, SSE, T_TO_REG | T_VEX_SHORT)             \
    X(Q_STORE, INSN_VECTOR, W_8, W_16, W_NONE, MODRM, SSE, T_VEX_SHORT)                       \
    X(NTLOAD, INSN_VECTOR, W_16, W_16, W_NONE, MEMORY, SSE, T_TO_REG | T_VEX_LONG | T_ALIGNED) \
    X(NTSTORE, INSN_VECTOR, W_16, W_16, W_NONE, MEMORY, SSE, T_VEX_LONG | T_ALIGNED)          \
    X(LDDQU, INSN_VECTOR, W_16, W_16, W_NONE, MEMORY, SSE, T_TO_REG | T_VEX_LONG)             \
    X(LP_STORE, INSN_VECTOR, W_8, W_16, W_NONE, MEMORY, SSE, T_VEX_SHORT)                     \
    X(LP_LOAD, INSN_VECTOR, W_8, W_16, W_NONE, MODRM, SSE, T_TO_REG | T_MERGE)                \
    X(HP_LOAD, INSN_VECTOR, W_8, W_16, W_NONE, MODRM, SSE, T_TO_REG | T_MERGE | T_HIGH_LANE)  \
    X(HP_STORE, INSN_VECTOR, W_8, W_16, W_NONE, MEMORY, SSE, T_VEX_SHORT | T_HIGH_LANE)

/* O stands for three arguments, so a line is expanded once more. */
#define NUMBER_OF(name, ...) F_##name,
#define FORM_OF(name, ...)   ROW_OF(__VA_ARGS__)
#define ROW_OF(...)          ROW_FROM(__VA_ARGS__)
#define ROW_FROM(op, memory, reg, imm, layout, legal, traits) \
    {op, memory, reg, imm, legal, LAYOUT_##layout, traits},

enum { FORMS(NUMBER_OF) F_COUNT };
const struct opcode_form opcode_forms[] = {FORMS(FORM_OF)};

_Static_assert((int)F_COUNT <= (int)CELL_GROUP, "a cell holds the number of a form");
_Static_assert((int)F_NONE == (int)FORM_NONE && (int)F_PLAIN == (int)FORM_PLAIN &&
                   (int)F_MODRM == (int)FORM_MODRM && (int)F_POINTER == (int)FORM_POINTER,
               "the forms that the walk names come first");

/* ---- groups ---- */

enum {
    G_8F = CELL_GROUP,
    G_C6,
    G_C7,
    G_F6,
    G_F7,
    G_FE,
    G_FF,
    G_BA, /* this and the next behind 0F */
    G_9,
};
#define ROW(cell) [(cell) & CELL_ROW]

const uint8_t opcode_groups[][8] = {
    ROW(G_8F) = {F_POP_EV}, /* the others are the XOP prefix */
    ROW(G_C6) = {F_MOV_EB_I},
    ROW(G_C7) = {F_MOV_EV_I},
    ROW(G_F6) = {F_TEST_EB_I, F_TEST_EB_I, F_NOT_EB, F_NEG_EB, F_MODRM, F_MODRM, F_MODRM, F_MODRM},
    ROW(G_F7) = {F_TEST_EV_I, F_TEST_EV_I, F_NOT_EV, F_NEG_EV, F_MODRM, F_MODRM, F_MODRM, F_MODRM},
    ROW(G_FE) = {F_INC_EB, F_INC_EB},
    ROW(G_FF) = {F_INC_EV, F_INC_EV, F_MODRM, F_MEMORY, F_MODRM, F_MEMORY, F_PUSH_EV},
    ROW(G_BA) = {[4] = F_BT_EV_I, F_BT_EV_I, F_BT_EV_I, F_BT_EV_I},
    ROW(G_9) = {[1] = F_PAIR, [3] = F_MODRM, F_MODRM, F_MODRM, F_MODRM, F_MODRM},
};

/* ---- opcodes that a mandatory prefix tells apart ---- */

enum {
    P_10 = CELL_PREFIX,
    P_11,
    P_12,
    P_13,
    P_16,
    P_17,
    P_28,
    P_29,
    P_2B,
    P_6E,
    P_6F,
    P_7E,
    P_7F,
    P_C3,
    P_D6,
    P_E7,
    P_F0,
    P_38_2A, /* this and the next two behind 0F 38 */
    P_38_F0,
    P_38_F1,
};

const uint8_t opcode_prefixed[][4] = {
    /* none, 66, F3, F2 */
    ROW(P_10) = {F_ULOAD, F_ULOAD, F_SS_LOAD, F_SD_LOAD},
    ROW(P_11) = {F_USTORE, F_USTORE, F_SS_STORE, F_SD_STORE},
    ROW(P_12) = {F_LP_LOAD, F_LP_LOAD, F_SSE_ALL, F_SSE_ALL},
    ROW(P_13) = {F_LP_STORE, F_LP_STORE},
    ROW(P_16) = {F_HP_LOAD, F_HP_LOAD, F_SSE_ALL},
    ROW(P_17) = {F_HP_STORE, F_HP_STORE},
    ROW(P_28) = {F_ALOAD, F_ALOAD},
    ROW(P_29) = {F_ASTORE, F_ASTORE},
    ROW(P_2B) = {F_NTSTORE, F_NTSTORE, F_MODRM, F_MODRM},
    ROW(P_6E) = {F_MODRM, F_D_LOAD},
    ROW(P_6F) = {F_MODRM, F_ALOAD, F_ULOAD},
    ROW(P_7E) = {F_MODRM, F_D_STORE, F_Q_LOAD},
    ROW(P_7F) = {F_MODRM, F_ASTORE, F_USTORE},
    ROW(P_C3) = {F_MOVNTI},
    ROW(P_D6) = {F_NONE, F_Q_STORE, F_MMX_MOVE, F_MMX_MOVE},
    ROW(P_E7) = {F_MEMORY, F_NTSTORE},
    ROW(P_F0) = {[3] = F_LDDQU},
    ROW(P_38_2A) = {[1] = F_NTLOAD},
    ROW(P_38_F0) = {F_MOVBE_G, F_MOVBE_G, F_NONE, F_MODRM}, /* CRC32 */
    ROW(P_38_F1) = {F_MOVBE_E, F_MOVBE_E, F_NONE, F_MODRM},
};

/* ---- the maps ---- */

/* The eight opcodes of ADD to CMP. */
#define ALU(first)                                                        \
    [first] = F_ALU_EB_GB, F_ALU_EV_GV, F_ALU_GB_EB, F_ALU_GV_EV, F_PLAIN_1, F_PLAIN_Z

const uint8_t opcode_map_1[256] = {
    ALU(0x00), F_PLAIN_NOT_64, F_PLAIN_NOT_64,
    ALU(0x08), F_PLAIN_NOT_64, CELL_ESCAPE,
    ALU(0x10), F_PLAIN_NOT_64, F_PLAIN_NOT_64,
    ALU(0x18), F_PLAIN_NOT_64, F_PLAIN_NOT_64,
    ALU(0x20), CELL_SEGMENT + INSN_ES, F_PLAIN_NOT_64,
    ALU(0x28), CELL_SEGMENT + INSN_CS, F_PLAIN_NOT_64,
    ALU(0x30), CELL_SEGMENT + INSN_SS, F_PLAIN_NOT_64,
    ALU(0x38), CELL_SEGMENT + INSN_DS, F_PLAIN_NOT_64,
    [0x40 ... 0x4f] = CELL_REX,
    [0x50 ... 0x5f] = F_PLAIN,
    [0x60] = F_PLAIN_NOT_64, F_PLAIN_NOT_64, F_POINTER, F_MOVSXD,
    CELL_SEGMENT + INSN_FS, CELL_SEGMENT + INSN_GS, CELL_OPERAND, CELL_ADDRESS,
    [0x68] = F_PLAIN_Z, F_MODRM_Z, F_PLAIN_1, F_MODRM_1, F_PLAIN, F_PLAIN, F_PLAIN, F_PLAIN,
    [0x70 ... 0x7f] = F_PLAIN_1,
    [0x80] = F_ALU_EB_I, F_ALU_EV_I, F_ALU_EB_I_NOT_64, F_ALU_EV_I1,
    F_TEST_EB_GB, F_TEST_EV_GV, F_XCHG_EB, F_XCHG_EV,
    [0x88] = F_MOV_EB_GB, F_MOV_EV_GV, F_MOV_GB_EB, F_MOV_GV_EV, F_MODRM, F_MEMORY, F_MODRM, G_8F,
    [0x90 ... 0x99] = F_PLAIN,
    [0x9a] = F_FAR_NOT_64,
    [0x9b ... 0x9f] = F_PLAIN,
    [0xa0] = F_MOV_AL_O, F_MOV_AX_O, F_MOV_O_AL, F_MOV_O_AX, F_MOVS_B, F_MOVS_V, F_CMPS_B, F_CMPS_V,
    [0xa8] = F_PLAIN_1, F_PLAIN_Z, F_STOS_B, F_STOS_V, F_LODS_B, F_LODS_V, F_SCAS_B, F_SCAS_V,
    [0xb0 ... 0xb7] = F_PLAIN_1,
    [0xb8 ... 0xbf] = F_PLAIN_V,
    [0xc0] = F_MODRM_1, F_MODRM_1, F_PLAIN_2, F_PLAIN, CELL_VEX, CELL_VEX, G_C6, G_C7,
    [0xc8] = F_PLAIN_3, F_PLAIN, F_PLAIN_2, F_PLAIN, F_PLAIN, F_PLAIN_1, F_PLAIN_NOT_64, F_PLAIN,
    [0xd0 ... 0xd3] = F_MODRM,
    [0xd4] = F_PLAIN_1_NOT_64, F_PLAIN_1_NOT_64, F_PLAIN_NOT_64, F_PLAIN,
    [0xd8 ... 0xdf] = F_MODRM,
    [0xe0 ... 0xe7] = F_PLAIN_1,
    [0xe8] = F_PLAIN_Z, F_PLAIN_Z, F_FAR_NOT_64, F_PLAIN_1,
    [0xec ... 0xef] = F_PLAIN,
    [0xf0] = CELL_LOCK, F_PLAIN, CELL_REPNE, CELL_REP, F_PLAIN, F_PLAIN, G_F6, G_F7,
    [0xf8 ... 0xfd] = F_PLAIN,
    [0xfe] = G_FE, G_FF,
};

const uint8_t opcode_map_0f[256] = {
    [0x00] = F_MODRM, F_MODRM, F_MODRM, F_MODRM, F_NONE, F_PLAIN, F_PLAIN, F_PLAIN,
    [0x08] = F_PLAIN, F_PLAIN, [0x0d] = F_MODRM,
    [0x10] = P_10, P_11, P_12, P_13, F_SSE_PD, F_SSE_PD, P_16, P_17,
    [0x18 ... 0x1f] = F_MODRM,
    [0x20 ... 0x23] = F_CONTROL,
    [0x28] = P_28, P_29, F_SSE_CVT, P_2B, F_SSE_CVT, F_SSE_CVT, F_SSE_PD, F_SSE_PD,
    [0x30 ... 0x35] = F_PLAIN,
    [0x37] = F_PLAIN,
    [0x38] = CELL_ESCAPE, [0x3a] = CELL_ESCAPE,
    [0x40 ... 0x4f] = F_MODRM,
    [0x50] = F_SSE_MASK, F_SSE_ALL, F_SSE_SS, F_SSE_SS, F_SSE_PD, F_SSE_PD, F_SSE_PD, F_SSE_PD,
    [0x58] = F_SSE_ALL, F_SSE_ALL, F_SSE_ALL, F_SSE_DQ, F_SSE_ALL, F_SSE_ALL, F_SSE_ALL, F_SSE_ALL,
    [0x60 ... 0x6b] = F_MMX,
    [0x6c] = F_ONLY_66, F_ONLY_66, P_6E, P_6F,
    [0x70] = F_SHUFFLE_1, F_MMX_REG_1, F_MMX_REG_1, F_MMX_REG_1, F_MMX, F_MMX, F_MMX, F_PLAIN_NP_V,
    [0x78] = F_NP, F_NP, [0x7c] = F_SSE_HADD, F_SSE_HADD, P_7E, P_7F,
    [0x80 ... 0x8f] = F_PLAIN_Z,
    [0x90 ... 0x9f] = F_MODRM,
    [0xa0] = F_PLAIN, F_PLAIN, F_PLAIN, F_BT_EV_GV, F_MODRM_1, F_MODRM,
    [0xa8] = F_PLAIN, F_PLAIN, F_PLAIN, F_BT_EV_GV, F_MODRM_1, F_MODRM, F_AE, F_MODRM,
    [0xb0] = F_CMPXCHG_EB, F_CMPXCHG_EV, F_MEMORY, F_BT_EV_GV, F_MEMORY, F_MEMORY, F_MOVZX_B, F_MOVZX_W,
    [0xb8] = F_ONLY_F3, F_NONE, G_BA, F_BT_EV_GV, F_MODRM, F_MODRM, F_MOVSX_B, F_MOVSX_W,
    [0xc0] = F_XADD_EB, F_XADD_EV, F_SSE_ALL_1, P_C3, F_MMX_1, F_MMX_REG_1, F_SSE_PD_1, G_9,
    [0xc8 ... 0xcf] = F_PLAIN,
    [0xd0] = F_SSE_HADD, F_MMX, F_MMX, F_MMX, F_MMX, F_MMX, P_D6, F_MMX_REG,
    [0xd8 ... 0xe5] = F_MMX,
    [0xe6] = F_SSE_CVTDQ, P_E7,
    [0xe8 ... 0xef] = F_MMX,
    [0xf0] = P_F0, F_MMX, F_MMX, F_MMX, F_MMX, F_MMX, F_MMX, F_MMX_REG,
    [0xf8 ... 0xfe] = F_MMX,
};

const struct opcode_range opcode_map_38[] = {
    {0x00, 0x0b, F_MMX},      {0x0c, 0x0f, F_AVX},      {0x10, 0x10, F_SSE41},
    {0x13, 0x13, F_AVX},      {0x14, 0x15, F_SSE41},    {0x16, 0x16, F_AVX},
    {0x17, 0x17, F_ONLY_66},  {0x18, 0x1a, F_AVX},      {0x1c, 0x1e, F_MMX},
    {0x20, 0x25, F_ONLY_66},  {0x28, 0x29, F_ONLY_66},  {0x2a, 0x2a, P_38_2A},
    {0x2b, 0x2b, F_ONLY_66},  {0x2c, 0x2f, F_AVX},      {0x30, 0x35, F_ONLY_66},
    {0x36, 0x36, F_AVX},      {0x37, 0x41, F_ONLY_66},  {0x45, 0x47, F_AVX},
    {0x58, 0x5a, F_AVX},      {0x78, 0x79, F_AVX},      {0x8c, 0x8c, F_AVX},
    {0x8e, 0x8e, F_AVX},      {0x90, 0x93, F_GATHER},   {0x96, 0x9f, F_AVX},
    {0xa6, 0xaf, F_AVX},      {0xb6, 0xbf, F_AVX},      {0xc8, 0xcd, F_NP},
    {0xdb, 0xdf, F_ONLY_66},  {0xf0, 0xf0, P_38_F0},    {0xf1, 0xf1, P_38_F1},
    {0xf2, 0xf3, F_BMI},      {0xf5, 0xf5, F_BMI_PDEP}, {0xf6, 0xf6, F_ADX},
    {0xf7, 0xf7, F_BMI_ALL},  {0xff, 0xff, F_NONE},
};

const struct opcode_range opcode_map_3a[] = {
    {0x00, 0x02, F_AVX_1},     {0x04, 0x06, F_AVX_1},     {0x08, 0x0e, F_ONLY_66_1},
    {0x0f, 0x0f, F_MMX_1},     {0x14, 0x17, F_ONLY_66_1}, {0x18, 0x19, F_AVX_1},
    {0x1d, 0x1d, F_AVX_1},     {0x20, 0x22, F_ONLY_66_1}, {0x38, 0x39, F_AVX_1},
    {0x40, 0x42, F_ONLY_66_1}, {0x44, 0x44, F_ONLY_66_1}, {0x46, 0x46, F_AVX_1},
    {0x4a, 0x4c, F_AVX_1},     {0x60, 0x63, F_ONLY_66_1}, {0xcc, 0xcc, F_NP_1},
    {0xdf, 0xdf, F_ONLY_66_1}, {0xf0, 0xf0, F_RORX},      {0xff, 0xff, F_NONE},
};
/* clang-format on */
