/*
 * One instruction, in four steps that never go back: what the CPU checks before memory, its spans (each checked and
 * located), then reads and writes, then registers and flags. Everything that can fail lies in the first two, which
 * change nothing.
 *
 *     mode, vectors -> segment, canonical, alignment, locate -> read, compute, write -> registers, flags
 *     `------------------- may fail --------------------'       `------------ cannot fail -----------'
 *
 * Spans are opened in the order in which a CPU touches them, each with its checks and its translation, so that the
 * fault of the first is told when both have one.
 */
#include "hv/mmio/emulate.h"

#include "hv/mmio/run.h"
#include "hv/x86/regs.h"

#define MOST_ALIGNED 16u /* #AC asks no more of wider accesses; SDM 2 leaves it to the CPU */

/* ---- faults ---- */

/* Without protection an exception pushes no error code. */
static bool fault(struct run *run, enum vector vector, bool has_error)
{
    *run->fault = (struct emu_fault){.vector = (uint8_t)vector,
                                     .has_error = has_error && (run->cpu->cr0 & CR0_PE)};
    return false;
}

/* ---- operands ---- */

/*
 * SDM 3A "Limit Checking", "Type Checking". In real mode there are limits and no types. An operand that goes on past
 * offset 2^32 is outside of any segment.
 */
static bool is_in_segment(const struct emu_cpu *cpu, const struct emu_segment *segment,
                          uint64_t offset, unsigned bytes, unsigned access)
{
    const uint32_t attributes = segment->attributes, type = attributes & SEGMENT_TYPE;
    const uint64_t last = offset + bytes - 1;
    bool code = type & SEGMENT_CODE;

    if (attributes & SEGMENT_UNUSABLE)
        return false;
    if (cpu->cr0 & CR0_PE) {
        if ((access & INSN_WRITES) && (code || !(type & SEGMENT_WRITABLE)))
            return false;
        if ((access & INSN_READS) && code && !(type & SEGMENT_READABLE))
            return false;
    }
    if (!code && (type & SEGMENT_EXPAND_DOWN))
        return offset > segment->limit &&
               last <= (attributes & SEGMENT_BIG ? UINT32_MAX : UINT16_MAX);
    return last <= segment->limit;
}

static bool is_aligned(struct run *run, uint64_t linear)
{
    const struct emu_cpu *cpu = run->cpu;
    const unsigned bytes = run->insn->bytes;

    if (run->insn->aligned && !IS_ALIGNED(linear, bytes))
        return fault(run, VECTOR_GP, true);
    if ((cpu->cr0 & CR0_AM) && (cpu->rflags & RFLAGS_AC) && cpu->cpl == 3 &&
        !IS_ALIGNED(linear, MIN(bytes, MOST_ALIGNED)))
        return fault(run, VECTOR_AC, true);
    return true;
}

bool run_open(struct run *run, unsigned segment, uint64_t offset, unsigned access)
{
    const struct emu_cpu *cpu = run->cpu;
    const struct emu_segment *seg = &cpu->seg[segment];
    const unsigned bytes = run->insn->bytes;
    struct emu_span *span = &run->span[run->spans];
    uint64_t linear;
    bool legal;

    if (cpu->mode == INSN_64) {
        linear = offset + (segment >= INSN_FS ? seg->base : 0);
        legal = is_canonical(linear) && is_canonical(linear + bytes - 1);
    } else {
        linear = (uint32_t)(offset + seg->base);
        legal = is_in_segment(cpu, seg, offset, bytes, access);
    }
    if (!legal)
        return fault(run, segment == INSN_SS ? VECTOR_SS : VECTOR_GP, true);
    if (!is_aligned(run, linear))
        return false;
    span->linear = linear;
    span->bytes = (uint8_t)bytes;
    span->access = (uint8_t)access;
    if (!run->memory->locate(run->owner, span, run->fault))
        return false;
    run->spans++;
    return true;
}

bool run_traps(const struct run *run)
{
    for (unsigned i = 0; i < run->spans; i++) {
        const struct emu_span *span = &run->span[i];

        if (span->access & ~span->rights[0])
            return true;
        if (span->first_bytes < span->bytes && (span->access & ~span->rights[1]))
            return true;
    }
    return false;
}

uint64_t run_read(struct run *run, const struct emu_span *span)
{
    uint64_t value = 0;

    run->memory->read(run->owner, span, &value);
    return value;
}

void run_write(struct run *run, const struct emu_span *span, uint64_t value)
{
    run->memory->write(run->owner, span, &value);
}

/* A bit number in a register reaches beyond the operand, to both sides: SDM 2 "BT", "Bit(BitBase, BitOffset)". */
static uint64_t bit_string_bytes(const struct insn *insn, const uint64_t *gpr)
{
    const unsigned bits = insn->bytes * 8u;
    int64_t number = (int64_t)(insn_operand(insn, gpr) << (64 - bits)) >> (64 - bits);

    return (uint64_t)(number >> MASK_SHIFT(bits)) * insn->bytes;
}

static bool is_bit_op(const struct insn *insn)
{
    return insn->op >= INSN_BT && insn->op <= INSN_BTC;
}

/* The span of the memory operand. */
static bool open_operand(struct run *run, unsigned access)
{
    const struct insn *insn = run->insn;
    uint64_t offset = insn_offset(insn, run->cpu->gpr, run->cpu->rip);

    if (is_bit_op(insn) && !insn->has_imm)
        offset = (offset + bit_string_bytes(insn, run->cpu->gpr)) & ones_of(insn->addr_bytes);
    return run_open(run, insn->segment, offset, access);
}

/* ---- PUSH and POP ---- */

static unsigned stack_bytes(const struct emu_cpu *cpu)
{
    if (cpu->mode == INSN_64)
        return 8;
    return cpu->seg[INSN_SS].attributes & SEGMENT_BIG ? 4 : 2;
}

static bool open_push(struct run *run, uint64_t top)
{
    return open_operand(run, INSN_READS) && run_open(run, INSN_SS, top, INSN_WRITES);
}

/* An address that rests on rSP is that after the increment. */
static bool open_pop(struct run *run, unsigned width, uint64_t top)
{
    uint64_t *rsp = &run->cpu->gpr[RUN_RSP], before = *rsp;
    bool opened;

    if (!run_open(run, INSN_SS, before & ones_of(width), INSN_READS))
        return false;
    run_set_low(rsp, width, top);
    opened = open_operand(run, INSN_WRITES);
    *rsp = before;
    return opened;
}

/* Both copy the first span to the second, and move rSP. */
static enum emu_result run_stack(struct run *run)
{
    const unsigned bytes = run->insn->bytes, width = stack_bytes(run->cpu);
    uint64_t *rsp = &run->cpu->gpr[RUN_RSP];
    bool push = run->insn->op == INSN_PUSH;
    uint64_t top = (push ? *rsp - bytes : *rsp + bytes) & ones_of(width);

    if (!(push ? open_push(run, top) : open_pop(run, width, top)))
        return EMU_FAULT;
    if (!run_traps(run))
        return EMU_RETRY;
    run_write(run, &run->span[1], run_read(run, &run->span[0]));
    run_set_low(rsp, width, top);
    return EMU_DONE;
}

/* ---- vectors ---- */

/* SDM 2 "Exception Conditions for Legacy SSE Instructions", "Exceptions Type 4" and its neighbours. */
static bool check_vectors(struct run *run)
{
    const uint64_t wanted = XCR0_SSE | XCR0_AVX;
    const struct emu_cpu *cpu = run->cpu;
    bool legal;

    if (run->insn->vector == INSN_XMM)
        legal = !(cpu->cr0 & CR0_EM) && (cpu->cr4 & CR4_OSFXSR);
    else
        legal = (cpu->cr0 & CR0_PE) && !(cpu->rflags & RFLAGS_VM) && (cpu->cr4 & CR4_OSXSAVE) &&
                (cpu->xcr0 & wanted) == wanted;
    if (!legal)
        return fault(run, VECTOR_UD, false);
    if (cpu->cr0 & CR0_TS)
        return fault(run, VECTOR_NM, false);
    return true;
}

static void move_vector(struct run *run)
{
    const struct insn *insn = run->insn;
    const struct emu_memory *memory = run->memory;
    const unsigned width = insn->vector == INSN_VEX_256 ? 32 : 16;
    uint8_t value[EMU_MAX_BYTES] ALIGNED(EMU_MAX_BYTES) = {0};

    if (!insn->to_reg || insn->merge)
        memory->vector_get(run->owner, insn->reg, width, value);
    if (!insn->to_reg) {
        memory->write(run->owner, &run->span[0], value + insn->lane);
        return;
    }
    memory->read(run->owner, &run->span[0], value + insn->lane);
    memory->vector_set(run->owner, insn->reg, width, insn->vector != INSN_XMM, value);
}

/* ---- the rest ---- */

/* A failed comparison writes too, what was there: the write may trap, and needs the right. */
static uint64_t compare_exchange(struct run *run, uint64_t memory, uint64_t other)
{
    const unsigned bytes = run->insn->bytes;
    uint64_t *rax = &run->cpu->gpr[RUN_RAX];

    alu(INSN_CMP, bytes, *rax & ones_of(bytes), memory, &run->cpu->rflags);
    if (run->cpu->rflags & RFLAGS_ZF)
        return other;
    run_set_low(rax, bytes, memory);
    return memory;
}

static void compare_exchange_pair(struct run *run)
{
    const unsigned half = run->insn->bytes / 2u;
    const struct emu_span *span = &run->span[0];
    uint64_t *gpr = run->cpu->gpr, mask = ones_of(half);
    uint64_t pair[2] = {0};
    uint8_t *high = (uint8_t *)pair + half;
    uint64_t low_half, high_half = 0;

    run->memory->read(run->owner, span, pair);
    low_half = pair[0] & mask;
    __builtin_memcpy(&high_half, high, half);
    if (low_half == (gpr[RUN_RAX] & mask) && high_half == (gpr[RUN_RDX] & mask)) {
        run->cpu->rflags |= RFLAGS_ZF;
        __builtin_memcpy(pair, &gpr[RUN_RBX], half);
        __builtin_memcpy(high, &gpr[RUN_RCX], half);
    } else {
        run->cpu->rflags &= ~RFLAGS_ZF;
        run_set_low(&gpr[RUN_RAX], half, low_half);
        run_set_low(&gpr[RUN_RDX], half, high_half);
    }
    run->memory->write(run->owner, span, pair);
}

static uint64_t swap_bytes(uint64_t value, unsigned bytes)
{
    return __builtin_bswap64(value) >> (64 - bytes * 8);
}

/* The result, wherever it goes. */
static uint64_t compute(struct run *run, uint64_t memory, uint64_t other)
{
    const struct insn *insn = run->insn;
    uint64_t *rflags = &run->cpu->rflags;

    switch (insn->op) {
    case INSN_MOV:
        return insn->to_reg ? memory : other;
    case INSN_MOVBE:
        return swap_bytes(insn->to_reg ? memory : other, insn->bytes);
    case INSN_XCHG:
        return other;
    case INSN_CMPXCHG:
        return compare_exchange(run, memory, other);
    default:
        if (insn->to_reg)
            return alu(insn->op, insn->bytes, other, memory, rflags);
        if (is_bit_op(insn))
            other &= insn->bytes * 8u - 1;
        return alu(insn->op, insn->bytes, memory, other, rflags);
    }
}

/* One operand in memory of at most 8 bytes, and perhaps one beside it. */
static void change(struct run *run)
{
    const struct insn *insn = run->insn;
    uint64_t *gpr = run->cpu->gpr, memory = 0, other = insn_operand(insn, gpr), value;

    if (insn->access & INSN_READS)
        memory = run_read(run, &run->span[0]);
    value = compute(run, memory, other);
    if (insn->access & INSN_WRITES)
        run_write(run, &run->span[0], value);
    if (insn->op == INSN_XCHG || insn->op == INSN_XADD)
        insn_set_reg(insn, gpr, memory);
    else if (insn->to_reg && insn->op != INSN_CMP && insn->op != INSN_TEST)
        insn_set_reg(insn, gpr, value);
}

static enum emu_result run_operand(struct run *run)
{
    const struct insn *insn = run->insn;

    if (!open_operand(run, insn->access))
        return EMU_FAULT;
    if (!run_traps(run))
        return EMU_RETRY;
    if (insn->locked)
        run->memory->lock(run->owner);
    if (insn->op == INSN_VECTOR)
        move_vector(run);
    else if (insn->op == INSN_CMPXCHG_PAIR)
        compare_exchange_pair(run);
    else
        change(run);
    if (insn->locked)
        run->memory->unlock(run->owner);
    return EMU_DONE;
}

enum emu_result emulate(const struct insn *insn, struct emu_cpu *cpu, unsigned iterations,
                        const struct emu_memory *memory, void *owner, struct emu_fault *fault)
{
    struct run run; /* the spans stay as they are until they are open */

    run.insn = insn;
    run.cpu = cpu;
    run.memory = memory;
    run.owner = owner;
    run.fault = fault;
    run.spans = 0;
    if (insn->op == INSN_OTHER)
        return EMU_UNSUPPORTED;
    if (insn->op >= INSN_MOVS && insn->op <= INSN_SCAS)
        return run_string(&run, iterations);
    if (insn->op == INSN_PUSH || insn->op == INSN_POP)
        return run_stack(&run);
    if (insn->op == INSN_VECTOR && !check_vectors(&run))
        return EMU_FAULT;
    return run_operand(&run);
}
