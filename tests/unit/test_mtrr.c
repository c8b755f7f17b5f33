#include "tests/fake/host.h"

#include "hv/x86/mtrr.h"

enum { UC = 0, WC = 1, WT = 4, WP = 5, WB = 6 };

#define ON       0x800ull /* in the default-type register: MTRRs, fixed ranges */
#define ON_FIXED 0xc00ull
#define VALID    0x800ull
/* PHYSMASK of a range of some size on a CPU with 40 physical address bits. */
#define MASK_40(bytes) (((1ull << 40) - (bytes)) | VALID)

static void type_is(const struct mtrr *mtrr, uint64_t address, unsigned type)
{
    assert_int_equal(mtrr_type(mtrr, HPA(address)), type);
}

static void disabled_is_uncached(void **state)
{
    struct mtrr m = {
        .def_type = 0x400 | WB,
        .fixed = {0x0606060606060606ull},
        .variable_count = 1,
        .variable = {{WB, MASK_40(GIB(2))}},
        .top_mem2 = GIB(8),
    };

    (void)state;
    type_is(&m, 0, UC);
    type_is(&m, MIB(2), UC);
    type_is(&m, GIB(5), UC);
    m.def_type |= ON;
    type_is(&m, 0, WB);
    type_is(&m, MIB(2), WB);
    type_is(&m, GIB(5), WB);
}

static void default_type(void **state)
{
    static const unsigned types[5] = {UC, WC, WT, WP, WB};

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct mtrr m = {.def_type = ON | types[i]};

        type_is(&m, 0, types[i]);
        type_is(&m, 0xff000, types[i]);
        type_is(&m, GIB(3), types[i]);
        type_is(&m, 0xfffffff000ull, types[i]);
    }
}

/* Each register another pattern of types; the address of each of the 88 ranges written out. */
static void fixed_ranges(void **state)
{
    static const struct mtrr m = {
        .def_type = ON_FIXED | WB,
        .fixed = {0x0605040100060504ull, 0x0100010001000100ull, 0x0605060506050605ull,
                  0x0000000000000001ull, 0x0400000000000000ull, 0x0505050505050505ull,
                  0x0101010101010101ull, 0x0606060606060606ull, 0x0404040404040404ull,
                  0x0001040506000104ull, 0x0600000000000005ull},
    };
    static const struct {
        uint64_t address;
        unsigned type;
    } at[] = {
        {0x00000, WT}, {0x0f000, WT}, {0x10000, WP}, {0x20000, WB}, {0x30000, UC}, {0x40000, WC},
        {0x50000, WT}, {0x60000, WP}, {0x70000, WB}, {0x7f000, WB}, {0x80000, UC}, {0x83000, UC},
        {0x84000, WC}, {0x88000, UC}, {0x8c000, WC}, {0x90000, UC}, {0x94000, WC}, {0x98000, UC},
        {0x9c000, WC}, {0x9f000, WC}, {0xa0000, WP}, {0xa4000, WB}, {0xa8000, WP}, {0xac000, WB},
        {0xb0000, WP}, {0xb4000, WB}, {0xb8000, WP}, {0xbc000, WB}, {0xbf000, WB}, {0xc0000, WC},
        {0xc1000, UC}, {0xc7000, UC}, {0xc8000, UC}, {0xce000, UC}, {0xcf000, WT}, {0xd0000, WP},
        {0xd7000, WP}, {0xd8000, WC}, {0xdf000, WC}, {0xe0000, WB}, {0xe7000, WB}, {0xe8000, WT},
        {0xef000, WT}, {0xf0000, WT}, {0xf1000, WC}, {0xf2000, UC}, {0xf3000, WB}, {0xf4000, WP},
        {0xf5000, WT}, {0xf6000, WC}, {0xf7000, UC}, {0xf8000, WP}, {0xf9000, UC}, {0xfe000, UC},
        {0xff000, WB},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(at); i++)
        type_is(&m, at[i].address, at[i].type);
    type_is(&m, MIB(1), WB);
}

static void fixed_ranges_win_only_while_they_are_on(void **state)
{
    struct mtrr m = {
        .def_type = ON_FIXED | UC,
        .fixed = {0x0606060606060606ull},
        .variable_count = 1,
        .variable = {{WT, MASK_40(MIB(2))}},
    };

    (void)state;
    type_is(&m, 0x10000, WB);
    type_is(&m, MIB(1), WT);
    m.def_type = ON | UC;
    type_is(&m, 0x10000, WT);
    type_is(&m, MIB(1), WT);
}

/* AMD's RdMem and WrMem bits lie above the type. */
static void vendor_bits_of_fixed_ranges_are_no_type(void **state)
{
    static const struct mtrr m = {.def_type = ON_FIXED, .fixed = {0x1e1e1e1e1e1e1e1eull}};

    (void)state;
    type_is(&m, 0x10000, WB);
}

static void variable_ranges_and_masks(void **state)
{
    static const struct mtrr m = {
        .def_type = ON | UC,
        .variable_count = 6,
        .variable =
            {
                {0x00000000 | WB, 0xff80000800ull},     /* 0 to 2 GiB */
                {0x80000000 | WC, 0xfff0000800ull},     /* 256 MiB at 2 GiB */
                {0x100000000ull | WT, 0xfffffff800ull}, /* one page at 4 GiB */
                {0x200000000ull | WB, 0xfe00000000ull}, /* not valid */
                {0x400000000ull | WP, 0xfd00000800ull}, /* a mask with a hole: 16 and 24 GiB */
                {0xff00000000ull | WT, 0xff00000800ull},
            },
    };

    (void)state;
    type_is(&m, 0, WB);
    type_is(&m, 0x7ffff000, WB);
    type_is(&m, 0x80000000, WC);
    type_is(&m, 0x8ffff000, WC);
    type_is(&m, 0x90000000, UC);
    type_is(&m, 0x100000000ull, WT);
    type_is(&m, 0x100001000ull, UC);
    type_is(&m, 0x200000000ull, UC);
    type_is(&m, 0x400000000ull, WP);
    type_is(&m, 0x4fffff000ull, WP);
    type_is(&m, 0x500000000ull, UC);
    type_is(&m, 0x600000000ull, WP);
    type_is(&m, 0x700000000ull, UC);
    type_is(&m, 0xfffffff000ull, WT);
}

static void ranges_past_the_count_are_not_looked_at(void **state)
{
    struct mtrr m = {.def_type = ON | WB, .variable_count = 1};

    (void)state;
    m.variable[0] = (struct mtrr_range){GIB(1) | WC, MASK_40(GIB(1))};
    m.variable[1] = (struct mtrr_range){GIB(2) | UC, MASK_40(GIB(1))};
    type_is(&m, GIB(2), WB);
    m.variable_count = 2;
    type_is(&m, GIB(2), UC);
    type_is(&m, GIB(1), WC);
}

/* Row and column: the types of two ranges with one address: UC WC WT WP WB. */
static void overlaps(void **state)
{
    static const unsigned types[5] = {UC, WC, WT, WP, WB};
    static const unsigned both[5][5] = {
        {UC, UC, UC, UC, UC}, {UC, WC, UC, UC, UC}, {UC, UC, WT, UC, WT},
        {UC, UC, UC, WP, UC}, {UC, UC, WT, UC, WB},
    };

    (void)state;
    for (unsigned a = 0; a < 5; a++) {
        for (unsigned b = 0; b < 5; b++) {
            struct mtrr m = {.def_type = ON | WP, .variable_count = 2};

            m.variable[0] = (struct mtrr_range){types[a], MASK_40(GIB(4))};
            m.variable[1] = (struct mtrr_range){GIB(3) | types[b], MASK_40(GIB(1))};
            type_is(&m, GIB(2), types[a]);
            type_is(&m, GIB(3), both[a][b]);
            type_is(&m, GIB(4), WP);
        }
    }
}

static void uc_wins_among_three(void **state)
{
    struct mtrr m = {.def_type = ON | WB, .variable_count = 3};

    (void)state;
    for (unsigned where = 0; where < 3; where++) {
        m.variable[0] = (struct mtrr_range){WB, MASK_40(GIB(4))};
        m.variable[1] = (struct mtrr_range){WT, MASK_40(GIB(4))};
        m.variable[2] = (struct mtrr_range){WB, MASK_40(GIB(4))};
        type_is(&m, GIB(1), WT);
        m.variable[where].base = UC;
        type_is(&m, GIB(1), UC);
    }
}

static void ram_above_4_gib_by_top_mem2(void **state)
{
    struct mtrr m = {.def_type = ON | UC, .top_mem2 = GIB(6)};

    (void)state;
    type_is(&m, GIB(4) - PAGE_BYTES, UC);
    type_is(&m, GIB(4), WB);
    type_is(&m, GIB(6) - PAGE_BYTES, WB);
    type_is(&m, GIB(6), UC);
    m.variable_count = 1; /* a range has the last word */
    m.variable[0] = (struct mtrr_range){GIB(5) | WC, MASK_40(GIB(1))};
    type_is(&m, GIB(4), WB);
    type_is(&m, GIB(5), WC);
}

/* From 1 MiB on every page of a run is compared; the address after it may have any type. */
static void runs_have_one_type(void **state)
{
    static const struct mtrr machines[] = {
        {.def_type = ON | WB, .variable_count = 1, .variable = {{GIB(5) | WB, VALID}}},
        {.def_type = ON_FIXED | UC,
         .variable_count = 3,
         .variable = {{WB, MASK_40(GIB(4))},
                      {MIB(24) | UC, MASK_40(MIB(8))},
                      {MIB(27) | WC, MASK_40(KIB(64)) & ~VALID}},
         .top_mem2 = GIB(4) + MIB(40)},
        {.def_type = ON | UC, .top_mem2 = GIB(4) + MIB(8)},
    };
    const uint64_t starts[] = {MIB(1), MIB(23), MIB(24) + 0x5000, GIB(4) - MIB(64), GIB(4)};

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned j = 0; j < ARRAY_COUNT(starts); j++) {
            uint64_t at = starts[j], end = at + MIB(128);

            while (at < end) {
                uint64_t run = mtrr_run(&machines[i], HPA(at));

                assert_true(run != 0);
                run = MIN(run, (end - at) >> PAGE_SHIFT);
                for (uint64_t page = 0; page < run; page++)
                    type_is(&machines[i], at + page * PAGE_BYTES, mtrr_type(&machines[i], HPA(at)));
                at += run << PAGE_SHIFT;
            }
        }
    }
    assert_int_equal(mtrr_run(&machines[0], HPA(MIB(1) - PAGE_BYTES)), 1);
    assert_int_equal(mtrr_run(&machines[0], HPA(MIB(1))), (GIB(4) - MIB(1)) / PAGE_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disabled_is_uncached),
        cmocka_unit_test(default_type),
        cmocka_unit_test(fixed_ranges),
        cmocka_unit_test(fixed_ranges_win_only_while_they_are_on),
        cmocka_unit_test(vendor_bits_of_fixed_ranges_are_no_type),
        cmocka_unit_test(variable_ranges_and_masks),
        cmocka_unit_test(ranges_past_the_count_are_not_looked_at),
        cmocka_unit_test(overlaps),
        cmocka_unit_test(uc_wins_among_three),
        cmocka_unit_test(ram_above_4_gib_by_top_mem2),
        cmocka_unit_test(runs_have_one_type),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
