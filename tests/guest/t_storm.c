/*
 * Everything at once and in no order: sections, handles, ranges, views, decode, moves, against a model of what must be
 * there.
 */
#include "tests/guest/guest.h"

#define AT       (LAB_FREE_PAGE + 512u)
#define AREA     1536u /* pages of BAR2 from AT on that the storm uses */
#define SECTIONS 8u
#define VIEWS    6u
#define STEPS    1500u
#define MAX_PART 700u

/* A page of the model: which section, which page of it; 0 is a hole. */
#define M_LIVE    0x80000000u
#define M_WRITE   0x40000000u
#define M_FIRST   0x20000000u
#define M_SECTION 16u
#define M_PAGE    0xffffu

static uint32_t model[AREA + 1];
static struct {
    uint32_t handle; /* 0: closed */
    uint64_t pages;  /* 0: gone */
    unsigned id;     /* of its marks */
} section[SECTIONS];
static struct {
    bool there;
    uint64_t index, first;
    unsigned section;
} view[VIEWS];
static uint32_t state;
static unsigned next_id;
static bool decode;
static struct bar_stats idle; /* of BAR2 without the storm */
static struct totals start;

static uint32_t below(uint32_t limit)
{
    return random_next(&state) % limit;
}

static uint64_t gva(uint64_t page)
{
    return GVA_BAR2 + (AT + page) * PAGE;
}

/* ---- the model ---- */

static unsigned ranges_over(unsigned n)
{
    unsigned count = 0;

    for (unsigned p = 0; p < AREA; p++)
        count += (model[p] & M_LIVE) && ((model[p] >> M_SECTION) & 0xff) == n;
    return count;
}

static bool viewed(unsigned n)
{
    for (unsigned v = 0; v < VIEWS; v++)
        if (view[v].there && view[v].section == n)
            return true;
    return false;
}

/* A section is gone with its last handle, view and range. */
static void forget_gone(void)
{
    for (unsigned n = 0; n < SECTIONS; n++)
        if (section[n].handle == 0 && section[n].pages != 0 && !viewed(n) && ranges_over(n) == 0)
            section[n].pages = 0;
}

static void model_unmap(uint64_t page, uint64_t count)
{
    if (model[page + count] & M_LIVE)
        model[page + count] |= M_FIRST;
    memset(&model[page], 0, count * sizeof(model[0]));
}

static bool any_live(uint64_t page, uint64_t count)
{
    for (uint64_t k = 0; k < count; k++)
        if (model[page + k] & M_LIVE)
            return true;
    return false;
}

/* ---- what must hold after every step ---- */

static void counts_hold(void)
{
    struct bar_stats s = bar_stats(2);
    struct totals t = totals();
    uint64_t pages = 0, ranges = 0, sections = 0, views = 0;

    for (unsigned p = 0; p < AREA; p++) {
        pages += model[p] >> 31;
        ranges += (model[p] & M_FIRST) != 0;
    }
    for (unsigned n = 0; n < SECTIONS; n++)
        sections += section[n].pages != 0;
    for (unsigned v = 0; v < VIEWS; v++)
        views += view[v].there;
    expect_eq("ranges", s.ranges, idle.ranges + ranges);
    expect_eq("direct pages", s.direct, decode ? idle.direct + pages : 0);
    expect_eq("sections", t.value[3], start.value[3] + sections);
    expect_eq("views", t.value[5], start.value[5] + views);
}

/* One page of the area: content, rights and leaf are the model's; without decode there is nothing. */
static void page_holds(uint64_t page)
{
    uint32_t m = model[page];
    struct leaf l = leaf_at(lab.base[2] + (AT + page) * PAGE);
    uint64_t wanted = hole_value((AT + page) * PAGE, 8);

    if (m & M_LIVE)
        wanted = mark_of(section[(m >> M_SECTION) & 0xff].id, m & M_PAGE);
    expect_eq("present", l.present, decode && (m & M_LIVE) != 0);
    if (l.present) {
        expect_eq("rights", l.rights, m & M_WRITE ? 3 : 1);
        expect_eq("type", l.type, PAT_WB);
    }
    expect_eq("content", load(gva(page), 8), decode ? wanted : ~0ull);
}

static void view_holds(unsigned v)
{
    uint64_t page = below((uint32_t)(section[view[v].section].pages - view[v].first));

    expect_status("read", LAB(LAB_CMD_MAPPING_READ, view[v].index, page * PAGE, 8), HV_OK);
    expect_eq("content of a view", lab_result(0),
              mark_of(section[view[v].section].id, view[v].first + page));
}

static void all_holds(void)
{
    counts_hold();
    page_holds(0);
    page_holds(AREA - 1);
    for (unsigned k = 0; k < 4 && !failed(); k++)
        page_holds(below(AREA));
    for (unsigned v = 0; v < VIEWS; v++)
        if (view[v].there)
            view_holds(v);
}

/* ---- steps ---- */

static void step_section(void)
{
    unsigned n = below(SECTIONS);

    if (section[n].pages == 0) {
        section[n].pages = 1 + below(MAX_PART);
        section[n].handle = section_make(section[n].pages * PAGE, S_COMMIT);
        section[n].id = ++next_id;
        marks_put(section[n].handle, next_id, 0, section[n].pages);
    } else if (section[n].handle != 0 && below(2)) {
        handle_drop(section[n].handle);
        section[n].handle = 0;
    }
}

static void step_map(void)
{
    unsigned n = below(SECTIONS);
    uint32_t page = below(AREA), count = 1 + below(AREA - page), at;
    bool replace = below(2), write = below(2), in_the_way;

    if (section[n].handle == 0)
        return;
    if (count > section[n].pages)
        count = 1 + below((uint32_t)section[n].pages);
    at = below((uint32_t)section[n].pages - count + 1);
    in_the_way = !replace && any_live(page, count);
    expect_status("map",
                  bar_map(2, AT + page, count, (write ? F_WRITE : 0u) | (replace ? F_REPLACE : 0u),
                          section[n].handle, at),
                  in_the_way ? HV_E_CONFLICTING_ADDRESSES : HV_OK);
    if (in_the_way)
        return;
    model_unmap(page, count);
    for (uint32_t k = 0; k < count; k++)
        model[page + k] =
            M_LIVE | (write ? M_WRITE : 0u) | (k == 0 ? M_FIRST : 0u) | n << M_SECTION | (at + k);
}

static void step_unmap(void)
{
    uint32_t page = below(AREA), count = 1 + below(AREA - page);

    expect_status("unmap", bar_unmap(2, AT + page, count), HV_OK);
    model_unmap(page, count);
}

static void step_destroy(void)
{
    uint32_t page = below(AREA), count = 1;

    while (page > 0 && !(model[page] & M_FIRST))
        page--;
    expect_status("destroy", bar_destroy(2, AT + page),
                  model[page] & M_FIRST ? HV_OK : HV_E_NOT_MAPPED);
    if (!(model[page] & M_FIRST))
        return;
    while ((model[page + count] & (M_LIVE | M_FIRST)) == M_LIVE)
        count++;
    memset(&model[page], 0, count * sizeof(model[0]));
}

static void step_view(void)
{
    unsigned v = below(VIEWS), n = below(SECTIONS);

    if (view[v].there) {
        expect_status("unmap view", LAB(LAB_CMD_VIEW_UNMAP, view[v].index, 0), HV_OK);
        view[v].there = false;
    } else if (section[n].handle != 0) {
        view[v].first = below((uint32_t)section[n].pages);
        expect_status("map view",
                      LAB(LAB_CMD_VIEW_MAP, section[n].handle, 0, 0, 0, 0, view[v].first * PAGE, 0,
                          1, 1, PROT_RW),
                      HV_OK);
        view[v].index = lab_result(0);
        view[v].section = n;
        view[v].there = true;
    }
}

/* BAR0 must answer, so decode is off only for a look from outside: BAR2 goes where no BAR can be. */
static void step_decode(void)
{
    static const uint64_t homes[] = {0xd0000000ull, 0xc4000000ull, 0x800000000ull};
    uint64_t to = homes[below(COUNT_OF(homes))];

    switch (below(3)) {
    case 0: /* off and on: whatever was destroyed before stays away */
        lab_decode(false);
        expect_eq("with decode off", load(GVA_REGS + LAB_MAGIC, 4), 0xffffffffu);
        lab_decode(true);
        return;
    case 1: /* a move with decode on or off */
        lab_decode(below(2));
        decode = true;
        break;
    default:
        decode = false;
        to = 0ull - lab.bytes[2];
        break;
    }
    lab_set_bar(2, to);
    lab_decode(true);
    if (decode)
        map(GVA_BAR2, to, lab.bytes[2], PAGE, 0);
}

static void one_step(void)
{
    uint32_t kind = below(100);

    if (kind < 10)
        step_section();
    else if (kind < 45)
        step_map();
    else if (kind < 60)
        step_unmap();
    else if (kind < 75)
        step_destroy();
    else if (kind < 88)
        step_view();
    else
        step_decode();
    forget_gone();
}

static void end_storm(void)
{
    decode = true;
    lab_home_all();
    expect_status("unmap all", bar_unmap(2, AT, AREA), HV_OK);
    for (unsigned v = 0; v < VIEWS; v++) {
        if (view[v].there)
            (void)LAB(LAB_CMD_VIEW_UNMAP, view[v].index, 0);
        view[v].there = false;
    }
    for (unsigned n = 0; n < SECTIONS; n++) {
        if (section[n].handle != 0)
            (void)LAB(LAB_CMD_HANDLE_CLOSE, section[n].handle);
        section[n].handle = 0;
        section[n].pages = 0;
    }
    memset(model, 0, sizeof(model));
}

static void round_of_steps(void)
{
    state = 0x9e3779b9u;
    next_id = 0;
    idle = bar_stats(2);
    start = totals();
    for (unsigned k = 1; k <= STEPS && !failed(); k++) {
        one_step();
        all_holds();
        if (failed())
            say("# step %u\n", k);
    }
    end_storm();
}

/*
 * Two rounds of the same steps. The first may leave tables behind that the hypervisor's own map of memory was cut into
 * around single pages; the second finds them there and leaves nothing at all.
 */
static void storm(unsigned i)
{
    struct world before;

    (void)i;
    decode = true;
    world_note(&before);
    round_of_steps();
    before.totals.value[0] = totals().value[0];
    world_same(&before, "after the first round");
    round_of_steps();
    world_same(&before, "after the second round");
}

static const struct check list[] = {
    {"storm", "two rounds of 1,500 steps on sections, handles, ranges, views, decode and moves",
     NULL, 0, true, storm},
};
const struct check_list checks_storm = {list, COUNT_OF(list)};
