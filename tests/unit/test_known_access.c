/*
 * Mistakes that other hypervisors made with trapped accesses, each as a test that would have found it; those with
 * instructions are in test_known_insn.c.
 *
 *   Jailhouse de1551d6, XSA-491   handlers changed while walked       the_list_changes_in_a_callback
 *   XSA-166, XSA-262              shared words read twice             one_fetch_of_shared_words
 *   XSA-121, XSA-239              a width that leaks                  every_width_at_every_offset; test_known_bell
 *   XSA-164, CVE-2020-13754       access past the last entry          past_the_last_entry, between_two_regions
 *   ACRN 5de6bf3d3                resume before its pause             completion_before_wait
 *   Xen e5339bb689                a split access looked up wrongly    split_access
 */
#include "tests/unit/mode_kit.h"

#include <string.h>

#include "hv/base/bits.h"
#include "tests/fake/vector.h"

#define FIRST  0u
#define SECOND 1u
#define AT     0x120u
#define R      HV_ACCESS_READ
#define W      HV_ACCESS_WRITE
#define RAX    0x8877665544332211ull

/* ---- dispatch ---- */

static void change_list(unsigned n)
{
    const unsigned other = 3 + n % 2;

    if (n > 0)
        kit_detach(3 + (n - 1) % 2, KIT_BAR + 0x10);
    kit_attach(other, KIT_BAR + 0x10, 0x10); /* below: every index moves */
    if (n == 2)
        kit_detach(FIRST, MODE_PLACE); /* in its own callback */
}

static void test_jailhouse_de1551d6_xsa_491_the_list_changes_in_a_callback(void **state)
{
    (void)state;
    kit_attach(FIRST, MODE_PLACE, PAGE_BYTES);
    kit.on_access = change_list;
    mode_point_to(AT);
    kit.vp.gpr[GPR_RCX] = 8;
    assert_int_equal(RUN("\xf3\xad", AT, R), HV_ADVANCE); /* rep lodsd */
    assert_int_equal(kit.seen_count, 3); /* the kit fails when a stale handler is called */
    assert_int_equal(kit.vm.stats.unclaimed, 5);
    assert_int_equal((uint32_t)kit.vp.gpr[GPR_RAX], UINT32_MAX);
}

static void change_everything(unsigned n)
{
    if (n > 0)
        return;
    mode_code("\x90\x90\x90", 3);
    mode_map(0, 0x50000, KIT_LINK);
    memset(&kit.vp.place, 0, sizeof(kit.vp.place));
}

/* Code and tables are the guest's, and another CPU may write them: each is read once for one instruction. */
static void test_xsa_166_xsa_262_one_fetch_of_shared_words(void **state)
{
    (void)state;
    kit_attach(FIRST, MODE_PLACE, PAGE_BYTES);
    kit.on_access = change_everything;
    kit.vp.gpr[GPR_RAX] = 0x01010101;
    mode_point_to(AT);
    assert_int_equal(RUN("\xf0\x01\x07", AT, R | W), HV_ADVANCE);
    assert_int_equal(mode_length, 3);
    assert_int_equal(kit.seen_count, 2); /* one read, and the write goes where the read was */
    assert_int_equal(kit.seen[1].offset, AT);
    assert_int_equal(kit.seen[1].value, (uint32_t)(mode_answer(FIRST, AT, 4) + 0x01010101));
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(*kit_byte(0x50000 + AT + i), 0);
}

/* What an earlier call may have left on the stack. */
static void __attribute__((noinline)) poison_stack(void)
{
    volatile uint8_t stack[4096];

    for (unsigned i = 0; i < sizeof(stack); i++)
        stack[i] = 0x5a;
}

static const struct {
    char load[5], store[5];
    uint8_t length, bytes;
} widths[] = {
    {"\x8a\x07", "\x88\x07", 2, 1},
    {"\x66\x8b\x07", "\x66\x89\x07", 3, 2},
    {"\x8b\x07", "\x89\x07", 2, 4},
    {"\x48\x8b\x07", "\x48\x89\x07", 3, 8},
    {"\x0f\x10\x07", "\x0f\x11\x07", 3, 16},         /* movups */
    {"\xc5\xfc\x10\x07", "\xc5\xfc\x11\x07", 4, 32}, /* vmovups ymm0 */
};

/* The registers before, and what of them an access of `bytes` may change. */
static void poison_registers(void)
{
    kit.vp.gpr[GPR_RAX] = RAX;
    memset(fake_vectors, 0x5a, sizeof(fake_vectors));
    poison_stack();
}

static uint8_t register_byte(unsigned i, bool vector)
{
    return (uint8_t)(vector ? fake_vectors[0].byte[i] : kit.vp.gpr[GPR_RAX] >> (i * 8));
}

static uint8_t poison_byte(unsigned i, unsigned bytes)
{
    if (bytes > 8)
        return 0x5a;
    return (uint8_t)(bytes == 4 ? 0 : RAX >> (i * 8));
}

static bool has_avx(void)
{
    return __builtin_cpu_supports("avx");
}

static void check_width(unsigned form, unsigned at)
{
    const unsigned bytes = widths[form].bytes, all = bytes > 8 ? 32 : 8;
    unsigned done = 0;

    kit_forget();
    mode_point_to(at);
    poison_registers();
    assert_int_equal(mode_run(widths[form].load, widths[form].length, at, R), HV_ADVANCE);
    for (unsigned i = 0; i < all; i++)
        assert_int_equal(register_byte(i, bytes > 8), i >= bytes         ? poison_byte(i, bytes)
                                                      : kit.there[FIRST] ? kit_answer(FIRST, at + i)
                                                                         : 0xff);
    kit_forget();
    poison_registers();
    assert_int_equal(mode_run(widths[form].store, widths[form].length, at, W), HV_ADVANCE);
    for (unsigned n = 0; n < kit.seen_count; n++) {
        const struct kit_access *seen = &kit.seen[n];

        assert_int_equal(seen->offset, at + done);
        for (unsigned i = 0; i < MIN(seen->bytes, 8u); i++)
            assert_int_equal(
                (uint8_t)((seen->bytes > 8 ? 0x5a5a5a5a5a5a5a5aull : seen->value) >> (i * 8)),
                register_byte(done + i, bytes > 8));
        if (seen->bytes < 8)
            assert_int_equal(seen->value >> (seen->bytes * 8), 0);
        done += seen->bytes;
    }
    assert_int_equal(done, kit.there[FIRST] ? bytes : 0);
}

/* Neither a device nor the guest sees a byte that nobody has put there; without a device all of it is ones. */
static void test_xsa_121_xsa_239_every_width_at_every_offset(void **state)
{
    (void)state;
    for (unsigned wide = 0; wide <= 48; wide += 16) {
        if (wide <= 32)
            kit_attach_as(FIRST, MODE_PLACE, 2 * PAGE_BYTES, false, wide);
        for (unsigned form = 0; form < ARRAY_COUNT(widths); form++)
            for (unsigned at = 0; at < 72 && (widths[form].bytes < 32 || has_avx()); at++) {
                check_width(form, at);
                check_width(form, PAGE_BYTES - 36 + at);
            }
        if (wide <= 32)
            kit_detach(FIRST, MODE_PLACE);
    }
}

/* A table of entries that ends inside a page: what lies behind it is not the table's, at no width and by no part. */
static void test_xsa_164_cve_2020_13754_past_the_last_entry(void **state)
{
    const unsigned end = 0x130;

    (void)state;
    for (unsigned wide = 0; wide <= 32; wide += 16) {
        kit_attach_as(FIRST, MODE_PLACE, end, true,
                      wide); /* the kit fails when it is asked past its end */
        for (unsigned form = 0; form < ARRAY_COUNT(widths); form++)
            for (unsigned at = end - 40; at < end + 8; at++) {
                const unsigned bytes = widths[form].bytes,
                               inside = at < end ? MIN(bytes, end - at) : 0;
                unsigned seen = 0;

                if (bytes == 32 && !has_avx())
                    continue;
                kit_forget();
                mode_point_to(at);
                poison_registers();
                assert_int_equal(mode_run(widths[form].load, widths[form].length, at, R),
                                 HV_ADVANCE);
                for (unsigned n = 0; n < kit.seen_count; n++)
                    seen += kit.seen[n].bytes;
                assert_int_equal(seen, inside);
                for (unsigned i = 0; i < bytes; i++)
                    assert_int_equal(register_byte(i, bytes > 8),
                                     i < inside ? kit_answer(FIRST, at + i) : 0xff);
                kit_forget();
                assert_int_equal(mode_run(widths[form].store, widths[form].length, at, W),
                                 HV_ADVANCE);
                seen = 0;
                for (unsigned n = 0; n < kit.seen_count; n++)
                    seen += kit.seen[n].bytes;
                assert_int_equal(seen, inside);
            }
        kit_detach(FIRST, MODE_PLACE);
    }
}

/* An access over the border of two regions: each sees its own part, at its own offsets. */
static void test_xsa_164_between_two_regions(void **state)
{
    const unsigned border = 0x130; /* a region has 16 bytes or more */

    (void)state;
    for (unsigned wide = 0; wide <= 32; wide += 16) {
        kit_attach_as(FIRST, MODE_PLACE, border, true, wide);
        kit_attach_as(SECOND, MODE_PLACE + border, 0x100, true, wide);
        for (unsigned form = 0; form < ARRAY_COUNT(widths); form++)
            for (unsigned at = border - 32; at < border + 4; at++) {
                const unsigned bytes = widths[form].bytes;

                if (bytes == 32 && !has_avx())
                    continue;
                kit_forget();
                mode_point_to(at);
                poison_registers();
                assert_int_equal(mode_run(widths[form].load, widths[form].length, at, R),
                                 HV_ADVANCE);
                for (unsigned i = 0; i < bytes; i++)
                    assert_int_equal(register_byte(i, bytes > 8),
                                     at + i < border ? kit_answer(FIRST, at + i)
                                                     : kit_answer(SECOND, at + i - border));
            }
        kit_detach(FIRST, MODE_PLACE);
        kit_detach(SECOND, MODE_PLACE + border);
    }
}

static void resume_early(unsigned n)
{
    (void)n;
    assert_int_equal(hv_vm_resume_vps(&kit.vm), HV_E_INVALID_STATE);
    assert_int_equal(hv_vm_pause_vps(&kit.vm, 0), HV_OK);
}

/* A completion that comes before anybody waits counts for nothing: the pause after it is one. */
static void test_acrn_5de6bf3d3_completion_before_wait(void **state)
{
    (void)state;
    kit_attach(FIRST, MODE_PLACE, PAGE_BYTES);
    kit.on_access = resume_early;
    mode_point_to(AT);
    assert_int_equal(RUN("\x8b\x07", AT, R), HV_ADVANCE);
    assert_false(vm_entry_allowed(&kit.vm, kit.vm.generation));
    assert_int_equal(hv_vm_resume_vps(&kit.vm), HV_OK);
    kit.vm.stop = VM_STOP_NONE;
    assert_true(vm_entry_allowed(&kit.vm, kit.vm.generation));
}

/* Loads of each width at every offset over a line of 64 bytes, at a page's end, with RAM or another region behind. */
static void test_xen_e5339bb689_split_access(void **state)
{
    (void)state;
    for (unsigned ram = 0; ram < 2; ram++) {
        kit_attach_as(FIRST, MODE_PLACE, PAGE_BYTES, false, 32);
        mode_map(1, ram ? 0x50000 : MODE_PLACE + 8 * PAGE_BYTES, KIT_LINK);
        if (!ram)
            kit_attach_as(SECOND, MODE_PLACE + 8 * PAGE_BYTES, PAGE_BYTES, false, 32);
        for (unsigned i = 0; i < 64; i++)
            *kit_byte(0x50000 + i) = (uint8_t)(0xd0 ^ i);
        for (unsigned form = 0; form < ARRAY_COUNT(widths); form++)
            for (unsigned at = PAGE_BYTES - 64; at < PAGE_BYTES; at++) {
                const unsigned bytes = widths[form].bytes;

                if (bytes == 32 && !has_avx())
                    continue;
                kit_forget();
                mode_point_to(at);
                poison_registers();
                assert_int_equal(mode_run(widths[form].load, widths[form].length, at, R),
                                 HV_ADVANCE);
                for (unsigned i = 0; i < bytes; i++) {
                    const unsigned behind = at + i - (unsigned)PAGE_BYTES;

                    assert_int_equal(register_byte(i, bytes > 8),
                                     at + i < PAGE_BYTES ? kit_answer(FIRST, at + i)
                                     : ram               ? 0xd0 ^ behind
                                                         : kit_answer(SECOND, behind));
                }
            }
        kit_detach(FIRST, MODE_PLACE);
        if (!ram)
            kit_detach(SECOND, MODE_PLACE + 8 * PAGE_BYTES);
    }
}

#define TEST(name) KIT_TEST_BOTH(name, mode_open_alone)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_jailhouse_de1551d6_xsa_491_the_list_changes_in_a_callback),
        TEST(test_xsa_166_xsa_262_one_fetch_of_shared_words),
        TEST(test_xsa_121_xsa_239_every_width_at_every_offset),
        TEST(test_xsa_164_cve_2020_13754_past_the_last_entry),
        TEST(test_xsa_164_between_two_regions),
        TEST(test_acrn_5de6bf3d3_completion_before_wait),
        TEST(test_xen_e5339bb689_split_access),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
