#include "tests/unit/apic_kit.h"

static const struct mmio_handler *handler(void)
{
    unsigned last = 0;
    uint64_t base = kit.apic.base & APIC_BASE_ADDRESS;
    unsigned at = mmio_region_find(&kit.vm.regions, GPA(base), &last);

    return at == MMIO_NONE ? NULL : &kit.vm.regions.handler[at];
}

uint64_t page_read(uint64_t offset, unsigned bytes)
{
    const struct mmio_handler *h = handler();

    return (h ? h->read(h->owner, offset, bytes) : ~0ull) & ones_of(bytes);
}

void page_write(uint64_t offset, unsigned bytes, uint64_t value)
{
    const struct mmio_handler *h = handler();

    if (!h)
        return;
    assert_ptr_equal(h->write, h->write_whole);
    h->write(h->owner, offset, bytes, value);
}

uint32_t page_get(uint64_t offset)
{
    return (uint32_t)page_read(offset, 4);
}

void page_put(uint64_t offset, uint32_t value)
{
    page_write(offset, 4, value);
}

bool page_is_at(uint64_t gpa)
{
    unsigned last = 0, first = mmio_region_find(&kit.vm.regions, GPA(gpa), &last);

    if (first == MMIO_NONE || kit.vm.regions.handler[first].owner != &kit.apic)
        return false;
    assert_int_equal(kit.vm.regions.key[first].start, gpa);
    assert_int_equal(kit.vm.regions.key[first].bytes, PAGE_BYTES);
    return true;
}

bool msr_get(uint32_t msr, uint64_t *value)
{
    kit.vp.gpr[GPR_RCX] = msr;
    kit.vp.event.kind = VP_EVENT_NONE;
    if (vp_msr_read(&kit.vp) != HV_ADVANCE) {
        kit_expect_event(VECTOR_GP, true, 0);
        return false;
    }
    *value = kit.vp.gpr[GPR_RAX] | kit.vp.gpr[GPR_RDX] << 32;
    return true;
}

bool msr_put(uint32_t msr, uint64_t value)
{
    kit.vp.gpr[GPR_RCX] = msr;
    kit.vp.gpr[GPR_RAX] = (uint32_t)value;
    kit.vp.gpr[GPR_RDX] = value >> 32;
    kit.vp.event.kind = VP_EVENT_NONE;
    if (vp_msr_write(&kit.vp) == HV_ADVANCE)
        return true;
    kit_expect_event(VECTOR_GP, true, 0);
    return false;
}

uint64_t msr_of(uint32_t msr)
{
    uint64_t value = 0;

    assert_true(msr_get(msr, &value));
    return value;
}

int apic_open(void **state)
{
    kit_open(state);
    vp_cpuid_init(&kit.vp);
    page_put(P_SVR, 0x1ff);
    return 0;
}

int x2apic_open(void **state)
{
    apic_open(state);
    assert_true(msr_put(IA32_APIC_BASE, kit.apic.base | APIC_BASE_X2APIC));
    return 0;
}

int deliver_next(void)
{
    int vector = apic_next(&kit.apic);

    if (vector >= 0)
        apic_take(&kit.apic, (uint8_t)vector);
    return vector;
}

bool set_has(uint64_t offset, unsigned vector)
{
    return page_get(offset + vector / 32 * 16) >> vector % 32 & 1;
}
