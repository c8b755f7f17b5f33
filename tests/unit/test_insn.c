/*
 * The decoder: a table of instructions written out by hand, and sweeps in which a second, naive reading of
 * SDM 2 "Instruction Format" is the judge.
 */
#include "tests/fake/host.h"

#include <stdlib.h>
#include <string.h>

#include "hv/base/bits.h"
#include "hv/mmio/insn.h"

#define NONE INSN_NO_REG

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
enum { ES = INSN_ES, CS, SS, DS, FS, GS };

struct row {
    const char *text;
    const char *code;
    unsigned length;
    struct insn want; /* length is the row's; addr_bytes 0 stands for 8 */
};

#define CODE(literal) (literal), sizeof(literal) - 1
#define WANT(op_, bytes_, reg_bytes_, reg_, base_, index_, scale_, segment_, disp_, ...)           \
    {                                                                                              \
        .op = (op_), .bytes = (bytes_), .reg_bytes = (reg_bytes_), .reg = (reg_), .base = (base_), \
        .index = (index_), .scale = (scale_), .segment = (segment_), .disp = (disp_), __VA_ARGS__  \
    }
#define L(...)        WANT(INSN_LOAD, __VA_ARGS__)
#define S(...)        WANT(INSN_STORE, __VA_ARGS__)
#define I(bytes, ...) WANT(INSN_STORE_IMM, bytes, bytes, NONE, __VA_ARGS__)

/* One instruction per line. */
/* clang-format off */
static const struct row rows[] = {
    /* every opcode, every width */
    {"mov [rax], al", CODE("\x88\x00"), S(1, 1, RAX, RAX, NONE, 0, DS, 0,)},
    {"mov [rax], eax", CODE("\x89\x00"), S(4, 4, RAX, RAX, NONE, 0, DS, 0,)},
    {"mov [rax], ax", CODE("\x66\x89\x00"), S(2, 2, RAX, RAX, NONE, 0, DS, 0,)},
    {"mov [rax], rax", CODE("\x48\x89\x00"), S(8, 8, RAX, RAX, NONE, 0, DS, 0,)},
    {"mov cl, [rdx]", CODE("\x8a\x0a"), L(1, 1, RCX, RDX, NONE, 0, DS, 0,)},
    {"mov ecx, [rdx]", CODE("\x8b\x0a"), L(4, 4, RCX, RDX, NONE, 0, DS, 0,)},
    {"mov cx, [rdx]", CODE("\x66\x8b\x0a"), L(2, 2, RCX, RDX, NONE, 0, DS, 0,)},
    {"mov rcx, [rdx]", CODE("\x48\x8b\x0a"), L(8, 8, RCX, RDX, NONE, 0, DS, 0,)},
    {"mov al, moffs", CODE("\xa0\x88\x77\x66\x55\x44\x33\x22\x11"), L(1, 1, RAX, NONE, NONE, 0, DS, 0x1122334455667788,)},
    {"mov eax, moffs", CODE("\xa1\x88\x77\x66\x55\x44\x33\x22\xf1"), L(4, 4, RAX, NONE, NONE, 0, DS, (int64_t)0xf122334455667788,)},
    {"mov ax, moffs", CODE("\x66\xa1\x88\x77\x66\x55\x44\x33\x22\x11"), L(2, 2, RAX, NONE, NONE, 0, DS, 0x1122334455667788,)},
    {"mov rax, moffs", CODE("\x48\xa1\x88\x77\x66\x55\x44\x33\x22\x11"), L(8, 8, RAX, NONE, NONE, 0, DS, 0x1122334455667788,)},
    {"mov moffs, al", CODE("\xa2\x88\x77\x66\x55\x44\x33\x22\x11"), S(1, 1, RAX, NONE, NONE, 0, DS, 0x1122334455667788,)},
    {"mov moffs, eax", CODE("\xa3\x88\x77\x66\x55\x44\x33\x22\x11"), S(4, 4, RAX, NONE, NONE, 0, DS, 0x1122334455667788,)},
    {"mov moffs, rax, all of REX", CODE("\x4f\xa3\x88\x77\x66\x55\x44\x33\x22\x11"), S(8, 8, RAX, NONE, NONE, 0, DS, 0x1122334455667788,)},
    {"mov moffs32, eax", CODE("\x67\xa3\x88\x77\x66\xf5"), S(4, 4, RAX, NONE, NONE, 0, DS, 0xf5667788, .addr_bytes = 4)},
    {"mov fs:moffs32, ax", CODE("\x64\x67\x66\xa3\x88\x77\x66\xf5"), S(2, 2, RAX, NONE, NONE, 0, FS, 0xf5667788, .addr_bytes = 4)},
    {"mov byte [rbx], 0x80", CODE("\xc6\x03\x80"), I(1, RBX, NONE, 0, DS, 0, .imm = 0xffffffffffffff80)},
    {"mov dword [rbx], 0x80000001", CODE("\xc7\x03\x01\x00\x00\x80"), I(4, RBX, NONE, 0, DS, 0, .imm = 0xffffffff80000001)},
    {"mov word [rbx], 0x8001", CODE("\x66\xc7\x03\x01\x80"), I(2, RBX, NONE, 0, DS, 0, .imm = 0xffffffffffff8001)},
    {"mov qword [rbx], -2", CODE("\x48\xc7\x03\xfe\xff\xff\xff"), I(8, RBX, NONE, 0, DS, 0, .imm = 0xfffffffffffffffe)},
    {"mov dword [rbx+8], 1, REX.R set", CODE("\x44\xc7\x43\x08\x01\x00\x00\x00"), I(4, RBX, NONE, 0, DS, 8, .imm = 1)},
    {"xrelease mov dword [rbx], 1", CODE("\xf3\xc7\x03\x01\x00\x00\x00"), I(4, RBX, NONE, 0, DS, 0, .imm = 1)},
    {"xacquire mov byte [rbx], 1", CODE("\xf2\xc6\x03\x01"), I(1, RBX, NONE, 0, DS, 0, .imm = 1)},
    {"mov dword [rip+1], 2", CODE("\xc7\x05\x01\x00\x00\x00\x02\x00\x00\x00"), I(4, NONE, NONE, 0, DS, 1, .imm = 2, .rip_relative = true)},
    {"mov qword gs:[r12+r13*8+disp32], imm", CODE("\x65\x4b\xc7\x84\xec\x01\x00\x00\x80\x02\x00\x00\x00"), I(8, R12, R13, 3, GS, -0x7fffffffLL, .imm = 2)},
    {"mov qword [r12+r13*8+disp32], imm", CODE("\x4b\xc7\x84\xec\x01\x00\x00\x80\x02\x00\x00\x00"), I(8, R12, R13, 3, DS, -0x7fffffffLL, .imm = 2)},
    {"mov dword [rax+rcx+disp32], imm", CODE("\xc7\x84\x08\x01\x00\x00\x80\x02\x00\x00\x80"), I(4, RAX, RCX, 0, DS, -0x7fffffffLL, .imm = 0xffffffff80000002)},
    {"movzx eax, byte [rcx]", CODE("\x0f\xb6\x01"), L(1, 4, RAX, RCX, NONE, 0, DS, 0,)},
    {"movzx ax, byte [rcx]", CODE("\x66\x0f\xb6\x01"), L(1, 2, RAX, RCX, NONE, 0, DS, 0,)},
    {"movzx rax, byte [rcx]", CODE("\x48\x0f\xb6\x01"), L(1, 8, RAX, RCX, NONE, 0, DS, 0,)},
    {"movzx esi, byte [rcx]", CODE("\x0f\xb6\x31"), L(1, 4, RSI, RCX, NONE, 0, DS, 0,)},
    {"movzx eax, word [rcx]", CODE("\x0f\xb7\x01"), L(2, 4, RAX, RCX, NONE, 0, DS, 0,)},
    {"movzx ax, word [rcx]", CODE("\x66\x0f\xb7\x01"), L(2, 2, RAX, RCX, NONE, 0, DS, 0,)},
    {"movzx rax, word [rcx]", CODE("\x48\x0f\xb7\x01"), L(2, 8, RAX, RCX, NONE, 0, DS, 0,)},
    {"movsx eax, byte [rcx]", CODE("\x0f\xbe\x01"), L(1, 4, RAX, RCX, NONE, 0, DS, 0, .sign_extend = true)},
    {"movsx ax, byte [rcx]", CODE("\x66\x0f\xbe\x01"), L(1, 2, RAX, RCX, NONE, 0, DS, 0, .sign_extend = true)},
    {"movsx rax, byte [rcx]", CODE("\x48\x0f\xbe\x01"), L(1, 8, RAX, RCX, NONE, 0, DS, 0, .sign_extend = true)},
    {"movsx eax, word [rcx]", CODE("\x0f\xbf\x01"), L(2, 4, RAX, RCX, NONE, 0, DS, 0, .sign_extend = true)},
    {"movsx ax, word [rcx]", CODE("\x66\x0f\xbf\x01"), L(2, 2, RAX, RCX, NONE, 0, DS, 0, .sign_extend = true)},
    {"movsx r15, word [rcx]", CODE("\x4c\x0f\xbf\x39"), L(2, 8, R15, RCX, NONE, 0, DS, 0, .sign_extend = true)},
    {"movsxd rax, dword [rcx]", CODE("\x48\x63\x01"), L(4, 8, RAX, RCX, NONE, 0, DS, 0, .sign_extend = true)},
    {"movsxd eax, dword [rcx]", CODE("\x63\x01"), L(4, 4, RAX, RCX, NONE, 0, DS, 0, .sign_extend = true)},
    {"movsxd ax, word [rcx]", CODE("\x66\x63\x01"), L(2, 2, RAX, RCX, NONE, 0, DS, 0, .sign_extend = true)},
    /* byte registers: high ones without a REX, SPL to DIL with any */
    {"mov [rax], spl", CODE("\x40\x88\x20"), S(1, 1, RSP, RAX, NONE, 0, DS, 0,)},
    {"mov [rax], dil", CODE("\x40\x88\x38"), S(1, 1, RDI, RAX, NONE, 0, DS, 0,)},
    {"mov [rax], ah", CODE("\x88\x20"), S(1, 1, RAX, RAX, NONE, 0, DS, 0, .high_byte = true)},
    {"mov [rax], ch", CODE("\x88\x28"), S(1, 1, RCX, RAX, NONE, 0, DS, 0, .high_byte = true)},
    {"mov dh, [rax]", CODE("\x8a\x30"), L(1, 1, RDX, RAX, NONE, 0, DS, 0, .high_byte = true)},
    {"mov bh, [rax]", CODE("\x8a\x38"), L(1, 1, RBX, RAX, NONE, 0, DS, 0, .high_byte = true)},
    {"mov sil, [rax]", CODE("\x48\x8a\x30"), L(1, 1, RSI, RAX, NONE, 0, DS, 0,)},
    {"mov r12b, [rax]", CODE("\x44\x8a\x20"), L(1, 1, R12, RAX, NONE, 0, DS, 0,)},
    {"REX undone by 66h: mov [rax], ah", CODE("\x40\x66\x88\x20"), S(1, 1, RAX, RAX, NONE, 0, DS, 0, .high_byte = true)},
    /* addressing */
    {"mov eax, [rsp]", CODE("\x8b\x04\x24"), L(4, 4, RAX, RSP, NONE, 0, SS, 0,)},
    {"mov eax, [r12]", CODE("\x41\x8b\x04\x24"), L(4, 4, RAX, R12, NONE, 0, DS, 0,)},
    {"mov eax, [rbp-1]", CODE("\x8b\x45\xff"), L(4, 4, RAX, RBP, NONE, 0, SS, -1,)},
    {"mov eax, [r13-1]", CODE("\x41\x8b\x45\xff"), L(4, 4, RAX, R13, NONE, 0, DS, -1,)},
    {"mov eax, [rbp+disp32]", CODE("\x8b\x85\x00\x00\x00\x80"), L(4, 4, RAX, RBP, NONE, 0, SS, -0x80000000LL,)},
    {"mov eax, [rip-4]", CODE("\x8b\x05\xfc\xff\xff\xff"), L(4, 4, RAX, NONE, NONE, 0, DS, -4, .rip_relative = true)},
    {"mov eax, [rip-4], REX.B ignored", CODE("\x41\x8b\x05\xfc\xff\xff\xff"), L(4, 4, RAX, NONE, NONE, 0, DS, -4, .rip_relative = true)},
    {"mov eax, [eip-4]", CODE("\x67\x8b\x05\xfc\xff\xff\xff"), L(4, 4, RAX, NONE, NONE, 0, DS, -4, .rip_relative = true, .addr_bytes = 4)},
    {"mov eax, [disp32]", CODE("\x8b\x04\x25\xfc\xff\xff\xff"), L(4, 4, RAX, NONE, NONE, 0, DS, -4,)},
    {"mov eax, [disp32], REX.B ignored", CODE("\x41\x8b\x04\x25\xfc\xff\xff\x7f"), L(4, 4, RAX, NONE, NONE, 0, DS, 0x7ffffffc,)},
    {"mov eax, [rcx*8+disp32]", CODE("\x8b\x04\xcd\x04\x00\x00\x00"), L(4, 4, RAX, NONE, RCX, 3, DS, 4,)},
    {"mov eax, [rbp+rcx*2+4]", CODE("\x8b\x44\x4d\x04"), L(4, 4, RAX, RBP, RCX, 1, SS, 4,)},
    {"mov eax, [r13+rcx*2+4]", CODE("\x41\x8b\x44\x4d\x04"), L(4, 4, RAX, R13, RCX, 1, DS, 4,)},
    {"mov eax, [rax+r12*4]", CODE("\x42\x8b\x04\xa0"), L(4, 4, RAX, RAX, R12, 2, DS, 0,)},
    {"mov r15, [r14+r13*8+disp32]", CODE("\x4f\x8b\xbc\xee\x78\x56\x34\x12"), L(8, 8, R15, R14, R13, 3, DS, 0x12345678,)},
    {"mov eax, [rsp], scale without index", CODE("\x8b\x04\xe4"), L(4, 4, RAX, RSP, NONE, 0, SS, 0,)},
    {"mov eax, [ebx+esi*4]", CODE("\x67\x8b\x04\xb3"), L(4, 4, RAX, RBX, RSI, 2, DS, 0, .addr_bytes = 4)},
    /* prefixes: order, repetition, which one wins */
    {"mov eax, fs:[rax]", CODE("\x64\x8b\x00"), L(4, 4, RAX, RAX, NONE, 0, FS, 0,)},
    {"mov eax, gs:[rsp]", CODE("\x65\x8b\x04\x24"), L(4, 4, RAX, RSP, NONE, 0, GS, 0,)},
    {"mov eax, es:[rax]", CODE("\x26\x8b\x00"), L(4, 4, RAX, RAX, NONE, 0, ES, 0,)},
    {"mov eax, cs:[rbp+0]", CODE("\x2e\x8b\x45\x00"), L(4, 4, RAX, RBP, NONE, 0, CS, 0,)},
    {"mov eax, ss:[rax]", CODE("\x36\x8b\x00"), L(4, 4, RAX, RAX, NONE, 0, SS, 0,)},
    {"mov eax, ds:[rbp+0]", CODE("\x3e\x8b\x45\x00"), L(4, 4, RAX, RBP, NONE, 0, DS, 0,)},
    {"fs, gs: the last", CODE("\x64\x65\x8b\x00"), L(4, 4, RAX, RAX, NONE, 0, GS, 0,)},
    {"gs, fs: the last", CODE("\x65\x64\x8b\x00"), L(4, 4, RAX, RAX, NONE, 0, FS, 0,)},
    {"fs, ds: fs", CODE("\x64\x3e\x8b\x00"), L(4, 4, RAX, RAX, NONE, 0, FS, 0,)},
    {"gs, es, cs, ss: gs", CODE("\x65\x26\x2e\x36\x8b\x00"), L(4, 4, RAX, RAX, NONE, 0, GS, 0,)},
    {"ds, fs: fs", CODE("\x3e\x64\x8b\x00"), L(4, 4, RAX, RAX, NONE, 0, FS, 0,)},
    {"66h and REX.W: REX.W", CODE("\x66\x48\x8b\x00"), L(8, 8, RAX, RAX, NONE, 0, DS, 0,)},
    {"66h and REX.W, immediate", CODE("\x66\x48\xc7\x00\x01\x00\x00\x80"), I(8, RAX, NONE, 0, DS, 0, .imm = 0xffffffff80000001)},
    {"66h on a byte", CODE("\x66\x8a\x00"), L(1, 1, RAX, RAX, NONE, 0, DS, 0,)},
    {"REX.W undone by 66h", CODE("\x48\x66\x8b\x00"), L(2, 2, RAX, RAX, NONE, 0, DS, 0,)},
    {"REX.R undone by fs", CODE("\x4c\x64\x8b\x00"), L(4, 4, RAX, RAX, NONE, 0, FS, 0,)},
    {"two REX: the last", CODE("\x4f\x41\x8b\x00"), L(4, 4, RAX, R8, NONE, 0, DS, 0,)},
    {"REX, 66h, REX", CODE("\x44\x66\x41\x8b\x00"), L(2, 2, RAX, R8, NONE, 0, DS, 0,)},
    {"repne mov", CODE("\xf2\x8b\x00"), L(4, 4, RAX, RAX, NONE, 0, DS, 0,)},
    {"rep movzx", CODE("\xf3\x0f\xb6\x00"), L(1, 4, RAX, RAX, NONE, 0, DS, 0,)},
    {"67 66 65 4d", CODE("\x67\x66\x65\x45\x8b\x48\x10"), L(2, 2, R9, R8, NONE, 0, GS, 0x10, .addr_bytes = 4)},
    {"65 66 67 4d", CODE("\x65\x66\x67\x45\x8b\x48\x10"), L(2, 2, R9, R8, NONE, 0, GS, 0x10, .addr_bytes = 4)},
    {"15 bytes with prefixes", CODE("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x8b\x00"), L(2, 2, RAX, RAX, NONE, 0, DS, 0,)},
    {"15 bytes with operands", CODE("\x2e\x67\x48\xc7\x84\x8b\x01\x00\x00\x00\x02\x00\x00\x00"), I(8, RBX, RCX, 2, CS, 1, .imm = 2, .addr_bytes = 4)},
};
/* clang-format on */

/* Decode from a block of exactly `have` bytes, so that a read past them is caught. */
static enum insn_result decode_exact(const void *code, unsigned have, struct insn *insn)
{
    uint8_t *block = malloc(have + (have == 0));
    enum insn_result result;

    assert_non_null(block);
    memcpy(block, code, have);
    memset(insn, 0xa5, sizeof(*insn));
    result = insn_decode(block, have, insn);
    free(block);
    return result;
}

static void check_same(const char *text, const struct insn *got, const struct insn *want)
{
    if (getenv("LOG"))
        print_message("%s\n", text);
    assert_int_equal(got->op, want->op);
    assert_int_equal(got->length, want->length);
    assert_int_equal(got->bytes, want->bytes);
    assert_int_equal(got->reg_bytes, want->reg_bytes);
    assert_int_equal(got->sign_extend, want->sign_extend);
    assert_int_equal(got->high_byte, want->high_byte);
    assert_int_equal(got->reg, want->reg);
    assert_int_equal(got->base, want->base);
    assert_int_equal(got->index, want->index);
    assert_int_equal(got->scale, want->scale);
    assert_int_equal(got->segment, want->segment);
    assert_int_equal(got->addr_bytes, want->addr_bytes);
    assert_int_equal(got->rip_relative, want->rip_relative);
    assert_int_equal(got->disp, want->disp);
    if (want->op == INSN_STORE_IMM)
        assert_int_equal(got->imm, want->imm);
}

static struct insn wanted(const struct row *row)
{
    struct insn want = row->want;

    want.length = (uint8_t)row->length;
    if (want.addr_bytes == 0)
        want.addr_bytes = 8;
    return want;
}

static void test_table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
        const struct row *row = &rows[i];
        struct insn want = wanted(row), got;
        uint8_t longer[40];

        /* Exactly its bytes, the usual fetch of 15, and more; what follows must not matter. */
        assert_int_equal(decode_exact(row->code, row->length, &got), INSN_OK);
        check_same(row->text, &got, &want);
        for (unsigned fill = 0; fill < 256; fill += 51) {
            memset(longer, (int)fill, sizeof(longer));
            memcpy(longer, row->code, row->length);
            for (unsigned have = row->length; have <= sizeof(longer); have++) {
                assert_int_equal(decode_exact(longer, have, &got), INSN_OK);
                check_same(row->text, &got, &want);
            }
        }
        for (unsigned have = 0; have < row->length; have++)
            assert_int_equal(decode_exact(row->code, have, &got), INSN_SHORT);
    }
}

/* Any number of prefixes that mean nothing, up to 15 bytes in all and not one more. */
static void test_length_limit(void **state)
{
    static const uint8_t neutral[] = {0x26, 0x2e, 0x36, 0x3e, 0xf2, 0xf3};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
        for (unsigned p = 0; p < ARRAY_COUNT(neutral); p++) {
            for (unsigned run = 1; run <= 16; run++) {
                struct insn want = wanted(&rows[i]), got;
                unsigned length = run + rows[i].length;
                uint8_t code[40];

                memset(code, neutral[p], run);
                memcpy(code + run, rows[i].code, rows[i].length);
                if (length > INSN_MAX_BYTES) {
                    for (unsigned have = 0; have <= length; have++)
                        assert_int_equal(decode_exact(code, have, &got),
                                         have < INSN_MAX_BYTES ? INSN_SHORT : INSN_UNSUPPORTED);
                    continue;
                }
                assert_int_equal(decode_exact(code, length, &got), INSN_OK);
                want.length = (uint8_t)length;
                want.segment = got.segment; /* the table has the rows for that */
                check_same(rows[i].text, &got, &want);
                assert_int_equal(decode_exact(code, length - 1, &got), INSN_SHORT);
            }
        }
    }
}

/* Nothing but the list decodes: every opcode with every ModRM byte, behind every prefix. */
static void test_sweep(void **state)
{
    static const uint8_t one[] = {0x63, 0x88, 0x89, 0x8a, 0x8b, 0xa0, 0xa1, 0xa2, 0xa3, 0xc6, 0xc7};
    static const uint8_t two[] = {0xb6, 0xb7, 0xbe, 0xbf};
    static const uint8_t prefix[] = {0, 0x66, 0x67, 0xf2, 0xf3, 0x48, 0x4f, 0x65, 0xf0};
    static const uint8_t legacy[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
                                     0x66, 0x67, 0xf0, 0xf2, 0xf3};

    (void)state;
    for (unsigned n = 0; n < ARRAY_COUNT(prefix) * 2 * 256 * 256; n++) {
        uint8_t p = prefix[n >> 17], code[24] = {0}, *at = code;
        uint8_t opcode = (uint8_t)(n >> 8), modrm = (uint8_t)n;
        bool escape = n & BIT(16), moffs = !escape && (opcode & 0xfc) == 0xa0, listed;
        struct insn insn;

        if (!escape &&
            (opcode == 0x0f || (opcode & 0xf0) == 0x40 || memchr(legacy, opcode, sizeof(legacy))))
            continue; /* no opcode; zeros behind a prefix are ADD, and 0F is the other half */
        if (p != 0)
            *at++ = p;
        if (escape)
            *at++ = 0x0f;
        *at++ = opcode;
        *at = modrm;
        listed = escape ? memchr(two, opcode, sizeof(two)) != NULL
                        : memchr(one, opcode, sizeof(one)) != NULL;
        if (!moffs && modrm >= 0xc0)
            listed = false;
        if (!escape && opcode >= 0xc6 && (modrm & 0x38) != 0)
            listed = false;
        if (p == 0xf0)
            listed = false;
        assert_int_equal(insn_decode(code, INSN_MAX_BYTES, &insn),
                         listed ? INSN_OK : INSN_UNSUPPORTED);
    }
}

/* Rejected as soon as the bytes that say so are there. */
static void test_rejected(void **state)
{
    static const struct {
        const char *code;
        unsigned length;
    } bad[] = {
        {CODE("\x8b\xc0")},         /* mov eax, eax */
        {CODE("\x8c")},             /* mov [rax], es */
        {CODE("\x8e")},             /* mov es, [rax] */
        {CODE("\xc6\x08")},         /* C6 /1 */
        {CODE("\xc7\xf8")},         /* xbegin */
        {CODE("\xc7\x38")},         /* C7 /7 */
        {CODE("\x00")},             /* add */
        {CODE("\x0f\x00")},         /* group 6 */
        {CODE("\x0f\x0f")},         /* 3DNow! */
        {CODE("\x0f\x38")},         /* three bytes */
        {CODE("\xc5")},             /* VEX */
        {CODE("\x62")},             /* EVEX */
        {CODE("\xf0\x89")},         /* lock mov */
        {CODE("\xf0\x66\x48\xc7")}, /* lock before others */
        {CODE("\x0f\xb6\xc0")},     /* movzx eax, al */
        {CODE("\x48\x63\xc0")},     /* cdqe's long form */
        {CODE("\xa4")},             /* movs: the next version */
        {CODE("\x66\x0f\x6f")},     /* movdqa */
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
        uint8_t code[20] = {0};
        struct insn insn;

        for (unsigned have = 0; have < bad[i].length; have++)
            assert_int_equal(decode_exact(bad[i].code, have, &insn), INSN_SHORT);
        assert_int_equal(decode_exact(bad[i].code, bad[i].length, &insn), INSN_UNSUPPORTED);
        memcpy(code, bad[i].code, bad[i].length);
        for (unsigned have = bad[i].length; have <= sizeof(code); have++)
            assert_int_equal(decode_exact(code, have, &insn), INSN_UNSUPPORTED);
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

/* Every REX, ModRM and SIB of MOV r, m: register and address against a literal reading of the tables. */
static void test_addresses(void **state)
{
    const uint64_t rip = 0xffffffff81234567, base_of_fs = 0x7f0012345000;
    uint64_t gpr[16];

    (void)state;
    for (unsigned r = 0; r < 16; r++)
        gpr[r] = random64();
    for (unsigned n = 0; n < 2 * 17 * 192 * 256; n++) {
        uint8_t code[16] = {0}, *at = code, sib = (uint8_t)n, modrm = (uint8_t)((n >> 8) % 192);
        unsigned rex = (n >> 8) / 192 % 17, mod = modrm >> 6, rm = modrm & 7, length;
        bool narrow = (n >> 8) / 192 / 17;
        uint64_t want = 0;
        struct insn insn;

        if (rm != 4 && sib != 0)
            continue;
        if (narrow)
            *at++ = 0x67;
        if (rex != 16)
            *at++ = (uint8_t)(0x40 + rex);
        else
            rex = 0;
        *at++ = 0x8b;
        *at++ = modrm;
        if (rm == 4) {
            *at++ = sib;
            if ((sib & 7) == 5 && mod == 0)
                mod = 2;
            else
                want = gpr[(sib & 7) + (rex & 1) * 8];
            if (((sib >> 3) & 7) + (rex & 2) * 4 != 4)
                want += gpr[((sib >> 3) & 7) + (rex & 2) * 4] * (1u << (sib >> 6));
        } else if (rm == 5 && mod == 0) {
            mod = 2;
            want = rip + (uint64_t)(at - code) + 4;
        } else {
            want = gpr[rm + (rex & 1) * 8];
        }
        if (mod == 1) {
            *at++ = 0x9c;
            want -= 0x64;
        } else if (mod == 2) {
            memcpy(at, "\x9c\xff\xfe\xff", 4);
            at += 4;
            want -= 0x10064;
        }
        length = (unsigned)(at - code);
        assert_int_equal(insn_decode(code, n % 2 ? length : INSN_MAX_BYTES, &insn), INSN_OK);
        assert_int_equal(insn.length, length);
        assert_int_equal(insn.reg, ((modrm >> 3) & 7) + (rex & 4) * 2);
        assert_int_equal(insn.bytes, rex & 8 ? 8 : 4);
        want = (narrow ? want & 0xffffffff : want) + base_of_fs;
        assert_int_equal(insn_address(&insn, gpr, rip, base_of_fs), want);
    }
}

static struct insn decoded(const char *code, unsigned length)
{
    struct insn insn;

    assert_int_equal(decode_exact(code, length, &insn), INSN_OK);
    return insn;
}

/* Before and after a load into RAX (RCX for the high-byte pair), for each width and extension. */
static void test_load(void **state)
{
    static const struct {
        const char *code;
        unsigned length;
        uint64_t value, want;
    } loads[] = {
        {CODE("\x8a\x01"), 0x81, 0x1122334455667781},       /* mov al: keeps 63:8 */
        {CODE("\x8a\x21"), 0x81, 0x1122334455668188},       /* mov ah: keeps all but 15:8 */
        {CODE("\x66\x8b\x01"), 0x8182, 0x1122334455668182}, /* mov ax: keeps 63:16 */
        {CODE("\x8b\x01"), 0x81828384, 0x81828384},         /* mov eax: clears 63:32 */
        {CODE("\x48\x8b\x01"), 0x8182838485868788, 0x8182838485868788},
        {CODE("\x66\x0f\xb6\x01"), 0x81, 0x1122334455660081}, /* movzx ax, m8 */
        {CODE("\x0f\xb6\x01"), 0x81, 0x81},                   /* movzx eax, m8 */
        {CODE("\x48\x0f\xb6\x01"), 0x81, 0x81},
        {CODE("\x66\x0f\xb7\x01"), 0x8182, 0x1122334455668182},
        {CODE("\x0f\xb7\x01"), 0x8182, 0x8182},
        {CODE("\x48\x0f\xb7\x01"), 0x8182, 0x8182},
        {CODE("\x66\x0f\xbe\x01"), 0x81, 0x112233445566ff81}, /* movsx ax, m8 */
        {CODE("\x66\x0f\xbe\x01"), 0x71, 0x1122334455660071},
        {CODE("\x0f\xbe\x01"), 0x81, 0xffffff81}, /* movsx eax, m8: still clears 63:32 */
        {CODE("\x48\x0f\xbe\x01"), 0x81, 0xffffffffffffff81},
        {CODE("\x0f\xbf\x01"), 0x8182, 0xffff8182},
        {CODE("\x48\x0f\xbf\x01"), 0x8182, 0xffffffffffff8182},
        {CODE("\x48\x0f\xbf\x01"), 0x7182, 0x7182},
        {CODE("\x48\x63\x01"), 0x81828384, 0xffffffff81828384}, /* movsxd */
        {CODE("\x63\x01"), 0x81828384, 0x81828384},
        {CODE("\x66\x63\x01"), 0x8182, 0x1122334455668182},
        {CODE("\xa1\x00\x00\x00\x00\x00\x00\x00\x00"), 0x81828384, 0x81828384},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(loads); i++) {
        struct insn insn = decoded(loads[i].code, loads[i].length);
        uint64_t gpr[16], dirt = insn.bytes == 8 ? 0 : ~0ull << (8 * insn.bytes);

        /* Bits of the answer above the access must not matter. */
        for (unsigned round = 0; round < 2; round++) {
            for (unsigned r = 0; r < 16; r++)
                gpr[r] = 0x1122334455667788;
            insn_load_value(&insn, gpr, loads[i].value | (round ? dirt : 0));
            assert_int_equal(gpr[RAX], loads[i].want);
            for (unsigned r = 1; r < 16; r++)
                assert_int_equal(gpr[r], 0x1122334455667788);
        }
    }
}

static void test_store(void **state)
{
    uint64_t gpr[16];
    struct insn insn;

    (void)state;
    for (unsigned r = 0; r < 16; r++)
        gpr[r] = 0x8182838485868700 + r;
    insn = decoded(CODE("\x88\x00"));
    assert_int_equal(insn_store_value(&insn, gpr), 0x00);
    insn = decoded(CODE("\x88\x38")); /* bh */
    assert_int_equal(insn_store_value(&insn, gpr), 0x87);
    insn = decoded(CODE("\x40\x88\x38")); /* dil */
    assert_int_equal(insn_store_value(&insn, gpr), 0x07);
    insn = decoded(CODE("\x66\x89\x10"));
    assert_int_equal(insn_store_value(&insn, gpr), 0x8702);
    insn = decoded(CODE("\x44\x89\x38"));
    assert_int_equal(insn_store_value(&insn, gpr), 0x8586870f);
    insn = decoded(CODE("\x4c\x89\x38"));
    assert_int_equal(insn_store_value(&insn, gpr), 0x818283848586870f);
    insn = decoded(CODE("\xc6\x00\xfe"));
    assert_int_equal(insn_store_value(&insn, gpr), 0xfe);
    insn = decoded(CODE("\x66\xc7\x00\xfe\xff"));
    assert_int_equal(insn_store_value(&insn, gpr), 0xfffe);
    insn = decoded(CODE("\xc7\x00\xfe\xff\xff\xff"));
    assert_int_equal(insn_store_value(&insn, gpr), 0xfffffffe);
    insn = decoded(CODE("\x48\xc7\x00\xfe\xff\xff\xff"));
    assert_int_equal(insn_store_value(&insn, gpr), 0xfffffffffffffffe);
}

/* Random bytes, many of them prefixes: the three ways through the decoder agree, and nothing is overread. */
static void test_random(void **state)
{
    static const uint8_t likely[] = {0x66, 0x67, 0x64, 0x2e, 0xf2, 0x48, 0x41,
                                     0x8b, 0x89, 0x0f, 0xb6, 0xc7, 0xa3};
    unsigned decoded_count = 0;

    (void)state;
    for (unsigned n = 0; n < 100000; n++) {
        struct insn first, again;
        enum insn_result result;
        uint8_t code[INSN_MAX_BYTES];

        for (unsigned i = 0; i < sizeof(code); i++) {
            uint64_t r = random64();

            code[i] = r & 0x300 ? likely[(r >> 16) % sizeof(likely)] : (uint8_t)r;
        }
        result = decode_exact(code, sizeof(code), &first);
        assert_int_not_equal(result, INSN_SHORT);
        if (result != INSN_OK)
            continue;
        decoded_count++;
        assert_in_range(first.length, 2, INSN_MAX_BYTES);
        assert_int_equal(decode_exact(code, first.length, &again), INSN_OK);
        check_same("random", &again, &first);
        assert_int_equal(decode_exact(code, (unsigned)random64() % first.length, &again),
                         INSN_SHORT);
    }
    assert_true(decoded_count > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),     cmocka_unit_test(test_length_limit),
        cmocka_unit_test(test_sweep),     cmocka_unit_test(test_rejected),
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_load),
        cmocka_unit_test(test_store),     cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
