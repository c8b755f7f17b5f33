/*
 * Owns:     what the guest test kernel knows of PCI functions: finding them, their BARs, their capabilities.
 * Promises: works on any machine with the two configuration ports; the numbers are the guest's own.
 * Needs:    tests/guest/guest.h.
 * Never:    assumes who gave the BARs their addresses.
 */
#ifndef TESTS_GUEST_PCI_H
#define TESTS_GUEST_PCI_H

#include "tests/guest/guest.h"

#define CFG_COMMAND      0x04u
#define CFG_STATUS       0x06u
#define CFG_REVISION     0x08u /* and the class above it */
#define CFG_HEADER_TYPE  0x0eu
#define CFG_BAR(n)       (0x10u + 4u * (n))
#define CFG_SUBSYSTEM    0x2cu
#define CFG_CAPABILITIES 0x34u
#define CFG_LINE         0x3cu
#define CFG_PIN          0x3du
#define COMMAND_MEMORY   0x2u
#define COMMAND_MASTER   0x4u
#define COMMAND_NO_INTX  0x400u
#define MSI_CONTROL      2u /* and what follows, by byte offset in the capability */
#define MSI_ADDRESS      4u
#define MSI_ENABLE       0x1u
#define MSI_WIDE         0x80u
#define STATUS_INTERRUPT 0x8u
#define PCI_BARS         6u
enum { CAP_POWER = 0x01, CAP_MSI = 0x05, CAP_EXPRESS = 0x10, CAP_MSIX = 0x11 };

struct pci_bar {
    uint64_t bytes, base; /* bytes 0: absent, or the upper half of another */
    bool io, wide, prefetchable;
};

struct pci_function {
    bool present;
    unsigned slot, number;
    struct pci_bar bar[PCI_BARS];
};

/* The nth (from 0) function with these ids; its BARs are sized, with decode off meanwhile, and are as they were. */
bool pci_find(struct pci_function *f, unsigned vendor, unsigned device, unsigned nth);
bool pci_at(struct pci_function *f, unsigned slot, unsigned number); /* whichever is there */
uint32_t config_get(const struct pci_function *f, unsigned offset, unsigned bytes);
void config_set(const struct pci_function *f, unsigned offset, unsigned bytes, uint32_t value);
void command_set(const struct pci_function *f, uint32_t bits, bool on);
/* Bytes go low dword first, with decode off meanwhile if it is to be. */
void bar_set(struct pci_function *f, unsigned bar, uint64_t base);
/* BAR or a part of it at gva: `bytes` of it, by pages of `leaf`. Decode of memory is turned on. */
void bar_show(const struct pci_function *f, unsigned bar, uint64_t gva, uint64_t bytes,
              uint64_t leaf, unsigned type);
/* Offset of the capability in config space; 0: none. */
unsigned capability_find(const struct pci_function *f, unsigned id);
/* MSI with one vector, of irq.c; off again. False: there is none, and the check has failed. */
bool msi_on(const struct pci_function *f, unsigned vector);
void msi_off(const struct pci_function *f);
/* An address below 4 GiB, aligned on `bytes`, where no BAR of the bus is near. */
uint64_t free_address(uint64_t bytes);
/* A load where no device answers. */
bool expect_nobody(const char *what, uint64_t gva, unsigned bytes);

/* t_cmb.c: a "neighbour" of a kind at a slot, found there and with decode off. False: the check has failed. */
bool neighbour_add(const char *kind, unsigned slot, struct pci_function *f, uint64_t *device);

/* t_ivshmem.c: the nth ivshmem with a doorbell or without, and a word for one page of its memory. */
bool share_find(struct pci_function *f, bool doorbell, unsigned nth);
uint64_t share_word(uint64_t page, unsigned id);
/* Runs `body`: no device may see any of its accesses. Without the lab nobody can tell. */
void without_traps(void (*body)(void));

/* Addresses of their own for the BARs of devices that are not the lab. */
#define GVA_EDU        UINT64_C(0x50000000) /* 1 MiB */
#define GVA_SHARE_REGS UINT64_C(0x50200000) /* pages for each of three */
#define GVA_SHARE      UINT64_C(0x51000000) /* up to 16 MiB for each of three */
#define GVA_DISPI      UINT64_C(0x50210000)
#define GVA_FRAME      UINT64_C(0x54000000) /* up to 64 MiB */
#define GVA_MOVED      UINT64_C(0x58000000) /* a BAR that has moved, for one check at a time */

#endif
