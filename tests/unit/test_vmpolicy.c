/* What a guest may do with MSRs, control registers and XCR0. */
#include "tests/unit/vm_kit.h"

#include <string.h>

#define LONG_MODE (1u << 13) /* CS.L in the access rights */
#define BARE_CR0  (CR0_PE | CR0_ET)
#define LONG_EFER (EFER_LME | EFER_LMA | EFER_NXE)

static struct vp_state *const now = &fake_backend.state;

/* Returns the sets that the core made; a refusal makes none and queues #GP(0). */
static unsigned judged(enum hv_resume resume, unsigned sets)
{
    if (resume == HV_ADVANCE) {
        assert_int_equal(kit.vp.event.kind, VP_EVENT_NONE);
        return fake_backend_sets() - sets;
    }
    assert_int_equal(resume, HV_RESUME);
    kit_expect_event(VECTOR_GP, true, 0);
    assert_int_equal(fake_backend_sets(), sets);
    kit.vp.event.kind = VP_EVENT_NONE;
    return 0;
}

static enum hv_resume wrmsr_resume;

static unsigned wrmsr_of(uint32_t msr, uint64_t value)
{
    unsigned sets = fake_backend_sets();

    /* The upper halves of the registers do not count. */
    kit.vp.gpr[GPR_RCX] = 0xdeadbeef00000000ull | msr;
    kit.vp.gpr[GPR_RAX] = 0x1234567800000000ull | (uint32_t)value;
    kit.vp.gpr[GPR_RDX] = 0x1234567800000000ull | value >> 32;
    wrmsr_resume = vp_msr_write(&kit.vp);
    return judged(wrmsr_resume, sets);
}

static bool rdmsr_of(uint32_t msr, uint64_t *value)
{
    kit.vp.gpr[GPR_RCX] = 0xdeadbeef00000000ull | msr;
    kit.vp.gpr[GPR_RAX] = kit.vp.gpr[GPR_RDX] = ~0ull;
    if (vp_msr_read(&kit.vp) != HV_ADVANCE) {
        kit_expect_event(VECTOR_GP, true, 0);
        kit.vp.event.kind = VP_EVENT_NONE;
        assert_int_equal(kit.vp.gpr[GPR_RAX] & kit.vp.gpr[GPR_RDX], ~0ull);
        return false;
    }
    assert_int_equal(kit.vp.gpr[GPR_RAX] >> 32, 0);
    assert_int_equal(kit.vp.gpr[GPR_RDX] >> 32, 0);
    *value = kit.vp.gpr[GPR_RAX] | kit.vp.gpr[GPR_RDX] << 32;
    return true;
}

/* ---- MSRs ---- */

static void test_pat(void **state)
{
    uint64_t value;

    (void)state;
    for (unsigned entry = 0; entry < 8; entry++)
        for (unsigned type = 0; type < 256; type++) {
            bool legal = type <= 1 || (type >= 4 && type <= 7);
            uint64_t pat = (PAT_RESET & ~(0xffull << (entry * 8))) | (uint64_t)type << (entry * 8);

            assert_int_equal(wrmsr_of(IA32_PAT, pat), legal ? 1 : 0);
            if (!legal)
                continue;
            assert_true(rdmsr_of(IA32_PAT, &value));
            assert_int_equal(value, pat);
        }
    assert_int_equal(fake_backend.pat_sets, 8 * 6);
}

static void test_efer(void **state)
{
    uint64_t value;

    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) { /* paging is on: LME must stay */
        bool legal = bit == 0 || bit == 10 || bit == 11;

        now->efer = LONG_EFER;
        assert_int_equal(wrmsr_of(IA32_EFER, LONG_EFER ^ BIT(bit)), legal ? 1 : 0);
        /* LMA is the CPU's, whatever is written. */
        assert_int_equal(now->efer, bit == 10 || !legal ? LONG_EFER : LONG_EFER ^ BIT(bit));
    }
    assert_true(rdmsr_of(IA32_EFER, &value));
    assert_int_equal(value, now->efer);
    now->cr0 = BARE_CR0;
    now->efer = 0;
    assert_int_equal(wrmsr_of(IA32_EFER, EFER_LME | EFER_LMA), 1);
    assert_int_equal(now->efer, EFER_LME);
    assert_int_equal(wrmsr_of(IA32_EFER, 0), 1);
    assert_int_equal(now->efer, 0);
}

static void test_constants(void **state)
{
    static const struct {
        uint32_t msr;
        bool dropped;
        uint64_t value;
    } cases[] = {
        {IA32_PLATFORM_ID, false, 0},      {IA32_FEATURE_CONTROL, false, 1},
        {IA32_BIOS_SIGN_ID, true, 0},      {IA32_MTRRCAP, false, 0x400},
        {IA32_MTRR_DEF_TYPE, true, 0x806}, {IA32_MISC_ENABLE, true, 1},
    };
    uint64_t value;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_int_equal(wrmsr_of(cases[i].msr, 0), 0);
        assert_int_equal(wrmsr_resume, cases[i].dropped ? HV_ADVANCE : HV_RESUME);
        assert_true(rdmsr_of(cases[i].msr, &value));
        assert_int_equal(value, cases[i].value);
    }
}

static void test_tsc(void **state)
{
    uint64_t first, second;

    (void)state;
    assert_true(rdmsr_of(IA32_TSC, &first));
    assert_true(rdmsr_of(IA32_TSC, &second));
    assert_true(second >= first && first != 0);
}

static void test_unknown_msrs(void **state)
{
    static const uint32_t msrs[] = {0,
                                    0x48, /* SPEC_CTRL */
                                    IA32_ARCH_CAPABILITIES,
                                    0x200, /* the first variable MTRR */
                                    0x480, /* VMX_BASIC */
                                    0x7ff, /* those of the x2APIC follow */
                                    0x840,
                                    0x40000000,
                                    0xc0010114, /* VM_CR */
                                    0xffffffff};
    const unsigned lines = fake_log_lines;
    uint64_t value;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(msrs); i++) {
        assert_false(rdmsr_of(msrs[i], &value));
        wrmsr_of(msrs[i], 0);
        assert_int_equal(wrmsr_resume, HV_RESUME);
    }
    assert_int_equal(fake_log_lines - lines, kit.vp.msr_log.burst);
    assert_int_equal(kit.vp.msr_log.dropped, 2 * ARRAY_COUNT(msrs) - kit.vp.msr_log.burst);
}

/* ---- control registers ---- */

static bool mov_cr(uint8_t number, uint64_t value)
{
    const struct hv_exit_cr cr = {.number = number, .write = true, .value = value};
    unsigned sets = fake_backend_sets();
    enum hv_resume resume = vp_cr_access(&kit.vp, &cr);

    judged(resume, sets);
    return resume == HV_ADVANCE;
}

static void start_at(uint64_t cr0, uint64_t cr4, uint64_t efer, uint32_t code)
{
    now->cr0 = cr0;
    now->cr4 = cr4;
    now->efer = efer;
    now->seg[INSN_CS].attributes = code;
}

static void test_cr0(void **state)
{
    const uint64_t on = BARE_CR0 | CR0_PG;

    (void)state;
    start_at(BARE_CR0, 0, 0, 0);
    assert_true(mov_cr(0, CR0_PE | CR0_NE | CR0_WP));
    assert_int_equal(now->cr0, CR0_PE | CR0_NE | CR0_WP | CR0_ET); /* ET is always 1 */
    assert_false(mov_cr(0, CR0_PG));                               /* without PE */
    assert_false(mov_cr(0, CR0_PE | CR0_NW));                      /* without CD */
    assert_true(mov_cr(0, CR0_PE | CR0_NW | CR0_CD));
    assert_true(mov_cr(0, CR0_PE | CR0_CD));
    for (unsigned bit = 0; bit < 64; bit++) {
        bool legal = bit < 32 && BIT(bit) != CR0_NW;

        start_at(BARE_CR0, 0, 0, 0);
        assert_int_equal(mov_cr(0, BARE_CR0 | BIT(bit)), legal);
        assert_int_equal(now->cr0, BARE_CR0 | (legal ? BIT(bit) & CR0_DEFINED : 0));
    }
    /* Paging on, without LME: no mode changes. */
    start_at(BARE_CR0, 0, 0, 0);
    assert_true(mov_cr(0, on));
    assert_int_equal(now->efer, 0);
    /* With LME: needs PAE and a CS that is not 64-bit, and sets LMA. */
    start_at(BARE_CR0, 0, EFER_LME, 0);
    assert_false(mov_cr(0, on));
    start_at(BARE_CR0, CR4_PAE, EFER_LME, LONG_MODE);
    assert_false(mov_cr(0, on));
    start_at(BARE_CR0, CR4_PAE, EFER_LME, 0);
    assert_true(mov_cr(0, on));
    assert_int_equal(now->efer, EFER_LME | EFER_LMA);
    /* It stays while paging stays. */
    assert_true(mov_cr(0, on | CR0_WP | CR0_TS));
    assert_int_equal(now->efer, EFER_LME | EFER_LMA);
    /* Paging off: not from 64-bit code; LMA goes. */
    now->seg[INSN_CS].attributes = LONG_MODE;
    assert_false(mov_cr(0, BARE_CR0));
    assert_int_equal(now->cr0, on | CR0_WP | CR0_TS);
    now->seg[INSN_CS].attributes = 0;
    assert_true(mov_cr(0, BARE_CR0));
    assert_int_equal(now->efer, EFER_LME);
    assert_int_equal(now->cr0, BARE_CR0);
}

static void test_clts_lmsw(void **state)
{
    const uint64_t msw = CR0_PE | CR0_MP | CR0_EM | CR0_TS;

    (void)state;
    start_at(BARE_CR0 | CR0_TS | CR0_WP, 0, 0, 0);
    assert_int_equal(vp_cr_access(&kit.vp, &(struct hv_exit_cr){.clts = true}), HV_ADVANCE);
    assert_int_equal(now->cr0, BARE_CR0 | CR0_WP);
    for (uint64_t value = 0; value < 64; value++)
        for (uint64_t before = 0; before < 64; before++) {
            struct hv_exit_cr cr = {.lmsw = true, .value = value | 0xffc0};
            uint64_t old = (before & CR0_DEFINED) | CR0_ET | CR0_WP;

            start_at(old, 0, 0, 0);
            assert_int_equal(vp_cr_access(&kit.vp, &cr), HV_ADVANCE);
            /* The low four bits, but PE never goes away. */
            assert_int_equal(now->cr0, (old & ~msw) | (value & msw) | (old & CR0_PE));
        }
}

static void test_cr4(void **state)
{
    const uint64_t own = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXSAVE;

    (void)state;
    kit.vp.cr4_guest_bits = own;
    for (unsigned bit = 0; bit < 64; bit++) {
        bool legal = (own & BIT(bit)) != 0;

        start_at(BARE_CR0, CR4_PAE, 0, 0);
        assert_int_equal(mov_cr(4, BIT(bit)), legal);
        assert_int_equal(now->cr4, legal ? BIT(bit) : CR4_PAE);
    }
    start_at(BARE_CR0 | CR0_PG, CR4_PAE, LONG_EFER, LONG_MODE);
    assert_false(mov_cr(4, CR4_PGE)); /* PAE must stay in long mode */
    assert_true(mov_cr(4, CR4_PAE | CR4_PGE));
    assert_int_equal(fake_backend.cr0_sets + fake_backend.efer_sets, 0);
}

static uint32_t cpuid_ecx(uint32_t leaf)
{
    kit.vp.gpr[GPR_RAX] = leaf;
    kit.vp.gpr[GPR_RCX] = 0;
    assert_int_equal(vm_exit_cpuid(&kit.vp), HV_ADVANCE);
    return (uint32_t)kit.vp.gpr[GPR_RCX];
}

static void test_osxsave(void **state)
{
    uint32_t plain;

    (void)state;
    vp_cpuid_init(&kit.vp);
    kit.vp.cr4_guest_bits = CR4_PAE | CR4_OSXSAVE;
    start_at(BARE_CR0, CR4_PAE, 0, 0);
    plain = cpuid_ecx(1);
    assert_int_equal(plain & CPUID_1_ECX_OSXSAVE, 0); /* whatever the host's CR4 says */
    assert_true(mov_cr(4, CR4_PAE | CR4_OSXSAVE));
    assert_int_equal(cpuid_ecx(1), plain | CPUID_1_ECX_OSXSAVE);
    assert_false(mov_cr(4, CR4_VMXE)); /* a refused write changes nothing */
    assert_int_equal(cpuid_ecx(1), plain | CPUID_1_ECX_OSXSAVE);
    assert_true(mov_cr(4, CR4_PAE));
    assert_int_equal(cpuid_ecx(1), plain);
    start_at(BARE_CR0 | CR0_PG, CR4_PAE, LONG_EFER, LONG_MODE);
    assert_false(mov_cr(4, CR4_OSXSAVE)); /* nor does one that is refused late */
    assert_int_equal(cpuid_ecx(1), plain);
}

static void test_cr8(void **state)
{
    (void)state;
    for (uint64_t value = 0; value < 16; value++) {
        struct hv_exit_cr cr = {.number = 8, .gpr = 9};

        assert_true(mov_cr(8, value));
        assert_int_equal(vp_cr_access(&kit.vp, &cr), HV_ADVANCE);
        assert_int_equal(kit.vp.gpr[9], value);
    }
    for (unsigned bit = 4; bit < 64; bit++)
        assert_false(mov_cr(8, BIT(bit)));
    assert_int_equal(kit.apic.tpr, 0xf0);
    assert_int_equal(fake_backend_sets(), 0);
    /* RSP is not where the other registers are. */
    assert_int_equal(fake_backend.rsp_stores, 0);
    assert_int_equal(vp_cr_access(&kit.vp, &(struct hv_exit_cr){.number = 8, .gpr = GPR_RSP}),
                     HV_ADVANCE);
    assert_int_equal(kit.vp.gpr[GPR_RSP], 15);
    assert_int_equal(fake_backend.rsp_stores, 1);
}

static bool xsetbv_of(uint32_t index, uint64_t value)
{
    unsigned count = fake_cpu.xsetbvs;
    enum hv_resume resume;

    kit.vp.gpr[GPR_RCX] = 0xff00000000ull | index;
    kit.vp.gpr[GPR_RAX] = 0xff00000000ull | (uint32_t)value;
    kit.vp.gpr[GPR_RDX] = 0xff00000000ull | value >> 32;
    resume = vp_xsetbv(&kit.vp);
    judged(resume, fake_backend_sets());
    assert_int_equal(fake_cpu.xsetbvs - count, resume == HV_ADVANCE);
    return resume == HV_ADVANCE;
}

static void test_xcr0(void **state)
{
    (void)state;
    fake_cpu_catch();
    for (uint64_t mask = 3; mask <= 7; mask += 4)
        for (uint64_t value = 0; value < 16; value++) {
            bool legal = value == 1 || value == 3 || (value == 7 && mask == 7);

            kit.vp.xcr0_mask = mask;
            assert_int_equal(xsetbv_of(0, value), legal);
            if (legal)
                assert_int_equal(fake_cpu.xcr0, value);
        }
    for (unsigned bit = 3; bit < 64; bit++)
        assert_false(xsetbv_of(0, 7 | BIT(bit)));
    assert_false(xsetbv_of(1, 7));
    assert_false(xsetbv_of(~0u, 7));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_open, kit_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pat),          TEST(test_efer), TEST(test_constants), TEST(test_tsc),
        TEST(test_unknown_msrs), TEST(test_cr0),  TEST(test_clts_lmsw), TEST(test_cr4),
        TEST(test_osxsave),      TEST(test_cr8),  TEST(test_xcr0),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
