/* What the scenarios of the mapping engine share: sections of their own, marked pages, and a look at the whole. */
#include "tests/guest/guest.h"

void world_note(struct world *w)
{
    w->totals = totals();
    w->hash = lab_hash();
}

bool world_same(const struct world *w, const char *when)
{
    struct totals now = totals();

    if (!totals_equal(&w->totals, &now) || !expect_eq("hash", lab_hash(), w->hash)) {
        say("# not as it was: %s\n", when);
        for (unsigned i = 0; i < COUNT_OF(now.value); i++)
            say("# %u: %lx was %lx\n", i, now.value[i], w->totals.value[i]);
        return false;
    }
    return true;
}

uint32_t section_make(uint64_t bytes, uint32_t attributes)
{
    if (!expect_status("section",
                       LAB(LAB_CMD_SECTION_CREATE, SA_ALL, bytes, PROT_RWX, attributes, 0, 0, 0),
                       HV_OK))
        return 0;
    return (uint32_t)lab_result(0);
}

void handle_drop(uint32_t handle)
{
    if (handle != 0)
        expect_status("close", LAB(LAB_CMD_HANDLE_CLOSE, handle), HV_OK);
}

hv_status_t bar_map(unsigned bar, uint64_t page, uint64_t pages, uint32_t flags, uint32_t section,
                    uint64_t section_page)
{
    return LAB(LAB_CMD_RANGE_CREATE, 0, bar, page, pages, flags, section, section_page);
}

hv_status_t bar_destroy(unsigned bar, uint64_t page)
{
    return LAB(LAB_CMD_RANGE_DESTROY, 0, bar, page);
}

hv_status_t bar_unmap(unsigned bar, uint64_t page, uint64_t pages)
{
    return LAB(LAB_CMD_RANGE_UNMAP, 0, bar, page, pages);
}

void batch_set(unsigned index, enum op_kind kind, unsigned bar, uint64_t page, uint64_t pages,
               uint32_t flags, uint32_t section, uint64_t section_page)
{
    expect_status(
        "op", LAB(LAB_CMD_BATCH_OP, index, kind, bar, page, pages, flags, section, section_page),
        HV_OK);
}

hv_status_t batch_run(unsigned count, uint32_t flags)
{
    return LAB(LAB_CMD_BATCH, 0, count, flags);
}

/* Which page of which section this is, in a word that no pattern and no hole gives. */
uint64_t mark_of(unsigned id, uint64_t page)
{
    return 0x5ec7000000000000ull | (uint64_t)id << 40 | page;
}

void marks_put(uint32_t section, unsigned id, uint64_t first, uint64_t pages)
{
    for (uint64_t p = first; p < first + pages && !failed(); p++)
        section_put(section, p * PAGE, mark_of(id, p));
}

void marks_store(uint64_t gva, unsigned id, uint64_t first, uint64_t pages)
{
    for (uint64_t p = 0; p < pages; p++)
        store(gva + p * PAGE, 8, mark_of(id, first + p));
}

bool marks_seen(uint64_t gva, unsigned id, uint64_t first, uint64_t pages)
{
    for (uint64_t p = 0; p < pages; p++)
        if (load(gva + p * PAGE, 8) != mark_of(id, first + p))
            return expect_eq("mark of a page", load(gva + p * PAGE, 8), mark_of(id, first + p));
    return true;
}

bool leaf_is(uint64_t gpa, unsigned rights, unsigned type, unsigned level)
{
    struct leaf l = leaf_at(gpa);

    return expect_eq("present", l.present, 1) &&
           expect_eq("rights", l.rights, rights_bits(rights)) &&
           expect_eq("type", l.type, type_value[type]) && expect_eq("level", l.level, level);
}

bool page_traps(unsigned bar, uint64_t gva, uint64_t page)
{
    uint64_t sequence = lab_traps(), o = page * PAGE + 0x18;
    struct trap_record t;

    return expect_eq("value of a hole", load(gva + 0x18, 8), hole_value(o, 8)) &&
           expect_eq("traps of a hole", lab_traps(), sequence + 1) && trap_record(sequence, &t) &&
           expect_eq("its BAR", t.bar, bar) && expect_eq("its offset", t.offset, o);
}

unsigned large_or_small(unsigned level)
{
    if (level == 3 && !(lab.caps & LAB_CAP_LARGE_1G))
        level = 2;
    return level == 2 && !(lab.caps & LAB_CAP_LARGE_2M) ? 1 : level;
}

bool range_is(unsigned bar, uint64_t page, uint64_t pages, uint64_t section_page, uint32_t flags)
{
    return expect_status("query", LAB(LAB_CMD_RANGE_QUERY, 0, bar, page), HV_OK) &&
           expect_eq("first page", lab_result(0), page) &&
           expect_eq("pages", lab_result(1), pages) &&
           expect_eq("section page", lab_result(2), section_page) &&
           expect_eq("flags", lab_result(3) & ~(uint64_t)F_REPLACE, flags);
}

bool range_leaves(unsigned bar, uint64_t page, uint64_t small, uint64_t large, uint64_t huge)
{
    if (!expect_status("query", LAB(LAB_CMD_RANGE_QUERY, 0, bar, page), HV_OK))
        return false;
    if (!(lab.caps & LAB_CAP_LARGE_1G))
        large += 512 * huge, huge = 0;
    if (!(lab.caps & LAB_CAP_LARGE_2M))
        small += 512 * large, large = 0;
    return expect_eq("4 KiB leaves", lab_result(7), small) &&
           expect_eq("2 MiB leaves", lab_result(8), large) &&
           expect_eq("1 GiB leaves", lab_result(9), huge);
}

void initial_put_away(void)
{
    for (unsigned n = 0; n < INITIAL_COUNT; n++) {
        struct initial r = initial_range(n);

        if (type_legal(r.ipat != 0))
            expect_status("destroy", bar_destroy(2, r.page), HV_OK);
    }
}

void initial_restore(void)
{
    for (unsigned n = 0; n < INITIAL_COUNT; n++) {
        struct initial r = initial_range(n);
        uint32_t flags = r.rights | F_TYPE(r.type) | (r.ipat ? F_IPAT : 0u);

        if (type_legal(r.ipat != 0))
            expect_status("create", bar_map(2, r.page, r.pages, flags, lab.main, r.page), HV_OK);
    }
}

uint32_t random_next(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

const struct memory_entry *memory_entry(unsigned k)
{
    const struct start_info *info = start_info();

    if (info->version < 1 || k >= info->memory_entries)
        return NULL;
    return (const struct memory_entry *)(uintptr_t)info->memory_map + k;
}

void ram_ends(uint64_t *low, uint64_t *high)
{
    const struct memory_entry *e;

    *low = *high = 0;
    for (unsigned k = 0; (e = memory_entry(k)) != NULL; k++) {
        uint64_t *end = e->base < FOUR_GIB ? low : high;

        if (e->type == MEMORY_RAM && e->base + e->bytes > *end)
            *end = e->base + e->bytes;
    }
}
