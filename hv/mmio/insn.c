/*
 * An instruction, as SDM 2 "Instruction Format" has it:
 *
 *     legacy prefixes, REX | opcode | ModRM | SIB | displacement | immediate
 *          0..14           |  1, 2  | 0, 1  | 0,1 |  0, 1, 4, 8  |  0, 1, 2, 4
 *                          |<-------------- the tail, at most 12 ------------->|
 *
 * One walk from left to right. What an opcode is, is data: two tables of 256 `struct form`.
 *
 * This runs once per trapped access, so the usual instruction (no prefix, an opcode, ModRM and a
 * displacement, with bytes to spare behind it) takes a straight line, and one with a REX another. Two things
 * keep them straight. The tail is read without a check at each step: one that could reach past the given bytes
 * is decoded from a copy padded with zeros, and its length then tells whether it was all there. And what
 * prefixes change is patched into the result afterwards.
 */
#include "hv/mmio/insn.h"

#include "hv/base/bits.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define NOINLINE      __attribute__((noinline))

/* ---- opcodes ---- */

enum form_flags {
    FORM_PREFIX = 1 << 0, /* not an opcode yet */
    FORM_ESCAPE = 1 << 1, /* the opcode is the next byte, in the other table */
    FORM_MOFFS = 1 << 2, /* a plain address follows, the register is rAX; all others have a ModRM */
    FORM_IMM = 1 << 3,   /* an immediate as wide as the access, at most 4 bytes */
    FORM_OPERAND_MEM = 1 << 4, /* the access has the operand size: 4, or what 66h and REX.W say */
    FORM_OPERAND_REG = 1 << 5, /* likewise the register */
    FORM_REG_8 = 1 << 6,       /* the register is one of 8 bits, perhaps a high one */
};

/* The first four members lie as in struct insn, so that they are copied as one word. */
struct form {
    uint8_t op;
    uint8_t bytes; /* with an operand size of 4. 0: an opcode that this version does not emulate */
    uint8_t reg_bytes;
    bool sign_extend;
    uint8_t flags;
} ALIGNED(8); /* so that an index is a shift */

#define PREFIX               \
    {                        \
        .flags = FORM_PREFIX \
    }
#define PREFIX_4(first) \
    [first] = PREFIX, [(first) + 1] = PREFIX, [(first) + 2] = PREFIX, [(first) + 3] = PREFIX
#define OPERAND (FORM_OPERAND_MEM | FORM_OPERAND_REG)

static const struct form one_byte[256] = {
    [0x0f] = {.flags = FORM_ESCAPE},
    [0x26] = PREFIX, /* ES */
    [0x2e] = PREFIX, /* CS */
    [0x36] = PREFIX, /* SS */
    [0x3e] = PREFIX, /* DS */
    PREFIX_4(0x40),  /* REX */
    PREFIX_4(0x44),
    PREFIX_4(0x48),
    PREFIX_4(0x4c),
    [0x63] = {INSN_LOAD, 4, 4, true, FORM_OPERAND_REG}, /* MOVSXD r, m32 */
    PREFIX_4(0x64),                                     /* FS, GS, operand size, address size */
    [0x88] = {INSN_STORE, 1, 1, false, FORM_REG_8},     /* MOV m8, r8 */
    [0x89] = {INSN_STORE, 4, 4, false, OPERAND},        /* MOV m, r */
    [0x8a] = {INSN_LOAD, 1, 1, false, FORM_REG_8},      /* MOV r8, m8 */
    [0x8b] = {INSN_LOAD, 4, 4, false, OPERAND},         /* MOV r, m */
    [0xa0] = {INSN_LOAD, 1, 1, false, FORM_MOFFS},
    [0xa1] = {INSN_LOAD, 4, 4, false, FORM_MOFFS | OPERAND},
    [0xa2] = {INSN_STORE, 1, 1, false, FORM_MOFFS},
    [0xa3] = {INSN_STORE, 4, 4, false, FORM_MOFFS | OPERAND},
    [0xc6] = {INSN_STORE_IMM, 1, 1, false, FORM_IMM},           /* MOV m8, imm8 */
    [0xc7] = {INSN_STORE_IMM, 4, 4, false, FORM_IMM | OPERAND}, /* MOV m, imm */
    [0xf0] = PREFIX,                                            /* LOCK */
    [0xf2] = PREFIX,                                            /* REPNE, XACQUIRE */
    [0xf3] = PREFIX,                                            /* REP, XRELEASE */
};

static const struct form two_byte[256] = {
    [0xb6] = {INSN_LOAD, 1, 4, false, FORM_OPERAND_REG}, /* MOVZX r, m8 */
    [0xb7] = {INSN_LOAD, 2, 4, false, FORM_OPERAND_REG}, /* MOVZX r, m16 */
    [0xbe] = {INSN_LOAD, 1, 4, true, FORM_OPERAND_REG},  /* MOVSX r, m8 */
    [0xbf] = {INSN_LOAD, 2, 4, true, FORM_OPERAND_REG},  /* MOVSX r, m16 */
};

/* ---- prefixes ---- */

enum rex_bits {
    REX_B = 1 << 0, /* bit 3 of ModRM.rm or SIB.base */
    REX_X = 1 << 1, /* bit 3 of SIB.index */
    REX_R = 1 << 2, /* bit 3 of ModRM.reg */
    REX_W = 1 << 3, /* 8-byte operand */
    REX_IS = 0x40,  /* bits 7:4 of the prefix itself */
    REX_IS_MASK = 0xf0,
};

#define NO_SEGMENT 0xffu

struct prefixes {
    uint8_t rex; /* the whole byte; 0: none in force */
    uint8_t segment;
    uint8_t operand_bytes; /* without REX.W */
    uint8_t addr_bytes;
    bool lock;
};

#define NO_PREFIXES                                                \
    {                                                              \
        .segment = NO_SEGMENT, .operand_bytes = 4, .addr_bytes = 8 \
    }

static bool is_prefix(uint8_t byte)
{
    return one_byte[byte].flags & FORM_PREFIX;
}

static bool is_rex(uint8_t byte)
{
    return (byte & REX_IS_MASK) == REX_IS;
}

/* In 64-bit mode the other four select nothing, so they do not undo an FS or GS before them. */
static void take_segment(struct prefixes *prefix, enum insn_segment segment)
{
    if (segment >= INSN_FS || (prefix->segment != INSN_FS && prefix->segment != INSN_GS))
        prefix->segment = (uint8_t)segment;
}

static void take_legacy(struct prefixes *prefix, uint8_t byte)
{
    switch (byte) {
    case 0x26:
        take_segment(prefix, INSN_ES);
        break;
    case 0x2e:
        take_segment(prefix, INSN_CS);
        break;
    case 0x36:
        take_segment(prefix, INSN_SS);
        break;
    case 0x3e:
        take_segment(prefix, INSN_DS);
        break;
    case 0x64:
        take_segment(prefix, INSN_FS);
        break;
    case 0x65:
        take_segment(prefix, INSN_GS);
        break;
    case 0x66:
        prefix->operand_bytes = 2;
        break;
    case 0x67:
        prefix->addr_bytes = 4;
        break;
    case 0xf0:
        prefix->lock = true;
        break;
    default: /* F2, F3: no MOV heeds them, and a lock may always be taken in place of eliding it */
        break;
    }
}

/* Returns how many of the bytes are prefixes. */
static unsigned take_prefixes(const uint8_t *bytes, unsigned end, struct prefixes *prefix)
{
    unsigned at;

    for (at = 0; at < end && is_prefix(bytes[at]); at++) {
        /* A REX counts only right before the opcode. */
        prefix->rex = is_rex(bytes[at]) ? bytes[at] : 0;
        if (prefix->rex == 0)
            take_legacy(prefix, bytes[at]);
    }
    return at;
}

/* Patch what prefixes change, but for the bits of REX that extend register numbers. */
static ALWAYS_INLINE void apply_prefixes(const struct prefixes *prefix, const struct form *form,
                                         struct insn *insn)
{
    uint8_t operand_bytes = prefix->rex & REX_W ? 8 : prefix->operand_bytes;

    if (operand_bytes != 4) {
        if (form->flags & FORM_OPERAND_REG)
            insn->reg_bytes = operand_bytes;
        if (form->flags & FORM_OPERAND_MEM)
            insn->bytes = operand_bytes;
        /* MOVSXD r16 reads m16, as SDM 2 has it. */
        insn->bytes = MIN(insn->bytes, insn->reg_bytes);
    }
    if (prefix->segment != NO_SEGMENT)
        insn->segment = prefix->segment;
}

/* ---- the tail ---- */

#define TAIL_MOST 12u /* two opcode bytes, ModRM, SIB, disp32, imm32 */
#define MODRM_MOD BITS(7, 6)
#define MODRM_REG BITS(5, 3)
#define MODRM_RM  BITS(2, 0)
#define SIB_SCALE BITS(7, 6)
#define SIB_INDEX BITS(5, 3)
#define SIB_BASE  BITS(2, 0)
#define BASE_DISP32 \
    5u /* in SIB without a displacement: a disp32 in place of a base, with any REX.B */
#define INDEX_NONE      4u /* REX.X counts: R12 is an index */
#define HIGH_BYTE_FIRST 4u
#define REX_HIGH(bit)   ((bit) ? 8u : 0u)

enum shape_kind { SHAPE_REGISTER, SHAPE_BASE, SHAPE_SIB, SHAPE_RIP };

/* What ModRM.mod and rm say. The first four members lie as in struct insn. */
struct shape {
    uint8_t base;
    uint8_t index;
    uint8_t scale;
    uint8_t segment;
    uint8_t kind;
    uint8_t disp_bytes;
} ALIGNED(8);

#define MEM(base, segment, disp)                        \
    {                                                   \
        base, INSN_NO_REG, 0, segment, SHAPE_BASE, disp \
    }
#define SIB(disp)                                             \
    {                                                         \
        INSN_NO_REG, INSN_NO_REG, 0, INSN_DS, SHAPE_SIB, disp \
    }
#define RIP                                                \
    {                                                      \
        INSN_NO_REG, INSN_NO_REG, 0, INSN_DS, SHAPE_RIP, 4 \
    }

static const struct shape shapes[4][8] = {
    {MEM(0, INSN_DS, 0), MEM(1, INSN_DS, 0), MEM(2, INSN_DS, 0), MEM(3, INSN_DS, 0), /* [r] */
     SIB(0), RIP, MEM(6, INSN_DS, 0), MEM(7, INSN_DS, 0)},
    {MEM(0, INSN_DS, 1), MEM(1, INSN_DS, 1), MEM(2, INSN_DS, 1),
     MEM(3, INSN_DS, 1), /* [r + disp8] */
     SIB(1), MEM(5, INSN_SS, 1), MEM(6, INSN_DS, 1), MEM(7, INSN_DS, 1)},
    {MEM(0, INSN_DS, 4), MEM(1, INSN_DS, 4), MEM(2, INSN_DS, 4),
     MEM(3, INSN_DS, 4), /* [r + disp32] */
     SIB(4), MEM(5, INSN_SS, 4), MEM(6, INSN_DS, 4), MEM(7, INSN_DS, 4)},
    /* mod 3: SHAPE_REGISTER */
};

/* Copy one word of a table into struct insn; the asserts keep the two alike. */
#define COPY_WORD(insn, first, from) __builtin_memcpy(&(insn)->first, (from), 4)
#define SAME_PLACE(type, first, member)                                            \
    _Static_assert(offsetof(struct insn, member) - offsetof(struct insn, first) == \
                       offsetof(struct type, member),                              \
                   "copied as one word")
SAME_PLACE(form, op, op);
SAME_PLACE(form, op, bytes);
SAME_PLACE(form, op, reg_bytes);
SAME_PLACE(form, op, sign_extend);
SAME_PLACE(shape, base, base);
SAME_PLACE(shape, base, index);
SAME_PLACE(shape, base, scale);
SAME_PLACE(shape, base, segment);

static int32_t load_i32(const uint8_t *from)
{
    int32_t value;

    __builtin_memcpy(&value, from, sizeof(value));
    return value;
}

/* A base with REX.B: R12 and R13 do not select the stack segment as RSP and RBP do. */
static void set_base(unsigned low, uint8_t rex, struct insn *insn)
{
    insn->base = (uint8_t)(low | REX_HIGH(rex & REX_B));
    insn->segment = insn->base == 4 || insn->base == 5 ? INSN_SS : INSN_DS;
}

/* Returns the bytes of the displacement, given those that mod asks for. */
static unsigned apply_sib(unsigned sib, unsigned disp_bytes, uint8_t rex, struct insn *insn)
{
    unsigned index = (unsigned)FIELD_GET(SIB_INDEX, sib) | REX_HIGH(rex & REX_X);
    unsigned base = (unsigned)FIELD_GET(SIB_BASE, sib);

    if (index != INDEX_NONE) {
        insn->index = (uint8_t)index;
        insn->scale = (uint8_t)FIELD_GET(SIB_SCALE, sib);
    }
    if (base == BASE_DISP32 && disp_bytes == 0)
        return 4;
    set_base(base, rex, insn);
    return disp_bytes;
}

/* ModRM, SIB and displacement. NULL: a register operand. */
static ALWAYS_INLINE const uint8_t *take_modrm(const uint8_t *at, uint8_t rex, struct insn *insn)
{
    unsigned modrm = *at++;
    const struct shape *shape = &shapes[FIELD_GET(MODRM_MOD, modrm)][FIELD_GET(MODRM_RM, modrm)];
    unsigned disp_bytes = shape->disp_bytes;

    insn->reg = (uint8_t)(FIELD_GET(MODRM_REG, modrm) | REX_HIGH(rex & REX_R));
    COPY_WORD(insn, base, shape);
    if (UNLIKELY(shape->kind != SHAPE_BASE)) {
        if (shape->kind == SHAPE_REGISTER)
            return NULL;
        if (shape->kind == SHAPE_SIB)
            disp_bytes = apply_sib(*at++, disp_bytes, rex, insn);
        else
            insn->rip_relative = true;
    } else if (rex & REX_B) {
        set_base((unsigned)FIELD_GET(MODRM_RM, modrm), rex, insn);
    }
    insn->disp = disp_bytes == 0 ? 0 : disp_bytes == 1 ? (int8_t)*at : load_i32(at);
    return at + disp_bytes;
}

/* A0..A3: the address itself, as wide as addresses are, and never extended with a sign. */
static const uint8_t *take_moffs(const uint8_t *at, struct insn *insn)
{
    insn->reg = 0;
    insn->base = insn->index = INSN_NO_REG;
    insn->scale = 0;
    insn->segment = INSN_DS;
    if (insn->addr_bytes == 4)
        insn->disp = (uint32_t)load_i32(at);
    else
        __builtin_memcpy(&insn->disp, at, sizeof(insn->disp));
    return at + insn->addr_bytes;
}

/* The immediate of C6 /0 and C7 /0; ModRM.reg is part of the opcode. NULL: another opcode. */
static const uint8_t *take_imm(const uint8_t *at, struct insn *insn)
{
    int16_t word;

    if ((insn->reg & FIELD_GET(MODRM_REG, MODRM_REG)) != 0)
        return NULL;
    insn->reg = INSN_NO_REG;
    switch (insn->bytes) {
    case 1:
        insn->imm = (uint64_t)(int8_t)*at;
        return at + 1;
    case 2:
        __builtin_memcpy(&word, at, sizeof(word));
        insn->imm = (uint64_t)word;
        return at + 2;
    default:
        insn->imm = (uint64_t)load_i32(at);
        return at + 4;
    }
}

/* What only some opcodes have: an immediate, or a byte register. NULL: another opcode. */
static NOINLINE const uint8_t *take_rest(const uint8_t *at, const struct form *form, uint8_t rex,
                                         struct insn *insn)
{
    if (form->flags & FORM_IMM)
        return take_imm(at, insn);
    /* Without a REX, byte registers 4..7 are AH, CH, DH and BH; with one, SPL, BPL, SIL and DIL. */
    if (rex == 0 && insn->reg >= HIGH_BYTE_FIRST) {
        insn->high_byte = true;
        insn->reg = (uint8_t)(insn->reg - HIGH_BYTE_FIRST);
    }
    return at;
}

/*
 * Decode what follows the prefixes. `tail` has TAIL_MOST readable bytes; *behind becomes the end of those that
 * the answer rests on. Compiled once per caller, so that the straight lines carry nothing that only other
 * prefixes need.
 */
static ALWAYS_INLINE enum insn_result decode_tail(const uint8_t *tail,
                                                  const struct prefixes *prefix, struct insn *insn,
                                                  const uint8_t **behind)
{
    const struct form *form = &one_byte[tail[0]];
    const uint8_t *at = tail + 1, *next;

    if (UNLIKELY(form->flags & FORM_ESCAPE))
        form = &two_byte[*at++];
    *behind = at;
    if (form->bytes == 0 || prefix->lock)
        return INSN_UNSUPPORTED;

    COPY_WORD(insn, op, form);
    insn->high_byte = false;
    insn->rip_relative = false;
    insn->addr_bytes = prefix->addr_bytes;
    if (UNLIKELY(form->flags & FORM_MOFFS))
        next = take_moffs(at, insn);
    else
        next = take_modrm(at, prefix->rex, insn);
    if (LIKELY(next != NULL)) {
        apply_prefixes(prefix, form, insn);
        if (UNLIKELY(form->flags & (FORM_IMM | FORM_REG_8)))
            next = take_rest(next, form, prefix->rex, insn);
    }
    if (UNLIKELY(next == NULL)) {
        *behind = at + 1; /* the ModRM byte was enough to reject it */
        return INSN_UNSUPPORTED;
    }
    *behind = next;
    return INSN_OK;
}

/* More bytes than there are: ask for them, unless no instruction may be that long. */
static enum insn_result out_of_bytes(unsigned end)
{
    return end < INSN_MAX_BYTES ? INSN_SHORT : INSN_UNSUPPORTED;
}

/* The general case: any prefixes, or too few bytes to read the tail without a check. */
static NOINLINE enum insn_result decode_slowly(const uint8_t *bytes, unsigned end,
                                               struct insn *insn)
{
    struct prefixes prefix = NO_PREFIXES;
    uint8_t padded[TAIL_MOST] = {0};
    const unsigned at = take_prefixes(bytes, end, &prefix), left = end - at;
    const uint8_t *tail = bytes + at, *behind;
    enum insn_result result;

    if (left == 0)
        return out_of_bytes(end);
    if (left < TAIL_MOST) {
        for (unsigned i = 0; i < left; i++)
            padded[i] = tail[i];
        tail = padded;
    }
    result = decode_tail(tail, &prefix, insn, &behind);
    if (behind - tail > (ptrdiff_t)left)
        return out_of_bytes(end);
    insn->length = (uint8_t)(at + (unsigned)(behind - tail));
    return result;
}

/* A REX and nothing else, with bytes to spare. */
static NOINLINE enum insn_result decode_rex(const uint8_t *bytes, struct insn *insn)
{
    struct prefixes prefix = NO_PREFIXES;
    const uint8_t *behind;
    enum insn_result result;

    prefix.rex = bytes[0];
    result = decode_tail(bytes + 1, &prefix, insn, &behind);
    insn->length = (uint8_t)(behind - bytes);
    return result;
}

enum insn_result insn_decode(const uint8_t *bytes, unsigned have, struct insn *insn)
{
    const struct prefixes prefix = NO_PREFIXES;
    const uint8_t *behind;
    enum insn_result result;

    if (have <= TAIL_MOST)
        return decode_slowly(bytes, have, insn);
    if (UNLIKELY(is_prefix(bytes[0]))) {
        if (is_rex(bytes[0]) && !is_prefix(bytes[1]))
            return decode_rex(bytes, insn);
        return decode_slowly(bytes, MIN(have, INSN_MAX_BYTES), insn);
    }
    result = decode_tail(bytes, &prefix, insn, &behind);
    insn->length = (uint8_t)(behind - bytes);
    return result;
}

/* ---- what an instruction means ---- */

uint64_t insn_address(const struct insn *insn, const uint64_t gpr[16], uint64_t rip,
                      uint64_t segment_base)
{
    uint64_t address = (uint64_t)insn->disp;

    if (insn->base != INSN_NO_REG)
        address += gpr[insn->base];
    if (insn->index != INSN_NO_REG)
        address += gpr[insn->index] << insn->scale;
    if (insn->rip_relative)
        address += rip + insn->length;
    /* 67h cuts the offset, not the sum with the base. */
    if (insn->addr_bytes == 4)
        address = (uint32_t)address;
    return address + segment_base;
}

uint64_t insn_store_value(const struct insn *insn, const uint64_t gpr[16])
{
    uint64_t value;

    if (insn->op == INSN_STORE_IMM)
        value = insn->imm;
    else
        value = gpr[insn->reg] >> (insn->high_byte ? 8 : 0);
    return value & ones_of(insn->bytes);
}

void insn_load_value(const struct insn *insn, uint64_t gpr[16], uint64_t value)
{
    uint64_t *reg = &gpr[insn->reg];
    unsigned unused = 64 - 8u * insn->bytes;

    value <<= unused;
    value = insn->sign_extend ? (uint64_t)((int64_t)value >> unused) : value >> unused;
    if (insn->reg_bytes == 4) {
        *reg = (uint32_t)value;
    } else if (insn->reg_bytes == 8) {
        *reg = value;
    } else {
        unsigned shift = insn->high_byte ? 8 : 0;
        uint64_t mask = ones_of(insn->reg_bytes) << shift;

        *reg = (*reg & ~mask) | ((value << shift) & mask);
    }
}
