#include "tests/unit/view_kit.h"

#include "tests/fake/space.h"

static void the_lowest_or_the_highest_fit(void **state)
{
    hv_handle_t section = make(MIB(1), 0);
    struct map_call call[4], top = whole(section), large = whole(section);

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        call[i] = whole(section);
        call[i].bytes = PAGE_BYTES * (i + 1);
        assert_int_equal(map_ok(&call[i]), VIEW_BASE + i * KIB(64));
    }
    unmap_ok(call[1].base);
    unmap_ok(call[2].base);
    call[1] = whole(section);
    call[1].bytes = KIB(128) + 1; /* three blocks */
    assert_int_equal(map_ok(&call[1]), VIEW_BASE + 4 * KIB(64));
    call[2] = whole(section);
    call[2].bytes = KIB(128);
    assert_int_equal(map_ok(&call[2]), VIEW_BASE + KIB(64));
    top.bytes = PAGE_BYTES;
    top.allocation = HV_VIEW_TOP_DOWN;
    assert_int_equal(map_ok(&top), VIEW_BASE + VIEW_BYTES - KIB(64));
    large.bytes = PAGE_BYTES;
    large.allocation = HV_VIEW_TOP_DOWN | HV_VIEW_LARGE_PAGES;
    assert_int_equal(map_ok(&large), VIEW_BASE + VIEW_BYTES - MIB(2));
    for (unsigned i = 0; i < 4; i++)
        unmap_ok(call[i].base);
    unmap_ok(top.base);
    unmap_ok(large.base);
    close_handle(section);
}

static void zero_bits_choose_below_4_gib(void **state)
{
    const struct {
        uint32_t zero_bits, allocation;
        uint64_t want;
    } cases[] = {
        {1, 0, KIB(64)},
        {15, 0, KIB(64)},
        {15, HV_VIEW_TOP_DOWN, KIB(64)},
        {7, HV_VIEW_TOP_DOWN, MIB(32) - KIB(64)},
        {8, HV_VIEW_TOP_DOWN, MIB(16) - KIB(128)}, /* ends where the image begins */
        {1, HV_VIEW_TOP_DOWN | HV_VIEW_LARGE_PAGES, MIB(2046)},
    };
    hv_handle_t section = make(KIB(128), 0);
    struct map_call call;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        call = whole(section);
        call.zero_bits = cases[i].zero_bits;
        call.allocation = cases[i].allocation;
        if (i == 3)
            call.bytes = 1;
        assert_int_equal(map_ok(&call), cases[i].want);
        assert_true(is_mapped(call.base));
        unmap_ok(call.base);
    }
    call = whole(section);
    call.base = MIB(1);
    call.zero_bits = 11; /* 1 MiB has its top 11 bits zero, and not 12 */
    map_ok(&call);
    unmap_ok(call.base);
    close_handle(section);
}

static void the_image_and_page_0_are_never_given_out(void **state)
{
    hv_handle_t section = make(KIB(64), 0);
    struct map_call call[300];
    unsigned count = 0;

    (void)state;
    while (count < 300) { /* 16 MiB of blocks, less the first one */
        call[count] = whole(section);
        call[count].zero_bits = 8;
        if (map_try(&call[count]) != HV_OK)
            break;
        assert_true(call[count].base >= KIB(64) && call[count].base < FAKE_IMAGE_START);
        count++;
    }
    assert_int_equal(count, MIB(16) / KIB(64) - 1);
    assert_int_equal(map_try(&call[count]), HV_E_NO_MEMORY);
    call[count].zero_bits = 7;
    assert_int_equal(map_ok(&call[count]), ALIGN_UP(FAKE_IMAGE_END, KIB(64)));
    unmap_ok(call[count].base);
    unmap_ok(call[17].base);
    call[17].base = 0;
    assert_int_equal(map_ok(&call[17]), 18 * KIB(64)); /* the address is used again */
    while (count-- > 0)
        unmap_ok(call[count].base);
    close_handle(section);
}

static void wherever_the_image_is_it_is_kept(void **state)
{
    const struct {
        uint64_t up;
        hv_status_t below_4_gib; /* at its last block, or what would be that */
    } cases[] = {
        {GIB(8ull), HV_OK},
        {GIB(4ull) - FAKE_IMAGE_START, HV_OK},
        {GIB(4ull) - FAKE_IMAGE_END, HV_E_CONFLICTING_ADDRESSES},
        {GIB(4ull) - FAKE_IMAGE_END + KIB(64), HV_E_CONFLICTING_ADDRESSES},
    };
    hv_handle_t section = make(KIB(64), 0);

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        struct map_call last = whole(section), first = whole(section);

        fake_space.image_up = cases[i].up;
        view_init();
        last.base = GIB(4ull) - KIB(64);
        first.base = FAKE_IMAGE_START;
        assert_int_equal(map_try(&last), cases[i].below_4_gib);
        map_ok(&first);
        unmap_ok(first.base);
        if (cases[i].below_4_gib == HV_OK)
            unmap_ok(last.base);
    }
    fake_space.image_up = 0;
    view_init();
    close_handle(section);
}

static void explicit_bases_and_the_rest_of_a_block(void **state)
{
    const uint64_t base = VIEW_BASE + GIB(1);
    hv_handle_t section = make(MIB(1), 0);
    struct map_call one = whole(section), two, three, four;

    (void)state;
    one.base = base;
    one.bytes = PAGE_BYTES;
    two = three = four = one;
    assert_int_equal(map_ok(&one), base);
    assert_int_equal(map_try(&two), HV_E_CONFLICTING_ADDRESSES);
    two.base = base + PAGE_BYTES;
    assert_int_equal(map_try(&two), HV_E_MAPPED_ALIGNMENT);
    two.allocation = HV_VIEW_PAGE_GRANULAR;
    assert_int_equal(map_ok(&two), base + PAGE_BYTES);
    three.base = base - KIB(64);
    three.bytes = KIB(64) + 1;
    assert_int_equal(map_try(&three), HV_E_CONFLICTING_ADDRESSES);
    three.bytes = KIB(64);
    assert_int_equal(map_ok(&three), base - KIB(64));
    unmap_ok(one.base);
    assert_int_equal(map_try(&four), HV_E_CONFLICTING_ADDRESSES); /* two is in its block */
    unmap_ok(two.base);
    assert_int_equal(map_ok(&four), base);
    unmap_ok(three.base);
    unmap_ok(four.base);
    close_handle(section);
}

static void an_area_can_be_exhausted(void **state)
{
    struct map_call call[4], more;
    struct map_call last;
    hv_handle_t big = reserve(1ull << 46), small = make(PAGE_BYTES, 0);

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        call[i] = whole(big);
        call[i].protect = HV_PAGE_NOACCESS;
        call[i].bytes = VIEW_BYTES / 4;
        map_ok(&call[i]);
    }
    last = more = whole(small);
    assert_int_equal(map_try(&more), HV_E_NO_MEMORY);
    last.zero_bits = 1;
    map_ok(&last);
    unmap_ok(last.base);
    unmap_ok(call[2].base);
    assert_int_equal(map_ok(&more), call[2].base);
    unmap_ok(more.base);
    for (unsigned i = 0; i < 4; i++)
        if (i != 2)
            unmap_ok(call[i].base);
    more = whole(big);
    assert_int_equal(map_try(&more), HV_E_NO_MEMORY); /* all of it is more than there is */
    close_handle(big);
    close_handle(small);
}

/* What is 2 MiB long wants to lie there, and does without it when it must. */
static void alignment_is_given_up_when_room_is_short(void **state)
{
    hv_handle_t section = make(MIB(2), 0);
    struct map_call one = whole(section), two = whole(section), three = whole(section);

    (void)state;
    one.base = MIB(4) + KIB(64);
    one.bytes = PAGE_BYTES;
    two.zero_bits = three.zero_bits = 10; /* below 4 MiB: page 0 keeps the first block */
    map_ok(&one);
    assert_int_equal(map_ok(&two), MIB(2));
    assert_int_equal(map_try(&three), HV_E_NO_MEMORY);
    unmap_ok(two.base);
    two = whole(section);
    two.zero_bits = 10;
    two.base = MIB(2) + KIB(64);
    map_ok(&two);
    assert_int_equal(map_ok(&three), KIB(64));
    unmap_ok(three.base);
    three = whole(section);
    three.zero_bits = 10;
    three.allocation = HV_VIEW_LARGE_PAGES;
    assert_int_equal(map_try(&three), HV_E_NO_MEMORY);
    unmap_ok(two.base);
    unmap_ok(one.base);
    close_handle(section);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VIEW_TEST(the_lowest_or_the_highest_fit),
        VIEW_TEST(zero_bits_choose_below_4_gib),
        VIEW_TEST(the_image_and_page_0_are_never_given_out),
        VIEW_TEST(wherever_the_image_is_it_is_kept),
        VIEW_TEST(explicit_bases_and_the_rest_of_a_block),
        VIEW_TEST(an_area_can_be_exhausted),
        VIEW_TEST(alignment_is_given_up_when_room_is_short),
    };

    return cmocka_run_group_tests(tests, view_kit_group, NULL);
}
