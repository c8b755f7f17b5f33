/*
 * String instructions, one iteration after the other: each has its own checks, its accesses, and only then its
 * steps of rSI, rDI and rCX. So a fault or a return between two of them leaves what the CPU would leave.
 */
#include "hv/mmio/run.h"

#include "hv/x86/regs.h"

/* Which of the two operands an instruction has, and what it does with them. */
struct string_form {
    uint8_t source; /* DS:rSI: enum insn_access bits */
    uint8_t target; /* ES:rDI */
    bool compares;  /* the flags are changed, and end a repetition */
};

static const struct string_form forms[] = {
    [INSN_MOVS - INSN_MOVS] = {INSN_READS, INSN_WRITES, false},
    [INSN_CMPS - INSN_MOVS] = {INSN_READS, INSN_READS, true},
    [INSN_STOS - INSN_MOVS] = {0, INSN_WRITES, false},
    [INSN_LODS - INSN_MOVS] = {INSN_READS, 0, false},
    [INSN_SCAS - INSN_MOVS] = {0, INSN_READS, true},
};

static uint64_t cut(const struct run *run, unsigned gpr)
{
    return run->cpu->gpr[gpr] & ones_of(run->insn->addr_bytes);
}

static void step(struct run *run, unsigned gpr, uint64_t by)
{
    run_set_low(&run->cpu->gpr[gpr], run->insn->addr_bytes, run->cpu->gpr[gpr] + by);
}

static bool open_both(struct run *run, const struct string_form *form)
{
    run->spans = 0;
    if (form->source && !run_open(run, run->insn->segment, cut(run, RUN_RSI), form->source))
        return false;
    return !form->target || run_open(run, INSN_ES, cut(run, RUN_RDI), form->target);
}

/* The accesses, and what they do to rAX and the flags. */
static void move(struct run *run, const struct string_form *form)
{
    const unsigned bytes = run->insn->bytes;
    const struct emu_span *target = &run->span[run->spans - 1];
    uint64_t *rax = &run->cpu->gpr[RUN_RAX];
    uint64_t value = *rax & ones_of(bytes);

    if (form->source)
        value = run_read(run, &run->span[0]);
    if (form->compares)
        alu(INSN_CMP, bytes, value, run_read(run, target), &run->cpu->rflags);
    else if (form->target)
        run_write(run, target, value);
    else
        run_set_low(rax, bytes, value);
}

static void advance(struct run *run, const struct string_form *form)
{
    uint64_t by = run->insn->bytes;

    if (run->cpu->rflags & RFLAGS_DF)
        by = -by;
    if (form->source)
        step(run, RUN_RSI, by);
    if (form->target)
        step(run, RUN_RDI, by);
    if (run->insn->repeat != INSN_ONCE)
        step(run, RUN_RCX, ~0ull);
}

static bool is_last(const struct run *run, const struct string_form *form)
{
    bool equal = run->cpu->rflags & RFLAGS_ZF;

    if (run->insn->repeat == INSN_ONCE || cut(run, RUN_RCX) == 0)
        return true;
    return form->compares && equal != (run->insn->repeat == INSN_REPE);
}

enum emu_result run_string(struct run *run, unsigned iterations)
{
    const struct string_form *form = &forms[run->insn->op - INSN_MOVS];
    unsigned done = 0;

    if (run->insn->repeat != INSN_ONCE && cut(run, RUN_RCX) == 0)
        return EMU_DONE;
    do {
        if (!open_both(run, form))
            return EMU_FAULT;
        if (!run_traps(run))
            return done == 0 ? EMU_RETRY : EMU_AGAIN;
        move(run, form);
        advance(run, form);
        if (is_last(run, form))
            return EMU_DONE;
    } while (++done < iterations);
    return EMU_AGAIN;
}
