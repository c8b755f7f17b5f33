#include "tests/unit/insn_kit.h"

static enum insn_mode mode_of(unsigned mode)
{
    return mode == 64 ? INSN_64 : mode == 32 ? INSN_32 : INSN_16;
}

enum insn_result decode_exact(unsigned mode, const void *code, unsigned have, struct insn *insn)
{
    uint8_t *block = malloc(have + (have == 0));
    enum insn_result result;

    assert_non_null(block);
    memcpy(block, code, have);
    memset(insn, 0xa5, sizeof(*insn));
    result = insn_decode(block, have, mode_of(mode), insn);
    free(block);
    return result;
}

void check_same(const char *text, const struct insn *got, const struct insn *want)
{
#define SAME(member)                                                                               \
    do {                                                                                           \
        if ((uint64_t)got->member != (uint64_t)want->member)                                       \
            fail_msg("%s: " #member " is %#llx, not %#llx", text, (unsigned long long)got->member, \
                     (unsigned long long)want->member);                                            \
    } while (0)
    SAME(op);
    SAME(bytes);
    SAME(reg_bytes);
    SAME(access);
    SAME(memory);
    SAME(to_reg);
    SAME(has_imm);
    SAME(sign_extend);
    SAME(locked);
    SAME(repeat);
    SAME(length);
    SAME(reg);
    SAME(high_byte);
    SAME(vector);
    SAME(lane);
    SAME(merge);
    SAME(aligned);
    SAME(flags);
    SAME(rip_relative);
    SAME(base);
    SAME(index);
    SAME(scale);
    SAME(segment);
    SAME(addr_bytes);
    SAME(disp);
    SAME(imm);
#undef SAME
}

void check_row(const char *text, unsigned mode, const char *code, unsigned length,
               const struct insn *want)
{
    uint8_t longer[40];
    struct insn got;

    if (decode_exact(mode, code, length, &got) != INSN_OK)
        fail_msg("%s is not decoded", text);
    check_same(text, &got, want);
    for (unsigned fill = 0; fill < 256; fill += 51) {
        memset(longer, (int)fill, sizeof(longer));
        memcpy(longer, code, length);
        for (unsigned have = length; have <= sizeof(longer); have++) {
            assert_int_equal(decode_exact(mode, longer, have, &got), INSN_OK);
            check_same(text, &got, want);
        }
    }
    for (unsigned have = 0; have < length; have++)
        if (decode_exact(mode, code, have, &got) != INSN_SHORT)
            fail_msg("%s is not short with %u bytes", text, have);
}
