/*
 * The long way of trapped accesses: every mode of code, each answer that the core gives, faults of operands, repeated
 * string instructions, the lock. Where operands are is in test_accessto.c.
 */
#include "tests/unit/mode_kit.h"

#include <string.h>

#include "hv/base/bits.h"

#define AT    0x120u
#define CPL_3 (3u << 5)
#define R     HV_ACCESS_READ
#define W     HV_ACCESS_WRITE
#define MOST  256u /* iterations */

/* ---- modes ---- */

/* The same bytes mean other widths and other registers: 8B 07 is mov ax, [bx] in 16-bit code, else mov eax, [rdi]. */
static void test_modes(void **state)
{
    const uint64_t rax = 0x1122334455667788ull;

    (void)state;
    for (enum mode mode = 0; mode < MODES; mode++) {
        const bool narrow = mode == MODE_COMPAT_16 || mode == MODE_REAL;
        const unsigned bytes = narrow ? 2 : 4;

        mode_open(mode, MODE_PLACE);
        for (unsigned turn = 0; turn < 2; turn++) {
            kit_forget();
            mode_point_to(AT);
            kit.vp.gpr[GPR_RAX] = rax;
            assert_int_equal(RUN("\x8b\x07", AT, R), HV_ADVANCE);
            assert_int_equal(mode_length, 2);
            assert_int_equal(kit_short, mode == MODE_64 && turn == 1);
            mode_expect_seen(0, false, AT, bytes, mode_answer(MODE_DEVICE, AT, bytes));
            assert_int_equal(kit.vp.gpr[GPR_RAX],
                             narrow ? (rax & ~0xffffull) | mode_answer(MODE_DEVICE, AT, 2)
                                    : mode_answer(MODE_DEVICE, AT, 4));
        }
        kit_forget();
        kit.vp.gpr[GPR_RAX] = rax;
        assert_int_equal(RUN("\x66\x89\x07", AT, W), HV_ADVANCE);
        mode_expect_seen(0, true, AT, 6 - bytes, rax & ones_of(6 - bytes));
        kit.vp.gpr[GPR_RAX] = 1;
        fake_backend.state.rflags = RFLAGS_DF;
        assert_int_equal(RUN("\xf0\x00\x07", AT, R | W), HV_ADVANCE); /* lock add */
        mode_expect_seen(1, false, AT, 1, mode_answer(MODE_DEVICE, AT, 1));
        mode_expect_seen(2, true, AT, 1, (mode_answer(MODE_DEVICE, AT, 1) + 1) & 0xff);
        assert_int_equal(fake_backend.state.rflags & RFLAGS_DF, RFLAGS_DF);
    }
}

/* A and D of the operand's pages, which the CPU has not walked in all cases, in each format of tables. */
static void test_marks(void **state)
{
    const uint64_t marks = PTE_A | PTE_D;

    (void)state;
    for (enum mode mode = 0; mode < MODE_FLAT; mode++)
        for (unsigned write = 0; write < 2; write++) {
            mode_open(mode, MODE_PLACE);
            mode_point_to(PAGE_BYTES - 1);
            assert_int_equal(write ? RUN("\x66\x89\x07", PAGE_BYTES - 1, W)
                                   : RUN("\x66\x8b\x07", PAGE_BYTES - 1, R),
                             HV_ADVANCE);
            for (unsigned page = 0; page < 2; page++)
                assert_int_equal(mode_entry(page) & marks, write ? marks : PTE_A);
            mode_open(mode, MODE_PLACE);
            memset(kit.vp.place, 0,
                   sizeof(kit.vp.place));  /* where the CPU has marked what it walked */
            mode_point_to(PAGE_BYTES - 8); /* the neighbour is not touched */
            assert_int_equal(RUN("\x66\x8b\x07", PAGE_BYTES - 8, R), HV_ADVANCE);
            assert_int_equal(mode_entry(0) & marks, PTE_A);
            assert_int_equal(mode_entry(1) & marks, 0);
        }
}

/* Stacks are as wide as the mode says. */
static void test_stacks(void **state)
{
    (void)state;
    for (enum mode mode = 0; mode < MODES; mode++) {
        unsigned width;

        mode_open(mode, MODE_PLACE);
        width = mode_width() == INSN_64 ? 8 : mode_width() == INSN_32 ? 4 : 2;
        kit_forget();
        mode_point_to(AT);
        fake_backend.state.rsp = mode_data() + 0x800;
        assert_int_equal(RUN("\xff\x37", AT, R), HV_ADVANCE); /* push [rdi], [bx] */
        mode_expect_seen(0, false, AT, width, mode_answer(MODE_DEVICE, AT, width));
        mode_expect_seen(1, true, 0x800 - width, width, mode_answer(MODE_DEVICE, AT, width));
        assert_int_equal(fake_backend.state.rsp, mode_data() + 0x800 - width);
        assert_int_equal(RUN("\x8f\x07", AT, W), HV_ADVANCE); /* pop */
        mode_expect_seen(3, true, AT, width, mode_answer(MODE_DEVICE, 0x800 - width, width));
        assert_int_equal(fake_backend.state.rsp, mode_data() + 0x800);
        assert_int_equal(fake_backend.rsp_stores, 2);
    }
}

/* Outside 64-bit code what lies behind 4 GiB is 0, for operands and for code, whatever the tables have up there. */
static void test_wrap_at_4_gib(void **state)
{
    const uint64_t top = GIB(4ull) - PAGE_BYTES, marks = PTE_A | PTE_D;

    (void)state;
    mode_open(MODE_COMPAT_32, MODE_PLACE);
    kit_map(top, MODE_PLACE, 1, KIT_LINK);
    kit_map(0, MODE_PLACE + PAGE_BYTES, 1, KIT_LINK);
    kit_map(GIB(4ull), 0x50000, 1, KIT_LINK);
    fake_backend.state.seg[INSN_DS].base = top; /* so that no offset goes past the limit */
    mode_point_to(PAGE_BYTES - 2);
    kit.vp.gpr[GPR_RAX] = 0x44332211;
    assert_int_equal(RUN("\x89\x07", PAGE_BYTES - 2, W), HV_ADVANCE);
    mode_expect_seen(0, true, PAGE_BYTES - 2, 2, 0x2211);
    mode_expect_seen(1, true, PAGE_BYTES, 2, 0x4433);
    assert_int_equal(*kit_entry(0, 1) & marks, marks);
    assert_int_equal(*kit_entry(GIB(4ull), 1) & marks, 0);
    *kit_entry(0, 1) &= ~PTE_P;
    kit_forget();
    assert_int_equal(RUN("\x89\x07", PAGE_BYTES - 2, W), HV_RESUME);
    kit_expect_event(VECTOR_PF, true, PF_WRITE);
    assert_int_equal(kit.vp.event.address, 0);

    kit_forget(); /* an instruction of which the last byte lies at 0 */
    kit_map(top, 0x60000, 1, KIT_LINK);
    kit_map(0, 0x61000, 1, KIT_LINK);
    memset(kit_byte(0x50000), 0xcc, PAGE_BYTES);
    memcpy(kit_byte(0x60ffe), "\x0f\xb6", 2);
    memset(kit_byte(0x61000), 0x90, INSN_MAX_BYTES);
    *kit_byte(0x61000) = 0x07; /* movzx eax, byte [edi] */
    fake_backend.state.seg[INSN_CS].base = GIB(4ull) - 2 - MODE_CODE;
    fake_backend.state.seg[INSN_DS].base = KIT_DATA;
    mode_point_to(AT);
    assert_int_equal(mode_fault(AT, R), HV_ADVANCE);
    assert_int_equal(mode_length, 3);
    assert_int_equal(kit.vp.gpr[GPR_RAX], mode_answer(MODE_DEVICE, AT, 1));
    *kit_entry(0, 1) &= ~PTE_P;
    kit_forget();
    assert_int_equal(mode_fault(AT, R), HV_RESUME);
    kit_expect_event(VECTOR_PF, true, PF_FETCH);
    assert_int_equal(kit.vp.event.address, 0);
}

/* Code that ends with its segment: #GP where the next byte is needed, and without an error code where CPUs give none. */
static void test_code_limit(void **state)
{
    static const uint8_t code[] = {0x66, 0x66, 0x89, 0x07};
    uint64_t gpr[GPR_COUNT];

    (void)state;
    for (enum mode mode = MODE_COMPAT_32; mode < MODES; mode++)
        for (unsigned left = 0; left <= sizeof(code); left++) {
            mode_open(mode, MODE_PLACE);
            fake_backend.state.seg[INSN_CS].limit = MODE_CODE + left - 1;
            kit_forget();
            mode_point_to(AT);
            fake_backend.state.rsp = kit.vp.gpr[GPR_RSP];
            memcpy(gpr, kit.vp.gpr, sizeof(gpr));
            mode_code(code, sizeof(code));
            assert_int_equal(mode_fault(AT, W), left == sizeof(code) ? HV_ADVANCE : HV_RESUME);
            if (left == sizeof(code)) {
                assert_int_equal(kit.seen_count, 1);
                continue;
            }
            kit_expect_event(VECTOR_GP, mode != MODE_REAL, 0);
            kit_expect_untouched(gpr);
        }
    mode_open(MODE_64, MODE_PLACE); /* where there are no limits */
    fake_backend.state.seg[INSN_CS].limit = 0;
    mode_point_to(AT);
    assert_int_equal(RUN("\x89\x07", AT, W), HV_ADVANCE);
}

static void test_too_long(void **state)
{
    (void)state;
    for (enum mode mode = 0; mode < MODES; mode++) {
        mode_open(mode, MODE_PLACE);
        kit_forget();
        assert_int_equal(
            RUN("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x89\x07", AT, W),
            HV_RESUME);
        kit_expect_event(VECTOR_GP, mode != MODE_REAL, 0);
        assert_int_equal(kit.seen_count, 0);
    }
}

/* Code that goes on past the last address of the lower half. */
static void test_code_canonical(void **state)
{
    const uint64_t last = BIT(47) - PAGE_BYTES;
    struct hv_exit exit;

    (void)state;
    kit_map(last, KIT_CODE_RAM, 1, KIT_LINK);
    kit_map(~0ull << 47, KIT_CODE_RAM + PAGE_BYTES, 1, KIT_LINK);
    memset(kit_byte(KIT_CODE_RAM + PAGE_BYTES), 0x07, INSN_MAX_BYTES);
    memcpy(kit_byte(KIT_CODE_RAM + PAGE_BYTES - 2), "\x90\x89", 2);
    mode_point_to(AT);
    kit_exit(&exit, BIT(47) - 1, MODE_PLACE + AT, W);
    assert_int_equal(kit_run(&exit), HV_RESUME);
    kit_expect_event(VECTOR_GP, true, 0);
    assert_int_equal(kit.seen_count, 0);
}

/* Code that the tables show where a device is, or nobody: the CPU has run what was there before. */
static void test_code_not_memory(void **state)
{
    static const uint64_t nowhere[] = {MODE_PLACE, KIT_BAR + 9 * PAGE_BYTES};
    uint64_t gpr[GPR_COUNT];

    (void)state;
    for (unsigned i = 0; i < 2; i++)
        for (unsigned first = 0; first < 2;
             first++) { /* the byte of an instruction that is there no more */
            struct hv_exit exit;
            const uint64_t rip = KIT_CODE + PAGE_BYTES - first;

            kit_forget();
            vp_places_forget(&kit.vp);
            mode_point_to(AT);
            kit_map(KIT_CODE + PAGE_BYTES, KIT_CODE_RAM + PAGE_BYTES, 1, KIT_LINK);
            kit_code(rip, "\x89\x07", 2);
            kit_map(KIT_CODE + PAGE_BYTES, nowhere[i], 1, KIT_LINK);
            fake_backend.state.rsp = kit.vp.gpr[GPR_RSP];
            memcpy(gpr, kit.vp.gpr, sizeof(gpr));
            kit_exit(&exit, rip, MODE_PLACE + AT, W);
            assert_int_equal(kit_run(&exit), HV_RESUME);
            kit_expect_event(VECTOR_GP, true, 0);
            kit_expect_untouched(gpr);
        }
}

/* ---- what the core answers ---- */

static void expect_stats(unsigned spurious, unsigned unsupported, uint8_t event)
{
    assert_int_equal(kit.vm.stats.spurious, spurious);
    assert_int_equal(kit.vm.stats.unsupported, unsupported);
    assert_int_equal(kit.vp.event.kind, event);
    assert_int_equal(kit.vm.stop, VM_STOP_NONE);
}

static void attach_leaf(struct vp *vp)
{
    (void)vp;
    kit_direct(4, PT_R | PT_W, MEMTYPE_WB);
}

static void test_answers(void **state)
{
    (void)state;
    mode_point_to(AT);
    fake_backend.state.rflags = RFLAGS_CF | RFLAGS_DF;
    assert_int_equal(RUN("\x09\x07", AT, R | W), HV_ADVANCE);
    expect_stats(0, 0, VP_EVENT_NONE);
    assert_int_equal(mode_length, 2);
    assert_int_equal(fake_backend.state.rflags & (RFLAGS_CF | RFLAGS_DF),
                     RFLAGS_DF); /* OR clears CF */

    kit_forget(); /* nothing left that traps when the instruction's turn comes: the CPU does it itself */
    fake_backend.on_state_get = attach_leaf;
    assert_int_equal(RUN("\x09\x07", AT, R | W), HV_RESUME);
    expect_stats(1, 0, VP_EVENT_NONE);
    assert_int_equal(kit.seen_count, 0);
    assert_int_equal(*kit_byte(MODE_PLACE + AT), 0);
    fake_backend.on_state_get = NULL;
    kit_direct(4, 0, MEMTYPE_WB);

    kit_forget(); /* an operand in RAM by now */
    kit.vp.gpr[GPR_RDI] = KIT_CODE + 0x800;
    assert_int_equal(RUN("\x09\x07", AT, R | W), HV_RESUME);
    expect_stats(1, 0, VP_EVENT_NONE);
    assert_int_equal(kit.seen_count, 0);

    kit_forget();
    kit.vp.gpr[GPR_RDI] = BIT(47);
    assert_int_equal(RUN("\x09\x07", AT, R | W), HV_RESUME);
    expect_stats(0, 0, VP_EVENT_EXCEPTION);
    kit_expect_event(VECTOR_GP, true, 0);

    kit_forget();
    assert_int_equal(RUN("\x0f\xae\x3f", AT, W), HV_RESUME); /* clflush */
    expect_stats(0, 1, VP_EVENT_EXCEPTION);
    kit_expect_event(VECTOR_UD, false, 0);
    kit_forget();
    assert_int_equal(RUN("\x0f\x0b", AT, W), HV_RESUME); /* ud2 */
    expect_stats(0, 1, VP_EVENT_EXCEPTION);
    kit_expect_event(VECTOR_UD, false, 0);
}

/* ---- faults of operands ---- */

static const struct fault {
    uint64_t bits; /* of the second page's entry */
    bool user, smap, ac, write, refused;
    uint32_t error;
} faults[] = {
    {0, false, false, false, false, true, 0},
    {0, false, false, false, true, true, PF_WRITE},
    {0, true, false, false, true, true, PF_USER | PF_WRITE},
    {PTE_P | PTE_U, false, false, false, true, true, PF_PRESENT | PF_WRITE},
    {PTE_P | PTE_U, true, false, false, true, true, PF_PRESENT | PF_WRITE | PF_USER},
    {PTE_P | PTE_U, true, false, false, false, false, 0},
    {PTE_P | PTE_W, true, false, false, false, true, PF_PRESENT | PF_USER},
    {PTE_P | PTE_W, false, true, false, true, false, 0},
    {KIT_LINK, false, true, false, false, true, PF_PRESENT},
    {KIT_LINK, false, true, false, true, true, PF_PRESENT | PF_WRITE},
    {KIT_LINK, false, true, true, true, false, 0},
    {KIT_LINK, true, true, false, true, false, 0},
    {KIT_LINK | BIT(50), false, false, false, true, true, PF_PRESENT | PF_RESERVED | PF_WRITE},
    {KIT_LINK | BIT(50), true, false, false, false, true, PF_PRESENT | PF_RESERVED | PF_USER},
};

static void set_rights(const struct fault *f)
{
    struct vp_state *state = &fake_backend.state;

    state->seg[INSN_SS].attributes = 0xc093 | (f->user ? CPL_3 : 0);
    state->seg[INSN_CS].attributes = 0xa09b;
    state->cr4 = CR4_PAE | (f->smap ? CR4_SMAP : 0);
    state->rflags = f->ac ? RFLAGS_AC : 0;
    mode_map(0, MODE_PLACE, f->smap && !f->user ? PTE_P | PTE_W : KIT_LINK);
    mode_map(1, MODE_PLACE + PAGE_BYTES, f->bits);
}

/*
 * REP STOSW, LODSW and MOVSW that come to a page which refuses: what was done stays done, the error code and CR2 are those of
 * the first byte that is refused, and so for an element that lies in both pages.
 */
static void test_faults_of_strings(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(faults); i++)
        for (unsigned odd = 0; odd < 2; odd++) {
            const struct fault *f = &faults[i];
            const unsigned at =
                (unsigned)PAGE_BYTES - 8 - odd; /* 4 words, odd: the fifth is split */

            set_rights(f);
            kit_forget();
            mode_point_to(at);
            kit.vp.gpr[GPR_RCX] = 6;
            kit.vp.gpr[GPR_RAX] = 0xabcd;
            assert_int_equal(f->write ? RUN("\xf3\x66\xab", at, W) : RUN("\xf3\x66\xad", at, R),
                             f->refused ? HV_RESUME : HV_ADVANCE);
            assert_int_equal(kit.vp.gpr[GPR_RCX], f->refused ? 2 : 0);
            assert_int_equal(kit.vp.gpr[f->write ? GPR_RDI : GPR_RSI],
                             mode_data() + at + (f->refused ? 8 : 12));
            assert_int_equal(kit.seen_count, (f->refused ? 4 : 6) * (1 + odd));
            if (!f->refused) {
                assert_int_equal(kit.vp.event.kind, VP_EVENT_NONE);
                continue;
            }
            kit_expect_event(VECTOR_PF, true, f->error);
            assert_int_equal(kit.vp.event.address, mode_linear(PAGE_BYTES));
        }
}

/* MOVS has two operands: each refuses by itself, the source with a read's error code. */
static void test_faults_of_movs(void **state)
{
    uint64_t gpr[GPR_COUNT];

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(faults); i++)
        for (unsigned target = 0; target < 2; target++) {
            struct fault f = faults[i];

            if (f.write != (target == 1))
                continue;
            set_rights(&f);
            kit_forget();
            fake_backend.state.rsp = kit.vp.gpr[GPR_RSP];
            kit.vp.gpr[GPR_RSI] = mode_data() + (target ? AT : PAGE_BYTES + AT);
            kit.vp.gpr[GPR_RDI] = mode_data() + (target ? PAGE_BYTES + AT : AT);
            memcpy(gpr, kit.vp.gpr, sizeof(gpr));
            assert_int_equal(RUN("\xa5", target ? AT : PAGE_BYTES + AT, target ? W : R),
                             f.refused ? HV_RESUME : HV_ADVANCE);
            if (!f.refused) {
                assert_int_equal(kit.seen_count, 2);
                continue;
            }
            kit_expect_event(VECTOR_PF, true, f.error);
            assert_int_equal(kit.vp.event.address, mode_linear(PAGE_BYTES + AT));
            kit_expect_untouched(gpr);
        }
}

/* ---- repeated ---- */

static unsigned accesses;

static void count_access(unsigned n)
{
    (void)n;
    kit.seen_count = 1; /* there are more than it keeps */
    accesses++;
}

/* No more than 256 iterations before the VP looks at what else is to do; with TF one, and #DB after each. */
static void test_iterations(void **state)
{
    static const unsigned counts[] = {1, 2, MOST - 1, MOST, MOST + 1, 3 * MOST, 1000};

    (void)state;
    kit.on_access = count_access;
    for (unsigned step = 0; step < 2; step++)
        for (unsigned i = 0; i < ARRAY_COUNT(counts); i++) {
            const unsigned most = step ? 1 : MOST;
            uint64_t left = counts[i];

            mode_point_to(0);
            kit.vp.gpr[GPR_RCX] = left;
            fake_backend.state.rflags = step ? RFLAGS_TF : 0;
            while (left > 0) {
                const unsigned now = (unsigned)MIN(left, most);
                enum hv_resume resume;

                kit_forget();
                accesses = 0;
                resume = RUN("\xf3\xaa", 0, W);
                left -= now;
                assert_int_equal(accesses, now);
                assert_int_equal(kit.vp.gpr[GPR_RCX], left);
                assert_int_equal(kit.vp.gpr[GPR_RDI], mode_data() + counts[i] - left);
                assert_int_equal(resume, left ? HV_RESUME : HV_ADVANCE);
                if (step && left) { /* after the last one the backend tells the step */
                    kit_expect_event(VECTOR_DB, false, 0);
                    assert_int_equal(kit.vp.event.address, DR6_BS);
                } else {
                    assert_int_equal(kit.vp.event.kind, VP_EVENT_NONE);
                }
                assert_int_equal(kit.vm.stats.spurious, 0);
            }
        }
}

static void map_second(unsigned n)
{
    if (n == 3)
        kit_direct(5, PT_R | PT_W, MEMTYPE_WB);
}

/* Iterations that have left what traps are the CPU's again. */
static void test_leaves_device(void **state)
{
    (void)state;
    kit.on_access = map_second;
    mode_point_to(PAGE_BYTES - 4);
    kit.vp.gpr[GPR_RCX] = 100;
    kit.vp.gpr[GPR_RAX] = 0x77;
    assert_int_equal(RUN("\xf3\xaa", PAGE_BYTES - 4, W), HV_RESUME);
    assert_int_equal(kit.seen_count, 4);
    assert_int_equal(kit.vp.gpr[GPR_RCX], 96);
    assert_int_equal(*kit_byte(MODE_PLACE + PAGE_BYTES), 0);
    assert_int_equal(kit.vm.stats.spurious, 0);
    assert_int_equal(kit.vp.event.kind, VP_EVENT_NONE);
    kit_direct(5, 0, MEMTYPE_WB);
}

/* ---- the lock ---- */

static unsigned locked;

static void look_at_lock(unsigned n)
{
    (void)n;
    locked += lock_is_held(&kit.vm.bus_lock);
}

static void test_lock(void **state)
{
    static const struct {
        char code[6];
        uint8_t bytes, accesses;
        bool locks;
    } forms[] = {
        {"\xf0\x01\x07", 3, 2, true},         /* lock add */
        {"\x01\x07", 2, 2, false},            /* add */
        {"\x87\x07", 2, 2, true},             /* xchg, without a prefix */
        {"\xf0\x0f\xb1\x07", 4, 2, true},     /* lock cmpxchg */
        {"\xf0\x48\x0f\xc7\x0f", 5, 4, true}, /* lock cmpxchg16b: two pieces each way */
        {"\x89\x07", 2, 1, false},            /* mov */
    };

    (void)state;
    kit.on_access = look_at_lock;
    for (unsigned i = 0; i < ARRAY_COUNT(forms); i++) {
        kit_forget();
        locked = 0;
        mode_point_to(AT);
        assert_int_equal(mode_run(forms[i].code, forms[i].bytes, AT, W), HV_ADVANCE);
        assert_int_equal(kit.seen_count, forms[i].accesses);
        assert_int_equal(locked, forms[i].locks ? forms[i].accesses : 0);
        assert_false(lock_is_held(&kit.vm.bus_lock));
    }
    kit_forget(); /* nor is it held after a fault */
    mode_map(0, 0, 0);
    assert_int_equal(RUN("\xf0\x01\x07", AT, W), HV_RESUME);
    kit_expect_event(VECTOR_PF, true, PF_WRITE);
    assert_false(lock_is_held(&kit.vm.bus_lock));
}

#define TEST(name) KIT_TEST_BOTH(name, mode_open_device)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_modes),          TEST(test_marks),
        TEST(test_stacks),         TEST(test_wrap_at_4_gib),
        TEST(test_code_limit),     TEST(test_too_long),
        TEST(test_code_canonical), TEST(test_code_not_memory),
        TEST(test_answers),        TEST(test_faults_of_strings),
        TEST(test_faults_of_movs), TEST(test_iterations),
        TEST(test_leaves_device),  TEST(test_lock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
