/* ACPI tables: what good ones say, and that bad ones do no harm. Blocks are exactly as long as claimed: the sanitizer watches. */
#include "tests/fake/host.h"

#include <stdlib.h>
#include <string.h>

#include "drivers/host/acpi.h"
#include "tests/fake/iospace.h"

#define RSDP_AT 0xf0010u
#define ROOT_AT 0x7f000004u /* nothing is aligned */
#define MADT_AT 0x7f001003u
#define MCFG_AT 0x7f002001u
#define FADT_AT 0x7f003000u
#define SELF_AT ROOT_AT

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    memcpy(at, &value, bytes);
}

static void fix_sum(uint8_t *bytes, size_t count, size_t where)
{
    uint8_t sum = 0;

    bytes[where] = 0;
    for (size_t i = 0; i < count; i++)
        sum = (uint8_t)(sum + bytes[i]);
    bytes[where] = (uint8_t)-sum;
}

/* A table under construction. */
struct table {
    uint8_t bytes[1024];
    size_t count;
};

static void table_begin(struct table *table, const char *signature)
{
    memset(table, 0, sizeof(*table));
    memcpy(table->bytes, signature, 4);
    table->count = ACPI_HEADER_BYTES;
}

static void add(struct table *table, uint64_t value, unsigned bytes)
{
    put(table->bytes + table->count, value, bytes);
    table->count += bytes;
}

static void table_end(struct table *table)
{
    put(table->bytes + 4, table->count, 4);
    fix_sum(table->bytes, table->count, 9);
}

static struct table madt, mcfg, fadt, root;
static uint8_t rsdp[ACPI_RSDP_BYTES];

static void add_cpu(uint8_t id, uint32_t flags)
{
    add(&madt, 0 | 8 << 8 | (uint32_t)id << 24, 4);
    add(&madt, flags, 4);
}

static void add_x2apic(uint32_t id, uint32_t flags)
{
    add(&madt, 9 | 16 << 8, 4);
    add(&madt, id, 4);
    add(&madt, flags, 4);
    add(&madt, 0, 4);
}

static void madt_begin(void)
{
    table_begin(&madt, "APIC");
    add(&madt, 0xfee00000, 4);
    add(&madt, 1, 4);
}

static void build_madt(void)
{
    madt_begin();
    add_cpu(0, 1);
    add(&madt, 1 | 12 << 8, 4); /* an I/O APIC: of no interest */
    add(&madt, 0xfec00000, 8);
    add_cpu(1, 1);
    add_cpu(2, 0); /* neither enabled nor ever */
    add_cpu(3, 2); /* may be added */
    table_end(&madt);
}

static void add_ecam(uint64_t base, uint16_t segment, uint8_t first, uint8_t last)
{
    add(&mcfg, base, 8);
    add(&mcfg, segment, 2);
    add(&mcfg, first, 1);
    add(&mcfg, last, 1);
    add(&mcfg, 0, 4);
}

static void mcfg_begin(void)
{
    table_begin(&mcfg, "MCFG");
    add(&mcfg, 0, 8);
}

static void build_mcfg(void)
{
    mcfg_begin();
    add_ecam(0x4000000000, 1, 0, 255);
    add_ecam(0xb0000000, 0, 0, 127);
    add_ecam(0xc0000000, 0, 128, 255);
    table_end(&mcfg);
}

static void build_rsdp(unsigned revision, uint32_t rsdt, uint64_t xsdt)
{
    memset(rsdp, 0, sizeof(rsdp));
    memcpy(rsdp, "RSD PTR ", 8);
    rsdp[15] = (uint8_t)revision;
    put(rsdp + 16, rsdt, 4);
    put(rsdp + 20, ACPI_RSDP_BYTES, 4);
    put(rsdp + 24, xsdt, 8);
    fix_sum(rsdp, 20, 8);
    fix_sum(rsdp, ACPI_RSDP_BYTES, 32);
}

static void build_root(const char *signature, unsigned entry_bytes)
{
    table_begin(&root, signature);
    add(&root, FADT_AT, entry_bytes);
    add(&root, MADT_AT, entry_bytes);
    add(&root, MCFG_AT, entry_bytes);
    table_end(&root);
}

/* A machine as it should be, with an XSDT. */
static int machine(void **state)
{
    (void)state;
    fake_io_reset();
    build_madt();
    build_mcfg();
    table_begin(&fadt, "FACP");
    add(&fadt, 0, 8);
    table_end(&fadt);
    build_root("XSDT", 8);
    build_rsdp(2, 0, ROOT_AT);
    fake_io_add(RSDP_AT, rsdp, sizeof(rsdp));
    fake_io_add(ROOT_AT, root.bytes, sizeof(root.bytes));
    fake_io_add(MADT_AT, madt.bytes, sizeof(madt.bytes));
    fake_io_add(MCFG_AT, mcfg.bytes, sizeof(mcfg.bytes));
    fake_io_add(FADT_AT, fadt.bytes, sizeof(fadt.bytes));
    return 0;
}

static struct acpi_info info;

static void read_machine(void)
{
    memset(&info, 0x5a, sizeof(info));
    acpi_read(RSDP_AT, true, &info);
    assert_int_equal(fake_io_live, 0);
}

static void expect_all(void)
{
    assert_true(info.found && info.has_madt && info.has_mcfg);
    assert_int_equal(info.local_apic, 0xfee00000);
    assert_int_equal(info.cpus, 2);
    assert_int_equal(info.cpus_absent, 1);
    assert_int_equal(info.ecam_base, 0xb0000000);
    assert_int_equal(info.ecam_first_bus, 0);
    assert_int_equal(info.ecam_last_bus, 127);
}

static void a_machine(void **state)
{
    (void)state;
    read_machine();
    expect_all();
    assert_int_equal(fake_io_protect, HV_PAGE_READONLY);
    fake_log_lines = 0;
    acpi_read(RSDP_AT, false, &info);
    assert_int_equal(fake_log_lines, 3);
}

static void an_old_machine(void **state)
{
    (void)state;
    build_rsdp(0, ROOT_AT, 0);
    build_root("RSDT", 4);
    memset(rsdp + 20, 0xff, 16); /* not of this revision */
    read_machine();
    expect_all();
    /* the old kind of RSDP at the end of what is there */
    fake_io_reset();
    fake_io_add(RSDP_AT, rsdp, 20);
    read_machine();
    assert_false(info.found); /* its root table is gone, and nothing else happened */
    assert_int_equal(fake_io_refused, 1);
}

static void no_acpi(void **state)
{
    (void)state;
    memset(&info, 0x5a, sizeof(info));
    fake_io_reset();
    acpi_read(0, false, &info);
    assert_false(info.found || info.has_madt || info.has_mcfg);
    assert_int_equal(fake_io_refused, 0);
    acpi_read(RSDP_AT, false, &info); /* the address cannot be mapped */
    assert_false(info.found);
}

static void rsdp_errors(void **state)
{
    struct acpi_root out;

    (void)state;
    assert_true(acpi_parse_rsdp(rsdp, sizeof(rsdp), &out));
    assert_int_equal(out.base, ROOT_AT);
    assert_int_equal(out.entry_bytes, 8);
    for (size_t count = 0; count < 20; count++)
        assert_false(acpi_parse_rsdp(rsdp, count, &out));
    for (size_t i = 0; i < sizeof(rsdp); i++) { /* every byte is under a checksum */
        rsdp[i] ^= 1;
        assert_false(acpi_parse_rsdp(rsdp, sizeof(rsdp), &out));
        rsdp[i] ^= 1;
    }
    build_rsdp(2, 0, 0);
    assert_false(acpi_parse_rsdp(rsdp, sizeof(rsdp), &out));
    build_rsdp(2, 0x1000, 0); /* the XSDT is preferred, not required */
    assert_true(acpi_parse_rsdp(rsdp, sizeof(rsdp), &out));
    assert_int_equal(out.entry_bytes, 4);
    build_rsdp(0, 0, 0);
    assert_false(acpi_parse_rsdp(rsdp, sizeof(rsdp), &out));
    build_rsdp(2, 0x1000, 0x2000);
    put(rsdp + 20, 0, 4); /* a length of 0 */
    fix_sum(rsdp, ACPI_RSDP_BYTES, 32);
    assert_false(acpi_parse_rsdp(rsdp, sizeof(rsdp), &out));
}

static void header_lengths(void **state)
{
    static const struct {
        uint32_t claimed, expected;
    } cases[] = {{0, 0},         {35, 0}, {36, 36}, {1 << 20, 1 << 20}, {(1 << 20) + 1, 0},
                 {UINT32_MAX, 0}};
    char signature[5];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        put(madt.bytes + 4, cases[i].claimed, 4);
        assert_int_equal(acpi_parse_header(madt.bytes, 36, signature), cases[i].expected);
        assert_int_equal(acpi_parse_header(madt.bytes, 35, signature), 0);
    }
    memcpy(madt.bytes, "\x1b\xff \n", 4); /* nothing that steers a terminal */
    (void)acpi_parse_header(madt.bytes, 36, signature);
    assert_string_equal(signature, "????");
}

static void root_entries(void **state)
{
    uint64_t base;

    (void)state;
    assert_true(acpi_root_entry(root.bytes, 60, 8, 2, &base));
    assert_int_equal(base, MCFG_AT);
    assert_false(acpi_root_entry(root.bytes, 60, 8, 3, &base));
    assert_false(acpi_root_entry(root.bytes, 59, 8, 2, &base)); /* half an entry is none */
    assert_false(acpi_root_entry(root.bytes, 36, 8, 0, &base));
    assert_false(acpi_root_entry(root.bytes, 35, 8, 0, &base));
    assert_false(acpi_root_entry(root.bytes, 60, 8, UINT32_MAX, &base));
}

/* In a block of exactly its length. */
static bool parse(const struct table *table, size_t count,
                  bool (*parser)(const uint8_t *, size_t, struct acpi_info *))
{
    uint8_t *exact = malloc(count + (count == 0));
    bool good;

    memcpy(exact, table->bytes, count);
    good = parser(exact, count, &info);
    free(exact);
    return good;
}

/* A failed parse leaves *info alone. */
static void expect_refused(const struct table *table, size_t count,
                           bool (*parser)(const uint8_t *, size_t, struct acpi_info *))
{
    struct acpi_info before;

    memset(&info, 0x33, sizeof(info));
    before = info;
    assert_false(parse(table, count, parser));
    assert_memory_equal(&before, &info, sizeof(info));
}

static void truncated_tables(void **state)
{
    (void)state;
    for (size_t count = 0; count < madt.count; count++)
        expect_refused(&madt, count, acpi_parse_madt);
    for (size_t count = 0; count < mcfg.count; count++)
        expect_refused(&mcfg, count, acpi_parse_mcfg);
    /* cut short with a header and a checksum that agree */
    for (size_t count = ACPI_HEADER_BYTES; count < madt.count; count++) {
        struct table cut = madt;

        cut.count = count;
        table_end(&cut);
        (void)parse(&cut, count, acpi_parse_madt);
        cut = mcfg;
        cut.count = MIN(count, mcfg.count);
        table_end(&cut);
        (void)parse(&cut, cut.count, acpi_parse_mcfg);
    }
    assert_true(parse(&madt, madt.count, acpi_parse_madt));
    assert_true(parse(&mcfg, mcfg.count, acpi_parse_mcfg));
}

static void wrong_sums_and_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < madt.count; i++) {
        madt.bytes[i] ^= 0x10;
        expect_refused(&madt, madt.count, acpi_parse_madt);
        madt.bytes[i] ^= 0x10;
    }
    expect_refused(&mcfg, mcfg.count, acpi_parse_madt);
    expect_refused(&madt, madt.count, acpi_parse_mcfg);
}

/* Structures whose length is 0 or 1 (a walk that never ends), too short for their type, or past the end. */
static void bad_structures(void **state)
{
    static const struct {
        uint8_t type, length;
        bool good;
    } cases[] = {{0, 0, false},  {0, 1, false},  {0, 2, false},   {0, 7, false},  {0, 8, true},
                 {5, 11, false}, {5, 12, true},  {9, 15, false},  {9, 16, true},  {77, 2, true},
                 {77, 0, false}, {77, 16, true}, {77, 17, false}, {0, 255, false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        /* It ends the table, unless its length says that there is more. */
        size_t tail = cases[i].length >= 2 && cases[i].length <= 16 ? cases[i].length : 16;

        madt_begin();
        add(&madt, cases[i].type | cases[i].length << 8, 2);
        madt.count += tail - 2;
        table_end(&madt);
        if (cases[i].good)
            assert_true(parse(&madt, madt.count, acpi_parse_madt));
        else
            expect_refused(&madt, madt.count, acpi_parse_madt);
    }
    madt_begin();
    add(&madt, 0, 1); /* a type without a length */
    table_end(&madt);
    expect_refused(&madt, madt.count, acpi_parse_madt);
}

static void apics_of_both_kinds(void **state)
{
    (void)state;
    madt_begin();
    add_cpu(0, 1);
    add_x2apic(0, 1); /* the same CPU again */
    add_x2apic(255, 1);
    add_x2apic(1000, 2);
    add(&madt, 5 | 12 << 8, 4);
    add(&madt, 0x1fee00000, 8);
    table_end(&madt);
    assert_true(parse(&madt, madt.count, acpi_parse_madt));
    assert_int_equal(info.cpus, 2);
    assert_int_equal(info.cpus_absent, 1);
    assert_int_equal(info.local_apic, 0x1fee00000);
    madt_begin();
    add_x2apic(0, 1);
    add_x2apic(1, 1);
    add_x2apic(2, 2);
    table_end(&madt);
    assert_true(parse(&madt, madt.count, acpi_parse_madt));
    assert_int_equal(info.cpus, 2);
    assert_int_equal(info.cpus_absent, 1);
}

static void bad_ecam(void **state)
{
    static const struct {
        uint64_t base;
        uint16_t segment;
        uint8_t first, last;
    } cases[] = {
        {0, 0, 0, 255},          {0xb0001000, 0, 0, 255},         {0xb0000000, 0, 9, 8},
        {0xb0000000, 1, 0, 255}, {0xfffffffffff00000, 0, 0, 255},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        mcfg_begin();
        add_ecam(cases[i].base, cases[i].segment, cases[i].first, cases[i].last);
        table_end(&mcfg);
        expect_refused(&mcfg, mcfg.count, acpi_parse_mcfg);
    }
    mcfg_begin();
    table_end(&mcfg);
    expect_refused(&mcfg, mcfg.count, acpi_parse_mcfg);
}

/* The root names itself, nothing, memory that cannot be mapped, and the same table twice. */
static void a_root_in_circles(void **state)
{
    (void)state;
    table_begin(&root, "XSDT");
    add(&root, SELF_AT, 8);
    add(&root, 0, 8);
    add(&root, 0xdead0000, 8);
    add(&root, UINT64_MAX, 8);
    add(&root, MADT_AT, 8);
    add(&root, MADT_AT, 8);
    add(&root, MCFG_AT, 8);
    add(&root, 0, 3); /* half an entry */
    table_end(&root);
    read_machine();
    expect_all();
    assert_int_equal(fake_io_refused, 2);
}

static void roots_that_are_none(void **state)
{
    (void)state;
    build_root("RSDT", 8); /* where an XSDT was promised */
    read_machine();
    assert_false(info.found || info.has_madt);
    build_root("XSDT", 8);
    root.bytes[40] ^= 1;
    read_machine();
    assert_false(info.found || info.has_madt);
    build_root("XSDT", 8);
    put(root.bytes + 4, 35, 4);
    read_machine();
    assert_false(info.found || info.has_madt);
    put(root.bytes + 4, 4096, 4); /* longer than the memory that is there */
    read_machine();
    assert_false(info.found || info.has_madt);
}

static void one_bad_table_among_good_ones(void **state)
{
    (void)state;
    madt.bytes[50] ^= 1;
    read_machine();
    assert_true(info.found && info.has_mcfg);
    assert_false(info.has_madt);
    assert_int_equal(info.cpus, 0);
}

static void a_long_root(void **state)
{
    enum { ENTRIES = 4000 };
    static uint8_t bytes[ACPI_HEADER_BYTES + ENTRIES * 8];

    (void)state;
    memcpy(bytes, "XSDT", 4);
    put(bytes + 4, sizeof(bytes), 4);
    for (unsigned i = 0; i < ENTRIES; i++)
        put(bytes + ACPI_HEADER_BYTES + i * 8, 0xdead0000, 8);
    fix_sum(bytes, sizeof(bytes), 9);
    build_rsdp(2, 0, 0x50000000);
    fake_io_add(0x50000000, bytes, sizeof(bytes));
    read_machine();
    assert_true(info.found);
    assert_int_equal(fake_io_refused, ACPI_MAX_TABLES);
}

static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint64_t random_below(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 11) % n;
}

/* Damage with checksums that are right again: only bounds are left to save us. */
static void damaged_tables(void **state)
{
    struct table *const tables[] = {&madt, &mcfg, &root};
    unsigned usable = 0;

    for (unsigned round = 0; round < 5000; round++) {
        struct table *victim = tables[random_below(ARRAY_COUNT(tables))];

        (void)machine(state);
        for (uint64_t n = random_below(4) + 1; n > 0; n--)
            victim->bytes[random_below(victim->count)] = (uint8_t)random_below(256);
        uint32_t length;
        memcpy(&length, victim->bytes + 4, 4);
        if (length >= ACPI_HEADER_BYTES && length <= sizeof(victim->bytes))
            fix_sum(victim->bytes, length, 9);
        read_machine();
        usable += info.has_madt && info.has_mcfg;
    }
    assert_true(usable > 100 && usable < 4900); /* else this teaches nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_machine, machine),
        cmocka_unit_test_setup(an_old_machine, machine),
        cmocka_unit_test_setup(no_acpi, machine),
        cmocka_unit_test_setup(rsdp_errors, machine),
        cmocka_unit_test_setup(header_lengths, machine),
        cmocka_unit_test_setup(root_entries, machine),
        cmocka_unit_test_setup(truncated_tables, machine),
        cmocka_unit_test_setup(wrong_sums_and_names, machine),
        cmocka_unit_test_setup(bad_structures, machine),
        cmocka_unit_test_setup(apics_of_both_kinds, machine),
        cmocka_unit_test_setup(bad_ecam, machine),
        cmocka_unit_test_setup(a_root_in_circles, machine),
        cmocka_unit_test_setup(roots_that_are_none, machine),
        cmocka_unit_test_setup(one_bad_table_among_good_ones, machine),
        cmocka_unit_test_setup(a_long_root, machine),
        cmocka_unit_test_setup(damaged_tables, machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
