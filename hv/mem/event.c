#include "hv/mem/event.h"

#include "hv/base/assert.h"
#include "hv/base/lock.h"
#include "hv/mem/handle.h"
#include "hv/mem/slab.h"

static struct slab event_slab = SLAB_INIT("event", struct event);

hv_status_t hv_event_create(enum hv_event_kind kind, void (*callback)(void *context), void *context,
                            hv_handle_t *event)
{
    struct handle_entry entry = {.kind = HANDLE_EVENT};
    struct event *made;
    hv_status_t status;

    if ((unsigned)kind > HV_EVENT_COUNTING)
        return HV_E_INVALID_PARAMETER_1;
    if (!event)
        return HV_E_INVALID_PARAMETER_4;
    made = slab_alloc(&event_slab);
    if (!made)
        return HV_E_NO_MEMORY;
    made->references = 1;
    made->kind = (uint8_t)kind;
    made->callback = callback;
    made->context = context;
    entry.object = made;
    lock_acquire(&section_lock);
    status = handle_create(&entry, event);
    lock_release(&section_lock);
    if (status != HV_OK)
        event_unref(made);
    return status;
}

/* Caller holds section_lock. */
static hv_status_t event_of_handle(hv_handle_t handle, struct event **event)
{
    const struct handle_entry *entry = handle_find(handle);

    if (!entry)
        return HV_E_INVALID_HANDLE;
    if (entry->kind != HANDLE_EVENT)
        return HV_E_OBJECT_TYPE;
    *event = entry->object;
    return HV_OK;
}

hv_status_t event_ref(hv_handle_t handle, struct event **event)
{
    hv_status_t status;

    lock_acquire(&section_lock);
    status = event_of_handle(handle, event);
    if (status == HV_OK)
        event_ref_again(*event);
    lock_release(&section_lock);
    return status;
}

void event_unref(struct event *event)
{
    if (__atomic_sub_fetch(&event->references, 1, __ATOMIC_ACQ_REL) == 0)
        slab_free(&event_slab, event);
}

/* Signals come meanwhile, and another CPU may take too: what it gets is not got here. */
static uint64_t take(struct event *event)
{
    uint64_t had;

    if (event->kind == HV_EVENT_AUTO_RESET)
        return __atomic_exchange_n(&event->latched, 0, __ATOMIC_ACQUIRE);
    had = __atomic_load_n(&event->latched, __ATOMIC_RELAXED);
    while (had != 0 && !__atomic_compare_exchange_n(&event->latched, &had, had - 1, true,
                                                    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        ;
    return had;
}

hv_status_t hv_event_take(hv_handle_t event, uint64_t *count)
{
    struct event *found;
    hv_status_t status = event_ref(event, &found);

    if (status != HV_OK)
        return status;
    if (count)
        *count = take(found);
    else
        status = HV_E_INVALID_PARAMETER_2;
    event_unref(found);
    return status;
}

hv_status_t hv_event_signal(hv_handle_t event)
{
    struct event *found;
    hv_status_t status = event_ref(event, &found);

    if (status != HV_OK)
        return status;
    event_latch(found);
    if (found->callback)
        found->callback(found->context);
    event_unref(found);
    return HV_OK;
}

uint64_t event_live_count(void)
{
    return __atomic_load_n(&event_slab.live, __ATOMIC_RELAXED);
}

void event_trim(void)
{
    slab_trim(&event_slab);
}
