/*
 * libFuzzer on the instruction decoder, with Zydis as the oracle.
 *
 *   input    byte 0: the mode; then at most 15 bytes of code
 *   failure  any difference but those of is_foreign() and accept(); the bytes, both readings and the member go to stderr
 */
#include <Zydis/Zydis.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hv/base/bits.h"
#include "hv/mmio/insn.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t most, unsigned seed);

static ZydisDecoder decoders[3];

/* What Zydis made of the bytes. */
struct reading {
    enum insn_result result;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    const ZydisDecodedOperand *memory; /* one that ModRM or moffs encodes */
    const ZydisDecodedOperand *reg, *imm;
    enum insn_op op;
};

struct question {
    const uint8_t *code;
    unsigned have;
    enum insn_mode mode;
    enum insn_result result; /* of the decoder under test */
    struct insn insn;
    struct reading want;
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const ZydisMachineMode modes[] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_16,
                                             ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
                                             ZYDIS_MACHINE_MODE_LONG_64};

    (void)argc;
    (void)argv;
    for (unsigned m = 0; m < 3; m++) {
        ZydisDecoderInit(&decoders[m], modes[m], (ZydisStackWidth)m); /* 16, 32, 64 bits */
        /* 66 before a near branch in 64-bit mode: the vendors differ, and no operand is in memory. */
        ZydisDecoderEnableMode(&decoders[m], ZYDIS_DECODER_MODE_AMD_BRANCHES, ZYAN_TRUE);
        /* A guest has neither, so these are no-operations and 3E is a segment. */
        ZydisDecoderEnableMode(&decoders[m], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoders[m], ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
    }
    return 0;
}

/* ---- complaints ---- */

static void print_reading(const struct question *q)
{
    static const char *const results[] = {"ok", "short", "too long", "undefined"};
    const struct reading *want = &q->want;
    const struct insn *insn = &q->insn;
    ZydisFormatter formatter;
    char text[128] = "";

    fprintf(stderr, "mode %u:", 16u << q->mode);
    for (unsigned i = 0; i < q->have; i++)
        fprintf(stderr, " %02x", q->code[i]);
    if (want->result == INSN_OK) {
        ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
        ZydisFormatterFormatInstruction(&formatter, &want->z, want->operands,
                                        want->z.operand_count_visible, text, sizeof(text), 0, NULL);
    }
    fprintf(stderr, "\n  zydis: %s, length %u: %s [%s]\n", results[want->result],
            want->result == INSN_OK ? want->z.length : 0, text,
            want->result == INSN_OK ? ZydisISAExtGetString(want->z.meta.isa_ext) : "");
    fprintf(stderr, "  insn:  %s", results[q->result]);
    if (q->result == INSN_OK)
        fprintf(stderr,
                ", length %u: %s of %u bytes, register %u of %u, base %u, index %u << %u, segment "
                "%u, disp %#llx, imm %#llx",
                insn->length, insn_name(insn), insn->bytes, insn->reg, insn->reg_bytes, insn->base,
                insn->index, insn->scale, insn->segment, (unsigned long long)insn->disp,
                (unsigned long long)insn->imm);
    fprintf(stderr, "\n");
}

static void check(const struct question *q, bool agrees, const char *what)
{
    if (agrees)
        return;
    print_reading(q);
    fprintf(stderr, "DISAGREEMENT: %s\n", what);
    abort();
}

/* ---- what Zydis' mnemonics are here ---- */

/* clang-format off */
#define M(mnemonic, op) case ZYDIS_MNEMONIC_##mnemonic: return INSN_##op;
#define SAME(name)      M(name, name)
#define STRINGS(name)   M(name##B, name) M(name##W, name) M(name##Q, name)
#define VECTORS(name)   M(name, VECTOR) M(V##name, VECTOR)
#define MNEMONICS                                                                                  \
    SAME(MOV) M(MOVZX, MOV) M(MOVSX, MOV) M(MOVSXD, MOV) M(MOVNTI, MOV) SAME(MOVBE)                \
    SAME(ADD) SAME(OR) SAME(ADC) SAME(SBB) SAME(AND) SAME(SUB) SAME(XOR) SAME(CMP) SAME(TEST)      \
    SAME(NOT) SAME(NEG) SAME(INC) SAME(DEC) SAME(BT) SAME(BTS) SAME(BTR) SAME(BTC)                 \
    SAME(XCHG) SAME(XADD) SAME(CMPXCHG) M(CMPXCHG8B, CMPXCHG_PAIR) M(CMPXCHG16B, CMPXCHG_PAIR)     \
    SAME(PUSH) SAME(POP)                                                                           \
    STRINGS(MOVS) STRINGS(CMPS) STRINGS(STOS) STRINGS(LODS) STRINGS(SCAS)                          \
    M(STOSD, STOS) M(LODSD, LODS) M(SCASD, SCAS)                                                   \
    VECTORS(MOVUPS) VECTORS(MOVUPD) VECTORS(MOVAPS) VECTORS(MOVAPD) VECTORS(MOVDQA) VECTORS(LDDQU) \
    VECTORS(MOVDQU) VECTORS(MOVNTPS) VECTORS(MOVNTPD) VECTORS(MOVNTDQ) VECTORS(MOVNTDQA)           \
    VECTORS(MOVD) VECTORS(MOVQ) VECTORS(MOVSS) VECTORS(MOVLPS) VECTORS(MOVLPD) VECTORS(MOVHPS)     \
    VECTORS(MOVHPD) M(VMOVSD, VECTOR)
/* clang-format on */

static enum insn_op op_of(const ZydisDecodedInstruction *z)
{
    switch ((int)z->mnemonic) {
        MNEMONICS
    case ZYDIS_MNEMONIC_MOVSD: /* two of that name */
        return z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT ? INSN_MOVS : INSN_VECTOR;
    case ZYDIS_MNEMONIC_CMPSD:
        return z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT ? INSN_CMPS : INSN_OTHER;
    default:
        return INSN_OTHER;
    }
}

static bool is_string(enum insn_op op)
{
    return op >= INSN_MOVS && op <= INSN_SCAS;
}

static bool is_register_of(const ZydisDecodedOperand *operand, ZydisRegisterClass class)
{
    return operand && ZydisRegisterGetClass(operand->reg.value) == class;
}

/* Which operation insn.h promises for the instruction. */
static enum insn_op wanted_op(const struct reading *want)
{
    enum insn_op op = op_of(&want->z);
    const ZydisDecodedOperand *reg = want->reg;

    if (is_string(op))
        return op;
    if (!want->memory)
        return INSN_OTHER;
    if (is_register_of(reg, ZYDIS_REGCLASS_MMX) || is_register_of(reg, ZYDIS_REGCLASS_SEGMENT))
        return INSN_OTHER;
    if (op == INSN_VECTOR && want->z.operand_count_visible == 3) /* VMOVLPS xmm, xmm, m64 */
        return INSN_OTHER;
    return op;
}

static void read_operands(struct reading *want)
{
    for (unsigned i = 0; i < want->z.operand_count; i++) {
        const ZydisDecodedOperand *operand = &want->operands[i];

        if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY &&
            (operand->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
             operand->encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64))
            want->memory = operand;
        if (operand->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
            continue;
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER && !want->reg)
            want->reg = operand;
        if (operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && !want->imm)
            want->imm = operand;
    }
    want->op = wanted_op(want);
}

static void read_with_zydis(const struct question *q, struct reading *want)
{
    ZyanStatus status;

    memset(want, 0, sizeof(*want));
    status = ZydisDecoderDecodeFull(&decoders[q->mode], q->code, q->have, &want->z, want->operands);
    if (status == ZYDIS_STATUS_NO_MORE_DATA)
        want->result = INSN_SHORT;
    else if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
        want->result = INSN_TOO_LONG;
    else if (ZYAN_SUCCESS(status))
        read_operands(want);
    else
        want->result = INSN_UNDEFINED;
}

/* ---- which differences are allowed ---- */

/* Instructions that a guest is not offered (hv/vm/cpuid.c) and that insn.h leaves out: may be INSN_UNDEFINED. */
static bool is_foreign(const ZydisDecodedInstruction *z)
{
    if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
        z->encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX ||
        z->encoding == ZYDIS_INSTRUCTION_ENCODING_XOP ||
        z->encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW)
        return true;
    switch ((int)z->meta.isa_ext) {
    case ZYDIS_ISA_EXT_AMD3DNOW: /* FEMMS */
    case ZYDIS_ISA_EXT_AMX_BF16:
    case ZYDIS_ISA_EXT_AMX_INT8:
    case ZYDIS_ISA_EXT_AMX_TILE:
    case ZYDIS_ISA_EXT_AVX512VEX: /* operations on mask registers */
    case ZYDIS_ISA_EXT_AVX_VNNI:
    case ZYDIS_ISA_EXT_CET:
    case ZYDIS_ISA_EXT_ENQCMD:
    case ZYDIS_ISA_EXT_FMA4:
    case ZYDIS_ISA_EXT_GFNI:
    case ZYDIS_ISA_EXT_HRESET:
    case ZYDIS_ISA_EXT_INVPCID:
    case ZYDIS_ISA_EXT_KEYLOCKER:
    case ZYDIS_ISA_EXT_KEYLOCKER_WIDE:
    case ZYDIS_ISA_EXT_KNC:
    case ZYDIS_ISA_EXT_KNCV:
    case ZYDIS_ISA_EXT_MOVDIR:
    case ZYDIS_ISA_EXT_PADLOCK:
    case ZYDIS_ISA_EXT_RTM:
    case ZYDIS_ISA_EXT_SSE4A:
    case ZYDIS_ISA_EXT_VTX:
    case ZYDIS_ISA_EXT_XOP: /* with VEX: VPERMIL2PS */
        return true;
    default:
        break;
    }
    /* Defined to have no meaning. */
    return z->mnemonic == ZYDIS_MNEMONIC_UD0 || z->mnemonic == ZYDIS_MNEMONIC_UD1 ||
           z->mnemonic == ZYDIS_MNEMONIC_UD2;
}

/* Whether the two results may stand side by side. Both INSN_OK: the rest is to be compared. */
static bool accept(const struct question *q)
{
    enum insn_result want = q->want.result;

    if (q->result == want)
        return true;
    /* INSN_OTHER is for #UD as INSN_UNDEFINED is, so it may stand for what does not exist. */
    if (q->result == INSN_OK && want == INSN_UNDEFINED)
        return q->insn.op == INSN_OTHER;
    if (q->result == INSN_UNDEFINED && want == INSN_OK)
        return is_foreign(&q->want.z);
    /* Two reasons for a fault at once. */
    return (q->result == INSN_UNDEFINED && want == INSN_TOO_LONG) ||
           (q->result == INSN_TOO_LONG && want == INSN_UNDEFINED);
}

/* ---- comparison ---- */

static unsigned number_or_none(ZydisRegister reg)
{
    return reg == ZYDIS_REGISTER_NONE ? INSN_NO_REG : (unsigned)ZydisRegisterGetId(reg);
}

static void compare_address(const struct question *q)
{
    const struct insn *insn = &q->insn;
    const ZydisDecodedOperandMem *mem = &q->want.memory->mem;
    bool rip = mem->base == ZYDIS_REGISTER_RIP || mem->base == ZYDIS_REGISTER_EIP;
    bool gather = mem->type == ZYDIS_MEMOP_TYPE_VSIB;
    unsigned index = gather ? INSN_NO_REG : number_or_none(mem->index);
    uint64_t disp = mem->disp.has_displacement ? (uint64_t)mem->disp.value : 0;
    unsigned base = rip ? INSN_NO_REG : number_or_none(mem->base);
    uint64_t mask = q->want.memory->encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64
                        ? ones_of(insn->addr_bytes)
                        : ~0ull;

    /* In SIB with mod = 0 a base of 5 is none, and disp32, whatever REX.B; with 67 Zydis takes it for R13D. */
    if (mem->base == ZYDIS_REGISTER_R13D && q->want.z.raw.modrm.mod == 0) {
        base = INSN_NO_REG;
        disp = (uint64_t)q->want.z.raw.disp.value;
    }
    check(q, insn->addr_bytes == q->want.z.address_width / 8, "address width");
    check(q, insn->rip_relative == rip, "relative to RIP");
    check(q, insn->base == base, "base");
    check(q, insn->index == index, "index");
    if (index != INSN_NO_REG)
        check(q, 1u << insn->scale == mem->scale, "scale");
    /* LEA and the bound instructions only compute an address, without a segment. */
    if (mem->type != ZYDIS_MEMOP_TYPE_AGEN && mem->type != ZYDIS_MEMOP_TYPE_MIB)
        check(q, insn->segment == (unsigned)ZydisRegisterGetId(mem->segment), "segment");
    check(q, (uint64_t)insn->disp == (disp & mask), "displacement");
}

static void compare_register(const struct question *q)
{
    const struct insn *insn = &q->insn;
    const ZydisDecodedOperand *reg = q->want.reg;
    unsigned number = number_or_none(reg->reg.value), bytes = reg->size / 8u;
    bool high = false;

    if (is_register_of(reg, ZYDIS_REGCLASS_GPR8) && number >= 4) {
        /* AL CL DL BL AH CH DH BH SPL .. */
        high = number < 8;
        number -= 4;
    }
    if (insn->op == INSN_VECTOR)
        bytes = is_register_of(reg, ZYDIS_REGCLASS_YMM) ? 32 : 16;
    check(q, insn->reg == number, "register");
    check(q, insn->high_byte == high, "high byte register");
    check(q, insn->reg_bytes == bytes, "register width");
    if (insn->op != INSN_XCHG && insn->op != INSN_XADD && insn->op != INSN_TEST)
        check(q, insn->to_reg == (reg == &q->want.operands[0]), "direction");
}

static void compare_vector(const struct question *q)
{
    const struct insn *insn = &q->insn;
    bool vex = q->want.z.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    enum insn_vector kind = INSN_XMM;
    bool half = false, high = false, aligned = false;

    if (vex)
        kind = is_register_of(q->want.reg, ZYDIS_REGCLASS_YMM) ? INSN_VEX_256 : INSN_VEX_128;
    switch ((int)q->want.z.mnemonic) {
    case ZYDIS_MNEMONIC_MOVHPS:
    case ZYDIS_MNEMONIC_MOVHPD:
    case ZYDIS_MNEMONIC_VMOVHPS:
    case ZYDIS_MNEMONIC_VMOVHPD:
        high = true;
        half = true;
        break;
    case ZYDIS_MNEMONIC_MOVLPS:
    case ZYDIS_MNEMONIC_MOVLPD:
        half = true;
        break;
    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVAPD:
    case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVNTPS:
    case ZYDIS_MNEMONIC_MOVNTPD:
    case ZYDIS_MNEMONIC_MOVNTDQ:
    case ZYDIS_MNEMONIC_MOVNTDQA:
    case ZYDIS_MNEMONIC_VMOVAPS:
    case ZYDIS_MNEMONIC_VMOVAPD:
    case ZYDIS_MNEMONIC_VMOVDQA:
    case ZYDIS_MNEMONIC_VMOVNTPS:
    case ZYDIS_MNEMONIC_VMOVNTPD:
    case ZYDIS_MNEMONIC_VMOVNTDQ:
    case ZYDIS_MNEMONIC_VMOVNTDQA:
        aligned = true;
        break;
    default:
        break;
    }
    check(q, insn->vector == kind, "kind of vector register");
    check(q, insn->lane == (high ? 8 : 0), "lane");
    if (insn->to_reg)
        check(q, insn->merge == half, "merging");
    check(q, insn->aligned == aligned, "alignment");
}

static unsigned access_of(const ZydisDecodedOperand *operand)
{
    return (operand->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? INSN_READS : 0) |
           (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? INSN_WRITES : 0);
}

static void compare_string(const struct question *q)
{
    const struct insn *insn = &q->insn;
    enum insn_repeat repeat = INSN_ONCE;
    const ZydisDecodedOperand *source = NULL, *any = NULL;
    unsigned access = 0;

    for (unsigned i = 0; i < q->want.z.raw.prefix_count; i++) {
        if (q->want.z.raw.prefixes[i].value == 0xf3)
            repeat = INSN_REPE;
        if (q->want.z.raw.prefixes[i].value == 0xf2)
            repeat = INSN_REPNE;
    }
    for (unsigned i = 0; i < q->want.z.operand_count; i++) {
        const ZydisDecodedOperand *operand = &q->want.operands[i];

        if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        any = operand;
        access |= access_of(operand);
        if (ZydisRegisterGetId(operand->mem.base) == 6) /* rSI */
            source = operand;
    }
    check(q, insn->memory && any, "string without memory operand");
    check(q, insn->bytes == any->size / 8u, "string element width");
    check(q, insn->access == access, "access");
    check(q, insn->addr_bytes == q->want.z.address_width / 8, "address width");
    check(q, insn->repeat == repeat, "repeat prefix");
    check(q, insn->reg == INSN_NO_REG && insn->base == INSN_NO_REG && insn->index == INSN_NO_REG,
          "string with registers");
    if (source)
        check(q, insn->segment == (unsigned)ZydisRegisterGetId(source->mem.segment), "segment");
}

/* Outside the address, and outside strings. */
static void compare_meaning(const struct question *q)
{
    const struct insn *insn = &q->insn;
    const struct reading *want = &q->want;
    bool has_imm = want->imm != NULL, is_bit = insn->op >= INSN_BT && insn->op <= INSN_BTC;
    unsigned bytes = want->memory->size / 8u;

    /* SDM 2 "MOVSXD" has 66 read two bytes, Zydis four; none but these two go to the register. */
    if (want->z.mnemonic == ZYDIS_MNEMONIC_MOVSXD && want->reg->size == 16)
        bytes = 2;
    check(q, insn->bytes == bytes, "width of the memory operand");
    check(q, insn->access == access_of(want->memory), "access");
    check(q, insn->repeat == INSN_ONCE, "repeat prefix");
    check(q, insn->has_imm == has_imm, "presence of an immediate");
    if (has_imm)
        check(q, ((insn->imm ^ want->imm->imm.value.u) & ones_of(is_bit ? 1 : insn->bytes)) == 0,
              "immediate");
    if (want->reg)
        compare_register(q);
    else
        check(q, insn->reg == INSN_NO_REG && !insn->to_reg, "presence of a register");
    if (insn->op == INSN_VECTOR)
        compare_vector(q);
    else
        check(q, insn->aligned == (want->z.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B), "alignment");
    check(q,
          insn->sign_extend == (want->z.mnemonic == ZYDIS_MNEMONIC_MOVSX ||
                                want->z.mnemonic == ZYDIS_MNEMONIC_MOVSXD),
          "sign extension");
}

static void compare(const struct question *q)
{
    const struct insn *insn = &q->insn;
    const struct reading *want = &q->want;
    const ZydisAccessedFlags *flags = want->z.cpu_flags;
    bool lock = want->z.attributes & ZYDIS_ATTRIB_HAS_LOCK;

    check(q, insn->length == want->z.length, "length");
    check(q, insn->op == want->op, "operation");
    if (is_string(want->op)) {
        compare_string(q);
    } else {
        check(q, insn->memory == (want->memory != NULL), "presence of a memory operand");
        if (insn->memory)
            compare_address(q);
        if (insn->op != INSN_OTHER)
            compare_meaning(q);
    }
    check(q, insn->locked == (lock || insn->op == INSN_XCHG), "LOCK");
    if (insn->op != INSN_OTHER)
        check(q,
              insn->flags ==
                  (flags ? flags->modified | flags->set_0 | flags->set_1 | flags->undefined : 0),
              "flags");
}

/*
 * One of the two asked for more bytes. The other may know already that no instruction begins so, or that it would be
 * too long; then no next byte makes it one.
 */
static void check_early(const struct question *asked)
{
    uint8_t padded[INSN_MAX_BYTES] = {0};
    struct question q = *asked;

    check(&q, q.have < INSN_MAX_BYTES, "too few bytes");
    memcpy(padded, q.code, q.have);
    q.code = padded;
    for (unsigned next = 0; next < 256; next++) {
        padded[asked->have] = (uint8_t)next;
        q.have = INSN_MAX_BYTES;
        q.result = insn_decode(q.code, q.have, q.mode, &q.insn);
        read_with_zydis(&q, &q.want);
        check(&q, q.result != INSN_OK || q.want.result != INSN_OK, "too few bytes");
        check(&q, accept(&q), "result");
    }
}

/* The maps are data, which coverage does not see: what was decoded counts as a branch too. */
static void count(const struct question *q)
{
    static uint8_t seen[3][INSN_VECTOR + 1][2][2]
        __attribute__((section("__libfuzzer_extra_counters")));

    seen[q->mode][q->insn.op][q->insn.to_reg][q->insn.has_imm || q->insn.vector] = 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct question q;

    if (bytes < 1 || bytes > 1 + INSN_MAX_BYTES)
        return -1;
    q.code = data + 1;
    q.have = (unsigned)bytes - 1;
    q.mode = data[0] % 3;
    q.result = insn_decode(q.code, q.have, q.mode, &q.insn);
    read_with_zydis(&q, &q.want);
    if ((q.result == INSN_SHORT) != (q.want.result == INSN_SHORT)) {
        check_early(&q);
        return 0;
    }
    check(&q, accept(&q), "result");
    if (q.result == INSN_OK && q.want.result == INSN_OK) {
        compare(&q);
        count(&q);
    }
    return 0;
}

/* ---- inputs ---- */

static uint64_t next_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15;
    uint64_t z = *state;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* Bytes in the order of an instruction, so that every opcode of every map comes up often. */
static size_t make_input(uint8_t data[1 + INSN_MAX_BYTES], uint64_t random)
{
    static const uint8_t prefixes[] = {0x66, 0x66, 0xf2, 0xf3, 0x67, 0xf0,
                                       0x64, 0x65, 0x26, 0x2e, 0x36, 0x3e};
    uint64_t r = next_random(&random);
    unsigned kind, at = 0, count = r & 3 ? (unsigned)(r >> 2) % 4 : 0;

    data[at++] = (uint8_t)((r >> 8) % 3);
    for (unsigned i = 0; i < count; i++)
        data[at++] = prefixes[next_random(&random) % ARRAY_COUNT(prefixes)];
    r = next_random(&random);
    if (r & 1)
        data[at++] = (uint8_t)(0x40 | (r >> 8 & 15));
    kind = r >> 16 & 7;
    if (kind >= 6 && r >> 56 & 7) /* most prefixes rule VEX out */
        at = 1;
    switch (kind) {
    case 0:
    case 1:
        break;
    case 2:
    case 3:
        data[at++] = 0x0f;
        break;
    case 4:
    case 5:
        data[at++] = 0x0f;
        data[at++] = r >> 24 & 1 ? 0x38 : 0x3a;
        break;
    case 6:
        data[at++] = 0xc5;
        data[at++] = (uint8_t)(r >> 24) | (r >> 32 & 1 ? 0x78 : 0);
        break;
    default:
        data[at++] = 0xc4;
        data[at++] = (uint8_t)((r >> 24 & 0xe0) | (r >> 32) % 4);
        data[at++] = (uint8_t)(r >> 40) | (r >> 48 & 1 ? 0x78 : 0);
    }
    while (at < 1 + INSN_MAX_BYTES)
        data[at++] = (uint8_t)next_random(&random);
    r = next_random(&random);
    return r & 15 ? at : 1 + r / 16 % INSN_MAX_BYTES;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t most, unsigned seed)
{
    if (most >= 1 + INSN_MAX_BYTES && seed & 7)
        return make_input(data, seed);
    return LLVMFuzzerMutate(data, bytes, MIN(most, 1 + INSN_MAX_BYTES));
}
