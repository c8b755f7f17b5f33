#include "tests/unit/device_kit.h"

#include <string.h>

#include "hv/base/direct.h"
#include "hv/pci/config.h"

#define MSI_ADDRESS 0xfee00000u
#define FIRST_CAP   0x40u

/* Where the runs lie in the fake memory, above what its frame allocator has. */
#define LOW_HOST  MIB(420ull)
#define SEAM_HOST MIB(410ull)
#define HIGH_HOST MIB(430ull)

uint8_t *ram(uint64_t gpa)
{
    return direct(gpa >= HIGH   ? HPA(HIGH_HOST + (gpa - HIGH))
                  : gpa >= SEAM ? HPA(SEAM_HOST + (gpa - SEAM))
                                : HPA(LOW_HOST + gpa));
}

void fill_ram(uint64_t gpa, uint64_t bytes, uint8_t first)
{
    for (uint64_t i = 0; i < bytes; i++)
        *ram(gpa + i) = (uint8_t)(first + i);
}

bool is_filled(uint64_t gpa, uint64_t bytes, uint8_t first)
{
    for (uint64_t i = 0; i < bytes; i++)
        if (*ram(gpa + i) != (uint8_t)(first + i))
            return false;
    return true;
}

int kit_open(void **state)
{
    int failed;

    fake_alarm_reset();
    fake_screen_reset();
    fake_apic_count = 0;
    failed = world_open(state);
    world.vm.ram_count = 3;
    world.vm.ram[0] = (struct vm_ram){GPA(0), SEAM, ram(0)};
    world.vm.ram[1] = (struct vm_ram){GPA(SEAM), TOP - SEAM, ram(SEAM)};
    world.vm.ram[2] = (struct vm_ram){GPA(HIGH), HIGH_END - HIGH, ram(HIGH)};
    return failed;
}

hv_status_t try_add(const char *model, const char *words, struct hv_device **device)
{
    const char *strings[8];
    uint32_t count = 0;
    char text[200] = "";

    assert_true(!words || strlen(words) < sizeof(text));
    if (words)
        strcpy(text, words);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        strings[count++] = word;
    return hv_device_add(world.host, model, count, strings, device);
}

struct hv_device *add(const char *model, const char *words)
{
    struct hv_device *device;

    assert_int_equal(try_add(model, words, &device), HV_OK);
    assert_int_equal(hv_device_host_start(world.host), HV_OK);
    config_write(device->slot, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_BUS_MASTER);
    return device;
}

uint64_t get(const struct hv_device *device, enum hv_bar bar, uint64_t offset, unsigned bytes)
{
    return fake_vm_read(&world.vm, device->bar[bar].base + offset, bytes);
}

void put(const struct hv_device *device, enum hv_bar bar, uint64_t offset, unsigned bytes,
         uint64_t value)
{
    fake_vm_write(&world.vm, device->bar[bar].base + offset, bytes, value);
}

unsigned messages(void)
{
    unsigned count = fake_apic_count;

    fake_apic_count = 0;
    return count;
}

void enable_msi(const struct hv_device *device, uint16_t data)
{
    assert_int_equal(config_read(device->slot, FIRST_CAP, 1), 0x05);
    config_write(device->slot, FIRST_CAP + 4, 4, MSI_ADDRESS);
    config_write(device->slot, FIRST_CAP + 12, 2, data);
    config_write(device->slot, FIRST_CAP + 2, 2, 1);
}

void enable_msix(const struct hv_device *device, enum hv_bar bar, unsigned vectors, uint32_t data)
{
    assert_int_equal(config_read(device->slot, FIRST_CAP, 1), 0x11);
    assert_int_equal(config_read(device->slot, FIRST_CAP + 2, 2), vectors - 1);
    for (unsigned i = 0; i < vectors; i++) {
        put(device, bar, 16 * i, 4, MSI_ADDRESS);
        put(device, bar, 16 * i + 8, 4, data + i);
        put(device, bar, 16 * i + 12, 4, 0);
    }
    config_write(device->slot, FIRST_CAP + 2, 2, 0x8000);
}

uint32_t probe_size(const struct hv_device *device, enum hv_bar bar)
{
    uint32_t offset = PCI_CFG_BAR0 + 4 * (uint32_t)bar;
    uint32_t was = config_read(device->slot, offset, 4), size;

    config_write(device->slot, offset, 4, UINT32_MAX);
    size = config_read(device->slot, offset, 4);
    config_write(device->slot, offset, 4, was);
    return size;
}
