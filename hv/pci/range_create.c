/* A new range: its checks, its memory type, and what it replaces. */
#include "hv/pci/change.h"

#include <stddef.h>

#include "hv/base/bits.h"
#include "hv/pci/doorbell.h"
#include "hv/pci/msix.h"

#define NOINLINE __attribute__((noinline))
#define KNOWN_FLAGS                                                               \
    (HV_MMIO_WRITEABLE | HV_MMIO_EXECUTABLE | HV_MMIO_MT_MASK | HV_MMIO_REPLACE | \
     HV_MMIO_NO_LARGE | HV_MMIO_IGNORE_GUEST_PAT | HV_MMIO_TRACK_DIRTY)

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

static inline void wish_for(uint32_t flags, struct ledger_wish *wish)
{
    static const uint8_t types[] = {MEMTYPE_WB, MEMTYPE_UC, MEMTYPE_WC,
                                    MEMTYPE_WT, MEMTYPE_WP, MEMTYPE_WB};

    wish->memtype = (enum memtype)types[FIELD_GET(HV_MMIO_MT_MASK, flags)];
    wish->fixed = (flags & HV_MMIO_MT_MASK) != HV_MMIO_MT_DEFAULT;
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
    ASSERT(status == HV_OK || status == HV_E_QUOTA); /* the latter: paused as often as can be */
    change->retypes = status == HV_OK;
}

static inline void forget(struct change *change, struct hv_range *range)
{
    mapping_remove(&range->map);
    range->typed = false;
    change->forgets = true;
    change->gone_types |= (uint8_t)(1u << range->map.memtype);
}

void change_forget_gone(struct change *change, struct records_change *records)
{
    for (struct hv_range *range = records->gone; range; range = range->next)
        if (range->typed)
            forget(change, range);
    change->takes_held = true;
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
        forget(change, range);
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

/* Carve the window, and what that means for types. */
static NOINLINE void carve(struct change *change, struct hv_bar_state *bar,
                           const struct hv_mmio_op *op, const struct hv_range *made,
                           struct records_change *records)
{
    records_carve(bar, op->bar_page, op->page_count, records);
    forget_types(change, records, made);
    if (!change->is_alone)
        change_forget_gone(change, records);
}

/* The first leaf that a live BAR gets: from now on a fault in it may be over when it comes to be looked at. */
static NOINLINE void expect_leaves(const struct change *change, struct hv_bar_state *bar)
{
    bar->has_leaves = true;
    if (change->leaves.is_tables_held)
        bar_update_handler_held(bar);
    else
        bar_update_handler(bar);
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

    if (is_near_quota(bar) && !change_has_quota(bar, op, overlap))
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
    records->tables = 0;
    if (overlap || !change->is_alone || op->page_count != 1 ||
        !leaves_begin_page(bar, op->bar_page, &change->leaves)) {
        status = leaves_reserve(bar, op->bar_page, op->page_count, made, change->is_alone,
                                &records->tables);
        if (status != HV_OK) {
            change_free_reserved(made, records);
            return status;
        }
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
    if (UNLIKELY(!bar->has_leaves))
        expect_leaves(change, bar);
    records_insert(made, below);
    return HV_OK;
}

/* A range of one page is replaced by one page, and both have frames: so its table is there, and stays. */
static inline bool is_swap(const struct hv_mmio_op *op, const struct hv_range *overlap,
                           const struct section *section)
{
    return op->page_count == 1 && overlap->node.key == op->bar_page && overlap->map.pages == 1 &&
           !section_facts(overlap->map.section)->is_reserved &&
           !section_facts(section)->is_reserved;
}

/*
 * Such a range stays, with another aim: the busiest way of REPLACE takes no record and no table. Its type is forgotten at
 * once, so section_lock is kept until the leaf has followed.
 */
static hv_status_t retarget(struct change *change, struct hv_mmio_op *op, struct hv_range *range,
                            struct section *section, enum memtype memtype)
{
    struct records_change *records = records_of(op);

    if (UNLIKELY(range->map.memtype != memtype) &&
        mapping_overlaps(&range->map, section, op->section_page, op->page_count))
        stop_vps(change);
    change->gone_types |= (uint8_t)(1u << range->map.memtype);
    records->tables = 0;
    records->pages = 1;
    records_retarget(range, section, op->section_page, op->flags & ~(uint32_t)HV_MMIO_REPLACE,
                     attr_of(op->flags, memtype), records);
    change->forgets = true;
    change->next = range_of(tree_next(&range->node));
    return HV_OK;
}

/*
 * Can ops like the one of `before` be told by a look? They can when both sections have one type only, the same, and no
 * page has a doorbell: nothing can be refused then, nobody else can name the frames, and no cache line matters.
 */
static bool is_plain_swap(const struct change *change, const struct records_change *before)
{
    const struct ledger *from = section_facts(before->old_section)->ledger;
    const struct ledger *to = section_facts(change->section)->ledger;

    return from != to && change->bar->doorbells == 0 && ledger_is_plain(from) &&
           ledger_is_plain(to) && from->plain_type == MEMTYPE_WB && to->plain_type == MEMTYPE_WB &&
           change->bar->bytes == change->bar->max_bytes;
}

/* Two neighbouring words of an op as one. */
static inline uint64_t pair(const void *words)
{
    uint64_t value;

    __builtin_memcpy(&value, words, sizeof(value));
    return value;
}

/* What takes a swap back. */
static inline void swap_record(struct hv_range *range, struct records_change *records)
{
    records->made = range;
    records->pages = 1;
    records->old_section = range->map.section;
    records->old_section_page = range->map.section_page;
    records->old_flags = range->flags;
    records->old_attr = range->attr;
}

uint64_t change_swap_more(struct change *change, struct hv_mmio_op *ops, uint64_t count)
{
    const struct records_change *before = records_of(ops - 1);
    const uint64_t kind_bar = pair(&ops[-1].kind), flags_section = pair(&ops[-1].flags);
    struct section *from = before->old_section, *to = change->section;
    const struct section_facts *facts = section_facts(to);
    const struct hv_range *like = before->made;
    struct ledger *from_ledger, *to_ledger = facts->ledger;
    struct hv_range *range = change->next;
    uint64_t done = 0;

    _Static_assert(offsetof(struct hv_mmio_op, bar) == offsetof(struct hv_mmio_op, kind) + 4 &&
                       offsetof(struct hv_mmio_op, section) ==
                           offsetof(struct hv_mmio_op, flags) + 4,
                   "neighbours");
    if (count == 0 || !to || !is_plain_swap(change, before))
        return 0;
    from_ledger = section_facts(from)->ledger;
    for (; done < count && range; done++) {
        struct hv_mmio_op *op = &ops[done];

        if (op->bar_page != range->node.key || range->map.section != from ||
            range->map.pages != 1 || op->page_count != 1 || pair(&op->kind) != kind_bar ||
            pair(&op->flags) != flags_section || op->section_page >= facts->first_pages)
            break;
        swap_record(range, records_of(op));
        ledger_move(from_ledger, to_ledger, &range->map.types,
                    facts->ledger_first + op->section_page,
                    facts->ledger_first + op->section_page + 1);
        range->map.section = to;
        range->map.section_page = op->section_page;
        range->attr = like->attr;
        range->flags = like->flags;
        range = range_of(tree_next(&range->node));
    }
    ledger_moved(from_ledger, to_ledger, done);
    section_ref_more(to, SECTION_USER_RANGE, done);
    change->next = range;
    change->pages += done;
    return done;
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

/* Pages that no range may hide, whatever is replaced. */
static NOINLINE bool must_trap(const struct hv_bar_state *bar, const struct hv_mmio_op *op)
{
    if ((op->flags & HV_MMIO_WRITEABLE) && doorbell_in_pages(bar, op->bar_page, op->page_count))
        return true;
    return bar->has_msix && msix_in_pages(bar, op->bar_page, op->page_count);
}

/* Checks 6 to 9 of the contract, then the change. */
static hv_status_t create_in_section(struct change *change, struct hv_mmio_op *op,
                                     struct section *section)
{
    struct hv_range *below = NULL, *overlap = find_overlap(change, op, &below);
    struct ledger_wish wish;
    bool replaces = overlap && (op->flags & HV_MMIO_REPLACE);
    hv_status_t status;

    wish_for(op->flags, &wish);
    change->next = NULL;
    if (!change_fits(op->section_page, op->page_count, section_facts(section)->pages))
        return HV_E_INVALID_VIEW_SIZE;
    if (replaces && UNLIKELY(replaces_own_frames(overlap, op, section)))
        status = choose_type_without(change->bar, op, section, &wish);
    else
        status = mapping_choose_type(section, op->section_page, op->page_count, &wish);
    if (status != HV_OK)
        return status;
    if (overlap && !replaces)
        return HV_E_CONFLICTING_ADDRESSES;
    if (UNLIKELY(change->bar->doorbells != 0 || change->bar->has_msix) &&
        must_trap(change->bar, op))
        return HV_E_CONFLICTING_ADDRESSES;
    if (UNLIKELY(change->gone_types & ~(1u << wish.memtype)))
        stop_vps(change);
    if (overlap && is_swap(op, overlap, section))
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
hv_status_t change_create(struct change *change, struct hv_mmio_op *op)
{
    struct hv_bar_state *bar = change->bar;
    struct section *section;
    hv_status_t status;

    if (op->page_count == 0)
        return HV_E_INVALID_PARAMETER_4;
    status = check_flags(bar->index, op->flags);
    if (status != HV_OK)
        return status;
    if (!change_fits(op->bar_page, op->page_count, bar->bytes >> PAGE_SHIFT))
        return HV_E_OUT_OF_RANGE;
    status = take_section(change, op, &section);
    if (status != HV_OK)
        return status;
    status = create_in_section(change, op, section);
    if (UNLIKELY(status != HV_OK))
        section_ref_undo(section, SECTION_USER_RANGE);
    return status;
}
