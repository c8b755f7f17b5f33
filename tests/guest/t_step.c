/* Single step over emulated instructions, and the shadow that STI and MOV SS leave. */
#include "tests/guest/guest.h"

enum { RAX, RCX, RBX = 3, RSP, RSI = 6, RDI };
#define DR6_BS 0x4000ull

extern const uint8_t code_mov_load[], code_mov_store[], code_rep_movsd[], code_rep_stosd[],
    code_cpuid[], code_sti_store[], code_ss_store[];

static const struct arena trapped[2] = {{{A_TRAP, A_TRAP}, 0}, {{A_TRAP, A_TRAP}, 1}};
static struct cpu_state state;

static uint64_t dr6(void)
{
    uint64_t v;

    __asm__ volatile("mov %%dr6, %0" : "=r"(v));
    return v;
}

static void prepare(void)
{
    static uint32_t seed = 815;

    state_random(&state, &seed);
    state.rflags |= FLAG_TF;
    state.gpr[RBX] = state.gpr[RSI] = ARENA_GVA(0) + 0x100;
    state.gpr[RDI] = ARENA_GVA(1) + 0x200;
    __asm__ volatile("mov %0, %%dr6" ::"r"(0xffff0ff0ull));
}

/* The trap comes behind the instruction, `length` bytes after its start. */
static void stepped(const uint8_t *code, unsigned length)
{
    uint64_t end;

    expect_eq("vector", (uint64_t)(int64_t)code_try(&state, KERNEL64, code), VEC_DB);
    expect_eq("DR6.BS", dr6() & DR6_BS, DR6_BS);
    end = trap_last.rip;
    state.rflags &= ~FLAG_TF; /* once more without, to learn where the code lies */
    expect_eq("vector", (uint64_t)(int64_t)code_try(&state, KERNEL64, code), ~0ull);
    expect_eq("RIP", end, trap_last.rip - code[0] + length);
}

static void begin(void)
{
    for (unsigned n = 0; n < 2; n++)
        arena_show(&trapped[n]);
}

static void end(void)
{
    for (unsigned n = 0; n < 2; n++)
        arena_hide(n);
}

static void plain(unsigned i)
{
    static const uint8_t *const codes[] = {code_mov_load, code_mov_store, code_cpuid};

    begin();
    prepare();
    stepped(codes[i], codes[i][0]);
    end();
}

static void name_plain(char *out, unsigned i)
{
    static const char *const names[] = {"mov from", "mov to", "cpuid, beside"};

    format_text(out, NAME_ROOM, "single step over %s a trapped page", names[i]);
}

/* A trap after each iteration, RIP still at the instruction; behind it after the last one. */
static void repeated(unsigned i)
{
    const uint8_t *code = i == 0 ? code_rep_movsd : code_rep_stosd;
    uint64_t start = 0, sequence;

    begin();
    prepare();
    state.gpr[RCX] = 3;
    for (uint64_t left = 3; left-- > 0 && !failed();) {
        uint64_t source = state.gpr[RSI], destination = state.gpr[RDI];

        sequence = lab_traps();
        state.rflags |= FLAG_TF;
        expect_eq("vector", (uint64_t)(int64_t)code_try(&state, KERNEL64, code), VEC_DB);
        expect_eq("DR6.BS", dr6() & DR6_BS, DR6_BS);
        expect_eq("RCX", state.gpr[RCX], left);
        expect_eq("RSI", state.gpr[RSI], source + (i == 0 ? 4 : 0));
        expect_eq("RDI", state.gpr[RDI], destination + 4);
        expect_eq("traps", lab_traps(), sequence + (i == 0 ? 2 : 1));
        if (left == 2)
            start = trap_last.rip;
        expect_eq("RIP", trap_last.rip, left > 0 ? start : start + code[0]);
    }
    end();
}

static void name_repeated(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "single step over %s", i == 0 ? "rep movsd" : "rep stosd");
}

/*
 * An access in the shadow of STI or of MOV SS: the instruction after it is no longer in the shadow. With TF the
 * step is seen: MOV SS holds the trap back until the access is done, and then it comes at once.
 */
static void shadow(unsigned i)
{
    begin();
    prepare();
    state.gpr[RSP] = 0;
    if (i == 0) {
        state.rflags &= ~FLAG_TF;
        expect_eq("vector", (uint64_t)(int64_t)code_try(&state, KERNEL64, code_sti_store), ~0ull);
    } else {
        state.gpr[RAX] = 0x10;
        stepped(code_ss_store, code_ss_store[0]);
    }
    end();
}

static void name_shadow(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "an access in the shadow of %s", i == 0 ? "STI" : "MOV SS");
}

static const struct check list[] = {
    {"step", NULL, name_plain, 3, true, plain},
    {"step", NULL, name_repeated, 2, true, repeated},
    {"step", NULL, name_shadow, 2, true, shadow},
};
const struct check_list checks_step = {list, COUNT_OF(list)};
