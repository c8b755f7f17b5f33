/* The UEFI memory map: hand-made cases, then random maps against a page-by-page model. */
#include "tests/fake/host.h"

#include <stdlib.h>
#include <string.h>

#include "boot/memmap.h"

#define WB      (1ull << 3)
#define UC      (1ull << 0)
#define RUNTIME (1ull << 63)

enum { RESERVED, LOADER_CODE, LOADER_DATA, BOOT_CODE, BOOT_DATA, RT_CODE, RT_DATA, FREE };
#define ACPI_TABLES 9u
#define MMIO        11u
#define PERSISTENT  14u

#define MAX_RUNS    64u

static struct memmap_run runs[MAX_RUNS];

static struct memmap_descriptor desc(uint32_t type, uint64_t base, uint64_t pages)
{
    return (struct memmap_descriptor){
        .type = type, .physical = base, .pages = pages, .attribute = WB | UC};
}

/* From a heap block of the exact length, so that ASan sees every byte read too many. */
static unsigned digest_stride(const struct memmap_descriptor *list, size_t count, size_t stride,
                              unsigned max)
{
    size_t bytes = count * stride;
    uint8_t *map = malloc(bytes + 1);
    struct memmap_run *out = malloc(max * sizeof(*out) + 1);

    memset(map, 0xEE, bytes);
    for (size_t i = 0; i < count; i++)
        memcpy(map + i * stride, &list[i], sizeof(list[i]));
    uint8_t *exact = malloc(bytes ? bytes : 1);
    memcpy(exact, map, bytes);
    unsigned got = memmap_digest(exact, bytes, stride, out, max);
    memcpy(runs, out, (got > max ? max : got) * sizeof(*out));
    free(exact);
    free(out);
    free(map);
    return got;
}

static unsigned digest(const struct memmap_descriptor *list, size_t count)
{
    return digest_stride(list, count, sizeof(*list), MAX_RUNS);
}

static void expect_run(unsigned index, uint64_t base, uint64_t pages, enum memmap_use use)
{
    assert_int_equal(runs[index].base, base);
    assert_int_equal(runs[index].pages, pages);
    assert_int_equal(runs[index].use, use);
}

#define DIGEST(...)                                                  \
    digest((const struct memmap_descriptor[]){__VA_ARGS__},          \
           sizeof((const struct memmap_descriptor[]){__VA_ARGS__}) / \
               sizeof(struct memmap_descriptor))

static void empty_and_zero_length(void **state)
{
    (void)state;
    assert_int_equal(memmap_digest(NULL, 0, 48, runs, MAX_RUNS), 0);
    assert_int_equal(DIGEST(desc(FREE, 0x100000, 0), desc(RESERVED, 0x200000, 0)), 0);
    assert_int_equal(DIGEST(desc(RESERVED, 0x200123, 0)), 0);
    assert_int_equal(DIGEST(desc(FREE, 0x100000, 4), desc(RESERVED, 0x101000, 0)), 1);
    expect_run(0, 0x100000, 4, MEMMAP_FREE);
}

static void each_type_has_its_use(void **state)
{
    (void)state;
    for (uint32_t type = 0; type < 20; type++) {
        enum memmap_use use = type == FREE                                 ? MEMMAP_FREE
                              : type == BOOT_CODE || type == BOOT_DATA     ? MEMMAP_BOOT
                              : type == LOADER_CODE || type == LOADER_DATA ? MEMMAP_KEPT
                                                                           : MEMMAP_FIRMWARE;
        assert_int_equal(DIGEST(desc(type, 0x100000, 3)), 1);
        expect_run(0, 0x100000, 3, use);
    }
    assert_int_equal(DIGEST(desc(0xFFFFFFFFu, 0x100000, 3)), 1);
    expect_run(0, 0x100000, 3, MEMMAP_FIRMWARE);
}

static void attributes_decide_too(void **state)
{
    struct memmap_descriptor d = desc(FREE, 0x100000, 3);

    (void)state;
    d.attribute = UC;
    assert_int_equal(DIGEST(d), 1);
    expect_run(0, 0x100000, 3, MEMMAP_FIRMWARE);
    d.attribute = WB | RUNTIME;
    assert_int_equal(DIGEST(d), 1);
    expect_run(0, 0x100000, 3, MEMMAP_FIRMWARE);
    d.attribute = WB;
    assert_int_equal(DIGEST(d), 1);
    expect_run(0, 0x100000, 3, MEMMAP_FREE);
    d.type = LOADER_DATA;
    d.attribute = 0;
    assert_int_equal(DIGEST(d), 1);
    expect_run(0, 0x100000, 3, MEMMAP_FIRMWARE);
}

static void unsorted_neighbours_merge(void **state)
{
    (void)state;
    assert_int_equal(DIGEST(desc(BOOT_DATA, 0x300000, 0x100), desc(FREE, 0x200000, 0x100),
                            desc(BOOT_CODE, 0x400000, 1), desc(FREE, 0x100000, 0x100),
                            desc(FREE, 0x500000, 2)),
                     3);
    expect_run(0, 0x100000, 0x200, MEMMAP_FREE);
    expect_run(1, 0x300000, 0x101, MEMMAP_BOOT);
    expect_run(2, 0x500000, 2, MEMMAP_FREE);
}

static void more_reserved_use_wins(void **state)
{
    (void)state;
    /* a hole punched, either order; then a chain of all four uses over one another */
    assert_int_equal(DIGEST(desc(FREE, 0x100000, 16), desc(RT_DATA, 0x104000, 2)), 3);
    expect_run(0, 0x100000, 4, MEMMAP_FREE);
    expect_run(1, 0x104000, 2, MEMMAP_FIRMWARE);
    expect_run(2, 0x106000, 10, MEMMAP_FREE);
    assert_int_equal(DIGEST(desc(RT_DATA, 0x104000, 2), desc(FREE, 0x100000, 16)), 3);
    expect_run(1, 0x104000, 2, MEMMAP_FIRMWARE);
    assert_int_equal(DIGEST(desc(FREE, 0x100000, 8), desc(BOOT_CODE, 0x101000, 6),
                            desc(LOADER_CODE, 0x102000, 4), desc(MMIO, 0x103000, 2)),
                     7);
    expect_run(0, 0x100000, 1, MEMMAP_FREE);
    expect_run(1, 0x101000, 1, MEMMAP_BOOT);
    expect_run(2, 0x102000, 1, MEMMAP_KEPT);
    expect_run(3, 0x103000, 2, MEMMAP_FIRMWARE);
    expect_run(4, 0x105000, 1, MEMMAP_KEPT);
    expect_run(6, 0x107000, 1, MEMMAP_FREE);
    assert_int_equal(DIGEST(desc(PERSISTENT, 0x100000, 8), desc(FREE, 0x100000, 8)), 1);
    expect_run(0, 0x100000, 8, MEMMAP_FIRMWARE);
}

static void page_zero_is_left_out(void **state)
{
    (void)state;
    assert_int_equal(DIGEST(desc(FREE, 0, 0xA0)), 1);
    expect_run(0, 0x1000, 0x9F, MEMMAP_FREE);
    assert_int_equal(DIGEST(desc(BOOT_CODE, 0, 1), desc(FREE, 0x1000, 0x9F)), 1);
    expect_run(0, 0x1000, 0x9F, MEMMAP_FREE);
    assert_int_equal(DIGEST(desc(BOOT_DATA, 0, 1)), 0);
    assert_int_equal(DIGEST(desc(LOADER_DATA, 0, 1)), 1);
    expect_run(0, 0, 1, MEMMAP_KEPT);
    assert_int_equal(DIGEST(desc(RESERVED, 0, 1)), 1);
    expect_run(0, 0, 1, MEMMAP_FIRMWARE);
}

static void unaligned_bases(void **state)
{
    (void)state;
    assert_int_equal(DIGEST(desc(FREE, 0x100800, 4)), 1);
    expect_run(0, 0x101000, 3, MEMMAP_FREE);
    assert_int_equal(DIGEST(desc(FREE, 0x100001, 1)), 0);
    assert_int_equal(DIGEST(desc(BOOT_CODE, 0x100FFF, 2)), 1);
    expect_run(0, 0x101000, 1, MEMMAP_BOOT);
    assert_int_equal(DIGEST(desc(RESERVED, 0x100800, 1)), 1);
    expect_run(0, 0x100000, 2, MEMMAP_FIRMWARE);
    assert_int_equal(DIGEST(desc(LOADER_CODE, 0x100001, 1), desc(FREE, 0x100000, 4)), 2);
    expect_run(0, 0x100000, 2, MEMMAP_KEPT);
    expect_run(1, 0x102000, 2, MEMMAP_FREE);
}

static void top_of_the_address_space(void **state)
{
    const uint64_t last = 0xFFFFFFFFFFFFF000ull;

    (void)state;
    assert_int_equal(DIGEST(desc(RESERVED, last, 1)), 1);
    expect_run(0, last, 1, MEMMAP_FIRMWARE);
    assert_int_equal(DIGEST(desc(RESERVED, last, 2)), 1);
    expect_run(0, last, 1, MEMMAP_FIRMWARE);
    assert_int_equal(DIGEST(desc(RESERVED, last + 1, 1)), 1);
    expect_run(0, last, 1, MEMMAP_FIRMWARE);
    assert_int_equal(DIGEST(desc(MMIO, 0x1000, UINT64_MAX)), 1);
    expect_run(0, 0x1000, (1ull << 52) - 1, MEMMAP_FIRMWARE);
    assert_int_equal(DIGEST(desc(RESERVED, 0, UINT64_MAX)), 1);
    expect_run(0, 0, 1ull << 52, MEMMAP_FIRMWARE);
    assert_int_equal(DIGEST(desc(FREE, last, 1)), 1);
    expect_run(0, last, 1, MEMMAP_FREE);
    /* memory for us whose length cannot be right is not memory */
    assert_int_equal(DIGEST(desc(FREE, last, 2), desc(FREE, 0x1000, 1)), 1);
    expect_run(0, 0x1000, 1, MEMMAP_FREE);
    assert_int_equal(DIGEST(desc(FREE, last + 1, 1)), 0);
    assert_int_equal(DIGEST(desc(FREE, last - 0xFFF, 2)), 0);
    assert_int_equal(DIGEST(desc(BOOT_DATA, 0x100000, UINT64_MAX)), 0);
    /* pages << 12 would wrap to a small number */
    assert_int_equal(DIGEST(desc(FREE, 0x100000, (1ull << 52) + 1)), 0);
}

static void strides(void **state)
{
    const struct memmap_descriptor list[] = {desc(FREE, 0x300000, 1), desc(RT_CODE, 0x100000, 2),
                                             desc(LOADER_DATA, 0x200000, 3)};

    (void)state;
    for (size_t stride = sizeof(*list); stride < 100; stride++) { /* odd ones too */
        assert_int_equal(digest_stride(list, 3, stride, MAX_RUNS), 3);
        expect_run(0, 0x100000, 2, MEMMAP_FIRMWARE);
        expect_run(1, 0x200000, 3, MEMMAP_KEPT);
        expect_run(2, 0x300000, 1, MEMMAP_FREE);
    }
    for (size_t stride = 0; stride < sizeof(*list); stride++)
        assert_int_equal(memmap_digest(list, sizeof(list), stride, runs, MAX_RUNS), 0);
    /* a tail shorter than the stride counts when it holds a descriptor, else not */
    assert_int_equal(memmap_digest(list, sizeof(*list), 48, runs, MAX_RUNS), 1);
    assert_int_equal(memmap_digest(list, sizeof(*list) - 1, 48, runs, MAX_RUNS), 0);
}

static void too_many_runs(void **state)
{
    const struct memmap_descriptor list[] = {desc(FREE, 0x100000, 1), desc(BOOT_DATA, 0x101000, 1),
                                             desc(FREE, 0x102000, 1)};

    (void)state;
    for (unsigned max = 0; max < 3; max++)
        assert_int_equal(digest_stride(list, 3, sizeof(*list), max), max + 1);
    assert_int_equal(digest_stride(list, 3, sizeof(*list), 3), 3);
}

static void use_names(void **state)
{
    (void)state;
    assert_string_equal(memmap_use_name(MEMMAP_FREE), "free");
    assert_string_equal(memmap_use_name(MEMMAP_BOOT), "boot");
    assert_string_equal(memmap_use_name(MEMMAP_KEPT), "kept");
    assert_string_equal(memmap_use_name(MEMMAP_FIRMWARE), "firmware");
    assert_string_equal(memmap_use_name((enum memmap_use)7), "?");
}

/* ---- Against a model: the use of every byte-granular page of a small world ---- */

#define WORLD 48u
#define NONE  (-1)

static uint64_t seed = 0x9E3779B97F4A7C15ull;

static uint64_t random_below(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 11) % n;
}

/* Byte-wise thinking on purpose: a page is ours when wholly covered, not ours when touched. */
static void model_add(int *world, const struct memmap_descriptor *d)
{
    int use = !(d->attribute & WB) || (d->attribute & RUNTIME)   ? MEMMAP_FIRMWARE
              : d->type == FREE                                  ? MEMMAP_FREE
              : d->type == BOOT_CODE || d->type == BOOT_DATA     ? MEMMAP_BOOT
              : d->type == LOADER_CODE || d->type == LOADER_DATA ? MEMMAP_KEPT
                                                                 : MEMMAP_FIRMWARE;
    uint64_t start = d->physical, end = d->physical + d->pages * 4096;

    for (uint64_t page = 0; page < WORLD; page++) {
        uint64_t low = page * 4096, high = low + 4096;
        bool whole = start <= low && high <= end;
        bool touched = start < high && low < end;

        if (d->pages != 0 && (use <= MEMMAP_BOOT ? whole : touched) && use > world[page])
            world[page] = use;
    }
}

static void random_maps_match_the_model(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct memmap_descriptor list[12];
        size_t count = random_below(13);
        int world[WORLD];
        int seen[WORLD];

        for (unsigned i = 0; i < WORLD; i++)
            world[i] = seen[i] = NONE;
        for (size_t i = 0; i < count; i++) {
            list[i] =
                desc((uint32_t)random_below(16), random_below(WORLD - 16) * 4096, random_below(14));
            if (random_below(6) == 0)
                list[i].physical += random_below(4096);
            if (random_below(8) == 0)
                list[i].attribute = random_below(2) ? UC : WB | RUNTIME;
            model_add(world, &list[i]);
        }
        if (world[0] == MEMMAP_FREE || world[0] == MEMMAP_BOOT)
            world[0] = NONE;

        unsigned got = digest_stride(list, count, 40 + random_below(3) * 8, MAX_RUNS);
        assert_true(got <= MAX_RUNS);
        for (unsigned i = 0; i < got; i++) {
            assert_true(runs[i].pages > 0 && runs[i].base % 4096 == 0);
            if (i > 0) {
                uint64_t end = runs[i - 1].base + runs[i - 1].pages * 4096;
                assert_true(runs[i].base > end ||
                            (runs[i].base == end && runs[i].use != runs[i - 1].use));
            }
            for (uint64_t p = 0; p < runs[i].pages; p++)
                seen[runs[i].base / 4096 + p] = (int)runs[i].use;
        }
        assert_memory_equal(world, seen, sizeof(world));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_and_zero_length),
        cmocka_unit_test(each_type_has_its_use),
        cmocka_unit_test(attributes_decide_too),
        cmocka_unit_test(unsorted_neighbours_merge),
        cmocka_unit_test(more_reserved_use_wins),
        cmocka_unit_test(page_zero_is_left_out),
        cmocka_unit_test(unaligned_bases),
        cmocka_unit_test(top_of_the_address_space),
        cmocka_unit_test(strides),
        cmocka_unit_test(too_many_runs),
        cmocka_unit_test(use_names),
        cmocka_unit_test(random_maps_match_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
