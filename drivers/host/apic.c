#include "drivers/host/apic.h"

#include "hv/base/log.h"
#include "hv/mem/view.h"
#include "hv/x86/cpu.h"
#include "hv/x86/regs.h"

/* SDM 3A "Local APIC Register Address Map"; the x2APIC MSR is 0x800 + offset / 16. */
#define APIC_ID              0x020u
#define APIC_VERSION         0x030u
#define APIC_ISR             0x100u
#define APIC_IRR             0x200u
#define APIC_ESR             0x280u
#define APIC_REGISTER_STRIDE 0x10u
#define APIC_VECTOR_WORDS    8u /* of ISR and IRR: 256 bits, 32 in each register */
#define X2APIC_MSR(reg)      (0x800u + (reg) / APIC_REGISTER_STRIDE)

#define XAPIC_ID             BITS(31, 24)
#define VERSION_NUMBER       BITS(7, 0)
#define VERSION_MAX_LVT      BITS(23, 16)

/* Owner: this file; set once. NULL in x2APIC mode. */
static volatile uint32_t *page;

static uint32_t apic_read(uint32_t reg)
{
    return page ? page[reg / sizeof(*page)] : (uint32_t)rdmsr(X2APIC_MSR(reg));
}

static void apic_write(uint32_t reg, uint32_t value)
{
    if (page)
        page[reg / sizeof(*page)] = value;
    else
        wrmsr(X2APIC_MSR(reg), value);
}

static unsigned count_vectors(uint32_t first)
{
    unsigned count = 0;

    for (uint32_t i = 0; i < APIC_VECTOR_WORDS; i++)
        for (uint32_t word = apic_read(first + i * APIC_REGISTER_STRIDE); word; word &= word - 1)
            count++;
    return count;
}

hv_status_t apic_start(void)
{
    uint64_t base = rdmsr(IA32_APIC_BASE);
    hv_status_t status = HV_OK;
    void *va = NULL;

    if (!(base & APIC_BASE_ENABLE))
        return HV_E_NOT_SUPPORTED;
    if (!(base & APIC_BASE_X2APIC))
        status = hv_io_space_map(HPA(base & APIC_BASE_ADDRESS), PAGE_BYTES,
                                 HV_PAGE_READWRITE | HV_PAGE_NOCACHE, &va);
    if (status == HV_OK)
        page = va;
    return status;
}

struct apic_state apic_look(void)
{
    uint64_t base = rdmsr(IA32_APIC_BASE);
    uint32_t version = apic_read(APIC_VERSION), id = apic_read(APIC_ID);
    struct apic_state state = {
        .base = base & APIC_BASE_ADDRESS,
        .x2apic = page == NULL,
        .id = page ? (uint32_t)FIELD_GET(XAPIC_ID, id) : id,
        .version = (uint8_t)FIELD_GET(VERSION_NUMBER, version),
        .lvt_entries = (unsigned)FIELD_GET(VERSION_MAX_LVT, version) + 1,
        .in_service = count_vectors(APIC_ISR),
        .pending = count_vectors(APIC_IRR),
    };

    apic_write(APIC_ESR, 0); /* the write latches what the read then gives */
    state.errors = apic_read(APIC_ESR);
    return state;
}

void apic_report(bool quiet)
{
    hv_status_t status = apic_start();
    struct apic_state state;

    if (status == HV_E_NOT_SUPPORTED) {
        log_line("apic", "this CPU's local APIC is off");
        return;
    }
    if (status != HV_OK) {
        log_line("apic", "the local APIC's page: %s", hv_status_name(status));
        return;
    }
    state = apic_look();
    if (!quiet)
        log_line("apic", "local APIC %u, version %#x, %u LVT entries, %s at %#llx", state.id,
                 state.version, state.lvt_entries, state.x2apic ? "x2APIC" : "xAPIC",
                 (unsigned long long)state.base);
    if (state.in_service || state.pending || state.errors)
        log_line("apic", "left behind by the firmware: %u in service, %u pending, errors %#x",
                 state.in_service, state.pending, state.errors);
}
