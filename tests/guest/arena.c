/* Pages to try instructions on, and RAM to try them on first. */
#include "tests/guest/guest.h"

uint8_t arena_ram[2][2 * 4096] __attribute__((aligned(4096)));
static uint8_t other[2][2 * 4096]
    __attribute__((aligned(4096))); /* of pages that are RAM in an arena */
const char *const arena_kind_name[] = {"RAM", "trapped", "direct", "read-only"};

/* The page of BAR2. Those that trap are no neighbours there, or not in this order. */
static uint64_t bar_page(const struct arena *arena, unsigned side)
{
    static const uint8_t trapped[2][2] = {{3, 0}, {1, 2}};

    if (arena->kind[side] == A_TRAP)
        return LAB_MEMORY_PAGE + trapped[arena->number][side];
    return LAB_FREE_PAGE + 8 * arena->number + 2 * arena->kind[side] + side;
}

void arena_show(const struct arena *arena)
{
    for (unsigned side = 0; side < 2; side++) {
        uint64_t gpa = lab.base[2] + bar_page(arena, side) * PAGE;

        if (arena->kind[side] == A_RAM)
            gpa = (uint64_t)(uintptr_t)other[arena->number] + side * PAGE;
        map(ARENA_GVA(arena->number) + side * PAGE, gpa, PAGE, PAGE, 0);
    }
}

void arena_show_ram(unsigned number)
{
    map(ARENA_GVA(number), (uint64_t)(uintptr_t)arena_ram[number], 2 * PAGE, PAGE, 0);
}

void arena_hide(unsigned number)
{
    unmap(ARENA_GVA(number), 2 * PAGE, PAGE);
}

void arena_ranges(const struct arena *arena, bool there)
{
    for (unsigned side = 0; side < 2; side++) {
        uint64_t page = bar_page(arena, side);
        uint32_t flags = F_TYPE(4) | (arena->kind[side] == A_DIRECT ? F_WRITE : 0);

        if (arena->kind[side] != A_DIRECT && arena->kind[side] != A_READ_ONLY)
            continue;
        expect_status("range",
                      there ? range_create(page, 1, flags, lab.main, page) : range_destroy(page),
                      HV_OK);
    }
}

void arena_fill(const struct arena *arena, unsigned from, unsigned end, uint32_t *seed)
{
    for (unsigned o = from; o < end; o += 8) {
        uint64_t v = (uint64_t)random_next(seed) << 32 | random_next(seed);
        uint64_t gva = ARENA_GVA(arena->number) + o;

        if (arena->kind[o / PAGE] == A_READ_ONLY)
            v = load(gva, 8);
        else
            store(gva, 8, v);
        memcpy(arena_ram[arena->number] + o, &v, sizeof(v));
    }
}

uint64_t arena_seen(const struct arena *arena, uint64_t digest, unsigned at, unsigned bytes,
                    bool write)
{
    const unsigned border = (unsigned)PAGE;

    for (unsigned side = 0; side < 2; side++) {
        unsigned from = at, end = at + bytes;
        enum arena_kind kind = arena->kind[side];

        if (side == 0 && end > border)
            end = border;
        if (side == 1 && from < border)
            from = border;
        if (from < end && (kind == A_TRAP || (kind == A_READ_ONLY && write)))
            digest = digest_pieces(digest, (bar_page(arena, side) - side) * PAGE + from, end - from,
                                   arena_ram[arena->number] + from, write);
    }
    return digest;
}
