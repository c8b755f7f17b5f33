/*
 * Trapped accesses inside one page, and what cannot be emulated: fetching and decoding, registers, exceptions, the
 * causes that stop a VM; the short way against the long way. Crossings are in test_mmiopages.c.
 */
#include "tests/unit/vm_kit.h"

#include <string.h>

#define DEVICE    0u
#define START     (KIT_BAR + 0x800) /* the region begins and ends inside pages */
#define BYTES     0x1400u
#define OPERAND   (KIT_BAR + PAGE_BYTES) /* a page that is all in the region, but for its end */
#define MOV_LOAD  "\x8b\x03"             /* mov eax, [rbx] */
#define MOV_STORE "\x89\x03"

static int open_device(void **state)
{
    kit_open(state);
    kit_attach(DEVICE, START, BYTES);
    for (unsigned i = 0; i < GPR_COUNT; i++)
        kit.vp.gpr[i] = 0x1111111111111111ull * i + 0x0807060504030201ull;
    kit.vp.gpr[GPR_RBX] = KIT_DATA + 0x120;
    fake_backend.state.rsp = kit.vp.gpr[GPR_RSP];
    kit_map(KIT_DATA, OPERAND, 1, KIT_LINK);
    for (unsigned i = 0; i < 4; i++) /* they have no base in 64-bit code */
        fake_backend.state.seg[i].base = 0x123;
    return 0;
}

#define CODE(rip, text)       kit_code(rip, text, sizeof(text) - 1)
#define RUN(text, at, access) (CODE(KIT_CODE, text), kit_fault(KIT_CODE, OPERAND + (at), access))

static void expect_access(unsigned n, bool write, uint64_t gpa, unsigned bytes, uint64_t value)
{
    assert_true(n < kit.seen_count);
    assert_int_equal(kit.seen[n].write, write);
    assert_int_equal(kit.seen[n].offset, gpa - START);
    assert_int_equal(kit.seen[n].bytes, bytes);
    assert_int_equal(kit.seen[n].value, value);
}

static uint64_t answer(uint64_t gpa, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)kit_answer(DEVICE, gpa - START + i) << (i * 8);
    return value;
}

/* ---- what stops, what resumes ---- */

static void test_spurious(void **state)
{
    uint64_t gpr[GPR_COUNT];

    (void)state;
    memcpy(gpr, kit.vp.gpr, sizeof(gpr));
    kit_direct(1, PT_R, MEMTYPE_WB);
    CODE(KIT_CODE, MOV_LOAD);
    assert_int_equal(kit_fault(KIT_CODE, OPERAND, HV_ACCESS_READ), HV_RESUME);
    kit_direct(1, PT_R | PT_W, MEMTYPE_WB);
    assert_int_equal(kit_fault(KIT_CODE, OPERAND, HV_ACCESS_WRITE), HV_RESUME);
    assert_int_equal(kit_fault(KIT_CODE, OPERAND, HV_ACCESS_READ | HV_ACCESS_WRITE), HV_RESUME);
    assert_int_equal(kit.vm.stats.spurious, 3);
    assert_int_equal(kit.vp.event.kind, VP_EVENT_NONE);
    kit_expect_untouched(gpr);
    /* The right that is asked for counts, not that there is a leaf. */
    kit_direct(1, PT_R, MEMTYPE_WB);
    assert_int_equal(RUN(MOV_STORE, 0x120, HV_ACCESS_WRITE), HV_ADVANCE);
    assert_int_equal(RUN(MOV_STORE, 0x120, HV_ACCESS_READ | HV_ACCESS_WRITE), HV_ADVANCE);
    assert_int_equal(kit.vm.stats.spurious, 3);
    assert_int_equal(kit.vm.stats.trapped_writes, 2);
    assert_int_equal(*kit_byte(OPERAND + 0x120), 0);
}

static void test_stops(void **state)
{
    static const struct {
        bool in_delivery;
        uint8_t access;
        enum vm_stop_cause cause;
    } cases[] = {
        {false, HV_ACCESS_FETCH, VM_STOP_FETCH_VIOLATION},
        {false, HV_ACCESS_READ, VM_STOP_TABLE_WALK},
        {false, HV_ACCESS_READ | HV_ACCESS_WRITE, VM_STOP_TABLE_WALK},
        {true, HV_ACCESS_READ, VM_STOP_EVENT_DELIVERY},
        {true, HV_ACCESS_WRITE, VM_STOP_EVENT_DELIVERY},
        {true, HV_ACCESS_FETCH, VM_STOP_EVENT_DELIVERY},
    };
    uint64_t gpr[GPR_COUNT];

    (void)state;
    memcpy(gpr, kit.vp.gpr, sizeof(gpr));
    CODE(KIT_CODE, MOV_LOAD);
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        struct hv_exit exit;

        kit_forget();
        kit_exit(&exit, KIT_CODE, OPERAND, cases[i].access);
        exit.memory.plain = false;
        exit.memory.in_delivery = cases[i].in_delivery;
        assert_int_equal(vm_exit_memory(&kit.vp, &exit), HV_STOP);
        assert_int_equal(kit.vm.stop, cases[i].cause);
        assert_int_equal(kit.vm.stop_exit.memory.gpa.v, OPERAND);
        assert_int_equal(kit.vp.event.kind, VP_EVENT_NONE);
        kit_expect_untouched(gpr);
        kit_direct(1, PT_R | PT_W | PT_X, MEMTYPE_WB); /* allowed meanwhile: nobody stops */
        kit_forget();
        assert_int_equal(vm_exit_memory(&kit.vp, &exit), HV_RESUME);
        assert_int_equal(kit.vm.stop, VM_STOP_NONE);
        kit_direct(1, 0, MEMTYPE_WB);
    }
}

/* ---- instructions ---- */

/* Each twice, the long way and then the short one. Returns what rAX is after the first. */
static uint64_t run_twice(const char *code, unsigned bytes, uint8_t access, bool is_short)
{
    const uint64_t at = OPERAND + 0x120, rax = kit.vp.gpr[GPR_RAX];
    uint64_t got = 0;

    for (unsigned way = 0; way < 2; way++) {
        kit.vp.gpr[GPR_RAX] = rax;
        kit_code(KIT_CODE, code, bytes);
        assert_int_equal(kit_fault(KIT_CODE, at, access), HV_ADVANCE);
        assert_int_equal(kit_length, bytes);
        assert_int_equal(kit_short, is_short && way == 1);
        if (way == 1)
            assert_int_equal(kit.vp.gpr[GPR_RAX], got);
        got = kit.vp.gpr[GPR_RAX];
    }
    return got;
}

#define LOAD(text) run_twice(text, sizeof(text) - 1, HV_ACCESS_READ, true)

static void test_loads(void **state)
{
    const uint64_t at = OPERAND + 0x120, rax = kit.vp.gpr[GPR_RAX];

    (void)state;
    assert_int_equal(LOAD("\x8a\x03"), (rax & ~0xffull) | answer(at, 1));
    kit.vp.gpr[GPR_RAX] = rax;
    assert_int_equal(LOAD("\x66\x8b\x03"), (rax & ~0xffffull) | answer(at, 2));
    assert_int_equal(LOAD("\x8b\x03"), answer(at, 4));
    assert_int_equal(LOAD("\x48\x8b\x03"), answer(at, 8));
    assert_int_equal(LOAD("\x8a\x23"), /* AH */
                     (answer(at, 8) & ~0xff00ull) | answer(at, 1) << 8);
    assert_int_equal(LOAD("\x0f\xb6\x03"), answer(at, 1));
    assert_int_equal(LOAD("\x48\x63\x03"), (uint64_t)(int32_t)answer(at, 4));
    kit.vp.gpr[GPR_RBX] -= 8;
    assert_int_equal(LOAD("\x48\x0f\xbf\x43\x08"), /* movsx rax, word [rbx + 8] */
                     (uint64_t)(int16_t)answer(at, 2));
    kit.vp.gpr[GPR_RBX] += 8;
    assert_int_equal(LOAD("\x8b\x05\x1a\x01\x40\x00"), answer(at, 4)); /* [rip + 0x40011a] */
    kit.vp.gpr[GPR_RBX] -= 0x90;
    kit.vp.gpr[GPR_RCX] = 0x48;
    assert_int_equal(LOAD("\x8b\x04\x4b"), answer(at, 4)); /* [rbx + 2 * rcx] */
    for (unsigned i = 0; i < 20; i++)
        expect_access(i, false, at, kit.seen[i].bytes, answer(at, kit.seen[i].bytes));
    assert_int_equal(kit.vm.stats.trapped_reads, 20);
    assert_int_equal(kit.vm.stats.exits[HV_EXIT_MEMORY], 20);
    assert_int_equal(fake_backend.state_gets, 10);
}

#define STORE(text) run_twice(text, sizeof(text) - 1, HV_ACCESS_WRITE, true)

static void test_stores(void **state)
{
    const uint64_t at = OPERAND + 0x120, rax = kit.vp.gpr[GPR_RAX];
    const struct {
        unsigned bytes;
        uint64_t value;
    } written[] = {{1, rax >> 8 & 0xff}, {2, rax & 0xffff}, {8, ~1ull}, {1, 0x81}, {8, rax}};

    (void)state;
    STORE("\x88\x23"); /* AH */
    STORE("\x66\x89\x03");
    STORE("\x48\xc7\x03\xfe\xff\xff\xff"); /* sign-extended */
    STORE("\xc6\x03\x81");
    STORE("\x48\x0f\xc3\x03"); /* movnti */
    for (unsigned i = 0; i < 10; i++)
        expect_access(i, true, at, written[i / 2].bytes, written[i / 2].value);
    assert_int_equal(kit.vm.stats.trapped_writes, 10);
    assert_int_equal(kit.vp.gpr[GPR_RAX], rax);
    /* Cut addresses and other instructions always go the long way. */
    run_twice("\x67\x89\x03", 3, HV_ACCESS_WRITE, false);
    run_twice("\x09\x03", 2, HV_ACCESS_WRITE, false); /* or [rbx], eax */
    assert_int_equal(kit.vm.stats.trapped_writes, 14);
    assert_int_equal(kit.vm.stats.trapped_reads, 2);
    expect_access(15, true, at, 4, (uint32_t)(rax | answer(at, 4)));
    assert_int_equal(fake_backend.state_gets, 9);
}

static void test_unsupported(void **state)
{
    static const char *const codes[] = {
        "\xf0\x89\x03",     /* lock mov */
        "\x0f\xae\x3b",     /* clflush */
        "\x0f\x58\x03",     /* addps xmm0, [rbx] */
        "\xd9\x03",         /* fld dword [rbx] */
        "\xff\xff\xff\xff", /* none at all */
        "\x89\xc3",         /* mov ebx, eax: no memory operand */
    };
    uint64_t gpr[GPR_COUNT];

    (void)state;
    memcpy(gpr, kit.vp.gpr, sizeof(gpr));
    for (unsigned end = 0; end < 2; end++)
        for (unsigned i = 0; i < ARRAY_COUNT(codes); i++) {
            uint64_t rip = end ? KIT_CODE + PAGE_BYTES - 1 : KIT_CODE;

            kit_forget();
            kit_code(rip, codes[i], (unsigned)strlen(codes[i]));
            assert_int_equal(kit_fault(rip, OPERAND + 0x120, HV_ACCESS_WRITE), HV_RESUME);
            kit_expect_event(VECTOR_UD, false, 0);
            kit_expect_untouched(gpr);
            assert_int_equal(kit.vm.stats.unsupported, 1);
        }
}

static void test_too_long(void **state)
{
    uint64_t gpr[GPR_COUNT];

    (void)state;
    memcpy(gpr, kit.vp.gpr, sizeof(gpr));
    assert_int_equal(RUN("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66", 0x120,
                         HV_ACCESS_WRITE),
                     HV_RESUME);
    kit_expect_event(VECTOR_GP, true, 0);
    kit_expect_untouched(gpr);
    assert_int_equal(kit.vm.stats.unsupported, 0);
}

static void test_unsupported_log(void **state)
{
    unsigned lines = fake_log_lines;

    (void)state;
    CODE(KIT_CODE, "\x0f\xae\x3b\x91\x92\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c");
    for (unsigned i = 0; i < 100; i++)
        kit_fault(KIT_CODE, OPERAND, HV_ACCESS_WRITE);
    assert_int_equal(kit.vm.stats.unsupported, 100);
    assert_int_equal(fake_log_lines - lines, kit.vm.unsupported_log.burst);
    assert_int_equal(kit.vm.unsupported_log.dropped, 100 - kit.vm.unsupported_log.burst);
    assert_non_null(strstr(fake_log_last, "0x400000"));
    assert_non_null(strstr(fake_log_last, " 0f ae 3b 91 92 93 94 95 96 97 98 99 9a 9b 9c\n"));
}

static void test_unclaimed_log(void **state)
{
    const unsigned lines = fake_log_lines;

    (void)state;
    kit_detach(DEVICE, START);
    CODE(KIT_CODE, MOV_LOAD);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(kit_fault(KIT_CODE, OPERAND + 0x120, HV_ACCESS_READ), HV_ADVANCE);
        assert_int_equal(kit.vp.gpr[GPR_RAX], 0xffffffff);
    }
    assert_int_equal(kit.vm.stats.unclaimed, 100);
    assert_int_equal(fake_log_lines - lines, kit.vm.unclaimed_log.burst);
    assert_non_null(strstr(fake_log_last, "0xc0001120"));
}

/* Bytes that the CPU gives are what runs, not those in memory; fewer than 15 may be its page's end, so memory is asked. */
static void test_given_code(void **state)
{
    static const uint8_t given[] = {0x8b, 0x03, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
                                    0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90};
    const uint64_t at = OPERAND + 0x120;

    (void)state;
    kit_code(KIT_CODE, "\x48\x8b\x03", 3);
    for (unsigned turn = 0; turn < 2 * (sizeof(given) + 1); turn++) {
        const unsigned count = turn / 2;
        bool all = count == sizeof(given);
        struct hv_exit exit;

        if (turn % 2 == 0)
            vp_places_forget(&kit.vp);
        kit_forget();
        kit_exit(&exit, KIT_CODE, at, HV_ACCESS_READ);
        exit.memory.code = count ? given : NULL;
        exit.memory.code_given = (uint8_t)count;
        assert_int_equal(kit_run(&exit), HV_ADVANCE);
        assert_int_equal(kit_short, turn % 2);
        assert_int_equal(exit.length, all ? 2 : 3);
        expect_access(0, false, at, all ? 4 : 8, answer(at, all ? 4 : 8));
        assert_int_equal(kit.vp.gpr[GPR_RAX], answer(at, all ? 4 : 8));
    }
}

static void test_rsp(void **state)
{
    const uint64_t at = OPERAND + 0x120, rsp = KIT_DATA + 0x124;

    (void)state;
    fake_backend.state.rsp = rsp; /* and vp->gpr[RSP] is stale */
    RUN("\x48\x89\x23", 0x120, HV_ACCESS_WRITE);
    expect_access(0, true, at, 8, rsp);
    RUN("\x40\x88\x23", 0x120, HV_ACCESS_WRITE); /* SPL */
    expect_access(1, true, at, 1, rsp & 0xff);
    assert_int_equal(fake_backend.state.rsp, rsp);
    RUN("\x8b\x04\x24", 0x124, HV_ACCESS_READ); /* mov eax, [rsp] */
    expect_access(2, false, at + 4, 4, answer(at + 4, 4));
    RUN("\x8b\x44\x24\x04", 0x124, HV_ACCESS_READ); /* [rsp + 4] */
    expect_access(3, false, at + 8, 4, answer(at + 8, 4));
    assert_int_equal(fake_backend.state.rsp, rsp);
    assert_int_equal(fake_backend.rsp_loads, 4);
    RUN("\x66\x8b\x23", 0x120, HV_ACCESS_READ); /* mov sp, [rbx] */
    assert_int_equal(fake_backend.state.rsp, (rsp & ~0xffffull) | answer(at, 2));
    RUN("\x8b\x23", 0x120, HV_ACCESS_READ); /* mov esp, [rbx] */
    assert_int_equal(fake_backend.state.rsp, answer(at, 4));
    RUN("\x48\x8b\x23", 0x120, HV_ACCESS_READ);
    assert_int_equal(fake_backend.state.rsp, answer(at, 8));
    assert_int_equal(fake_backend.rsp_stores, 3);
    kit_forget();
    kit.vp.gpr[12] = KIT_DATA + 0x120;
    kit.vp.gpr[GPR_RSP] = 0; /* AH and R12 are not RSP, and go the short way the second time */
    RUN("\x8a\x23", 0x120, HV_ACCESS_READ);
    RUN("\x8a\x23", 0x120, HV_ACCESS_READ);
    assert_true(kit_short);
    RUN("\x41\x8b\x04\x24", 0x120, HV_ACCESS_READ);
    RUN("\x41\x8b\x04\x24", 0x120, HV_ACCESS_READ);
    assert_true(kit_short);
    assert_int_equal(fake_backend.rsp_stores, 0);
    assert_int_equal(fake_backend.state.rsp, answer(at, 8));
}

static void test_segments(void **state)
{
    static const char *const plain[] = {"\x26\x8b\x03", "\x2e\x8b\x03", "\x36\x8b\x03",
                                        "\x3e\x8b\x03"};

    (void)state;
    fake_backend.state.seg[INSN_FS].base = 0x340;
    fake_backend.state.seg[INSN_GS].base = 0x500;
    RUN("\x64\x8b\x03", 0x460, HV_ACCESS_READ);
    expect_access(0, false, OPERAND + 0x460, 4, answer(OPERAND + 0x460, 4));
    RUN("\x65\x8b\x03", 0x620, HV_ACCESS_READ);
    expect_access(1, false, OPERAND + 0x620, 4, answer(OPERAND + 0x620, 4));
    RUN("\x65\x48\xa1\x08\x04\x80\x00\x00\x00\x00\x00", 0x908, HV_ACCESS_READ); /* moffs */
    expect_access(2, false, OPERAND + 0x908, 8, answer(OPERAND + 0x908, 8));
    for (unsigned i = 0; i < ARRAY_COUNT(plain); i++) {
        kit_code(KIT_CODE, plain[i], 3);
        kit_fault(KIT_CODE, OPERAND + 0x120, HV_ACCESS_READ);
        expect_access(3 + i, false, OPERAND + 0x120, 4, answer(OPERAND + 0x120, 4));
    }
}

/* ---- fetching ---- */

/* 11 bytes: mov qword [rbx + 0x100], 0x11223344. */
#define LONG_MOV   "\x48\xc7\x83\x00\x01\x00\x00\x44\x33\x22\x11"
#define LONG_BYTES 11u
#define NEXT_PAGE  (KIT_CODE + PAGE_BYTES)

static void test_code_across_pages(void **state)
{
    (void)state;
    kit_map(NEXT_PAGE, 0x31000, 1, KIT_LINK); /* not behind the first one in memory */
    for (unsigned first = 1; first < INSN_MAX_BYTES + 2; first++) {
        kit_forget();
        CODE(NEXT_PAGE - first, LONG_MOV);
        assert_int_equal(kit_fault(NEXT_PAGE - first, OPERAND + 0x220, HV_ACCESS_WRITE),
                         HV_ADVANCE);
        assert_int_equal(kit_length, LONG_BYTES);
        expect_access(0, true, OPERAND + 0x220, 8, 0x11223344);
        /* What lies behind the first page in memory, and is the same, is not what is watched. */
        memcpy(kit_byte(KIT_CODE_RAM + PAGE_BYTES - first), LONG_MOV, LONG_BYTES);
        for (unsigned turn = 0; turn < 2; turn++) {
            kit_forget();
            *kit_byte(first < LONG_BYTES ? 0x31000 + LONG_BYTES - 1 - first
                                         : KIT_CODE_RAM + PAGE_BYTES + LONG_BYTES - 1 - first) =
                (uint8_t)(0x10 + turn);
            assert_int_equal(kit_fault(NEXT_PAGE - first, OPERAND + 0x220, HV_ACCESS_WRITE),
                             HV_ADVANCE);
            expect_access(0, true, OPERAND + 0x220, 8, 0x10223344 + turn * 0x01000000ull);
        }
    }
}

static void test_code_page_missing(void **state)
{
    uint64_t gpr[GPR_COUNT];

    (void)state;
    memcpy(gpr, kit.vp.gpr, sizeof(gpr));
    for (unsigned first = 1; first < INSN_MAX_BYTES + 2; first++) {
        enum hv_resume resume;

        kit_map(NEXT_PAGE, 0x31000, 1, KIT_LINK);
        CODE(NEXT_PAGE - first, LONG_MOV);
        *kit_entry(NEXT_PAGE, 1) = 0;
        kit_forget();
        resume = kit_fault(NEXT_PAGE - first, OPERAND + 0x220, HV_ACCESS_WRITE);
        if (first >= LONG_BYTES) { /* what lies behind it is of no account */
            assert_int_equal(resume, HV_ADVANCE);
            expect_access(0, true, OPERAND + 0x220, 8, 0x11223344);
            continue;
        }
        assert_int_equal(resume, HV_RESUME);
        kit_expect_event(VECTOR_PF, true, PF_FETCH);
        assert_int_equal(kit.vp.event.address, NEXT_PAGE);
        kit_expect_untouched(gpr);
    }
    *kit_entry(KIT_CODE, 1) = 0; /* no byte at all; from user mode; a CPU without NX tells less */
    fake_backend.state.seg[INSN_SS].attributes = 3u << 5;
    fake_backend.state.efer &= ~EFER_NXE;
    kit_fault(KIT_CODE + 0x10, OPERAND, HV_ACCESS_WRITE);
    kit_expect_event(VECTOR_PF, true, PF_USER);
    assert_int_equal(kit.vp.event.address, KIT_CODE + 0x10);
    assert_int_equal(kit.vm.stats.unsupported, 0);
}

static void test_code_elsewhere(void **state)
{
    (void)state;
    kit_direct(9, PT_R | PT_X, MEMTYPE_WC); /* in a direct page of a BAR */
    kit_map(KIT_CODE, KIT_BAR + 9 * PAGE_BYTES, 1, KIT_LINK);
    assert_int_equal(RUN(MOV_LOAD, 0x120, HV_ACCESS_READ), HV_ADVANCE);
    kit_map(KIT_CODE, KIT_HIGH, 1, KIT_LINK); /* in the second run of RAM */
    assert_int_equal(RUN(MOV_LOAD, 0x120, HV_ACCESS_READ), HV_ADVANCE);
    kit_map(KIT_CODE & ~(MIB(2) - 1), 0, 2, KIT_LINK); /* in a large page */
    *kit_byte(0x8000) = 0x8b, *kit_byte(0x8001) = 0x03;
    assert_int_equal(
        kit_fault((KIT_CODE & ~(MIB(2) - 1)) + 0x8000, OPERAND + 0x120, HV_ACCESS_READ),
        HV_ADVANCE);
    assert_int_equal(kit.seen_count, 3);
    assert_int_equal(kit.vp.gpr[GPR_RAX], answer(OPERAND + 0x120, 4));
}

/* ---- the short way and the long way ---- */

#define CASES  20000u
#define PLACE  0x35000ull /* guest-linear page of the code */
#define TABLES 32u        /* pages that one case may take */

struct outcome {
    enum hv_resume resume;
    unsigned length, seen_count;
    uint64_t gpr[GPR_COUNT], rsp, rflags, reads, writes, unclaimed, unsupported, spurious;
    struct kit_access seen[KIT_ACCESSES];
    struct vp_event event;
};

/* One fault as a backend reports it. */
struct fault {
    uint64_t rip, gpa, linear;
    uint8_t access;
    bool told;           /* the linear address is */
    const uint8_t *code; /* that the CPU gives */
};

static void run_once(const struct fault *fault, const uint64_t gpr[GPR_COUNT], struct outcome *out)
{
    struct hv_exit exit;

    kit_forget();
    memset(out, 0, sizeof(*out));
    memcpy(kit.vp.gpr, gpr, sizeof(kit.vp.gpr));
    fake_backend.state.rsp = gpr[GPR_RSP];
    fake_backend.state.rflags = 0;
    kit_exit(&exit, fault->rip, fault->gpa, fault->access);
    exit.memory.gla_valid = fault->told;
    exit.memory.gla = GVA(fault->linear);
    exit.memory.code = fault->code;
    exit.memory.code_given = fault->code ? INSN_MAX_BYTES : 0;
    out->resume = kit_run(&exit);
    out->length = out->resume == HV_ADVANCE ? exit.length : 0;
    out->seen_count = kit.seen_count;
    memcpy(out->seen, kit.seen, sizeof(out->seen));
    memcpy(out->gpr, kit.vp.gpr, sizeof(out->gpr));
    out->rsp = fake_backend.state.rsp;
    out->rflags = fake_backend.state.rflags;
    out->gpr[GPR_RSP] = 0; /* stale */
    out->reads = kit.vm.stats.trapped_reads;
    out->writes = kit.vm.stats.trapped_writes;
    out->unclaimed = kit.vm.stats.unclaimed;
    out->unsupported = kit.vm.stats.unsupported;
    out->spurious = kit.vm.stats.spurious;
    out->event = kit.vp.event;
}

/* Mostly what the short way knows, with any prefixes, operands and displacements. */
static void random_code(uint8_t code[16])
{
    static const uint8_t opcodes[] = {0x88, 0x89, 0x8a, 0x8b, 0xc6, 0xc7, 0x63,
                                      0x0f, 0xa0, 0xa1, 0xa2, 0xa3, 0x01};
    static const uint8_t second[] = {0xb6, 0xb7, 0xbe, 0xbf};
    static const uint8_t prefixes[] = {0x66, 0x67, 0x3e, 0x64, 0xf2};
    uint64_t choice = kit_random();
    unsigned at = 0;
    uint8_t opcode = opcodes[choice % ARRAY_COUNT(opcodes)];

    for (unsigned i = 0; i < 16; i++)
        code[i] = (uint8_t)kit_random();
    if ((choice >>= 8) % 4 == 0)
        code[at++] = prefixes[choice / 4 % ARRAY_COUNT(prefixes)];
    if ((choice >>= 8) % 2 == 0)
        code[at++] = (uint8_t)(0x40 | choice / 2 % 16);
    code[at++] = opcode;
    if (opcode == 0x0f)
        code[at++] = second[(choice >>= 8) % 4];
    if (opcode >= 0xa0 && opcode <= 0xa3)
        memset(code + at + 5, 0, 3); /* the address of moffs is one that a guest may have */
    else
        code[at] &= (choice >>= 8) % 16 ? 0xbf : 0xff; /* mod 0 or 2 nearly always */
    if (opcode == 0xc6 || opcode == 0xc7)
        code[at] &= 0xc7;
}

/* Make the operand aligned most of the time, for only then the short way takes it. */
static void align_operand(const struct insn *insn, uint64_t rip, uint64_t gpr[GPR_COUNT])
{
    uint64_t off = insn_offset(insn, gpr, rip) & 7;

    if (kit_random() % 8 == 0 || insn->base >= GPR_COUNT || insn->base == insn->index)
        return;
    gpr[insn->base] -= off;
}

/* A case of random code, registers and place. False: not one that a fault can come from. */
static bool random_case(struct fault *fault, uint8_t code[16], uint64_t gpr[GPR_COUNT])
{
    static const uint8_t pages[8] = {1, 1, 1, 1, 1, 0, 2, 3}; /* the whole one most of the time */
    struct insn insn;

    *fault = (struct fault){.rip = PLACE + (kit_random() & PAGE_MASK) % (PAGE_BYTES - 16)};
    random_code(code);
    for (unsigned r = 0; r < GPR_COUNT; r++)
        gpr[r] = kit_random() >> 24;
    fault->linear = kit_random() >> 24;
    fault->access = kit_random() & 1 ? HV_ACCESS_READ : HV_ACCESS_WRITE;
    if (insn_decode(code, INSN_MAX_BYTES, INSN_64, &insn) == INSN_OK && insn.memory) {
        align_operand(&insn, fault->rip, gpr);
        fault->linear = insn_offset(&insn, gpr, fault->rip) +
                        (insn.segment >= INSN_FS ? fake_backend.state.seg[insn.segment].base : 0);
        fault->access = insn.access & INSN_WRITES ? insn.access : HV_ACCESS_READ;
        if ((fault->linear & PAGE_MASK) + insn.bytes > PAGE_BYTES)
            return false; /* crossings have no short way */
    }
    fault->gpa = KIT_BAR + pages[kit_random() % 8] * PAGE_BYTES + (fault->linear & PAGE_MASK);
    fault->told = kit_random() & 1;
    fault->code = kit_random() % 4 == 0 ? code : NULL;
    return (uint64_t)((int64_t)(fault->linear << 16) >> 16) == fault->linear;
}

static void test_two_ways(void **state)
{
    static uint8_t tables[TABLES * PAGE_BYTES];
    const uint64_t next = kit.next_table;
    unsigned by_short[2][2] = {{0}}, compared = 0;

    (void)state;
    fake_backend.state.seg[INSN_FS].base = 0x7000;
    kit_attach(1, KIT_BAR + 0x2000, 0x100); /* and nobody behind it */
    memcpy(tables, kit_byte(KIT_TABLES), sizeof(tables));
    for (unsigned i = 0; i < CASES; i++) {
        uint64_t gpr[GPR_COUNT];
        struct outcome first, second;
        struct fault fault;
        uint8_t code[16];

        if (!random_case(&fault, code, gpr))
            continue;
        memcpy(kit_byte(KIT_TABLES), tables, sizeof(tables));
        kit.next_table = next;
        kit_map(PLACE, KIT_CODE_RAM, 1, KIT_LINK);
        if ((fault.linear & ~PAGE_MASK) != PLACE)
            kit_map(fault.linear & ~PAGE_MASK, fault.gpa & ~PAGE_MASK, 1, KIT_LINK);
        kit_code(fault.rip, code, 16);
        memset(kit.vp.place, 0,
               sizeof(kit.vp.place)); /* the long way, and then what it has learnt */
        run_once(&fault, gpr, &first);
        assert_false(kit_short);
        run_once(&fault, gpr, &second);
        assert_memory_equal(&first, &second, sizeof(first));
        by_short[fault.told][fault.code != NULL] += kit_short;
        compared++;
    }
    assert_true(compared > CASES * 9 / 10);
    for (unsigned i = 0; i < 4; i++)
        assert_true(by_short[i / 2][i % 2] > compared / 32);
}

#define TEST(name) KIT_TEST_BOTH(name, open_device)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_spurious),
        TEST(test_stops),
        TEST(test_loads),
        TEST(test_stores),
        TEST(test_unsupported),
        TEST(test_too_long),
        TEST(test_unsupported_log),
        TEST(test_unclaimed_log),
        TEST(test_rsp),
        TEST(test_given_code),
        TEST(test_segments),
        TEST(test_code_across_pages),
        TEST(test_code_page_missing),
        TEST(test_code_elsewhere),
        cmocka_unit_test_setup_teardown(test_two_ways, open_device, kit_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
