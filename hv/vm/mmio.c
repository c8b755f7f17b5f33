/*
 * Second-level faults that did not go the short way (usual.h): is it one that a device shall answer?
 *
 *   fault --> allowed by now? --> may it be emulated? --> fetch, decode, emulate: access.c
 *                (resume)            (else a VM event)
 */
#include "hv/vm/usual.h"

static enum hv_resume stop(struct vp *vp, const struct hv_exit *exit, enum vm_stop_cause cause)
{
    vm_stop(vp->vm, exit, cause);
    return HV_STOP;
}

void vp_places_forget(struct vp *vp)
{
    for (unsigned i = 0; i < VP_PLACES; i++)
        vp->place[i].trail.cr3 = GUEST_NO_TRAIL;
    for (unsigned i = 0; i < VP_PAGES; i++)
        vp->operand[i].trail.cr3 = GUEST_NO_TRAIL;
}

uint64_t vp_place_index(const struct vp_place *place, const uint64_t *gpr)
{
    return gpr[place->index] << place->insn.scale;
}

bool vp_operand_learn(struct vp *vp, uint64_t cr3, uint64_t linear, struct vp_page *page)
{
    uint64_t all = ~0ull, leaf;
    gpa_t gpa;

    /* The instruction is what memory says now: its address need not be the one that the CPU has used. */
    if (!is_canonical(linear) || !guest_trail_learn(vp->vm, cr3, linear, &page->trail, &gpa))
        return false;
    leaf = page->trail.value[TRAIL_LEVELS - 1];
    for (unsigned i = 0; i < TRAIL_LEVELS; i++)
        all &= page->trail.value[i];
    page->linear = linear & ~PAGE_MASK;
    page->gpa = gpa.v & ~PAGE_MASK;
    page->writable = all & PTE_W;
    page->user = all & PTE_U;
    page->accessed = all & PTE_A;
    page->dirty = leaf & PTE_D;
    return true;
}

void vp_place_load(struct vp *vp, const struct vp_place *place, uint64_t value)
{
    insn_set_reg(&place->insn, vp->gpr, value);
}

/* What the leaf allows now: another CPU, or this one's own last call, may have mapped the page meanwhile. */
bool vp_fault_is_over(const struct vp *vp, gpa_t gpa, uint8_t access)
{
    _Static_assert((int)HV_ACCESS_READ == PT_R && (int)HV_ACCESS_WRITE == PT_W &&
                       (int)HV_ACCESS_FETCH == PT_X,
                   "an access asks for the right of the same number");
    return vm_leaf_allows(vp->vm, gpa, access);
}

/* Why an access that is not plain cannot be emulated. */
static enum hv_resume not_plain(struct vp *vp, const struct hv_exit *exit)
{
    if (exit->memory.in_delivery)
        return stop(vp, exit, VM_STOP_EVENT_DELIVERY);
    return stop(vp, exit,
                exit->memory.access & HV_ACCESS_FETCH ? VM_STOP_FETCH_VIOLATION
                                                      : VM_STOP_TABLE_WALK);
}

enum hv_resume vp_memory_fault(struct vp *vp, struct hv_exit *exit)
{
    if (UNLIKELY(vp_fault_is_over(vp, exit->memory.gpa, exit->memory.access))) {
        vp->vm->stats.spurious++;
        return HV_RESUME;
    }
    return LIKELY(exit->memory.plain) ? vp_emulate(vp, exit) : not_plain(vp, exit);
}
