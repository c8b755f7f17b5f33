/*
 * The decoder: tables of instructions written out by hand, and a sweep of the address forms in which a second, naive
 * reading of SDM 2 "Instruction Format" is the judge. What is not emulated is in tests/unit/test_insn_other.c.
 */
#include "tests/unit/insn_kit.h"

#include "hv/base/bits.h"

struct row {
    const char *text;
    unsigned mode; /* 16, 32, 64 */
    const char *code;
    unsigned length;
    struct insn
        want; /* length is the row's, flags those of the operation; addr_bytes 0: the mode's */
};

/* One instruction per line. */
/* clang-format off */
#define OP(op_, access_, bytes_, reg_bytes_, reg_) \
    .op = INSN_##op_, .access = (access_), .bytes = (bytes_), .reg_bytes = (reg_bytes_), .reg = (reg_)
#define R INSN_READS
#define W INSN_WRITES
#define LD(op_, bytes_, reg_bytes_, reg_) OP(op_, R, bytes_, reg_bytes_, reg_), .to_reg = true
#define ST(op_, bytes_, reg_)             OP(op_, W, bytes_, bytes_, reg_)
#define RW(op_, bytes_, reg_)             OP(op_, R | W, bytes_, bytes_, reg_)
#define RD(op_, bytes_, reg_)             OP(op_, R, bytes_, bytes_, reg_)
#define I(value)                          .has_imm = true, .imm = (uint64_t)(value)
#define AT(base_, index_, scale_, segment_, disp_) \
    .memory = true, .base = (base_), .index = (index_), .scale = (scale_), .segment = (segment_), .disp = (disp_)
#define M(base_) AT(base_, NONE, 0, DS, 0)
#define XLD(bytes_, reg_) OP(VECTOR, R, bytes_, 16, reg_), .to_reg = true, M(RAX)
#define XST(bytes_, reg_) OP(VECTOR, W, bytes_, 16, reg_), M(RAX)
#define VLD(bytes_, reg_) XLD(bytes_, reg_), .vector = INSN_VEX_128
#define VST(bytes_, reg_) XST(bytes_, reg_), .vector = INSN_VEX_128
#define YLD(reg_) OP(VECTOR, R, 32, 32, reg_), .to_reg = true, M(RAX), .vector = INSN_VEX_256
#define YST(reg_) OP(VECTOR, W, 32, 32, reg_), M(RAX), .vector = INSN_VEX_256
#define A .aligned = true
#define L .locked = true

static const struct row rows[] = {
    /* MOV: every opcode, every width */
    {"mov [rax], al", 64, CODE("\x88\x00"), {ST(MOV, 1, RAX), M(RAX)}},
    {"mov [rax], eax", 64, CODE("\x89\x00"), {ST(MOV, 4, RAX), M(RAX)}},
    {"mov [rax], ax", 64, CODE("\x66\x89\x00"), {ST(MOV, 2, RAX), M(RAX)}},
    {"mov [rax], rax", 64, CODE("\x48\x89\x00"), {ST(MOV, 8, RAX), M(RAX)}},
    {"mov [eax], eax, 32", 32, CODE("\x89\x00"), {ST(MOV, 4, RAX), M(RAX)}},
    {"mov [eax], ax, 32", 32, CODE("\x66\x89\x00"), {ST(MOV, 2, RAX), M(RAX)}},
    {"mov [bx+si], ax, 16", 16, CODE("\x89\x00"), {ST(MOV, 2, RAX), AT(RBX, RSI, 0, DS, 0)}},
    {"mov [bx+si], eax, 16", 16, CODE("\x66\x89\x00"), {ST(MOV, 4, RAX), AT(RBX, RSI, 0, DS, 0)}},
    {"mov cl, [rdx]", 64, CODE("\x8a\x0a"), {LD(MOV, 1, 1, RCX), M(RDX)}},
    {"mov ecx, [rdx]", 64, CODE("\x8b\x0a"), {LD(MOV, 4, 4, RCX), M(RDX)}},
    {"mov cx, [rdx]", 64, CODE("\x66\x8b\x0a"), {LD(MOV, 2, 2, RCX), M(RDX)}},
    {"mov rcx, [rdx]", 64, CODE("\x48\x8b\x0a"), {LD(MOV, 8, 8, RCX), M(RDX)}},
    {"mov al, moffs", 64, CODE("\xa0\x88\x77\x66\x55\x44\x33\x22\x11"), {LD(MOV, 1, 1, RAX), AT(NONE, NONE, 0, DS, 0x1122334455667788)}},
    {"mov eax, moffs", 64, CODE("\xa1\x88\x77\x66\x55\x44\x33\x22\xf1"), {LD(MOV, 4, 4, RAX), AT(NONE, NONE, 0, DS, (int64_t)0xf122334455667788)}},
    {"mov moffs, al", 64, CODE("\xa2\x88\x77\x66\x55\x44\x33\x22\x11"), {ST(MOV, 1, RAX), AT(NONE, NONE, 0, DS, 0x1122334455667788)}},
    {"mov moffs, rax, all of REX", 64, CODE("\x4f\xa3\x88\x77\x66\x55\x44\x33\x22\x11"), {ST(MOV, 8, RAX), AT(NONE, NONE, 0, DS, 0x1122334455667788)}},
    {"mov fs:moffs32, ax", 64, CODE("\x64\x67\x66\xa3\x88\x77\x66\xf5"), {ST(MOV, 2, RAX), AT(NONE, NONE, 0, FS, 0xf5667788), .addr_bytes = 4}},
    {"mov eax, moffs32, 32", 32, CODE("\xa1\x88\x77\x66\xf5"), {LD(MOV, 4, 4, RAX), AT(NONE, NONE, 0, DS, 0xf5667788)}},
    {"mov es:moffs16, eax, 32", 32, CODE("\x67\x26\xa3\x66\xf5"), {ST(MOV, 4, RAX), AT(NONE, NONE, 0, ES, 0xf566), .addr_bytes = 2}},
    {"mov ax, moffs16, 16", 16, CODE("\xa1\x66\xf5"), {LD(MOV, 2, 2, RAX), AT(NONE, NONE, 0, DS, 0xf566)}},
    {"mov byte [rbx], 0x80", 64, CODE("\xc6\x03\x80"), {ST(MOV, 1, NONE), I(-0x80), M(RBX)}},
    {"mov dword [rbx], 0x80000001", 64, CODE("\xc7\x03\x01\x00\x00\x80"), {ST(MOV, 4, NONE), I(-0x7fffffff), M(RBX)}},
    {"mov word [rbx], 0x8001", 64, CODE("\x66\xc7\x03\x01\x80"), {ST(MOV, 2, NONE), I(-0x7fff), M(RBX)}},
    {"mov qword [rbx], -2", 64, CODE("\x48\xc7\x03\xfe\xff\xff\xff"), {ST(MOV, 8, NONE), I(-2), M(RBX)}},
    {"mov word [di], 0x8001, 16", 16, CODE("\xc7\x05\x01\x80"), {ST(MOV, 2, NONE), I(-0x7fff), M(RDI)}},
    {"xrelease mov dword [rbx], 1", 64, CODE("\xf3\xc7\x03\x01\x00\x00\x00"), {ST(MOV, 4, NONE), I(1), M(RBX)}},
    {"mov dword [rip+1], 2", 64, CODE("\xc7\x05\x01\x00\x00\x00\x02\x00\x00\x00"), {ST(MOV, 4, NONE), I(2), AT(NONE, NONE, 0, DS, 1), .rip_relative = true}},
    {"mov qword gs:[r12+r13*8+disp32], imm", 64, CODE("\x65\x4b\xc7\x84\xec\x01\x00\x00\x80\x02\x00\x00\x00"), {ST(MOV, 8, NONE), I(2), AT(R12, R13, 3, GS, -0x7fffffffLL)}},
    /* wider and narrower */
    {"movzx eax, byte [rcx]", 64, CODE("\x0f\xb6\x01"), {LD(MOV, 1, 4, RAX), M(RCX)}},
    {"movzx ax, byte [rcx]", 64, CODE("\x66\x0f\xb6\x01"), {LD(MOV, 1, 2, RAX), M(RCX)}},
    {"movzx rsi, byte [rcx]", 64, CODE("\x48\x0f\xb6\x31"), {LD(MOV, 1, 8, RSI), M(RCX)}},
    {"movzx esi, byte [ecx], 32", 32, CODE("\x0f\xb6\x31"), {LD(MOV, 1, 4, RSI), M(RCX)}},
    {"movzx eax, word [rcx]", 64, CODE("\x0f\xb7\x01"), {LD(MOV, 2, 4, RAX), M(RCX)}},
    {"movzx ax, word [rcx]", 64, CODE("\x66\x0f\xb7\x01"), {LD(MOV, 2, 2, RAX), M(RCX)}},
    {"movsx rax, byte [rcx]", 64, CODE("\x48\x0f\xbe\x01"), {LD(MOV, 1, 8, RAX), M(RCX), .sign_extend = true}},
    {"movsx r15, word [rcx]", 64, CODE("\x4c\x0f\xbf\x39"), {LD(MOV, 2, 8, R15), M(RCX), .sign_extend = true}},
    {"movsxd rax, dword [rcx]", 64, CODE("\x48\x63\x01"), {LD(MOV, 4, 8, RAX), M(RCX), .sign_extend = true}},
    {"movsxd eax, dword [rcx]", 64, CODE("\x63\x01"), {LD(MOV, 4, 4, RAX), M(RCX), .sign_extend = true}},
    {"movsxd ax, word [rcx]", 64, CODE("\x66\x63\x01"), {LD(MOV, 2, 2, RAX), M(RCX), .sign_extend = true}},
    {"movnti [rcx], eax", 64, CODE("\x0f\xc3\x01"), {ST(MOV, 4, RAX), M(RCX)}},
    {"movnti [rcx], r9", 64, CODE("\x4c\x0f\xc3\x09"), {ST(MOV, 8, R9), M(RCX)}},
    {"movnti [bx+di], eax, 16", 16, CODE("\x0f\xc3\x01"), {ST(MOV, 4, RAX), AT(RBX, RDI, 0, DS, 0)}},
    {"movbe eax, [rcx]", 64, CODE("\x0f\x38\xf0\x01"), {LD(MOVBE, 4, 4, RAX), M(RCX)}},
    {"movbe ax, [rcx]", 64, CODE("\x66\x0f\x38\xf0\x01"), {LD(MOVBE, 2, 2, RAX), M(RCX)}},
    {"movbe [rcx], r8", 64, CODE("\x4c\x0f\x38\xf1\x01"), {ST(MOVBE, 8, R8), M(RCX)}},
    /* arithmetic */
    {"add [rcx], al", 64, CODE("\x00\x01"), {RW(ADD, 1, RAX), M(RCX)}},
    {"or [rcx], eax", 64, CODE("\x09\x01"), {RW(OR, 4, RAX), M(RCX)}},
    {"adc ah, [rcx]", 64, CODE("\x12\x21"), {LD(ADC, 1, 1, RAX), M(RCX), .high_byte = true}},
    {"sbb rax, [rcx]", 64, CODE("\x48\x1b\x01"), {LD(SBB, 8, 8, RAX), M(RCX)}},
    {"lock and [rcx], ax", 64, CODE("\x66\xf0\x21\x01"), {RW(AND, 2, RAX), M(RCX), L}},
    {"lock sub [rcx], r8b", 64, CODE("\xf0\x44\x28\x01"), {RW(SUB, 1, R8), M(RCX), L}},
    {"xor ecx, [ecx], 32", 32, CODE("\x33\x09"), {LD(XOR, 4, 4, RCX), M(RCX)}},
    {"lock xor [rcx], rax", 64, CODE("\xf0\x48\x31\x01"), {RW(XOR, 8, RAX), M(RCX), L}},
    {"cmp [rcx], edx", 64, CODE("\x39\x11"), {RD(CMP, 4, RDX), M(RCX)}},
    {"cmp dl, [rcx]", 64, CODE("\x3a\x11"), {LD(CMP, 1, 1, RDX), M(RCX)}},
    {"add byte [rcx], -1", 64, CODE("\x80\x01\xff"), {RW(ADD, 1, NONE), I(-1), M(RCX)}},
    {"lock or dword [rcx], imm32", 64, CODE("\xf0\x81\x09\x01\x02\x03\x84"), {RW(OR, 4, NONE), I(-0x7bfcfdff), M(RCX), L}},
    {"adc word [rcx], imm16", 64, CODE("\x66\x81\x11\x01\x82"), {RW(ADC, 2, NONE), I(-0x7dff), M(RCX)}},
    {"sbb qword [rcx], -2", 64, CODE("\x48\x83\x19\xfe"), {RW(SBB, 8, NONE), I(-2), M(RCX)}},
    {"and byte [ecx], 1 by 82, 32", 32, CODE("\x82\x21\x01"), {RW(AND, 1, NONE), I(1), M(RCX)}},
    {"cmp dword [rip+0], 5", 64, CODE("\x83\x3d\x00\x00\x00\x00\x05"), {RD(CMP, 4, NONE), I(5), AT(NONE, NONE, 0, DS, 0), .rip_relative = true}},
    {"test [rcx], al", 64, CODE("\x84\x01"), {RD(TEST, 1, RAX), M(RCX)}},
    {"test [rcx], r9", 64, CODE("\x4c\x85\x09"), {RD(TEST, 8, R9), M(RCX)}},
    {"test byte [rcx], 0x80", 64, CODE("\xf6\x01\x80"), {RD(TEST, 1, NONE), I(-0x80), M(RCX)}},
    {"test dword [rcx], imm by /1", 64, CODE("\xf7\x09\x01\x00\x00\x00"), {RD(TEST, 4, NONE), I(1), M(RCX)}},
    {"test word [rcx], imm", 64, CODE("\x66\xf7\x01\x01\x80"), {RD(TEST, 2, NONE), I(-0x7fff), M(RCX)}},
    {"lock not byte [rcx]", 64, CODE("\xf0\xf6\x11"), {RW(NOT, 1, NONE), M(RCX), L}},
    {"not qword [rcx]", 64, CODE("\x48\xf7\x11"), {RW(NOT, 8, NONE), M(RCX)}},
    {"neg byte [rcx]", 64, CODE("\xf6\x19"), {RW(NEG, 1, NONE), M(RCX)}},
    {"lock neg dword [rcx]", 64, CODE("\xf0\xf7\x19"), {RW(NEG, 4, NONE), M(RCX), L}},
    {"neg word [rcx]", 64, CODE("\x66\xf7\x19"), {RW(NEG, 2, NONE), M(RCX)}},
    {"inc byte [rcx]", 64, CODE("\xfe\x01"), {RW(INC, 1, NONE), M(RCX)}},
    {"lock dec byte [rcx]", 64, CODE("\xf0\xfe\x09"), {RW(DEC, 1, NONE), M(RCX), L}},
    {"lock inc dword [rcx]", 64, CODE("\xf0\xff\x01"), {RW(INC, 4, NONE), M(RCX), L}},
    {"dec word [rcx]", 64, CODE("\x66\xff\x09"), {RW(DEC, 2, NONE), M(RCX)}},
    {"xchg [rcx], ah", 64, CODE("\x86\x21"), {RW(XCHG, 1, RAX), M(RCX), L, .high_byte = true}},
    {"xchg [rcx], eax", 64, CODE("\x87\x01"), {RW(XCHG, 4, RAX), M(RCX), L}},
    {"xchg [rcx], r9", 64, CODE("\x4c\x87\x09"), {RW(XCHG, 8, R9), M(RCX), L}},
    {"lock xadd [rcx], cl", 64, CODE("\xf0\x0f\xc0\x09"), {RW(XADD, 1, RCX), M(RCX), L}},
    {"xadd [rcx], rcx", 64, CODE("\x48\x0f\xc1\x09"), {RW(XADD, 8, RCX), M(RCX)}},
    {"cmpxchg [rcx], cl", 64, CODE("\x0f\xb0\x09"), {RW(CMPXCHG, 1, RCX), M(RCX)}},
    {"lock cmpxchg [rcx], ecx", 64, CODE("\xf0\x0f\xb1\x09"), {RW(CMPXCHG, 4, RCX), M(RCX), L}},
    {"lock cmpxchg [rcx], cx", 64, CODE("\xf0\x66\x0f\xb1\x09"), {RW(CMPXCHG, 2, RCX), M(RCX), L}},
    {"lock cmpxchg8b [rcx]", 64, CODE("\xf0\x0f\xc7\x09"), {RW(CMPXCHG_PAIR, 8, NONE), M(RCX), L}},
    {"cmpxchg8b [rcx], 66", 64, CODE("\x66\x0f\xc7\x09"), {RW(CMPXCHG_PAIR, 8, NONE), M(RCX)}},
    {"lock cmpxchg16b [rcx]", 64, CODE("\xf0\x48\x0f\xc7\x09"), {RW(CMPXCHG_PAIR, 16, NONE), M(RCX), L, A}},
    {"bt [rcx], eax", 64, CODE("\x0f\xa3\x01"), {RD(BT, 4, RAX), M(RCX)}},
    {"lock bts [rcx], rax", 64, CODE("\xf0\x48\x0f\xab\x01"), {RW(BTS, 8, RAX), M(RCX), L}},
    {"btr [rcx], ax", 64, CODE("\x66\x0f\xb3\x01"), {RW(BTR, 2, RAX), M(RCX)}},
    {"btc [rcx], r8d", 64, CODE("\x44\x0f\xbb\x01"), {RW(BTC, 4, R8), M(RCX)}},
    {"bt dword [rcx], 3", 64, CODE("\x0f\xba\x21\x03"), {RD(BT, 4, NONE), I(3), M(RCX)}},
    {"bts word [rcx], 3", 64, CODE("\x66\x0f\xba\x29\x03"), {RW(BTS, 2, NONE), I(3), M(RCX)}},
    {"lock btr qword [rcx], 63", 64, CODE("\xf0\x48\x0f\xba\x31\x3f"), {RW(BTR, 8, NONE), I(63), M(RCX), L}},
    {"btc dword [ecx], 3, 32", 32, CODE("\x0f\xba\x39\x03"), {RW(BTC, 4, NONE), I(3), M(RCX)}},
    {"push qword [rcx]", 64, CODE("\xff\x31"), {RD(PUSH, 8, NONE), M(RCX)}},
    {"push word [rcx]", 64, CODE("\x66\xff\x31"), {RD(PUSH, 2, NONE), M(RCX)}},
    {"push dword [ecx], 32", 32, CODE("\xff\x31"), {RD(PUSH, 4, NONE), M(RCX)}},
    {"push word [bx+di], 16", 16, CODE("\xff\x31"), {RD(PUSH, 2, NONE), AT(RBX, RDI, 0, DS, 0)}},
    {"pop qword [rsp+8]", 64, CODE("\x8f\x44\x24\x08"), {OP(POP, W, 8, 8, NONE), AT(RSP, NONE, 0, SS, 8)}},
    {"pop word [rcx]", 64, CODE("\x66\x8f\x01"), {OP(POP, W, 2, 2, NONE), M(RCX)}},
    {"pop dword [ecx], 32", 32, CODE("\x8f\x01"), {OP(POP, W, 4, 4, NONE), M(RCX)}},
    /* strings */
    {"movsb", 64, CODE("\xa4"), {RW(MOVS, 1, NONE), M(NONE)}},
    {"rep movsq", 64, CODE("\xf3\x48\xa5"), {RW(MOVS, 8, NONE), M(NONE), .repeat = INSN_REPE}},
    {"rep movsw gs, 67", 64, CODE("\x67\xf3\x65\x66\xa5"), {RW(MOVS, 2, NONE), AT(NONE, NONE, 0, GS, 0), .repeat = INSN_REPE, .addr_bytes = 4}},
    {"movsd es:, 32", 32, CODE("\x26\xa5"), {RW(MOVS, 4, NONE), AT(NONE, NONE, 0, ES, 0)}},
    {"repne cmpsb", 64, CODE("\xf2\xa6"), {RD(CMPS, 1, NONE), M(NONE), .repeat = INSN_REPNE}},
    {"repe cmpsd", 64, CODE("\xf3\xa7"), {RD(CMPS, 4, NONE), M(NONE), .repeat = INSN_REPE}},
    {"cmpsq", 64, CODE("\x48\xa7"), {RD(CMPS, 8, NONE), M(NONE)}},
    {"F3 F2: the last", 64, CODE("\xf3\xf2\xa7"), {RD(CMPS, 4, NONE), M(NONE), .repeat = INSN_REPNE}},
    {"rep stosb", 64, CODE("\xf3\xaa"), {OP(STOS, W, 1, 1, NONE), M(NONE), .repeat = INSN_REPE}},
    {"stosw, 16", 16, CODE("\xab"), {OP(STOS, W, 2, 2, NONE), M(NONE)}},
    {"lodsb", 64, CODE("\xac"), {RD(LODS, 1, NONE), M(NONE)}},
    {"lodsq", 64, CODE("\x48\xad"), {RD(LODS, 8, NONE), M(NONE)}},
    {"scasb", 64, CODE("\xae"), {RD(SCAS, 1, NONE), M(NONE)}},
    {"repne scasd", 64, CODE("\xf2\xaf"), {RD(SCAS, 4, NONE), M(NONE), .repeat = INSN_REPNE}},
    {"scasw", 64, CODE("\x66\xaf"), {RD(SCAS, 2, NONE), M(NONE)}},
    /* vectors */
    {"movups xmm1, [rax]", 64, CODE("\x0f\x10\x08"), {XLD(16, 1)}},
    {"movupd xmm1, [rax]", 64, CODE("\x66\x0f\x10\x08"), {XLD(16, 1)}},
    {"movss xmm1, [rax]", 64, CODE("\xf3\x0f\x10\x08"), {XLD(4, 1)}},
    {"movsd xmm9, [rax]", 64, CODE("\xf2\x44\x0f\x10\x08"), {XLD(8, 9)}},
    {"66 and F3: F3", 64, CODE("\xf3\x66\x0f\x10\x08"), {XLD(4, 1)}},
    {"F3 and F2: the last", 64, CODE("\xf3\xf2\x0f\x10\x08"), {XLD(8, 1)}},
    {"movups [rax], xmm1", 64, CODE("\x0f\x11\x08"), {XST(16, 1)}},
    {"movupd [rax], xmm1", 64, CODE("\x66\x0f\x11\x08"), {XST(16, 1)}},
    {"movss [rax], xmm1", 64, CODE("\xf3\x0f\x11\x08"), {XST(4, 1)}},
    {"movsd [rax], xmm1", 64, CODE("\xf2\x0f\x11\x08"), {XST(8, 1)}},
    {"movlps xmm1, [rax]", 64, CODE("\x0f\x12\x08"), {XLD(8, 1), .merge = true}},
    {"movlpd xmm1, [rax]", 64, CODE("\x66\x0f\x12\x08"), {XLD(8, 1), .merge = true}},
    {"movlps [rax], xmm1", 64, CODE("\x0f\x13\x08"), {XST(8, 1)}},
    {"movlpd [rax], xmm1", 64, CODE("\x66\x0f\x13\x08"), {XST(8, 1)}},
    {"movhps xmm1, [rax]", 64, CODE("\x0f\x16\x08"), {XLD(8, 1), .merge = true, .lane = 8}},
    {"movhpd xmm1, [rax]", 64, CODE("\x66\x0f\x16\x08"), {XLD(8, 1), .merge = true, .lane = 8}},
    {"movhps [rax], xmm1", 64, CODE("\x0f\x17\x08"), {XST(8, 1), .lane = 8}},
    {"movhpd [rax], xmm1", 64, CODE("\x66\x0f\x17\x08"), {XST(8, 1), .lane = 8}},
    {"movaps xmm1, [rax]", 64, CODE("\x0f\x28\x08"), {XLD(16, 1), A}},
    {"movapd xmm1, [rax]", 64, CODE("\x66\x0f\x28\x08"), {XLD(16, 1), A}},
    {"movaps [rax], xmm1", 64, CODE("\x0f\x29\x08"), {XST(16, 1), A}},
    {"movapd [rax], xmm1", 64, CODE("\x66\x0f\x29\x08"), {XST(16, 1), A}},
    {"movntps [rax], xmm1", 64, CODE("\x0f\x2b\x08"), {XST(16, 1), A}},
    {"movntpd [rax], xmm1", 64, CODE("\x66\x0f\x2b\x08"), {XST(16, 1), A}},
    {"movd xmm1, [rax]", 64, CODE("\x66\x0f\x6e\x08"), {XLD(4, 1)}},
    {"movq xmm1, [rax], REX.W", 64, CODE("\x66\x48\x0f\x6e\x08"), {XLD(8, 1)}},
    {"movdqa xmm1, [rax]", 64, CODE("\x66\x0f\x6f\x08"), {XLD(16, 1), A}},
    {"movdqu xmm1, [rax]", 64, CODE("\xf3\x0f\x6f\x08"), {XLD(16, 1)}},
    {"movd [rax], xmm1", 64, CODE("\x66\x0f\x7e\x08"), {XST(4, 1)}},
    {"movq [rax], xmm1, REX.W", 64, CODE("\x66\x48\x0f\x7e\x08"), {XST(8, 1)}},
    {"movq xmm1, [rax]", 64, CODE("\xf3\x0f\x7e\x08"), {XLD(8, 1)}},
    {"movdqa [rax], xmm1", 64, CODE("\x66\x0f\x7f\x08"), {XST(16, 1), A}},
    {"movdqu [rax], xmm1", 64, CODE("\xf3\x0f\x7f\x08"), {XST(16, 1)}},
    {"movq [rax], xmm1", 64, CODE("\x66\x0f\xd6\x08"), {XST(8, 1)}},
    {"movntdq [rax], xmm1", 64, CODE("\x66\x0f\xe7\x08"), {XST(16, 1), A}},
    {"lddqu xmm1, [rax]", 64, CODE("\xf2\x0f\xf0\x08"), {XLD(16, 1)}},
    {"movntdqa xmm1, [rax]", 64, CODE("\x66\x0f\x38\x2a\x08"), {XLD(16, 1), A}},
    {"movdqu xmm1, [eax], 32", 32, CODE("\xf3\x0f\x6f\x08"), {XLD(16, 1)}},
    {"vmovups xmm1, [rax]", 64, CODE("\xc5\xf8\x10\x08"), {VLD(16, 1)}},
    {"vmovups ymm1, [rax]", 64, CODE("\xc5\xfc\x10\x08"), {YLD(1)}},
    {"vmovss xmm1, [rax], L ignored", 64, CODE("\xc5\xfe\x10\x08"), {VLD(4, 1)}},
    {"vmovsd [rax], xmm9", 64, CODE("\xc5\x7b\x11\x08"), {VST(8, 9)}},
    {"vmovupd [rax], ymm1", 64, CODE("\xc5\xfd\x11\x08"), {YST(1)}},
    {"vmovlps [rax], xmm1", 64, CODE("\xc5\xf8\x13\x08"), {VST(8, 1)}},
    {"vmovhpd [rax], xmm1", 64, CODE("\xc5\xf9\x17\x08"), {VST(8, 1), .lane = 8}},
    {"vmovaps ymm1, [rax], C4", 64, CODE("\xc4\xe1\x7c\x28\x08"), {YLD(1), A}},
    {"vmovapd [rax], xmm1", 64, CODE("\xc5\xf9\x29\x08"), {VST(16, 1), A}},
    {"vmovapd [rax], ymm1", 64, CODE("\xc5\xfd\x29\x08"), {YST(1), A}},
    {"vmovntps [rax], ymm1", 64, CODE("\xc5\xfc\x2b\x08"), {YST(1), A}},
    {"vmovd xmm1, [rax]", 64, CODE("\xc5\xf9\x6e\x08"), {VLD(4, 1)}},
    {"vmovq xmm1, [rax], W", 64, CODE("\xc4\xe1\xf9\x6e\x08"), {VLD(8, 1)}},
    {"vmovd xmm1, [eax], W does not count, 32", 32, CODE("\xc4\xe1\xf9\x6e\x08"), {VLD(4, 1)}},
    {"vmovdqa ymm1, [rax]", 64, CODE("\xc5\xfd\x6f\x08"), {YLD(1), A}},
    {"vmovdqu xmm1, [rax]", 64, CODE("\xc5\xfa\x6f\x08"), {VLD(16, 1)}},
    {"vmovq xmm1, [rax]", 64, CODE("\xc5\xfa\x7e\x08"), {VLD(8, 1)}},
    {"vmovd [rax], xmm1", 64, CODE("\xc5\xf9\x7e\x08"), {VST(4, 1)}},
    {"vmovdqu [rax], ymm1", 64, CODE("\xc5\xfe\x7f\x08"), {YST(1)}},
    {"vmovq [rax], xmm1", 64, CODE("\xc5\xf9\xd6\x08"), {VST(8, 1)}},
    {"vmovntdq [rax], xmm1", 64, CODE("\xc5\xf9\xe7\x08"), {VST(16, 1), A}},
    {"vlddqu ymm1, [rax]", 64, CODE("\xc5\xff\xf0\x08"), {YLD(1)}},
    {"vmovntdqa ymm1, [rax]", 64, CODE("\xc4\xe2\x7d\x2a\x08"), {YLD(1), A}},
    {"vmovdqu ymm1, fs:[r8], address prefix", 64, CODE("\x64\x67\xc4\xc1\x7e\x6f\x08"), {OP(VECTOR, R, 32, 32, 1), .to_reg = true, AT(R8, NONE, 0, FS, 0), .vector = INSN_VEX_256, .addr_bytes = 4}},
    {"vmovdqa ymm1, [eax], 32", 32, CODE("\xc5\xfd\x6f\x08"), {YLD(1), A}},
    {"vmovups xmm1, [eax], B does not count, 32", 32, CODE("\xc4\xc1\x78\x10\x08"), {VLD(16, 1)}},
    {"a REX that does not count before VEX", 64, CODE("\x48\x64\xc5\xf8\x10\x08"), {OP(VECTOR, R, 16, 16, 1), .to_reg = true, AT(RAX, NONE, 0, FS, 0), .vector = INSN_VEX_128}},
    /* byte registers: high ones without a REX, SPL to DIL with any */
    {"mov [rax], spl", 64, CODE("\x40\x88\x20"), {ST(MOV, 1, RSP), M(RAX)}},
    {"mov [rax], ah", 64, CODE("\x88\x20"), {ST(MOV, 1, RAX), M(RAX), .high_byte = true}},
    {"mov [eax], ch, 32", 32, CODE("\x88\x28"), {ST(MOV, 1, RCX), M(RAX), .high_byte = true}},
    {"mov bh, [rax]", 64, CODE("\x8a\x38"), {LD(MOV, 1, 1, RBX), M(RAX), .high_byte = true}},
    {"mov sil, [rax]", 64, CODE("\x48\x8a\x30"), {LD(MOV, 1, 1, RSI), M(RAX)}},
    {"mov r12b, [rax]", 64, CODE("\x44\x8a\x20"), {LD(MOV, 1, 1, R12), M(RAX)}},
    {"REX undone by 66h: mov [rax], ah", 64, CODE("\x40\x66\x88\x20"), {ST(MOV, 1, RAX), M(RAX), .high_byte = true}},
    /* addressing; the sweep has the rest */
    {"mov eax, [rsp]", 64, CODE("\x8b\x04\x24"), {LD(MOV, 4, 4, RAX), AT(RSP, NONE, 0, SS, 0)}},
    {"mov eax, [r12]", 64, CODE("\x41\x8b\x04\x24"), {LD(MOV, 4, 4, RAX), M(R12)}},
    {"mov eax, [rbp-1]", 64, CODE("\x8b\x45\xff"), {LD(MOV, 4, 4, RAX), AT(RBP, NONE, 0, SS, -1)}},
    {"mov eax, [r13-1]", 64, CODE("\x41\x8b\x45\xff"), {LD(MOV, 4, 4, RAX), AT(R13, NONE, 0, DS, -1)}},
    {"mov eax, [rip-4], REX.B ignored", 64, CODE("\x41\x8b\x05\xfc\xff\xff\xff"), {LD(MOV, 4, 4, RAX), AT(NONE, NONE, 0, DS, -4), .rip_relative = true}},
    {"mov eax, [eip-4]", 64, CODE("\x67\x8b\x05\xfc\xff\xff\xff"), {LD(MOV, 4, 4, RAX), AT(NONE, NONE, 0, DS, -4), .rip_relative = true, .addr_bytes = 4}},
    {"mov eax, [disp32], 32", 32, CODE("\x8b\x05\xfc\xff\xff\xff"), {LD(MOV, 4, 4, RAX), AT(NONE, NONE, 0, DS, -4)}},
    {"mov eax, [disp32], REX.B ignored", 64, CODE("\x41\x8b\x04\x25\xfc\xff\xff\x7f"), {LD(MOV, 4, 4, RAX), AT(NONE, NONE, 0, DS, 0x7ffffffc)}},
    {"mov eax, [rbp+rcx*2+4]", 64, CODE("\x8b\x44\x4d\x04"), {LD(MOV, 4, 4, RAX), AT(RBP, RCX, 1, SS, 4)}},
    {"mov eax, [rax+r12*4]", 64, CODE("\x42\x8b\x04\xa0"), {LD(MOV, 4, 4, RAX), AT(RAX, R12, 2, DS, 0)}},
    {"mov eax, [rsp], scale without index", 64, CODE("\x8b\x04\xe4"), {LD(MOV, 4, 4, RAX), AT(RSP, NONE, 0, SS, 0)}},
    {"mov eax, [ebx+esi*4]", 64, CODE("\x67\x8b\x04\xb3"), {LD(MOV, 4, 4, RAX), AT(RBX, RSI, 2, DS, 0), .addr_bytes = 4}},
    {"mov ax, [ebx+esi*4], 16", 16, CODE("\x67\x8b\x04\xb3"), {LD(MOV, 2, 2, RAX), AT(RBX, RSI, 2, DS, 0), .addr_bytes = 4}},
    {"mov eax, [bp+di-2], 32", 32, CODE("\x67\x8b\x43\xfe"), {LD(MOV, 4, 4, RAX), AT(RBP, RDI, 0, SS, -2), .addr_bytes = 2}},
    /* prefixes: order, repetition, which one wins */
    {"es:[rax] does not count", 64, CODE("\x26\x8b\x00"), {LD(MOV, 4, 4, RAX), M(RAX)}},
    {"ds:[rbp+0] does not count", 64, CODE("\x3e\x8b\x45\x00"), {LD(MOV, 4, 4, RAX), AT(RBP, NONE, 0, SS, 0)}},
    {"ds:[ebp+0], 32", 32, CODE("\x3e\x8b\x45\x00"), {LD(MOV, 4, 4, RAX), AT(RBP, NONE, 0, DS, 0)}},
    {"fs, gs: the last", 64, CODE("\x64\x65\x8b\x00"), {LD(MOV, 4, 4, RAX), AT(RAX, NONE, 0, GS, 0)}},
    {"fs, ds: fs", 64, CODE("\x64\x3e\x8b\x00"), {LD(MOV, 4, 4, RAX), AT(RAX, NONE, 0, FS, 0)}},
    {"fs, cs: cs, 32", 32, CODE("\x64\x2e\x8b\x00"), {LD(MOV, 4, 4, RAX), AT(RAX, NONE, 0, CS, 0)}},
    {"gs, es, cs, ss: gs", 64, CODE("\x65\x26\x2e\x36\x8b\x00"), {LD(MOV, 4, 4, RAX), AT(RAX, NONE, 0, GS, 0)}},
    {"66h and REX.W: REX.W", 64, CODE("\x66\x48\xc7\x00\x01\x00\x00\x80"), {ST(MOV, 8, NONE), I(-0x7fffffffLL), M(RAX)}},
    {"REX.W undone by 66h", 64, CODE("\x48\x66\x8b\x00"), {LD(MOV, 2, 2, RAX), M(RAX)}},
    {"REX.R undone by fs", 64, CODE("\x4c\x64\x8b\x00"), {LD(MOV, 4, 4, RAX), AT(RAX, NONE, 0, FS, 0)}},
    {"two REX: the last", 64, CODE("\x4f\x41\x8b\x00"), {LD(MOV, 4, 4, RAX), M(R8)}},
    {"repne mov", 64, CODE("\xf2\x8b\x00"), {LD(MOV, 4, 4, RAX), M(RAX)}},
    {"67 66 65 45", 64, CODE("\x67\x66\x65\x45\x8b\x48\x10"), {LD(MOV, 2, 2, R9), AT(R8, NONE, 0, GS, 0x10), .addr_bytes = 4}},
    {"65 66 67 45", 64, CODE("\x65\x66\x67\x45\x8b\x48\x10"), {LD(MOV, 2, 2, R9), AT(R8, NONE, 0, GS, 0x10), .addr_bytes = 4}},
    {"15 bytes with prefixes", 64, CODE("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x8b\x00"), {LD(MOV, 2, 2, RAX), M(RAX)}},
    {"15 bytes with operands", 64, CODE("\x2e\x67\xf0\x48\x81\x84\x8b\x01\x00\x00\x00\x02\x00\x00\x00"), {RW(ADD, 8, NONE), I(2), AT(RBX, RCX, 2, DS, 1), .addr_bytes = 4, L}},
};
/* clang-format on */

/* SDM 1 "EFLAGS Cross-Reference": modified or undefined. */
static uint32_t flags_of(unsigned op)
{
    const uint32_t cf = 1, zf = 0x40, all = 0x8d5;

    switch (op) {
    case INSN_INC:
    case INSN_DEC:
        return all - cf;
    case INSN_BT:
    case INSN_BTS:
    case INSN_BTR:
    case INSN_BTC:
        return all - zf;
    case INSN_CMPXCHG_PAIR:
        return zf;
    case INSN_NEG:
    case INSN_TEST:
    case INSN_XADD:
    case INSN_CMPXCHG:
    case INSN_CMPS:
    case INSN_SCAS:
        return all;
    default:
        return op >= INSN_ADD && op <= INSN_CMP ? all : 0;
    }
}

static struct insn wanted(const struct row *row)
{
    struct insn want = row->want;

    want.length = (uint8_t)row->length;
    want.flags = flags_of(want.op);
    if (want.base == NONE)
        want.index = want.index ? want.index : NONE;
    if (want.addr_bytes == 0)
        want.addr_bytes = (uint8_t)(row->mode / 8);
    return want;
}

static void test_table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
        struct insn want = wanted(&rows[i]);

        check_row(rows[i].text, rows[i].mode, rows[i].code, rows[i].length, &want);
    }
}

/* With a prefix that means nothing again and again: up to 15 bytes in all and not one more. */
static void test_length_limit(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
        for (unsigned run = 1; run <= 16; run++) {
            struct insn want = wanted(&rows[i]), got;
            unsigned length = run + rows[i].length;
            uint8_t code[40];

            memset(code, 0x36, run);
            memcpy(code + run, rows[i].code, rows[i].length);
            if (length > INSN_MAX_BYTES) {
                for (unsigned have = 0; have <= length; have++)
                    assert_int_equal(decode_exact(rows[i].mode, code, have, &got),
                                     have < INSN_MAX_BYTES ? INSN_SHORT : INSN_TOO_LONG);
                continue;
            }
            assert_int_equal(decode_exact(rows[i].mode, code, length, &got), INSN_OK);
            want.length = (uint8_t)length;
            want.segment = got.segment; /* the table has the rows for that */
            check_same(rows[i].text, &got, &want);
            assert_int_equal(decode_exact(rows[i].mode, code, length - 1, &got), INSN_SHORT);
        }
    }
}

/* LOCK goes with what reads and writes its operand, MOVS apart, and with nothing else. */
static void test_lock(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
        const struct insn *want = &rows[i].want;
        bool takes = want->access == (R | W) && want->op != INSN_MOVS;
        uint8_t code[16] = {0xf0};
        struct insn got;

        if (rows[i].length == INSN_MAX_BYTES)
            continue;
        memcpy(code + 1, rows[i].code, rows[i].length);
        assert_int_equal(decode_exact(rows[i].mode, code, rows[i].length + 1, &got),
                         takes ? INSN_OK : INSN_UNDEFINED);
        if (takes)
            assert_true(got.locked);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_length_limit),
        cmocka_unit_test(test_lock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
