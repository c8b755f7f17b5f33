/* hv/mem/event.c: signals, who takes them, and how long an event lives. */
#include "tests/unit/section_kit.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "hv/base/lock.h"
#include "tests/fake/slab.h"

#define SIGNALS 1000000u
#define TAKERS  2u

static hv_handle_t make_event(enum hv_event_kind kind)
{
    hv_handle_t event;

    assert_int_equal(hv_event_create(kind, NULL, NULL, &event), HV_OK);
    return event;
}

static void signal_times(hv_handle_t event, unsigned times)
{
    while (times-- != 0)
        assert_int_equal(hv_event_signal(event), HV_OK);
}

static uint64_t take(hv_handle_t event)
{
    uint64_t count = 77;

    assert_int_equal(hv_event_take(event, &count), HV_OK);
    return count;
}

static void statuses(void **state)
{
    hv_handle_t event = 77, section = make(1, 0);
    uint64_t records = fake_slab_live(), count = 77;

    (void)state;
    assert_int_equal(hv_event_create((enum hv_event_kind)2, NULL, NULL, NULL),
                     HV_E_INVALID_PARAMETER_1);
    assert_int_equal(hv_event_create(HV_EVENT_COUNTING, NULL, NULL, NULL),
                     HV_E_INVALID_PARAMETER_4);
    fake_slab_fail(1); /* the event */
    assert_int_equal(hv_event_create(HV_EVENT_COUNTING, NULL, NULL, &event), HV_E_NO_MEMORY);
    assert_int_equal(event, 77);
    assert_int_equal(fake_slab_live(), records);
    assert_int_equal(hv_event_take(0, NULL), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_event_signal(0), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_event_take(section, NULL), HV_E_OBJECT_TYPE);
    assert_int_equal(hv_event_signal(section), HV_E_OBJECT_TYPE);
    event = make_event(HV_EVENT_AUTO_RESET);
    signal_times(event, 1);
    assert_int_equal(hv_event_take(event, NULL), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(take(event), 1); /* that one took nothing */
    close_handle(event);
    assert_int_equal(hv_event_take(event, &count), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_event_signal(event), HV_E_INVALID_HANDLE);
    assert_int_equal(count, 77);
    assert_false(lock_is_held(&section_lock));
    close_handle(section);
    assert_int_equal(event_live_count(), 0);
}

/* The handle table has no place, or no memory for one: the event goes too. */
static void no_handle(void **state)
{
    hv_handle_t event = 77;
    uint64_t records = fake_slab_live();

    (void)state;
    fake_slab_fail(2);
    assert_int_equal(hv_event_create(HV_EVENT_AUTO_RESET, NULL, NULL, &event), HV_E_NO_MEMORY);
    assert_int_equal(event, 77);
    assert_int_equal(fake_slab_live(), records);
    assert_int_equal(event_live_count(), 0);
}

static void two_kinds(void **state)
{
    hv_handle_t all = make_event(HV_EVENT_AUTO_RESET), each = make_event(HV_EVENT_COUNTING);

    (void)state;
    assert_int_equal(take(all), 0);
    assert_int_equal(take(each), 0);
    signal_times(all, 3);
    signal_times(each, 3);
    assert_int_equal(take(all), 3);
    assert_int_equal(take(all), 0);
    for (unsigned left = 3; left != 0; left--)
        assert_int_equal(take(each), left);
    assert_int_equal(take(each), 0);
    signal_times(each, 1);
    assert_int_equal(take(each), 1);
    close_handle(all);
    close_handle(each);
}

/* ---- callbacks ---- */

static struct {
    hv_handle_t event;
    unsigned runs, deep;
    uint64_t seen;
} told;

static void count_it(void *context)
{
    assert_ptr_equal(context, &told);
    assert_false(lock_is_held(&section_lock));
    told.runs++;
    told.seen = take(told.event);
}

static void callback(void **state)
{
    (void)state;
    told.runs = 0;
    assert_int_equal(hv_event_create(HV_EVENT_AUTO_RESET, count_it, &told, &told.event), HV_OK);
    signal_times(told.event, 2);
    assert_int_equal(told.runs, 2);
    assert_int_equal(told.seen, 1); /* it comes behind the counter */
    close_handle(told.event);
}

static void close_it(void *context)
{
    (void)context;
    if (told.deep++ == 0)
        assert_int_equal(hv_event_signal(told.event), HV_OK);
    else
        close_handle(told.event);
    assert_int_equal(event_live_count(), 1); /* kept for us */
}

/* From inside: another signal of the same event, and the end of it. */
static void callback_that_closes(void **state)
{
    (void)state;
    told.deep = 0;
    assert_int_equal(hv_event_create(HV_EVENT_COUNTING, close_it, NULL, &told.event), HV_OK);
    signal_times(told.event, 1);
    assert_int_equal(told.deep, 2);
    assert_int_equal(event_live_count(), 0);
}

static void references(void **state)
{
    hv_handle_t handle = make_event(HV_EVENT_COUNTING), section = make(1, 0);
    struct event *event = NULL;

    (void)state;
    assert_int_equal(event_ref(section, &event), HV_E_OBJECT_TYPE);
    assert_int_equal(event_ref(0, &event), HV_E_INVALID_HANDLE);
    assert_null(event);
    assert_int_equal(event_ref(handle, &event), HV_OK);
    close_handle(handle);
    assert_int_equal(event_live_count(), 1);
    event_latch(event);
    assert_int_equal(event->latched, 1);
    event_unref(event);
    assert_int_equal(event_live_count(), 0);
    close_handle(section);
}

/* ---- threads: every signal is taken once, and what was stored before it is seen ---- */

static struct {
    hv_handle_t event;
    uint64_t stored; /* by the one that signals, before each signal */
    uint64_t taken;
    bool is_done, is_counting;
} race;

static void *take_all(void *unused)
{
    uint64_t mine = 0, count = 1;
    bool is_last = false;

    (void)unused;
    while (!is_last || count != 0) {
        is_last = __atomic_load_n(&race.is_done, __ATOMIC_ACQUIRE);
        if (hv_event_take(race.event, &count) != HV_OK)
            abort();
        mine += race.is_counting ? count != 0 : count;
        if (__atomic_load_n(&race.stored, __ATOMIC_RELAXED) < mine)
            abort();
        if (count == 0)
            sched_yield();
    }
    __atomic_fetch_add(&race.taken, mine, __ATOMIC_RELAXED);
    return NULL;
}

static void signals_and_takers(enum hv_event_kind kind)
{
    pthread_t taker[TAKERS];
    struct event *event;

    race.event = make_event(kind);
    race.is_counting = kind == HV_EVENT_COUNTING;
    race.is_done = false;
    race.taken = race.stored = 0;
    assert_int_equal(event_ref(race.event, &event), HV_OK);
    for (unsigned i = 0; i < TAKERS; i++)
        assert_int_equal(pthread_create(&taker[i], NULL, take_all, NULL), 0);
    for (unsigned i = 0; i < SIGNALS; i++) {
        __atomic_store_n(&race.stored, i + 1, __ATOMIC_RELAXED);
        event_latch(event);
    }
    __atomic_store_n(&race.is_done, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < TAKERS; i++)
        assert_int_equal(pthread_join(taker[i], NULL), 0);
    assert_int_equal(race.taken, SIGNALS);
    event_unref(event);
    close_handle(race.event);
}

static void no_signal_is_lost(void **state)
{
    (void)state;
    signals_and_takers(HV_EVENT_AUTO_RESET);
    signals_and_takers(HV_EVENT_COUNTING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(statuses),
        TEST(no_handle),
        TEST(two_kinds),
        TEST(callback),
        TEST(callback_that_closes),
        TEST(references),
        TEST(no_signal_is_lost),
    };

    return cmocka_run_group_tests(tests, section_kit_group, NULL);
}
