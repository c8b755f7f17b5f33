/*
 * All doorbells of a device, in one array in the order of (BAR, offset, length, value). The rule of collisions leaves at
 * most one that a write can mean, and in this order it is the last one that is not behind the write:
 *
 *      BAR0 38  any length                the only one at 38
 *      BAR0 3c  2 bytes, any value (0)    the only one of this length at 3c
 *      BAR0 40  2 bytes, value 0
 *      BAR0 40  2 bytes, value 5     <--  a write of 2 bytes, 5 or more, to 40 looks here
 *      BAR0 40  4 bytes, value 5
 */
#include "hv/pci/doorbell.h"

#include "hv/base/bits.h"
#include "hv/base/direct.h"
#include "hv/base/string.h"
#include "hv/mem/event.h"
#include "hv/mem/frames.h"
#include "hv/pci/msix.h"
#include "hv/pci/range.h"

#define PLACE_BAR    BITS(63, 61)
#define PLACE_OFFSET BITS(60, 4)
#define PLACE_BYTES  BITS(3, 0) /* 0: any length */

struct doorbell {
    uint64_t place;      /* PLACE_* */
    uint64_t value;      /* 0 with ANY_VALUE, so that it comes first */
    uint64_t value_mask; /* 0 with ANY_VALUE, else all ones */
    struct event *event; /* a reference */
    uint64_t trigger;    /* as registered */
};

/*
 * A frame. Lock: the device's to read, doorbell_lock as well to write; a signal has the latter alone, and writes hints. A hint
 * is where a write like this one found its doorbell the last time. It may say anything: what is there is compared, and
 * behind the last doorbell there is none that is like a write.
 */
#define HINTS 64u
struct doorbells {
    uint8_t hint[HINTS];
    uint32_t count; /* never 0 */
    struct doorbell bell[HV_DOORBELLS_PER_DEVICE];
};

_Static_assert(sizeof(struct doorbells) <= PAGE_BYTES,
               "the doorbells of a device fit into a frame");

static inline uint64_t place_of(const struct hv_bar_state *bar, uint64_t offset, unsigned bytes)
{
    return (uint64_t)bar->index << MASK_SHIFT(PLACE_BAR) | offset << MASK_SHIFT(PLACE_OFFSET) |
           bytes;
}

static inline bool is_behind(const struct doorbell *bell, uint64_t place, uint64_t value)
{
    return bell->place > place || (bell->place == place && bell->value > value);
}

/* ---- a write ---- */

/* The last one that is not behind; when all are, the first one. */
static inline const struct doorbell *nearest(const struct doorbells *bells, uint64_t place,
                                             uint64_t value)
{
    const struct doorbell *bell = bells->bell;

    for (uint32_t left = bells->count, half; left > 1; left -= half) {
        half = left / 2;
        if (!is_behind(&bell[half], place, value))
            bell += half;
    }
    return bell;
}

static inline uint8_t *hint_for(struct doorbells *bells, uint64_t place, uint64_t value)
{
    return &bells->hint[(value ^ place >> MASK_SHIFT(PLACE_OFFSET)) % HINTS];
}

/* The doorbell of this very length, or of any, that a write means, or NULL. Leaves a hint. */
static const struct doorbell *find(struct doorbells *bells, uint64_t place, uint64_t value)
{
    const unsigned bytes = (unsigned)(place & PLACE_BYTES);
    const struct doorbell *bell = nearest(bells, place, value);

    if (bell->place != place && bell->place != (place & ~PLACE_BYTES))
        return NULL;
    if (((bell->value ^ value) & bell->value_mask & ones_of(bytes)) != 0)
        return NULL;
    *hint_for(bells, place, value) = (uint8_t)(bell - bells->bell);
    return bell;
}

/* A callback may do anything, so nothing is held but what it needs to come back. Releases doorbell_lock. */
static __attribute__((noinline)) void run_callback(struct hv_device *device, struct event *event)
{
    device_enter(device);
    event_ref_again(event);
    lock_release(&device->doorbell_lock);
    event->callback(event->context);
    event_unref(event);
    device_leave(device);
}

/* Without a hint, or with a callback. */
static __attribute__((noinline)) bool signal_slowly(struct hv_bar_state *bar, uint64_t place,
                                                    uint64_t value)
{
    struct hv_device *device = bar->device;
    const struct doorbell *bell = NULL;

    lock_acquire(&device->doorbell_lock);
    if (device->doorbells != NULL)
        bell = find(device->doorbells, place, value);
    if (!bell) {
        lock_release(&device->doorbell_lock);
        return false;
    }
    bar->rings++;
    event_latch(bell->event);
    if (bell->event->callback != NULL)
        run_callback(device, bell->event);
    else
        lock_release(&device->doorbell_lock);
    return true;
}

static __attribute__((noinline)) void write_slowly(struct hv_bar_state *bar, uint64_t place,
                                                   uint64_t value)
{
    if (!signal_slowly(bar, place, value))
        bar_write(bar, FIELD_GET(PLACE_OFFSET, place), (unsigned)(place & PLACE_BYTES), value);
}

/* The usual one is counted in instructions: nothing here outlives a call. */
void doorbell_write(void *owner, uint64_t offset, unsigned bytes, uint64_t value)
{
    struct hv_bar_state *bar = owner;
    struct hv_device *device = bar->device;
    const uint64_t place = place_of(bar, offset, bytes);
    struct doorbells *bells;
    const struct doorbell *bell;

    lock_acquire(&device->doorbell_lock);
    bells = device->doorbells;
    if (LIKELY(bells != NULL)) {
        bell = &bells->bell[*hint_for(bells, place, value)];
        if (LIKELY(bell->place == place && ((bell->value ^ value) & bell->value_mask) == 0 &&
                   bell->event->callback == NULL)) {
            bar->rings++;
            event_latch(bell->event);
            lock_release(&device->doorbell_lock);
            return;
        }
    }
    lock_release(&device->doorbell_lock);
    write_slowly(bar, place, value);
}

/* ---- the array. Caller holds the device's lock ---- */

bool doorbell_in(const struct hv_bar_state *bar, uint64_t offset, uint64_t bytes)
{
    const struct doorbells *bells = bar->device->doorbells;
    uint64_t start = place_of(bar, offset, 0);
    uint64_t end = place_of(bar, offset + bytes, 0);

    for (uint32_t i = 0; bells && i < bells->count; i++)
        if (bells->bell[i].place >= start && bells->bell[i].place < end)
            return true;
    return false;
}

/* Could both be meant by a write? */
static bool collide(const struct doorbell *a, const struct doorbell *b)
{
    uint64_t bytes = a->place & PLACE_BYTES, other = b->place & PLACE_BYTES;

    if ((a->place ^ b->place) & ~PLACE_BYTES)
        return false;
    if (bytes == 0 || other == 0)
        return true;
    return bytes == other && ((a->value ^ b->value) & a->value_mask & b->value_mask) == 0;
}

static bool is_taken(const struct doorbells *bells, const struct doorbell *bell)
{
    for (uint32_t i = 0; bells && i < bells->count; i++)
        if (collide(&bells->bell[i], bell))
            return true;
    return false;
}

/* Takes the caller's reference to the event. `bells`: the device's, or a new frame for them. */
static void add(struct hv_bar_state *bar, struct doorbells *bells, const struct doorbell *bell)
{
    struct hv_device *device = bar->device;
    uint32_t at;

    lock_acquire(&device->doorbell_lock);
    for (at = bells->count++; at > 0 && is_behind(&bells->bell[at - 1], bell->place, bell->value);
         at--)
        bells->bell[at] = bells->bell[at - 1];
    bells->bell[at] = *bell;
    device->doorbells = bells;
    lock_release(&device->doorbell_lock);
    if (bar->doorbells++ == 0)
        bar_update_handler(bar);
}

/* From here on it signals no more. */
static void drop(struct hv_bar_state *bar, uint32_t at)
{
    struct hv_device *device = bar->device;
    struct doorbells *bells = device->doorbells;
    struct event *event = bells->bell[at].event;

    lock_acquire(&device->doorbell_lock);
    bells->count--;
    for (; at < bells->count; at++)
        bells->bell[at] = bells->bell[at + 1];
    bells->bell[at] = (struct doorbell){.place = 0}; /* no write's */
    if (bells->count == 0)
        device->doorbells = NULL;
    lock_release(&device->doorbell_lock);
    if (--bar->doorbells == 0)
        bar_update_handler(bar);
    if (!device->doorbells)
        frames_free(&hv_frames, direct_to_hpa(bells), 1);
    event_unref(event);
}

/* ---- the calls ---- */

/* The length that the flags mean in bytes, 0: any; BYTES_UNKNOWN when they mean none. */
#define BYTES_UNKNOWN 16u

static unsigned bytes_of(uint64_t flags)
{
    static const uint8_t bytes[] = {
        [HV_DOORBELL_ANY] = 0,   [HV_DOORBELL_BYTE] = 1,  [HV_DOORBELL_WORD] = 2,
        [HV_DOORBELL_DWORD] = 4, [HV_DOORBELL_QWORD] = 8,
    };
    uint64_t length = flags & ~HV_DOORBELL_ANY_VALUE;

    return length < ARRAY_COUNT(bytes) ? bytes[length] : BYTES_UNKNOWN;
}

static struct doorbell make_bell(const struct hv_bar_state *bar, uint64_t offset, uint64_t trigger,
                                 uint64_t flags)
{
    bool any_value = flags & HV_DOORBELL_ANY_VALUE;

    return (struct doorbell){
        .place = place_of(bar, offset, bytes_of(flags)),
        .value = any_value ? 0 : trigger,
        .value_mask = any_value ? 0 : UINT64_MAX,
        .trigger = trigger,
    };
}

/* Checks of the arguments, in the order of the contract. */
static hv_status_t check(const struct hv_bar_state *bar, uint64_t offset, uint64_t trigger,
                         uint64_t flags)
{
    unsigned bytes = bytes_of(flags);
    uint64_t room = MAX(bytes, 1u);

    if (bytes == BYTES_UNKNOWN)
        return HV_E_INVALID_PARAMETER_5;
    if (offset >= bar->bytes || room > bar->bytes - offset)
        return HV_E_OUT_OF_RANGE;
    if (!IS_ALIGNED(offset, room))
        return HV_E_MAPPED_ALIGNMENT;
    if (bytes != 0 && (trigger & ~ones_of(bytes)))
        return HV_E_INVALID_PARAMETER_4;
    return HV_OK;
}

/* Checks of what is there already. *bells: where there is room for one more. */
static hv_status_t check_place(const struct hv_bar_state *bar, uint64_t offset,
                               const struct doorbell *bell, struct doorbells **bells)
{
    const struct hv_range *range = range_find(bar, offset >> PAGE_SHIFT);
    hpa_t frame;
    hv_status_t status;

    *bells = bar->device->doorbells;
    if (is_taken(*bells, bell))
        return HV_E_ALREADY_EXISTS;
    if ((range && (range->flags & HV_MMIO_WRITEABLE)) || (bar->has_msix && msix_owns(bar, offset)))
        return HV_E_CONFLICTING_ADDRESSES;
    if (*bells)
        return (*bells)->count < HV_DOORBELLS_PER_DEVICE ? HV_OK : HV_E_QUOTA;
    status = frames_alloc(&hv_frames, 1, 1, &frame);
    if (status != HV_OK)
        return status;
    *bells = direct(frame);
    memset(*bells, 0, sizeof(**bells));
    return HV_OK;
}

/* Caller holds the device's lock. */
static hv_status_t register_locked(struct hv_device *device, enum hv_bar index, uint64_t offset,
                                   uint64_t trigger, uint64_t flags, hv_handle_t event)
{
    struct hv_bar_state *bar;
    struct doorbells *bells;
    struct doorbell bell;
    hv_status_t status;

    if (device->state >= HV_DEVICE_TEARING_DOWN)
        return HV_E_INVALID_STATE;
    status = device_memory_bar(device, index, &bar);
    if (status == HV_OK)
        status = check(bar, offset, trigger, flags);
    if (status != HV_OK)
        return status;
    bell = make_bell(bar, offset, trigger, flags);
    status = event_ref(event, &bell.event);
    if (status != HV_OK)
        return status;
    status = check_place(bar, offset, &bell, &bells);
    if (status == HV_OK)
        add(bar, bells, &bell);
    else
        event_unref(bell.event);
    return status;
}

hv_status_t hv_doorbell_register(struct hv_device *device, enum hv_bar bar, uint64_t bar_offset,
                                 uint64_t trigger_value, uint64_t flags, hv_handle_t event)
{
    hv_status_t status;

    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    lock_acquire(&device->lock);
    status = register_locked(device, bar, bar_offset, trigger_value, flags, event);
    lock_release(&device->lock);
    return status;
}

static hv_status_t unregister_locked(struct hv_device *device, enum hv_bar index, uint64_t offset,
                                     uint64_t trigger, uint64_t flags)
{
    const struct doorbells *bells = device->doorbells;
    struct hv_bar_state *bar;
    struct doorbell like;
    hv_status_t status = device_memory_bar(device, index, &bar);

    if (status != HV_OK)
        return status;
    if (!bells || offset >= bar->max_bytes || bytes_of(flags) == BYTES_UNKNOWN)
        return HV_E_NOT_FOUND;
    like = make_bell(bar, offset, trigger, flags);
    for (uint32_t i = 0; i < bells->count; i++) {
        const struct doorbell *bell = &bells->bell[i];

        if (bell->place == like.place && bell->trigger == trigger &&
            bell->value_mask == like.value_mask) {
            drop(bar, i);
            return HV_OK;
        }
    }
    return HV_E_NOT_FOUND;
}

hv_status_t hv_doorbell_unregister(struct hv_device *device, enum hv_bar bar, uint64_t bar_offset,
                                   uint64_t trigger_value, uint64_t flags)
{
    hv_status_t status;

    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    lock_acquire(&device->lock);
    status = unregister_locked(device, bar, bar_offset, trigger_value, flags);
    lock_release(&device->lock);
    return status;
}

uint64_t doorbell_destroy_all(struct hv_device *device)
{
    uint64_t count = 0;

    lock_acquire(&device->lock);
    for (; device->doorbells; count++) {
        const struct doorbell *bell = &device->doorbells->bell[0];
        struct hv_bar_state *bar = &device->bar[FIELD_GET(PLACE_BAR, bell->place)];

        log_line("pci", "00:%02x.%u left behind a doorbell of BAR%u at 0x%llx, value 0x%llx",
                 device->slot, device->function, (unsigned)bar->index,
                 (unsigned long long)FIELD_GET(PLACE_OFFSET, bell->place),
                 (unsigned long long)bell->trigger);
        drop(bar, 0);
    }
    lock_release(&device->lock);
    return count;
}
