#include "tests/fake/host.h"

#include <stdlib.h>
#include <string.h>

#include "hv/mem/view_area.h"

#define BASE        0x7000000ull
#define BLOCKS      48u
#define BLOCK_PAGES (unsigned)(AREA_BLOCK / PAGE_BYTES)
#define PAGES       (BLOCKS * BLOCK_PAGES)
#define END         (BASE + PAGES * PAGE_BYTES)
#define SLOTS       96u
#define STEPS       60000u

static struct area area;

static int open_area(void **state)
{
    (void)state;
    area_init(&area, BASE, END);
    return 0;
}

static uint64_t at_page(unsigned page)
{
    return BASE + page * PAGE_BYTES;
}

static void take(struct area_slot *slot, uint64_t base, uint64_t bytes)
{
    struct area_spot spot;

    assert_true(area_find_at(&area, base, bytes, &spot));
    area_take(&spot, slot, bytes);
}

/* ---- by hand ---- */

static void the_area_has_ends(void **state)
{
    struct area_spot spot;
    struct area_slot all;

    (void)state;
    assert_false(area_find_at(&area, BASE - PAGE_BYTES, PAGE_BYTES, &spot));
    assert_false(area_find_at(&area, END, PAGE_BYTES, &spot));
    assert_false(area_find_at(&area, END - PAGE_BYTES, 2 * PAGE_BYTES, &spot));
    assert_false(area_find_at(&area, END - PAGE_BYTES, ~PAGE_MASK, &spot)); /* would wrap */
    assert_false(area_find_at(&area, 0, PAGE_BYTES, &spot));
    assert_null(area_at(&area, BASE));
    take(&all, BASE, END - BASE);
    assert_ptr_equal(area_at(&area, BASE), &all);
    assert_ptr_equal(area_at(&area, END - 1), &all);
    assert_null(area_at(&area, END));
    assert_null(area_at(&area, BASE - 1));
    assert_false(area_find(
        &area, &(struct area_want){.bytes = 1, .align = AREA_BLOCK, .limit = ~0ull}, &spot));
    area_release(&area, &all);
    take(&all, END - PAGE_BYTES, PAGE_BYTES);
    area_release(&area, &all);
}

static void the_rest_of_a_block_is_free_for_exact_addresses_only(void **state)
{
    const struct area_want want = {.bytes = 1, .align = AREA_BLOCK, .limit = ~0ull};
    struct area_slot first, second, third;
    struct area_spot spot;

    (void)state;
    take(&first, BASE, PAGE_BYTES);
    assert_true(area_find(&area, &want, &spot));
    assert_int_equal(spot.base, BASE + AREA_BLOCK);
    take(&second, BASE + PAGE_BYTES, PAGE_BYTES);
    take(&third, BASE + AREA_BLOCK - PAGE_BYTES, PAGE_BYTES);
    assert_true(area_find(&area, &want, &spot));
    assert_int_equal(spot.base, BASE + AREA_BLOCK);
    area_release(&area, &first);
    area_release(&area, &second);
    assert_true(area_find(&area, &want, &spot)); /* the third one keeps the block */
    assert_int_equal(spot.base, BASE + AREA_BLOCK);
    area_release(&area, &third);
    assert_true(area_find(&area, &want, &spot));
    assert_int_equal(spot.base, BASE);
}

/* ---- against a model: who has each page ---- */

static struct area_slot slots[SLOTS];
static bool in_use[SLOTS];
static uint8_t owner[PAGES]; /* slot number + 1 */

static bool is_free(unsigned page, unsigned pages)
{
    for (unsigned i = page; i < page + pages; i++) {
        if (i >= PAGES || owner[i] != 0)
            return false;
    }
    return true;
}

/* The base that is wanted, by trying all of them; 0: none. */
static uint64_t model_find(const struct area_want *want)
{
    unsigned pages = (unsigned)(ALIGN_UP(want->bytes, AREA_BLOCK) >> PAGE_SHIFT);
    uint64_t best = 0;

    for (unsigned page = 0; page < PAGES; page += BLOCK_PAGES) {
        uint64_t base = at_page(page);

        if (!IS_ALIGNED(base, want->align) || base >= want->limit || !is_free(page, pages))
            continue;
        if (best == 0 || want->top_down)
            best = base;
    }
    return best;
}

static void model_set(uint64_t base, uint64_t bytes, uint8_t value)
{
    memset(&owner[(base - BASE) >> PAGE_SHIFT], value, bytes >> PAGE_SHIFT);
}

static unsigned pick(unsigned below)
{
    return (unsigned)rand() % below;
}

static void step_take(unsigned slot)
{
    uint64_t pages = 1 + pick(pick(4) == 0 ? 80 : 20);
    struct area_want want = {.bytes = pages * PAGE_BYTES,
                             .align = pick(4) == 0 ? 8 * AREA_BLOCK : AREA_BLOCK,
                             .limit = pick(3) == 0 ? at_page(pick(PAGES)) + 1 : ~0ull,
                             .top_down = pick(2) == 0};
    struct area_spot spot;
    bool found;

    if (pick(3) == 0) {
        unsigned page = pick(PAGES);

        found = area_find_at(&area, at_page(page), want.bytes, &spot);
        assert_int_equal(found, is_free(page, (unsigned)pages));
        if (found)
            assert_int_equal(spot.base, at_page(page));
    } else {
        uint64_t base = model_find(&want);

        found = area_find(&area, &want, &spot);
        assert_int_equal(found, base != 0);
        if (found)
            assert_int_equal(spot.base, base);
    }
    if (!found)
        return;
    area_take(&spot, &slots[slot], want.bytes);
    in_use[slot] = true;
    model_set(spot.base, want.bytes, (uint8_t)(slot + 1));
}

static void step_release(unsigned slot)
{
    model_set(slots[slot].node.key, slots[slot].end - slots[slot].node.key, 0);
    area_release(&area, &slots[slot]);
    in_use[slot] = false;
    memset(&slots[slot], 0xa5, sizeof(slots[slot]));
}

static void random_steps_agree_with_the_model(void **state)
{
    (void)state;
    srand(4);
    memset(slots, 0xa5, sizeof(slots));
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned slot = pick(SLOTS), page = pick(PAGES);
        const struct area_slot *there = area_at(&area, at_page(page) + pick(4096));

        assert_ptr_equal(there, owner[page] != 0 ? &slots[owner[page] - 1] : NULL);
        if (!in_use[slot])
            step_take(slot);
        else if (pick(4) != 0) /* phases of a nearly full area, too */
            step_release(slot);
    }
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        if (in_use[slot])
            step_release(slot);
    }
    assert_int_equal(area.slots.count, 0);
    assert_int_equal(area.holes.count, 1);
    assert_true(is_free(0, PAGES));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_area_has_ends, open_area),
        cmocka_unit_test_setup(the_rest_of_a_block_is_free_for_exact_addresses_only, open_area),
        cmocka_unit_test_setup(random_steps_agree_with_the_model, open_area),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
