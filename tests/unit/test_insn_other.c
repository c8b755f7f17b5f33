/*
 * The decoder: lengths and operands of what is not emulated, what is no instruction, every address form against a
 * second reading of SDM 2 "Instruction Format", and the helpers that give an instruction its operands.
 */
#include "tests/unit/insn_kit.h"

#include "hv/base/bits.h"

/* One instruction per line. */
/* clang-format off */
enum { IN_16 = 1, IN_32 = 2, IN_64 = 4, LEGACY = IN_16 | IN_32, ALL = LEGACY | IN_64 };

/* With a memory operand: the bytes before ModRM, its reg, the bytes of the immediate; 99: 2 or 4. */
#define IMM_Z 99
static const struct {
    const char *text;
    unsigned modes;
    const char *code;
    unsigned length, reg, imm_bytes;
} others[] = {
    /* one byte */
    {"arpl", LEGACY, CODE("\x63"), 1, 0},
    {"bound", LEGACY, CODE("\x62"), 1, 0},
    {"les", LEGACY, CODE("\xc4"), 1, 0},
    {"lds", LEGACY, CODE("\xc5"), 1, 0},
    {"imul r, m, imm", ALL, CODE("\x69"), 1, IMM_Z},
    {"imul r, m, imm8", ALL, CODE("\x6b"), 1, 1},
    {"imul r16 or 32, m, imm", ALL, CODE("\x66\x69"), 1, IMM_Z},
    {"mov m, sreg", ALL, CODE("\x8c"), 3, 0},
    {"mov sreg, m", ALL, CODE("\x8e"), 3, 0},
    {"lea", ALL, CODE("\x8d"), 1, 0},
    {"rol m8, imm8", ALL, CODE("\xc0"), 0, 1},
    {"sar m, imm8", ALL, CODE("\xc1"), 7, 1},
    {"shl m8, 1", ALL, CODE("\xd0"), 4, 0},
    {"shr m, cl", ALL, CODE("\xd3"), 5, 0},
    {"fadd m32", ALL, CODE("\xd8"), 0, 0},
    {"fldcw", ALL, CODE("\xd9"), 5, 0},
    {"fild m32", ALL, CODE("\xdb"), 0, 0},
    {"fld m64", ALL, CODE("\xdd"), 0, 0},
    {"fnsave", ALL, CODE("\xdd"), 6, 0},
    {"fistp m64", ALL, CODE("\xdf"), 7, 0},
    {"mul m8", ALL, CODE("\xf6"), 4, 0},
    {"idiv m", ALL, CODE("\xf7"), 7, 0},
    {"call m", ALL, CODE("\xff"), 2, 0},
    {"call far m", ALL, CODE("\xff"), 3, 0},
    {"jmp m", ALL, CODE("\xff"), 4, 0},
    {"jmp far m", ALL, CODE("\xff"), 5, 0},
    /* 0F */
    {"sldt", ALL, CODE("\x0f\x00"), 0, 0},
    {"verw", ALL, CODE("\x0f\x00"), 5, 0},
    {"sgdt", ALL, CODE("\x0f\x01"), 0, 0},
    {"lgdt", ALL, CODE("\x0f\x01"), 2, 0},
    {"lidt", ALL, CODE("\x0f\x01"), 3, 0},
    {"lmsw", ALL, CODE("\x0f\x01"), 6, 0},
    {"invlpg", ALL, CODE("\x0f\x01"), 7, 0},
    {"lar", ALL, CODE("\x0f\x02"), 1, 0},
    {"prefetchw", ALL, CODE("\x0f\x0d"), 1, 0},
    {"prefetchnta", ALL, CODE("\x0f\x18"), 0, 0},
    {"nop m", ALL, CODE("\x0f\x1f"), 0, 0},
    {"movddup", ALL, CODE("\xf2\x0f\x12"), 1, 0},
    {"movshdup", ALL, CODE("\xf3\x0f\x16"), 1, 0},
    {"unpcklps", ALL, CODE("\x0f\x14"), 1, 0},
    {"cvtpi2ps", ALL, CODE("\x0f\x2a"), 1, 0},
    {"ucomisd", ALL, CODE("\x66\x0f\x2e"), 1, 0},
    {"cmovb", ALL, CODE("\x0f\x42"), 1, 0},
    {"sqrtsd", ALL, CODE("\xf2\x0f\x51"), 1, 0},
    {"addps", ALL, CODE("\x0f\x58"), 1, 0},
    {"cvttps2dq", ALL, CODE("\xf3\x0f\x5b"), 1, 0},
    {"punpcklbw mm", ALL, CODE("\x0f\x60"), 1, 0},
    {"punpcklqdq", ALL, CODE("\x66\x0f\x6c"), 1, 0},
    {"movd mm, m", ALL, CODE("\x0f\x6e"), 1, 0},
    {"movq mm, m", ALL, CODE("\x0f\x6f"), 1, 0},
    {"pshufw", ALL, CODE("\x0f\x70"), 1, 1},
    {"pshufd", ALL, CODE("\x66\x0f\x70"), 1, 1},
    {"haddpd", ALL, CODE("\x66\x0f\x7c"), 1, 0},
    {"movd m, mm", ALL, CODE("\x0f\x7e"), 1, 0},
    {"movq m, mm", ALL, CODE("\x0f\x7f"), 1, 0},
    {"setz", ALL, CODE("\x0f\x94"), 0, 0},
    {"shld imm8", ALL, CODE("\x0f\xa4"), 1, 1},
    {"shrd cl", ALL, CODE("\x0f\xad"), 1, 0},
    {"fxsave", ALL, CODE("\x0f\xae"), 0, 0},
    {"fxrstor64", IN_64, CODE("\x48\x0f\xae"), 1, 0},
    {"ldmxcsr", ALL, CODE("\x0f\xae"), 2, 0},
    {"xsave", ALL, CODE("\x0f\xae"), 4, 0},
    {"xrstor", ALL, CODE("\x0f\xae"), 5, 0},
    {"xsaveopt", ALL, CODE("\x0f\xae"), 6, 0},
    {"clflush", ALL, CODE("\x0f\xae"), 7, 0},
    {"clwb", ALL, CODE("\x66\x0f\xae"), 6, 0},
    {"clflushopt", ALL, CODE("\x66\x0f\xae"), 7, 0},
    {"imul r, m", ALL, CODE("\x0f\xaf"), 1, 0},
    {"lss", ALL, CODE("\x0f\xb2"), 1, 0},
    {"lgs", ALL, CODE("\x0f\xb5"), 1, 0},
    {"popcnt", ALL, CODE("\xf3\x0f\xb8"), 1, 0},
    {"bsf", ALL, CODE("\x0f\xbc"), 1, 0},
    {"tzcnt", ALL, CODE("\xf3\x0f\xbc"), 1, 0},
    {"cmpss", ALL, CODE("\xf3\x0f\xc2"), 1, 1},
    {"pinsrw", ALL, CODE("\x66\x0f\xc4"), 1, 1},
    {"shufpd", ALL, CODE("\x66\x0f\xc6"), 1, 1},
    {"xrstors", ALL, CODE("\x0f\xc7"), 3, 0},
    {"xsavec", ALL, CODE("\x0f\xc7"), 4, 0},
    {"addsubps", ALL, CODE("\xf2\x0f\xd0"), 1, 0},
    {"paddq mm", ALL, CODE("\x0f\xd4"), 1, 0},
    {"cvtdq2pd", ALL, CODE("\xf3\x0f\xe6"), 1, 0},
    {"movntq", ALL, CODE("\x0f\xe7"), 1, 0},
    {"pxor", ALL, CODE("\x66\x0f\xef"), 1, 0},
    /* 0F 38, 0F 3A */
    {"pshufb", ALL, CODE("\x66\x0f\x38\x00"), 1, 0},
    {"pabsd mm", ALL, CODE("\x0f\x38\x1e"), 1, 0},
    {"pblendvb", ALL, CODE("\x66\x0f\x38\x10"), 1, 0},
    {"pmovzxdq", ALL, CODE("\x66\x0f\x38\x35"), 1, 0},
    {"pcmpgtq", ALL, CODE("\x66\x0f\x38\x37"), 1, 0},
    {"sha256rnds2", ALL, CODE("\x0f\x38\xcb"), 1, 0},
    {"aesenc", ALL, CODE("\x66\x0f\x38\xdc"), 1, 0},
    {"crc32 m8", ALL, CODE("\xf2\x0f\x38\xf0"), 1, 0},
    {"crc32 m16", ALL, CODE("\x66\xf2\x0f\x38\xf1"), 1, 0},
    {"adcx", ALL, CODE("\x66\x0f\x38\xf6"), 1, 0},
    {"adox", ALL, CODE("\xf3\x0f\x38\xf6"), 1, 0},
    {"roundsd", ALL, CODE("\x66\x0f\x3a\x0b"), 1, 1},
    {"palignr mm", ALL, CODE("\x0f\x3a\x0f"), 1, 1},
    {"pextrb", ALL, CODE("\x66\x0f\x3a\x14"), 1, 1},
    {"pinsrq", IN_64, CODE("\x66\x48\x0f\x3a\x22"), 1, 1},
    {"pclmulqdq", ALL, CODE("\x66\x0f\x3a\x44"), 1, 1},
    {"pcmpistri", ALL, CODE("\x66\x0f\x3a\x63"), 1, 1},
    {"sha1rnds4", ALL, CODE("\x0f\x3a\xcc"), 1, 1},
    {"aeskeygenassist", ALL, CODE("\x66\x0f\x3a\xdf"), 1, 1},
    /* VEX */
    {"vmovlps xmm, xmm, m64", ALL, CODE("\xc5\xf0\x12"), 1, 0},
    {"vmovhpd xmm, xmm, m64", ALL, CODE("\xc5\xf1\x16"), 1, 0},
    {"vmovsldup", ALL, CODE("\xc5\xfa\x12"), 1, 0},
    {"vaddps ymm", ALL, CODE("\xc5\xf4\x58"), 1, 0},
    {"vpshufd", ALL, CODE("\xc5\xf9\x70"), 1, 1},
    {"vstmxcsr", ALL, CODE("\xc5\xf8\xae"), 3, 0},
    {"vpinsrw", ALL, CODE("\xc5\xf1\xc4"), 1, 1},
    {"vpermilps", ALL, CODE("\xc4\xe2\x71\x0c"), 1, 0},
    {"vcvtph2ps", ALL, CODE("\xc4\xe2\x79\x13"), 1, 0},
    {"vbroadcastf128", ALL, CODE("\xc4\xe2\x7d\x1a"), 1, 0},
    {"vmaskmovps", ALL, CODE("\xc4\xe2\x75\x2c"), 1, 0},
    {"vpsllvq", ALL, CODE("\xc4\xe2\xf1\x47"), 1, 0},
    {"vfmadd231sd", ALL, CODE("\xc4\xe2\xf1\xb9"), 1, 0},
    {"vaesdec", ALL, CODE("\xc4\xe2\x71\xde"), 1, 0},
    {"andn", ALL, CODE("\xc4\xe2\x70\xf2"), 1, 0},
    {"blsr", ALL, CODE("\xc4\xe2\x70\xf3"), 1, 0},
    {"pext", ALL, CODE("\xc4\xe2\x72\xf5"), 1, 0},
    {"mulx", ALL, CODE("\xc4\xe2\x73\xf6"), 1, 0},
    {"bextr", ALL, CODE("\xc4\xe2\x70\xf7"), 1, 0},
    {"shlx", ALL, CODE("\xc4\xe2\x71\xf7"), 1, 0},
    {"vpermq", ALL, CODE("\xc4\xe3\xfd\x00"), 1, 1},
    {"vcvtps2ph", ALL, CODE("\xc4\xe3\x79\x1d"), 1, 1},
    {"vinserti128", ALL, CODE("\xc4\xe3\x75\x38"), 1, 1},
    {"vblendvps", ALL, CODE("\xc4\xe3\x71\x4a"), 1, 1},
    {"rorx", ALL, CODE("\xc4\xe3\x7b\xf0"), 1, 1},
};

/* Without one. The rows of mod = 3 have operands that would be emulated in memory. */
static const struct {
    const char *text;
    unsigned modes;
    const char *code;
    unsigned length;
} plain[] = {
    {"nop", ALL, CODE("\x90")},
    {"inc eax", LEGACY, CODE("\x40")},
    {"add al, imm8", ALL, CODE("\x04\x01")},
    {"add eax, imm32", IN_32 | IN_64, CODE("\x05\x01\x02\x03\x04")},
    {"add ax, imm16", IN_16, CODE("\x05\x01\x02")},
    {"push imm16", IN_64, CODE("\x66\x68\x01\x02")},
    {"mov rax, imm64", IN_64, CODE("\x48\xb8\x01\x02\x03\x04\x05\x06\x07\x08")},
    {"mov eax, imm32", IN_32 | IN_64, CODE("\xb8\x01\x02\x03\x04")},
    {"enter", ALL, CODE("\xc8\x01\x02\x03")},
    {"ret imm16", ALL, CODE("\xc2\x01\x02")},
    {"jz rel8", ALL, CODE("\x74\x01")},
    {"jz rel32", IN_32 | IN_64, CODE("\x0f\x84\x01\x02\x03\x04")},
    {"call far", IN_32, CODE("\x9a\x01\x02\x03\x04\x05\x06")},
    {"call far, 16", IN_16, CODE("\x9a\x01\x02\x03\x04")},
    {"insb", ALL, CODE("\xf3\x6c")},
    {"xlat", ALL, CODE("\xd7")},
    {"cpuid", ALL, CODE("\x0f\xa2")},
    {"bswap", ALL, CODE("\x0f\xc8")},
    {"mov cr3, eax", ALL, CODE("\x0f\x22\xd8")},
    {"mov cr3, with mod = 0", ALL, CODE("\x0f\x22\x1c")},
    {"mov eax, ecx", ALL, CODE("\x8b\xc1")},
    {"xchg eax, ecx", ALL, CODE("\x87\xc1")},
    {"add ecx, imm8", ALL, CODE("\x83\xc1\x01")},
    {"test cl, imm8", ALL, CODE("\xf6\xc1\x01")},
    {"movdqa xmm, xmm", ALL, CODE("\x66\x0f\x6f\xc1")},
    {"movhlps", ALL, CODE("\x0f\x12\xc1")},
    {"vmovss xmm, xmm, xmm", ALL, CODE("\xc5\xf2\x10\xc2")},
    {"rdrand", ALL, CODE("\x0f\xc7\xf0")},
    {"pmovmskb", ALL, CODE("\x66\x0f\xd7\xc1")},
    {"vzeroupper", ALL, CODE("\xc5\xf8\x77")},
    {"psrldq", ALL, CODE("\x66\x0f\x73\xd9\x04")},
};

static const struct {
    const char *text;
    unsigned modes;
    const char *code;
    unsigned length;
} undefined[] = {
    {"push es", IN_64, CODE("\x06")},
    {"82 /0", IN_64, CODE("\x82")},
    {"EVEX", IN_64, CODE("\x62")},
    {"EVEX, 32", LEGACY, CODE("\x62\xf1")},
    {"call far", IN_64, CODE("\x9a")},
    {"into", IN_64, CODE("\xce")},
    {"aam", IN_64, CODE("\xd4")},
    {"XOP", ALL, CODE("\x8f\x48")},
    {"C6 /1", ALL, CODE("\xc6\x08")},
    {"xbegin", ALL, CODE("\xc7\xf8")},
    {"FE /2", ALL, CODE("\xfe\x10")},
    {"FF /7", ALL, CODE("\xff\x38")},
    {"lea of a register", ALL, CODE("\x8d\xc0")},
    {"ud2", ALL, CODE("\x0f\x0b")},
    {"3DNow!", ALL, CODE("\x0f\x0f")},
    {"F2 0F 13", ALL, CODE("\xf2\x0f\x13")},
    {"0F 24", ALL, CODE("\x0f\x24")},
    {"F3 0F 28", ALL, CODE("\xf3\x0f\x28")},
    {"0F 6C without 66", ALL, CODE("\x0f\x6c")},
    {"66 0F 78", ALL, CODE("\x66\x0f\x78")},
    {"0F B8 without F3", ALL, CODE("\x0f\xb8")},
    {"0F BA /3", ALL, CODE("\x0f\xba\x18")},
    {"66 movnti", ALL, CODE("\x66\x0f\xc3")},
    {"F3 movnti", ALL, CODE("\xf3\x0f\xc3")},
    {"movnti of registers", ALL, CODE("\x0f\xc3\xc1")},
    {"cmpxchg8b of a register", ALL, CODE("\x0f\xc7\xc8")},
    {"F3 movbe", ALL, CODE("\xf3\x0f\x38\xf0")},
    {"movntdqa without 66", ALL, CODE("\x0f\x38\x2a")},
    {"0F 38 FF", ALL, CODE("\x0f\x38\xff")},
    {"0F 3A 10", ALL, CODE("\x66\x0f\x3a\x10")},
    {"66 sha1nexte", ALL, CODE("\x66\x0f\x38\xc8")},
    {"haddps without a prefix", ALL, CODE("\x0f\x7c")},
    {"movmskps of memory", ALL, CODE("\x0f\x50\x00")},
    {"66 before VEX", ALL, CODE("\x66\xc5\xf8\x10\x08")},
    {"F2 before VEX", ALL, CODE("\xf2\xc5\xf8\x10\x08")},
    {"F3 before VEX", ALL, CODE("\xf3\x64\xc5\xf8\x10\x08")},
    {"LOCK before VEX", ALL, CODE("\xf0\xc5\xf8\x10\x08")},
    {"REX before VEX", IN_64, CODE("\x40\xc5\xf8\x10\x08")},
    {"VEX map 0", ALL, CODE("\xc4\xe0\x78\x10")},
    {"VEX map 4", ALL, CODE("\xc4\xe4\x78\x10")},
    {"VEX of an integer opcode", ALL, CODE("\xc5\xf8\xaf")},
    {"VEX of an escape", ALL, CODE("\xc5\xf8\x38\x10")},
    {"vmovups with vvvv", ALL, CODE("\xc5\xf0\x10\x08")},
    {"vmovss with vvvv", ALL, CODE("\xc5\xf2\x10\x08")},
    {"vmovd with L", ALL, CODE("\xc5\xfd\x6e\x08")},
    {"vmovq with L", ALL, CODE("\xc5\xfd\xd6\x08")},
    {"vmovlps store with L", ALL, CODE("\xc5\xfc\x13\x08")},
    {"VEX of MMX", ALL, CODE("\xc5\xf8\x6f\x08")},
    {"vmovd store with L", ALL, CODE("\xc5\xfd\x7e\x08")},
    {"vmovq load with L", ALL, CODE("\xc5\xfe\x7e\x08")},
    {"vmovhps store with L", ALL, CODE("\xc5\xfc\x17\x08")},
    {"lock mov", ALL, CODE("\xf0\x89\x08")},
    {"lock cmp", ALL, CODE("\xf0\x39\x08")},
    {"lock bt", ALL, CODE("\xf0\x0f\xa3\x08")},
    {"lock add into a register", ALL, CODE("\xf0\x03\x08")},
    {"lock add of registers", ALL, CODE("\xf0\x01\xc8")},
    {"lock xchg of registers", ALL, CODE("\xf0\x87\xc8")},
    {"lock nop", ALL, CODE("\xf0\x90")},
    {"lock movs", ALL, CODE("\xf0\xa4")},
    {"lock lea", ALL, CODE("\xf0\x8d\x08")},
};
/* clang-format on */

static const unsigned modes[] = {16, 32, 64};

static struct insn other_in(unsigned mode)
{
    return (struct insn){
        .reg = NONE, .base = NONE, .index = NONE, .segment = DS, .addr_bytes = (uint8_t)(mode / 8)};
}

/* IMM_Z of this instruction. */
static unsigned width_of_z(unsigned mode, const char *code)
{
    bool prefix = code[0] == 0x66;

    return (mode == 16) != prefix ? 2 : 4;
}

/* Each with [rbx], [rbx + disp8], [rbx + rsi * 4 + disp32] and [disp32] or RIP, in 16-bit code their like. */
static void test_others(void **state)
{
    static const char *const wide[] = {"\x03", "\x43\x80", "\x84\xb3\x04\x03\x02\x81",
                                       "\x05\x04\x03\x02\x81"};
    static const char *const narrow[] = {"\x07", "\x47\x80", "\x80\x02\x81", "\x06\x02\x81"};
    static const unsigned wide_bytes[] = {1, 2, 6, 5}, narrow_bytes[] = {1, 2, 3, 3};

    (void)state;
    for (unsigned n = 0; n < ARRAY_COUNT(others) * 3 * 4; n++) {
        unsigned i = n / 12, mode = modes[n / 4 % 3], form = n % 4, imm = others[i].imm_bytes;
        unsigned bytes = mode == 16 ? narrow_bytes[form] : wide_bytes[form];
        struct insn want = other_in(mode);
        char code[16] = "", *modrm = code + others[i].length;

        if (!(others[i].modes & 1u << (n / 4 % 3)))
            continue;
        if (imm == IMM_Z)
            imm = width_of_z(mode, others[i].code);
        memcpy(code, others[i].code, others[i].length);
        memcpy(modrm, mode == 16 ? narrow[form] : wide[form], bytes);
        *modrm = (char)(*modrm | (char)(others[i].reg << 3));
        want.memory = true;
        want.base = form == 3 ? NONE : RBX;
        want.disp = form == 0 ? 0 : form == 1 ? -0x80 : mode == 16 ? -0x7efe : -0x7efdfcfc;
        if (form == 2) {
            want.index = RSI;
            want.scale = mode == 16 ? 0 : 2;
        }
        want.rip_relative = mode == 64 && form == 3;
        want.length = (uint8_t)(others[i].length + bytes + imm);
        check_row(others[i].text, mode, code, want.length, &want);
    }
}

static void test_plain(void **state)
{
    (void)state;
    for (unsigned n = 0; n < ARRAY_COUNT(plain) * 3; n++) {
        struct insn want = other_in(modes[n % 3]);

        want.length = (uint8_t)plain[n / 3].length;
        if (plain[n / 3].modes & 1u << n % 3)
            check_row(plain[n / 3].text, modes[n % 3], plain[n / 3].code, want.length, &want);
    }
}

/* The index of a gather is a vector register: base and displacement only. */
static void test_gather(void **state)
{
    struct insn want = other_in(64);

    (void)state;
    want.memory = true;
    want.base = R9;
    want.disp = 0x10;
    want.length = 7;
    check_row("vpgatherdd", 64, CODE("\xc4\xc2\x6d\x90\x44\xa9\x10"), &want);
}

/* Known as soon as the bytes that say so are there, and not before. */
static void test_undefined(void **state)
{
    (void)state;
    for (unsigned n = 0; n < ARRAY_COUNT(undefined) * 3; n++) {
        unsigned i = n / 3, mode = modes[n % 3], length = undefined[i].length;
        uint8_t code[20] = {0};
        struct insn insn;

        if (!(undefined[i].modes & 1u << n % 3))
            continue;
        memcpy(code, undefined[i].code, length);
        for (unsigned have = length; have <= sizeof(code); have++)
            if (decode_exact(mode, code, have, &insn) != INSN_UNDEFINED)
                fail_msg("%s in %u bits is not undefined", undefined[i].text, mode);
        assert_int_equal(decode_exact(mode, code, 1, &insn),
                         length == 1 ? INSN_UNDEFINED : INSN_SHORT);
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

/* 64-bit code, or 32-bit code without the parts that only the former has. */
static void check_sib(unsigned mode, unsigned rex, bool narrow, uint8_t modrm, uint8_t sib,
                      const uint64_t gpr[16])
{
    const uint64_t rip = 0xffffffff81234567;
    uint8_t code[16] = {0}, *at = code;
    unsigned mod = modrm >> 6, rm = modrm & 7, high = rex & 15;
    uint64_t want = 0;
    struct insn insn;

    if (narrow)
        *at++ = 0x67;
    if (rex)
        *at++ = (uint8_t)rex;
    *at++ = 0x8b;
    *at++ = modrm;
    if (rm == 4) {
        *at++ = sib;
        if ((sib & 7) == 5 && mod == 0)
            mod = 2;
        else
            want = gpr[(sib & 7) + (high & 1) * 8];
        if (((sib >> 3) & 7) + (high & 2) * 4 != 4)
            want += gpr[((sib >> 3) & 7) + (high & 2) * 4] * (1u << (sib >> 6));
    } else if (rm == 5 && mod == 0) {
        mod = 2;
        want = mode == 64 ? rip + (uint64_t)(at - code) + 4 : 0;
    } else {
        want = gpr[rm + (high & 1) * 8];
    }
    memcpy(at, "\x9c\xff\xfe\xff", 4);
    want -= mod == 1 ? 0x64 : mod == 2 ? 0x10064 : 0;
    at += mod == 2 ? 4 : mod;
    assert_int_equal(decode_exact(mode, code, (unsigned)(at - code), &insn), INSN_OK);
    assert_int_equal(insn.length, at - code);
    assert_int_equal(insn.reg, ((modrm >> 3) & 7) + (high & 4) * 2);
    assert_int_equal(insn.bytes, high & 8 ? 8 : 4);
    if (mode == 32 || narrow)
        want &= 0xffffffff;
    assert_int_equal(insn_offset(&insn, gpr, rip), want);
}

static void test_addresses(void **state)
{
    uint64_t gpr[16];

    (void)state;
    for (unsigned r = 0; r < 16; r++)
        gpr[r] = random64();
    for (unsigned n = 0; n < 192 * 256; n++) {
        uint8_t modrm = (uint8_t)(n >> 8), sib = (uint8_t)n;

        if ((modrm & 7) != 4 && sib != 0)
            continue;
        check_sib(32, 0, false, modrm, sib, gpr);
        for (unsigned rex = 0x40; rex < 0x50; rex++) {
            check_sib(64, rex, false, modrm, sib, gpr);
            check_sib(64, rex, true, modrm, sib, gpr);
        }
    }
}

/* SDM 2 "16-Bit Addressing Forms with the ModR/M Byte"; offsets wrap at 64 KiB. */
static void test_addresses_16(void **state)
{
    enum { BX = 1, BP = 2, SI = 4, DI = 8 };
    static const unsigned parts[] = {BX | SI, BX | DI, BP | SI, BP | DI, SI, DI, BP, BX};
    const uint64_t gpr[16] = {
        [RBX] = 0x7788f001, [RBP] = 0x1122e002, [RSI] = 0x3344d003, [RDI] = 0x5566c004};

    (void)state;
    for (unsigned n = 0; n < 2 * 3 * 8; n++) {
        unsigned mode = n / 24 ? 32 : 16, mod = n / 8 % 3, rm = n % 8;
        bool plain_address = mod == 0 && rm == 6;
        unsigned part = plain_address ? 0 : parts[rm], disp_bytes = plain_address ? 2 : mod;
        uint8_t code[6] = {0x67}, *at = code + (mode == 32);
        uint64_t want = (part & BX ? 0xf001u : 0) + (part & BP ? 0xe002u : 0) +
                        (part & SI ? 0xd003u : 0) + (part & DI ? 0xc004u : 0);
        struct insn insn;

        at[0] = 0x88;
        at[1] = (uint8_t)(mod << 6 | rm);
        memcpy(at + 2, "\x9c\xff", 2);
        at += 2 + disp_bytes;
        want -= disp_bytes ? 0x64 : 0;
        assert_int_equal(decode_exact(mode, code, (unsigned)(at - code), &insn), INSN_OK);
        assert_int_equal(insn.length, at - code);
        assert_int_equal(insn.addr_bytes, 2);
        assert_int_equal(insn.segment, part & BP ? SS : DS);
        assert_int_equal(insn_offset(&insn, gpr, 0), want & 0xffff);
    }
}

static struct insn decoded(const char *code, unsigned length)
{
    struct insn insn;

    assert_int_equal(decode_exact(64, code, length, &insn), INSN_OK);
    return insn;
}

/* Into RAX, for each width and extension. */
static void test_set_reg(void **state)
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
        {CODE("\x48\x63\x01"), 0x81828384, 0xffffffff81828384}, /* movsxd */
        {CODE("\x63\x01"), 0x81828384, 0x81828384},
        {CODE("\x66\x63\x01"), 0x8182, 0x1122334455668182},
        {CODE("\x0f\xc0\x21"), 0x81, 0x1122334455668188}, /* xadd [rcx], ah */
        {CODE("\x87\x01"), 0x81828384, 0x81828384},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(loads); i++) {
        struct insn insn = decoded(loads[i].code, loads[i].length);
        uint64_t gpr[16], dirt = insn.bytes == 8 ? 0 : ~0ull << (8 * insn.bytes);

        /* Bits of the value above the access must not matter. */
        for (unsigned round = 0; round < 2; round++) {
            for (unsigned r = 0; r < 16; r++)
                gpr[r] = 0x1122334455667788;
            insn_set_reg(&insn, gpr, loads[i].value | (round ? dirt : 0));
            assert_int_equal(gpr[RAX], loads[i].want);
            for (unsigned r = 1; r < 16; r++)
                assert_int_equal(gpr[r], 0x1122334455667788);
        }
    }
}

static void test_operand(void **state)
{
    static const struct {
        const char *code;
        unsigned length;
        uint64_t want;
    } stores[] = {
        {CODE("\x88\x00"), 0x00},
        {CODE("\x88\x38"), 0x87},     /* bh */
        {CODE("\x40\x88\x38"), 0x07}, /* dil */
        {CODE("\x66\x89\x10"), 0x8702},
        {CODE("\x44\x01\x38"), 0x8586870f},
        {CODE("\x4c\x89\x38"), 0x818283848586870f},
        {CODE("\xc6\x00\xfe"), 0xfe},
        {CODE("\x66\xc7\x00\xfe\xff"), 0xfffe},
        {CODE("\x83\x08\xfe"), 0xfffffffe},
        {CODE("\x48\xc7\x00\xfe\xff\xff\xff"), 0xfffffffffffffffe},
    };
    uint64_t gpr[16];

    (void)state;
    for (unsigned r = 0; r < 16; r++)
        gpr[r] = 0x8182838485868700 + r;
    for (unsigned i = 0; i < ARRAY_COUNT(stores); i++) {
        struct insn insn = decoded(stores[i].code, stores[i].length);

        assert_int_equal(insn_operand(&insn, gpr), stores[i].want);
    }
}

static void test_names(void **state)
{
    (void)state;
    for (unsigned op = 0; op <= INSN_VECTOR; op++) {
        struct insn insn = {.op = (uint8_t)op};

        for (unsigned before = 0; before < op; before++) {
            struct insn other = {.op = (uint8_t)before};

            assert_string_not_equal(insn_name(&insn), insn_name(&other));
        }
        assert_in_range(strlen(insn_name(&insn)), 2, 10);
    }
    assert_string_equal(insn_name(&(struct insn){.op = INSN_CMPXCHG}), "cmpxchg");
    assert_string_equal(insn_name(&(struct insn){.op = INSN_SCAS}), "scas");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_others),    cmocka_unit_test(test_plain),
        cmocka_unit_test(test_gather),    cmocka_unit_test(test_undefined),
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_addresses_16),
        cmocka_unit_test(test_set_reg),   cmocka_unit_test(test_operand),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
