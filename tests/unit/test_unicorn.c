/*
 * The emulator against Unicorn, which is QEMU's translator in a library: real mode, 16- and 32-bit code with
 * segments, and CPL 0, none of which a process can run.
 *
 * DIFF_UNICORN=n   that many cases
 * DIFF_SEED=n      other ones
 */
#include "tests/fake/host.h"

#include <stdio.h>

#include "hv/base/types.h"
#include "tests/unit/diff_check.h"
#include "tests/unit/diff_tally.h"
#include "tests/unit/unicorn_cpu.h"

#define CASES       130000ul
#define LEAST_SHARE 50000ul

static struct diff_world protected_mode, real_mode;

/* ---- what Unicorn 2.0.1 does otherwise, each seen against a CPU ---- */

#define DEVIATION(name)                                                           \
    static bool name(const struct diff_case *c, const struct diff_outcome *judge, \
                     const struct diff_outcome *emu)

DEVIATION(reads_first)
{
    return judge->fault == VECTOR_PF && emu->fault == VECTOR_PF && (emu->error & 2) &&
           !(judge->error & 2) && c->form->op != INSN_MOV;
}

DEVIATION(half_written)
{
    return judge->fault == VECTOR_PF && emu->fault == VECTOR_PF && c->memory_bytes > 1 &&
           (emu->address & PAGE_MASK) == 0;
}

DEVIATION(cmps_order)
{
    return judge->fault == VECTOR_PF && emu->fault == VECTOR_PF && c->form->op == INSN_CMPS;
}

DEVIATION(no_alignment)
{
    (void)judge;
    return (c->form->flags & FORM_ALIGNED) && (c->operand & (c->memory_bytes - 1u)) != 0 &&
           emu->fault == VECTOR_GP;
}

DEVIATION(lock_neg)
{
    (void)judge;
    (void)emu;
    return c->form->op == INSN_NEG && c->locked;
}

DEVIATION(pair_fault)
{
    return c->form->op == INSN_CMPXCHG_PAIR && judge->fault == VECTOR_PF && emu->fault == VECTOR_PF;
}

DEVIATION(cmpxchg_equal)
{
    (void)judge;
    return c->form->op == INSN_CMPXCHG && c->width == 4 && c->mode == INSN_64 &&
           (emu->rflags & DIFF_ZF);
}

DEVIATION(no_types)
{
    return c->override == INSN_CS && c->mode != INSN_64 && judge->fault != VECTOR_GP &&
           emu->fault == VECTOR_GP;
}

DEVIATION(movsxd_16)
{
    return (c->form->flags & FORM_ONLY64) && c->width == 2 && judge->fault == VECTOR_PF &&
           emu->fault == NO_FAULT;
}

static struct deviation deviations[] = {
    {"MOVSXD to 16 bits faults by two bytes that it drops", DIFF_ALL, movsxd_16, 0},
    {"no #GP for a write through CS", DIFF_ALL, no_types, 0},
    {"a read-modify-write faults as a read", DIFF_ERROR | DIFF_ADDRESS, reads_first, 0},
    {"what faults in its second page has moved half of it, and tells any byte's address",
     DIFF_MEMORY | DIFF_ADDRESS | DIFF_VECTORS, half_written, 0},
    {"CMPS reads ES:rDI first", DIFF_ADDRESS, cmps_order, 0},
    {"no #GP for SSE operands and CMPXCHG16B that are not aligned", DIFF_ALL, no_alignment, 0},
    {"flags of LOCK NEG", DIFF_FLAGS, lock_neg, 0},
    {"CMPXCHG8B and 16B fault half done",
     DIFF_RIP | DIFF_ADDRESS | DIFF_MEMORY | DIFF_FLAGS | DIFF_GPR, pair_fault, 0},
    {"a 32-bit CMPXCHG that is equal clears the high half of RAX", DIFF_GPR, cmpxchg_equal, 0},
};

static struct diff_session session = {
    .judge_name = "Unicorn",
    .worlds = {&protected_mode, &real_mode},
    .judge = unicorn_run,
    .deviations = deviations,
    .deviation_count = ARRAY_COUNT(deviations),
};

static void test_unicorn(void **state)
{
    unsigned missing;

    (void)state;
    unicorn_open(&protected_mode, &real_mode);
    session.cases = diff_setting("DIFF_UNICORN", CASES);
    diff_session_run(&session, diff_setting("DIFF_SEED", 1));
    unicorn_close();
    assert_int_equal(session.failures, 0);
    missing = tally_judge(&protected_mode, NULL, MAX(session.cases / LEAST_SHARE, 1));
    assert_int_equal(missing, 0);
    assert_true(session.skipped * 2 < session.cases);
    assert_true(session.hidden * 8 < session.compared);
    assert_true(session.compared == session.cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_unicorn)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
