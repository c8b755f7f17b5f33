#include "tests/fake/apic.h"

#define ADDRESS_BASE  0xfee00000ull
#define ADDRESS_BYTES 0x100000ull

struct fake_message fake_apic_message[FAKE_APIC_MESSAGES];
unsigned fake_apic_count;
void (*fake_apic_on_message)(void);

hv_status_t apic_message(struct vm *vm, uint64_t address, uint32_t data)
{
    (void)vm;
    if (address - ADDRESS_BASE >= ADDRESS_BYTES)
        return HV_E_INVALID_PARAMETER_2;
    if ((data & 0x700) == 0x300 || (data & 0xc000) == 0x8000)
        return HV_E_INVALID_PARAMETER_3;
    if (fake_apic_count < FAKE_APIC_MESSAGES)
        fake_apic_message[fake_apic_count] = (struct fake_message){address, data};
    fake_apic_count++;
    if (fake_apic_on_message)
        fake_apic_on_message();
    return HV_OK;
}
