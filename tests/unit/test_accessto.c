/* The long way of trapped accesses: what their operands meet. Read-only pages, wide devices, nobody, doorbells. */
#include "tests/unit/mode_kit.h"

#include <string.h>

#include "hv/base/bits.h"
#include "tests/fake/vector.h"
#include "tests/fake/window.h"

#define AT 0x120u
#define R  HV_ACCESS_READ
#define W  HV_ACCESS_WRITE

/* ---- where operands are ---- */

/* A direct page that is read-only: the read is the section's, the write the callback's, of each byte. */
static void test_read_only_page(void **state)
{
    (void)state;
    kit_direct(4, PT_R, MEMTYPE_WT);
    memcpy(kit_byte(MODE_PLACE + AT), "\x10\x20\x30\x40", 4);
    mode_point_to(AT);
    kit.vp.gpr[GPR_RAX] = 0x01010101;
    assert_int_equal(RUN("\x01\x07", AT, R | W), HV_ADVANCE);
    assert_int_equal(fake_window.last_type, MEMTYPE_WT);
    assert_int_equal(kit.seen_count, 1);
    mode_expect_seen(0, true, AT, 4, 0x41312111);
    assert_memory_equal(kit_byte(MODE_PLACE + AT), "\x10\x20\x30\x40", 4);
    kit_forget(); /* CMP and TEST read only, so they are the CPU's */
    assert_int_equal(RUN("\x39\x07", AT, R), HV_RESUME);
    assert_int_equal(kit.vm.stats.spurious, 1);
    kit_forget(); /* CMPXCHG writes even when it fails */
    kit.vp.gpr[GPR_RAX] = 0;
    assert_int_equal(RUN("\x0f\xb1\x0f", AT, R | W), HV_ADVANCE);
    mode_expect_seen(0, true, AT, 4, 0x40302010);
    assert_int_equal(kit.vp.gpr[GPR_RAX], 0x40302010);
    kit_direct(4, 0, MEMTYPE_WB);
}

/* ---- vectors ---- */

static void vectors_on(void)
{
    fake_backend.state.cr4 |= CR4_OSFXSR;
    memset(fake_vectors, 0xee, sizeof(fake_vectors));
}

/* MOVUPS at every offset: naturally aligned pieces, of 16 bytes where the device wants them. */
static void test_wide_pieces(void **state)
{
    (void)state;
    for (unsigned wide = 0; wide <= 32; wide = wide ? wide * 2 : 16)
        for (unsigned write = 0; write < 2; write++)
            for (unsigned at = 0; at < 40; at++) {
                uint8_t value[16];
                unsigned done = 0;

                kit_detach(MODE_DEVICE, MODE_PLACE);
                kit_attach_as(MODE_DEVICE, MODE_PLACE, 2 * PAGE_BYTES, false, wide);
                kit_forget();
                vectors_on();
                for (unsigned i = 0; i < sizeof(value); i++)
                    value[i] = (uint8_t)(0x30 + i);
                memcpy(fake_vectors[0].byte, value, sizeof(value));
                mode_point_to(at);
                assert_int_equal(write ? RUN("\x0f\x11\x07", at, W) : RUN("\x0f\x10\x07", at, R),
                                 HV_ADVANCE);
                for (unsigned n = 0; n < kit.seen_count; n++) {
                    const struct kit_access *seen = &kit.seen[n];
                    const uint8_t *bytes =
                        seen->bytes > 8 ? seen->wide : (const uint8_t *)&seen->value;

                    assert_int_equal(seen->offset, at + done);
                    assert_memory_equal(bytes, (write ? value : fake_vectors[0].byte) + done,
                                        seen->bytes);
                    done += seen->bytes;
                }
                assert_int_equal(done, 16);
                assert_int_equal(kit.seen_count == 1, wide >= 16 && at % 16 == 0);
                for (unsigned i = 0; i < 16 && !write; i++)
                    assert_int_equal(fake_vectors[0].byte[i], kit_answer(MODE_DEVICE, at + i));
                for (unsigned i = 16; i < 32; i++)
                    assert_int_equal(fake_vectors[0].byte[i], 0xee);
            }
}

/* Nobody there: ones for all of it, each piece counted. */
static void test_wide_unclaimed(void **state)
{
    (void)state;
    kit_detach(MODE_DEVICE, MODE_PLACE);
    vectors_on();
    mode_point_to(AT);
    assert_int_equal(RUN("\x0f\x10\x07", AT, R), HV_ADVANCE);
    assert_int_equal(kit.vm.stats.unclaimed, 2);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(fake_vectors[0].byte[i], 0xff);
    assert_int_equal(RUN("\x0f\x11\x07", AT, W), HV_ADVANCE);
    assert_int_equal(kit.vm.stats.unclaimed, 4);
    assert_int_equal(kit.seen_count, 0);
}

/* ---- doorbells ---- */

struct consult {
    char code[6];
    uint8_t bytes;
    uint8_t at; /* offset from AT */
    uint8_t access;
    uint8_t whole;  /* width of the write when the doorbell is asked for it, else 0 */
    uint64_t value; /* of RAX = 0x8877665544332211, and of the device's answer for RMW */
};

static void check_consult(const struct consult *c, bool rings)
{
    const unsigned at = AT + c->at;

    kit_forget();
    kit.rings = rings;
    mode_point_to(at);
    kit.vp.gpr[GPR_RAX] = 0x8877665544332211ull;
    kit.vp.gpr[GPR_RCX] = 0;
    assert_int_equal(mode_run(c->code, c->bytes, at, c->access), HV_ADVANCE);
    assert_int_equal(kit.asked_count, c->whole != 0);
    if (c->whole) {
        assert_int_equal(kit.asked[0].offset, at);
        assert_int_equal(kit.asked[0].bytes, c->whole);
        assert_int_equal(kit.asked[0].value, c->value);
    }
    for (unsigned i = 0; i < kit.seen_count; i++)
        assert_true(!kit.seen[i].write || !rings || !c->whole);
    if (c->whole && !rings)
        mode_expect_seen(kit.seen_count - 1, true, at, c->whole, c->value);
    if (!c->whole)
        assert_true(kit.seen_count > 0);
}

/* A doorbell is asked for writes that are one aligned piece, whatever the instruction; never for reads and parts. */
static void test_doorbells(void **state)
{
    const uint64_t rax = 0x8877665544332211ull;
    const struct consult cases[] = {
        {"\x88\x07", 2, 0, W, 1, rax & 0xff},
        {"\x66\x89\x07", 3, 0, W, 2, rax & 0xffff},
        {"\x89\x07", 2, 0, W, 4, rax & UINT32_MAX},
        {"\x48\x89\x07", 3, 0, W, 8, rax},
        {"\xc6\x07\x5a", 3, 3, W, 1, 0x5a},
        {"\x89\x07", 2, 2, W, 0, 0},     /* two pieces */
        {"\x48\x89\x07", 3, 4, W, 0, 0}, /* two pieces */
        {"\x48\x89\x07", 3, 1, W, 0, 0},
        {"\xab", 1, 0, W, 4, rax & UINT32_MAX}, /* stos */
        {"\x66\xab", 2, 4, W, 2, rax & 0xffff},
        {"\xab", 1, 1, W, 0, 0},
        {"\x87\x07", 2, 0, R | W, 4, rax & UINT32_MAX}, /* xchg */
        {"\xf0\x09\x07", 3, 0, R | W, 4,
         (rax | mode_answer(MODE_DEVICE, AT, 4)) & UINT32_MAX}, /* lock or */
        {"\xf0\x48\x09\x07", 4, 0, R | W, 8, rax | mode_answer(MODE_DEVICE, AT, 8)},
        {"\xf0\x09\x07", 3, 2, R | W, 0, 0},
        {"\x8b\x07", 2, 0, R, 0, 0},
        {"\x0f\x11\x07", 3, 0, W, 0, 0}, /* movups: 16 bytes are never one */
        {"\x0f\x13\x07", 3, 0, W, 8, 0}, /* movlps: 8 bytes of a register may be */
    };

    (void)state;
    kit_detach(MODE_DEVICE, MODE_PLACE);
    kit_attach_as(MODE_DEVICE, MODE_PLACE, 2 * PAGE_BYTES, true, 0);
    fake_backend.state.cr4 |= CR4_OSFXSR;
    memset(fake_vectors, 0, sizeof(fake_vectors));
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++)
        for (unsigned turn = 0; turn < 4;
             turn++) /* the second and the fourth: the short way where there is one */
            check_consult(&cases[i], turn >= 2);
}

/* Each iteration is a write of its own; a write that is split by a page's end is not whole, nor are its parts. */
static void test_doorbell_of_strings(void **state)
{
    (void)state;
    kit_detach(MODE_DEVICE, MODE_PLACE);
    kit_attach_as(MODE_DEVICE, MODE_PLACE, 2 * PAGE_BYTES, true, 0);
    kit.rings = true;
    mode_point_to(AT);
    kit.vp.gpr[GPR_RCX] = 5;
    kit.vp.gpr[GPR_RAX] = 0x44332211;
    assert_int_equal(RUN("\xf3\xab", AT, W), HV_ADVANCE);
    assert_int_equal(kit.asked_count, 5);
    assert_int_equal(kit.seen_count, 0);
    kit_forget();
    mode_point_to(PAGE_BYTES - 4);
    assert_int_equal(RUN("\x48\x89\x07", PAGE_BYTES - 4, W), HV_ADVANCE);
    assert_int_equal(kit.asked_count, 0);
    assert_int_equal(kit.seen_count, 2);
}

#define TEST(name) KIT_TEST_BOTH(name, mode_open_device)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_read_only_page), TEST(test_wide_pieces),         TEST(test_wide_unclaimed),
        TEST(test_doorbells),      TEST(test_doorbell_of_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
