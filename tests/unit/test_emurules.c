/* What the CPU checks before memory: segments, canonical addresses, alignment, vectors. PUSH, POP and vector registers. */
#include "tests/unit/emu_kit.h"

#include <string.h>

#define ALL_ONES 0xffffffffffffffffull
#define NONE     ((enum vector)0)

/* Done when `vector` is NONE, and then with the first span at `linear`. */
static void expect(const struct insn *insn, enum vector vector, uint64_t linear)
{
    if (vector != NONE) {
        kit_faults(insn, vector);
        assert_string_equal(kit.calls, "");
        return;
    }
    assert_int_equal(kit_run(insn, 10), EMU_DONE);
    assert_true(kit.span[0].linear == linear);
}

/* ---- segments ---- */

enum {
    DATA_R = 0x4091, /* expand-up, read-only */
    DATA_RW = 0x4093,
    DOWN_RW = 0x4097, /* expand-down, offsets up to 2^32 */
    DOWN_RW_16 = 0x97,
    DOWN_R = 0x4095,
    CODE_X = 0x4099, /* execute-only */
    CODE_R = 0x409b,
    CODE_CONFORMING_R = 0x409f,
    UNUSABLE = 0x10000,
};

static void test_types(void **state)
{
    static const struct {
        uint32_t attributes;
        bool reads, writes; /* are allowed */
    } rows[] = {
        {DATA_R, true, false},
        {DATA_RW, true, true},
        {DOWN_R, true, false},
        {DOWN_RW, true, true},
        {CODE_X, false, false},
        {CODE_R, true, false},
        {CODE_CONFORMING_R, true, false},
        {DATA_RW | UNUSABLE, false, false},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
        for (uint8_t segment = ES; segment <= GS; segment++)
            for (unsigned access = R; access <= RW; access++) {
                bool legal = (!(access & R) || rows[i].reads) && (!(access & W) || rows[i].writes);
                struct insn insn;

                kit_setup(NULL);
                kit_mode(INSN_32);
                kit.cpu.seg[segment].attributes = rows[i].attributes;
                kit.cpu.seg[segment].limit = rows[i].attributes & 8   ? 0xffffffff
                                             : rows[i].attributes & 4 ? 0
                                                                      : 0xffffffff;
                insn = kit_insn_reg(access == RW ? INSN_ADD : INSN_MOV, 4, access, RDX);
                insn.segment = segment;
                expect(&insn,
                       legal           ? NONE
                       : segment == SS ? VECTOR_SS
                                       : VECTOR_GP,
                       (uint32_t)KIT_PLACE);
            }
}

/* In real mode a segment may be written whatever it was loaded as; it still has a limit. */
static void test_real_mode(void **state)
{
    struct insn insn;

    (void)state;
    kit_mode(INSN_16);
    kit.state.gpr[RBX] = 0xfffc;
    kit.cpu.seg[CS] = (struct emu_segment){0xffff0, 0xffff, 0x9b};
    insn = kit_insn_reg(INSN_ADD, 4, RW, RDX);
    insn.segment = CS;
    expect(&insn, NONE, 0x10ffec);
    kit.cpu.seg[CS].attributes = 0x99;
    expect(&insn, NONE, 0x10ffec);
    kit.state.gpr[RBX] = 0xfffd;
    expect(&insn, VECTOR_GP, 0);
    assert_false(kit.fault.has_error);
    insn.segment = SS;
    expect(&insn, VECTOR_SS, 0);
    assert_false(kit.fault.has_error);
    kit.cpu.cr0 = CR0_PE;
    expect(&insn, VECTOR_SS, 0);
    assert_true(kit.fault.has_error);
}

static void test_limits(void **state)
{
    static const struct {
        uint32_t attributes, limit;
        uint32_t offset;
        uint8_t bytes;
        bool legal;
    } rows[] = {
        {DATA_RW, 0x1000, 0x0ffd, 4, true},
        {DATA_RW, 0x1000, 0x0ffe, 4, false},
        {DATA_RW, 0x1000, 0x1000, 1, true},
        {DATA_RW, 0x1000, 0x1001, 1, false},
        {DATA_RW, 0xffffffff, 0xfffffffc, 4, true},
        {DATA_RW, 0xffffffff, 0xfffffffd, 4, false},
        {DATA_RW, 0, 0, 1, true},
        {DATA_RW, 0, 0, 2, false},
        {CODE_R, 0xfff, 0xffc, 4, true},
        {CODE_R, 0xfff, 0xffd, 4, false},
        {CODE_CONFORMING_R, 0xfff, 0xffc, 4, true},
        {CODE_CONFORMING_R, 0xfff, 0x1000, 4, false},
        {DOWN_RW, 0x1000, 0x1000, 1, false},
        {DOWN_RW, 0x1000, 0x1001, 4, true},
        {DOWN_RW, 0x1000, 0xfff, 4, false},
        {DOWN_RW, 0x1000, 0xfffffffc, 4, true},
        {DOWN_RW, 0x1000, 0xfffffffd, 4, false},
        {DOWN_RW_16, 0x1000, 0xfffc, 4, true},
        {DOWN_RW_16, 0x1000, 0xfffd, 4, false},
        {DOWN_RW_16, 0x1000, 0x10000, 1, false},
        {DOWN_RW, 0xffffffff, 0xffffffff, 1, false},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
        for (uint8_t segment = SS; segment <= DS; segment++) {
            struct insn insn;

            kit_setup(NULL);
            kit_mode(INSN_32);
            kit.cpu.seg[segment] =
                (struct emu_segment){0x12340000, rows[i].limit, rows[i].attributes};
            kit.state.gpr[RBX] = rows[i].offset;
            insn = kit_insn_reg(INSN_MOV, rows[i].bytes, R, RDX);
            insn.segment = segment;
            expect(&insn,
                   rows[i].legal   ? NONE
                   : segment == SS ? VECTOR_SS
                                   : VECTOR_GP,
                   (uint32_t)(rows[i].offset + 0x12340000));
        }
}

/* The base counts in every segment, and the sum wraps at 4 GiB, also inside an operand. */
static void test_bases(void **state)
{
    struct insn insn;

    (void)state;
    kit_mode(INSN_32);
    kit.state.gpr[RBX] = 0x2ffe;
    kit.cpu.seg[DS].base = 0xffffd000;
    insn = kit_insn_reg(INSN_MOV, 4, W, RDX);
    kit.state.gpr[RDX] = 0x44332211;
    expect(&insn, NONE, 0xfffffffe);
    assert_true(kit_peek(0xfffe, 2) == 0x2211 && kit_peek(0, 2) == 0x4433);
    kit.state.gpr[RBX] = 0x4000;
    expect(&insn, NONE, 0x1000);

    kit_setup(NULL);
    for (uint8_t segment = ES; segment <= GS; segment++) {
        /* In 64-bit mode only two count, and nothing else of any of them. */
        kit.cpu.seg[segment] = (struct emu_segment){0x5000, 0, UNUSABLE | CODE_X};
        insn = kit_insn_reg(INSN_MOV, 4, W, RDX);
        insn.segment = segment;
        expect(&insn, NONE, KIT_PLACE + (segment >= FS ? 0x5000 : 0));
    }
}

static void test_canonical(void **state)
{
    const uint64_t low = BIT(47), high = -BIT(47);
    static const uint8_t segments[] = {DS, SS, FS};
    const struct {
        uint64_t linear;
        uint8_t bytes;
        bool legal;
    } rows[] = {
        {low - 4, 4, true}, {low - 3, 4, false},          {low, 1, false},      {low - 1, 1, true},
        {high, 8, true},    {high - 1, 1, false},         {high - 1, 2, false}, {BIT(63), 1, false},
        {-8ull, 8, true},   {BIT(48) | 0x1000, 4, false},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
        for (unsigned s = 0; s < ARRAY_COUNT(segments); s++) {
            struct insn insn = kit_insn_reg(INSN_MOV, rows[i].bytes, R, RDX);

            kit_setup(NULL);
            insn.segment = segments[s];
            kit.cpu.seg[FS].base = 0x7000;
            kit.state.gpr[RBX] = rows[i].linear - (segments[s] == FS ? 0x7000 : 0);
            expect(&insn,
                   rows[i].legal       ? NONE
                   : segments[s] == SS ? VECTOR_SS
                                       : VECTOR_GP,
                   rows[i].linear);
        }
}

/* ---- alignment ---- */

static void test_alignment_check(void **state)
{
    static const struct {
        uint64_t cr0, rflags;
        uint8_t cpl;
        bool checks;
    } rows[] = {
        {CR0_AM, RFLAGS_AC, 3, true},  {0, RFLAGS_AC, 3, false},      {CR0_AM, 0, 3, false},
        {CR0_AM, RFLAGS_AC, 2, false}, {CR0_AM, RFLAGS_AC, 0, false},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
        for (uint8_t bytes = 1; bytes <= 8; bytes *= 2)
            for (unsigned at = 0; at < 8; at++) {
                struct insn insn = kit_insn_reg(INSN_MOV, bytes, R, RDX);
                bool faults = rows[i].checks && at % bytes != 0;

                kit_setup(NULL);
                kit.cpu.cr0 |= rows[i].cr0;
                kit.state.rflags |= rows[i].rflags;
                kit.cpu.cpl = rows[i].cpl;
                kit.state.gpr[RBX] += at;
                expect(&insn, faults ? VECTOR_AC : NONE, KIT_PLACE + at);
            }
}

/* Operands that must be aligned in any case, wide ones that need not, and who comes first. */
static void test_aligned(void **state)
{
    (void)state;
    for (uint8_t bytes = 16; bytes <= 32; bytes *= 2)
        for (unsigned at = 0; at <= 32; at += 4)
            for (unsigned aligned = 0; aligned < 2; aligned++)
                for (unsigned checks = 0; checks < 2; checks++) {
                    struct insn insn = kit_insn_reg(INSN_VECTOR, bytes, R, 1);
                    enum vector vector = NONE;

                    kit_setup(NULL);
                    insn.vector = bytes == 32 ? INSN_VEX_256 : INSN_XMM;
                    insn.aligned = aligned;
                    kit.cpu.cpl = 3;
                    kit.cpu.cr0 |= CR0_AM;
                    kit.state.rflags |= checks ? RFLAGS_AC : 0;
                    kit.state.gpr[RBX] += at;
                    if (aligned && at % bytes != 0)
                        vector = VECTOR_GP;
                    else if (checks && at % 16 != 0)
                        vector = VECTOR_AC;
                    expect(&insn, vector, KIT_PLACE + at);
                }
}

/* A segment's fault comes before that of alignment, and both before that of a page. */
static void test_order(void **state)
{
    struct insn insn = kit_insn_reg(INSN_MOV, 4, R, RDX);

    (void)state;
    kit.cpu.cpl = 3;
    kit.cpu.cr0 |= CR0_AM;
    kit.state.rflags |= RFLAGS_AC;
    memset(kit.missing, true, sizeof(kit.missing));
    kit.state.gpr[RBX] = BIT(63) + 1;
    expect(&insn, VECTOR_GP, 0);
    kit.state.gpr[RBX] = KIT_PLACE + 1;
    expect(&insn, VECTOR_AC, 0);
    kit.state.gpr[RBX] = KIT_PLACE;
    assert_int_equal(kit_run_unchanged(&insn), EMU_FAULT);
    assert_int_equal(kit.fault.vector, VECTOR_PF);
}

/* The first operand that a CPU touches is told, whatever the fault of the second. */
static void test_order_of_operands(void **state)
{
    struct insn push = kit_insn(INSN_PUSH, 8, R), pop = kit_insn(INSN_POP, 8, W);
    struct insn movs = kit_string(INSN_MOVS, 4, INSN_ONCE);

    (void)state;
    memset(kit.missing, true, sizeof(kit.missing));
    kit.state.gpr[RSP] = BIT(63);
    assert_int_equal(kit_run_unchanged(&push), EMU_FAULT);
    assert_int_equal(kit.fault.vector, VECTOR_PF);
    kit_faults(&pop, VECTOR_SS);
    kit.state.gpr[RDI] = BIT(63);
    assert_int_equal(kit_run_unchanged(&movs), EMU_FAULT);
    assert_int_equal(kit.fault.vector, VECTOR_PF);
    kit.state.gpr[RSI] = BIT(63);
    kit_faults(&movs, VECTOR_GP);
}

/* ---- PUSH and POP ---- */

static void test_push(void **state)
{
    struct insn push = kit_insn(INSN_PUSH, 8, R);
    const uint64_t top = kit.state.gpr[RSP];

    (void)state;
    kit_poke(KIT_PLACE, 0x1122334455667788, 8);
    kit_done(&push, "llrw");
    assert_true(kit.state.gpr[RSP] == top - 8);
    assert_true(kit_peek(top - 8, 8) == 0x1122334455667788);
    /* 66h: two bytes, and no other width of RSP. */
    push.bytes = 2;
    kit_done(&push, "llrw");
    assert_true(kit.state.gpr[RSP] == top - 10);
    assert_true(kit_peek(top - 10, 2) == 0x7788 && kit_peek(top - 8, 8) == 0x1122334455667788);
    /* An address with RSP is that before. */
    push = kit_insn(INSN_PUSH, 8, R);
    push.base = RSP;
    push.segment = SS;
    push.disp = 2;
    kit_done(&push, "llrw");
    assert_true(kit.span[0].linear == top - 8 && kit.span[1].linear == top - 18);
    assert_true(kit_peek(top - 18, 8) == 0x1122334455667788);
}

static void test_pop(void **state)
{
    struct insn pop = kit_insn(INSN_POP, 8, W);
    const uint64_t top = kit.state.gpr[RSP];

    (void)state;
    kit_poke(top, 0x1122334455667788, 8);
    kit_done(&pop, "llrw");
    assert_true(kit.state.gpr[RSP] == top + 8);
    assert_true(kit_peek(KIT_PLACE, 8) == 0x1122334455667788);
    pop.bytes = 2;
    kit.state.gpr[RSP] = top;
    kit_done(&pop, "llrw");
    assert_true(kit.state.gpr[RSP] == top + 2);
    /* An address with RSP is that after. */
    pop = kit_insn(INSN_POP, 8, W);
    pop.base = RSP;
    pop.segment = SS;
    pop.disp = 0x20;
    kit.state.gpr[RSP] = top;
    kit_done(&pop, "llrw");
    assert_true(kit.span[0].linear == top && kit.span[1].linear == top + 0x28);
    assert_true(kit.state.gpr[RSP] == top + 8);
    assert_true(kit_peek(top + 0x28, 8) == 0x1122334455667788);
}

/* The width of the stack pointer is that of SS, or 64 bits; its other bits stay. */
static void test_stack_widths(void **state)
{
    static const struct {
        enum insn_mode mode;
        bool big;
        uint64_t rsp, pushed, linear, popped;
    } rows[] = {
        {INSN_64, true, 0x7fff00000000, 0x7ffefffffffc, 0x7ffefffffffc, 0x7fff00000004},
        {INSN_64, false, 0x7fff00000000, 0x7ffefffffffc, 0x7ffefffffffc, 0x7fff00000004},
        {INSN_32, true, 0x10000, 0xfffc, 0xfffc, 0x10004},
        {INSN_32, true, 0, 0xfffffffc, 0xfffffffc, 4},
        {INSN_32, false, 0x55550000, 0x5555fffc, 0xfffc, 0x55550004},
        {INSN_32, false, 0x5555fffc, 0x5555fff8, 0xfff8, 0x55550000},
        {INSN_16, false, 0x55550000, 0x5555fffc, 0xfffc, 0x55550004},
        {INSN_16, true, 0x0000fffc, 0xfff8, 0xfff8, 0x10000},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
        struct insn push, pop;

        kit_setup(NULL);
        if (rows[i].mode != INSN_64)
            kit_mode(rows[i].mode);
        push = kit_insn(INSN_PUSH, 4, R);
        pop = kit_insn(INSN_POP, 4, W);
        kit.cpu.seg[SS].attributes = rows[i].big ? DATA_RW : DATA_RW & ~0x4000u;
        kit.state.gpr[RSP] = rows[i].rsp;
        kit_done(&pop, "llrw");
        assert_true(kit.state.gpr[RSP] == rows[i].popped);
        kit.state.gpr[RSP] = rows[i].rsp;
        kit_done(&push, "llrw");
        assert_true(kit.state.gpr[RSP] == rows[i].pushed);
        assert_true(kit.span[1].linear == rows[i].linear);
    }
}

/* The stack has the checks of SS, also for an operand elsewhere. */
static void test_stack_faults(void **state)
{
    struct insn push, pop;

    (void)state;
    kit.state.gpr[RSP] = BIT(47) + 4;
    push = kit_insn(INSN_PUSH, 8, R);
    pop = kit_insn(INSN_POP, 8, W);
    kit_faults(&push, VECTOR_SS);
    kit_faults(&pop, VECTOR_SS);
    kit.state.gpr[RBX] = BIT(47);
    kit_faults(&push, VECTOR_GP);

    kit_setup(NULL);
    kit_mode(INSN_32);
    kit.cpu.seg[SS] = (struct emu_segment){0, 0xfff, DATA_RW};
    push = kit_insn(INSN_PUSH, 4, R);
    pop = kit_insn(INSN_POP, 4, W);
    kit.state.gpr[RSP] = 0x1000;
    assert_int_equal(kit_run(&push, 1), EMU_DONE);
    kit.state.gpr[RSP] = 0x1000;
    kit_faults(&pop, VECTOR_SS);
    kit.state.gpr[RSP] = 2;
    kit_faults(&push, VECTOR_SS);
    assert_int_equal(kit_run(&pop, 1), EMU_DONE);
    /* POP into a page that is not there, with an address that rests on ESP. */
    kit.missing[0] = true;
    kit.state.gpr[RSP] = 0x100;
    kit.cpu.seg[DS].base = 0x1000;
    pop.base = RSP;
    pop.disp = (int64_t)-0x104;
    kit.missing[0] = false;
    kit.missing[1] = true;
    assert_int_equal(kit_run_unchanged(&pop), EMU_FAULT);
    assert_true(kit.fault.address == 0x1000 && kit.fault.error == PF_WRITE);
}

/* ---- vectors ---- */

static void test_vector_rules(void **state)
{
    static const struct {
        uint64_t cr0_set, cr0_clear, cr4_clear, xcr0_clear, rflags;
        enum vector legacy, vex;
    } rows[] = {
        {0, 0, 0, 0, 0, NONE, NONE},
        {CR0_EM, 0, 0, 0, 0, VECTOR_UD, NONE},
        {CR0_TS, 0, 0, 0, 0, VECTOR_NM, VECTOR_NM},
        {CR0_EM | CR0_TS, 0, 0, 0, 0, VECTOR_UD, VECTOR_NM},
        {0, 0, CR4_OSFXSR, 0, 0, VECTOR_UD, NONE},
        {0, 0, CR4_OSXSAVE, 0, 0, NONE, VECTOR_UD},
        {CR0_TS, 0, CR4_OSXSAVE, 0, 0, VECTOR_NM, VECTOR_UD},
        {0, 0, 0, XCR0_AVX, 0, NONE, VECTOR_UD},
        {0, 0, 0, XCR0_SSE, 0, NONE, VECTOR_UD},
        {0, CR0_PE, 0, 0, 0, NONE, VECTOR_UD},
        {0, 0, 0, 0, RFLAGS_VM, NONE, VECTOR_UD},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
        for (uint8_t vector = INSN_XMM; vector <= INSN_VEX_256; vector++)
            for (unsigned missing = 0; missing < 2; missing++) {
                struct insn insn = kit_insn_reg(INSN_VECTOR, 4, R, 1);
                enum vector want = vector == INSN_XMM ? rows[i].legacy : rows[i].vex;

                kit_setup(NULL);
                insn.vector = vector;
                kit.cpu.cr0 = (kit.cpu.cr0 | rows[i].cr0_set) & ~rows[i].cr0_clear;
                kit.cpu.cr4 &= ~rows[i].cr4_clear;
                kit.cpu.xcr0 &= ~rows[i].xcr0_clear;
                kit.state.rflags |= rows[i].rflags;
                memset(kit.missing, missing != 0, sizeof(kit.missing));
                if (want == NONE && missing)
                    want = VECTOR_PF;
                if (want == VECTOR_PF)
                    assert_int_equal(kit_run_unchanged(&insn), EMU_FAULT);
                else
                    expect(&insn, want, KIT_PLACE);
                if (want != NONE)
                    assert_int_equal(kit.fault.vector, want);
            }
}

/* What is not a vector register heeds none of it. */
static void test_no_vector(void **state)
{
    struct insn insn = kit_insn_reg(INSN_MOV, 4, W, RDX); /* MOVNTI */

    (void)state;
    kit.cpu.cr0 |= CR0_EM | CR0_TS;
    kit.cpu.cr4 = kit.cpu.xcr0 = 0;
    kit_done(&insn, "lw");
}

/* Register 5 after a load of `bytes`: from memory, as before, or 0. */
static void test_vector_loads(void **state)
{
    static const struct {
        uint8_t bytes, vector, lane;
        bool merge;
        uint8_t from, to; /* bytes of the register that memory gives */
        uint8_t kept;     /* from here on the others stay; before it they are 0 unless merged */
        const char *calls;
    } rows[] = {
        {16, INSN_XMM, 0, false, 0, 16, 16, "lrs"},
        {8, INSN_XMM, 0, false, 0, 8, 16, "lrs"},
        {4, INSN_XMM, 0, false, 0, 4, 16, "lrs"},
        {8, INSN_XMM, 0, true, 0, 8, 0, "lgrs"},
        {8, INSN_XMM, 8, true, 8, 16, 0, "lgrs"},
        {16, INSN_VEX_128, 0, false, 0, 16, 32, "lrz"},
        {8, INSN_VEX_128, 0, false, 0, 8, 32, "lrz"},
        {4, INSN_VEX_128, 0, false, 0, 4, 32, "lrz"},
        {32, INSN_VEX_256, 0, false, 0, 32, 32, "lrz"},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
        struct insn insn = kit_insn_reg(INSN_VECTOR, rows[i].bytes, R, 5);
        struct kit_state was;

        kit_setup(NULL);
        insn.vector = rows[i].vector;
        insn.lane = rows[i].lane;
        insn.merge = rows[i].merge;
        was = kit.state;
        kit_done(&insn, rows[i].calls);
        for (unsigned b = 0; b < EMU_MAX_BYTES; b++) {
            uint8_t want = b >= rows[i].kept ? was.vector[5][b] : 0;

            if (b >= rows[i].from && b < rows[i].to)
                want = was.memory[(KIT_PLACE + b - rows[i].from) % KIT_BYTES];
            assert_int_equal(kit.state.vector[5][b], want);
        }
        memcpy(was.vector[5], kit.state.vector[5], EMU_MAX_BYTES);
        assert_memory_equal(&kit.state, &was, sizeof(was));
    }
}

static void test_vector_stores(void **state)
{
    static const struct {
        uint8_t bytes, vector, lane;
    } rows[] = {
        {16, INSN_XMM, 0},     {8, INSN_XMM, 0},     {4, INSN_XMM, 0},      {8, INSN_XMM, 8},
        {16, INSN_VEX_128, 0}, {8, INSN_VEX_128, 8}, {32, INSN_VEX_256, 0},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
        struct insn insn = kit_insn_reg(INSN_VECTOR, rows[i].bytes, W, 15);
        struct kit_state was;

        kit_setup(NULL);
        insn.vector = rows[i].vector;
        insn.lane = rows[i].lane;
        kit.state.gpr[RBX] = ALIGN_UP(KIT_PLACE, PAGE_BYTES) - 3;
        was = kit.state;
        kit_done(&insn, "lgw");
        memcpy(&was.memory[kit.state.gpr[RBX] % KIT_BYTES], &was.vector[15][rows[i].lane],
               rows[i].bytes);
        assert_memory_equal(&kit.state, &was, sizeof(was));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(test_types),        KIT_TEST(test_real_mode),     KIT_TEST(test_limits),
        KIT_TEST(test_bases),        KIT_TEST(test_canonical),     KIT_TEST(test_alignment_check),
        KIT_TEST(test_aligned),      KIT_TEST(test_order),         KIT_TEST(test_order_of_operands),
        KIT_TEST(test_push),         KIT_TEST(test_pop),           KIT_TEST(test_stack_widths),
        KIT_TEST(test_stack_faults), KIT_TEST(test_vector_rules),  KIT_TEST(test_no_vector),
        KIT_TEST(test_vector_loads), KIT_TEST(test_vector_stores),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
