/*
 * Mistakes that other hypervisors made with the instructions of trapped accesses, each as a test that would have found it.
 *
 *   XSA-112                       REP crosses regions                 rep_crosses_regions
 *   Xen 5fcb26e69e                stale code after an interrupt       interrupt_during_rep
 *   XSA-123, XSA-195, XSA-200     segments, bit offsets, prefixes     segment_override, bit_offset, prefixes_of_cmpxchg8b
 *   ACRN 3c6aa23ab                the exit's length is not told       length_not_trusted
 *   ACRN #1008                    MOVS with the guest's pointers      movs_both_directions
 *   ACRN bdae8efb7, Jailhouse e88f524d   MOVZX reads too much         movzx_reads_its_source
 *   Jailhouse 8c5b95c4            upper bits of registers lost        upper_bits_of_registers
 *   HAXM #12, #93, #186           opcodes that nobody handled         every_opcode
 */
#include "tests/unit/mode_kit.h"

#include <string.h>

#include "hv/base/bits.h"

#define FIRST  0u
#define SECOND 1u
#define AT     0x120u
#define R      HV_ACCESS_READ
#define W      HV_ACCESS_WRITE
#define RAX    0x8877665544332211ull

/* REP STOSW over a border of two regions and of two pages, upwards and downwards, on and off the element's alignment. */
static void test_xsa_112_rep_crosses_regions(void **state)
{
    (void)state;
    for (unsigned down = 0; down < 2; down++)
        for (unsigned border = 0x800; border <= PAGE_BYTES; border += 0x800)
            for (unsigned shift = 0; shift < 2; shift++) {
                const unsigned low = border - 8 + shift, at = down ? low + 14 : low;
                uint8_t got[16];

                kit_attach(FIRST, MODE_PLACE, border);
                kit_attach(SECOND, MODE_PLACE + border, 2 * PAGE_BYTES - border);
                kit_forget();
                memset(got, 0, sizeof(got));
                mode_point_to(at);
                fake_backend.state.rflags = down ? RFLAGS_DF : 0;
                kit.vp.gpr[GPR_RCX] = 8;
                kit.vp.gpr[GPR_RAX] = 0x2211;
                assert_int_equal(RUN("\xf3\x66\xab", at, W), HV_ADVANCE);
                assert_int_equal(kit.vp.gpr[GPR_RCX], 0);
                assert_int_equal(kit.vp.gpr[GPR_RDI], mode_data() + (down ? low - 2 : low + 16));
                for (unsigned n = 0; n < kit.seen_count; n++) {
                    const struct kit_access *seen = &kit.seen[n];
                    const uint64_t from = seen->offset + (seen->who == SECOND ? border : 0) - low;

                    assert_true(from + seen->bytes <= sizeof(got));
                    memcpy(got + from, &seen->value, seen->bytes);
                }
                for (unsigned i = 0; i < sizeof(got); i++)
                    assert_int_equal(got[i], i % 2 ? 0x22 : 0x11);
                kit_detach(FIRST, MODE_PLACE);
                kit_detach(SECOND, MODE_PLACE + border);
            }
}

static void keep_first(unsigned n)
{
    (void)n;
    kit.seen_count = 1; /* there are more than it keeps */
}

/* Between two parts of a long REP an interrupt's handler has written other code there: that is what runs. */
static void test_xen_5fcb26e69e_interrupt_during_rep(void **state)
{
    (void)state;
    kit_attach(FIRST, MODE_PLACE, 2 * PAGE_BYTES);
    kit.on_access = keep_first;
    mode_point_to(0);
    kit.vp.gpr[GPR_RCX] = 1000;
    kit.vp.gpr[GPR_RAX] = RAX;
    assert_int_equal(RUN("\xf3\xaa", 0, W), HV_RESUME);
    assert_int_equal(kit.vp.gpr[GPR_RCX], 1000 - 256);
    kit_forget();
    kit.on_access = NULL;
    assert_int_equal(RUN("\x88\x27", 256, W), HV_ADVANCE); /* mov [rdi], ah */
    assert_int_equal(kit.seen_count, 1);
    assert_int_equal(kit.seen[0].offset, 256);
    assert_int_equal(kit.seen[0].value, 0x22);
    assert_int_equal(kit.vp.gpr[GPR_RCX], 1000 - 256);
}

/* An override on an access without memory in that segment, in the middle of other prefixes; only FS and GS count. */
static void test_xsa_123_segment_override(void **state)
{
    static const char overrides[] = "\x26\x2e\x36\x3e\x64\x65";

    (void)state;
    kit_attach(FIRST, MODE_PLACE, 2 * PAGE_BYTES);
    for (unsigned i = 0; i < ARRAY_COUNT(fake_backend.state.seg); i++)
        fake_backend.state.seg[i].base = 0x10 * (i + 1);
    for (unsigned first = 0; first < 6; first++)
        for (unsigned second = 0; second < 6; second++) {
            /* The last one counts, among those that count: CPUs skip the four others. */
            const unsigned seg = second >= 4 ? second : first >= 4 ? first : 0;
            const unsigned at = AT + (seg ? 0x10 * (seg + 1) : 0);
            char code[] = {overrides[first], 0x66, overrides[second], (char)0x8b, 0x07};

            if (first >= 4 && second < 4)
                continue; /* the two vendors' manuals leave it open */
            kit_forget();
            mode_point_to(AT);
            assert_int_equal(mode_run(code, sizeof(code), at, R), HV_ADVANCE);
            assert_int_equal(kit.seen[0].offset, at);
            assert_int_equal(kit.seen[0].bytes, 2);
        }
}

/* A bit number in a register is signed, and as wide as the operand. */
static void test_xsa_195_bit_offset(void **state)
{
    static const struct {
        uint64_t bit;
        int offset[3]; /* of the operand's bytes with 16, 32 and 64 bits */
    } cases[] = {
        {0, {0, 0, 0}},        {64, {8, 8, 8}},
        {~0ull, {-2, -4, -8}}, {0xffffffc0, {-8, -8, 0}}, /* 64 bits: beyond the page, see below */
        {0xffc0, {-8, 0, 0}},
    };

    (void)state;
    kit_attach(FIRST, MODE_PLACE, 2 * PAGE_BYTES);
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++)
        for (unsigned width = 0; width < 3; width++) {
            const unsigned at = AT + (unsigned)cases[i].offset[width];
            const char *code = width == 0   ? "\x66\x0f\xa3\x07"
                               : width == 1 ? "\x0f\xa3\x07"
                                            : "\x48\x0f\xa3\x07"; /* bt [rdi], rax */

            if (cases[i].bit > BIT(15) && cases[i].offset[width] == 0)
                continue; /* far away */
            kit_forget();
            mode_point_to(AT);
            kit.vp.gpr[GPR_RAX] = cases[i].bit;
            assert_int_equal(mode_run(code, width == 1 ? 3 : 4, at, R), HV_ADVANCE);
            assert_int_equal(kit.seen[0].offset, at);
            assert_int_equal(kit.seen[0].bytes, 2u << width);
            assert_int_equal(fake_backend.state.rflags & RFLAGS_CF,
                             mode_answer(FIRST, at, 8) >> (cases[i].bit & ((16u << width) - 1)) &
                                 1);
        }
    kit_forget(); /* with 64 bits the same number leads 512 MiB away: no part of the operand's page is asked */
    kit.vp.gpr[GPR_RAX] = 0xffffffc0;
    mode_point_to(AT);
    assert_int_equal(RUN("\x48\x0f\xa3\x07", AT, R), HV_RESUME);
    assert_int_equal(kit.vp.event.address, mode_linear(AT) + 0x1ffffff8);
}

/* Prefixes of operand width do not make CMPXCHG8B another instruction; REX.W does. */
static void test_xsa_200_prefixes_of_cmpxchg8b(void **state)
{
    static const struct {
        char code[6];
        uint8_t length, bytes;
    } cases[] = {{"\x0f\xc7\x0f", 3, 8},
                 {"\x66\x0f\xc7\x0f", 4, 8},
                 {"\xf0\x66\x0f\xc7\x0f", 5, 8},
                 {"\x48\x0f\xc7\x0f", 4, 16},
                 {"\x66\x48\x0f\xc7\x0f", 5, 16}};

    (void)state;
    kit_attach_as(FIRST, MODE_PLACE, 2 * PAGE_BYTES, false, 16);
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        const unsigned half = cases[i].bytes / 2u;

        kit_forget();
        mode_point_to(AT);
        kit.vp.gpr[GPR_RAX] = kit.vp.gpr[GPR_RDX] = RAX;
        assert_int_equal(mode_run(cases[i].code, cases[i].length, AT, R | W), HV_ADVANCE);
        assert_int_equal(mode_length, cases[i].length);
        assert_int_equal(kit.seen_count, 2);
        assert_int_equal(kit.seen[0].bytes, cases[i].bytes);
        assert_int_equal(kit.vp.gpr[GPR_RAX], mode_answer(FIRST, AT, half));
        assert_int_equal(kit.vp.gpr[GPR_RDX], mode_answer(FIRST, AT + half, half));
        assert_true(kit.seen[1].write); /* it did not compare, and is written back */
    }
}

/* The CPU leaves the exit's length undefined for these faults: any value there, code that ends in the next page. */
static void test_acrn_3c6aa23ab_length_not_trusted(void **state)
{
    const uint64_t next = KIT_CODE + PAGE_BYTES;

    (void)state;
    kit_attach(FIRST, MODE_PLACE, 2 * PAGE_BYTES);
    for (unsigned told = 0; told < 256; told++)
        for (unsigned first = 1; first <= 3; first++)
            for (unsigned turn = 0; turn < 2; turn++) {
                struct hv_exit exit;

                kit_forget();
                mode_point_to(AT);
                kit_code(next - first, "\x48\x8b\x07", 3);
                kit_exit(&exit, next - first, MODE_PLACE + AT, R);
                exit.length = (uint8_t)told;
                assert_int_equal(kit_run(&exit), HV_ADVANCE);
                assert_int_equal(exit.length, 3);
                assert_int_equal(kit.vp.gpr[GPR_RAX], mode_answer(FIRST, AT, 8));
            }
}

/* MOVS from a device to RAM, from RAM to a device, and between two devices: what was read is what is written. */
static void test_acrn_1008_movs_both_directions(void **state)
{
    (void)state;
    kit_attach(FIRST, MODE_PLACE, PAGE_BYTES);
    for (unsigned to = 0; to < 2; to++)
        for (unsigned down = 0; down < 2; down++) {
            const unsigned at = AT + (down ? 12 : 0);

            mode_map(1, 0x50000, KIT_LINK);
            for (unsigned i = 0; i < 16; i++)
                *kit_byte(0x50000 + AT + i) = (uint8_t)(0x80 + i);
            kit_forget();
            fake_backend.state.rflags = down ? RFLAGS_DF : 0;
            kit.vp.gpr[GPR_RSI] = mode_data() + at + (to ? PAGE_BYTES : 0);
            kit.vp.gpr[GPR_RDI] = mode_data() + at + (to ? 0 : PAGE_BYTES);
            kit.vp.gpr[GPR_RCX] = 4;
            assert_int_equal(RUN("\xf3\xa5", at, to ? W : R), HV_ADVANCE);
            assert_int_equal(kit.seen_count, 4);
            for (unsigned n = 0; n < 4; n++) {
                const unsigned offset = down ? at - 4 * n : at + 4 * n;
                uint32_t memory;

                memcpy(&memory, kit_byte(0x50000 + offset), sizeof(memory));
                assert_int_equal(kit.seen[n].offset, offset);
                assert_int_equal(kit.seen[n].write, to);
                assert_int_equal(kit.seen[n].value, memory);
            }
        }
    kit_forget();
    mode_map(1, MODE_PLACE + 8 * PAGE_BYTES, KIT_LINK);
    kit_attach(SECOND, MODE_PLACE + 8 * PAGE_BYTES, PAGE_BYTES);
    fake_backend.state.rflags = 0;
    kit.vp.gpr[GPR_RSI] = mode_data() + AT;
    kit.vp.gpr[GPR_RDI] = mode_data() + PAGE_BYTES + 8;
    assert_int_equal(RUN("\xa5", AT, R), HV_ADVANCE);
    assert_int_equal(kit.seen_count, 2);
    assert_int_equal(kit.seen[1].who, SECOND);
    assert_int_equal(kit.seen[1].offset, 8);
    assert_int_equal(kit.seen[1].value, mode_answer(FIRST, AT, 4));
}

/* The device is asked for the source's width, not for the register's. */
static void test_acrn_bdae8efb7_jailhouse_e88f524d_movzx_reads_its_source(void **state)
{
    static const struct {
        char code[5];
        uint8_t length, bytes, to;
        bool sign;
    } cases[] = {
        {"\x0f\xb6\x07", 3, 1, 4, false},     {"\x66\x0f\xb6\x07", 4, 1, 2, false},
        {"\x48\x0f\xb6\x07", 4, 1, 8, false}, {"\x0f\xb7\x07", 3, 2, 4, false},
        {"\x48\x0f\xb7\x07", 4, 2, 8, false}, {"\x0f\xbe\x07", 3, 1, 4, true},
        {"\x66\x0f\xbe\x07", 4, 1, 2, true},  {"\x48\x0f\xbe\x07", 4, 1, 8, true},
        {"\x0f\xbf\x07", 3, 2, 4, true},      {"\x48\x0f\xbf\x07", 4, 2, 8, true},
        {"\x48\x63\x07", 3, 4, 8, true},
    };

    (void)state;
    kit_attach(FIRST, MODE_PLACE, PAGE_BYTES);
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++)
        for (unsigned turn = 0; turn < 16;
             turn++) { /* signs of both kinds; the second of each is the short way */
            const unsigned at = AT + turn / 2 * 4, bits = cases[i].bytes * 8u;
            const uint64_t low = mode_answer(FIRST, at, cases[i].bytes), to = ones_of(cases[i].to);
            uint64_t wide = low;

            if (cases[i].sign)
                wide = (uint64_t)((int64_t)(low << (64 - bits)) >> (64 - bits));
            kit_forget();
            mode_point_to(at);
            kit.vp.gpr[GPR_RAX] = RAX;
            assert_int_equal(mode_run(cases[i].code, cases[i].length, at, R), HV_ADVANCE);
            assert_int_equal(kit.seen_count, 1);
            assert_int_equal(kit.seen[0].bytes, cases[i].bytes);
            assert_int_equal(kit.vp.gpr[GPR_RAX],
                             cases[i].to == 2 ? (RAX & ~to) | (wide & to) : wide & to);
        }
}

/* Loads of 8 and 16 bits keep what lies above, loads of 32 clear it; in every register. */
static void test_jailhouse_8c5b95c4_upper_bits_of_registers(void **state)
{
    (void)state;
    kit_attach(FIRST, MODE_PLACE, PAGE_BYTES);
    for (unsigned reg = 0; reg < GPR_COUNT; reg++)
        for (unsigned form = 0; form < 5; form++)
            for (unsigned turn = 0; turn < 2; turn++) {
                const bool high = form == 4;
                const unsigned bytes = high ? 1 : 1u << form, shift = high ? 8 : 0;
                const uint64_t mask = bytes == 4 ? ~0ull : ones_of(bytes) << shift;
                const unsigned pointer = reg == GPR_RBX ? GPR_RDI : GPR_RBX;
                char code[8];
                unsigned length = 0;
                uint64_t got;

                if (high && reg >= 4)
                    continue;
                kit_forget();
                kit.vp.gpr[reg] = RAX;
                fake_backend.state.rsp = reg == GPR_RSP ? RAX : 0x7000;
                kit.vp.gpr[pointer] = mode_data() + AT;
                if (bytes == 2)
                    code[length++] = 0x66;
                if (!high)
                    code[length++] = (char)(0x40 | (bytes == 8 ? 8 : 0) | (reg >= 8 ? 4 : 0));
                code[length++] = (char)(bytes == 1 ? 0x8a : 0x8b);
                code[length++] = (char)(((reg & 7) | (high ? 4 : 0)) << 3 | pointer);
                assert_int_equal(mode_run(code, length, AT, R), HV_ADVANCE);
                got = reg == GPR_RSP ? fake_backend.state.rsp : kit.vp.gpr[reg];
                assert_int_equal(got,
                                 (RAX & ~mask) | (mode_answer(FIRST, AT, bytes) << shift & mask));
            }
}

/* ---- every opcode ---- */

static const uint8_t maps[][2] = {{0, 0}, {0x0f, 0}, {0x0f, 0x38}, {0x0f, 0x3a}};
static const uint8_t prefixes[] = {0, 0x66, 0xf0, 0xf2, 0xf3};

static void check_opcode(enum mode mode, const uint8_t *code)
{
    const uint64_t count = kit.vp.gpr[GPR_RCX] = 3;
    struct insn insn;
    enum hv_resume resume;
    bool event;

    kit.vp.event.kind = VP_EVENT_NONE;
    kit.vm.stats.spurious = 0;
    fake_backend.state.rflags = 0;
    kit.vp.gpr[GPR_RAX] = kit.vp.gpr[GPR_RDX] = 0x55;
    kit.vp.gpr[GPR_RBP] = 0;
    fake_backend.state.rsp = mode_data() + 0x800;
    mode_point_to(AT);
    mode_code(code, INSN_MAX_BYTES);
    resume = mode_fault(AT, R | W);
    event = kit.vp.event.kind != VP_EVENT_NONE;
    assert_int_equal(kit.vm.stop, VM_STOP_NONE);
    assert_false(lock_is_held(&kit.vm.bus_lock));
    if (resume == HV_ADVANCE) {
        assert_false(event);
        assert_int_equal(insn_decode(code, INSN_MAX_BYTES, mode_width(), &insn), INSN_OK);
        assert_int_equal(mode_length, insn.length);
        return;
    }
    /* With an event, or the CPU shall do it, or it has come as far as where nothing traps. */
    assert_int_equal(resume, HV_RESUME);
    assert_int_equal(event + kit.vm.stats.spurious + (kit.vp.gpr[GPR_RCX] < count), 1);
    assert_true(!event || kit.vp.event.vector == VECTOR_UD || kit.vp.event.vector == VECTOR_GP ||
                kit.vp.event.vector == VECTOR_SS || kit.vp.event.vector == VECTOR_PF ||
                kit.vp.event.vector == VECTOR_NM || kit.vp.event.vector == VECTOR_AC);
    assert_true(mode != MODE_REAL || !event || !kit.vp.event.has_error);
}

/* All opcodes of the four maps, with each field of ModRM and each prefix, in code of every width, on trapped memory. */
static void test_haxm_12_93_186_every_opcode(void **state)
{
    static const enum mode modes[] = {MODE_64, MODE_COMPAT_32, MODE_COMPAT_16, MODE_REAL};
    unsigned advanced = 0;

    (void)state;
    kit.on_access = keep_first;
    kit_attach(FIRST, MODE_PLACE, 2 * PAGE_BYTES);
    for (unsigned m = 0; m < ARRAY_COUNT(modes); m++) {
        mode_open(modes[m], MODE_PLACE);
        fake_backend.state.cr4 |= CR4_OSFXSR;
        for (unsigned form = 0; form < ARRAY_COUNT(maps) * ARRAY_COUNT(prefixes) * 256 * 8;
             form++) {
            const unsigned map = form / 8 / 256 % 4, prefix = form / 8 / 256 / 4;
            uint8_t code[INSN_MAX_BYTES];
            unsigned at = 0;

            memset(code, 0x01, sizeof(code));
            if (prefixes[prefix])
                code[at++] = prefixes[prefix];
            for (unsigned i = 0; i < 2 && maps[map][i]; i++)
                code[at++] = maps[map][i];
            code[at++] = (uint8_t)(form / 8);
            code[at] = (uint8_t)(form % 8 << 3 | 7); /* [rdi], [bx] */
            check_opcode(modes[m], code);
            advanced += kit.vp.event.kind == VP_EVENT_NONE;
        }
    }
    assert_true(advanced > 10000);
}

#define TEST(name) KIT_TEST_BOTH(name, mode_open_alone)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_xsa_112_rep_crosses_regions),
        TEST(test_xen_5fcb26e69e_interrupt_during_rep),
        TEST(test_xsa_123_segment_override),
        TEST(test_xsa_195_bit_offset),
        TEST(test_xsa_200_prefixes_of_cmpxchg8b),
        TEST(test_acrn_3c6aa23ab_length_not_trusted),
        TEST(test_acrn_1008_movs_both_directions),
        TEST(test_acrn_bdae8efb7_jailhouse_e88f524d_movzx_reads_its_source),
        TEST(test_jailhouse_8c5b95c4_upper_bits_of_registers),
        cmocka_unit_test_setup_teardown(test_haxm_12_93_186_every_opcode, mode_open_alone,
                                        kit_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
