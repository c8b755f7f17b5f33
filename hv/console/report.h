/*
 * Owns:     the reports: how a VM ended, what it cost, and why the hypervisor itself gave up.
 * Promises: every report names cause, exit, registers, code bytes and both walks of the address in question.
 * Needs:    log_sink(), the backend's state_get.
 * Never:    changes anything.
 */
#ifndef HV_CONSOLE_REPORT_H
#define HV_CONSOLE_REPORT_H

#include "hv/vm/vm.h"
#include "hv/x86/desc.h"

/* Why and where a VM stopped. A guest that ended itself gets one line only. */
void report_stop(const struct vm *vm);

/* What the guest of a VP was doing: registers, code bytes, the second-level walk of its RIP. For panics. */
struct vp;
void report_guest(const struct vp *vp);

/* Exits by reason, trapped accesses, flushes, tables. */
void report_stats(const struct vm *vm);

/* A line per run of guest-physical RAM. */
void report_layout(const struct vm *vm);

/* isr.asm calls it for every exception in root mode. Returns only for NMI. */
void exception_entry(struct exception_frame *frame);

/* A panic is heard whatever the configuration says of the console. */
void log_panic_on(void);

/* What ends a panic: set by boot/main.c (an emulator is told to stop). */
NORETURN void machine_stop(bool failed);

#endif
