/* Why an access has the memory type that it has. */
#include "hv/base/log.h"
#include "hv/vm/backend.h"
#include "hv/vm/walk.h"
#include "hv/x86/regs.h"

/* The guest's PAT entry: chosen by its leaf; without paging everything is write-back to the PAT's side. */
static void guest_side(const struct guest_walk *walk, uint64_t pat,
                       struct hv_memtype_report *report)
{
    const unsigned pat_bit_4k = 7, pat_bit_large = 12;

    report->guest_level = walk->level;
    if (walk->level == 0) {
        report->pat_index = 0;
        report->pat_type = MEMTYPE_WB;
        return;
    }
    report->pwt = (walk->entry & PTE_PWT) != 0;
    report->pcd = (walk->entry & PTE_PCD) != 0;
    report->pat = (walk->entry & (walk->level == 1 ? BIT(pat_bit_4k) : BIT(pat_bit_large))) != 0;
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
    paging = vp_paging(&state);
    *report = (struct hv_memtype_report){.cache_disabled = (state.real_cr0 & CR0_CD) != 0};
    if (guest_walk(vp->vm, &paging, gva, &walk) != WALK_OK)
        return HV_OK;
    report->translates = true;
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

/* The guest's side of the sentence. */
static void explain_guest(const struct hv_memtype_report *report, char *text, size_t bytes)
{
    if (report->ignore_pat)
        format(text, bytes, " and ignores the guest's PAT");
    else if (report->guest_level == 0)
        format(text, bytes, ", the guest does not page");
    else
        format(text, bytes, ", guest PAT entry %u says %s", report->pat_index,
               memtype_name(report->pat_type));
}

void hv_memtype_explain(const struct hv_memtype_report *report, char *text, size_t bytes)
{
    char guest[40], mtrr[24] = "";

    if (!report->translates) {
        format(text, bytes, "the guest's tables do not translate the address");
        return;
    }
    if (!report->mapped) {
        format(text, bytes, "%s has no leaf for the address", hv_caps.table_format);
        return;
    }
    explain_guest(report, guest, sizeof(guest));
    if (report->has_mtrr)
        format(mtrr, sizeof(mtrr), ", the frame's MTRR %s", memtype_name(report->mtrr_type));
    format(text, bytes, "%s says %s%s%s%s, so %s", hv_caps.table_format,
           memtype_name(report->leaf_type), guest, mtrr,
           report->cache_disabled ? ", but CR0.CD is set" : "", memtype_name(report->effective));
}
