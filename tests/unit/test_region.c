/* The region map: neighbours, overlaps, both ends of the address space, stale hints, a full table. */
#include "tests/fake/host.h"

#include <string.h>

#include "hv/mmio/region.h"

#define TOP 0xffffffffffffffffull

static struct mmio_map map;

static int setup(void **state)
{
    (void)state;
    memset(&map, 0xa5, sizeof(map));
    map.count = 0;
    return 0;
}

/* The owner tells regions apart: it is the address of the first byte. */
static hv_status_t add(uint64_t start, uint64_t bytes)
{
    struct mmio_handler handler = {.owner = (void *)(uintptr_t)start};

    return mmio_region_add(&map, GPA(start), bytes, &handler);
}

static void check_map(void)
{
    for (unsigned i = 0; i < map.count; i++) {
        assert_ptr_equal(map.handler[i].owner, (void *)(uintptr_t)map.key[i].start);
        if (i > 0)
            assert_true(map.key[i].start - map.key[i - 1].start >= map.key[i - 1].bytes);
    }
}

/* Whether `gpa` is in the region at `start`, whatever the hint. */
static void check_hit(uint64_t gpa, uint64_t start)
{
    for (unsigned hint = 0; hint < map.count + 3; hint++) {
        unsigned last = hint, at = mmio_region_find(&map, GPA(gpa), &last);

        assert_true(at < map.count);
        assert_int_equal(map.key[at].start, start);
        assert_int_equal(last, at);
    }
}

static void check_miss(uint64_t gpa)
{
    for (unsigned hint = 0; hint < map.count + 3; hint++) {
        unsigned last = hint;

        assert_int_equal(mmio_region_find(&map, GPA(gpa), &last), MMIO_NONE);
    }
}

static void test_empty(void **state)
{
    (void)state;
    check_miss(0);
    check_miss(TOP);
    assert_int_equal(mmio_region_remove(&map, GPA(0)), HV_E_NOT_FOUND);
    assert_int_equal(add(0x1000, 0), HV_E_INVALID_PARAMETER);
    assert_int_equal(map.count, 0);
}

static void test_neighbours(void **state)
{
    (void)state;
    assert_int_equal(add(0x3000, 0x1000), HV_OK);
    assert_int_equal(add(0x1000, 0x1000), HV_OK);
    assert_int_equal(add(0x2000, 0x1000), HV_OK);
    check_map();
    check_miss(0xfff);
    check_hit(0x1000, 0x1000);
    check_hit(0x1fff, 0x1000);
    check_hit(0x2000, 0x2000);
    check_hit(0x2fff, 0x2000);
    check_hit(0x3000, 0x3000);
    check_hit(0x3fff, 0x3000);
    check_miss(0x4000);
    check_miss(0x100001000); /* 32 bits are not enough */
}

static void test_overlap(void **state)
{
    static const struct mmio_key bad[] = {
        {0x2000, 0x1000}, {0x2000, 1},      {0x2fff, 1},      {0x2fff, 0x1000}, {0x1fff, 2},
        {0x1000, 0x1001}, {0x1000, 0x8000}, {0x2800, 0x10},   {0, TOP},         {0, 0x2001},
        {0x5fff, 0x1000}, {0x3000, 0x3001}, {0x3000, 0x4000},
    };

    (void)state;
    assert_int_equal(add(0x2000, 0x1000), HV_OK);
    assert_int_equal(add(0x6000, 0x1000), HV_OK);
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_int_equal(add(bad[i].start, bad[i].bytes), HV_E_CONFLICTING_ADDRESSES);
        assert_int_equal(map.count, 2);
        check_map();
    }
    assert_int_equal(add(0x3000, 0x3000), HV_OK); /* the gap, exactly */
    assert_int_equal(add(0, 0x2000), HV_OK);
    assert_int_equal(add(0x7000, TOP - 0x7000 + 1), HV_OK);
    check_map();
    check_hit(TOP, 0x7000);
}

static void test_top(void **state)
{
    (void)state;
    assert_int_equal(add(TOP, 2), HV_E_INVALID_PARAMETER);
    assert_int_equal(add(TOP - 0xfff, 0x1001), HV_E_INVALID_PARAMETER);
    assert_int_equal(add(0x1000, TOP - 0xffe), HV_E_INVALID_PARAMETER);
    assert_int_equal(add(1, TOP), HV_OK); /* ends at 2^64: allowed */
    assert_int_equal(mmio_region_remove(&map, GPA(1)), HV_OK);

    assert_int_equal(add(TOP - 0xfff, 0x1000), HV_OK);
    check_hit(TOP, TOP - 0xfff);
    check_hit(TOP - 0xfff, TOP - 0xfff);
    check_miss(TOP - 0x1000);
    check_miss(0);
    assert_int_equal(add(TOP, 1), HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(add(TOP - 0x1fff, 0x1001), HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(add(TOP - 0x1fff, 0x2000),
                     HV_E_CONFLICTING_ADDRESSES); /* its end is 2^64 too */
    assert_int_equal(add(TOP - 0x1fff, 0x1000), HV_OK);
    assert_int_equal(add(0, 1), HV_OK);
    check_map();
    check_hit(0, 0);
    check_miss(1);
}

static void test_remove(void **state)
{
    unsigned last = 0;

    (void)state;
    assert_int_equal(add(0x1000, 0x1000), HV_OK);
    assert_int_equal(add(0x3000, 0x1000), HV_OK);
    assert_int_equal(add(0x5000, 0x1000), HV_OK);
    assert_int_equal(mmio_region_remove(&map, GPA(0x3001)), HV_E_NOT_FOUND);
    assert_int_equal(mmio_region_remove(&map, GPA(0x2fff)), HV_E_NOT_FOUND);
    assert_int_equal(mmio_region_remove(&map, GPA(0xfff)), HV_E_NOT_FOUND);
    assert_int_equal(map.count, 3);

    /* The hint points at the last one; after two removals it points past the end, at keys still there. */
    assert_int_equal(mmio_region_find(&map, GPA(0x5000), &last), 2);
    assert_int_equal(last, 2);
    assert_int_equal(mmio_region_remove(&map, GPA(0x5000)), HV_OK);
    assert_int_equal(mmio_region_find(&map, GPA(0x5000), &last), MMIO_NONE);
    assert_int_equal(mmio_region_remove(&map, GPA(0x1000)), HV_OK);
    assert_int_equal(mmio_region_find(&map, GPA(0x3000), &last), 0);
    assert_int_equal(last, 0);
    check_map();
    assert_int_equal(mmio_region_remove(&map, GPA(0x3000)), HV_OK);
    assert_int_equal(mmio_region_remove(&map, GPA(0x3000)), HV_E_NOT_FOUND);
    assert_int_equal(mmio_region_find(&map, GPA(0x3000), &last), MMIO_NONE);
}

/* Wild hints are harmless, and a good one is used and kept. */
static void test_hint(void **state)
{
    static const unsigned wild[] = {MMIO_NONE, MMIO_MAX_REGIONS + 1, 0x7fffffff, 0xffffffff};
    unsigned last;

    (void)state;
    assert_int_equal(add(0x1000, 0x1000), HV_OK);
    assert_int_equal(add(0x3000, 0x1000), HV_OK);
    for (unsigned i = 0; i < ARRAY_COUNT(wild); i++) {
        last = wild[i];
        assert_int_equal(mmio_region_find(&map, GPA(0x3800), &last), 1);
        assert_int_equal(last, 1);
        last = wild[i];
        assert_int_equal(mmio_region_find(&map, GPA(0x2800), &last), MMIO_NONE);
    }
    /* A key where the search would not look: only the hint leads there. */
    map.key[0] = (struct mmio_key){0x9000, 0x1000};
    last = 0;
    assert_int_equal(mmio_region_find(&map, GPA(0x9800), &last), 0);
    last = MMIO_NONE;
    assert_int_equal(mmio_region_find(&map, GPA(0x9800), &last), MMIO_NONE);
}

static void test_full(void **state)
{
    (void)state;
    /* From the outside in, so that most additions move others. */
    for (uint64_t i = 0; i < MMIO_MAX_REGIONS; i++)
        assert_int_equal(add((i % 2 ? 0x1000 - i : i) << 12, 0x1000), HV_OK);
    check_map();
    assert_int_equal(add(0x800000, 0x1000), HV_E_QUOTA);
    assert_int_equal(add(0, 0x1000), HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(map.count, MMIO_MAX_REGIONS);
    check_hit(0x0, 0x0);
    check_hit(0xfffabc, 0xfff000);
    check_miss(0x800000);
    assert_int_equal(mmio_region_remove(&map, GPA(0xfff000)), HV_OK);
    assert_int_equal(add(0x800000, 0x1000), HV_OK);
    check_map();
    check_hit(0x800fff, 0x800000);
    while (map.count > 0)
        assert_int_equal(mmio_region_remove(&map, GPA(map.key[map.count / 2].start)), HV_OK);
}

/* Random changes against an array that says who owns each of 512 bytes. */
static void test_model(void **state)
{
    static uint16_t owner[512]; /* start + 1, 0: nobody */
    uint32_t x = 1;
    unsigned last = 0;

    (void)state;
    for (unsigned n = 0; n < 20000; n++) {
        uint64_t start = (x = x * 1664525 + 1013904223) >> 23;
        uint64_t bytes = (x = x * 1664525 + 1013904223) >> 28, probe;
        bool busy = start + bytes > 512;

        if (x & 0x10000) {
            assert_int_equal(mmio_region_remove(&map, GPA(start)),
                             owner[start] == start + 1 ? HV_OK : HV_E_NOT_FOUND);
            for (uint64_t i = 0; i < 512; i++)
                if (owner[i] == start + 1)
                    owner[i] = 0;
        } else if (!busy) {
            for (uint64_t i = start; i < start + bytes; i++)
                busy |= owner[i] != 0;
            assert_int_equal(add(start, bytes), bytes == 0 ? HV_E_INVALID_PARAMETER
                                                : busy     ? HV_E_CONFLICTING_ADDRESSES
                                                           : HV_OK);
            for (uint64_t i = start; !busy && i < start + bytes; i++)
                owner[i] = (uint16_t)(start + 1);
        }
        probe = (x = x * 1664525 + 1013904223) >> 23;
        if (owner[probe] == 0) {
            assert_int_equal(mmio_region_find(&map, GPA(probe), &last), MMIO_NONE);
        } else {
            unsigned at = mmio_region_find(&map, GPA(probe), &last);

            assert_true(at < map.count);
            assert_int_equal(map.key[at].start + 1, owner[probe]);
        }
        check_map();
    }
}

/* Pieces tile the access in ascending order, aligned, and no larger piece would have done. */
static void test_pieces(void **state)
{
    static const uint64_t bases[] = {0, 0xfc0, 0xffffffc0, TOP - 191};

    (void)state;
    for (unsigned b = 0; b < ARRAY_COUNT(bases); b++) {
        for (unsigned offset = 0; offset < 64; offset++) {
            for (unsigned length = 1; length <= 64; length++) {
                uint64_t at = bases[b] + offset;
                unsigned left = length;

                while (left > 0) {
                    unsigned piece = mmio_piece_bytes(at, left, 8);

                    assert_true(piece == 1 || piece == 2 || piece == 4 || piece == 8);
                    assert_true(piece <= left);
                    assert_int_equal(at % piece, 0);
                    if (piece < 8)
                        assert_true(2 * piece > left || at % (2 * piece) != 0);
                    at += piece;
                    left -= piece;
                }
                assert_int_equal(at, bases[b] + offset + length);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_empty, setup),
        cmocka_unit_test_setup(test_neighbours, setup),
        cmocka_unit_test_setup(test_overlap, setup),
        cmocka_unit_test_setup(test_top, setup),
        cmocka_unit_test_setup(test_remove, setup),
        cmocka_unit_test_setup(test_hint, setup),
        cmocka_unit_test_setup(test_full, setup),
        cmocka_unit_test_setup(test_model, setup),
        cmocka_unit_test(test_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
