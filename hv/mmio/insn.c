/*
 * An instruction, as SDM 2 "Instruction Format" has it:
 *
 *     legacy prefixes, REX | opcode | ModRM | SIB | displacement | immediate
 *           or VEX         |  1..3  | 0, 1  | 0,1 |  0, 1, 2, 4  |  0 .. 8
 *
 * One walk from left to right, over the maps of hv/mmio/opcodes.c. A byte that is not there reads as 0 and moves the
 * place on all the same, so nothing is checked on the way: at the end the place tells whether all was there.
 */
#include "hv/mmio/insn.h"

#include "hv/base/bits.h"
#include "hv/mmio/opcodes.h"

enum rex_bits {
    REX_B = 1 << 0, /* bit 3 of ModRM.rm or SIB.base */
    REX_X = 1 << 1, /* bit 3 of SIB.index */
    REX_R = 1 << 2, /* bit 3 of ModRM.reg */
    REX_W = 1 << 3, /* 8-byte operand */
};

enum mandatory { NO_PREFIX, PREFIX_66, PREFIX_F3, PREFIX_F2 }; /* as in VEX.pp */

#define NO_SEGMENT  0xffu
#define MODRM_MOD   BITS(7, 6)
#define MODRM_REG   BITS(5, 3)
#define MODRM_RM    BITS(2, 0)
#define SIB_SCALE   BITS(7, 6)
#define SIB_INDEX   BITS(5, 3)
#define SIB_BASE    BITS(2, 0)
#define VEX_W       BIT(7)
#define VEX_V       BITS(6, 3)
#define VEX_L       BIT(2)
#define VEX_PP      BITS(1, 0)
#define VEX_RXB     BITS(7, 5) /* in the first of two payload bytes, all three inverted */
#define VEX_MAP     BITS(4, 0)
#define REX_HIGH(b) ((b) ? 8u : 0u)
#define OPCODE_ROW  BITS(5, 3)

enum { RSP = 4, RBP = 5, HIGH_BYTES = 4 };

struct walk {
    const uint8_t *bytes;
    unsigned at, end;
    uint8_t mode;
    uint8_t segment;   /* NO_SEGMENT: none in force */
    uint8_t rex;       /* the whole byte, or what VEX says in its place; 0: none in force */
    uint8_t mandatory; /* enum mandatory; without VEX, 66 counts only if F2 and F3 are absent */
    uint8_t opcode;
    bool operand, address, lock;   /* 66, 67, F0 were there */
    bool vex, vex_long, vex_third; /* the last: VEX.vvvv names a register */
};

static inline unsigned take_byte(struct walk *w)
{
    unsigned at = w->at++;

    return at < w->end ? w->bytes[at] : 0;
}

/* The next byte is part of the instruction and decides what it is, but is taken later. */
static inline unsigned peek(struct walk *w)
{
    if (LIKELY(w->at < w->end))
        return w->bytes[w->at];
    w->at = w->end + 1;
    return 0;
}

/* A displacement or an immediate. */
static int64_t take_signed(struct walk *w, unsigned bytes)
{
    const uint8_t *from = w->bytes + w->at;
    int16_t word;
    int32_t dword;
    int64_t qword;

    w->at += bytes;
    if (UNLIKELY(w->at > w->end))
        return 0;
    switch (bytes) {
    case 1:
        return (int8_t)*from;
    case 2:
        __builtin_memcpy(&word, from, sizeof(word));
        return word;
    case 4:
        __builtin_memcpy(&dword, from, sizeof(dword));
        return dword;
    case 8:
        __builtin_memcpy(&qword, from, sizeof(qword));
        return qword;
    default: /* none, or one that nobody asks for */
        return 0;
    }
}

/* ---- prefixes and the opcode: all of these return a cell ---- */

static unsigned sparse_cell(const struct opcode_range *range, unsigned opcode)
{
    while (range->last < opcode)
        range++;
    return range->first <= opcode ? range->cell : FORM_NONE;
}

/* Behind 0F, or in the map that VEX names. */
static unsigned later_cell(struct walk *w, unsigned map)
{
    w->opcode = (uint8_t)take_byte(w);
    switch (map) {
    case 1:
        return opcode_map_0f[w->opcode];
    case 2:
        return sparse_cell(opcode_map_38, w->opcode);
    case 3:
        return sparse_cell(opcode_map_3a, w->opcode);
    default:
        return FORM_NONE;
    }
}

static unsigned escaped_cell(struct walk *w)
{
    unsigned cell = later_cell(w, 1);

    if (cell == CELL_ESCAPE)
        cell = later_cell(w, w->opcode == 0x38 ? 2 : 3);
    return cell;
}

/* C4 or C5. Only 64-bit mode has the registers that R, X, B and W reach. */
static unsigned vex_cell(struct walk *w)
{
    bool is_long = w->opcode == 0xc4;
    unsigned payload, rex = 0, map = 1, cell;

    if (w->mode != INSN_64 && FIELD_GET(MODRM_MOD, peek(w)) != 3)
        return FORM_POINTER;
    if (w->rex || w->lock || w->operand || w->mandatory)
        return FORM_NONE;
    payload = take_byte(w);
    if (is_long) {
        rex = (unsigned)FIELD_GET(VEX_RXB, ~payload);
        map = (unsigned)FIELD_GET(VEX_MAP, payload);
        payload = take_byte(w);
        rex |= payload & VEX_W ? REX_W : 0;
    } else {
        rex = payload & VEX_W ? 0 : REX_R; /* R lies where W is in the longer one */
    }
    w->vex = true;
    w->vex_long = payload & VEX_L;
    w->vex_third = FIELD_GET(VEX_V, ~payload) != 0;
    w->mandatory = (uint8_t)FIELD_GET(VEX_PP, payload);
    cell = later_cell(w, map);
    w->rex = w->mode == INSN_64 ? (uint8_t)rex : 0;
    return cell == CELL_ESCAPE ? (unsigned)FORM_NONE : cell;
}

/* In 64-bit mode the other four select nothing, so they do not undo an FS or GS before them. */
static void take_segment(struct walk *w, unsigned segment)
{
    if (w->mode != INSN_64 || segment >= INSN_FS)
        w->segment = (uint8_t)segment;
}

/* Prefixes in any order and number; a REX counts only right before the opcode. */
static unsigned opcode_cell(struct walk *w)
{
    for (;;) {
        unsigned cell = opcode_map_1[w->opcode = (uint8_t)take_byte(w)];

        if (LIKELY(cell < CELL_SPECIAL))
            return cell;
        switch (cell) {
        case CELL_REX:
            if (w->mode != INSN_64)
                return FORM_PLAIN;
            w->rex = w->opcode;
            continue;
        case CELL_ESCAPE:
            return escaped_cell(w);
        case CELL_VEX:
            return vex_cell(w);
        case CELL_OPERAND:
            w->operand = true;
            break;
        case CELL_ADDRESS:
            w->address = true;
            break;
        case CELL_LOCK:
            w->lock = true;
            break;
        case CELL_REPNE:
            w->mandatory = PREFIX_F2;
            break;
        case CELL_REP:
            w->mandatory = PREFIX_F3;
            break;
        default:
            take_segment(w, cell - CELL_SEGMENT);
        }
        w->rex = 0;
    }
}

/* Where a cell leads. */
static const struct opcode_form *form_of(struct walk *w, unsigned cell)
{
    const struct opcode_form *form;
    unsigned mandatory = w->mandatory;

    if (!mandatory && w->operand)
        mandatory = PREFIX_66;
    if (cell >= CELL_PREFIX)
        cell = opcode_prefixed[cell & CELL_ROW][mandatory];
    else if (cell >= CELL_GROUP)
        cell = opcode_groups[cell & CELL_ROW][FIELD_GET(MODRM_REG, peek(w))];
    form = &opcode_forms[cell];
    if (UNLIKELY(form->traits & (T_ONLY_64 | T_NOT_64))) {
        if ((form->traits & T_ONLY_64) && w->mode != INSN_64)
            form = &opcode_forms[FORM_MODRM];
        if ((form->traits & T_NOT_64) && w->mode == INSN_64)
            return NULL;
    }
    return form->legal >> (w->vex ? 4 : 0) >> mandatory & 1 ? form : NULL;
}

/* ---- the operand in memory ---- */

static void address_16(struct walk *w, unsigned mod, unsigned rm, struct insn *insn)
{
    enum { NO = INSN_NO_REG, BX = 3, BP = 5, SI = 6, DI = 7 };
    static const uint8_t bases[8] = {BX, BX, BP, BP, SI, DI, BP, BX};
    static const uint8_t indexes[8] = {SI, DI, SI, DI, NO, NO, NO, NO};

    if (mod == 0 && rm == 6) {
        mod = 2;
    } else {
        insn->base = bases[rm];
        insn->index = indexes[rm];
    }
    insn->disp = take_signed(w, mod);
}

static void address_sib(struct walk *w, unsigned *mod, bool gather, struct insn *insn)
{
    unsigned sib = take_byte(w);
    unsigned index = (unsigned)FIELD_GET(SIB_INDEX, sib) | REX_HIGH(w->rex & REX_X);
    unsigned base = (unsigned)FIELD_GET(SIB_BASE, sib);

    if (index != RSP && !gather) {
        insn->index = (uint8_t)index;
        insn->scale = (uint8_t)FIELD_GET(SIB_SCALE, sib);
    }
    if (base == RBP && *mod == 0)
        *mod = 2;
    else
        insn->base = (uint8_t)(base | REX_HIGH(w->rex & REX_B));
}

static void address_modrm(struct walk *w, unsigned modrm, bool gather, struct insn *insn)
{
    unsigned mod = (unsigned)FIELD_GET(MODRM_MOD, modrm);
    unsigned rm = (unsigned)FIELD_GET(MODRM_RM, modrm);

    insn->memory = true;
    if (UNLIKELY(insn->addr_bytes == 2)) {
        address_16(w, mod, rm, insn);
    } else {
        if (rm == RSP) {
            address_sib(w, &mod, gather, insn);
        } else if (rm == RBP && mod == 0) {
            mod = 2;
            insn->rip_relative = w->mode == INSN_64;
        } else {
            insn->base = (uint8_t)(rm | REX_HIGH(w->rex & REX_B));
        }
        insn->disp = mod ? take_signed(w, mod == 1 ? 1 : 4) : 0;
    }
    if (w->segment != NO_SEGMENT)
        insn->segment = w->segment;
    else if (insn->base == RSP || insn->base == RBP)
        insn->segment = INSN_SS;
}

/* A0 to A3, and the strings. An address is never extended with a sign. */
static void address_plain(struct walk *w, bool has_offset, struct insn *insn)
{
    insn->memory = true;
    if (has_offset)
        insn->disp =
            (int64_t)((uint64_t)take_signed(w, insn->addr_bytes) & ones_of(insn->addr_bytes));
    if (w->segment != NO_SEGMENT)
        insn->segment = w->segment;
}

/* Returns the operation, INSN_OTHER for operands that are all registers; -1: no such instruction. */
static int take_operands(struct walk *w, const struct opcode_form *form, struct insn *insn)
{
    int op = form->op;
    unsigned modrm;

    if (UNLIKELY(form->layout == LAYOUT_PLAIN))
        return op;
    if (UNLIKELY(form->layout >= LAYOUT_MOFFS)) {
        address_plain(w, form->layout == LAYOUT_MOFFS, insn);
        insn->reg = 0;
        return op;
    }
    modrm = take_byte(w);
    insn->reg = (uint8_t)(FIELD_GET(MODRM_REG, modrm) | REX_HIGH(w->rex & REX_R));
    if (FIELD_GET(MODRM_MOD, modrm) == 3 || form->layout == LAYOUT_CONTROL)
        return form->layout == LAYOUT_MEMORY || form->layout == LAYOUT_GATHER ? -1 : INSN_OTHER;
    if (form->layout == LAYOUT_REGISTERS)
        return -1;
    address_modrm(w, modrm, form->layout == LAYOUT_GATHER, insn);
    if (form->traits & T_ROW)
        op += (int)FIELD_GET(OPCODE_ROW, w->opcode);
    if (form->traits & T_GROUP)
        op += (int)FIELD_GET(MODRM_REG, modrm);
    return op;
}

/* ---- what it means ---- */

/* 0, 1, 2: operands of 2, 4 and 8 bytes. */
static unsigned operand_row(const struct walk *w, const struct opcode_form *form)
{
    if (w->mode != INSN_64)
        return w->operand ^ (w->mode == INSN_32);
    if (w->rex & REX_W)
        return 2;
    if (w->operand)
        return 0;
    return form->traits & T_STACK ? 2 : 1;
}

/* A load or store of a vector register. False: no such instruction. */
static bool describe_vector(const struct walk *w, const struct opcode_form *form, struct insn *insn)
{
    bool is_long = w->vex_long && (form->traits & T_VEX_LONG);

    if (form->traits & T_HIGH_LANE)
        insn->lane = 8;
    insn->merge = form->traits & T_MERGE;
    if (!w->vex)
        return true;
    if (w->vex_third || (w->vex_long && (form->traits & T_VEX_SHORT)))
        return false;
    insn->vector = is_long ? INSN_VEX_256 : INSN_VEX_128;
    if (is_long)
        insn->bytes = insn->reg_bytes = 32;
    return true;
}

/* The members that only emulated instructions fill. False: no such instruction. */
static bool describe(const struct walk *w, const struct opcode_form *form, unsigned row,
                     struct insn *insn)
{
    const struct opcode_op *op = &opcode_ops[insn->op];

    insn->bytes = opcode_bytes[form->memory_width][row];
    insn->reg_bytes = insn->bytes;
    insn->to_reg = form->traits & T_TO_REG;
    insn->access = insn->to_reg ? INSN_READS : op->access;
    insn->flags = op->flags;
    if (UNLIKELY(form->traits & (T_SIGN | T_ALIGNED))) {
        insn->sign_extend = form->traits & T_SIGN;
        insn->aligned = (form->traits & T_ALIGNED) && insn->bytes >= 16;
    }
    if (form->reg_width == W_NONE) {
        insn->reg = INSN_NO_REG;
        insn->has_imm = form->imm_width != W_NONE;
        if (form->layout == LAYOUT_STRING && w->mandatory)
            insn->repeat = w->mandatory == PREFIX_F3 ? INSN_REPE : INSN_REPNE;
    } else {
        insn->reg_bytes = opcode_bytes[form->reg_width][row];
        if (insn->reg_bytes == 1 && !w->rex && insn->reg >= HIGH_BYTES) {
            insn->high_byte = true;
            insn->reg = (uint8_t)(insn->reg - HIGH_BYTES);
        }
    }
    return insn->op != INSN_VECTOR || describe_vector(w, form, insn);
}

static bool finish(struct walk *w, const struct opcode_form *form, struct insn *insn)
{
    unsigned row = operand_row(w, form);
    int op = take_operands(w, form, insn);

    if (op < 0)
        return false;
    if (form->imm_width != W_NONE)
        insn->imm = (uint64_t)take_signed(w, opcode_bytes[form->imm_width][row]);
    insn->length = (uint8_t)w->at;
    insn->op = (uint8_t)op;
    insn->locked = w->lock || op == INSN_XCHG;
    if (w->lock && (!opcode_ops[op].lockable || (form->traits & T_TO_REG)))
        return false;
    /* With VEX, loads that merge take the other part from a third operand. */
    if (op == INSN_OTHER || (w->vex && (form->traits & T_MERGE))) {
        insn->op = INSN_OTHER;
        insn->reg = INSN_NO_REG;
        insn->imm = 0;
        return true;
    }
    return describe(w, form, row, insn);
}

enum insn_result insn_decode(const uint8_t *bytes, unsigned have, enum insn_mode mode,
                             struct insn *insn)
{
    struct walk w = {.bytes = bytes,
                     .end = MIN(have, INSN_MAX_BYTES),
                     .mode = (uint8_t)mode,
                     .segment = NO_SEGMENT};
    const struct opcode_form *form = form_of(&w, opcode_cell(&w));
    bool exists = false;

    if (LIKELY(form != NULL)) {
        *insn = (struct insn){.segment = INSN_DS,
                              .reg = INSN_NO_REG,
                              .base = INSN_NO_REG,
                              .index = INSN_NO_REG,
                              .addr_bytes = (uint8_t)(2u << mode)};
        if (UNLIKELY(w.address))
            insn->addr_bytes = mode == INSN_32 ? 2 : 4;
        exists = finish(&w, form, insn);
    }
    if (UNLIKELY(w.at > w.end))
        return have < INSN_MAX_BYTES ? INSN_SHORT : INSN_TOO_LONG;
    return exists ? INSN_OK : INSN_UNDEFINED;
}

uint64_t insn_offset(const struct insn *insn, const uint64_t gpr[16], uint64_t rip)
{
    uint64_t offset = (uint64_t)insn->disp;

    if (insn->base != INSN_NO_REG)
        offset += gpr[insn->base];
    if (insn->index != INSN_NO_REG)
        offset += gpr[insn->index] << insn->scale;
    if (insn->rip_relative)
        offset += rip + insn->length;
    return offset & ones_of(insn->addr_bytes);
}

uint64_t insn_operand(const struct insn *insn, const uint64_t gpr[16])
{
    uint64_t value = insn->imm;

    if (insn->reg != INSN_NO_REG)
        value = gpr[insn->reg] >> (insn->high_byte ? 8 : 0);
    return value & ones_of(insn->bytes);
}

void insn_set_reg(const struct insn *insn, uint64_t gpr[16], uint64_t value)
{
    uint64_t *reg = &gpr[insn->reg];
    unsigned unused = 64 - 8u * insn->bytes;

    value <<= unused;
    value = insn->sign_extend ? (uint64_t)((int64_t)value >> unused) : value >> unused;
    if (insn->reg_bytes >= 4) {
        *reg = value & ones_of(insn->reg_bytes);
    } else {
        unsigned shift = insn->high_byte ? 8 : 0;
        uint64_t mask = ones_of(insn->reg_bytes);

        *reg = (*reg & ~(mask << shift)) | (value & mask) << shift;
    }
}

const char *insn_name(const struct insn *insn)
{
    return opcode_ops[insn->op].name;
}
