/*
 * Owns:     the hypervisor's own address space: direct map, image, windows, later views and I/O space.
 * Promises: image pages are W^X; the direct map is read-write, not executable, write-back, and holds only
 *           RAM frames that the hypervisor owns or that are write-back guest RAM; a guard page lies below
 *           every stack.
 * Needs:    frames, ept/ (with pt_format_stage1), hv/x86.
 * Never:    device memory in the direct map.
 */
#ifndef HV_MEM_SPACE_H
#define HV_MEM_SPACE_H

#include "ept/ept.h"
#include "hv/base/status.h"

/* The direct map loses or regains RAM frames (a section's). Removal can fail, restoring what was removed
 * in the same run cannot. */
hv_status_t space_direct_remove(hpa_t base, uint64_t pages) MUST_CHECK;
void space_direct_restore(hpa_t base, uint64_t pages);

#endif
