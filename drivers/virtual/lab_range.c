/* Commands on ranges. */
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
    hv_status_t status =
        hv_mmio_range_query(device_arg(lab, 0), bar_arg(lab, 1), lab->arg[2], &info);

    if (status != HV_OK)
        return status;
    lab->result[0] = info.trapped_writes;
    lab->result[1] = info.live ? info.page_count : 0;
    return HV_OK;
}
