#include "tests/unit/emu_kit.h"

#include <string.h>

struct kit kit;

static struct kit_state before;

static void note(char call)
{
    size_t used = strlen(kit.calls);

    if (used + 1 < sizeof(kit.calls))
        kit.calls[used] = call;
}

static unsigned page_of(uint64_t linear)
{
    return (unsigned)(linear >> PAGE_SHIFT) % KIT_PAGES;
}

static bool page_fault(struct emu_fault *fault, uint64_t linear, unsigned access)
{
    *fault = (struct emu_fault){.vector = VECTOR_PF,
                                .has_error = true,
                                .error = access & W ? PF_WRITE : 0,
                                .address = linear};
    return false;
}

static uint64_t wrap(uint64_t linear)
{
    return kit.cpu.mode == INSN_64 ? linear : (uint32_t)linear;
}

static bool locate(void *owner, struct emu_span *span, struct emu_fault *fault)
{
    const unsigned left = (unsigned)(PAGE_BYTES - (span->linear & PAGE_MASK));
    const uint64_t second = wrap(span->linear + left);

    assert_ptr_equal(owner, &kit);
    assert_true(span->access != 0 && span->bytes != 0 && span->bytes <= EMU_MAX_BYTES);
    assert_false(kit.locked);
    assert_true(wrap(span->linear) == span->linear);
    note('l');
    if (kit.fail_in != 0 && --kit.fail_in == 0)
        return page_fault(fault, span->linear, span->access);
    span->first_bytes = (uint8_t)MIN(span->bytes, left);
    span->rights[0] = kit.rights[page_of(span->linear)];
    span->gpa[0] = GPA(span->linear % KIT_BYTES);
    if (kit.missing[page_of(span->linear)])
        return page_fault(fault, span->linear, span->access);
    if (span->bytes > left) {
        span->rights[1] = kit.rights[page_of(second)];
        span->gpa[1] = GPA(second % KIT_BYTES);
        if (kit.missing[page_of(second)])
            return page_fault(fault, second, span->access);
    }
    kit.span[kit.spans++ % KIT_SPANS] = *span;
    return true;
}

/* One of the two newest, as locate() left it. */
static void check_span(const struct emu_span *span, unsigned access)
{
    const struct emu_span *newest = &kit.span[(kit.spans - 1) % KIT_SPANS];

    assert_true(kit.spans >= 1);
    if (kit.spans >= 2 && span->linear != newest->linear)
        newest = &kit.span[(kit.spans - 2) % KIT_SPANS];
    assert_true(span->linear == newest->linear);
    assert_int_equal(span->bytes, newest->bytes);
    assert_int_equal(span->first_bytes, newest->first_bytes);
    assert_true(span->gpa[0].v == newest->gpa[0].v);
    assert_int_equal(span->access & access, access);
}

static uint8_t *byte_of(const struct emu_span *span, unsigned i)
{
    if (i < span->first_bytes)
        return &kit.state.memory[span->gpa[0].v + i];
    return &kit.state.memory[span->gpa[1].v + i - span->first_bytes];
}

static void read(void *owner, const struct emu_span *span, void *to)
{
    assert_ptr_equal(owner, &kit);
    check_span(span, R);
    note('r');
    for (unsigned i = 0; i < span->bytes; i++)
        ((uint8_t *)to)[i] = *byte_of(span, i);
}

static void write(void *owner, const struct emu_span *span, const void *from)
{
    assert_ptr_equal(owner, &kit);
    check_span(span, W);
    note('w');
    for (unsigned i = 0; i < span->bytes; i++)
        *byte_of(span, i) = ((const uint8_t *)from)[i];
}

static void lock(void *owner)
{
    assert_ptr_equal(owner, &kit);
    assert_false(kit.locked);
    kit.locked = true;
    note('[');
}

static void unlock(void *owner)
{
    assert_ptr_equal(owner, &kit);
    assert_true(kit.locked);
    kit.locked = false;
    note(']');
}

static void vector_get(void *owner, unsigned reg, unsigned bytes, void *to)
{
    assert_ptr_equal(owner, &kit);
    assert_true(reg < 16 && (bytes == 16 || bytes == 32));
    note('g');
    memcpy(to, kit.state.vector[reg], bytes);
}

static void vector_set(void *owner, unsigned reg, unsigned bytes, bool zero, const void *from)
{
    assert_ptr_equal(owner, &kit);
    assert_true(reg < 16 && (bytes == 16 || bytes == 32));
    note(zero ? 'z' : 's');
    memcpy(kit.state.vector[reg], from, bytes);
    if (zero)
        memset(&kit.state.vector[reg][bytes], 0, EMU_MAX_BYTES - bytes);
}

static const struct emu_memory memory = {locate, read, write, lock, unlock, vector_get, vector_set};

int kit_setup(void **state)
{
    (void)state;
    memset(&kit, 0, sizeof(kit));
    for (unsigned i = 0; i < 16; i++)
        kit.state.gpr[i] = 0xf0e1d2c3b4a59687 + i * 0x0102030405060708;
    for (unsigned i = 0; i < KIT_BYTES; i++)
        kit.state.memory[i] = (uint8_t)(i * 7 + i / 256);
    for (unsigned i = 0; i < 16; i++)
        for (unsigned b = 0; b < EMU_MAX_BYTES; b++)
            kit.state.vector[i][b] = (uint8_t)(0x80 + i * 5 + b);
    kit.state.gpr[RBX] = KIT_PLACE;
    kit.state.gpr[RSP] = KIT_PLACE + PAGE_BYTES;
    kit.state.gpr[RSI] = KIT_PLACE + 2 * PAGE_BYTES;
    kit.state.gpr[RDI] = KIT_PLACE + 4 * PAGE_BYTES;
    kit.state.gpr[RCX] = 1;
    kit.state.rflags = 2;
    kit.cpu = (struct emu_cpu){.gpr = kit.state.gpr,
                               .rip = 0x401000,
                               .cr0 = CR0_PE | CR0_PG,
                               .cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXSAVE,
                               .xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX,
                               .mode = INSN_64};
    for (unsigned i = 0; i < 6; i++)
        kit.cpu.seg[i] = (struct emu_segment){0, 0xffffffff, i == CS ? 0xa09b : 0xc093};
    return 0;
}

void kit_mode(enum insn_mode mode)
{
    kit.cpu.mode = (uint8_t)mode;
    for (unsigned i = 0; i < 16; i++)
        kit.state.gpr[i] &= mode == INSN_16 ? 0xffff : 0xffffffff;
    if (mode != INSN_16)
        return;
    kit.cpu.cr0 = 0;
    for (unsigned i = 0; i < 6; i++)
        kit.cpu.seg[i] = (struct emu_segment){0, 0xffff, 0x93};
}

enum emu_result kit_run(const struct insn *insn, unsigned iterations)
{
    const struct emu_cpu cpu = kit.cpu;
    enum emu_result result;

    memset(kit.calls, 0, sizeof(kit.calls));
    memset(&kit.fault, 0xa5, sizeof(kit.fault));
    kit.spans = 0;
    kit.cpu.rflags = kit.state.rflags;
    before = kit.state;
    result = emulate(insn, &kit.cpu, iterations, &memory, &kit, &kit.fault);
    kit.state.rflags = kit.cpu.rflags;
    kit.cpu.rflags = cpu.rflags;
    assert_memory_equal(&kit.cpu, &cpu, sizeof(cpu)); /* nothing else of the CPU's state */
    assert_false(kit.locked);
    return result;
}

enum emu_result kit_run_unchanged(const struct insn *insn)
{
    enum emu_result result = kit_run(insn, 10);

    assert_memory_equal(&kit.state, &before, sizeof(before));
    assert_int_equal(strspn(kit.calls, "l"), strlen(kit.calls));
    return result;
}

void kit_done(const struct insn *insn, const char *calls)
{
    assert_int_equal(kit_run(insn, 10), EMU_DONE);
    assert_string_equal(kit.calls, calls);
}

void kit_faults(const struct insn *insn, enum vector vector)
{
    const bool has_error = vector != VECTOR_UD && vector != VECTOR_NM && (kit.cpu.cr0 & CR0_PE);

    assert_int_equal(kit_run_unchanged(insn), EMU_FAULT);
    assert_int_equal(kit.fault.vector, vector);
    assert_int_equal(kit.fault.has_error, has_error);
    assert_int_equal(kit.fault.error, 0);
}

void kit_poke(uint64_t linear, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        kit.state.memory[wrap(linear + i) % KIT_BYTES] = (uint8_t)(value >> (i * 8));
}

uint64_t kit_peek(uint64_t linear, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)kit.state.memory[wrap(linear + i) % KIT_BYTES] << (i * 8);
    return value;
}

struct insn kit_insn(enum insn_op op, unsigned bytes, unsigned access)
{
    return (struct insn){.op = (uint8_t)op,
                         .bytes = (uint8_t)bytes,
                         .reg_bytes = (uint8_t)bytes,
                         .access = (uint8_t)access,
                         .memory = true,
                         .length = 3,
                         .reg = INSN_NO_REG,
                         .base = RBX,
                         .index = INSN_NO_REG,
                         .segment = DS,
                         .addr_bytes = kit.cpu.mode == INSN_16   ? 2
                                       : kit.cpu.mode == INSN_32 ? 4
                                                                 : 8};
}

struct insn kit_insn_reg(enum insn_op op, unsigned bytes, unsigned access, unsigned reg)
{
    struct insn insn = kit_insn(op, bytes, access);

    insn.reg = (uint8_t)reg;
    insn.to_reg = access == R && op != INSN_BT && op != INSN_CMP && op != INSN_TEST;
    insn.locked = op == INSN_XCHG;
    return insn;
}

struct insn kit_string(enum insn_op op, unsigned bytes, enum insn_repeat repeat)
{
    static const uint8_t access[] = {RW, R, W, R, R};
    struct insn insn = kit_insn(op, bytes, access[op - INSN_MOVS]);

    insn.base = INSN_NO_REG;
    insn.repeat = (uint8_t)repeat;
    return insn;
}
