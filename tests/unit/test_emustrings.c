/* String instructions: each element, both directions, counts, faults and returns between two iterations. */
#include "tests/unit/emu_kit.h"

#include <string.h>

#define SOURCE (KIT_PLACE + 2 * PAGE_BYTES)
#define TARGET (KIT_PLACE + 4 * PAGE_BYTES)
#define MANY   1000u

static const enum insn_op ops[] = {INSN_MOVS, INSN_CMPS, INSN_STOS, INSN_LODS, INSN_SCAS};

static bool has_source(enum insn_op op)
{
    return op == INSN_MOVS || op == INSN_CMPS || op == INSN_LODS;
}

static bool has_target(enum insn_op op)
{
    return op != INSN_LODS;
}

static bool compares(enum insn_op op)
{
    return op == INSN_CMPS || op == INSN_SCAS;
}

/* After `count` iterations of `bytes` from SOURCE and TARGET, with `left` to do. */
static void expect_registers(enum insn_op op, int64_t bytes, uint64_t count, uint64_t left)
{
    const uint64_t moved = (uint64_t)bytes * count;

    assert_true(kit.state.gpr[RSI] == SOURCE + (has_source(op) ? moved : 0));
    assert_true(kit.state.gpr[RDI] == TARGET + (has_target(op) ? moved : 0));
    assert_true(kit.state.gpr[RCX] == left);
}

static uint64_t low(uint64_t value, unsigned bytes)
{
    return value & ones_of(bytes);
}

/* One element, each width, both directions; RCX has no part. */
static void test_single(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(ops); i++)
        for (unsigned bytes = 1; bytes <= 8; bytes *= 2)
            for (unsigned down = 0; down < 2; down++) {
                struct insn insn = kit_string(ops[i], bytes, INSN_ONCE);
                uint64_t rax, source, target, flags;

                kit_setup(NULL);
                kit.state.gpr[RCX] = 0;
                kit.state.rflags |= down ? RFLAGS_DF : 0;
                rax = kit.state.gpr[RAX];
                source = kit_peek(SOURCE, bytes);
                target = kit_peek(TARGET, bytes);
                flags = kit.state.rflags;
                assert_int_equal(kit_run(&insn, 1), EMU_DONE);
                expect_registers(ops[i], down ? -(int64_t)bytes : (int64_t)bytes, 1, 0);
                if (ops[i] == INSN_MOVS)
                    assert_true(kit_peek(TARGET, bytes) == source);
                else if (ops[i] == INSN_STOS)
                    assert_true(kit_peek(TARGET, bytes) == low(rax, bytes));
                else
                    assert_true(kit_peek(TARGET, bytes) == target);
                if (ops[i] == INSN_CMPS)
                    alu(INSN_CMP, bytes, source, target, &flags);
                else if (ops[i] == INSN_SCAS)
                    alu(INSN_CMP, bytes, low(rax, bytes), target, &flags);
                assert_true(kit.state.rflags == flags);
                if (ops[i] == INSN_LODS && bytes >= 4)
                    rax = source;
                else if (ops[i] == INSN_LODS)
                    rax = (rax & ~ones_of(bytes)) | source;
                assert_true(kit.state.gpr[RAX] == rax);
            }
}

/* A count, to its end; the kind of repetition is no matter where nothing is compared. */
static void test_repeated(void **state)
{
    uint8_t want[KIT_BYTES];

    (void)state;
    for (enum insn_repeat repeat = INSN_REPE; repeat <= INSN_REPNE; repeat++)
        for (unsigned bytes = 1; bytes <= 8; bytes *= 2)
            for (unsigned down = 0; down < 2; down++) {
                const int64_t by = down ? -(int64_t)bytes : (int64_t)bytes;
                struct insn insn = kit_string(INSN_MOVS, bytes, repeat);

                /* From the source's page into the one before or behind it, and likewise the target. */
                kit_setup(NULL);
                kit.state.gpr[RCX] = MANY;
                kit.state.rflags |= down ? RFLAGS_DF : 0;
                memcpy(want, kit.state.memory, sizeof(want));
                for (int64_t n = 0; n < MANY; n++)
                    memcpy(&want[(TARGET + (uint64_t)(by * n)) % KIT_BYTES],
                           &want[(SOURCE + (uint64_t)(by * n)) % KIT_BYTES], bytes);
                assert_int_equal(kit_run(&insn, MANY), EMU_DONE);
                assert_memory_equal(kit.state.memory, want, sizeof(want));
                expect_registers(INSN_MOVS, by, MANY, 0);
                assert_true(kit.state.rflags == (2 | (down ? RFLAGS_DF : 0)));
            }
}

/* Operands that overlap: each element sees what the ones before it wrote. */
static void test_overlap(void **state)
{
    struct insn insn = kit_string(INSN_MOVS, 4, INSN_REPE);

    (void)state;
    kit.state.gpr[RDI] = SOURCE + 1;
    kit.state.gpr[RCX] = 2;
    kit_poke(SOURCE, 0x8877665544332211, 8);
    assert_int_equal(kit_run(&insn, 2), EMU_DONE);
    /* 11 | 11 22 33 44 | 66 .., of which the second element reads 44 66 77 88 */
    assert_true(kit_peek(SOURCE, 5) == 0x4433221111);
    assert_true(kit_peek(SOURCE + 5, 4) == 0x88776644);

    /* The usual way to fill: one byte apart. */
    kit_setup(NULL);
    insn = kit_string(INSN_MOVS, 1, INSN_REPE);
    kit.state.gpr[RDI] = SOURCE + 1;
    kit.state.gpr[RCX] = 8;
    kit_poke(SOURCE, 0x55, 1);
    assert_int_equal(kit_run(&insn, 8), EMU_DONE);
    assert_true(kit_peek(SOURCE, 8) == 0x5555555555555555 && kit_peek(SOURCE + 8, 1) == 0x55);
}

static void test_count_zero(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(ops); i++)
        for (unsigned addr_bytes = 2; addr_bytes <= 8; addr_bytes *= 2)
            for (enum insn_repeat repeat = INSN_REPE; repeat <= INSN_REPNE; repeat++) {
                struct insn insn = kit_string(ops[i], 4, repeat);

                kit_setup(NULL);
                insn.addr_bytes = (uint8_t)addr_bytes;
                kit.state.gpr[RCX] = addr_bytes == 8 ? 0 : 1ull << (addr_bytes * 8);
                kit.state.gpr[RSI] = kit.state.gpr[RDI] = BIT(63); /* nobody looks */
                assert_int_equal(kit_run_unchanged(&insn), EMU_DONE);
                assert_string_equal(kit.calls, "");
            }
}

/* rSI, rDI and rCX have the width of addresses: 2 bytes keep what is above, 4 clear it. */
static void test_address_widths(void **state)
{
    const uint64_t high = 0xeeeeeeee00000000;

    (void)state;
    for (unsigned down = 0; down < 2; down++)
        for (unsigned addr_bytes = 2; addr_bytes <= 4; addr_bytes *= 2) {
            struct insn insn = kit_string(INSN_MOVS, 2, INSN_REPE);
            const uint64_t kept = addr_bytes == 2 ? high | 0x77770000 : 0;
            const uint64_t edge = down ? 0 : ones_of(addr_bytes) - 1;

            kit_setup(NULL);
            insn.addr_bytes = (uint8_t)addr_bytes;
            kit.state.rflags |= down ? RFLAGS_DF : 0;
            kit.state.gpr[RSI] = high | (addr_bytes == 2 ? 0x77770000 : 0) | edge;
            kit.state.gpr[RDI] = high | (addr_bytes == 2 ? 0x77770000 : 0) | 0x1000;
            kit.state.gpr[RCX] = high | (addr_bytes == 2 ? 0x77770000 : 0) | 2;
            assert_int_equal(kit_run(&insn, 1), EMU_AGAIN);
            assert_true(kit.span[0].linear == edge && kit.span[1].linear == 0x1000);
            assert_true(kit.state.gpr[RSI] == (kept | (down ? ones_of(addr_bytes) - 1 : 0)));
            assert_true(kit.state.gpr[RDI] == (kept | (down ? 0xffe : 0x1002)));
            assert_true(kit.state.gpr[RCX] == (kept | 1));
            assert_int_equal(kit_run(&insn, 1), EMU_DONE);
            assert_true(kit.state.gpr[RCX] == kept);
        }
}

/* REPE ends at the first that differs, REPNE at the first that is equal; the flags are those of the last. */
static void test_compares(void **state)
{
    (void)state;
    for (unsigned scas = 0; scas < 2; scas++)
        for (enum insn_repeat repeat = INSN_REPE; repeat <= INSN_REPNE; repeat++)
            for (unsigned stop = 0; stop < 6; stop++) {
                const enum insn_op op = scas ? INSN_SCAS : INSN_CMPS;
                struct insn insn = kit_string(op, 2, repeat);
                const unsigned done = MIN(stop + 1, 5u);
                bool equal;

                kit_setup(NULL);
                kit.state.gpr[RCX] = 5;
                kit.state.gpr[RAX] = 0xabcd1000;
                for (unsigned n = 0; n < 5; n++) {
                    equal = (repeat == INSN_REPE) != (n == stop);
                    kit_poke(SOURCE + n * 2, 0x1000, 2);
                    kit_poke(TARGET + n * 2, equal ? 0x1000 : 0x2000, 2);
                }
                equal = (repeat == INSN_REPE) != (done - 1 == stop);
                assert_int_equal(kit_run(&insn, 10), EMU_DONE);
                expect_registers(op, 2, done, 5 - done);
                assert_true(kit.state.rflags ==
                            (2 | RFLAGS_PF | (equal ? RFLAGS_ZF : RFLAGS_CF | RFLAGS_SF)));
            }
}

/* A bound on the iterations: what is done stays done, and the next call goes on. */
static void test_iterations(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(ops); i++)
        for (unsigned bound = 0; bound <= 6; bound++) {
            struct insn insn = kit_string(ops[i], 2, INSN_REPE);
            unsigned done = 0;

            kit_setup(NULL);
            kit.state.gpr[RCX] = 6;
            kit.state.gpr[RAX] = 0;
            memset(kit.state.memory, 0, sizeof(kit.state.memory));
            while (done < 6) {
                const unsigned now = MIN(MAX(bound, 1u), 6 - done);
                enum emu_result result = kit_run(&insn, bound);

                done += now;
                assert_int_equal(result, done == 6 ? EMU_DONE : EMU_AGAIN);
                expect_registers(ops[i], 2, done, 6 - done);
                assert_int_equal(kit.spans,
                                 now * (ops[i] == INSN_MOVS || ops[i] == INSN_CMPS ? 2 : 1));
                if (compares(ops[i]))
                    assert_true(kit.state.rflags == (2 | RFLAGS_ZF | RFLAGS_PF));
            }
        }
}

/* The iteration that faults changes nothing; those before it stay, their flags too. */
static void test_faults(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(ops); i++)
        for (unsigned down = 0; down < 2; down++)
            for (unsigned n = 1; n <= 8; n++) {
                struct insn insn = kit_string(ops[i], 4, INSN_REPNE);
                const unsigned per = has_source(ops[i]) && has_target(ops[i]) ? 2 : 1;
                const unsigned done = (n - 1) / per;
                uint64_t flags;

                kit_setup(NULL);
                kit.state.gpr[RCX] = 20;
                kit.state.gpr[RAX] = 5;
                kit.state.rflags |= RFLAGS_ZF | (down ? RFLAGS_DF : 0);
                memset(kit.state.memory, 0x11, sizeof(kit.state.memory) / 2);
                memset(&kit.state.memory[TARGET % KIT_BYTES - PAGE_BYTES], 0x33, 2 * PAGE_BYTES);
                flags = kit.state.rflags;
                if (compares(ops[i]) && done != 0)
                    alu(INSN_CMP, 4, ops[i] == INSN_CMPS ? kit_peek(SOURCE, 4) : 5, 0x33333333,
                        &flags);
                kit.fail_in = n;
                assert_int_equal(kit_run(&insn, 20), EMU_FAULT);
                assert_int_equal(kit.fault.vector, VECTOR_PF);
                expect_registers(ops[i], down ? -4 : 4, done, 20 - done);
                assert_true(kit.state.rflags == flags);
                if (done == 0)
                    assert_int_equal(strspn(kit.calls, "l"), strlen(kit.calls));
            }
}

/* What was moved before the missing page is there, up to the last whole element, and nothing behind it. */
static void test_fault_at_page(void **state)
{
    const uint64_t border = ALIGN_UP(TARGET, PAGE_BYTES);
    struct insn insn = kit_string(INSN_STOS, 4, INSN_REPE);

    (void)state;
    kit.missing[border / PAGE_BYTES % KIT_PAGES] = true;
    kit.state.gpr[RDI] = border - 10;
    kit.state.gpr[RCX] = 100;
    kit.state.gpr[RAX] = 0;
    kit_poke(border - 2, 0x7777, 2);
    assert_int_equal(kit_run(&insn, 100), EMU_FAULT);
    assert_true(kit.fault.address == border);
    assert_true(kit.state.gpr[RDI] == border - 2 && kit.state.gpr[RCX] == 98);
    assert_true(kit_peek(border - 10, 8) == 0 && kit_peek(border - 2, 2) == 0x7777);
}

/* Each element is read anew: rAX has the last, and SCAS goes on to the one that is equal. */
static void test_each_element(void **state)
{
    (void)state;
    for (unsigned count = 1; count <= 5; count++) {
        struct insn insn = kit_string(INSN_LODS, 4, INSN_REPE);

        kit_setup(NULL);
        kit.state.gpr[RCX] = count;
        assert_int_equal(kit_run(&insn, 10), EMU_DONE);
        assert_true(kit.state.gpr[RAX] == kit_peek(SOURCE + 4 * (count - 1), 4));
        insn = kit_string(INSN_SCAS, 4, INSN_REPNE);
        kit.state.gpr[RAX] = kit_peek(TARGET + 4 * (count - 1), 4);
        kit.state.gpr[RCX] = 10;
        assert_int_equal(kit_run(&insn, 10), EMU_DONE);
        assert_true(kit.state.gpr[RCX] == 10 - count);
    }
}

/* A page that does not trap ends the work here: at once, or behind the last element that traps. */
static void leave_trapped_page(enum insn_op op, unsigned before)
{
    struct insn insn = kit_string(op, 8, INSN_REPE);
    const uint64_t border = ALIGN_UP(KIT_PLACE, PAGE_BYTES);

    kit_setup(NULL);
    memset(kit.rights, RW, sizeof(kit.rights));
    memset(kit.state.memory, 0, sizeof(kit.state.memory));
    kit.rights[KIT_PLACE / PAGE_BYTES % KIT_PAGES] = 0;
    kit.state.gpr[RAX] = 0;
    kit.state.gpr[RCX] = 50;
    /* The last one that traps does so with its first bytes only. */
    kit.state.gpr[RSI] = kit.state.gpr[RDI] = border + 4 - before * 8;
    assert_int_equal(kit_run(&insn, 100), EMU_AGAIN);
    assert_true(kit.state.gpr[RCX] == 50 - before);
    assert_true(kit.state.gpr[has_source(op) ? RSI : RDI] == border + 4);
    assert_int_equal(kit_run_unchanged(&insn), EMU_RETRY);
    /* The bound and the border meet. */
    kit.state.gpr[RCX] = 50;
    kit.state.gpr[RSI] = kit.state.gpr[RDI] = border - 8;
    assert_int_equal(kit_run(&insn, 1), EMU_AGAIN);
    assert_true(kit.state.gpr[RCX] == 49);
}

static void test_leaves_trapped_page(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(ops); i++)
        for (unsigned n = 1; n <= 4; n++)
            leave_trapped_page(ops[i], n);
}

/* One side traps and the other is memory: done here, to the end. */
static void test_one_side_traps(void **state)
{
    (void)state;
    for (unsigned side = 0; side < 2; side++) {
        struct insn insn = kit_string(INSN_MOVS, 4, INSN_REPE);

        kit_setup(NULL);
        memset(kit.rights, RW, sizeof(kit.rights));
        kit.rights[(side ? SOURCE : TARGET) / PAGE_BYTES % KIT_PAGES] = side ? W : R;
        kit.state.gpr[RCX] = 7;
        assert_int_equal(kit_run(&insn, 100), EMU_DONE);
        expect_registers(INSN_MOVS, 4, 7, 0);
    }
}

/* rSI has the segment of the instruction, rDI always ES. */
static void test_segments(void **state)
{
    (void)state;
    for (uint8_t segment = ES; segment <= GS; segment++)
        for (unsigned long_mode = 0; long_mode < 2; long_mode++) {
            struct insn insn;

            kit_setup(NULL);
            if (!long_mode)
                kit_mode(INSN_32);
            insn = kit_string(INSN_MOVS, 4, INSN_ONCE);
            insn.segment = segment;
            for (unsigned i = 0; i < 6; i++)
                kit.cpu.seg[i] = (struct emu_segment){0x100 * (i + 1), 0xffffffff, 0xc093};
            kit.state.gpr[RSI] = 0x4000;
            kit.state.gpr[RDI] = 0x8000;
            kit_done(&insn, "llrw");
            assert_true(kit.span[0].linear ==
                        0x4000 + (!long_mode || segment >= FS ? 0x100u * (segment + 1u) : 0));
            assert_true(kit.span[1].linear == 0x8000 + (long_mode ? 0 : 0x100u));
            /* The faults of both, too. */
            kit.cpu.seg[segment].limit = 0;
            kit.state.gpr[RSI] = long_mode ? BIT(62) : 0x4000;
            kit_faults(&insn, segment == SS ? VECTOR_SS : VECTOR_GP);
            kit.cpu.seg[segment].limit = 0xffffffff;
            kit.cpu.seg[ES].attributes = 0xc091;
            kit.state.gpr[RSI] = 0x4000;
            kit.state.gpr[RDI] = long_mode ? BIT(62) : 0x8000;
            kit_faults(&insn, VECTOR_GP);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(test_single),
        KIT_TEST(test_repeated),
        KIT_TEST(test_overlap),
        KIT_TEST(test_count_zero),
        KIT_TEST(test_address_widths),
        KIT_TEST(test_compares),
        KIT_TEST(test_iterations),
        KIT_TEST(test_faults),
        KIT_TEST(test_fault_at_page),
        KIT_TEST(test_each_element),
        KIT_TEST(test_leaves_trapped_page),
        KIT_TEST(test_one_side_traps),
        KIT_TEST(test_segments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
