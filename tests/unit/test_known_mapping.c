/*
 * Mistakes that other hypervisors made with mappings, each as a test that would have found it.
 *
 *   Xen b10bca0483          unbounded time for a huge BAR        huge_bar_in_bounded_steps, huge_bar_rolls_back
 *   XSA-378                 removable by the wrong path          only_the_owner_can_unmap
 *   XSA-389                 partial success, wrong books         partial_success_leaves_the_books_right, test_inject
 *   XSA-238, ACRN 05682b2b  end before start                     ends_before_starts
 *   KVM memslots            a gap while replacing                replace_has_no_gap, replace_of_large_leaves_has_no_gap
 *   (a list searched)       cost grows with the ranges           ten_thousand_ranges_in_one_bar
 */
#include "tests/unit/pci_world.h"

#include <string.h>
#include <time.h>

#include "hv/mem/frames.h"
#include "hv/mem/view.h"
#include "hv/pci/inspect.h"
#include "tests/fake/blocks.h"
#include "tests/fake/slab.h"
#include "tests/unit/pci_views.h"

#define RW              HV_MMIO_WRITEABLE
#define WINDOW          HPA(GIB(32ull))
#define HUGE_BYTES      GIB(16ull)
#define HUGE_PAGES_ALL  (HUGE_BYTES / PAGE_BYTES)
#define LEAVES_PER_HOLD 512u
#define TABLES_PER_HOLD 4u /* on the way to a leaf, and to split one */

static struct probe *const probe = &world.probe[0];
static struct probe *const second = &world.probe[1];

static hv_status_t create(uint64_t page, uint64_t pages, uint32_t flags, hv_handle_t section,
                          uint64_t section_page)
{
    return hv_mmio_range_create(probe->device, HV_BAR2, page, pages, flags, section, section_page);
}

static uint64_t gpa_of(uint64_t page)
{
    return bar_base(probe, HV_BAR2) + page * PAGE_BYTES;
}

/* ---- every store ---- */

static struct {
    uint32_t hold;              /* of vm->tables_lock, by its ticket */
    uint64_t stores, most;      /* in this hold; in any */
    void (*look)(void);         /* after each store, or NULL */
    uint64_t looks, not_direct; /* of look_at_page */
} seen;

uint64_t pt_store(uint64_t *entry, uint64_t value, bool live)
{
    uint64_t old = *entry;

    *entry = value;
    if (world.vm.tables_lock.serving != seen.hold) {
        seen.hold = world.vm.tables_lock.serving;
        seen.stores = 0;
    }
    seen.stores++;
    if (seen.stores > seen.most && lock_is_held(&world.vm.tables_lock))
        seen.most = seen.stores;
    if (seen.look)
        seen.look();
    return live ? old : 0;
}

static void expect_short_holds(void)
{
    if (seen.most > LEAVES_PER_HOLD + TABLES_PER_HOLD)
        fail_msg("%llu stores under one lock", (unsigned long long)seen.most);
    seen.most = 0;
}

static int open_world(void **state)
{
    memset(&seen, 0, sizeof(seen));
    pci_views_open();
    return world_open(state);
}

/* ---- a BAR of 16 GiB ---- */

static hv_handle_t open_huge(void)
{
    probe_bar64(probe, HV_BAR2, HUGE_BYTES);
    probe_create(probe);
    return make_window(WINDOW, HUGE_PAGES_ALL);
}

static void huge_bar_in_bounded_steps(void **state)
{
    hv_handle_t section;
    uint64_t table_bytes;

    (void)state;
    section = open_huge();
    decode(probe, true);
    assert_int_equal(create(0, HUGE_PAGES_ALL, RW | HV_MMIO_NO_LARGE, section, 0), HV_OK);
    expect_short_holds();
    assert_int_equal(world.vm.tables.leaves[1], HUGE_PAGES_ALL);
    table_bytes = world.vm.pool.used_tables * PAGE_BYTES;
    assert_true(table_bytes <= HUGE_BYTES / 500); /* 0.2 % */

    decode(probe, false);
    expect_short_holds();
    assert_int_equal(world.vm.tables.leaves[1], 0);
    assert_int_equal(world.vm.pool.used_tables, 1);
    decode(probe, true);
    expect_short_holds();
    move_bar(probe, HV_BAR2, GIB(64ull));
    expect_short_holds();
    assert_int_equal(world.vm.tables.leaves[1], HUGE_PAGES_ALL);
    assert_int_equal(world.vm.pool.used_tables * PAGE_BYTES, table_bytes);

    /* Other frames for all of it, then a hole in the middle, then nothing. */
    assert_int_equal(create(0, HUGE_PAGES_ALL - 1, HV_MMIO_REPLACE | HV_MMIO_NO_LARGE, section, 1),
                     HV_OK);
    expect_short_holds();
    assert_int_equal(hv_mmio_range_unmap(probe->device, HV_BAR2, 1000, HUGE_PAGES_ALL / 2), HV_OK);
    expect_short_holds();
    assert_int_equal(world.vm.tables.leaves[1], HUGE_PAGES_ALL / 2);
    assert_int_equal(hv_mmio_range_unmap(probe->device, HV_BAR2, 0, HUGE_PAGES_ALL), HV_OK);
    expect_short_holds();
    assert_int_equal(world.vm.pool.used_tables, 1);
    hv_handle_close(section);
}

static void huge_bar_rolls_back(void **state)
{
    hv_handle_t section;
    unsigned blocks;
    struct world_state before;

    (void)state;
    section = open_huge();
    decode(probe, true);
    before = world_state();
    blocks = fake_blocks_live();
    for (unsigned nth = 1; nth <= 545; nth += 136) {
        fake_blocks_fail(nth);
        assert_int_equal(create(0, HUGE_PAGES_ALL, RW | HV_MMIO_NO_LARGE, section, 0),
                         HV_E_NO_MEMORY);
        fake_blocks_fail(0);
        assert_unchanged(before);
        assert_true(fake_blocks_live() <= blocks + 1); /* one is kept warm */
    }
    /* A BAR that finds no tables waits, with everything recorded, and comes in later. */
    decode(probe, false);
    assert_int_equal(create(0, HUGE_PAGES_ALL, RW | HV_MMIO_NO_LARGE, section, 0), HV_OK);
    fake_blocks_fail(400);
    decode(probe, true);
    fake_blocks_fail(0);
    assert_int_equal(world.vm.tables.leaves[1], 0);
    assert_int_equal(world.vm.pool.used_tables, 1);
    assert_int_equal(world.vm.pool.reserved, 0);
    decode(probe, true);
    assert_int_equal(world.vm.tables.leaves[1], HUGE_PAGES_ALL);
    hv_handle_close(section);
}

/* ---- who may unmap ---- */

static void only_the_owner_can_unmap(void **state)
{
    void *view = NULL, *io = NULL;
    uint64_t bytes = 0, hash;
    hv_handle_t section, window;

    (void)state;
    probe_create(probe);
    probe_create(second);
    decode(probe, true);
    decode(second, true);
    section = make_section(32, HV_PAGE_READWRITE, 0);
    window = make_window(WINDOW, 16);
    assert_int_equal(create(4, 16, RW, section, 0), HV_OK);
    assert_int_equal(hv_section_map_view(section, HV_SPACE_HYPERVISOR, &view, 0, 0, NULL, &bytes,
                                         HV_VIEW_UNMAP, 0, HV_PAGE_READONLY),
                     HV_OK);
    assert_int_equal(hv_io_space_map(WINDOW, 100, HV_PAGE_READONLY | HV_PAGE_NOCACHE, &io), HV_OK);
    hash = inspect_hash(probe->device);

    /* Another device, the same BAR number and pages. */
    assert_int_equal(hv_mmio_range_destroy(second->device, HV_BAR2, 4), HV_E_NOT_MAPPED);
    assert_int_equal(hv_mmio_range_unmap(second->device, HV_BAR2, 0, 2048), HV_OK);
    assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR0, 4), HV_E_NOT_MAPPED);
    /* A view by the call for I/O space, and the other way round; by an address that is neither's. */
    assert_int_equal(hv_io_space_unmap(view, bytes), HV_E_NOT_MAPPED);
    assert_int_equal(hv_section_unmap_view(HV_SPACE_HYPERVISOR, io), HV_E_NOT_MAPPED);
    assert_int_equal(hv_section_unmap_view(section, view), HV_E_INVALID_HANDLE);
    assert_int_equal(view_unmap_ram(view), HV_E_NOT_MAPPED);
    assert_int_equal(view_unmap_ram(io), HV_E_NOT_MAPPED);
    assert_int_equal(hv_io_space_unmap((uint8_t *)io + 1, 100), HV_E_NOT_MAPPED);
    assert_int_equal(hv_io_space_unmap(io, PAGE_BYTES + 1), HV_E_INVALID_PARAMETER_2);
    /* The handle is no owner either. */
    assert_int_equal(hv_handle_close(section), HV_OK);
    assert_int_equal(hv_handle_close(window), HV_OK);
    assert_int_equal(inspect_hash(probe->device), hash);
    assert_int_equal(view_live_count(), 2);
    assert_int_equal(fake_vm_read(&world.vm, gpa_of(4), 8), section_word(0, 0));
    assert_int_equal(fake_vm_way, FAKE_DIRECT);

    assert_int_equal(hv_section_unmap_view(HV_SPACE_HYPERVISOR, view), HV_OK);
    assert_int_equal(hv_io_space_unmap(io, 100), HV_OK);
    assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, 4), HV_OK);
}

/* ---- books ---- */

/* A batch that runs out of memory in its middle: what is recorded, counted and mapped agrees, and can be undone. */
static void partial_success_leaves_the_books_right(void **state)
{
    uint64_t records;
    hv_handle_t section;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    section = make_section(64, HV_PAGE_READWRITE, 0);
    records = fake_slab_live();
    for (unsigned nth = 1; nth <= 8; nth++) {
        struct hv_mmio_op ops[8] = {{0}};
        struct hv_bar_stats stats;
        uint64_t done = 99;

        for (unsigned i = 0; i < 8; i++)
            ops[i] = (struct hv_mmio_op){.kind = HV_MMIO_OP_CREATE,
                                         .bar = HV_BAR2,
                                         .bar_page = 16 * i,
                                         .page_count = 8,
                                         .section_page = 8 * i,
                                         .flags = RW,
                                         .section = section};
        fake_slab_fail(nth);
        assert_int_equal(hv_mmio_range_batch(probe->device, ops, 8, 0, &done), HV_E_NO_MEMORY);
        fake_slab_fail(0);
        assert_int_equal(done, nth - 1);
        assert_int_equal(inspect_bar(probe->device, HV_BAR2, &stats), HV_OK);
        assert_int_equal(stats.ranges, done);
        assert_int_equal(stats.direct_pages, 8 * done);
        assert_int_equal(world.vm.tables.leaves[1], 8 * done);
        for (uint64_t i = 0; i < 8; i++) {
            fake_vm_read(&world.vm, gpa_of(16 * i), 8);
            assert_int_equal(fake_vm_way, i < done ? FAKE_DIRECT : FAKE_TRAPPED);
        }
        assert_int_equal(hv_mmio_range_unmap(probe->device, HV_BAR2, 0, 2048), HV_OK);
        assert_int_equal(fake_slab_live(), records);
        assert_int_equal(world.vm.tables.leaves[1], 0);
    }
    hv_handle_close(section);
}

/* ---- arguments ---- */

#define BAR_PAGES_HERE     2048u
#define SECTION_PAGES_HERE 64u

static const uint64_t crafted[] = {
    0,          1,          63,         64,           65,
    2047,       2048,       2049,       1ull << 31,   1ull << 32,
    1ull << 36, 1ull << 40, 1ull << 51, 1ull << 52,   (1ull << 52) - 1,
    1ull << 63, ~0ull >> 1, ~0ull - 63, ~0ull - 2047, ~0ull - 1,
    ~0ull,
};

static bool is_inside(uint64_t first, uint64_t count, uint64_t limit)
{
    return first <= limit && count <= limit && first + count <= limit;
}

static void one_create(uint64_t page, uint64_t count, uint64_t section_page, hv_handle_t section)
{
    hv_status_t want = HV_OK;
    struct world_state before = world_state();
    hv_status_t status = create(page, count, RW, section, section_page);

    if (count == 0)
        want = HV_E_INVALID_PARAMETER_4;
    else if (!is_inside(page, count, BAR_PAGES_HERE))
        want = HV_E_OUT_OF_RANGE;
    else if (!is_inside(section_page, count, SECTION_PAGES_HERE))
        want = HV_E_INVALID_VIEW_SIZE;
    assert_int_equal(status, want);
    if (status == HV_OK)
        assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, page), HV_OK);
    else
        assert_unchanged(before);
}

static void one_other(uint64_t first, uint64_t count, hv_handle_t section)
{
    struct world_state before = world_state();
    void *base = NULL;
    uint64_t offset = first, bytes = count;
    hv_status_t status = hv_mmio_range_unmap(probe->device, HV_BAR2, first, count);

    assert_int_equal(status, count == 0                                ? HV_E_INVALID_PARAMETER_4
                             : is_inside(first, count, BAR_PAGES_HERE) ? HV_OK
                                                                       : HV_E_OUT_OF_RANGE);
    assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, first), HV_E_NOT_MAPPED);
    status = hv_section_commit(section, first, count);
    assert_int_equal(status, count == 0 ? HV_E_INVALID_PARAMETER_3
                             : is_inside(first, count, SECTION_PAGES_HERE)
                                 ? HV_OK
                                 : HV_E_INVALID_VIEW_SIZE);
    status = hv_section_map_view(section, HV_SPACE_HYPERVISOR, &base, 0, 0, &offset, &bytes,
                                 HV_VIEW_UNMAP, HV_VIEW_PAGE_GRANULAR, HV_PAGE_READONLY);
    if (status == HV_OK) {
        assert_true(is_inside(first, count, SECTION_PAGES_HERE * PAGE_BYTES));
        assert_int_equal(hv_section_unmap_view(HV_SPACE_HYPERVISOR, base), HV_OK);
    }
    assert_int_not_equal(hv_section_unmap_view(HV_SPACE_HYPERVISOR, (void *)(uintptr_t)first),
                         HV_OK);
    assert_int_not_equal(hv_io_space_unmap((void *)(uintptr_t)first, count), HV_OK);
    base = NULL;
    status = hv_io_space_map(HPA(first), count, HV_PAGE_READONLY, &base);
    if (status == HV_OK) {
        assert_true(count != 0 && count <= 1ull << 52 && first + count > first);
        assert_int_equal(hv_io_space_unmap(base, count), HV_OK);
    }
    before.stores = world.vm.tables.stores;
    assert_unchanged(before);
}

static void ends_before_starts(void **state)
{
    hv_handle_t section;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    section = make_section(SECTION_PAGES_HERE, HV_PAGE_READWRITE, 0);
    for (unsigned i = 0; i < ARRAY_COUNT(crafted); i++)
        for (unsigned j = 0; j < ARRAY_COUNT(crafted); j++) {
            for (unsigned k = 0; k < ARRAY_COUNT(crafted); k++)
                one_create(crafted[i], crafted[j], crafted[k], section);
            one_other(crafted[i], crafted[j], section);
        }
    hv_handle_close(section);
}

/* ---- replace under load ---- */

static uint64_t watched_page, old_word, new_word;

/* A guest reads in a loop, between any two stores. */
static void look_at_page(void)
{
    uint64_t word;

    word = fake_vm_read(&world.vm, gpa_of(watched_page), 8);
    seen.looks++;
    seen.not_direct += fake_vm_way != FAKE_DIRECT;
    if (word != old_word && word != new_word)
        fail_msg("the guest reads %llx", (unsigned long long)word);
}

/* REPLACE [from, from + count) of a range over [512, 1536), with a reader on each of some pages. */
static void replace_under_load(uint64_t from, uint64_t count, uint32_t flags, hv_handle_t old,
                               hv_handle_t new)
{
    const uint64_t pages[] = {512, from - (from > 512), from, from + count - 1, 1535};

    for (unsigned i = 0; i < ARRAY_COUNT(pages); i++) {
        uint64_t page = pages[i];

        assert_int_equal(create(512, 1024, RW | HV_MMIO_REPLACE | flags, old, 0), HV_OK);
        watched_page = page;
        old_word = section_word(page - 512, 0);
        new_word = page - from < count ? section_word(page - from + 7, 0) : old_word;
        seen.look = look_at_page;
        assert_int_equal(create(from, count, RW | HV_MMIO_REPLACE | flags, new, 7), HV_OK);
        seen.look = NULL;
        assert_int_equal(fake_vm_read(&world.vm, gpa_of(page), 8), new_word);
    }
    assert_int_not_equal(seen.looks, 0);
    assert_int_equal(seen.not_direct, 0);
}

static void replace_has_no_gap(void **state)
{
    hv_handle_t old, new;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    old = make_section(1024, HV_PAGE_READWRITE, HV_SEC_LARGE_PAGES);
    new = make_section(1031, HV_PAGE_READWRITE, 0);
    replace_under_load(700, 1, HV_MMIO_NO_LARGE, old, new);
    replace_under_load(600, 300, HV_MMIO_NO_LARGE, old, new);
    replace_under_load(512, 1024, HV_MMIO_NO_LARGE, old, new);
    hv_handle_close(old);
    hv_handle_close(new);
}

static void replace_of_large_leaves_has_no_gap(void **state)
{
    hv_handle_t old, new;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    old = make_section(1024, HV_PAGE_READWRITE, HV_SEC_LARGE_PAGES);
    new = make_section(1031, HV_PAGE_READWRITE, 0);
    replace_under_load(700, 1, 0, old, new);
    replace_under_load(1000, 100, 0, old, new);
    replace_under_load(512, 512, 0, old, new);
    replace_under_load(512, 1024, 0, old, new);
    hv_handle_close(old);
    hv_handle_close(new);
}

/* ---- many ranges ---- */

static uint64_t cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The least time that so many maps, replaces and unmaps in the midst of the ranges take, of some tries. */
static uint64_t time_of_calls(uint64_t ranges, hv_handle_t section)
{
    uint64_t least = ~0ull;

    for (unsigned attempt = 0; attempt < 7; attempt++) {
        uint64_t start = cpu_ns(), took;

        for (uint64_t i = 0; i < 200; i++) {
            uint64_t page = 4 * (i * 7919 % ranges) + 2;

            assert_int_equal(create(page, 1, RW, section, 3), HV_OK);
            assert_int_equal(create(page, 1, RW | HV_MMIO_REPLACE, section, 4), HV_OK);
            assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, page), HV_OK);
        }
        took = cpu_ns() - start;
        least = MIN(least, took);
    }
    return least;
}

static void add_ranges(uint64_t from, uint64_t to, hv_handle_t section)
{
    for (uint64_t i = from; i < to; i++)
        assert_int_equal(create(4 * i, 1, RW, section, i % 64), HV_OK);
}

static void ten_thousand_ranges_in_one_bar(void **state)
{
    const uint64_t few = 100, many = 10000;
    uint64_t of_few, of_many;
    hv_handle_t section;
    struct hv_bar_stats stats;

    (void)state;
    probe_bar64(probe, HV_BAR2, MIB(512));
    probe_create(probe);
    decode(probe, true);
    section = make_section(64, HV_PAGE_READWRITE, 0);
    add_ranges(0, few, section);
    of_few = time_of_calls(few, section);
    add_ranges(few, many, section);
    of_many = time_of_calls(many, section);
    /* 100 times as many: 7 steps of a tree more. A list would take 100 times as long. */
    if (of_many > 6 * of_few)
        fail_msg("%llu ns among %llu ranges, %llu ns among %llu", (unsigned long long)of_few,
                 (unsigned long long)few, (unsigned long long)of_many, (unsigned long long)many);

    assert_int_equal(inspect_bar(probe->device, HV_BAR2, &stats), HV_OK);
    assert_int_equal(stats.ranges, many);
    for (uint64_t i = 0; i < many; i += 997) {
        struct hv_mmio_range_info info;

        assert_int_equal(hv_mmio_range_query(probe->device, HV_BAR2, 4 * i, &info), HV_OK);
        assert_int_equal(info.section_page, i % 64);
        assert_int_equal(fake_vm_read(&world.vm, gpa_of(4 * i), 8), section_word(i % 64, 0));
        assert_int_equal(fake_vm_way, FAKE_DIRECT);
    }
    decode(probe, false);
    assert_int_equal(world.vm.tables.leaves[1], 0);
    decode(probe, true);
    assert_int_equal(world.vm.tables.leaves[1], many);
    for (uint64_t i = 0; i < many; i++)
        assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, 4 * (i * 7919 % many)),
                         HV_OK);
    assert_int_equal(world.vm.tables.leaves[1], 0);
    hv_handle_close(section);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(huge_bar_in_bounded_steps),
        TEST(huge_bar_rolls_back),
        TEST(only_the_owner_can_unmap),
        TEST(partial_success_leaves_the_books_right),
        TEST(ends_before_starts),
        TEST(replace_has_no_gap),
        TEST(replace_of_large_leaves_has_no_gap),
        TEST(ten_thousand_ranges_in_one_bar),
    };

    return cmocka_run_group_tests_name("known mapping", tests, NULL, NULL);
}
