/*
 * Owns:     the names of PCI configuration space, type 0 (PCI Local Bus 3.0 chapter 6).
 * Promises: offsets of dwords; fields as masks within their dword.
 * Needs:    hv/base/bits.h.
 * Never:    state.
 */
#ifndef HV_PCI_CONFIG_H
#define HV_PCI_CONFIG_H

#include "hv/base/bits.h"

#define PCI_CONFIG_BYTES 0x1000u

/* Dwords that the core owns; every other one is the device's. */
#define PCI_CFG_ID               0x00u
#define PCI_CFG_COMMAND          0x04u /* STATUS in the upper half */
#define PCI_CFG_CLASS            0x08u
#define PCI_CFG_HEADER_TYPE      0x0cu /* with cache line size, latency timer, BIST: all 0 here */
#define PCI_CFG_BAR0             0x10u
#define PCI_CFG_BAR5             0x24u
#define PCI_CFG_SUBSYSTEM        0x2cu
#define PCI_CFG_ROM              0x30u
#define PCI_CFG_CAPABILITY       0x34u /* the device's: its first capability */

#define PCI_ID_VENDOR            BITS(15, 0)
#define PCI_ID_DEVICE            BITS(31, 16)

#define PCI_COMMAND_IO           BIT(0)
#define PCI_COMMAND_MEMORY       BIT(1)
#define PCI_COMMAND_BUS_MASTER   BIT(2)
#define PCI_COMMAND_INTX_DISABLE BIT(10)
#define PCI_COMMAND_MASK         BITS(15, 0)
#define PCI_STATUS_MASK          BITS(31, 16)
#define PCI_STATUS_CAPABILITIES  BIT(4) /* within STATUS */

#define PCI_CLASS_REVISION       BITS(7, 0)
#define PCI_CLASS_PROG_IF        BITS(15, 8)
#define PCI_CLASS_SUB            BITS(23, 16)
#define PCI_CLASS_BASE           BITS(31, 24)
#define PCI_CLASS_BRIDGE         0x06u /* base class; subclass 0 is a host bridge */

#define PCI_BAR_IO               BIT(0)
#define PCI_BAR_TYPE             BITS(2, 1)
#define PCI_BAR_TYPE_32          0u
#define PCI_BAR_TYPE_64          2u
#define PCI_BAR_MEMORY_KIND      BITS(3, 0)
#define PCI_BAR_IO_KIND          BITS(1, 0)
#define PCI_ROM_ENABLE           BIT(0)
#define PCI_ROM_RESERVED         BITS(10, 1)

/* CONFIG_ADDRESS and CONFIG_DATA. */
#define PCI_PORT_ADDRESS     0xcf8u
#define PCI_PORT_COUNT       8u
#define PCI_PORT_DATA_OFFSET 4u /* from PCI_PORT_ADDRESS */
#define PCI_ADDRESS_ENABLE   BIT(31)
#define PCI_ADDRESS_BUS      BITS(23, 16)
#define PCI_ADDRESS_SLOT     BITS(15, 11)
#define PCI_ADDRESS_FUNCTION BITS(10, 8)
#define PCI_ADDRESS_REGISTER BITS(7, 2) /* of a dword */
#define PCI_ADDRESS_WRITABLE (PCI_ADDRESS_ENABLE | BITS(23, 2))

#endif
