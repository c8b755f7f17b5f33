/*
 * Owns:     the names of PCI configuration space, type 0 (PCI Local Bus 3.0 chapter 6), and of the extended
 *           capabilities that the core has (PCI Express Base 7.5 and 7.8).
 * Promises: offsets of dwords; fields as masks within their dword.
 * Needs:    hv/base/bits.h.
 * Never:    state.
 */
#ifndef HV_PCI_CONFIG_H
#define HV_PCI_CONFIG_H

#include "hv/base/bits.h"

#define PCI_CONFIG_BYTES 0x1000u
#define PCI_CONFIG_PORTS_BYTES \
    0x100u /* what ports 0xCF8 and 0xCFC reach; the rest is extended space */

/* Dwords that the core owns; every other one is the device's. */
#define PCI_CFG_ID                0x00u
#define PCI_CFG_COMMAND           0x04u /* STATUS in the upper half */
#define PCI_CFG_CLASS             0x08u
#define PCI_CFG_HEADER_TYPE       0x0cu /* with cache line size, latency timer, BIST: all 0 here */
#define PCI_CFG_BAR0              0x10u
#define PCI_CFG_BAR5              0x24u
#define PCI_CFG_SUBSYSTEM         0x2cu
#define PCI_CFG_ROM               0x30u
#define PCI_CFG_CAPABILITY        0x34u /* the device's, when the core offers none */

#define PCI_ID_VENDOR             BITS(15, 0)
#define PCI_ID_DEVICE             BITS(31, 16)

#define PCI_COMMAND_IO            BIT(0)
#define PCI_COMMAND_MEMORY        BIT(1)
#define PCI_COMMAND_BUS_MASTER    BIT(2)
#define PCI_COMMAND_INTX_DISABLE  BIT(10)
#define PCI_COMMAND_MASK          BITS(15, 0)
#define PCI_STATUS_MASK           BITS(31, 16)
#define PCI_STATUS_CAPABILITIES   BIT(4) /* within STATUS */

#define PCI_HEADER_MULTI_FUNCTION BIT(23) /* within PCI_CFG_HEADER_TYPE */

#define PCI_CLASS_REVISION        BITS(7, 0)
#define PCI_CLASS_PROG_IF         BITS(15, 8)
#define PCI_CLASS_SUB             BITS(23, 16)
#define PCI_CLASS_BASE            BITS(31, 24)
#define PCI_CLASS_BRIDGE          0x06u /* base class; subclass 0 is a host bridge */

#define PCI_BAR_IO                BIT(0)
#define PCI_BAR_TYPE              BITS(2, 1)
#define PCI_BAR_TYPE_32           0u
#define PCI_BAR_TYPE_64           2u
#define PCI_BAR_MEMORY_KIND       BITS(3, 0)
#define PCI_BAR_IO_KIND           BITS(1, 0)
#define PCI_ROM_ENABLE            BIT(0)
#define PCI_ROM_RESERVED          BITS(10, 1)

/* The list of capabilities: where the core's begin, and how each begins. */
#define PCI_CAP_FIRST 0x40u
#define PCI_CAP_ID    BITS(7, 0)
#define PCI_CAP_NEXT  BITS(15, 8)

/* Power management (PCI Power Management 1.2 chapter 3): a header and PMCSR. */
#define PCI_POWER_ID            0x01u
#define PCI_POWER_VERSION_1_2   (3u << 16)
#define PCI_POWER_CONTROL       4u
#define PCI_POWER_STATE         BITS(1, 0)
#define PCI_POWER_D0            0u
#define PCI_POWER_D3HOT         3u
#define PCI_POWER_NO_SOFT_RESET BIT(3)

/* MSI with 64-bit addresses and masks (PCI Local Bus 3.0, 6.8.1). */
#define PCI_MSI_ID      0x05u
#define PCI_MSI_ENABLE  BIT(16)
#define PCI_MSI_OFFERED BITS(19, 17) /* 2^n vectors */
#define PCI_MSI_GRANTED BITS(22, 20)
#define PCI_MSI_64BIT   BIT(23)
#define PCI_MSI_MASKS   BIT(24)
#define PCI_MSI_ADDRESS 4u
#define PCI_MSI_UPPER   8u
#define PCI_MSI_DATA    12u
#define PCI_MSI_MASK    16u
#define PCI_MSI_PENDING 20u

/* MSI-X (6.8.2). */
#define PCI_MSIX_ID            0x11u
#define PCI_MSIX_LAST          BITS(26, 16) /* vectors - 1 */
#define PCI_MSIX_FUNCTION_MASK BIT(30)
#define PCI_MSIX_ENABLE        BIT(31)
#define PCI_MSIX_ENTRY_BYTES   16u
#define PCI_MSIX_VECTORS       2048u
#define PCI_MSIX_VECTOR_MASK   BIT(0) /* of the vector control dword */

/* PCI Express (PCI Express Base 7.5.3), the layout of version 2. */
#define PCI_EXPRESS_ID        0x10u
#define PCI_EXPRESS_BYTES     60u
#define PCI_EXPRESS_VERSION_2 (2u << 16)
#define PCI_EXPRESS_ROOT_COMPLEX \
    (9u << 20) /* an integrated endpoint of the root complex: it has no link */
#define PCI_EXPRESS_ROLE_BASED       BIT(15) /* of the device capabilities dword */
#define PCI_EXPRESS_HAS_RESET        BIT(28)
#define PCI_EXPRESS_CONTROL          8u
#define PCI_EXPRESS_REPORTS          BITS(3, 0)
#define PCI_EXPRESS_RELAXED_ORDER    BIT(4)
#define PCI_EXPRESS_NO_SNOOP         BIT(11)
#define PCI_EXPRESS_READ_REQUEST     BITS(14, 12)
#define PCI_EXPRESS_READ_REQUEST_512 2u
#define PCI_EXPRESS_RESET            BIT(15)

/* An extended capability: its header; the first one is at PCI_EXT_FIRST. */
#define PCI_EXT_FIRST   PCI_CONFIG_PORTS_BYTES
#define PCI_EXT_ID      BITS(15, 0)
#define PCI_EXT_VERSION BITS(19, 16)
#define PCI_EXT_NEXT    BITS(31, 20)

/* Resizable BAR: the header, then a capability and a control dword for each such BAR. */
#define PCI_RESIZE_ID           0x0015u
#define PCI_RESIZE_VERSION      1u
#define PCI_RESIZE_HEADER_BYTES 4u
#define PCI_RESIZE_CAPABILITY   0u /* of the pair */
#define PCI_RESIZE_CONTROL      4u
#define PCI_RESIZE_PAIR_BYTES   8u
#define PCI_RESIZE_SIZES        BITS(31, 4) /* bit n of the field: 2^(n + 20) bytes are possible */
#define PCI_RESIZE_BAR          BITS(2, 0)
#define PCI_RESIZE_BAR_COUNT    BITS(7, 5)  /* in the first control dword only */
#define PCI_RESIZE_CURRENT      BITS(13, 8) /* n */
#define PCI_RESIZE_UNIT_SHIFT   20u

/*
 * Where the hypervisor puts BARs, and the guest's firmware tables say that they may be. A guest may move them anywhere. The
 * third window, for 64-bit BARs, begins at PCI_MEM64_START or above the RAM: pci_window().
 */
#define PCI_IO_START    0xc000ull
#define PCI_IO_END      0x10000ull
#define PCI_MEM32_START 0xc0000000ull
#define PCI_MEM32_END \
    PCI_ECAM_BASE /* config space, interrupt controllers and firmware live above */
#define PCI_MEM64_START 0x400000000ull /* 16 GiB */

/* CONFIG_ADDRESS and CONFIG_DATA. */
#define PCI_PORT_ADDRESS     0xcf8u
#define PCI_PORT_DATA        0xcfcu
#define PCI_PORT_DATA_COUNT  4u
#define PCI_ADDRESS_ENABLE   BIT(31)
#define PCI_ADDRESS_BUS      BITS(23, 16)
#define PCI_ADDRESS_SLOT     BITS(15, 11)
#define PCI_ADDRESS_FUNCTION BITS(10, 8)
#define PCI_ADDRESS_REGISTER BITS(7, 2) /* of a dword */
#define PCI_ADDRESS_WRITABLE (PCI_ADDRESS_ENABLE | BITS(23, 2))

/* The same space in memory (PCI Express Base 7.2.2): a page per function; here the one bus. */
#define PCI_ECAM_BASE     0xfe000000ull /* guest-physical */
#define PCI_ECAM_BYTES    0x100000ull
#define PCI_ECAM_SLOT     BITS(19, 15)
#define PCI_ECAM_FUNCTION BITS(14, 12)
#define PCI_ECAM_REGISTER BITS(11, 2) /* of a dword */
#define PCI_ECAM_LANE     BITS(1, 0)

#endif
