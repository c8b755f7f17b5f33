/*
 * Owns:     what the firmware's ACPI tables say about the machine, as far as the hypervisor asks.
 * Promises: the tables are taken for hostile input: every length is checked before a byte behind it is read, every
 *           checksum before a table is believed; nothing loops. A machine without ACPI, or with tables that
 *           cannot be used, is described as what it has no answer for.
 * Needs:    hv/mem/view.h: tables are mapped read-only, one at a time, and never if they lie in our own memory.
 * Never:    AML.
 *
 * ACPI 6.5 chapter 5 "ACPI Software Programming Model", PCI Firmware 3.3 "MCFG Table Description".
 */
#ifndef DRIVERS_HOST_ACPI_H
#define DRIVERS_HOST_ACPI_H

#include "hv/base/types.h"

struct acpi_info {
    bool found;           /* there is an RSDP and a root table that can be used */
    bool has_madt;        /* the three below */
    uint64_t local_apic;  /* address of the local APICs' page */
    unsigned cpus;        /* that can be used now */
    unsigned cpus_absent; /* that may be added while the machine runs */
    bool has_mcfg;        /* the three below, all of PCI segment 0 */
    uint64_t ecam_base;   /* of bus 0, whether or not it is decoded */
    uint8_t ecam_first_bus, ecam_last_bus;
};

/* ---- parsing: pure. `count` is how many bytes there are; each reads nothing behind them ---- */

#define ACPI_RSDP_BYTES      36u        /* of revision 2; revision 0 has 20 of them */
#define ACPI_HEADER_BYTES    36u        /* of every table but RSDP and FACS */
#define ACPI_MAX_TABLE_BYTES (1u << 20) /* a longer one is not believed */
#define ACPI_MAX_TABLES      256u

/* Where the root table is. */
struct acpi_root {
    uint64_t base;
    unsigned entry_bytes; /* 8: XSDT, 4: RSDT */
};

/* The sum of all bytes is 0 modulo 256. */
bool acpi_sum_is_zero(const uint8_t *bytes, size_t count);

/* False: signature or checksum is wrong, too short, or no root table is named. */
bool acpi_parse_rsdp(const uint8_t *bytes, size_t count, struct acpi_root *root);

/*
 * The length that the header claims; 0: shorter than a header, longer than ACPI_MAX_TABLE_BYTES, or `count` is
 * less than a header. `signature` gets four printable characters and a NUL.
 */
uint32_t acpi_parse_header(const uint8_t *bytes, size_t count, char signature[5]);

/* Entry `index` of a root table of `count` bytes; false: there are no more. */
bool acpi_root_entry(const uint8_t *table, size_t count, unsigned entry_bytes, unsigned index,
                     uint64_t *base);

/* A whole table. False: not one, and *info is as before. */
bool acpi_parse_madt(const uint8_t *table, size_t count, struct acpi_info *info);
bool acpi_parse_mcfg(const uint8_t *table, size_t count, struct acpi_info *info);

/* ---- the machine's tables ---- */

/* `rsdp` 0: the firmware has none. What is found is told in the log unless `quiet`, what is wrong always. */
void acpi_read(uint64_t rsdp, bool quiet, struct acpi_info *info);

#endif
