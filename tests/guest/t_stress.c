/* Long runs after which every count is what it was. */
#include "tests/guest/guest.h"

#define ACCESSES 100000u
#define PAIRS    1000u
#define AT       (LAB_FREE_PAGE + 512u)

static void accesses(unsigned i)
{
    struct totals before = totals(), after;
    struct bar_stats s = bar_stats(2), t;
    uint64_t hash = lab_hash();
    uint32_t random = 12345;

    (void)i;
    for (unsigned k = 0; k < ACCESSES && !failed(); k++) {
        uint64_t o;

        random = random * 1664525u + 1013904223u;
        o = 2 * PAGE + ((random >> 8) & 0xff8);
        if (random & 0x80000000u)
            store(GVA_BAR2 + o, 4, k);
        else if (load(GVA_BAR2 + o, 8) != hole_value(o, 8))
            fail("access %u read something else", k);
    }
    t = bar_stats(2);
    expect_eq("trapped accesses", t.reads + t.writes - s.reads - s.writes, ACCESSES);
    after = totals();
    totals_equal(&before, &after);
    expect_eq("hash", lab_hash(), hash);
}

static void pairs(unsigned i)
{
    struct totals before, after;
    uint64_t hash;

    (void)i;
    /* once, so that tables that are kept for good are there */
    expect_status("create", range_create(AT, 1, F_TYPE(4), lab.main, AT), HV_OK);
    expect_status("destroy", range_destroy(AT), HV_OK);
    before = totals();
    hash = lab_hash();
    for (unsigned k = 0; k < PAIRS && !failed(); k++) {
        uint64_t pages = 1 + (k * 37) % 1500;
        uint32_t flags = F_TYPE(k % 5) | (k % 4);

        expect_status(
            "create",
            range_create(AT + k % 7, pages, flags, k % 2 ? lab.main : lab.alt, AT + k % 9), HV_OK);
        expect_status("destroy", range_destroy(AT + k % 7), HV_OK);
    }
    after = totals();
    totals_equal(&before, &after);
    expect_eq("hash", lab_hash(), hash);
}

static void failures(unsigned i)
{
    struct totals before = totals(), after;
    uint64_t hash = lab_hash();

    (void)i;
    for (unsigned k = 0; k < PAIRS && !failed(); k++)
        expect_status("create", range_create(0, 1 + k, F_TYPE(4), lab.alt, k),
                      HV_E_CONFLICTING_ADDRESSES);
    after = totals();
    totals_equal(&before, &after);
    expect_eq("hash", lab_hash(), hash);
}

static const struct check list[] = {
    {"stress", "100,000 trapped accesses", NULL, 0, true, accesses},
    {"stress", "1,000 pairs of create and destroy", NULL, 0, true, pairs},
    {"stress", "1,000 calls that fail", NULL, 0, true, failures},
};
const struct check_list checks_stress = {list, COUNT_OF(list)};
