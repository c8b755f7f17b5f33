/* What the real code says, against what the model says. */
#include "tests/unit/duel.h"

#include <string.h>

#include "hv/mem/frames.h"
#include "hv/mem/ledger.h"
#include "hv/pci/bus.h"
#include "hv/pci/inspect.h"
#include "tests/fake/ptwatch.h"
#include "tests/fake/slab.h"
#include "tests/unit/pci_world.h"

#define FRAME      0x000ffffffffff000ull
#define FEW        24u
#define RUN_UNITS  1024u /* of one store, looked at one by one */
#define UNIT_BYTES (PAGE_BYTES << duel.config.shift)

static uint32_t some(uint32_t below)
{
    duel.random = duel.random * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)duel.random * below >> 32);
}

/* ---- translations ---- */

void duel_expect(struct duel_tables *tables)
{
    for (unsigned i = 0; i < DUEL_BARS; i++) {
        const struct model_bar *bar = &duel.model.device[i / HV_BAR_COUNT].bar[i % HV_BAR_COUNT];

        tables->bar[i].live = bar->live;
        if (!bar->live)
            continue;
        tables->bar[i].base = bar->live_base;
        tables->bar[i].bytes = bar->bytes;
        tables->bar[i].units = (uint32_t)MIN(bar->bytes / UNIT_BYTES, bar->units);
        for (uint32_t unit = 0; unit < tables->bar[i].units; unit++)
            tables->bar[i].key[unit] = model_key(&duel.model, bar, unit);
    }
}

/* The BAR of an address; mostly the one that was found last. */
static unsigned bar_of(const struct duel_tables *tables, uint64_t addr)
{
    static unsigned last;

    for (unsigned i = 0; i < DUEL_BARS; i++, last = (last + 1) % DUEL_BARS)
        if (tables->bar[last].live && addr - tables->bar[last].base < tables->bar[last].bytes)
            return last;
    return DUEL_BARS;
}

static uint64_t expected(const struct duel_tables *tables, uint64_t addr)
{
    unsigned bar = bar_of(tables, addr);
    uint64_t offset, key;

    if (bar == DUEL_BARS || tables->bar[bar].units == 0)
        return 0;
    offset = addr - tables->bar[bar].base;
    key = tables->bar[bar].key[offset / UNIT_BYTES];
    return key == 0 ? 0 : key + (offset % UNIT_BYTES & ~PAGE_MASK);
}

/* A frame that was not there when the model was asked: whatever frame it is, the rest must be right. */
static bool agrees(uint64_t is, uint64_t want)
{
    if (want & MODEL_FRAME_SOON)
        return is != 0 && (is & PAGE_MASK) == (want & PAGE_MASK);
    return is == want;
}

/* One frame with another type: at no time may a VP reach it both ways. */
static bool is_retyped(uint64_t old, uint64_t new)
{
    return old != 0 && new != 0 && !(new &MODEL_FRAME_SOON) && (old & FRAME) == (new &FRAME) &&
           ((old ^ new) & 0x38);
}

static void check_page(uint64_t addr)
{
    uint64_t is = watch_walk(&world.vm.tables, addr);
    uint64_t old = expected(&duel.before, addr), new = expected(&duel.after, addr);

    if (is_retyped(old, new))
        assert_true(world.vm.pauses != 0);
    if (agrees(is, old) || agrees(is, new) || (is == 0 && duel.may_gap))
        return;
    for (unsigned i = 0; i < duel.between_count; i++)
        if (agrees(is, expected(&duel.between[i], addr)))
            return;
    fail_msg("on the way, %llx translates to %llx: old %llx, new %llx", (unsigned long long)addr,
             (unsigned long long)is, (unsigned long long)old, (unsigned long long)new);
}

static void check_units(uint64_t base, uint64_t bytes, uint64_t from, uint64_t to)
{
    uint64_t step = UNIT_BYTES;

    from = MAX(from, base);
    to = MIN(to, base + bytes);
    if (from >= to)
        return;
    if ((to - from) / step > RUN_UNITS)
        step = (to - from) / RUN_UNITS / step * step * 2;
    for (uint64_t at = from; at < to; at += step) {
        check_page(at);
        if (to - at > PAGE_BYTES)
            check_page(MIN(at + step, to) - PAGE_BYTES);
    }
}

void duel_check_run(uint64_t from, uint64_t to)
{
    if (duel.is_atomic)
        assert_true(world.vm.pauses != 0);
    for (unsigned i = 0; i < DUEL_BARS; i++) {
        if (duel.before.bar[i].live && duel.before.bar[i].units != 0)
            check_units(duel.before.bar[i].base, duel.before.bar[i].bytes, from, to);
        if (duel.after.bar[i].live && duel.after.bar[i].units != 0)
            check_units(duel.after.bar[i].base, duel.after.bar[i].bytes, from, to);
    }
}

/* The page that a leaf may not be larger than, by the flags of the ranges under it. */
static bool may_be_large(const struct model_bar *bar, uint64_t unit)
{
    uint32_t flags = bar->page[unit].flags;

    if (flags & HV_MMIO_NO_LARGE)
        return false;
    return duel.config.large_executable || !(flags & HV_MMIO_EXECUTABLE);
}

struct census {
    uint64_t tables, leaves[PT_LEVELS], pages;
};

static void check_leaf(uint64_t addr, unsigned level, struct census *census)
{
    uint64_t is = watch_walk(&world.vm.tables, addr), span = pt_span(level);
    unsigned id = bar_of(&duel.after, addr);
    const struct model_bar *bar;

    census->leaves[level]++;
    census->pages += span / PAGE_BYTES;
    if (id == DUEL_BARS || span > duel.after.bar[id].bytes)
        fail_msg("a leaf of level %u at %llx, where no BAR is", level, (unsigned long long)addr);
    bar = &duel.model.device[id / HV_BAR_COUNT].bar[id % HV_BAR_COUNT];
    for (uint64_t at = addr; at < addr + span; at += MIN(span, UNIT_BYTES)) {
        uint64_t want = expected(&duel.after, at);

        if (is + (at - addr) != want)
            fail_msg("%llx translates to %llx, not %llx", (unsigned long long)at,
                     (unsigned long long)(is + (at - addr)), (unsigned long long)want);
        if (level > 1 && !may_be_large(bar, (at - bar->live_base) / UNIT_BYTES))
            fail_msg("a leaf of level %u at %llx", level, (unsigned long long)at);
    }
}

static void check_table(uint64_t table, unsigned level, uint64_t addr, struct census *census)
{
    const uint64_t *entry = direct(HPA(table));
    uint64_t present = world.vm.tables.fmt == &pt_format_ept ? 7 : 1;

    census->tables++;
    for (unsigned i = 0; i < 512; i++, addr += pt_span(level)) {
        if (!(entry[i] & present))
            continue;
        if (level == 1 || (entry[i] & 0x80))
            check_leaf(addr, level, census);
        else
            check_table(entry[i] & FRAME, level - 1, addr, census);
    }
}

static void check_tables(void)
{
    struct census census = {0};
    const struct pt_root *root = &world.vm.tables;
    uint64_t pages = 0;

    check_table(root->root.v, 4, 0, &census);
    for (unsigned i = 0; i < DUEL_BARS; i++)
        for (uint32_t unit = 0; duel.after.bar[i].live && unit < duel.after.bar[i].units; unit++)
            pages += duel.after.bar[i].key[unit] != 0;
    assert_int_equal(census.pages, pages << duel.config.shift);
    assert_int_equal(census.tables, world.vm.pool.used_tables);
    for (unsigned level = 1; level < PT_LEVELS; level++)
        assert_int_equal(census.leaves[level], root->leaves[level]);
    if (duel.config.no_huge)
        assert_int_equal(census.leaves[3], 0);
}

/* ---- records ---- */

/* Units of the range that begins at `key`. */
static uint64_t units_of(const struct model_bar *bar, uint32_t key)
{
    uint64_t count = 0;

    while (key + count < bar->units && bar->page[key + count].object != 0 &&
           bar->page[key + count].key == key)
        count++;
    return count;
}

static void check_query(const struct model_bar *bar, uint64_t unit)
{
    struct hv_device *device = world.probe[bar->device].device;
    struct hv_mmio_range_info info;
    const struct model_page *page;
    uint64_t count, leaves;
    hv_status_t status;
    bool is_there = unit < bar->units && bar->page[unit].object != 0;

    if (unit > bar->units)
        return;
    page = is_there ? &bar->page[bar->page[unit].key] : NULL;
    count = is_there ? units_of(bar, page->key) : 0;
    /* The call counts the leaves of all of it. */
    if (count > 2 * FEW && some(FEW) != 0)
        return;
    memset(&info, 0x5a, sizeof(info));
    status = hv_mmio_range_query(device, (enum hv_bar)bar->index, unit << duel.config.shift, &info);
    assert_int_equal(status, is_there ? HV_OK : HV_E_NOT_MAPPED);
    if (!is_there)
        return;
    assert_int_equal(info.bar_page, (uint64_t)page->key << duel.config.shift);
    assert_int_equal(info.page_count, count << duel.config.shift);
    assert_int_equal(info.section_page, (uint64_t)page->section_unit << duel.config.shift);
    assert_int_equal(info.flags, page->flags);
    assert_int_equal(info.memtype, page->type);
    if ((uint64_t)page->key * UNIT_BYTES < bar->bytes)
        assert_int_equal(info.live, bar->live);
    assert_int_equal(info.section_id, section_id(duel.section[page->object - 1]));
    leaves = info.leaves[1] + info.leaves[2] + info.leaves[3];
    if (!bar->live)
        assert_int_equal(leaves, 0);
    assert_true(leaves <= info.page_count);
}

static void check_bars(void)
{
    for (unsigned i = 0; i < DUEL_BARS; i++) {
        const struct model_bar *bar = &duel.model.device[i / HV_BAR_COUNT].bar[i % HV_BAR_COUNT];
        struct hv_bar_stats stats;
        uint64_t direct = 0;

        if (bar->bytes == 0 || bar->io)
            continue;
        for (uint32_t unit = 0; bar->live && unit < duel.after.bar[i].units; unit++)
            direct += duel.after.bar[i].key[unit] != 0;
        assert_int_equal(
            inspect_bar(world.probe[bar->device].device, (enum hv_bar)bar->index, &stats), HV_OK);
        assert_int_equal(stats.ranges, bar->ranges);
        assert_int_equal(stats.base, bar->base);
        assert_int_equal(stats.decoded, bar->live);
        assert_int_equal(stats.direct_pages, direct << duel.config.shift);
    }
}

/* Asking makes a ledger that has one type only draw its tree: a way that it takes by itself with the second type. */
static bool asks_types(void)
{
    return duel.config.types_every != 0 && duel.checks % duel.config.types_every == 0;
}

static void check_type(unsigned object, uint32_t unit)
{
    uint8_t want = 0;
    bool is_fixed = model_type(&duel.model, object, unit, &want);
    enum memtype memtype = MEMTYPE_UC;

    if (duel_type(object, unit, &memtype) != is_fixed)
        fail_msg("section %u page %u: %s type in force", object, unit, is_fixed ? "no" : "a");
    if (is_fixed)
        assert_int_equal(memtype, want);
}

/* Frames that doorbells take: one for each device that has some. */
static uint64_t check_bells(void)
{
    uint64_t frames = 0;

    for (unsigned i = 0; i < MODEL_DEVICES; i++) {
        const struct model_device *d = &duel.model.device[i];
        unsigned bells = 0;

        for (unsigned bar = 0; bar < HV_BAR_COUNT; bar++)
            bells += world.probe[i].device->bar[bar].doorbells;
        assert_int_equal(bells, d->bells);
        frames += bells != 0;
    }
    return frames;
}

static void check_sections(void)
{
    uint64_t live = 0, pages = 0;

    for (unsigned i = 0; i < MODEL_OBJECTS; i++) {
        const struct model_object *o = &duel.model.object[i];

        if (!o->live)
            continue;
        live++;
        for (uint32_t unit = 0; o->origin == MODEL_ANONYMOUS && unit < o->units; unit++)
            pages += o->frame[unit] != 0;
        if (asks_types())
            check_type(i, some(o->units));
    }
    assert_int_equal(section_live_count(), live);
    assert_int_equal(section_ram_pages(), pages << duel.config.shift);
    assert_int_equal(hv_frames.free_pages,
                     duel.free_frames - (pages << duel.config.shift) - check_bells());
    for (unsigned i = 0; i < MODEL_HANDLES; i++) {
        const struct model_object *o = &duel.model.object[duel.model.handle[i].object];
        struct hv_section_info info;

        if (!duel.model.handle[i].live || !(duel.model.handle[i].access & HV_SECTION_QUERY))
            continue;
        assert_int_equal(hv_section_query(duel.handle[i], &info), HV_OK);
        assert_int_equal(info.bytes, (uint64_t)o->units * UNIT_BYTES);
        assert_int_equal(info.handles, o->handles);
        assert_int_equal(info.ranges, o->ranges);
        assert_int_equal(info.views, o->views);
    }
}

void duel_check_near(const struct duel_op *op)
{
    for (unsigned i = 0; i < op->calls; i++) {
        const struct model_call *call = &op->call[i];
        uint64_t first = call->page >> duel.config.shift;
        uint64_t count = call->count >> duel.config.shift;
        const struct model_bar *bar;

        if (op->device >= MODEL_DEVICES || (unsigned)call->bar >= HV_BAR_COUNT)
            continue;
        bar = &duel.model.device[op->device].bar[call->bar];
        if (bar->units == 0 || first >= bar->units)
            continue;
        check_query(bar, first);
        check_query(bar, first + count - some(2));
        if (some(4) == 0)
            check_query(bar, first == 0 ? some(bar->units) : first - 1);
    }
}

/* Here and there in every section. */
void duel_check_types(void)
{
    for (unsigned i = 0; i < MODEL_OBJECTS; i++)
        for (uint32_t unit = 0; duel.model.object[i].live && unit < duel.model.object[i].units;
             unit += 1 + some(FEW))
            check_type(i, unit);
}

void duel_check_all(void)
{
    duel.checks++;
    check_tables();
    check_bars();
    check_sections();
    duel_check_views();
    if (asks_types() && some(FEW) == 0)
        duel_check_types();
    assert_int_equal(world.vm.pauses, 0);
    assert_false(lock_is_held(&world.vm.tables_lock));
    assert_false(lock_is_held(&section_lock));
    assert_false(lock_is_held(&world.host->lock));
}
