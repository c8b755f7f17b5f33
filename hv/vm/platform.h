/*
 * Owns:     the fixed devices of the virtual platform: UART at 0x3f8 (output) and the debug-exit port.
 * Promises: a guest's lines appear whole on the console, each behind "guest| "; the line in progress is
 *           flushed when the VM ends.
 * Needs:    vm ports, log_sink().
 * Never:    waits.
 */
#ifndef HV_VM_PLATFORM_H
#define HV_VM_PLATFORM_H

#include "hv/vm/vm.h"

#define PLATFORM_UART_PORT 0x3f8u
#define PLATFORM_DEBUG_EXIT_PORT \
    0x501u /* a write ends the VM with that code, as QEMU's isa-debug-exit does */

hv_status_t platform_create(struct vm *vm) MUST_CHECK;
void platform_flush(struct vm *vm);

#endif
