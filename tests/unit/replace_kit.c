#include "tests/unit/replace_kit.h"

hv_status_t create(uint64_t page, uint64_t pages, uint32_t flags, hv_handle_t section,
                   uint64_t section_page)
{
    return hv_mmio_range_create(probe->device, HV_BAR2, page, pages, flags, section, section_page);
}

hv_status_t destroy(uint64_t page)
{
    return hv_mmio_range_destroy(probe->device, HV_BAR2, page);
}

hv_status_t unmap(uint64_t page, uint64_t pages)
{
    return hv_mmio_range_unmap(probe->device, HV_BAR2, page, pages);
}

hv_status_t batch(struct hv_mmio_op *ops, uint64_t count, uint32_t flags, uint64_t *done)
{
    *done = 99;
    return hv_mmio_range_batch(probe->device, ops, count, flags, done);
}

struct hv_mmio_op op_create(uint64_t page, uint64_t pages, uint32_t flags, hv_handle_t section,
                            uint64_t section_page)
{
    return (struct hv_mmio_op){.kind = HV_MMIO_OP_CREATE,
                               .bar = HV_BAR2,
                               .bar_page = page,
                               .page_count = pages,
                               .flags = flags,
                               .section = section,
                               .section_page = section_page};
}

struct hv_mmio_op op_unmap(uint64_t page, uint64_t pages)
{
    return (struct hv_mmio_op){
        .kind = HV_MMIO_OP_UNMAP, .bar = HV_BAR2, .bar_page = page, .page_count = pages};
}

struct hv_mmio_op op_destroy(uint64_t page)
{
    return (struct hv_mmio_op){.kind = HV_MMIO_OP_DESTROY, .bar = HV_BAR2, .bar_page = page};
}

struct hv_mmio_range_info query(uint64_t page)
{
    struct hv_mmio_range_info info;

    assert_int_equal(hv_mmio_range_query(probe->device, HV_BAR2, page, &info), HV_OK);
    return info;
}

uint64_t read_page(uint64_t page)
{
    return fake_vm_read(&world.vm, bar_base(probe, HV_BAR2) + page * PAGE_BYTES, 8);
}

bool is_direct(uint64_t page)
{
    read_page(page);
    return fake_vm_way == FAKE_DIRECT;
}
