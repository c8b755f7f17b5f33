#include "hv/vmx/vmx.h"

/* SDM 3C "Memory Type Used for Translated Guest-Physical Addresses": MTRRs play no part. */
uint8_t vmx_memtype_combine(const struct pt_leaf *leaf, struct hv_memtype_report *report)
{
    report->has_mtrr = false;
    return (uint8_t)memtype_combine_ept((enum memtype)leaf->attr.memtype, leaf->attr.ignore_pat,
                                        report->pat_type);
}
