/*
 * Many ops in one call: in order, one flush, all or nothing when atomic. And pausing the VPs, of which the one that
 * asks counts as paused: every command of the lab is a call from inside a callback.
 */
#include "tests/guest/guest.h"

#define AT      (LAB_FREE_PAGE + 512u)
#define SPOTS   64u /* pages AT, AT + 2, ... */
#define PLAIN   F_WRITE
#define X_BYTES 0x1111111111111111ull
#define Y_BYTES 0x2222222222222222ull
#define REFUSED (~0ull) /* what a batch has done whose arguments were refused */

static struct {
    struct world before;
    uint32_t x, y;
    uint64_t hash;
} arena;

static void fill_ops(unsigned first, unsigned count, uint32_t flags, uint32_t section)
{
    expect_status("ops",
                  LAB(LAB_CMD_BATCH_FILL, first, count, OP_CREATE, 2, AT + 2 * first, 2, 1, flags,
                      section, first, 1),
                  HV_OK);
}

/* Every byte of the section is the low byte of `word`; written by the guest through the BAR. */
static uint32_t filled_section(uint64_t word)
{
    uint32_t section = section_make(SPOTS * PAGE, S_COMMIT);

    expect_status("map", bar_map(2, AT, SPOTS, PLAIN, section, 0), HV_OK);
    for (uint64_t o = 0; o < SPOTS * PAGE && !failed(); o += 8)
        store(GVA_BAR2 + AT * PAGE + o, 8, word);
    expect_status("destroy", bar_destroy(2, AT), HV_OK);
    return section;
}

static bool open_arena(void)
{
    world_note(&arena.before);
    arena.x = filled_section(X_BYTES);
    arena.y = filled_section(Y_BYTES);
    fill_ops(0, SPOTS, PLAIN, arena.x);
    expect_status("map X", batch_run(SPOTS, 0), HV_OK);
    expect_eq("done", lab_result(0), SPOTS);
    arena.hash = lab_hash();
    return !failed();
}

static void close_arena(void)
{
    expect_status("unmap", bar_unmap(2, AT, 2 * SPOTS), HV_OK);
    handle_drop(arena.x);
    handle_drop(arena.y);
    world_same(&arena.before, "after X and Y went");
}

/* The first `ys` spots show Y and the others X, in every word. */
static void expect_spots(unsigned ys)
{
    for (unsigned k = 0; k < SPOTS; k++) {
        uint64_t gva = GVA_BAR2 + (AT + 2 * k) * PAGE, wanted = k < ys ? Y_BYTES : X_BYTES;

        for (uint64_t o = 0; o < PAGE; o += 8)
            if (load(gva + o, 8) != wanted) {
                fail("spot %u, offset %lx: not all bytes are %lx", k, o, wanted & 0xff);
                return;
            }
    }
}

static uint64_t flushes(void)
{
    expect_status("statistics", LAB0(LAB_CMD_VM_STATS), HV_OK);
    return lab_result(6);
}

static void all_switch(unsigned i)
{
    bool atomic = i == 0;
    uint64_t before;

    if (open_arena()) {
        expect_spots(0);
        fill_ops(0, SPOTS, PLAIN | F_REPLACE, arena.y);
        before = flushes();
        expect_status("batch", batch_run(SPOTS, atomic ? BATCH_ATOMIC : 0), HV_OK);
        expect_eq("done", lab_result(0), SPOTS);
        expect_eq("flushes", flushes() - before, 1);
        expect_spots(SPOTS);
        page_traps(2, GVA_BAR2 + (AT + 1) * PAGE, AT + 1);
    }
    close_arena();
}

static void name_switch(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "64 pages with gaps from one section to another, %s: one flush",
                i == 0 ? "atomic" : "not atomic");
}

/* The op in the middle cannot be: past the end of its section. */
static void fails_in_the_middle(unsigned i)
{
    bool atomic = i == 0;

    if (open_arena()) {
        fill_ops(0, SPOTS, PLAIN | F_REPLACE, arena.y);
        batch_set(32, OP_CREATE, 2, AT + 64, 1, PLAIN | F_REPLACE, arena.y, SPOTS);
        expect_status("batch", batch_run(SPOTS, atomic ? BATCH_ATOMIC : 0), HV_E_INVALID_VIEW_SIZE);
        expect_eq("done", lab_result(0), atomic ? 0 : 32);
        expect_spots(atomic ? 0 : 32);
        if (atomic)
            expect_eq("hash", lab_hash(), arena.hash);
    }
    close_arena();
}

static void name_middle(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "the op in the middle fails, %s",
                i == 0 ? "atomic: nothing changed" : "not atomic: those before it stay");
}

/* Each op is judged by the state that the earlier ones leave, not by the one before the call. */
static const struct step {
    enum op_kind kind;
    uint64_t page, pages;
    uint32_t flags;
} steps_ok[] = {{OP_UNMAP, 0, 2 * SPOTS, 0}, {OP_CREATE, 0, 40, PLAIN},
                {OP_UNMAP, 10, 10, 0},       {OP_DESTROY, 20, 0, 0},
                {OP_CREATE, 10, 20, 0},      {OP_CREATE, 5, 10, PLAIN | F_REPLACE},
                {OP_DESTROY, 15, 0, 0},      {OP_CREATE, 30, 1, PLAIN}},
  steps_gone[] = {{OP_DESTROY, 0, 0, 0}, {OP_DESTROY, 0, 0, 0}},
  steps_twice[] = {{OP_CREATE, 1, 1, PLAIN}, {OP_CREATE, 1, 1, PLAIN}},
  steps_kind[] = {{OP_CREATE, 1, 1, PLAIN}, {(enum op_kind)9, 1, 1, 0}};

static const struct {
    const char *text;
    const struct step *steps;
    unsigned count;
    hv_status_t expected;
} orders[] = {
    {"eight ops that build on each other", steps_ok, COUNT_OF(steps_ok), HV_OK},
    {"destroyed twice", steps_gone, COUNT_OF(steps_gone), HV_E_NOT_MAPPED},
    {"created twice", steps_twice, COUNT_OF(steps_twice), HV_E_CONFLICTING_ADDRESSES},
    {"an unknown kind of op", steps_kind, COUNT_OF(steps_kind), HV_E_INVALID_PARAMETER},
};

static void put_steps(unsigned row)
{
    for (unsigned k = 0; k < orders[row].count; k++) {
        const struct step *s = &orders[row].steps[k];

        batch_set(k, s->kind, 2, AT + s->page, s->pages, s->flags, arena.x, s->page);
    }
}

/* What steps_ok leaves: [0, 5), [5, 15) and [30]. */
static void expect_built(void)
{
    range_is(2, AT, 5, 0, PLAIN);
    range_is(2, AT + 5, 10, 5, PLAIN);
    range_is(2, AT + 30, 1, 30, PLAIN);
    page_traps(2, GVA_BAR2 + (AT + 15) * PAGE, AT + 15);
    page_traps(2, GVA_BAR2 + (AT + 29) * PAGE, AT + 29);
    page_traps(2, GVA_BAR2 + (AT + 31) * PAGE, AT + 31);
    for (unsigned k = 32; k < 2 * SPOTS && !failed(); k += 2)
        page_traps(2, GVA_BAR2 + (AT + k) * PAGE, AT + k);
    expect_eq("content", load(GVA_BAR2 + (AT + 14) * PAGE, 8), X_BYTES);
}

static void in_order(unsigned i)
{
    unsigned row = i / 2, flags = i % 2 ? 0 : BATCH_ATOMIC;

    if (open_arena()) {
        put_steps(row);
        expect_status("batch", batch_run(orders[row].count, flags), orders[row].expected);
        if (orders[row].expected == HV_OK) {
            expect_eq("done", lab_result(0), orders[row].count);
            expect_built();
        } else {
            expect_eq("done", lab_result(0), flags ? 0 : 1);
            if (flags)
                expect_eq("hash", lab_hash(), arena.hash);
        }
    }
    close_arena();
}

static void name_order(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%s, %s: %s", orders[i / 2].text, i % 2 ? "not atomic" : "atomic",
                status_name(orders[i / 2].expected));
}

static const struct {
    const char *text;
    uint64_t device, count, flags;
    hv_status_t expected;
    uint64_t done;
} calls[] = {
    {"unknown device", 1, 1, 0, HV_E_INVALID_HANDLE, REFUSED},
    {"unknown flag", 0, 1, 2, HV_E_INVALID_PARAMETER_4, REFUSED},
    {"order: device before flag", 1, 1, 2, HV_E_INVALID_HANDLE, REFUSED},
    {"no ops", 0, 0, 0, HV_OK, 0},
    {"no ops, atomic", 0, 0, BATCH_ATOMIC, HV_OK, 0},
};

static void call_itself(unsigned i)
{
    uint64_t hash = lab_hash();

    batch_set(0, OP_CREATE, 2, AT, 1, PLAIN, lab.main, AT);
    expect_status("batch", LAB(LAB_CMD_BATCH, calls[i].device, calls[i].count, calls[i].flags),
                  calls[i].expected);
    expect_eq("done", lab_result(0), calls[i].done);
    expect_eq("hash", lab_hash(), hash);
}

static void name_call(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%s: %s", calls[i].text, status_name(calls[i].expected));
}

/* ---- pause ---- */

static void nested(unsigned i)
{
    (void)i;
    for (uint64_t depth = 0; depth <= LAB_PAUSE_DEPTH && !failed(); depth++) {
        expect_status("pause", LAB(LAB_CMD_PAUSE, depth, depth % 2 ? 1000 : 0, 0, 0), HV_OK);
        expect_eq("pauses", lab_result(1), depth);
        expect_eq("resumes", lab_result(2), depth);
    }
    expect_status("one resume more", LAB0(LAB_CMD_RESUME), HV_E_INVALID_STATE);
    expect_status("and again", LAB0(LAB_CMD_RESUME), HV_E_INVALID_STATE);
    expect_status("pause after it", LAB(LAB_CMD_PAUSE, 1, 0, 0, 0), HV_OK);
}

static void under_pause(unsigned i)
{
    (void)i;
    if (open_arena()) {
        fill_ops(0, SPOTS, PLAIN | F_REPLACE, arena.y);
        expect_status("batch", LAB(LAB_CMD_PAUSE, 3, 0, SPOTS, BATCH_ATOMIC), HV_OK);
        expect_eq("done", lab_result(0), SPOTS);
        expect_eq("pauses", lab_result(1), 3);
        expect_eq("resumes", lab_result(2), 3);
        expect_spots(SPOTS);
        expect_status("nothing stays paused", LAB0(LAB_CMD_RESUME), HV_E_INVALID_STATE);
    }
    close_arena();
}

static void failing_under_pause(unsigned i)
{
    (void)i;
    if (open_arena()) {
        fill_ops(0, SPOTS, PLAIN | F_REPLACE, arena.y);
        batch_set(SPOTS - 1, OP_CREATE, 2, AT, 1, PLAIN, arena.y, 0);
        expect_status("batch", LAB(LAB_CMD_PAUSE, 2, 0, SPOTS, BATCH_ATOMIC),
                      HV_E_CONFLICTING_ADDRESSES);
        expect_eq("done", lab_result(0), 0);
        expect_eq("resumes", lab_result(2), 2);
        expect_spots(0);
        expect_eq("hash", lab_hash(), arena.hash);
        expect_status("nothing stays paused", LAB0(LAB_CMD_RESUME), HV_E_INVALID_STATE);
    }
    close_arena();
}

static const struct check list[] = {
    {"batch", NULL, name_switch, 2, true, all_switch},
    {"batch", NULL, name_middle, 2, true, fails_in_the_middle},
    {"batch", NULL, name_order, 2 * COUNT_OF(orders), true, in_order},
    {"batch", NULL, name_call, COUNT_OF(calls), true, call_itself},
    {"batch", "pause nests 16 deep; a resume without one: HV_E_INVALID_STATE", NULL, 0, true,
     nested},
    {"batch", "64 pages switched under three pauses", NULL, 0, true, under_pause},
    {"batch", "under a pause the last op fails: nothing changed", NULL, 0, true,
     failing_under_pause},
};
const struct check_list checks_batch = {list, COUNT_OF(list)};
