#include "tests/unit/diff_gen.h"

#include <string.h>

#include "hv/base/types.h"
#include "hv/x86/regs.h"

#define RW (INSN_READS | INSN_WRITES)
const uint8_t arena_rights[ARENA_PAGES] = {0, RW, RW, INSN_READS, RW, 0, RW, 0};

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

/* Segments serve several cases: to load other ones takes the judges long. */
static struct emu_segment kept[3][6];
static unsigned kept_for[3];

/* ---- numbers ---- */

static uint64_t state = 1;

void diff_seed(uint64_t seed)
{
    state = seed *
            0xd1342543de82ef95ull; /* another factor than the step, or seeds would be neighbours */
    memset(kept_for, 0, sizeof(kept_for));
}

/* splitmix64 */
uint64_t diff_random(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

unsigned diff_below(unsigned bound)
{
    return (unsigned)((diff_random() >> 32) % bound);
}

/* Values at which carries and signs change come often. */
static uint64_t value(void)
{
    static const uint64_t edges[] = {0,          1,          0x7f,       0x80,
                                     0xff,       0x7fff,     0x8000,     0xffff,
                                     0x7fffffff, 0x80000000, 0xffffffff, 1ull << 63};

    switch (diff_below(6)) {
    case 0:
        return edges[diff_below(ARRAY_COUNT(edges))];
    case 1:
        return ~edges[diff_below(ARRAY_COUNT(edges))];
    case 2:
        return diff_random() & 0x1f;
    default:
        return diff_random();
    }
}

/* ---- memory ---- */

static void poke(struct diff_case *c, uint64_t linear, const void *bytes, unsigned count)
{
    uint64_t at = linear - c->arena;

    if (at < ARENA_BYTES && ARENA_BYTES - at >= count)
        memcpy(c->memory + at, bytes, count);
}

static void poke_value(struct diff_case *c, uint64_t linear, uint64_t number)
{
    poke(c, linear, &number, c->width);
}

/* Where in the arena a segment with a limit of its own ends. */
static uint64_t end_of_segment(const struct diff_case *c)
{
    for (unsigned i = 0; c->mode != INSN_64 && !c->real && i < ARRAY_COUNT(c->seg); i++)
        if (!(c->seg[i].attributes & ATTR_PAGES))
            return c->seg[i].base + c->seg[i].limit + 1 - c->arena;
    return ~0ull;
}

/* Mostly somewhere inside, often over an edge of a page or of a segment, seldom anywhere. */
static uint64_t pick_linear(struct diff_case *c, unsigned bytes)
{
    static const uint8_t writable[] = {1, 2, 4, 6};
    unsigned kind = diff_below(16), at;
    uint64_t end = end_of_segment(c);

    if (end < ARENA_BYTES - bytes && end > bytes && diff_below(2))
        return c->arena + end - diff_below(bytes + 2);
    if (kind < 10)
        at = writable[diff_below(4)] * 4096u + diff_below(4096 - bytes + 1);
    else if (kind < 14)
        at = (1 + diff_below(ARENA_PAGES - 1)) * 4096u - 1 - diff_below(bytes + 2);
    else
        at = diff_below(ARENA_BYTES - bytes);
    if ((c->form->flags & FORM_ALIGNED ? diff_below(8) : diff_below(3)) != 0)
        at &= ~(bytes - 1u);
    return c->arena + at;
}

/* ---- segments ---- */

#define ATTR_DATA 0xf3u /* present, DPL 3, data, writable, accessed */
#define ATTR_CODE 0xfbu /* present, DPL 3, code, readable, accessed */
#define ATTR_LONG 0x2000u

static void flat_segments(struct diff_case *c, const struct diff_world *world)
{
    for (unsigned i = 0; i < ARRAY_COUNT(c->seg); i++)
        c->seg[i] = (struct emu_segment){0, 0xffffffff, ATTR_DATA | SEGMENT_BIG | ATTR_PAGES};
    c->seg[INSN_CS].attributes = ATTR_CODE | ATTR_LONG | ATTR_PAGES;
    c->seg[INSN_FS].base = world->fs_base;
    c->seg[INSN_GS].base = world->gs_base;
}

/* A limit inside the arena, a type without writes, one that grows down, or none at all. */
static void odd_segment(struct diff_case *c, unsigned i)
{
    struct emu_segment *seg = &c->seg[i];
    uint32_t start = (uint32_t)(c->arena - seg->base);
    unsigned kind = diff_below(5);

    if (kind == 0 && i != INSN_SS)
        seg->attributes &= ~SEGMENT_WRITABLE;
    if (kind == 4 && i != INSN_SS && i != INSN_CS)
        seg->attributes |= SEGMENT_UNUSABLE; /* a null selector */
    if (kind == 0 || kind == 4)
        return;
    if (start >= 0x10000 || i == INSN_CS)
        return; /* a byte-granular limit would put all of the arena, or the code, outside */
    seg->limit = start + diff_below(ARENA_BYTES);
    seg->attributes &= ~ATTR_PAGES;
    if (kind == 1)
        seg->attributes |= SEGMENT_EXPAND_DOWN;
}

static void split_segments(struct diff_case *c, const struct diff_world *world)
{
    bool big = c->mode == INSN_32, flat = big && diff_below(4) == 0;

    for (unsigned i = 0; i < ARRAY_COUNT(c->seg); i++) {
        uint32_t start = diff_below(0x8000);

        if (big && !flat && diff_below(4) == 0)
            start = (uint32_t)diff_random(); /* offsets wrap at 4 GiB */
        if (c->real)
            start &= ~15u;
        c->seg[i].base = flat ? 0 : (uint32_t)(c->arena - start);
        c->seg[i].limit = 0xffffffff;
        c->seg[i].attributes = ATTR_DATA | ATTR_PAGES | (big || diff_below(2) ? SEGMENT_BIG : 0);
    }
    c->seg[INSN_CS].attributes = ATTR_CODE | ATTR_PAGES | (big ? SEGMENT_BIG : 0);
    if (c->arena - c->seg[INSN_SS].base < 0x8000 && diff_below(4) == 0)
        c->seg[INSN_SS].attributes &= ~SEGMENT_BIG; /* where SP reaches the arena */
    if (c->real)
        for (unsigned i = 0; i < ARRAY_COUNT(c->seg); i++) {
            c->seg[i].limit = 0xffff;
            c->seg[i].attributes = ATTR_DATA;
        }
    /* Code is near its segment's base, so that 16 bits of IP reach it. */
    if (c->mode == INSN_16)
        c->seg[INSN_CS].base = c->arena + ARENA_TO_CODE;
    else if (!flat)
        c->seg[INSN_CS].base = (uint32_t)(c->arena - (diff_random() & 0x7fff));
    if (world->limits && diff_below(3) == 0)
        odd_segment(c, diff_below(ARRAY_COUNT(c->seg)));
}

/* ---- which instruction ---- */

static const char *lacking(const struct diff_case *c, const struct diff_world *world)
{
    static const char *const needs[] = {[NEED_MOVBE] = "no MOVBE",
                                        [NEED_CX16] = "no CMPXCHG16B",
                                        [NEED_SSE3] = "no SSE3",
                                        [NEED_SSE41] = "no SSE4.1",
                                        [NEED_TEST_1] = "no F6 /1 and F7 /1"};
    const struct diff_form *form = c->form;

    if (!world->needs[form->need])
        return needs[form->need];
    if (c->encoding != DIFF_LEGACY && !world->avx)
        return "no AVX";
    if (c->encoding == DIFF_VEX256 && (form->flags & FORM_AVX2) && !world->avx2)
        return "no AVX2";
    return NULL;
}

/* Strings more often: they have the most combinations. */
static const struct diff_form *any_form(void)
{
    const struct diff_form *form;
    bool string = diff_below(6) == 0;

    do
        form = &diff_forms[diff_below(diff_forms_count)];
    while (string && !(form->flags & FORM_STRING));
    return form;
}

static bool pick_form(struct diff_case *c)
{
    const struct diff_form *form = any_form();
    uint8_t widths = form->widths;

    if (form->flags & (c->mode == INSN_64 ? FORM_NOT64 : FORM_ONLY64))
        return false;
    if (c->mode != INSN_64)
        widths &= 7;
    else if (form->flags & FORM_STACK)
        widths &= 10;
    if (widths == 0)
        return false;
    do
        c->width = (uint8_t)(1u << diff_below(4));
    while (!(widths & c->width));
    c->form = form;
    c->encoding = DIFF_LEGACY;
    if ((form->flags & FORM_VEX128) && diff_below(2))
        c->encoding = (form->flags & FORM_VEX256) && diff_below(2) ? DIFF_VEX256 : DIFF_VEX128;
    c->memory_bytes = form->memory ? form->memory : c->width;
    if (form->flags & FORM_ONLY64)
        c->memory_bytes = MIN(c->memory_bytes, c->width); /* MOVSXD with 66h */
    if (c->encoding == DIFF_VEX256)
        c->memory_bytes = 32;
    return true;
}

static void pick_prefixes(struct diff_build *b)
{
    struct diff_case *c = b->c;
    uint16_t flags = c->form->flags;

    c->locked = (flags & FORM_LOCK) && diff_below(4) == 0;
    if ((c->form->op == INSN_CMP || c->form->op == INSN_BT))
        c->locked = false;
    c->repeat = flags & FORM_STRING ? (uint8_t)diff_below(3) : INSN_ONCE;
    b->override = diff_below(4) == 0 ? (uint8_t)diff_below(6) : 6;
    for (unsigned i = 0; c->mode != INSN_64 && !c->real && i < ARRAY_COUNT(c->seg); i++)
        if (!(c->seg[i].attributes & ATTR_PAGES) && diff_below(2))
            b->override = (uint8_t)i;
    if (c->mode == INSN_64 && ((b->override == INSN_FS && b->world->fs_base == 0) ||
                               (b->override == INSN_GS && b->world->gs_base == 0)))
        b->override = 6;
    if (c->mode != INSN_64 && b->override == INSN_FS && !b->world->fs)
        b->override = 6;
    if (c->mode == INSN_16 && b->override == INSN_CS && b->world->real)
        b->override = 6; /* more than 64 KiB away */
    if (flags & FORM_VECTOR) {
        if (flags & FORM_W) {
            b->rex |= c->mode == INSN_64 && diff_below(2) ? 8 : 0;
            c->memory_bytes = b->rex & 8 ? 8 : 4;
        } else if (c->mode == INSN_64 && diff_below(4) == 0) {
            b->rex |= 8; /* ignored */
        }
        return;
    }
    if (c->width == 1 || c->form->opcode == 0xc3 || c->form->op == INSN_CMPXCHG_PAIR)
        b->opsize = c->width == 1 && diff_below(8) == 0;
    else
        b->opsize = (c->width == 2) != (c->mode == INSN_16);
    if (c->width == 8 && c->mode == INSN_64) {
        if (!(flags & FORM_STACK) || diff_below(4) == 0)
            b->rex |= 8;
        /* W wins; not where the bytes would be more than 15 */
        b->opsize = (flags & FORM_STACK) == 0 && c->form->map == 1 && c->form->imm != IMM_FULL &&
                    diff_below(8) == 0;
    }
    if (c->form->op == INSN_MOV && c->form->opcode == 0xc3)
        b->opsize = false;
    if (c->form->op == INSN_CMPXCHG_PAIR)
        b->opsize = false;
}

/* ---- operands ---- */

static uint64_t address_mask(const struct diff_case *c)
{
    return c->addr_bytes == 8 ? ~0ull : c->addr_bytes == 4 ? 0xffffffffull : 0xffffull;
}

/* A register that holds an offset: what lies above the address width is noise. */
static void set_offset(struct diff_build *b, unsigned reg, uint64_t linear, unsigned segment)
{
    struct diff_case *c = b->c;
    uint64_t mask = address_mask(c);

    c->gpr[reg] = ((linear - c->seg[segment].base) & mask) | (diff_random() & ~mask);
    if (c->mode != INSN_64)
        c->gpr[reg] &= 0xffffffff;
    b->fixed |= 1u << reg;
}

/* Strings that are equal for a while, or that hold what is looked for. */
static void pattern(struct diff_case *c, uint64_t from, uint64_t to)
{
    unsigned count = 1 + diff_below(12);
    int64_t step = c->rflags & DIFF_DF ? -(int64_t)c->width : c->width;

    for (unsigned i = 0; i < count; i++) {
        uint64_t at = from - c->arena + (uint64_t)(step * (int64_t)i), word = c->gpr[RAX];

        if (c->form->op == INSN_CMPS && at <= ARENA_BYTES - 8)
            memcpy(&word, c->memory + at, 8);
        if (diff_below(16) == 0)
            word ^= 1ull << diff_below(64);
        poke_value(c, to + (uint64_t)(step * (int64_t)i), word);
    }
}

static uint64_t pick_count(void)
{
    switch (diff_below(24)) {
    case 0:
        return diff_random();
    case 1:
        return diff_below(3000);
    case 2:
    case 3:
        return 0;
    case 4:
        return 0x100000000ull + diff_below(4);
    default:
        return diff_below(12);
    }
}

static void string_operands(struct diff_build *b)
{
    struct diff_case *c = b->c;
    uint64_t from = pick_linear(c, c->width), to = pick_linear(c, c->width);

    if (diff_below(4) == 0)
        to = from + (uint64_t)(int64_t)((int)diff_below(40) - 20);
    if (to - c->arena >= ARENA_BYTES)
        to = from;
    set_offset(b, RSI, from, b->override < 6 ? b->override : INSN_DS);
    set_offset(b, RDI, to, INSN_ES);
    c->gpr[RCX] = pick_count();
    if (c->mode != INSN_64)
        c->gpr[RCX] &= 0xffffffff;
    b->fixed |= 1u << RCX;
    c->gpr[RAX] = value();
    if ((c->form->op == INSN_CMPS || c->form->op == INSN_SCAS) && diff_below(4) != 0)
        pattern(c, from, to);
    c->operand = from;
}

static void stack_operand(struct diff_build *b)
{
    struct diff_case *c = b->c;
    uint64_t mask = c->mode == INSN_64                         ? ~0ull
                    : c->seg[INSN_SS].attributes & SEGMENT_BIG ? 0xffffffffull
                                                               : 0xffffull;
    uint64_t top = pick_linear(c, c->width) - c->seg[INSN_SS].base;

    if (c->form->op == INSN_PUSH)
        top += c->width;
    c->gpr[RSP] = (top & mask) | (diff_random() & ~mask & 0xffffffff);
    b->fixed |= 1u << RSP;
}

/* The bit's number in the register: near, or as far as the width goes. */
static void bit_operand(struct diff_build *b)
{
    struct diff_case *c = b->c;
    unsigned reg = b->reg, bits = c->width * 8u;
    uint64_t number = diff_below(3) ? diff_random() & 0x3f : diff_random() & 0xffff;
    int64_t at;

    if (diff_below(2))
        number = -number;
    if (diff_below(16) == 0)
        number = diff_random();
    c->gpr[reg] = number;
    if (c->mode != INSN_64)
        c->gpr[reg] &= 0xffffffff;
    b->fixed |= 1u << reg;
    at = c->width == 2 ? (int16_t)number : c->width == 4 ? (int32_t)number : (int64_t)number;
    b->shift = (at >> (c->width == 2 ? 4 : c->width == 4 ? 5 : 6)) * (int64_t)(bits / 8);
}

/* Often what CMPXCHG compares with, or an edge. */
static void memory_operand(struct diff_case *c)
{
    uint64_t pair[2] = {c->gpr[RAX], c->gpr[RDX]};

    if (c->form->op == INSN_CMPXCHG_PAIR) {
        if (c->width == 4)
            pair[0] = (pair[0] & 0xffffffff) | pair[1] << 32;
        if (diff_below(2))
            poke(c, c->operand, pair, c->memory_bytes);
        if (diff_below(4) == 0 && c->operand - c->arena < ARENA_BYTES)
            c->memory[c->operand - c->arena] ^= 1;
        return;
    }
    if (c->form->flags & (FORM_VECTOR | FORM_STRING))
        return;
    if (c->form->op == INSN_CMPXCHG && diff_below(2))
        poke_value(c, c->operand, c->gpr[RAX]);
    else if (diff_below(2))
        poke_value(c, c->operand, value());
}

static void pick_segments(struct diff_case *c, const struct diff_world *world)
{
    unsigned kind = c->real ? 2 : c->mode;

    if (kept_for[kind] == 0) {
        split_segments(c, world);
        memcpy(kept[kind], c->seg, sizeof(c->seg));
        kept_for[kind] = 8;
    }
    memcpy(c->seg, kept[kind], sizeof(c->seg));
    kept_for[kind]--;
}

static void pick_arena(struct diff_case *c, const struct diff_world *world)
{
    unsigned which = c->mode == INSN_64 ? diff_below(world->arena_count) : 0;

    c->arena = world->arenas[which];
    c->real = world->real;
    if (c->mode == INSN_64)
        flat_segments(c, world);
    else
        pick_segments(c, world);
}

/* 67h, where the operands' offsets fit what it leaves. */
static void pick_addr_bytes(struct diff_build *b)
{
    struct diff_case *c = b->c;
    bool other = diff_below(4) == 0;

    if (c->mode == INSN_64) {
        c->addr_bytes = other && c->arena >> 32 == 0 && b->override != INSN_FS ? 4 : 8;
        return;
    }
    c->addr_bytes = (c->mode == INSN_16) != other ? 2 : 4;
    for (unsigned i = 0; i < ARRAY_COUNT(c->seg); i++)
        if (i != INSN_CS && (uint32_t)(c->arena - c->seg[i].base) > 0x8000)
            c->addr_bytes = 4;
    if (b->override == INSN_CS && (uint32_t)(c->arena - c->seg[INSN_CS].base) > 0x8000)
        c->addr_bytes = 4;
}

static void random_registers(struct diff_case *c)
{
    for (unsigned i = 0; i < 16; i++)
        c->gpr[i] = c->mode == INSN_64 ? value() : i < 8 ? (uint32_t)value() : 0;
    for (unsigned i = 0; i < 16; i++)
        for (unsigned j = 0; j < 32; j += 8) {
            uint64_t word = diff_random();

            memcpy(&c->vector[i][j], &word, 8);
        }
}

#define CANONICAL_END 0x800000000000ull

static void pick_operands(struct diff_build *b)
{
    struct diff_case *c = b->c;

    c->wild = b->world->non_canonical && c->mode == INSN_64 && c->addr_bytes == 8 &&
              diff_below(40) == 0 && !(c->form->flags & FORM_MOFFS);
    if (c->form->flags & FORM_STRING) {
        string_operands(b);
        if (c->wild)
            c->gpr[diff_below(2) ? RSI : RDI] ^= 1ull << 62;
        return;
    }
    c->operand = pick_linear(c, c->memory_bytes);
    if (c->wild)
        c->operand = diff_below(2) ? c->operand ^ 1ull << 62 : CANONICAL_END - diff_below(40);
    if (c->locked && b->world->whole_locks)
        c->operand &= ~(c->memory_bytes - 1ull);
    if (c->form->flags & FORM_STACK)
        stack_operand(b);
    if (c->form->flags & FORM_BITS)
        bit_operand(b);
    diff_address(b);
}

const char *diff_make(struct diff_case *c, const struct diff_world *world)
{
    struct diff_build b = {.c = c, .world = world, .override = 6, .rip_disp_at = -1};
    const char *lack;

    c->number++;
    do
        c->mode = (uint8_t)diff_below(3);
    while (!world->modes[c->mode]);
    while (!pick_form(c))
        ;
    lack = lacking(c, world);
    if (lack != NULL)
        return lack;
    pick_arena(c, world);
    random_registers(c);
    c->rflags = 2 | (diff_random() & (DIFF_ARITHMETIC | DIFF_DF));
    if (world->alignment_check && diff_below(10) == 0)
        c->rflags |= DIFF_AC;
    c->cpl = world->alignment_check ? 3 : 0;
    pick_prefixes(&b);
    c->override = b.override;
    pick_addr_bytes(&b);
    b.reg = c->form->ext != FORM_REG ? (uint8_t)c->form->ext
                                     : (uint8_t)diff_below(c->mode == INSN_64 ? 16 : 8);
    pick_operands(&b);
    diff_encode(&b);
    memory_operand(c);
    return NULL;
}
