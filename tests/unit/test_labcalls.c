/* drivers/virtual/lab*.c: the commands that make one call each. */
#include "tests/unit/lab_kit.h"

/* ---- ranges ---- */

static void test_unmap(void **state)
{
    uint64_t alt, page = LAB_FREE_PAGE;

    (void)state;
    lab_up(0, NULL);
    alt = handle_of(LAB_SECTION_ALT);
    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 2, page, 8, RW, alt, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_RANGE_UNMAP, UNKNOWN, 2, page, 1), HV_E_INVALID_HANDLE);
    assert_int_equal(RUN(LAB_CMD_RANGE_UNMAP, SELF, 7, page, 1), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(RUN(LAB_CMD_RANGE_UNMAP, SELF, 2, page, 0), HV_E_INVALID_PARAMETER_4);
    assert_int_equal(RUN(LAB_CMD_RANGE_UNMAP, SELF, 2, page + 2, 3), HV_OK);
    for (uint64_t i = 0; i < 8; i++) {
        if (i >= 2 && i < 5)
            expect_hole(page + i);
        else
            assert_int_equal(word_at(page + i), LAB_PATTERN(2, i * PAGE_BYTES));
    }
    assert_int_equal(RUN(LAB_CMD_RANGE_QUERY, SELF, 2, page + 7), HV_OK);
    assert_int_equal(result(0), page + 5);
    assert_int_equal(RUN(LAB_CMD_RANGE_STATS, SELF, 2, page + 7), HV_OK);
    assert_int_equal(result(1), 3);
    assert_int_equal(RUN(LAB_CMD_RANGE_UNMAP, SELF, 2, page, 100), HV_OK);
}

/* ---- batches and pauses ---- */

enum { CREATE = HV_MMIO_OP_CREATE, UNMAP = HV_MMIO_OP_UNMAP, DESTROY = HV_MMIO_OP_DESTROY };

static void test_batch(void **state)
{
    uint64_t alt, hash, page = LAB_FREE_PAGE;

    (void)state;
    lab_up(0, NULL);
    alt = handle_of(LAB_SECTION_ALT);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, 0, 0), HV_OK);
    assert_int_equal(result(0), 0);
    assert_int_equal(RUN(LAB_CMD_BATCH, UNKNOWN, 0, 0), HV_E_INVALID_HANDLE);
    assert_int_equal(result(0), LAB_NONE_DONE);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, 0, 2), HV_E_INVALID_PARAMETER_4);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, 0, 1ull << 32), HV_E_INVALID_PARAMETER_4);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, LAB_BATCH_OPS + 1, 0), HV_E_OUT_OF_RANGE);
    assert_int_equal(result(0), LAB_NONE_DONE);

    /* Every place of the table, each a page further in the BAR and three in the section. */
    assert_int_equal(
        RUN(LAB_CMD_BATCH_FILL, 0, LAB_BATCH_OPS, CREATE, 2, page, 2, 1, RW, alt, 5, 3), HV_OK);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, LAB_BATCH_OPS, 0), HV_OK);
    assert_int_equal(result(0), LAB_BATCH_OPS);
    for (uint64_t i = 0; i < LAB_BATCH_OPS; i++) {
        assert_int_equal(word_at(page + 2 * i), LAB_PATTERN(2, (5 + 3 * i) * PAGE_BYTES));
        expect_hole(page + 2 * i + 1);
    }
    assert_int_equal(RUN(LAB_CMD_BATCH_FILL, 1, LAB_BATCH_OPS, CREATE, 2, 0, 0, 1, RW, alt, 0, 0),
                     HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_BATCH_FILL, ~0ull, 2, CREATE, 2, 0, 0, 1, RW, alt, 0, 0),
                     HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_BATCH_OP, LAB_BATCH_OPS, CREATE, 2, 0, 1, RW, alt, 0),
                     HV_E_OUT_OF_RANGE);

    /* The third op fails: two stay, or with the atomic flag none. */
    assert_int_equal(RUN(LAB_CMD_BATCH_OP, 0, UNMAP, 2, page, 3, 0, 0, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_BATCH_OP, 1, CREATE, 2, page, 2, RW, alt, 9), HV_OK);
    assert_int_equal(RUN(LAB_CMD_BATCH_OP, 2, DESTROY, 2, page + 1, 0, 0, 0, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_HASH, 0), HV_OK);
    hash = result(0);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, 3, HV_BATCH_ATOMIC), HV_E_NOT_MAPPED);
    assert_int_equal(result(0), 0);
    assert_int_equal(RUN(LAB_CMD_HASH, 0), HV_OK);
    assert_int_equal(result(0), hash);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, 3, 0), HV_E_NOT_MAPPED);
    assert_int_equal(result(0), 2);
    assert_int_equal(word_at(page + 1), LAB_PATTERN(2, 10 * PAGE_BYTES));
    /* What does not fit in 32 bits is not cut to something legal. */
    assert_int_equal(RUN(LAB_CMD_BATCH_OP, 0, (1ull << 32) + UNMAP, 2, page, 1, 0, 0, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, 1, 0), HV_E_INVALID_PARAMETER);
    assert_int_equal(RUN(LAB_CMD_BATCH_OP, 0, UNMAP, (1ull << 32) + 2, page, 1, 0, 0, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, 1, 0), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(RUN(LAB_CMD_RANGE_UNMAP, SELF, 2, page, 2 * LAB_BATCH_OPS), HV_OK);
}

static void test_pause(void **state)
{
    uint64_t alt, page = LAB_FREE_PAGE;

    (void)state;
    lab_up(0, NULL);
    alt = handle_of(LAB_SECTION_ALT);
    assert_int_equal(RUN(LAB_CMD_RESUME, 0), HV_E_INVALID_STATE);
    assert_int_equal(RUN(LAB_CMD_PAUSE, 3, 0, 0, 0), HV_OK);
    assert_int_equal(result(0), LAB_NONE_DONE);
    assert_int_equal(result(1), 3);
    assert_int_equal(result(2), 3);
    assert_int_equal(world.vm.pauses, 0);
    assert_int_equal(RUN(LAB_CMD_PAUSE, LAB_PAUSE_DEPTH + 1, 0, 0, 0), HV_E_INVALID_PARAMETER_1);
    assert_int_equal(RUN(LAB_CMD_BATCH_OP, 0, CREATE, 2, page, 1, RW, alt, 7), HV_OK);
    for (uint64_t flags = 0; flags <= HV_BATCH_ATOMIC; flags++) {
        assert_int_equal(RUN(LAB_CMD_PAUSE, 2, 1000, 1, flags), HV_OK);
        assert_int_equal(result(0), 1);
        assert_int_equal(result(1), 2);
        assert_int_equal(word_at(page), LAB_PATTERN(2, 7 * PAGE_BYTES));
        /* The same again fails; the pauses end all the same. */
        assert_int_equal(RUN(LAB_CMD_PAUSE, 2, 0, 1, flags), HV_E_CONFLICTING_ADDRESSES);
        assert_int_equal(result(0), 0);
        assert_int_equal(result(2), 2);
        assert_int_equal(world.vm.pauses, 0);
        assert_int_equal(RUN(LAB_CMD_RANGE_DESTROY, SELF, 2, page), HV_OK);
    }
    assert_int_equal(RUN(LAB_CMD_PAUSE, 1, 0, LAB_BATCH_OPS + 1, 0), HV_E_OUT_OF_RANGE);
    assert_int_equal(world.vm.pauses, 0);
    assert_int_equal(RUN(LAB_CMD_PAUSE, LAB_PAUSE_FOR_GOOD, 0, 0, 0), HV_OK);
    assert_int_equal(world.vm.pauses, 1);
    assert_int_equal(RUN(LAB_CMD_RESUME, 0), HV_OK);
}

/* ---- section commands ---- */

static void test_section_commands(void **state)
{
    uint64_t alt, event, made, end = LAB_BAR2_PAGES * PAGE_BYTES;

    (void)state;
    lab_up(0, NULL);
    alt = handle_of(LAB_SECTION_ALT);
    assert_int_equal(RUN(LAB_CMD_SECTION_GET, LAB_SECTION_BAR4), HV_E_NOT_FOUND);
    assert_int_equal(RUN(LAB_CMD_SECTION_GET, 3), HV_E_NOT_FOUND);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, alt, PAGE_BYTES), HV_OK);
    assert_int_equal(result(0), LAB_PATTERN(2, PAGE_BYTES));
    assert_int_equal(RUN(LAB_CMD_SECTION_WRITE, alt, 128, 0x55), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, alt, 128), HV_OK);
    assert_int_equal(result(0), 0x55);
    assert_int_equal(RUN(LAB_CMD_SECTION_FILL, alt, PAGE_BYTES - 16, 4096 + 32, 7), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, alt, 2 * PAGE_BYTES + 8), HV_OK);
    assert_int_equal(result(0), LAB_PATTERN(7, 2 * PAGE_BYTES + 8));
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, alt, PAGE_BYTES - 24), HV_OK);
    assert_int_equal(result(0), LAB_PATTERN(2, PAGE_BYTES - 24));
    assert_int_equal(RUN(LAB_CMD_SECTION_CHECKSUM, alt, 0, 0), HV_OK);
    assert_int_equal(result(0), 0xcbf29ce484222325ull);

    assert_int_equal(RUN(LAB_CMD_SECTION_READ, alt, 4), HV_E_MAPPED_ALIGNMENT);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, alt, end), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_SECTION_WRITE, alt, ~7ull, 0), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_SECTION_FILL, alt, end - 8, 16, 0), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_SECTION_FILL, alt, 8, ~7ull, 0), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_SECTION_CHECKSUM, alt, 0, 12), HV_E_MAPPED_ALIGNMENT);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, NO_HANDLE, 0), HV_E_INVALID_HANDLE);

    assert_int_equal(RUN(LAB_CMD_EVENT_CREATE, 0), HV_OK);
    event = result(0);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, event, 0), HV_E_OBJECT_TYPE);
    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 2, LAB_FREE_PAGE, 1, 0, event, 0),
                     HV_E_OBJECT_TYPE);
    assert_int_equal(RUN(LAB_CMD_HANDLE_CLOSE, event), HV_OK);
    assert_int_equal(RUN(LAB_CMD_HANDLE_CLOSE, event), HV_E_INVALID_HANDLE);

    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE, HV_SECTION_MAP_READ, 8192, HV_PAGE_READWRITE,
                         HV_SEC_COMMIT, 0, 0, 0),
                     HV_OK);
    made = result(0);
    assert_int_equal(RUN(LAB_CMD_SECTION_WRITE, made, 0, 1), HV_E_ACCESS_DENIED);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, made, 8184), HV_OK);
    assert_int_equal(result(0), 0);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE, 0, 8192, HV_PAGE_READWRITE, HV_SEC_COMMIT, 0),
                     HV_E_INVALID_PARAMETER_2);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE, HV_SECTION_MAP_READ, 0, HV_PAGE_READWRITE,
                         HV_SEC_COMMIT, 9, 0, 0),
                     HV_E_INVALID_PARAMETER_7);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE, HV_SECTION_MAP_READ, 0, HV_PAGE_READWRITE,
                         HV_SEC_COMMIT, HV_BACKING_PHYSICAL, WINDOW, PAGE_BYTES),
                     HV_OK);
    /* A closed handle of the lab's own: its ranges live on. */
    assert_int_equal(RUN(LAB_CMD_HANDLE_CLOSE, handle_of(LAB_SECTION_MAIN)), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_GET, LAB_SECTION_MAIN), HV_E_NOT_FOUND);
    expect_pattern(LAB_LAST_PAGE);
}

static void test_named_sections(void **state)
{
    uint64_t first, second;

    (void)state;
    lab_up(0, NULL);
    assert_int_equal(RUN(LAB_CMD_SECTION_OPEN, ALL_RIGHTS, 7), HV_E_NOT_FOUND);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE_NAMED, ALL_RIGHTS, 3 * PAGE_BYTES,
                         HV_PAGE_EXECUTE_READWRITE, HV_SEC_COMMIT, 0, 0, 0, 7),
                     HV_OK);
    first = result(0);
    assert_int_equal(result(1), 0);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE_NAMED, ALL_RIGHTS, PAGE_BYTES, HV_PAGE_READWRITE,
                         HV_SEC_COMMIT, 0, 0, 0, 7),
                     HV_E_ALREADY_EXISTS);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE_NAMED, ALL_RIGHTS, PAGE_BYTES, HV_PAGE_READWRITE,
                         HV_SEC_COMMIT | HV_SEC_OPEN_IF, 0, 0, 0, 7),
                     HV_OK);
    assert_int_equal(result(1), 1);
    assert_int_equal(RUN(LAB_CMD_HANDLE_CLOSE, result(0)), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_OPEN, HV_SECTION_QUERY | HV_SECTION_MAP_READ, 7), HV_OK);
    second = result(0);
    assert_true(second != first);
    assert_int_equal(RUN(LAB_CMD_SECTION_WRITE, first, 8, 0x77), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, second, 8), HV_OK);
    assert_int_equal(result(0), 0x77);
    assert_int_equal(RUN(LAB_CMD_SECTION_WRITE, second, 8, 0x77), HV_E_ACCESS_DENIED);

    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 2, LAB_FREE_PAGE, 2, RW, first, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_QUERY, second), HV_OK);
    assert_int_equal(result(0), 3 * PAGE_BYTES);
    assert_int_equal(result(1), HV_PAGE_EXECUTE_READWRITE);
    assert_int_equal(result(2), HV_SEC_COMMIT);
    assert_int_equal(result(3), MEMTYPE_WB);
    assert_int_equal(result(4), 2);
    assert_int_equal(result(5), 1);
    assert_int_equal(result(6), 0);
    assert_int_equal(result(7), 3);
    assert_int_equal(result(8), 1);
    assert_int_equal(RUN(LAB_CMD_SECTION_QUERY, first), HV_OK);
    assert_int_equal(result(8), 0);
    assert_int_equal(RUN(LAB_CMD_RANGE_DESTROY, SELF, 2, LAB_FREE_PAGE), HV_OK);
    assert_int_equal(RUN(LAB_CMD_HANDLE_CLOSE, first), HV_OK);
    assert_int_equal(RUN(LAB_CMD_HANDLE_CLOSE, second), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_OPEN, ALL_RIGHTS, 7), HV_E_NOT_FOUND);
    assert_int_equal(RUN(LAB_CMD_SECTION_QUERY, first), HV_E_INVALID_HANDLE);
    /* A number too wide is no name, and not the name of its low bits. */
    assert_int_equal(RUN(LAB_CMD_SECTION_OPEN, ALL_RIGHTS, (1ull << 32) + 7),
                     HV_E_INVALID_PARAMETER_3);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE_NAMED, ALL_RIGHTS, PAGE_BYTES, HV_PAGE_READWRITE,
                         HV_SEC_COMMIT, 0, 0, 0, 1ull << 32),
                     HV_E_INVALID_PARAMETER_3);
    /* The largest number of 32 bits is one; without the right to query nothing is told. */
    for (uint64_t i = 0; i < 2; i++) {
        assert_int_equal(RUN(LAB_CMD_SECTION_CREATE_NAMED, HV_SECTION_MAP_READ, PAGE_BYTES,
                             HV_PAGE_READWRITE, HV_SEC_COMMIT | HV_SEC_OPEN_IF, 0, 0, 0,
                             UINT32_MAX),
                         HV_OK);
        assert_int_equal(result(1), 0);
    }
    assert_int_equal(RUN(LAB_CMD_SECTION_QUERY, result(0)), HV_E_ACCESS_DENIED);
}

static void test_commit(void **state)
{
    uint64_t section;

    (void)state;
    lab_up(0, NULL);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE, ALL_RIGHTS, 8 * PAGE_BYTES, HV_PAGE_READWRITE,
                         HV_SEC_RESERVE, 0),
                     HV_OK);
    section = result(0);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, section, 2 * PAGE_BYTES), HV_E_NOT_MAPPED);
    assert_int_equal(RUN(LAB_CMD_SECTION_WRITE, section, 2 * PAGE_BYTES, 1), HV_E_NOT_MAPPED);
    assert_int_equal(RUN(LAB_CMD_SECTION_COMMIT, section, 2, 3), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, section, 2 * PAGE_BYTES), HV_OK);
    assert_int_equal(result(0), 0);
    assert_int_equal(RUN(LAB_CMD_SECTION_FILL, section, 4 * PAGE_BYTES, 2 * PAGE_BYTES, 1),
                     HV_E_NOT_MAPPED);
    assert_int_equal(RUN(LAB_CMD_SECTION_CHECKSUM, section, PAGE_BYTES, 2 * PAGE_BYTES),
                     HV_E_NOT_MAPPED);
    assert_int_equal(RUN(LAB_CMD_SECTION_QUERY, section), HV_OK);
    assert_int_equal(result(7), 3);
    assert_int_equal(RUN(LAB_CMD_SECTION_COMMIT, section, 6, 3), HV_E_INVALID_VIEW_SIZE);
    assert_int_equal(RUN(LAB_CMD_SECTION_COMMIT, section, 6, 0), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(RUN(LAB_CMD_SECTION_COMMIT, (1ull << 32) + section, 0, 1),
                     HV_E_INVALID_HANDLE);
}

static void test_handles_run_out(void **state)
{
    (void)state;
    lab_up(0, NULL);
    for (unsigned i = 0; i < LAB_HANDLES; i++)
        assert_int_equal(RUN(LAB_CMD_EVENT_CREATE, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_EVENT_CREATE, 0), HV_E_QUOTA);
    assert_int_equal(RUN(LAB_CMD_SECTION_OPEN, HV_SECTION_MAP_READ, 0), HV_E_QUOTA);
    assert_int_equal(
        RUN(LAB_CMD_SECTION_CREATE, HV_SECTION_MAP_READ, 8192, HV_PAGE_READWRITE, HV_SEC_COMMIT, 0),
        HV_E_QUOTA);
}

/* ---- events, doorbells, wide accesses ---- */

static uint64_t make_event(uint64_t kind, uint64_t with_callback)
{
    assert_int_equal(RUN(LAB_CMD_EVENT_CREATE, kind, with_callback), HV_OK);
    return result(0);
}

static uint64_t taken(uint64_t event)
{
    assert_int_equal(RUN(LAB_CMD_EVENT_TAKE, event), HV_OK);
    return result(0);
}

static void test_events(void **state)
{
    uint64_t all, each;

    (void)state;
    lab_up(0, NULL);
    assert_int_equal(RUN(LAB_CMD_EVENT_CREATE, 2, 0), HV_E_INVALID_PARAMETER_1);
    assert_int_equal(RUN(LAB_CMD_EVENT_CREATE, 1ull << 32, 0), HV_E_INVALID_PARAMETER_1);
    all = make_event(HV_EVENT_AUTO_RESET, 0);
    each = make_event(HV_EVENT_COUNTING, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(RUN(LAB_CMD_EVENT_SIGNAL, all), HV_OK);
        assert_int_equal(RUN(LAB_CMD_EVENT_SIGNAL, each), HV_OK);
    }
    assert_int_equal(taken(all), 3);
    assert_int_equal(taken(all), 0);
    assert_int_equal(taken(each), 3);
    assert_int_equal(taken(each), 2);
    assert_int_equal(RUN(LAB_CMD_EVENT_TAKE, handle_of(LAB_SECTION_ALT)), HV_E_OBJECT_TYPE);
    assert_int_equal(RUN(LAB_CMD_EVENT_SIGNAL, (1ull << 32) + all), HV_E_INVALID_HANDLE);
    assert_int_equal(RUN(LAB_CMD_TOTALS, 0), HV_OK);
    assert_int_equal(result(8), 2);
    assert_int_equal(RUN(LAB_CMD_HANDLE_CLOSE, all), HV_OK);
    assert_int_equal(RUN(LAB_CMD_TOTALS, 0), HV_OK);
    assert_int_equal(result(8), 1);
}

static void ring(uint64_t offset, unsigned bytes, uint64_t value, bool rang)
{
    set(offset, bytes, value);
    assert_int_equal(fake_vm_way, rang ? FAKE_RANG : FAKE_TRAPPED);
}

static void test_doorbells(void **state)
{
    uint64_t event, traps;

    (void)state;
    lab_up(0, NULL);
    event = make_event(HV_EVENT_AUTO_RESET, 0);
    assert_int_equal(RUN(LAB_CMD_DOORBELL_REGISTER, UNKNOWN, 0, 0, 0, 0, event),
                     HV_E_INVALID_HANDLE);
    assert_int_equal(RUN(LAB_CMD_DOORBELL_REGISTER, SELF, 7, 0, 0, 0, event),
                     HV_E_INVALID_PARAMETER_2);
    assert_int_equal(RUN(LAB_CMD_DOORBELL_REGISTER, SELF, 0, LAB_DOORBELL, 0, 1ull << 32, event),
                     HV_E_INVALID_PARAMETER_5);
    assert_int_equal(RUN(LAB_CMD_DOORBELL_REGISTER, SELF, 0, LAB_DOORBELL, 5, 2, event), HV_OK);
    traps = get(LAB_TRAPS, 8);
    ring(LAB_DOORBELL, 2, 5, true);
    assert_int_equal(get(LAB_TRAPS, 8), traps);
    ring(LAB_DOORBELL, 4, 5, false);
    ring(LAB_DOORBELL + 6, 2, 0x1234, false);
    assert_int_equal(get(LAB_DOORBELL, 8), 0x1234000000000005);
    assert_int_equal(get(LAB_DOORBELL + 7, 1), 0x12);
    assert_int_equal(get(LAB_TRAPS, 8), traps + 4);
    assert_int_equal(RUN(LAB_CMD_TRAP_GET, traps + 1), HV_OK);
    assert_int_equal(result(0), 0);
    assert_int_equal(result(1), LAB_DOORBELL + 6);
    assert_int_equal(result(2), 2);
    assert_int_equal(result(3), 0x1234);
    assert_int_equal(result(4), 1);
    assert_int_equal(result(5), 0);
    assert_int_equal(RUN(LAB_CMD_TRAP_GET, traps + 3), HV_OK);
    assert_int_equal(result(1), LAB_DOORBELL + 7);
    assert_int_equal(result(4), 0);
    assert_int_equal(taken(event), 1);
    assert_int_equal(RUN(LAB_CMD_BAR_STATS, 0), HV_OK);
    assert_int_equal(result(9), 1);
    assert_int_equal(RUN(LAB_CMD_TOTALS, 0), HV_OK);
    assert_int_equal(result(7), 1);
    assert_int_equal(RUN(LAB_CMD_DOORBELL_UNREGISTER, UNKNOWN, 0, LAB_DOORBELL, 5, 2),
                     HV_E_INVALID_HANDLE);
    assert_int_equal(RUN(LAB_CMD_DOORBELL_UNREGISTER, SELF, 0, LAB_DOORBELL, 5, 1), HV_E_NOT_FOUND);
    assert_int_equal(RUN(LAB_CMD_DOORBELL_UNREGISTER, SELF, 0, LAB_DOORBELL, 5, 2), HV_OK);
    ring(LAB_DOORBELL, 2, 5, false);
    assert_int_equal(RUN(LAB_CMD_TOTALS, 0), HV_OK);
    assert_int_equal(result(7), 0);
}

/* A signal runs a command: here the one that ends its doorbell. */
static void test_on_signal(void **state)
{
    uint64_t event;

    (void)state;
    lab_up(0, NULL);
    event = make_event(HV_EVENT_COUNTING, 1);
    assert_int_equal(RUN(LAB_CMD_EVENT_SIGNAL, event), HV_OK); /* no command yet */
    assert_int_equal(RUN(LAB_CMD_DOORBELL_REGISTER, SELF, 2, 0x2000, 7, 3, event), HV_OK);
    assert_int_equal(RUN(LAB_CMD_ON_SIGNAL, LAB_CMD_DOORBELL_UNREGISTER, SELF, 2, 0x2000, 7, 3, 77),
                     HV_OK);
    assert_int_equal(result(0), 1);
    assert_int_equal(result(1), 0);
    set(LAB_ARG(0), 8, 99);
    fake_vm_write(&world.vm, bar2 + 0x2000, 4, 7);
    assert_int_equal(fake_vm_way, FAKE_RANG);
    assert_int_equal(get(LAB_ARG(0), 8), 99);
    fake_vm_write(&world.vm, bar2 + 0x2000, 4, 7);
    assert_int_equal(fake_vm_way, FAKE_TRAPPED);
    assert_int_equal(RUN(LAB_CMD_EVENT_SIGNAL, event), HV_OK); /* nothing to end any more */
    /* It signals itself: told, not done. All inside one command, whose results stay. */
    assert_int_equal(RUN(LAB_CMD_ON_SIGNAL, LAB_CMD_EVENT_SIGNAL, event), HV_OK);
    assert_int_equal(result(0), 2);
    assert_int_equal((int32_t)result(1), HV_E_NOT_FOUND);
    assert_int_equal(taken(event), 3);
    assert_int_equal(RUN(LAB_CMD_EVENT_SIGNAL, event), HV_OK);
    assert_int_equal(result(0), 3);
    assert_int_equal(RUN(LAB_CMD_ON_SIGNAL, 0), HV_OK);
    assert_int_equal(result(0), 2);
    assert_int_equal(taken(event), 4);
    assert_int_equal(RUN(LAB_CMD_EVENT_SIGNAL, event), HV_OK);
    assert_int_equal(RUN(LAB_CMD_HANDLE_CLOSE, event), HV_OK);
}

static const struct mmio_handler *handler_at(uint64_t gpa)
{
    unsigned hint = 0, region = mmio_region_find(&world.vm.regions, GPA(gpa), &hint);

    assert_int_not_equal(region, MMIO_NONE);
    return &world.vm.regions.handler[region];
}

static void test_wide_accesses(void **state)
{
    static const char *const options[] = {"bar4=16"};
    const struct mmio_handler *handler;
    uint8_t bytes[LAB_BAR4_ACCESS_BYTES];

    (void)state;
    lab_up(1, options);
    assert_int_equal(RUN(LAB_CMD_ACCESS_BYTES, UNKNOWN, 2, 16), HV_E_INVALID_HANDLE);
    assert_int_equal(RUN(LAB_CMD_ACCESS_BYTES, SELF, 2, 16), HV_E_INVALID_STATE);
    assert_int_equal(handler_at(bar2)->wide_bytes, 0);
    assert_int_equal(lab->bar[HV_BAR_ROM].access_bytes, LAB_ROM_ACCESS_BYTES);
    handler = handler_at(bar4);
    assert_int_equal(handler->wide_bytes, LAB_BAR4_ACCESS_BYTES);
    handler->read_wide(handler->owner, 0x1040, 64, bytes);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(bytes[i], LAB_HOLE_BYTE(0x1040 + i));
    bytes[0] = 0x77;
    handler->write_wide(handler->owner, 0x20, 32, bytes);
    assert_int_equal(RUN(LAB_CMD_TRAP_GET, 1), HV_OK);
    assert_int_equal(result(0), HV_BAR4);
    assert_int_equal(result(1), 0x20);
    assert_int_equal(result(2), 32);
    assert_int_equal(result(3) & 0xff, 0x77);
    assert_int_equal(result(4), 1);
    assert_int_equal(result(5), lab_checksum(bytes, 32));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_unmap),           TEST(test_batch),
        TEST(test_pause),           TEST(test_section_commands),
        TEST(test_named_sections),  TEST(test_commit),
        TEST(test_handles_run_out), TEST(test_events),
        TEST(test_doorbells),       TEST(test_on_signal),
        TEST(test_wide_accesses),
    };

    return cmocka_run_group_tests_name("labcalls", tests, NULL, NULL);
}
