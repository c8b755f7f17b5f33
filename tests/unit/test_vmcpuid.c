/*
 * CPUID: what a guest sees of a CPU that has everything, of one that has little, and of the one that runs the test.
 * hv/vm/cpuid.c is included with a CPUID instruction of the test's.
 */
#include "tests/unit/vm_kit.h"

#include <string.h>

#include "hv/x86/cpu.h"

static struct cpuid_regs test_cpuid(uint32_t leaf, uint32_t subleaf);
#define cpuid test_cpuid
#include "hv/vm/cpuid.c"
#undef cpuid

/* ---- the CPU under the hypervisor ---- */

#define EXTENDED 0x80000000u

static bool real;
static uint32_t basic_last, extended_last, every_bit;
static unsigned instructions;

/* Leaf D has sizes in EBX and ECX, and one state component per subleaf. */
static struct cpuid_regs xsave_leaf(uint32_t subleaf)
{
    if (subleaf == 0)
        return (struct cpuid_regs){every_bit, 0x340, 0xa88, every_bit};
    return (struct cpuid_regs){every_bit, subleaf == 2 ? 0x240 : 0xa00 + subleaf, every_bit,
                               every_bit};
}

static struct cpuid_regs test_cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs all = {every_bit, every_bit, every_bit, every_bit};

    instructions++;
    if (real)
        return cpuid(leaf, subleaf);
    if (leaf == 0)
        return (struct cpuid_regs){basic_last, 'b', 'c', 'd'};
    if (leaf == EXTENDED)
        return (struct cpuid_regs){extended_last, 'b', 'c', 'd'};
    if (leaf > (leaf < EXTENDED ? basic_last
                                : extended_last)) /* as Intel has it: the highest basic leaf's */
        return (struct cpuid_regs){0x0bad0bad, 0x0bad0bad, 0x0bad0bad, 0x0bad0bad};
    if (leaf == 0xd)
        return xsave_leaf(subleaf);
    if (leaf == EXTENDED + 8)
        all.eax = every_bit & 0x3039; /* 57 physical bits in [7:0], 48 linear ones in [15:8] */
    return all;
}

static int open_rich(void **state)
{
    real = false;
    basic_last = 0x20;
    extended_last = EXTENDED + 0x1f;
    every_bit = ~0u;
    kit_open(state);
    vp_cpuid_init(&kit.vp);
    return 0;
}

/* ---- the guest's side ---- */

static struct cpuid_answer cpuid_of(uint32_t leaf, uint32_t subleaf)
{
    uint64_t *gpr = kit.vp.gpr;

    gpr[GPR_RAX] = 0xffffffff00000000ull | leaf;
    gpr[GPR_RCX] = 0xffffffff00000000ull | subleaf;
    gpr[GPR_RBX] = gpr[GPR_RDX] = ~0ull;
    assert_int_equal(vm_exit_cpuid(&kit.vp), HV_ADVANCE);
    assert_int_equal((gpr[GPR_RAX] | gpr[GPR_RBX] | gpr[GPR_RCX] | gpr[GPR_RDX]) >> 32, 0);
    return (struct cpuid_answer){(uint32_t)gpr[GPR_RAX], (uint32_t)gpr[GPR_RBX],
                                 (uint32_t)gpr[GPR_RCX], (uint32_t)gpr[GPR_RDX]};
}

static void expect(uint32_t leaf, uint32_t subleaf, uint32_t eax, uint32_t ebx, uint32_t ecx,
                   uint32_t edx)
{
    struct cpuid_answer answer = cpuid_of(leaf, subleaf);

    assert_int_equal(answer.eax, eax);
    assert_int_equal(answer.ebx, ebx);
    assert_int_equal(answer.ecx, ecx);
    assert_int_equal(answer.edx, edx);
}

#define BITS_OF(...) bits_of((const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))
static uint32_t bits_of(const uint8_t *bits, size_t count)
{
    uint32_t word = 0;

    for (size_t i = 0; i < count; i++)
        word |= 1u << bits[i];
    return word;
}

/* What must not be seen, by name: each would make a guest use what it does not have. */
static void test_hidden(void **state)
{
    struct cpuid_answer answer;

    (void)state;
    answer = cpuid_of(1, 0);
    /* MONITOR VMX SMX TM2 PDCM PCID DCA OSXSAVE */
    assert_int_equal(answer.ecx & BITS_OF(3, 5, 6, 8, 15, 17, 18, 27), 0);
    /* MCE MCA DS ACPI HTT TM PBE */
    assert_int_equal(answer.edx & BITS_OF(7, 14, 21, 22, 28, 29, 31), 0);
    assert_int_equal(answer.ebx >> 16, 1); /* APIC id 0, one logical processor */
    assert_true(answer.ecx & CPUID_1_ECX_HYPERVISOR);
    answer = cpuid_of(7, 0);
    /* TSC_ADJUST SGX HLE INVPCID RTM PQM MPX AVX512F PT, the other AVX512 */
    assert_int_equal(
        answer.ebx & BITS_OF(1, 2, 4, 10, 11, 12, 14, 16, 17, 21, 25, 26, 27, 28, 30, 31), 0);
    assert_int_equal(answer.eax | answer.ecx | answer.edx, 0); /* UMIP PKU LA57 SPEC_CTRL */
    answer = cpuid_of(EXTENDED + 1, 0);
    assert_int_equal(answer.ecx & BITS_OF(2, 10), 0); /* SVM IBS */
}

/* The local APIC is our own: a guest sees all of it on any CPU. */
#define OUR_ECX BITS_OF(21, 24, 31) /* x2APIC, TSC deadline, hypervisor */
#define OUR_EDX BITS_OF(9)          /* APIC */

static void test_local_apic(void **state)
{
    (void)state;
    kit.apic.id = 0x5a;
    for (unsigned rich = 0; rich < 2; rich++) {
        every_bit = rich ? ~0u : 0;
        basic_last = rich ? 0x20 : 1; /* leaf B is above what the poor one has */
        kit.vp = (struct vp){.vm = &kit.vm, .apic = &kit.apic};
        vp_cpuid_init(&kit.vp);
        assert_int_equal(cpuid_of(1, 0).ecx & OUR_ECX, OUR_ECX);
        assert_int_equal(cpuid_of(1, 0).edx & OUR_EDX, OUR_EDX);
        assert_int_equal(cpuid_of(1, 0).ebx >> 16, 0x5a01);
        assert_true(cpuid_of(0, 0).eax >= 0xb);
        expect(6, 0, 1u << 2, 0, 0, 0); /* ARAT */
        expect(6, 1, 1u << 2, 0, 0, 0);
        expect(0xb, 0, 0, 1, 0x100, 0x5a);
        expect(0xb, 1, 0, 1, 0x201, 0x5a);
        expect(0xb, 2, 0, 0, 2, 0x5a);
        expect(0xb, 0x1234, 0, 0, 0x34, 0x5a);
        expect(0xb, ~0u, 0, 0, 0xff, 0x5a);
        if (!rich)
            expect(4, 0, 0, 0, 0, 0); /* not what the CPU says for a leaf that it has not */
    }
    vp_cpuid_set_apic(&kit.vp, false);
    assert_int_equal(cpuid_of(1, 0).edx & OUR_EDX, 0);
    assert_int_equal(cpuid_of(1, 0).ecx & OUR_ECX, OUR_ECX);
    vp_cpuid_set_apic(&kit.vp, true);
    assert_int_equal(cpuid_of(1, 0).edx & OUR_EDX, OUR_EDX);
}

/* What a 64-bit guest kernel leans on must come through. */
static void test_shown(void **state)
{
    struct cpuid_answer answer;

    (void)state;
    answer = cpuid_of(1, 0);
    /* SSE3 SSSE3 CX16 SSE4 POPCNT XSAVE AVX */
    assert_int_equal(~answer.ecx & BITS_OF(0, 9, 13, 19, 20, 23, 26, 28), 0);
    /* FPU PSE TSC MSR PAE CX8 SEP MTRR PGE CMOV PAT CLFSH MMX FXSR SSE SSE2 */
    assert_int_equal(
        ~answer.edx & BITS_OF(0, 3, 4, 5, 6, 8, 11, 12, 13, 15, 16, 19, 23, 24, 25, 26), 0);
    assert_int_equal(answer.ebx & 0xffff, 0xffff); /* the line size is in there */
    /* FSGSBASE BMI1 AVX2 SMEP BMI2 SMAP */
    assert_int_equal(~cpuid_of(7, 0).ebx & BITS_OF(0, 3, 5, 7, 8, 20), 0);
    /* SYSCALL NX 1GB RDTSCP LM */
    assert_int_equal(~cpuid_of(EXTENDED + 1, 0).edx & BITS_OF(11, 20, 26, 27, 29), 0);
    expect(EXTENDED + 7, 0, 0, 0, 0, 1u << 8); /* the TSC is invariant, and that is all */
}

static void test_limits(void **state)
{
    (void)state;
    expect(0, 0, 0xd, 'b', 'c', 'd');
    expect(EXTENDED, 0, EXTENDED + 8, 'b', 'c', 'd');
    /* No more guest-physical bits than the second-level tables have. */
    expect(EXTENDED + 8, 0, 0x3039 | PT_INPUT_BITS << 16, 0, 0, 0);
    basic_last = 7;
    extended_last = EXTENDED + 4;
    kit.vp = (struct vp){.vm = &kit.vm, .apic = &kit.apic};
    vp_cpuid_init(&kit.vp);
    expect(0, 0, 0xb, 'b', 'c', 'd'); /* the topology is ours */
    expect(EXTENDED, 0, EXTENDED + 4, 'b', 'c', 'd');
    expect(EXTENDED + 7, 0, 0, 0, 0, 0);
    assert_int_equal(kit.vp.xcr0_mask, 0);
}

static void test_range(void **state)
{
    static const uint32_t zero[] = {2,           3,          5,          8,          9,
                                    0xa,         0xc,        0xe,        0x14,       0x1f,
                                    0x3fffffff,  0x40000001, 0x4000ffff, 0x40010000, 0x7fffffff,
                                    0x80000009u, 0x8000001f, 0xffffffff};
    struct cpuid_answer answer;
    char name[13] = "";

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(zero); i++)
        for (uint32_t subleaf = 0; subleaf < 3; subleaf++)
            expect(zero[i], subleaf, 0, 0, 0, 0);
    expect(7, 1, 0, 0, 0, 0);
    expect(7, ~0u, 0, 0, 0, 0);
    answer = cpuid_of(0x40000000, 0);
    assert_int_equal(answer.eax, 0x40000000);
    memcpy(name, &answer.ebx, 4);
    memcpy(name + 4, &answer.ecx, 4);
    memcpy(name + 8, &answer.edx, 4);
    assert_string_equal(name, "BarvisorBrvs");
    assert_int_equal(kit.vm.stats.exits[HV_EXIT_CPUID], 3 * ARRAY_COUNT(zero) + 3);
}

static void test_subleaves(void **state)
{
    unsigned before;

    (void)state;
    for (uint32_t subleaf = 0; subleaf < 4; subleaf++) /* caches: nobody shares them */
        expect(4, subleaf, 0x3fff, ~0u, ~0u, ~0u);
    expect(0xd, 0, 7, 0x340, 832, 0); /* EBX: for the XCR0 in force, from the CPU */
    expect(0xd, 1, 1, 0, 0, 0);       /* XSAVEOPT, neither XSAVEC nor XSAVES */
    assert_int_equal(cpuid_of(0xd, 2).ebx, 0x240);
    for (uint32_t subleaf = 3; subleaf < 70; subleaf++)
        expect(0xd, subleaf, 0, 0, 0, 0);
    expect(0xd, ~0u, 0, 0, 0, 0);
    kit.vp.xcr0_mask = XCR0_X87 | XCR0_SSE;
    expect(0xd, 0, 3, 0x340, 576, 0);
    expect(0xd, 2, 0, 0, 0, 0);
    before =
        instructions; /* all other leaves are looked up: CPUID costs an exit under a hypervisor */
    cpuid_of(1, 0), cpuid_of(7, 0), cpuid_of(EXTENDED + 1, 0), cpuid_of(0x40000000, 0);
    assert_int_equal(instructions, before);
}

/* What CR4 takes and what CPUID tells go together. */
static void test_cr4_bits(void **state)
{
    const uint64_t always = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE |
                            CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT;

    (void)state;
    assert_int_equal(kit.vp.cr4_guest_bits,
                     always | CR4_OSXSAVE | CR4_FSGSBASE | CR4_SMEP | CR4_SMAP);
    every_bit = 0;
    kit.vp = (struct vp){.vm = &kit.vm, .apic = &kit.apic};
    vp_cpuid_init(&kit.vp);
    assert_int_equal(kit.vp.cr4_guest_bits, always);
    assert_int_equal(cpuid_of(1, 0).ecx, OUR_ECX);
}

static void test_osxsave(void **state)
{
    uint32_t plain = cpuid_of(1, 0).ecx;

    (void)state;
    assert_int_equal(plain & CPUID_1_ECX_OSXSAVE, 0); /* whatever the host's CR4 says */
    vp_cpuid_set_osxsave(&kit.vp, true);
    assert_int_equal(cpuid_of(1, 0).ecx, plain | CPUID_1_ECX_OSXSAVE);
    vp_cpuid_set_osxsave(&kit.vp, true);
    assert_int_equal(cpuid_of(1, 0).ecx, plain | CPUID_1_ECX_OSXSAVE);
    vp_cpuid_set_osxsave(&kit.vp, false);
    assert_int_equal(cpuid_of(1, 0).ecx, plain);
}

/* On this machine: a guest never sees a bit that the CPU has not, but for those that are ours. */
static void test_real_cpu(void **state)
{
    static const uint32_t leaves[] = {1, 7, EXTENDED + 1, EXTENDED + 7};

    (void)state;
    real = true;
    kit.vp = (struct vp){.vm = &kit.vm, .apic = &kit.apic};
    vp_cpuid_init(&kit.vp);
    for (unsigned i = 0; i < ARRAY_COUNT(leaves); i++) {
        struct cpuid_answer seen = cpuid_of(leaves[i], 0);
        struct cpuid_regs has = cpuid(leaves[i], 0);

        assert_int_equal(seen.edx & ~has.edx & ~(leaves[i] == 1 ? OUR_EDX : 0), 0);
        assert_int_equal(seen.ecx & ~has.ecx & ~(leaves[i] == 1 ? OUR_ECX : 0), 0);
        if (leaves[i] != 1)
            assert_int_equal(seen.ebx & ~has.ebx, 0);
    }
    assert_true(cpuid_of(EXTENDED + 1, 0).edx & 1u << 29); /* it runs this program */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rich, kit_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hidden),   TEST(test_local_apic), TEST(test_shown),
        TEST(test_limits),   TEST(test_range),      TEST(test_subleaves),
        TEST(test_cr4_bits), TEST(test_osxsave),    TEST(test_real_cpu),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
