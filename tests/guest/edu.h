/*
 * Owns:     what the checks of the edu device share.
 * Promises: the numbers are those of QEMU's docs/specs/edu.rst.
 * Needs:    tests/guest/pci.h.
 * Never:    anything of the hypervisor's own edu.
 */
#ifndef TESTS_GUEST_EDU_H
#define TESTS_GUEST_EDU_H

#include "tests/guest/pci.h"

#define EDU_VENDOR    0x1234u
#define EDU_DEVICE    0x11e8u
#define EDU_BYTES     0x100000u
#define EDU_BUFFER    0x40000u
#define BUFFER_BYTES  4096u
#define MOST_BYTES    4095u /* the last byte: t_transfer.c */
#define R_ID          0x00u
#define R_LIVENESS    0x04u
#define R_FACTORIAL   0x08u
#define R_STATUS      0x20u
#define R_IRQ         0x24u
#define R_RAISE       0x60u
#define R_ACK         0x64u
#define R_SOURCE      0x80u
#define R_DESTINATION 0x88u
#define R_COUNT       0x90u
#define R_COMMAND     0x98u
#define ID_VALUE      0x010000edu
#define STATUS_BUSY   0x01u
#define STATUS_IRQ    0x80u
#define IRQ_FACTORIAL 0x001u
#define IRQ_DMA       0x100u
#define DMA_START     0x1u
#define DMA_TO_RAM    0x2u
#define DMA_IRQ       0x4u
#define POLLS         1000000u
#define PATIENCE      2000000000ull /* ticks: QEMU's edu takes a tenth of a second for each transfer */
#define GUARD         64u

extern struct pci_function edu;
/* Found once, with its registers mapped and its interrupt pin off. False: it is not there, the check is skipped. */
bool edu_ready(void);
bool edu_wait_while(unsigned offset, uint64_t bit); /* false: it stays, the check has failed */
/* Start a transfer, with registers written by eight or by four bytes. */
void edu_start(uint64_t from, uint64_t to, uint64_t bytes, uint64_t command, unsigned width);

static inline uint64_t edu_get(unsigned offset)
{
    return load(GVA_EDU + offset, 4);
}

static inline void edu_put(unsigned offset, uint64_t value)
{
    store(GVA_EDU + offset, 4, value);
}

#endif
