/* The guest's ACPI tables: read by the hypervisor's own parser, and where the parser does not look, by offset. */
#include "tests/fake/host.h"

#include <stdlib.h>
#include <string.h>

#include "drivers/host/acpi.h"
#include "hv/vm/acpi.h"
#include "hv/vm/platform.h"
#include "tests/fake/iospace.h"

#define AT 0xe0000u

static uint8_t area[ACPI_TABLES_BYTES];
static size_t count;
static struct acpi_platform platform;

static int build(void **state)
{
    (void)state;
    fake_io_reset();
    platform = (struct acpi_platform){
        .cpus = 1,
        .ecam_base = 0xfe000000,
        .window = {{0xc000, 0x10000}, {0xc0000000, 0xfe000000}, {0x400000000, 0x8000000000}}};
    memset(area, 0xa5, sizeof(area));
    count = acpi_tables_build(area, sizeof(area), AT, &platform);
    fake_io_add(AT, area, count);
    return 0;
}

static uint64_t word(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    memcpy(&value, at, bytes);
    return value;
}

static const uint8_t *at_gpa(uint64_t gpa)
{
    assert_true(gpa >= AT && gpa < AT + count && gpa % 16 == 0);
    return area + (gpa - AT);
}

static const uint8_t *table(unsigned index)
{
    const uint8_t *xsdt = at_gpa(word(area + 24, 8));

    return at_gpa(word(xsdt + 36 + index * 8, 8));
}

static void the_hypervisor_s_own_parser(void **state)
{
    struct acpi_info info;

    (void)state;
    assert_true(count > 0 && count <= sizeof(area));
    fake_log_lines = 0;
    acpi_read(AT, false, &info);
    assert_int_equal(fake_log_lines, 3); /* what it found, and no complaint */
    assert_int_equal(fake_io_live, 0);
    assert_int_equal(fake_io_refused, 0);
    assert_true(info.found && info.has_madt && info.has_mcfg);
    assert_int_equal(info.local_apic, 0xfee00000);
    assert_int_equal(info.cpus, 1);
    assert_int_equal(info.cpus_absent, 0);
    assert_int_equal(info.ecam_base, 0xfe000000);
    assert_int_equal(info.ecam_first_bus, 0);
    assert_int_equal(info.ecam_last_bus, 0);
}

/* ACPI 5.2.5.3: two checksums; no RSDT. */
static void rsdp(void **state)
{
    (void)state;
    assert_memory_equal(area, "RSD PTR ", 8);
    assert_true(acpi_sum_is_zero(area, 20));
    assert_true(acpi_sum_is_zero(area, 36));
    assert_memory_equal(area + 9, "BARVIS", 6);
    assert_int_equal(area[15], 2);
    assert_int_equal(word(area + 16, 4), 0);
    assert_int_equal(word(area + 20, 4), 36);
    assert_int_equal(word(area + 33, 3), 0);
}

static void headers(void **state)
{
    static const struct {
        const char *signature;
        uint32_t bytes;
        uint8_t revision;
    } wanted[] = {{"FACP", 276, 6}, {"APIC", 52, 5}, {"MCFG", 60, 1}};
    const uint8_t *xsdt = at_gpa(word(area + 24, 8));

    (void)state;
    assert_memory_equal(xsdt, "XSDT", 4);
    assert_int_equal(word(xsdt + 4, 4), 36 + 3 * 8);
    assert_true(acpi_sum_is_zero(xsdt, 36 + 3 * 8));
    for (unsigned i = 0; i < ARRAY_COUNT(wanted); i++) {
        const uint8_t *t = table(i);

        assert_memory_equal(t, wanted[i].signature, 4);
        assert_int_equal(word(t + 4, 4), wanted[i].bytes);
        assert_int_equal(t[8], wanted[i].revision);
        assert_true(acpi_sum_is_zero(t, wanted[i].bytes));
        assert_memory_equal(t + 10, "BARVISBARVISOR", 14);
        assert_int_equal(word(t + 24, 4), 1);
        assert_memory_equal(t + 28, "BARV", 4);
    }
}

/* ACPI 5.2.9: all that is not zero, and that the rest is. */
static void fadt(void **state)
{
    static const struct {
        unsigned offset, bytes;
        uint64_t value;
    } wanted[] = {
        {96, 2, 101},         {98, 2, 1001},        {109, 2, 0x24},
        {112, 4, 0x00100475}, {116, 4, 0x01000801}, {120, 8, PLATFORM_RESET_PORT},
        {128, 1, 6},          {131, 1, 5},          {244, 4, 0x01000801},
        {248, 8, 0x600},      {256, 4, 0x01000801}, {260, 8, 0x601},
    };
    uint8_t rest[276];

    (void)state;
    memcpy(rest, table(0), sizeof(rest));
    memset(rest, 0, 36);
    assert_int_equal(word(rest + 40, 4), word(rest + 140, 8));
    assert_memory_equal(at_gpa(word(rest + 40, 4)), "DSDT", 4);
    memset(rest + 40, 0, 4);
    memset(rest + 140, 0, 8);
    assert_memory_equal(rest + 268, "Barvisor", 8);
    memset(rest + 268, 0, 8);
    for (unsigned i = 0; i < ARRAY_COUNT(wanted); i++) {
        if (word(rest + wanted[i].offset, wanted[i].bytes) != wanted[i].value)
            fail_msg("offset %u: %#lx, not %#lx", wanted[i].offset,
                     word(rest + wanted[i].offset, wanted[i].bytes), wanted[i].value);
        memset(rest + wanted[i].offset, 0, wanted[i].bytes);
    }
    for (unsigned i = 0; i < sizeof(rest); i++)
        if (rest[i] != 0)
            fail_msg("offset %u is not zero", i);
}

static void madt(void **state)
{
    (void)state;
    assert_int_equal(word(table(1) + 40, 4), 0); /* no 8259s */
    platform.cpus = 255;
    count = acpi_tables_build(area, sizeof(area), AT, &platform);
    assert_true(count > 0);
    assert_int_equal(word(table(1) + 4, 4), 44 + 255 * 8);
    for (unsigned id = 0; id < 255; id++)
        assert_int_equal(word(table(1) + 44 + id * 8, 8), 0x100000800 | id << 16 | id << 24);
}

/* Other windows are other numbers in the DSDT, and an empty one leaves its descriptor out. */
static void windows(void **state)
{
    const uint8_t *dsdt = at_gpa(word(table(0) + 40, 4));
    uint64_t before = word(dsdt + 4, 4);
    const uint64_t last = 0x7fffffffff;
    unsigned seen = 0;

    (void)state;
    for (uint64_t i = 36; i + 8 <= before; i++)
        seen += word(dsdt + i, 8) == last;
    assert_int_equal(seen, 1);
    assert_true(acpi_sum_is_zero(dsdt, before));
    platform.window[ACPI_MEMORY64] = (struct acpi_window){0, 0};
    count = acpi_tables_build(area, sizeof(area), AT, &platform);
    dsdt = at_gpa(word(table(0) + 40, 4));
    assert_int_equal(word(dsdt + 4, 4), before - 46);
    assert_true(acpi_sum_is_zero(dsdt, before - 46));
}

/* All or nothing, in a block of exactly that length: the sanitizer watches. */
static void too_little_room(void **state)
{
    (void)state;
    for (size_t room = 0; room <= count; room++) {
        uint8_t *exact = malloc(room ? room : 1);

        assert_int_equal(acpi_tables_build(exact, room, AT, &platform), room < count ? 0 : count);
        if (room == count)
            assert_memory_equal(exact, area, count);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_hypervisor_s_own_parser, build),
        cmocka_unit_test_setup(rsdp, build),
        cmocka_unit_test_setup(headers, build),
        cmocka_unit_test_setup(fadt, build),
        cmocka_unit_test_setup(madt, build),
        cmocka_unit_test_setup(windows, build),
        cmocka_unit_test_setup(too_little_room, build),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
