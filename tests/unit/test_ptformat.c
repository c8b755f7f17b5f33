/* Every type x rights x IPAT x level of each format against literal numbers. */
#include "tests/fake/host.h"

#include "ept/format.h"

static const uint64_t frames[4] = {0, 0x000ffffffffff000ull, 0x000fffffffe00000ull,
                                   0x000fffffc0000000ull};

static const unsigned types[6] = {MEMTYPE_UC, MEMTYPE_WC, MEMTYPE_WT,
                                  MEMTYPE_WP, MEMTYPE_WB, MEMTYPE_UC_MINUS};

static void round_trip(const struct pt_format *fmt, unsigned level, struct pt_attr attr,
                       uint64_t expected)
{
    uint64_t entry = pt_encode(fmt, HPA(frames[level]), &attr, level);
    struct pt_attr back;

    assert_int_equal(entry, expected | frames[level]);
    assert_true(pt_is_present(fmt, entry));
    assert_true(pt_is_leaf(fmt, entry, level));
    assert_int_equal(pt_frame(entry, level).v, frames[level]);
    back = pt_decode(fmt, entry | fmt->ad_mask, level);
    assert_int_equal(back.rights, attr.rights);
    assert_int_equal(back.memtype, attr.memtype);
    assert_int_equal(back.ignore_pat, attr.ignore_pat);
    assert_int_equal(back.max_level, level);
}

static void ept_literals(void **state)
{
    static const uint64_t type_bits[5] = {0x00, 0x08, 0x20, 0x28, 0x30};
    static const uint8_t rights[5] = {PT_R, PT_R | PT_W, PT_R | PT_X, PT_R | PT_W | PT_X, PT_X};
    static const uint64_t right_bits[5] = {1, 3, 5, 7, 4};

    (void)state;
    for (unsigned n = 0; n < 5 * 5 * 2 * 3; n++) {
        unsigned t = n % 5, r = n / 5 % 5, ipat = n / 25 % 2, level = 1 + n / 50;
        struct pt_attr attr = {rights[r], (uint8_t)types[t], ipat != 0, 0};
        uint64_t expected = type_bits[t] | right_bits[r] | (ipat ? 0x40 : 0);

        round_trip(&pt_format_ept, level, attr, expected | (level > 1 ? 0x80 : 0));
    }
}

/* Types in slots of HV_PAT: what stage 1 and NPT share. */
static const uint64_t small_bits[6] = {0x18, 0x08, 0x98, 0x88, 0x00, 0x10};
static const uint64_t large_bits[6] = {0x18, 0x08, 0x1018, 0x1008, 0x00, 0x10};

static void stage1_literals(void **state)
{
    static const uint8_t rights[4] = {PT_R, PT_R | PT_W, PT_R | PT_X, PT_R | PT_W | PT_X};
    static const uint64_t right_bits[4] = {1 | 1ull << 63, 3 | 1ull << 63, 1, 3};

    (void)state;
    for (unsigned n = 0; n < 6 * 4 * 3; n++) {
        unsigned t = n % 6, r = n / 6 % 4, level = 1 + n / 24;
        struct pt_attr attr = {rights[r], (uint8_t)types[t], false, 0};

        round_trip(&pt_format_stage1, level, attr,
                   right_bits[r] | (level == 1 ? small_bits[t] : large_bits[t] | 0x80));
    }
}

/* U/S in every entry: the CPU makes its nested accesses as a user. */
static void npt_literals(void **state)
{
    static const uint8_t rights[4] = {PT_R, PT_R | PT_W, PT_R | PT_X, PT_R | PT_W | PT_X};
    static const uint64_t right_bits[4] = {0x8000000000000005ull, 0x8000000000000007ull, 5, 7};

    (void)state;
    for (unsigned n = 0; n < 6 * 4 * 3; n++) {
        unsigned t = n % 6, r = n / 6 % 4, level = 1 + n / 24;
        struct pt_attr attr = {rights[r], (uint8_t)types[t], false, 0};

        round_trip(&pt_format_npt, level, attr,
                   right_bits[r] | (level == 1 ? small_bits[t] : large_bits[t] | 0x80));
    }
    assert_int_equal(pt_format_npt.ad_mask, 0x60);
    assert_int_equal(pt_format_npt.quiet_set, 0); /* even a right that is added is flushed for */
}

/* The slots that the literals above lean on: every type that can be asked for has one, in every leaf. */
static void types_are_those_of_the_pat(void **state)
{
    static const struct pt_format *const formats[2] = {&pt_format_stage1, &pt_format_npt};

    (void)state;
    assert_int_equal(HV_PAT, 0x0407050600070106ull);
    for (unsigned t = 0; t < 6 * 2; t++) {
        struct pt_attr attr = {PT_R, (uint8_t)types[t % 6], false, 0};

        for (unsigned level = 1; level <= 3; level++) {
            uint64_t entry = pt_encode(formats[t / 6], HPA(0), &attr, level);

            assert_int_equal(pat_entry(HV_PAT, pat_index(entry, level == 1 ? 7 : 12)),
                             types[t % 6]);
        }
    }
}

static void undefined_type_bits_decode_to_no_type(void **state)
{
    (void)state;
    assert_int_equal(pt_decode(&pt_format_ept, 0x13, 1).memtype, PT_MEMTYPE_NONE);
    assert_int_equal(pt_decode(&pt_format_ept, 0xbb, 2).memtype, PT_MEMTYPE_NONE);
    assert_int_equal(pt_decode(&pt_format_stage1, 0x81, 1).memtype, PT_MEMTYPE_NONE);
    assert_int_equal(pt_decode(&pt_format_npt, 0x85, 1).memtype, PT_MEMTYPE_NONE);
    assert_int_equal(pt_decode(&pt_format_npt, 0x1095, 2).memtype, PT_MEMTYPE_NONE);
    assert_string_equal(memtype_name(PT_MEMTYPE_NONE), "??");
}

static void table_entries(void **state)
{
    (void)state;
    assert_int_equal(pt_format_ept.table, 7);
    assert_int_equal(pt_format_stage1.table, 3);
    assert_int_equal(pt_format_npt.table,
                     7); /* PA0, as all that a table entry can reach without PCD and PWT */
    assert_false(pt_is_leaf(&pt_format_ept, 0x1000 | pt_format_ept.table, 2));
    assert_false(pt_is_leaf(&pt_format_stage1, 0x1000 | pt_format_stage1.table, 3));
    assert_false(pt_is_leaf(&pt_format_npt, 0x1000 | pt_format_npt.table, 3));
    assert_false(pt_is_present(&pt_format_ept, 0));
    assert_true(pt_is_present(&pt_format_ept, 4));
    assert_false(pt_is_present(&pt_format_stage1, ~1ull));
    assert_false(pt_is_present(&pt_format_npt, ~1ull));
    assert_true(pt_is_present(&pt_format_npt, 1));
}

static void encode(const struct pt_format *fmt, uint64_t frame, unsigned rights, unsigned type,
                   bool ipat, unsigned level)
{
    struct pt_attr attr = {(uint8_t)rights, (uint8_t)type, ipat, 0};

    (void)pt_encode(fmt, HPA(frame), &attr, level);
}

static void forbidden_encodings_are_asserted(void **state)
{
    const struct pt_format *ept = &pt_format_ept, *s1 = &pt_format_stage1, *npt = &pt_format_npt;

    (void)state;
    expect_assert_failure(encode(ept, 0, PT_W, MEMTYPE_WB, false, 1));
    expect_assert_failure(encode(ept, 0, PT_W | PT_X, MEMTYPE_WB, false, 1));
    expect_assert_failure(encode(ept, 0, 0, MEMTYPE_WB, false, 1));
    expect_assert_failure(encode(s1, 0, PT_X, MEMTYPE_WB, false, 1));
    expect_assert_failure(encode(ept, 0, PT_R, 2, false, 1));
    expect_assert_failure(encode(ept, 0, PT_R, 3, false, 2));
    expect_assert_failure(encode(ept, 0, PT_R, MEMTYPE_UC_MINUS, false, 1));
    expect_assert_failure(encode(ept, 0, PT_R, 8, false, 1));
    expect_assert_failure(encode(s1, 0, PT_R, MEMTYPE_WB, true, 1));
    expect_assert_failure(encode(npt, 0, PT_X, MEMTYPE_WB, false, 1));
    expect_assert_failure(encode(npt, 0, PT_W, MEMTYPE_WB, false, 1));
    expect_assert_failure(encode(npt, 0, PT_R, MEMTYPE_WB, true, 1));
    expect_assert_failure(encode(npt, 0, PT_R, 3, false, 1));
    expect_assert_failure(encode(npt, 0x200000, PT_R, MEMTYPE_WB, false, 3));
    expect_assert_failure(encode(ept, 0x1000, PT_R, MEMTYPE_WB, false, 2));
    expect_assert_failure(encode(ept, 0x200000, PT_R, MEMTYPE_WB, false, 3));
    expect_assert_failure(encode(ept, 1ull << 52, PT_R, MEMTYPE_WB, false, 1));
    expect_assert_failure(encode(ept, 0, PT_R, MEMTYPE_WB, false, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ept_literals),
        cmocka_unit_test(stage1_literals),
        cmocka_unit_test(npt_literals),
        cmocka_unit_test(types_are_those_of_the_pat),
        cmocka_unit_test(undefined_type_bits_decode_to_no_type),
        cmocka_unit_test(table_entries),
        cmocka_unit_test(forbidden_encodings_are_asserted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
