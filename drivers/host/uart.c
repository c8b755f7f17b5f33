#include "drivers/host/uart.h"

#include "hv/base/bits.h"
#include "hv/x86/cpu.h"

#define COM1 0x3f8u

/* 16550 registers, relative to the base port. */
#define UART_THR             0u
#define UART_DLL             0u
#define UART_IER             1u
#define UART_DLM             1u
#define UART_FCR             2u
#define UART_IIR             2u /* the same port, read */
#define UART_LCR             3u
#define UART_MCR             4u
#define UART_LSR             5u
#define UART_SCR             7u

#define FCR_ENABLE_AND_CLEAR 0x07u
#define IIR_FIFO             0xc0u
#define LCR_8N1              0x03u
#define LCR_DLAB             0x80u
#define MCR_DTR_RTS          0x03u
#define LSR_THR_EMPTY        BIT(5)
#define LSR_IDLE             BIT(6)
#define DIVISOR_115200       1u
#define FIFO_BYTES           16u

static bool present;
static unsigned burst; /* bytes that an empty transmitter takes */

void uart_init(void)
{
    const uint8_t probe = 0x5a;

    out8(COM1 + UART_SCR, probe);
    present = in8(COM1 + UART_SCR) == probe;
    if (!present)
        return;
    out8(COM1 + UART_IER, 0);
    out8(COM1 + UART_LCR, LCR_DLAB);
    out8(COM1 + UART_DLL, DIVISOR_115200);
    out8(COM1 + UART_DLM, 0);
    out8(COM1 + UART_LCR, LCR_8N1);
    out8(COM1 + UART_FCR, FCR_ENABLE_AND_CLEAR);
    burst = (in8(COM1 + UART_IIR) & IIR_FIFO) == IIR_FIFO ? FIFO_BYTES : 1; /* an 8250 has none */
    out8(COM1 + UART_MCR, MCR_DTR_RTS);
}

/* An empty transmitter takes a whole FIFO. */
static void put(uint8_t byte)
{
    static unsigned room;

    if (room == 0) {
        while (!(in8(COM1 + UART_LSR) & LSR_THR_EMPTY))
            __builtin_ia32_pause();
        room = burst;
    }
    out8(COM1 + UART_THR, byte);
    room--;
}

void uart_write(const char *text, size_t bytes)
{
    if (!present)
        return;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\n')
            put('\r');
        put((uint8_t)text[i]);
    }
}

void uart_drain(void)
{
    while (present && !(in8(COM1 + UART_LSR) & LSR_IDLE))
        __builtin_ia32_pause();
}
