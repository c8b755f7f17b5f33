/*
 * REPLACE and holes: a mapping over a live one, what is left of the old one on both sides, and every survivor
 * destroyed by itself. A page that is mapped before and after never traps.
 */
#include "tests/guest/guest.h"

#define AT      (LAB_FREE_PAGE + 512u) /* page 0 of range A: on 2 MiB */
#define A_PAGES 1024u
#define B_FIRST 512u
#define B_PAGES 256u
#define WATCHED 600u /* in A and in B */
#define PLAIN   F_WRITE
#define TAIL    (B_FIRST + B_PAGES)

enum { A_ID = 3, B_ID = 4 };

static struct {
    struct world before;
    uint32_t a, b;
} arena;

static uint64_t gva(uint64_t page)
{
    return GVA_BAR2 + (AT + page) * PAGE;
}

static uint64_t gpa(uint64_t page)
{
    return lab.base[2] + (AT + page) * PAGE;
}

/* A maps all of section a. Section b has as many pages, of which [B_FIRST, ..) go behind the same BAR pages. */
static bool open_arena(void)
{
    world_note(&arena.before);
    arena.a = section_make(A_PAGES * PAGE, S_COMMIT | S_LARGE);
    arena.b = section_make(A_PAGES * PAGE, S_COMMIT | S_LARGE);
    marks_put(arena.b, B_ID, B_FIRST, B_PAGES);
    expect_status("map A", bar_map(2, AT, A_PAGES, PLAIN, arena.a, 0), HV_OK);
    if (!failed())
        marks_store(gva(0), A_ID, 0, A_PAGES);
    return !failed();
}

static void close_arena(void)
{
    expect_status("unmap all", bar_unmap(2, AT, A_PAGES), HV_OK);
    handle_drop(arena.a);
    handle_drop(arena.b);
    world_same(&arena.before, "after A and B went");
}

static hv_status_t replace_middle(void)
{
    return bar_map(2, AT + B_FIRST, B_PAGES, PLAIN | F_REPLACE, arena.b, B_FIRST);
}

/* What must lie behind the BAR with the head, the middle and the tail there or not. */
static void expect_parts(bool head, bool middle, bool tail)
{
    struct bar_stats before = bar_stats(2), after;

    if (head)
        marks_seen(gva(0), A_ID, 0, B_FIRST);
    if (middle)
        marks_seen(gva(B_FIRST), B_ID, B_FIRST, B_PAGES);
    if (tail)
        marks_seen(gva(TAIL), A_ID, TAIL, A_PAGES - TAIL);
    after = bar_stats(2);
    expect_eq("trapped reads of what is mapped", after.reads, before.reads);
    if (!head)
        page_traps(2, gva(B_FIRST - 1), AT + B_FIRST - 1);
    if (!middle)
        page_traps(2, gva(WATCHED), AT + WATCHED);
    if (!tail)
        page_traps(2, gva(TAIL), AT + TAIL);
}

static void without_replace(unsigned i)
{
    uint64_t hash;

    (void)i;
    if (open_arena()) {
        hash = lab_hash();
        expect_status("map B", bar_map(2, AT + B_FIRST, B_PAGES, PLAIN, arena.b, B_FIRST),
                      HV_E_CONFLICTING_ADDRESSES);
        expect_status("destroy inside A", bar_destroy(2, AT + 300), HV_E_NOT_MAPPED);
        expect_eq("hash", lab_hash(), hash);
        range_is(2, AT, A_PAGES, 0, PLAIN);
    }
    close_arena();
}

/* The three survivors in each of their six orders. */
static void survivors(unsigned i)
{
    static const uint8_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const uint64_t key[3] = {0, B_FIRST, TAIL};
    bool there[3] = {true, true, true};

    if (open_arena()) {
        expect_status("replace", replace_middle(), HV_OK);
        range_is(2, AT, B_FIRST, 0, PLAIN);
        range_leaves(2, AT, 0, 1, 0);
        range_is(2, AT + B_FIRST, B_PAGES, B_FIRST, PLAIN);
        range_leaves(2, AT + B_FIRST, B_PAGES, 0, 0);
        range_is(2, AT + TAIL, A_PAGES - TAIL, TAIL, PLAIN);
        range_leaves(2, AT + TAIL, A_PAGES - TAIL, 0, 0);
        expect_parts(true, true, true);
        expect_status("destroy inside the tail", bar_destroy(2, AT + TAIL + 1), HV_E_NOT_MAPPED);
        for (unsigned k = 0; k < 3 && !failed(); k++) {
            expect_status("destroy", bar_destroy(2, AT + key[orders[i][k]]), HV_OK);
            there[orders[i][k]] = false;
            expect_parts(there[0], there[1], there[2]);
            expect_status("destroy again", bar_destroy(2, AT + key[orders[i][k]]), HV_E_NOT_MAPPED);
        }
    }
    close_arena();
}

static void name_survivors(char *out, unsigned i)
{
    static const char *const order[6] = {"head, middle, tail", "head, tail, middle",
                                         "middle, head, tail", "middle, tail, head",
                                         "tail, head, middle", "tail, middle, head"};

    format_text(out, NAME_ROOM, "the middle replaced, survivors destroyed one by one: %s",
                order[i]);
}

static void hole(unsigned i)
{
    (void)i;
    if (open_arena()) {
        expect_status("unmap", bar_unmap(2, AT + 256, 512), HV_OK);
        range_is(2, AT, 256, 0, PLAIN);
        range_is(2, AT + 768, 256, 768, PLAIN);
        marks_seen(gva(0), A_ID, 0, 256);
        marks_seen(gva(768), A_ID, 768, 256);
        page_traps(2, gva(256), AT + 256);
        page_traps(2, gva(767), AT + 767);
        expect_status("the hole again", bar_unmap(2, AT + 256, 512), HV_OK);
        expect_status("head", bar_destroy(2, AT), HV_OK);
        expect_status("tail", bar_destroy(2, AT + 768), HV_OK);
    }
    close_arena();
}

/* Page 600 is mapped before and after each of many calls that replace it: A or B, and never the device. */
static void never_traps(unsigned i)
{
    struct bar_stats before, after;
    uint64_t seen = 0;

    (void)i;
    if (open_arena()) {
        before = bar_stats(2);
        for (unsigned k = 0; k < 200 && !failed(); k++) {
            bool to_b = k % 2 == 0;
            uint64_t first = (k * 7) % 88, pages = 1 + (k * 13) % 150;
            uint64_t wanted;

            if (first + pages <= WATCHED - B_FIRST)
                pages = WATCHED - B_FIRST - first + 1;
            expect_status("replace",
                          bar_map(2, AT + B_FIRST + first, pages, PLAIN | F_REPLACE,
                                  to_b ? arena.b : arena.a, B_FIRST + first),
                          HV_OK);
            wanted = mark_of(to_b ? B_ID : A_ID, WATCHED);
            seen = load(gva(WATCHED), 8);
            expect_eq("page 600", seen, wanted);
            expect_eq("its first neighbour", load(gva(WATCHED - 1), 8) & 0xfffff, WATCHED - 1);
        }
        after = bar_stats(2);
        expect_eq("trapped reads", after.reads, before.reads);
        expect_eq("direct pages", after.direct, before.direct);
    }
    close_arena();
}

/* The hole is refilled as it was: one 2 MiB leaf again. With other frames or rights it stays in pieces. */
static void joined(unsigned i)
{
    (void)i;
    if (open_arena()) {
        expect_status("hole", bar_unmap(2, AT + 600, 1), HV_OK);
        leaf_is(gpa(512), 1, 4, 1);
        page_traps(2, gva(600), AT + 600);
        expect_status("read-only", bar_map(2, AT + 600, 1, 0, arena.a, 600), HV_OK);
        leaf_is(gpa(512), 1, 4, 1);
        leaf_is(gpa(600), 0, 4, 1);
        expect_status("another frame", bar_map(2, AT + 600, 1, PLAIN | F_REPLACE, arena.a, 601),
                      HV_OK);
        leaf_is(gpa(512), 1, 4, 1);
        expect_status("as it was", bar_map(2, AT + 600, 1, PLAIN | F_REPLACE, arena.a, 600), HV_OK);
        leaf_is(gpa(512), 1, 4, large_or_small(2));
        leaf_is(gpa(600), 1, 4, large_or_small(2));
        marks_seen(gva(512), A_ID, 512, 512);
        expect_status("destroy in the joined leaf", bar_destroy(2, AT + 600), HV_OK);
        page_traps(2, gva(600), AT + 600);
        leaf_is(gpa(599), 1, 4, 1);
        marks_seen(gva(512), A_ID, 512, 88);
        marks_seen(gva(601), A_ID, 601, 423);
    }
    close_arena();
}

/* REPLACE with another type: what it removes does not count, what stays does. */
static void type_by_replace(unsigned i)
{
    (void)i;
    if (open_arena()) {
        (void)load(gva(0), 8);
        expect_status("WC over one page of A",
                      bar_map(2, AT + 5, 1, PLAIN | F_TYPE(1) | F_REPLACE, arena.a, 5), HV_OK);
        leaf_is(gpa(5), 1, 1, 1);
        leaf_is(gpa(4), 1, 4, 1);
        expect_eq("content", load(gva(5), 8), mark_of(A_ID, 5));
        expect_status("WC over a page whose frame stays behind another",
                      bar_map(2, AT + 6, 1, PLAIN | F_TYPE(1) | F_REPLACE, arena.a, 7),
                      HV_E_CACHE_CONFLICT);
        expect_status("UC over all of A",
                      bar_map(2, AT, A_PAGES, PLAIN | F_TYPE(0) | F_REPLACE, arena.a, 0), HV_OK);
        leaf_is(gpa(5), 1, 0, large_or_small(2));
        marks_seen(gva(0), A_ID, 0, A_PAGES);
    }
    close_arena();
}

/* A range over exactly the same pages: the old reference is dropped, the section goes with it. */
static void exact(unsigned i)
{
    struct totals with, without;

    (void)i;
    if (open_arena()) {
        with = totals();
        handle_drop(arena.a);
        arena.a = 0;
        without = totals();
        expect_eq("the range keeps the section", without.value[3], with.value[3]);
        expect_status("replace", bar_map(2, AT, A_PAGES, PLAIN | F_REPLACE, arena.b, 0), HV_OK);
        without = totals();
        expect_eq("the section went with its last range", without.value[3], with.value[3] - 1);
        expect_eq("its frames too", without.value[0] > with.value[0], 1);
        marks_seen(gva(B_FIRST), B_ID, B_FIRST, B_PAGES);
    }
    close_arena();
}

/* Rights that are taken away are gone with the return of the call; rights that are given are there. */
static void rights(unsigned i)
{
    uint64_t sequence;

    (void)i;
    if (open_arena()) {
        store(gva(40), 8, 1);
        expect_status("read-only", bar_map(2, AT + 40, 1, F_REPLACE, arena.a, 40), HV_OK);
        sequence = lab_traps();
        store(gva(40), 8, 2);
        expect_eq("the store trapped", lab_traps(), sequence + 1);
        expect_eq("and was not done", section_get(arena.a, 40 * PAGE), 1);
        expect_status("writeable", bar_map(2, AT + 40, 1, PLAIN | F_REPLACE, arena.a, 40), HV_OK);
        store(gva(40), 8, 3);
        expect_eq("no further trap", lab_traps(), sequence + 1);
        expect_eq("done", section_get(arena.a, 40 * PAGE), 3);
        store(gva(40), 8, mark_of(A_ID, 40));
    }
    close_arena();
}

/* Far up, where an address that lost its upper half would be seen: split, content, leaves, and joined again. */
static void far_up(unsigned i)
{
    uint64_t place = i == 0 ? 0x800000000ull : (1ull << lab.phys_bits) - lab.bytes[2];

    if (open_arena()) {
        lab_set_bar(2, place);
        map(GVA_BAR2, place, lab.bytes[2], PAGE, 0);
        expect_status("hole", bar_unmap(2, AT + 513, 2), HV_OK);
        leaf_is(gpa(0), 1, 4, large_or_small(2));
        leaf_is(gpa(512), 1, 4, 1);
        expect_eq("the hole", leaf_at(gpa(513)).present, 0);
        expect_eq("low half of its address", leaf_at((uint32_t)gpa(512)).present, 0);
        marks_seen(gva(0), A_ID, 0, 513);
        marks_seen(gva(515), A_ID, 515, A_PAGES - 515);
        page_traps(2, gva(514), AT + 514);
        expect_status("refilled", bar_map(2, AT + 513, 2, PLAIN, arena.a, 513), HV_OK);
        leaf_is(gpa(513), 1, 4, large_or_small(2));
        marks_seen(gva(0), A_ID, 0, A_PAGES);
        lab_home_all();
    }
    close_arena();
}

static void name_far_up(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "a large leaf split %s",
                i == 0 ? "at 32 GiB" : "at the top of the physical addresses");
}

static const struct check list[] = {
    {"replace", "without the flag: HV_E_CONFLICTING_ADDRESSES and nothing changed", NULL, 0, true,
     without_replace},
    {"replace", NULL, name_survivors, 6, true, survivors},
    {"replace", "a hole of 512 pages across two large leaves", NULL, 0, true, hole},
    {"replace", "a page that is replaced 200 times never traps", NULL, 0, true, never_traps},
    {"replace", "a hole that is refilled as it was joins, otherwise not", NULL, 0, true, joined},
    {"replace", "another type after first touch; frames that stay mapped keep theirs", NULL, 0,
     true, type_by_replace},
    {"replace", "exactly the same pages: the old section goes", NULL, 0, true, exact},
    {"replace", NULL, name_far_up, 2, true, far_up},
    {"replace", "rights taken and given take effect at once", NULL, 0, true, rights},
};
const struct check_list checks_replace = {list, COUNT_OF(list)};
