#include "tests/unit/bell_kit.h"

#include "hv/base/bits.h"

hv_handle_t event[EVENTS];

void bars_up(void)
{
    probe_create(probe);
    assert_int_equal(hv_device_host_start(world.host), HV_OK);
    decode(probe, true);
}

void make_events(void)
{
    for (unsigned i = 0; i < EVENTS; i++)
        assert_int_equal(hv_event_create(HV_EVENT_AUTO_RESET, NULL, NULL, &event[i]), HV_OK);
}

void close_events(void)
{
    for (unsigned i = 0; i < EVENTS; i++)
        assert_int_equal(hv_handle_close(event[i]), HV_OK);
}

hv_status_t bell_add(enum hv_bar bar, uint64_t offset, uint64_t value, uint64_t flags,
                     hv_handle_t handle)
{
    hv_status_t status = hv_doorbell_register(probe->device, bar, offset, value, flags, handle);

    assert_false(lock_is_held(&probe->device->lock));
    assert_false(lock_is_held(&probe->device->doorbell_lock));
    assert_false(lock_is_held(&section_lock));
    return status;
}

hv_status_t bell_drop(enum hv_bar bar, uint64_t offset, uint64_t value, uint64_t flags)
{
    return hv_doorbell_unregister(probe->device, bar, offset, value, flags);
}

uint64_t taken(hv_handle_t handle)
{
    uint64_t count = 77;

    assert_int_equal(hv_event_take(handle, &count), HV_OK);
    return count;
}

void put(enum hv_bar bar, uint64_t offset, unsigned bytes, uint64_t value)
{
    fake_vm_write(&world.vm, bar_base(probe, bar) + offset, bytes, value);
}

void rings(enum hv_bar bar, uint64_t offset, unsigned bytes, uint64_t value, unsigned n)
{
    unsigned writes = probe->writes;

    put(bar, offset, bytes, value);
    for (unsigned i = 0; i < EVENTS; i++)
        assert_int_equal(taken(event[i]), i == n);
    assert_int_equal(fake_vm_way, n < EVENTS ? FAKE_RANG : FAKE_TRAPPED);
    assert_int_equal(probe->writes, writes + (n == EVENTS));
    if (n == EVENTS) {
        assert_int_equal(probe->last_offset, offset);
        assert_int_equal(probe->last_length, bytes);
        assert_int_equal(probe->last_value, value & ones_of(bytes));
    }
}
