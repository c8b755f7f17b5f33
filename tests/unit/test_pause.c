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

/* An unaligned load of 4 bytes at BAR offset 1: two callbacks with one register at the end. */
static enum hv_resume unaligned_load(void)
{
    const uint8_t code[] = {0x8b, 0x03}; /* mov eax, [rbx] */

    kit_map(KIT_DATA, KIT_BAR, 1, KIT_LINK);
    kit_code(KIT_CODE, code, sizeof(code));
    kit.vp.gpr[GPR_RBX] = KIT_DATA + 1;
    return kit_fault(KIT_CODE, KIT_BAR + 1, HV_ACCESS_READ);
}

static void expect_whole_access(void)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 4; i++)
        value |= (uint64_t)kit_answer(DEVICE, 1 + i) << (8 * i);
    assert_true(kit.seen_count > 1);
    assert_true(kit.vp.gpr[GPR_RAX] == value);
}

static void test_inside_a_callback(void **state)
{
    (void)state;
    kit_attach(DEVICE, KIT_BAR, PAGE_BYTES);
    kit.on_access = pause_and_resume;
    assert_true(enters());
    assert_int_equal(unaligned_load(), HV_ADVANCE);
    expect_whole_access();
    assert_true(enters());
    assert_int_equal(kit.vm.stop, VM_STOP_NONE);
    kit_detach(DEVICE, KIT_BAR);
}

/* The access that was under way is finished; the guest's next instruction is not begun. */
static void test_left_paused(void **state)
{
    (void)state;
    kit_attach(DEVICE, KIT_BAR, PAGE_BYTES);
    kit.on_access = pause_at_first;
    assert_int_equal(unaligned_load(), HV_ADVANCE);
    expect_whole_access();
    assert_int_equal(kit.vm.stop, VM_STOP_NONE);
    assert_false(enters());
    assert_int_equal(kit.vm.stop, VM_STOP_PAUSED);
    resume_ok();
    kit_detach(DEVICE, KIT_BAR);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_open, kit_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nesting),     TEST(test_arguments),         TEST(test_counter_is_guarded),
        TEST(test_flushes),     TEST(test_first_cause_stays), TEST(test_inside_a_callback),
        TEST(test_left_paused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
