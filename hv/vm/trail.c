#include "hv/vm/trail.h"

#include "hv/base/bits.h"
#include "hv/x86/regs.h"

#define ENTRY_ADDRESS BITS(51, 12)

bool guest_trail_learn(const struct vm *vm, uint64_t cr3, uint64_t linear,
                       struct guest_trail *trail, gpa_t *gpa)
{
    const struct vm_ram *ram = &vm->ram[0]; /* vm_create() puts it at guest-physical 0 */
    uint64_t table = cr3 & ENTRY_ADDRESS, span = 0;
    unsigned level = 0;

    trail->cr3 = GUEST_NO_TRAIL;
    for (unsigned shift = 39; shift >= PAGE_SHIFT; shift -= 9, level++) {
        uint64_t at = table + ((linear >> shift) & 511) * sizeof(uint64_t);

        if (at >= ram->bytes)
            return false;
        trail->entry[level] = (const uint64_t *)(const void *)(ram->host + at);
        trail->value[level] = __atomic_load_n(trail->entry[level], __ATOMIC_RELAXED);
        if (!(trail->value[level] & PTE_P))
            return false;
        table = trail->value[level] & ENTRY_ADDRESS;
        span = (1ull << shift) - 1;
        if (shift < 39 && shift > PAGE_SHIFT && (trail->value[level] & PTE_PS))
            break;
    }
    for (unsigned last = MIN(level, TRAIL_LEVELS - 1); level < TRAIL_LEVELS; level++) {
        trail->entry[level] = trail->entry[last];
        trail->value[level] = trail->value[last];
    }
    *gpa = GPA((table & ~span) | (linear & span));
    trail->cr3 = cr3;
    return true;
}
