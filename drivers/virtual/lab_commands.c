/* The lab's commands: each fetches its arguments, makes one call, and stores what came back. */
#include "drivers/virtual/lab.h"

#include "hv/base/string.h"
#include "hv/pci/inspect.h"

/* Something that is no device: the API must tell without following the pointer. */
#define SELECTOR_SELF 0u
static const uint64_t not_a_device;

/* ---- arguments: registers have 64 bits; a value too wide for its parameter must not become a legal one ---- */

static struct hv_device *device_arg(const struct lab *lab, unsigned i)
{
    if (lab->arg[i] == SELECTOR_SELF)
        return lab->device;
    return (struct hv_device *)(uintptr_t)&not_a_device;
}

static enum hv_bar bar_arg(const struct lab *lab, unsigned i)
{
    return (enum hv_bar)MIN(lab->arg[i], (uint64_t)HV_BAR_COUNT);
}

static uint32_t u32_arg(const struct lab *lab, unsigned i)
{
    return lab->arg[i] > UINT32_MAX ? UINT32_MAX : (uint32_t)lab->arg[i];
}

static hv_handle_t handle_arg(const struct lab *lab, unsigned i)
{
    return lab->arg[i] > UINT32_MAX ? 0 : (hv_handle_t)lab->arg[i];
}

/* ---- ranges ---- */

static hv_status_t range_create(struct lab *lab)
{
    return hv_mmio_range_create(device_arg(lab, 0), bar_arg(lab, 1), lab->arg[2], lab->arg[3],
                                u32_arg(lab, 4), handle_arg(lab, 5), lab->arg[6]);
}

static hv_status_t range_destroy(struct lab *lab)
{
    return hv_mmio_range_destroy(device_arg(lab, 0), bar_arg(lab, 1), lab->arg[2]);
}

static hv_status_t range_query(struct lab *lab)
{
    struct hv_mmio_range_info info;
    hv_status_t status =
        hv_mmio_range_query(device_arg(lab, 0), bar_arg(lab, 1), lab->arg[2], &info);

    if (status != HV_OK)
        return status;
    lab->result[0] = info.bar_page;
    lab->result[1] = info.page_count;
    lab->result[2] = info.section_page;
    lab->result[3] = info.flags;
    lab->result[4] = info.section_id;
    lab->result[5] = info.memtype;
    lab->result[6] = info.live;
    lab->result[7] = info.leaves[1];
    lab->result[8] = info.leaves[2];
    lab->result[9] = info.leaves[3];
    return HV_OK;
}

static hv_status_t range_stats(struct lab *lab)
{
    struct hv_mmio_range_info info;
    hv_status_t status =
        hv_mmio_range_query(device_arg(lab, 0), bar_arg(lab, 1), lab->arg[2], &info);

    if (status != HV_OK)
        return status;
    lab->result[0] = info.trapped_writes;
    lab->result[1] = info.live ? info.page_count : 0;
    return HV_OK;
}

/* ---- sections and handles ---- */

static hv_status_t section_get(struct lab *lab)
{
    struct section *section;
    hv_handle_t handle;
    hv_status_t status;

    if (lab->arg[0] >= LAB_SECTIONS || lab->section[lab->arg[0]] == 0)
        return HV_E_NOT_FOUND;
    handle = lab->section[lab->arg[0]];
    status = section_ref(handle, HV_SECTION_MAP_READ, SECTION_USER_VIEW, &section);
    if (status != HV_OK)
        return status;
    lab->result[0] = handle;
    lab->result[1] = section_pages(section);
    lab->result[2] = section_id(section);
    section_unref(section, SECTION_USER_VIEW);
    return HV_OK;
}

/* Where a new handle is remembered, so that tear-down can close it. */
static hv_handle_t *free_handle(struct lab *lab)
{
    for (unsigned i = 0; i < LAB_HANDLES; i++)
        if (lab->handle[i] == 0)
            return &lab->handle[i];
    return NULL;
}

static void forget_handle(struct lab *lab, hv_handle_t handle)
{
    for (unsigned i = 0; i < LAB_HANDLES; i++)
        if (lab->handle[i] == handle)
            lab->handle[i] = 0;
    for (unsigned i = 0; i < LAB_SECTIONS; i++)
        if (lab->section[i] == handle)
            lab->section[i] = 0;
}

static hv_status_t section_create(struct lab *lab)
{
    const struct hv_section_backing backing = {
        .kind = (enum hv_backing_kind)u32_arg(lab, 4),
        .base = HPA(lab->arg[5]),
        .bytes = lab->arg[6],
        .module = u32_arg(lab, 6),
    };
    hv_handle_t *place = free_handle(lab);
    hv_status_t status;

    if (!place)
        return HV_E_QUOTA;
    status = hv_section_create(place, u32_arg(lab, 0), NULL, lab->arg[1], u32_arg(lab, 2),
                               u32_arg(lab, 3), lab->arg[4] == 0 ? NULL : &backing);
    if (status == HV_OK)
        lab->result[0] = *place;
    return status;
}

static hv_status_t handle_close(struct lab *lab)
{
    hv_handle_t handle = handle_arg(lab, 0);
    hv_status_t status = hv_handle_close(handle);

    if (status == HV_OK)
        forget_handle(lab, handle);
    return status;
}

static hv_status_t event_create(struct lab *lab)
{
    hv_handle_t *place = free_handle(lab);
    hv_status_t status = place ? handle_create_event(place) : HV_E_QUOTA;

    if (status == HV_OK)
        lab->result[0] = *place;
    return status;
}

/*
 * The section of arg[0], referenced, when [offset, offset + bytes) is made of its 8-byte words.
 */
static hv_status_t open_words(struct lab *lab, uint32_t access, uint64_t offset, uint64_t bytes,
                              struct section **section)
{
    hv_status_t status = section_ref(handle_arg(lab, 0), access, SECTION_USER_VIEW, section);
    uint64_t end;

    if (status != HV_OK)
        return status;
    end = section_pages(*section) << PAGE_SHIFT;
    if ((offset | bytes) % sizeof(uint64_t) != 0)
        status = HV_E_MAPPED_ALIGNMENT;
    else if (offset > end || bytes > end - offset)
        status = HV_E_OUT_OF_RANGE;
    if (status != HV_OK)
        section_unref(*section, SECTION_USER_VIEW);
    return status;
}

static hv_status_t read_section(struct lab *lab)
{
    struct section *section;
    hv_status_t status =
        open_words(lab, HV_SECTION_MAP_READ, lab->arg[1], sizeof(uint64_t), &section);

    if (status != HV_OK)
        return status;
    status = section_read(section, lab->arg[1], &lab->result[0], sizeof(uint64_t));
    section_unref(section, SECTION_USER_VIEW);
    return status;
}

static hv_status_t write_section(struct lab *lab)
{
    struct section *section;
    hv_status_t status =
        open_words(lab, HV_SECTION_MAP_WRITE, lab->arg[1], sizeof(uint64_t), &section);

    if (status != HV_OK)
        return status;
    status = section_write(section, lab->arg[1], &lab->arg[2], sizeof(uint64_t));
    section_unref(section, SECTION_USER_VIEW);
    return status;
}

static hv_status_t fill_section(struct lab *lab)
{
    struct section *section;
    hv_status_t status = open_words(lab, HV_SECTION_MAP_WRITE, lab->arg[1], lab->arg[2], &section);

    if (status != HV_OK)
        return status;
    status = lab_fill(section, lab->arg[1], lab->arg[2], lab->arg[3]);
    section_unref(section, SECTION_USER_VIEW);
    return status;
}

static hv_status_t checksum_section(struct lab *lab)
{
    struct section *section;
    hv_status_t status = open_words(lab, HV_SECTION_MAP_READ, lab->arg[1], lab->arg[2], &section);

    if (status != HV_OK)
        return status;
    status = section_checksum(section, lab->arg[1], lab->arg[2], &lab->result[0]);
    section_unref(section, SECTION_USER_VIEW);
    return status;
}

/* ---- what the hypervisor counts and maps ---- */

static hv_status_t trap_get(struct lab *lab)
{
    uint64_t sequence = lab->arg[0];
    const struct lab_trap *trap = &lab->trap[sequence % LAB_TRAP_LOG];

    if (sequence >= lab->traps || lab->traps - sequence > LAB_TRAP_LOG)
        return HV_E_NOT_FOUND;
    lab->result[0] = trap->bar;
    lab->result[1] = trap->offset;
    lab->result[2] = trap->width;
    lab->result[3] = trap->value;
    lab->result[4] = trap->write;
    return HV_OK;
}

static hv_status_t bar_stats(struct lab *lab)
{
    struct hv_bar_stats stats;
    hv_status_t status = inspect_bar(lab->device, bar_arg(lab, 0), &stats);

    if (status != HV_OK)
        return status;
    lab->result[0] = stats.bytes;
    lab->result[1] = stats.base;
    lab->result[2] = stats.decoded;
    lab->result[3] = stats.ranges;
    lab->result[4] = stats.direct_pages;
    lab->result[5] = stats.trapped_reads;
    lab->result[6] = stats.trapped_writes;
    lab->result[7] = stats.callback_failures;
    lab->result[8] = stats.max_bytes;
    return HV_OK;
}

static hv_status_t leaf(struct lab *lab)
{
    struct inspect_leaf found;

    inspect_leaf(lab->device, GPA(lab->arg[0]), &found);
    lab->result[0] = found.present;
    lab->result[1] = found.rights;
    lab->result[2] = found.memtype;
    lab->result[3] = found.ignore_pat;
    lab->result[4] = found.level;
    lab->result[5] = found.bits;
    return HV_OK;
}

static hv_status_t effective_type(struct lab *lab)
{
    struct hv_memtype_report report;
    hv_status_t status =
        hv_effective_memtype(inspect_vm(lab->device)->vp, GVA(lab->arg[0]), &report);

    if (status != HV_OK)
        return status;
    lab->result[0] = report.mapped;
    lab->result[1] = report.effective;
    lab->result[2] = report.leaf_type;
    lab->result[3] = report.ignore_pat;
    lab->result[4] = report.pat_index;
    lab->result[5] = report.pat_type;
    lab->result[6] = report.cache_disabled;
    lab->result[7] = report.leaf_level;
    lab->result[8] = report.has_mtrr ? report.mtrr_type : LAB_NO_MTRR;
    lab->result[9] = (uint64_t)report.pwt | (uint64_t)report.pcd << 1 | (uint64_t)report.pat << 2;
    return HV_OK;
}

static hv_status_t caps(struct lab *lab)
{
    lab->result[0] =
        (hv_caps.ignore_pat ? LAB_CAP_IGNORE_PAT : 0) | (hv_caps.large_2m ? LAB_CAP_LARGE_2M : 0) |
        (hv_caps.large_1g ? LAB_CAP_LARGE_1G : 0) |
        (hv_caps.large_executable ? LAB_CAP_LARGE_EXEC : 0) |
        (hv_caps.execute_only ? LAB_CAP_EXEC_ONLY : 0) | (hv_caps.accessed_dirty ? LAB_CAP_AD : 0) |
        (inspect_vm(lab->device)->tables.fmt == &pt_format_npt ? LAB_CAP_NPT : 0);
    lab->result[1] = hv_caps.physical_bits;
    return HV_OK;
}

static hv_status_t totals(struct lab *lab)
{
    struct inspect_totals now;

    inspect_totals(lab->device, &now);
    lab->result[0] = now.free_frames;
    lab->result[1] = now.table_pages;
    lab->result[2] = now.ledger_mappings;
    lab->result[3] = now.sections;
    lab->result[4] = now.ranges;
    return HV_OK;
}

static hv_status_t hash(struct lab *lab)
{
    lab->result[0] = inspect_hash(lab->device);
    return HV_OK;
}

static hv_status_t vm_stats(struct lab *lab)
{
    const struct vm_stats *stats = &inspect_vm(lab->device)->stats;
    uint64_t exits = 0;

    for (unsigned i = 0; i < HV_EXIT_COUNT; i++)
        exits += stats->exits[i];
    lab->result[0] = exits;
    lab->result[1] = stats->trapped_reads;
    lab->result[2] = stats->trapped_writes;
    lab->result[3] = stats->spurious;
    lab->result[4] = stats->unclaimed;
    lab->result[5] = stats->unsupported;
    lab->result[6] = stats->flushes;
    lab->result[7] = stats->exits[HV_EXIT_MEMORY];
    return HV_OK;
}

/* ---- benchmarks ---- */

struct bench {
    enum hv_bar bar;
    uint64_t bar_page, pages, section_page;
    unsigned section;
    bool unmap; /* time the destroy, not the create */
};

static hv_status_t bench_choose(const struct lab *lab, struct bench *bench)
{
    switch (lab->arg[0]) {
    case LAB_BENCH_MAP_1_PAGE:
    case LAB_BENCH_UNMAP_1_PAGE:
        *bench = (struct bench){.bar = HV_BAR2,
                                .bar_page = LAB_BENCH_PAGE,
                                .pages = 1,
                                .section_page = LAB_BENCH_PAGE,
                                .section = LAB_SECTION_MAIN,
                                .unmap = lab->arg[0] == LAB_BENCH_UNMAP_1_PAGE};
        return HV_OK;
    case LAB_BENCH_MAP_1_GIB_2M:
    case LAB_BENCH_UNMAP_1_GIB_2M:
        /* An offset between BAR and section keeps 1 GiB leaves away; it needs room. */
        *bench = (struct bench){.bar = HV_BAR4,
                                .bar_page = lab->bar4_bytes > GIB(1) ? LARGE_PAGES : 0,
                                .pages = HUGE_PAGES,
                                .section = LAB_SECTION_BAR4,
                                .unmap = lab->arg[0] == LAB_BENCH_UNMAP_1_GIB_2M};
        return HV_OK;
    default:
        return HV_E_INVALID_PARAMETER_1;
    }
}

/* One create and destroy; *ticks is what the timed one took, an empty pair subtracted. */
static hv_status_t bench_once(struct lab *lab, const struct bench *bench, uint64_t *ticks)
{
    hv_handle_t section = lab->section[bench->section];
    uint64_t at[5];
    hv_status_t made, gone;

    at[0] = bench_clock();
    made = hv_mmio_range_create(lab->device, bench->bar, bench->bar_page, bench->pages,
                                HV_MMIO_WRITEABLE, section, bench->section_page);
    at[1] = bench_clock();
    if (made != HV_OK)
        return made;
    at[2] = bench_clock();
    gone = hv_mmio_range_destroy(lab->device, bench->bar, bench->bar_page);
    at[3] = bench_clock();
    at[4] = bench_clock();
    *ticks = bench->unmap ? at[3] - at[2] : at[1] - at[0];
    *ticks -= MIN(*ticks, at[4] - at[3]);
    return gone;
}

static hv_status_t run_bench(struct lab *lab)
{
    struct bench bench;
    uint64_t ticks = 0;
    hv_status_t status = bench_choose(lab, &bench);

    if (status == HV_OK && (lab->arg[1] == 0 || lab->arg[1] > LAB_BENCH_MAX))
        status = HV_E_INVALID_PARAMETER_2;
    for (uint64_t i = 0; i < lab->arg[1] && status == HV_OK; i++)
        status = bench_once(lab, &bench, &ticks);
    if (status == HV_OK)
        lab->result[0] = ticks;
    return status;
}

/* ---- the table ---- */

static hv_status_t (*const commands[])(struct lab *lab) = {
    [LAB_CMD_RANGE_CREATE] = range_create,
    [LAB_CMD_RANGE_DESTROY] = range_destroy,
    [LAB_CMD_RANGE_QUERY] = range_query,
    [LAB_CMD_SECTION_GET] = section_get,
    [LAB_CMD_SECTION_CREATE] = section_create,
    [LAB_CMD_HANDLE_CLOSE] = handle_close,
    [LAB_CMD_EVENT_CREATE] = event_create,
    [LAB_CMD_SECTION_READ] = read_section,
    [LAB_CMD_SECTION_WRITE] = write_section,
    [LAB_CMD_SECTION_FILL] = fill_section,
    [LAB_CMD_SECTION_CHECKSUM] = checksum_section,
    [LAB_CMD_TRAP_GET] = trap_get,
    [LAB_CMD_BAR_STATS] = bar_stats,
    [LAB_CMD_LEAF] = leaf,
    [LAB_CMD_EFFECTIVE_TYPE] = effective_type,
    [LAB_CMD_CAPS] = caps,
    [LAB_CMD_TOTALS] = totals,
    [LAB_CMD_HASH] = hash,
    [LAB_CMD_VM_STATS] = vm_stats,
    [LAB_CMD_BENCH] = run_bench,
    [LAB_CMD_RANGE_STATS] = range_stats,
};

void lab_command(struct lab *lab, uint32_t command)
{
    if (command < ARRAY_COUNT(commands) && commands[command])
        lab->status = commands[command](lab);
    else
        lab->status = HV_E_NOT_SUPPORTED;
}
