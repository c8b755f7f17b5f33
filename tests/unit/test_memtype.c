#include "tests/fake/host.h"

#include "ept/memtype.h"

enum { UC = 0, WC = 1, WT = 4, WP = 5, WB = 6, UCM = 7 };

static const unsigned leaf_types[5] = {UC, WC, WT, WP, WB};
static const unsigned pat_types[6] = {UC, UCM, WC, WT, WB, WP};

/* Row: EPT type; column: guest PAT, both in the order of the two lists above. */
static const unsigned effective[5][6] = {
    {UC, UC, WC, UC, UC, UC}, /* UC */
    {UC, WC, WC, UC, WC, UC}, /* WC */
    {UC, UC, WC, WT, WT, WP}, /* WT */
    {UC, WC, WC, WT, WP, WP}, /* WP */
    {UC, UC, WC, WT, WB, WP}, /* WB */
};

static void ept_and_guest_pat_combine(void **state)
{
    (void)state;
    for (unsigned row = 0; row < 5; row++) {
        for (unsigned column = 0; column < 6; column++)
            assert_int_equal(
                memtype_combine_ept((enum memtype)leaf_types[row], false, pat_types[column]),
                effective[row][column]);
    }
}

static void ignored_pat_leaves_the_leafs_type(void **state)
{
    (void)state;
    for (unsigned row = 0; row < 5; row++) {
        for (unsigned column = 0; column < 6; column++)
            assert_int_equal(
                memtype_combine_ept((enum memtype)leaf_types[row], true, pat_types[column]),
                leaf_types[row]);
    }
}

static void a_reserved_guest_type_is_uncached(void **state)
{
    (void)state;
    for (unsigned row = 0; row < 5; row++) {
        assert_int_equal(memtype_combine_ept((enum memtype)leaf_types[row], false, 2), UC);
        assert_int_equal(memtype_combine_ept((enum memtype)leaf_types[row], false, 3), UC);
    }
}

static void names_and_validity(void **state)
{
    static const char *const names[9] = {"UC", "WC", "??", "??", "WT", "WP", "WB", "UC-", "??"};
    static const bool valid[9] = {true, true, false, false, true, true, true, false, false};

    (void)state;
    for (unsigned type = 0; type < 9; type++) {
        assert_string_equal(memtype_name(type), names[type]);
        assert_int_equal(memtype_is_valid(type), valid[type]);
    }
    assert_string_equal(memtype_name(~0u), "??");
    assert_false(memtype_is_valid(~0u));
}

static void pat_fields(void **state)
{
    const uint64_t linux_pat = 0x0407050600070106ull;

    (void)state;
    assert_int_equal(pat_entry(linux_pat, 0), WB);
    assert_int_equal(pat_entry(linux_pat, 1), WC);
    assert_int_equal(pat_entry(linux_pat, 3), UC);
    assert_int_equal(pat_entry(linux_pat, 7), WT);
    assert_int_equal(pat_index(0x08, 7), 1);
    assert_int_equal(pat_index(0x10, 7), 2);
    assert_int_equal(pat_index(0x80, 7), 4);
    assert_int_equal(pat_index(0x80, 12), 0);
    assert_int_equal(pat_index(0x1098, 12), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ept_and_guest_pat_combine),
        cmocka_unit_test(ignored_pat_leaves_the_leafs_type),
        cmocka_unit_test(a_reserved_guest_type_is_uncached),
        cmocka_unit_test(names_and_validity),
        cmocka_unit_test(pat_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
