/*
 * Mistakes that other hypervisors made with doorbells and with what devices answer, each as a test that would have found it.
 *
 *   Cloud Hypervisor #8568   a write beside the fast path is lost     a_mismatch_is_the_callbacks
 *   OpenVMM #3284            accepted, and then ignored               registered_means_fires
 *   Firecracker #6091        a doorbell stays where the BAR was       doorbell_after_a_move
 *   XSA-121, XSA-239         a failed read leaks                      failed_read_is_ones
 */
#include "tests/unit/bell_kit.h"

#include <string.h>

#define AT    0x40u
#define VALUE 0x1122334455667788ull

static const struct {
    uint64_t flag;
    unsigned bytes;
} lengths[] = {{BYTE, 1}, {WORD, 2}, {DWORD, 4}, {QWORD, 8}};

static uint64_t cut(uint64_t value, unsigned bytes)
{
    return bytes == 8 ? value : value & ((1ull << (bytes * 8)) - 1);
}

/* Each write around a doorbell: another width, another value, another offset. It rings, or the device hears of it. */
static void test_cloud_hypervisor_8568_a_mismatch_is_the_callbacks(void **state)
{
    (void)state;
    bars_up();
    make_events();
    for (unsigned of = 0; of < 4; of++) {
        const uint64_t value = cut(VALUE, lengths[of].bytes);

        assert_int_equal(bell_add(HV_BAR2, AT, value, lengths[of].flag, event[0]), HV_OK);
        for (unsigned as = 0; as < 4; as++)
            for (uint64_t at = AT - 8; at <= AT + 8; at += lengths[as].bytes) {
                const unsigned bytes = lengths[as].bytes;
                const bool there = at == AT && as == of;

                rings(HV_BAR2, at, bytes, cut(VALUE, bytes), there ? 0 : EVENTS);
                for (unsigned bit = 0; bit < bytes * 8; bit++)
                    rings(HV_BAR2, at, bytes, cut(VALUE ^ 1ull << bit, bytes), EVENTS);
            }
        assert_int_equal(bell_drop(HV_BAR2, AT, value, lengths[of].flag), HV_OK);
        rings(HV_BAR2, AT, lengths[of].bytes, value, EVENTS);
    }
    close_events();
}

/* Whatever registration says yes to rings: each length with a value and with any, in both BARs, at their ends too. */
static void test_openvmm_3284_registered_means_fires(void **state)
{
    static const enum hv_bar bars[] = {HV_BAR0, HV_BAR2};
    static const uint64_t flags[] = {ANY, BYTE, WORD, DWORD, QWORD};
    unsigned accepted = 0;

    (void)state;
    bars_up();
    make_events();
    for (unsigned bar = 0; bar < 2; bar++)
        for (unsigned flag = 0; flag < ARRAY_COUNT(flags); flag++)
            for (unsigned any = 0; any < 2; any++)
                for (unsigned place = 0; place < 3; place++) {
                    const uint64_t bytes = bar ? MIB(8) : 256;
                    const uint64_t at = place == 0 ? 0 : place == 1 ? AT : bytes - 8;
                    const uint64_t all = flags[flag] | (any ? ALWAYS : 0);
                    const uint64_t value = any ? 0 : 0x5a;

                    if (bell_add(bars[bar], at, value, all, event[3]) != HV_OK)
                        continue;
                    accepted++;
                    for (unsigned as = 0; as < 4; as++)
                        if (flags[flag] == ANY || flags[flag] == lengths[as].flag)
                            rings(bars[bar], at, lengths[as].bytes, 0x5a, 3);
                    assert_int_equal(bell_drop(bars[bar], at, value, all), HV_OK);
                }
    assert_true(accepted >= 2 * 4 * 2 * 3);
    close_events();
}

/* A 64-bit BAR moves in two writes. The doorbell is where the BAR is, and nowhere else. */
static void test_firecracker_6091_doorbell_after_a_move(void **state)
{
    const uint64_t places[] = {0x400000000ull, 0x480000000ull, 0x80000000ull, 0x400000000ull};
    uint64_t old;

    (void)state;
    bars_up();
    make_events();
    assert_int_equal(bell_add(HV_BAR2, AT, 1, WORD, event[0]), HV_OK);
    for (unsigned i = 0; i < ARRAY_COUNT(places); i++) {
        old = bar_base(probe, HV_BAR2);
        move_bar(probe, HV_BAR2, places[i]);
        rings(HV_BAR2, AT, 2, 1, 0);
        if (old != places[i]) {
            fake_vm_write(&world.vm, old + AT, 2, 1);
            assert_int_equal(fake_vm_way, FAKE_NOBODY);
            assert_int_equal(taken(event[0]), 0);
        }
    }
    close_events();
}

/* A device that answers with an error, or with fewer bytes, has said ones: at every width and offset. */
static void test_xsa_121_xsa_239_failed_read_is_ones(void **state)
{
    (void)state;
    bars_up();
    for (unsigned failed = 0; failed < 2; failed++) {
        probe->access = failed ? HV_E_BUSY : HV_OK;
        probe->read_fill = 0x77;
        for (unsigned i = 0; i < 4; i++)
            for (uint64_t at = 0; at < 64; at += lengths[i].bytes)
                assert_int_equal(
                    fake_vm_read(&world.vm, bar_base(probe, HV_BAR2) + at, lengths[i].bytes),
                    cut(failed ? ~0ull : 0x7777777777777777ull, lengths[i].bytes));
    }
    probe->access = HV_OK;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_cloud_hypervisor_8568_a_mismatch_is_the_callbacks),
        TEST(test_openvmm_3284_registered_means_fires),
        TEST(test_firecracker_6091_doorbell_after_a_move),
        TEST(test_xsa_121_xsa_239_failed_read_is_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
