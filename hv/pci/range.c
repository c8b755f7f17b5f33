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

#include "hv/mem/section.h"
#include "hv/mem/slab.h"
#include "hv/mem/window.h"

#define KNOWN_FLAGS                                                               \
    (HV_MMIO_WRITEABLE | HV_MMIO_EXECUTABLE | HV_MMIO_MT_MASK | HV_MMIO_REPLACE | \
     HV_MMIO_NO_LARGE | HV_MMIO_IGNORE_GUEST_PAT | HV_MMIO_TRACK_DIRTY)
#define FLAGS_NOT_BUILT (HV_MMIO_REPLACE | HV_MMIO_TRACK_DIRTY)

/* The machine's range records and ledger edges. Lock: each its own, a leaf lock. */
static struct slab range_slab = SLAB_INIT("range", struct hv_range);
static struct slab edge_slab = SLAB_INIT("ledger edge", struct ledger_edge);

/* ---- the shape of a range ---- */

/* A piece of a range whose frames are contiguous. Start with {0} and call run_next() until false. */
struct run {
    uint64_t page; /* counted from the range's first */
    uint64_t pages;
    hpa_t frame;
};

static bool run_next(const struct hv_range *range, struct run *run)
{
    run->page += run->pages;
    if (run->page == range->pages)
        return false;
    if (run->page == 0) {
        run->frame = range->first_frame;
        run->pages = range->first_pages;
        return true;
    }
    run->frame = section_frame(range->section, range->section_page + run->page, &run->pages);
    run->pages = MIN(run->pages, range->pages - run->page);
    return true;
}

static void find_first_run(struct hv_range *range)
{
    uint64_t pages;

    range->first_frame = section_frame(range->section, range->section_page, &pages);
    range->first_pages = MIN(pages, range->pages);
}

/* The guest-physical address of a page of the range when its BAR is at `base`. */
static uint64_t page_address(const struct hv_range *range, uint64_t base, uint64_t page)
{
    return base + ((range->node.key + page) << PAGE_SHIFT);
}

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

/* An upper bound of the tables that activate() takes. */
static uint64_t tables_needed(const struct pt_root *root, const struct hv_range *range,
                              uint64_t base)
{
    uint64_t tables = 0;

    for (struct run run = {0}; run_next(range, &run);)
        tables += pt_tables_needed(root, page_address(range, base, run.page), run.frame, run.pages,
                                   range->attr.max_level);
    if (range->first_pages == range->pages)
        return tables;
    /* Runs share tables. */
    return MIN(tables, most_tables(root, page_address(range, base, 0), range->pages));
}

static void activate(struct pt_root *root, struct hv_range *range, uint64_t base,
                     struct pt_flush *flush)
{
    for (unsigned level = 1; level < PT_LEVELS; level++)
        range->leaves[level] = 0 - root->leaves[level];
    for (struct run run = {0}; run_next(range, &run);)
        pt_map(root, page_address(range, base, run.page), run.frame, run.pages, &range->attr,
               flush);
    for (unsigned level = 1; level < PT_LEVELS; level++)
        range->leaves[level] += root->leaves[level];
}

static void deactivate(struct pt_root *root, struct hv_range *range, uint64_t base,
                       struct pt_flush *flush)
{
    /* No leaf spans two ranges, so nothing is split and no table is taken. */
    pt_unmap(root, page_address(range, base, 0), range->pages, flush);
    for (unsigned level = 1; level < PT_LEVELS; level++)
        range->leaves[level] = 0;
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

static hv_status_t ref_section(hv_handle_t handle, uint32_t flags, struct section **section)
{
    uint32_t access = HV_SECTION_MAP_READ;

    if (flags & HV_MMIO_WRITEABLE)
        access |= HV_SECTION_MAP_WRITE;
    if (flags & HV_MMIO_EXECUTABLE)
        access |= HV_SECTION_MAP_EXECUTE;
    return section_ref(handle, access, SECTION_USER_RANGE, section);
}

/* The type that the flags ask for. Caller holds section_lock. */
static enum memtype choose_type(const struct hv_range *draft)
{
    enum memtype in_force;

    switch (draft->flags & HV_MMIO_MT_MASK) {
    case HV_MMIO_MT_UC:
        return MEMTYPE_UC;
    case HV_MMIO_MT_WC:
        return MEMTYPE_WC;
    case HV_MMIO_MT_WT:
        return MEMTYPE_WT;
    case HV_MMIO_MT_WP:
        return MEMTYPE_WP;
    case HV_MMIO_MT_WB:
        return MEMTYPE_WB;
    default:
        if (ledger_type(&hv_ledger, draft->first_frame, &in_force))
            return in_force;
        return section_default_type(draft->section);
    }
}

/* May the frames have this type? Caller holds section_lock. */
static hv_status_t check_type(const struct hv_range *draft, enum memtype memtype)
{
    bool cached = memtype != MEMTYPE_UC && memtype != MEMTYPE_WC;

    /* Under second-level translation no MTRR would stop the CPU from caching device memory. */
    if (cached && !section_is_ram(draft->section))
        return HV_E_CACHE_CONFLICT;
    for (struct run run = {0}; run_next(draft, &run);) {
        hv_status_t status = ledger_check(&hv_ledger, run.frame, run.pages, memtype);

        if (status != HV_OK)
            return status;
    }
    return HV_OK;
}

static struct pt_attr leaf_attr(uint32_t flags, enum memtype memtype)
{
    struct pt_attr attr = {.rights = PT_R, .memtype = (uint8_t)memtype, .max_level = 1};
    bool executable = (flags & HV_MMIO_EXECUTABLE) != 0;

    if (flags & HV_MMIO_WRITEABLE)
        attr.rights |= PT_W;
    if (executable)
        attr.rights |= PT_X;
    attr.ignore_pat = (flags & HV_MMIO_IGNORE_GUEST_PAT) != 0;

    /* Large executable leaves wake the iTLB multihit erratum where the CPU has it. */
    if ((flags & HV_MMIO_NO_LARGE) || (executable && !hv_caps.large_executable))
        return attr;
    if (hv_caps.large_2m)
        attr.max_level = hv_caps.large_1g ? 3 : 2;
    return attr;
}

static bool overlaps(const struct hv_bar_state *bar, const struct hv_range *draft)
{
    uint64_t last_page = draft->node.key + draft->pages - 1;
    const struct hv_range *below = range_of(tree_find_le(&bar->ranges, last_page));

    return below && below->node.key + below->pages > draft->node.key;
}

/* Is [first, first + count) inside [0, limit)? */
static bool fits(uint64_t first, uint64_t count, uint64_t limit)
{
    return first <= limit && count <= limit - first;
}

/* ---- create: reserve ---- */

/* Everything that committing a range takes. */
struct reservation {
    struct hv_range *range;
    struct ledger_edge *edges; /* two per run, chained through node.child[0] */
    uint64_t tables;           /* promised by the pool */
};

static bool push_edge(struct reservation *res)
{
    struct ledger_edge *edge = slab_alloc(&edge_slab);

    if (!edge)
        return false;
    edge->node.child[0] = res->edges ? &res->edges->node : NULL;
    res->edges = edge;
    return true;
}

static struct ledger_edge *pop_edge(struct reservation *res)
{
    struct ledger_edge *edge = res->edges;
    struct tree_node *next = edge->node.child[0];

    edge->node.child[0] = NULL;
    res->edges = next ? CONTAINER_OF(next, struct ledger_edge, node) : NULL;
    return edge;
}

static void release_records(struct reservation *res)
{
    while (res->edges)
        slab_free(&edge_slab, pop_edge(res));
    slab_free(&range_slab, res->range);
}

static bool reserve_records(const struct hv_range *draft, struct reservation *res)
{
    res->range = slab_alloc(&range_slab);
    if (!res->range)
        return false;
    for (struct run run = {0}; run_next(draft, &run);)
        if (!push_edge(res) || !push_edge(res))
            return false;
    return true;
}

static hv_status_t reserve_tables(const struct hv_bar_state *bar, const struct hv_range *draft,
                                  struct reservation *res)
{
    struct vm *vm = bar->device->host->vm;
    uint64_t tables;
    hv_status_t status;

    if (!bar->live)
        return HV_OK; /* going live will reserve for all ranges of the BAR */
    lock_acquire(&vm->tables_lock);
    tables = tables_needed(&vm->tables, draft, bar->live_base);
    status = pt_pool_reserve(&vm->pool, tables);
    lock_release(&vm->tables_lock);
    if (status == HV_OK)
        res->tables = tables;
    return status;
}

static hv_status_t reserve(const struct hv_bar_state *bar, const struct hv_range *draft,
                           struct reservation *res)
{
    hv_status_t status = HV_E_NO_MEMORY;

    if (bar->device->range_count >= PCI_RANGES_PER_DEV)
        return HV_E_QUOTA;
    if (reserve_records(draft, res))
        status = reserve_tables(bar, draft, res);
    if (status != HV_OK)
        release_records(res);
    return status;
}

/* ---- create: commit. Nothing below can fail ---- */

/* From here on the frames have the range's type. Caller holds section_lock. */
static void fix_type(const struct hv_range *range, struct reservation *res)
{
    bool stale_lines = range->attr.memtype != MEMTYPE_WB && section_is_ram(range->section);

    for (struct run run = {0}; run_next(range, &run);) {
        struct ledger_edge *spare[2] = {pop_edge(res), pop_edge(res)};

        ledger_add(&hv_ledger, run.frame, run.pages, (enum memtype)range->attr.memtype, spare);
        slab_free(&edge_slab, spare[0]);
        slab_free(&edge_slab, spare[1]);
        /* A dirty line left from write-back days would later overwrite what the guest stores. */
        if (stale_lines)
            window_flush_lines(run.frame, run.pages);
    }
}

static void commit(struct hv_bar_state *bar, const struct hv_range *draft, struct reservation *res)
{
    struct vm *vm = bar->device->host->vm;
    struct hv_range *range = res->range;
    struct pt_flush flush = {0};

    *range = *draft;
    fix_type(range, res);
    tree_insert(&bar->ranges, &range->node);
    bar->range_pages += range->pages;
    bar->device->range_count++;
    if (!bar->live)
        return;
    lock_acquire(&vm->tables_lock);
    activate(&vm->tables, range, bar->live_base, &flush);
    vm_flush(vm, &flush);
    pt_pool_unreserve(&vm->pool, res->tables - flush.taken);
    lock_release(&vm->tables_lock);
}

/* ---- create ---- */

/* Checks 6 to 9 of the contract, then the change. Caller holds the device's lock and section_lock. */
static hv_status_t create_in_section(struct hv_bar_state *bar, struct hv_range *draft)
{
    struct reservation res = {0};
    enum memtype memtype;
    hv_status_t status;

    if (!fits(draft->section_page, draft->pages, section_pages(draft->section)))
        return HV_E_INVALID_VIEW_SIZE;
    find_first_run(draft);
    memtype = choose_type(draft);
    status = check_type(draft, memtype);
    if (status != HV_OK)
        return status;
    draft->attr = leaf_attr(draft->flags, memtype);
    if (overlaps(bar, draft))
        return HV_E_CONFLICTING_ADDRESSES;
    status = reserve(bar, draft, &res);
    if (status != HV_OK)
        return status;
    commit(bar, draft, &res);
    return HV_OK;
}

/* Checks 1 to 5, the rest in create_in_section(). Caller holds the device's lock. */
static hv_status_t create_locked(struct hv_device *device, enum hv_bar index,
                                 struct hv_range *draft, hv_handle_t handle)
{
    struct hv_bar_state *bar;
    hv_status_t status;

    if (device->state >= HV_DEVICE_TEARING_DOWN)
        return HV_E_INVALID_STATE;
    status = device_memory_bar(device, index, &bar);
    if (status != HV_OK)
        return status;
    if (draft->pages == 0)
        return HV_E_INVALID_PARAMETER_4;
    status = check_flags(index, draft->flags);
    if (status != HV_OK)
        return status;
    if (!fits(draft->node.key, draft->pages, bar->bytes >> PAGE_SHIFT))
        return HV_E_OUT_OF_RANGE;
    status = ref_section(handle, draft->flags, &draft->section);
    if (status != HV_OK)
        return status;

    lock_acquire(&section_lock);
    status = create_in_section(bar, draft);
    lock_release(&section_lock);
    if (status != HV_OK)
        section_unref(draft->section, SECTION_USER_RANGE);
    return status;
}

hv_status_t hv_mmio_range_create(struct hv_device *device, enum hv_bar bar, uint64_t bar_page,
                                 uint64_t page_count, uint32_t flags, hv_handle_t section,
                                 uint64_t section_page)
{
    struct hv_range draft = {
        .node.key = bar_page,
        .pages = page_count,
        .section_page = section_page,
        .flags = flags,
    };
    hv_status_t status;

    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    lock_acquire(&device->lock);
    status = create_locked(device, bar, &draft, section);
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
    for (struct run run = {0}; run_next(range, &run);) {
        struct ledger_edge *freed[2];

        ledger_remove(&hv_ledger, run.frame, run.pages, freed);
        slab_free(&edge_slab, freed[0]);
        slab_free(&edge_slab, freed[1]);
    }
    lock_release(&section_lock);
    section_unref(range->section, SECTION_USER_RANGE);
    slab_free(&range_slab, range);
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
