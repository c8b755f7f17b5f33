/* The machine's PCI: scan, find, BAR sizes, bus mastering; options that name a BAR of it. */
#include "tests/fake/host.h"

#include <string.h>

#include "boot/hostdev.h"
#include "drivers/host/hostpci.h"
#include "tests/fake/hostpci.h"

#define ID(vendor, device) ((uint32_t)(device) << 16 | (vendor))
#define E1000              ID(0x8086, 0x100e)
#define HEADER_DEVICE      0x00
#define HEADER_BRIDGE      0x01
#define HEADER_MULTI       0x80
#define COMMAND            1 /* dword numbers */
#define BUSES              6
#define BAR32              0x0u
#define BAR64              0x4u
#define BAR64_PREFETCHABLE 0xcu
#define BAR_IO             0x1u

static int fresh(void **state)
{
    (void)state;
    fake_pci_reset();
    return 0;
}

static struct {
    unsigned count;
    uint32_t at[64], id[64];
} seen;

static bool note(void *context, const struct hostpci_function *function)
{
    (void)context;
    assert_true(seen.count < 64);
    seen.at[seen.count] = (uint32_t)function->at.bus << 16 | (uint32_t)function->at.device << 8 |
                          function->at.function;
    seen.id[seen.count++] = ID(function->vendor, function->device);
    return true;
}

static void scan(void)
{
    seen.count = 0;
    hostpci_scan(note, NULL);
}

static void bridge(unsigned bus, unsigned device, unsigned secondary)
{
    fake_pci_add(bus, device, 0, ID(0x1b36, 1), HEADER_BRIDGE)->dword[BUSES] = secondary << 8 | bus;
}

static void nothing_at_all(void **state)
{
    struct hostpci_function function;

    (void)state;
    scan();
    assert_int_equal(seen.count, 0);
    assert_false(hostpci_find(0x8086, 0x100e, &function));
    assert_false(hostpci_find(0xffff, 0xffff, &function)); /* nobody is no device */
}

static void functions_and_buses(void **state)
{
    static const uint32_t expected[] = {0x000000, 0x000100, 0x000101, 0x000107,
                                        0x000300, 0x020000, 0x021f00, 0x050400};

    (void)state;
    fake_pci_add(0, 0, 0, ID(0x8086, 0x1237), HEADER_DEVICE);
    fake_pci_add(0, 0, 1, ID(0x8086, 0xdead), HEADER_DEVICE); /* an echo of a single function */
    fake_pci_add(0, 1, 0, ID(0x8086, 0x7000), HEADER_DEVICE | HEADER_MULTI);
    fake_pci_add(0, 1, 1, ID(0x8086, 0x7010), HEADER_DEVICE);
    fake_pci_add(0, 1, 7, ID(0x8086, 0x7113), HEADER_DEVICE);
    fake_pci_add(0, 2, 3, ID(0x8086, 0xbad), HEADER_DEVICE); /* no function 0: not there */
    bridge(0, 3, 2);
    fake_pci_add(1, 0, 0, ID(0x8086, 0xbad), HEADER_DEVICE); /* behind no bridge */
    fake_pci_add(2, 0, 0, E1000, HEADER_DEVICE);
    bridge(2, 31, 5);
    fake_pci_add(5, 4, 0, E1000, HEADER_DEVICE);
    scan();
    assert_int_equal(seen.count, ARRAY_COUNT(expected));
    for (unsigned i = 0; i < seen.count; i++)
        assert_int_equal(seen.at[i], expected[i]);
}

static void bridges_in_a_circle(void **state)
{
    (void)state;
    bridge(0, 0, 0); /* to itself */
    bridge(0, 1, 255);
    bridge(255, 0, 1); /* back */
    bridge(255, 1, 255);
    bridge(0, 2, 255); /* a second way to the same bus */
    scan();
    assert_int_equal(seen.count, 5);
    assert_true(fake_pci_reads < 1000);
}

static void the_first_of_two_is_found(void **state)
{
    struct hostpci_function function;

    (void)state;
    fake_pci_add(0, 2, 0, ID(0x8086, 0x100f), HEADER_DEVICE);
    fake_pci_add(0, 3, 0, E1000, HEADER_DEVICE)->dword[2] = 0x02000003;
    fake_pci_add(0, 4, 0, E1000, HEADER_DEVICE);
    assert_true(hostpci_find(0x8086, 0x100e, &function));
    assert_int_equal(function.at.device, 3);
    assert_int_equal(function.class_code, 0x020000);
    assert_false(function.bridge);
    assert_false(hostpci_find(0x100e, 0x8086, &function));
}

static const struct hostpci_function the_function = {.at = {0, 3, 0}};

/* Every BAR twice: decoded and not; the registers are afterwards what they were. */
static void bar_sizes(void **state)
{
    static const struct {
        uint32_t kind;
        uint64_t base, bytes;
    } cases[] = {
        {BAR32, 0xfebc0000, 0x20000},         {BAR32, 0, 16},
        {BAR32, 0x80000000, 0x80000000},      {0x8, 0xc0000000, 0x1000},
        {BAR64, 0xfebd0000, 0x4000},          {BAR64_PREFETCHABLE, 0x8000000000, 0x200000000},
        {BAR64_PREFETCHABLE, 0, 0x100000000}, {BAR64, 0xffffffff00000000, 0x80000000},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases) * 2; i++) {
        struct fake_function *fake, before;
        struct hostpci_bar bar;

        fake_pci_reset();
        fake = fake_pci_add(0, 3, 0, E1000, HEADER_DEVICE | HEADER_MULTI);
        fake_pci_bar(fake, 2, cases[i / 2].kind, cases[i / 2].base, cases[i / 2].bytes);
        fake->dword[COMMAND] |= i % 2 ? 0x7 : 0x400;
        before = *fake;
        assert_int_equal(hostpci_bar_read(&the_function, 2, &bar), HV_OK);
        assert_int_equal(bar.base, cases[i / 2].base);
        assert_int_equal(bar.bytes, cases[i / 2].bytes);
        assert_int_equal(bar.wide, (cases[i / 2].kind & 4) != 0);
        assert_int_equal(bar.prefetchable, (cases[i / 2].kind & 8) != 0);
        assert_memory_equal(fake, &before, sizeof(before));
        assert_int_equal(fake_pci_harm, 0);
    }
}

static void bars_that_are_none(void **state)
{
    struct fake_function *fake = fake_pci_add(0, 3, 0, E1000, HEADER_DEVICE);
    struct hostpci_bar bar;

    (void)state;
    fake_pci_bar(fake, 0, BAR64, 0x8000000000, 0x1000);
    fake_pci_bar(fake, 2, BAR_IO, 0xc000, 0x40);
    fake->writable[4 + 4] = 0xfff0f000; /* a mask with a hole */
    fake_pci_bar(fake, 5, BAR64, 0xf0000000, 0x1000);
    assert_int_equal(hostpci_bar_read(&the_function, 0, &bar), HV_OK);
    assert_int_equal(hostpci_bar_read(&the_function, 1, &bar), HV_E_NO_SUCH_BAR); /* upper half */
    assert_int_equal(hostpci_bar_read(&the_function, 2, &bar), HV_E_NO_SUCH_BAR); /* I/O */
    assert_int_equal(hostpci_bar_read(&the_function, 3, &bar), HV_E_NO_SUCH_BAR); /* absent */
    assert_int_equal(hostpci_bar_read(&the_function, 4, &bar), HV_E_NO_SUCH_BAR);
    assert_int_equal(hostpci_bar_read(&the_function, 5, &bar), HV_E_NO_SUCH_BAR); /* torn */
    assert_int_equal(hostpci_bar_read(&the_function, 6, &bar), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(fake_pci_harm, 0);
}

static void bars_of_a_bridge(void **state)
{
    struct fake_function *fake = fake_pci_add(0, 3, 0, E1000, HEADER_BRIDGE);
    struct hostpci_bar bar;

    (void)state;
    fake_pci_bar(fake, 0, BAR32, 0xfe000000, 0x1000);
    fake_pci_bar(fake, 1, BAR64, 0xfd000000, 0x1000); /* its upper half would be the bus numbers */
    assert_int_equal(hostpci_bar_read(&the_function, 0, &bar), HV_OK);
    assert_int_equal(hostpci_bar_read(&the_function, 1, &bar), HV_E_NO_SUCH_BAR);
    assert_int_equal(hostpci_bar_read(&the_function, 2, &bar), HV_E_INVALID_PARAMETER_2);
    fake->dword[3] = 0x7fu << 16;
    assert_int_equal(hostpci_bar_read(&the_function, 0, &bar), HV_E_INVALID_PARAMETER_2);
}

static void bus_mastering_goes_off(void **state)
{
    struct fake_function *fake = fake_pci_add(0, 3, 0, E1000, HEADER_DEVICE);
    uint32_t status = fake->dword[COMMAND];

    (void)state;
    fake->dword[COMMAND] = status | 0x405;
    hostpci_quiet(&the_function, false);
    assert_int_equal(fake->dword[COMMAND], status | 0x401);
    hostpci_quiet(&the_function, true);
    assert_int_equal(fake->dword[COMMAND], status | 0x403);
    assert_int_equal(fake_pci_harm, 0);
}

/* ---- options ---- */

static void names_of_bars(void **state)
{
    static const char *const wrong[] = {"",
                                        "pci",
                                        "pci:",
                                        "pci:8086",
                                        "pci:8086:",
                                        "pci:8086:100e",
                                        "8086:100e:0",
                                        "pci:8086:100e:",
                                        "pci:8086:100e:00",
                                        "pci:8086:100e:x",
                                        "pci::100e:0",
                                        "pci:08086:100e:0",
                                        "pci:8086:1g0e:0",
                                        "pci:8086:100e:0 ",
                                        "PCI:8086:100e:0",
                                        "pci:0x86:100e:0"};
    struct hostdev_bar bar;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++)
        assert_false(hostdev_parse_bar(wrong[i], &bar));
    assert_true(hostdev_parse_bar("pci:8086:100e:0", &bar));
    assert_int_equal(bar.vendor, 0x8086);
    assert_int_equal(bar.device, 0x100e);
    assert_int_equal(bar.bar, 0);
    assert_true(hostdev_parse_bar("pci:1:ABCD:5", &bar));
    assert_int_equal(bar.vendor, 1);
    assert_int_equal(bar.device, 0xabcd);
    assert_int_equal(bar.bar, 5);
}

static struct hostdev_options resolved;

static void resolve(unsigned count, const char *const *options)
{
    struct config_device device = {.name = "lab", .option_count = count};

    memcpy(device.option, options, count * sizeof(*options));
    hostdev_resolve(&device, &resolved);
}

static void a_window_becomes_numbers(void **state)
{
    const char *const options[] = {"a", "window=pci:8086:100e:0", "c", "d", "e", "f", "g", "h"};
    struct fake_function *fake = fake_pci_add(0, 3, 0, E1000, HEADER_DEVICE);

    (void)state;
    fake_pci_bar(fake, 0, BAR32, 0xfebc0000, 0x20000);
    fake->dword[COMMAND] |= 0x4;
    resolve(ARRAY_COUNT(options), options);
    assert_int_equal(resolved.count, 9);
    assert_string_equal(resolved.option[0], "a");
    assert_string_equal(resolved.option[1], "window=febc0000");
    assert_string_equal(resolved.option[2], "window_bytes=20000");
    assert_string_equal(resolved.option[3], "c");
    assert_string_equal(resolved.option[8], "h");
    assert_int_equal(fake->dword[COMMAND] & 0xffff, 0x2);
}

static void no_window(void **state)
{
    const char *const options[] = {"bar4=2", "window=pci:8086:100e:1"};
    struct fake_function *fake;

    (void)state;
    resolve(2, options); /* no such function */
    assert_int_equal(resolved.count, 1);
    assert_string_equal(resolved.option[0], "bar4=2");
    assert_non_null(strstr(fake_log_last, "no PCI function 8086:100e"));

    fake = fake_pci_add(0, 3, 0, E1000, HEADER_DEVICE);
    fake_pci_bar(fake, 1, BAR_IO, 0xc000, 0x40);
    fake->dword[COMMAND] |= 0x5;
    resolve(2, options); /* no memory BAR */
    assert_int_equal(resolved.count, 1);
    assert_non_null(strstr(fake_log_last, "HV_E_NO_SUCH_BAR"));

    fake_pci_bar(fake, 1, BAR32, 0, 0x1000);
    resolve(2, options); /* no address */
    assert_int_equal(resolved.count, 1);
    assert_non_null(strstr(fake_log_last, "no address"));
    assert_int_equal(fake->dword[COMMAND] & 0xffff, 0x5); /* and nothing was changed */
}

static void other_options_stay(void **state)
{
    const char *const options[] = {"window=1000000000", "window=pci:8086:100e",
                                   "x=pci:8086:100e:0"};

    (void)state;
    fake_pci_bar(fake_pci_add(0, 3, 0, E1000, HEADER_DEVICE), 0, BAR32, 0xfebc0000, 0x20000);
    resolve(3, options);
    assert_int_equal(resolved.count, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_ptr_equal(resolved.option[i], options[i]);
    resolve(0, options);
    assert_int_equal(resolved.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nothing_at_all, fresh),
        cmocka_unit_test_setup(functions_and_buses, fresh),
        cmocka_unit_test_setup(bridges_in_a_circle, fresh),
        cmocka_unit_test_setup(the_first_of_two_is_found, fresh),
        cmocka_unit_test_setup(bar_sizes, fresh),
        cmocka_unit_test_setup(bars_that_are_none, fresh),
        cmocka_unit_test_setup(bars_of_a_bridge, fresh),
        cmocka_unit_test_setup(bus_mastering_goes_off, fresh),
        cmocka_unit_test(names_of_bars),
        cmocka_unit_test_setup(a_window_becomes_numbers, fresh),
        cmocka_unit_test_setup(no_window, fresh),
        cmocka_unit_test_setup(other_options_stay, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
