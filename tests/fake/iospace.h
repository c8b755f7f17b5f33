/*
 * Owns:     hv_io_space_map() and _unmap() for host tests: physical memory in pieces that a test lays out.
 * Promises: a mapping is exactly as long as asked for, in a block of its own, so that the sanitizer sees a byte
 *           too far; what was written to it is in the piece after the unmap. Memory that no piece holds whole is
 *           refused with HV_E_ACCESS_DENIED.
 * Needs:    hv/mem/view.h.
 * Never:    linked into the image.
 */
#ifndef TESTS_FAKE_IOSPACE_H
#define TESTS_FAKE_IOSPACE_H

#include "hv/mem/view.h"

/* Forget all pieces. Live mappings at this point fail the test. */
void fake_io_reset(void);

/* `bytes` stays the caller's. */
void fake_io_add(uint64_t base, void *bytes, uint64_t count);

/* What the last successful map asked for; mappings now; calls that were refused. */
extern uint32_t fake_io_protect;
extern unsigned fake_io_live, fake_io_refused;

#endif
