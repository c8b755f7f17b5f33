/*
 * Owns:     access to the machine's PCI configuration space.
 * Promises: aligned dwords; all ones where nothing answers.
 * Needs:    ports 0xCF8 and 0xCFC; hv/mem/view.h for memory-mapped configuration (ECAM), one bus at a time.
 * Never:    meanings of registers.
 *
 * PCI Local Bus 3.0 "Configuration Mechanism #1", PCI Express Base 4.0 "Enhanced Configuration Access Mechanism".
 */
#ifndef DRIVERS_HOST_HOSTPCI_CONFIG_H
#define DRIVERS_HOST_HOSTPCI_CONFIG_H

#include "hv/base/types.h"

struct hostpci_address {
    uint8_t bus, device, function;
};

#define HOSTPCI_CONFIG_BYTES   0x100u
#define HOSTPCI_EXTENDED_BYTES 0x1000u

/* reg: a multiple of 4 below HOSTPCI_EXTENDED_BYTES; from HOSTPCI_CONFIG_BYTES on only with ECAM. */
uint32_t hostpci_config_read(struct hostpci_address at, uint16_t reg);
void hostpci_config_write(struct hostpci_address at, uint16_t reg, uint32_t value);

/*
 * Use ECAM from now on for the buses that it has. False: the ports and it do not say the same about bus 0, or it
 * cannot be mapped; then the ports stay in use.
 */
bool hostpci_config_use_ecam(uint64_t base, uint8_t first_bus, uint8_t last_bus);

#endif
