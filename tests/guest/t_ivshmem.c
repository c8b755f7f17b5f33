/*
 * ivshmem, as QEMU's docs/specs/ivshmem-spec.rst describes it (revision 1). The checks of the plain device run on QEMU's own
 * and on ours. t_peers.c has the doorbell.
 */
#include "tests/guest/pci.h"

#define SHARE_VENDOR 0x1af4u
#define SHARE_DEVICE 0x1110u
#define REGISTERS    0x100u
#define R_MASK       0x00u
#define R_STATUS     0x04u
#define R_POSITION   0x08u
#define R_DOORBELL   0x0cu
#define MOST_BYTES   0x1000000ull /* of the memory that is looked at */

static struct pci_function plain;
static uint64_t memory_bytes;

/* The plain one has no BAR1; that is where the doorbell's MSI-X table is. */
bool share_find(struct pci_function *f, bool doorbell, unsigned nth)
{
    for (unsigned n = 0; pci_find(f, SHARE_VENDOR, SHARE_DEVICE, n); n++)
        if ((f->bar[1].bytes != 0) == doorbell && nth-- == 0)
            return true;
    f->present = false;
    return false;
}

uint64_t share_word(uint64_t page, unsigned id)
{
    return mark_of(id, page) * 3;
}

static void look(void)
{
    if (!share_find(&plain, false, 0))
        return;
    memory_bytes = plain.bar[2].bytes < MOST_BYTES ? plain.bar[2].bytes : MOST_BYTES;
    bar_show(&plain, 0, GVA_SHARE_REGS, PAGE, PAGE, PAT_UC);
    bar_show(&plain, 2, GVA_SHARE, memory_bytes, PAGE, PAT_WB);
}

static bool ready(void)
{
    static bool looked;

    if (!looked) {
        looked = true;
        look();
    }
    if (!plain.present)
        skip("no ivshmem-plain device");
    return plain.present;
}

/* The registers may begin in the middle of a page. */
static uint64_t regs(void)
{
    return GVA_SHARE_REGS + plain.bar[0].base % PAGE;
}

static uint64_t get(unsigned offset)
{
    return load(regs() + offset, 4);
}

static void put(unsigned offset, uint64_t value)
{
    store(regs() + offset, 4, value);
}

static void identity(unsigned i)
{
    (void)i;
    if (!ready())
        return;
    expect_eq("revision and class", config_get(&plain, CFG_REVISION, 4), 0x05000001);
    expect_eq("header type", config_get(&plain, CFG_HEADER_TYPE, 1), 0);
    expect_eq("subsystem", config_get(&plain, CFG_SUBSYSTEM, 4), 0x11001af4);
    expect_eq("bytes of BAR0", plain.bar[0].bytes, REGISTERS);
    expect(!plain.bar[0].io && !plain.bar[0].wide && !plain.bar[0].prefetchable,
           "BAR0 is 32-bit memory that is not prefetchable");
    expect(plain.bar[2].bytes >= PAGE && (plain.bar[2].bytes & (plain.bar[2].bytes - 1)) == 0,
           "BAR2 is a power of two");
    expect(!plain.bar[2].io && plain.bar[2].wide && plain.bar[2].prefetchable,
           "BAR2 is 64-bit memory that is prefetchable");
    for (unsigned bar = 1; bar < PCI_BARS; bar += bar == 1 ? 2 : 1)
        expect_eq("another BAR", plain.bar[bar].bytes, 0);
    expect_eq("MSI-X", capability_find(&plain, CAP_MSIX), 0);
}

/* Bit 0 is the peer's interrupt, the others are reserved. */
static void registers(unsigned i)
{
    (void)i;
    if (!ready())
        return;
    expect_eq("position", get(R_POSITION), 0);
    put(R_POSITION, 5);
    expect_eq("position, written to", get(R_POSITION), 0);
    put(R_MASK, 1);
    expect_eq("mask set", get(R_MASK) & 1, 1);
    put(R_MASK, 0);
    expect_eq("mask clear", get(R_MASK), 0);
    put(R_STATUS, 1);
    expect_eq("status, written to", get(R_STATUS) & 1, 1);
    expect_eq("status, read before", get(R_STATUS), 0);
    expect_eq("doorbell", get(R_DOORBELL), 0);
}

/* A doorbell of nobody: no peer, no vector. */
static void rings_nobody(unsigned i)
{
    (void)i;
    if (!ready())
        return;
    put(R_DOORBELL, 0);
    put(R_DOORBELL, 0x00010000);
    put(R_DOORBELL, 0xffffffff);
    expect_eq("status", get(R_STATUS), 0);
}

static void reserved(unsigned i)
{
    (void)i;
    if (!ready())
        return;
    for (unsigned o = 0x10; o < REGISTERS; o += 4) {
        put(o, 0x12345678);
        if (!expect_eq("a reserved register", get(o), 0))
            return;
    }
    expect_eq("mask", get(R_MASK), 0);
    expect_eq("status", get(R_STATUS), 0);
}

/* ---- the memory ---- */

static uint64_t accesses_seen(void)
{
    expect_status("statistics", LAB0(LAB_CMD_VM_STATS), HV_OK);
    return lab_result(1) + lab_result(2);
}

void without_traps(void (*body)(void))
{
    uint64_t before, asking;

    if (!lab.present) {
        body();
        return;
    }
    before = accesses_seen();
    asking = accesses_seen() - before; /* the question is accesses, too */
    before = accesses_seen();
    body();
    expect_eq("accesses that a device saw", accesses_seen() - before, asking);
}

static void pages_body(void)
{
    for (unsigned id = 0; id < 2; id++) {
        for (uint64_t p = 0; p < memory_bytes / PAGE; p++) {
            store(GVA_SHARE + p * PAGE, 8, share_word(p, id));
            store(GVA_SHARE + p * PAGE + PAGE - 8, 8, ~share_word(p, id));
        }
        for (uint64_t p = 0; p < memory_bytes / PAGE; p++)
            if (!expect_eq("first word of a page", load(GVA_SHARE + p * PAGE, 8),
                           share_word(p, id)) ||
                !expect_eq("last word", load(GVA_SHARE + p * PAGE + PAGE - 8, 8),
                           ~share_word(p, id)))
                return;
    }
}

static void every_page(unsigned i)
{
    (void)i;
    if (ready())
        without_traps(pages_body);
}

static void widths_body(void)
{
    for (uint64_t at = GVA_SHARE + PAGE - 16; at < GVA_SHARE + PAGE + 16; at++) {
        for (unsigned bytes = 1; bytes <= 8; bytes *= 2) {
            store(at - 8, 8, 0);
            store(at, 8, 0);
            store(at + 8, 8, 0);
            store(at, bytes, 0x8877665544332211);
            if (!expect_eq("what was stored", load(at, 8), 0x8877665544332211 & ones(bytes)) ||
                !expect_eq("before it", load(at - 8, 8), 0) ||
                !expect_eq("behind it", load(at + 8, 8), 0) ||
                !expect_eq("a part of it", load(at, bytes), 0x8877665544332211 & ones(bytes)))
                return;
        }
    }
}

static void widths(unsigned i)
{
    (void)i;
    if (ready())
        without_traps(widths_body);
}

static void strings_body(void)
{
    uint64_t to = GVA_SHARE + 3, from = GVA_SHARE + 3, count = 2 * PAGE + 5;

    store(GVA_SHARE, 8, 0);
    store(GVA_SHARE + 2 * PAGE, 8, 0);
    store(GVA_SHARE + 2 * PAGE + 8, 8, 0);
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(0x5a) : "memory");
    expect_eq("the first bytes", load(GVA_SHARE, 4), 0x5a000000);
    expect_eq("the last bytes", load(GVA_SHARE + 2 * PAGE + 4, 8), 0x5a5a5a5a);
    for (uint64_t o = 3; o < 2 * PAGE + 8; o += 61)
        expect_eq("stored", load(GVA_SHARE + o, 1), 0x5a);
    for (uint64_t o = 0; o < 2 * PAGE; o += 8)
        store(GVA_SHARE + o, 8, share_word(o, 4));
    to = GVA_SHARE + 4 * PAGE + 5;
    count = 2 * PAGE / 8 - 1;
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count)::"memory");
    for (uint64_t o = 0; o < 2 * PAGE - 16; o += 8)
        if (!expect_eq("copied", load(GVA_SHARE + 4 * PAGE + 5 + o, 8), load(GVA_SHARE + 3 + o, 8)))
            return;
    to = GVA_SHARE;
    from = GVA_SHARE + 2 * PAGE;
    count = PAGE / 4;
    __asm__ volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(0x01020304) : "memory");
    expect_eq("stored by four bytes", load(GVA_SHARE + PAGE - 8, 8), 0x0102030401020304);
    expect_eq("and no more", load(GVA_SHARE + PAGE, 8), share_word(PAGE, 4));
}

static void strings(unsigned i)
{
    (void)i;
    if (ready())
        without_traps(strings_body);
}

static void locked_body(void)
{
    uint64_t at = GVA_SHARE + 0x40, v = 5, expected = 100;
    uint8_t swapped;

    store(at, 8, 100);
    __asm__ volatile("lock xaddq %0, (%1)" : "+r"(v) : "r"(at) : "memory");
    expect_eq("before XADD", v, 100);
    expect_eq("after XADD", load(at, 8), 105);
    __asm__ volatile("lock xaddl %k0, (%1)" : "+r"(v) : "r"(at) : "memory");
    expect_eq("after XADD of four bytes", load(at, 8), 205);
    __asm__ volatile("lock cmpxchgq %3, (%2)\n\tsetz %1"
                     : "+a"(expected), "=q"(swapped)
                     : "r"(at), "r"(7ull)
                     : "memory", "cc");
    expect_eq("CMPXCHG of another value", swapped, 0);
    expect_eq("what it found", expected, 205);
    __asm__ volatile("lock cmpxchgq %3, (%2)\n\tsetz %1"
                     : "+a"(expected), "=q"(swapped)
                     : "r"(at), "r"(7ull)
                     : "memory", "cc");
    expect_eq("CMPXCHG of the same", swapped, 1);
    v = 9;
    __asm__ volatile("xchgq %0, (%1)" : "+r"(v) : "r"(at) : "memory");
    expect_eq("XCHG", v, 7);
    __asm__ volatile("lock incq (%0)\n\tlock btsq $63, (%0)" ::"r"(at) : "memory", "cc");
    expect_eq("INC and BTS", load(at, 8), 0x800000000000000a);
}

static void locked(unsigned i)
{
    (void)i;
    if (ready())
        without_traps(locked_body);
}

/* Registers 0 to 3 hold nothing of the compiler's: it uses none. */
static void streaming_body(void)
{
    static const uint64_t two[2]
        __attribute__((aligned(16))) = {0x1111222233334444, 0x5555666677778888};
    uint64_t at = GVA_SHARE + 0x200;

    for (unsigned o = 0; o < 0x80; o += 8)
        store(at + o, 8, 0);
    __asm__ volatile(
        "movntiq %0, (%1)\n\tmovntil %k0, 8(%1)\n\tsfence" ::"r"(0xabcdef0123456789ull), "r"(at)
        : "memory");
    expect_eq("MOVNTI", load(at, 8), 0xabcdef0123456789);
    expect_eq("MOVNTI of four bytes", load(at + 8, 8), 0x23456789);
    vectors_on();
    __asm__ volatile("movaps (%0), %%xmm0\n\tmovaps %%xmm0, 16(%1)\n\tmovups %%xmm0, 33(%1)\n\t"
                     "movntdq %%xmm0, 64(%1)\n\tmovntps %%xmm0, 80(%1)\n\tsfence\n\t"
                     "movaps 64(%1), %%xmm1\n\tmovdqa %%xmm1, 96(%1)" ::"r"(two),
                     "r"(at)
                     : "memory");
    vectors_off();
    for (unsigned k = 0; k < 2; k++) {
        expect_eq("MOVAPS", load(at + 16 + 8 * k, 8), two[k]);
        expect_eq("MOVUPS", load(at + 33 + 8 * k, 8), two[k]);
        expect_eq("MOVNTDQ", load(at + 64 + 8 * k, 8), two[k]);
        expect_eq("MOVNTPS", load(at + 80 + 8 * k, 8), two[k]);
        expect_eq("MOVAPS back", load(at + 96 + 8 * k, 8), two[k]);
    }
}

static void streaming(unsigned i)
{
    (void)i;
    if (ready())
        without_traps(streaming_body);
}

static const struct {
    const char *name;
    unsigned type;
} types[] = {{"WB", PAT_WB}, {"WC", PAT_WC}, {"UC", PAT_UC}, {"UC-", 7}, {"WT", PAT_WT}};

static void through(unsigned i)
{
    uint64_t other = GVA_MOVED;

    if (!ready())
        return;
    bar_show(&plain, 2, other, memory_bytes, PAGE, types[i].type);
    for (uint64_t p = 0; p < memory_bytes / PAGE; p++)
        store(other + p * PAGE + 64, 8, share_word(p, i));
    __asm__ volatile("sfence" ::: "memory");
    for (uint64_t p = 0; p < memory_bytes / PAGE; p++)
        if (!expect_eq("seen through WB", load(GVA_SHARE + p * PAGE + 64, 8), share_word(p, i)))
            break;
    unmap(other, memory_bytes, PAGE);
}

static void name_through(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "every page stored to through %s", types[i].name);
}

static void moves(unsigned i)
{
    uint64_t home, away;

    (void)i;
    if (!ready())
        return;
    home = plain.bar[2].base;
    away = free_address(plain.bar[2].bytes);
    store(GVA_SHARE, 8, 0x1234);
    command_set(&plain, COMMAND_MEMORY, false);
    expect_nobody("decode off", GVA_SHARE, 8);
    store(GVA_SHARE, 8, 0);
    bar_set(&plain, 2, away);
    bar_show(&plain, 2, GVA_MOVED, PAGE, PAGE, PAT_WB);
    expect_nobody("where it was", GVA_SHARE, 8);
    expect_eq("where it is", load(GVA_MOVED, 8), 0x1234);
    store(GVA_MOVED, 8, 0x5678);
    command_set(&plain, COMMAND_MEMORY, false);
    bar_set(&plain, 2, home);
    command_set(&plain, COMMAND_MEMORY, true);
    expect_eq("home again", load(GVA_SHARE, 8), 0x5678);
    expect_nobody("where it was", GVA_MOVED, 8);
    unmap(GVA_MOVED, PAGE, PAGE);
}

static const struct check list[] = {
    {"ivshmem", "plain: ids, class, BARs", NULL, 0, false, identity},
    {"ivshmem", "plain: registers", NULL, 0, false, registers},
    {"ivshmem", "plain: the doorbell rings nobody", NULL, 0, false, rings_nobody},
    {"ivshmem", "plain: reserved registers", NULL, 0, false, reserved},
    {"ivshmem", "plain: every page keeps its own words", NULL, 0, false, every_page},
    {"ivshmem", "plain: MOV of every width at every alignment", NULL, 0, false, widths},
    {"ivshmem", "plain: REP STOS and REP MOVS", NULL, 0, false, strings},
    {"ivshmem", "plain: locked instructions", NULL, 0, false, locked},
    {"ivshmem", "plain: MOVNTI and vector moves", NULL, 0, false, streaming},
    {"ivshmem", NULL, name_through, COUNT_OF(types), false, through},
    {"ivshmem", "plain: the memory moves, and its content stays", NULL, 0, false, moves},
};
const struct check_list checks_ivshmem = {list, COUNT_OF(list)};
