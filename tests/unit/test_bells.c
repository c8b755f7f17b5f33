/* hv/pci/doorbell.c: doorbells and their BAR, callbacks, races, tear-down. */
#include "tests/unit/bell_kit.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "hv/base/bits.h"
#include "hv/pci/config.h"
#include "hv/pci/doorbell.h"
#include "hv/pci/range.h"

#define MEM64   0x400000000ull
#define PAGE    5u /* of BAR2, where the doorbell is */
#define AT      (PAGE * PAGE_BYTES + NOTIFY)
#define WRITES  40000u
#define WRITERS 2u

static const struct mmio_handler *handler_of(enum hv_bar bar)
{
    unsigned hint = 0;
    unsigned region = mmio_region_find(&world.vm.regions, GPA(bar_base(probe, bar)), &hint);

    return region == MMIO_NONE ? NULL : &world.vm.regions.handler[region];
}

/* ---- the BAR ---- */

/* Only a BAR with doorbells asks, from the first one on and until the last one goes. */
static void test_region_asks(void **state)
{
    (void)state;
    bars_up();
    make_events();
    assert_ptr_equal(handler_of(HV_BAR2)->write_whole, bar_write);
    assert_int_equal(bell_add(HV_BAR2, AT, 1, WORD, event[0]), HV_OK);
    assert_int_equal(bell_add(HV_BAR2, AT, 2, WORD, event[1]), HV_OK);
    assert_ptr_equal(handler_of(HV_BAR2)->write_whole, doorbell_write);
    assert_ptr_equal(handler_of(HV_BAR0)->write_whole, bar_write);
    assert_int_equal(bell_drop(HV_BAR2, AT, 1, WORD), HV_OK);
    assert_ptr_equal(handler_of(HV_BAR2)->write_whole, doorbell_write);
    rings(HV_BAR2, AT, 2, 1, EVENTS);
    rings(HV_BAR2, AT, 2, 2, 1);
    assert_int_equal(bell_drop(HV_BAR2, AT, 2, WORD), HV_OK);
    assert_ptr_equal(handler_of(HV_BAR2)->write_whole, bar_write);
    rings(HV_BAR2, AT, 2, 2, EVENTS);
    close_events();
}

/* Firecracker 6091: a 64-bit BAR is two writes, and doorbells must follow. Dead while decode is off. */
static void test_follow_the_bar(void **state)
{
    uint64_t old;

    (void)state;
    probe_create(probe);
    make_events();
    assert_int_equal(bell_add(HV_BAR2, AT, 1, WORD, event[0]), HV_OK); /* before it decodes */
    put(HV_BAR2, AT, 2, 1);
    assert_int_equal(fake_vm_way, FAKE_NOBODY);
    decode(probe, true);
    rings(HV_BAR2, AT, 2, 1, 0);

    old = bar_base(probe, HV_BAR2);
    move_bar(probe, HV_BAR2, GIB(64));
    rings(HV_BAR2, AT, 2, 1, 0);
    fake_vm_write(&world.vm, old + AT, 2, 1);
    assert_int_equal(fake_vm_way, FAKE_NOBODY);
    assert_int_equal(taken(event[0]), 0);

    /* Half written: it is where the halves say, or nowhere. */
    config_write(probe->device->slot, PCI_CFG_BAR0 + 4 * HV_BAR2, 4, 0xd0000000);
    rings(HV_BAR2, AT, 2, 1, 0);
    fake_vm_write(&world.vm, GIB(64) + AT, 2, 1);
    assert_int_equal(taken(event[0]), 0);
    config_write(probe->device->slot, PCI_CFG_BAR0 + 4 * HV_BAR3, 4, 0);
    rings(HV_BAR2, AT, 2, 1, 0);
    assert_int_equal(bar_base(probe, HV_BAR2), 0xd0000000);

    decode(probe, false);
    put(HV_BAR2, AT, 2, 1);
    assert_int_equal(fake_vm_way, FAKE_NOBODY);
    assert_int_equal(taken(event[0]), 0);
    assert_int_equal(bell_add(HV_BAR2, AT, 2, WORD, event[1]), HV_OK);
    assert_int_equal(bell_drop(HV_BAR2, AT, 1, WORD), HV_OK);
    decode(probe, true);
    rings(HV_BAR2, AT, 2, 1, EVENTS);
    rings(HV_BAR2, AT, 2, 2, 1);
    assert_int_equal(bell_drop(HV_BAR2, AT, 2, WORD), HV_OK);
    close_events();
}

/* A BAR under guest RAM waits; its doorbells with it. */
static void test_hidden_bar(void **state)
{
    (void)state;
    bars_up();
    make_events();
    assert_int_equal(bell_add(HV_BAR0, NOTIFY, 1, WORD, event[0]), HV_OK);
    move_bar(probe, HV_BAR0, 0);
    assert_false(probe->device->bar[HV_BAR0].live);
    assert_int_equal(bell_add(HV_BAR0, NOTIFY, 2, WORD, event[1]), HV_OK);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 1, WORD), HV_OK);
    move_bar(probe, HV_BAR0, 0xd0000000);
    rings(HV_BAR0, NOTIFY, 2, 1, EVENTS);
    rings(HV_BAR0, NOTIFY, 2, 2, 1);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 2, WORD), HV_OK);
    close_events();
}

static void resize(unsigned n)
{
    decode(probe, false);
    pci_config_write(world.host, probe->device->slot, 0,
                     PCI_EXT_FIRST + PCI_RESIZE_HEADER_BYTES + PCI_RESIZE_CONTROL,
                     (uint32_t)FIELD_PREP(PCI_RESIZE_CURRENT, n), PCI_ALL_BYTES);
    decode(probe, true);
}

static void test_beyond_the_size(void **state)
{
    const uint64_t far = MIB(7) + NOTIFY;

    (void)state;
    probe_create(probe);
    make_events();
    assert_int_equal(hv_bar_make_resizable(probe->device, HV_BAR2, 0xf), HV_OK); /* 1 to 8 MiB */
    assert_int_equal(bell_add(HV_BAR2, far, 1, WORD, event[0]), HV_OK);
    assert_int_equal(bell_add(HV_BAR2, AT, 1, WORD, event[1]), HV_OK);
    resize(0);
    put(HV_BAR2, far, 2, 1);
    assert_int_equal(fake_vm_way, FAKE_NOBODY);
    assert_int_equal(taken(event[0]), 0);
    rings(HV_BAR2, AT, 2, 1, 1);
    assert_int_equal(bell_add(HV_BAR2, far, 2, WORD, event[0]), HV_E_OUT_OF_RANGE);
    resize(3);
    rings(HV_BAR2, far, 2, 1, 0);
    resize(0);
    assert_int_equal(bell_drop(HV_BAR2, far, 1, WORD), HV_OK);
    resize(3);
    rings(HV_BAR2, far, 2, 1, EVENTS);
    assert_int_equal(bell_drop(HV_BAR2, AT, 1, WORD), HV_OK);
    close_events();
}

/* ---- lives ---- */

/* The event outlives its handle, for the doorbell alone. */
static void test_closed_handle(void **state)
{
    struct event *kept;

    (void)state;
    bars_up();
    make_events();
    assert_int_equal(bell_add(HV_BAR0, NOTIFY, 0, WORD, event[0]), HV_OK);
    assert_int_equal(bell_add(HV_BAR0, NOTIFY, 1, WORD, event[0]), HV_OK);
    assert_int_equal(event_ref(event[0], &kept), HV_OK);
    close_events();
    put(HV_BAR0, NOTIFY, 2, 0);
    put(HV_BAR0, NOTIFY, 2, 1);
    assert_int_equal(kept->latched, 2);
    event_unref(kept);
    assert_int_equal(event_live_count(), 1);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 0, WORD), HV_OK);
    assert_int_equal(event_live_count(), 1);
    assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 1, WORD), HV_OK);
    assert_int_equal(event_live_count(), 0);
}

static void bells_in_teardown(struct probe *self)
{
    assert_int_equal(bell_add(HV_BAR0, NOTIFY, 9, WORD, event[0]), HV_E_INVALID_STATE);
    assert_int_equal(hv_doorbell_unregister(self->device, HV_BAR0, NOTIFY, 1, WORD), HV_OK);
    assert_int_equal(hv_bar_set_access_bytes(self->device, HV_BAR0, 16), HV_E_INVALID_STATE);
}

static void bells_in_stop(struct probe *self)
{
    (void)self;
    assert_int_equal(bell_add(HV_BAR0, NOTIFY, 3, WORD, event[3]), HV_OK);
}

static void bells_in_initialize(struct probe *self)
{
    assert_int_equal(hv_doorbell_register(self->device, HV_BAR0, 0, 0, BYTE, event[0]),
                     HV_E_NO_SUCH_BAR);
    assert_int_equal(hv_doorbell_unregister(self->device, HV_BAR0, 0, 0, BYTE), HV_E_NO_SUCH_BAR);
}

static void test_teardown(void **state)
{
    unsigned lines;

    (void)state;
    make_events();
    probe->in_initialize = bells_in_initialize;
    probe->in_stop = bells_in_stop;
    probe->in_teardown = bells_in_teardown;
    bars_up();
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(bell_add(HV_BAR0, NOTIFY, i, WORD, event[i]), HV_OK);
    assert_int_equal(bell_add(HV_BAR2, AT, 0xabc, DWORD | ALWAYS, event[4]), HV_OK);
    lines = fake_log_lines;
    assert_int_equal(hv_device_destroy(probe->device), HV_OK);
    assert_int_equal(fake_log_lines, lines + 5); /* 0, 2, 3 and the one of BAR2; the sum */
    assert_string_equal(fake_log_last,
                        "pci: 00:01.0 was torn down with 4 doorbells, 0 ranges and 0 "
                        "apertures left\n");
    for (unsigned i = 0; i < EVENTS; i++)
        assert_int_equal(taken(event[i]), 0);
    close_events();
    assert_int_equal(event_live_count(), 0);
}

static void test_leftover_line(void **state)
{
    (void)state;
    bars_up();
    make_events();
    assert_int_equal(bell_add(HV_BAR2, AT, 0xabc, DWORD | ALWAYS, event[4]), HV_OK);
    assert_int_equal(doorbell_destroy_all(probe->device), 1);
    assert_string_equal(fake_log_last, "pci: 00:01.0 left behind a doorbell of BAR2 at 0x5038, "
                                       "value 0xabc\n");
    assert_int_equal(doorbell_destroy_all(probe->device), 0);
    rings(HV_BAR2, AT, 4, 1, EVENTS);
    close_events();
}

/* ---- from inside callbacks ---- */

static void register_on_status(struct probe *self)
{
    if (self->last_offset == 0x14)
        assert_int_equal(bell_add(HV_BAR0, NOTIFY, 2, WORD, event[2]), HV_OK);
    if (self->last_offset == 0x18)
        assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 2, WORD), HV_OK);
}

/* As virtio does: in the write that says DRIVER_OK, and in the one that resets. */
static void test_inside_the_write_callback(void **state)
{
    (void)state;
    bars_up();
    make_events();
    probe->in_write = register_on_status;
    rings(HV_BAR0, NOTIFY, 2, 2, EVENTS);
    rings(HV_BAR0, 0x14, 1, 4, EVENTS);
    rings(HV_BAR0, NOTIFY, 2, 2, 2);
    rings(HV_BAR0, 0x18, 1, 0, EVENTS);
    rings(HV_BAR0, NOTIFY, 2, 2, EVENTS);
    close_events();
}

static struct {
    hv_handle_t event;
    unsigned runs;
    unsigned what;
} inside;

static void event_callback(void *context)
{
    struct hv_device *device = context;
    uint64_t live = event_live_count();

    inside.runs++;
    assert_false(lock_is_held(&device->lock));
    assert_false(lock_is_held(&device->doorbell_lock));
    assert_false(lock_is_held(&world.vm.tables_lock));
    switch (inside.what) {
    case 0: /* itself, and the handle: the event is kept for us */
        assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 1, WORD), HV_OK);
        assert_int_equal(hv_handle_close(inside.event), HV_OK);
        assert_int_equal(event_live_count(), live);
        break;
    case 1: /* one more */
        assert_int_equal(bell_add(HV_BAR0, NOTIFY, 2, WORD, inside.event), HV_OK);
        break;
    case 2:
        assert_int_equal(hv_device_destroy(device), HV_E_DEADLOCK);
        break;
    case 3: /* it rings again, deeper */
        if (inside.runs == 1)
            put(HV_BAR0, NOTIFY, 2, 1);
        break;
    case 4: /* the BAR goes away under us */
        decode(probe, false);
        move_bar(probe, HV_BAR0, 0xd0000000);
        decode(probe, true);
        break;
    default:
        fail();
    }
}

static void test_inside_the_event_callback(void **state)
{
    static const unsigned runs[] = {1, 1, 1, 2, 1};

    (void)state;
    bars_up();
    for (unsigned what = ARRAY_COUNT(runs); what-- > 0;) {
        inside.what = what;
        inside.runs = 0;
        assert_int_equal(
            hv_event_create(HV_EVENT_COUNTING, event_callback, probe->device, &inside.event),
            HV_OK);
        assert_int_equal(bell_add(HV_BAR0, NOTIFY, 1, WORD, inside.event), HV_OK);
        put(HV_BAR0, NOTIFY, 2, 1);
        assert_int_equal(fake_vm_way, FAKE_RANG);
        assert_int_equal(inside.runs, runs[what]);
        assert_int_equal(probe->writes, 0);
        assert_int_equal(probe->device->accesses, 0);
        if (what == 1)
            assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 2, WORD), HV_OK);
        if (what == 0)
            break;
        assert_int_equal(taken(inside.event), runs[what]);
        assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 1, WORD), HV_OK);
        assert_int_equal(hv_handle_close(inside.event), HV_OK);
    }
    assert_int_equal(event_live_count(), 0);
}

/* ---- threads: each write has the event or the callback, while the doorbell comes and goes ---- */

static unsigned writers_running;

/* The probe's own looks at things that are one thread's. */
static hv_status_t write_nowhere(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                                 const uint8_t *buffer)
{
    (void)context;
    (void)bar;
    (void)offset;
    (void)length;
    (void)buffer;
    return HV_OK;
}

static void *write_all(void *context)
{
    const struct mmio_handler *handler = context;

    for (unsigned i = 0; i < WRITES; i++) {
        void (*write)(void *, uint64_t, unsigned, uint64_t) =
            __atomic_load_n(&handler->write_whole, __ATOMIC_ACQUIRE);

        write(handler->owner, NOTIFY, 2, 1);
        if (i % 64 == 0)
            sched_yield();
    }
    __atomic_fetch_sub(&writers_running, 1, __ATOMIC_RELEASE);
    return NULL;
}

static uint64_t latched(const struct event *e)
{
    return __atomic_load_n(&e->latched, __ATOMIC_ACQUIRE);
}

/* bell_add() looks whether locks are held; here they are, by others. */
static hv_status_t add_amid_writes(uint64_t value, hv_handle_t handle)
{
    return hv_doorbell_register(probe->device, HV_BAR0, NOTIFY, value, WORD, handle);
}

static void test_writes_race_with_registration(void **state)
{
    pthread_t writer[WRITERS];
    const struct hv_bar_state *bar;
    const struct hv_device_ops *ops;
    struct hv_device_ops plain;
    uint64_t seen = 0, rounds = 0, passed, rang;
    struct event *e[2];

    (void)state;
    bars_up();
    make_events();
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(event_ref(event[i], &e[i]), HV_OK);
    ops = probe->device->ops;
    plain = *ops;
    plain.write_intercepted_memory = write_nowhere;
    probe->device->ops = &plain;
    bar = &probe->device->bar[HV_BAR0];
    passed = bar->trapped_writes;
    writers_running = WRITERS;
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(
            pthread_create(&writer[i], NULL, write_all, (void *)(uintptr_t)handler_of(HV_BAR0)), 0);
    for (; __atomic_load_n(&writers_running, __ATOMIC_ACQUIRE) != 0; rounds++) {
        unsigned now = rounds % 2;

        /* A neighbour keeps the BAR asking and the array moving. */
        assert_int_equal(add_amid_writes(0, event[2]), HV_OK);
        assert_int_equal(add_amid_writes(1, event[now]), HV_OK);
        sched_yield();
        assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 0, WORD), HV_OK);
        assert_int_equal(bell_drop(HV_BAR0, NOTIFY, 1, WORD), HV_OK);
        seen = latched(e[now]);
        sched_yield();
        assert_int_equal(latched(e[now]), seen); /* not once more */
    }
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_join(writer[i], NULL), 0);
    probe->device->ops = ops;
    passed = bar->trapped_writes - passed;
    rang = latched(e[0]) + latched(e[1]);
    assert_int_equal(rang, bar->rings);
    assert_int_equal(rang + passed, WRITERS * WRITES);
    assert_int_equal(taken(event[2]), 0);
    for (unsigned i = 0; i < 2; i++)
        event_unref(e[i]);
    close_events();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_region_asks),
        TEST(test_follow_the_bar),
        TEST(test_hidden_bar),
        TEST(test_beyond_the_size),
        TEST(test_closed_handle),
        TEST(test_teardown),
        TEST(test_leftover_line),
        TEST(test_inside_the_write_callback),
        TEST(test_inside_the_event_callback),
        TEST(test_writes_race_with_registration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
