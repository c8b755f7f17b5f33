/*
 * Accesses that the guest itself must not make: the fault that the CPU would give, and no device sees anything of it.
 */
#include "tests/guest/guest.h"

enum { RAX, RCX, RBX = 3, RSP, RSI = 6, RDI };
enum { P = 1, W = 2, U = 4 }; /* error codes of #PF */

#define CR0_EM   (1ull << 2)
#define CR0_TS   (1ull << 3)
#define CR0_WP   (1ull << 16)
#define CR0_AM   (1ull << 18)
#define CR4_SMAP (1ull << 21)
#define PTE_P    1ull
#define PTE_W    2ull
#define NONE     (~0ull)

extern const uint8_t code_mov_load[], code_mov_load_8[], code_mov_store[], code_mov_store_8[],
    code_add_load[], code_add_store[], code_cmp_load[], code_lock_xadd[], code_xchg[],
    code_cmpxchg8b[], code_bts[], code_push_mem[], code_pop_mem[], code_movups_load[],
    code_movups_store[], code_movaps_store[], code_vmovups_load[], code_movsd[], code_movsq[],
    code_cmpsd[], code_rep_movsd[], code_rep_stosd[], code_rep_lodsd[], code_repe_cmpsd[];

static const struct arena trapped[2] = {{{A_TRAP, A_TRAP}, 0}, {{A_TRAP, A_TRAP}, 1}};
static uint8_t stack[64] __attribute__((aligned(16)));
static struct cpu_state state, before;

/* What is to be seen of one instruction. */
struct outcome {
    uint64_t vector, error, address; /* NONE: the instruction is carried out; address: of #PF */
};
static const struct outcome carried_out = {NONE, 0, 0};

/* Random registers, RBX at the border of the first arena minus `back`. */
static void prepare(unsigned back)
{
    static uint32_t seed = 4711;

    state_random(&state, &seed);
    state.gpr[RSP] = (uint64_t)(uintptr_t)(stack + 32);
    state.gpr[RBX] = ARENA_GVA(0) + PAGE - back;
    state.gpr[RSI] = state.gpr[RBX];
    state.gpr[RDI] = ARENA_GVA(1) + PAGE - back;
}

/* Run it. After a fault nothing has happened: no register is changed and no device was asked. */
static void talk(const uint8_t *code, struct outcome expected)
{
    if (failed())
        say("# code %x %x %x.., to be %lx, %lx, %lx: got %lx, %lx, %lx\n", code[1], code[2],
            code[3], expected.vector, expected.error, expected.address, trap_last.vector,
            trap_last.error, trap_cr2);
}

static bool outcome(enum code_kind kind, const uint8_t *code, struct outcome expected)
{
    uint64_t sequence = lab_traps(), vector;

    before = state;
    vector = (uint64_t)(int64_t)code_try(&state, kind, code);
    if (failed())
        return false;
    if (!expect_eq("vector", vector, expected.vector)) {
        talk(code, expected);
        return false;
    }
    if (vector == NONE)
        return true;
    expect_eq("error code", trap_last.error, expected.error);
    if (vector == VEC_PF)
        expect_eq("fault address", trap_cr2, expected.address);
    for (unsigned g = 0; g < 16; g++)
        expect_eq("register", state.gpr[g], before.gpr[g]);
    expect_eq("flags", state.rflags, before.rflags);
    expect_eq("traps", lab_traps(), sequence);
    talk(code, expected);
    return !failed();
}

static struct outcome page_fault(uint64_t address, uint64_t error)
{
    return (struct outcome){VEC_PF, error, address};
}

/* ---- the second page of an access ---- */

struct row {
    const char *name;
    const uint8_t *code;
    bool write;
};
static const struct row rows[] = {
    {"mov load", code_mov_load_8, false},
    {"mov store", code_mov_store_8, true},
    {"add from memory", code_add_load, false},
    {"add to memory", code_add_store, true},
    {"cmp", code_cmp_load, false},
    {"lock xadd", code_lock_xadd, true},
    {"xchg", code_xchg, true},
    {"lock cmpxchg8b", code_cmpxchg8b, true},
    {"bts", code_bts, true},
    {"push", code_push_mem, false},
    {"pop", code_pop_mem, true},
    {"movups load", code_movups_load, false},
    {"movups store", code_movups_store, true},
};

static void change_entry(uint64_t gva, uint64_t clear)
{
    *entry_of(gva, 1) &= ~clear;
    invlpg(gva);
}

static void begin(void)
{
    vectors_on();
    for (unsigned n = 0; n < 2; n++)
        arena_show(&trapped[n]);
}

static void end(void)
{
    vectors_off();
    for (unsigned n = 0; n < 2; n++)
        arena_hide(n);
}

/* The second page of an access that crosses is taken away; either page is made read-only. */
static void second_page(unsigned i)
{
    const struct row *r = &rows[i];
    uint64_t border = ARENA_GVA(0) + PAGE, sequence;

    begin();
    change_entry(border, PTE_P);
    prepare(3);
    outcome(KERNEL64, r->code, page_fault(border, r->write ? W : 0));
    arena_show(&trapped[0]);
    change_entry(border, PTE_W);
    prepare(3);
    sequence = lab_traps();
    outcome(KERNEL64, r->code, r->write ? page_fault(border, P | W) : carried_out);
    if (!r->write)
        expect(lab_traps() > sequence + 1, "a read-only page may be read");
    arena_show(&trapped[0]);
    change_entry(border - PAGE, PTE_W);
    prepare(3);
    outcome(KERNEL64, r->code, r->write ? page_fault(border - 3, P | W) : carried_out);
    end();
}

static void name_second_page(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%s across pages, one of them refused", rows[i].name);
}

/* CR0.WP off: a supervisor may write what is read-only. */
static void write_protect(unsigned i)
{
    uint64_t border = ARENA_GVA(0) + PAGE, sequence;

    (void)i;
    begin();
    (void)try_write_cr0(read_cr0() & ~CR0_WP);
    change_entry(border, PTE_W);
    prepare(4);
    sequence = lab_traps();
    outcome(KERNEL64, code_mov_store_8, carried_out);
    expect_eq("traps", lab_traps(), sequence + 2);
    (void)try_write_cr0(read_cr0() | CR0_WP);
    end();
}

/* The access begins in the last page before the hole of addresses and ends in the hole. */
static void not_canonical_end(unsigned i)
{
    uint64_t last = 0x00007ffffffff000ull;

    (void)i;
    begin();
    map(last, lab.base[2] + LAB_MEMORY_PAGE * PAGE, PAGE, PAGE, 0);
    for (unsigned k = 0; k < COUNT_OF(rows) && !failed(); k++) {
        prepare(0);
        state.gpr[RBX] = last + PAGE - 3;
        outcome(KERNEL64, rows[k].code, (struct outcome){VEC_GP, 0, 0});
    }
    unmap(last, PAGE, PAGE);
    end();
}

/* ---- the other operand ---- */

/* MOVS and CMPS: one is trapped, the other is refused. */
static void copies(unsigned i)
{
    uint64_t source = ARENA_GVA(0) + PAGE - 8, destination = ARENA_GVA(1) + PAGE - 8;
    uint64_t wild = 0x8000000000000010ull;

    (void)i;
    begin();
    change_entry(destination, PTE_P);
    prepare(8);
    outcome(KERNEL64, code_movsd, page_fault(destination, W));
    prepare(8);
    outcome(KERNEL64, code_cmpsd, page_fault(destination, 0));
    arena_show(&trapped[1]);
    change_entry(destination, PTE_W);
    prepare(8);
    outcome(KERNEL64, code_movsq, page_fault(destination, P | W));
    prepare(8);
    outcome(KERNEL64, code_cmpsd, carried_out);
    arena_show(&trapped[1]);
    change_entry(source, PTE_P);
    prepare(8);
    outcome(KERNEL64, code_movsd, page_fault(source, 0));
    prepare(8);
    outcome(KERNEL64, code_cmpsd, page_fault(source, 0));
    arena_show(&trapped[0]);
    prepare(8);
    state.gpr[RDI] = wild;
    outcome(KERNEL64, code_movsd, (struct outcome){VEC_GP, 0, 0});
    prepare(8);
    state.gpr[RSI] = wild;
    outcome(KERNEL64, code_movsq, (struct outcome){VEC_GP, 0, 0});
    change_entry(destination + 8, PTE_P); /* an element across the border */
    prepare(2);
    outcome(KERNEL64, code_movsd, page_fault(destination + 8, W));
    end();
}

/* PUSH and POP: memory is trapped, the stack is refused. */
static void stacks(unsigned i)
{
    uint64_t hole = ARENA_GVA(1) + PAGE;

    (void)i;
    begin();
    change_entry(hole, PTE_P);
    prepare(16);
    state.gpr[RSP] = hole + 16;
    outcome(KERNEL64, code_push_mem, page_fault(hole + 8, W));
    prepare(16);
    state.gpr[RSP] = hole + 16;
    outcome(KERNEL64, code_pop_mem, page_fault(hole + 16, 0));
    prepare(16);
    state.gpr[RSP] = 0x8000000000000010ull;
    outcome(KERNEL64, code_push_mem, (struct outcome){VEC_SS, 0, 0});
    end();
}

/* ---- repetition ---- */

struct repetition {
    const char *name;
    const uint8_t *code;
    bool source, destination, write; /* which arenas it walks; write: to the destination */
};
static const struct repetition repetitions[] = {
    {"rep movsd, destination", code_rep_movsd, false, true, true},
    {"rep movsd, source", code_rep_movsd, true, false, true},
    {"rep stosd", code_rep_stosd, false, true, true},
    {"rep lodsd", code_rep_lodsd, true, false, false},
    {"repe cmpsd, destination", code_repe_cmpsd, false, true, false},
};

/* Eight elements, and after five of them comes a page that is not there. What the five have done stays done. */
static void repeated(unsigned i)
{
    const struct repetition *r = &repetitions[i];
    uint64_t hole = ARENA_GVA(r->source ? 0 : 1) + PAGE, sequence;
    bool two = r->code == code_rep_movsd || r->code == code_repe_cmpsd;
    bool writes = r->write && r->destination;

    begin();
    for (unsigned k = 0; k < 8; k++) { /* CMPS goes on while they are equal */
        store(ARENA_GVA(0) + PAGE - 20 + 4 * k, 4, k);
        store(ARENA_GVA(1) + PAGE - 20 + 4 * k, 4, k);
    }
    change_entry(hole, PTE_P);
    prepare(20);
    state.gpr[RCX] = 8;
    before = state;
    sequence = lab_traps();
    expect_eq("vector", (uint64_t)(int64_t)code_try(&state, KERNEL64, r->code), VEC_PF);
    expect_eq("fault address", trap_cr2, hole);
    expect_eq("error code", trap_last.error, writes ? W : 0);
    expect_eq("RCX", state.gpr[RCX], 3);
    if (two || r->source)
        expect_eq("RSI", state.gpr[RSI], before.gpr[RSI] + 20);
    if (two || r->destination)
        expect_eq("RDI", state.gpr[RDI], before.gpr[RDI] + 20);
    expect_eq("traps", lab_traps(), sequence + (two ? 10 : 5));
    end();
}

static void name_repeated(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%s: state of the iteration that faults", repetitions[i].name);
}

/* ---- users ---- */

static void users(bool yes)
{
    for (unsigned n = 0; n < 2; n++) {
        arena_show(&trapped[n]);
        if (yes)
            allow_user(ARENA_GVA(n), 2 * PAGE);
    }
}

/* Code of CPL 3, in 64-bit or 32-bit mode. */
static void user(unsigned i)
{
    enum code_kind kind = i == 0 ? USER64 : USER32;
    uint64_t at = ARENA_GVA(0) + PAGE, sequence;

    begin();
    users(true);
    prepare(8);
    outcome(kind, code_mov_load, carried_out);
    expect_eq("value", state.gpr[RAX], load(at - 8, 4));
    prepare(8);
    state.gpr[RCX] = 3;
    outcome(kind, code_rep_stosd, carried_out);
    prepare(8);
    sequence = lab_traps();
    outcome(kind, code_movsd, carried_out);
    expect_eq("traps", lab_traps(), sequence + 2);
    prepare(2);
    outcome(kind, code_add_store, carried_out);
    users(false); /* the second page is for supervisors */
    allow_user(ARENA_GVA(0), PAGE);
    change_entry(at, U);
    prepare(2);
    outcome(kind, code_mov_store, page_fault(at, P | W | U));
    prepare(2);
    outcome(kind, code_add_load, page_fault(at, P | U));
    change_entry(at, PTE_P);
    prepare(2);
    outcome(kind, code_lock_xadd, page_fault(at, W | U));
    users(true);
    change_entry(at, PTE_W);
    prepare(2);
    outcome(kind, code_mov_store, page_fault(at, P | W | U));
    users(true);
    change_entry(ARENA_GVA(1), U);
    prepare(PAGE);
    outcome(kind, code_movsd, page_fault(ARENA_GVA(1), P | W | U));
    end();
}

static void name_user(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "CPL 3, %u-bit code", i == 0 ? 64u : 32u);
}

/* CR0.AM and RFLAGS.AC: what is not aligned gives #AC, for users only. QEMU does not check RAM, so only what traps. */
static void alignment(unsigned i)
{
    static const struct {
        const uint8_t *code;
        unsigned back;
    } off[] = {{code_mov_load, 7}, {code_mov_store_8, 12}, {code_add_store, 2}, {code_movsd, 6}};

    (void)i;
    begin();
    users(true);
    (void)try_write_cr0(read_cr0() | CR0_AM);
    for (unsigned k = 0; k < COUNT_OF(off) && !failed(); k++) {
        prepare(off[k].back);
        state.rflags |= FLAG_AC;
        outcome(USER64, off[k].code, (struct outcome){VEC_AC, 0, 0});
        prepare(off[k].back);
        state.rflags |= FLAG_AC;
        outcome(KERNEL64, off[k].code, carried_out);
        prepare(off[k].back);
        outcome(USER64, off[k].code, carried_out);
    }
    prepare(8);
    state.rflags |= FLAG_AC;
    outcome(USER64, code_mov_store_8, carried_out);
    (void)try_write_cr0(read_cr0() & ~CR0_AM);
    end();
}

/* A supervisor's operand is trapped, its other page or other operand is a user's. Without SMAP that is allowed. */
static void smap(unsigned i)
{
    uint64_t border = ARENA_GVA(0) + PAGE;
    bool here = cpuid(7, 0).b >> 20 & 1;

    (void)i;
    begin();
    users(true);
    change_entry(border - PAGE, U);
    expect_eq("CR4.SMAP", (uint64_t)(int64_t)try_write_cr4(read_cr4() | CR4_SMAP),
              here ? NONE : VEC_GP);
    prepare(3);
    outcome(KERNEL64, code_mov_load, here ? page_fault(border, P) : carried_out);
    prepare(3);
    outcome(KERNEL64, code_add_store, here ? page_fault(border, P | W) : carried_out);
    prepare(8);
    outcome(KERNEL64, code_movsd, here ? page_fault(ARENA_GVA(1) + PAGE - 8, P | W) : carried_out);
    prepare(3);
    state.rflags |= FLAG_AC;
    outcome(KERNEL64, code_mov_load, carried_out);
    prepare(8);
    state.rflags |= FLAG_AC;
    outcome(KERNEL64, code_movsd, carried_out);
    (void)try_write_cr4(read_cr4() & ~CR4_SMAP);
    end();
}

/* ---- vector state that is switched off ---- */

static void vectors_refused(unsigned i)
{
    bool avx = cpu_has(NEEDS_AVX);
    uint64_t cr0 = read_cr0(), cr4;

    (void)i;
    begin();
    (void)try_write_cr0(cr0 | CR0_TS);
    prepare(32);
    outcome(KERNEL64, code_movups_store, (struct outcome){VEC_NM, 0, 0});
    prepare(32);
    outcome(KERNEL64, code_mov_store, carried_out);
    (void)try_write_cr0(cr0 | CR0_EM);
    prepare(32);
    outcome(KERNEL64, code_movups_load, (struct outcome){VEC_UD, 0, 0});
    (void)try_write_cr0(cr0);
    cr4 = read_cr4();
    (void)try_write_cr4(cr4 & ~0x200ull); /* OSFXSR */
    prepare(32);
    outcome(KERNEL64, code_movups_load, (struct outcome){VEC_UD, 0, 0});
    (void)try_write_cr4(cr4);
    prepare(31);
    outcome(KERNEL64, code_movaps_store, (struct outcome){VEC_GP, 0, 0});
    if (avx) {
        (void)try_xsetbv(0, 3);
        prepare(32);
        outcome(KERNEL64, code_vmovups_load, (struct outcome){VEC_UD, 0, 0});
        (void)try_xsetbv(0, 7);
        prepare(32);
        outcome(KERNEL64, code_vmovups_load, carried_out);
    }
    end();
}

static const struct check list[] = {
    {"faults", NULL, name_second_page, COUNT_OF(rows), true, second_page},
    {"faults", "CR0.WP off: a read-only second page is written", NULL, 0, true, write_protect},
    {"faults", "accesses that end beyond the canonical addresses", NULL, 0, true,
     not_canonical_end},
    {"faults", "copies whose other operand is refused", NULL, 0, true, copies},
    {"faults", "push and pop whose stack is refused", NULL, 0, true, stacks},
    {"faults", NULL, name_repeated, COUNT_OF(repetitions), true, repeated},
    {"faults", NULL, name_user, 2, true, user},
    {"faults", "alignment check for users", NULL, 0, true, alignment},
    {"faults", "SMAP on the other page and the other operand", NULL, 0, true, smap},
    {"faults", "vector registers switched off", NULL, 0, true, vectors_refused},
};
const struct check_list checks_faults = {list, COUNT_OF(list)};
