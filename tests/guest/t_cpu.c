/* What CPU the guest sees: CPUID, instructions that are hidden, ports, exceptions. */
#include "tests/guest/guest.h"

static bool on_target(void)
{
    if (!on_barvisor())
        skip("not under the hypervisor");
    return on_barvisor();
}

struct bit {
    const char *text;
    uint32_t leaf;
    char reg; /* a b c d */
    unsigned bit;
    bool value;
};

static const struct bit bits[] = {
    {"hypervisor present", 1, 'c', 31, true},
    {"VMX hidden", 1, 'c', 5, false},
    {"SMX hidden", 1, 'c', 6, false},
    {"MONITOR hidden", 1, 'c', 3, false},
    {"x2APIC", 1, 'c', 21, true},
    {"TSC deadline", 1, 'c', 24, true},
    {"APIC", 1, 'd', 9, true},
    {"SVM hidden", 0x80000001u, 'c', 2, false},
    {"long mode", 0x80000001u, 'd', 29, true},
    {"PAT", 1, 'd', 16, true},
    {"MSRs", 1, 'd', 5, true},
    {"TSC", 1, 'd', 4, true},
};

static bool cpuid_bit(const struct bit *b)
{
    struct cpuid r = cpuid(b->leaf, 0);
    uint32_t v = b->reg == 'a' ? r.a : b->reg == 'b' ? r.b : b->reg == 'c' ? r.c : r.d;

    return (v >> b->bit) & 1;
}

static void cpuid_row(unsigned i)
{
    if (on_target())
        expect_eq("bit", cpuid_bit(&bits[i]), bits[i].value);
}

static void name_cpuid(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "CPUID: %s", bits[i].text);
}

static void signature(unsigned i)
{
    (void)i;
    if (!on_target())
        return;
    expect(cpuid(0x40000000u, 0).a >= 0x40000000u, "highest hypervisor leaf too low");
    for (uint32_t leaf = 0x40000001u; leaf < 0x40000100u; leaf++) {
        struct cpuid r = cpuid(leaf, 0);

        if (leaf > cpuid(0x40000000u, 0).a)
            expect_eq("leaf past the highest", r.a | r.b | r.c | r.d, 0);
    }
}

/* Every leaf answers, the upper halves of the registers are cleared. */
static void all_leaves(unsigned i)
{
    (void)i;
    for (uint32_t leaf = 0; leaf < 0x40; leaf++) {
        for (uint32_t sub = 0; sub < 4; sub++) {
            uint64_t a = leaf | 0xffffffff00000000ull, b = ~0ull, c = sub | 0xffffffff00000000ull,
                     d = ~0ull;

            __asm__ volatile("cpuid" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
            expect_eq("upper halves", (a | b | c | d) >> 32, 0);
            (void)cpuid(0x80000000u + leaf, sub);
        }
    }
}

static void osxsave(unsigned i)
{
    uint64_t cr4 = read_cr4(), bit = 1ull << 18;

    (void)i;
    if (!(cpuid(1, 0).c & (1u << 26))) {
        skip("no XSAVE");
        return;
    }
    expect_eq("off", (cpuid(1, 0).c >> 27) & 1, (cr4 & bit) != 0);
    expect_eq("fault", (uint64_t)(int64_t)try_write_cr4(cr4 | bit), ~0ull);
    expect_eq("on", (cpuid(1, 0).c >> 27) & 1, 1);
    (void)try_write_cr4(cr4 & ~bit);
    expect_eq("off again", (cpuid(1, 0).c >> 27) & 1, 0);
    (void)try_write_cr4(cr4);
}

/* ---- hidden instructions ---- */

static uint8_t area[4096] __attribute__((aligned(4096)));

#define INSN(function, text)                                                \
    static void function(void *arg)                                         \
    {                                                                       \
        __asm__ volatile(text ::"a"(arg), "c"(0), "d"(0) : "memory", "cc"); \
    }
INSN(do_vmxon, ".byte 0xf3, 0x0f, 0xc7, 0x30") /* vmxon [rax] */
INSN(do_vmxoff, ".byte 0x0f, 0x01, 0xc4")
INSN(do_vmcall, ".byte 0x0f, 0x01, 0xc1")
INSN(do_vmlaunch, ".byte 0x0f, 0x01, 0xc2")
INSN(do_vmresume, ".byte 0x0f, 0x01, 0xc3")
INSN(do_vmclear, ".byte 0x66, 0x0f, 0xc7, 0x30")
INSN(do_vmptrld, ".byte 0x0f, 0xc7, 0x30")
INSN(do_vmptrst, ".byte 0x0f, 0xc7, 0x38")
INSN(do_vmread, ".byte 0x0f, 0x78, 0xca") /* vmread rdx, rcx */
INSN(do_vmwrite, ".byte 0x0f, 0x79, 0xca")
INSN(do_invept, ".byte 0x66, 0x0f, 0x38, 0x80, 0x08")
INSN(do_invvpid, ".byte 0x66, 0x0f, 0x38, 0x81, 0x08")
INSN(do_vmfunc, ".byte 0x0f, 0x01, 0xd4")
INSN(do_vmrun, ".byte 0x0f, 0x01, 0xd8")
INSN(do_vmmcall, ".byte 0x0f, 0x01, 0xd9")
INSN(do_vmload, ".byte 0x0f, 0x01, 0xda")
INSN(do_vmsave, ".byte 0x0f, 0x01, 0xdb")
INSN(do_stgi, ".byte 0x0f, 0x01, 0xdc")
INSN(do_clgi, ".byte 0x0f, 0x01, 0xdd")
INSN(do_invlpga, ".byte 0x0f, 0x01, 0xdf")
INSN(do_monitor, ".byte 0x0f, 0x01, 0xc8")
INSN(do_mwait, ".byte 0x0f, 0x01, 0xc9")
INSN(do_getsec, ".byte 0x0f, 0x37")
INSN(do_rsm, ".byte 0x0f, 0xaa")

static const struct {
    const char *text;
    void (*run)(void *);
} hidden[] = {
    {"VMXON", do_vmxon},       {"VMXOFF", do_vmxoff},     {"VMCALL", do_vmcall},
    {"VMLAUNCH", do_vmlaunch}, {"VMRESUME", do_vmresume}, {"VMCLEAR", do_vmclear},
    {"VMPTRLD", do_vmptrld},   {"VMPTRST", do_vmptrst},   {"VMREAD", do_vmread},
    {"VMWRITE", do_vmwrite},   {"INVEPT", do_invept},     {"INVVPID", do_invvpid},
    {"VMFUNC", do_vmfunc},     {"VMRUN", do_vmrun},       {"VMMCALL", do_vmmcall},
    {"VMLOAD", do_vmload},     {"VMSAVE", do_vmsave},     {"STGI", do_stgi},
    {"CLGI", do_clgi},         {"INVLPGA", do_invlpga},   {"MONITOR", do_monitor},
    {"MWAIT", do_mwait},       {"GETSEC", do_getsec},     {"RSM", do_rsm},
};

static void hidden_row(unsigned i)
{
    if (on_target())
        expect_eq("vector", (uint64_t)(int64_t)trap_try(hidden[i].run, area), VEC_UD);
}

static void name_hidden(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%s gives #UD", hidden[i].text);
}

/* ---- ports ---- */

static void ports(unsigned i)
{
    static const uint16_t nobody[] = {0x0060, 0x0070, 0x02e9, 0x1234, 0x5678, 0xffff, 0x0cfb};

    (void)i;
    if (!on_target())
        return;
    for (unsigned k = 0; k < COUNT_OF(nobody); k++) {
        outb(nobody[k], 0x12);
        expect_eq("byte", inb(nobody[k]), 0xff);
        if (nobody[k] < 0xfff0 && nobody[k] != 0x0cfb) {
            outw(nobody[k], 0x1234);
            expect_eq("word", inw(nobody[k]), 0xffff);
            outl(nobody[k], 0x12345678);
            expect_eq("dword", inl(nobody[k]), 0xffffffff);
        }
    }
}

/* IN of a byte or a word keeps the upper bits of RAX, of a dword clears them. */
static void port_upper_bits(unsigned i)
{
    uint64_t v = 0x1122334455667788ull;

    (void)i;
    if (!on_target())
        return;
    __asm__ volatile("inb %%dx, %%al" : "+a"(v) : "d"((uint16_t)0x1234));
    expect_eq("byte", v, 0x11223344556677ffull);
    v = 0x1122334455667788ull;
    __asm__ volatile("inw %%dx, %%ax" : "+a"(v) : "d"((uint16_t)0x1234));
    expect_eq("word", v, 0x112233445566ffffull);
    v = 0x1122334455667788ull;
    __asm__ volatile("inl %%dx, %%eax" : "+a"(v) : "d"((uint16_t)0x1234));
    expect_eq("dword", v, 0xffffffffull);
}

/* ---- exceptions reach the guest as the CPU gives them ---- */

static void do_ud2(void *arg)
{
    (void)arg;
    __asm__ volatile("ud2");
}
static void do_int3(void *arg)
{
    (void)arg;
    __asm__ volatile("int3");
}
static void do_divide(void *arg)
{
    (void)arg;
    __asm__ volatile("xorl %%ecx, %%ecx\n\tdivl %%ecx" ::: "eax", "ecx", "edx");
}
static void do_gp(void *arg)
{
    (void)arg;
    (void)load(0x8000000000000000ull, 4);
}
static void do_pf(void *arg)
{
    (void)arg;
    store(0x123456789000ull, 4, 0);
}

static void exceptions(unsigned i)
{
    static const struct {
        void (*run)(void *);
        uint64_t vector, error;
    } rows[] = {{do_ud2, VEC_UD, 0},
                {do_int3, VEC_BP, 0},
                {do_divide, VEC_DE, 0},
                {do_gp, VEC_GP, 0},
                {do_pf, VEC_PF, 2}};

    (void)i;
    for (unsigned k = 0; k < COUNT_OF(rows); k++) {
        expect_eq("vector", (uint64_t)(int64_t)trap_try(rows[k].run, NULL), rows[k].vector);
        expect_eq("error code", trap_last.error, rows[k].error);
    }
    expect_eq("fault address", trap_cr2, 0x123456789000ull);
}

static void caches(unsigned i)
{
    static volatile uint64_t word;

    (void)i;
    word = 0xcafe;
    __asm__ volatile("wbinvd" ::: "memory");
    expect_eq("after WBINVD", word, 0xcafe);
    if (on_barvisor()) {
        word = 0xbeef;
        __asm__ volatile("invd" ::: "memory");
        expect_eq("after INVD, which must not lose lines", word, 0xbeef);
    }
}

static const struct check list[] = {
    {"cpu", NULL, name_cpuid, COUNT_OF(bits), false, cpuid_row},
    {"cpu", "CPUID: hypervisor leaves", NULL, 0, false, signature},
    {"cpu", "CPUID: every leaf answers in 32 bits", NULL, 0, false, all_leaves},
    {"cpu", "CPUID: OSXSAVE follows CR4", NULL, 0, false, osxsave},
    {"cpu", NULL, name_hidden, COUNT_OF(hidden), false, hidden_row},
    {"cpu", "ports of nobody read ones", NULL, 0, false, ports},
    {"cpu", "IN keeps or clears the upper bits of RAX", NULL, 0, false, port_upper_bits},
    {"cpu", "exceptions with their codes", NULL, 0, false, exceptions},
    {"cpu", "WBINVD and INVD", NULL, 0, false, caches},
};
const struct check_list checks_cpu = {list, COUNT_OF(list)};
