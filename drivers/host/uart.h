/*
 * Owns:     the host's 16550 on COM1, polled.
 * Promises: nothing is lost: a byte is written when the transmitter says it has room; without a UART (all ones
 *           in its registers) writes return at once.
 * Needs:    port access.
 * Never:    interrupts, locks (a panic uses it too).
 */
#ifndef DRIVERS_HOST_UART_H
#define DRIVERS_HOST_UART_H

#include "hv/base/types.h"

void uart_init(void);
void uart_write(const char *text, size_t bytes); /* "\n" becomes "\r\n" */
void uart_drain(void);                           /* until the last byte is on the wire */

#endif
