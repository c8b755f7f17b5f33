#include "tests/unit/lab_kit.h"

#include "hv/pci/config.h"

struct hv_device *lab;
uint64_t bar0, bar2, bar4;

hv_status_t make_lab(uint32_t count, const char *const *options)
{
    return hv_device_add(world.host, "lab", count, options, &lab);
}

void lab_up(uint32_t count, const char *const *options)
{
    assert_int_equal(make_lab(count, options), HV_OK);
    assert_int_equal(hv_device_host_start(world.host), HV_OK);
    bar0 = lab->bar[HV_BAR0].base;
    bar2 = lab->bar[HV_BAR2].base;
    bar4 = lab->bar[HV_BAR4].base;
    config_write(LAB_SLOT, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY);
    world.probe[0].device = lab; /* for world_state() */
}

uint64_t get(uint64_t offset, unsigned bytes)
{
    return fake_vm_read(&world.vm, bar0 + offset, bytes);
}

void set(uint64_t offset, unsigned bytes, uint64_t value)
{
    fake_vm_write(&world.vm, bar0 + offset, bytes, value);
}

uint64_t result(unsigned i)
{
    return get(LAB_RESULT(i), 8);
}

hv_status_t run(uint32_t command, const uint64_t *args, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        set(LAB_ARG(i), 8, args[i]);
    set(LAB_COMMAND, 4, command);
    return (hv_status_t)get(LAB_STATUS, 4);
}

uint64_t handle_of(unsigned index)
{
    assert_int_equal(RUN(LAB_CMD_SECTION_GET, index), HV_OK);
    return result(0);
}

uint64_t word_at(uint64_t page)
{
    return fake_vm_read(&world.vm, bar2 + page * PAGE_BYTES, 8);
}

void expect_hole(uint64_t page)
{
    assert_int_equal(RUN(LAB_CMD_LEAF, bar2 + page * PAGE_BYTES), HV_OK);
    assert_int_equal(result(0), 0);
}

void expect_pattern(uint64_t page)
{
    const uint64_t offsets[] = {0, 56, PAGE_BYTES - 64, PAGE_BYTES - 8};

    for (unsigned i = 0; i < ARRAY_COUNT(offsets); i++) {
        uint64_t offset = page * PAGE_BYTES + offsets[i];

        assert_int_equal(fake_vm_read(&world.vm, bar2 + offset, 8), LAB_PATTERN(1, offset));
        assert_int_equal(fake_vm_way, FAKE_DIRECT);
    }
    assert_int_equal(fake_vm_read(&world.vm, bar2 + page * PAGE_BYTES + 64, 8), 0);
}
