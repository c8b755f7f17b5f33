/*
 * Owns:     making a VM: its RAM, its tables, its ports.
 * Promises: RAM is zeroed, mapped RWX write-back, below the split and from 4 GiB up; a failure leaves nothing
 *           that matters (the boot stops).
 * Needs:    frames, ept, platform.
 * Never:    devices.
 */
#ifndef HV_VM_CREATE_H
#define HV_VM_CREATE_H

#include "hv/vm/vp.h"

/* `ram_bytes` of RAM, what exceeds `split_bytes` starts at 4 GiB. vm and vp are zeroed memory. */
hv_status_t vm_create(struct vm *vm, struct vp *vp, const struct pt_format *format,
                      uint64_t ram_bytes, uint64_t split_bytes) MUST_CHECK;

#endif
