#include "hv/pci/inspect.h"

#include "hv/base/string.h"
#include "hv/mem/frames.h"
#include "hv/mem/space.h"
#include "hv/mem/view.h"
#include "hv/pci/config.h"
#include "hv/pci/range.h"

#define FNV_OFFSET 0xcbf29ce484222325ull
#define FNV_PRIME  0x100000001b3ull

void range_leaves(const struct hv_bar_state *bar, const struct hv_range *range,
                  uint64_t leaves[PT_LEVELS])
{
    struct vm *vm = bar->device->host->vm;
    uint64_t first = MIN(range->node.key, bar->bytes >> PAGE_SHIFT);
    uint64_t address = bar->live_base + (first << PAGE_SHIFT);
    uint64_t end = bar->live_base + MIN(range_end(range) << PAGE_SHIFT, bar->bytes);
    struct pt_leaf leaf;

    memset(leaves, 0, PT_LEVELS * sizeof(*leaves));
    while (bar->live && address < end) {
        /* The device's lock keeps the leaves; the tables may change around them from one to the next. */
        lock_acquire(&vm->tables_lock);
        if (pt_lookup(&vm->tables, address, &leaf)) /* not: uncommitted pages */
            leaves[leaf.level]++;
        lock_release(&vm->tables_lock);
        /* A leaf may begin before the range: it may be shared with its neighbours. */
        address = ALIGN_DOWN(address, pt_span(leaf.level)) + pt_span(leaf.level);
    }
}

static void describe_range(const struct hv_bar_state *bar, const struct hv_range *range,
                           struct hv_mmio_range_info *info)
{
    *info = (struct hv_mmio_range_info){
        .bar_page = range->node.key,
        .page_count = range->map.pages,
        .section_page = range->map.section_page,
        .flags = range->flags,
        .section_id = section_id(range->map.section),
        .memtype = range->map.memtype,
        .live = bar->live && range->node.key < bar->bytes >> PAGE_SHIFT,
        .trapped_writes = range->trapped_writes,
    };
    range_leaves(bar, range, info->leaves);
}

hv_status_t hv_mmio_range_query(struct hv_device *device, enum hv_bar bar, uint64_t bar_page,
                                struct hv_mmio_range_info *info)
{
    struct hv_bar_state *state;
    const struct hv_range *range;
    hv_status_t status;

    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    if (!info)
        return HV_E_INVALID_PARAMETER_4;
    lock_acquire(&device->lock);
    status = device_memory_bar(device, bar, &state);
    if (status == HV_OK) {
        range = range_find(state, bar_page);
        if (range)
            describe_range(state, range, info);
        else
            status = HV_E_NOT_MAPPED;
    }
    lock_release(&device->lock);
    return status;
}

uint64_t range_direct_pages(const struct hv_bar_state *bar)
{
    uint64_t limit = bar->bytes >> PAGE_SHIFT, direct = 0;

    if (!bar->live)
        return 0;
    for (struct hv_range *range = range_of(tree_first(&bar->ranges));
         range && range->node.key < limit; range = range_of(tree_next(&range->node))) {
        uint64_t pages = MIN(range->map.pages, limit - range->node.key);

        for (uint64_t page = 0, run; page < pages; page += run) {
            hpa_t frame;
            bool is_there = mapping_frames(&range->map, page, &frame, &run);

            run = MIN(run, pages - page);
            direct += is_there ? run : 0;
        }
    }
    return direct;
}

hv_status_t inspect_bar(struct hv_device *device, enum hv_bar bar, struct hv_bar_stats *stats)
{
    const struct hv_bar_state *state;

    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    if ((unsigned)bar >= HV_BAR_COUNT)
        return HV_E_INVALID_PARAMETER_2;
    state = &device->bar[bar];
    if (state->bytes == 0)
        return HV_E_NO_SUCH_BAR;
    lock_acquire(&device->lock);
    *stats = (struct hv_bar_stats){
        .bytes = state->bytes,
        .max_bytes = state->max_bytes,
        .base = state->base,
        .decoded = state->live,
        .ranges = state->ranges.count,
        .direct_pages = range_direct_pages(state),
        .trapped_reads = state->trapped_reads,
        .trapped_writes = state->trapped_writes,
        .callback_failures = state->callback_failures,
        .rings = __atomic_load_n(&state->rings, __ATOMIC_RELAXED),
    };
    lock_release(&device->lock);
    return HV_OK;
}

void inspect_leaf(struct hv_device *device, gpa_t gpa, struct inspect_leaf *leaf)
{
    struct vm *vm = device->host->vm;
    struct pt_leaf found;

    *leaf = (struct inspect_leaf){0};
    if (gpa.v >> PT_INPUT_BITS)
        return;
    lock_acquire(&vm->tables_lock);
    if (pt_lookup(&vm->tables, gpa.v, &found))
        *leaf = (struct inspect_leaf){
            .present = true,
            .rights = found.attr.rights,
            .memtype = found.attr.memtype,
            .ignore_pat = found.attr.ignore_pat,
            .level = found.level,
            .bits = found.entry & ~pt_frame(found.entry, found.level).v,
        };
    lock_release(&vm->tables_lock);
}

void inspect_own_leaf(hva_t address, struct inspect_leaf *leaf)
{
    struct pt_leaf found;

    *leaf = (struct inspect_leaf){0};
    if (space_lookup(address, &found))
        *leaf = (struct inspect_leaf){
            .present = true,
            .rights = found.attr.rights,
            .memtype = found.attr.memtype,
            .level = found.level,
        };
}

void *inspect_context(struct hv_device *device, const struct hv_device_ops *ops)
{
    return device_is_known(device) && device->ops == ops ? device->context : NULL;
}

struct hv_device_host *inspect_host(struct hv_device *device)
{
    return device->host;
}

struct vm *inspect_vm(struct hv_device *device)
{
    return device->host->vm;
}

void inspect_decode(struct hv_device *device, bool on)
{
    struct hv_device_host *host = device->host;
    uint32_t command = pci_config_read(host, device->slot, device->function, PCI_CFG_COMMAND);

    command &= ~(uint32_t)PCI_COMMAND_MEMORY;
    if (on)
        command |= PCI_COMMAND_MEMORY;
    pci_config_write(host, device->slot, device->function, PCI_CFG_COMMAND, command, PCI_ALL_BYTES);
}

static uint64_t hash_word(uint64_t hash, uint64_t word)
{
    for (unsigned i = 0; i < sizeof(word); i++) {
        hash = (hash ^ (word & 0xff)) * FNV_PRIME;
        word >>= 8;
    }
    return hash;
}

static uint64_t hash_bar(uint64_t hash, const struct hv_bar_state *bar)
{
    hash = hash_word(hash, bar->live ? bar->live_base : ~0ull);
    for (struct tree_node *node = tree_first(&bar->ranges); node; node = tree_next(node)) {
        const struct hv_range *range = CONTAINER_OF(node, struct hv_range, node);

        hash = hash_word(hash, range->node.key);
        hash = hash_word(hash, range->map.pages);
        hash = hash_word(hash, range->map.section_page);
        hash = hash_word(hash, section_id(range->map.section));
        hash = hash_word(hash, (uint64_t)range->attr.memtype << 32 | range->flags);
    }
    return hash;
}

uint64_t inspect_hash(struct hv_device *device)
{
    struct hv_device_host *host = device->host;
    uint64_t hash = FNV_OFFSET;

    for (unsigned place = 0; place < host->end; place++) {
        struct hv_device *each = host->at[place];

        if (!each)
            continue;
        hash = hash_word(hash, place);
        lock_acquire(&each->lock);
        for (unsigned i = 0; i < HV_BAR_COUNT; i++)
            hash = hash_bar(hash, &each->bar[i]);
        lock_release(&each->lock);
    }
    lock_acquire(&host->vm->tables_lock);
    hash = hash_word(hash, pt_hash(&host->vm->tables));
    lock_release(&host->vm->tables_lock);
    return hash;
}

/* What is kept for the next call counts as free. */
static void trim(struct vm *vm)
{
    section_trim();
    view_trim();
    record_trim();
    aperture_trim();
    lock_acquire(&vm->tables_lock);
    pt_pool_drain(&vm->pool);
    lock_release(&vm->tables_lock);
}

void inspect_totals(struct hv_device *device, struct inspect_totals *totals)
{
    struct hv_device_host *host = device->host;

    trim(host->vm);
    *totals = (struct inspect_totals){
        .free_frames = hv_frames.free_pages,
        .table_pages = host->vm->pool.used_tables,
        .ledger_mappings = mapping_live_count(),
        .sections = section_live_count(),
        .views = view_live_count(),
        .apertures = device->apertures.count,
        .events = event_live_count(),
    };
    for (unsigned i = 0; i < HV_BAR_COUNT; i++)
        totals->doorbells += device->bar[i].doorbells;
    for (unsigned i = 0; i < host->end; i++)
        if (host->at[i])
            totals->ranges += host->at[i]->range_count;
}
