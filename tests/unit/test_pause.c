/* Pause and resume, and what they mean for the next entry to the guest. */
#include "tests/unit/vm_kit.h"

#define DEVICE 1u

/* What a backend does before an entry, with the VP's copy of the generation. */
static bool enters(void)
{
    uint64_t generation = kit.vm.generation;

    if (generation == kit.vp.flushed_generation)
        return true;
    if (!vm_entry_allowed(&kit.vm, generation))
        return false;
    kit.vp.flushed_generation = generation;
    kit.vm.stats.invalidations++;
    return true;
}

static void pause_ok(void)
{
    assert_int_equal(hv_vm_pause_vps(&kit.vm, 0), HV_OK);
    assert_false(lock_is_held(&kit.vm.tables_lock));
}

static void resume_ok(void)
{
    assert_int_equal(hv_vm_resume_vps(&kit.vm), HV_OK);
    assert_false(lock_is_held(&kit.vm.tables_lock));
}

static void test_nesting(void **state)
{
    (void)state;
    assert_true(enters());
    for (unsigned i = 0; i < 3; i++)
        pause_ok();
    for (unsigned i = 0; i < 3; i++) {
        kit.vm.stop = VM_STOP_NONE;
        assert_false(enters());
        assert_int_equal(kit.vm.stop, VM_STOP_PAUSED);
        resume_ok();
    }
    kit.vm.stop = VM_STOP_NONE;
    assert_true(enters());
    assert_int_equal(kit.vm.stop, VM_STOP_NONE);
    assert_int_equal(hv_vm_resume_vps(&kit.vm), HV_E_INVALID_STATE);
    pause_ok(); /* that one had no effect */
    assert_false(enters());
    resume_ok();
}

static void test_arguments(void **state)
{
    (void)state;
    assert_int_equal(hv_vm_pause_vps(NULL, 0), HV_E_INVALID_PARAMETER_1);
    assert_int_equal(hv_vm_pause_vps(NULL, 1), HV_E_INVALID_PARAMETER_1);
    assert_int_equal(hv_vm_resume_vps(NULL), HV_E_INVALID_PARAMETER_1);
    assert_int_equal(hv_vm_resume_vps(&kit.vm), HV_E_INVALID_STATE);
    assert_int_equal(hv_vm_pause_vps(&kit.vm, 1), HV_OK); /* with one VP no time can run out */
    assert_int_equal(hv_vm_pause_vps(&kit.vm, UINT64_MAX), HV_OK);
    resume_ok();
    resume_ok();
    assert_false(lock_is_held(&kit.vm.tables_lock));
}

static void test_counter_is_guarded(void **state)
{
    uint64_t generation;

    (void)state;
    pause_ok();
    generation = kit.vm.generation;
    kit.vm.pauses = VM_MAX_PAUSES;
    assert_int_equal(hv_vm_pause_vps(&kit.vm, 0), HV_E_QUOTA);
    assert_false(lock_is_held(&kit.vm.tables_lock));
    assert_int_equal(kit.vm.pauses, VM_MAX_PAUSES);
    assert_true(kit.vm.generation == generation);
    resume_ok();
    pause_ok();
    assert_int_equal(kit.vm.pauses, VM_MAX_PAUSES);
}

/* A pause by itself makes nobody flush; a flush during one is carried out after it. */
static void test_flushes(void **state)
{
    struct pt_flush flush = {.needed = true};
    uint64_t generation, invalidations;

    (void)state;
    assert_true(enters());
    generation = kit.vm.generation;
    invalidations = kit.vm.stats.invalidations;
    pause_ok();
    resume_ok();
    assert_int_equal(kit.vm.generation, generation);
    assert_true(enters());
    assert_int_equal(kit.vm.stats.invalidations, invalidations);

    pause_ok();
    lock_acquire(&kit.vm.tables_lock);
    vm_flush(&kit.vm, &flush);
    lock_release(&kit.vm.tables_lock);
    assert_false(enters());
    kit.vm.stop = VM_STOP_NONE;
    resume_ok();
    assert_int_equal(kit.vm.generation, generation + 1);
    assert_true(enters());
    assert_int_equal(kit.vm.stats.invalidations, invalidations + 1);
}

static void test_first_cause_stays(void **state)
{
    (void)state;
    vm_stop(&kit.vm, NULL, VM_STOP_HLT);
    pause_ok();
    assert_false(enters());
    assert_int_equal(kit.vm.stop, VM_STOP_HLT);
    assert_string_equal(vm_stop_text(VM_STOP_PAUSED), "paused by a device that did not resume it");
}

/* A VM that ends where no exit can tell: its next entry does. */
static void test_end_at_entry(void **state)
{
    (void)state;
    assert_true(enters());
    vm_end_at_entry(&kit.vm, VM_STOP_RESET);
    assert_false(enters());
    assert_int_equal(kit.vm.stop, VM_STOP_RESET);
    pause_ok(); /* nor is it another cause when it is paused besides */
    assert_false(enters());
    assert_int_equal(kit.vm.stop, VM_STOP_RESET);
    vm_end_at_entry(&kit.vm, VM_STOP_HLT);
    assert_int_equal(kit.vm.stop, VM_STOP_RESET);
    assert_true(kit.vm.generation & VM_PAUSED);
}

/* ---- from inside a callback ---- */

static void pause_and_resume(unsigned n)
{
    (void)n;
    pause_ok();
    assert_false(enters());
    kit.vm.stop = VM_STOP_NONE;
    resume_ok();
}

static void pause_at_first(unsigned n)
{
    if (n == 0)
        pause_ok();
}

/*
 * An access with callbacks, and the register that it loads: 4 bytes at BAR offset 1, in pieces; 4 at 0, where the place has
 * been learnt; a locked addition; three iterations of LODSB.
 */
enum form { UNALIGNED, LEARNT, LOCKED, REPEATED, FORMS };

static const struct {
    uint8_t code[4], bytes, offset, callbacks;
} forms[FORMS] = {{{0x8b, 0x03}, 2, 1, 3}, /* mov eax, [rbx] */
                  {{0x8b, 0x03}, 2, 0, 1},
                  {{0xf0, 0x0f, 0xc1, 0x03}, 4, 0, 2}, /* lock xadd [rbx], eax */
                  {{0xf3, 0xac}, 2, 0, 3}};            /* rep lodsb */

static enum hv_resume touch(enum form form)
{
    const uint64_t at = KIT_BAR + forms[form].offset;
    const uint8_t access = form == LOCKED ? HV_ACCESS_READ | HV_ACCESS_WRITE : HV_ACCESS_READ;

    kit_code(KIT_CODE, forms[form].code, forms[form].bytes);
    kit.vp.gpr[GPR_RBX] = kit.vp.gpr[GPR_RSI] = KIT_DATA + forms[form].offset;
    kit.vp.gpr[GPR_RCX] = 3;
    kit.vp.gpr[GPR_RAX] = 0;
    return kit_fault(KIT_CODE, at, access);
}

static void begin(enum form form)
{
    kit_attach(DEVICE, KIT_BAR, PAGE_BYTES);
    kit_map(KIT_DATA, KIT_BAR, 1, KIT_LINK);
    if (form == LEARNT)
        assert_int_equal(touch(form), HV_ADVANCE);
    kit_forget();
}

static void expect_whole_access(enum form form)
{
    const uint64_t mask = form == REPEATED ? 0xff : UINT32_MAX;
    const unsigned last = form == REPEATED ? 2 : forms[form].offset;
    uint64_t value = 0;

    for (unsigned i = 0; i < 4; i++)
        value |= (uint64_t)kit_answer(DEVICE, last + i) << (8 * i);
    assert_int_equal(kit_short, form == LEARNT);
    assert_int_equal(kit.seen_count, forms[form].callbacks);
    assert_int_equal(kit.vp.gpr[GPR_RAX], value & mask);
    assert_false(lock_is_held(&kit.vm.bus_lock));
}

static void test_inside_a_callback(void **state)
{
    (void)state;
    for (enum form form = 0; form < FORMS; form++) {
        kit.on_access = NULL;
        begin(form);
        kit.on_access = pause_and_resume;
        assert_true(enters());
        assert_int_equal(touch(form), HV_ADVANCE);
        expect_whole_access(form);
        assert_true(enters());
        assert_int_equal(kit.vm.stop, VM_STOP_NONE);
        kit_detach(DEVICE, KIT_BAR);
    }
}

/* The access that was under way is finished; the guest's next instruction is not begun. */
static void test_left_paused(void **state)
{
    (void)state;
    for (enum form form = 0; form < FORMS; form++) {
        kit.on_access = NULL;
        begin(form);
        kit.on_access = pause_at_first;
        assert_int_equal(touch(form), HV_ADVANCE);
        expect_whole_access(form);
        assert_int_equal(kit.vm.stop, VM_STOP_NONE);
        assert_false(enters());
        assert_int_equal(kit.vm.stop, VM_STOP_PAUSED);
        resume_ok();
        kit_detach(DEVICE, KIT_BAR);
    }
}

#define TEST(name) KIT_TEST_BOTH(name, kit_open)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nesting, kit_open, kit_close),
        cmocka_unit_test_setup_teardown(test_arguments, kit_open, kit_close),
        cmocka_unit_test_setup_teardown(test_counter_is_guarded, kit_open, kit_close),
        cmocka_unit_test_setup_teardown(test_flushes, kit_open, kit_close),
        cmocka_unit_test_setup_teardown(test_first_cause_stays, kit_open, kit_close),
        cmocka_unit_test_setup_teardown(test_end_at_entry, kit_open, kit_close),
        TEST(test_inside_a_callback),
        TEST(test_left_paused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
