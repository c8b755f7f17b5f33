#include "tests/unit/ram_kit.h"

#include "hv/base/direct.h"

/* Where the runs lie in the fake memory. */
#define LOW_HOST  MIB(404ull)
#define SEAM_HOST MIB(460ull)
#define HIGH_HOST MIB(446ull)

int ram_open(void **state)
{
    int failed = world_open(state);

    world.vm.ram_count = 3;
    world.vm.ram[0] = (struct vm_ram){GPA(LOW), SEAM - LOW, direct(HPA(LOW_HOST))};
    world.vm.ram[1] = (struct vm_ram){GPA(SEAM), TOP - SEAM, direct(HPA(SEAM_HOST))};
    world.vm.ram[2] = (struct vm_ram){GPA(HIGH), HIGH_END - HIGH, direct(HPA(HIGH_HOST))};
    return failed;
}

/* The byte behind a guest-physical address. */
uint8_t *ram(uint64_t gpa)
{
    if (gpa >= HIGH)
        return direct(HPA(HIGH_HOST + (gpa - HIGH)));
    return gpa >= SEAM ? direct(HPA(SEAM_HOST + (gpa - SEAM)))
                       : direct(HPA(LOW_HOST + (gpa - LOW)));
}

void fill_ram(uint64_t gpa, uint64_t bytes, uint8_t first)
{
    for (uint64_t i = 0; i < bytes; i++)
        *ram(gpa + i) = (uint8_t)(first + i);
}

hv_status_t read_at(uint64_t gpa, uint32_t bytes, void *buffer)
{
    return hv_guest_memory_read(world.probe[0].device, GPA(gpa), bytes, buffer);
}

hv_status_t write_at(uint64_t gpa, uint32_t bytes, const void *buffer)
{
    return hv_guest_memory_write(world.probe[0].device, GPA(gpa), bytes, buffer);
}

hv_status_t aperture(uint64_t gpa, uint32_t bytes, void **va)
{
    return hv_guest_aperture_create(world.probe[0].device, GPA(gpa), bytes, false, va);
}

void destroy(void *va)
{
    assert_int_equal(hv_guest_aperture_destroy(world.probe[0].device, va), HV_OK);
}
