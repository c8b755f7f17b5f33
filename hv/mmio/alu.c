/*
 * Results and flags. One adder serves every operation that carries: SDM 1 "EFLAGS" defines CF, AF and OF by the
 * carries out of three bits, and a subtraction is an addition of the complement whose carries are inverted.
 */
#include "hv/mmio/emulate.h"

#include "hv/base/bits.h"
#include "hv/x86/regs.h"

#define STATUS_FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

/* How an operation uses the adder. */
enum adder {
    ADDER_ON = 1 << 0,
    ADDER_SUBTRACTS = 1 << 1,
    ADDER_CARRIES = 1 << 2, /* CF goes in */
    ADDER_NEGATES = 1 << 3, /* 0 - a */
    ADDER_BY_ONE = 1 << 4,  /* b is 1, and CF stays */
};

static const uint8_t adders[] = {
    [INSN_ADD] = ADDER_ON,
    [INSN_ADC] = ADDER_ON | ADDER_CARRIES,
    [INSN_SBB] = ADDER_ON | ADDER_SUBTRACTS | ADDER_CARRIES,
    [INSN_SUB] = ADDER_ON | ADDER_SUBTRACTS,
    [INSN_CMP] = ADDER_ON | ADDER_SUBTRACTS,
    [INSN_NEG] = ADDER_ON | ADDER_SUBTRACTS | ADDER_NEGATES,
    [INSN_INC] = ADDER_ON | ADDER_BY_ONE,
    [INSN_DEC] = ADDER_ON | ADDER_SUBTRACTS | ADDER_BY_ONE,
    [INSN_XADD] = ADDER_ON,
    [INSN_CMPXCHG] = ADDER_ON | ADDER_SUBTRACTS,
};

static void set_flags(uint64_t *rflags, uint64_t changed, uint64_t flags)
{
    *rflags = (*rflags & ~changed) | (flags & changed);
}

/* `carries` has the carry (or borrow) out of each bit. */
static uint64_t status_of(unsigned bytes, uint64_t value, uint64_t carries)
{
    const unsigned top = bytes * 8 - 1;
    uint64_t flags = 0;

    if (carries >> top & 1)
        flags |= RFLAGS_CF;
    if (!__builtin_parity((uint8_t)value))
        flags |= RFLAGS_PF;
    if (carries >> 3 & 1)
        flags |= RFLAGS_AF;
    if ((value & ones_of(bytes)) == 0)
        flags |= RFLAGS_ZF;
    if (value >> top & 1)
        flags |= RFLAGS_SF;
    if ((carries >> top ^ carries >> (top - 1)) & 1)
        flags |= RFLAGS_OF;
    return flags;
}

static uint64_t add(unsigned how, unsigned bytes, uint64_t a, uint64_t b, uint64_t *rflags)
{
    uint64_t carry = how & ADDER_CARRIES ? *rflags & RFLAGS_CF : 0;
    uint64_t value, carries;

    if (how & ADDER_NEGATES) {
        b = a;
        a = 0;
    }
    if (how & ADDER_BY_ONE)
        b = 1;
    if (how & ADDER_SUBTRACTS) {
        b = ~b;
        carry ^= 1;
    }
    value = a + b + carry;
    carries = (a & b) | ((a | b) & ~value);
    if (how & ADDER_SUBTRACTS)
        carries = ~carries;
    set_flags(rflags, how & ADDER_BY_ONE ? STATUS_FLAGS & ~RFLAGS_CF : STATUS_FLAGS,
              status_of(bytes, value, carries));
    return value;
}

/* BT and its sisters: CF is the bit as it was, and the other flags stay. */
static uint64_t change_bit(enum insn_op op, uint64_t a, uint64_t b, uint64_t *rflags)
{
    uint64_t bit = BIT(b);

    set_flags(rflags, RFLAGS_CF, a & bit ? RFLAGS_CF : 0);
    if (op == INSN_BTS)
        return a | bit;
    if (op == INSN_BTR)
        return a & ~bit;
    return op == INSN_BTC ? a ^ bit : a;
}

uint64_t alu(enum insn_op op, unsigned bytes, uint64_t a, uint64_t b, uint64_t *rflags)
{
    uint64_t value;

    if (op >= INSN_BT && op <= INSN_BTC)
        return change_bit(op, a, b, rflags) & ones_of(bytes);
    if (op == INSN_NOT)
        return ~a & ones_of(bytes);
    if (adders[op] != 0)
        return add(adders[op], bytes, a, b, rflags) & ones_of(bytes);

    if (op == INSN_OR)
        value = a | b;
    else if (op == INSN_XOR)
        value = a ^ b;
    else
        value = a & b; /* AND, TEST */
    set_flags(rflags, STATUS_FLAGS, status_of(bytes, value, 0));
    return value & ones_of(bytes);
}
