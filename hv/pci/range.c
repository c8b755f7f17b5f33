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

#include "hv/base/string.h"
#include "hv/pci/change.h"

#define NOINLINE __attribute__((noinline))

bool change_has_quota(const struct hv_bar_state *bar, const struct hv_mmio_op *op,
                      const struct hv_range *overlap)
{
    uint64_t count = bar->device->range_count;

    if (overlap)
        count += (uint64_t)records_carve_count(bar, op->bar_page, op->page_count);
    return count + (op->kind == HV_MMIO_OP_CREATE) <= PCI_RANGES_PER_DEV;
}

void change_free_reserved(struct hv_range *made, const struct records_change *records)
{
    record_free(records->cut[0]);
    record_free(records->cut[1]);
    record_free(made);
}
/* ---- unmap and destroy ---- */

static hv_status_t apply_unmap(struct change *change, struct hv_mmio_op *op)
{
    struct hv_bar_state *bar = change->bar;
    struct records_change *records = records_of(op);
    struct hv_range *overlap;
    hv_status_t status;

    if (op->page_count == 0)
        return HV_E_INVALID_PARAMETER_4;
    if (!change_fits(op->bar_page, op->page_count, bar->bytes >> PAGE_SHIFT))
        return HV_E_OUT_OF_RANGE;
    *records = (struct records_change){.pages = op->page_count};
    overlap = records_overlap(bar, op->bar_page, op->page_count);
    if (!overlap)
        return HV_OK;
    if (is_near_quota(bar) && !change_has_quota(bar, op, overlap))
        return HV_E_QUOTA;
    if (!records_reserve(bar, op->bar_page, op->page_count, records))
        return HV_E_NO_MEMORY;
    status =
        leaves_reserve(bar, op->bar_page, op->page_count, NULL, change->is_alone, &records->tables);
    if (status != HV_OK) {
        change_free_reserved(NULL, records);
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

static hv_status_t apply_removal(struct change *change, struct hv_mmio_op *op)
{
    hv_status_t status = HV_E_INVALID_PARAMETER;

    change->next = NULL; /* what it was may go */
    if (op->kind == HV_MMIO_OP_UNMAP)
        status = apply_unmap(change, op);
    else if (op->kind == HV_MMIO_OP_DESTROY)
        status = apply_destroy(change->bar, op);
    if (status == HV_OK && !change->is_alone)
        change_forget_gone(change, records_of(op));
    return status;
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
    status = op->kind == HV_MMIO_OP_CREATE ? change_create(change, op) : apply_removal(change, op);
    if (status == HV_OK) {
        change->leaves.tables += records_of(op)->tables;
        change->pages += records_of(op)->pages;
    }
    return status;
}

/* Bring the tables in line with what an op did to the records, later ones included. Returns how many ops are done. */
static inline uint64_t derive(struct change *change, struct hv_mmio_op *ops, uint64_t count)
{
    struct hv_bar_state *bar = &change->device->bar[ops->bar];
    const struct records_change *records = records_of(ops);
    struct hv_range *made = records->made;

    if (records->old_section) {
        uint64_t done = leaves_derive_swaps(bar, ops, count, &change->leaves);

        if (done != 0)
            return done;
    }
    if (made && made->listed && made->map.pages == records->pages)
        leaves_derive_range(made, &change->leaves);
    else
        leaves_derive(bar, ops->bar_page, records->pages, &change->leaves);
    return 1;
}

/* What is left to be given back when no lock but the device's is held. */
struct leftovers {
    struct hv_range *ranges;
    struct section *sections;
};

/* After the flush: types and references of what an op took out. Caller holds section_lock. */
static inline void release_gone(struct records_change *records, struct leftovers *left)
{
    for (struct hv_range *range = records->gone, *next; range; range = next) {
        next = range->next;
        if (range->typed)
            mapping_remove(&range->map);
        section_unref_locked(range->map.section, SECTION_USER_RANGE, 1, &left->sections);
        range->next = left->ranges;
        left->ranges = range;
    }
}

static inline void release(struct hv_mmio_op *ops, uint64_t count, struct leftovers *left)
{
    for (uint64_t i = 0, swaps; i < count; i += swaps) {
        struct section *from = records_of(&ops[i])->old_section;

        swaps = 1;
        if (!from) {
            release_gone(records_of(&ops[i]), left);
            continue;
        }
        while (i + swaps < count && records_of(&ops[i + swaps])->old_section == from)
            swaps++;
        section_unref_locked(from, SECTION_USER_RANGE, swaps, &left->sections);
    }
}

static inline void give_back(const struct leftovers *left)
{
    section_destroy(left->sections);
    for (struct hv_range *range = left->ranges, *next; range; range = next) {
        next = range->next;
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

/* Which locks the leaves are brought in line under. */
static inline void leaves_begin(struct change *change)
{
    if (change->leaves.is_tables_held)
        return;
    if (LIKELY(change->pages <= CHANGE_PAGES_UNDER_SECTION_LOCK)) {
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
    struct hv_bar_state *bar =
        &change->device->bar[op->bar]; /* change->bar may be of an op that failed */
    struct vm *vm = change->device->host->vm;
    struct leftovers left;

    leaves_begin(change);
    if (!records->old_section)
        leaves_take_held(bar, records->gone, &change->leaves);
    if (records->made)
        leaves_derive_range(records->made, &change->leaves);
    else
        leaves_empty(bar, op->bar_page, records->pages, &change->leaves);
    if (UNLIKELY(change->leaves.flush.filled))
        leaves_join(bar, op->bar_page, records->pages, &change->leaves);
    if (LIKELY(change->leaves.is_tables_held && change->leaves.tables == 0 &&
               !change->leaves.flush.needed))
        lock_release(&vm->tables_lock);
    else
        leaves_finish(vm, &change->leaves);
    if (!records->old_section && !records->gone) {
        section_hold(change, false);
        return;
    }
    left = (struct leftovers){0};
    section_hold(change, true);
    release(op, 1, &left);
    section_hold(change, false);
    give_back(&left);
}

static NOINLINE void commit(struct change *change, struct hv_mmio_op *ops, uint64_t count)
{
    struct vm *vm = change->device->host->vm;
    struct leftovers left = {0};

    leaves_begin(change);
    for (uint64_t i = 0; change->takes_held && i < count; i++)
        if (!records_of(&ops[i])->old_section)
            leaves_take_held(&change->device->bar[ops[i].bar], records_of(&ops[i])->gone,
                             &change->leaves);
    for (uint64_t i = 0; i < count;)
        i += derive(change, &ops[i], count - i);
    for (uint64_t i = 0; i < count && change->leaves.flush.filled; i++)
        leaves_join(&change->device->bar[ops[i].bar], ops[i].bar_page, records_of(&ops[i])->pages,
                    &change->leaves);
    leaves_finish(vm, &change->leaves);
    section_hold(change, true);
    release(ops, count, &left);
    section_hold(change, false);
    give_back(&left);
}

static void undo(struct change *change, struct hv_mmio_op *ops, uint64_t count)
{
    while (count-- > 0) {
        struct records_change *records = records_of(&ops[count]);

        records_undo(&change->device->bar[ops[count].bar], ops[count].bar_page, records);
        if (!records->old_section)
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
    change.is_alone = count == 1;
    change.retypes = change.forgets = change.takes_held = false;
    change.gone_types = 0;
    change.bar = NULL;
    change.next = NULL;
    change.section = NULL;
    lock_acquire(&section_lock);
    while (applied < count) {
        status = apply(&change, &ops[applied]);
        if (status != HV_OK)
            break;
        applied++;
        if (change.next)
            applied += change_swap_more(&change, &ops[applied], count - applied);
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

            log_line("pci", "00:%02x.%u left behind a range of BAR%u, page 0x%llx, %llu pages",
                     device->slot, device->function, i, (unsigned long long)range->node.key,
                     (unsigned long long)range->map.pages);
            status = run_locked(device, &op, 1, 0, &done);
            ASSERT(status == HV_OK);
            count++;
        }
        lock_release(&device->lock);
    }
    return count;
}
