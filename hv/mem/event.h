/*
 * Owns:     kernel events: something happened, told to whoever asks, or by a short callback. There are no threads that
 *           could sleep on one, so an event is a counter.
 * Promises: no signal is lost, though many may be taken as one; what was stored before a signal is there for whoever
 *           takes it; a signal takes no lock.
 * Needs:    handles (hv/mem/section.h: hv_handle_close()), slabs. Lock: section_lock, for handles only.
 * Never:    waits.
 */
#ifndef HV_MEM_EVENT_H
#define HV_MEM_EVENT_H

#include "hv/mem/section.h"

enum hv_event_kind {
    HV_EVENT_AUTO_RESET = 0, /* taken all at once */
    HV_EVENT_COUNTING = 1,   /* taken one by one */
};

/*
 * `callback` may be NULL. It runs once for each signal, where the signal is given: for a doorbell that is inside the
 * guest's exit, for hv_event_signal() inside that call. No lock is held that a call wants, so it may call anything,
 * but it returns promptly. The event lives until its handle is closed, all its doorbells are gone and no callback runs. Unknown kind
 * HV_E_INVALID_PARAMETER_1; NULL event _4; HV_E_NO_MEMORY.
 */
hv_status_t hv_event_create(enum hv_event_kind kind, void (*callback)(void *context), void *context,
                            hv_handle_t *event) MUST_CHECK;

/*
 * Take what is latched: all signals, or one of a counting event. *count is how many there were, 0: none. In this order:
 * HV_E_INVALID_HANDLE; HV_E_OBJECT_TYPE; NULL count HV_E_INVALID_PARAMETER_2.
 */
hv_status_t hv_event_take(hv_handle_t event, uint64_t *count) MUST_CHECK;

/* One signal. HV_E_INVALID_HANDLE, HV_E_OBJECT_TYPE. */
hv_status_t hv_event_signal(hv_handle_t event) MUST_CHECK;

/* ---- for the rooms above: doorbells ---- */

struct event {
    uint64_t latched;    /* signals that nobody has taken */
    uint32_t references; /* handle, doorbells, callbacks that run */
    uint8_t kind;        /* enum hv_event_kind */
    void (*callback)(void *context);
    void *context;
};

/* Take a reference through a handle. HV_E_INVALID_HANDLE, HV_E_OBJECT_TYPE. Takes section_lock. */
hv_status_t event_ref(hv_handle_t handle, struct event **event) MUST_CHECK;

/* One more, for whoever has one. */
static inline void event_ref_again(struct event *event)
{
    __atomic_fetch_add(&event->references, 1, __ATOMIC_RELAXED);
}

/* The last one frees the event. */
void event_unref(struct event *event);

/* The counter's part of a signal. The caller runs the callback behind it, with a reference and without a lock. */
static inline void event_latch(struct event *event)
{
    __atomic_fetch_add(&event->latched, 1, __ATOMIC_RELEASE);
}

/* Live events, for leak checks. */
uint64_t event_live_count(void);

/* Give back what is kept warm: see section_trim(). */
void event_trim(void);

#endif
