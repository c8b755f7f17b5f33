/*
 * The ACPI tables as a guest finds them: from the start information and by a search, what they say against what the machine
 * does. Offsets and values are the specification's (ACPI 6.5 chapter 5).
 */
#include "tests/guest/guest.h"

#define SEARCH_START    0xe0000u
#define SEARCH_END      0x100000u
#define MAPPED          0x40000000u /* from 0 on, as start.asm has it */
#define MAX_BYTES       0x100000u
#define MAX_TABLES      32u

#define CPUID_APIC      (1u << 9)
#define MSR_APIC_BASE   0x1bu
#define RESET_PORT      0xcf9u
#define CONFIG_ADDRESS  0xcf8u

#define FADT_HW_REDUCED (1u << 20)
#define FADT_RESET_SUP  (1u << 10)

static uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t v = 0;

    memcpy(&v, at, bytes);
    return v;
}

static bool has_signature(const uint8_t *at, const char *signature)
{
    while (*signature != '\0')
        if (*at++ != (uint8_t)*signature++)
            return false;
    return true;
}

static uint8_t sum(const uint8_t *at, uint64_t bytes)
{
    uint8_t total = 0;

    for (uint64_t k = 0; k < bytes; k++)
        total = (uint8_t)(total + at[k]);
    return total;
}

static bool is_rsdp(const uint8_t *at)
{
    return has_signature(at, "RSD PTR ") && sum(at, 20) == 0;
}

static const uint8_t *search(void)
{
    const uint8_t *at = (const uint8_t *)(uintptr_t)SEARCH_START;

    for (unsigned k = 0; k < SEARCH_END - SEARCH_START; k += 16)
        if (is_rsdp(at + k))
            return at + k;
    return NULL;
}

static const uint8_t *rsdp(void)
{
    const uint8_t *told = (const uint8_t *)(uintptr_t)start_info()->rsdp;

    return told != NULL && is_rsdp(told) ? told : search();
}

/* NULL: not where it can be read, or its sum is wrong. */
static const uint8_t *table_at(uint64_t gpa)
{
    const uint8_t *table = (const uint8_t *)(uintptr_t)gpa;
    uint64_t bytes;

    if (gpa == 0 || gpa >= MAPPED - MAX_BYTES)
        return NULL;
    bytes = get(table + 4, 4);
    return bytes >= 36 && bytes <= MAX_BYTES && sum(table, bytes) == 0 ? table : NULL;
}

static const uint8_t *root(unsigned *entry_bytes)
{
    const uint8_t *r = rsdp();

    if (r == NULL)
        return NULL;
    *entry_bytes = r[15] >= 2 && get(r + 24, 8) != 0 ? 8 : 4;
    return table_at(*entry_bytes == 8 ? get(r + 24, 8) : get(r + 16, 4));
}

/* All that the root names, bad ones as NULL. */
static unsigned tables(const uint8_t *found[MAX_TABLES])
{
    unsigned entry_bytes = 8, count = 0;
    const uint8_t *r = root(&entry_bytes);

    for (uint64_t at = 36; r != NULL && at < get(r + 4, 4) && count < MAX_TABLES; at += entry_bytes)
        found[count++] = table_at(get(r + at, entry_bytes));
    return count;
}

static const uint8_t *table(const char *signature)
{
    const uint8_t *found[MAX_TABLES];
    unsigned count = tables(found);

    for (unsigned k = 0; k < count; k++)
        if (found[k] != NULL && has_signature(found[k], signature))
            return found[k];
    return NULL;
}

static const uint8_t *dsdt(void)
{
    const uint8_t *fadt = table("FACP");

    if (fadt == NULL)
        return NULL;
    return table_at(get(fadt + 4, 4) >= 148 && get(fadt + 140, 8) != 0 ? get(fadt + 140, 8)
                                                                       : get(fadt + 40, 4));
}

/* ---- checks ---- */

static void from_start_info(unsigned i)
{
    const uint8_t *r = (const uint8_t *)(uintptr_t)start_info()->rsdp;

    (void)i;
    if (r == NULL) {
        skip("the start information names no RSDP");
        return;
    }
    expect(has_signature(r, "RSD PTR "), "signature");
    expect_eq("sum of 20 bytes", sum(r, 20), 0);
    if (on_barvisor())
        expect_eq("revision", r[15], 2);
    if (r[15] >= 2) {
        expect_eq("length", get(r + 20, 4), 36);
        expect_eq("sum of all bytes", sum(r, 36), 0);
    }
}

static void by_search(unsigned i)
{
    const uint8_t *r = search();

    (void)i;
    if (expect(r != NULL, "an RSDP from 0xe0000 on") && start_info()->rsdp != 0)
        expect_eq("where the start information says", (uint64_t)(uintptr_t)r, start_info()->rsdp);
}

static void whole(unsigned i)
{
    const uint8_t *found[MAX_TABLES];
    unsigned count = tables(found);

    (void)i;
    for (unsigned k = 0; k < count; k++)
        expect(found[k] != NULL, "a table whose length and sum are right");
    expect(table("FACP") != NULL, "FADT");
    expect(table("APIC") != NULL, "MADT");
    expect(dsdt() != NULL && has_signature(dsdt(), "DSDT"), "DSDT");
    if (on_barvisor()) {
        expect_eq("tables", count, 3);
        expect(table("MCFG") != NULL, "MCFG");
    }
}

static bool inside(const struct memory_entry *e, const uint8_t *at, uint64_t bytes)
{
    uint64_t start = (uint64_t)(uintptr_t)at;

    return e->base <= start && start + bytes <= e->base + e->bytes;
}

/* Of all RAM that a guest may take at once nothing holds a table. */
static void memory_map(unsigned i)
{
    const struct memory_entry *e = (const struct memory_entry *)(uintptr_t)start_info()->memory_map;
    const uint8_t *found[MAX_TABLES + 1];
    unsigned count = tables(found), acpi = 0;

    (void)i;
    if (start_info()->version < 1 || start_info()->memory_entries == 0) {
        skip("the start information has no memory map");
        return;
    }
    found[count++] = dsdt();
    for (unsigned k = 0; k < start_info()->memory_entries; k++) {
        if (e[k].type == MEMORY_ACPI)
            acpi++;
        if (k > 0)
            expect(e[k - 1].base + e[k - 1].bytes <= e[k].base, "the map is sorted");
        for (unsigned t = 0; t < count; t++) {
            if (e[k].type == MEMORY_RAM)
                expect(!inside(&e[k], found[t], 1), "no table in RAM that is free");
            if (on_barvisor() && e[k].type == MEMORY_ACPI)
                expect(inside(&e[k], found[t], get(found[t] + 4, 4)), "a table in its place");
        }
    }
    if (on_barvisor())
        expect_eq("pieces with tables", acpi, 1);
}

static void madt(unsigned i)
{
    const uint8_t *t = table("APIC");
    uint32_t id = cpuid(1, 0).b >> 24;
    unsigned mine = 0, others = 0;

    (void)i;
    if (!expect(t != NULL, "MADT"))
        return;
    for (uint64_t at = 44; at < get(t + 4, 4) && t[at + 1] >= 2; at += t[at + 1])
        if (t[at] == 0 && (t[at + 4] & 1) != 0) { /* enabled */
            if (t[at + 3] == id)
                mine++;
            else
                others++;
        }
    expect_eq("local APIC of this CPU", mine, 1);
    if (cpuid(1, 0).d & CPUID_APIC)
        expect_eq("address", get(t + 36, 4), rdmsr(MSR_APIC_BASE) & 0xfffffffffffff000ull);
    if (on_barvisor()) {
        expect_eq("other CPUs", others, 0);
        expect_eq("flags", get(t + 40, 4), 0);
    }
}

/* The window against the ports, function by function. */
static void mcfg(unsigned i)
{
    const uint8_t *t = table("MCFG");
    uint64_t base;

    (void)i;
    if (t == NULL && !on_barvisor()) {
        skip("no MCFG");
        return;
    }
    if (!expect(t != NULL && get(t + 4, 4) >= 60, "MCFG"))
        return;
    base = get(t + 44, 8);
    expect_eq("segment and first bus", get(t + 52, 3), 0);
    if (on_barvisor())
        expect_eq("last bus", t[55], 0);
    for (unsigned slot = 0; slot < 32; slot++) {
        map(GVA_TMP, base + slot * 8 * PAGE, PAGE, PAGE, 3); /* UC */
        for (unsigned o = 0; o < 64; o += 4)
            expect_eq("dword", load(GVA_TMP + o, 4), pci_read(slot, 0, o, 4));
        unmap(GVA_TMP, PAGE, PAGE);
    }
}

/* A Generic Address Structure of 8 bits in I/O space. */
static bool byte_port(const uint8_t *at, uint16_t *port)
{
    *port = (uint16_t)get(at + 4, 8);
    return expect_eq("space, width, offset", get(at, 3), 0x000801) &&
           expect(get(at + 4, 8) < 0x10000, "a port");
}

static const uint8_t *our_fadt(void)
{
    const uint8_t *t = table("FACP");

    if (!on_barvisor()) {
        skip("these tables are another machine's");
        return NULL;
    }
    return expect(t != NULL, "FADT") ? t : NULL;
}

static void fadt(unsigned i)
{
    const uint8_t *t = our_fadt();

    (void)i;
    if (t == NULL)
        return;
    expect_eq("length", get(t + 4, 4), 276);
    expect_eq("revision", t[8], 6);
    expect_eq("FACS", get(t + 36, 4) | get(t + 132, 8), 0);
    expect_eq("DSDT in both fields", get(t + 40, 4), get(t + 140, 8));
    expect_eq("boot architecture: no VGA, no CMOS RTC, nothing legacy", get(t + 109, 2), 0x24);
    expect_eq("hardware-reduced, with a reset register",
              get(t + 112, 4) & (FADT_HW_REDUCED | FADT_RESET_SUP),
              FADT_HW_REDUCED | FADT_RESET_SUP);
    expect_eq("no PM1, timer, GPE registers", sum(t + 48, 44) | sum(t + 148, 96), 0);
}

/* What does not reset the machine; on any that has this one. */
static void reset_register(unsigned i)
{
    const uint8_t *t = table("FACP");
    uint32_t address = 0x80000800u;
    uint16_t port;

    (void)i;
    if (!on_barvisor() && (t == NULL || get(t + 120, 8) != RESET_PORT)) {
        skip("another reset register");
        return;
    }
    if (!expect(t != NULL && (get(t + 112, 4) & FADT_RESET_SUP) != 0, "a reset register") ||
        !byte_port(t + 116, &port) || !expect_eq("port", port, RESET_PORT))
        return;
    outl(CONFIG_ADDRESS, address);
    outb(port, 0x02);
    expect_eq("read back", inb(port), 0x02);
    outb(port, 0x0a);
    expect_eq("full reset, not asked for yet", inb(port), 0x0a);
    outb(port, 0xf1);
    expect_eq("bits without a meaning", inb(port), 0);
    expect_eq("CONFIG_ADDRESS, which lies around it", inl(CONFIG_ADDRESS), address);
}

/* It is a byte wide. */
static void reset_too_wide(unsigned i)
{
    uint32_t address = 0x80000900u;

    (void)i;
    if (our_fadt() == NULL)
        return;
    outl(CONFIG_ADDRESS, address);
    outw(RESET_PORT, 0x0606);
    outl(RESET_PORT, 0x06060606);
    outw(RESET_PORT - 1, 0x0600);
    expect_eq("a word", inw(RESET_PORT), 0xffff);
    expect_eq("CONFIG_ADDRESS, which lies around it", inl(CONFIG_ADDRESS), address);
}

/* What does not switch it off. */
static void sleep_registers(unsigned i)
{
    const uint8_t *t = our_fadt();
    uint16_t control, status;

    (void)i;
    if (t == NULL || !byte_port(t + 244, &control) || !byte_port(t + 256, &status))
        return;
    expect_eq("status", inb(status), 0);
    outb(status, 0x80); /* how a system clears WAK_STS before it sleeps */
    expect_eq("status after a write", inb(status), 0);
    outb(control, 5 << 2);
    expect_eq("type without enable", inb(control), 5 << 2);
    outb(control, 3 << 2 | 0x20);
    expect_eq("another type; enable reads as zero", inb(control), 3 << 2);
    outw(control, 5 << 2 | 0x20);
    outb(status, 5 << 2 | 0x20);
    outb(control, 0);
    expect_eq("cleared", inb(control), 0);
}

/* ---- what other files want ---- */

bool acpi_reset(void)
{
    const uint8_t *t = table("FACP");

    if (t == NULL)
        return false;
    outb((uint16_t)get(t + 120, 8), t[128]);
    return true;
}

/* The first element of \_S5: behind its name, the package's opcode, length and count there is a byte constant. */
bool acpi_power_off(void)
{
    const uint8_t *t = table("FACP"), *d = dsdt();
    uint64_t end = d == NULL ? 0 : get(d + 4, 4);

    for (uint64_t at = 36; t != NULL && at + 10 < end; at++) {
        if (!has_signature(d + at, "_S5_\x12") || d[at + 7] != 0x0a)
            continue;
        outb((uint16_t)get(t + 260, 8), 0x80);
        outb((uint16_t)get(t + 248, 8), (uint8_t)(d[at + 8] << 2 | 0x20));
        return true;
    }
    return false;
}

static void dump(const uint8_t *at, uint64_t bytes)
{
    say("# table 0x%lx", (uint64_t)(uintptr_t)at);
    for (uint64_t k = 0; k < bytes; k++) {
        if (k % 64 == 0)
            say("\n# bytes ");
        say("%02x", at[k]);
    }
    say("\n");
}

void acpi_dump(void)
{
    const uint8_t *found[MAX_TABLES + 2];
    unsigned entry_bytes = 8, count = tables(found);

    found[count++] = root(&entry_bytes);
    found[count++] = dsdt();
    if (rsdp() != NULL)
        dump(rsdp(), 36);
    for (unsigned k = 0; k < count; k++)
        if (found[k] != NULL)
            dump(found[k], get(found[k] + 4, 4));
}

static const struct check list[] = {
    {"acpi", "RSDP where the start information says", NULL, 0, false, from_start_info},
    {"acpi", "RSDP found by a search below 1 MiB", NULL, 0, false, by_search},
    {"acpi", "every table: length and sum", NULL, 0, false, whole},
    {"acpi", "tables lie in memory that is told as theirs", NULL, 0, false, memory_map},
    {"acpi", "MADT: this CPU's local APIC, and its address", NULL, 0, false, madt},
    {"acpi", "MCFG: the window shows what the ports show", NULL, 0, false, mcfg},
    {"acpi", "FADT: hardware-reduced, no legacy devices", NULL, 0, false, fadt},
    {"acpi", "reset register: what does not reset", NULL, 0, false, reset_register},
    {"acpi", "reset register: too wide a write", NULL, 0, false, reset_too_wide},
    {"acpi", "sleep registers: what does not switch off", NULL, 0, false, sleep_registers},
};

const struct check_list checks_acpi = {list, COUNT_OF(list)};
