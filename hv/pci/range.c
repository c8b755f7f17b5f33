/*
 * The heart of the product: pages of a section behind pages of a BAR.
 *
 *      BAR page     0    1    2    3    4    5    6    7          record: struct hv_range
 *                 [trap][== range A ==][trap][== range B: 3 ==]
 *                          |                     |
 *      section page        7 ..                  0 1 | 2          mapping_frames() cuts a range into
 *      frames             [== one run ==]       [run][run]        runs of contiguous frames
 *
 * Every call is a list of operations, mostly one. Each is checked and carried out on the records, and has its tables
 * reserved; what fails is taken back. Then the tables follow, are flushed once, and what went is released:
 *
 *      check -> records, reserve -> | -> leaves -> flush -> release        nothing can fail right of the bar
 */
#include "hv/pci/range.h"

#include "hv/base/bits.h"
#include "hv/base/string.h"

#define NOINLINE __attribute__((noinline))
#define KNOWN_FLAGS                                                               \
    (HV_MMIO_WRITEABLE | HV_MMIO_EXECUTABLE | HV_MMIO_MT_MASK | HV_MMIO_REPLACE | \
     HV_MMIO_NO_LARGE | HV_MMIO_IGNORE_GUEST_PAT | HV_MMIO_TRACK_DIRTY)

/* A longer window is brought in line without section_lock, which others may wait for. */
#define PAGES_UNDER_SECTION_LOCK 512u

_Static_assert(sizeof(struct records_change) <= sizeof(((struct hv_mmio_op *)0)->core),
               "an op has room for what takes it back");

/* One call. Lock: the device's, and section_lock up to the leaves. */
struct change {
    struct hv_device *device;
    struct leaves_change leaves;
    uint64_t pages; /* of all windows */
    bool retypes;   /* a frame that stays mapped gets another type: no VP may run meanwhile */
};

static struct records_change *records_of(struct hv_mmio_op *op)
{
    return (struct records_change *)(void *)op->core;
}

/* What the bits WRITEABLE and EXECUTABLE mean for section and leaves. */
static const struct {
    uint8_t access, rights;
} by_rights[] = {
    [HV_MMIO_READ_ONLY] = {HV_SECTION_MAP_READ, PT_R},
    [HV_MMIO_WRITEABLE] = {HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE, PT_R | PT_W},
    [HV_MMIO_EXECUTABLE] = {HV_SECTION_MAP_READ | HV_SECTION_MAP_EXECUTE, PT_R | PT_X},
    [HV_MMIO_WRITEABLE |
        HV_MMIO_EXECUTABLE] = {HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE | HV_SECTION_MAP_EXECUTE,
                               PT_R | PT_W | PT_X},
};
#define RIGHTS(flags) ((flags) & (HV_MMIO_WRITEABLE | HV_MMIO_EXECUTABLE))

/* ---- create: checks ---- */

/* Legal by itself? Then: can this build and CPU do it? */
static hv_status_t check_flags(enum hv_bar bar, uint32_t flags)
{
    if ((flags & ~(uint32_t)KNOWN_FLAGS) || (flags & HV_MMIO_MT_MASK) > HV_MMIO_MT_WB)
        return HV_E_INVALID_PARAMETER_5;
    if (bar == HV_BAR_ROM && (flags & HV_MMIO_WRITEABLE))
        return HV_E_INVALID_PARAMETER_5;
    if (flags & HV_MMIO_TRACK_DIRTY)
        return HV_E_NOT_SUPPORTED;
    if ((flags & HV_MMIO_IGNORE_GUEST_PAT) && !hv_caps.ignore_pat)
        return HV_E_NOT_SUPPORTED;
    return HV_OK;
}

/* Is [first, first + count) inside [0, limit)? */
static bool fits(uint64_t first, uint64_t count, uint64_t limit)
{
    return first <= limit && count <= limit - first;
}

/* Large executable leaves wake the iTLB multihit erratum where the CPU has it. */
static uint8_t largest_leaf(uint32_t flags)
{
    if (flags & (HV_MMIO_NO_LARGE | HV_MMIO_EXECUTABLE))
        if ((flags & HV_MMIO_NO_LARGE) || !hv_caps.large_executable)
            return 1;
    if (!hv_caps.large_2m)
        return 1;
    return hv_caps.large_1g ? 3 : 2;
}

static struct ledger_wish wish_of(uint32_t flags)
{
    static const uint8_t types[] = {MEMTYPE_WB, MEMTYPE_UC, MEMTYPE_WC,
                                    MEMTYPE_WT, MEMTYPE_WP, MEMTYPE_WB};
    struct ledger_wish wish;

    wish.memtype = (enum memtype)types[FIELD_GET(HV_MMIO_MT_MASK, flags)];
    wish.fixed = (flags & HV_MMIO_MT_MASK) != HV_MMIO_MT_DEFAULT;
    return wish;
}

/* ---- create: the type, when the call replaces mappings of the very frames that it maps ---- */

/* The part of a range outside the window, entered by itself. */
struct survivor {
    struct mapping map;
    bool is_there;
};

static void survive(struct survivor *survivor, const struct hv_range *range, uint64_t first,
                    uint64_t end)
{
    survivor->is_there = first < end;
    if (!survivor->is_there)
        return;
    survivor->map = range->map;
    survivor->map.section_page += first - range->node.key;
    survivor->map.pages = end - first;
    mapping_add(&survivor->map, NULL);
}

/*
 * What the call removes does not count. So let the ledger see what will be left, ask, and put everything back. Only the
 * first and the last of the ranges can have parts outside the window.
 */
static NOINLINE hv_status_t choose_type_without(struct hv_bar_state *bar,
                                                const struct hv_mmio_op *op,
                                                struct section *section, struct ledger_wish *wish)
{
    uint64_t first = op->bar_page, end = first + op->page_count;
    struct hv_range *start = records_overlap(bar, first, op->page_count);
    struct survivor head = {0}, tail = {0};
    hv_status_t status;

    for (struct hv_range *range = start; range && range->node.key < end;
         range = range_of(tree_next(&range->node))) {
        mapping_remove(&range->map);
        if (range->node.key < first)
            survive(&head, range, range->node.key, first);
        if (range_end(range) > end)
            survive(&tail, range, end, range_end(range));
    }
    status = mapping_choose_type(section, op->section_page, op->page_count, wish);
    if (head.is_there)
        mapping_remove(&head.map);
    if (tail.is_there)
        mapping_remove(&tail.map);
    for (struct hv_range *range = start; range && range->node.key < end;
         range = range_of(tree_next(&range->node)))
        mapping_add(&range->map, NULL);
    return status;
}

static bool replaces_own_frames(const struct hv_range *overlap, const struct hv_mmio_op *op,
                                const struct section *section)
{
    uint64_t end = op->bar_page + op->page_count;

    for (const struct hv_range *range = overlap; range && range->node.key < end;
         range = range_of(tree_next(&range->node)))
        if (mapping_overlaps(&range->map, section, op->section_page, op->page_count))
            return true;
    return false;
}

/* The ranges that went no longer fix a type: their frames may get another one. */
static void forget_types(struct change *change, const struct records_change *records,
                         const struct hv_range *made)
{
    for (struct hv_range *range = records->gone; range; range = range->next) {
        if (!mapping_overlaps(&range->map, made->map.section, made->map.section_page,
                              made->map.pages))
            continue;
        if (range->map.memtype != made->map.memtype && !change->retypes) {
            hv_status_t paused = hv_vm_pause_vps(change->device->host->vm, 0);

            ASSERT(paused == HV_OK);
            change->retypes = true;
        }
        mapping_remove(&range->map);
        range->typed = false;
    }
}

/* ---- create: the change ---- */

static void fill_record(struct hv_range *range, struct hv_bar_state *bar,
                        const struct hv_mmio_op *op, struct section *section, enum memtype memtype)
{
    range->node.key = op->bar_page;
    range->map.section = section;
    range->map.owner = &range_owner;
    range->map.section_page = op->section_page;
    range->map.pages = op->page_count;
    range->map.memtype = memtype;
    range->bar = bar;
    range->attr.rights = by_rights[RIGHTS(op->flags)].rights;
    range->attr.memtype = (uint8_t)memtype;
    range->attr.ignore_pat = (op->flags & HV_MMIO_IGNORE_GUEST_PAT) != 0;
    range->attr.max_level = largest_leaf(op->flags);
    range->flags = op->flags & ~(uint32_t)HV_MMIO_REPLACE;
    range->typed = true;
    range->held = 0;
    range->trapped_writes = 0;
}

/* How many ranges the device has after the op. */
static bool has_quota(const struct hv_bar_state *bar, const struct hv_mmio_op *op,
                      const struct hv_range *overlap)
{
    const uint64_t most_more = 2; /* one made, one cut in two */
    uint64_t count = bar->device->range_count;

    if (LIKELY(count + most_more <= PCI_RANGES_PER_DEV))
        return true;
    if (overlap)
        count += (uint64_t)records_carve_count(bar, op->bar_page, op->page_count);
    return count + (op->kind == HV_MMIO_OP_CREATE) <= PCI_RANGES_PER_DEV;
}

/* Where a new range goes. */
struct place {
    struct hv_bar_state *bar;
    struct hv_range *below;   /* the last one that begins at or before its end */
    struct hv_range *overlap; /* the first one that reaches into it, or NULL */
};

/* Check 9 and the change of the records. */
static hv_status_t make_range(struct change *change, struct hv_mmio_op *op,
                              const struct place *place, struct section *section,
                              const struct ledger_wish *wish)
{
    struct records_change *records = records_of(op);
    struct hv_range *overlap = place->overlap;
    struct hv_bar_state *bar = place->bar;
    struct hv_range *made;
    hv_status_t status;

    if (!has_quota(bar, op, overlap))
        return HV_E_QUOTA;
    made = record_take();
    if (!made)
        return HV_E_NO_MEMORY;
    fill_record(made, bar, op, section, wish->memtype);
    records->cut[0] = records->cut[1] = NULL;
    records->gone = NULL;
    if (UNLIKELY(overlap != NULL) && !records_reserve(bar, op->bar_page, op->page_count, records)) {
        record_free(made);
        return HV_E_NO_MEMORY;
    }
    status = leaves_reserve(bar, op->bar_page, op->page_count, made, &records->tables);
    if (status != HV_OK) {
        record_free(records->cut[0]);
        record_free(records->cut[1]);
        record_free(made);
        return status;
    }
    records->made = made;
    records->pages = op->page_count;
    if (UNLIKELY(overlap != NULL)) {
        records_carve(bar, op->bar_page, op->page_count, records);
        forget_types(change, records, made);
    }
    if (UNLIKELY(wish->memtype != MEMTYPE_WB))
        mapping_flush_stale(section, op->section_page, op->page_count);
    mapping_add(&made->map, overlap ? NULL : &wish->place);
    records_insert(made,
                   overlap ? range_of(tree_find_le(&bar->ranges, op->bar_page)) : place->below);
    return HV_OK;
}

/* Checks 6 to 9 of the contract, then the change. */
static hv_status_t create_in_section(struct change *change, struct hv_bar_state *bar,
                                     struct hv_mmio_op *op, struct section *section)
{
    uint64_t last = op->bar_page + op->page_count - 1;
    struct hv_range *below = range_of(tree_find_le(&bar->ranges, last));
    struct hv_range *overlap = NULL;
    struct ledger_wish wish = wish_of(op->flags);
    hv_status_t status;

    if (UNLIKELY(below && range_end(below) > op->bar_page))
        overlap = records_overlap(bar, op->bar_page, op->page_count);

    if (!fits(op->section_page, op->page_count, section_facts(section)->pages))
        return HV_E_INVALID_VIEW_SIZE;
    if (UNLIKELY(overlap != NULL) && (op->flags & HV_MMIO_REPLACE) &&
        replaces_own_frames(overlap, op, section))
        status = choose_type_without(bar, op, section, &wish);
    else
        status = mapping_choose_type(section, op->section_page, op->page_count, &wish);
    if (status != HV_OK)
        return status;
    if (UNLIKELY(overlap != NULL) && !(op->flags & HV_MMIO_REPLACE))
        return HV_E_CONFLICTING_ADDRESSES;
    return make_range(change, op, &(struct place){bar, below, overlap}, section, &wish);
}

/* Checks 3 to 5, and the rest. */
static hv_status_t apply_create(struct change *change, struct hv_bar_state *bar,
                                struct hv_mmio_op *op)
{
    struct section *section;
    hv_status_t status;

    if (op->page_count == 0)
        return HV_E_INVALID_PARAMETER_4;
    status = check_flags(bar->index, op->flags);
    if (status != HV_OK)
        return status;
    if (!fits(op->bar_page, op->page_count, bar->bytes >> PAGE_SHIFT))
        return HV_E_OUT_OF_RANGE;
    status = section_ref_locked(op->section, by_rights[RIGHTS(op->flags)].access,
                                SECTION_USER_RANGE, &section);
    if (status != HV_OK)
        return status;
    status = create_in_section(change, bar, op, section);
    if (UNLIKELY(status != HV_OK))
        section_ref_undo(section, SECTION_USER_RANGE);
    return status;
}

/* ---- unmap and destroy ---- */

static hv_status_t apply_unmap(struct hv_bar_state *bar, struct hv_mmio_op *op)
{
    struct records_change *records = records_of(op);
    struct hv_range *overlap;
    hv_status_t status;

    if (op->page_count == 0)
        return HV_E_INVALID_PARAMETER_4;
    if (!fits(op->bar_page, op->page_count, bar->bytes >> PAGE_SHIFT))
        return HV_E_OUT_OF_RANGE;
    *records = (struct records_change){.pages = op->page_count};
    overlap = records_overlap(bar, op->bar_page, op->page_count);
    if (!overlap)
        return HV_OK;
    if (!has_quota(bar, op, overlap))
        return HV_E_QUOTA;
    if (!records_reserve(bar, op->bar_page, op->page_count, records))
        return HV_E_NO_MEMORY;
    status = leaves_reserve(bar, op->bar_page, op->page_count, NULL, &records->tables);
    if (status != HV_OK) {
        record_free(records->cut[0]);
        record_free(records->cut[1]);
        return status;
    }
    records_carve(bar, op->bar_page, op->page_count, records);
    return HV_OK;
}

/* Cannot fail once it is found: no leaf is cut that its ranges did not keep tables for. */
static hv_status_t apply_destroy(struct hv_bar_state *bar, struct hv_mmio_op *op)
{
    struct records_change *records = records_of(op);
    struct hv_range *range = range_of(tree_find(&bar->ranges, op->bar_page));

    if (!range)
        return HV_E_NOT_MAPPED;
    *records = (struct records_change){.gone = range, .pages = range->map.pages};
    range->next = NULL;
    records_remove(range);
    return HV_OK;
}

/* ---- one op, and its end ---- */

/* Caller holds the device's lock and section_lock. */
static hv_status_t apply(struct change *change, struct hv_mmio_op *op)
{
    struct hv_device *device = change->device;
    struct hv_bar_state *bar;
    hv_status_t status;

    if (op->kind == HV_MMIO_OP_CREATE && device->state >= HV_DEVICE_TEARING_DOWN)
        return HV_E_INVALID_STATE;
    status = device_memory_bar(device, op->bar, &bar);
    if (status != HV_OK)
        return status;
    if (op->kind == HV_MMIO_OP_CREATE)
        status = apply_create(change, bar, op);
    else if (op->kind == HV_MMIO_OP_UNMAP)
        status = apply_unmap(bar, op);
    else if (op->kind == HV_MMIO_OP_DESTROY)
        status = apply_destroy(bar, op);
    else
        status = HV_E_INVALID_PARAMETER;
    if (status == HV_OK) {
        change->leaves.tables += records_of(op)->tables;
        change->pages += records_of(op)->pages;
    }
    return status;
}

/* Bring the tables in line with what the op did to the records, later ones included. */
static void derive(struct change *change, struct hv_mmio_op *op)
{
    struct hv_bar_state *bar = &change->device->bar[op->bar];
    const struct records_change *records = records_of(op);
    struct hv_range *made = records->made;

    if (UNLIKELY(bar->held_tables != 0)) {
        struct vm *vm = change->device->host->vm;

        lock_acquire(&vm->tables_lock);
        for (struct hv_range *range = records->gone; range; range = range->next)
            leaves_release_held(range, &change->leaves);
        lock_release(&vm->tables_lock);
    }
    if (made && made->listed && made->map.pages == records->pages)
        leaves_derive_range(made, &change->leaves);
    else
        leaves_derive(bar, op->bar_page, records->pages, &change->leaves);
}

/* After the flush: types and references. Caller holds section_lock. */
static void release_gone(const struct records_change *records)
{
    for (struct hv_range *range = records->gone; range; range = range->next) {
        if (range->typed)
            mapping_remove(&range->map);
        range->last = section_unref_locked(range->map.section, SECTION_USER_RANGE);
    }
}

/* Sections that nobody has any more, and the records. No lock but the device's. */
static void free_gone(const struct records_change *records)
{
    for (struct hv_range *range = records->gone, *next; range; range = next) {
        next = range->next;
        if (UNLIKELY(range->last))
            section_destroy(range->map.section);
        record_free(range);
    }
}

static void section_hold(struct change *change, bool hold)
{
    if (change->leaves.is_section_held == hold)
        return;
    change->leaves.is_section_held = hold;
    if (hold)
        lock_acquire(&section_lock);
    else
        lock_release(&section_lock);
}

/* Everything behind the bar: nothing can fail. Leaves without section_lock. */
static void commit(struct change *change, struct hv_mmio_op *ops, uint64_t count)
{
    struct vm *vm = change->device->host->vm;

    if (change->pages > PAGES_UNDER_SECTION_LOCK && !change->retypes)
        section_hold(change, false);
    for (uint64_t i = 0; i < count; i++)
        derive(change, &ops[i]);
    leaves_finish(vm, &change->leaves);
    section_hold(change, true);
    for (uint64_t i = 0; i < count; i++)
        release_gone(records_of(&ops[i]));
    section_hold(change, false);
    for (uint64_t i = 0; i < count; i++)
        free_gone(records_of(&ops[i]));
}

static void undo(struct change *change, struct hv_mmio_op *ops, uint64_t count)
{
    while (count-- > 0) {
        struct records_change *records = records_of(&ops[count]);

        records_undo(&change->device->bar[ops[count].bar], ops[count].bar_page, records);
        leaves_cancel(change->device->host->vm, records->tables);
    }
}

/* ---- the calls ---- */

/* Caller holds the device's lock. */
static hv_status_t run_locked(struct hv_device *device, struct hv_mmio_op *ops, uint64_t count,
                              uint32_t flags, uint64_t *done)
{
    struct change change;
    hv_status_t status = HV_OK;
    uint64_t applied = 0;

    change.device = device;
    change.leaves = (struct leaves_change){.is_section_held = true};
    change.pages = 0;
    change.retypes = false;
    lock_acquire(&section_lock);
    while (applied < count) {
        status = apply(&change, &ops[applied]);
        if (status != HV_OK)
            break;
        applied++;
    }
    if (status != HV_OK && (flags & HV_BATCH_ATOMIC)) {
        undo(&change, ops, applied);
        applied = 0;
    }
    if (LIKELY(applied != 0))
        commit(&change, ops, applied);
    else
        lock_release(&section_lock);
    if (UNLIKELY(change.retypes)) {
        hv_status_t resumed = hv_vm_resume_vps(device->host->vm);

        ASSERT(resumed == HV_OK);
    }
    *done = applied;
    return status;
}

static hv_status_t run_one(struct hv_device *device, struct hv_mmio_op *op)
{
    uint64_t done;
    hv_status_t status;

    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    lock_acquire(&device->lock);
    status = run_locked(device, op, 1, 0, &done);
    lock_release(&device->lock);
    return status;
}

hv_status_t hv_mmio_range_create(struct hv_device *device, enum hv_bar bar, uint64_t bar_page,
                                 uint64_t page_count, uint32_t flags, hv_handle_t section,
                                 uint64_t section_page)
{
    struct hv_mmio_op op;

    op.kind = HV_MMIO_OP_CREATE;
    op.bar = bar;
    op.bar_page = bar_page;
    op.page_count = page_count;
    op.flags = flags;
    op.section = section;
    op.section_page = section_page;
    return run_one(device, &op);
}

hv_status_t hv_mmio_range_destroy(struct hv_device *device, enum hv_bar bar, uint64_t bar_page)
{
    struct hv_mmio_op op;

    op.kind = HV_MMIO_OP_DESTROY;
    op.bar = bar;
    op.bar_page = bar_page;
    return run_one(device, &op);
}

hv_status_t hv_mmio_range_unmap(struct hv_device *device, enum hv_bar bar, uint64_t bar_page,
                                uint64_t page_count)
{
    struct hv_mmio_op op;

    op.kind = HV_MMIO_OP_UNMAP;
    op.bar = bar;
    op.bar_page = bar_page;
    op.page_count = page_count;
    return run_one(device, &op);
}

hv_status_t hv_mmio_range_batch(struct hv_device *device, struct hv_mmio_op *ops, uint64_t count,
                                uint32_t flags, uint64_t *done)
{
    struct vm *vm;
    hv_status_t status, paused;

    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    if (!ops && count != 0)
        return HV_E_INVALID_PARAMETER_2;
    if (flags & ~(uint32_t)HV_BATCH_ATOMIC)
        return HV_E_INVALID_PARAMETER_4;
    if (!done)
        return HV_E_INVALID_PARAMETER_5;
    vm = device->host->vm;
    if (flags & HV_BATCH_ATOMIC) {
        paused = hv_vm_pause_vps(vm, 0);
        if (paused != HV_OK)
            return paused;
    }
    lock_acquire(&device->lock);
    status = run_locked(device, ops, count, flags, done);
    lock_release(&device->lock);
    if (flags & HV_BATCH_ATOMIC) {
        paused = hv_vm_resume_vps(vm);
        ASSERT(paused == HV_OK);
    }
    return status;
}

uint64_t range_destroy_all(struct hv_device *device)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < HV_BAR_COUNT; i++) {
        struct hv_bar_state *bar = &device->bar[i];
        struct hv_range *range;

        lock_acquire(&device->lock);
        while ((range = range_of(tree_first(&bar->ranges)))) {
            struct hv_mmio_op op = {
                .kind = HV_MMIO_OP_DESTROY, .bar = (enum hv_bar)i, .bar_page = range->node.key};
            uint64_t done;
            hv_status_t status;

            log_line("pci", "00:%02x.0 left behind a range of BAR%u, page 0x%llx, %llu pages",
                     device->slot, i, (unsigned long long)range->node.key,
                     (unsigned long long)range->map.pages);
            status = run_locked(device, &op, 1, 0, &done);
            ASSERT(status == HV_OK);
            count++;
        }
        lock_release(&device->lock);
    }
    return count;
}
