/* Why an access has the memory type that it has. */
#include "hv/vm/backend.h"
#include "hv/vm/walk.h"
#include "hv/x86/regs.h"

/* The guest's PAT entry: chosen by its leaf; without paging everything is write-back to the PAT's side. */
static void guest_side(const struct guest_walk *walk, uint64_t pat,
                       struct hv_memtype_report *report)
{
    const unsigned pat_bit_4k = 7, pat_bit_large = 12;

    if (walk->level == 0) {
        report->pat_index = 0;
        report->pat_type = MEMTYPE_WB;
        return;
    }
    report->pat_index =
        (uint8_t)pat_index(walk->entry, walk->level == 1 ? pat_bit_4k : pat_bit_large);
    report->pat_type = (uint8_t)pat_entry(pat, report->pat_index);
}

hv_status_t hv_effective_memtype(struct vp *vp, gva_t gva, struct hv_memtype_report *report)
{
    struct vp_state state;
    struct guest_paging paging;
    struct guest_walk walk;
    struct pt_leaf leaf;

    hv_backend->state_get(vp, &state);
    /* Where the host's CD counts too: space_load() has cleared it. */
    paging = (struct guest_paging){state.cr0, state.cr3, state.efer};
    *report = (struct hv_memtype_report){.cache_disabled = (state.real_cr0 & CR0_CD) != 0};
    if (guest_walk(vp->vm, &paging, gva, &walk) != WALK_OK)
        return HV_OK;
    report->gpa = walk.gpa;
    guest_side(&walk, state.pat, report);
    if (!vm_leaf_lookup(vp->vm, walk.gpa, &leaf))
        return HV_OK;
    report->mapped = true;
    report->leaf_type = leaf.attr.memtype;
    report->ignore_pat = leaf.attr.ignore_pat;
    report->leaf_level = leaf.level;
    report->effective = hv_backend->memtype_combine(&leaf, report);
    if (report->cache_disabled)
        report->effective = MEMTYPE_UC;
    return HV_OK;
}
