/*
 * Every form of forms.asm at every alignment on a trapped page: registers, the device's view and the upper
 * bits, against a model written from the manual (SDM 2 "Instruction Format"), not from the decoder.
 */
#include "tests/guest/guest.h"

struct form {
    uint64_t code, code_bytes;
    int64_t disp;
    uint64_t imm;
    uint8_t family, op, bytes, reg, reg_bytes, extend, high, base, index, shift, addr_bytes;
    uint8_t unused[5];
};

enum { LOAD, STORE, STORE_IMM };
enum { ZERO, SIGN, KEEP };
enum { NONE = 16, RSP = 4, FS = 4, GS = 5 };

#define HOLE        (2ull * PAGE) /* BAR2 pages 2 and 3 are holes */
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define FS_VALUE    0x0000000012345000ull
#define GS_VALUE    0x0000000023456780ull

extern const struct form guest_forms[], guest_forms_end[]; /* guest.ld */
extern const uint64_t form_rsp;
void form_run(uint64_t gpr[16], uint64_t entry);

static const char *const family_name[] = {
    "mov r64, [m]",
    "mov r32, [m]",
    "mov r16, [m]",
    "mov r8, [m]",
    "mov high, [m]",
    "mov [m], r64",
    "mov [m], r32",
    "mov [m], r16",
    "mov [m], r8",
    "mov [m], high",
    "mov [m], imm",
    "movzx",
    "movsx",
    "movsxd",
    "base + displacement",
    "base + index * scale",
    "index, no base",
    "rsp as base",
    "32-bit addresses",
    "segment prefixes",
    "redundant prefixes",
};
#define FAMILIES COUNT_OF(family_name)

static uint64_t narrow(const struct form *f, uint64_t v)
{
    return f->addr_bytes == 4 ? v & 0xffffffffu : v;
}

static uint64_t segment_base(const struct form *f)
{
    if (f->high == FS)
        return FS_VALUE;
    return f->high == GS ? GS_VALUE : 0;
}

/* Choose base and index so that the operand is at `target`. False: this form cannot reach it. */
static bool aim(const struct form *f, uint64_t gpr[16], uint64_t target)
{
    uint64_t rest = target - segment_base(f) - (uint64_t)f->disp;
    uint64_t garbage = f->addr_bytes == 4 ? 0x5a5a5a5a00000000ull : 0;

    if (f->base == NONE) {
        gpr[f->index] = rest >> f->shift;
        return gpr[f->index] << f->shift == rest;
    }
    if (f->base == RSP) {
        gpr[f->index] = rest - form_rsp;
        return true;
    }
    if (f->index != NONE) {
        gpr[f->index] = 0x123456789abull + target;
        rest -= gpr[f->index] << f->shift;
    }
    gpr[f->base] = narrow(f, rest) | garbage;
    return true;
}

static uint64_t stored_value(const struct form *f, const uint64_t gpr[16])
{
    uint64_t v = f->op == STORE_IMM ? f->imm : gpr[f->reg];

    if (f->op == STORE && f->high == 1)
        v >>= 8;
    return v & ones(f->bytes);
}

static void loaded(const struct form *f, uint64_t gpr[16], uint64_t value)
{
    uint64_t old = gpr[f->reg];

    if (f->extend == SIGN && (value >> (8 * f->bytes - 1)))
        value |= ~ones(f->bytes);
    value &= ones(f->reg_bytes);
    if (f->high == 1)
        gpr[f->reg] = (old & ~0xff00ull) | value << 8;
    else if (f->reg_bytes < 4)
        gpr[f->reg] = (old & ~ones(f->reg_bytes)) | value;
    else
        gpr[f->reg] = value;
}

static void check_pieces(uint64_t offset, unsigned bytes, uint64_t value, bool write,
                         uint64_t sequence)
{
    for (uint64_t done = 0; done < bytes && !failed();) {
        struct trap_record t;
        uint64_t n = 8;

        while (n > bytes - done || (offset + done) % n != 0)
            n /= 2;
        if (!trap_record(sequence++, &t))
            return;
        expect_eq("trapped offset", t.offset, offset + done);
        expect_eq("trapped width", t.bytes, n);
        expect_eq("trapped direction", t.write, write);
        expect_eq("trapped value", t.value, (value >> (8 * done)) & ones((unsigned)n));
        done += n;
    }
    expect_eq("traps", lab_traps(), sequence);
}

/* Where run_form() aims: BAR2, or RAM that was filled with what a hole would read (family SELF). */
static uint64_t window = GVA_BAR2;

static void check_ram(uint64_t offset, unsigned bytes, uint64_t value)
{
    for (uint64_t o = offset - 8; o < offset + 16 && !failed(); o++) {
        uint8_t expected = LAB_HOLE_BYTE(o);

        if (o >= offset && o < offset + bytes)
            expected = (uint8_t)(value >> (8 * (o - offset)));
        expect_eq("byte in RAM", load(window + o, 1), expected);
        store(window + o, 1, LAB_HOLE_BYTE(o));
    }
}

/* A REX prefix that is not the last prefix is ignored by the CPU, but QEMU 7.2 TCG obeys it. */
static bool stray_rex(const struct form *f)
{
    const uint8_t *code = (const uint8_t *)(uintptr_t)f->code;

    return code[0] == 0x48 && code[1] == 0x66;
}

/* Run one form with its operand at offset `offset` of the window, from code at `entry`. */
static void run_form(const struct form *f, uint64_t offset, uint64_t entry)
{
    uint64_t gpr[16], model[16], value, sequence = 0;

    for (unsigned r = 0; r < 16; r++)
        gpr[r] = 0xf0e1d2c3b4a59687ull ^ (r * 0x1111111111111111ull);
    gpr[RSP] = form_rsp;
    if (!aim(f, gpr, window + offset) || (window != GVA_BAR2 && stray_rex(f)))
        return;
    for (unsigned r = 0; r < 16; r++)
        model[r] = gpr[r];
    if (f->op == LOAD) {
        value = hole_value(offset, f->bytes);
        loaded(f, model, value);
    } else {
        value = stored_value(f, model);
    }
    if (window == GVA_BAR2)
        sequence = lab_traps();
    form_run(gpr, entry);
    for (unsigned r = 0; r < 16; r++)
        if (gpr[r] != model[r])
            fail("register %u: expected %lx got %lx; form of %u bytes, base %u index %u", r,
                 model[r], gpr[r], f->bytes, f->base, f->index);
    if (window == GVA_BAR2)
        check_pieces(offset, f->bytes, value, f->op != LOAD, sequence);
    else
        check_ram(offset, f->bytes, value);
    if (failed())
        fail("offset %lx code at %lx", offset, f->code);
}

static void family(unsigned n)
{
    wrmsr(MSR_FS_BASE, FS_VALUE);
    wrmsr(MSR_GS_BASE, GS_VALUE);
    for (const struct form *f = guest_forms; f < guest_forms_end; f++)
        for (uint64_t a = 0; a < 16 && f->family == n && !failed(); a++)
            run_form(f, HOLE + 0x200 + a, f->code);
    wrmsr(MSR_FS_BASE, 0);
    wrmsr(MSR_GS_BASE, 0);
}

/* The model against plain RAM: runs everywhere, and shows that the expectations are the CPU's. */
static void self(unsigned i)
{
    static uint8_t ram[2][4096] __attribute__((aligned(4096)));

    (void)i;
    window = GVA_TMP - HOLE;
    map(GVA_TMP, (uint64_t)(uintptr_t)ram, 2 * PAGE, PAGE, 0);
    for (uint64_t o = 0; o < 2 * PAGE; o++)
        store(GVA_TMP + o, 1, LAB_HOLE_BYTE(HOLE + o));
    for (unsigned n = 0; n < FAMILIES; n++)
        family(n);
    unmap(GVA_TMP, 2 * PAGE, PAGE);
    window = GVA_BAR2;
}

static void name_family(char *out, unsigned n)
{
    format_text(out, NAME_ROOM, "%s", family_name[n]);
}

/* ---- absolute addresses, encoded at run time ---- */

static uint8_t code_room[2 * 4096] __attribute__((aligned(4096)));

static unsigned emit_number(uint8_t *at, uint64_t v, unsigned bytes)
{
    for (unsigned k = 0; k < bytes; k++)
        at[k] = (uint8_t)(v >> (8 * k));
    return bytes;
}

static void moffs_one(unsigned bytes, bool write, bool addr32, uint64_t offset)
{
    struct form f = {0};
    unsigned n = 0;

    if (addr32)
        code_room[n++] = 0x67;
    if (bytes == 2)
        code_room[n++] = 0x66;
    if (bytes == 8)
        code_room[n++] = 0x48;
    code_room[n++] = (uint8_t)(0xa0 | (write ? 2 : 0) | (bytes > 1 ? 1 : 0));
    n += emit_number(code_room + n, GVA_BAR2 + offset, addr32 ? 4 : 8);
    code_room[n++] = 0xc3;
    f.op = write ? STORE : LOAD;
    f.bytes = f.reg_bytes = (uint8_t)bytes;
    f.extend = bytes < 4 ? KEEP : ZERO;
    f.base = RSP; /* nothing to aim: `index` is a register that the code does not use */
    f.index = 15;
    f.code = (uint64_t)(uintptr_t)code_room;
    (void)cpuid(0, 0);
    run_form(&f, offset, f.code);
}

static void moffs(unsigned i)
{
    for (unsigned bytes = 1; bytes <= 8; bytes *= 2)
        for (uint64_t a = 0; a < 16 && !failed(); a++) {
            moffs_one(bytes, false, i == 1, HOLE + 0x300 + a);
            moffs_one(bytes, true, i == 1, HOLE + 0x300 + a);
        }
}

static void name_moffs(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "moffs with %u-bit address", i == 1 ? 32u : 64u);
}

/* SIB without base and index: [disp32]; and RIP-relative. The displacement must reach GVA_BAR2. */
static void absolute(unsigned i)
{
    for (unsigned write = 0; write < 2; write++) {
        for (uint64_t a = 0; a < 16 && !failed(); a++) {
            uint64_t target = GVA_BAR2 + HOLE + 0x340 + a;
            uint64_t next = (uint64_t)(uintptr_t)code_room + (i == 0 ? 7 : 6);
            struct form f = {0};
            unsigned n = 0;

            code_room[n++] = write ? 0x89 : 0x8b;
            if (i == 0) {
                code_room[n++] = 0x04;
                code_room[n++] = 0x25;
                n += emit_number(code_room + n, target, 4);
            } else {
                code_room[n++] = 0x05;
                n += emit_number(code_room + n, target - next, 4);
            }
            code_room[n++] = 0xc3;
            f.op = write ? STORE : LOAD;
            f.bytes = f.reg_bytes = 4;
            f.base = RSP;
            f.index = 15;
            f.code = (uint64_t)(uintptr_t)code_room;
            (void)cpuid(0, 0);
            run_form(&f, target - GVA_BAR2, f.code);
        }
    }
}

static void name_absolute(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%s", i == 0 ? "[disp32] alone" : "RIP-relative");
}

/* ---- where the code lies ---- */

extern uint8_t guest_end[];

static void code_pages(unsigned i)
{
    uint64_t alias = i == 0 ? GVA_CODE_4K : GVA_CODE_1G;
    uint64_t end = ((uint64_t)(uintptr_t)guest_end + PAGE - 1) & ~(PAGE - 1);

    if (i == 1 && !have_huge_pages()) {
        skip("no 1 GiB pages in the guest's tables");
        return;
    }
    if (i == 0)
        map(alias, 0, end, PAGE, 0);
    else
        map(alias, 0, HUGE, HUGE, 0);
    for (const struct form *f = guest_forms; f < guest_forms_end && !failed(); f++)
        if (f->family < 14)
            run_form(f, HOLE + 0x480, alias + f->code);
}

static void name_code_pages(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "code in %s guest pages", i == 0 ? "4 KiB" : "1 GiB");
}

/* Instruction bytes across a page border, and the two pages are no neighbours in guest RAM. */
static void code_crosses(unsigned i)
{
    static uint8_t pages[3][4096] __attribute__((aligned(4096)));

    (void)i;
    map(GVA_CODE_X, (uint64_t)(uintptr_t)pages[2], PAGE, PAGE, 0);
    map(GVA_CODE_X + PAGE, (uint64_t)(uintptr_t)pages[0], PAGE, PAGE, 0);
    wrmsr(MSR_FS_BASE, FS_VALUE);
    wrmsr(MSR_GS_BASE, GS_VALUE);
    for (const struct form *f = guest_forms; f < guest_forms_end && !failed(); f++) {
        const uint8_t *code = (const uint8_t *)(uintptr_t)f->code;

        for (uint64_t before = 1; before < f->code_bytes && !failed(); before++) {
            for (uint64_t k = 0; k <= f->code_bytes; k++) /* with its RET */
                *(volatile uint8_t *)(uintptr_t)(GVA_CODE_X + PAGE - before + k) = code[k];
            (void)cpuid(0, 0);
            run_form(f, HOLE + 0x4c0 + 8 * before, GVA_CODE_X + PAGE - before);
        }
    }
    wrmsr(MSR_FS_BASE, 0);
    wrmsr(MSR_GS_BASE, 0);
    unmap(GVA_CODE_X, 2 * PAGE, PAGE);
}

/* ---- what is not emulated ---- */

struct refused {
    uint64_t code;
    const char *name;
};

extern const struct refused guest_refused[], guest_refused_end[];
#define REFUSED_COUNT 27u
#define CR4_OSFXSR    0x200ull

struct call {
    uint64_t gpr[16];
    uint64_t entry;
};

static void call_form(void *arg)
{
    struct call *c = arg;

    form_run(c->gpr, c->entry);
}

static void refused(unsigned i)
{
    const struct refused *r = &guest_refused[i];
    static uint8_t ram[64];
    struct call c;
    uint64_t sequence = lab_traps(), cr4 = read_cr4();

    if (&guest_refused[REFUSED_COUNT] != guest_refused_end) {
        fail("the table has another length");
        return;
    }
    for (unsigned k = 0; k < 16; k++)
        c.gpr[k] = 0x0102030405060708ull * (k + 1);
    c.gpr[1] = 2;
    c.gpr[3] = GVA_BAR2 + HOLE + 0x600;
    c.gpr[0] = 7; /* XLATB adds it */
    c.gpr[6] = text_match("rep*", r->name) ? c.gpr[3] : (uint64_t)(uintptr_t)ram;
    c.gpr[7] = GVA_BAR2 + HOLE + 0x600;
    c.entry = r->code;
    (void)try_write_cr4(cr4 | CR4_OSFXSR);
    expect_eq("vector", (uint64_t)trap_try(call_form, &c), VEC_UD);
    (void)try_write_cr4(cr4);
    expect_eq("RIP", trap_last.rip, r->code);
    c.gpr[RSP] = form_rsp;
    for (unsigned k = 0; k < 16; k++)
        expect_eq("register", trap_last.gpr[k], c.gpr[k]);
    expect_eq("traps", lab_traps(), sequence);
}

static void name_refused(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "refused with #UD on a hole: %s", guest_refused[i].name);
}

static const struct check list[] = {
    {"forms", "the model of the instruction forms against RAM", NULL, 0, false, self},
    {"forms", NULL, name_family, FAMILIES, true, family},
    {"forms", NULL, name_moffs, 2, true, moffs},
    {"forms", NULL, name_absolute, 2, true, absolute},
    {"forms", NULL, name_code_pages, 2, true, code_pages},
    {"forms", "instruction bytes across a page border", NULL, 0, true, code_crosses},
    {"forms", NULL, name_refused, REFUSED_COUNT, true, refused},
};
const struct check_list checks_forms = {list, COUNT_OF(list)};
