#include "drivers/host/hostpci_config.h"

#include "hv/base/bits.h"
#include "hv/base/status.h"
#include "hv/mem/view.h"
#include "hv/x86/cpu.h"

#define CONFIG_ADDRESS      0xcf8u
#define CONFIG_DATA         0xcfcu
#define CONFIG_ENABLE       BIT(31)
#define CONFIG_BUS          BITS(23, 16)
#define CONFIG_DEVICE       BITS(15, 11)
#define CONFIG_FUNCTION     BITS(10, 8)

#define ECAM_BUS_SHIFT      20u
#define ECAM_DEVICE_SHIFT   15u
#define ECAM_FUNCTION_SHIFT 12u
#define ECAM_BUS_BYTES      (1ull << ECAM_BUS_SHIFT)

#define NOBODY              0xffffffffu
#define DEVICES_ON_BUS      32u

/* Owner: this file. One bus is mapped at a time: a segment would take 256 MiB of addresses. */
static struct {
    bool used;
    uint64_t base;
    uint8_t first_bus, last_bus;
    uint8_t bus;              /* that `space` shows */
    volatile uint32_t *space; /* NULL: none is mapped */
} ecam;

static void ecam_drop(void)
{
    hv_status_t status;

    if (!ecam.space)
        return;
    status = hv_io_space_unmap((void *)(uintptr_t)ecam.space, ECAM_BUS_BYTES);
    (void)status; /* it is ours */
    ecam.space = NULL;
}

/* The dword, or NULL: the bus is not there, or cannot be mapped. */
static volatile uint32_t *ecam_dword(struct hostpci_address at, uint16_t reg)
{
    void *va;

    if (!ecam.used || at.bus < ecam.first_bus || at.bus > ecam.last_bus)
        return NULL;
    if (!ecam.space || ecam.bus != at.bus) {
        ecam_drop();
        if (hv_io_space_map(HPA(ecam.base + ((uint64_t)at.bus << ECAM_BUS_SHIFT)), ECAM_BUS_BYTES,
                            HV_PAGE_READWRITE | HV_PAGE_NOCACHE, &va) != HV_OK)
            return NULL;
        ecam.space = va;
        ecam.bus = at.bus;
    }
    return ecam.space + (((uint64_t)at.device << ECAM_DEVICE_SHIFT |
                          (uint64_t)at.function << ECAM_FUNCTION_SHIFT | reg) /
                         sizeof(*ecam.space));
}

/* Some AMD CPUs want these accesses to be MOVs through EAX (BKDG for family 10h, "MMIO Configuration Coding"). */
static uint32_t ecam_read(volatile uint32_t *dword)
{
    uint32_t value;

    __asm__ volatile("movl %1, %0" : "=a"(value) : "m"(*dword));
    return value;
}

static void ecam_write(volatile uint32_t *dword, uint32_t value)
{
    __asm__ volatile("movl %1, %0" : "=m"(*dword) : "a"(value));
}

static void select(struct hostpci_address at, uint16_t reg)
{
    out32(CONFIG_ADDRESS, (uint32_t)(CONFIG_ENABLE | FIELD_PREP(CONFIG_BUS, at.bus) |
                                     FIELD_PREP(CONFIG_DEVICE, at.device) |
                                     FIELD_PREP(CONFIG_FUNCTION, at.function) | reg));
}

uint32_t hostpci_config_read(struct hostpci_address at, uint16_t reg)
{
    volatile uint32_t *dword = ecam_dword(at, reg);

    if (dword)
        return ecam_read(dword);
    if (reg >= HOSTPCI_CONFIG_BYTES)
        return NOBODY;
    select(at, reg);
    return in32(CONFIG_DATA);
}

void hostpci_config_write(struct hostpci_address at, uint16_t reg, uint32_t value)
{
    volatile uint32_t *dword = ecam_dword(at, reg);

    if (dword) {
        ecam_write(dword, value);
    } else if (reg < HOSTPCI_CONFIG_BYTES) {
        select(at, reg);
        out32(CONFIG_DATA, value);
    }
}

bool hostpci_config_use_ecam(uint64_t base, uint8_t first_bus, uint8_t last_bus)
{
    bool same = first_bus == 0;

    ecam_drop();
    ecam.base = base;
    ecam.first_bus = first_bus;
    ecam.last_bus = last_bus;
    for (uint8_t device = 0; same && device < DEVICES_ON_BUS; device++) {
        struct hostpci_address at = {0, device, 0};
        uint32_t by_ports;
        volatile uint32_t *dword;

        ecam.used = false;
        by_ports = hostpci_config_read(at, 0);
        ecam.used = true;
        dword = ecam_dword(at, 0);
        same = dword && ecam_read(dword) == by_ports;
    }
    ecam.used = same;
    if (!same)
        ecam_drop();
    return same;
}
