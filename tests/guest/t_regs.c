/* MSRs and control registers: what was written reads back, what is reserved gives #GP. */
#include "tests/guest/guest.h"

#define MSR_EFER      0xc0000080u
#define MSR_FS_BASE   0xc0000100u
#define MSR_GS_BASE   0xc0000101u
#define MSR_KERNEL_GS 0xc0000102u
#define EFER_SCE      0x001ull
#define EFER_LME      0x100ull
#define EFER_LMA      0x400ull
#define EFER_NXE      0x800ull
#define CR0_NE        (1ull << 5)
#define CR0_WP        (1ull << 16)
#define CR0_NW        (1ull << 29)
#define CR0_CD        (1ull << 30)
#define CR0_PG        (1ull << 31)
#define CR4_PAE       (1ull << 5)
#define CR4_VMXE      (1ull << 13)
#define CR4_SMXE      (1ull << 14)
#define CR4_OSXSAVE   (1ull << 18)
#define FINE          (~0ull)
#define RESET_PAT     0x0007040600070406ull

static uint64_t vector(int v)
{
    return (uint64_t)(int64_t)v;
}

static bool on_target(void)
{
    if (!on_barvisor())
        skip("not under the hypervisor");
    return on_barvisor();
}

static void entry(unsigned i)
{
    (void)i;
    if (!on_target())
        return;
    expect_eq("CR0", entry_state[1] & ~0x10u, 1); /* PE; ET is hardwired */
    expect_eq("CR4", entry_state[2], 0);
    expect_eq("EFLAGS without CLI's IF", entry_state[3] & ~0xd5u, 2 & ~0xd5u);
    expect_eq("PAT", pat_at_entry, RESET_PAT);
}

static void pat_values(unsigned i)
{
    (void)i;
    for (unsigned slot = 0; slot < 8; slot++) {
        for (uint64_t type = 0; type < 0x100; type++) {
            uint64_t v = (RESET_PAT & ~(0xffull << (8 * slot))) | type << (8 * slot);
            bool legal = type < 8 && type != 2 && type != 3;
            uint64_t got;

            wrmsr(MSR_PAT, RESET_PAT);
            if (!legal && !on_barvisor())
                continue; /* QEMU lets them pass */
            expect_eq("vector", vector(try_wrmsr(MSR_PAT, v)), legal ? FINE : VEC_GP);
            expect_eq("read", vector(try_rdmsr(MSR_PAT, &got)), FINE);
            expect_eq("PAT", got, legal ? v : RESET_PAT);
        }
    }
    wrmsr(MSR_PAT, GUEST_PAT);
}

static void efer(unsigned i)
{
    uint64_t v = rdmsr(MSR_EFER);

    (void)i;
    expect_eq("LME and LMA", v & (EFER_LME | EFER_LMA), EFER_LME | EFER_LMA);
    wrmsr(MSR_EFER, v | EFER_SCE);
    expect_eq("SCE", rdmsr(MSR_EFER), v | EFER_SCE);
    if (cpuid(0x80000001u, 0).d & (1u << 20)) {
        wrmsr(MSR_EFER, v | EFER_NXE);
        expect_eq("NXE", rdmsr(MSR_EFER), v | EFER_NXE);
    }
    wrmsr(MSR_EFER, v);
    expect_eq("back", rdmsr(MSR_EFER), v);
    if (!on_barvisor())
        return;
    expect_eq("LME off while paging", vector(try_wrmsr(MSR_EFER, v & ~EFER_LME)), VEC_GP);
    expect_eq("reserved bit 1", vector(try_wrmsr(MSR_EFER, v | 2)), VEC_GP);
    expect_eq("SVME", vector(try_wrmsr(MSR_EFER, v | 1 << 12)), VEC_GP);
    expect_eq("bit 63", vector(try_wrmsr(MSR_EFER, v | 1ull << 63)), VEC_GP);
    expect_eq("unchanged", rdmsr(MSR_EFER), v);
}

struct msr_row {
    uint32_t msr;
    uint64_t value;
    bool canonical; /* an address: a non-canonical one gives #GP */
};

static const struct msr_row msrs[] = {
    {MSR_FS_BASE, 0xffff812345678000ull, true},   {MSR_GS_BASE, 0x00007fffffffe123ull, true},
    {MSR_KERNEL_GS, 0xffffffff80000001ull, true}, {0xc0000081u, 0x0023001000000000ull, false},
    {0xc0000082u, 0xffffffff81234567ull, true},   {0xc0000083u, 0x0000000012345678ull, true},
    {0xc0000084u, 0x0000000000047700ull, false},  {0x174u, 0x10, false},
    {0x175u, 0xffff800000001000ull, true},        {0x176u, 0x0000000000401000ull, true},
};

static void msr_row(unsigned i)
{
    const struct msr_row *r = &msrs[i];
    uint64_t before, got;

    expect_eq("read", vector(try_rdmsr(r->msr, &before)), FINE);
    expect_eq("write", vector(try_wrmsr(r->msr, r->value)), FINE);
    expect_eq("read", vector(try_rdmsr(r->msr, &got)), FINE);
    expect_eq("value", got, r->value);
    if (r->canonical && on_barvisor() && !quirk_canonical) {
        expect_eq("not canonical", vector(try_wrmsr(r->msr, 0x0000800000000000ull)), VEC_GP);
        expect_eq("unchanged", rdmsr(r->msr), r->value);
    }
    (void)try_wrmsr(r->msr, before);
}

static void name_msr(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "MSR 0x%x reads back", msrs[i].msr);
}

static void fs_gs_used(unsigned i)
{
    static uint64_t words[2] = {0x1111, 0x2222};
    uint64_t a, b;

    (void)i;
    wrmsr(MSR_FS_BASE, (uint64_t)(uintptr_t)words);
    wrmsr(MSR_GS_BASE, (uint64_t)(uintptr_t)(words + 1));
    wrmsr(MSR_KERNEL_GS, (uint64_t)(uintptr_t)words);
    __asm__ volatile("movq %%fs:0, %0" : "=r"(a));
    __asm__ volatile("movq %%gs:0, %0" : "=r"(b));
    expect_eq("FS", a, words[0]);
    expect_eq("GS", b, words[1]);
    __asm__ volatile("swapgs\n\tmovq %%gs:0, %0" : "=r"(b)::"memory");
    expect_eq("GS after SWAPGS", b, words[0]);
    expect_eq("KERNEL_GS after SWAPGS", rdmsr(MSR_KERNEL_GS), (uint64_t)(uintptr_t)(words + 1));
    wrmsr(MSR_FS_BASE, 0);
    wrmsr(MSR_GS_BASE, 0);
    wrmsr(MSR_KERNEL_GS, 0);
}

static void unknown_msrs(unsigned i)
{
    static const uint32_t unknown[] = {0x12345678u, 0x00000480u, 0xc0010117u,
                                       0xc0001fffu, 0x40000000u, 0xffffffffu};
    uint64_t v;

    (void)i;
    if (!on_target())
        return;
    for (unsigned k = 0; k < COUNT_OF(unknown); k++) {
        expect_eq("RDMSR", vector(try_rdmsr(unknown[k], &v)), VEC_GP);
        expect_eq("error code", trap_last.error, 0);
        expect_eq("WRMSR", vector(try_wrmsr(unknown[k], 0)), VEC_GP);
    }
}

/* ---- control registers ---- */

static const uint8_t cr0_bits[] = {1, 2, 3, 5, 16, 18, 30}; /* MP EM TS NE WP AM CD */

static void cr0(unsigned i)
{
    uint64_t v = read_cr0();

    (void)i;
    for (unsigned k = 0; k < COUNT_OF(cr0_bits) && !failed(); k++) {
        uint64_t changed = v ^ 1ull << cr0_bits[k];

        expect_eq("vector", vector(try_write_cr0(changed)), FINE);
        expect_eq("CR0", read_cr0(), changed);
        expect_eq("vector", vector(try_write_cr0(v)), FINE);
        expect_eq("CR0 back", read_cr0(), v);
    }
    expect_eq("CD and NW", vector(try_write_cr0(v | CR0_CD | CR0_NW)), FINE);
    expect_eq("CR0", read_cr0(), v | CR0_CD | CR0_NW);
    (void)try_write_cr0(v);
    if (!on_barvisor())
        return; /* QEMU checks none of the rest */
    expect_eq("NW without CD", vector(try_write_cr0(v | CR0_NW)), VEC_GP);
    expect_eq("PE off", vector(try_write_cr0(v & ~1ull)), VEC_GP);
    expect_eq("bit 32", vector(try_write_cr0(v | 1ull << 32)), VEC_GP);
    expect_eq("unchanged", read_cr0(), v);
}

static void clts_lmsw(unsigned i)
{
    uint64_t v = read_cr0();

    (void)i;
    (void)try_write_cr0(v | 8);
    __asm__ volatile("clts");
    expect_eq("after CLTS", read_cr0(), v & ~8ull);
    __asm__ volatile("lmsw %w0" ::"r"((uint16_t)((v & 0xf) | 4)));
    expect_eq("after LMSW with EM", read_cr0(), v | 4);
    __asm__ volatile("lmsw %w0" ::"r"((uint16_t)0));
    expect_eq("LMSW cannot clear PE", read_cr0() & 1, 1);
    (void)try_write_cr0(v);
}

static void cr4(unsigned i)
{
    uint64_t v = read_cr4();
    static const uint8_t always[] = {0, 1, 2, 3, 4, 7, 9, 10}; /* VME PVI TSD DE PSE PGE FXSR XMM */

    (void)i;
    for (unsigned k = 0; k < COUNT_OF(always) && !failed(); k++) {
        uint64_t changed = v ^ 1ull << always[k];

        expect_eq("vector", vector(try_write_cr4(changed)), FINE);
        expect_eq("CR4", read_cr4(), changed);
        (void)try_write_cr4(v);
    }
    if (on_barvisor()) /* QEMU obeys */
        expect_eq("PAE off", vector(try_write_cr4(v & ~CR4_PAE)), VEC_GP);
    expect_eq("unchanged", read_cr4(), v);
}

static void cr4_features(unsigned i)
{
    struct cpuid one = cpuid(1, 0), seven = cpuid(7, 0);
    const struct {
        unsigned bit;
        uint32_t have;
    } rows[] = {
        {11, seven.c >> 2},
        {12, seven.c >> 16},
        {13, one.c >> 5},
        {14, one.c >> 6},
        {16, seven.b},
        {17, one.c >> 17},
        {18, one.c >> 26},
        {20, seven.b >> 7},
        {21, seven.b >> 20},
        {22, seven.c >> 3},
        {23, seven.c >> 7},
        {24, seven.c >> 31},
        {15, 0},
        {19, seven.c >> 23},
        {31, 0},
        {32, 0},
        {63, 0},
    };
    uint64_t v = read_cr4();

    (void)i;
    if (!on_target())
        return;
    for (unsigned k = 0; k < COUNT_OF(rows) && !failed(); k++) {
        bool have = rows[k].have & 1;
        uint64_t changed = v | 1ull << rows[k].bit;

        if (rows[k].bit == 12 && have)
            continue; /* LA57 cannot change in long mode */
        if (!expect_eq("vector", vector(try_write_cr4(changed)), have ? FINE : VEC_GP))
            fail("CR4 bit %u", rows[k].bit);
        expect_eq("CR4", read_cr4(), have ? changed : v);
        (void)try_write_cr4(v);
    }
}

static void cr8(unsigned i)
{
    (void)i;
    for (uint64_t v = 0; v < 16; v++) {
        expect_eq("write", vector(try_write_cr8(v)), FINE);
        expect_eq("CR8", read_cr8(), v);
    }
    (void)try_write_cr8(0);
    if (on_barvisor())
        expect_eq("16", vector(try_write_cr8(16)), VEC_GP);
}

static void xcr0(unsigned i)
{
    uint64_t mask, v = read_cr4();
    uint64_t legal[] = {1, 3, 7};
    uint64_t bad[] = {0, 2, 5, 1ull << 62 | 1, 1ull << 63 | 1, 1ull << 10 | 1};

    (void)i;
    if (!(cpuid(1, 0).c & (1u << 26))) {
        skip("no XSAVE");
        return;
    }
    mask = cpuid(0xd, 0).a;
    expect_eq("XSETBV without OSXSAVE", vector(try_xsetbv(0, 1)), VEC_UD);
    (void)try_write_cr4(v | CR4_OSXSAVE);
    expect_eq("XCR0 at first", xgetbv(0), 1);
    for (unsigned k = 0; k < COUNT_OF(legal); k++) {
        bool fine = (legal[k] & ~mask) == 0;

        expect_eq("legal value", vector(try_xsetbv(0, legal[k])), fine ? FINE : VEC_GP);
        if (fine)
            expect_eq("XCR0", xgetbv(0), legal[k]);
    }
    (void)try_xsetbv(0, 1);
    for (unsigned k = 0; k < COUNT_OF(bad); k++)
        if (k < 3 || on_barvisor())
            expect_eq("bad value", vector(try_xsetbv(0, bad[k])), VEC_GP);
    expect_eq("XCR1", vector(try_xsetbv(1, 1)), VEC_GP);
    expect_eq("unchanged", xgetbv(0), 1);
    (void)try_write_cr4(v);
}

/* CR0.WP and CR3 writes do what they say: a read-only page, a table change. */
static void store_tmp(void *arg)
{
    (void)arg;
    store(GVA_TMP, 4, 1);
}

static void paging_works(unsigned i)
{
    static uint8_t page[2][4096] __attribute__((aligned(4096)));
    uint64_t v = read_cr0();

    (void)i;
    map(GVA_TMP, (uint64_t)(uintptr_t)page[0], PAGE, PAGE, 0);
    *entry_of(GVA_TMP, 1) &= ~2ull;
    invlpg(GVA_TMP);
    expect_eq("read-only page", vector(trap_try(store_tmp, NULL)), VEC_PF);
    expect_eq("error code", trap_last.error, 3);
    (void)try_write_cr0(v & ~CR0_WP);
    expect_eq("without WP", vector(trap_try(store_tmp, NULL)), FINE);
    (void)try_write_cr0(v);
    page[0][0] = 1;
    page[1][0] = 2;
    *entry_of(GVA_TMP, 1) = (uint64_t)(uintptr_t)page[1] | 3;
    write_cr3(read_cr3());
    expect_eq("after CR3", load(GVA_TMP, 1), 2);
    unmap(GVA_TMP, PAGE, PAGE);
}

static const struct check list[] = {
    {"regs", "registers at the PVH entry", NULL, 0, false, entry},
    {"regs", "PAT: every byte value in every slot", NULL, 0, false, pat_values},
    {"regs", "EFER", NULL, 0, false, efer},
    {"regs", NULL, name_msr, COUNT_OF(msrs), false, msr_row},
    {"regs", "FS, GS and SWAPGS", NULL, 0, false, fs_gs_used},
    {"regs", "unknown MSRs give #GP", NULL, 0, false, unknown_msrs},
    {"regs", "CR0 reads back what was written", NULL, 0, false, cr0},
    {"regs", "CLTS and LMSW", NULL, 0, false, clts_lmsw},
    {"regs", "CR4 reads back what was written", NULL, 0, false, cr4},
    {"regs", "CR4 bits without a feature give #GP", NULL, 0, false, cr4_features},
    {"regs", "CR8", NULL, 0, false, cr8},
    {"regs", "XCR0: legal values, bad values", NULL, 0, false, xcr0},
    {"regs", "CR0.WP and CR3", NULL, 0, false, paging_works},
};
const struct check_list checks_regs = {list, COUNT_OF(list)};
