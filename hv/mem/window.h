/*
 * Owns:     the short-lived mapping through which the hypervisor touches one frame with a chosen type.
 * Promises: while open, the frame is mapped with exactly that type and never twice; after close the
 *           translation is gone from this CPU's TLB. Windows are per CPU and nest two deep.
 * Needs:    the hypervisor's address space (space.c). Host tests link a fake over the direct map.
 * Never:    held over a callback or a VM entry.
 */
#ifndef HV_MEM_WINDOW_H
#define HV_MEM_WINDOW_H

#include "ept/memtype.h"
#include "hv/base/types.h"

/* The frame's first byte. frame is page-aligned. */
void *window_open(hpa_t frame, enum memtype memtype);
void window_close(void *window);

/*
 * Copy between a buffer and physical memory inside one page. Naturally aligned copies of 1, 2, 4 or 8
 * bytes are single accesses.
 */
void window_read(hpa_t at, enum memtype memtype, void *out, unsigned bytes);
void window_write(hpa_t at, enum memtype memtype, const void *in, unsigned bytes);

/* Write back and drop the cache lines of frames that are about to be used with an uncached type. */
void window_flush_lines(hpa_t base, uint64_t pages);

#endif
