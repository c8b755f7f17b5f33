/* hv/pci/doorbell.c: statuses, what a write has to be to ring, and who collides with whom. */
#include "tests/unit/bell_kit.h"

#include "hv/base/bits.h"
#include "hv/mem/frames.h"

/* ---- statuses ---- */

/* Each row is wrong in its own way and in all the ways that are looked for later. */
static void test_statuses_in_order(void **state)
{
    const uint64_t reserved = 5, end = 256;
    hv_handle_t section, writable, gone;
    struct hv_device *nobody = (struct hv_device *)0x1000;

    (void)state;
    bars_up();
    make_events();
    section = make_section(1, HV_PAGE_READWRITE, 0);
    writable = make_section(1, HV_PAGE_READWRITE, 0);
    assert_int_equal(hv_event_create(HV_EVENT_COUNTING, NULL, NULL, &gone), HV_OK);
    assert_int_equal(hv_handle_close(gone), HV_OK);
    assert_int_equal(hv_mmio_range_create(probe->device, HV_BAR2, 1, 1, RW, writable, 0), HV_OK);

    assert_int_equal(hv_doorbell_register(nobody, (enum hv_bar)7, end, ~0ull, reserved, gone),
                     HV_E_INVALID_HANDLE);
    assert_int_equal(hv_doorbell_register(NULL, HV_BAR0, 0, 0, BYTE, event[0]),
                     HV_E_INVALID_HANDLE);
    assert_int_equal(bell_add((enum hv_bar)7, end, ~0ull, reserved, gone),
                     HV_E_INVALID_PARAMETER_2);
    assert_int_equal(bell_add(HV_BAR1, end, ~0ull, reserved, gone), HV_E_NO_SUCH_BAR);
    assert_int_equal(bell_add(HV_BAR3, 0, 0, BYTE, event[0]), HV_E_NO_SUCH_BAR); /* upper half */
    for (unsigned i = 5; i < 8; i++) /* lengths that there are not */
        assert_int_equal(bell_add(HV_BAR0, end, ~0ull, i, gone), HV_E_INVALID_PARAMETER_5);
    for (unsigned i = 3; i < 64; i++)
        if (BIT(i) != ALWAYS)
            assert_int_equal(bell_add(HV_BAR0, end, ~0ull, BIT(i), gone), HV_E_INVALID_PARAMETER_5);
    assert_int_equal(bell_add(HV_BAR0, end, 0, ANY, gone), HV_E_OUT_OF_RANGE);
    assert_int_equal(bell_add(HV_BAR0, end - 3, ~0ull, DWORD, gone), HV_E_OUT_OF_RANGE);
    assert_int_equal(bell_add(HV_BAR0, ~0ull, ~0ull, DWORD, gone), HV_E_OUT_OF_RANGE);
    assert_int_equal(bell_add(HV_BAR0, 3, ~0ull, DWORD, gone), HV_E_MAPPED_ALIGNMENT);
    assert_int_equal(bell_add(HV_BAR0, 4, 0, QWORD, gone), HV_E_MAPPED_ALIGNMENT);
    assert_int_equal(bell_add(HV_BAR0, 8, 0x100, BYTE, gone), HV_E_INVALID_PARAMETER_4);
    assert_int_equal(bell_add(HV_BAR0, 8, 0x10000, WORD, gone), HV_E_INVALID_PARAMETER_4);
    assert_int_equal(bell_add(HV_BAR0, 8, BIT(32), DWORD, gone), HV_E_INVALID_PARAMETER_4);
    assert_int_equal(bell_add(HV_BAR0, 8, 0x100, BYTE | ALWAYS, gone), HV_E_INVALID_PARAMETER_4);
    assert_int_equal(bell_add(HV_BAR0, 8, ~0ull, QWORD, gone), HV_E_INVALID_HANDLE);
    assert_int_equal(bell_add(HV_BAR0, 8, ~0ull, ANY, 0), HV_E_INVALID_HANDLE);
    assert_int_equal(bell_add(HV_BAR0, 8, 0xff, BYTE, section), HV_E_OBJECT_TYPE);
    assert_int_equal(bell_add(HV_BAR2, PAGE_BYTES, 0, BYTE, event[0]), HV_E_CONFLICTING_ADDRESSES);

    assert_int_equal(event_live_count(), EVENTS);
    assert_null(probe->device->doorbells);
    close_events();
    assert_int_equal(event_live_count(), 0); /* no reference stayed behind */
    assert_int_equal(hv_handle_close(section), HV_OK);
    assert_int_equal(hv_handle_close(writable), HV_OK);
    assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, 1), HV_OK);
}

/* A doorbell that is there already comes before the writable page, and before the quota. */
static void test_quota(void **state)
{
    uint64_t frames = hv_frames.free_pages;

    (void)state;
    bars_up();
    make_events();
    for (unsigned i = 0; i < HV_DOORBELLS_PER_DEVICE; i++)
        assert_int_equal(bell_add(i % 2 ? HV_BAR2 : HV_BAR0, NOTIFY, i, WORD, event[i % EVENTS]),
                         HV_OK);
    assert_int_equal(bell_add(HV_BAR0, NOTIFY, 64, WORD, event[0]), HV_E_QUOTA);
    assert_int_equal(bell_add(HV_BAR2, 0x1000, 0, ANY, event[0]), HV_E_QUOTA);
    assert_int_equal(bell_add(HV_BAR0, NOTIFY, 62, WORD, event[0]), HV_E_ALREADY_EXISTS);
    for (unsigned i = 0; i < HV_DOORBELLS_PER_DEVICE; i++)
        rings(i % 2 ? HV_BAR2 : HV_BAR0, NOTIFY, 2, i, i % EVENTS);
    rings(HV_BAR0, NOTIFY, 2, 1, EVENTS);
    rings(HV_BAR0, NOTIFY, 2, 64, EVENTS);
    rings(HV_BAR2, NOTIFY, 2, 64, EVENTS);
    assert_int_equal(probe->device->bar[HV_BAR0].rings, 32);
    assert_int_equal(bell_drop(HV_BAR2, NOTIFY, 33, WORD), HV_OK);
    rings(HV_BAR2, NOTIFY, 2, 33, EVENTS);
    assert_int_equal(bell_add(HV_BAR0, NOTIFY, 64, WORD, event[7]), HV_OK);
    rings(HV_BAR0, NOTIFY, 2, 64, 7);
    for (unsigned i = 0; i <= HV_DOORBELLS_PER_DEVICE; i++)
        assert_int_equal(bell_drop(i % 2 ? HV_BAR2 : HV_BAR0, NOTIFY, i, WORD),
                         i == 33 ? HV_E_NOT_FOUND : HV_OK);
    close_events();
    assert_int_equal(hv_frames.free_pages, frames);
}

static void test_no_memory(void **state)
{
    hpa_t all[8];
    uint64_t pages[8];
    unsigned runs = 0;

    (void)state;
    bars_up();
    make_events();
    while (frames_alloc_extent(&hv_frames, UINT64_MAX, &all[runs], &pages[runs]) == HV_OK)
        assert_true(++runs < ARRAY_COUNT(all));
    assert_int_equal(bell_add(HV_BAR0, NOTIFY, 1, WORD, event[0]), HV_E_NO_MEMORY);
    rings(HV_BAR0, NOTIFY, 2, 1, EVENTS);
    while (runs-- != 0)
        frames_free(&hv_frames, all[runs], pages[runs]);
    assert_int_equal(bell_add(HV_BAR0, NOTIFY, 1, WORD, event[0]), HV_OK);
    rings(HV_BAR0, NOTIFY, 2, 1, 0);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 1, WORD), HV_OK);
    close_events();
}

static void test_unregister_statuses(void **state)
{
    (void)state;
    bars_up();
    make_events();
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 5, WORD), HV_E_NOT_FOUND); /* none at all */
    assert_int_equal(bell_add(HV_BAR0, NOTIFY, 5, WORD, event[0]), HV_OK);
    assert_int_equal(bell_add(HV_BAR0, NOTIFY, 9, DWORD | ALWAYS, event[1]), HV_OK);
    assert_int_equal(bell_add(HV_BAR2, NOTIFY, 5, ANY, event[2]), HV_OK);
    assert_int_equal(hv_doorbell_unregister(NULL, HV_BAR0, NOTIFY, 5, WORD), HV_E_INVALID_HANDLE);
    assert_int_equal(bell_drop((enum hv_bar)7, NOTIFY, 5, WORD), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(bell_drop(HV_BAR1, NOTIFY, 5, WORD), HV_E_NO_SUCH_BAR);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY + 2, 5, WORD), HV_E_NOT_FOUND);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 4, WORD), HV_E_NOT_FOUND);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 6, WORD), HV_E_NOT_FOUND);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 5, BYTE), HV_E_NOT_FOUND);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 5, WORD | ALWAYS), HV_E_NOT_FOUND);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 5, WORD | BIT(40)), HV_E_NOT_FOUND);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 5, ANY), HV_E_NOT_FOUND);
    assert_int_equal(bell_drop(HV_BAR0, ~0ull, 5, WORD), HV_E_NOT_FOUND);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 0, DWORD | ALWAYS), HV_E_NOT_FOUND);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 9, DWORD), HV_E_NOT_FOUND);
    assert_int_equal(bell_drop(HV_BAR2, NOTIFY, 5, WORD), HV_E_NOT_FOUND);
    rings(HV_BAR0, NOTIFY, 2, 5, 0);
    rings(HV_BAR0, NOTIFY, 4, 5, 1);
    rings(HV_BAR2, NOTIFY, 8, 5, 2);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 5, WORD), HV_OK);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 5, WORD), HV_E_NOT_FOUND);
    rings(HV_BAR0, NOTIFY, 2, 5, EVENTS);
    rings(HV_BAR0, NOTIFY, 4, 5, 1);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 9, DWORD | ALWAYS), HV_OK);
    assert_int_equal(bell_drop(HV_BAR2, NOTIFY, 5, ANY), HV_OK);
    close_events();
}

/* ---- what rings ---- */

/* Any length and any value, or not; in the columns a write of each length with the value, and with another. */
static const struct {
    uint64_t value, flags;
    bool same[4], other[4];
} matches[] = {
    {0x11, BYTE, {true, false, false, false}, {false}},
    {0x11, WORD, {false, true, false, false}, {false}},
    {0x11, DWORD, {false, false, true, false}, {false}},
    {0x11, QWORD, {false, false, false, true}, {false}},
    {0x11, ANY, {true, true, true, true}, {false}},
    {0x11, BYTE | ALWAYS, {true, false, false, false}, {true, false, false, false}},
    {0x11, WORD | ALWAYS, {false, true, false, false}, {false, true, false, false}},
    {0x11, DWORD | ALWAYS, {false, false, true, false}, {false, false, true, false}},
    {0x11, QWORD | ALWAYS, {false, false, false, true}, {false, false, false, true}},
    {0x11, ANY | ALWAYS, {true, true, true, true}, {true, true, true, true}},
    {0, ANY | ALWAYS, {true, true, true, true}, {true, true, true, true}},
};

static void test_length_and_value(void **state)
{
    (void)state;
    bars_up();
    make_events();
    for (unsigned i = 0; i < ARRAY_COUNT(matches); i++) {
        uint64_t value = matches[i].value, flags = matches[i].flags;

        assert_int_equal(bell_add(HV_BAR0, NOTIFY, value, flags, event[3]), HV_OK);
        for (unsigned n = 0; n < 4; n++) {
            unsigned bytes = 1u << n;

            rings(HV_BAR0, NOTIFY, bytes, 0x11, matches[i].same[n] ? 3 : EVENTS);
            rings(HV_BAR0, NOTIFY, bytes, 0x12, matches[i].other[n] ? 3 : EVENTS);
            rings(HV_BAR0, NOTIFY, bytes, 0x10, matches[i].other[n] ? 3 : EVENTS);
            rings(HV_BAR0, NOTIFY - bytes, bytes, 0x11, EVENTS);
            rings(HV_BAR0, NOTIFY + bytes, bytes, 0x11, EVENTS);
        }
        assert_int_equal(fake_vm_read(&world.vm, bar_base(probe, HV_BAR0) + NOTIFY, 2), 0);
        assert_int_equal(bell_drop(HV_BAR0, NOTIFY, value, flags), HV_OK);
        rings(HV_BAR0, NOTIFY, 2, 0x11, EVENTS);
    }
    close_events();
}

/* Of a wide trigger only what a write can hold counts, and only its own bits of what the write brings. */
static void test_values_are_masked(void **state)
{
    const uint64_t wide = 0x1122334455667788ull;

    (void)state;
    bars_up();
    make_events();
    assert_int_equal(bell_add(HV_BAR0, NOTIFY, wide, ANY, event[0]), HV_OK);
    assert_int_equal(bell_add(HV_BAR0, NOTIFY + 8, 0xff, BYTE, event[1]), HV_OK);
    assert_int_equal(bell_add(HV_BAR0, NOTIFY + 8, 0xffffffff, DWORD, event[2]), HV_OK);
    assert_int_equal(bell_add(HV_BAR0, NOTIFY + 8, ~0ull, QWORD, event[3]), HV_OK);
    for (unsigned n = 0; n < 4; n++) {
        rings(HV_BAR0, NOTIFY, 1u << n, wide & ones_of(1u << n), 0);
        rings(HV_BAR0, NOTIFY, 1u << n, wide ^ 0x80, EVENTS);
    }
    rings(HV_BAR0, NOTIFY, 8, wide ^ BIT(63), EVENTS);
    rings(HV_BAR0, NOTIFY + 8, 1, 0xff, 1);
    rings(HV_BAR0, NOTIFY + 8, 2, 0xff, EVENTS);
    rings(HV_BAR0, NOTIFY + 8, 4, 0xff, EVENTS);
    rings(HV_BAR0, NOTIFY + 8, 4, 0xffffffff, 2);
    rings(HV_BAR0, NOTIFY + 8, 8, 0xffffffff, EVENTS);
    rings(HV_BAR0, NOTIFY + 8, 8, ~0ull, 3);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, wide & 0xff, ANY), HV_E_NOT_FOUND);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, wide, ANY), HV_OK);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY + 8, 0xff, BYTE), HV_OK);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY + 8, 0xffffffff, DWORD), HV_OK);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY + 8, ~0ull, QWORD), HV_OK);
    close_events();
}

/* Every pair of doorbells at one offset: registered in either order they collide, or each write has one of them. */
static void test_collisions(void **state)
{
    static const uint64_t kinds[] = {ANY,          BYTE,          WORD,          QWORD,
                                     ANY | ALWAYS, BYTE | ALWAYS, WORD | ALWAYS, QWORD | ALWAYS};

    (void)state;
    bars_up();
    make_events();
    for (unsigned i = 0; i < ARRAY_COUNT(kinds) * 2; i++)
        for (unsigned j = 0; j < ARRAY_COUNT(kinds) * 2; j++) {
            uint64_t a = kinds[i / 2], b = kinds[j / 2], va = i % 2, vb = j % 2;
            bool collide = (a & 7) == ANY || (b & 7) == ANY ||
                           ((a & 7) == (b & 7) && ((a & ALWAYS) || (b & ALWAYS) || va == vb));

            assert_int_equal(bell_add(HV_BAR0, NOTIFY, va, a, event[0]), HV_OK);
            assert_int_equal(bell_add(HV_BAR0, NOTIFY, vb, b, event[1]),
                             collide ? HV_E_ALREADY_EXISTS : HV_OK);
            assert_int_equal(bell_add(HV_BAR0, NOTIFY + 8, vb, b, event[2]), HV_OK);
            assert_int_equal(bell_add(HV_BAR2, NOTIFY, vb, b, event[3]), HV_OK);
            rings(HV_BAR0, NOTIFY, (a & 7) == ANY ? 1 : 1u << ((a & 7) - 1), va, 0);
            if (!collide)
                rings(HV_BAR0, NOTIFY, 1u << ((b & 7) - 1), vb, 1);
            assert_int_equal(bell_drop(HV_BAR2, NOTIFY, vb, b), HV_OK);
            assert_int_equal(bell_drop(HV_BAR0, NOTIFY + 8, vb, b), HV_OK);
            assert_int_equal(bell_drop(HV_BAR0, NOTIFY, va, a), HV_OK);
            assert_int_equal(bell_drop(HV_BAR0, NOTIFY, vb, b), collide ? HV_E_NOT_FOUND : HV_OK);
        }
    close_events();
}

/* CALLERS.md S6: one notify register, a doorbell for each queue; what is not a queue reaches the device. */
static void test_queues_of_one_register(void **state)
{
    (void)state;
    bars_up();
    make_events();
    for (unsigned i = 0; i < EVENTS; i++) /* not in order */
        assert_int_equal(bell_add(HV_BAR0, NOTIFY, i * 7 % EVENTS, WORD, event[i * 7 % EVENTS]),
                         HV_OK);
    for (unsigned i = 0; i < EVENTS; i++) {
        rings(HV_BAR0, NOTIFY, 2, i, i);
        rings(HV_BAR0, NOTIFY, 4, i, EVENTS);
        rings(HV_BAR0, NOTIFY, 2, i + EVENTS, EVENTS);
        rings(HV_BAR0, NOTIFY, 2, i + 0x100, EVENTS);
    }
    for (unsigned i = 0; i < 5; i++)
        put(HV_BAR0, NOTIFY, 2, 5);
    assert_int_equal(taken(event[5]), 5);
    for (unsigned i = 0; i < EVENTS; i++)
        assert_int_equal(bell_drop(HV_BAR0, NOTIFY, i, WORD), HV_OK);
    close_events();
}

/* The first byte and the last of a large BAR, and of the ROM BAR, the neighbours of the order. */
static void test_ends_of_bars(void **state)
{
    (void)state;
    probe_bar32(probe, HV_BAR0, 256);
    probe_bar64(probe, HV_BAR2, GIB(64));
    probe->probed[HV_BAR_ROM] = 0u - 0x1000u;
    probe_create(probe);
    decode(probe, true);
    move_bar(probe, HV_BAR2, GIB(128));
    move_bar(probe, HV_BAR_ROM, 0xd0000000u | 1);
    make_events();
    assert_int_equal(bell_add(HV_BAR0, 0, 0, QWORD, event[0]), HV_OK);
    assert_int_equal(bell_add(HV_BAR0, 255, 0, ANY, event[1]), HV_OK);
    assert_int_equal(bell_add(HV_BAR2, 0, 0, QWORD, event[2]), HV_OK);
    assert_int_equal(bell_add(HV_BAR2, GIB(64) - 8, ~0ull, QWORD, event[3]), HV_OK);
    assert_int_equal(bell_add(HV_BAR_ROM, 0, 0, ANY, event[4]), HV_OK);
    assert_int_equal(bell_add(HV_BAR_ROM, 0xfff, 0xff, BYTE, event[5]), HV_OK);
    rings(HV_BAR0, 0, 8, 0, 0);
    rings(HV_BAR0, 255, 1, 0, 1);
    rings(HV_BAR2, 0, 8, 0, 2);
    rings(HV_BAR2, 8, 8, 0, EVENTS);
    rings(HV_BAR2, GIB(64) - 8, 8, ~0ull, 3);
    rings(HV_BAR2, GIB(64) - 8, 8, ~1ull, EVENTS);
    put(HV_BAR_ROM, 0, 4, 0);
    assert_int_equal(taken(event[4]), 1);
    put(HV_BAR_ROM, 0xfff, 1, 0xff);
    assert_int_equal(taken(event[5]), 1);
    assert_int_equal(bell_drop(HV_BAR_ROM, 0xfff, 0xff, BYTE), HV_OK);
    assert_int_equal(bell_drop(HV_BAR_ROM, 0, 0, ANY), HV_OK);
    assert_int_equal(bell_drop(HV_BAR2, GIB(64) - 8, ~0ull, QWORD), HV_OK);
    assert_int_equal(bell_drop(HV_BAR2, 0, 0, QWORD), HV_OK);
    assert_int_equal(bell_drop(HV_BAR0, 255, 0, ANY), HV_OK);
    assert_int_equal(bell_drop(HV_BAR0, 0, 0, QWORD), HV_OK);
    close_events();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_statuses_in_order), TEST(test_quota),
        TEST(test_no_memory),         TEST(test_unregister_statuses),
        TEST(test_length_and_value),  TEST(test_values_are_masked),
        TEST(test_collisions),        TEST(test_queues_of_one_register),
        TEST(test_ends_of_bars),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
