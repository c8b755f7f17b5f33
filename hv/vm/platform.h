/*
 * Owns:     the fixed devices of the virtual platform: UART at 0x3f8 (output), the debug-exit port, the reset register
 *           and the sleep registers of hardware-reduced ACPI (ACPI 6.5 4.8.3.6 and 4.8.3.7).
 * Promises: a guest's lines appear whole on the console, each behind "guest| "; the line in progress is
 *           flushed when the VM ends. A reset and a power-off end the VM.
 * Needs:    vm ports, log_sink().
 * Never:    waits.
 */
#ifndef HV_VM_PLATFORM_H
#define HV_VM_PLATFORM_H

#include "hv/vm/vm.h"

#define PLATFORM_UART_PORT  0x3f8u
#define PLATFORM_UART_PORTS 8u
#define PLATFORM_DEBUG_EXIT_PORT \
    0x501u /* a write ends the VM with that code, as QEMU's isa-debug-exit does */

/* The reset register that PCs have between the ports of PCI: a byte with RST_CPU in it resets. */
#define PLATFORM_RESET_PORT        0xcf9u
#define PLATFORM_RESET_VALUE       0x06u /* SYS_RST and RST_CPU */

#define PLATFORM_SLEEP_PORT        0x600u
#define PLATFORM_SLEEP_STATUS_PORT 0x601u
#define PLATFORM_SLEEP_S5          5u /* SLP_TYP that switches off; no other does anything */

hv_status_t platform_create(struct vm *vm) MUST_CHECK;
void platform_flush(struct vm *vm);

#endif
