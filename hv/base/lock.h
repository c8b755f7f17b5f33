/*
 * Owns:     the spin lock.
 * Promises: ticket-fair; acquire and release order memory.
 * Needs:    compiler atomics.
 * Never:    held over a device callback, but for a VM's bus_lock. Lock order: device -> section -> tables.
 */
#ifndef HV_BASE_LOCK_H
#define HV_BASE_LOCK_H

#include "hv/base/assert.h"
#include "hv/base/types.h"

struct lock {
    uint32_t next;
    uint32_t serving;
};

static inline void lock_acquire(struct lock *lock)
{
    uint32_t ticket = __atomic_fetch_add(&lock->next, 1, __ATOMIC_RELAXED);

    if (LIKELY(__atomic_load_n(&lock->serving, __ATOMIC_ACQUIRE) == ticket))
        return;
    while (__atomic_load_n(&lock->serving, __ATOMIC_ACQUIRE) != ticket)
        __builtin_ia32_pause();
}

/* Nobody else writes `serving` now, so one plain increment, a single store on this CPU, lets the next one in. */
static inline void lock_release(struct lock *lock)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    lock->serving++;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline bool lock_is_held(const struct lock *lock)
{
    return __atomic_load_n(&lock->serving, __ATOMIC_RELAXED) !=
           __atomic_load_n(&lock->next, __ATOMIC_RELAXED);
}

#endif
