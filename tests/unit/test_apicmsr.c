/* The local APIC's MSRs: its three modes, where its page is, and the registers of x2APIC mode. */
#include "tests/unit/apic_kit.h"

#include <string.h>

#define EN   APIC_BASE_ENABLE
#define X2   APIC_BASE_X2APIC
#define BSP  APIC_BASE_BSP
#define HOME APIC_BASE_DEFAULT

/* ---- IA32_APIC_BASE ---- */

static void go(uint64_t mode)
{
    uint64_t now = kit.apic.base & (EN | X2);

    if (now == mode)
        return;
    if (now == (EN | X2))
        assert_true(msr_put(IA32_APIC_BASE, HOME | BSP));
    if (mode != 0)
        assert_true(msr_put(IA32_APIC_BASE, HOME | BSP | EN));
    assert_true(msr_put(IA32_APIC_BASE, HOME | BSP | mode));
}

static void test_modes(void **state)
{
    static const uint64_t modes[] = {0, EN, X2, EN | X2};
    static const bool legal[4][4] = {
        {true, true, false, false}, {true, true, false, true}, {0}, {true, false, false, true}};

    (void)state;
    assert_int_equal(msr_of(IA32_APIC_BASE), HOME | BSP | EN);
    for (unsigned from = 0; from < 4; from++)
        for (unsigned to = 0; to < 4; to++) {
            if (modes[from] == X2)
                continue; /* nobody is ever there */
            go(modes[from]);
            assert_int_equal(msr_put(IA32_APIC_BASE, HOME | BSP | modes[to]), legal[from][to]);
            assert_int_equal(msr_of(IA32_APIC_BASE),
                             HOME | BSP | modes[legal[from][to] ? to : from]);
            assert_int_equal(page_is_at(HOME), (kit.apic.base & (EN | X2)) == EN);
            kit.vp.gpr[GPR_RAX] = 1;
            (void)vp_cpuid(&kit.vp);
            assert_int_equal(kit.vp.gpr[GPR_RDX] >> 9 & 1, (kit.apic.base & EN) != 0);
        }
}

static void test_reserved_bits(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        bool address = bit >= 12 && bit < KIT_PHYSICAL_BITS;

        assert_int_equal(msr_put(IA32_APIC_BASE, (HOME | BSP | EN) ^ BIT(bit)),
                         address || bit == 8 || bit == 10 || bit == 11);
        go(0);
        go(EN);
    }
}

/* Switched off it forgets everything but who it is; NMIs wait in the CPU. */
static void test_off_and_on(void **state)
{
    (void)state;
    for (uint64_t mode = EN;; mode = EN | X2) {
        go(mode);
        apic_accept(&kit.apic, 0x45, true);
        apic_accept(&kit.apic, 0x99, true);
        (void)deliver_next();
        apic_cr8_write(&kit.apic, 3);
        apic_register_write(&kit.apic, APIC_REG_LVT, 0x31);
        apic_register_write(&kit.apic, APIC_REG_INITIAL_COUNT, 5000);
        assert_int_equal(apic_message(&kit.vm, 0xfee00000, 0x400), HV_OK);
        assert_true(apic_timer_is_armed(&kit.apic));
        go(0);
        assert_false(apic_timer_is_armed(&kit.apic));
        assert_int_equal(kit.apic.alarm.deadline, 0);
        assert_int_equal(apic_next(&kit.apic), -1);
        assert_true(apic_has_nmi(&kit.apic));
        apic_take_nmi(&kit.apic);
        assert_int_equal(apic_cr8_read(&kit.apic), 0);
        apic_cr8_write(&kit.apic, 9); /* CR8 there is without one */
        assert_int_equal(apic_cr8_read(&kit.apic), 9);
        assert_int_equal(page_read(P_VERSION, 4), UINT32_MAX); /* nobody */
        go(EN);
        assert_int_equal(page_get(P_SVR), 0xff);
        assert_int_equal(page_get(P_TIMER), MASKED);
        assert_int_equal(page_get(P_TMR + 0x20), 0);
        page_put(P_SVR, 0x1ff);
        if (mode & X2)
            break;
    }
}

static void test_kept_in_x2(void **state)
{
    (void)state;
    page_put(P_TPR, 0x25);
    page_put(P_TIMER, 0x20031);
    page_put(P_INITIAL, 8000);
    page_put(P_ID, 0x07000000);
    page_put(P_LDR, 0x80000000);
    apic_accept(&kit.apic, 0x45, true);
    go(EN | X2);
    assert_int_equal(msr_of(MSR_OF(P_TPR)), 0x25);
    assert_int_equal(msr_of(MSR_OF(P_TIMER)), 0x20031);
    assert_int_equal(msr_of(MSR_OF(P_INITIAL)), 8000);
    assert_int_equal(msr_of(MSR_OF(P_SVR)), 0x1ff);
    assert_int_equal(msr_of(MSR_OF(P_IRR) + 2), 1u << 5);
    assert_int_equal(msr_of(MSR_OF(P_TMR) + 2), 1u << 5);
    assert_int_equal(msr_of(MSR_OF(P_ID)), 0); /* what it was given at the start */
    assert_int_equal(msr_of(MSR_OF(P_LDR)), 1);
    assert_true(apic_timer_is_armed(&kit.apic));
    assert_int_equal(deliver_next(), 0x45);
}

static void test_moved(void **state)
{
    static const uint64_t places[] = {0xfec00000, 0x7fffff000ull, HOME + PAGE_BYTES, 0xc0000000};
    uint64_t before = HOME;

    (void)state;
    page_put(P_TPR, 0x33);
    for (unsigned i = 0; i < ARRAY_COUNT(places); i++) {
        assert_true(msr_put(IA32_APIC_BASE, places[i] | BSP | EN));
        assert_true(page_is_at(places[i]));
        assert_false(page_is_at(before));
        assert_int_equal(page_get(P_TPR), 0x33);
        before = places[i];
    }
    go(EN | X2); /* at home: the mode and the place change at once */
    assert_int_equal(kit.vm.regions.count, 0);
    assert_true(msr_put(IA32_APIC_BASE, 0xfec00000 | BSP | EN | X2)); /* moves no page */
    assert_int_equal(kit.vm.regions.count, 0);
    go(0);
    go(EN);
    assert_true(page_is_at(HOME));
    assert_int_equal(kit.vm.regions.count, 1);
}

/* Where somebody else answers, or RAM is, the page is not; it comes back with the next move. */
static void test_taken(void **state)
{
    static const uint64_t taken[] = {KIT_BAR, 0, KIT_LOW_BYTES - PAGE_BYTES, KIT_HIGH};
    unsigned lines = fake_log_lines;

    (void)state;
    kit_attach(1, KIT_BAR, PAGE_BYTES);
    for (unsigned i = 0; i < ARRAY_COUNT(taken); i++) {
        assert_true(msr_put(IA32_APIC_BASE, taken[i] | BSP | EN));
        assert_int_equal(msr_of(IA32_APIC_BASE), taken[i] | BSP | EN);
        assert_int_equal(fake_log_lines, lines + i + 1);
        assert_int_equal(kit.vm.regions.count, 1);
        assert_false(lock_is_held(&kit.vm.tables_lock));
    }
    assert_true(strstr(fake_log_last, "local APIC: nothing answers at 0x100000000") != NULL);
    assert_true(msr_put(IA32_APIC_BASE, KIT_HIGH | BSP | EN)); /* what it is already */
    assert_int_equal(fake_log_lines, lines + ARRAY_COUNT(taken));
    assert_true(msr_put(IA32_APIC_BASE, HOME | BSP | EN));
    assert_true(page_is_at(HOME));
    kit_detach(1, KIT_BAR);
}

/* ---- registers of x2APIC mode ---- */

struct rule {
    uint64_t writable; /* bits */
    bool reads, writes;
};

/* From the manual's table "Local APIC Register Address Map Supported by x2APIC". */
static struct rule rule_of(unsigned reg)
{
    static const struct rule none = {0, false, false}, look = {0, true, false};

    if (reg >= 0x10 && reg <= 0x27)
        return look;
    switch (reg) {
    case 0x02:
    case 0x03:
    case 0x0a:
    case 0x0d:
    case 0x39:
        return look;
    case 0x08:
        return (struct rule){0xff, true, true};
    case 0x0b:
        return (struct rule){0, false, true};
    case 0x0f:
        return (struct rule){0x3ff, true, true};
    case 0x28:
        return (struct rule){0, true, true};
    case 0x30:
        return (struct rule){0xffffffff000cdfff, true, true};
    case 0x32:
        return (struct rule){0x710ff, true, true};
    case 0x33:
    case 0x34:
        return (struct rule){0x117ff, true, true};
    case 0x35:
    case 0x36:
        return (struct rule){0x1f7ff, true, true};
    case 0x37:
        return (struct rule){0x110ff, true, true};
    case 0x38:
        return (struct rule){0xffffffff, true, true};
    case 0x3e:
        return (struct rule){0xb, true, true};
    case 0x3f:
        return (struct rule){0xff, false, true};
    default:
        return none;
    }
}

static void test_x2_rules(void **state)
{
    uint64_t value;

    (void)state;
    for (unsigned reg = 0; reg < 0x48; reg++) {
        struct rule rule = rule_of(reg);

        assert_int_equal(msr_get(0x800 + reg, &value), rule.reads);
        if (rule.reads && reg != 0x30)
            assert_int_equal(value >> 32, 0);
        assert_int_equal(msr_put(0x800 + reg, 0), rule.writes);
        for (unsigned bit = 0; bit < 64; bit++)
            if (!(rule.writable >> bit & 1))
                assert_false(msr_put(0x800 + reg, BIT(bit)));
            else if (reg != 0x30 || bit > 11) /* ICR with a mode is sent in other tests */
                assert_true(msr_put(0x800 + reg, BIT(bit)));
    }
}

static void test_x2_values(void **state)
{
    static const struct {
        uint16_t reg;
        uint32_t written, read;
    } values[] = {{0x08, 0xa7, 0xa7},       {0x0f, 0x3ff, 0x1ff},     {0x32, 0x710ff, 0x700ff},
                  {0x33, 0x117ff, 0x107ff}, {0x35, 0x1f7ff, 0x1a7ff}, {0x37, 0x110ff, 0x100ff},
                  {0x3e, 0xb, 0xb}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(values); i++) {
        assert_true(msr_put(0x800u + values[i].reg, values[i].written));
        assert_int_equal(msr_of(0x800u + values[i].reg), values[i].read);
    }
    assert_int_equal(msr_of(0x803), 0x00050014);
    assert_true(msr_put(0x830, 0x12345678000c1055)); /* the status is not kept */
    assert_int_equal(msr_of(0x830), 0x12345678000c0055);
}

static void test_x2_interrupts(void **state)
{
    (void)state;
    for (unsigned vector = 16; vector < 256; vector += 3) {
        apic_accept(&kit.apic, (uint8_t)vector, true);
        assert_int_equal(msr_of(0x820 + vector / 32), 1u << vector % 32);
        assert_int_equal(deliver_next(), vector);
        assert_int_equal(msr_of(0x820 + vector / 32), 0);
        assert_int_equal(msr_of(0x810 + vector / 32), 1u << vector % 32);
        assert_true(msr_of(0x818 + vector / 32) >> vector % 32 & 1);
        assert_int_equal(msr_of(0x80a), vector & 0xf0);
        assert_false(msr_put(0x80b, 1));
        assert_int_equal(msr_of(0x80a), vector & 0xf0);
        assert_true(msr_put(0x80b, 0));
        assert_int_equal(msr_of(0x80a), 0);
    }
}

/* In the other modes there are no such MSRs, and in x2APIC mode no page. */
static void test_other_modes(void **state)
{
    uint64_t value;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        for (uint32_t msr = 0x800; msr < 0x840; msr++) {
            assert_false(msr_get(msr, &value));
            assert_false(msr_put(msr, 0));
        }
        go(0);
    }
    go(EN | X2);
    page_put(P_TPR, 0x44);
    assert_int_equal(page_get(P_TPR), UINT32_MAX);
    assert_int_equal(msr_of(0x808), 0);
    assert_false(apic_owns_msr(0x7ff));
    assert_true(apic_owns_msr(0x800));
    assert_true(apic_owns_msr(0x83f));
    assert_false(apic_owns_msr(0x840));
    assert_true(apic_owns_msr(IA32_APIC_BASE));
    assert_true(apic_owns_msr(IA32_TSC_DEADLINE));
    assert_false(apic_owns_msr(IA32_TSC));
}

/* MOV CR8 and the register are one. */
static void test_cr8(void **state)
{
    struct hv_exit_cr cr = {.number = 8, .gpr = GPR_RBX, .value = 6, .write = true};

    (void)state;
    assert_int_equal(vp_cr_access(&kit.vp, &cr), HV_ADVANCE);
    assert_int_equal(page_get(P_TPR), 0x60);
    page_put(P_TPR, 0xbc);
    cr.write = false;
    assert_int_equal(vp_cr_access(&kit.vp, &cr), HV_ADVANCE);
    assert_int_equal(kit.vp.gpr[GPR_RBX], 0xb);
}

#define TEST(name)    cmocka_unit_test_setup_teardown(name, apic_open, kit_close)
#define TEST_X2(name) cmocka_unit_test_setup_teardown(name, x2apic_open, kit_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_modes),       TEST(test_reserved_bits), TEST(test_off_and_on),
        TEST(test_kept_in_x2),  TEST(test_moved),         TEST(test_taken),
        TEST_X2(test_x2_rules), TEST_X2(test_x2_values),  TEST_X2(test_x2_interrupts),
        TEST(test_other_modes), TEST(test_cr8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
