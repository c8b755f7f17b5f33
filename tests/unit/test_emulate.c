/* What each instruction leaves in memory, registers and flags, and in which order it calls. */
#include "tests/unit/emu_kit.h"

#include <stdlib.h>
#include <string.h>

#define ALL_ONES 0xffffffffffffffffull

/* One operand at KIT_PLACE and a register, before and after. */
struct row {
    enum insn_op op;
    uint8_t bytes, access;
    bool to_reg;
    uint64_t memory, reg;
    uint64_t flags; /* before */
    uint64_t want_memory, want_reg;
    uint64_t want_flags;
};

static void check_row(const struct row *row)
{
    struct insn insn = kit_insn_reg(row->op, row->bytes, row->access, RDX);

    kit_setup(NULL);
    insn.to_reg = row->to_reg;
    kit.state.gpr[RDX] = row->reg;
    kit.state.rflags = 2 | RFLAGS_DF | row->flags;
    kit_poke(KIT_PLACE - 8, ALL_ONES, 8);
    kit_poke(KIT_PLACE, row->memory, row->bytes);
    kit_poke(KIT_PLACE + row->bytes, ALL_ONES, 8);
    assert_int_equal(kit_run(&insn, 1), EMU_DONE);
    assert_true(kit_peek(KIT_PLACE, row->bytes) == row->want_memory);
    assert_true(kit.state.gpr[RDX] == row->want_reg);
    assert_true(kit.state.rflags == (2 | RFLAGS_DF | row->want_flags));
    assert_true(kit_peek(KIT_PLACE - 8, 8) == ALL_ONES);
    assert_true(kit_peek(KIT_PLACE + row->bytes, 8) == ALL_ONES);
}

#define CHECK_ROWS(rows)                                \
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {  \
        if (getenv("ROW"))                              \
            print_message("line %u of " #rows "\n", i); \
        check_row(&(rows)[i]);                          \
    }

#define REG 0x1122334455667788ull

static void test_moves(void **state)
{
    static const struct row rows[] = {
        {INSN_MOV, 1, W, false, 0x99, REG, STATUS, 0x88, REG, STATUS},
        {INSN_MOV, 2, W, false, 0x9999, REG, 0, 0x7788, REG, 0},
        {INSN_MOV, 4, W, false, 0x99999999, REG, 0, 0x55667788, REG, 0},
        {INSN_MOV, 8, W, false, 0x9999999999999999, REG, 0, REG, REG, 0},
        {INSN_MOV, 1, R, true, 0x99, REG, STATUS, 0x99, 0x1122334455667799, STATUS},
        {INSN_MOV, 2, R, true, 0x9988, REG, 0, 0x9988, 0x1122334455669988, 0},
        {INSN_MOV, 4, R, true, 0x99887766, REG, 0, 0x99887766, 0x99887766, 0},
        {INSN_MOV, 8, R, true, 0x99887766, REG, 0, 0x99887766, 0x99887766, 0},
        {INSN_MOVBE, 2, W, false, 0, REG, STATUS, 0x8877, REG, STATUS},
        {INSN_MOVBE, 4, W, false, 0, REG, 0, 0x88776655, REG, 0},
        {INSN_MOVBE, 8, W, false, 0, REG, 0, 0x8877665544332211, REG, 0},
        {INSN_MOVBE, 2, R, true, 0x9988, REG, 0, 0x9988, 0x1122334455668899, 0},
        {INSN_MOVBE, 4, R, true, 0x99887766, REG, 0, 0x99887766, 0x66778899, 0},
        {INSN_MOVBE, 8, R, true, REG, 0, 0, REG, 0x8877665544332211, 0},
    };

    (void)state;
    CHECK_ROWS(rows);
}

/* Widths that differ, high bytes and immediates. */
static void test_other_operands(void **state)
{
    struct insn insn = kit_insn_reg(INSN_MOV, 1, R, RDX);

    (void)state;
    kit.state.gpr[RDX] = REG;
    kit_poke(KIT_PLACE, 0x80, 1);
    insn.reg_bytes = 8;
    insn.sign_extend = true;
    kit_done(&insn, "lr");
    assert_true(kit.state.gpr[RDX] == 0xffffffffffffff80);
    insn.sign_extend = false;
    kit_done(&insn, "lr");
    assert_true(kit.state.gpr[RDX] == 0x80);

    kit.state.gpr[RDX] = REG;
    insn.reg_bytes = 1;
    insn.high_byte = true;
    kit_done(&insn, "lr");
    assert_true(kit.state.gpr[RDX] == 0x1122334455668088);
    insn = kit_insn_reg(INSN_ADD, 1, RW, RDX);
    insn.high_byte = true;
    kit_done(&insn, "lrw");
    assert_true(kit_peek(KIT_PLACE, 1) == 0);
    assert_true(kit.state.rflags == (2 | RFLAGS_CF | RFLAGS_PF | RFLAGS_ZF | RFLAGS_OF));

    insn = kit_insn(INSN_MOV, 4, W);
    insn.has_imm = true;
    insn.imm = 0xffffffff80000001;
    kit_poke(KIT_PLACE + 4, 0x33, 1);
    kit_done(&insn, "lw");
    assert_true(kit_peek(KIT_PLACE, 4) == 0x80000001 && kit_peek(KIT_PLACE + 4, 1) == 0x33);
    insn = kit_insn(INSN_SUB, 4, RW);
    insn.has_imm = true;
    insn.imm = 0xffffffffffffffff;
    kit_done(&insn, "lrw");
    assert_true(kit_peek(KIT_PLACE, 4) == 0x80000002);
    assert_true(kit.state.rflags == (2 | RFLAGS_CF | RFLAGS_AF | RFLAGS_SF));
}

#define Z RFLAGS_ZF
#define C RFLAGS_CF
#define P RFLAGS_PF
#define A RFLAGS_AF
#define S RFLAGS_SF
#define O RFLAGS_OF

/* The result's place and the order of the operands; test_alu.c has the values. */
static void test_arithmetic(void **state)
{
    static const struct row rows[] = {
        {INSN_ADD, 4, RW, false, 0xffffffff, 1, 0, 0, 1, Z | C | P | A},
        {INSN_ADD, 4, R, true, 0xffffffff, REG, 0, 0xffffffff, 0x55667787, C | P | A},
        {INSN_OR, 2, RW, false, 0x8000, 0xffff0001, STATUS, 0x8001, 0xffff0001, S},
        {INSN_OR, 2, R, true, 0x8000, 0xffff0001, STATUS, 0x8000, 0xffff8001, S},
        {INSN_ADC, 8, RW, false, ALL_ONES, 0, C, 0, 0, Z | C | P | A},
        {INSN_ADC, 1, R, true, 0x7f, 0x300, C, 0x7f, 0x380, A | S | O},
        {INSN_SBB, 1, RW, false, 5, 4, C, 0, 4, Z | P},
        {INSN_SBB, 4, R, true, 5, ALL_ONES << 32 | 4, C, 5, 0xfffffffe, C | A | S},
        {INSN_AND, 1, RW, false, 0x83, 0x7c, STATUS, 0, 0x7c, Z | P},
        {INSN_AND, 8, R, true, 0xff, REG, 0, 0xff, 0x88, P},
        {INSN_SUB, 2, RW, false, 3, 5, 0, 0xfffe, 5, C | A | S},
        {INSN_SUB, 2, R, true, 3, 5, 0, 3, 2, 0},
        {INSN_XOR, 4, RW, false, REG & 0xffffffff, REG, C | O, 0, REG, Z | P},
        {INSN_XOR, 4, R, true, 0x55667788, REG, 0, 0x55667788, 0, Z | P},
        {INSN_CMP, 4, R, false, 3, 5, 0, 3, 5, C | A | S},
        {INSN_CMP, 4, R, true, 5, ALL_ONES << 32 | 3, 0, 5, ALL_ONES << 32 | 3, C | A | S},
        {INSN_TEST, 4, R, false, 0x80000000, ALL_ONES, C | O, 0x80000000, ALL_ONES, S | P},
        {INSN_TEST, 4, R, true, 0x80000000, ALL_ONES, C | O, 0x80000000, ALL_ONES, S | P},
        {INSN_XCHG, 4, RW, false, 0x89abcdef, REG, STATUS, 0x55667788, 0x89abcdef, STATUS},
        {INSN_XCHG, 1, RW, false, 0x89, REG, 0, 0x88, 0x1122334455667789, 0},
        {INSN_XADD, 2, RW, false, 0xfff0, 0x10020, 0, 0x10, 0x1fff0, C},
        {INSN_XADD, 4, RW, false, 1, REG, 0, 0x55667789, 1, 0},
        {INSN_XADD, 8, RW, false, 1, ALL_ONES, 0, 0, 1, Z | C | P | A},
    };
    static const struct row alone[] = {
        {INSN_NOT, 4, RW, false, 0xf0f0f0f0, 0, STATUS, 0x0f0f0f0f, 0, STATUS},
        {INSN_NEG, 2, RW, false, 0x8000, 0, 0, 0x8000, 0, C | S | O | P},
        {INSN_INC, 1, RW, false, 0xff, 0, C, 0, 0, Z | P | A | C},
        {INSN_DEC, 8, RW, false, 0, 0, 0, ALL_ONES, 0, S | P | A},
    };

    (void)state;
    CHECK_ROWS(rows);
    for (unsigned i = 0; i < ARRAY_COUNT(alone); i++) {
        struct insn insn = kit_insn(alone[i].op, alone[i].bytes, RW);

        kit_setup(NULL);
        kit.state.rflags = 2 | alone[i].flags;
        kit_poke(KIT_PLACE, alone[i].memory, alone[i].bytes);
        kit_done(&insn, "lrw");
        assert_true(kit_peek(KIT_PLACE, alone[i].bytes) == alone[i].want_memory);
        assert_true(kit.state.rflags == (2 | alone[i].want_flags));
    }
}

/* A register that is replaced and is in the address too: the address comes first. */
static void test_address_before_result(void **state)
{
    struct insn insn = kit_insn_reg(INSN_XADD, 8, RW, RBX);

    (void)state;
    kit_poke(KIT_PLACE, 5, 8);
    kit_done(&insn, "lrw");
    assert_true(kit_peek(KIT_PLACE, 8) == KIT_PLACE + 5);
    assert_true(kit.state.gpr[RBX] == 5);
}

/* CMPXCHG m, rDX: accumulator, memory, and what is left of both. */
static void test_compare_exchange(void **state)
{
    static const struct {
        uint8_t bytes;
        uint64_t rax, memory, want_rax, want_memory, flags;
    } rows[] = {
        {1, 0xab12, 0x12, 0xab12, 0x88, Z | P},
        {1, 0xab12, 0x13, 0xab13, 0x13, C | P | A | S},
        {2, 0xabcd1234, 0x1234, 0xabcd1234, 0x7788, Z | P},
        {2, 0xabcd1234, 0x1233, 0xabcd1233, 0x1233, 0},
        {4, 0xaaaaaaaa12345678, 0x12345678, 0xaaaaaaaa12345678, 0x55667788, Z | P},
        {4, 0xaaaaaaaa12345678, 0x92345678, 0x92345678, 0x92345678, C | P | S | O},
        {8, 0xaaaaaaaa12345678, 0xaaaaaaaa12345678, 0xaaaaaaaa12345678, REG, Z | P},
        {8, 2, 1, 1, 1, 0},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
        struct insn insn = kit_insn_reg(INSN_CMPXCHG, rows[i].bytes, RW, RDX);

        kit.state.gpr[RAX] = rows[i].rax;
        kit.state.gpr[RDX] = REG;
        kit_poke(KIT_PLACE, rows[i].memory, rows[i].bytes);
        kit_done(&insn, "lrw");
        assert_true(kit.state.gpr[RAX] == rows[i].want_rax);
        assert_true(kit.state.gpr[RDX] == REG);
        assert_true(kit_peek(KIT_PLACE, rows[i].bytes) == rows[i].want_memory);
        assert_true(kit.state.rflags == (2 | rows[i].flags));
    }
}

/* CMPXCHG m8, DH: the source is a high byte, the accumulator is AL. */
static void test_compare_exchange_high(void **state)
{
    struct insn insn = kit_insn_reg(INSN_CMPXCHG, 1, RW, RDX);

    (void)state;
    insn.high_byte = true;
    kit.state.gpr[RAX] = 0xab12;
    kit.state.gpr[RDX] = REG;
    kit_poke(KIT_PLACE, 0x12, 1);
    kit_done(&insn, "lrw");
    assert_true(kit_peek(KIT_PLACE, 1) == 0x77 && kit.state.gpr[RAX] == 0xab12);
}

static void test_compare_exchange_pair(void **state)
{
    struct insn insn = kit_insn(INSN_CMPXCHG_PAIR, 8, RW);
    const uint64_t high = 0xeeeeeeee00000000;

    (void)state;
    kit.state.gpr[RAX] = high | 0x11111111;
    kit.state.gpr[RDX] = high | 0x22222222;
    kit.state.gpr[RCX] = high | 0x44444444;
    kit.state.rflags = 2 | (STATUS & ~Z);
    /* RBX is the address: its low half is what is written. */
    kit_poke(KIT_PLACE, 0x2222222211111111, 8);
    kit_poke(KIT_PLACE + 8, 0x99, 1);
    kit_done(&insn, "lrw");
    assert_true(kit_peek(KIT_PLACE, 8) == (0x4444444400000000 | (KIT_PLACE & 0xffffffff)));
    assert_true(kit_peek(KIT_PLACE + 8, 1) == 0x99);
    assert_true(kit.state.gpr[RAX] == (high | 0x11111111));
    assert_true(kit.state.gpr[RDX] == (high | 0x22222222));
    assert_true(kit.state.rflags == (2 | STATUS));

    /* Only one half is alike. */
    for (unsigned half = 0; half < 2; half++) {
        kit.state.gpr[RAX] = half ? 0x11111111 : 0x33333333;
        kit.state.gpr[RDX] = half ? 0x33333333 : 0x22222222;
        kit_poke(KIT_PLACE, 0x2222222211111111, 8);
        kit_done(&insn, "lrw");
        assert_true(kit_peek(KIT_PLACE, 8) == 0x2222222211111111);
        assert_true(kit.state.gpr[RAX] == 0x11111111 && kit.state.gpr[RDX] == 0x22222222);
        assert_true(kit.state.rflags == (2 | (STATUS & ~Z)));
    }
}

static void test_compare_exchange_16(void **state)
{
    struct insn insn = kit_insn(INSN_CMPXCHG_PAIR, 16, RW);

    (void)state;
    insn.aligned = true;
    kit_poke(KIT_PLACE, kit.state.gpr[RAX], 8);
    kit_poke(KIT_PLACE + 8, kit.state.gpr[RDX], 8);
    kit.state.gpr[RCX] = REG;
    kit_done(&insn, "lrw");
    assert_true(kit_peek(KIT_PLACE, 8) == KIT_PLACE && kit_peek(KIT_PLACE + 8, 8) == REG);
    assert_true(kit.state.rflags == (2 | Z));

    kit.state.gpr[RAX] = KIT_PLACE;
    kit_done(&insn, "lrw");
    assert_true(kit_peek(KIT_PLACE, 8) == KIT_PLACE && kit_peek(KIT_PLACE + 8, 8) == REG);
    assert_true(kit.state.gpr[RAX] == KIT_PLACE && kit.state.gpr[RDX] == REG);
    assert_true(kit.state.rflags == 2);
    kit.state.gpr[RBX] += 8;
    kit_faults(&insn, VECTOR_GP);
}

/* A bit number in a register: where the access goes and which bit it is. */
static void test_bit_strings(void **state)
{
    static const struct {
        uint8_t bytes;
        uint64_t number;
        int64_t at;
        unsigned bit;
    } rows[] = {
        {2, 0xabc0000, 0, 0},
        {2, 15, 0, 15},
        {2, 16, 2, 0},
        {2, 0x1ffff, -2, 15},
        {2, 0x7fff, 4094, 15},
        {2, 0x8000, -4096, 0},
        {4, 31, 0, 31},
        {4, 0xffffffff00000020, 4, 0},
        {4, 0xffffffff, -4, 31},
        {4, 0xffffffffffffffe0, -4, 0},
        {4, 0xffffffdf, -8, 31},
        {8, 63, 0, 63},
        {8, 0x100, 32, 0},
        {8, ALL_ONES, -8, 63},
        {8, 0x80000000, 0x10000000, 0},
        {8, 0x4000000000, 0x800000000, 0},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
        for (unsigned set = 0; set < 2; set++)
            for (enum insn_op op = INSN_BT; op <= INSN_BTC; op++) {
                struct insn insn = kit_insn_reg(op, rows[i].bytes, op == INSN_BT ? R : RW, RDX);
                const uint64_t at = KIT_PLACE + (uint64_t)rows[i].at, bit = BIT(rows[i].bit);
                const uint64_t was = set ? bit : 0;
                const uint64_t want[] = {was, bit, 0, was ^ bit};

                kit.state.gpr[RDX] = rows[i].number;
                kit.state.rflags = 2 | (STATUS & ~C);
                kit_poke(at, was, rows[i].bytes);
                kit_done(&insn, op == INSN_BT ? "lr" : "lrw");
                assert_true(kit.span[0].linear == at);
                assert_int_equal(kit.span[0].bytes, rows[i].bytes);
                assert_true(kit_peek(at, rows[i].bytes) == want[op - INSN_BT]);
                assert_true(kit.state.rflags == (2 | (STATUS & ~C) | (set ? C : 0)));
            }
}

/* An immediate never leaves the operand; a register's part is cut with the address. */
static void test_bit_immediates(void **state)
{
    struct insn insn = kit_insn(INSN_BTS, 2, RW);

    (void)state;
    insn.has_imm = true;
    insn.imm = 0xffffffffffffffe3; /* 3 modulo 16 */
    kit_poke(KIT_PLACE, 0, 2);
    kit_done(&insn, "lrw");
    assert_true(kit.span[0].linear == KIT_PLACE && kit_peek(KIT_PLACE, 2) == 8);

    kit_mode(INSN_16);
    kit.state.gpr[RBX] = 2;
    kit.state.gpr[RDX] = 0xffcf; /* -49: 8 bytes down, bit 15 */
    insn = kit_insn_reg(INSN_BTS, 2, RW, RDX);
    kit_poke(0xfffa, 0, 2);
    kit_done(&insn, "lrw");
    assert_true(kit.span[0].linear == 0xfffa && kit_peek(0xfffa, 2) == 0x8000);
}

/* ---- every form ---- */

enum { TO_REG = 1, LOCKED = 2, STRINGS = 4, REPEATED = 8 };

static const struct form {
    enum insn_op op;
    uint8_t bytes, access, reg, flags;
    const char *calls;
} forms[] = {
    {INSN_MOV, 4, R, RDX, TO_REG, "lr"},
    {INSN_MOV, 4, W, RDX, 0, "lw"},
    {INSN_MOVBE, 4, R, RDX, TO_REG, "lr"},
    {INSN_MOVBE, 4, W, RDX, 0, "lw"},
    {INSN_ADD, 4, RW, RDX, 0, "lrw"},
    {INSN_OR, 4, RW, RDX, LOCKED, "l[rw]"},
    {INSN_ADC, 4, RW, RDX, LOCKED, "l[rw]"},
    {INSN_SBB, 4, RW, RDX, 0, "lrw"},
    {INSN_AND, 4, R, RDX, TO_REG, "lr"},
    {INSN_SUB, 4, RW, RDX, LOCKED, "l[rw]"},
    {INSN_XOR, 4, RW, RDX, 0, "lrw"},
    {INSN_CMP, 4, R, RDX, 0, "lr"},
    {INSN_CMP, 4, R, RDX, TO_REG, "lr"},
    {INSN_TEST, 4, R, RDX, 0, "lr"},
    {INSN_NOT, 4, RW, INSN_NO_REG, LOCKED, "l[rw]"},
    {INSN_NEG, 4, RW, INSN_NO_REG, LOCKED, "l[rw]"},
    {INSN_INC, 4, RW, INSN_NO_REG, LOCKED, "l[rw]"},
    {INSN_DEC, 4, RW, INSN_NO_REG, LOCKED, "l[rw]"},
    {INSN_BT, 4, R, RDX, 0, "lr"},
    {INSN_BTS, 4, RW, RDX, LOCKED, "l[rw]"},
    {INSN_BTR, 4, RW, RDX, LOCKED, "l[rw]"},
    {INSN_BTC, 4, RW, RDX, 0, "lrw"},
    {INSN_XCHG, 4, RW, RDX, LOCKED, "l[rw]"},
    {INSN_XADD, 4, RW, RDX, LOCKED, "l[rw]"},
    {INSN_CMPXCHG, 4, RW, RDX, LOCKED, "l[rw]"},
    {INSN_CMPXCHG_PAIR, 8, RW, INSN_NO_REG, LOCKED, "l[rw]"},
    {INSN_CMPXCHG_PAIR, 16, RW, INSN_NO_REG, 0, "lrw"},
    {INSN_PUSH, 8, R, INSN_NO_REG, 0, "llrw"},
    {INSN_POP, 8, W, INSN_NO_REG, 0, "llrw"},
    {INSN_MOVS, 4, RW, INSN_NO_REG, STRINGS, "llrw"},
    {INSN_CMPS, 4, R, INSN_NO_REG, STRINGS, "llrr"},
    {INSN_STOS, 4, W, INSN_NO_REG, STRINGS, "lw"},
    {INSN_LODS, 4, R, INSN_NO_REG, STRINGS, "lr"},
    {INSN_SCAS, 4, R, INSN_NO_REG, STRINGS, "lr"},
    {INSN_MOVS, 4, RW, INSN_NO_REG, STRINGS | REPEATED, "llrw"},
    {INSN_CMPS, 4, R, INSN_NO_REG, STRINGS | REPEATED, "llrr"},
    {INSN_VECTOR, 16, W, 3, 0, "lgw"},
    {INSN_VECTOR, 16, R, 3, TO_REG, "lrs"},
};

static struct insn insn_of(const struct form *form)
{
    struct insn insn = form->flags & STRINGS ? kit_string(form->op, form->bytes, INSN_ONCE)
                                             : kit_insn(form->op, form->bytes, form->access);

    insn.reg = form->reg;
    insn.to_reg = form->flags & TO_REG;
    insn.locked = form->flags & LOCKED;
    if (form->flags & REPEATED)
        insn.repeat = INSN_REPE;
    return insn;
}

static void test_calls(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(forms); i++) {
        struct insn insn = insn_of(&forms[i]);

        kit_setup(NULL);
        kit.state.gpr[RDX] = i;
        kit_done(&insn, forms[i].calls);
        assert_int_equal(kit.span[0].bytes, forms[i].bytes);
    }
}

/* Each span of each form fails: the fault is told, and nothing else happened. */
static void test_faults(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(forms); i++) {
        const unsigned spans = (unsigned)strspn(forms[i].calls, "l");
        struct insn insn = insn_of(&forms[i]);

        for (unsigned n = 1; n <= spans; n++) {
            kit_setup(NULL);
            kit.fail_in = n;
            assert_int_equal(kit_run_unchanged(&insn), EMU_FAULT);
            assert_int_equal(strlen(kit.calls), n);
            assert_int_equal(kit.fault.vector, VECTOR_PF);
            assert_int_not_equal(kit.fault.address % KIT_BYTES, 0);
        }
    }
}

/* Nothing traps: the CPU is to do it. And with any one right less, it is done here. */
static void test_retry(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(forms); i++) {
        const unsigned spans = (unsigned)strspn(forms[i].calls, "l");
        struct insn insn = insn_of(&forms[i]);
        struct emu_span was[2];

        kit_setup(NULL);
        memset(kit.rights, RW, sizeof(kit.rights));
        assert_int_equal(kit_run_unchanged(&insn), EMU_RETRY);
        memcpy(was, kit.span, sizeof(was));
        for (unsigned n = 0; n < spans; n++)
            for (uint8_t right = R; right <= W; right++) {
                uint8_t *rights = &kit.rights[was[n].linear / PAGE_BYTES % KIT_PAGES];

                *rights = RW & (uint8_t)~right;
                if (was[n].access & right)
                    kit_done(&insn, forms[i].calls);
                else
                    assert_int_equal(kit_run_unchanged(&insn), EMU_RETRY);
                kit_setup(NULL);
                memset(kit.rights, RW, sizeof(kit.rights));
            }
    }
}

/* An operand in two pages: only one of them traps, or is missing. */
static void test_two_pages(void **state)
{
    const uint64_t border = ALIGN_UP(KIT_PLACE, PAGE_BYTES);
    const unsigned page = (unsigned)(border / PAGE_BYTES % KIT_PAGES);
    struct insn insn = kit_insn_reg(INSN_ADD, 8, RW, RDX);

    (void)state;
    kit.state.gpr[RBX] = border - 3;
    kit.state.gpr[RDX] = 0x0102030405060708;
    memset(kit.rights, RW, sizeof(kit.rights));
    assert_int_equal(kit_run_unchanged(&insn), EMU_RETRY);
    kit.rights[page] = R;
    kit_poke(border - 3, 0x1010101010101010, 8);
    kit_done(&insn, "lrw");
    assert_true(kit_peek(border - 3, 8) == 0x1112131415161718);
    kit.rights[page] = RW;
    kit.rights[page - 1] = R;
    kit_done(&insn, "lrw");
    kit.state.gpr[RBX] = border - 8; /* just not in the second */
    kit.rights[page - 1] = RW;
    kit.rights[page] = 0;
    assert_int_equal(kit_run_unchanged(&insn), EMU_RETRY);
    kit.missing[page] = true;
    assert_int_equal(kit_run_unchanged(&insn), EMU_RETRY);
    kit.state.gpr[RBX]++;
    assert_int_equal(kit_run_unchanged(&insn), EMU_FAULT);
    assert_true(kit.fault.address == border);
}

static void test_unsupported(void **state)
{
    struct insn insn = kit_insn(INSN_OTHER, 0, 0);

    (void)state;
    assert_int_equal(kit_run_unchanged(&insn), EMU_UNSUPPORTED);
    assert_string_equal(kit.calls, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(test_moves),
        KIT_TEST(test_other_operands),
        KIT_TEST(test_arithmetic),
        KIT_TEST(test_address_before_result),
        KIT_TEST(test_compare_exchange),
        KIT_TEST(test_compare_exchange_high),
        KIT_TEST(test_compare_exchange_pair),
        KIT_TEST(test_compare_exchange_16),
        KIT_TEST(test_bit_strings),
        KIT_TEST(test_bit_immediates),
        KIT_TEST(test_calls),
        KIT_TEST(test_faults),
        KIT_TEST(test_retry),
        KIT_TEST(test_two_pages),
        KIT_TEST(test_unsupported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
