/*
 * Owns:     the machine's PCI configuration space for host tests: functions with BARs that can be sized.
 * Promises: behaves like the registers that drivers/host/pci.c uses: COMMAND beside a STATUS whose bits a written
 *           1 clears, BARs that keep only the bits above their size. Counts what real hardware would suffer from.
 * Needs:    drivers/host/hostpci_config.h.
 * Never:    linked into the image.
 */
#ifndef TESTS_FAKE_HOSTPCI_H
#define TESTS_FAKE_HOSTPCI_H

#include "drivers/host/hostpci_config.h"

struct fake_function {
    struct hostpci_address at;
    uint32_t dword[64];
    uint32_t writable[64]; /* bits that a write changes; COMMAND is all writable */
};

void fake_pci_reset(void);

/* Vendor, device and header type; the caller fills in the rest. Valid until the next reset. */
struct fake_function *fake_pci_add(unsigned bus, unsigned device, unsigned function, uint32_t id,
                                   uint8_t header_type);

/* Give it a BAR: `low_bits` are the type bits, `bytes` a power of two; 64-bit ones take two registers. */
void fake_pci_bar(struct fake_function *function, unsigned bar, uint32_t low_bits, uint64_t base,
                  uint64_t bytes);

extern unsigned fake_pci_reads;
extern unsigned fake_pci_harm; /* all ones in a BAR while it was decoded, or a STATUS bit lost */

#endif
