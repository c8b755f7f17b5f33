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
    bool
        forgets; /* types were forgotten before the leaves follow: section_lock is kept until then */
    /* Of the op before, which the next one often shares: nothing of it can have changed meanwhile. */
    struct hv_bar_state *bar; /* that it named, or NULL */
    struct hv_range *next;    /* the range behind its window, or NULL */
    struct section *section;  /* what `handle` gives with `flags`, or NULL */
    hv_handle_t handle;
    uint32_t flags;
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

/* A frame changes its type while it stays mapped: until that is done no VP may run. */
static void stop_vps(struct change *change)
{
    hv_status_t status;

    if (change->retypes)
        return;
    status = hv_vm_pause_vps(change->device->host->vm, 0);
    ASSERT(status == HV_OK);
    change->retypes = true;
}

/* The ranges that went no longer fix a type: their frames may get another one. */
static void forget_types(struct change *change, const struct records_change *records,
                         const struct hv_range *made)
{
    for (struct hv_range *range = records->gone; range; range = range->next) {
        if (!mapping_overlaps(&range->map, made->map.section, made->map.section_page,
                              made->map.pages))
            continue;
        if (range->map.memtype != made->map.memtype)
            stop_vps(change);
        mapping_remove(&range->map);
        range->typed = false;
        change->forgets = true;
    }
}

/* ---- create: the change ---- */

static inline struct pt_attr attr_of(uint32_t flags, enum memtype memtype)
{
    return (struct pt_attr){
        .rights = by_rights[RIGHTS(flags)].rights,
        .memtype = (uint8_t)memtype,
        .ignore_pat = (flags & HV_MMIO_IGNORE_GUEST_PAT) != 0,
        .max_level = largest_leaf(flags),
    };
}

static inline void fill_record(struct hv_range *range, struct hv_bar_state *bar,
                               const struct hv_mmio_op *op, struct section *section,
                               enum memtype memtype)
{
    range->node.key = op->bar_page;
    range->map.section = section;
    range->map.owner = &range_owner;
    range->map.section_page = op->section_page;
    range->map.pages = op->page_count;
    range->map.memtype = memtype;
    range->bar = bar;
    range->attr = attr_of(op->flags, memtype);
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

static void free_reserved(struct hv_range *made, const struct records_change *records)
{
    record_free(records->cut[0]);
    record_free(records->cut[1]);
    record_free(made);
}

/* Carve the window, and what that means for types. */
static NOINLINE void carve(struct change *change, struct hv_bar_state *bar,
                           const struct hv_mmio_op *op, const struct hv_range *made,
                           struct records_change *records)
{
    records_carve(bar, op->bar_page, op->page_count, records);
    forget_types(change, records, made);
}

/* Check 9 and the change of the records. `overlap`: the first range in the window; `below`: its neighbour below. */
static hv_status_t make_range(struct change *change, struct hv_mmio_op *op,
                              struct hv_range *overlap, struct hv_range *below,
                              struct section *section, const struct ledger_wish *wish)
{
    struct records_change *records = records_of(op);
    struct hv_bar_state *bar = change->bar;
    struct hv_range *made;
    hv_status_t status;

    if (!has_quota(bar, op, overlap))
        return HV_E_QUOTA;
    made = record_take();
    if (!made)
        return HV_E_NO_MEMORY;
    fill_record(made, bar, op, section, wish->memtype);
    records->cut[0] = records->cut[1] = records->gone = NULL;
    records->old_section = NULL;
    if (UNLIKELY(overlap != NULL) && !records_reserve(bar, op->bar_page, op->page_count, records)) {
        record_free(made);
        return HV_E_NO_MEMORY;
    }
    status = leaves_reserve(bar, op->bar_page, op->page_count, made, &records->tables);
    if (status != HV_OK) {
        free_reserved(made, records);
        return status;
    }
    records->made = made;
    records->pages = op->page_count;
    if (UNLIKELY(overlap != NULL)) {
        carve(change, bar, op, made, records);
        below = range_of(tree_find_le(&bar->ranges, op->bar_page));
    }
    if (UNLIKELY(wish->memtype != MEMTYPE_WB))
        mapping_flush_stale(section, op->section_page, op->page_count);
    mapping_add(&made->map, overlap ? NULL : &wish->place);
    records_insert(made, below);
    return HV_OK;
}

/* A page that is mapped has its table; else tables may be missing. */
static bool may_lack_tables(const struct hv_range *range, const struct section *section)
{
    return range->map.pages > 1 || section_facts(range->map.section)->is_reserved ||
           section_facts(section)->is_reserved;
}

/*
 * Likewise, when the window is exactly one range of a few pages: the busiest way of REPLACE. The record stays, with
 * another aim. Its types are forgotten at once, so section_lock is kept until the leaves have followed.
 */
static hv_status_t retarget(struct change *change, struct hv_mmio_op *op, struct hv_range *range,
                            struct section *section, enum memtype memtype)
{
    struct records_change *records = records_of(op);

    records->tables = 0;
    if (may_lack_tables(range, section)) {
        hv_status_t status =
            leaves_reserve(change->bar, op->bar_page, op->page_count, NULL, &records->tables);

        if (status != HV_OK)
            return status;
    }
    if (UNLIKELY(range->map.memtype != memtype) &&
        mapping_overlaps(&range->map, section, op->section_page, op->page_count))
        stop_vps(change);
    records->pages = op->page_count;
    records->cut[0] = records->cut[1] = records->gone = NULL;
    records_retarget(range, section, op->section_page, op->flags & ~(uint32_t)HV_MMIO_REPLACE,
                     attr_of(op->flags, memtype), records);
    change->forgets = true;
    change->next = range_of(tree_next(&range->node));
    return HV_OK;
}

/* The first range in the window, or NULL; then *below is the neighbour below. */
static inline struct hv_range *find_overlap(const struct change *change,
                                            const struct hv_mmio_op *op, struct hv_range **below)
{
    const struct hv_bar_state *bar = change->bar;
    struct hv_range *range = change->next;

    /* The next op of a batch is mostly about the next range. */
    if (range && range->node.key == op->bar_page && range->listed && range->bar == bar)
        return range;
    *below = range_of(tree_find_le(&bar->ranges, op->bar_page + op->page_count - 1));
    if (LIKELY(!*below || range_end(*below) <= op->bar_page))
        return NULL;
    return records_overlap(bar, op->bar_page, op->page_count);
}

/* Checks 6 to 9 of the contract, then the change. */
static hv_status_t create_in_section(struct change *change, struct hv_mmio_op *op,
                                     struct section *section)
{
    struct hv_range *below = NULL, *overlap = find_overlap(change, op, &below);
    struct ledger_wish wish = wish_of(op->flags);
    bool replaces = overlap && (op->flags & HV_MMIO_REPLACE);
    hv_status_t status;

    change->next = NULL;
    if (!fits(op->section_page, op->page_count, section_facts(section)->pages))
        return HV_E_INVALID_VIEW_SIZE;
    if (replaces && UNLIKELY(replaces_own_frames(overlap, op, section)))
        status = choose_type_without(change->bar, op, section, &wish);
    else
        status = mapping_choose_type(section, op->section_page, op->page_count, &wish);
    if (status != HV_OK)
        return status;
    if (overlap && !replaces)
        return HV_E_CONFLICTING_ADDRESSES;
    if (overlap && overlap->node.key == op->bar_page && overlap->map.pages == op->page_count &&
        op->page_count <= PAGES_UNDER_SECTION_LOCK)
        return retarget(change, op, overlap, section, wish.memtype);
    return make_range(change, op, overlap, below, section, &wish);
}

/* Check 5. What an op names again it may have again: nothing of the check depends on anything else. */
static inline hv_status_t take_section(struct change *change, const struct hv_mmio_op *op,
                                       struct section **section)
{
    hv_status_t status;

    if (change->section && op->section == change->handle && op->flags == change->flags) {
        *section = change->section;
        section_ref_again(*section, SECTION_USER_RANGE);
        return HV_OK;
    }
    status = section_ref_locked(op->section, by_rights[RIGHTS(op->flags)].access,
                                SECTION_USER_RANGE, section);
    change->section = status == HV_OK ? *section : NULL;
    change->handle = op->section;
    change->flags = op->flags;
    return status;
}

/* Checks 3 to 5, and the rest. */
static hv_status_t apply_create(struct change *change, struct hv_mmio_op *op)
{
    struct hv_bar_state *bar = change->bar;
    struct section *section;
    hv_status_t status;

    if (op->page_count == 0)
        return HV_E_INVALID_PARAMETER_4;
    status = check_flags(bar->index, op->flags);
    if (status != HV_OK)
        return status;
    if (!fits(op->bar_page, op->page_count, bar->bytes >> PAGE_SHIFT))
        return HV_E_OUT_OF_RANGE;
    status = take_section(change, op, &section);
    if (status != HV_OK)
        return status;
    status = create_in_section(change, op, section);
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
        free_reserved(NULL, records);
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

/* Check 2. */
static inline hv_status_t take_bar(struct change *change, const struct hv_mmio_op *op)
{
    if (change->bar && change->bar->index == op->bar)
        return HV_OK;
    change->bar = NULL;
    return device_memory_bar(change->device, op->bar, &change->bar);
}

/* Caller holds the device's lock and section_lock. */
static hv_status_t apply(struct change *change, struct hv_mmio_op *op)
{
    hv_status_t status;

    if (op->kind == HV_MMIO_OP_CREATE && change->device->state >= HV_DEVICE_TEARING_DOWN)
        return HV_E_INVALID_STATE;
    status = take_bar(change, op);
    if (status != HV_OK)
        return status;
    if (op->kind == HV_MMIO_OP_CREATE)
        status = apply_create(change, op);
    else if (op->kind == HV_MMIO_OP_UNMAP)
        status = apply_unmap(change->bar, op);
    else if (op->kind == HV_MMIO_OP_DESTROY)
        status = apply_destroy(change->bar, op);
    else
        status = HV_E_INVALID_PARAMETER;
    if (status == HV_OK) {
        change->leaves.tables += records_of(op)->tables;
        change->pages += records_of(op)->pages;
    }
    return status;
}

/* Bring the tables in line with what the op did to the records, later ones included. */
static inline void derive(struct change *change, struct hv_mmio_op *op)
{
    struct hv_bar_state *bar = &change->device->bar[op->bar];
    const struct records_change *records = records_of(op);
    struct hv_range *made = records->made;

    leaves_take_held(bar, records->gone, &change->leaves);
    if (made && made->listed && made->map.pages == records->pages)
        leaves_derive_range(made, &change->leaves);
    else
        leaves_derive(bar, op->bar_page, records->pages, &change->leaves);
}

/* After the flush: types and references. Caller holds section_lock. */
static inline void release(struct records_change *records)
{
    for (struct hv_range *range = records->gone; range; range = range->next) {
        if (range->typed)
            mapping_remove(&range->map);
        range->last = section_unref_locked(range->map.section, SECTION_USER_RANGE);
    }
    if (records->old_section && !section_unref_locked(records->old_section, SECTION_USER_RANGE))
        records->old_section = NULL;
}

/* Sections that nobody has any more, and the records. No lock but the device's. */
static inline void free_released(const struct records_change *records)
{
    for (struct hv_range *range = records->gone, *next; range; range = next) {
        next = range->next;
        if (UNLIKELY(range->last))
            section_destroy(range->map.section);
        record_free(range);
    }
    if (UNLIKELY(records->old_section != NULL))
        section_destroy(records->old_section);
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

/* Which locks the leaves are brought in line under. */
static inline void leaves_begin(struct change *change)
{
    if (LIKELY(change->pages <= PAGES_UNDER_SECTION_LOCK)) {
        lock_acquire(&change->device->host->vm->tables_lock);
        change->leaves.is_tables_held = true;
    } else if (!change->forgets) {
        section_hold(change, false);
    }
}

/* Everything behind the bar: nothing can fail. This is commit() for one op. */
static inline void commit_one(struct change *change, struct hv_mmio_op *op)
{
    struct records_change *records = records_of(op);
    struct hv_bar_state *bar = change->bar;

    leaves_begin(change);
    leaves_take_held(bar, records->gone, &change->leaves);
    if (records->made)
        leaves_derive_range(records->made, &change->leaves);
    else
        leaves_empty(bar, op->bar_page, records->pages, &change->leaves);
    leaves_finish(change->device->host->vm, &change->leaves);
    if (!records->gone && !records->old_section) {
        section_hold(change, false);
        return;
    }
    section_hold(change, true);
    release(records);
    section_hold(change, false);
    free_released(records);
}

static NOINLINE void commit(struct change *change, struct hv_mmio_op *ops, uint64_t count)
{
    struct vm *vm = change->device->host->vm;

    leaves_begin(change);
    for (uint64_t i = 0; i < count; i++)
        derive(change, &ops[i]);
    leaves_finish(vm, &change->leaves);
    section_hold(change, true);
    for (uint64_t i = 0; i < count; i++)
        release(records_of(&ops[i]));
    section_hold(change, false);
    for (uint64_t i = 0; i < count; i++)
        free_released(records_of(&ops[i]));
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
    change.retypes = change.forgets = false;
    change.bar = NULL;
    change.next = NULL;
    change.section = NULL;
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
    if (LIKELY(applied == 1))
        commit_one(&change, ops);
    else if (applied != 0)
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
