#include "tests/fake/host.h"

#include "ept/memtype.h"

enum { UC = 0, WC = 1, WT = 4, WP = 5, WB = 6, UCM = 7, CD = 8, WCP = 9 };

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

/* ---- NPT, both tables in the manual's order ---- */

static const unsigned npt_guest[6] = {UC, UCM, WC, WP, WT, WB};
static const unsigned npt_nested[6] = {UC, UCM, WC, WP, WT, WB};
static const unsigned npt_rows[7] = {UC, UCM, WC, WCP, WP, WT, WB};
static const unsigned npt_mtrr[5] = {UC, WC, WP, WT, WB};

/* Row: guest PAT, column: nested PAT. */
static const unsigned npt_pages[6][6] = {
    {UC, UC, UC, UC, UC, UC},    /* UC */
    {UC, UCM, WC, UC, UC, UC},   /* UC- */
    {WC, WC, WC, WCP, WCP, WCP}, /* WC */
    {UC, UC, UC, WP, UC, WP},    /* WP */
    {UC, UC, UC, UC, WT, WT},    /* WT */
    {UC, UC, WC, WP, WT, WB},    /* WB */
};

/* Row: the result of that, column: MTRR. */
static const unsigned npt_frame[7][5] = {
    {UC, CD, CD, CD, CD},    /* UC */
    {UC, WC, CD, CD, CD},    /* UC- */
    {WC, WC, WC, WC, WC},    /* WC */
    {WC, WC, WCP, WCP, WCP}, /* WC+ */
    {UC, CD, WP, CD, WP},    /* WP */
    {UC, CD, CD, WT, WT},    /* WT */
    {UC, WC, WP, WT, WB},    /* WB */
};

static void npt_page_tables_combine(void **state)
{
    (void)state;
    for (unsigned row = 0; row < 6; row++) {
        for (unsigned column = 0; column < 6; column++)
            assert_int_equal(memtype_npt_pages((enum memtype)npt_nested[column], npt_guest[row]),
                             npt_pages[row][column]);
    }
}

static void npt_and_the_frames_mtrr_combine(void **state)
{
    (void)state;
    for (unsigned row = 0; row < 7; row++) {
        for (unsigned column = 0; column < 5; column++)
            assert_int_equal(memtype_npt_frame(npt_rows[row], npt_mtrr[column]),
                             npt_frame[row][column]);
    }
}

/* What a reader of the answer sees: for nested UC, WC, WP, WT, WB over frames that are UC and WB to the MTRRs. */
static void npt_answers_are_plain_types(void **state)
{
    static const unsigned over_wb[6][5] = {
        {UC, UC, UC, UC, UC}, /* guest UC */
        {UC, WC, UC, UC, UC}, /* UC- */
        {WC, WC, WC, WC, WC}, /* WC */
        {UC, UC, WP, UC, WP}, /* WP */
        {UC, UC, UC, WT, WT}, /* WT */
        {UC, WC, WP, WT, WB}, /* WB */
    };
    static const unsigned over_uc[6][5] = {
        {UC, UC, UC, UC, UC}, {UC, WC, UC, UC, UC}, {WC, WC, WC, WC, WC},
        {UC, UC, UC, UC, UC}, {UC, UC, UC, UC, UC}, {UC, WC, UC, UC, UC},
    };

    (void)state;
    for (unsigned row = 0; row < 6; row++) {
        for (unsigned column = 0; column < 5; column++) {
            enum memtype nested = (enum memtype)npt_mtrr[column];

            assert_int_equal(memtype_combine_npt(nested, npt_guest[row], WB), over_wb[row][column]);
            assert_int_equal(memtype_combine_npt(nested, npt_guest[row], UC), over_uc[row][column]);
        }
    }
}

/* The answer is the two tables, with CD as UC and WC+ as WC, and never anything but a plain type. */
static void npt_answers_are_the_two_tables(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 6 * 6 * 5; n++) {
        unsigned guest = n % 6, nested = n / 6 % 6, mtrr = n / 36, row = 0, type;

        while (npt_rows[row] != npt_pages[guest][nested])
            row++;
        type = npt_frame[row][mtrr];
        type = type == CD ? UC : type == WCP ? WC : type;
        assert_true(memtype_is_valid(type));
        assert_int_equal(
            memtype_combine_npt((enum memtype)npt_nested[nested], npt_guest[guest], npt_mtrr[mtrr]),
            type);
    }
}

static void reserved_types_are_uncached_under_npt(void **state)
{
    (void)state;
    for (unsigned reserved = 2; reserved < 4; reserved++) {
        for (unsigned i = 0; i < 5; i++) {
            assert_int_equal(memtype_npt_pages((enum memtype)npt_mtrr[i], reserved), UC);
            assert_int_equal(memtype_npt_pages((enum memtype)reserved, npt_guest[i]), UC);
            assert_int_equal(memtype_npt_frame(npt_rows[i], reserved), UC);
        }
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
        cmocka_unit_test(npt_page_tables_combine),
        cmocka_unit_test(npt_and_the_frames_mtrr_combine),
        cmocka_unit_test(npt_answers_are_plain_types),
        cmocka_unit_test(npt_answers_are_the_two_tables),
        cmocka_unit_test(reserved_types_are_uncached_under_npt),
        cmocka_unit_test(names_and_validity),
        cmocka_unit_test(pat_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
