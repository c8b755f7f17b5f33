/* Commands on ranges, one by one and in batches, and on pauses. */
#include "drivers/virtual/lab_commands.h"

hv_status_t lab_range_create(struct lab *lab)
{
    return hv_mmio_range_create(device_arg(lab, 0), bar_arg(lab, 1), lab->arg[2], lab->arg[3],
                                u32_arg(lab, 4), handle_arg(lab, 5), lab->arg[6]);
}

hv_status_t lab_range_destroy(struct lab *lab)
{
    return hv_mmio_range_destroy(device_arg(lab, 0), bar_arg(lab, 1), lab->arg[2]);
}

hv_status_t lab_range_query(struct lab *lab)
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

hv_status_t lab_range_stats(struct lab *lab)
{
    struct hv_mmio_range_info info;
    uint64_t direct;
    hv_status_t status =
        hv_mmio_range_query(device_arg(lab, 0), bar_arg(lab, 1), lab->arg[2], &info);

    if (status != HV_OK)
        return status;
    /* Not more than its own: a leaf may be shared with its neighbours. */
    direct = info.leaves[1] + info.leaves[2] * LARGE_PAGES + info.leaves[3] * HUGE_PAGES;
    lab->result[0] = info.trapped_writes;
    lab->result[1] = MIN(direct, info.page_count);
    return HV_OK;
}

hv_status_t lab_range_unmap(struct lab *lab)
{
    return hv_mmio_range_unmap(device_arg(lab, 0), bar_arg(lab, 1), lab->arg[2], lab->arg[3]);
}

/* ---- batches ---- */

/* `count` ops from `first` on, each further by a step than the one before. */
static hv_status_t set_ops(struct lab *lab, uint64_t first, uint64_t count, struct hv_mmio_op op,
                           uint64_t page_step, uint64_t section_step)
{
    if (first > LAB_BATCH_OPS || count > LAB_BATCH_OPS - first)
        return HV_E_OUT_OF_RANGE;
    for (uint64_t i = first; i < first + count; i++) {
        lab->op[i] = op;
        op.bar_page += page_step;
        op.section_page += section_step;
    }
    return HV_OK;
}

hv_status_t lab_batch_op(struct lab *lab)
{
    const struct hv_mmio_op op = {
        .kind = (enum hv_mmio_op_kind)u32_arg(lab, 1),
        .bar = bar_arg(lab, 2),
        .bar_page = lab->arg[3],
        .page_count = lab->arg[4],
        .flags = u32_arg(lab, 5),
        .section = handle_arg(lab, 6),
        .section_page = lab->arg[7],
    };

    return set_ops(lab, lab->arg[0], 1, op, 0, 0);
}

hv_status_t lab_batch_fill(struct lab *lab)
{
    const struct hv_mmio_op op = {
        .kind = (enum hv_mmio_op_kind)u32_arg(lab, 2),
        .bar = bar_arg(lab, 3),
        .bar_page = lab->arg[4],
        .page_count = lab->arg[6],
        .flags = u32_arg(lab, 7),
        .section = handle_arg(lab, 8),
        .section_page = lab->arg[9],
    };

    return set_ops(lab, lab->arg[0], lab->arg[1], op, lab->arg[5], lab->arg[10]);
}

/* The first ops of the table; RESULT(0) says how far it came. */
static hv_status_t run_batch(struct lab *lab, struct hv_device *device, uint64_t count,
                             uint32_t flags)
{
    uint64_t done = LAB_NONE_DONE;
    hv_status_t status = HV_E_OUT_OF_RANGE;

    if (count <= LAB_BATCH_OPS)
        status = hv_mmio_range_batch(device, lab->op, count, flags, &done);
    lab->result[0] = done;
    return status;
}

hv_status_t lab_batch(struct lab *lab)
{
    return run_batch(lab, device_arg(lab, 0), lab->arg[1], u32_arg(lab, 2));
}

/* ---- pause ---- */

static hv_status_t resume_all(struct lab *lab, uint64_t count)
{
    hv_status_t status = HV_OK;

    for (uint64_t i = 0; i < count && status == HV_OK; i++) {
        status = hv_vm_resume_vps(inspect_vm(lab->device));
        if (status == HV_OK)
            lab->result[2]++;
    }
    return status;
}

hv_status_t lab_pause(struct lab *lab)
{
    hv_status_t status = HV_OK, resumed;

    if (lab->arg[0] == LAB_PAUSE_FOR_GOOD)
        return hv_vm_pause_vps(inspect_vm(lab->device), 0);
    if (lab->arg[0] > LAB_PAUSE_DEPTH)
        return HV_E_INVALID_PARAMETER_1;
    lab->result[0] = LAB_NONE_DONE;
    lab->result[1] = lab->result[2] = 0;
    while (lab->result[1] < lab->arg[0] && status == HV_OK) {
        status = hv_vm_pause_vps(inspect_vm(lab->device), lab->arg[1]);
        if (status == HV_OK)
            lab->result[1]++;
    }
    if (status == HV_OK && lab->arg[2] != 0)
        status = run_batch(lab, lab->device, lab->arg[2], u32_arg(lab, 3));
    resumed = resume_all(lab, lab->result[1]);
    return status != HV_OK ? status : resumed;
}

hv_status_t lab_resume(struct lab *lab)
{
    return hv_vm_resume_vps(inspect_vm(lab->device));
}
