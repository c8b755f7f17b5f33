/* Sources: SDM 2 "Instruction Format"; SDM 2 tables "16-Bit Addressing Forms", "32-Bit Addressing Forms", "SIB". */
#include "tests/unit/diff_gen.h"

#include <string.h>

#include "hv/base/assert.h"
#include "hv/base/types.h"
#include "hv/x86/regs.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, NONE = INSN_NO_REG };

/* An address as it is being put together. */
struct address {
    unsigned base, index, scale; /* registers, shift */
    int64_t disp;
    unsigned disp_bytes;
};

static unsigned segment_of(const struct diff_build *b, unsigned base)
{
    if (b->override < 6)
        return b->override;
    return base == RSP || base == RBP ? INSN_SS : INSN_DS;
}

/* What the addressing form must come to, before the part that a bit test adds. */
static uint64_t offset_wanted(const struct diff_build *b, unsigned base)
{
    const struct diff_case *c = b->c;
    uint64_t offset = c->operand - (uint64_t)b->shift - c->seg[segment_of(b, base)].base;

    return c->addr_bytes == 8 ? offset : c->addr_bytes == 4 ? (uint32_t)offset : (uint16_t)offset;
}

static void put_disp(struct diff_build *b, int64_t disp, unsigned bytes)
{
    memcpy(b->modrm + b->modrm_bytes, &disp, bytes);
    b->modrm_bytes = (uint8_t)(b->modrm_bytes + bytes);
}

static bool fits_32(const struct diff_case *c, uint64_t disp)
{
    return c->addr_bytes == 4 || (uint64_t)(int64_t)(int32_t)disp == disp;
}

/* A value for an address register; the bits that addressing ignores are noise. */
static void set_register(struct diff_build *b, unsigned reg, uint64_t number)
{
    struct diff_case *c = b->c;
    uint64_t mask = c->addr_bytes == 8 ? ~0ull : c->addr_bytes == 4 ? 0xffffffffull : 0xffffull;

    c->gpr[reg] = (number & mask) | (diff_random() & ~mask);
    if (c->mode != INSN_64)
        c->gpr[reg] &= 0xffffffff;
    b->fixed |= 1u << reg;
}

static unsigned free_register(const struct diff_build *b)
{
    unsigned reg;

    do
        reg = diff_below(b->c->mode == INSN_64 ? 16 : 8);
    while (b->fixed & 1u << reg);
    return reg;
}

static void pick_disp(struct address *a, bool wide)
{
    switch (diff_below(wide ? 4 : 3)) {
    case 0:
        a->disp = 0;
        a->disp_bytes = 0;
        break;
    case 1:
        a->disp = (int8_t)diff_random();
        a->disp_bytes = 1;
        break;
    case 2:
        a->disp = wide ? (int32_t)diff_random() : (int16_t)diff_random();
        a->disp_bytes = wide ? 4 : 2;
        break;
    default:
        a->disp = (int)diff_below(256) - 128;
        a->disp_bytes = 4;
        break;
    }
}

/* ---- 32- and 64-bit addressing ---- */

static void put_wide(struct diff_build *b, struct address *a)
{
    bool sib = a->index != NONE || a->base == NONE || (a->base & 7) == RSP || diff_below(8) == 0;
    unsigned mod = a->disp_bytes == 0 ? 0 : a->disp_bytes == 1 ? 1 : 2;
    unsigned rm = sib ? 4 : a->base & 7;

    if (a->base == NONE) {
        mod = 0; /* disp32 without a base */
    } else if (mod == 0 && (a->base & 7) == RBP) {
        mod = 1;
        a->disp_bytes = 1;
    }
    b->modrm[b->modrm_bytes++] = (uint8_t)(mod << 6 | (b->reg & 7u) << 3 | rm);
    if (sib)
        b->modrm[b->modrm_bytes++] =
            (uint8_t)(a->scale << 6 | (a->index == NONE ? 4u : a->index & 7) << 3 |
                      (a->base == NONE ? 5u : a->base & 7));
    put_disp(b, a->disp, a->disp_bytes);
    if (a->base != NONE && a->base & 8)
        b->rex |= 1;
    if (a->index != NONE && a->index & 8)
        b->rex |= 2;
}

/* [disp32], with SIB in 64-bit mode, where the short form means RIP. */
static bool absolute(struct diff_build *b)
{
    struct address a = {.base = NONE, .index = NONE, .scale = diff_below(4), .disp_bytes = 4};
    uint64_t offset = offset_wanted(b, NONE);

    if (!fits_32(b->c, offset))
        return false;
    a.disp = (int64_t)offset;
    if (b->c->mode != INSN_64 && diff_below(2)) {
        b->modrm[b->modrm_bytes++] = (uint8_t)((b->reg & 7u) << 3 | 5);
        put_disp(b, a.disp, 4);
    } else {
        put_wide(b, &a);
    }
    return true;
}

static bool rip_relative(struct diff_build *b)
{
    struct diff_case *c = b->c;
    uint64_t offset = offset_wanted(b, NONE), code = c->arena + ARENA_TO_CODE + CODE_BYTES / 2;

    if (c->mode != INSN_64 || (c->addr_bytes == 8 && offset - code + 0x70000000 > 0xe0000000))
        return false;
    b->modrm[b->modrm_bytes++] = (uint8_t)((b->reg & 7u) << 3 | 5);
    b->rip_disp_at = b->modrm_bytes;
    b->rip_target = offset;
    put_disp(b, 0, 4);
    return true;
}

/* [index * scale + disp32]: the operand moves down to what the scale can reach. */
static bool index_only(struct diff_build *b)
{
    struct diff_case *c = b->c;
    struct address a = {.base = NONE, .scale = diff_below(4), .disp_bytes = 4};
    uint64_t offset = offset_wanted(b, NONE), rest;

    a.index = free_register(b);
    if (a.index == RSP)
        return false;
    a.disp = diff_below(2) ? (int)diff_below(256) : (int32_t)(diff_random() & 0xfffffff);
    if (offset < (uint64_t)a.disp || c->wild)
        return false;
    rest = (offset - (uint64_t)a.disp) & ((1u << a.scale) - 1);
    c->operand -= rest;
    set_register(b, a.index, (offset - (uint64_t)a.disp) >> a.scale);
    put_wide(b, &a);
    return true;
}

static bool based(struct diff_build *b)
{
    struct diff_case *c = b->c;
    struct address a = {.base = free_register(b), .index = NONE, .scale = diff_below(4)};
    uint64_t indexed = 0;

    b->fixed |= 1u << a.base;
    pick_disp(&a, true);
    if (diff_below(2)) {
        do
            a.index = diff_below(c->mode == INSN_64 ? 16 : 8);
        while (a.index == RSP || a.index == a.base);
        indexed = c->gpr[a.index] << a.scale;
        b->fixed |= 1u << a.index;
    }
    set_register(b, a.base, offset_wanted(b, a.base) - (uint64_t)a.disp - indexed);
    put_wide(b, &a);
    return true;
}

/* Through the stack pointer of PUSH and POP, which POP has moved already. */
static bool stack_based(struct diff_build *b)
{
    struct diff_case *c = b->c;
    struct address a = {.base = RSP, .index = NONE, .disp_bytes = 4};
    bool big = c->mode == INSN_64 || (c->seg[INSN_SS].attributes & SEGMENT_BIG);
    uint64_t sp = c->gpr[RSP], moved = c->form->op == INSN_POP ? sp + c->width : sp;

    if (!big)
        moved = (sp & ~0xffffull) | (moved & 0xffff);
    a.disp = (int64_t)(offset_wanted(b, RSP) - moved);
    if (!fits_32(c, (uint64_t)a.disp))
        return false;
    put_wide(b, &a);
    return true;
}

static void wide_address(struct diff_build *b)
{
    bool done = false;

    if (b->c->form->flags & FORM_STACK && diff_below(4) == 0)
        done = stack_based(b);
    while (!done) {
        b->modrm_bytes = 0;
        switch (diff_below(8)) {
        case 0:
            done = rip_relative(b);
            break;
        case 1:
            done = absolute(b);
            break;
        case 2:
            done = index_only(b);
            break;
        default:
            done = based(b);
            break;
        }
    }
}

/* ---- 16-bit addressing ---- */

static void narrow_address(struct diff_build *b)
{
    static const uint8_t pairs[8][2] = {{RBX, RSI},  {RBX, RDI},  {RBP, RSI},  {RBP, RDI},
                                        {RSI, NONE}, {RDI, NONE}, {RBP, NONE}, {RBX, NONE}};
    unsigned rm = diff_below(8), mod;
    struct address a = {.base = pairs[rm][0], .index = pairs[rm][1]};
    uint64_t indexed = 0;

    if (b->fixed & 1u << a.base || (rm == 6 && diff_below(2))) {
        b->modrm[b->modrm_bytes++] = (uint8_t)((b->reg & 7u) << 3 | 6);
        put_disp(b, (int64_t)offset_wanted(b, NONE), 2);
        return;
    }
    pick_disp(&a, false);
    if (rm == 6 && a.disp_bytes == 0)
        a.disp_bytes = 1;
    mod = a.disp_bytes;
    if (a.index != NONE) {
        indexed = b->c->gpr[a.index];
        b->fixed |= 1u << a.index;
    }
    set_register(b, a.base, offset_wanted(b, a.base) - (uint64_t)a.disp - indexed);
    b->modrm[b->modrm_bytes++] = (uint8_t)(mod << 6 | (b->reg & 7u) << 3 | rm);
    put_disp(b, a.disp, a.disp_bytes);
}

void diff_address(struct diff_build *b)
{
    if (b->c->form->flags & FORM_MOFFS)
        put_disp(b, (int64_t)offset_wanted(b, NONE), b->c->addr_bytes);
    else if (b->c->addr_bytes == 2)
        narrow_address(b);
    else
        wide_address(b);
}

/* ---- bytes ---- */

static void put(struct diff_case *c, unsigned byte)
{
    ASSERT(c->length < INSN_MAX_BYTES);
    c->code[c->length++] = (uint8_t)byte;
}

static unsigned immediate_bytes(const struct diff_case *c)
{
    return c->form->imm == IMM_NONE ? 0 : c->form->imm == IMM_BYTE ? 1 : MIN(c->width, 4u);
}

/* The prefixes that are needed. */
static unsigned list_prefixes(const struct diff_build *b, uint8_t *list)
{
    static const uint8_t overrides[6] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    const struct diff_case *c = b->c;
    unsigned default_bytes = c->mode == INSN_64 ? 8 : c->mode == INSN_32 ? 4 : 2;
    unsigned count = 0;

    if (c->locked)
        list[count++] = 0xf0;
    if (c->repeat != INSN_ONCE)
        list[count++] = c->repeat == INSN_REPE ? 0xf3 : 0xf2;
    if (b->opsize)
        list[count++] = 0x66;
    if (c->form->prefix != 0 && c->encoding == DIFF_LEGACY)
        list[count++] = c->form->prefix;
    if (c->addr_bytes != default_bytes)
        list[count++] = 0x67;
    if (b->override < 6)
        list[count++] = overrides[b->override];
    return count;
}

/*
 * One that changes nothing: a repetition of one that is there; a REX before another prefix, if the world ignores it; F2 or F3 where they mean
 * nothing (XCHG and MOV of immediates would be hints of elided locks).
 */
static bool noise(const struct diff_build *b, const uint8_t *list, unsigned count, uint8_t *byte)
{
    const struct diff_case *c = b->c;

    switch (diff_below(3)) {
    case 0:
        if (count == 0)
            return false;
        *byte = list[diff_below(count)];
        return true;
    case 1:
        *byte = (uint8_t)(0x40 + diff_below(16));
        return c->mode == INSN_64 && b->world->rex_noise && c->encoding == DIFF_LEGACY;
    default:
        *byte = (uint8_t)(0xf2 + diff_below(2));
        return c->form->map == 1 && !(c->form->flags & FORM_STRING) && !c->locked &&
               c->form->op != INSN_XCHG && !(c->form->op == INSN_MOV && c->form->imm != IMM_NONE);
    }
}

static bool is_rex(unsigned byte)
{
    return (byte & 0xf0) == 0x40;
}

/* Prefixes in any order, and some that do not count; a REX not where it would. */
static void put_prefixes(struct diff_build *b)
{
    struct diff_case *c = b->c;
    unsigned later = 5u + b->modrm_bytes + immediate_bytes(c), count, true_ones = 0;
    uint8_t list[INSN_MAX_BYTES + 8], extra;

    count = list_prefixes(b, list);
    while (count + later < INSN_MAX_BYTES && diff_below(6) == 0 && noise(b, list, count, &extra))
        list[count++] = extra;
    for (unsigned i = 0; i < count; i++)
        true_ones += !is_rex(list[i]);
    while (true_ones > 0) {
        unsigned i = diff_below(count);

        put(c, list[i]);
        true_ones -= !is_rex(list[i]);
        list[i] = list[--count];
    }
}

static void put_vex(struct diff_build *b)
{
    static const uint8_t pp[] = {[0x66] = 1, [0xf3] = 2, [0xf2] = 3};
    struct diff_case *c = b->c;
    unsigned last = 0x78u | (c->encoding == DIFF_VEX256 ? 4 : 0) | pp[c->form->prefix];

    if (c->form->map == 2 && (b->rex & 0xb) == 0 && diff_below(2)) {
        put(c, 0xc5);
        put(c, (b->rex & 4 ? 0 : 0x80u) | last);
    } else {
        put(c, 0xc4);
        put(c, ((~b->rex & 7u) << 5) | (c->form->map - 1u));
        put(c, (b->rex & 8 ? 0x80u : 0) | last);
    }
}

static void put_opcode(struct diff_build *b)
{
    struct diff_case *c = b->c;

    if (c->encoding != DIFF_LEGACY) {
        put_vex(b);
    } else {
        if (b->rex != 0 || b->rex_present)
            put(c, 0x40u | b->rex);
        if (c->form->map >= 2)
            put(c, 0x0f);
        if (c->form->map == 3)
            put(c, 0x38);
    }
    put(c, c->form->opcode);
}

static void put_immediate(struct diff_case *c)
{
    unsigned bytes = immediate_bytes(c);
    uint64_t bits = diff_random();

    if (diff_below(3) == 0)
        bits = diff_below(2) ? ~0ull << diff_below(32) : (1ull << diff_below(32)) - 1;
    for (unsigned i = 0; i < bytes; i++)
        put(c, (uint8_t)(bits >> (8 * i)));
}

static void place(struct diff_build *b)
{
    struct diff_case *c = b->c;
    uint64_t code = c->arena + ARENA_TO_CODE + diff_below(CODE_BYTES - 64);
    unsigned at = (unsigned)c->length - b->modrm_bytes;

    c->rip = code - (c->mode == INSN_64 ? 0 : c->seg[INSN_CS].base);
    put_immediate(c);
    if (b->rip_disp_at >= 0) {
        uint32_t disp = (uint32_t)(b->rip_target - (c->rip + c->length));

        memcpy(c->code + at + b->rip_disp_at, &disp, 4);
    }
}

void diff_encode(struct diff_build *b)
{
    struct diff_case *c = b->c;
    bool has_modrm = !(c->form->flags & (FORM_MOFFS | FORM_STRING));

    c->length = 0;
    if (c->mode == INSN_64) {
        if (has_modrm && b->reg & 8)
            b->rex |= 4;
        else if (c->form->ext != FORM_REG && b->world->rex_noise && diff_below(4) == 0)
            b->rex |= 4;
        b->rex_present = diff_below(4) == 0;
    }
    put_prefixes(b);
    put_opcode(b);
    for (unsigned i = 0; i < b->modrm_bytes; i++)
        put(c, b->modrm[i]);
    place(b);
}
