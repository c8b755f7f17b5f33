/*
 * The heart of the product: pages of a section behind pages of a BAR.
 *
 *      BAR page     0    1    2    3    4    5    6    7          record: struct hv_range
 *                 [trap][== range A ==][trap][== range B: 3 ==]
 *                          |                     |
 *      section page        7 ..                  0 1 | 2          section_frame() cuts a range into
 *      frames             [== one run ==]       [run][run]        runs of contiguous frames
 *
 * Each run has one entry in the ledger (one memory type per frame) and, while the BAR is live, its leaves
 * in the second-level tables at live_base + page. Everything that can fail comes before the first change.
 */
#include "hv/pci/range.h"

#include "hv/base/bits.h"
#include "hv/mem/mapping.h"
#include "hv/mem/slab.h"

#define NOINLINE __attribute__((noinline))
#define KNOWN_FLAGS                                                               \
    (HV_MMIO_WRITEABLE | HV_MMIO_EXECUTABLE | HV_MMIO_MT_MASK | HV_MMIO_REPLACE | \
     HV_MMIO_NO_LARGE | HV_MMIO_IGNORE_GUEST_PAT | HV_MMIO_TRACK_DIRTY)
#define FLAGS_NOT_BUILT (HV_MMIO_REPLACE | HV_MMIO_TRACK_DIRTY)

/* The machine's range records, and those of runs after the first. Lock: each its own, a leaf lock. */
static struct slab range_slab = SLAB_INIT("range", struct hv_range);
static struct slab run_slab = SLAB_INIT("run", struct hv_run);

static struct hv_range *range_of(struct tree_node *node)
{
    return node ? CONTAINER_OF(node, struct hv_range, node) : NULL;
}

struct hv_range *range_find(const struct hv_bar_state *bar, uint64_t bar_page)
{
    struct hv_range *range = range_of(tree_find_le(&bar->ranges, bar_page));

    return range && bar_page - range->node.key < range->pages ? range : NULL;
}

/* ---- leaves. Caller holds the device's lock and vm->tables_lock ---- */

/* The tables that 4 KiB leaves everywhere would take: the most that any mapping can. */
static uint64_t most_tables(const struct pt_root *root, uint64_t address, uint64_t pages)
{
    return pt_tables_needed(root, address, HPA(0), pages, 1);
}

/* The guest-physical address of the first page of the range when its BAR is at `base`. */
static uint64_t range_address(const struct hv_range *range, uint64_t base)
{
    return base + (range->node.key << PAGE_SHIFT);
}

/* An upper bound of the tables that activate() takes. */
static uint64_t tables_needed(const struct pt_root *root, const struct hv_range *range,
                              uint64_t base)
{
    uint64_t address = range_address(range, base);
    uint64_t tables = 0;

    for (const struct hv_run *run = &range->run; run; run = run->next) {
        tables += pt_tables_needed(root, address, run->frame, run->pages, range->attr.max_level);
        address += run->pages << PAGE_SHIFT;
    }
    if (!range->run.next)
        return tables;
    /* Runs share tables. */
    return MIN(tables, most_tables(root, range_address(range, base), range->pages));
}

static NOINLINE void activate_further(struct pt_root *root, const struct hv_range *range,
                                      uint64_t address, struct pt_flush *flush)
{
    for (const struct hv_run *run = range->run.next; run; run = run->next) {
        pt_map(root, address, run->frame, run->pages, &range->attr, flush);
        address += run->pages << PAGE_SHIFT;
    }
}

static inline void activate(struct pt_root *root, const struct hv_range *range, uint64_t base,
                            struct pt_flush *flush)
{
    uint64_t address = range_address(range, base);
    const struct hv_run *run = &range->run;

    pt_map(root, address, run->frame, run->pages, &range->attr, flush);
    if (UNLIKELY(run->next))
        activate_further(root, range, address + (run->pages << PAGE_SHIFT), flush);
}

static void deactivate(struct pt_root *root, const struct hv_range *range, uint64_t base,
                       struct pt_flush *flush)
{
    /* No leaf spans two ranges, so nothing is split and no table is taken. */
    pt_unmap(root, range_address(range, base), range->pages, flush);
}

hv_status_t ranges_activate(struct hv_bar_state *bar, uint64_t base, struct pt_flush *flush)
{
    struct vm *vm = bar->device->host->vm;
    uint64_t needed = 0, taken_before = flush->taken;
    hv_status_t status;

    for (struct tree_node *node = tree_first(&bar->ranges); node; node = tree_next(node))
        needed += tables_needed(&vm->tables, range_of(node), base);
    /* Many small ranges share tables. */
    if (needed != 0)
        needed = MIN(needed, most_tables(&vm->tables, base, bar->bytes >> PAGE_SHIFT));
    status = pt_pool_reserve(&vm->pool, needed);
    if (status != HV_OK)
        return status;
    for (struct tree_node *node = tree_first(&bar->ranges); node; node = tree_next(node))
        activate(&vm->tables, range_of(node), base, flush);
    pt_pool_unreserve(&vm->pool, needed - (flush->taken - taken_before));
    return HV_OK;
}

void ranges_deactivate(struct hv_bar_state *bar, struct pt_flush *flush)
{
    struct pt_root *root = &bar->device->host->vm->tables;

    for (struct tree_node *node = tree_first(&bar->ranges); node; node = tree_next(node))
        deactivate(root, range_of(node), bar->live_base, flush);
}

/* ---- create: what is asked for ---- */

/* A create call. */
struct request {
    struct hv_bar_state *bar;
    uint64_t bar_page, pages;
    uint32_t flags;
    struct section *section;
    const struct section_facts *facts; /* of the section */
    uint64_t section_page;
    hpa_t frame;        /* of the first page, ... */
    uint64_t run_pages; /* ... and how many follow contiguously; mostly all */
};

/*
 * section_frame() of a page and up to `most` that follow. Most sections have one run only, whose place is at
 * hand.
 */
static inline hpa_t find_run(const struct section *section, const struct section_facts *facts,
                             uint64_t page, uint64_t most, uint64_t *run_pages)
{
    hpa_t frame = HPA(facts->first_frame.v + (page << PAGE_SHIFT));
    uint64_t pages = facts->first_pages - page;

    if (UNLIKELY(page >= facts->first_pages))
        frame = section_frame(section, page, &pages);
    *run_pages = MIN(pages, most);
    return frame;
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

/* ---- create: check ---- */

/* Legal by itself? Then: can this build and CPU do it? */
static hv_status_t check_flags(enum hv_bar bar, uint32_t flags)
{
    if ((flags & ~(uint32_t)KNOWN_FLAGS) || (flags & HV_MMIO_MT_MASK) > HV_MMIO_MT_WB)
        return HV_E_INVALID_PARAMETER_5;
    if (bar == HV_BAR_ROM && (flags & HV_MMIO_WRITEABLE))
        return HV_E_INVALID_PARAMETER_5;
    if (flags & FLAGS_NOT_BUILT)
        return HV_E_NOT_SUPPORTED;
    if ((flags & HV_MMIO_IGNORE_GUEST_PAT) && !hv_caps.ignore_pat)
        return HV_E_NOT_SUPPORTED;
    return HV_OK;
}

/*
 * wish->memtype becomes the type that the frames get, when they may have it. Caller holds section_lock.
 */
static hv_status_t choose_type(const struct request *req, struct ledger_wish *wish)
{
    static const uint8_t types[] = {MEMTYPE_WB, MEMTYPE_UC, MEMTYPE_WC,
                                    MEMTYPE_WT, MEMTYPE_WP, MEMTYPE_WB};
    uint32_t flag = req->flags & HV_MMIO_MT_MASK;
    hv_status_t status;

    wish->memtype = (enum memtype)types[FIELD_GET(HV_MMIO_MT_MASK, flag)];
    wish->fixed = flag != HV_MMIO_MT_DEFAULT;
    status = mapping_choose_type(req->section, req->section_page, req->pages, wish);
    if (status != HV_OK)
        return status;
    if (!wish->fixed)
        wish->memtype = req->facts->default_type;
    /* Under second-level translation no MTRR would stop the CPU from caching device memory. */
    if (wish->memtype != MEMTYPE_UC && wish->memtype != MEMTYPE_WC && !req->facts->is_ram)
        return HV_E_CACHE_CONFLICT;
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

/* The last range that starts at or below the last page asked for: the neighbour below, or in the way. */
static struct hv_range *range_below(const struct request *req)
{
    return range_of(tree_find_le(&req->bar->ranges, req->bar_page + req->pages - 1));
}

static bool is_in_the_way(const struct hv_range *below, const struct request *req)
{
    return below && below->node.key + below->pages > req->bar_page;
}

/* Is [first, first + count) inside [0, limit)? */
static bool fits(uint64_t first, uint64_t count, uint64_t limit)
{
    return first <= limit && count <= limit - first;
}

/* ---- create: reserve ---- */

static NOINLINE void free_further_runs(struct hv_run *run)
{
    while (run) {
        struct hv_run *next = run->next;

        slab_free(&run_slab, run);
        run = next;
    }
}

static void free_records(struct hv_range *range)
{
    if (UNLIKELY(range->run.next))
        free_further_runs(range->run.next);
    slab_free(&range_slab, range);
}

/* Records of the runs after the first: section pages from `page` on. */
static NOINLINE bool make_further_runs(struct hv_range *range, uint64_t page, uint64_t left)
{
    struct hv_run **end = &range->run.next;

    while (left != 0) {
        struct hv_run *run = slab_take(&run_slab);

        if (!run)
            return false;
        run->frame =
            find_run(range->section, section_facts(range->section), page, left, &run->pages);
        run->next = NULL;
        *end = run;
        end = &run->next;
        page += run->pages;
        left -= run->pages;
    }
    return true;
}

static struct hv_range *make_records(const struct request *req, enum memtype memtype)
{
    struct hv_range *range = slab_take(&range_slab);

    if (!range)
        return NULL;
    range->node.key = req->bar_page;
    range->pages = req->pages;
    range->section_page = req->section_page;
    range->section = req->section;
    range->flags = req->flags;
    range->attr.rights = by_rights[RIGHTS(req->flags)].rights;
    range->attr.memtype = (uint8_t)memtype;
    range->attr.ignore_pat = (req->flags & HV_MMIO_IGNORE_GUEST_PAT) != 0;
    range->attr.max_level = largest_leaf(req->flags);
    range->trapped_writes = 0;
    range->run.frame = req->frame;
    range->run.pages = req->run_pages;
    range->run.next = NULL;
    if (UNLIKELY(req->run_pages != req->pages) &&
        !make_further_runs(range, req->section_page + req->run_pages,
                           req->pages - req->run_pages)) {
        free_records(range);
        return NULL;
    }
    return range;
}

/* More than activate() takes, whatever the range is like; cheaper to tell than how many. */
static uint64_t tables_at_most(uint64_t pages)
{
    return 2 * (PT_LEVELS - 1) + pages / 256;
}

/* Caller holds vm->tables_lock. */
static hv_status_t reserve_tables(struct vm *vm, const struct hv_range *range, uint64_t base,
                                  uint64_t *tables)
{
    *tables = tables_at_most(range->pages);
    if (UNLIKELY(*tables > pt_pool_spare(&vm->pool)))
        *tables = tables_needed(&vm->tables, range, base);
    return pt_pool_reserve(&vm->pool, *tables);
}

/* ---- create: commit. Nothing below can fail ---- */

/* Everything but leaves. */
static inline void record(struct hv_bar_state *bar, struct hv_range *range, struct hv_range *below,
                          const struct ledger_place *place)
{
    range->types = (struct mapping){.section = range->section,
                                    .section_page = range->section_page,
                                    .pages = range->pages,
                                    .memtype = (enum memtype)range->attr.memtype};
    mapping_add(&range->types, place);
    tree_insert_after(&bar->ranges, below ? &below->node : NULL, &range->node);
    bar->range_pages += range->pages;
    bar->device->range_count++;
}

/* While the BAR is not live: going live will reserve for all of its ranges. */
static NOINLINE hv_status_t record_dormant(struct hv_bar_state *bar, struct hv_range *range,
                                           struct hv_range *below, const struct ledger_place *place)
{
    record(bar, range, below, place);
    return HV_OK;
}

/* With its leaves. Can fail in its first step only. Not inlined: a create call has too many values for that. */
static NOINLINE hv_status_t record_live(struct hv_bar_state *bar, struct hv_range *range,
                                        struct hv_range *below, const struct ledger_place *place)
{
    struct vm *vm = bar->device->host->vm;
    struct pt_flush flush = {0};
    uint64_t tables;
    hv_status_t status;

    lock_acquire(&vm->tables_lock);
    status = reserve_tables(vm, range, bar->live_base, &tables);
    if (status == HV_OK) {
        record(bar, range, below, place);
        activate(&vm->tables, range, bar->live_base, &flush);
        if (flush.needed)
            vm_flush(vm, &flush);
        pt_pool_unreserve(&vm->pool, tables - flush.taken);
    }
    lock_release(&vm->tables_lock);
    return status;
}

/* ---- create ---- */

/* Check 9, then the change. `below`: the neighbour below, or NULL. */
static hv_status_t make_range(const struct request *req, struct hv_range *below,
                              const struct ledger_wish *wish)
{
    struct hv_bar_state *bar = req->bar;
    struct hv_range *range;
    hv_status_t status;

    if (bar->device->range_count >= PCI_RANGES_PER_DEV)
        return HV_E_QUOTA;
    range = make_records(req, wish->memtype);
    if (!range)
        return HV_E_NO_MEMORY;
    if (UNLIKELY(wish->memtype != MEMTYPE_WB) && req->facts->is_ram)
        mapping_flush_stale(range->section, range->section_page, range->pages);
    status = bar->live ? record_live(bar, range, below, &wish->place)
                       : record_dormant(bar, range, below, &wish->place);
    if (UNLIKELY(status != HV_OK))
        free_records(range);
    return status;
}

/* Checks 6 to 9 of the contract, then the change. Caller holds the device's lock and section_lock. */
static hv_status_t create_in_section(struct request *req)
{
    struct hv_range *below;
    struct ledger_wish wish;
    uint64_t run_pages;
    hv_status_t status;

    if (!fits(req->section_page, req->pages, req->facts->pages))
        return HV_E_INVALID_VIEW_SIZE;
    req->frame = find_run(req->section, req->facts, req->section_page, req->pages, &run_pages);
    req->run_pages = run_pages;
    status = choose_type(req, &wish);
    if (status != HV_OK)
        return status;
    below = range_below(req);
    if (is_in_the_way(below, req))
        return HV_E_CONFLICTING_ADDRESSES;
    return make_range(req, below, &wish);
}

/* Check 5 and the rest. Caller holds the device's lock and section_lock. */
static hv_status_t create_with_handle(struct request *req, hv_handle_t handle)
{
    struct section *section;
    hv_status_t status = section_ref_locked(handle, by_rights[RIGHTS(req->flags)].access,
                                            SECTION_USER_RANGE, &section);

    if (status != HV_OK)
        return status;
    req->section = section;
    req->facts = section_facts(section);
    /* Ranges do not know holes yet. */
    status = req->facts->is_reserved ? HV_E_NOT_SUPPORTED : create_in_section(req);
    if (UNLIKELY(status != HV_OK))
        section_ref_undo(section, SECTION_USER_RANGE);
    return status;
}

/* Checks 1 to 4, the rest in create_with_handle(). Caller holds the device's lock. */
static hv_status_t create_locked(struct hv_device *device, enum hv_bar index, struct request *req,
                                 hv_handle_t handle)
{
    struct hv_bar_state *bar;
    hv_status_t status;

    if (device->state >= HV_DEVICE_TEARING_DOWN)
        return HV_E_INVALID_STATE;
    status = device_memory_bar(device, index, &bar);
    if (status != HV_OK)
        return status;
    req->bar = bar;
    if (req->pages == 0)
        return HV_E_INVALID_PARAMETER_4;
    status = check_flags(index, req->flags);
    if (status != HV_OK)
        return status;
    if (!fits(req->bar_page, req->pages, bar->bytes >> PAGE_SHIFT))
        return HV_E_OUT_OF_RANGE;

    lock_acquire(&section_lock);
    status = create_with_handle(req, handle);
    lock_release(&section_lock);
    return status;
}

hv_status_t hv_mmio_range_create(struct hv_device *device, enum hv_bar bar, uint64_t bar_page,
                                 uint64_t page_count, uint32_t flags, hv_handle_t section,
                                 uint64_t section_page)
{
    struct request req;
    hv_status_t status;

    req.bar_page = bar_page;
    req.pages = page_count;
    req.flags = flags;
    req.section_page = section_page;
    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    lock_acquire(&device->lock);
    status = create_locked(device, bar, &req, section);
    lock_release(&device->lock);
    return status;
}

/* ---- destroy ---- */

/* Leaves first, then the flush, then what the leaves pointed at. Caller holds the device's lock. */
static void destroy(struct hv_bar_state *bar, struct hv_range *range)
{
    struct vm *vm = bar->device->host->vm;
    struct pt_flush flush = {0};

    if (bar->live) {
        lock_acquire(&vm->tables_lock);
        deactivate(&vm->tables, range, bar->live_base, &flush);
        vm_flush(vm, &flush);
        lock_release(&vm->tables_lock);
    }
    tree_remove(&bar->ranges, &range->node);
    bar->range_pages -= range->pages;
    bar->device->range_count--;

    lock_acquire(&section_lock);
    mapping_remove(&range->types);
    lock_release(&section_lock);
    section_unref(range->section, SECTION_USER_RANGE);
    free_records(range);
}

hv_status_t hv_mmio_range_destroy(struct hv_device *device, enum hv_bar bar, uint64_t bar_page)
{
    struct hv_bar_state *state;
    struct hv_range *range;
    hv_status_t status;

    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    lock_acquire(&device->lock);
    status = device_memory_bar(device, bar, &state);
    if (status == HV_OK) {
        range = range_of(tree_find(&state->ranges, bar_page));
        if (range)
            destroy(state, range);
        else
            status = HV_E_NOT_MAPPED;
    }
    lock_release(&device->lock);
    return status;
}

uint64_t range_destroy_all(struct hv_device *device)
{
    uint64_t count = 0;

    lock_acquire(&device->lock);
    for (unsigned i = 0; i < HV_BAR_COUNT; i++) {
        struct hv_bar_state *bar = &device->bar[i];

        for (struct hv_range *range; (range = range_of(tree_first(&bar->ranges)));) {
            log_line("pci", "00:%02x.0 left behind a range of BAR%u, page 0x%llx, %llu pages",
                     device->slot, i, (unsigned long long)range->node.key,
                     (unsigned long long)range->pages);
            destroy(bar, range);
            count++;
        }
    }
    lock_release(&device->lock);
    return count;
}
