/*
 * Trapped accesses inside one page, and what cannot be emulated: fetching and decoding, registers, exceptions, the
 * causes that stop a VM; the short way against the long way. Crossings are in test_mmiopages.c.
 */
#include "tests/unit/vm_kit.h"

#include <stdio.h>
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

static void test_forms(void **state)
{
    const uint64_t at = OPERAND + 0x120, rax = kit.vp.gpr[GPR_RAX];

    (void)state;
    assert_int_equal(RUN("\x8a\x03", 0x120, HV_ACCESS_READ), HV_ADVANCE);
    assert_int_equal(kit.vp.gpr[GPR_RAX], (rax & ~0xffull) | answer(at, 1));
    assert_int_equal(kit_length, 2);
    kit.vp.gpr[GPR_RAX] = rax;
    RUN("\x66\x8b\x03", 0x120, HV_ACCESS_READ);
    assert_int_equal(kit.vp.gpr[GPR_RAX], (rax & ~0xffffull) | answer(at, 2));
    RUN("\x8b\x03", 0x120, HV_ACCESS_READ);
    assert_int_equal(kit.vp.gpr[GPR_RAX], answer(at, 4));
    RUN("\x48\x8b\x03", 0x120, HV_ACCESS_READ);
    assert_int_equal(kit.vp.gpr[GPR_RAX], answer(at, 8));
    RUN("\x8a\x23", 0x120, HV_ACCESS_READ); /* AH */
    assert_int_equal(kit.vp.gpr[GPR_RAX], (answer(at, 8) & ~0xff00ull) | answer(at, 1) << 8);
    RUN("\x0f\xb6\x03", 0x120, HV_ACCESS_READ);
    assert_int_equal(kit.vp.gpr[GPR_RAX], answer(at, 1));
    RUN("\x48\x0f\xbf\x43\x02", 0x120, HV_ACCESS_READ); /* movsx rax, word [rbx+2] */
    assert_int_equal(kit.vp.gpr[GPR_RAX], (uint64_t)(int16_t)answer(at + 2, 2));
    assert_int_equal(kit_length, 5);
    RUN("\x48\x63\x03", 0x120, HV_ACCESS_READ);
    assert_int_equal(kit.vp.gpr[GPR_RAX], (uint64_t)(int32_t)answer(at, 4));
    for (unsigned i = 0; i < 8; i++)
        expect_access(i, false, at + (i == 6 ? 2 : 0), kit.seen[i].bytes,
                      answer(at + (i == 6 ? 2 : 0), kit.seen[i].bytes));
    assert_int_equal(kit.vm.stats.trapped_reads, 8);

    kit_forget();
    kit.vp.gpr[GPR_RAX] = rax;
    RUN("\x88\x23", 0x120, HV_ACCESS_WRITE);
    expect_access(0, true, at, 1, rax >> 8 & 0xff);
    RUN("\x66\x89\x03", 0x120, HV_ACCESS_WRITE);
    expect_access(1, true, at, 2, rax & 0xffff);
    RUN("\x48\xc7\x03\xfe\xff\xff\xff", 0x120, HV_ACCESS_WRITE); /* sign-extended */
    expect_access(2, true, at, 8, ~1ull);
    RUN("\xc6\x03\x81", 0x120, HV_ACCESS_WRITE);
    expect_access(3, true, at, 1, 0x81);
    RUN("\x67\x89\x03", 0x120, HV_ACCESS_WRITE);
    expect_access(4, true, at, 4, (uint32_t)rax);
    assert_int_equal(kit.vm.stats.trapped_writes, 5);
    assert_int_equal(kit.vp.gpr[GPR_RAX], rax);
    assert_int_equal(fake_backend.state_gets + fake_backend.rsp_loads, 0); /* all the short way */
}

static void test_unsupported(void **state)
{
    static const char *const codes[] = {
        "\x01\x03",         /* add [rbx], eax */
        "\xf0\x89\x03",     /* lock mov */
        "\x0f\xae\x3b",     /* clflush */
        "\xa5",             /* movs */
        "\xff\xff\xff\xff", /* none at all */
        "\x89\xc3",         /* mov ebx, eax: no memory operand */
        "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66",
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

static void test_unsupported_log(void **state)
{
    unsigned lines = fake_log_lines;

    (void)state;
    CODE(KIT_CODE, "\x01\x03\x90\x91\x92\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c");
    for (unsigned i = 0; i < 100; i++)
        kit_fault(KIT_CODE, OPERAND, HV_ACCESS_WRITE);
    assert_int_equal(kit.vm.stats.unsupported, 100);
    assert_int_equal(fake_log_lines - lines, kit.vm.unsupported_log.burst);
    assert_int_equal(kit.vm.unsupported_log.dropped, 100 - kit.vm.unsupported_log.burst);
    assert_non_null(strstr(fake_log_last, "0x400000"));
    assert_non_null(strstr(fake_log_last, " 01 03 90 91 92 93 94 95 96 97 98 99 9a 9b 9c\n"));
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

/* Code that is not 64-bit is not decoded: the same bytes mean something else there. */
static void test_other_code(void **state)
{
    uint64_t gpr[GPR_COUNT];

    (void)state;
    memcpy(gpr, kit.vp.gpr, sizeof(gpr));
    for (unsigned mode = 0; mode < 3; mode++) {
        struct hv_exit exit;
        /* Compatibility mode, 32-bit paging, no paging. */
        uint64_t rip = mode < 2 ? KIT_CODE : KIT_CODE_RAM;

        kit_forget();
        if (mode > 0)
            fake_backend.state.efer = 0;
        if (mode > 1)
            fake_backend.state.cr0 = CR0_PE;
        kit_code(KIT_CODE, MOV_LOAD, 2);
        kit_exit(&exit, rip, OPERAND + 0x120, HV_ACCESS_READ);
        exit.memory.code_64 = false;
        assert_int_equal(vm_exit_memory(&kit.vp, &exit), HV_RESUME);
        kit_expect_event(VECTOR_UD, false, 0);
        kit_expect_untouched(gpr);
        assert_int_equal(strstr(fake_log_last, "bytes 8b 03") != NULL, mode != 1);
    }
}

/*
 * Bytes that the CPU gives are what runs, not those in memory; when they are too few to be an instruction, memory
 * is asked. The memory here holds an 8-byte load.
 */
static void test_given_code(void **state)
{
    static const uint8_t given[] = {0x8b, 0x03, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
                                    0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90};
    const uint64_t at = OPERAND + 0x120;

    (void)state;
    kit_code(KIT_CODE, "\x48\x8b\x03", 3);
    for (unsigned count = 0; count <= sizeof(given); count++) {
        bool enough = count >= 2;
        struct hv_exit exit;

        kit_forget();
        kit.vp.gpr[GPR_RBX] = KIT_DATA + 0x120;
        kit_exit(&exit, KIT_CODE, at, HV_ACCESS_READ);
        exit.memory.code = count ? given : NULL;
        exit.memory.code_given = (uint8_t)count;
        assert_int_equal(vm_exit_memory(&kit.vp, &exit), HV_ADVANCE);
        assert_int_equal(exit.length, enough ? 2 : 3);
        expect_access(0, false, at, enough ? 4 : 8, answer(at, enough ? 4 : 8));
        assert_int_equal(kit.vp.gpr[GPR_RAX], answer(at, enough ? 4 : 8));
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
    kit_forget();
    RUN("\x8a\x23", 0x120, HV_ACCESS_READ); /* AH and R12 are not RSP */
    RUN("\x41\x8b\x04\x24", 0x120, HV_ACCESS_READ);
    assert_int_equal(fake_backend.rsp_loads + fake_backend.rsp_stores, 0);
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
    RUN("\x65\x48\xa1\x08\x04\x00\x00\x00\x00\x00\x00", 0x908, HV_ACCESS_READ); /* moffs */
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

#define CASES 20000u
#define FAR   0x35000ull /* guest-linear page that the tables show in low or in high RAM */

struct outcome {
    enum hv_resume resume;
    unsigned length, seen_count;
    uint64_t gpr[GPR_COUNT], rsp, reads, writes, unclaimed, unsupported;
    struct kit_access seen[KIT_ACCESSES];
    struct vp_event event;
};

static void run_once(uint64_t rip, const struct kit_access *fault, const uint64_t gpr[GPR_COUNT],
                     struct outcome *out)
{
    kit_forget();
    memset(out, 0, sizeof(*out));
    memcpy(kit.vp.gpr, gpr, sizeof(kit.vp.gpr));
    fake_backend.state.rsp = gpr[GPR_RSP];
    out->resume = kit_fault(rip, fault->offset, fault->write ? HV_ACCESS_WRITE : HV_ACCESS_READ);
    out->length = out->resume == HV_ADVANCE ? kit_length : 0;
    out->seen_count = kit.seen_count;
    memcpy(out->seen, kit.seen, sizeof(out->seen));
    memcpy(out->gpr, kit.vp.gpr, sizeof(out->gpr));
    out->rsp = fake_backend.state.rsp;
    out->gpr[GPR_RSP] = 0; /* stale */
    out->reads = kit.vm.stats.trapped_reads;
    out->writes = kit.vm.stats.trapped_writes;
    out->unclaimed = kit.vm.stats.unclaimed;
    out->unsupported = kit.vm.stats.unsupported;
    out->event = kit.vp.event;
}

/* Mostly what the decoder knows, with any prefixes, operands and displacements. */
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
    if (opcode < 0xa0 || opcode > 0xa3)
        code[at] &= (choice >>= 8) % 16 ? 0xbf : 0xff; /* mod 0 or 2 nearly always */
    if (opcode == 0xc6 || opcode == 0xc7)
        code[at] &= 0xc7;
}

/* Make the operand aligned most of the time, for only then the short way takes it. */
static void align_operand(const struct insn *insn, uint64_t rip, uint64_t gpr[GPR_COUNT])
{
    uint64_t off = insn_address(insn, gpr, rip, 0) & 7;

    if (kit_random() % 8 == 0 || insn->base >= GPR_COUNT || insn->base == insn->index)
        return;
    gpr[insn->base] -= off;
}

static void test_two_ways(void **state)
{
    static const uint8_t pages[8] = {1, 1, 1, 1, 1, 0, 2, 3}; /* the whole one most of the time */
    unsigned by_short = 0, compared = 0;

    (void)state;
    kit_attach(1, KIT_BAR + 0x2000, 0x100); /* and nobody behind it */
    for (unsigned i = 0; i < CASES; i++) {
        uint64_t rip = FAR + (kit_random() & 0xfff) % (PAGE_BYTES - 16), gpr[GPR_COUNT], linear;
        struct kit_access fault = {0};
        struct outcome near, far;
        struct insn insn;
        uint8_t code[16];
        bool was_short;

        random_code(code);
        for (unsigned r = 0; r < GPR_COUNT; r++)
            gpr[r] = kit_random();
        if (insn_decode(code, INSN_MAX_BYTES, &insn) == INSN_OK) {
            align_operand(&insn, rip, gpr);
            linear = insn_address(&insn, gpr, rip, 0);
            if ((linear & PAGE_MASK) > PAGE_BYTES - insn.bytes)
                continue; /* crossings have no short way */
            fault.write = insn.op != INSN_LOAD;
        } else {
            linear = kit_random();
        }
        fault.offset = KIT_BAR + pages[kit_random() % 8] * PAGE_BYTES + (linear & PAGE_MASK);
        kit_map(FAR, 0x12000, 1, KIT_LINK);
        kit_code(rip, code, 16);
        run_once(rip, &fault, gpr, &near);
        was_short = fake_backend.state_gets == 0;
        kit_map(FAR, KIT_HIGH + 0x3000, 1, KIT_LINK);
        kit_code(rip, code, 16);
        run_once(rip, &fault, gpr, &far);
        assert_true(fake_backend.state_gets > 0);
        assert_memory_equal(&near, &far, sizeof(near));
        by_short += was_short;
        compared++;
    }
    assert_true(compared > CASES * 9 / 10);
    assert_true(by_short > CASES / 3 && by_short < CASES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_device, kit_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_spurious),
        TEST(test_stops),
        TEST(test_forms),
        TEST(test_unsupported),
        TEST(test_unsupported_log),
        TEST(test_unclaimed_log),
        TEST(test_other_code),
        TEST(test_rsp),
        TEST(test_given_code),
        TEST(test_segments),
        TEST(test_code_across_pages),
        TEST(test_code_page_missing),
        TEST(test_code_elsewhere),
        TEST(test_two_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
