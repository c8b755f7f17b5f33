/* hv/pci/range.c: what a change leaves of the ranges around it. REPLACE and unmap in every shape, quotas, batches. */
#include "tests/unit/replace_kit.h"

#include "hv/mem/frames.h"
#include "hv/mem/mapping.h"

/* ---- what lies where ---- */

/* A range that must be there: of section `s`, else of `t`. */
struct piece {
    uint64_t page, pages, section_page;
    bool is_t;
};

#define PIECES 6u
#define VIEWED 64u /* pages of the BAR that are looked at one by one */

/* Exactly these ranges, each page behind its own section page, and nothing else. A piece of 0 pages ends the list. */
static void expect_pieces(const struct piece *pieces, uint32_t s_id, uint32_t t_id)
{
    uint64_t s_word = section_word(0, 0), page = 0;
    unsigned count = 0;

    for (; count < PIECES && pieces[count].pages != 0; count++) {
        const struct piece *piece = &pieces[count];
        struct hv_mmio_range_info info = query(piece->page);

        for (; page < piece->page; page++)
            assert_false(is_direct(page));
        assert_int_equal(info.bar_page, piece->page);
        assert_int_equal(info.page_count, piece->pages);
        assert_int_equal(info.section_page, piece->section_page);
        assert_int_equal(info.section_id, piece->is_t ? t_id : s_id);
        assert_int_equal(query(piece->page + piece->pages - 1).bar_page, piece->page);
        for (; page < piece->page + piece->pages; page++) {
            s_word = section_word(piece->section_page + page - piece->page, 0);
            assert_int_equal(read_page(page), piece->is_t ? ~s_word : s_word);
            assert_int_equal(fake_vm_way, FAKE_DIRECT);
        }
    }
    for (; page < VIEWED; page++)
        assert_false(is_direct(page));
    assert_int_equal(probe->device->range_count, count);
    assert_int_equal(mapping_live_count(), count);
    assert_int_equal(world.vm.pool.reserved, 0);
}

/* Like make_section(), with every bit of the words the other way round. */
static hv_handle_t make_other_section(uint64_t pages)
{
    hv_handle_t handle = make_section(pages, ALL_RIGHTS, 0);
    struct section *section;

    assert_int_equal(section_ref(handle, HV_SECTION_MAP_READ, SECTION_USER_VIEW, &section), HV_OK);
    for (uint64_t page = 0; page < pages; page++) {
        uint64_t word = ~section_word(page, 0);

        assert_int_equal(section_write(section, page * PAGE_BYTES, &word, sizeof(word)), HV_OK);
    }
    section_unref(section, SECTION_USER_VIEW);
    return handle;
}

/*
 * What every window is laid over:
 *
 *      page   10        20   24    30        40
 *             [=== A ===][ B ]      [=== C ===]       section s from page 0, 100, 200
 */
static const struct piece usual[PIECES] = {
    {10, 10, 0, false}, {20, 4, 100, false}, {30, 10, 200, false}};

static const struct {
    uint64_t page, pages;
    struct piece left[PIECES]; /* without what fills the window */
} shapes[] = {
    {10, 10, {{20, 4, 100, false}, {30, 10, 200, false}}}, /* exactly A */
    {20, 4, {{10, 10, 0, false}, {30, 10, 200, false}}},   /* exactly B, between neighbours */
    {13, 4, {{10, 3, 0, false}, {17, 3, 7, false}, {20, 4, 100, false}, {30, 10, 200, false}}},
    {19, 1, {{10, 9, 0, false}, {20, 4, 100, false}, {30, 10, 200, false}}},  /* A's last page */
    {10, 1, {{11, 9, 1, false}, {20, 4, 100, false}, {30, 10, 200, false}}},  /* A's first */
    {5, 7, {{12, 8, 2, false}, {20, 4, 100, false}, {30, 10, 200, false}}},   /* from a gap on */
    {36, 9, {{10, 10, 0, false}, {20, 4, 100, false}, {30, 6, 200, false}}},  /* into a gap */
    {18, 4, {{10, 8, 0, false}, {22, 2, 102, false}, {30, 10, 200, false}}},  /* over a border */
    {15, 18, {{10, 5, 0, false}, {33, 7, 203, false}}},                       /* over all three */
    {10, 30, {{0}}},                                                          /* to both ends */
    {2, 50, {{0}}},                                                           /* and beyond */
    {24, 6, {{10, 10, 0, false}, {20, 4, 100, false}, {30, 10, 200, false}}}, /* only the hole */
    {45, 1, {{10, 10, 0, false}, {20, 4, 100, false}, {30, 10, 200, false}}},
};

struct stage {
    hv_handle_t s, t;
    uint32_t s_id, t_id;
};

static struct stage stage_open(bool is_live)
{
    struct stage stage;

    probe_create(probe);
    decode(probe, is_live);
    stage.s = make_section(256, ALL_RIGHTS, 0);
    stage.t = make_other_section(64);
    assert_int_equal(create(0, 1, RW, stage.t, 0), HV_OK);
    stage.t_id = query(0).section_id;
    assert_int_equal(destroy(0), HV_OK);
    for (unsigned i = 0; usual[i].pages != 0; i++)
        assert_int_equal(create(usual[i].page, usual[i].pages, RW, stage.s, usual[i].section_page),
                         HV_OK);
    stage.s_id = query(10).section_id;
    return stage;
}

static void stage_close(const struct stage *stage)
{
    struct hv_section_info info;

    decode(probe, true);
    assert_int_equal(unmap(0, BAR2_PAGES), HV_OK);
    assert_int_equal(hv_section_query(stage->s, &info), HV_OK);
    assert_int_equal(info.ranges, 0); /* every piece gave its reference back */
    assert_int_equal(hv_section_query(stage->t, &info), HV_OK);
    assert_int_equal(info.ranges, 0);
    hv_handle_close(stage->s);
    hv_handle_close(stage->t);
    assert_int_equal(hv_device_destroy(probe->device), HV_OK);
}

/* The pieces with the window's own among them, in order. */
static void with_window(const struct piece *left, struct piece window, struct piece all[PIECES])
{
    unsigned to = 0;

    for (unsigned i = 0; i < PIECES; i++)
        all[i] = (struct piece){0};
    for (unsigned i = 0; left[i].pages != 0; i++) {
        if (window.pages != 0 && left[i].page > window.page) {
            all[to++] = window;
            window.pages = 0;
        }
        all[to++] = left[i];
    }
    all[to] = window;
}

static void try_shape(unsigned shape, bool is_live, bool replaces)
{
    struct stage stage = stage_open(is_live);
    uint64_t page = shapes[shape].page, pages = shapes[shape].pages, done;
    struct piece window = {page, replaces ? pages : 0, 5, true}, all[PIECES];
    struct hv_mmio_op ops[2] = {replaces ? op_create(page, pages, REPLACE, stage.t, 5)
                                         : op_unmap(page, pages),
                                op_destroy(BAR2_PAGES - 1)};
    struct world_state before = world_state();

    with_window(shapes[shape].left, window, all);
    /* All or nothing: the second one fails. Then in order: the first one stays. */
    assert_int_equal(batch(ops, 2, HV_BATCH_ATOMIC, &done), HV_E_NOT_MAPPED);
    assert_int_equal(done, 0);
    assert_unchanged(before);
    decode(probe, true);
    expect_pieces(usual, stage.s_id, stage.t_id);
    decode(probe, is_live);
    if (shape % 2) {
        assert_int_equal(replaces ? create(page, pages, REPLACE, stage.t, 5) : unmap(page, pages),
                         HV_OK);
    } else {
        assert_int_equal(batch(ops, 2, 0, &done), HV_E_NOT_MAPPED);
        assert_int_equal(done, 1);
    }
    decode(probe, true);
    expect_pieces(all, stage.s_id, stage.t_id);
    decode(probe, false);
    decode(probe, true);
    expect_pieces(all, stage.s_id, stage.t_id);
    for (unsigned i = 0; i < PIECES && all[i].pages != 0; i++)
        assert_int_equal(destroy(all[i].page), HV_OK);
    stage_close(&stage);
}

static void test_replace(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(shapes); i++) {
        try_shape(i, true, true);
        try_shape(i, false, true);
    }
}

static void test_unmap(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(shapes); i++) {
        try_shape(i, true, false);
        try_shape(i, false, false);
    }
}

static void test_unmap_statuses(void **state)
{
    struct stage stage = stage_open(true);
    struct world_state before = world_state();

    (void)state;
    assert_int_equal(hv_mmio_range_unmap(NULL, HV_BAR2, 0, 1), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_mmio_range_unmap(probe->device, HV_BAR_COUNT, 0, 0),
                     HV_E_INVALID_PARAMETER_2);
    assert_int_equal(hv_mmio_range_unmap(probe->device, HV_BAR1, 0, 0), HV_E_NO_SUCH_BAR);
    assert_int_equal(unmap(BAR2_PAGES, 0), HV_E_INVALID_PARAMETER_4);
    assert_int_equal(unmap(0, BAR2_PAGES + 1), HV_E_OUT_OF_RANGE);
    assert_int_equal(unmap(BAR2_PAGES, 1), HV_E_OUT_OF_RANGE);
    assert_int_equal(unmap(5, ~0ull), HV_E_OUT_OF_RANGE);
    assert_int_equal(unmap(50, 10), HV_OK);
    assert_unchanged(before);
    stage_close(&stage);
}

/* ---- quotas: what the device has after the call counts ---- */

static void test_quota(void **state)
{
    struct stage stage = stage_open(true);
    struct world_state before;
    const uint32_t full = PCI_RANGES_PER_DEV - 3; /* and the usual three */

    (void)state;
    probe->device->range_count += full;
    before = world_state();
    assert_int_equal(create(50, 1, RW, stage.t, 0), HV_E_QUOTA);
    assert_int_equal(create(12, 1, REPLACE, stage.t, 0), HV_E_QUOTA); /* two more */
    assert_int_equal(create(12, 8, REPLACE, stage.t, 0), HV_E_QUOTA); /* one more */
    assert_int_equal(unmap(12, 1), HV_E_QUOTA);
    assert_unchanged(before);
    /* As many as before, and fewer. */
    assert_int_equal(create(10, 10, REPLACE, stage.t, 0), HV_OK);
    assert_int_equal(create(15, 9, REPLACE, stage.t, 20), HV_OK); /* A's end and all of B */
    assert_int_equal(unmap(35, 9), HV_OK);
    assert_int_equal(create(32, 5, RW, stage.t, 0), HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(create(10, 30, REPLACE, stage.t, 0), HV_OK);
    assert_int_equal(probe->device->range_count, full + 1);
    assert_int_equal(create(50, 1, RW, stage.t, 0), HV_OK);
    assert_int_equal(create(20, 1, REPLACE, stage.t, 0), HV_E_QUOTA);
    assert_int_equal(unmap(20, 1), HV_OK);
    assert_int_equal(create(51, 1, RW, stage.t, 0), HV_E_QUOTA);
    probe->device->range_count -= full;
    stage_close(&stage);
}

/* ---- batches ---- */

static void test_batch_statuses(void **state)
{
    struct stage stage = stage_open(true);
    struct hv_mmio_op op = op_unmap(0, 1);
    struct world_state before = world_state();
    uint64_t done = 7;

    (void)state;
    assert_int_equal(hv_mmio_range_batch(NULL, NULL, 1, 2, NULL), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_mmio_range_batch(probe->device, NULL, 1, 2, NULL),
                     HV_E_INVALID_PARAMETER_2);
    assert_int_equal(hv_mmio_range_batch(probe->device, &op, 1, 2, NULL), HV_E_INVALID_PARAMETER_4);
    assert_int_equal(hv_mmio_range_batch(probe->device, &op, 1, 0, NULL), HV_E_INVALID_PARAMETER_5);
    assert_int_equal(done, 7);
    assert_int_equal(batch(NULL, 0, 0, &done), HV_OK);
    assert_int_equal(done, 0);
    assert_int_equal(batch(&op, 0, HV_BATCH_ATOMIC, &done), HV_OK);
    assert_int_equal(done, 0);
    op.kind = (enum hv_mmio_op_kind)4;
    assert_int_equal(batch(&op, 1, 0, &done), HV_E_INVALID_PARAMETER);
    assert_int_equal(done, 0);
    assert_unchanged(before);
    assert_int_equal(world.vm.pauses, 0);
    stage_close(&stage);
}

/* Each op sees what the earlier ones leave; one flush for all. */
static void test_batch(void **state)
{
    struct stage stage = stage_open(true);
    struct hv_mmio_op ops[] = {
        op_create(12, 4, REPLACE, stage.t, 0), /* A: 10..12, 16..20 */
        op_create(14, 4, REPLACE, stage.t, 20),
        op_destroy(18),
        op_unmap(11, 1),
        op_create(18, 2, RW, stage.s, 60), /* where the fragment was */
        op_destroy(30),
        op_create(39, 2, RW, stage.t, 50),
    };
    const struct piece after[PIECES + 1] = {
        {10, 1, 0, false},  {12, 2, 0, true},    {14, 4, 20, true},
        {18, 2, 60, false}, {20, 4, 100, false}, {39, 2, 50, true},
    };
    const uint64_t count = ARRAY_COUNT(ops);
    struct world_state before = world_state();
    uint64_t done;

    (void)state;
    ops[count - 1].section_page = 63; /* past the end */
    assert_int_equal(batch(ops, count, HV_BATCH_ATOMIC, &done), HV_E_INVALID_VIEW_SIZE);
    assert_int_equal(done, 0);
    assert_unchanged(before);
    expect_pieces(usual, stage.s_id, stage.t_id);
    ops[count - 1].section_page = 50;
    assert_int_equal(batch(ops, count, HV_BATCH_ATOMIC, &done), HV_OK);
    assert_int_equal(done, count);
    assert_int_equal(world.vm.stats.flushes, before.flushes + 1);
    assert_int_equal(world.vm.pauses, 0);
    expect_pieces(after, stage.s_id, stage.t_id);
    stage_close(&stage);
}

/* Not atomic: what came before the failure stays, the failing one and those behind it leave no trace. */
static void test_batch_stops(void **state)
{
    (void)state;
    for (uint64_t bad = 0; bad < 4; bad++) {
        struct stage stage = stage_open(true);
        struct hv_mmio_op ops[] = {op_create(45, 1, RW, stage.t, 1), op_unmap(12, 1),
                                   op_create(50, 1, RW, stage.t, 2), op_destroy(30)};
        uint64_t done;

        ops[bad].bar = bad % 2 ? HV_BAR0 : HV_BAR1;
        assert_int_equal(batch(ops, ARRAY_COUNT(ops), 0, &done), bad == 1   ? HV_E_OUT_OF_RANGE
                                                                 : bad == 3 ? HV_E_NOT_MAPPED
                                                                            : HV_E_NO_SUCH_BAR);
        assert_int_equal(done, bad);
        assert_int_equal(is_direct(45), bad > 0);
        assert_int_equal(is_direct(12), bad <= 1);
        assert_int_equal(is_direct(50), bad > 2);
        assert_true(is_direct(30));
        assert_int_equal(probe->device->range_count, 3 + done);
        assert_int_equal(mapping_live_count(), 3 + done);
        stage_close(&stage);
    }
}

/* The one op that stays is carried out on its own BAR, whichever the failing one named. */
static void test_batch_fails_elsewhere(void **state)
{
    static const enum hv_bar elsewhere[] = {HV_BAR0, HV_BAR1, HV_BAR_COUNT};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(elsewhere); i++) {
        struct stage stage = stage_open(true);
        struct hv_mmio_op ops[] = {op_unmap(12, 1), op_destroy(30)};
        uint64_t done;

        ops[1].bar = elsewhere[i];
        assert_int_not_equal(batch(ops, 2, 0, &done), HV_OK);
        assert_int_equal(done, 1);
        assert_true(is_direct(11) && !is_direct(12) && is_direct(13) && is_direct(30));
        stage_close(&stage);
    }
}

/* ---- one page for one page: the record stays ---- */

static uint32_t ranges_of(hv_handle_t section)
{
    struct hv_section_info info;

    assert_int_equal(hv_section_query(section, &info), HV_OK);
    return info.ranges;
}

static void test_swap(void **state)
{
    struct stage stage = stage_open(true);
    struct hv_mmio_op ops[] = {op_create(5, 1, REPLACE, stage.t, 9),
                               op_create(5, 1, HV_MMIO_REPLACE, stage.t, 11),
                               op_create(6, 1, REPLACE, stage.s, 12), op_destroy(7)};
    struct world_state before;
    uint64_t done;

    (void)state;
    for (uint64_t page = 5; page < 7; page++)
        assert_int_equal(create(page, 1, RW, stage.s, page), HV_OK);
    assert_int_equal(ranges_of(stage.s), 5);
    before = world_state();
    assert_int_equal(batch(ops, 4, HV_BATCH_ATOMIC, &done), HV_E_NOT_MAPPED);
    assert_unchanged(before);
    assert_int_equal(ranges_of(stage.s), 5);
    assert_int_equal(ranges_of(stage.t), 0);
    assert_int_equal(batch(ops, 4, 0, &done), HV_E_NOT_MAPPED);
    assert_int_equal(done, 3);
    assert_int_equal(world.vm.stats.flushes, before.flushes + 1);
    assert_int_equal(ranges_of(stage.s), 4);
    assert_int_equal(ranges_of(stage.t), 1);
    assert_int_equal(query(5).flags, 0);
    assert_int_equal(query(5).section_id, stage.t_id);
    assert_int_equal(query(5).section_page, 11);
    assert_int_equal(read_page(5), ~section_word(11, 0));
    assert_int_equal(query(6).flags, RW);
    assert_int_equal(read_page(6), section_word(12, 0));
    assert_int_equal(mapping_live_count(), 5);
    decode(probe, false);
    decode(probe, true);
    assert_int_equal(read_page(5), ~section_word(11, 0));
    stage_close(&stage);
}

/* Swaps of neighbours in one batch, with everything between and behind them that is none. */
static void test_swaps(void **state)
{
    (void)state;
    for (unsigned what = 0; what < 6; what++) {
        struct stage stage = stage_open(true);
        const struct hv_mmio_op odd[] = {op_unmap(3, 1),
                                         op_unmap(60, 2),
                                         op_destroy(3),
                                         op_create(3, 2, REPLACE, stage.t, 40),
                                         op_create(3, 1, HV_MMIO_REPLACE, stage.t, 40),
                                         op_create(3, 1, REPLACE, stage.s, 40)};
        struct hv_mmio_op ops[] = {op_create(1, 1, REPLACE, stage.t, 20),
                                   op_create(2, 1, REPLACE, stage.t, 21),
                                   odd[what],
                                   op_create(5, 1, REPLACE, stage.t, 24),
                                   op_create(6, 1, REPLACE, stage.t, 25),
                                   op_create(7, 1, REPLACE, stage.t, 26),
                                   op_create(8, 1, REPLACE, stage.t, 64)};
        struct world_state before;
        uint64_t done;

        for (uint64_t page = 1; page < 9; page++)
            assert_int_equal(create(page, 1, RW, page == 6 ? stage.t : stage.s, 50 + page), HV_OK);
        before = world_state();
        assert_int_equal(batch(ops, 7, HV_BATCH_ATOMIC, &done), HV_E_INVALID_VIEW_SIZE);
        assert_int_equal(done, 0);
        assert_unchanged(before);
        assert_int_equal(ranges_of(stage.s), 10);
        assert_int_equal(ranges_of(stage.t), 1);
        ops[6].section_page = 27;
        assert_int_equal(batch(ops, 7, what % 2 ? HV_BATCH_ATOMIC : 0, &done), HV_OK);
        assert_int_equal(done, 7);
        assert_int_equal(world.vm.stats.flushes, before.flushes + 1);
        for (uint64_t page = 1; page < 9; page++) {
            uint64_t t_word = ~section_word(19 + page, 0);

            if (page == 3 && what != 4)
                assert_int_equal(is_direct(3), what != 0 && what != 2);
            else if (page == 3 && what == 4)
                assert_int_equal(query(3).flags, HV_MMIO_READ_ONLY);
            else if (page == 4)
                assert_int_equal(read_page(4),
                                 what == 3 ? ~section_word(41, 0) : section_word(54, 0));
            else
                assert_int_equal(read_page(page), t_word);
        }
        assert_int_equal(ranges_of(stage.t), what == 3 || what == 4 ? 7 : 6);
        stage_close(&stage);
    }
}

/* ---- nothing is given back before the flush ---- */

static uint64_t sections_at_flush, frames_at_flush;

static void see_flush(const struct pt_flush *flush, bool done)
{
    if (done || !flush->needed)
        return;
    sections_at_flush = section_live_count();
    frames_at_flush = hv_frames.free_pages;
}

/* `call` takes the last mapping of a section away; its frames must not be anybody's until no CPU can reach them. */
#define expect_late(call)                               \
    do {                                                \
        uint64_t free_ = hv_frames.free_pages;          \
        uint64_t sections_ = section_live_count();      \
                                                        \
        sections_at_flush = frames_at_flush = 0;        \
        fake_vm_on_flush = see_flush;                   \
        assert_int_equal(call, HV_OK);                  \
        fake_vm_on_flush = NULL;                        \
        assert_int_equal(sections_at_flush, sections_); \
        assert_int_equal(frames_at_flush, free_);       \
        assert_int_equal(section_live_count(), 1);      \
    } while (0)

static void test_frames_outlive_the_flush(void **state)
{
    hv_handle_t other;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    other = make_section(4, ALL_RIGHTS, 0);
    for (unsigned way = 0; way < 5; way++) {
        hv_handle_t section = make_section(4, ALL_RIGHTS, 0);
        struct hv_mmio_op ops[] = {op_unmap(10, 1), op_destroy(11)};
        uint64_t done, pages = way == 3 ? 1 : way == 4 ? 2 : 4;

        assert_int_equal(create(10, pages, RW, section, 0), HV_OK);
        hv_handle_close(section);
        if (way == 0)
            expect_late(destroy(10));
        else if (way == 1)
            expect_late(unmap(8, 8));
        else if (way == 4)
            expect_late(batch(ops, 2, 0, &done));
        else
            expect_late(create(10, pages, REPLACE, other, 0));
        assert_int_equal(unmap(0, 32), HV_OK);
    }
    hv_handle_close(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_replace),
        TEST(test_unmap),
        TEST(test_unmap_statuses),
        TEST(test_quota),
        TEST(test_batch_statuses),
        TEST(test_batch),
        TEST(test_batch_stops),
        TEST(test_batch_fails_elsewhere),
        TEST(test_swap),
        TEST(test_swaps),
        TEST(test_frames_outlive_the_flush),
    };

    return cmocka_run_group_tests_name("replace", tests, NULL, NULL);
}
