/* Ports, the UART and the debug-exit port; where every exit goes. */
#include "tests/unit/vm_kit.h"

#include <string.h>

#include "hv/vm/platform.h"

static enum hv_resume port(uint16_t number, unsigned bytes, bool in)
{
    struct hv_exit exit = {.reason = HV_EXIT_IO,
                           .io = {.port = number, .bytes = (uint8_t)bytes, .in = in}};

    return vm_exit(&kit.vp, &exit);
}

static struct {
    uint16_t offset;
    unsigned bytes, calls;
    uint32_t value;
} last_port;

static uint32_t port_in(void *owner, uint16_t offset, unsigned bytes)
{
    assert_ptr_equal(owner, &last_port);
    last_port.offset = offset;
    last_port.bytes = bytes;
    last_port.calls++;
    return 0x87654321; /* more than was asked for */
}

static void port_out(void *owner, uint16_t offset, unsigned bytes, uint32_t value)
{
    (void)port_in(owner, offset, bytes);
    last_port.value = value;
}

static void attach_port(uint16_t first, uint16_t count)
{
    const struct vm_port range = {first, count, port_in, port_out, &last_port};

    memset(&last_port, 0, sizeof(last_port));
    assert_int_equal(vm_port_register(&kit.vm, &range), HV_OK);
}

static void test_ports(void **state)
{
    const uint64_t rax = 0xfedcba9876543210ull;

    (void)state;
    attach_port(0xfff8, 8); /* up to the last port of all */
    for (unsigned bytes = 1; bytes <= 4; bytes *= 2) {
        uint64_t kept = bytes == 4 ? 0 : rax & ~ones_of(bytes);

        kit.vp.gpr[GPR_RAX] = rax;
        assert_int_equal(port(0x80, bytes, true), HV_ADVANCE); /* nobody */
        assert_int_equal(kit.vp.gpr[GPR_RAX], kept | ones_of(bytes));
        kit.vp.gpr[GPR_RAX] = rax;
        assert_int_equal(port(0x80, bytes, false), HV_ADVANCE);
        assert_int_equal(kit.vp.gpr[GPR_RAX], rax);
        assert_int_equal(last_port.calls, bytes == 1 ? 0 : bytes == 2 ? 2 : 4);
        assert_int_equal(port(0xfffa, bytes, true), HV_ADVANCE);
        assert_int_equal(kit.vp.gpr[GPR_RAX], kept | (0x87654321 & ones_of(bytes)));
        assert_int_equal(last_port.offset, 2);
        assert_int_equal(last_port.bytes, bytes);
        kit.vp.gpr[GPR_RAX] = rax;
        assert_int_equal(port(0xffff, bytes, false), HV_ADVANCE);
        assert_int_equal(last_port.offset, 7);
        assert_int_equal(last_port.value, rax & ones_of(bytes));
        assert_int_equal(kit.vp.gpr[GPR_RAX], rax);
    }
    port(0xfff7, 4, true); /* begins below the range: not its access */
    port(0, 1, true);
    assert_int_equal(last_port.calls, 6);
    assert_int_equal(kit.vm.stats.exits[HV_EXIT_IO], 14);
}

static void test_port_ranges(void **state)
{
    struct vm_port range = {0x100, 4, port_in, port_out, &last_port};

    (void)state;
    assert_int_equal(vm_port_register(&kit.vm, &range), HV_OK);
    for (uint16_t first = 0xfd; first < 0x104; first++) {
        range.first = first;
        assert_int_equal(vm_port_register(&kit.vm, &range), HV_E_CONFLICTING_ADDRESSES);
    }
    for (unsigned i = 1; i < VM_MAX_PORTS; i++) {
        range.first = (uint16_t)(0x100 + i * 4);
        assert_int_equal(vm_port_register(&kit.vm, &range), HV_OK);
    }
    range.first = 0xfc;
    assert_int_equal(vm_port_register(&kit.vm, &range), HV_E_QUOTA);
}

static void test_string_io(void **state)
{
    struct hv_exit exit = {.reason = HV_EXIT_IO,
                           .io = {.port = 0x100, .bytes = 1, .in = true, .string = true}};

    (void)state;
    attach_port(0x100, 4);
    for (unsigned i = 0; i < 20; i++) {
        kit.vp.event.kind = VP_EVENT_NONE;
        assert_int_equal(vm_exit(&kit.vp, &exit), HV_RESUME);
        kit_expect_event(VECTOR_UD, false, 0);
    }
    assert_int_equal(last_port.calls, 0);
    assert_int_equal(kit.vm.stats.unsupported, 20);
    assert_int_equal(kit.vm.unsupported_log.dropped, 20 - kit.vm.unsupported_log.burst);
}

/* ---- the platform ---- */

#define UART PLATFORM_UART_PORT

static void out8_of(uint16_t number, unsigned value)
{
    kit.vp.gpr[GPR_RAX] = value;
    assert_int_equal(port(number, 1, false), HV_ADVANCE);
}

static unsigned in8_of(uint16_t number)
{
    kit.vp.gpr[GPR_RAX] = 0;
    assert_int_equal(port(number, 1, true), HV_ADVANCE);
    return (unsigned)kit.vp.gpr[GPR_RAX];
}

static void print(const char *text)
{
    for (; *text; text++)
        out8_of(UART, (uint8_t)*text);
}

static int open_platform(void **state)
{
    kit_open(state);
    assert_int_equal(platform_create(&kit.vm), HV_OK);
    for (unsigned i = 0; i < 8; i++) /* the registers outlive a VM */
        out8_of((uint16_t)(UART + (i + 3) % 8), 0);
    platform_flush(&kit.vm);
    return 0;
}

static void test_uart_lines(void **state)
{
    unsigned lines = fake_log_lines;

    (void)state;
    print("ok 1 - tables\r\n");
    assert_int_equal(fake_log_lines - lines, 1);
    assert_string_equal(fake_log_last, "guest| ok 1 - tables\n");
    print("\n");
    assert_string_equal(fake_log_last, "guest| \n");
    print(
        "a\033[2J\b\a\x7f\x80\xff\tb\v\f\n"); /* nothing that moves a terminal's cursor but a tab */
    assert_string_equal(fake_log_last, "guest| a?[2J?????\tb??\n");
    assert_int_equal(fake_log_lines - lines, 3);
    print("half");
    assert_int_equal(fake_log_lines - lines, 3);
    platform_flush(&kit.vm);
    assert_string_equal(fake_log_last, "guest| half\n");
    platform_flush(&kit.vm); /* nothing is left */
    assert_int_equal(fake_log_lines - lines, 4);
}

static void test_uart_long_lines(void **state)
{
    const unsigned prefix = 7, room = LOG_LINE_BYTES - prefix - 1;
    unsigned lines = fake_log_lines;

    (void)state;
    for (unsigned i = 0; i < room; i++)
        print("x");
    assert_int_equal(fake_log_lines, lines); /* full, not over-full */
    print("\n");
    assert_int_equal(fake_log_lines - lines, 1);
    assert_int_equal(strlen(fake_log_last), LOG_LINE_BYTES);
    assert_memory_equal(fake_log_last, "guest| xx", 9);
    assert_memory_equal(fake_log_last + LOG_LINE_BYTES - 2, "x\n", 2);
    for (unsigned i = 0; i < 3 * room + 1; i++)
        print("y");
    assert_int_equal(fake_log_lines - lines, 4);
    print("z\n"); /* the rest is on a line of its own, behind the prefix too */
    assert_int_equal(fake_log_lines - lines, 5);
    assert_string_equal(fake_log_last, "guest| yz\n");
}

static void test_uart_registers(void **state)
{
    const unsigned lines = fake_log_lines;

    (void)state;
    assert_int_equal(in8_of(UART + 5) & 0x60, 0x60); /* always ready to send */
    assert_int_equal(in8_of(UART + 5) & 0x01, 0);    /* nothing received */
    assert_int_equal(in8_of(UART + 2) & 0x01, 1);    /* no interrupt pending */
    assert_int_equal(in8_of(UART), 0);
    out8_of(UART + 7, 0x5a); /* how drivers find it */
    assert_int_equal(in8_of(UART + 7), 0x5a);
    out8_of(UART + 3, 0x80); /* divisor: not text */
    out8_of(UART, 'A');
    out8_of(UART + 3, 0x03);
    assert_int_equal(in8_of(UART + 3), 0x03);
    out8_of(UART + 5, 0); /* read-only */
    assert_int_equal(in8_of(UART + 5) & 0x60, 0x60);
    platform_flush(&kit.vm);
    assert_int_equal(fake_log_lines, lines);
    kit.vp.gpr[GPR_RAX] = 0x41424344; /* a byte-wide device */
    port(UART, 4, false);
    port(UART, 2, false);
    port(UART + 5, 2, true);
    assert_int_equal(kit.vp.gpr[GPR_RAX] & 0xffff, 0xffff);
    platform_flush(&kit.vm);
    assert_int_equal(fake_log_lines, lines);
}

static void test_debug_exit(void **state)
{
    (void)state;
    assert_int_equal(in8_of(PLATFORM_DEBUG_EXIT_PORT), 0xff);
    assert_int_equal(kit.vm.stop, VM_STOP_NONE);
    kit.vp.gpr[GPR_RAX] = 0xffffff00 | 7;
    assert_int_equal(port(PLATFORM_DEBUG_EXIT_PORT, 1, false), HV_STOP);
    assert_int_equal(kit.vm.stop, VM_STOP_GUEST_EXIT);
    assert_int_equal(kit.vm.exit_code, 7);
    kit.vm.stop = VM_STOP_NONE;
    kit.vp.gpr[GPR_RAX] = 0xffffffff80000001ull;
    assert_int_equal(port(PLATFORM_DEBUG_EXIT_PORT, 4, false), HV_STOP);
    assert_int_equal(kit.vm.exit_code, 0x80000001);
    assert_int_equal(platform_create(&kit.vm), HV_E_CONFLICTING_ADDRESSES);
}

static enum hv_resume out8_resume(uint16_t number, uint8_t value)
{
    kit.vp.gpr[GPR_RAX] = value;
    return port(number, 1, false);
}

/* Every value that a byte can have: bit 2 resets, 1 and 3 are kept. */
static void test_reset_register(void **state)
{
    (void)state;
    assert_int_equal(in8_of(0xcf9), 0);
    for (unsigned value = 0; value < 256; value++) {
        bool resets = (value & 4) != 0;

        assert_int_equal(out8_resume(0xcf9, (uint8_t)value), resets ? HV_STOP : HV_ADVANCE);
        assert_int_equal(kit.vm.stop, resets ? VM_STOP_RESET : VM_STOP_NONE);
        kit.vm.stop = VM_STOP_NONE;
        assert_int_equal(in8_of(0xcf9), value & 0x0a);
    }
    kit.vp.gpr[GPR_RAX] = 0x06060606; /* a register of a byte */
    assert_int_equal(port(0xcf9, 2, false), HV_ADVANCE);
    assert_int_equal(port(0xcf9, 4, false), HV_ADVANCE);
    port(0xcf9, 2, true);
    assert_int_equal(kit.vp.gpr[GPR_RAX] & 0xffff, 0xffff);
}

static void test_sleep_registers(void **state)
{
    (void)state;
    for (unsigned value = 0; value < 256; value++) {
        bool off = (value & 0x3c) == (5 << 2 | 0x20);

        assert_int_equal(out8_resume(0x601, (uint8_t)value), HV_ADVANCE);
        assert_int_equal(in8_of(0x601), 0);
        assert_int_equal(out8_resume(0x600, (uint8_t)value), off ? HV_STOP : HV_ADVANCE);
        assert_int_equal(kit.vm.stop, off ? VM_STOP_POWER_OFF : VM_STOP_NONE);
        kit.vm.stop = VM_STOP_NONE;
        assert_int_equal(in8_of(0x600), value & 0x1c);
    }
    kit.vp.gpr[GPR_RAX] = 0x3434;
    assert_int_equal(port(0x600, 2, false), HV_ADVANCE);
    assert_int_equal(port(0x600, 4, false), HV_ADVANCE);
}

/* ---- exits ---- */

static void test_exit_endings(void **state)
{
    static const struct {
        enum hv_exit_reason reason;
        enum vm_stop_cause cause;
    } cases[] = {
        {HV_EXIT_HLT, VM_STOP_HLT},
        {HV_EXIT_SHUTDOWN, VM_STOP_TRIPLE_FAULT},
        {HV_EXIT_FAILURE, VM_STOP_ENTRY_FAILURE},
        {HV_EXIT_TABLES, VM_STOP_UNEXPECTED},
        {HV_EXIT_UNKNOWN, VM_STOP_UNEXPECTED},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        struct hv_exit exit = {.reason = cases[i].reason, .raw_info = i + 1};

        kit_forget();
        assert_int_equal(vm_exit(&kit.vp, &exit), HV_STOP);
        assert_int_equal(kit.vm.stop, cases[i].cause);
        assert_int_equal(kit.vm.stop_exit.raw_info, i + 1);
        assert_int_equal(kit.vm.stats.exits[cases[i].reason], 1);
        assert_string_not_equal(vm_stop_text(kit.vm.stop), "?");
        exit.reason = HV_EXIT_HLT; /* the first cause stays */
        vm_exit(&kit.vp, &exit);
        assert_int_equal(kit.vm.stop, cases[i].cause);
    }
    assert_string_equal(vm_stop_text(VM_STOP_COUNT), "?");
    assert_string_equal(hv_exit_name(HV_EXIT_COUNT), "?");
    assert_string_equal(hv_exit_name(HV_EXIT_CPUID), "cpuid");
}

static void test_exit_exceptions(void **state)
{
    struct hv_exit exit = {.reason = HV_EXIT_UNDEFINED};

    (void)state;
    fake_cpu_catch();
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_RESUME);
    kit_expect_event(VECTOR_UD, false, 0);
    exit.reason = HV_EXIT_REFUSED;
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_RESUME);
    kit_expect_event(VECTOR_GP, true, 0);

    exit = (struct hv_exit){.reason = HV_EXIT_EXCEPTION,
                            .exception = {.vector = VECTOR_AC, .has_error = true}};
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_RESUME);
    kit_expect_event(VECTOR_AC, true, 0);
    exit.exception.replaces_event = true; /* while another was being delivered */
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_RESUME);
    kit_expect_event(VECTOR_DF, true, 0);

    fake_cpu.dr6 = 0xffff0ff0 | 0xf; /* the old causes go, the new one comes */
    exit = (struct hv_exit){.reason = HV_EXIT_EXCEPTION,
                            .raw_info = BIT(14) | BIT(2) | BIT(12) | BIT(30),
                            .exception = {.vector = VECTOR_DB}};
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_RESUME);
    kit_expect_event(VECTOR_DB, false, 0);
    assert_int_equal(fake_cpu.dr6, 0xffff0ff0 | BIT(14) | BIT(2));

    exit.exception.vector = VECTOR_MC;
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_STOP);
    assert_int_equal(kit.vm.stop, VM_STOP_UNEXPECTED);
}

static void test_exit_others(void **state)
{
    struct hv_exit exit = {.reason = HV_EXIT_CACHE};

    (void)state;
    fake_cpu_catch();
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_ADVANCE);
    assert_int_equal(fake_cpu.wbinvds, 1);
    exit.reason = HV_EXIT_INTERRUPT;
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_RESUME);
    assert_int_equal(fake_backend.interrupts_ended, 1);
    exit.reason = HV_EXIT_NMI;
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_RESUME);
    exit.reason = HV_EXIT_TRAP;
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_RESUME);
    assert_int_equal(kit.vp.event.kind, VP_EVENT_NONE);
    exit.reason = HV_EXIT_CPUID;
    kit.vp.gpr[GPR_RAX] = 0x40000000;
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_ADVANCE);
    assert_int_equal(kit.vp.gpr[GPR_RAX], 0x40000000);
    exit.reason = HV_EXIT_MSR_READ;
    kit.vp.gpr[GPR_RCX] = IA32_PAT;
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_ADVANCE);
    assert_int_equal(kit.vp.gpr[GPR_RAX], (uint32_t)PAT_RESET);
    exit.reason = HV_EXIT_MSR_WRITE;
    kit.vp.gpr[GPR_RAX] = kit.vp.gpr[GPR_RDX] = 0;
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_ADVANCE);
    assert_int_equal(fake_backend.state.pat, 0);
    exit.reason = HV_EXIT_XSETBV;
    kit.vp.gpr[GPR_RCX] = 0;
    kit.vp.gpr[GPR_RAX] = kit.vp.xcr0_mask = 1;
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_ADVANCE);
    assert_int_equal(fake_cpu.xcr0, 1);
    exit = (struct hv_exit){.reason = HV_EXIT_CR, .cr = {.number = 8, .write = true, .value = 5}};
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_ADVANCE);
    assert_int_equal(kit.apic.tpr, 0x50);
    kit_exit(&exit, KIT_CODE, KIT_LOW_BYTES - 1, HV_ACCESS_WRITE); /* RAM: allowed now */
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_RESUME);
    assert_int_equal(kit.vm.stats.exits[HV_EXIT_MEMORY], 1);
}

/* What ends with an instruction that the core has carried out: RF goes, and a step is told unless there is more to tell. */
static void test_step_done(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 4; flags++)
        for (unsigned pending = 0; pending < 2; pending++) {
            const uint64_t rf = flags & 1 ? RFLAGS_RF : 0, tf = flags & 2 ? RFLAGS_TF : 0;
            const uint64_t rflags = RFLAGS_AC | RFLAGS_CF | rf | tf;

            kit_forget();
            fake_backend.state.rflags = rflags;
            fake_backend.rflags_sets = 0;
            if (pending)
                vp_inject_page_fault(&kit.vp, GVA(0x1234567), PF_WRITE);
            vp_step_done(&kit.vp, rflags);
            assert_int_equal(fake_backend.state.rflags, rflags & ~RFLAGS_RF);
            assert_int_equal(fake_backend.rflags_sets, rf != 0);
            if (pending) {
                kit_expect_event(VECTOR_PF, true, PF_WRITE);
                assert_int_equal(kit.vp.event.address, 0x1234567);
            } else if (tf) {
                kit_expect_event(VECTOR_DB, false, 0);
                assert_int_equal(kit.vp.event.address, DR6_BS);
            } else {
                assert_int_equal(kit.vp.event.kind, VP_EVENT_NONE);
            }
        }
}

/* An event's address is its own: not what an earlier one has left. */
static void test_event_address(void **state)
{
    (void)state;
    vp_inject_page_fault(&kit.vp, GVA(0x1000), PF_USER);
    vp_inject(&kit.vp, VECTOR_GP, true, 0);
    assert_int_equal(kit.vp.event.address, 0);
    vp_inject_debug(&kit.vp, DR6_BS | BIT(1));
    kit_expect_event(VECTOR_DB, false, 0);
    assert_int_equal(kit.vp.event.address, DR6_BS | BIT(1));
    vp_inject(&kit.vp, VECTOR_DB, false,
              0); /* an exception that the CPU has met: DR6 has its causes */
    assert_int_equal(kit.vp.event.address, 0);
}

/* RIP is cut to 32 bits outside 64-bit mode: no entry takes more. */
static void test_memory_next(void **state)
{
    struct hv_exit exit = {.reason = HV_EXIT_MEMORY, .rip = 0xfffffffa, .length = 6};

    (void)state;
    assert_int_equal(hv_exit_memory_next(&exit), 0);
    exit.length = 5;
    assert_int_equal(hv_exit_memory_next(&exit), 0xffffffff);
    exit.length = 6;
    exit.memory.code_64 = true;
    assert_int_equal(hv_exit_memory_next(&exit), 0x100000000);
}

#define TEST(name)          cmocka_unit_test_setup_teardown(name, kit_open, kit_close)
#define TEST_PLATFORM(name) cmocka_unit_test_setup_teardown(name, open_platform, kit_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ports),
        TEST(test_port_ranges),
        TEST(test_string_io),
        TEST_PLATFORM(test_uart_lines),
        TEST_PLATFORM(test_uart_long_lines),
        TEST_PLATFORM(test_uart_registers),
        TEST_PLATFORM(test_debug_exit),
        TEST_PLATFORM(test_reset_register),
        TEST_PLATFORM(test_sleep_registers),
        TEST(test_exit_endings),
        TEST(test_exit_exceptions),
        TEST(test_exit_others),
        TEST(test_step_done),
        TEST(test_event_address),
        TEST(test_memory_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
