#include "hv/x86/mtrr.h"

#include "hv/x86/cpu.h"
#include "hv/x86/regs.h"

/* The encodings of ept/memtype.h, which this room does not see. */
enum { UC = 0, WT = 4, WB = 6, NONE = 0xff };

#define FIXED_TYPE       BITS(2, 0) /* AMD keeps two bits of its own above them */
#define RANGES_PER_FIXED 8u

static uint64_t read_top_mem2(void)
{
    const uint64_t both = SYSCFG_TOM2 | SYSCFG_TOM2_WB;

    /* Some hypervisors answer #GP here; what they emulate are the MTRRs proper. */
    if (cpuid(1, 0).ecx & CPUID_1_ECX_HYPERVISOR)
        return 0;
    return (rdmsr(AMD_SYSCFG) & both) == both ? rdmsr(AMD_TOP_MEM2) & TOP_MEM2_ADDRESS : 0;
}

void mtrr_read(struct mtrr *mtrr, bool amd)
{
    uint64_t caps;

    *mtrr = (struct mtrr){.def_type = MTRR_DEF_ENABLE | WB};
    if (!(cpuid(1, 0).edx & CPUID_1_EDX_MTRR))
        return;
    caps = rdmsr(IA32_MTRRCAP);
    mtrr->def_type = rdmsr(IA32_MTRR_DEF_TYPE);
    if (caps & MTRR_CAP_FIXED) {
        mtrr->fixed[0] = rdmsr(IA32_MTRR_FIX64K_00000);
        for (unsigned i = 0; i < 2; i++)
            mtrr->fixed[1 + i] = rdmsr(IA32_MTRR_FIX16K_80000 + i);
        for (unsigned i = 0; i < 8; i++)
            mtrr->fixed[3 + i] = rdmsr(IA32_MTRR_FIX4K_C0000 + i);
    } else {
        mtrr->def_type &= ~MTRR_DEF_FIXED;
    }
    mtrr->variable_count = (unsigned)MIN(FIELD_GET(MTRR_CAP_COUNT, caps), MTRR_MAX_VARIABLE);
    for (unsigned i = 0; i < mtrr->variable_count; i++)
        mtrr->variable[i] = (struct mtrr_range){rdmsr(IA32_MTRR_PHYSBASE0 + 2 * i),
                                                rdmsr(IA32_MTRR_PHYSMASK0 + 2 * i)};
    mtrr->top_mem2 = amd ? read_top_mem2() : 0;
}

/* Below 1 MiB: which of the 88 ranges. */
static unsigned fixed_range(uint64_t address)
{
    if (address < KIB(512))
        return (unsigned)(address / KIB(64));
    if (address < KIB(768))
        return RANGES_PER_FIXED + (unsigned)((address - KIB(512)) / KIB(16));
    return 3 * RANGES_PER_FIXED + (unsigned)((address - KIB(768)) / KIB(4));
}

static uint8_t fixed_type(const struct mtrr *mtrr, uint64_t address)
{
    unsigned range = fixed_range(address);

    return (uint8_t)((mtrr->fixed[range / RANGES_PER_FIXED] >> (range % RANGES_PER_FIXED * 8)) &
                     FIXED_TYPE);
}

static uint8_t overlap(uint8_t a, uint8_t b)
{
    if (a == b)
        return a;
    return (a == WT && b == WB) || (a == WB && b == WT) ? WT : UC;
}

/* NONE: no range has the address. */
static uint8_t variable_type(const struct mtrr *mtrr, uint64_t address)
{
    uint8_t type = NONE;

    for (unsigned i = 0; i < mtrr->variable_count; i++) {
        const struct mtrr_range *range = &mtrr->variable[i];
        uint8_t its = (uint8_t)FIELD_GET(MTRR_BASE_TYPE, range->base);

        if ((range->mask & MTRR_MASK_VALID) &&
            ((address ^ range->base) & range->mask & MTRR_ADDRESS) == 0)
            type = type == NONE ? its : overlap(type, its);
    }
    return type;
}

uint8_t mtrr_type(const struct mtrr *mtrr, hpa_t frame)
{
    uint8_t type;

    if (!(mtrr->def_type & MTRR_DEF_ENABLE))
        return UC;
    if (frame.v < MIB(1) && (mtrr->def_type & MTRR_DEF_FIXED))
        return fixed_type(mtrr, frame.v);
    type = variable_type(mtrr, frame.v);
    if (type != NONE)
        return type;
    if (frame.v >= GIB(4) && frame.v < mtrr->top_mem2)
        return WB;
    return (uint8_t)FIELD_GET(MTRR_DEF_TYPE, mtrr->def_type);
}

/* Lowest bit that is set, or 0. */
static uint64_t lowest(uint64_t word)
{
    return word & -word;
}

uint64_t mtrr_run(const struct mtrr *mtrr, hpa_t frame)
{
    uint64_t grain = GIB(4); /* every border is on a multiple of it */

    if (frame.v < MIB(1))
        return 1;
    for (unsigned i = 0; i < mtrr->variable_count; i++) {
        uint64_t bit = lowest(mtrr->variable[i].mask & MTRR_ADDRESS);

        if ((mtrr->variable[i].mask & MTRR_MASK_VALID) && bit != 0)
            grain = MIN(grain, bit);
    }
    if (mtrr->top_mem2 != 0)
        grain = MIN(grain, lowest(mtrr->top_mem2));
    return (grain - (frame.v & (grain - 1))) >> PAGE_SHIFT;
}
