/*
 * Nothing that is kept of an access can be made stale by the guest: code, tables, CR3, mode, registers, leaves, regions
 * and doorbells change at every moment, and each outcome is checked against a model of them as they were and as they are.
 *
 *     change -> the CPU faults -> [1] short way -> [2] state -> fetch, decode, locate -> [3] first access -> the rest
 *
 * Changes in the brackets come too late or in time; of each thing (code, translations, what is behind them) all is as before or
 * all as after. A CPU makes no other promise: it may hold each in a buffer of its own.
 */
#include "tests/unit/stale_kit.h"

#include <string.h>

/* ---- one access ---- */

enum when { NEVER, AT_EXIT, AT_STATE, AT_ACCESS, WHENS };

static bool changed_now;

static void change_at_state(struct vp *vp)
{
    (void)vp;
    stale_change();
    changed_now = true;
}

/* Nothing is behind any more what was; but devices stay, for one of them runs. */
static void change_at_access(unsigned n)
{
    if (n > 0)
        return;
    stale_put_code();
    stale_move_table();
    stale_change_entry();
    changed_now = true;
}

static bool same(const struct outcome *a, const struct outcome *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* What the CPU would report now: false when nothing traps. */
static bool report(const struct moment *now, const uint64_t *gpr, struct hv_exit *exit)
{
    struct outcome out;
    const struct form *form = stale_form_of(now->bytes);
    uint64_t linear;

    stale_model(gpr, now, now, now, &out);
    if (out.resume != HV_ADVANCE)
        return false;
    linear = stale_linear_of(form, gpr);
    kit_exit(exit, world.rip,
             now->data[linear >> PAGE_SHIFT & 1][form->kind != LOAD].gpa.v + (linear & PAGE_MASK),
             form->kind == LOAD     ? HV_ACCESS_READ
             : form->kind == CHANGE ? HV_ACCESS_READ | HV_ACCESS_WRITE
                                    : HV_ACCESS_WRITE);
    exit->memory.cr3 = fake_backend.state.cr3;
    exit->memory.code_64 = !world.compat;
    exit->memory.gla_valid = stale_random_below(2);
    exit->memory.gla = GVA(linear);
    return true;
}

static void gather(enum hv_resume resume, const struct hv_exit *exit, struct outcome *out)
{
    memset(out, 0, sizeof(*out));
    out->resume = resume;
    out->length = resume == HV_ADVANCE ? exit->length : 0;
    if (kit.vp.event.kind != VP_EVENT_NONE) {
        out->event = kit.vp.event.vector;
        out->error = kit.vp.event.error;
        out->address = kit.vp.event.address;
    }
    out->seen = kit.seen_count;
    out->asked = kit.asked_count;
    assert_true(kit.seen_count <= 2 && kit.asked_count <= 1);
    memcpy(out->access, kit.seen, kit.seen_count * sizeof(kit.seen[0]));
    if (kit.asked_count)
        out->question = kit.asked[0];
    memcpy(out->gpr, kit.vp.gpr, sizeof(out->gpr));
    out->gpr[GPR_RSP] = 0;
}

/* Any choice of before and after for each of the three; and, when something has changed, another try. */
static bool is_legal(const struct outcome *got, const uint64_t *gpr, const struct moment m[2],
                     const uint8_t *given)
{
    struct moment code[2] = {m[0], m[1]};
    struct outcome out;

    if (given) {
        memcpy(code[1].bytes, given, INSN_MAX_BYTES);
        code[1].code.allowed = true;
    }
    for (unsigned choice = 0; choice < 8; choice++) {
        stale_model(gpr, &code[choice & 1], &m[choice >> 1 & 1], &m[choice >> 2], &out);
        if (same(&out, got))
            return true;
    }
    memset(&out, 0, sizeof(out));
    memcpy(out.gpr, gpr, sizeof(out.gpr));
    out.resume = HV_RESUME;
    return changed_now && same(&out, got);
}

static struct {
    unsigned runs, by_short, changed[WHENS], taken[WHENS];
} tally;

/* False: nothing traps as things are. */
static bool access(enum when when)
{
    uint64_t gpr[GPR_COUNT];
    uint8_t given[INSN_MAX_BYTES];
    struct moment m[2];
    struct outcome got, old;
    struct hv_exit exit;
    enum hv_resume resume;
    bool gives = stale_random_below(4) == 0;

    for (unsigned i = 0; i < GPR_COUNT; i++)
        gpr[i] = kit_random();
    gpr[GPR_RSP] = 0;
    gpr[GPR_RBX] = DATA + stale_random_below(2) * PAGE_BYTES + stale_random_below(64) * 8;
    gpr[GPR_RDI] = DATA + stale_random_below(2) * PAGE_BYTES + stale_random_below(64) * 8;
    memcpy(kit.vp.gpr, gpr, sizeof(gpr));
    kit_forget();
    changed_now = false;
    stale_look(&m[0]);
    if (!report(&m[0], gpr, &exit))
        return false;
    memcpy(given, m[0].bytes, sizeof(given));
    exit.memory.code = gives ? given : NULL;
    exit.memory.code_given = gives ? INSN_MAX_BYTES : 0;
    if (when == AT_EXIT) {
        (stale_random_below(2) ? stale_change : stale_put_back_code)();
        if (stale_random_below(4) == 0)
            stale_change_entry();
        changed_now = true;
    }
    fake_backend.on_state_get = when == AT_STATE ? change_at_state : NULL;
    kit.on_access = when == AT_ACCESS ? change_at_access : NULL;
    resume = kit_run(&exit);
    fake_backend.on_state_get = NULL;
    kit.on_access = NULL;
    stale_look(&m[1]);
    gather(resume, &exit, &got);
    assert_true(is_legal(&got, gpr, m, gives ? given : NULL));
    stale_model(gpr, &m[0], &m[0], &m[0], &old);
    if (!changed_now || when == AT_ACCESS) /* the locating is over by then */
        assert_true(same(&old, &got));
    tally.runs++;
    tally.by_short += kit_short;
    tally.changed[when] += changed_now;
    tally.taken[when] += !same(&old, &got);
    return true;
}

/* ---- worlds ---- */

static int open_stale(void **state)
{
    kit_open(state);
    memset(&world, 0, sizeof(world));
    memset(&tally, 0, sizeof(tally));
    kit.vm.unclaimed_log.burst = kit.vm.unsupported_log.burst = 0;
    for (unsigned t = 0; t < TARGETS; t++) {
        world.behind[t] =
            (struct behind){.rights = t < BAR_TARGETS ? 0 : PT_R | PT_W, .who = NOBODY};
        for (unsigned i = 0; i < PAGE_BYTES; i++)
            *kit_byte(target_gpa[t] + i) = stale_memory_byte(t, i);
    }
    for (unsigned f = 0; f < FRAMES; f++)
        for (unsigned p = 0; p < ARRAY_COUNT(places); p++)
            memcpy(kit_byte(frame_gpa[f] + (places[p] & PAGE_MASK)), forms[(f + p) % 4].code,
                   INSN_MAX_BYTES);
    world.rip = fake_backend.state.rip = places[0];
    stale_build_tables();
    return 0;
}

/* One target with a device, which both pages show, and one form of code everywhere: what the directed tests begin with. */
static void settle(unsigned form)
{
    stale_build_tables();
    for (unsigned page = 0; page < 2; page++)
        stale_put_entry(DATA_1, page, target_gpa[page] | KIT_LINK);
    stale_put_entry(CODE_1, 0, frame_gpa[0] | KIT_LINK);
    for (unsigned f = 0; f < FRAMES; f++)
        memcpy(kit_byte(frame_gpa[f] + (world.rip & PAGE_MASK)), forms[form].code, INSN_MAX_BYTES);
    for (unsigned t = 0; t < BAR_TARGETS; t++) {
        stale_set_rights(t, 0);
        if (world.behind[t].who == NOBODY) {
            world.behind[t].who = t * 2;
            kit_attach_as(t * 2, target_gpa[t], PAGE_BYTES, true, 0);
            world.behind[t].bell = true;
        }
    }
    stale_set_mode(false);
    vp_places_forget(&kit.vp);
}

static void learn(unsigned form)
{
    settle(form);
    assert_true(access(NEVER));
    for (unsigned i = 0; i < 8; i++) /* until both pages have been met without the linear address */
        assert_true(access(NEVER));
    assert_true(kit_short == (forms[form].kind != CHANGE));
}

/* ---- one change at a time, after the place is learnt ---- */

/* Every form becomes every other, of the same length or not, and the frame's bytes count and not its address. */
static void test_code_bytes(void **state)
{
    (void)state;
    for (unsigned from = 0; from < ARRAY_COUNT(forms); from++)
        for (unsigned to = 0; to < ARRAY_COUNT(forms); to++) {
            learn(from);
            memcpy(kit_byte(frame_gpa[0] + (world.rip & PAGE_MASK)), forms[to].code,
                   INSN_MAX_BYTES);
            assert_true(access(NEVER)); /* which compares with the model of what is there now */
            assert_int_equal(kit_short, from == to && forms[to].kind != CHANGE);
        }
}

/* The tail of the 15 bytes counts too, even where the instruction does not reach it. */
static void test_code_tail(void **state)
{
    (void)state;
    for (unsigned i = 0; i < INSN_MAX_BYTES; i++) {
        learn(0);
        *kit_byte(frame_gpa[0] + (world.rip & PAGE_MASK) + i) ^= 0x40;
        if (access(NEVER))
            assert_false(i < 2 && kit_short);
        *kit_byte(frame_gpa[0] + (world.rip & PAGE_MASK) + i) ^= 0x40;
    }
}

/* The code's table entry at each level, moved to a table with another leaf; and a large page. */
static void test_code_tables(void **state)
{
    (void)state;
    for (unsigned level = 1; level <= 4; level++) {
        uint64_t *entry, from;

        learn(0);
        entry = stale_entry_at(CODE, level);
        memcpy(kit_byte(frame_gpa[1] + (world.rip & PAGE_MASK)), forms[1].code, INSN_MAX_BYTES);
        if (level > 1) {
            from = *entry & BITS(51, 12);
            memcpy(kit_byte(from ^ OTHER), kit_byte(from), PAGE_BYTES);
            *entry ^= OTHER;
        }
        for (unsigned at = level; at > 1; at--) { /* the old tables below stay as they were */
            uint64_t *below = stale_entry_at(CODE, at);

            from = *below & BITS(51, 12);
            if (at < level) {
                memcpy(kit_byte(from ^ OTHER), kit_byte(from), PAGE_BYTES);
                *below ^= OTHER;
            }
        }
        *stale_entry_at(CODE, 1) = frame_gpa[1] | KIT_LINK;
        assert_true(access(NEVER));
        assert_false(kit_short);
    }
    learn(0);
    memcpy(kit_byte(MIB(2) * 0 + (world.rip & PAGE_MASK)), forms[3].code, INSN_MAX_BYTES);
    *stale_entry_at(CODE, 2) = 0 | KIT_LINK | PTE_PS;
    assert_true(access(NEVER));
    assert_false(kit_short);
}

/* A code page that is gone: the long way tells the guest, and no byte of what was learnt is believed. */
static void test_code_not_present(void **state)
{
    (void)state;
    for (unsigned level = 1; level <= 4; level++) {
        struct hv_exit exit;
        uint64_t gpr[GPR_COUNT];

        learn(0);
        kit_forget();
        kit.vp.gpr[GPR_RBX] = DATA + 8;
        memcpy(gpr, kit.vp.gpr, sizeof(gpr));
        kit_exit(&exit, world.rip, target_gpa[0] + 8, HV_ACCESS_READ);
        exit.memory.gla_valid = true;
        exit.memory.gla = GVA(DATA + 8);
        *stale_entry_at(CODE, level) &= ~PTE_P;
        assert_int_equal(kit_run(&exit), HV_RESUME);
        kit_expect_event(VECTOR_PF, true, PF_FETCH);
        assert_int_equal(kit.vp.event.address, world.rip);
        kit_expect_untouched(gpr);
    }
}

/* The operand's entries at each level: the CPU has faulted on what they say now. */
static void test_operand_tables(void **state)
{
    (void)state;
    for (unsigned turn = 0; turn < 8; turn++)
        for (unsigned level = 1; level <= 4; level++) {
            learn(0);
            for (unsigned at = level; at > 1; at--) {
                uint64_t *entry = stale_entry_at(DATA, at), from = *entry & BITS(51, 12);

                memcpy(kit_byte(from ^ OTHER), kit_byte(from), PAGE_BYTES);
                *entry ^= OTHER;
            }
            *stale_entry_at(DATA, 1) = target_gpa[2] | KIT_LINK;
            *stale_entry_at(DATA + PAGE_BYTES, 1) = target_gpa[3] | KIT_LINK;
            for (unsigned i = 0; i < 16; i++)
                assert_true(access(NEVER));
            assert_true(kit_short); /* with what it has learnt instead */
            learn(0);
            stale_change_large();
            for (unsigned i = 0; i < 16; i++)
                assert_true(access(NEVER));
            assert_true(kit_short);
        }
}

/* The same rip in compatibility mode is other code: no place is good there. */
static void test_mode(void **state)
{
    (void)state;
    for (unsigned form = 0; form < ARRAY_COUNT(forms); form++) {
        learn(form);
        stale_set_mode(true);
        assert_int_equal(access(NEVER), !forms[form].rex);
        if (!forms[form].rex)
            assert_false(kit_short);
        stale_set_mode(false);
        assert_true(access(NEVER));
    }
}

/* Another CR3 with the same translations, and with others. */
static void test_cr3(void **state)
{
    (void)state;
    for (unsigned others = 0; others < 2; others++) {
        learn(0);
        memcpy(kit_byte(TOP + OTHER), kit_byte(TOP), PAGE_BYTES);
        kit.cr3 = fake_backend.state.cr3 = TOP + OTHER;
        if (others) {
            memcpy(kit_byte(POINTER + OTHER), kit_byte(POINTER), PAGE_BYTES);
            memcpy(kit_byte(DATA_2 + OTHER), kit_byte(DATA_2), PAGE_BYTES);
            memcpy(kit_byte(DATA_1 + OTHER), kit_byte(DATA_1), PAGE_BYTES);
            stale_put_entry(TOP + OTHER, 0, (POINTER + OTHER) | KIT_LINK);
            stale_put_entry(POINTER + OTHER, DATA >> 30, (DATA_2 + OTHER) | KIT_LINK);
            stale_put_entry(DATA_2 + OTHER, 0, (DATA_1 + OTHER) | KIT_LINK);
            stale_put_entry(DATA_1 + OTHER, 0, target_gpa[3] | KIT_LINK);
        }
        for (unsigned i = 0; i < 4; i++) {
            assert_true(access(NEVER));
            assert_true(i > 0 || !kit_short);
        }
        kit.cr3 = fake_backend.state.cr3 = TOP;
        for (unsigned i = 0; i < 4; i++)
            assert_true(access(NEVER));
    }
}

/* Leaves, regions and doorbells come and go under a place that is learnt. */
static void test_behind(void **state)
{
    (void)state;
    for (unsigned form = 0; form < ARRAY_COUNT(forms); form++) {
        learn(form);
        for (unsigned i = 0; i < 200; i++) {
            (i % 3 ? stale_change_region : i % 2 ? stale_change_leaf : stale_change_rings)();
            (void)access(NEVER);
        }
    }
}

/*
 * The instruction that is there now has an address that no CPU faults on: bits 63 to 47 differ, and the tables know only those
 * below. It is the new code's #GP, not an access.
 */
static void test_not_canonical(void **state)
{
    (void)state;
    for (unsigned told = 0; told < 2; told++) {
        struct hv_exit exit;
        uint64_t gpr[GPR_COUNT];

        learn(2);
        kit_forget();
        kit.vp.gpr[GPR_RDI] = (DATA + 8) | BIT(60);
        kit.vp.gpr[GPR_RSP] = 0;
        memcpy(gpr, kit.vp.gpr, sizeof(gpr));
        kit_exit(&exit, world.rip, target_gpa[0] + 8, HV_ACCESS_READ);
        exit.memory.gla_valid = told;
        exit.memory.gla = GVA(DATA + 8);
        assert_int_equal(kit_run(&exit), HV_RESUME);
        kit_expect_event(VECTOR_GP, true, 0);
        kit_expect_untouched(gpr);
    }
}

/* A load has faulted, and a store that was there before is back: the fault says nothing of the right to write. */
static void test_right_of_the_fault(void **state)
{
    (void)state;
    for (unsigned told = 0; told < 2; told++) {
        struct hv_exit exit;
        uint64_t gpr[GPR_COUNT];

        learn(7);
        for (unsigned page = 0; page < 2; page++)
            *stale_entry_at(DATA + page * PAGE_BYTES, 1) &= ~PTE_W;
        for (unsigned turn = 0; turn < 2;
             turn++) { /* what is learnt of the operand's page follows */
            kit_forget();
            kit.vp.gpr[GPR_RBX] = DATA + 8;
            kit.vp.gpr[GPR_RSP] = 0;
            memcpy(gpr, kit.vp.gpr, sizeof(gpr));
            kit_exit(&exit, world.rip, target_gpa[0] + 8, HV_ACCESS_READ);
            exit.memory.gla_valid = told;
            exit.memory.gla = GVA(DATA + 8);
            assert_int_equal(kit_run(&exit), HV_RESUME);
            kit_expect_event(VECTOR_PF, true, PF_PRESENT | PF_WRITE);
            assert_int_equal(kit.vp.event.address, DATA + 8);
            kit_expect_untouched(gpr);
        }
    }
}

/* A load at the first target has faulted, on a CPU that does not say where; the instruction's operand is at DATA + 8 now. */
static enum hv_resume load_now(uint64_t gpr[GPR_COUNT])
{
    struct hv_exit exit;

    kit_forget();
    kit.vp.gpr[GPR_RBX] = DATA + 8;
    kit.vp.gpr[GPR_RSP] = 0;
    memcpy(gpr, kit.vp.gpr, GPR_COUNT * sizeof(gpr[0]));
    kit_exit(&exit, world.rip, target_gpa[0] + 8, HV_ACCESS_READ);
    exit.memory.gla_valid = false;
    return kit_run(&exit);
}

/* An operand's page that is gone, though its entry still has the address. */
static void test_operand_not_present(void **state)
{
    uint64_t gpr[GPR_COUNT];

    (void)state;
    for (unsigned level = 1; level < 4; level++) {
        learn(0);
        *stale_entry_at(DATA, level) &= ~PTE_P;
        assert_int_equal(load_now(gpr), HV_RESUME);
        kit_expect_event(VECTOR_PF, true, 0);
        assert_int_equal(kit.vp.event.address, DATA + 8);
        kit_expect_untouched(gpr);
    }
}

/* The same address under another CR3, which leads to the last target. */
static void test_operand_of_other_cr3(void **state)
{
    uint64_t gpr[GPR_COUNT];

    (void)state;
    learn(0);
    for (uint64_t table = TOP; table <= DATA_1; table += 2 * OTHER)
        memcpy(kit_byte(table + OTHER), kit_byte(table), PAGE_BYTES);
    stale_put_entry(TOP + OTHER, 0, (POINTER + OTHER) | KIT_LINK);
    stale_put_entry(POINTER + OTHER, DATA >> 30, (DATA_2 + OTHER) | KIT_LINK);
    stale_put_entry(DATA_2 + OTHER, 0, (DATA_1 + OTHER) | KIT_LINK);
    stale_put_entry(DATA_1 + OTHER, 0, target_gpa[3] | KIT_LINK);
    kit.cr3 = fake_backend.state.cr3 = TOP + OTHER;
    for (unsigned turn = 0; turn < 2; turn++) { /* the code is learnt there too */
        assert_int_equal(load_now(gpr), HV_ADVANCE);
        assert_int_equal(kit.seen_count, 1);
        assert_int_equal(kit.seen[0].who, world.behind[3].who);
    }
    kit.cr3 = fake_backend.state.cr3 = TOP;
}

/* A page that is direct by now is the CPU's, in a place that is learnt as in any. */
static void test_over_by_now(void **state)
{
    uint64_t gpr[GPR_COUNT];

    (void)state;
    learn(0);
    stale_set_rights(0, PT_R);
    assert_int_equal(load_now(gpr), HV_RESUME);
    assert_int_equal(kit.vm.stats.spurious, 1);
    assert_int_equal(kit.vp.event.kind, VP_EVENT_NONE);
    kit_expect_untouched(gpr);
    stale_set_rights(0, 0);
}

/* An event that waits is left alone by what goes well. */
static void test_pending_event(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct hv_exit exit;

        learn(0);
        if (i % 2)
            vp_places_forget(&kit.vp);
        kit_forget();
        kit.vp.gpr[GPR_RBX] = DATA + 8;
        kit.vp.event =
            (struct vp_event){.kind = VP_EVENT_REINJECT, .raw = 0x80000b0e, .address = 7};
        kit_exit(&exit, world.rip, target_gpa[0] + 8, HV_ACCESS_READ);
        exit.memory.gla_valid = i / 2;
        exit.memory.gla = GVA(DATA + 8);
        assert_int_equal(kit_run(&exit), HV_ADVANCE);
        assert_int_equal(kit_short, i % 2 == 0);
        assert_int_equal(kit.vp.event.kind, VP_EVENT_REINJECT);
        assert_int_equal(kit.vp.event.raw, 0x80000b0e);
        assert_int_equal(kit.vp.event.address, 7);
    }
}

/* ---- all of it ---- */

#define STEPS 60000u

static void test_random(void **state)
{
    unsigned idle = 0;

    (void)state;
    settle(0);
    for (unsigned i = 0; i < STEPS; i++) {
        const enum when when = stale_random_below(2) ? NEVER : (enum when)stale_random_below(WHENS);

        if (stale_random_below(3) == 0)
            stale_change();
        if (stale_random_below(16) == 0)
            stale_change_cr3();
        if (stale_random_below(16) == 0)
            stale_set_mode(!world.compat);
        if (stale_random_below(4) == 0)
            world.rip = fake_backend.state.rip = places[stale_random_below(ARRAY_COUNT(places))];
        idle = access(when) ? 0 : idle + 1;
        if (idle > 4)
            stale_build_tables();
    }
    assert_true(tally.runs > STEPS / 4);
    assert_true(tally.by_short > tally.runs / 10);
    for (enum when when = AT_EXIT; when < WHENS; when++)
        assert_true(tally.changed[when] > STEPS / 400);
    assert_true(tally.taken[NEVER] == 0 && tally.taken[AT_ACCESS] == 0);
    assert_true(tally.taken[AT_EXIT] > 100 && tally.taken[AT_STATE] > 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_stale, kit_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_code_bytes),
        TEST(test_code_tail),
        TEST(test_code_tables),
        TEST(test_code_not_present),
        TEST(test_operand_tables),
        TEST(test_mode),
        TEST(test_cr3),
        TEST(test_behind),
        TEST(test_not_canonical),
        TEST(test_right_of_the_fault),
        TEST(test_operand_not_present),
        TEST(test_operand_of_other_cr3),
        TEST(test_over_by_now),
        TEST(test_pending_event),
        TEST(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
