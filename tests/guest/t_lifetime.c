/*
 * Devices that come, are reset, move and go with everything live: ranges, doorbells, apertures. A storm of such steps against a
 * model of what must be there, and the cases by themselves. t_storm.c does the same with a device that stays.
 */
#include "tests/guest/pci.h"

#define DEVICES   2u
#define SLOT      13u /* and the one behind it */
#define HOMES     3u
#define AREA      12u /* pages of BAR2 that the storm uses */
#define BELLS     6u  /* of the first pages, one in each */
#define BELL_AT   0x40u
#define SECTIONS  3u
#define PART      16u /* pages of a section */
#define STEPS     120u
#define D_WORD    2u
#define RESET     0x8000u /* of the Device Control register, at 8 */
#define GVA_OF(d) (GVA_TMP + (d)*LARGE)
#define OLD       (GVA_TMP + 8 * LARGE)
#define APERTURES 1024u
#define REQUESTS  60u
#define LEFT \
    4u /* apertures that a device leaves behind: a place in the lab's table is lost for each */

struct page {
    bool live, write;
    unsigned section, page, range; /* pages of one range that are neighbours have one number */
};

static struct device {
    bool there, decode;
    uint64_t selector, old;
    struct pci_function f;
    struct page page[AREA + 1];
    bool bell[BELLS];
    uint32_t event;
    uint64_t signals;
} device[DEVICES];
static struct {
    uint32_t handle; /* 0: closed */
    bool there;
    unsigned id;
} section[SECTIONS];
static uint32_t seed;
static unsigned next_id, next_range;
static struct totals start;

static uint32_t below(uint32_t limit)
{
    return random_next(&seed) % limit;
}

static uint64_t home(unsigned d, unsigned k)
{
    return 0x900000000ull + (d * HOMES + k) * 0x1000000ull;
}

/* ---- the model ---- */

static unsigned ranges_of(const struct device *dev, unsigned only)
{
    unsigned count = 0, before = 0;

    for (unsigned p = 0; p < AREA; p++) {
        const struct page *page = &dev->page[p];

        count += page->live && page->range != before && (only == SECTIONS || page->section == only);
        before = page->live ? page->range : 0;
    }
    return count;
}

static unsigned all_ranges(unsigned only)
{
    unsigned count = 0;

    for (unsigned d = 0; d < DEVICES; d++)
        count += ranges_of(&device[d], only);
    return count;
}

static bool any(const struct device *dev, unsigned page, unsigned count, bool with_bell)
{
    for (unsigned p = page; p < page + count; p++)
        if (with_bell ? p < BELLS && dev->bell[p] : dev->page[p].live)
            return true;
    return false;
}

/* What lies behind a hole is a range of its own. */
static void model_unmap(struct device *dev, unsigned page, unsigned count)
{
    unsigned behind = page + count, range = dev->page[behind].range;

    if (dev->page[behind].live && page > 0 && dev->page[page - 1].range == range) {
        next_range++;
        for (unsigned p = behind; p < AREA && dev->page[p].range == range; p++)
            dev->page[p].range = next_range;
    }
    memset(&dev->page[page], 0, count * sizeof(dev->page[0]));
}

/* ---- what must hold after every step ---- */

static void counts_hold(void)
{
    struct totals now = totals();
    unsigned sections = 0, n = below(SECTIONS);

    for (unsigned s = 0; s < SECTIONS; s++) {
        if (section[s].handle == 0 && all_ranges(s) == 0)
            section[s].there = false;
        sections += section[s].there;
    }
    expect_eq("sections", now.value[3], start.value[3] + sections);
    expect_eq("ranges", now.value[4], start.value[4] + all_ranges(SECTIONS));
    expect_eq("views", now.value[5], start.value[5]);
    expect_eq("events", now.value[8], start.value[8]);
    if (section[n].handle == 0)
        return;
    expect_status("query", LAB(LAB_CMD_SECTION_QUERY, section[n].handle), HV_OK);
    expect_eq("handles of a section", lab_result(4), 1);
    expect_eq("ranges of a section", lab_result(5), all_ranges(n));
}

static void page_holds(unsigned d, unsigned p)
{
    const struct device *dev = &device[d];
    const struct page *page = &dev->page[p];
    bool decoded = dev->there && dev->decode;
    struct leaf l = leaf_at(dev->f.bar[2].base + p * PAGE);
    uint64_t wanted = page->live ? mark_of(section[page->section].id, page->page) : p * PAGE;

    expect_eq("present", l.present, decoded && page->live);
    if (l.present)
        expect_eq("rights", l.rights, page->write ? 3 : 1);
    if (!expect_eq("content", load(GVA_OF(d) + p * PAGE, 8), decoded ? wanted : ~0ull))
        say("# device %u page %u\n", d, p);
}

/* Where it was before its last move, reset or removal. */
static void old_place_holds(unsigned d)
{
    uint64_t page = below(AREA) * PAGE;

    if (device[d].old == 0)
        return;
    expect_eq("leaf at the old address", leaf_at(device[d].old + page).present, 0);
    map(OLD, device[d].old + page, PAGE, PAGE, 0);
    expect_eq("old address", load(OLD, 8), ~0ull);
    store(OLD + BELL_AT, 2, 7);
}

static void bell_holds(unsigned d)
{
    struct device *dev = &device[d];
    unsigned b = below(BELLS);

    if (!dev->page[b].write)
        store(GVA_OF(d) + b * PAGE + BELL_AT, 2, 7);
    dev->signals += dev->there && dev->decode && dev->bell[b];
    expect_status("take", LAB(LAB_CMD_EVENT_TAKE, dev->event), HV_OK);
    expect_eq("signals", lab_result(0), dev->signals);
    dev->signals = 0;
}

static void all_holds(void)
{
    counts_hold();
    for (unsigned d = 0; d < DEVICES && !failed(); d++) {
        for (unsigned k = 0; k < 3 && !failed(); k++)
            page_holds(d, below(AREA));
        bell_holds(d);
        old_place_holds(d);
    }
}

/* ---- steps ---- */

/* By its own numbers in every BAR, whatever a reset took away. */
static void place(unsigned d, unsigned k, bool decode)
{
    struct device *dev = &device[d];
    uint64_t was = dev->f.bar[2].base;

    bar_set(&dev->f, 0, dev->f.bar[0].base);
    bar_set(&dev->f, 4, dev->f.bar[4].base);
    bar_set(&dev->f, 2, home(d, k));
    command_set(&dev->f, COMMAND_MEMORY, decode);
    map(GVA_OF(d), home(d, k), AREA * PAGE, PAGE, 0);
    dev->decode = decode;
    dev->old = was == home(d, k) ? 0 : was;
}

static void step_come(unsigned d)
{
    struct device *dev = &device[d];

    if (!neighbour_add("nvme", SLOT + d, &dev->f, &dev->selector))
        return;
    dev->there = true;
    place(d, below(HOMES), true);
    dev->old = 0;
}

static void step_go(unsigned d)
{
    struct device *dev = &device[d];

    expect_status("removed", device_remove(dev->selector), HV_OK);
    dev->old = dev->f.bar[2].base;
    dev->there = dev->decode = false;
    memset(dev->page, 0, sizeof(dev->page));
    memset(dev->bell, 0, sizeof(dev->bell));
}

static void step_reset(unsigned d)
{
    struct device *dev = &device[d];

    config_set(&dev->f, capability_find(&dev->f, CAP_EXPRESS) + 8, 2, RESET);
    expect_eq("COMMAND", config_get(&dev->f, CFG_COMMAND, 2), 0);
    expect_eq("BAR2", config_get(&dev->f, CFG_BAR(2), 4) & ~0xfu, 0);
    dev->old = dev->f.bar[2].base;
    dev->decode = false;
}

static void step_map(unsigned d)
{
    struct device *dev = &device[d];
    unsigned s = below(SECTIONS), page = below(AREA), count = 1 + below(AREA - page);
    unsigned at = below(PART - count + 1);
    bool replace = below(2), write = below(2);
    hv_status_t expected = HV_OK;

    if (section[s].handle == 0)
        return;
    if ((!replace && any(dev, page, count, false)) || (write && any(dev, page, count, true)))
        expected = HV_E_CONFLICTING_ADDRESSES;
    expect_status("map",
                  LAB(LAB_CMD_RANGE_CREATE, dev->selector, 2, page, count,
                      (write ? F_WRITE : 0u) | (replace ? F_REPLACE : 0u), section[s].handle, at),
                  expected);
    if (expected != HV_OK)
        return;
    model_unmap(dev, page, count);
    next_range++;
    for (unsigned k = 0; k < count; k++)
        dev->page[page + k] = (struct page){true, write, s, at + k, next_range};
}

static void step_unmap(unsigned d)
{
    unsigned page = below(AREA), count = 1 + below(AREA - page);

    expect_status("unmap", LAB(LAB_CMD_RANGE_UNMAP, device[d].selector, 2, page, count), HV_OK);
    model_unmap(&device[d], page, count);
}

static void step_destroy(unsigned d)
{
    struct device *dev = &device[d];
    unsigned page = below(AREA), count = 1, range = dev->page[page].range;
    bool first = dev->page[page].live && (page == 0 || dev->page[page - 1].range != range);

    expect_status("destroy", LAB(LAB_CMD_RANGE_DESTROY, dev->selector, 2, page),
                  first ? HV_OK : HV_E_NOT_MAPPED);
    while (dev->page[page + count].live && dev->page[page + count].range == range)
        count++;
    if (first)
        memset(&dev->page[page], 0, count * sizeof(dev->page[0]));
}

static void step_bell(unsigned d)
{
    struct device *dev = &device[d];
    unsigned b = below(BELLS);
    bool refused = dev->page[b].live && dev->page[b].write;

    if (dev->bell[b])
        expect_status(
            "unregister",
            LAB(LAB_CMD_DOORBELL_UNREGISTER, dev->selector, 2, b * PAGE + BELL_AT, 7, D_WORD),
            HV_OK);
    else
        expect_status("register",
                      LAB(LAB_CMD_DOORBELL_REGISTER, dev->selector, 2, b * PAGE + BELL_AT, 7,
                          D_WORD, dev->event),
                      refused ? HV_E_CONFLICTING_ADDRESSES : HV_OK);
    if (!refused)
        dev->bell[b] = !dev->bell[b];
}

static void step_section(void)
{
    unsigned s = below(SECTIONS);

    if (!section[s].there) {
        section[s].handle = section_make(PART * PAGE, S_COMMIT);
        section[s].there = true;
        section[s].id = ++next_id;
        marks_put(section[s].handle, next_id, 0, PART);
    } else if (section[s].handle != 0 && below(3) == 0) {
        handle_drop(section[s].handle);
        section[s].handle = 0;
    }
}

static void one_step(void)
{
    unsigned d = below(DEVICES), kind = below(100);

    if (kind < 8)
        step_section();
    else if (!device[d].there)
        step_come(d);
    else if (kind < 14)
        step_go(d);
    else if (kind < 22)
        step_reset(d);
    else if (kind < 36)
        place(d, below(HOMES), below(4) != 0);
    else if (kind < 62)
        step_map(d);
    else if (kind < 70)
        step_unmap(d);
    else if (kind < 80)
        step_destroy(d);
    else
        step_bell(d);
}

static void round_of_steps(void)
{
    seed = 0x6a09e667u;
    next_id = next_range = 0;
    for (unsigned d = 0; d < DEVICES; d++) {
        expect_status("event", LAB(LAB_CMD_EVENT_CREATE, 0, 0), HV_OK);
        device[d] = (struct device){.event = (uint32_t)lab_result(0)};
        device[d].f.bar[2].base = home(d, 0);
        map(GVA_OF(d), home(d, 0), AREA * PAGE, PAGE, 0);
    }
    start = totals();
    for (unsigned k = 1; k <= STEPS && !failed(); k++) {
        one_step();
        all_holds();
        if (failed())
            say("# step %u\n", k);
    }
    for (unsigned s = 0; s < SECTIONS; s++) {
        handle_drop(section[s].handle);
        section[s].handle = 0;
        section[s].there = false;
    }
    for (unsigned d = 0; d < DEVICES; d++) {
        if (device[d].there)
            step_go(d);
        handle_drop(device[d].event);
    }
}

/* As in t_storm.c, the first round may leave tables of the hypervisor's own behind, the second nothing. */
static void storm(unsigned i)
{
    struct world before;

    (void)i;
    world_note(&before);
    round_of_steps();
    before.totals.value[0] = totals().value[0];
    world_same(&before, "after the first round");
    round_of_steps();
    world_same(&before, "after the second round");
    unmap(OLD, PAGE, PAGE);
}

/* ---- one case at a time ---- */

static bool come(struct device *dev)
{
    if (!neighbour_add("nvme", SLOT, &dev->f, &dev->selector))
        return false;
    command_set(&dev->f, COMMAND_MASTER, true); /* for apertures */
    return true;
}

/* The first word of a page of the lab's section, as it was at the start: checks before this one may have written there. */
static void word_put(uint64_t page)
{
    section_put(lab.main, page * PAGE, LAB_PATTERN(1, page * PAGE));
}

/* What was destroyed stays away, whatever brings the BAR back; what was not destroyed comes back with it. */
static void stays_away(unsigned i)
{
    struct device *dev = &device[0];
    struct world before;

    (void)i;
    world_note(&before);
    if (!come(dev))
        return;
    place(0, 0, true);
    for (unsigned way = 0; way < 4 && !failed(); way++) {
        for (unsigned p = 0; p < 2; p++)
            expect_status(
                "map",
                LAB(LAB_CMD_RANGE_CREATE, dev->selector, 2, p, 1, F_WRITE, lab.main, LAB_FREE_PAGE),
                HV_OK);
        expect_status("destroy", LAB(LAB_CMD_RANGE_DESTROY, dev->selector, 2, 0), HV_OK);
        word_put(LAB_FREE_PAGE);
        if (way == 0)
            command_set(&dev->f, COMMAND_MEMORY, false);
        if (way == 1)
            step_reset(0);
        if (way == 3) {
            expect_status("removed", device_remove(dev->selector), HV_OK);
            come(dev);
        }
        place(0, way == 2, true);
        expect_eq("destroyed", load(GVA_OF(0) + 0x18, 8), 0x18);
        expect_eq("kept, unless the device is another", load(GVA_OF(0) + PAGE, 8),
                  way == 3 ? PAGE : LAB_PATTERN(1, LAB_FREE_PAGE * PAGE));
        expect_status("what is left", LAB(LAB_CMD_RANGE_UNMAP, dev->selector, 2, 0, 2), HV_OK);
    }
    expect_status("removed", device_remove(dev->selector), HV_OK);
    world_same(&before, "after the device went");
}

/* Ranges of a section and doorbells of an event that are closed already, and apertures: all go with the device. */
static void goes_with_all(unsigned i)
{
    struct device *dev = &device[0];
    uint64_t sees = (uint64_t)(uintptr_t)&seed & ~(PAGE - 1);
    struct totals before = totals(), after;
    uint32_t handle, event;

    (void)i;
    for (unsigned round = 0; round < 2 && !failed(); round++) {
        if (!come(dev))
            return;
        place(0, 0, true);
        handle = section_make(PART * PAGE, S_COMMIT);
        expect_status("event", LAB(LAB_CMD_EVENT_CREATE, 0, 0), HV_OK);
        event = (uint32_t)lab_result(0);
        for (unsigned p = 0; p < AREA; p++) {
            bool even = p % 2 == 0;

            expect_status(
                "map",
                LAB(LAB_CMD_RANGE_CREATE, dev->selector, 2, p, 1, even ? 0 : F_WRITE, handle, p),
                HV_OK);
            if (even)
                expect_status("register",
                              LAB(LAB_CMD_DOORBELL_REGISTER, dev->selector, 2, p * PAGE + BELL_AT,
                                  7, D_WORD, event),
                              HV_OK);
            store(GVA_OF(0) + p * PAGE + BELL_AT, 2, 7);
        }
        expect_status("take", LAB(LAB_CMD_EVENT_TAKE, event), HV_OK);
        expect_eq("signals", lab_result(0), AREA / 2);
        for (unsigned n = 0; n < LEFT / 2; n++)
            expect_status("aperture", LAB(LAB_CMD_APERTURE_CREATE, dev->selector, sees, PAGE, 0),
                          HV_OK);
        handle_drop(handle);
        handle_drop(event);
        expect_status("removed", device_remove(dev->selector), HV_OK);
        for (unsigned p = 0; p < AREA; p++) {
            store(GVA_OF(0) + p * PAGE + BELL_AT, 2, 7);
            expect_eq("where it was", load(GVA_OF(0) + p * PAGE, 8), ~0ull);
        }
        after = totals();
        totals_equal(&before, &after);
    }
}

/* The lab itself is reset: all its BARs are away, and what it has is as it was. */
static void lab_reset(unsigned i)
{
    struct pci_function f;
    struct world before, now;
    uint64_t view, aperture, word = mark_of(5, 5);
    uint32_t event;

    (void)i;
    world_note(&before);
    pci_find(&f, LAB_VENDOR_ID, LAB_DEVICE_ID, 0);
    expect_status("event", LAB(LAB_CMD_EVENT_CREATE, 0, 0), HV_OK);
    event = (uint32_t)lab_result(0);
    expect_status("register", LAB(LAB_CMD_DOORBELL_REGISTER, 0, 2, 2 * PAGE, 7, D_WORD, event),
                  HV_OK);
    expect_status("view", LAB(LAB_CMD_VIEW_MAP, lab.main, 0, 0, 0, 0, 0, PAGE, 1, 0, PROT_R),
                  HV_OK);
    view = lab_result(0);
    expect_status("aperture",
                  LAB(LAB_CMD_APERTURE_CREATE, 0, (uint64_t)(uintptr_t)&word, sizeof(word), 0),
                  HV_OK);
    aperture = lab_result(0);
    world_note(&now);
    word_put(0);
    word_put(LAB_LAST_PAGE);
    config_set(&f, capability_find(&f, CAP_EXPRESS) + 8, 2, RESET);
    expect_eq("its registers", load(GVA_REGS, 8), ~0ull);
    expect_eq("a range", load(GVA_BAR2 + LAB_LAST_PAGE * PAGE, 8), ~0ull);
    store(GVA_BAR2 + 2 * PAGE, 2, 7);
    lab_home_all();
    world_same(&now, "after the reset");
    expect_eq("a range, at the first access", load(GVA_BAR2 + LAB_LAST_PAGE * PAGE, 8),
              LAB_PATTERN(1, LAB_LAST_PAGE * PAGE));
    store(GVA_BAR2 + 2 * PAGE, 2, 7);
    expect_status("take", LAB(LAB_CMD_EVENT_TAKE, event), HV_OK);
    expect_eq("signals", lab_result(0), 1);
    expect_status("read", LAB(LAB_CMD_MAPPING_READ, view, 0, 8), HV_OK);
    expect_eq("in the view", lab_result(0), LAB_PATTERN(1, 0));
    expect_status("read", LAB(LAB_CMD_MAPPING_READ, aperture, 0, 8), HV_OK);
    expect_eq("in the aperture", lab_result(0), word);
    expect_status("unmap", LAB(LAB_CMD_VIEW_UNMAP, view, 0), HV_OK);
    expect_status("destroy", LAB(LAB_CMD_APERTURE_DESTROY, 0, aperture, 0), HV_OK);
    expect_status("unregister", LAB(LAB_CMD_DOORBELL_UNREGISTER, 0, 2, 2 * PAGE, 7, D_WORD), HV_OK);
    handle_drop(event);
    world_same(&before, "in the end");
}

/* ---- a cache of apertures, as a device keeps it that reaches guest memory through nothing else ---- */

static struct {
    uint64_t index;
    unsigned slot, used;
} cache[APERTURES];
static uint64_t words[APERTURES + REQUESTS];

static hv_status_t cache_fill(uint64_t selector, unsigned at, unsigned slot, unsigned now)
{
    hv_status_t status = LAB(LAB_CMD_APERTURE_CREATE, selector, (uint64_t)(uintptr_t)&words[slot],
                             sizeof(words[0]), 0);

    if (status != HV_OK)
        return status;
    cache[at].index = lab_result(0);
    cache[at].slot = slot;
    cache[at].used = now;
    return HV_OK;
}

static unsigned least_recent(void)
{
    unsigned least = 0;

    for (unsigned k = 1; k < APERTURES; k++)
        if (cache[k].used < cache[least].used)
            least = k;
    return least;
}

static void expect_word(unsigned at)
{
    expect_status("read", LAB(LAB_CMD_MAPPING_READ, cache[at].index, 0, 8), HV_OK);
    expect_eq("what it shows", lab_result(0), mark_of(9, cache[at].slot));
}

static void least_recently_used(unsigned i)
{
    struct device *dev = &device[0];
    struct totals before = totals(), after;
    unsigned now = 0, at;

    (void)i;
    if (!come(dev))
        return;
    seed = 0xbb67ae85u;
    for (unsigned n = 0; n < COUNT_OF(words); n++)
        words[n] = mark_of(9, n);
    for (; now < APERTURES; now++)
        expect_status("create", cache_fill(dev->selector, now, now, now), HV_OK);
    for (unsigned n = 0; n < REQUESTS && !failed(); n++) {
        cache[below(APERTURES / 8)].used = now++; /* a hit */
        at = least_recent();
        expect_status("one too many", cache_fill(dev->selector, at, APERTURES + n, now),
                      HV_E_QUOTA);
        expect_status("the least recent",
                      LAB(LAB_CMD_APERTURE_DESTROY, dev->selector, cache[at].index, 0), HV_OK);
        expect_status("once more", cache_fill(dev->selector, at, APERTURES + n, now++), HV_OK);
        expect_word(at);
        expect_word(below(APERTURES));
    }
    for (unsigned k = 0; k < APERTURES; k++)
        expect_status("destroy", LAB(LAB_CMD_APERTURE_DESTROY, dev->selector, cache[k].index, 0),
                      HV_OK);
    expect_status("removed", device_remove(dev->selector), HV_OK);
    after = totals();
    totals_equal(&before, &after);
}

static const struct check list[] = {
    {"lifetime", "a storm of devices that come, move, are reset and go with all that they have",
     NULL, 0, true, storm},
    {"lifetime", "what was destroyed does not come back with its BAR", NULL, 0, true, stays_away},
    {"lifetime", "a device goes with ranges, doorbells and apertures", NULL, 0, true,
     goes_with_all},
    {"lifetime", "a function-level reset of the lab leaves what it has", NULL, 0, true, lab_reset},
    {"lifetime", "apertures under the quota: the least recent makes room", NULL, 0, true,
     least_recently_used},
};
const struct check_list checks_lifetime = {list, COUNT_OF(list)};
