#include "tests/unit/view_kit.h"

#include "hv/mem/frames.h"
#include "hv/mem/space.h"
#include "hv/x86/mtrr.h"
#include "tests/fake/slab.h"
#include "tests/fake/space.h"

#define WB          6u
#define MASK(bytes) ((CPU_LIMIT - (bytes)) | MTRR_MASK_VALID)

/* Write-back below 1 GiB and at FIRMWARE, else uncached. */
static const struct mtrr machine = {
    .def_type = MTRR_DEF_ENABLE,
    .variable_count = 2,
    .variable = {{WB, MASK(GIB(1))}, {FIRMWARE | WB, MASK(FIRMWARE_BYTES)}},
};

int view_kit_group(void **state)
{
    if (section_kit_group(state) != 0)
        return -1;
    section_forbid_registers(HPA(REGISTERS), PAGE_BYTES);
    fake_space_open();
    io_space_init(&machine);
    view_init();
    return 0;
}

static struct view_state start;

int view_kit_setup(void **state)
{
    /* It never was in a direct map of ours. */
    if (space_direct_remove(HPA(FIRMWARE), pages_of(FIRMWARE_BYTES)) != HV_OK)
        return -1;
    view_trim();
    start = view_state();
    return section_kit_setup(state);
}

int view_kit_check(void **state)
{
    view_trim();
    assert_int_equal(view_live_count(), 0);
    assert_int_equal(fake_space_tables(), 0);
    assert_int_equal(hv_space.pool.reserved, 0);
    for (unsigned level = 1; level < PT_LEVELS; level++)
        assert_int_equal(hv_space.root.leaves[level], 0);
    assert_same(start);
    space_direct_restore(HPA(FIRMWARE), pages_of(FIRMWARE_BYTES));
    return section_kit_check(state);
}

hpa_t frame_of_page(hv_handle_t h, uint64_t page)
{
    struct section *section = ref(h);
    uint64_t run;
    hpa_t frame = section_frame(section, page, &run);

    unref(section);
    return frame;
}

hv_handle_t reserve(uint64_t bytes)
{
    hv_handle_t h;

    assert_int_equal(
        hv_section_create(&h, ALL, NULL, bytes, HV_PAGE_READWRITE, HV_SEC_RESERVE, NULL), HV_OK);
    return h;
}

struct map_call whole(hv_handle_t section)
{
    return (struct map_call){.section = section, .protect = HV_PAGE_READWRITE};
}

hv_status_t map_try(struct map_call *call)
{
    void *base = (void *)(uintptr_t)call->base;
    hv_status_t status = hv_section_map_view(
        call->section, HV_SPACE_HYPERVISOR, &base, call->zero_bits, call->commit_bytes,
        &call->offset, &call->bytes, HV_VIEW_SHARE, call->allocation, call->protect);

    call->base = (uint64_t)(uintptr_t)base;
    return status;
}

uint64_t map_ok(struct map_call *call)
{
    hv_status_t status = map_try(call);

    if (status != HV_OK)
        print_error("%s\n", hv_status_name(status));
    assert_int_equal(status, HV_OK);
    return call->base;
}

void unmap_ok(uint64_t address)
{
    assert_int_equal(hv_section_unmap_view(HV_SPACE_HYPERVISOR, (void *)(uintptr_t)address), HV_OK);
}

struct pt_leaf leaf_at(uint64_t address)
{
    struct pt_leaf leaf;

    assert_true(pt_lookup(&hv_space.root, address, &leaf));
    return leaf;
}

bool is_mapped(uint64_t address)
{
    struct pt_leaf leaf;

    return pt_lookup(&hv_space.root, address, &leaf);
}

struct view_state view_state(void)
{
    return (struct view_state){
        .hash = pt_hash(&hv_space.root),
        .live = view_live_count(),
        .mappings = mapping_live_count(),
        .types = hv_ledger.mappings,
        .records = fake_slab_live(),
        .tables = fake_space_tables(),
        .reserved = hv_space.pool.reserved,
        .frames = free_now(),
        .sections = section_live_count(),
    };
}
