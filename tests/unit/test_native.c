/*
 * The emulator against the CPU that the test runs on: the same instruction with the same registers, flags and
 * memory, on pages with the same rights.
 *
 * DIFF_NATIVE=n    that many cases
 * DIFF_SEED=n      other ones
 */
#include "tests/fake/host.h"

#include <stdio.h>

#include "hv/base/types.h"
#include "tests/unit/diff_check.h"
#include "tests/unit/diff_tally.h"
#include "tests/unit/native_cpu.h"

#define CASES 250000ul
/* A combination is one of some 2000; the least that one of them may be seen. */
#define LEAST_SHARE 50000ul

static struct diff_world world;

/* ---- where CPUs differ ---- */

static bool both_checks(const struct diff_case *c, const struct diff_outcome *judge,
                        const struct diff_outcome *emu)
{
    return (c->form->flags & FORM_ALIGNED) && (c->operand & (c->memory_bytes - 1u)) != 0 &&
           judge->fault == VECTOR_GP && emu->fault == VECTOR_SS;
}

/* Seen: AMD faults for all that is not aligned to 16 bytes. */
static bool wide_alignment(const struct diff_case *c, const struct diff_outcome *judge,
                           const struct diff_outcome *emu)
{
    if (!(c->rflags & DIFF_AC) || c->memory_bytes < 16)
        return false;
    if (emu->fault == VECTOR_AC)
        return judge->fault != VECTOR_AC;
    return judge->fault == VECTOR_AC && (c->operand & 15) == 0;
}

static bool broken_comparison(const struct diff_case *c, const struct diff_outcome *judge,
                              const struct diff_outcome *emu)
{
    (void)emu;
    return c->repeat != INSN_ONCE && (c->form->op == INSN_CMPS || c->form->op == INSN_SCAS) &&
           judge->fault != NO_FAULT;
}

/* Seen: AMD tells the alignment. SDM 3A "Priority Among Concurrent Events" has the page fault first. */
static bool not_there_nor_aligned(const struct diff_case *c, const struct diff_outcome *judge,
                                  const struct diff_outcome *emu)
{
    return (c->rflags & DIFF_AC) && judge->fault == VECTOR_PF && emu->fault == VECTOR_AC;
}

/* Seen: AMD, and QEMU too, reads four bytes. SDM 2 "MOVSXD" has a 16-bit operand. */
static bool movsxd_16(const struct diff_case *c, const struct diff_outcome *judge,
                      const struct diff_outcome *emu)
{
    return (c->form->flags & FORM_ONLY64) && c->width == 2 && judge->fault != NO_FAULT &&
           judge->fault != emu->fault;
}

static struct deviation deviations[] = {
    {"MOVSXD to 16 bits faults by two bytes that it drops", DIFF_ALL, movsxd_16, 0},
    {"an operand neither mapped nor aligned: #PF or #AC first",
     DIFF_FAULT | DIFF_ERROR | DIFF_ADDRESS, not_there_nor_aligned, 0},
    {"an operand in SS neither legal nor aligned: whether #SS or #GP is not written down",
     DIFF_FAULT, both_checks, 0},
    {"#AC of a wide access: SDM 3A \"Alignment Check Exception\" leaves it to the CPU", DIFF_ALL,
     wide_alignment, 0},
    {"flags when REP CMPS or SCAS faults: as before (SDM 2) or as the iterations left them",
     DIFF_FLAGS, broken_comparison, 0},
};

static struct diff_session session = {
    .judge_name = "this CPU",
    .worlds = {&world, NULL},
    .judge = native_run,
    .deviations = deviations,
    .deviation_count = ARRAY_COUNT(deviations),
};

static void test_native(void **state)
{
    unsigned missing;

    (void)state;
    native_open(&world);
    printf("# this CPU lacks:%s\n", native_missing(&world));
    session.cases = diff_setting("DIFF_NATIVE", CASES);
    diff_session_run(&session, diff_setting("DIFF_SEED", 1));
    native_close();
    assert_int_equal(session.failures, 0);
    missing = tally_judge(&world, NULL, MAX(session.cases / LEAST_SHARE, 1));
    assert_int_equal(missing, 0);
    /* VEX, and little else, may be missing. */
    assert_true(session.skipped * 3 < session.cases);
    assert_true(session.hidden * 500 < session.compared);
    assert_true(session.compared == session.cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_native)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
