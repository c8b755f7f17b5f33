/* The lab's commands: the table of them all, and those that show what the hypervisor counts and maps. */
#include "drivers/virtual/lab_commands.h"

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
    lab->result[5] = trap->checksum;
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
    lab->result[9] = stats.rings;
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
    lab->result[5] = now.views;
    lab->result[6] = now.apertures;
    lab->result[7] = now.doorbells;
    lab->result[8] = now.events;
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

/* ---- the table ---- */

static hv_status_t (*const commands[])(struct lab *lab) = {
    [LAB_CMD_RANGE_CREATE] = lab_range_create,
    [LAB_CMD_RANGE_DESTROY] = lab_range_destroy,
    [LAB_CMD_RANGE_QUERY] = lab_range_query,
    [LAB_CMD_SECTION_GET] = lab_section_get,
    [LAB_CMD_SECTION_CREATE] = lab_section_create,
    [LAB_CMD_HANDLE_CLOSE] = lab_handle_close,
    [LAB_CMD_EVENT_CREATE] = lab_event_create,
    [LAB_CMD_SECTION_READ] = lab_section_read,
    [LAB_CMD_SECTION_WRITE] = lab_section_write,
    [LAB_CMD_SECTION_FILL] = lab_section_fill,
    [LAB_CMD_SECTION_CHECKSUM] = lab_section_checksum,
    [LAB_CMD_TRAP_GET] = trap_get,
    [LAB_CMD_BAR_STATS] = bar_stats,
    [LAB_CMD_LEAF] = leaf,
    [LAB_CMD_EFFECTIVE_TYPE] = effective_type,
    [LAB_CMD_CAPS] = caps,
    [LAB_CMD_TOTALS] = totals,
    [LAB_CMD_HASH] = hash,
    [LAB_CMD_VM_STATS] = vm_stats,
    [LAB_CMD_BENCH] = lab_bench,
    [LAB_CMD_RANGE_STATS] = lab_range_stats,
    [LAB_CMD_RANGE_UNMAP] = lab_range_unmap,
    [LAB_CMD_BATCH_OP] = lab_batch_op,
    [LAB_CMD_BATCH_FILL] = lab_batch_fill,
    [LAB_CMD_BATCH] = lab_batch,
    [LAB_CMD_SECTION_CREATE_NAMED] = lab_section_create_named,
    [LAB_CMD_SECTION_OPEN] = lab_section_open,
    [LAB_CMD_SECTION_QUERY] = lab_section_query,
    [LAB_CMD_SECTION_COMMIT] = lab_section_commit,
    [LAB_CMD_VIEW_MAP] = lab_view_map,
    [LAB_CMD_VIEW_UNMAP] = lab_view_unmap,
    [LAB_CMD_IO_MAP] = lab_io_map,
    [LAB_CMD_IO_UNMAP] = lab_io_unmap,
    [LAB_CMD_APERTURE_CREATE] = lab_aperture_create,
    [LAB_CMD_APERTURE_DESTROY] = lab_aperture_destroy,
    [LAB_CMD_MAPPING_READ] = lab_mapping_read,
    [LAB_CMD_MAPPING_WRITE] = lab_mapping_write,
    [LAB_CMD_MAPPING_FILL] = lab_mapping_fill,
    [LAB_CMD_MAPPING_CHECKSUM] = lab_mapping_checksum,
    [LAB_CMD_MAPPING_LEAF] = lab_mapping_leaf,
    [LAB_CMD_GUEST_READ] = lab_guest_read,
    [LAB_CMD_GUEST_WRITE] = lab_guest_write,
    [LAB_CMD_PAUSE] = lab_pause,
    [LAB_CMD_RESUME] = lab_resume,
    [LAB_CMD_EVENT_TAKE] = lab_event_take,
    [LAB_CMD_EVENT_SIGNAL] = lab_event_signal,
    [LAB_CMD_ON_SIGNAL] = lab_on_signal,
    [LAB_CMD_DOORBELL_REGISTER] = lab_doorbell_register,
    [LAB_CMD_DOORBELL_UNREGISTER] = lab_doorbell_unregister,
    [LAB_CMD_NEIGHBOURS] = lab_neighbours,
    [LAB_CMD_ACCESS_BYTES] = lab_access_bytes,
    [LAB_CMD_RAISE] = lab_raise,
    [LAB_CMD_MSI] = lab_message,
    [LAB_CMD_DEVICE_ADD] = lab_device_add,
    [LAB_CMD_DEVICE_REMOVE] = lab_device_remove,
    [LAB_CMD_DEVICE_SEEN] = lab_device_seen,
};

void lab_command(struct lab *lab, uint32_t command)
{
    if (command < ARRAY_COUNT(commands) && commands[command])
        lab->status = commands[command](lab);
    else
        lab->status = HV_E_NOT_SUPPORTED;
}
