#include "hv/vm/acpi.h"

#include "hv/base/bits.h"
#include "hv/base/string.h"
#include "hv/vm/aml.h"
#include "hv/vm/apic.h"
#include "hv/vm/platform.h"

/* Offsets and values by the specification's names. */
#define RSDP_BYTES      36u
#define RSDP_ROOM       48u /* the DSDT comes behind it */
#define RSDP_V0_BYTES   20u
#define RSDP_CHECKSUM   8u
#define RSDP_REVISION   2u
#define RSDP_EXTENDED   32u /* checksum of all */

#define HEADER_LENGTH   4u
#define HEADER_CHECKSUM 9u
#define TABLE_ALIGN     16u

#define FADT_REVISION   6u
#define FADT_MINOR      5u
#define FADT_DSDT       40u
#define FADT_X_DSDT     140u

/* IA-PC Boot Architecture Flags; no legacy devices, no 8042. */
#define BOOT_NO_VGA      BIT(2)
#define BOOT_NO_CMOS_RTC BIT(5)

/* Fixed feature flags. There are no buttons, and no RTC that could wake. */
#define FADT_WBINVD        BIT(0)
#define FADT_PROC_C1       BIT(2)
#define FADT_PWR_BUTTON    BIT(4)
#define FADT_SLP_BUTTON    BIT(5)
#define FADT_FIX_RTC       BIT(6)
#define FADT_RESET_REG_SUP BIT(10)
#define FADT_HW_REDUCED    BIT(20)

/* Generic Address Structure of a port of one byte: I/O space, 8 bits, from bit 0, accessed as a byte. */
#define GAS_BYTE_PORT    (1u | 8u << 8 | 0u << 16 | 1u << 24)

#define NO_C2            101u /* microseconds; more than 100: not supported */
#define NO_C3            1001u

#define MADT_REVISION    5u
#define MADT_LOCAL_APIC  (0u | 8u << 8) /* type, length */
#define MADT_ENABLED     BIT(0)

#define DSDT_REVISION    2u /* 64-bit integers */
#define PCI_BUSES        1u
#define PCI_CONFIG_PORTS 0xcf8u
#define PCI_CONFIG_COUNT 8u
#define ECAM_BUS_BYTES   MIB(1)

#define OEM              "BARVIS"
#define OEM_BYTES        6u
#define HEADER_BYTES     36u

/* ---- tables ---- */

/* A hole in a table: reserved, or not for this kind of machine. */
static void skip_to(struct aml *aml, size_t end)
{
    while (aml->count < end && !aml->full)
        aml_put(aml, 0, 1);
}

static size_t table_open(struct aml *aml, const char *signature, unsigned revision)
{
    size_t at = ALIGN_UP(aml->count, TABLE_ALIGN);

    skip_to(aml, at);
    aml_copy(aml, signature, 4);
    aml_put(aml, (uint64_t)revision << 32,
            6); /* between length and checksum, which come at the end */
    aml_copy(aml, OEM "BARVISOR\1\0\0\0BARV\1\0\0", HEADER_BYTES - 10);
    return at;
}

static void sum(uint8_t *bytes, size_t count, size_t where)
{
    uint8_t total = 0;

    for (size_t i = 0; i < count; i++)
        total = (uint8_t)(total + bytes[i]);
    bytes[where] = (uint8_t)(bytes[where] - total);
}

static void table_close(struct aml *aml, size_t at)
{
    uint32_t bytes = (uint32_t)(aml->count - at);

    if (aml->full)
        return;
    memcpy(aml->bytes + at + HEADER_LENGTH, &bytes, sizeof(bytes));
    sum(aml->bytes + at, bytes, HEADER_CHECKSUM);
}

/* The fields that are not zero; X_DSDT, like DSDT, gets its value from the caller. */
static const struct {
    uint16_t offset;
    uint8_t bytes;
    uint32_t value;
} fadt_fields[] = {
    {FADT_DSDT, 4, 0},
    {96, 2, NO_C2},
    {98, 2, NO_C3},
    {109, 2, BOOT_NO_VGA | BOOT_NO_CMOS_RTC},
    {112, 4,
     FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_FIX_RTC |
         FADT_RESET_REG_SUP | FADT_HW_REDUCED},
    {116, 4, GAS_BYTE_PORT}, /* RESET_REG */
    {120, 8, PLATFORM_RESET_PORT},
    {128, 1, PLATFORM_RESET_VALUE},
    {131, 1, FADT_MINOR},
    {FADT_X_DSDT, 8, 0},
    {244, 4, GAS_BYTE_PORT}, /* SLEEP_CONTROL_REG */
    {248, 8, PLATFORM_SLEEP_PORT},
    {256, 4, GAS_BYTE_PORT}, /* SLEEP_STATUS_REG */
    {260, 8, PLATFORM_SLEEP_STATUS_PORT},
};

static void put_fadt(struct aml *aml, uint64_t dsdt)
{
    size_t at = table_open(aml, "FACP", FADT_REVISION);

    for (unsigned i = 0; i < ARRAY_COUNT(fadt_fields); i++) {
        uint16_t offset = fadt_fields[i].offset;

        skip_to(aml, at + offset);
        aml_put(aml, offset == FADT_DSDT || offset == FADT_X_DSDT ? dsdt : fadt_fields[i].value,
                fadt_fields[i].bytes);
    }
    aml_copy(aml, "Barvisor", 8); /* Hypervisor Vendor Identity, the last field */
    table_close(aml, at);
}

static void put_madt(struct aml *aml, unsigned cpus)
{
    size_t at = table_open(aml, "APIC", MADT_REVISION);

    aml_put(aml, APIC_BASE_DEFAULT, 8);    /* and flags: no PCAT_COMPAT, there are no 8259s */
    for (unsigned id = 0; id < cpus; id++) /* type and length, its _UID, its APIC id, flags */
        aml_put(aml, MADT_ENABLED << 32 | id << 24 | id << 16 | MADT_LOCAL_APIC, 8);
    table_close(aml, at);
}

static void put_mcfg(struct aml *aml, uint64_t ecam_base)
{
    size_t at = table_open(aml, "MCFG", 1);

    aml_put(aml, 0, 8);
    aml_put(aml, ecam_base, 8);
    aml_put(aml, (PCI_BUSES - 1) << 24, 8); /* segment 0, from bus 0 to the last */
    table_close(aml, at);
}

/* ---- DSDT ---- */

/*
 * _OSC of a PCI Express host bridge (PCI Firmware 4.5.1), Arg0 the UUID, Arg1 the revision, Arg3 the capabilities: the guest
 * may have the PCI Express capabilities, which the firmware that is not there does not want. There are no hot-plug
 * slots, no power management events, no error reporting to give away.
 */
static const uint8_t osc[] = {
    0x14, 0x42, 0x07, '_',  'O',  'S',  'C',  4,       /* Method (_OSC, 4) { */
    0x8a, 0x6b, 0x00, 'C',  'D',  'W',  '1',           /*   CreateDWordField (Arg3, 0, CDW1) */
    0xa0, 0x44, 0x05,                                  /*   If (Arg0 == the UUID */
    0x93, 0x68, 0x11, 0x13, 0x0a, 0x10,                /*       of host bridges */
    0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40,    /*       33db4d5b-1ff7-401c- */
    0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66,    /*       9657-7441c03dd766) { */
    0x8a, 0x6b, 0x0a, 0x08, 'C',  'D',  'W',  '3',     /*     CreateDWordField (Arg3, 8, CDW3) */
    0xa0, 0x10, 0x92, 0x93, 0x69, 0x01,                /*     If (Arg1 != 1) { */
    0x7d, 'C',  'D',  'W',  '1',  0x0a, 0x08,          /*       CDW1 |= 8: no such revision */
    'C',  'D',  'W',  '1',                             /*     } */
    0xa0, 0x22, 0x7b, 'C',  'D',  'W',  '3',           /*     If (CDW3 & */
    0x0c, 0xef, 0xff, 0xff, 0xff, 0x00,                /*         ~0x10) { */
    0x7d, 'C',  'D',  'W',  '1',  0x0a, 0x10,          /*       CDW1 |= 0x10: not all granted */
    'C',  'D',  'W',  '1',                             /* */
    0x7b, 'C',  'D',  'W',  '3',  0x0a, 0x10,          /*       CDW3 &= 0x10 */
    'C',  'D',  'W',  '3',                             /*   } } */
    0xa1, 0x0c, 0x7d, 'C',  'D',  'W',  '1',  0x0a, 4, /*   Else { CDW1 |= 4: unknown UUID */
    'C',  'D',  'W',  '1',                             /*   } */
    0xa4, 0x6b,                                        /*   Return (Arg3) } */
};

/* \_S5: what power-off writes to the sleep control register; the other elements are for machines with PM1 registers. */
static const uint8_t s5[] = {
    0x08, '_',
    'S',  '5',
    '_',  0x12,
    0x08, 4, /* Name (_S5, Package (4) { */
    0x0a, PLATFORM_SLEEP_S5,
    0x0a, PLATFORM_SLEEP_S5,
    0,    0,
};

/* The scope \_SB in lines, which take fewer bytes than code that says the same. */
enum line_kind {
    BLOCK,     /* name, AML_SCOPE or AML_DEVICE */
    RESOURCES, /* name: what follows is a resource template */
    INTEGER,   /* name, its value */
    PORTS,     /* first, count in the upper half */
    ECAM,
    BUSES,
    WINDOW, /* of the platform's that index */
    OSC,
    END, /* of a block */
    END_RESOURCES,
};

struct line {
    uint8_t kind;
    char name[AML_NAME_BYTES];
    uint32_t value;
} __attribute__((packed));

#define NO_NAME \
    {           \
        '\0'    \
    }
#define PORTS_OF(first, count) ((first) | (uint32_t)(count) << 16)
#define MAX_DEPTH              3u

static const struct line system_bus[] = {
    {BLOCK, "_SB_", AML_SCOPE},
    {BLOCK, "PCI0", AML_DEVICE},
    {INTEGER, "_HID", AML_PNP_ID(0x0a08)},
    {INTEGER, "_CID", AML_PNP_ID(0x0a03)},
    {INTEGER, "_SEG", 0},
    {INTEGER, "_BBN", 0},
    {INTEGER, "_UID", 0},
    {RESOURCES, "_CRS", 0},
    {BUSES, NO_NAME, 0},
    {PORTS, NO_NAME, PORTS_OF(PCI_CONFIG_PORTS, PCI_CONFIG_COUNT)},
    {WINDOW, NO_NAME, ACPI_IO},
    {WINDOW, NO_NAME, ACPI_MEMORY32},
    {WINDOW, NO_NAME, ACPI_MEMORY64},
    {END_RESOURCES, NO_NAME, 0},
    {OSC, NO_NAME, 0},
    {END, NO_NAME, 0},

    /* Config space in memory is reserved outside the bridge (PCI Firmware 4.1.2); so are ports that nothing else names. */
    {BLOCK, "BRD0", AML_DEVICE},
    {INTEGER, "_HID", AML_PNP_ID(0x0c02)},
    {INTEGER, "_UID", 0},
    {RESOURCES, "_CRS", 0},
    {ECAM, NO_NAME, 0},
    {PORTS, NO_NAME, PORTS_OF(PLATFORM_SLEEP_PORT, 2)},
    {PORTS, NO_NAME, PORTS_OF(PLATFORM_DEBUG_EXIT_PORT, 1)},
    {END_RESOURCES, NO_NAME, 0},
    {END, NO_NAME, 0},

    /* The UART, without an interrupt: drivers poll it. */
    {BLOCK, "COM1", AML_DEVICE},
    {INTEGER, "_HID", AML_PNP_ID(0x0501)},
    {INTEGER, "_UID", 0},
    {RESOURCES, "_CRS", 0},
    {PORTS, NO_NAME, PORTS_OF(PLATFORM_UART_PORT, PLATFORM_UART_PORTS)},
    {END_RESOURCES, NO_NAME, 0},
    {END, NO_NAME, 0},
    {END, NO_NAME, 0},
};

static void put_window(struct aml *aml, uint32_t index, const struct acpi_window *window)
{
    if (window->base < window->end)
        aml_window(aml, index == ACPI_IO ? AML_WINDOW_IO : AML_WINDOW_MEMORY, 2u << index,
                   window->base, window->end - 1);
}

/* Of what a line opens, returns the place; a line that ends something is given that. */
static size_t put_line(struct aml *aml, const struct line *line,
                       const struct acpi_platform *platform, size_t opened)
{
    switch ((enum line_kind)line->kind) {
    case BLOCK:
        return aml_open(aml, line->value, line->name);
    case RESOURCES:
        aml_name(aml, line->name);
        return aml_open(aml, AML_BUFFER, NULL);
    case INTEGER:
        aml_name(aml, line->name);
        aml_integer(aml, line->value);
        break;
    case PORTS:
        aml_io_ports(aml, (uint16_t)line->value, (uint8_t)(line->value >> 16));
        break;
    case ECAM:
        aml_memory32(aml, (uint32_t)platform->ecam_base, PCI_BUSES * (uint32_t)ECAM_BUS_BYTES);
        break;
    case BUSES:
        aml_window(aml, AML_WINDOW_BUSES, 2, 0, PCI_BUSES - 1);
        break;
    case WINDOW:
        put_window(aml, line->value, &platform->window[line->value]);
        break;
    case OSC:
        aml_copy(aml, osc, sizeof(osc));
        break;
    case END_RESOURCES:
        aml_end_tag(aml, opened);
        break;
    case END:
        aml_close(aml, opened);
        break;
    }
    return 0;
}

static void put_dsdt(struct aml *aml, const struct acpi_platform *platform)
{
    size_t at = table_open(aml, "DSDT", DSDT_REVISION), opened[MAX_DEPTH + 1] = {0}, place;
    unsigned depth = 0;

    for (unsigned i = 0; i < ARRAY_COUNT(system_bus); i++) {
        if (system_bus[i].kind >= END)
            depth--;
        place = put_line(aml, &system_bus[i], platform, opened[depth]);
        if (system_bus[i].kind <= RESOURCES)
            opened[depth++] = place;
    }
    aml_copy(aml, s5, sizeof(s5));
    table_close(aml, at);
}

/* ---- all of them ---- */

static void put_rsdp(uint8_t *to, uint64_t xsdt)
{
    struct aml aml = {.bytes = to, .room = RSDP_BYTES};

    aml_copy(&aml, "RSD PTR " /* a zero for the checksum */, 9);
    aml_copy(&aml, OEM, OEM_BYTES);
    aml_put(&aml, RSDP_REVISION, 1);
    aml_put(&aml, (uint64_t)RSDP_BYTES << 32, 8); /* behind the address of an RSDT: none */
    aml_put(&aml, xsdt, 8);
    sum(to, RSDP_V0_BYTES, RSDP_CHECKSUM);
    sum(to, RSDP_BYTES, RSDP_EXTENDED);
}

/* Where the table that comes next will begin. */
static uint64_t next_at(const struct aml *aml, uint64_t gpa)
{
    return gpa + ALIGN_UP(aml->count, TABLE_ALIGN);
}

size_t acpi_tables_build(void *to, size_t bytes, uint64_t gpa, const struct acpi_platform *platform)
{
    struct aml aml = {.bytes = to, .room = bytes};
    uint64_t fadt, madt, mcfg, xsdt;
    size_t at;

    skip_to(&aml, RSDP_ROOM);
    put_dsdt(&aml, platform);
    fadt = next_at(&aml, gpa);
    put_fadt(&aml, gpa + RSDP_ROOM);
    madt = next_at(&aml, gpa);
    put_madt(&aml, platform->cpus);
    mcfg = next_at(&aml, gpa);
    put_mcfg(&aml, platform->ecam_base);
    xsdt = next_at(&aml, gpa);
    at = table_open(&aml, "XSDT", 1);
    aml_put(&aml, fadt, 8);
    aml_put(&aml, madt, 8);
    aml_put(&aml, mcfg, 8);
    table_close(&aml, at);
    if (aml.full)
        return 0;
    put_rsdp(to, xsdt);
    return aml.count;
}
