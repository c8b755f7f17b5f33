/*
 * Tables that say what the records say.
 *
 *   records     [== A ==][====== B ======]     trap     [= C =]
 *                   |         |     |                      |
 *   frames      [ run ]   [ run ][ hole ]              [ run ]      mapping_frames(): what the section has
 *                   |         |                            |
 *   leaves      [4K|4K|.. | 2M | 2M ]                   [4K|4K]      one step: at most 512 of them
 *
 * A change of records names a window, and the window is brought in line: what a range holds is mapped, the rest is
 * unmapped, what is right already is not stored again.
 */
#include "hv/pci/leaves.h"

#define NOINLINE __attribute__((noinline))

/* ---- reserve ---- */

/* The tables that 4 KiB leaves everywhere would take: the most that any mapping can. */
static uint64_t most_tables(const struct pt_root *root, uint64_t address, uint64_t pages)
{
    return pt_tables_needed(root, address, HPA(0), pages, 1);
}

/*
 * An upper bound of the tables that mapping [page, page + pages) of the range takes when its BAR is at `base`, even when
 * none is there: those that are may be shared with another BAR, or with what this change removes first.
 */
static uint64_t tables_for(const struct pt_root *root, const struct hv_range *range, uint64_t page,
                           uint64_t pages, uint64_t base)
{
    uint64_t address = address_of(base, range->node.key + page);
    uint64_t most, tables = 0;
    hpa_t first;

    if (LIKELY(page == 0 && mapping_is_one_run(&range->map, &first)))
        return pt_tables_needed(root, address, first, pages, range->attr.max_level);
    most = most_tables(root, address, pages);

    for (uint64_t end = page + pages, run; page < end && tables < most; page += run) {
        hpa_t frame;
        bool is_there = mapping_frames(&range->map, page, &frame, &run);

        run = MIN(run, end - page);
        address = address_of(base, range->node.key + page);
        if (is_there)
            tables += pt_tables_needed(root, address, frame, run, range->attr.max_level);
        else /* a large leaf of what was there may reach into the hole */
            tables += pt_tables_needed_unmap(root, address, run);
    }
    return MIN(tables, most); /* runs share tables */
}

/*
 * Emptying a window takes tables where its edges cut a leaf. Only this BAR's ranges have leaves there, so that what is there
 * now tells, unless an op of the same batch comes before.
 */
static uint64_t tables_to_empty(const struct pt_root *root, uint64_t address, uint64_t pages,
                                bool is_alone)
{
    if (!is_alone)
        return pt_tables_needed_unmap(root, address, pages);
    return pt_tables_cut(root, address) + pt_tables_cut(root, address + (pages << PAGE_SHIFT));
}

/*
 * tables_for() of a whole range, told by a look when the pool has that many to spare: tables of level 1 are for the edges
 * alone when address and frames are in step.
 */
static inline uint64_t tables_for_range(struct vm *vm, const struct hv_range *range, uint64_t base)
{
    const unsigned in_step_shift = 17, out_of_step_shift = 8; /* twice what the pages fill */
    uint64_t address = address_of(base, range->node.key), tables;
    hpa_t frame;

    if (UNLIKELY(!mapping_is_one_run(&range->map, &frame)))
        return tables_for(&vm->tables, range, 0, range->map.pages, base);
    tables = 2 * (PT_LEVELS - 1);
    if (IS_ALIGNED(address ^ frame.v, pt_span(2)) &&
        MIN(range->attr.max_level, vm->tables.max_level) > 1)
        tables += range->map.pages >> in_step_shift;
    else
        tables += range->map.pages >> out_of_step_shift;
    if (LIKELY(tables <= pt_pool_spare(&vm->pool)))
        return tables;
    return tables_for(&vm->tables, range, 0, range->map.pages, base);
}

hv_status_t leaves_reserve(struct hv_bar_state *bar, uint64_t first, uint64_t pages,
                           const struct hv_range *range, bool is_alone, uint64_t *tables)
{
    struct vm *vm = vm_of(bar);
    uint64_t needed = PT_LEVELS - 1; /* for one page */
    hv_status_t status;

    *tables = 0;
    if (!bar->live)
        return HV_OK;
    lock_acquire(&vm->tables_lock);
    if (!range)
        needed = tables_to_empty(&vm->tables, address_of(bar->live_base, first), pages, is_alone);
    else if (LIKELY(pages != 1))
        needed = tables_for_range(vm, range, bar->live_base);
    status = pt_pool_reserve(&vm->pool, needed);
    lock_release(&vm->tables_lock);
    if (LIKELY(status == HV_OK))
        *tables = needed;
    return status;
}

bool leaves_begin_page(struct hv_bar_state *bar, uint64_t page, struct leaves_change *change)
{
    struct vm *vm = vm_of(bar);

    if (UNLIKELY(!bar->live))
        return false;
    lock_acquire(&vm->tables_lock);
    if (LIKELY(pt_has_table(&vm->tables, address_of(bar->live_base, page)))) {
        change->is_tables_held = true;
        return true;
    }
    lock_release(&vm->tables_lock);
    return false;
}

void leaves_cancel(struct vm *vm, uint64_t tables)
{
    if (tables == 0)
        return;
    lock_acquire(&vm->tables_lock);
    pt_pool_unreserve(&vm->pool, tables);
    lock_release(&vm->tables_lock);
}

/* ---- steps ---- */

static inline void step_begin(struct vm *vm, const struct leaves_change *change)
{
    if (!change->is_section_held)
        lock_acquire(&section_lock);
    if (!change->is_tables_held)
        lock_acquire(&vm->tables_lock);
}

static inline void step_end(struct vm *vm, const struct leaves_change *change)
{
    if (!change->is_tables_held)
        lock_release(&vm->tables_lock);
    if (!change->is_section_held)
        lock_release(&section_lock);
}

/*
 * The attributes of a range, with no larger leaves than its pages can fill: a leaf that says the same for a part of it
 * is cut, and joined again when its edges are few enough to be held. `room`: for a copy.
 */
static inline const struct pt_attr *attr_within(const struct hv_range *range, struct pt_attr *room)
{
    if (range->map.pages >= HUGE_PAGES)
        return &range->attr;
    *room = range->attr;
    room->max_level = (uint8_t)MIN(room->max_level, range->map.pages >= LARGE_PAGES ? 2 : 1);
    return room;
}

/* One step of [page, page + pages) of a range, while its BAR is live. Returns the pages done. */
static inline uint64_t range_step(const struct hv_range *range, uint64_t page, uint64_t pages,
                                  struct pt_flush *flush)
{
    struct hv_bar_state *bar = range->bar;
    struct pt_root *root = &vm_of(bar)->tables;
    uint64_t address = address_of(bar->live_base, range->node.key + page);
    uint64_t run;
    hpa_t frame;

    if (LIKELY(mapping_frames(&range->map, page, &frame, &run))) {
        struct pt_attr room;

        return pt_map_step(root, address, frame, MIN(run, pages), attr_within(range, &room), flush);
    }
    return pt_unmap_step(root, address, MIN(run, pages), flush);
}

/* One step of a window: of the range that begins it, or of the gap up to the next one. */
static uint64_t window_step(struct hv_bar_state *bar, uint64_t first, uint64_t pages,
                            struct pt_flush *flush)
{
    struct hv_range *range = records_overlap(bar, first, pages);

    if (range && range->node.key <= first)
        return range_step(range, first - range->node.key, MIN(pages, range_end(range) - first),
                          flush);
    if (range)
        pages = range->node.key - first;
    return pt_unmap_step(&vm_of(bar)->tables, address_of(bar->live_base, first), pages, flush);
}

void leaves_join(struct hv_bar_state *bar, uint64_t first, uint64_t pages,
                 struct leaves_change *change)
{
    struct vm *vm = vm_of(bar);

    step_begin(vm, change);
    if (bar->live && first + pages <= bar_pages(bar)) {
        edges_join(bar, first, &change->flush);
        edges_join(bar, first + pages - 1, &change->flush);
    }
    step_end(vm, change);
}

void leaves_take_held(struct hv_bar_state *bar, struct hv_range *chain,
                      struct leaves_change *change)
{
    if (LIKELY(bar->held_tables == 0))
        return;
    step_begin(vm_of(bar), change);
    for (struct hv_range *range = chain; range; range = range->next)
        edges_release(range, change);
    step_end(vm_of(bar), change);
}

static NOINLINE void settle_window(struct hv_bar_state *bar, uint64_t first, uint64_t end,
                                   struct leaves_change *change)
{
    change->flush.kept = false;
    step_begin(vm_of(bar), change);
    edges_settle(bar, first, end, change);
    step_end(vm_of(bar), change);
}

void leaves_derive(struct hv_bar_state *bar, uint64_t first, uint64_t pages,
                   struct leaves_change *change)
{
    struct vm *vm = vm_of(bar);
    uint64_t end = MIN(first + pages, bar_pages(bar)); /* a BAR may have shrunk */
    bool has_held = bar->held_tables != 0;

    if (!bar->live || first >= end)
        return;
    if (UNLIKELY(has_held)) {
        step_begin(vm, change);
        edges_release_all(bar, first, end, change);
        step_end(vm, change);
    }
    for (uint64_t page = first; page < end;) {
        step_begin(vm, change);
        page += window_step(bar, page, end - page, &change->flush);
        step_end(vm, change);
    }
    if (UNLIKELY(has_held || change->flush.kept))
        settle_window(bar, first, end, change);
}

/* All but the simplest of leaves_derive_range(). */
static NOINLINE void derive_range(struct hv_range *range, struct leaves_change *change)
{
    struct hv_bar_state *bar = range->bar;
    struct vm *vm = vm_of(bar);
    uint64_t pages = range->map.pages;

    if (bar->held_tables != 0) {
        leaves_derive(bar, range->node.key, pages, change);
        return;
    }
    for (uint64_t page = 0; page < pages;) {
        step_begin(vm, change);
        page += range_step(range, page, pages - page, &change->flush);
        step_end(vm, change);
    }
    if (UNLIKELY(change->flush.kept))
        settle_window(bar, range->node.key, range_end(range), change);
}

void leaves_derive_range(struct hv_range *range, struct leaves_change *change)
{
    struct hv_bar_state *bar = range->bar;
    struct vm *vm = vm_of(bar);
    uint64_t address = address_of(bar->live_base, range->node.key);
    uint64_t left = range->map.pages;
    const struct pt_attr *attr;
    struct pt_attr room;
    hpa_t frame;

    if (!bar->live)
        return;
    if (UNLIKELY(bar->held_tables != 0 || !mapping_is_one_run(&range->map, &frame))) {
        derive_range(range, change);
        return;
    }
    attr = attr_within(range, &room);
    do {
        uint64_t done;

        if (!change->is_tables_held)
            lock_acquire(&vm->tables_lock);
        done = pt_map_step(&vm->tables, address, frame, left, attr, &change->flush);
        if (!change->is_tables_held)
            lock_release(&vm->tables_lock);
        address += done << PAGE_SHIFT;
        frame.v += done << PAGE_SHIFT;
        left -= done;
    } while (UNLIKELY(left != 0));
    if (UNLIKELY(change->flush.kept))
        settle_window(bar, range->node.key, range_end(range), change);
}

/* Attributes as one word, to compare. */
static inline uint32_t attr_word(const struct hv_range *range)
{
    uint32_t word;

    _Static_assert(sizeof(word) == sizeof(range->attr), "no padding");
    __builtin_memcpy(&word, &range->attr, sizeof(word));
    return word;
}

uint64_t leaves_derive_swaps(struct hv_bar_state *bar, struct hv_mmio_op *ops, uint64_t count,
                             struct leaves_change *change)
{
    struct pt_root *root = &vm_of(bar)->tables;
    uint64_t page_bits = 0, done = 0;
    uint32_t like = 0; /* no attributes are 0 */

    if (!bar->live || !change->is_tables_held || bar->held_tables != 0)
        return 0;
    for (; done < count; done++) {
        const struct records_change *records = records_of(&ops[done]);
        const struct hv_range *range = records->made;
        hpa_t frame;

        if (!records->old_section || range->bar != bar || !range->listed ||
            !mapping_is_one_run(&range->map, &frame))
            break;
        if (like != attr_word(range))
            page_bits = pt_page_bits(root, &range->attr);
        like = attr_word(range);
        if (!pt_put_page(root, address_of(bar->live_base, range->node.key), frame.v | page_bits,
                         &change->flush))
            break;
    }
    return done;
}

void leaves_empty(struct hv_bar_state *bar, uint64_t first, uint64_t pages,
                  struct leaves_change *change)
{
    struct vm *vm = vm_of(bar);
    uint64_t end = MIN(first + pages, bar_pages(bar)); /* a BAR may have shrunk */

    if (!bar->live)
        return;
    if (UNLIKELY(bar->held_tables != 0)) {
        leaves_derive(bar, first, pages, change);
        return;
    }
    for (uint64_t page = first; page < end;) {
        step_begin(vm, change);
        page += pt_unmap_step(&vm->tables, address_of(bar->live_base, page), end - page,
                              &change->flush);
        step_end(vm, change);
    }
}

void leaves_finish(struct vm *vm, struct leaves_change *change)
{
    uint64_t left = change->tables - change->flush.taken;

    if (UNLIKELY(left != 0)) {
        ASSERT(change->flush.taken < change->tables);
        if (!change->is_tables_held)
            lock_acquire(&vm->tables_lock);
        change->is_tables_held = true;
        pt_pool_unreserve(&vm->pool, left);
    }
    if (change->is_tables_held)
        lock_release(&vm->tables_lock);
    change->is_tables_held = false;
    if (change->flush.needed)
        vm_flush(vm, &change->flush);
}

/* ---- a BAR comes and goes ---- */

/* Caller holds section_lock and vm->tables_lock. */
static uint64_t tables_for_all(const struct hv_bar_state *bar, const struct pt_root *root,
                               uint64_t base)
{
    uint64_t end = bar_pages(bar), tables = 0;

    if (bar->ranges.count == 0)
        return 0;
    for (struct hv_range *range = range_of(tree_first(&bar->ranges));
         range && range->node.key < end; range = range_of(tree_next(&range->node)))
        tables += tables_for(root, range, 0, MIN(range->map.pages, end - range->node.key), base);
    return MIN(tables, most_tables(root, base, end)); /* many small ranges share tables */
}

hv_status_t leaves_activate(struct hv_bar_state *bar, uint64_t base)
{
    struct leaves_change change = {.is_section_held = false};
    struct vm *vm = vm_of(bar);
    uint64_t end = bar_pages(bar);
    hv_status_t status;

    step_begin(vm, &change);
    change.tables = tables_for_all(bar, &vm->tables, base);
    status = pt_pool_reserve(&vm->pool, change.tables);
    if (status == HV_OK) {
        bar->live = true;
        bar->live_base = base;
    }
    step_end(vm, &change);
    if (status != HV_OK)
        return status;
    for (struct hv_range *range = range_of(tree_first(&bar->ranges));
         range && range->node.key < end; range = range_of(tree_next(&range->node))) {
        uint64_t pages = MIN(range->map.pages, end - range->node.key);

        for (uint64_t page = 0; page < pages;) {
            step_begin(vm, &change);
            page += range_step(range, page, pages - page, &change.flush);
            step_end(vm, &change);
        }
        if (UNLIKELY(change.flush.filled))
            leaves_join(bar, range->node.key, pages, &change);
    }
    leaves_finish(vm, &change);
    return HV_OK;
}

void leaves_deactivate(struct hv_bar_state *bar)
{
    struct leaves_change change = {.is_section_held = false};
    struct vm *vm = vm_of(bar);
    uint64_t end = bar_pages(bar);

    step_begin(vm, &change);
    bar->live = false;
    if (bar->held_tables != 0)
        edges_release_all(bar, 0, end, &change);
    step_end(vm, &change);
    /* No leaf spans two BARs, so nothing is split and no table is taken. */
    for (uint64_t page = 0; page < end;) {
        step_begin(vm, &change);
        page +=
            pt_unmap_step(&vm->tables, address_of(bar->live_base, page), end - page, &change.flush);
        step_end(vm, &change);
    }
    leaves_finish(vm, &change);
}

/* ---- pages of a reserved section get frames. section_lock is held, the device's lock is not ---- */

static struct hv_range *range_of_mapping(struct mapping *mapping)
{
    return CONTAINER_OF(mapping, struct hv_range, map);
}

static hv_status_t prepare_commit(struct mapping *mapping, uint64_t page, uint64_t pages)
{
    struct hv_range *range = range_of_mapping(mapping);
    struct hv_bar_state *bar = range->bar;
    struct vm *vm = vm_of(bar);
    uint64_t address;
    hv_status_t status = HV_OK;

    range->promised = 0;
    lock_acquire(&vm->tables_lock);
    if (bar->live && range->listed) {
        address = address_of(bar->live_base, range->node.key + page);
        range->promised = most_tables(&vm->tables, address, pages);
        status = pt_pool_reserve(&vm->pool, range->promised);
    }
    lock_release(&vm->tables_lock);
    return status;
}

static void cancel_commit(struct mapping *mapping, uint64_t page, uint64_t pages)
{
    struct hv_range *range = range_of_mapping(mapping);

    (void)page;
    (void)pages;
    leaves_cancel(vm_of(range->bar), range->promised);
}

static void commit(struct mapping *mapping, uint64_t page, uint64_t pages)
{
    struct hv_range *range = range_of_mapping(mapping);
    struct leaves_change change = {.tables = range->promised, .is_section_held = true};
    struct hv_bar_state *bar = range->bar;
    struct vm *vm = vm_of(bar);
    uint64_t first = range->node.key + page;
    uint64_t end = MIN(page + pages, bar_pages(bar) - MIN(range->node.key, bar_pages(bar)));

    for (uint64_t at = page; at < end;) {
        step_begin(vm, &change);
        /* Without the device's lock the BAR may have gone since. */
        at +=
            bar->live && range->listed ? range_step(range, at, end - at, &change.flush) : end - at;
        step_end(vm, &change);
    }
    if (UNLIKELY(change.flush.filled) && page < end)
        leaves_join(bar, first, end - page, &change);
    leaves_finish(vm, &change);
}

const struct mapping_owner range_owner = {
    .user = SECTION_USER_RANGE,
    .prepare = prepare_commit,
    .commit = commit,
    .cancel = cancel_commit,
};
