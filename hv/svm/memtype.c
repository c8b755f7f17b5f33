#include "hv/svm/svm.h"
#include "hv/x86/mtrr.h"

/* Written once at boot. The firmware gives every CPU the same. */
static struct mtrr mtrr;

void svm_memtype_init(void)
{
    mtrr_read(&mtrr, true);
}

/* APM 2 "Combining Memory Types, MTRRs": the MTRR is that of the system-physical address. */
uint8_t svm_memtype_combine(const struct pt_leaf *leaf, struct hv_memtype_report *report)
{
    report->has_mtrr = true;
    report->mtrr_type = mtrr_type(&mtrr, leaf->frame);
    return (uint8_t)memtype_combine_npt((enum memtype)leaf->attr.memtype, report->pat_type,
                                        report->mtrr_type);
}
