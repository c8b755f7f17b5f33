/* hv/pci/msix.c: the table and the pending bits, masks of both kinds, and everything against a flat model. */
#include "tests/unit/cap_kit.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "hv/pci/capability.h"
#include "tests/fake/phys.h"

#define CONTROL     (AT_MSIX + 2)
#define ENABLE      0x8000u
#define MASK_ALL    0x4000u
#define ENTRY(v)    (CAP_TABLE + (v)*16u)
#define MASK(v)     (ENTRY(v) + 12u)
#define ADDRESS(v)  (0xfee00000u + ((v) << 12))
#define DATA(v)     (0x20u + (v))
#define TABLE_BYTES (CAP_VECTORS * 16u)

static struct probe *const probe = &world.probe[0];

static void program(uint32_t vector, bool masked)
{
    bar_put(ENTRY(vector), 8, ADDRESS(vector));
    bar_put(ENTRY(vector) + 8, 8, (uint64_t)masked << 32 | DATA(vector));
}

static void open_device(uint32_t control)
{
    cap_create(probe, OFFER_ALL);
    for (uint32_t v = 0; v < CAP_VECTORS; v++)
        program(v, false);
    config_write(1, CONTROL, 2, control);
}

static void raise(uint32_t vector)
{
    assert_int_equal(hv_interrupt_raise(probe->device, vector), HV_OK);
}

static void expect_vector(uint32_t vector)
{
    assert_int_equal(fake_apic_message[0].address, ADDRESS(vector));
    assert_int_equal(fake_apic_message[0].data, DATA(vector));
    expect_messages(1);
}

static uint64_t pending(unsigned word)
{
    return bar_get(CAP_PENDING + word * 8, 8);
}

/* ---- messages ---- */

static void test_each_vector(void **state)
{
    (void)state;
    open_device(ENABLE);
    for (uint32_t v = 0; v < CAP_VECTORS; v++) {
        raise(v);
        expect_vector(v);
    }
    assert_int_equal(hv_interrupt_raise(probe->device, CAP_VECTORS), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(hv_interrupt_raise(probe->device, UINT32_MAX), HV_E_INVALID_PARAMETER_2);
    expect_messages(0);
}

/* Each combination of masks, and each way out of it: by the vector's own mask, by the function's. */
static void test_masks(void **state)
{
    (void)state;
    open_device(ENABLE);
    for (unsigned masks = 0; masks < 4; masks++)
        for (unsigned order = 0; order < 2; order++)
            for (uint32_t v = 0; v < CAP_VECTORS; v += 16) {
                bool own = masks & 1, all = masks & 2;

                bar_put(MASK(v), 4, own);
                config_write(1, CONTROL, 2, ENABLE | (all ? MASK_ALL : 0));
                raise(v);
                raise(v);
                if (!own && !all) {
                    expect_messages(2);
                    continue;
                }
                expect_messages(0);
                assert_int_equal(pending(0), 1ull << v);
                for (unsigned step = 0; step < 2; step++) {
                    if (step == order) {
                        bar_put(MASK(v), 4, 0);
                        own = false;
                    } else {
                        config_write(1, CONTROL, 2, ENABLE);
                        all = false;
                    }
                    if (own || all) {
                        expect_messages(0);
                        assert_int_equal(pending(0), 1ull << v);
                    } else if (pending(0) == 0 && fake_apic_count != 0) {
                        expect_vector(v);
                    }
                }
                expect_messages(0);
                assert_int_equal(pending(0), 0);
            }
}

/* An entry that changes while it is masked: what comes is what it says at last, by a write of 8 bytes as by two of 4. */
static void test_last_content_counts(void **state)
{
    (void)state;
    open_device(ENABLE);
    bar_put(MASK(3), 4, 1);
    raise(3);
    bar_put(ENTRY(3), 4, ADDRESS(9));
    bar_put(ENTRY(3) + 8, 8, DATA(9)); /* data, and unmasked */
    expect_vector(9);
    bar_put(ENTRY(3) + 8, 8, 1ull << 32 | DATA(4));
    raise(3);
    expect_messages(0);
    bar_put(ENTRY(3), 8, ADDRESS(4));
    expect_messages(0);
    bar_put(MASK(3), 4, 0xfffffffe); /* reserved bits are nothing */
    expect_vector(4);
    assert_int_equal(bar_get(MASK(3), 4), 0);
}

static void test_nothing_comes(void **state)
{
    (void)state;
    open_device(0);
    raise(0);
    raise(CAP_VECTORS); /* nothing is enabled, so it is no vector of anything */
    config_write(1, CONTROL, 2, ENABLE);
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY);
    raise(0);
    bar_put(MASK(0), 4, 1);
    raise(0);
    assert_int_equal(pending(0), 0);
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_BUS_MASTER);
    bar_put(MASK(0), 4, 0);
    expect_messages(0);
    assert_int_equal(probe->device->capabilities->dropped, 4);
    /* Pending, and then unmasked while bus mastering is off: it stays pending until that is on. */
    bar_put(MASK(0), 4, 1);
    raise(0);
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY);
    bar_put(MASK(0), 4, 0);
    expect_messages(0);
    assert_int_equal(pending(0), 1);
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_BUS_MASTER);
    expect_vector(0);
    /* Turned off, it forgets. */
    bar_put(MASK(0), 4, 1);
    raise(0);
    config_write(1, CONTROL, 2, 0);
    assert_int_equal(pending(0), 0);
    bar_put(MASK(0), 4, 0);
    config_write(1, CONTROL, 2, ENABLE);
    expect_messages(0);
}

/* ---- raised by another thread: none comes once the write that masks has returned ---- */

static volatile bool in_message, is_over;

static void slow_message(void)
{
    in_message = true;
    for (volatile unsigned i = 0; i < 2000; i++)
        ;
    in_message = false;
}

static void *raise_on(void *unused)
{
    while (!__atomic_load_n(&is_over, __ATOMIC_ACQUIRE))
        raise(3);
    return unused;
}

static void test_mask_is_final(void **state)
{
    pthread_t thread;

    (void)state;
    open_device(ENABLE);
    fake_apic_on_message = slow_message;
    is_over = false;
    assert_int_equal(pthread_create(&thread, NULL, raise_on, NULL), 0);
    for (unsigned round = 0; round < 300; round++) {
        unsigned before;

        if (round % 2)
            bar_put(MASK(3), 4, 1);
        else
            config_write(1, CONTROL, 2, ENABLE | MASK_ALL);
        assert_false(in_message);
        before = __atomic_load_n(&fake_apic_count, __ATOMIC_RELAXED);
        for (volatile unsigned i = 0; i < 200; i++)
            ;
        assert_int_equal(__atomic_load_n(&fake_apic_count, __ATOMIC_RELAXED), before);
        bar_put(MASK(3), 4, 0);
        config_write(1, CONTROL, 2, ENABLE);
        while (__atomic_load_n(&fake_apic_count, __ATOMIC_RELAXED) == before)
            sched_yield();
    }
    __atomic_store_n(&is_over, true, __ATOMIC_RELEASE);
    assert_int_equal(pthread_join(thread, NULL), 0);
    fake_apic_on_message = NULL;
}

/* Both enabled, which no guest should do: MSI-X it is. */
static void test_before_msi(void **state)
{
    (void)state;
    open_device(ENABLE);
    config_write(1, AT_MSI + 4, 4, ADDRESS(50));
    config_write(1, AT_MSI + 2, 2, 1);
    raise(7);
    expect_vector(7);
    config_write(1, CONTROL, 2, 0);
    raise(7);
    assert_int_equal(fake_apic_message[0].address, ADDRESS(50));
    expect_messages(1);
}

/* ---- the bytes ---- */

/* The table goes with its BAR, decode on or off, and is not where it was. */
static void test_follows_the_bar(void **state)
{
    const uint64_t to = 0x30000000;

    (void)state;
    open_device(ENABLE);
    move_bar(probe, HV_BAR2, to);
    assert_int_equal(fake_vm_read(&world.vm, to + ENTRY(5), 4), ADDRESS(5));
    assert_int_equal(bar_get(ENTRY(5), 4), 0xffffffff);
    bar_put(MASK(5), 4, 1);
    raise(5);
    expect_vector(5);
    fake_vm_write(&world.vm, to + MASK(5), 4, 1);
    decode(probe, false);
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_BUS_MASTER);
    move_bar(probe, HV_BAR2, CAP_BAR);
    raise(5); /* memory decode is not what interrupts need */
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_BUS_MASTER);
    assert_int_equal(pending(0), 1u << 5);
    bar_put(MASK(5), 4, 0);
    expect_vector(5);
    assert_int_equal(probe->reads + probe->writes, 0);
}

/* Wide accesses: those that touch the table come in pieces, the others whole. */
static void test_wide(void **state)
{
    const struct mmio_handler *handler = NULL;
    uint8_t bytes[64];

    (void)state;
    cap_create(probe, 0);
    cap_stop(probe);
    assert_int_equal(hv_msix_offer(probe->device, HV_BAR2, CAP_TABLE + 40, CAP_PENDING, 1), HV_OK);
    assert_int_equal(hv_bar_set_access_bytes(probe->device, HV_BAR2, 64), HV_OK);
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY);
    for (unsigned i = 0; i < world.vm.regions.count; i++)
        if (world.vm.regions.key[i].start == CAP_BAR)
            handler = &world.vm.regions.handler[i];
    assert_non_null(handler);
    assert_int_equal(handler->wide_bytes, 64);
    probe->read_fill = 0x5a;
    handler->read_wide(handler->owner, CAP_TABLE, 64, bytes);
    assert_int_equal(probe->reads, 6);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(bytes[i], i < 40 || i >= 56 ? 0x5a : i == 52);
    memset(bytes, 0xff, sizeof(bytes));
    handler->write_wide(handler->owner, CAP_TABLE, 64, bytes);
    assert_int_equal(probe->writes, 6);
    assert_int_equal(bar_get(CAP_TABLE + 40, 8), ~0ull);
    assert_int_equal(bar_get(CAP_TABLE + 48, 8), 0x1ffffffffull);
    handler->read_wide(handler->owner, CAP_TABLE + 64, 64, bytes);
    handler->write_wide(handler->owner, CAP_TABLE + 64, 64, bytes);
    assert_int_equal(probe->last_length, 64);
    assert_int_equal(probe->reads, 7);
    assert_int_equal(probe->writes, 7);
}

/* ---- the call ---- */

static hv_status_t try_offer(enum hv_bar bar, uint64_t table, uint64_t bits, uint32_t vectors)
{
    return hv_msix_offer(probe->device, bar, table, bits, vectors);
}

static void test_offer_checks(void **state)
{
    (void)state;
    probe->probed[HV_BAR_ROM] = 0u - 0x10000u;
    probe->probed[HV_BAR1] = (0u - 16u) | 1;
    probe_bar32(probe, HV_BAR0, 0x1000);
    probe_bar64(probe, HV_BAR2, GIB(8ull));
    probe_create(probe);
    assert_int_equal(try_offer(HV_BAR_COUNT, 0, 0x800, 1), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(try_offer(HV_BAR1, 0, 8, 1), HV_E_NO_SUCH_BAR);
    assert_int_equal(try_offer(HV_BAR3, 0, 0x800, 1), HV_E_NO_SUCH_BAR);
    assert_int_equal(try_offer(HV_BAR5, 0, 0x800, 1), HV_E_NO_SUCH_BAR);
    assert_int_equal(try_offer(HV_BAR_ROM, 0, 0x800, 1), HV_E_NO_SUCH_BAR);
    assert_int_equal(try_offer(HV_BAR0, 0, 0x800, 0), HV_E_INVALID_PARAMETER_5);
    assert_int_equal(try_offer(HV_BAR2, 0, 0x10000, 2049), HV_E_INVALID_PARAMETER_5);
    assert_int_equal(try_offer(HV_BAR0, 4, 0x800, 1), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(try_offer(HV_BAR0, 0xff8, 0, 1), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(try_offer(HV_BAR0, 0x1000, 0, 1), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(try_offer(HV_BAR0, ~7ull, 0, 1), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(try_offer(HV_BAR2, GIB(4ull), 0, 1), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(try_offer(HV_BAR0, 0, 0x804, 1), HV_E_INVALID_PARAMETER_4);
    assert_int_equal(try_offer(HV_BAR0, 0, 0x1000, 1), HV_E_INVALID_PARAMETER_4);
    assert_int_equal(try_offer(HV_BAR0, 0, 0xff8, 65), HV_E_INVALID_PARAMETER_4);
    for (uint64_t bits = 0; bits < 0x200; bits += 8)
        if (bits + 16 > 0x100 && bits < 0x100 + 65 * 16)
            assert_int_equal(try_offer(HV_BAR0, 0x100, bits, 65), HV_E_INVALID_PARAMETER_4);
    assert_int_equal(config_read(1, 6, 2), 0);
    /* The last bytes of a BAR will do, for either. */
    assert_int_equal(try_offer(HV_BAR0, 0xff0, 0xfe8, 1), HV_OK);
    assert_int_equal(config_read(1, 0x44, 4), 0xff0);
    assert_int_equal(config_read(1, 0x48, 4), 0xfe8);
}

static void test_offer_of_many(void **state)
{
    (void)state;
    cap_create(probe, 0);
    cap_stop(probe);
    assert_int_equal(try_offer(HV_BAR2, 0, 0x8000, 2048), HV_OK);
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_BUS_MASTER);
    config_write(1, 0x42, 2, ENABLE);
    bar_put(2047 * 16, 8, ADDRESS(1));
    raise(2047);
    assert_int_equal(bar_get(0x80f8, 8), 1ull << 63);
    bar_put(2047 * 16 + 8, 8, DATA(1));
    expect_vector(1);
    assert_int_equal(hv_interrupt_raise(probe->device, 2048), HV_E_INVALID_PARAMETER_2);
}

/* A doorbell cannot be on its bytes, whoever comes first; beside them it rings. */
static void test_doorbells(void **state)
{
    hv_handle_t event;

    (void)state;
    assert_int_equal(hv_event_create(HV_EVENT_COUNTING, NULL, NULL, &event), HV_OK);
    cap_create(probe, 0);
    cap_stop(probe);
    assert_int_equal(hv_doorbell_register(probe->device, HV_BAR2, CAP_TABLE + 4, 0,
                                          HV_DOORBELL_DWORD | HV_DOORBELL_ANY_VALUE, event),
                     HV_OK);
    assert_int_equal(try_offer(HV_BAR2, CAP_TABLE, CAP_PENDING, 1), HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(try_offer(HV_BAR2, CAP_TABLE + 8, CAP_TABLE, 1), HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(try_offer(HV_BAR2, CAP_TABLE + 8, CAP_PENDING, 1), HV_OK);
    for (uint64_t at = 0; at < 40; at++)
        for (int pending_too = 0; pending_too < 2; pending_too++) {
            uint64_t offset = (pending_too ? CAP_PENDING : CAP_TABLE) + at;
            bool taken = pending_too ? at < 8 : at >= 8 && at < 24;
            hv_status_t status = hv_doorbell_register(probe->device, HV_BAR2, offset, 0,
                                                      HV_DOORBELL_ANY_VALUE, event);

            if (!pending_too && at == 4)
                assert_int_equal(status, HV_E_ALREADY_EXISTS);
            else
                assert_int_equal(status, taken ? HV_E_CONFLICTING_ADDRESSES : HV_OK);
            if (status == HV_OK)
                assert_int_equal(hv_doorbell_unregister(probe->device, HV_BAR2, offset, 0,
                                                        HV_DOORBELL_ANY_VALUE),
                                 HV_OK);
        }
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY);
    bar_put(CAP_TABLE + 4, 4, 1);
    assert_int_equal(fake_vm_way, FAKE_RANG);
    bar_put(CAP_TABLE + 8, 4, 1);
    assert_int_equal(fake_vm_way, FAKE_TRAPPED);
    assert_int_equal(bar_get(CAP_TABLE + 8, 4), 1);
    bar_put(CAP_TABLE, 4, 1);
    assert_int_equal(probe->writes, 1);
    assert_int_equal(hv_doorbell_unregister(probe->device, HV_BAR2, CAP_TABLE + 4, 0,
                                            HV_DOORBELL_DWORD | HV_DOORBELL_ANY_VALUE),
                     HV_OK);
    bar_put(CAP_TABLE + 4, 4, 1);
    assert_int_equal(probe->writes, 2);
    bar_put(CAP_TABLE + 8, 4, 2);
    assert_int_equal(bar_get(CAP_TABLE + 8, 4), 2);
    assert_int_equal(hv_handle_close(event), HV_OK);
}

/* ---- against a model: flat arrays, no notion of how the core does it ---- */

static struct {
    uint8_t table[TABLE_BYTES];
    bool pending[64];
    bool enabled, masked, master;
    unsigned expected;
} model;

static uint32_t model_dword(uint32_t vector, unsigned i)
{
    uint32_t value;

    memcpy(&value, &model.table[vector * 16 + i * 4], 4);
    return value;
}

/* An address of interrupts, and no data that the APIC refuses. */
static bool model_is_message(uint32_t vector)
{
    const uint32_t data = model_dword(vector, 2);

    return model_dword(vector, 0) >> 20 == 0xfee && model_dword(vector, 1) == 0 &&
           (data >> 8 & 7) != 3 && (data >> 14 & 3) != 2;
}

/* What must come now does. */
static void model_settle(void)
{
    for (uint32_t v = 0; v < CAP_VECTORS; v++) {
        if (!model.pending[v] || !model.enabled || model.masked || !model.master ||
            (model.table[v * 16 + 12] & 1))
            continue;
        model.pending[v] = false;
        if (!model_is_message(v))
            continue;
        assert_true(model.expected < fake_apic_count);
        assert_int_equal(fake_apic_message[model.expected].address, model_dword(v, 0));
        assert_int_equal(fake_apic_message[model.expected].data, model_dword(v, 2));
        model.expected++;
    }
}

static uint32_t chance(uint32_t below)
{
    static uint64_t seed = 88172645463325252ull;

    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 20) % below;
}

static void step_table(void)
{
    unsigned bytes = 1u << chance(4);
    uint32_t offset = chance(TABLE_BYTES) & ~(bytes - 1);
    uint64_t value = (uint64_t)chance(1u << 31) << 32 | (0x40u + chance(0x80));

    if (offset % 16 == 0)
        value = ADDRESS(chance(8)); /* mostly a message */
    if (chance(16) == 0)
        value = chance(1u << 31);
    bar_put(CAP_TABLE + offset, bytes, value);
    if (bytes >= 4)
        memcpy(&model.table[offset], &value, bytes);
    for (uint32_t v = 0; v < CAP_VECTORS; v++) {
        model.table[v * 16 + 12] &= 1;
        memset(&model.table[v * 16 + 13], 0, 3);
    }
}

static void step_raise(void)
{
    uint32_t vector = chance(CAP_VECTORS);

    raise(vector);
    if (model.enabled && model.master)
        model.pending[vector] = true;
}

static void step_config(void)
{
    if (chance(2)) {
        model.master = chance(4) != 0;
        config_write(1, PCI_CFG_COMMAND, 2,
                     PCI_COMMAND_MEMORY | (model.master ? PCI_COMMAND_BUS_MASTER : 0u));
        return;
    }
    model.enabled = chance(8) != 0;
    model.masked = chance(3) == 0;
    config_write(1, CONTROL, 2, (model.enabled ? ENABLE : 0u) | (model.masked ? MASK_ALL : 0u));
    if (!model.enabled)
        memset(model.pending, 0, sizeof(model.pending));
}

static void compare(void)
{
    uint64_t bits = 0;

    for (uint32_t v = 0; v < CAP_VECTORS; v++)
        bits |= (uint64_t)model.pending[v] << v;
    assert_int_equal(pending(0), bits);
    for (uint32_t at = 0; at < TABLE_BYTES; at += 8) {
        uint64_t value;

        memcpy(&value, &model.table[at], 8);
        assert_int_equal(bar_get(CAP_TABLE + at, 8), value);
    }
}

static void test_model(void **state)
{
    (void)state;
    cap_create(probe, OFFER_ALL);
    memset(&model, 0, sizeof(model));
    model.master = true;
    for (uint32_t v = 0; v < CAP_VECTORS; v++)
        model.table[v * 16 + 12] = 1;
    for (unsigned i = 0; i < 200000; i++) {
        uint32_t what = chance(16);

        model.expected = 0;
        if (what < 7)
            step_table();
        else if (what < 13)
            step_raise();
        else
            step_config();
        model_settle();
        expect_messages(model.expected);
        if (i % 64 == 0)
            compare();
    }
    compare();
    assert_int_equal(probe->reads + probe->writes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_vector, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_masks, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_last_content_counts, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_nothing_comes, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_mask_is_final, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_before_msi, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_follows_the_bar, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_wide, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_offer_checks, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_offer_of_many, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_doorbells, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_model, world_open, world_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
