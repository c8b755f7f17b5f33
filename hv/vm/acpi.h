/*
 * Owns:     the ACPI tables that a guest finds: RSDP, XSDT, FADT, MADT, MCFG, DSDT.
 * Promises: pure; all of them or none; what they say is what the virtual platform has, and nothing that it lacks. The
 *           guest needs no other way to the machine: hardware-reduced ACPI, no interrupt controller but local APICs.
 * Needs:    hv/vm/aml.h, hv/vm/platform.h (the ports), hv/vm/apic.h.
 * Never:    guest memory: the caller says where the tables are and will be.
 *
 * ACPI 6.5 chapter 5 "ACPI Software Programming Model", PCI Firmware 3.3 chapter 4.
 */
#ifndef HV_VM_ACPI_H
#define HV_VM_ACPI_H

#include "hv/base/types.h"

/* Where guests without start information look for an RSDP (ACPI 5.2.5.1), and what is set aside for all tables. */
#define ACPI_TABLES_GPA   0xe0000ull
#define ACPI_TABLES_BYTES 0x2000ull

/* For BARs, in the order of their width: [base, end); empty: there is none. */
enum acpi_window_index { ACPI_IO, ACPI_MEMORY32, ACPI_MEMORY64, ACPI_WINDOWS };

struct acpi_window {
    uint64_t base, end;
};

struct acpi_platform {
    unsigned cpus;      /* with APIC ids from 0 on, below 255 */
    uint64_t ecam_base; /* of bus 0, below 4 GiB */
    struct acpi_window window[ACPI_WINDOWS];
};

/*
 * Writes the tables to `to`, at most `bytes`, for a guest that sees them at `gpa`, below 4 GiB; the RSDP is first. Returns how
 * many bytes they take; 0: they do not fit, and what was written is of no use.
 */
size_t acpi_tables_build(void *to, size_t bytes, uint64_t gpa,
                         const struct acpi_platform *platform) MUST_CHECK;

#endif
