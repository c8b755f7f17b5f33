/*
 * Owns:     the machine's own PCI functions: finding them, their memory BARs, bus mastering.
 * Promises: a function's decoding is off while a BAR is sized, and as it was afterwards; STATUS bits are never
 *           cleared by accident; broken bridges cannot make a scan run for ever.
 * Needs:    drivers/host/hostpci_config.h, by whole aligned dwords of the first 256 bytes.
 * Never:    assigns addresses, knows a device.
 *
 * PCI Local Bus 3.0 chapter 6 "Configuration Space", PCI-to-PCI Bridge 1.2 "Configuration Registers".
 */
#ifndef DRIVERS_HOST_HOSTPCI_H
#define DRIVERS_HOST_HOSTPCI_H

#include "drivers/host/hostpci_config.h"
#include "hv/base/status.h"

struct hostpci_function {
    struct hostpci_address at;
    uint16_t vendor, device;
    uint32_t class_code; /* base class, subclass, programming interface */
    bool bridge;         /* to another PCI bus */
};

struct hostpci_bar {
    uint64_t base; /* 0: never assigned */
    uint64_t bytes;
    bool wide; /* 64-bit */
    bool prefetchable;
};

/*
 * Every function of bus 0 and of the buses behind its bridges, in the order of their addresses, until visit()
 * returns false.
 */
void hostpci_scan(bool (*visit)(void *context, const struct hostpci_function *function),
                  void *context);

/* The first function with these. False: there is none. */
bool hostpci_find(uint16_t vendor, uint16_t device, struct hostpci_function *function);

/*
 * Size and base of a memory BAR. HV_E_INVALID_PARAMETER_2: no such number in this kind of header; HV_E_NO_SUCH_BAR:
 * absent, I/O, the upper half of another, or its size is no power of two.
 */
hv_status_t hostpci_bar_read(const struct hostpci_function *function, unsigned bar,
                             struct hostpci_bar *out) MUST_CHECK;

/* Bus mastering off: the function can no longer write to memory. Memory decoding on when `decode`. */
void hostpci_quiet(const struct hostpci_function *function, bool decode);

#endif
