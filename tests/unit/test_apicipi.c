/* Messages: ICR with its destinations and shorthands, SELF IPI, MSIs. */
#include "tests/unit/apic_kit.h"

#define FIXED   0x0000u
#define LOWEST  0x0100u
#define SMI     0x0200u
#define NMI     0x0400u
#define INIT    0x0500u
#define STARTUP 0x0600u
#define EXTINT  0x0700u
#define LOGICAL 0x0800u
#define ASSERT_ 0x4000u
#define LEVEL   0x8000u
#define SELF    0x40000u
#define ALL     0x80000u
#define OTHERS  0xc0000u

#define VECTOR  0x77u

/* Did the newest message come in? It is taken out again. */
static bool came(uint64_t dropped)
{
    bool in = set_has(P_IRR, VECTOR);

    assert_int_equal(kit.apic.dropped - dropped, !in);
    if (in) {
        assert_int_equal(deliver_next(), VECTOR);
        page_put(P_EOI, 0);
    }
    return in;
}

static bool ipi_comes(uint32_t icr, uint8_t destination)
{
    uint64_t dropped = kit.apic.dropped;

    page_put(P_ICR_HIGH, (uint32_t)destination << 24 | 0xffffff);
    page_put(P_ICR, icr | VECTOR);
    assert_int_equal(page_get(P_ICR), icr | VECTOR);
    assert_int_equal(page_get(P_ICR_HIGH), (uint32_t)destination << 24);
    return came(dropped);
}

static uint64_t msi_address(uint8_t destination, bool logical)
{
    return 0xfee00000ull | (uint64_t)destination << 12 | (logical ? 4u : 0u);
}

static bool msi_comes(uint8_t destination, bool logical)
{
    uint64_t dropped = kit.apic.dropped;

    assert_int_equal(apic_message(&kit.vm, msi_address(destination, logical), VECTOR), HV_OK);
    return came(dropped);
}

static void expect_destination(uint8_t destination, bool logical, bool ours)
{
    assert_int_equal(ipi_comes(logical ? LOGICAL : 0, destination), ours);
    assert_int_equal(ipi_comes(LOWEST | (logical ? LOGICAL : 0), destination), ours);
    assert_int_equal(msi_comes(destination, logical), ours);
}

static void test_physical(void **state)
{
    static const uint8_t ids[] = {0, 1, 0x0f, 0x80, 0xfe, 0xff};

    (void)state;
    page_put(P_LDR, 0x01000000); /* plays no part */
    for (unsigned i = 0; i < sizeof(ids); i++) {
        page_put(P_ID, (uint32_t)ids[i] << 24);
        for (unsigned to = 0; to < 256; to++)
            expect_destination((uint8_t)to, false, to == ids[i] || to == 0xff);
    }
}

static void test_flat(void **state)
{
    static const uint8_t ldrs[] = {0, 1, 0x80, 0x55, 0xff};

    (void)state;
    page_put(P_DFR, 0xf0000000);
    for (unsigned i = 0; i < sizeof(ldrs); i++) {
        page_put(P_LDR, (uint32_t)ldrs[i] << 24);
        for (unsigned to = 0; to < 256; to++)
            expect_destination((uint8_t)to, true, (to & ldrs[i]) != 0 || to == 0xff);
    }
}

static void test_cluster(void **state)
{
    static const uint8_t ldrs[] = {0, 1, 0x12, 0x38, 0xe4, 0xef, 0x20};

    (void)state;
    page_put(P_DFR, 0);
    for (unsigned i = 0; i < sizeof(ldrs); i++) {
        page_put(P_LDR, (uint32_t)ldrs[i] << 24);
        for (unsigned to = 0; to < 256; to++) {
            bool ours = to >> 4 == ldrs[i] >> 4 && (to & ldrs[i] & 15) != 0;

            expect_destination((uint8_t)to, true, ours || to == 0xff);
        }
    }
    page_put(P_DFR, 0x50000000); /* no model that anybody has: only a message for all */
    page_put(P_LDR, 0xff000000);
    for (unsigned to = 0; to < 256; to++)
        expect_destination((uint8_t)to, true, to == 0xff);
}

static void test_shorthands(void **state)
{
    (void)state;
    page_put(P_ID, 0x05000000);
    for (unsigned to = 0; to < 256; to += 5) { /* which is not looked at */
        assert_true(ipi_comes(SELF, (uint8_t)to));
        assert_true(ipi_comes(ALL, (uint8_t)to));
        assert_false(ipi_comes(OTHERS, (uint8_t)to));
        assert_true(ipi_comes(SELF | LOGICAL, (uint8_t)to));
    }
    page_put(P_ICR, SELF | LEVEL | ASSERT_ | VECTOR); /* an IPI is an edge */
    assert_true(set_has(P_IRR, VECTOR));
    assert_false(set_has(P_TMR, VECTOR));
}

/* The bits of ICR that are kept; that of the delivery status is never set. */
static void test_icr_bits(void **state)
{
    (void)state;
    page_put(P_ICR, UINT32_MAX & ~0x700u); /* all but self: nobody */
    assert_int_equal(page_get(P_ICR), 0x000cc8ff);
    page_put(P_ICR, OTHERS | 0x1000 | VECTOR);
    assert_int_equal(page_get(P_ICR), OTHERS | VECTOR);
}

/* ---- other than fixed ---- */

static void test_nmi(void **state)
{
    (void)state;
    assert_false(apic_has_nmi(&kit.apic));
    page_put(P_SVR, 0xff); /* an NMI asks neither for software nor for a vector */
    kit.vp.attention = false;
    page_put(P_ICR_HIGH, 0);
    page_put(P_ICR, NMI | 3);
    assert_true(kit.vp.attention);
    assert_true(apic_has_nmi(&kit.apic));
    assert_int_equal(apic_message(&kit.vm, 0xfee00000, NMI), HV_OK);
    assert_int_equal(kit.apic.nmis, 2);
    page_put(P_ICR, ALL | NMI); /* the third is the second */
    assert_int_equal(kit.apic.nmis, 2);
    apic_take_nmi(&kit.apic);
    assert_true(apic_has_nmi(&kit.apic));
    apic_take_nmi(&kit.apic);
    assert_false(apic_has_nmi(&kit.apic));
    page_put(P_ICR, OTHERS | NMI);
    page_put(P_ICR_HIGH, 0x01000000);
    page_put(P_ICR, NMI);
    assert_false(apic_has_nmi(&kit.apic));
    assert_int_equal(kit.apic.dropped, 2);
    for (uint64_t offset = P_IRR; offset < P_ESR; offset += 16)
        assert_int_equal(page_get(offset), 0);
    page_put(P_ESR, 0);
    assert_int_equal(page_get(P_ESR), 0);
}

static void test_init(void **state)
{
    (void)state;
    page_put(P_ICR, OTHERS | INIT | ASSERT_); /* as a kernel wakes others */
    page_put(P_ICR, OTHERS | STARTUP | 8);
    page_put(P_ICR_HIGH, 0x03000000);
    page_put(P_ICR, INIT | ASSERT_ | LEVEL);
    page_put(P_ICR, INIT | LEVEL);
    page_put(P_ICR, STARTUP | 8);
    assert_int_equal(kit.apic.dropped, 4); /* the deassertion is nothing at all */
    page_put(P_ICR_HIGH, 0);
    page_put(P_ICR, INIT | LEVEL);
    page_put(P_ICR, STARTUP | 8); /* this CPU does not wait for one */
    page_put(P_ICR, SMI | ASSERT_);
    page_put(P_ICR, EXTINT);
    page_put(P_ICR, 0x300);
    assert_int_equal(kit.apic.dropped, 8);
    assert_int_equal(kit.vm.stop, VM_STOP_NONE);
    kit.vp.flushed_generation = kit.vm.generation;
    page_put(P_ICR, INIT | ASSERT_);
    assert_int_equal(kit.vm.stop, VM_STOP_RESET);
    assert_int_not_equal(kit.vm.generation, kit.vp.flushed_generation);
    assert_false(vm_entry_allowed(&kit.vm, kit.vm.generation));
    assert_string_equal(vm_stop_text(VM_STOP_RESET), "the guest reset the machine");
}

static void test_illegal_vectors(void **state)
{
    (void)state;
    for (unsigned vector = 0; vector < 32; vector++) {
        page_put(P_ICR, SELF | vector);
        page_put(P_ESR, 0);
        assert_int_equal(page_get(P_ESR), vector < 16 ? 0x60 : 0);
        page_put(P_ICR, OTHERS | LOWEST | vector);
        page_put(P_ESR, 0);
        assert_int_equal(page_get(P_ESR), vector < 16 ? 0x20 : 0);
        assert_int_equal(apic_message(&kit.vm, 0xfee00000, vector), HV_OK);
        page_put(P_ESR, 0);
        assert_int_equal(page_get(P_ESR), vector < 16 ? 0x40 : 0);
        page_put(P_ICR, OTHERS | INIT | vector); /* which has none */
        page_put(P_ESR, 0);
        assert_int_equal(page_get(P_ESR), 0);
    }
}

/* ---- x2APIC ---- */

static bool x2_comes(uint64_t icr, uint32_t destination)
{
    uint64_t dropped = kit.apic.dropped, value = icr | VECTOR | (uint64_t)destination << 32;
    bool in;

    assert_true(msr_put(MSR_OF(P_ICR), value));
    assert_int_equal(msr_of(MSR_OF(P_ICR)), value);
    in = msr_of(MSR_OF(P_IRR) + VECTOR / 32) >> VECTOR % 32 & 1;
    assert_int_equal(kit.apic.dropped - dropped, !in);
    if (in) {
        assert_int_equal(deliver_next(), VECTOR);
        assert_true(msr_put(MSR_OF(P_EOI), 0));
    }
    return in;
}

static void test_x2(void **state)
{
    static const uint32_t ids[] = {0, 1, 15, 16, 0xff, 0x100, 0x12345, 0xffffe};
    static const uint32_t more[] = {0xff, 0xff00, 0xffff, 0x10000, 0x10001, 0xffff0000, 0xffffffff};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(ids); i++) {
        uint32_t ldr = ids[i] / 16 << 16 | 1u << ids[i] % 16;

        kit.apic.id = ids[i];
        assert_int_equal(msr_of(MSR_OF(P_ID)), ids[i]);
        assert_int_equal(msr_of(MSR_OF(P_LDR)), ldr);
        for (unsigned j = 0; j < ARRAY_COUNT(ids); j++)
            assert_int_equal(x2_comes(0, ids[j]), i == j);
        for (unsigned j = 0; j < ARRAY_COUNT(more); j++) {
            bool all = more[j] == UINT32_MAX;

            assert_int_equal(x2_comes(0, more[j]), all || more[j] == ids[i]);
            assert_int_equal(x2_comes(LOGICAL, more[j]),
                             all || (more[j] >> 16 == ldr >> 16 && (more[j] & ldr & 0xffff)));
        }
        for (unsigned bit = 0; bit < 16; bit++) {
            assert_int_equal(x2_comes(LOGICAL, (ldr & 0xffff0000) | 1u << bit), bit == ids[i] % 16);
            assert_false(x2_comes(LOGICAL, (ldr ^ 0x10000) | 1u << bit));
        }
        assert_true(x2_comes(SELF, 77));
        assert_true(x2_comes(ALL, 77));
        assert_false(x2_comes(OTHERS, ids[i]));
    }
}

static void test_self_ipi(void **state)
{
    (void)state;
    for (unsigned vector = 16; vector < 256; vector++) {
        assert_true(msr_put(MSR_OF(0x3f0), vector));
        assert_int_equal(deliver_next(), vector);
        assert_true(msr_put(MSR_OF(P_EOI), 0));
    }
    assert_true(msr_put(MSR_OF(0x3f0), 15));
    assert_true(msr_put(MSR_OF(P_ESR), 0));
    assert_int_equal(msr_of(MSR_OF(P_ESR)), 0x60);
    assert_int_equal(msr_of(MSR_OF(P_ICR)), 0); /* ICR is another register */
}

/* An MSI has eight bits of destination, whatever the mode. */
static void test_msi_in_x2(void **state)
{
    static const struct {
        uint32_t id;
        uint8_t destination;
        bool logical, ours;
    } cases[] = {{0, 0, false, true},        {0, 1, false, false},     {0, 0xff, false, true},
                 {0x1ff, 0xff, false, true}, {0x100, 0, false, false}, {3, 8, true, true},
                 {3, 7, true, false},        {3, 0xff, true, true},    {19, 8, true, false}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        uint64_t dropped = kit.apic.dropped;

        kit.apic.id = cases[i].id;
        assert_int_equal(
            apic_message(&kit.vm, msi_address(cases[i].destination, cases[i].logical), VECTOR),
            HV_OK);
        assert_int_equal(deliver_next(), cases[i].ours ? (int)VECTOR : -1);
        assert_int_equal(kit.apic.dropped - dropped, !cases[i].ours);
        assert_true(msr_put(MSR_OF(P_EOI), 0));
    }
}

/* ---- MSIs ---- */

static void test_msi_refused(void **state)
{
    (void)state;
    for (unsigned bit = 20; bit < 64; bit++)
        assert_int_equal(apic_message(&kit.vm, 0xfee00000ull ^ BIT(bit), VECTOR),
                         HV_E_INVALID_PARAMETER_2);
    for (unsigned mode = 0; mode < 8; mode++) {
        bool reserved = mode == 3 || mode == 6;

        if (mode == 5)
            continue; /* see below: INIT is taken */
        assert_int_equal(apic_message(&kit.vm, 0xfee00000, mode << 8 | VECTOR),
                         reserved ? HV_E_INVALID_PARAMETER_3 : HV_OK);
        assert_int_equal(apic_message(&kit.vm, 0xfee00000, LEVEL | mode << 8 | VECTOR),
                         HV_E_INVALID_PARAMETER_3);
        assert_int_equal(apic_message(&kit.vm, 0, mode << 8), HV_E_INVALID_PARAMETER_2);
    }
    assert_int_equal(kit.apic.accepted, 2); /* fixed, lowest */
    assert_int_equal(kit.apic.nmis, 1);
    assert_int_equal(kit.apic.dropped, 2); /* SMI, ExtINT */
    assert_int_equal(apic_message(&kit.vm, 0xfee00000, INIT | LEVEL), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(kit.vm.stop, VM_STOP_NONE);
    assert_int_equal(apic_message(&kit.vm, 0xfee00000, INIT), HV_OK);
    assert_int_equal(kit.vm.stop, VM_STOP_RESET);
}

static void test_msi_bits(void **state)
{
    (void)state;
    /* The hint, reserved bits below, and reserved bits of the data say nothing. */
    assert_int_equal(apic_message(&kit.vm, 0xfee00ffb, 0xffff3800 | VECTOR), HV_OK);
    assert_true(set_has(P_IRR, VECTOR));
    assert_false(set_has(P_TMR, VECTOR));
    assert_int_equal(apic_message(&kit.vm, 0xfee00000, LEVEL | ASSERT_ | VECTOR), HV_OK);
    assert_true(set_has(P_TMR, VECTOR));
    page_put(P_SVR, 0xff);
    assert_int_equal(apic_message(&kit.vm, 0xfee00000, 0x99), HV_OK);
    assert_false(set_has(P_IRR, 0x99));
    assert_int_equal(kit.apic.dropped, 1);
    assert_true(msr_put(IA32_APIC_BASE, APIC_BASE_BSP | APIC_BASE_DEFAULT)); /* no APIC at all */
    assert_int_equal(apic_message(&kit.vm, 0xfee00000, NMI), HV_OK);
    assert_int_equal(apic_message(&kit.vm, 0xfeeff000, NMI), HV_OK);
    assert_false(apic_has_nmi(&kit.apic));
    assert_int_equal(kit.apic.dropped, 3);
}

#define TEST(name)    cmocka_unit_test_setup_teardown(name, apic_open, kit_close)
#define TEST_X2(name) cmocka_unit_test_setup_teardown(name, x2apic_open, kit_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_physical),     TEST(test_flat),
        TEST(test_cluster),      TEST(test_shorthands),
        TEST(test_icr_bits),     TEST(test_nmi),
        TEST(test_init),         TEST(test_illegal_vectors),
        TEST_X2(test_x2),        TEST_X2(test_self_ipi),
        TEST_X2(test_msi_in_x2), TEST(test_msi_refused),
        TEST(test_msi_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
