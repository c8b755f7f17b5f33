/* As many ranges as a device may have, each of one page with a hole behind it, made and found in mixed order. */
#include "tests/guest/guest.h"

#define QUOTA 65536u /* of ranges, per device */
#define STEP  2u     /* pages from one to the next */
#define LOOKS 2000u

static uint64_t count; /* that fit beside the initial ones */

static uint64_t page_of(uint64_t n)
{
    return n * STEP;
}

/* One batch of ranges from number `first` on. */
static void make_some(uint64_t first, uint64_t pieces, uint32_t section)
{
    expect_status("ops",
                  LAB(LAB_CMD_BATCH_FILL, 0, pieces, OP_CREATE, 4, page_of(first), STEP, 1, F_WRITE,
                      section, first % lab.alt_pages, 1),
                  HV_OK);
    expect_status("batch", batch_run((unsigned)pieces, 0), HV_OK);
    expect_eq("done", lab_result(0), pieces);
}

static void make_all(uint32_t section)
{
    uint64_t blocks = count / LAB_BATCH_OPS, rest = count % LAB_BATCH_OPS;

    for (uint64_t k = 0; k < blocks && !failed(); k++)
        make_some((k * 7919 % blocks) * LAB_BATCH_OPS, LAB_BATCH_OPS, section);
    if (rest != 0 && !failed())
        make_some(blocks * LAB_BATCH_OPS, rest, section);
}

static void look_at_some(void)
{
    uint32_t state = 0xfeedu;

    for (unsigned k = 0; k < LOOKS && !failed(); k++) {
        uint64_t n = random_next(&state) % count, page = page_of(n);
        uint64_t at = (n / LAB_BATCH_OPS * LAB_BATCH_OPS) % lab.alt_pages + n % LAB_BATCH_OPS;

        range_is(4, page, 1, at, F_WRITE);
        expect_eq("content", load(GVA_BAR4 + page * PAGE, 8), mark_of(6, at));
        if (k % 16 == 0)
            page_traps(4, GVA_BAR4 + (page + 1) * PAGE, page + 1);
    }
}

/* The quota is a device's: what others have does not count. */
static uint64_t own_ranges(void)
{
    uint64_t sum = 0;

    for (unsigned bar = 0; bar <= 6; bar += 2)
        sum += bar_stats(bar).ranges;
    return sum;
}

static void full(uint32_t section)
{
    uint64_t hash = lab_hash(), behind = page_of(count) + STEP;

    expect_status("one more", bar_map(4, behind, 1, 0, section, 0), HV_E_QUOTA);
    expect_status("one more in another BAR", bar_map(2, LAB_FREE_PAGE, 1, 0, section, 0),
                  HV_E_QUOTA);
    expect_status("a hole that would make two of one", bar_unmap(2, LAB_LARGER_PAGE + 5, 1),
                  HV_E_QUOTA);
    expect_status("one laid over that", bar_map(2, LAB_LARGER_PAGE + 5, 1, F_REPLACE, section, 0),
                  HV_E_QUOTA);
    expect_eq("hash", lab_hash(), hash);
    expect_status("REPLACE of exactly one",
                  bar_map(4, page_of(7), 1, F_WRITE | F_REPLACE, section, 7), HV_OK);
    expect_status("one goes", bar_destroy(4, page_of(3)), HV_OK);
    expect_status("one comes", bar_map(4, page_of(3), 1, F_WRITE, section, 3), HV_OK);
}

static void many(unsigned i)
{
    struct world before;

    (void)i;
    if (lab.bytes[4] / PAGE < 2 * STEP * QUOTA) {
        skip("BAR4 is not configured");
        return;
    }
    world_note(&before);
    count = QUOTA - own_ranges();
    map(GVA_BAR4, lab.base[4], STEP * QUOTA * PAGE, LARGE, 0);
    expect_status("all of alt", bar_map(4, 0, lab.alt_pages, F_WRITE, lab.alt, 0), HV_OK);
    if (!failed())
        marks_store(GVA_BAR4, 6, 0, lab.alt_pages);
    expect_status("goes again", bar_destroy(4, 0), HV_OK);
    make_all(lab.alt);
    expect_eq("ranges", bar_stats(4).ranges, count);
    if (!failed()) {
        look_at_some();
        full(lab.alt);
        lab_decode(false);
        lab_decode(true);
        look_at_some();
    }
    expect_status("unmap all", bar_unmap(4, 0, lab.bytes[4] / PAGE), HV_OK);
    unmap(GVA_BAR4, STEP * QUOTA * PAGE, LARGE);
    world_same(&before, "after all of them went");
}

static const struct check list[] = {
    {"many", "65,536 ranges, each found; then HV_E_QUOTA, also for what a cut would add", NULL, 0,
     true, many},
};
const struct check_list checks_many = {list, COUNT_OF(list)};
