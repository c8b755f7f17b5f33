/*
 * Results and flags: every 8-bit operation, edge values and random ones of all widths, against a model that counts in 128
 * bits, and where this machine can, against its CPU.
 */
#include "tests/fake/host.h"

#include <stdio.h>

#include "hv/base/bits.h"
#include "hv/mmio/emulate.h"
#include "hv/x86/regs.h"

#define STATUS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)
/* Flags that no operation may touch: TF, IF, DF, NT, RF, AC, ID, and the fixed bit. */
#define OTHERS 0x254702ull

struct outcome {
    uint64_t value, flags;
};

/* ---- the model ---- */

typedef __int128 wide;

static wide as_signed(uint64_t value, unsigned bytes)
{
    wide range = (wide)1 << (bytes * 8);

    return (wide)value >= range / 2 ? (wide)value - range : (wide)value;
}

static uint64_t parity_zero_sign(uint64_t value, unsigned bytes)
{
    uint64_t flags = 0;
    unsigned ones = 0;

    for (unsigned bit = 0; bit < 8; bit++)
        ones += (unsigned)(value >> bit) & 1;
    if (ones % 2 == 0)
        flags |= RFLAGS_PF;
    if (value == 0)
        flags |= RFLAGS_ZF;
    if (as_signed(value, bytes) < 0)
        flags |= RFLAGS_SF;
    return flags;
}

/* a + b + carry, or a - b - carry. */
static struct outcome sum(unsigned bytes, uint64_t a, uint64_t b, unsigned carry, bool minus)
{
    const wide range = (wide)1 << (bytes * 8);
    const wide whole = minus ? (wide)a - b - carry : (wide)a + b + carry;
    const wide sa = as_signed(a, bytes), sb = as_signed(b, bytes);
    const wide total = minus ? sa - sb - carry : sa + sb + carry;
    const int low = minus ? (int)(a & 15) - (int)(b & 15) - (int)carry
                          : (int)(a & 15) + (int)(b & 15) + (int)carry;
    struct outcome out = {.value = (uint64_t)whole & ones_of(bytes)};

    out.flags = parity_zero_sign(out.value, bytes);
    if (whole < 0 || whole >= range)
        out.flags |= RFLAGS_CF;
    if (total < -range / 2 || total >= range / 2)
        out.flags |= RFLAGS_OF;
    if (low < 0 || low > 15)
        out.flags |= RFLAGS_AF;
    return out;
}

static struct outcome logic(unsigned bytes, uint64_t value)
{
    value &= ones_of(bytes);
    return (struct outcome){value, parity_zero_sign(value, bytes)};
}

static struct outcome keep_carry(struct outcome out, uint64_t flags)
{
    out.flags = (out.flags & ~RFLAGS_CF) | (flags & RFLAGS_CF);
    return out;
}

static struct outcome bit(enum insn_op op, uint64_t a, uint64_t b, uint64_t flags)
{
    const uint64_t one = 1ull << b;
    struct outcome out = {a, flags & STATUS & ~RFLAGS_CF};

    if (a & one)
        out.flags |= RFLAGS_CF;
    if (op == INSN_BTS || (op == INSN_BTC && !(a & one)))
        out.value = a | one;
    else if (op == INSN_BTR || op == INSN_BTC)
        out.value = a & ~one;
    return out;
}

static struct outcome model(enum insn_op op, unsigned bytes, uint64_t a, uint64_t b, uint64_t flags)
{
    const unsigned carry = (flags & RFLAGS_CF) != 0;

    if (op >= INSN_BT && op <= INSN_BTC)
        return bit(op, a, b, flags);
    if (op == INSN_ADD || op == INSN_XADD)
        return sum(bytes, a, b, 0, false);
    if (op == INSN_ADC)
        return sum(bytes, a, b, carry, false);
    if (op == INSN_SUB || op == INSN_CMP || op == INSN_CMPXCHG)
        return sum(bytes, a, b, 0, true);
    if (op == INSN_SBB)
        return sum(bytes, a, b, carry, true);
    if (op == INSN_NEG)
        return sum(bytes, 0, a, 0, true);
    if (op == INSN_INC)
        return keep_carry(sum(bytes, a, 1, 0, false), flags);
    if (op == INSN_DEC)
        return keep_carry(sum(bytes, a, 1, 0, true), flags);
    if (op == INSN_NOT)
        return (struct outcome){~a & ones_of(bytes), flags & STATUS};
    if (op == INSN_OR)
        return logic(bytes, a | b);
    if (op == INSN_XOR)
        return logic(bytes, a ^ b);
    return logic(bytes, a & b);
}

/* ---- this machine ---- */

#if defined(__x86_64__)

typedef struct outcome native_op(uint64_t a, uint64_t b, uint64_t flags);

/* The stack is used below the 128 bytes that the compiler may have put something into. */
#define RUN(name, type, text)                                                      \
    static struct outcome name(uint64_t a, uint64_t b, uint64_t flags)             \
    {                                                                              \
        type x = (type)a, y = (type)b;                                             \
                                                                                   \
        __asm__ volatile("lea -128(%%rsp), %%rsp\n\t push %[f]\n\t popfq\n\t" text \
                         "\n\t pushfq\n\t pop %[f]\n\t lea 128(%%rsp), %%rsp"      \
                         : [a] "+r"(x), [f] "+r"(flags), [b] "+r"(y)               \
                         :                                                         \
                         : "cc", "memory");                                        \
        return (struct outcome){x, flags & STATUS};                                \
    }
#define RUN_ALL(name, op, operands)           \
    RUN(name##_1, uint8_t, op "b " operands)  \
    RUN(name##_2, uint16_t, op "w " operands) \
    RUN(name##_4, uint32_t, op "l " operands) \
    RUN(name##_8, uint64_t, op "q " operands)
#define RUN_BIT(name, op)                      \
    RUN(name##_2, uint16_t, op "w %[b], %[a]") \
    RUN(name##_4, uint32_t, op "l %[b], %[a]") \
    RUN(name##_8, uint64_t, op "q %[b], %[a]")
#define ROW(name)                              \
    {                                          \
        name##_1, name##_2, name##_4, name##_8 \
    }
#define BIT_ROW(name)                      \
    {                                      \
        NULL, name##_2, name##_4, name##_8 \
    }

RUN_ALL(run_add, "add", "%[b], %[a]")
RUN_ALL(run_or, "or", "%[b], %[a]")
RUN_ALL(run_adc, "adc", "%[b], %[a]")
RUN_ALL(run_sbb, "sbb", "%[b], %[a]")
RUN_ALL(run_and, "and", "%[b], %[a]")
RUN_ALL(run_sub, "sub", "%[b], %[a]")
RUN_ALL(run_xor, "xor", "%[b], %[a]")
RUN_ALL(run_cmp, "cmp", "%[b], %[a]")
RUN_ALL(run_test, "test", "%[b], %[a]")
RUN_ALL(run_not, "not", "%[a]")
RUN_ALL(run_neg, "neg", "%[a]")
RUN_ALL(run_inc, "inc", "%[a]")
RUN_ALL(run_dec, "dec", "%[a]")
RUN_ALL(run_xadd, "xadd", "%[b], %[a]")
RUN_BIT(run_bt, "bt")
RUN_BIT(run_bts, "bts")
RUN_BIT(run_btr, "btr")
RUN_BIT(run_btc, "btc")

static native_op *const natives[][4] = {
    [INSN_ADD] = ROW(run_add),     [INSN_OR] = ROW(run_or),       [INSN_ADC] = ROW(run_adc),
    [INSN_SBB] = ROW(run_sbb),     [INSN_AND] = ROW(run_and),     [INSN_SUB] = ROW(run_sub),
    [INSN_XOR] = ROW(run_xor),     [INSN_CMP] = ROW(run_cmp),     [INSN_TEST] = ROW(run_test),
    [INSN_NOT] = ROW(run_not),     [INSN_NEG] = ROW(run_neg),     [INSN_INC] = ROW(run_inc),
    [INSN_DEC] = ROW(run_dec),     [INSN_BT] = BIT_ROW(run_bt),   [INSN_BTS] = BIT_ROW(run_bts),
    [INSN_BTR] = BIT_ROW(run_btr), [INSN_BTC] = BIT_ROW(run_btc), [INSN_XADD] = ROW(run_xadd),
    [INSN_CMPXCHG] = ROW(run_cmp),
};

/* CMP and TEST leave no result, and BT leaves the other flags undefined. */
static bool agrees(enum insn_op op, unsigned bytes, uint64_t a, uint64_t b, uint64_t flags,
                   struct outcome out)
{
    native_op *run = natives[op][MASK_SHIFT(bytes)];
    uint64_t mask = op >= INSN_BT && op <= INSN_BTC ? RFLAGS_CF : STATUS;
    struct outcome real;

    if (run == NULL)
        return true;
    real = run(a, b, (flags & STATUS) | 2);
    if (op != INSN_CMP && op != INSN_CMPXCHG && op != INSN_TEST && real.value != out.value)
        return false;
    return ((real.flags ^ out.flags) & mask) == 0;
}

#else

static bool agrees(enum insn_op op, unsigned bytes, uint64_t a, uint64_t b, uint64_t flags,
                   struct outcome out)
{
    (void)op, (void)bytes, (void)a, (void)b, (void)flags, (void)out;
    return true;
}

#endif

/* ---- tests ---- */

static void check(enum insn_op op, unsigned bytes, uint64_t a, uint64_t b, uint64_t flags)
{
    const struct outcome want = model(op, bytes, a, b, flags);
    uint64_t after = flags;
    struct outcome out = {.value = alu(op, bytes, a, b, &after)};

    out.flags = after & STATUS;
    if (out.value == want.value && out.flags == want.flags && ((after ^ flags) & ~STATUS) == 0 &&
        agrees(op, bytes, a, b, flags, out))
        return;
    print_error(
        "op %u, %u bytes, %llx and %llx, flags %llx: %llx, flags %llx; the model says %llx, "
        "flags %llx\n",
        op, bytes, (unsigned long long)a, (unsigned long long)b, (unsigned long long)flags,
        (unsigned long long)out.value, (unsigned long long)after, (unsigned long long)want.value,
        (unsigned long long)want.flags);
    fail();
}

static const enum insn_op ops[] = {
    INSN_ADD, INSN_OR,   INSN_ADC, INSN_SBB,  INSN_AND,     INSN_SUB, INSN_XOR,
    INSN_CMP, INSN_TEST, INSN_NOT, INSN_NEG,  INSN_INC,     INSN_DEC, INSN_BT,
    INSN_BTS, INSN_BTR,  INSN_BTC, INSN_XADD, INSN_CMPXCHG,
};

static bool is_bit(enum insn_op op)
{
    return op >= INSN_BT && op <= INSN_BTC;
}

static void test_bytes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(ops); i++)
        for (unsigned n = 0; n < 2 * 256 * 256; n++) {
            uint64_t flags = n & 0x10000 ? RFLAGS_CF : 0;

            if (!is_bit(ops[i]))
                check(ops[i], 1, n & 0xff, (n >> 8) & 0xff, flags);
        }
}

static uint64_t random64(void)
{
    static uint64_t x = 0x9e3779b97f4a7c15;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

/* Near 0, near the sign bit, near all ones, and a few in between. */
static uint64_t edge(unsigned n, unsigned bytes)
{
    const uint64_t around[] = {0, 1ull << (bytes * 8 - 1), 0x10, 0x80, 0x5555555555555555};

    return (around[n / 5 % ARRAY_COUNT(around)] + n % 5 - 2) & ones_of(bytes);
}

static void test_edges(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(ops); i++)
        for (unsigned bytes = 2; bytes <= 8; bytes *= 2)
            for (unsigned n = 0; n < 25 * 25 * 2; n++) {
                uint64_t a = edge(n % 25, bytes), b = edge(n / 25 % 25, bytes);

                if (is_bit(ops[i]))
                    b &= bytes * 8 - 1;
                check(ops[i], bytes, a, b, n / 625 ? RFLAGS_CF : 0);
            }
}

/* Random operands; flags that are set before, among them some that must stay. */
static void test_random(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 400000; n++) {
        enum insn_op op = ops[n % ARRAY_COUNT(ops)];
        unsigned bytes = 1u << (random64() % 4);
        uint64_t a = random64() & ones_of(bytes), b = random64() & ones_of(bytes);

        if (is_bit(op)) {
            bytes = MAX(bytes, 2u);
            b &= bytes * 8 - 1;
        }
        check(op, bytes, a, b, random64() & (STATUS | OTHERS));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
