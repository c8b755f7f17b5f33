/*
 * Owns:     window_* and space_direct_remove/restore for host tests, over fake physical memory.
 * Promises: the types asked for, the flushed lines and the frames out of the direct map are recorded;
 *           removing twice, restoring what is there, flushing lines of a frame that the direct map still
 *           has, a third nested window and a copy over a page border abort.
 * Needs:    tests/fake/phys.h.
 * Never:    frames at or above FAKE_WINDOW_LIMIT, except through window_* (not recorded there).
 */
#ifndef TESTS_FAKE_WINDOW_H
#define TESTS_FAKE_WINDOW_H

#include "ept/memtype.h"
#include "hv/base/types.h"

#define FAKE_WINDOW_LIMIT GIB(8ull)

struct fake_window {
    unsigned open; /* now */
    unsigned reads;
    unsigned writes;
    enum memtype last_type;
    hpa_t last_at;
    unsigned last_bytes;
    uint64_t flushed_pages; /* so far */
    uint64_t removed_pages; /* now */
    uint64_t removals;      /* calls, failed ones included */
};

extern struct fake_window fake_window;

/* The n-th space_direct_remove() from now (1 = the next) fails with HV_E_NO_MEMORY, once. 0: none. */
void fake_direct_fail(unsigned nth);

/* The next space_direct_remove() calls this first, once: what another CPU does meanwhile. */
void fake_direct_hook(void (*hook)(void));

/* Every access to a removed frame faults, except through a window. */
void fake_direct_strict(bool strict);

bool fake_direct_has(hpa_t frame);

/* The frame's lines were flushed since it last left the direct map. */
bool fake_window_is_flushed(hpa_t frame);

#endif
